"""What S3, the table and the log tell about a key, and what they refuse to."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from commands.operate import facts, refresh_log, similar_names
from commands.operate.facts import Closed, S3Object, Share, Window, s3_object, share_facts
from commands.operate.refresh_log import Refresh, refreshes_of
from commands.operate.share_state import Cause, Snapshot, Standing, Waits
from commands.operate.stack import Stack, StackError
from event_aggregator.file_shares import FileShare
from event_aggregator.table import Key, WindowItem
from event_aggregator.turns import Rules
from tests.unit.test_explain import line

AT = 1_790_000_000_000
DAY = 24 * 3_600_000
ARN = "arn:aws:storagegateway:us-east-1:1:"
SHARE = FileShare(f"{ARN}share/share-1", "NFS", f"{ARN}gateway/sgw-1", "AVAILABLE", "my-bucket")
GROUP = "/aws/lambda/S3StorageGatewayRefresh"


@pytest.fixture
def stack() -> Stack:
    return Stack(boto3.Session(region_name="us-east-1"))


@pytest.fixture
def s3(stack: Stack) -> Iterator[Stubber]:
    with Stubber(stack.client("s3")) as stub:
        yield stub
        stub.assert_no_pending_responses()


@pytest.fixture
def logs(stack: Stack) -> Iterator[Stubber]:
    with Stubber(stack.client("logs")) as stub:
        yield stub
        stub.assert_no_pending_responses()


def a_time(epoch_ms: int) -> datetime:
    return datetime.fromtimestamp(epoch_ms / 1000, UTC)


# S3


def test_an_object_has_a_time_and_a_size_and_its_etag_tells_whether_it_was_uploaded_in_parts(
    stack: Stack, s3: Stubber
) -> None:
    for etag in ('"aaa"', '"aaa-3"'):
        s3.add_response("head_object", {"LastModified": a_time(AT), "ContentLength": 7, "ETag": etag})
    assert s3_object(stack, "my-bucket", "a") == S3Object(True, AT, 7)
    assert s3_object(stack, "my-bucket", "a") == S3Object(True, AT, 7, in_parts=True)


def test_an_object_tells_whether_it_is_one_of_several_versions_and_a_replica(stack: Stack, s3: Stubber) -> None:
    head = {"LastModified": a_time(AT), "ContentLength": 7, "ETag": '"aaa"', "VersionId": "null"}
    for more in ({}, {"ReplicationStatus": "COMPLETED"}, {"ReplicationStatus": "REPLICA"}):
        s3.add_response("head_object", head | more)
    found = [s3_object(stack, "my-bucket", "a") for _ in range(3)]
    assert [(one.versioned, one.is_replica) for one in found] == [(True, False), (True, False), (True, True)]


def test_a_key_that_is_not_there_has_those_that_are_like_it(stack: Stack, s3: Stubber) -> None:
    s3.add_client_error("head_object", "404", http_status_code=404)
    s3.add_response("list_object_versions", {})
    s3.add_response("list_objects_v2", {}, {"Bucket": "my-bucket", "Prefix": "a/b/", "MaxKeys": 1})
    s3.add_response(
        "list_objects_v2", {"Contents": [{"Key": "a/B"}]}, {"Bucket": "my-bucket", "Prefix": "a/", "Delimiter": "/"}
    )
    found = s3_object(stack, "my-bucket", "a/b")
    assert found == S3Object(False, alike=["'a/B', which differs only in upper and lower case."])


def test_of_more_keys_than_are_compared_others_may_be_alike(
    stack: Stack, s3: Stubber, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(similar_names, "_MAX_PAGES", 1)
    s3.add_client_error("head_object", "404", http_status_code=404)
    s3.add_response("list_object_versions", {})
    s3.add_response("list_objects_v2", {})
    s3.add_response("list_objects_v2", {"IsTruncated": True, "NextContinuationToken": "2"})
    assert s3_object(stack, "my-bucket", "a") == S3Object(False, all_compared=False)


@pytest.mark.parametrize("kind", ["NFS", "SMB"])
def test_a_share_tells_after_how_long_it_refreshes_a_folder_by_itself(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    client = stack.session.client("storagegateway", region_name="us-east-1")
    monkeypatch.setattr(stack.session, "client", lambda *_, **__: client)
    share = replace(SHARE, arn=SHARE.arn.replace(":1:", ":123456789012:"), kind=kind, region="eu-west-1")
    operation, asked = f"describe_{kind.lower()}_file_shares", {"FileShareARNList": [share.arn]}
    with Stubber(client) as gateways:
        answers: list[dict[str, Any]] = [
            {"CacheAttributes": {"CacheStaleTimeoutInSeconds": 300}},
            {"CacheAttributes": {}},
            {},
        ]
        for one in answers:
            gateways.add_response(operation, {f"{kind}FileShareInfoList": [one]}, asked)
        assert [stack.stale_seconds(share) for _ in range(3)] == [300, 0, 0]


def test_of_a_deleted_object_the_delete_marker_tells_when(stack: Stack, s3: Stubber) -> None:
    s3.add_client_error("head_object", "404", http_status_code=404)
    markers = [
        {"Key": "a", "IsLatest": False, "LastModified": a_time(AT - 1_000)},
        {"Key": "a", "IsLatest": True, "LastModified": a_time(AT)},
        {"Key": "ab", "IsLatest": True, "LastModified": a_time(AT + 1_000)},
    ]
    s3.add_response("list_object_versions", {"DeleteMarkers": markers})
    for _ in range(2):
        s3.add_response("list_objects_v2", {})
    assert s3_object(stack, "my-bucket", "a") == S3Object(False, AT, versioned=True)
    s3.add_client_error("head_object", "404", http_status_code=404)
    s3.add_response("list_object_versions", {"DeleteMarkers": markers[2:]})
    for _ in range(2):
        s3.add_response("list_objects_v2", {})
    assert s3_object(stack, "my-bucket", "a") == S3Object(False), "the marker is of a longer key"


def test_a_key_with_objects_below_it_is_a_folder(stack: Stack, s3: Stubber) -> None:
    s3.add_client_error("head_object", "404", http_status_code=404)
    s3.add_response("list_object_versions", {})
    s3.add_response(
        "list_objects_v2", {"Contents": [{"Key": "a/b"}]}, {"Bucket": "my-bucket", "Prefix": "a/", "MaxKeys": 1}
    )
    assert s3_object(stack, "my-bucket", "a/") == S3Object(False, is_folder=True)


def test_what_s3_denies_is_said_and_stops_nothing(stack: Stack, s3: Stubber) -> None:
    s3.add_client_error("head_object", "403", http_status_code=403)
    (denied,) = s3_object(stack, "my-bucket", "a").not_told
    assert denied.startswith("S3 refused HeadObject, for which it takes s3:GetObject (and s3:ListBucket")
    s3.add_client_error("head_object", "404", http_status_code=404)
    s3.add_client_error("list_object_versions", "AccessDenied", http_status_code=403)
    s3.add_client_error("list_objects_v2", "AccessDenied", http_status_code=403)
    found = s3_object(stack, "my-bucket", "a")
    assert found.exists is False
    assert [text.partition(":")[0] for text in found.not_told] == [
        "Whether it has a delete marker is not known",
        "Whether it is a folder, or another key is like it, is not known",
    ]


def test_any_other_failure_of_s3_is_one(stack: Stack, s3: Stubber) -> None:
    s3.add_client_error("head_object", "500", http_status_code=500)
    with pytest.raises(ClientError):
        s3_object(stack, "my-bucket", "a")
    s3.add_client_error("head_object", "404", http_status_code=404)
    s3.add_client_error("list_object_versions", "InternalError", http_status_code=500)
    with pytest.raises(ClientError):
        s3_object(stack, "my-bucket", "a")


# The table


def known(standing: Standing, of_bucket: WindowItem, *, prefix: str = "", scope: str = "folders") -> Share:
    return share_facts(replace(SHARE, prefix=prefix), standing, of_bucket, key="a/b.txt", scope=scope, home="us-east-1")


def table(**windows: WindowItem) -> Snapshot:
    """Of a bucket's windows, by what follows its name."""
    return Snapshot(AT, Rules(2, 60_000), {Key.read(f"my-bucket/{name}/"): w for name, w in windows.items()}, {}, {})


