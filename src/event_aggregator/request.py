"""What waits on the action queue: the request of each window, and the wakes of gateways; each one delayed SQS message.

Sending is at least once, and so is delivery: the window decides whether a request still counts.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from event_aggregator.table import Key

if TYPE_CHECKING:
    from types_boto3_sqs import SQSClient

# An SQS message can be delayed no longer (SQS API reference, SendMessage); a request that comes early is sent again.
MAX_DELAY_SECONDS = 900

# After a bucket was attached.
INITIAL_REFRESH_SECONDS = 360

# Lambda would stop a chain of messages that go round without a delay as a runaway loop.
MIN_DELAY_MS = 1_000

# As template.yaml sets the queue: how often it delivers a message that fails (maxReceiveCount), and after how long it
# delivers one again whose invocation was killed.
MAX_RECEIVES, VISIBILITY_TIMEOUT_SECONDS = 100, 360

# How long a request may still be delivered again. Nobody may take its window over before, or a backlog would breed
# requests.
LIFETIME_MS = MAX_RECEIVES * VISIBILITY_TIMEOUT_SECONDS * 1000

# Until a message that failed for the first time comes again. Not at once: Lambda would take it for a runaway loop.
_FIRST_RETRY_SECONDS = 5

# Of the messages' format; the module messages reads it.
VERSION = 1


@dataclass(frozen=True, slots=True)
class Request:
    """Refresh what the window `window` of `key` holds, a bucket's or a region's.

    `attempt` counts, from 1, the attempts to list a region's file shares. `correlation` is the id of the bucket's
    window: the log lines about the request have it.
    """

    key: Key
    window: str
    correlation: str
    attempt: int = 1

    def content(self) -> dict[str, Any]:
        return {
            "key": str(self.key),
            "window": self.window,
            "correlation": self.correlation,
            "attempt": self.attempt,
        }


@dataclass(frozen=True, slots=True)
class WakeRequest:
    """Let those who wait at the gateway `key` take their turn: the wake that its document holds as `token` is due."""

    key: Key
    token: str

    def content(self) -> dict[str, Any]:
        return {"gateway": str(self.key), "token": self.token}


class ActionQueue:
    """The queue on which requests wait. Methods raise botocore's errors."""

    def __init__(self, make_client: "Callable[[], SQSClient]", url: str) -> None:
        self._make_client = make_client
        self._url = url

    @cached_property
    def _client(self) -> "SQSClient":
        """Made when it is needed: of the many containers that a burst of events starts, one sends the request."""
        return self._make_client()

    def send(self, message: Request | WakeRequest, *, now: int, due: int) -> None:
        """Queue `message` so that it arrives at `due`, or as near before it as SQS allows (epoch milliseconds)."""
        self._client.send_message(
            QueueUrl=self._url,
            DelaySeconds=delay_seconds(now, due),
            MessageBody=json.dumps({"version": VERSION, **message.content()}),
            MessageAttributes={
                "bucket-name": {"DataType": "String", "StringValue": message.key.bucket or "-"},
                "timestamp": {"DataType": "Number", "StringValue": str(now / 1000)},
            },
        )

    def request_full_refresh(self, bucket: str) -> None:
        """Have all of a bucket refreshed in some minutes, for until S3 has applied a notification it sends no events.

        It takes "around five minutes" until a bucket tells EventBridge, and is promised no time for a notification.
        https://docs.aws.amazon.com/AmazonS3/latest/userguide/enable-event-notifications-eventbridge.html
        """
        self._client.send_message(
            QueueUrl=self._url,
            DelaySeconds=INITIAL_REFRESH_SECONDS,
            MessageBody="{}",
            MessageAttributes={"bucket-name": {"DataType": "String", "StringValue": bucket}},
        )

    def deliver_again(self, receipt_handle: str, *, seconds: int) -> None:
        """Have a message that failed delivered again after so long, and not after the visibility timeout."""
        self._client.change_message_visibility(
            QueueUrl=self._url, ReceiptHandle=receipt_handle, VisibilityTimeout=seconds
        )


def delay_seconds(now: int, due: int) -> int:
    """For how long SQS is to delay what is sent now and due then (epoch milliseconds): whole seconds, rounded up."""
    return max(0, min(-(-(due - now) // 1000), MAX_DELAY_SECONDS))


def seconds_until_retry(receives: int) -> int:
    """After how long a message that failed is delivered again; `receives`: how often it was delivered, from 1.

    A fault that lasts seconds delays by seconds; one that lasts is met as rarely as the visibility timeout says.
    """
    return min(_FIRST_RETRY_SECONDS << (receives - 1), VISIBILITY_TIMEOUT_SECONDS)
