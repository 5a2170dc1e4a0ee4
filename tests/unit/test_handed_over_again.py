"""Folders that are put into a share's window twice: by a message that comes again, or while somebody asks the share."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError

from event_aggregator.file_shares import FileShare, FileShares
from event_aggregator.folders import Round
from event_aggregator.observability import timestamp
from event_aggregator.refresh import NotRefreshedError, Refresher
from event_aggregator.regions import Regions
from tests.unit.conftest import World, fail, s3_event, s3_record

GATEWAY = "arn:aws:storagegateway:us-east-1:123456789012:gateway/sgw-1"
SHARE = FileShare(
    "arn:aws:storagegateway:us-east-1:123456789012:share/share-1", "NFS", GATEWAY, "AVAILABLE", "my-bucket"
)


class OneShare(FileShares):
    """A region with one file share, which accepts every refresh."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []

    def showing(self, bucket: str) -> list[FileShare]:  # noqa: ARG002 - there is one
        return [SHARE]

    def describe(self, arn: str, kind: str, gateway: str, bucket: str) -> FileShare:  # noqa: ARG002 - there is one
        return SHARE

    def refresh(self, share: FileShare, round_: Round) -> str:  # noqa: ARG002 - there is one
        self.asked.append(tuple(round_.folder_list))
        return f"n{len(self.asked)}"


@dataclass
class Running:
    world: World
    region: OneShare

    def refresher(self) -> Refresher:
        """In a container that starts."""
        return self.world.refresher(Regions("us-east-1", {"us-east-1": lambda: self.region}))

    def change(self, key: str) -> str:
        """The request of a change, whose window is due now."""
        self.world.aggregator.aggregate_event(s3_event(s3_record(key, at=self.world.time)), 30_000)
        self.world.time += 30_000
        return str(self.world.sent[-1]["MessageBody"])

    def handle(self, body: str, message_id: str) -> None:
        self.refresher().handle(body, None, message_id, 60_000)

    def completion(self, refresh: str, began: int) -> str:
        event: dict[str, Any] = {
            "detail-type": "Storage Gateway Refresh Cache Event",
            "resources": [SHARE.arn, GATEWAY],
            "detail": {
                "notification-id": refresh,
                "started": timestamp(began),
                "completed": timestamp(self.world.time),
            },
        }
        return json.dumps(event)

    def accept(self, key: str, message_id: str) -> int:
        """When the share accepted the refresh for a change; it is complete since."""
        self.handle(self.change(key), message_id)
        accepted_at = self.world.time
        self.handle(self.completion(f"n{len(self.region.asked)}", accepted_at), f"{message_id}-completion")
        return accepted_at


@pytest.fixture
def running(world: World) -> Running:
    return Running(world, OneShare())


def test_a_request_that_failed_after_it_filled_the_shares_window_leaves_nothing_there(running: Running) -> None:
    running.accept("a/1", "m1")
    request = running.change("b/1")
    # The bucket's window is closed, the share's is filled: then its gateway's document cannot be written.
    fail(running.world.dynamodb, "UpdateItem", after=2)
    with pytest.raises((NotRefreshedError, BotoCoreError)):
        running.handle(request, "m2")
    assert running.world.waits().changes

    running.world.time += 60_000
    running.handle(request, "m2")

    assert running.region.asked[-1] == ("/", "b")
    assert running.world.waits().changes is None


def test_what_a_message_without_a_window_asks_for_goes_through_the_shares_window(running: Running) -> None:
    running.handle('{"bucket": "my-bucket", "folders": ["/a"]}', "m1")
    assert running.region.asked == [("/", "a")]
    assert running.world.waits().changes is None
    assert running.world.waits().kind == "NFS"


def test_what_is_put_back_while_others_ask_the_share_is_asked_for_in_another_turn(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    accepted_at = running.accept("a/1", "m1")
    running.world.time += 60_000
    request = running.change("b/1")

    first: list[Callable[..., None]] = [lambda: running.handle(request, "m2")]
    add = type(running.world.waiting).add

    def add_slowly(*arguments: Any) -> None:
        add(*arguments)
        if first:
            first.pop()()

    monkeypatch.setattr(type(running.world.waiting), "add", add_slowly)
    running.handle(running.completion("theirs", accepted_at - 20_000), "m3")

    assert running.region.asked[-1] == ("/", "b")
    assert running.world.waits().changes
    assert running.world.gateway(GATEWAY).waiting()
    assert running.world.wakes()
