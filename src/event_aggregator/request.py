"""The delayed SQS messages that the functions put on the action queue: requests of windows, and wakes of gateways.

A message may be sent twice and delivered twice. The window decides whether a request still counts.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from event_aggregator.table import Key

if TYPE_CHECKING:
    from types_boto3_sqs import SQSClient

# SQS delays a message by no more (SQS API reference, SendMessage). A request that arrives early is sent again.
MAX_DELAY_SECONDS = 900

# From attaching a bucket until all of it is refreshed: see `request_full_refresh`.
INITIAL_REFRESH_SECONDS = 360

# Lambda would stop messages that are queued again and again without a delay as a runaway loop.
MIN_DELAY_MS = 1_000

# As in template.yaml: how often the queue delivers a message that fails (maxReceiveCount), and after how long it
# delivers a message again whose invocation was killed.
MAX_RECEIVES, VISIBILITY_TIMEOUT_SECONDS = 100, 360

# How long SQS may deliver a request again. Until then nobody takes its window over: in a backlog, each take-over would
# add a request.
LIFETIME_MS = MAX_RECEIVES * VISIBILITY_TIMEOUT_SECONDS * 1000

# The pause after a message's first failure. Without a pause Lambda would stop the message as a runaway loop.
_FIRST_RETRY_SECONDS = 5

# The version of the messages' format, which messages.py reads.
VERSION = 1


@dataclass(frozen=True, slots=True)
class Request:
    """The request of the window `window` of `key`, which is a bucket's or a region's.

    `attempt` counts the attempts to list the region's file shares, from 1. `correlation` is the id of the bucket's
    window, which every log line about the request has.
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
    """The wake that continues with the line of the gateway `key`. The gateway's document holds it as `token`."""

    key: Key
    token: str

    def content(self) -> dict[str, Any]:
        return {"gateway": str(self.key), "token": self.token}


class ActionQueue:
    """The action queue. Its methods raise botocore's errors."""

    def __init__(self, make_client: "Callable[[], SQSClient]", url: str) -> None:
        self._make_client = make_client
        self._url = url

    @cached_property
    def _client(self) -> "SQSClient":
        """Made when it is needed: of the many containers that a burst of changes starts, only one sends the request."""
        return self._make_client()

    def send(self, message: Request | WakeRequest, *, now: int, due: int) -> None:
        """Queue `message` to arrive at `due` (epoch milliseconds), or earlier if SQS cannot delay it for so long."""
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
        """Request a refresh of the whole bucket after INITIAL_REFRESH_SECONDS.

        Until S3 has applied a new notification, changes send no event. For EventBridge this takes "around five
        minutes". For a notification AWS does not say how long.
        https://docs.aws.amazon.com/AmazonS3/latest/userguide/enable-event-notifications-eventbridge.html
        """
        self._client.send_message(
            QueueUrl=self._url,
            DelaySeconds=INITIAL_REFRESH_SECONDS,
            MessageBody="{}",
            MessageAttributes={"bucket-name": {"DataType": "String", "StringValue": bucket}},
        )

    def deliver_again(self, receipt_handle: str, *, seconds: int) -> None:
        """Let SQS deliver a failed message again after `seconds`, instead of after the visibility timeout."""
        self._client.change_message_visibility(
            QueueUrl=self._url, ReceiptHandle=receipt_handle, VisibilityTimeout=seconds
        )


def delay_seconds(now: int, due: int) -> int:
    """SQS's delay for a message that is sent at `now` and due at `due` (epoch milliseconds): seconds, rounded up."""
    return max(0, min(-(-(due - now) // 1000), MAX_DELAY_SECONDS))


def seconds_until_retry(receives: int) -> int:
    """The pause until a failed message is delivered again. `receives` is how often it has been delivered, from 1.

    The pause doubles up to the visibility timeout: a short fault costs seconds, and a long one few deliveries.
    """
    return min(_FIRST_RETRY_SECONDS << (receives - 1), VISIBILITY_TIMEOUT_SECONDS)
