"""The refresh request: one delayed SQS message for each window, and what else arrives on the same queue.

The guarantee: whatever is on the queue is either understood or refused with a message that quotes it; nothing is taken
for an empty request. Sending is at least once, and so is delivery: the window decides whether a request still counts.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from event_aggregator.changes import epoch_ms_of

if TYPE_CHECKING:
    from types_boto3_sqs import SQSClient

# An SQS message can be delayed no longer (SQS API reference, SendMessage); a request that comes early is sent again.
MAX_DELAY_SECONDS = 900

# How long a request may still be delivered again: 100 receives (maxReceiveCount), each with a visibility timeout of
# 360 s, as create-stack.sh sets them. Nobody may take its window over before, or a backlog would breed requests.
LIFETIME_MS = 100 * 360 * 1000

_VERSION = 1


class NotUnderstoodError(ValueError):
    """A message on the queue that is no request and no failure record; the text quotes it."""


@dataclass(frozen=True, slots=True)
class Request:
    """Refresh what the window `window` of `key` holds. `attempt` counts the refusals before it, from 1."""

    key: str
    window: str
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class BucketRequest:
    """Refresh everything in a bucket: the request of the 2018 project, which knew no windows."""

    bucket: str


@dataclass(frozen=True, slots=True)
class RefreshCompleted:
    """A refresh that a share accepted as `notification_id` is complete, since `at` (epoch milliseconds).

    From EventBridge, where Storage Gateway reports it (S3 File Gateway user guide, monitoring-file-gateway).
    """

    share_arn: str
    notification_id: str
    at: int


@dataclass(frozen=True, slots=True)
class Sweep:
    """Look for windows whose request was lost: from a schedule."""


@dataclass(frozen=True, slots=True)
class FailedEvent:
    """An S3 event that the aggregator could not handle, from Lambda's on-failure destination."""

    event: Any


class ActionQueue:
    """The queue on which requests wait. Methods raise botocore's errors."""

    def __init__(self, make_client: "Callable[[], SQSClient]", url: str) -> None:
        self._make_client = make_client
        self._url = url

    @cached_property
    def _client(self) -> "SQSClient":
        """Made when it is needed: of the many containers that a burst of events starts, one sends the request."""
        return self._make_client()

    def send(self, request: Request, *, now: int, due: int) -> None:
        """Queue `request` so that it arrives at `due`, or as near before it as SQS allows (epoch milliseconds)."""
        seconds = -(-(due - now) // 1000)  # rounded up
        body = {"version": _VERSION, "key": request.key, "window": request.window, "attempt": request.attempt}
        self._client.send_message(
            QueueUrl=self._url,
            DelaySeconds=max(0, min(seconds, MAX_DELAY_SECONDS)),
            MessageBody=json.dumps(body),
            MessageAttributes={
                "bucket-name": {"DataType": "String", "StringValue": request.key.partition("/")[0]},
                "timestamp": {"DataType": "Number", "StringValue": str(now / 1000)},
            },
        )


Message = Request | BucketRequest | RefreshCompleted | Sweep | FailedEvent


def read_message(body: str, bucket_attribute: str | None) -> Message:
    """What a message asks for, from its body and its attribute `bucket-name`. Raises NotUnderstoodError."""
    try:
        content = json.loads(body)
    except ValueError as error:
        raise NotUnderstoodError(f"The message is no JSON ({error}): {body[:500]}") from error
    match content:
        case {"version": 1, "key": str(key), "window": str(window), "attempt": int(attempt)} if attempt >= 1:
            return Request(key, window, attempt)
        case {"version": version, "key": _, "window": _}:
            raise NotUnderstoodError(
                f"The request is of version {version!r}, and this function knows version 1: {body[:500]}"
            )
        case {
            "detail-type": "Storage Gateway Refresh Cache Event",
            "resources": [*arns],
            "detail": {"notification-id": str(notification_id), "completed": str(completed)},
        } if share_arns := [arn for arn in arns if ":share/" in str(arn)]:
            return RefreshCompleted(share_arns[0], notification_id, epoch_ms_of(completed))
        case {"sweep": True}:
            return Sweep()
        case {"requestPayload": event}:
            return FailedEvent(event)
        case dict() if not content and bucket_attribute:
            return BucketRequest(bucket_attribute)
    raise NotUnderstoodError(f"The message is neither a request nor an event that is known here: {body[:500]}")