CLOSED = WindowItem(
    refreshing_id="w", refreshed_folders=frozenset({"/a"}), refreshed_since=AT - 9_000, refresh_started_at=AT - 1_000
)
OPEN = WindowItem(window_id="w", opened_at=AT - 9, refresh_at=AT + 9, folders=frozenset({"/a"}), reason="it is offline")


def test_a_closed_window_is_handed_over_until_it_is_completed() -> None:
    assert known(Standing(), CLOSED).handed_over == AT - 1_000
    assert known(Standing(), replace(CLOSED, refreshing_id=None)).handed_over is None
    assert known(Standing(), replace(CLOSED, refreshed_folders=frozenset({"/c"}))).handed_over is None
    assert known(Standing(), replace(CLOSED, refreshed_folders=frozenset({"/c"})), scope="share").handed_over


def test_what_waits_for_a_share_and_what_its_bucket_holds_is_told_by_the_folder() -> None:
    waits = Standing(waits=Waits(AT - 9, ["/a"], Cause.INTERVAL, "it was asked a moment ago"))
    share = known(waits, WindowItem())
    assert (share.standing, share.folder_waits, share.in_window) == (waits, True, False)
    assert known(Standing(), OPEN).in_window
    assert not known(Standing(), OPEN).folder_waits
    assert not known(Standing(waits=Waits(AT - 9, ["/c"], Cause.INTERVAL, "")), WindowItem()).folder_waits
    assert (share.path, share.way, share.region) == ("/a/b.txt", ["/", "a"], "us-east-1")
    below = known(Standing(), OPEN, prefix="a/")
    assert (below.path, below.way, below.in_window) == ("/b.txt", ["/"], True)


