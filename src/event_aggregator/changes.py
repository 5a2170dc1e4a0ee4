"""What S3 says has changed. Every record of an event becomes a change, or a problem that names it: none is passed over.

The record's structure is S3's event notification message (S3 user guide, notification-content-structure), any 2.x.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import unquote_plus


class NotAnS3RecordError(ValueError):
    """A record, or a whole event, that cannot be read as S3's; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Change:
    """One object was written or removed."""

    bucket: str
    key: str  # decoded
    time: int  # when S3 finished the request, epoch milliseconds
    principal: str  # who wrote: an id of IAM's, or empty
    identity: str  # the same over every delivery of this change, and no other change's in this bucket


def read_event(event: Any) -> tuple[list[Change], list[NotAnS3RecordError]]:
    """The changes that `event` tells of, and a problem for each record that is none of S3's.

    A test event, which S3 sends when a notification is set up, tells of nothing.
    """
    if isinstance(event, dict) and event.get("Event") == "s3:TestEvent":
        return [], []
    records = event.get("Records") if isinstance(event, dict) else None
    if not isinstance(records, list):
        return [], [NotAnS3RecordError(f"The event has no list of Records, so it is not S3's: {_shortened(event)}")]
    changes: list[Change] = []
    problems: list[NotAnS3RecordError] = []
    for number, record in enumerate(records):
        try:
            changes.append(_read_record(record))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            problems.append(NotAnS3RecordError(f"Record {number} is not S3's ({error!r:.300}): {_shortened(record)}"))
    return changes, problems


def by_bucket(changes: list[Change], *, at_most: int) -> Iterator[tuple[str, list[Change]]]:
    """The changes bucket by bucket, in their order, at most `at_most` of a bucket at a time."""
    buckets: dict[str, list[Change]] = {}
    for change in changes:
        buckets.setdefault(change.bucket, []).append(change)
    for bucket, of_bucket in buckets.items():
        for start in range(0, len(of_bucket), at_most):
            yield bucket, of_bucket[start : start + at_most]


def epoch_ms_of(iso_time: str) -> int:
    """Epoch milliseconds of an ISO 8601 time as AWS writes it. Raises ValueError."""
    return round(datetime.fromisoformat(iso_time).timestamp() * 1000)


def _read_record(record: Any) -> Change:
    if record["eventSource"] != "aws:s3":
        raise ValueError(f"eventSource is {record['eventSource']!r}")
    if not record["eventVersion"].startswith("2."):
        raise ValueError(f"eventVersion is {record['eventVersion']!r}, and only 2.x is known")
    s3 = record["s3"]
    bucket, key = s3["bucket"]["name"], unquote_plus(s3["object"]["key"])
    principal = record.get("userIdentity", {}).get("principalId") or ""
    if not bucket or not key:
        raise ValueError("the bucket's name or the key is empty")
    if not (isinstance(bucket, str) and isinstance(principal, str)):
        raise TypeError("the bucket's name or the principal's id is no text")
    return Change(
        bucket=bucket,
        key=key,
        time=epoch_ms_of(record["eventTime"]),
        principal=principal,
        identity=f"{_occurrence(record)} {key}",
    )


def _occurrence(record: dict[str, Any]) -> str:
    """What tells this change of a key from every other: its sequencer, or, as only PUTs and DELETEs have one, the
    request that made it."""
    if sequencer := record["s3"]["object"].get("sequencer"):
        return str(sequencer)
    request = record.get("responseElements", {}).get("x-amz-request-id", "")
    return f"{request}@{record['eventTime']}"


def _shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 500 else f"{text[:500]}... ({len(text)} characters)"
