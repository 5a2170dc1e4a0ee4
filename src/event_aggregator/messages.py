"""Reads the messages on the action queue: requests, wakes, completion events, failed S3 events, the sweep.

Promise: a message is either understood, or refused with an error that quotes it. No message is ignored as empty.
"""

import json
import re
from dataclasses import dataclass
from typing import Any

from event_aggregator.changes import epoch_ms_of
from event_aggregator.folders import EVERYTHING
from event_aggregator.request import VERSION, Request, WakeRequest
from event_aggregator.table import Key

# Characters that may stand in a key of the table. If no bucket has the name, no share shows it.
_BUCKET = re.compile(r"[A-Za-z0-9._-]+")

_COMPLETION_EVENT = "Storage Gateway Refresh Cache Event"


class NotUnderstoodError(ValueError):
    """The message has no known format. The error's text quotes it."""


@dataclass(frozen=True, slots=True)
class BucketRequest:
    """Refresh these folders of a bucket at once, without a window. `folders` as windows hold them."""

    bucket: str
    folders: frozenset[str]


@dataclass(frozen=True, slots=True)
class RefreshCompleted:
    """A completion event (S3 File Gateway user guide, monitoring-file-gateway).

    The refresh began at `began` and was complete at `at`, in epoch milliseconds; None if the event does not say.
    `folders` are those of the refresh, as in FolderList.
    """

    share_arn: str
    gateway: Key
    notification_id: str
    began: int | None
    at: int | None
    folders: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Sweep:
    """Check for anything that is unfinished and has no message. A schedule sends this."""


@dataclass(frozen=True, slots=True)
class FailedEvent:
    """An S3 event on which the aggregator failed three times. Lambda's on-failure destination sends this."""

    event: Any


@dataclass(frozen=True, slots=True)
class OtherEvent:
    """An EventBridge event that needs no action, such as a file upload. `kind` names it."""

    kind: str


Message = Request | WakeRequest | BucketRequest | RefreshCompleted | Sweep | FailedEvent | OtherEvent


def read_message(body: str, bucket_attribute: str | None) -> Message:  # noqa: PLR0911 - one per kind
    """Read a message from its body and its attribute `bucket-name`. Raises NotUnderstoodError."""
    try:
        content = json.loads(body)
    except ValueError as error:
        raise NotUnderstoodError(f"The message is not JSON ({error}): {body[:500]}") from error
    match content:
        case {"version": version, "key": str(key), "window": str(window), "attempt": int(attempt), **rest} if (
            version == VERSION and attempt >= 1
        ):
            return Request(Key.read(key), window, str(rest.get("correlation", window)), attempt)
        case {"version": version, "gateway": str(gateway), "token": str(token)} if version == VERSION:
            return WakeRequest(Key.read(gateway), token)
        case {"version": version, "key": _, "window": _} | {"version": version, "gateway": _, "token": _} if (
            version != VERSION
        ):
            raise NotUnderstoodError(
                f"The request has version {version!r}, but this function knows version {VERSION}: {body[:500]}"
            )
        case {
            "detail-type": kind,
            "resources": [*arns],
            "detail": {"notification-id": str(notification_id), **detail},
        } if (
            kind == _COMPLETION_EVENT
            and (shares := [arn for arn in arns if ":share/" in str(arn)])
            and (gateways := [arn for arn in arns if ":gateway/" in str(arn)])
        ):
            began, at = _time_of(detail.get("started")), _time_of(detail.get("completed"))
            folders = _folders_of(detail.get("folderList"))
            return RefreshCompleted(shares[0], Key.read(gateways[0]), notification_id, began, at, folders)
        case {"sweep": True}:
            return Sweep()
        case {"requestPayload": event}:
            return FailedEvent(event)
        case {"detail-type": str(kind), "source": str(source), "detail": _} if (
            kind != _COMPLETION_EVENT and source != "aws.s3"
        ):
            return OtherEvent(f"{kind} of {source}")
        case {"bucket": _} | {"folders": _}:
            return _bucket_request(content, body)
        case dict() if not content and bucket_attribute:  # a request of the 2018 project
            return BucketRequest(bucket_attribute, frozenset({EVERYTHING}))
    raise NotUnderstoodError(f"The message is neither a request nor a known event: {body[:500]}")


def _bucket_request(content: dict[str, Any], body: str) -> BucketRequest:
    """Read {"bucket": "my-bucket", "folders": ["a/b"]}, which users may send (docs/settings.md).

    Raises NotUnderstoodError.
    """
    bucket, folders = content.get("bucket"), content.get("folders")
    if unknown := content.keys() - {"bucket", "folders"}:
        names = ", ".join(sorted(unknown))
        raise NotUnderstoodError(f"A request for a bucket holds only `bucket` and `folders`, not {names}: {body[:500]}")
    if not isinstance(bucket, str) or not _BUCKET.fullmatch(bucket):
        raise NotUnderstoodError(f"`bucket` must be the name of a bucket: {body[:500]}")
    if not isinstance(folders, list) or not folders:
        raise NotUnderstoodError(f'`folders` must be a list of folders of the bucket, or ["*"] for all: {body[:500]}')
    return BucketRequest(bucket, frozenset(_folder(folder, body) for folder in folders))


def _folder(folder: Any, body: str) -> str:
    """A folder as windows hold it: /a/b, / for the root, */a/b for everything in a/b, * for everything.

    a/b and a/b/ stand for /a/b, as in RefreshCache's FolderList. Names that no share can show are cut later.
    """
    try:
        text = folder.encode().decode()  # JSON may hold half of a surrogate pair, which DynamoDB refuses
    except (AttributeError, UnicodeEncodeError):
        text = ""
    if text == EVERYTHING:
        return EVERYTHING
    mark = EVERYTHING if text.startswith(f"{EVERYTHING}/") else ""
    if not text or (text.startswith(EVERYTHING) and not mark):
        raise NotUnderstoodError(
            f"`folders` holds {folder!r:.100}: a folder is a text such as a/b, / for the bucket's root, */a/b for"
            f" everything in a/b, * for everything, or /*a if its name begins with a star: {body[:500]}"
        )
    return f"{mark}/{text.removeprefix(mark).removeprefix('/').removesuffix('/')}"


def _folders_of(listed: Any) -> tuple[str, ...] | None:
    """None if this is not a list of folders: the completion event counts nevertheless."""
    is_list = isinstance(listed, list) and all(isinstance(folder, str) for folder in listed)
    return tuple(listed) if is_list and listed else None


def _time_of(iso_time: Any) -> int | None:
    """Epoch milliseconds; None if this is not a time: the completion event counts nevertheless."""
    try:
        return epoch_ms_of(iso_time)
    except (TypeError, ValueError):
        return None
