"""A table and a queue in moto, a clock that stands until it is moved, and S3's events."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError
from moto import mock_aws

from event_aggregator import aws
from event_aggregator.aggregate import Aggregator
from event_aggregator.asking import Asker
from event_aggregator.gateways import Gateways
from event_aggregator.observability import timestamp
from event_aggregator.refresh import Refresher
from event_aggregator.regions import Regions
from event_aggregator.request import ActionQueue, Request
from event_aggregator.settings import Settings
from event_aggregator.table import Key, WindowItem
from event_aggregator.turns import Gateway, Rules
from event_aggregator.visible import VisibleEvents
from event_aggregator.waiting import ShareItem, WaitingShares
from event_aggregator.window import Windows
from tests.unit import answers

START = 1_790_000_000_000  # epoch milliseconds


def s3_record(key: str = "photos/a.jpg", bucket: str = "my-bucket", at: int = START, **changed: Any) -> dict[str, Any]:
    """A record as S3 sends it; `key` as it stands there, encoded. `at`: eventTime in epoch milliseconds."""
    return {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": "us-east-1",
        "eventTime": timestamp(at),
        "eventName": "ObjectCreated:Put",
        "userIdentity": {"principalId": "AWS:AIDAEXAMPLE"},
        "responseElements": {"x-amz-request-id": "C3D13FE58DE4C810"},
        "s3": {
            "s3SchemaVersion": "1.0",
            "bucket": {"name": bucket, "arn": f"arn:aws:s3:::{bucket}"},
            "object": {"key": key, "size": 1024, "sequencer": f"0055AED6DCD90281E5-{key}-{at}"},
        },
    } | changed


def s3_event(*records: dict[str, Any]) -> dict[str, Any]:
    return {"Records": list(records)}


def fail(client: Any, operation: str, *, after: int = 0, times: int = 1) -> None:
    """Have calls of `operation` fail as if nobody answered: `times` of them, once `after` have gone through."""
    calls = 0

    def instead(**_: Any) -> None:
        nonlocal calls
        calls += 1
        if after < calls <= after + times:
            raise EndpointConnectionError(endpoint_url="test")

    service = client.meta.service_model.service_id.hyphenize()
    client.meta.events.register_first(f"provide-client-params.{service}.{operation}", instead)


@dataclass
class Bus:
    """EventBridge's default bus, behind its SDK's client. `sent` holds every entry that it took."""

    sent: list[dict[str, Any]] = field(default_factory=list)
    calls: int = 0
    error: Exception | None = None  # that each call raises
    refusal: dict[str, str] = field(default_factory=dict)  # of each entry, in an answer that says 200

    def put_events(self, *, Entries: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803 - the SDK's
        self.calls += 1
        if self.error:
            raise self.error
        if not self.refusal:
            self.sent += Entries
        answers = [self.refusal or {"EventId": str(self.calls)} for _ in Entries]
        return {"FailedEntryCount": len(answers) if self.refusal else 0, "Entries": answers}


@dataclass
class World:
    """The AWS of a test: the real table, queue and aggregator over moto."""

    dynamodb: Any
    sqs: Any
    table: str
    queue_url: str
    time: int = START
    settings: dict[str, str] = field(default_factory=dict)
    sent: list[dict[str, Any]] = field(default_factory=list)  # the parameters of every SendMessage
    bus: Bus = field(default_factory=Bus)

    @property
    def windows(self) -> Windows:
        return Windows(self.dynamodb, self.table)

    @property
    def queue(self) -> ActionQueue:
        return ActionQueue(lambda: self.sqs, self.queue_url)

    @property
    def read_settings(self) -> Settings:
        return Settings.read({"TABLE_NAME": self.table, "QUEUE_URL": self.queue_url} | self.settings)

    @property
    def aggregator(self) -> Aggregator:
        return Aggregator(self.windows, self.queue, self.read_settings, lambda: self.time)

    @property
    def waiting(self) -> WaitingShares:
        return WaitingShares(self.dynamodb, self.table)

    @property
    def gateways(self) -> Gateways:
        """As a container that starts has them: it remembers no gateway."""
        return Gateways(self.dynamodb, self.table, self.queue, Rules.of(self.read_settings), lambda: self.time)

    def refresher(self, regions: Regions, gateways: Gateways | None = None) -> Refresher:
        """The refresh function, in a container that starts, or that has these `gateways`."""
        settings = self.read_settings
        asker = Asker(
            regions,
            self.windows,
            self.waiting,
            gateways or self.gateways,
            settings,
            lambda: self.time,
            VisibleEvents(lambda: self.bus) if settings.visible_events == "on" else None,
        )
        return Refresher(self.aggregator, asker)

    def item(self, key: str = "my-bucket") -> WindowItem:
        return self.windows.read(Key.read(key))

    def waits(self, key: str = "my-bucket/share-1") -> ShareItem:
        return self.waiting.read(Key.read(key))

    def gateway(self, arn: str) -> Gateway:
        return self.gateways.read(Key.read(arn))

    def requests(self) -> list[Request]:
        """Every request of a window that was sent, oldest first."""
        bodies = [json.loads(message["MessageBody"]) for message in self.sent]
        return [
            Request(Key.read(body["key"]), body["window"], body["correlation"], body["attempt"])
            for body in bodies
            if "key" in body
        ]

    def wakes(self) -> list[str]:
        """The bodies of the wakes that were sent, oldest first."""
        bodies = [message["MessageBody"] for message in self.sent]
        return [body for body in bodies if "token" in json.loads(body)]


@pytest.fixture
def world() -> Iterator[World]:
    with mock_aws(), answers.client(aws.dynamodb) as dynamodb, answers.client(aws.sqs) as sqs:
        answers.make_table("windows")
        world = World(dynamodb, sqs, "windows", answers.make_queue("actions"))
        sqs.meta.events.register("provide-client-params.sqs.SendMessage", lambda params, **_: world.sent.append(params))
        yield world
