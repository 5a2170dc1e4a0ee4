"""Quiet windows, refreshes that take long, completion events that come or do not, and requests that are lost."""

import json
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest

from dev.local.gateway import FileShare, StorageGateway
from dev.local.ministack import MiniStack
from tests.e2e.conftest import FUNCTIONS, Bucket, eventually


@pytest.fixture
def settings(aws: MiniStack, stack: Any) -> Iterator[Any]:  # noqa: ARG001 - it must be there
    """Changes the functions' settings, as a user may in the console, for the length of a test."""
    functions = aws.client("lambda")

    def variables(function: str) -> dict[str, str]:
        configuration = functions.get_function_configuration(FunctionName=function)
        return dict(configuration["Environment"]["Variables"])

    before = {function: variables(function) for function in FUNCTIONS}

    def change(**changed: int) -> None:
        for function in FUNCTIONS:
            environment = before[function] | {name.upper(): str(value) for name, value in changed.items()}
            functions.update_function_configuration(FunctionName=function, Environment={"Variables": environment})

    yield change
    change()


def trickle(bucket: Bucket, seconds: float, *, until: Callable[[], bool] = lambda: False) -> int:
    """Write an object every 0.3 s for so long, or until then; before the last was written, in epoch milliseconds."""
    end, number, last = time.monotonic() + seconds, 0, 0
    while time.monotonic() < end and not until():
        last = time.time_ns() // 1_000_000
        bucket.put(f"trickle/{number:03}.dat")
        number += 1
        time.sleep(0.3)  # the upload's own pace
    return last


def refreshes_of(gateway: StorageGateway, share: FileShare) -> list[tuple[int, int]]:
    """When each refresh of the share was accepted and when it was complete, in epoch milliseconds."""
    return [(r.accepted_at, r.completed_at or 0) for r in gateway.refreshes if r.share is share]


def overlap(spans: list[tuple[int, int]]) -> bool:
    return any(later < end for (_, end), (later, _) in pairwise(spans))


def test_a_trickle_is_refreshed_when_it_has_been_quiet(bucket: Bucket, gateway: StorageGateway, settings: Any) -> None:
    settings(refresh_quiet_seconds=3, refresh_max_delay_seconds=60)
    share = bucket.share()
    last = trickle(bucket, 8)
    bucket.becomes_visible(share)
    *earlier, (accepted, _) = refreshes_of(gateway, share)
    assert accepted >= last + 3_000
    # None on a machine with time to spare, where no event comes seconds after the one before it.
    assert len(earlier) <= 2


def test_an_endless_trickle_is_refreshed_every_maximum(bucket: Bucket, gateway: StorageGateway, settings: Any) -> None:
    settings(refresh_quiet_seconds=4, refresh_max_delay_seconds=5)
    share = bucket.share()
    trickle(bucket, 60, until=lambda: len(refreshes_of(gateway, share)) == 2)
    assert len(refreshes_of(gateway, share)) == 2, "while it goes on, and never is quiet for four seconds"
    bucket.becomes_visible(share)


def test_a_refresh_that_takes_longer_than_the_window_is_never_joined_by_a_second(
    bucket: Bucket, gateway: StorageGateway
) -> None:
    share = bucket.share()
    gateway.refresh_seconds = 5
    try:
        trickle(bucket, 60, until=lambda: len(refreshes_of(gateway, share)) == 2)
        bucket.becomes_visible(share)
        eventually(lambda: all(ended for _, ended in refreshes_of(gateway, share)))
    finally:
        gateway.refresh_seconds = 0.2
    spans = refreshes_of(gateway, share)
    assert len(spans) >= 2, "a mark lapses after an hour: only a completion event can have led to the second"
    assert not overlap(spans)


def test_without_any_completion_event_the_share_becomes_complete_all_the_same(
    bucket: Bucket, gateway: StorageGateway, settings: Any
) -> None:
    settings(in_progress_timeout_seconds=4)
    share = bucket.share()
    deliver, gateway.on_complete = gateway.on_complete, None
    try:
        trickle(bucket, 6)
        bucket.becomes_visible(share)
    finally:
        gateway.on_complete = deliver
    assert not overlap(refreshes_of(gateway, share))


def test_a_request_that_was_lost_is_found_by_the_sweep(bucket: Bucket, aws: MiniStack, settings: Any) -> None:
    settings(refresh_delay_seconds=600)  # in the place of the loss: the request comes after the test
    share = bucket.share()
    sqs, dynamodb = aws.client("sqs"), aws.client("dynamodb")
    queue = sqs.get_queue_url(QueueName="S3EventAggregatorActionQueue")["QueueUrl"]
    key = {"TableName": "S3EventAggregator", "Key": {"BucketName": {"S": bucket.name}}}

    def is_confirmed() -> bool:
        item = dynamodb.get_item(**key, ConsistentRead=True).get("Item", {})
        return "WindowId" in item and "OpenedBy" not in item

    bucket.put("a.txt")
    eventually(is_confirmed)
    # In the place of the delay, and of ten hours in which nobody may take the window over.
    past = {":past": {"N": "1"}}
    dynamodb.update_item(
        **key, UpdateExpression="SET LeaseUntil = :past, RefreshAt = :past", ExpressionAttributeValues=past
    )
    # In the place of EventBridge's schedule: what it sends.
    rule = aws.client("events").list_targets_by_rule(Rule="S3EventAggregatorSweep")
    [target] = rule["Targets"]
    assert json.loads(target["Input"]) == {"sweep": True}
    assert share.tree() == set()
    sqs.send_message(QueueUrl=queue, MessageBody=target["Input"])
    bucket.becomes_visible(share)
