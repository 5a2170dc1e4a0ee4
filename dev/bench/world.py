"""A simulated account: the table and the queue in moto, a file share in memory, a clock that only the run moves, and a
meter for what AWS charges for. What runs in it, ours or the baseline, is a System.
"""

import heapq
import io
import logging
import math
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from typing import Any, Protocol

from moto import mock_aws
from moto.dynamodb.models import dynamodb_backends
from moto.dynamodb.models.dynamo_type import DynamoType

from dev.local.gateway import Share, list_keys
from event_aggregator import aws
from event_aggregator.observability import logger, start_log, timestamp

START = 1_790_000_000_000  # epoch milliseconds
BUCKET, TABLE = "my-bucket", "windows"
ACCOUNT, REGION = "123456789012", "us-east-1"  # moto's account
DELAY, INTERVAL = 30_000, 60_000  # the settings' defaults, in milliseconds


class System(Protocol):
    """What is measured: the two functions of an account."""

    def change(self, event: dict[str, Any], container: int) -> None:
        """S3 invokes the first function with an event, in one of its containers."""

    def request(self, body: str, message_id: str) -> None:
        """The queue invokes the second one with a message."""


@dataclass
class Meter:
    """What AWS charges for, as counted, and the CPU that the first function took here."""

    events: int = 0
    deliveries: int = 0
    calls: Counter[str] = field(default_factory=Counter)  # by operation
    write_units: int = 0
    read_units: int = 0
    cpu_seconds: float = 0.0

    def copy(self) -> "Meter":
        return replace(self, calls=self.calls.copy())


class Log(io.TextIOBase):
    """Counts what is written to it and forgets it."""

    size = 0  # bytes

    def write(self, text: str) -> int:
        self.size += len(text.encode())
        return len(text)


@dataclass
class World:
    """What a System finds around it. Times are epoch milliseconds."""

    dynamodb: Any
    sqs: Any
    queue_url: str
    keys: list[str]  # what the bucket holds, sorted
    share: Share
    log: Log
    now: int = START
    meter: Meter = field(default_factory=Meter)
    refreshed_at: list[int] = field(default_factory=list)
    system: System = field(init=False)
    _key: str = field(default="", init=False)  # of the call that is under way
    _size: int = field(default=0, init=False)  # of its item, before
    _messages: list[tuple[int, int, str]] = field(default_factory=list)  # a heap: due, number, body
    _numbers: Iterator[int] = field(default_factory=count)

    def put(self, key: str, container: int = 0) -> None:
        """An object is written, and S3 tells of it at once."""
        position = bisect_left(self.keys, key)
        if self.keys[position : position + 1] != [key]:
            self.keys.insert(position, key)
        event = s3_event(key, self.now)
        begin = time.process_time()
        self.system.change(event, container)
        self.meter.cpu_seconds += time.process_time() - begin
        self.meter.events += 1

    def queue(self, body: str, due: int) -> None:
        """A message that the queue delivers at `due`."""
        heapq.heappush(self._messages, (due, next(self._numbers), body))

    def advance(self, to: int) -> None:
        """Let time pass; messages are delivered when they are due."""
        while self._messages and self._messages[0][0] <= to:
            self.now, number, body = heapq.heappop(self._messages)
            self.meter.deliveries += 1
            self.system.request(body, str(number))
        self.now = max(self.now, to)

    def settle(self) -> None:
        """Let time pass until nothing is queued."""
        while self._messages:
            self.advance(self._messages[0][0])

    def refresh(self, folder_list: Sequence[str], *, recursive: bool) -> None:
        self.refreshed_at.append(self.now)
        self.share.refresh(folder_list, recursive=recursive)

    def watch(self) -> None:
        """Have the clients' calls counted, and what they send delivered."""
        on = self.dynamodb.meta.events.register
        on("before-call", self._count)
        on("after-call.dynamodb.Scan", self._after_scan)
        for operation in ("UpdateItem", "GetItem"):
            on(f"provide-client-params.dynamodb.{operation}", self._before)
            on(f"after-call.dynamodb.{operation}", self._after)
        self.sqs.meta.events.register("before-call", self._count)
        self.sqs.meta.events.register("provide-client-params.sqs.SendMessage", self._send)

    def _count(self, model: Any, **_: Any) -> None:
        self.meter.calls[model.name] += 1

    def _before(self, params: dict[str, Any], **_: Any) -> None:
        self._key = params["Key"]["BucketName"]["S"]
        self._size = _item_size(self._key)

    def _after(self, model: Any, **_: Any) -> None:
        if model.name == "GetItem":
            self.meter.read_units += _units(self._size, 4096)
        else:
            self.meter.write_units += _units(max(self._size, _item_size(self._key)), 1024)

    def _after_scan(self, **_: Any) -> None:
        self.meter.read_units += 1  # all items that there are here are below 4 KB together

    def _send(self, params: dict[str, Any], **_: Any) -> None:
        self.queue(params["MessageBody"], self.now + params["DelaySeconds"] * 1000)


def _item_size(key: str) -> int:
    item = dynamodb_backends[ACCOUNT][REGION].tables[TABLE].get_item(DynamoType({"S": key}))
    return item.size() if item else 0


def _units(size: int, unit: int) -> int:
    """As DynamoDB charges: the larger of the item before and after a write, or what a failed condition met; at least 1.

    DynamoDB developer guide, "DynamoDB reads and writes". moto counts a number as its digits, a few bytes more than it
    takes.
    """
    return max(1, math.ceil(size / unit))


@contextmanager
def simulated(make: Callable[[World], System], keys: Sequence[str] = ()) -> Iterator[World]:
    """A world with a bucket that holds `keys`, and what `make` makes of it running there."""
    held = sorted(keys)
    with mock_aws(), _counted_log() as log:
        dynamodb, sqs = aws.dynamodb(), aws.sqs()
        dynamodb.create_table(
            TableName=TABLE,
            AttributeDefinitions=[{"AttributeName": "BucketName", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "BucketName", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
        )
        url = sqs.create_queue(QueueName="actions")["QueueUrl"]
        world = World(dynamodb, sqs, url, held, Share(partial(list_keys, held)), log=log)
        world.watch()
        world.system = make(world)
        yield world


@contextmanager
def _counted_log() -> Iterator[Log]:
    """Where the functions' lines go instead of to the terminal: the logger's, at INFO, and the metrics'."""
    start_log("INFO")
    log = Log()
    [handler] = logging.getLogger(logger.service).handlers
    assert isinstance(handler, logging.StreamHandler)
    before = handler.setStream(log)
    try:
        with redirect_stdout(log):
            yield log
    finally:
        handler.setStream(before)


def s3_event(key: str, at: int) -> dict[str, Any]:
    """The event of one object written at `at`, as S3 sends it."""
    record = {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": REGION,
        "eventTime": timestamp(at),
        "eventName": "ObjectCreated:Put",
        "userIdentity": {"principalId": "AWS:AIDAEXAMPLE"},
        "requestParameters": {"sourceIPAddress": "192.0.2.1"},
        "responseElements": {"x-amz-request-id": "C3D13FE58DE4C810", "x-amz-id-2": "FMyUVURIY8/IgAtTv8xRjskZQpcIZ9KG"},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "S3EventAggregator",
            "bucket": {"name": BUCKET, "ownerIdentity": {"principalId": "A3NL1K"}, "arn": f"arn:aws:s3:::{BUCKET}"},
            "object": {"key": key, "size": 1024, "eTag": "d41d8cd98f00b204e9800998ecf8427e", "sequencer": f"{at:018X}"},
        },
    }
    return {"Records": [record]}
