"""The refresh request: one delayed SQS message for each window.

Sending is at least once, and so is delivery: the window decides whether a request still counts.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types_boto3_sqs import SQSClient

# An SQS message can be delayed no longer (SQS API reference, SendMessage); a request that comes early is sent again.
MAX_DELAY_SECONDS = 900

# As create-stack.sh sets the queue: how often it delivers a message that fails (maxReceiveCount), and after how long it
# delivers one again whose invocation was killed.
MAX_RECEIVES, VISIBILITY_TIMEOUT_SECONDS = 100, 360

# How long a request may still be delivered again. Nobody may take its window over before, or a backlog would breed
# requests.
LIFETIME_MS = MAX_RECEIVES * VISIBILITY_TIMEOUT_SECONDS * 1000

# Until a message that failed for the first time comes again. Not at once: Lambda would take it for a runaway loop.
_FIRST_RETRY_SECONDS = 5

# Of the message's format; messages reads it.
VERSION = 1


@dataclass(frozen=True, slots=True)
class Request:
    """Refresh what the window `window` of `key` holds. `attempt` counts the refusals before it, from 1; `denials` those
    of them, the last ones, by which a place denied us the list of its shares.

    `correlation` is the id under which the logs tell of it: that of the bucket's window, also for a share's.
    """

    key: str
    window: str
    correlation: str
    attempt: int = 1
    denials: int = 0


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
        body = {"version": VERSION, **asdict(request)}
        self._client.send_message(
            QueueUrl=self._url,
            DelaySeconds=max(0, min(seconds, MAX_DELAY_SECONDS)),
            MessageBody=json.dumps(body),
            MessageAttributes={
                "bucket-name": {"DataType": "String", "StringValue": request.key.partition("/")[0]},
                "timestamp": {"DataType": "Number", "StringValue": str(now / 1000)},
            },
        )

    def deliver_again(self, receipt_handle: str, *, seconds: int) -> None:
        """Have a message that failed delivered again after so long, and not after the visibility timeout."""
        self._client.change_message_visibility(
            QueueUrl=self._url, ReceiptHandle=receipt_handle, VisibilityTimeout=seconds
        )


def seconds_until_retry(receives: int) -> int:
    """After how long a message that failed is delivered again; `receives`: how often it was delivered, from 1.

    A fault that lasts seconds delays by seconds; one that lasts is met as rarely as the visibility timeout says.
    """
    return min(_FIRST_RETRY_SECONDS << (receives - 1), VISIBILITY_TIMEOUT_SECONDS)
