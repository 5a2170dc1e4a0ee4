"""What arrives on the action queue: requests, and the events of others.

The guarantee: a message is either understood or refused with a text that quotes it; none is taken for an empty one.
"""

import json
import re
from dataclasses import dataclass
from typing import Any

from event_aggregator.changes import epoch_ms_of
from event_aggregator.folders import EVERYTHING
from event_aggregator.request import VERSION, Request, WakeRequest
from event_aggregator.table import Key

# What may stand in a key of the table; a name that no bucket has is shown by no share.
_BUCKET = re.compile(r"[A-Za-z0-9._-]+")


_COMPLETED = "Storage Gateway Refresh Cache Event"


class NotUnderstoodError(ValueError):
    """A message on the queue that is no request and no failure record; the text quotes it."""


@dataclass(frozen=True, slots=True)
class BucketRequest:
    """Refresh these folders of a bucket, as windows hold them; from outside, and in no window."""

    bucket: str
    folders: frozenset[str]


@dataclass(frozen=True, slots=True)
class RefreshCompleted:
    """A refresh that a share accepted as `notification_id` began, and is complete; epoch milliseconds, if it says so.

    From EventBridge, where Storage Gateway reports it (S3 File Gateway user guide, monitoring-file-gateway). `folders`:
    what was to be refreshed, as FolderList names it.
    """

    share_arn: str
    gateway: Key
    notification_id: str
    began: int | None
    at: int | None
    folders: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Sweep:
    """Look for windows whose request was lost: from a schedule."""


@dataclass(frozen=True, slots=True)
class FailedEvent:
    """An S3 event that the aggregator could not handle, from Lambda's on-failure destination."""

    event: Any


@dataclass(frozen=True, slots=True)
class OtherEvent:
    """An event of EventBridge's that asks for nothing here, such as that a file was uploaded; `kind` names it."""

    kind: str


Message = Request | WakeRequest | BucketRequest | RefreshCompleted | Sweep | FailedEvent | OtherEvent


def read_message(body: str, bucket_attribute: str | None) -> Message:  # noqa: PLR0911 - one for each kind
    """What a message asks for, from its body and its attribute `bucket-name`. Raises NotUnderstoodError."""
    try:
        content = json.loads(body)
    except ValueError as error:
        raise NotUnderstoodError(f"The message is no JSON ({error}): {body[:500]}") from error
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
                f"The request is of version {version!r}, and this function knows version {VERSION}: {body[:500]}"
            )
        case {
            "detail-type": kind,
            "resources": [*arns],
            "detail": {"notification-id": str(notification_id), **detail},
        } if (
            kind == _COMPLETED
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
            kind != _COMPLETED and source != "aws.s3"
        ):
            return OtherEvent(f"{kind} of {source}")
        case {"bucket": _} | {"folders": _}:
            return _bucket_request(content, body)
        case dict() if not content and bucket_attribute:  # the request of the 2018 project, which knew no windows
            return BucketRequest(bucket_attribute, frozenset({EVERYTHING}))
    raise NotUnderstoodError(f"The message is neither a request nor an event that is known here: {body[:500]}")


def _bucket_request(content: dict[str, Any], body: str) -> BucketRequest:
    """{"bucket": "my-bucket", "folders": ["a/b"]}, from who knows what changed: docs/settings.md. Raises
    NotUnderstoodError, which says what is wrong with it."""
    bucket, folders = content.get("bucket"), content.get("folders")
    if unknown := content.keys() - {"bucket", "folders"}:
        names = ", ".join(sorted(unknown))
        raise NotUnderstoodError(f"A request for a bucket holds `bucket` and `folders`, and not {names}: {body[:500]}")
    if not isinstance(bucket, str) or not _BUCKET.fullmatch(bucket):
        raise NotUnderstoodError(f"`bucket` must be the name of a bucket, as a text: {body[:500]}")
    if not isinstance(folders, list) or not folders:
        raise NotUnderstoodError(f'`folders` must be a list of folders of the bucket, or ["*"] for all: {body[:500]}')
    return BucketRequest(bucket, frozenset(_folder(folder, body) for folder in folders))


def _folder(folder: Any, body: str) -> str:
    """What to refresh, as windows hold it: /a/b, / for the root, */a/b for all below, * for everything.

    a/b and a/b/ stand for /a/b, as in RefreshCache's FolderList. Which names no share can show is seen later.
    """
    try:
        text = folder.encode().decode()  # JSON may hold half of a pair of characters, which no table takes
    except (AttributeError, UnicodeEncodeError):
        text = ""
    if text == EVERYTHING:
        return EVERYTHING
    mark = EVERYTHING if text.startswith(f"{EVERYTHING}/") else ""
    if not text or (text.startswith(EVERYTHING) and not mark):
        raise NotUnderstoodError(
            f"`folders` holds {folder!r:.100}: a folder is a text such as a/b, / for the bucket's root, */a/b for all"
            f" that is below, * for everything, and /*a if its name begins with a star: {body[:500]}"
        )
    return f"{mark}/{text.removeprefix(mark).removeprefix('/').removesuffix('/')}"


def _folders_of(listed: Any) -> tuple[str, ...] | None:
    """None for what is no list of folders: a completion counts all the same."""
    is_list = isinstance(listed, list) and all(isinstance(folder, str) for folder in listed)
    return tuple(listed) if is_list and listed else None


def _time_of(iso_time: Any) -> int | None:
    """Epoch milliseconds; None for what is no time: a completion counts all the same."""
    try:
        return epoch_ms_of(iso_time)
    except (TypeError, ValueError):
        return None
