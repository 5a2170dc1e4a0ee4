"""What S3 says has changed. Every record of an event becomes a change, or a problem that names it: none is passed over.

A record is S3's event notification message (S3 user guide, notification-content-structure), any 2.x, its event on
EventBridge (S3 user guide, ev-events), or CloudTrail's report of a call to S3 there. Each may come inside what SNS and
SQS make of it, however deep.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import unquote_plus

# What S3 reports beside these is that an object was created or deleted: to EventBridge by the event's type, ...
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

# ... and in a notification by the first part of its event's name, ObjectTagging:Put (S3 user guide,
# notification-how-to-event-types-and-destinations).
_NAMES_THAT_CHANGE_NO_LISTING = frozenset(
    {"IntelligentTiering", "LifecycleTransition", "ObjectAcl", "ObjectRestore", "ObjectTagging", "Replication"}
)

# Calls about an object that CloudTrail reports as writes (S3 user guide, cloudtrail-logging-s3-info).
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
    "let the rule match S3's own events instead, source aws.s3 and detail-type Object Created, Object Deleted"
)

# What reading something that is none of S3's raises.
_UNREADABLE = (KeyError, TypeError, ValueError, AttributeError, RecursionError)


class NotAnS3RecordError(ValueError):
    """A record, or a whole event, that cannot be read as S3's; the message says which and why."""


class NoChangeError(NotAnS3RecordError):
    """What is known to change no listing, and need not have been sent. The message, the same for each of its kind, says
    what it is and what to do: it is to be told once, and the event need not come again."""


@dataclass(frozen=True, slots=True)
class Change:
    """One object was written or removed."""

    bucket: str
    key: str  # decoded
    time: int  # when S3 finished the request, epoch milliseconds: the latest that it can mean
    principal: str  # who wrote: an id of IAM's, or empty
    identity: str  # the same over every delivery of this change, and no other change's in this bucket

    def role_of(self, session_name: str) -> str:
        """The id of the role by which it was written, if that was in a session of this name, not empty; else empty.

        AWS:AROAEXAMPLE:session is how S3 names who wrote by a role (IAM user guide, reference_identifiers).
        """
        who, _, session = self.principal.rpartition(":")
        role_id = who.removeprefix("AWS:")
        is_one = session == session_name and role_id.startswith("AROA") and role_id.isalnum()
        return role_id if session_name and is_one else ""