def test_the_last_window_tells_whether_it_read_the_folder_as_long_as_its_folders_are_kept() -> None:
    assert facts._closed(WindowItem(), "/a") is None
    assert facts._closed(CLOSED, "/a") == Closed(AT - 9_000, AT - 1_000, reads=True, unfinished=True)
    done = replace(CLOSED, refreshing_id=None)
    assert facts._closed(done, "/c") == Closed(AT - 9_000, AT - 1_000, reads=False, unfinished=False)
    forgotten = replace(done, refreshed_folders=frozenset())
    assert facts._closed(forgotten, "/a") == Closed(AT - 9_000, AT - 1_000, reads=None, unfinished=False)


def test_a_region_has_the_folder_wait_until_its_shares_are_listed_and_while_they_are() -> None:
    windows = table(**{"eu-west-1": OPEN, "eu-west-2": CLOSED, "eu-west-3": WindowItem(), "gateways:AROA": OPEN})
    assert facts._regions(windows, "my-bucket", "/a", "folders") == {
        "eu-west-1": Window(AT - 9, AT + 9, reads=True, reason="it is offline"),
        "eu-west-2": Window(AT - 9_000, AT - 1_000, reads=True),
    }
    assert facts._regions(windows, "my-bucket", "/c", "folders") == {}
    assert facts._regions(windows, "another", "/a", "folders") == {}


def test_what_gateways_wrote_is_due_when_the_last_of_its_windows_is() -> None:
    later = replace(OPEN, refresh_at=AT + 99)
    windows = table(**{"gateways:AROA": OPEN, "eu-west-1/gateways:AROA": later, "gateways": CLOSED, "eu-west-1": OPEN})
    found = facts._by_gateways(windows, "my-bucket", "/a", "folders")
    assert found
    assert found.due == AT + 99
    assert facts._by_gateways(windows, "my-bucket", "/c", "folders") is None


# The log


def log_group(**known: Any) -> dict[str, Any]:
    return {"logGroups": [{"logGroupName": f"{GROUP}-of-another"}, {"logGroupName": GROUP, "creationTime": 0, **known}]}


