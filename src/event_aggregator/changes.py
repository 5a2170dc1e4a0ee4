"""Reads S3's events. Each record becomes a `Change`, or a problem that names it, or is known to change no listing.

A record is S3's notification message, version 2.x (S3 user guide, notification-content-structure), S3's event on
EventBridge (S3 user guide, ev-events), or CloudTrail's report of an S3 call on EventBridge. Each may be inside SNS and
SQS messages, nested to any depth.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import unquote_plus

# S3's detail types on EventBridge that change no listing of a folder. Any other type counts as a change.
_TYPES_THAT_CHANGE_NO_LISTING = frozenset(
    {
        "Object Restore Initiated",
        "Object Restore Completed",
        "Object Restore Expired",
        "Object Storage Class Changed",
        "Object Access Tier Changed",
        "Object ACL Updated",
        "Object Tags Added",
        "Object Tags Deleted",
    }
)

# The same in a notification: the first part of the event's name, such as ObjectTagging of ObjectTagging:Put (S3 user
# guide, notification-how-to-event-types-and-destinations).
_NAMES_THAT_CHANGE_NO_LISTING = frozenset(
    {"IntelligentTiering", "LifecycleTransition", "ObjectAcl", "ObjectRestore", "ObjectTagging", "Replication"}
)

# S3 calls that change no listing, although CloudTrail reports them as writes (S3 user guide,
# cloudtrail-logging-s3-info).
_CALLS_THAT_CHANGE_NO_LISTING = frozenset(
    {
        "AbortMultipartUpload",
        "CreateMultipartUpload",
        "DeleteObjectTagging",
        "PutObjectAcl",
        "PutObjectLegalHold",
        "PutObjectRetention",
        "PutObjectTagging",
        "RestoreObject",
        "UploadPart",
        "UploadPartCopy",
    }
)
_BETTER_RULE = (
    "Change the EventBridge rule to match S3's own events: source aws.s3, detail-type Object Created or Object Deleted"
)

# What the code below raises for a record that is not S3's.
_UNREADABLE = (KeyError, TypeError, ValueError, AttributeError, RecursionError)


class NotAnS3RecordError(ValueError):
    """A record or a whole event cannot be read as S3's. The message names it and says why."""


class NoChangeError(NotAnS3RecordError):
    """CloudTrail reported a call that changes no listing: logged once, because the message does not name the key."""


@dataclass(frozen=True, slots=True)
class Change:
    """One object was created or deleted."""

    bucket: str
    key: str  # URL-decoded
    time: int  # when S3 finished the request, epoch milliseconds: the latest moment that the event's time can mean
    principal: str  # the writer's id in IAM, or empty
    identity: str  # the same in every delivery of this change, and different for every other change in the bucket

    def role_of(self, session_name: str) -> str:
        """The id of the role that wrote the object in a session of this name; empty if none did, or without a name.

        S3 names a role's session AWS:AROAEXAMPLE:session (IAM user guide, reference_identifiers).
        """
        who, _, session = self.principal.rpartition(":")
        role_id = who.removeprefix("AWS:")
        is_one = session == session_name and role_id.startswith("AROA") and role_id.isalnum()
        return role_id if session_name and is_one else ""


def read_event(event: Any) -> tuple[list[Change], list[NotAnS3RecordError]]:
    """The changes in `event`, and a problem for each record that is not S3's.

    Ignored are the test event that S3 sends when a notification is set up, and events that change no listing: restores,
    tags, ACLs, storage classes, replication.
    """
    records = event.get("Records") if isinstance(event, dict) else None
    if not isinstance(records, list):
        return _read_without_records(event)
    changes: list[Change] = []
    problems: list[NotAnS3RecordError] = []
    for number, record in enumerate(records):
        try:
            if (message := _message_in(record)) is None:
                if change := _read_record(record):
                    changes.append(change)
                continue
            inner_changes, inner_problems = read_event(json.loads(message))
        except _UNREADABLE as error:
            reason = f"Record {number} cannot be read as S3's ({error!r:.300}): {_shortened(record)}"
            problems.append(NotAnS3RecordError(reason))
        else:
            changes += inner_changes
            problems += [_in_record(number, problem) for problem in inner_problems]
    return changes, problems


def _in_record(number: int, problem: NotAnS3RecordError) -> NotAnS3RecordError:
    return problem if isinstance(problem, NoChangeError) else NotAnS3RecordError(f"In record {number}: {problem}")


def _message_in(record: Any) -> Any:
    """The message in an SNS or SQS record, as JSON text; None for any other record."""
    if not isinstance(record, dict) or (source := record.get("eventSource")) == "aws:s3":
        return None
    if source == "aws:sqs":
        return record["body"]
    return record["Sns"]["Message"] if record.get("EventSource") == "aws:sns" else None


