from typing import Any

import pytest

from event_aggregator.changes import by_bucket, read_event
from tests.unit.conftest import START, s3_event, s3_record


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
        (s3_record(eventVersion="3.0"), "eventVersion is '3.0', and only 2.x is known"),
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
    assert str(problem).startswith("Record 1 is not S3's (")
    assert reason in str(problem)


def test_a_problem_quotes_no_more_than_a_line_of_a_huge_record() -> None:
    _, [problem] = read_event({"Records": [{"eventSource": "x" * 1_000_000}]})
    assert len(str(problem)) < 1_000


def test_changes_are_grouped_by_bucket_in_their_order_and_in_bounded_parts() -> None:
    changes, _ = read_event(s3_event(*(s3_record(f"{n}", bucket=f"bucket-{n % 2}") for n in range(6))))
    parts = [(bucket, [change.key for change in part]) for bucket, part in by_bucket(changes, at_most=2)]
    assert parts == [("bucket-0", ["0", "2"]), ("bucket-0", ["4"]), ("bucket-1", ["1", "3"]), ("bucket-1", ["5"])]