def test_all_pages_of_the_log_are_read(stack: Stack, logs: Stubber) -> None:
    told = line("my-bucket/share-1 accepted a refresh of everything", AT - 1_000, folders=["/"], recursive=True)
    logs.add_response("describe_log_groups", log_group(retentionInDays=30))
    logs.add_response("filter_log_events", {"events": [], "nextToken": "2"})
    logs.add_response("filter_log_events", {"events": [{"message": told}]})
    assert refreshes_of(stack, SHARE, AT - DAY, AT, 0) == ([Refresh(AT - 1_000, ["/"], True, "w1")], [], None)


def test_a_log_that_is_behind_the_table_says_so(stack: Stack, logs: Stubber) -> None:
    told = line("my-bucket/share-1 accepted a refresh of everything", AT - 9_000, folders=["/"], recursive=True)
    lacks = []
    for accepted, events in (
        (AT - 9_001, [{"message": told}]),
        (AT - 2_000, [{"message": told}]),
        (AT - 2 * DAY, []),
        (0, []),
    ):
        logs.add_response("describe_log_groups", log_group())
        logs.add_response("filter_log_events", {"events": events})
        lacks.append(refreshes_of(stack, SHARE, AT - DAY, AT, accepted)[2])
    assert lacks == [
        None,
        "The log has no line yet of the refresh that share-1 accepted at 2026-09-21 14:13:18 UTC.",
        None,
        None,
    ]


def test_a_log_that_does_not_go_back_to_the_change_says_so(stack: Stack, logs: Stubber) -> None:
    asked = {
        "logGroupName": GROUP,
        "filterPattern": '"share-1"',
        "startTime": AT - 30 * DAY,
        "endTime": AT + 60_000,
    }
    logs.add_response("describe_log_groups", log_group(retentionInDays=30))
    logs.add_response("filter_log_events", {"events": []}, asked)
    assert refreshes_of(stack, SHARE, AT - 31 * DAY, AT, 0) == (
        [],
        [],
        f"The log {GROUP} goes back to 2026-08-22 14:13:20 UTC only.",
    )
    logs.add_response("describe_log_groups", log_group(creationTime=AT - DAY))
    logs.add_response("filter_log_events", {"events": []}, asked | {"startTime": AT - DAY})
    *_, lacks = refreshes_of(stack, SHARE, AT - 2 * DAY, AT, 0)
    assert lacks == f"The log {GROUP} goes back to 2026-09-20 14:13:20 UTC only."


def test_a_long_log_is_read_up_to_a_bound(stack: Stack, logs: Stubber, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refresh_log, "_MAX_EVENTS", 2)
    logs.add_response("describe_log_groups", log_group())
    for token in ("2", "3"):
        logs.add_response("filter_log_events", {"events": [{"message": "x"}], "nextToken": token})
    lacks = f"Of the log {GROUP} only the first 2 lines about share-1 were read."
    assert refreshes_of(stack, SHARE, AT - DAY, AT, 0) == ([], [], lacks)
    monkeypatch.setattr(refresh_log, "_MAX_PAGES", 1)
    logs.add_response("describe_log_groups", log_group())
    logs.add_response("filter_log_events", {"events": [], "nextToken": "2"})
    *_, stopped = refreshes_of(stack, SHARE, AT - DAY, AT, 0)
    assert stopped == f"Of the log {GROUP} only the first 0 lines about share-1 were read."


def test_a_log_that_may_not_be_read_says_so_and_one_that_is_gone_ends_it(stack: Stack, logs: Stubber) -> None:
    logs.add_client_error("describe_log_groups", "AccessDeniedException")
    refreshes, _, lacks = refreshes_of(stack, SHARE, AT - DAY, AT, 0)
    assert refreshes == []
    assert lacks
    assert lacks.startswith(f"The log {GROUP} could not be read: ")
    logs.add_client_error("describe_log_groups", "ServiceUnavailableException", http_status_code=400)
    with pytest.raises(ClientError):
        refreshes_of(stack, SHARE, AT - DAY, AT, 0)
    logs.add_response("describe_log_groups", {"logGroups": []})
    with pytest.raises(StackError, match=r"There is no log group .*: run create-stack.sh --revert-drift."):
        refreshes_of(stack, SHARE, AT - DAY, AT, 0)
