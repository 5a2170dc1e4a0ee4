import json
from pathlib import Path
from typing import Any

import pytest

from event_aggregator.aggregate import NotFinishedError
from event_aggregator.changes import Change, read_event
from event_aggregator.messages import FailedEvent, read_message
from event_aggregator.observability import timestamp
from event_aggregator.table import Key
from tests.unit.conftest import START, World, fail, s3_event, s3_record

# As AWS's documentation shows them: one change of one key by each path.
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html
# https://docs.aws.amazon.com/lambda/latest/dg/with-sns.html and with-sqs.html
SAMPLES = Path(__file__).parent / "samples"
MIDNIGHT = 1_636_675_200_000  # 2021-11-12T00:00:00Z


def sample(name: str) -> Any:
    return json.loads((SAMPLES / f"{name}.json").read_text())


def test_a_record_becomes_a_change() -> None:
    [change], problems = read_event(s3_event(s3_record("photos/a.jpg")))
    assert problems == []
    assert (change.bucket, change.key, change.time) == ("my-bucket", "photos/a.jpg", START)
    assert change.principal == "AWS:AIDAEXAMPLE"


@pytest.mark.parametrize(
    ("encoded", "key"),
    [("a+b%20c", "a b c"), ("100%25", "100%"), ("a%2Bb", "a+b"), ("f%C3%BCr/%E2%82%AC.txt", "für/€.txt")],
)
def test_keys_are_decoded(encoded: str, key: str) -> None:
    [change], _ = read_event(s3_event(s3_record(encoded)))
    assert change.key == key


def test_a_change_has_the_same_identity_however_often_it_is_delivered() -> None:
    (first, again), _ = read_event(s3_event(s3_record(), s3_record()))
    assert first.identity == again.identity


def test_two_changes_of_a_key_have_two_identities() -> None:
    (first, second), _ = read_event(s3_event(s3_record(at=START), s3_record(at=START + 1)))
    assert first.identity != second.identity


def test_without_a_sequencer_the_request_and_its_time_tell_changes_apart() -> None:
    lifecycle, later = s3_record(at=START), s3_record(at=START + 1)
    del lifecycle["s3"]["object"]["sequencer"], later["s3"]["object"]["sequencer"]
    (first, again, second), _ = read_event(s3_event(lifecycle, lifecycle, later))
    assert first.identity == again.identity != second.identity


def test_a_change_by_nobody_known_is_a_change() -> None:
    [change], _ = read_event(s3_event(s3_record(userIdentity={"principalId": None})))
    assert change.principal == ""


def test_a_test_event_tells_of_nothing() -> None:
    assert read_event({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "my-bucket"}) == ([], [])


@pytest.mark.parametrize("event", [{}, {"Records": None}, {"detail": {}}, [], None, "text", 3])
def test_an_event_without_records_is_a_problem_that_quotes_it(event: Any) -> None:
    changes, [problem] = read_event(event)
    assert changes == []
    assert repr(event) in str(problem)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (s3_record(eventSource="aws:sns"), "eventSource is 'aws:sns'"),
        (s3_record(eventVersion="3.0"), "eventVersion is '3.0', but only 2.x is supported"),
        (s3_record(eventTime="yesterday"), "yesterday"),
        (s3_record(s3={"bucket": {"name": "my-bucket"}}), "'object'"),
        (s3_record(bucket=""), "the bucket's name or the key is empty"),
        (s3_record(userIdentity=None), "'NoneType'"),
        ({}, "'eventSource'"),
        ("text", "string indices"),
    ],
)
def test_a_record_that_is_none_of_s3s_is_a_problem_with_its_number_and_reason(record: Any, reason: str) -> None:
    changes, [problem] = read_event({"Records": [s3_record(), record]})
    assert len(changes) == 1
    assert str(problem).startswith("Record 1 cannot be read as S3's (")
    assert reason in str(problem)


def test_a_problem_quotes_no_more_than_a_line_of_a_huge_record() -> None:
    _, [problem] = read_event({"Records": [{"eventSource": "x" * 1_000_000}]})
    assert len(str(problem)) < 1_000


@pytest.mark.parametrize(
    ("principal", "role_id"),
    [
        ("AWS:AROAIDPPEZS35WEXAMPLE:StorageGateway", "AROAIDPPEZS35WEXAMPLE"),
        ("AROAIDPPEZS35WEXAMPLE:StorageGateway", "AROAIDPPEZS35WEXAMPLE"),
        ("AWS:AROAIDPPEZS35WEXAMPLE:StorageGatewayLoader", ""),
        ("AWS:AROAIDPPEZS35WEXAMPLE:NoStorageGateway", ""),
        ("AWS:AROAIDPPEZS35WEXAMPLE:", ""),
        ("AWS:AROAIDPPEZS35WEXAMPLE", ""),
        ("AWS:AIDAJ45Q7YFFAREXAMPLE:StorageGateway", ""),
        ("AWS:StorageGateway", ""),
        ("AWS:AIDAJ45Q7YFFAREXAMPLE", ""),
        ("AROA/of-nobody", ""),
        ("EXAMPLE", ""),
        ("", ""),
    ],
)
def test_the_role_of_a_session_is_read_from_the_principals_id_if_the_session_has_the_name(
    principal: str, role_id: str
) -> None:
    changes, _ = read_event(s3_event(s3_record(userIdentity={"principalId": principal})))
    assert [change.role_of("StorageGateway") for change in changes] == [role_id]
    assert [change.role_of("") for change in changes] == [""]


