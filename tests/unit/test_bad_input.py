"""Whatever arrives is understood, or refused with a message that names it: no other surprise, and nothing dropped.

The shapes are those of S3's event notifications (S3 user guide, notification-content-structure, and the pages of each
event type), and of what reaches a function by a wrong turn. `BAD_INPUT_EXAMPLES` sets how many random inputs are tried.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from event_aggregator.changes import NotAnS3RecordError, read_event
from event_aggregator.messages import NotUnderstoodError, read_message
from event_aggregator.settings import SettingError, Settings
from tests.unit.conftest import s3_event, s3_record
from tests.unit.test_event_kinds import call

SAMPLES = Path(__file__).parent / "samples"
EXAMPLES = int(os.environ.get("BAD_INPUT_EXAMPLES", "100"))

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


class _Anything(str):
    """In the place of a refusal's text where there is none: holds whatever is looked for."""

    __slots__ = ()

    def __contains__(self, text: object) -> bool:
        return True


def refusal(function: Callable[..., Any], *arguments: Any) -> str:
    """The text with which the input is refused; if it is understood, a text that holds everything."""
    try:
        function(*arguments)
    except (NotUnderstoodError, SettingError) as error:
        return str(error)
    return _Anything()


def with_object(record: dict[str, Any], **changed: Any) -> dict[str, Any]:
    record["s3"]["object"] |= changed
    return record


def without(record: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in names}


UNDERSTOOD = {
    "an object in a versioned bucket": with_object(s3_record(), versionId="096fKKXTRTtl3on89fVO.nfljtsv6qko"),
    "a multipart upload": s3_record(eventName="ObjectCreated:CompleteMultipartUpload"),
    "a delete marker": with_object(s3_record(eventName="ObjectRemoved:DeleteMarkerCreated"), eTag="d41d8cd98f00b204"),
    "a name that nobody knows": s3_record(eventName="ObjectShrunk:Twice"),
    "a name of the wrong type": s3_record(eventName=7),
    "no name": without(s3_record(), "eventName"),
    "an expiry by lifecycle": s3_record(
        eventName="LifecycleExpiration:Delete", userIdentity={"principalId": "s3.amazonaws.com"}
    ),
    "a record of version 2.6 with fields of tomorrow": s3_record(eventVersion="2.6", tomorrow={"a": [1]}),
    "nobody known": without(s3_record(), "userIdentity", "responseElements", "requestParameters"),
    "a key of four bytes a character, as long as S3 allows": s3_record("%F0%9F%97%82" * 256),
    "a key that is no Unicode": s3_record("%FF%FE.bin"),
}

REFUSED: dict[str, Any] = {
    "an API call, which CloudTrail reports without a time": {
        "detail-type": "AWS API Call via CloudTrail",
        "source": "aws.s3",
        "detail": {"eventName": "PutObject", "requestParameters": {"bucketName": "b", "key": "k"}},
    },
    "an API call, which CloudTrail reports about no bucket": {
        "detail-type": "AWS API Call via CloudTrail",
        "source": "aws.s3",
        "detail": {"eventName": ["PutObject"], "requestParameters": {"bucketName": 7, "key": "k"}},
    },
    "a report of CloudTrail's without anything": {"detail-type": "AWS API Call via CloudTrail", "source": "aws.s3"},
    "an event of EventBridge without a key": {
        "detail-type": "Object Created",
        "source": "aws.s3",
        "time": "2021-11-12T00:00:00Z",
        "detail": {"bucket": {"name": "b"}},
    },
    "an event of EventBridge whose type is none": {"detail-type": ["Object Created"], "source": "aws.s3", "detail": 1},
    "a message of SNS's that is no JSON": {"Records": [{"EventSource": "aws:sns", "Sns": {"Message": "hello"}}]},
    "a message of SNS's without a text": {"Records": [{"EventSource": "aws:sns", "Sns": None}]},
    "a message of SQS's without a body": {"Records": [{"eventSource": "aws:sqs"}]},
    "a message of SQS's that nests too deep": {"Records": [{"eventSource": "aws:sqs", "body": "[" * 200_000}]},
    "a notification of SNS's that is no JSON": {"Type": "Notification", "Message": "hello"},
    "no key": s3_event(s3_record("")),
    "no bucket": s3_event(s3_record(bucket="")),
    "a key that is half of a pair of characters": {
        "detail-type": "Object Created",
        "source": "aws.s3",
        "time": "2021-11-12T00:00:00Z",
        "detail": {"bucket": {"name": "b"}, "object": {"key": "a/\ud800/b"}},
    },
    "a key of the wrong type": s3_event(with_object(s3_record(), key=3)),
    "a bucket of the wrong type": s3_event(s3_record(bucket=["my-bucket"])),  # type: ignore[arg-type]
    "a principal of the wrong type": s3_event(s3_record(userIdentity={"principalId": 7})),
    "a time of the wrong type": s3_event(s3_record(eventTime=1_790_000_000)),
    "records that are none": {"Records": [None, 3, "text", [], {}]},
}