def read_event(event: Any) -> tuple[list[Change], list[NotAnS3RecordError]]:
    """The changes that `event` tells of, and a problem for each record that is none of S3's.

    A test event, which S3 sends when a notification is set up, tells of nothing, and so does an event about what no
    listing shows: a restore, tags, an ACL, another storage class, how a replication went.
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
            problems.append(NotAnS3RecordError(f"Record {number} is not S3's ({error!r:.300}): {_shortened(record)}"))
        else:
            changes += inner_changes
            problems += [_in_record(number, problem) for problem in inner_problems]
    return changes, problems


def _in_record(number: int, problem: NotAnS3RecordError) -> NotAnS3RecordError:
    return problem if isinstance(problem, NoChangeError) else NotAnS3RecordError(f"In record {number}: {problem}")


def _message_in(record: Any) -> Any:
    """What a record of SNS's or SQS's carries, JSON in a text; None for every other record."""
    if not isinstance(record, dict) or (source := record.get("eventSource")) == "aws:s3":
        return None
    if source == "aws:sqs":
        return record["body"]
    return record["Sns"]["Message"] if record.get("EventSource") == "aws:sns" else None


def _read_without_records(event: Any) -> tuple[list[Change], list[NotAnS3RecordError]]:
    """What `read_event` answers for a test event, an event of EventBridge's, and a notification of SNS's."""
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
            case {"Type": "Notification", "Message": message}:  # as SNS sends it to a queue
                return read_event(json.loads(message))
            case _:
                reason = "it has no list of Records"
    except _UNREADABLE as error:
        reason = f"{error!r:.300}"
    return [], [NotAnS3RecordError(f"The event is not S3's ({reason}): {_shortened(event)}")]


def epoch_ms_of(iso_time: str) -> int:
    """Epoch milliseconds of an ISO 8601 time as AWS writes it. Raises ValueError."""
    return round(datetime.fromisoformat(iso_time).timestamp() * 1000)


def _read_record(record: Any) -> Change | None:
    """The change; None for what changes no listing."""
    if record["eventSource"] != "aws:s3":
        raise ValueError(f"eventSource is {record['eventSource']!r}")
    if not record["eventVersion"].startswith("2."):
        raise ValueError(f"eventVersion is {record['eventVersion']!r}, and only 2.x is known")
    if str(record.get("eventName")).removeprefix("s3:").partition(":")[0] in _NAMES_THAT_CHANGE_NO_LISTING:
        return None
    s3, time = record["s3"], record["eventTime"]
    # What tells this change of a key from every other: its sequencer, or, as only PUTs and DELETEs have one, the
    # request that made it.
    occurrence = s3["object"].get("sequencer")
    if not occurrence:
        occurrence = f"{record.get('responseElements', {}).get('x-amz-request-id', '')}@{time}"
    principal = record.get("userIdentity", {}).get("principalId") or ""
    return _change(s3["bucket"]["name"], unquote_plus(s3["object"]["key"]), time, principal, occurrence)


def _read_eventbridge_event(event: Any) -> Change:
    """The key is not encoded there. Who wrote is told by the account or the service alone: it is nobody known."""
    detail, time = event["detail"], event["time"]
    occurrence = detail["object"].get("sequencer") or f"{detail.get('request-id', '')}@{time}"
    return _change(detail["bucket"]["name"], detail["object"]["key"], time, "", occurrence)


def _read_cloudtrail_report(detail: Any) -> tuple[list[Change], list[NotAnS3RecordError]]:
    """What `read_event` answers for a call to S3 that CloudTrail reports (CloudTrail user guide, record contents).

    Its time is when the request was completed. The key is taken as it is. A call that failed tells of nothing.
    """
    name, asked = detail["eventName"], detail.get("requestParameters") or {}
    bucket, key = asked.get("bucketName", ""), asked.get("key")
    if "errorCode" in detail:
        return [], []
    if detail.get("readOnly") or detail.get("managementEvent") or name in _CALLS_THAT_CHANGE_NO_LISTING:
        called = f"{name} of the bucket {bucket}" if bucket else name
        return [], [NoChangeError(f"CloudTrail reports {called}, which changes no listing; {_BETTER_RULE}")]
    if not bucket or ":" in bucket or bucket.endswith("-s3alias"):
        return [], [NotAnS3RecordError(f"CloudTrail reports {name}, and not of which bucket; {_BETTER_RULE}")]
    if not key:  # DeleteObjects, which the S3 console uses, names none
        reason = f"CloudTrail reports {name} of the bucket {bucket}, and not of which keys; {_BETTER_RULE}"
        return [], [NotAnS3RecordError(reason)]
    time, principal = detail["eventTime"], detail.get("userIdentity", {}).get("principalId") or ""
    return [_change(bucket, key, time, principal, f"{detail.get('requestID', '')}@{time}")], []


def _change(bucket: Any, key: Any, time: str, principal: Any, occurrence: Any) -> Change:
    if not bucket or not key:
        raise ValueError("the bucket's name or the key is empty")
    if not (isinstance(bucket, str) and isinstance(key, str) and isinstance(principal, str)):
        raise TypeError("the bucket's name, the key or the principal's id is no text")
    identity = f"{occurrence} {key}"
    f"{bucket}{principal}{identity}".encode()  # JSON may hold half of a pair of characters, which no table takes
    return Change(bucket, key, _latest_ms_of(time), principal, identity)


def _latest_ms_of(iso_time: str) -> int:
    """Epoch milliseconds of the last moment that the time may stand for: EventBridge's have no fraction of a second.

    Promise: a change that came after a refresh began is not taken for one from before it.
    """
    return epoch_ms_of(iso_time) + (0 if "." in iso_time else 999)


def _shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 500 else f"{text[:500]}... ({len(text)} characters)"