def _read_without_records(event: Any) -> tuple[list[Change], list[NotAnS3RecordError]]:
    """`read_event` for an event without Records: a test event, an EventBridge event or an SNS notification."""
    try:
        match event:
            case {"Event": "s3:TestEvent"}:
                return [], []
            case {"source": "aws.s3", "detail-type": str(detail_type)} if detail_type in _TYPES_THAT_CHANGE_NO_LISTING:
                return [], []
            case {"source": "aws.s3", "detail-type": str(detail_type)} if detail_type.endswith(" via CloudTrail"):
                return _read_cloudtrail_report(event["detail"])
            case {"source": "aws.s3"}:
                return [_read_eventbridge_event(event)], []
            case {"Type": "Notification", "Message": message}:  # SNS's message in an SQS message
                return read_event(json.loads(message))
            case _:
                reason = "it has no list of Records"
    except _UNREADABLE as error:
        reason = f"{error!r:.300}"
    return [], [NotAnS3RecordError(f"The event cannot be read as S3's ({reason}): {_shortened(event)}")]


def epoch_ms_of(iso_time: str) -> int:
    """Epoch milliseconds of an ISO 8601 time as AWS writes it. Raises ValueError."""
    return round(datetime.fromisoformat(iso_time).timestamp() * 1000)


def _read_record(record: Any) -> Change | None:
    """The change; None if the record changes no listing."""
    if record["eventSource"] != "aws:s3":
        raise ValueError(f"eventSource is {record['eventSource']!r}")
    if not record["eventVersion"].startswith("2."):
        raise ValueError(f"eventVersion is {record['eventVersion']!r}, but only 2.x is supported")
    if str(record.get("eventName")).removeprefix("s3:").partition(":")[0] in _NAMES_THAT_CHANGE_NO_LISTING:
        return None
    s3, time = record["s3"], record["eventTime"]
    # The sequencer tells changes of a key apart. Only PUTs and DELETEs have one: for others, the request's id does.
    occurrence = s3["object"].get("sequencer")
    if not occurrence:
        occurrence = f"{record.get('responseElements', {}).get('x-amz-request-id', '')}@{time}"
    principal = record.get("userIdentity", {}).get("principalId") or ""
    return _change(s3["bucket"]["name"], unquote_plus(s3["object"]["key"]), time, principal, occurrence)


def _read_eventbridge_event(event: Any) -> Change:
    """The change. Here the key is not URL-encoded, and the writer is unknown: only an account or a service is named."""
    detail, time = event["detail"], event["time"]
    occurrence = detail["object"].get("sequencer") or f"{detail.get('request-id', '')}@{time}"
    return _change(detail["bucket"]["name"], detail["object"]["key"], time, "", occurrence)


def _read_cloudtrail_report(detail: Any) -> tuple[list[Change], list[NotAnS3RecordError]]:
    """`read_event` for CloudTrail's report of an S3 call (CloudTrail user guide, record contents).

    Its time is when S3 finished the request. Its key is not URL-encoded. A failed call is ignored.
    """
    name, asked = detail["eventName"], detail.get("requestParameters") or {}
    bucket, key = asked.get("bucketName", ""), asked.get("key")
    if "errorCode" in detail:
        return [], []
    if detail.get("readOnly") or detail.get("managementEvent") or name in _CALLS_THAT_CHANGE_NO_LISTING:
        called = f"{name} on the bucket {bucket}" if bucket else name
        return [], [NoChangeError(f"CloudTrail reports {called}, which changes no listing. {_BETTER_RULE}")]
    if not bucket or ":" in bucket or bucket.endswith("-s3alias"):
        return [], [NotAnS3RecordError(f"CloudTrail reports {name} without the bucket's name. {_BETTER_RULE}")]
    if not key:  # DeleteObjects, which the S3 console uses, is reported without keys
        reason = f"CloudTrail reports {name} on the bucket {bucket} without keys. {_BETTER_RULE}"
        return [], [NotAnS3RecordError(reason)]
    time, principal = detail["eventTime"], detail.get("userIdentity", {}).get("principalId") or ""
    return [_change(bucket, key, time, principal, f"{detail.get('requestID', '')}@{time}")], []


def _change(bucket: Any, key: Any, time: str, principal: Any, occurrence: Any) -> Change:
    if not bucket or not key:
        raise ValueError("the bucket's name or the key is empty")
    if not (isinstance(bucket, str) and isinstance(key, str) and isinstance(principal, str)):
        raise TypeError("the bucket's name, the key or the principal's id is not a string")
    identity = f"{occurrence} {key}"
    f"{bucket}{principal}{identity}".encode()  # raises for half a surrogate pair, which DynamoDB cannot store
    return Change(bucket, key, _latest_ms_of(time), principal, identity)


def _latest_ms_of(iso_time: str) -> int:
    """Epoch milliseconds of the last moment that the time can mean: times on EventBridge are whole seconds.

    Promise: a change that came after a refresh began never looks older than the refresh.
    """
    return epoch_ms_of(iso_time) + (0 if "." in iso_time else 999)


def _shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 500 else f"{text[:500]}... ({len(text)} characters)"
