"""scripts/explain.sh's command on the local AWS: what it says about a key is what the system does with it."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from commands.operate.facts import SURELY_MS
from commands.operate.stack import now_ms
from dev.local.gateway import StorageGateway
from dev.local.ministack import MiniStack
from event_aggregator.table import Key
from event_aggregator.window import Windows
from tests.e2e.conftest import Bucket, Done, eventually, operator, run

Explain = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def explained(aws: MiniStack, gateway: StorageGateway) -> Callable[..., Done]:
    environment = aws.environment() | operator(aws) | {"AWS_ENDPOINT_URL_STORAGE_GATEWAY": gateway.endpoint_url}
    return lambda bucket, key, *options: run(
        "explain.sh", "--bucket", bucket, "--key", key, *options, environment=environment
    )


@pytest.fixture
def explain(explained: Callable[..., Done]) -> Explain:
    """The exit status, and what it says as JSON."""

    def as_json(bucket: str, key: str) -> tuple[int, dict[str, Any]]:
        done = explained(bucket, key, "--json")
        assert done.out, done.err
        return done.status, json.loads(done.out)

    return as_json


def outcomes(report: dict[str, Any]) -> dict[str, str]:
    return {answer["share"]: answer["outcome"] for answer in report["conclusion"]}


def test_a_key_is_visible_after_a_later_refresh_of_its_folder_and_not_shown_outside_a_prefix(
    bucket: Bucket, explain: Explain, explained: Any
) -> None:
    share, other = bucket.share("photos"), bucket.share("videos")
    bucket.put("photos/2024/a.jpg")
    bucket.becomes_visible(share)
    bucket.put("photos/2024/b.jpg")  # its refresh is seconds after a.jpg, whatever the fraction of its second
    bucket.becomes_visible(share)

    def answer() -> tuple[int, dict[str, Any]] | None:
        status, report = explain(bucket.name, "photos/2024/a.jpg")
        return (status, report) if "; complete at" in report["conclusion"][0]["text"] else None

    eventually(answer)
    status, report = explain(bucket.name, "photos/2024/a.jpg")
    assert (status, outcomes(report)) == (0, {share.share_id: "visible"})
    assert report["facts"]["shares"][0]["path"] == "/2024/a.jpg"
    assert report["facts"]["others"] == {other.share_id: "videos/"}
    assert report["facts"]["shares"][0]["refreshes"][0]["folders"] == ["/", "2024"]

    bucket.put("music/c.mp3")
    status, report = explain(bucket.name, "music/c.mp3")
    assert (status, report["conclusion"][0]["outcome"]) == (0, "not shown")

    done = explained(bucket.name, "photos/2024/a.jpg")
    assert done.status == 0
    assert f"{share.share_id}: Visible since the refresh that was accepted after the change, at" in done.out


def test_a_key_in_an_open_window_is_to_be_refreshed_when_that_is_due(
    bucket: Bucket, explain: Explain, aws: MiniStack
) -> None:
    share, now = bucket.share(), now_ms()
    windows = Windows(aws.client("dynamodb"), "S3EventAggregator")
    windows.open(
        Key.read(bucket.name),
        "w1",
        folders=frozenset({"/photos"}),
        owners=["a test"],
        newest_event=now,
        now=now,
        since=now,
        refresh_at=now + 3_600_000,
        lease_until=now + 7_200_000,
    )
    try:
        bucket.put("photos/a.jpg")
        status, report = explain(bucket.name, "photos/a.jpg")
        assert (status, outcomes(report)) == (1, {share.share_id: "to be refreshed"})
        assert report["facts"]["window"]["due"] == now + 3_600_000
    finally:
        aws.client("dynamodb").delete_item(TableName="S3EventAggregator", Key={"BucketName": {"S": bucket.name}})


def test_a_share_whose_gateway_is_offline_waits_with_its_reason(
    bucket: Bucket, explain: Explain, gateway: StorageGateway
) -> None:
    share = bucket.share(gateway_id="sgw-explained")
    gateway.set_online("sgw-explained", online=False)
    try:
        bucket.put("a.txt")
        eventually(lambda: any("Reason" in item for item in bucket.items()))
        status, report = explain(bucket.name, "a.txt")
    finally:
        gateway.set_online("sgw-explained", online=True)
    assert (status, outcomes(report)) == (1, {share.share_id: "waits"})
    assert "The specified gateway is not connected" in report["conclusion"][0]["text"]
    bucket.becomes_visible(share)


def test_a_bucket_without_our_notification_is_why_no_event_arrived(
    bucket: Bucket, explain: Explain, aws: MiniStack
) -> None:
    share = bucket.share()
    aws.client("s3").put_bucket_notification_configuration(Bucket=bucket.name, NotificationConfiguration={})
    bucket.put("a.txt")
    status, report = explain(bucket.name, "a.txt")
    assert (status, outcomes(report)) == (1, {share.share_id: "no event"})
    (advice,) = report["conclusion"][0]["then"]
    assert advice.endswith(f"scripts/attach-bucket.sh --bucket {bucket.name} --region us-east-1")


def test_a_version_that_was_brought_back_untold_is_not_said_to_be_visible(
    bucket: Bucket, explain: Explain, aws: MiniStack
) -> None:
    share, s3 = bucket.share(), aws.client("s3")
    s3.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration={"Status": "Enabled"})
    bucket.put("a.txt")
    bucket.becomes_visible(share)
    written = now_ms()
    eventually(lambda: now_ms() >= written + SURELY_MS)
    bucket.delete("a.txt")
    bucket.becomes_visible(share)
    s3.put_bucket_notification_configuration(Bucket=bucket.name, NotificationConfiguration={})
    [marker] = s3.list_object_versions(Bucket=bucket.name)["DeleteMarkers"]
    s3.delete_object(Bucket=bucket.name, Key="a.txt", VersionId=marker["VersionId"])

    def answer() -> bool:  # the log has a refresh later than seconds after the version was written
        status, report = explain(bucket.name, "a.txt")
        assert status == 2
        return outcomes(report) == {share.share_id: "visible, unless it was brought back since"}

    eventually(answer)
    assert share.tree() == set()


def test_a_key_that_is_not_in_s3_is_not_to_be_shown_and_a_bucket_that_is_not_there_is_said(
    bucket: Bucket, explain: Explain, explained: Any
) -> None:
    share = bucket.share()
    status, report = explain(bucket.name, "a%20b.txt")
    assert (status, outcomes(report)) == (0, {share.share_id: "not in S3"})
    assert any(line.endswith("decoded: a b.txt") for line in report["evidence"])
    bucket.put("Photos/caf\u00e9.jpg")
    _, report = explain(bucket.name, "photos/cafe\u0301.jpg")
    (answer,) = report["conclusion"]
    assert "S3 has 'Photos/caf\u00e9.jpg' ('Photos/caf\\xe9.jpg')" in answer["then"][0]
    done = explained("there-is-no-such-bucket", "a.txt")
    assert (done.status, done.out) == (2, "")
    assert "NoSuchBucket" in done.err
