import json
from typing import Any

import pytest

from event_aggregator.messages import (
    BucketRequest,
    FailedEvent,
    NotUnderstoodError,
    OtherEvent,
    RefreshCompleted,
    Sweep,
    read_message,
)
from event_aggregator.request import (
    MAX_RECEIVES,
    VISIBILITY_TIMEOUT_SECONDS,
    ActionQueue,
    Request,
    WakeRequest,
    seconds_until_retry,
)
from event_aggregator.table import Key
from tests.unit.conftest import START, World

GATEWAY = Key.read("arn:aws:storagegateway:us-east-1:1:gateway/g")


@pytest.mark.parametrize(
    ("due_in_ms", "delay"), [(30_000, 30), (29_001, 30), (1, 1), (0, 0), (-5_000, 0), (900_000, 900), (5_000_000, 900)]
)
def test_a_request_is_delayed_until_due_rounded_up_and_as_far_as_sqs_allows(
    world: World, due_in_ms: int, delay: int
) -> None:
    ActionQueue(lambda: world.sqs, world.queue_url).send(
        Request(Key.read("my-bucket"), "w1", "w1"), now=START, due=START + due_in_ms
    )
    assert world.sent[0]["DelaySeconds"] == delay


def test_a_message_that_fails_comes_again_after_seconds_and_in_the_end_after_the_visibility_timeout() -> None:
    waits = [seconds_until_retry(receives) for receives in range(1, MAX_RECEIVES + 1)]
    assert waits[:8] == [5, 10, 20, 40, 80, 160, 320, 360]
    assert set(waits[8:]) == {VISIBILITY_TIMEOUT_SECONDS}
    assert sum(waits) > 9 * 3600, "as long as the README says that it is tried"


def test_a_request_can_be_read_back_and_carries_the_attributes_of_2018(world: World) -> None:
    request = Request(Key.read("my-bucket/eu-west-1/"), "w1", "w0", attempt=3)
    ActionQueue(lambda: world.sqs, world.queue_url).send(request, now=START, due=START)
    assert read_message(world.sent[0]["MessageBody"], None) == request
    assert world.sent[0]["MessageAttributes"] == {
        "bucket-name": {"DataType": "String", "StringValue": "my-bucket"},
        "timestamp": {"DataType": "Number", "StringValue": str(START / 1000)},
    }


def test_a_request_of_an_earlier_version_without_correlation_is_about_its_own_window() -> None:
    body = '{"version": 1, "key": "my-bucket", "window": "w1", "attempt": 1}'
    assert read_message(body, None) == Request(Key.read("my-bucket"), "w1", "w1")


def test_a_message_of_2018_asks_for_its_bucket() -> None:
    assert read_message("{}", "my-bucket") == BucketRequest("my-bucket", frozenset({"*"}))


def test_a_completion_event_names_its_share_and_its_notification() -> None:
    event = {
        "version": "0",
        "source": "aws.storagegateway",
        "detail-type": "Storage Gateway Refresh Cache Event",
        "resources": [
            "arn:aws:storagegateway:us-east-1:1:share/share-1",
            "arn:aws:storagegateway:us-east-1:1:gateway/g",
        ],
        "detail": {
            "event-type": "refresh-complete",
            "notification-id": "n1",
            "started": "2018-02-06T21:34:42Z",
            "completed": "2018-02-06T21:34:53Z",
            "folderList": ["/"],
        },
    }
    expected = RefreshCompleted(
        "arn:aws:storagegateway:us-east-1:1:share/share-1",
        GATEWAY,
        "n1",
        began=1_517_952_882_000,
        at=1_517_952_893_000,
        folders=("/",),
    )
    assert read_message(json.dumps(event), None) == expected


@pytest.mark.parametrize("completed", [{}, {"completed": "yesterday"}, {"completed": None}])
def test_a_completion_event_without_a_readable_time_counts_all_the_same(completed: dict[str, object]) -> None:
    event = {
        "detail-type": "Storage Gateway Refresh Cache Event",
        "resources": ["arn:aws:storagegateway:us-east-1:1:share/share-1", str(GATEWAY)],
        "detail": {"notification-id": "n1", **completed},
    }
    expected = RefreshCompleted("arn:aws:storagegateway:us-east-1:1:share/share-1", GATEWAY, "n1", None, None)
    assert read_message(json.dumps(event), None) == expected


@pytest.mark.parametrize("folders", [["/"], ["*"], ["/a/b"], ["*/c"], ["*/"], ["/a/b", "*/c", "/a/b"]])
def test_a_message_may_ask_for_folders_of_a_bucket(folders: list[str]) -> None:
    body = json.dumps({"bucket": "b", "folders": folders})
    assert read_message(body, "another-bucket") == BucketRequest("b", frozenset(folders))