@pytest.mark.parametrize("name", UNDERSTOOD)
def test_every_shape_of_a_record_that_s3_sends_is_a_change(name: str) -> None:
    changes, problems = read_event(s3_event(UNDERSTOOD[name]))
    assert len(changes) == 1
    assert problems == []


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_none_of_s3s_is_refused_record_by_record(name: str) -> None:
    changes, problems = read_event(REFUSED[name])
    assert changes == []
    assert len(problems) == len(REFUSED[name].get("Records", [None]))
    assert all(len(str(problem)) > 20 for problem in problems)


def test_an_event_without_any_record_holds_no_change_and_no_problem() -> None:
    assert read_event({"Records": []}) == ([], [])


@settings(max_examples=EXAMPLES, derandomize="BAD_INPUT_EXAMPLES" not in os.environ, database=None, deadline=None)
@given(json_values)
def test_any_event_becomes_changes_and_problems_one_for_each_record(event: Any) -> None:
    changes, problems = read_event(event)
    records = event.get("Records") if isinstance(event, dict) else None
    assert len(changes) + len(problems) == (len(records) if isinstance(records, list) else 1)
    assert all(isinstance(problem, NotAnS3RecordError) for problem in problems)


@settings(max_examples=EXAMPLES, derandomize="BAD_INPUT_EXAMPLES" not in os.environ, database=None, deadline=None)
@given(st.data())
def test_a_record_of_which_any_part_is_anything_is_a_change_or_a_problem(data: st.DataObject) -> None:
    record = s3_record()
    place = data.draw(st.sampled_from([record, record["s3"], record["s3"]["bucket"], record["s3"]["object"]]))
    place[data.draw(st.sampled_from(sorted(place)))] = data.draw(json_values)
    changes, problems = read_event(s3_event(record))
    assert len(changes) + len(problems) == 1
    for change in changes:
        texts = (change.bucket, change.key, change.principal, change.identity)
        assert all(isinstance(text, str) for text in texts)
        assert isinstance(change.time, int)


def in_sns(message: str) -> dict[str, Any]:
    return s3_event({"EventSource": "aws:sns", "Sns": {"Message": message}})


def in_sqs(body: str) -> dict[str, Any]:
    return s3_event({"eventSource": "aws:sqs", "body": body})


def in_notification(message: str) -> dict[str, Any]:
    return {"Type": "Notification", "Message": message}


def eventbridge_event() -> dict[str, Any]:
    event: dict[str, Any] = json.loads((SAMPLES / "eventbridge.json").read_text())
    return event


@settings(max_examples=EXAMPLES, derandomize="BAD_INPUT_EXAMPLES" not in os.environ, database=None, deadline=None)
@given(json_values | st.builds(eventbridge_event), st.lists(st.sampled_from([in_sns, in_sqs, in_notification])))
def test_an_event_has_as_many_changes_and_problems_wrapped_as_it_has_bare(
    event: Any, wrappers: list[Callable[[str], Any]]
) -> None:
    wrapped = event
    for wrap in wrappers[:5]:
        wrapped = wrap(json.dumps(wrapped))
    changes, problems = read_event(wrapped)
    bare_changes, bare_problems = read_event(event)
    assert changes == bare_changes
    assert len(problems) == len(bare_problems)