# The paths by which an event comes

PUT = Change(
    bucket="amzn-s3-demo-bucket1",
    key="photos/red flower.jpg",
    time=MIDNIGHT + 371,
    principal="AIDAJDPLRKLG7UEXAMPLE",
    identity="617f08299329d189 photos/red flower.jpg",
)
# EventBridge tells whole seconds, and not who wrote.
PUT_BY_EVENTBRIDGE = Change(PUT.bucket, PUT.key, MIDNIGHT + 999, "", PUT.identity)


@pytest.mark.parametrize("name", ["notification", "sns", "sqs", "sqs-sns"])
def test_a_notification_is_the_same_change_bare_and_inside_of_what_carries_it(name: str) -> None:
    assert read_event(sample(name)) == ([PUT], [])


@pytest.mark.parametrize("name", ["eventbridge", "sns-eventbridge", "sqs-eventbridge"])
def test_an_event_of_eventbridge_is_the_same_change_in_the_last_moment_of_its_second_and_by_nobody_known(
    name: str,
) -> None:
    assert read_event(sample(name)) == ([PUT_BY_EVENTBRIDGE], [])


@pytest.mark.parametrize("name", ["eventbridge-deleted", "eventbridge-expired"])
def test_a_deletion_that_eventbridge_tells_of_is_a_change(name: str) -> None:
    [change], problems = read_event(sample(name))
    assert problems == []
    assert change.key == "photos/red flower.jpg"


@pytest.mark.parametrize("name", ["eventbridge-restored", "test-event", "sns-test-event", "sqs-test-event"])
def test_what_changes_no_listing_tells_of_nothing(name: str) -> None:
    assert read_event(sample(name)) == ([], [])


@pytest.mark.parametrize("key", ["a+b c", "100%25", "für/€.txt"])
def test_a_key_of_eventbridges_is_not_encoded(key: str) -> None:
    event = sample("eventbridge")
    event["detail"]["object"]["key"] = key
    [change], _ = read_event(event)
    assert change.key == key


def test_without_a_sequencer_the_request_tells_changes_apart_on_eventbridge_too() -> None:
    first, second = sample("eventbridge"), sample("eventbridge")
    for event in (first, second):
        del event["detail"]["object"]["sequencer"]
    second["detail"]["request-id"] = "another"
    ([change], _), ([other], _) = read_event(first), read_event(second)
    assert read_event(first) == ([change], [])
    assert change.identity != other.identity


def test_a_problem_inside_of_a_message_names_both_records_and_stops_no_other() -> None:
    good, bad = json.dumps(s3_event(s3_record(), {"eventSource": "aws:ses"})), "no JSON"
    records = [{"eventSource": "aws:sqs", "body": body} for body in (good, bad, good)]
    changes, problems = read_event(s3_event(*records))
    assert len(changes) == 2
    inner, outer, last = (str(problem) for problem in problems)
    assert inner.startswith("In record 0: Record 1 cannot be read as S3's (ValueError(\"eventSource is 'aws:ses'\"))")
    assert outer.startswith("Record 1 cannot be read as S3's (JSONDecodeError")
    assert last.startswith("In record 2: Record 1")


@pytest.mark.parametrize("name", ["notification", "eventbridge", "sns", "sqs-sns"])
def test_an_event_that_failed_is_read_from_its_failure_record_whatever_its_shape(name: str) -> None:
    message = read_message(json.dumps({"requestPayload": sample(name)}), None)
    assert isinstance(message, FailedEvent)
    assert read_event(message.event) == read_event(sample(name))


def test_a_change_that_comes_by_two_paths_opens_one_window(world: World) -> None:
    for name in ("notification", "eventbridge", "sqs-sns"):
        world.aggregator.aggregate_event(sample(name), 30_000)  # each by a cold container
    assert len(world.sent) == 1
    assert world.item(PUT.bucket).folders == {"/photos"}


def test_two_paths_of_one_change_take_over_from_each_other_when_one_dies_before_its_request(world: World) -> None:
    by_both = [read_event(sample(name))[0][0].identity for name in ("notification", "eventbridge")]
    assert by_both[0] == by_both[1]
    fail(world.sqs, "SendMessage")
    with pytest.raises(NotFinishedError):
        world.aggregator.aggregate_event(sample("notification"), 30_000)
    world.aggregator.aggregate_event(sample("eventbridge"), 30_000)
    [request] = world.requests()[-1:]
    assert request.window == world.item(PUT.bucket).window_id
    assert world.item(PUT.bucket).confirmed


@pytest.mark.parametrize(("second", "covered"), [(3, True), (4, False)])
def test_a_time_without_a_fraction_is_covered_only_if_the_end_of_its_second_is_before_the_margin(
    world: World, second: int, covered: bool
) -> None:
    # The refresh begins 9.5 s after `late` would in second 0: what may be from 4.5 s on is not taken to be covered.
    world.time = MIDNIGHT + 9_500
    world.aggregator.aggregate_event(sample("notification"), 30_000)
    item = world.item(PUT.bucket)
    world.time = item.refresh_at
    began = world.time
    assert world.windows.close(Key.read(PUT.bucket), item, began, began + 1)
    world.windows.mark_distributed(Key.read(PUT.bucket), str(item.window_id))
    late = sample("eventbridge")
    late["time"] = timestamp(began - 9_500 + second * 1_000).replace(".000Z", "Z")
    world.time += 10_000
    world.aggregator.aggregate_event(late, 30_000)
    assert (world.item(PUT.bucket).window_id is None) == covered
