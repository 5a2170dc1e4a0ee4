"""From an upload to a refreshed share, through the real functions, their roles and the notification."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from dev.local.gateway import NOT_CACHED, TOO_MANY, StorageGateway
from dev.local.ministack import MiniStack
from event_aggregator.request import VISIBILITY_TIMEOUT_SECONDS
from tests.e2e.conftest import FUNCTIONS, Bucket, deliver_again_soon, eventually
from tests.e2e.proxy import Proxy


def test_a_burst_of_20_uploads_is_a_refresh_a_window_and_a_complete_listing(bucket: Bucket, aws: MiniStack) -> None:
    share = bucket.share()
    bucket.put(*(f"photos/{n:02}.jpg" for n in range(20)))
    bucket.becomes_visible(share)
    # Containers take seconds to start: events that one of them kept waiting may have a window of their own.
    eventually(lambda: 1 <= bucket.refreshes(share) <= _windows(aws, bucket))
    assert _windows(aws, bucket) < 20


def test_every_share_of_a_bucket_is_refreshed(bucket: Bucket) -> None:
    shares = [bucket.share(kind="NFS", gateway_id="sgw-1"), bucket.share(kind="SMB", gateway_id="sgw-2")]
    bucket.put("a.txt")
    bucket.becomes_visible(*shares)


def test_a_share_on_a_prefix_is_refreshed_and_its_neighbour_left_alone(bucket: Bucket) -> None:
    share, neighbour = bucket.share("photos"), bucket.share("photos-old")
    bucket.put("photos/2024/a.jpg")
    bucket.becomes_visible(share)
    assert bucket.refreshes(neighbour) == 0


def test_a_share_on_the_last_of_many_pages_is_found(bucket: Bucket, gateway: StorageGateway) -> None:
    others = [gateway.add_share("another-bucket") for _ in range(7)]
    share = bucket.share()
    bucket.put("a.txt")
    bucket.becomes_visible(share)
    assert not any(bucket.refreshes(other) for other in others)


def test_eleven_smb_shares_are_described_ten_at_a_time(bucket: Bucket) -> None:
    shares = [bucket.share(kind="SMB") for _ in range(11)]
    bucket.put("a.txt")
    bucket.becomes_visible(*shares)


def test_odd_keys_become_visible(bucket: Bucket) -> None:
    share = bucket.share()
    deep = "/".join(f"level {n}" for n in range(30))
    bucket.put("with space.txt", "a+b/c+d.txt", "100%/50%25.txt", "für/€/猫.txt", f"{deep}/file.txt")
    bucket.becomes_visible(share)
    assert len(share.tree()) == 5


def test_a_deleted_object_vanishes_and_so_does_its_empty_folder(bucket: Bucket) -> None:
    bucket.put("keep.txt", "folder/only.txt")
    share = bucket.share()
    eventually(bucket.is_settled)
    bucket.delete("folder/only.txt")
    bucket.becomes_visible(share)
    assert share.listing().folders == frozenset()


@pytest.mark.parametrize("service", ["DynamoDB", "SQS"])
def test_an_outage_during_the_only_upload_delays_it_and_loses_nothing(
    bucket: Bucket, proxy: Proxy, aws: MiniStack, service: str
) -> None:
    share, refused = bucket.share(), proxy.refused.total()
    sqs = aws.client("sqs")
    queue = sqs.get_queue_url(QueueName="S3EventAggregatorActionQueue")["QueueUrl"]
    proxy.down = {service}
    try:
        bucket.put("photos/a.jpg")
        # The aggregator gives up after its retries, and Lambda puts the event on the queue, where it fails again.
        eventually(lambda: proxy.refused.total() > refused and _failed_events(sqs, queue))
    finally:
        proxy.down = set()
    bucket.becomes_visible(share)


@pytest.fixture
def visibility_timeout_as_deployed(aws: MiniStack, stack: Any) -> Iterator[None]:  # noqa: ARG001 - it must be there
    deliver_again_soon(aws, VISIBILITY_TIMEOUT_SECONDS)
    yield
    deliver_again_soon(aws)


@pytest.mark.usefixtures("visibility_timeout_as_deployed")
def test_an_outage_of_seconds_delays_by_seconds_though_the_visibility_timeout_is_six_minutes(
    bucket: Bucket, proxy: Proxy
) -> None:
    share = bucket.share()
    bucket.put("photos/a.jpg")
    eventually(lambda: any("WindowId" in item and "OpenedBy" not in item for item in bucket.items()))
    refused, began = proxy.refused.total(), time.monotonic()
    proxy.down = {"DynamoDB"}
    try:
        # The request's first delivery fails after three tries, and so does the second, 5 s later.
        eventually(lambda: proxy.refused.total() >= refused + 6)
    finally:
        proxy.down = set()
    ended = time.monotonic()
    assert ended - began > 5, "the outage must outlast the first delivery"
    bucket.becomes_visible(share)
    assert time.monotonic() - ended < 30


def _failed_events(sqs: Any, queue: str) -> int:
    attributes = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    return sum(map(int, sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=attributes)["Attributes"].values()))


def test_an_outage_of_storage_gateway_delays_it_and_loses_nothing(bucket: Bucket, gateway: StorageGateway) -> None:
    share = bucket.share()
    calls = len(gateway.calls)
    gateway.outage = True
    try:
        bucket.put("photos/a.jpg")
        eventually(lambda: len(gateway.calls) >= calls + 2)  # two deliveries
    finally:
        gateway.outage = False
    bucket.becomes_visible(share)


def test_refused_refreshes_are_asked_for_again(bucket: Bucket, gateway: StorageGateway) -> None:
    share = bucket.share()
    gateway.refuse([TOO_MANY] * 2, of=share)
    bucket.put("photos/a.jpg")
    bucket.becomes_visible(share)


def test_a_gateway_that_refuses_unknown_folders_is_asked_for_the_whole_share(bucket: Bucket) -> None:
    share = bucket.share(uncached=NOT_CACHED)
    bucket.put("new/folder/a.txt")
    bucket.becomes_visible(share)


def test_a_gateway_that_is_offline_delays_no_other_and_catches_up(bucket: Bucket, gateway: StorageGateway) -> None:
    offline, online = bucket.share(gateway_id="sgw-offline"), bucket.share(gateway_id="sgw-online")
    gateway.set_online("sgw-offline", online=False)
    bucket.put("a.txt")
    eventually(lambda: online.tree() == {"a.txt"})
    assert offline.tree() == set()
    gateway.set_online("sgw-offline", online=True)
    bucket.becomes_visible(offline, online)


def test_a_change_during_a_refresh_is_followed_by_another(bucket: Bucket) -> None:
    share = bucket.share()
    bucket.put("a.txt")
    eventually(lambda: bucket.refreshes(share))
    before = bucket.refreshes(share)
    bucket.put("b.txt")
    bucket.becomes_visible(share)
    assert bucket.refreshes(share) > before


def test_the_functions_log_what_happened_in_lines_of_json(bucket: Bucket, aws: MiniStack) -> None:
    share = bucket.share()
    bucket.put("a.txt")
    bucket.becomes_visible(share)
    aggregator, refresh = (_log(aws, function, bucket.name) for function in FUNCTIONS)
    assert f"Opened a window for {bucket.name}, which closes no earlier than" in aggregator
    assert f"{bucket.name}/{share.share_id} accepted a refresh of 1 folder" in refresh
    assert '"WindowsOpened":[1.0]' in aggregator
    assert '"RefreshesAccepted":[1.0]' in refresh


def _windows(aws: MiniStack, bucket: Bucket) -> int:
    """How many windows the aggregator says that it has opened."""
    return _log(aws, FUNCTIONS[0], bucket.name).count("Opened a window for ")


def _log(aws: MiniStack, function: str, bucket: str) -> str:
    pages = aws.client("logs").get_paginator("filter_log_events").paginate(logGroupName=f"/aws/lambda/{function}")
    return "\n".join(e["message"] for page in pages for e in page["events"] if bucket in e["message"])