@settings(max_examples=EXAMPLES, derandomize="BAD_INPUT_EXAMPLES" not in os.environ, database=None, deadline=None)
@given(st.data())
def test_an_event_of_eventbridge_of_which_any_part_is_anything_is_a_change_or_a_problem(
    data: st.DataObject,
) -> None:
    event = eventbridge_event()
    detail = event["detail"]
    place = data.draw(st.sampled_from([event, detail, detail["bucket"], detail["object"]]))
    place[data.draw(st.sampled_from(sorted(place)))] = data.draw(json_values)
    changes, problems = read_event(data.draw(st.sampled_from([in_sns, in_sqs]))(json.dumps(event)))
    assert len(changes) + len(problems) == 1
    assert all(isinstance(problem, NotAnS3RecordError) for problem in problems)


MESSAGES: list[dict[str, Any]] = [
    {"version": 1, "key": "b", "window": "w", "attempt": 1, "correlation": "c"},
    {"version": 1, "gateway": "arn:aws:storagegateway:us-east-1:1:gateway/sgw-1", "token": "t"},
    {"bucket": "b", "folders": ["/a", "*/b", "*"]},
    {
        "detail-type": "Storage Gateway Refresh Cache Event",
        "resources": ["arn:aws:storagegateway:us-east-1:1:share/s", "arn:aws:storagegateway:us-east-1:1:gateway/g"],
        "detail": {"notification-id": "n", "started": "2018-02-06T21:34:42Z", "completed": "2018-02-06T21:34:53Z"},
    },
]


@st.composite
def messages_with_a_part_of_anything(draw: st.DrawFn) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(json.dumps(draw(st.sampled_from(MESSAGES))))
    place = draw(st.sampled_from([message, message["detail"]] if "detail" in message else [message]))
    place[draw(st.sampled_from(sorted(place)))] = draw(json_values)
    return message


@settings(max_examples=EXAMPLES, derandomize="BAD_INPUT_EXAMPLES" not in os.environ, database=None, deadline=None)
@given(st.data())
def test_a_report_of_cloudtrails_of_which_any_part_is_anything_is_a_change_or_a_problem(data: st.DataObject) -> None:
    event = call()
    detail = event["detail"]
    place = data.draw(st.sampled_from([event, detail, detail["requestParameters"], detail["userIdentity"]]))
    place[data.draw(st.sampled_from(sorted(place)))] = data.draw(json_values)
    changes, problems = read_event(event)
    assert len(changes) + len(problems) == 1
    assert all(isinstance(problem, NotAnS3RecordError) for problem in problems)


@settings(max_examples=EXAMPLES, derandomize="BAD_INPUT_EXAMPLES" not in os.environ, database=None, deadline=None)
@given(json_values | messages_with_a_part_of_anything())
def test_any_message_is_understood_or_refused_with_a_quotation(content: Any) -> None:
    body = json.dumps(content)
    assert body[:100] in refusal(read_message, body, None)


@settings(max_examples=EXAMPLES, derandomize="BAD_INPUT_EXAMPLES" not in os.environ, database=None, deadline=None)
@given(st.text(max_size=30))
def test_any_text_on_the_queue_is_understood_or_refused(body: str) -> None:
    assert body[:100] in refusal(read_message, body, "my-bucket")


@settings(max_examples=EXAMPLES, derandomize="BAD_INPUT_EXAMPLES" not in os.environ, database=None, deadline=None)
@given(
    st.sampled_from(["REFRESH_DELAY_SECONDS", "REFRESH_QUIET_SECONDS", "LOG_LEVEL", "REFRESH_SCOPE"]),
    st.text(max_size=10),
)
def test_any_setting_is_taken_or_refused_with_its_name_and_value(name: str, value: str) -> None:
    refused = refusal(Settings.read, {"TABLE_NAME": "t", "QUEUE_URL": "q", name: value})
    assert name in refused
    assert any(repr(part) in refused for part in (value, *value.split(",")))
