"""What arrives on the action queue: requests, and the events of others.

The guarantee: a message is either understood or refused with a text that quotes it; none is taken for an empty one.
"""

import json
from dataclasses import dataclass
from typing import Any

from event_aggregator.changes import epoch_ms_of
from event_aggregator.request import VERSION, Request


class NotUnderstoodError(ValueError):
    """A message on the queue that is no request and no failure record; the text quotes it."""


@dataclass(frozen=True, slots=True)
class BucketRequest:
    """Refresh everything in a bucket: the request of the 2018 project, which knew no windows."""

    bucket: str


@dataclass(frozen=True, slots=True)
class RefreshCompleted:
    """A refresh that a share accepted as `notification_id` is complete, since `at` (epoch milliseconds, if it says so).

    From EventBridge, where Storage Gateway reports it (S3 File Gateway user guide, monitoring-file-gateway).
    """

    share_arn: str
    notification_id: str
    at: int | None


@dataclass(frozen=True, slots=True)
class Sweep:
    """Look for windows whose request was lost: from a schedule."""


@dataclass(frozen=True, slots=True)
class FailedEvent:
    """An S3 event that the aggregator could not handle, from Lambda's on-failure destination."""

    event: Any


Message = Request | BucketRequest | RefreshCompleted | Sweep | FailedEvent


def read_message(body: str, bucket_attribute: str | None) -> Message:
    """What a message asks for, from its body and its attribute `bucket-name`. Raises NotUnderstoodError."""
    try:
        content = json.loads(body)
    except ValueError as error:
        raise NotUnderstoodError(f"The message is no JSON ({error}): {body[:500]}") from error
    match content:
        case {"version": version, "key": str(key), "window": str(window), "attempt": int(attempt), **rest} if (
            version == VERSION and attempt >= 1 and isinstance(denials := rest.get("denials", 0), int)
        ):
            return Request(key, window, str(rest.get("correlation", window)), attempt, denials)
        case {"version": version, "key": _, "window": _}:
            raise NotUnderstoodError(
                f"The request is of version {version!r}, and this function knows version {VERSION}: {body[:500]}"
            )
        case {
            "detail-type": "Storage Gateway Refresh Cache Event",
            "resources": [*arns],
            "detail": {"notification-id": str(notification_id), **detail},
        } if share_arns := [arn for arn in arns if ":share/" in str(arn)]:
            return RefreshCompleted(share_arns[0], notification_id, _time_of(detail.get("completed")))
        case {"sweep": True}:
            return Sweep()
        case {"requestPayload": event}:
            return FailedEvent(event)
        case dict() if not content and bucket_attribute:
            return BucketRequest(bucket_attribute)
    raise NotUnderstoodError(f"The message is neither a request nor an event that is known here: {body[:500]}")


def _time_of(iso_time: Any) -> int | None:
    """Epoch milliseconds; None for what is no time: a completion counts all the same."""
    try:
        return epoch_ms_of(iso_time)
    except (TypeError, ValueError):
        return None