@pytest.mark.parametrize(
    ("folder", "meant"),
    [
        ("a/b", "/a/b"),
        ("a/b/", "/a/b"),
        ("/a/b/", "/a/b"),
        ("*/a/", "*/a"),
        ("=/a", "/=/a"),
        ("/*a", "/*a"),
        ("ä b", "/ä b"),
    ],
)
def test_a_folder_is_named_with_slashes_at_its_ends_or_without(folder: str, meant: str) -> None:
    body = json.dumps({"bucket": "my-bucket", "folders": [folder]})
    assert read_message(body, None) == BucketRequest("my-bucket", frozenset({meant}))


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        ({"folders": ["a"]}, "`bucket` must be the name of a bucket"),
        ({"bucket": "arn:aws:s3:::b", "folders": ["a"]}, "`bucket` must be the name of a bucket"),
        ({"bucket": "b/c", "folders": ["a"]}, "`bucket` must be the name of a bucket"),
        ({"bucket": "b"}, '`folders` must be a list of folders of the bucket, or ["*"] for all'),
        ({"bucket": "b", "folders": "a"}, "`folders` must be a list"),
        ({"bucket": "b", "folders": ["a", ""]}, "`folders` holds '': a folder is a text such as a/b"),
        ({"bucket": "b", "folders": ["\ud800"]}, "`folders` holds '\\ud800': a folder is a text"),
        ({"bucket": "b", "folders": ["*.tmp"]}, "or /*a if its name begins with a star"),
        ({"bucket": "b", "folders": ["a"], "recursive": True}, "holds only `bucket` and `folders`, not recursive"),
    ],
)
def test_a_request_for_folders_that_is_not_right_is_refused_in_words_that_say_what_is_not(
    request_: dict[str, Any], text: str
) -> None:
    body = json.dumps(request_)
    with pytest.raises(NotUnderstoodError) as raised:
        read_message(body, None)
    assert text in str(raised.value)
    assert str(raised.value).endswith(body)


def test_a_wake_can_be_read_back_and_is_about_no_bucket(world: World) -> None:
    wake = WakeRequest(GATEWAY, "t1")
    ActionQueue(lambda: world.sqs, world.queue_url).send(wake, now=START, due=START + 5_000)
    assert read_message(world.sent[0]["MessageBody"], "-") == wake
    assert world.sent[0]["MessageAttributes"]["bucket-name"] == {"DataType": "String", "StringValue": "-"}
    assert world.sent[0]["DelaySeconds"] == 5


def test_the_scheduled_message_asks_for_a_sweep() -> None:
    assert read_message('{"sweep": true}', None) == Sweep()


def test_an_event_of_another_kind_that_a_rule_sends_here_is_known_to_ask_for_nothing() -> None:
    event = {
        "detail-type": "Storage Gateway File Upload Event",
        "source": "aws.storagegateway",
        "resources": ["arn:aws:storagegateway:us-east-1:111122223333:share/share-F123D451"],
        "detail": {"event-type": "upload-complete", "bucket-name": "my-bucket", "object-key": "a/b"},
    }
    kind = "Storage Gateway File Upload Event of aws.storagegateway"
    assert read_message(json.dumps(event), None) == OtherEvent(kind)


def test_a_failure_record_carries_the_event() -> None:
    record = {"version": "1.0", "requestContext": {"condition": "RetriesExhausted"}, "requestPayload": {"Records": []}}
    assert read_message(json.dumps(record), None) == FailedEvent({"Records": []})


@pytest.mark.parametrize(
    "body",
    [
        "",
        "no json",
        "[]",
        "3",
        "{}",
        '{"version": 2, "key": "b", "window": "w", "attempt": 1}',
        '{"bucket": "b", "folders": []}',
        '{"bucket": "b", "folders": ["/a", 3]}',
        '{"bucket": "b", "folders": ["/a", ""]}',
        '{"bucket": "b", "folders": ["**/a"]}',
        '{"bucket": "b", "folders": ["*a"]}',
        '{"bucket": "b", "folders": "/a"}',
        '{"bucket": "b", "folders": {"/a": 1}}',
        '{"bucket": "b", "folders": null}',
        '{"bucket": "", "folders": ["/a"]}',
        '{"bucket": 3, "folders": ["/a"]}',
        '{"bucket": "b"}',
        '{"folders": ["/a"]}',
        '{"version": 2, "gateway": "g", "token": "t"}',
        '{"version": 1, "gateway": 3, "token": "t"}',
        '{"version": 1, "gateway": "g", "token": null}',
        '{"version": 1, "gateway": "g"}',
        '{"gateway": "g", "token": "t"}',
        '{"version": 1, "key": 3, "window": "w", "attempt": 1}',
        '{"version": 1, "key": "b", "window": "w", "attempt": 0}',
        '{"hello": "world"}',
        '{"detail-type": "Storage Gateway Refresh Cache Event", "source": "aws.storagegateway", "detail": {}}',
        '{"detail-type": "Object Created", "source": "aws.s3", "detail": {}}',
    ],
)
def test_anything_else_is_refused_and_quoted(body: str) -> None:
    with pytest.raises(NotUnderstoodError) as raised:
        read_message(body, None)
    assert body in str(raised.value)
    assert ("knows version" in str(raised.value)) == ('"version": 2' in body)


@pytest.mark.parametrize("names", ['"key": "b", "window": "w", "attempt": 1', '"gateway": "g", "token": "t"'])
def test_a_request_or_a_wake_of_a_later_version_says_so(names: str) -> None:
    with pytest.raises(NotUnderstoodError, match="version 2, but this function knows version 1"):
        read_message(f'{{"version": 2, {names}}}', None)
