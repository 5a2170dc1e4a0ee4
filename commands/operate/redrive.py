"""What lies in the dead-letter queue, in words, and its way back to the queue.

A message is deleted here only after it was sent there: killed in between, it is there twice, which is harmless.
"""

import json
from collections.abc import Iterator
from typing import Any, assert_never

from botocore.exceptions import ClientError

from commands.operate.stack import Stack
from commands.operate.words import clock, extent, plural
from event_aggregator.changes import read_event
from event_aggregator.messages import (
    BucketRequest,
    FailedEvent,
    NotUnderstoodError,
    OtherEvent,
    RefreshCompleted,
    Sweep,
    read_message,
)
from event_aggregator.request import Request, WakeRequest
from event_aggregator.table import Key

# Nobody else sees a message for so long after it was received here.
_HIDDEN_SECONDS = 60

# By these DynamoDB says that the table cannot have such a key; anybody may have written the message.
_NO_KEY = ("SerializationException", "ValidationException")


def show(stack: Stack) -> Iterator[str]:
    """A line for each message. All are there again for others afterwards."""
    received = list(_received(stack))
    for message in received:
        yield _in_words(stack, message)
    for message in received:
        _release(stack, message)


def _release(stack: Stack, message: dict[str, Any]) -> None:
    try:
        stack.client("sqs").change_message_visibility(
            QueueUrl=stack.dead_letter_url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0
        )
    except ClientError as error:
        if "MessageNotInflight" not in error.response["Error"]["Code"]:  # there were so many that its time is over
            raise


def send_back(stack: Stack) -> Iterator[str]:
    """Send every message back to the queue; a line for each."""
    for message in _received(stack):
        stack.client("sqs").send_message(
            QueueUrl=stack.settings.queue_url,
            MessageBody=message["Body"],
            MessageAttributes=message.get("MessageAttributes", {}),
        )
        stack.client("sqs").delete_message(QueueUrl=stack.dead_letter_url, ReceiptHandle=message["ReceiptHandle"])
        yield f"sent back: {_in_words(stack, message)}"


def _received(stack: Stack) -> Iterator[dict[str, Any]]:
    """Every message that can be had now, each once."""
    seen: set[str] = set()
    while messages := (
        stack.client("sqs")
        .receive_message(
            QueueUrl=stack.dead_letter_url,
            MaxNumberOfMessages=10,
            VisibilityTimeout=_HIDDEN_SECONDS,
            WaitTimeSeconds=1,  # asks all of SQS's servers, not a sample
            AttributeNames=["SentTimestamp"],
            MessageAttributeNames=["All"],
        )
        .get("Messages")
    ):
        new = [message for message in messages if message["MessageId"] not in seen]
        if not new:
            return  # so many that the first ones are visible again
        seen |= {message["MessageId"] for message in new}
        yield from new


def _in_words(stack: Stack, message: dict[str, Any]) -> str:
    sent = clock(int(message["Attributes"]["SentTimestamp"]))
    attribute = message.get("MessageAttributes", {}).get("bucket-name", {}).get("StringValue")
    try:
        content = read_message(message["Body"], attribute)
    except NotUnderstoodError as error:
        return f"{sent}  {error}"
    match content:
        case Request(key, window):
            still = "still waits for it" if _stands(stack, key, window) else "has been refreshed since: harmless"
            what = f"the request to refresh {key}; its window {still}"
        case WakeRequest(gateway):
            what = f"a reminder that shares of {gateway} wait; the sweep sees to them as well: harmless"
        case BucketRequest(bucket, folders):
            what = f"a request to refresh {extent(folders)} in {bucket}"
        case FailedEvent(event):
            what = f"an S3 event that failed: {_of_event(event)}"
        case RefreshCompleted(arn):
            what = f"the report that a refresh of {arn} is complete"
        case Sweep():
            what = "the reminder to look for lost requests, one of every 15 minutes: harmless"
        case OtherEvent(kind):
            what = f"an event that asks for nothing: {kind}"
        case _:
            assert_never(content)
    return f"{sent}  {what}"


def _stands(stack: Stack, key: Key, window: str) -> bool:
    """Whether the window of a request is still there."""
    try:
        item = stack.windows.read(key)
    except ClientError as error:
        if error.response["Error"]["Code"] not in _NO_KEY:
            raise
        return False
    return window in (item.window_id, item.refreshing_id)


def _of_event(event: Any) -> str:
    changes, problems = read_event(event)
    parts = [f"{change.bucket}/{change.key}" for change in changes[:3]]
    if len(changes) > 3:
        parts.append(f"and {plural(len(changes) - 3, 'other')}")
    parts += [str(problem) for problem in problems]
    return ", ".join(parts) or json.dumps(event)[:200]
