"""What arrives on the action queue: requests, and the events of others.

The guarantee: a message is either understood or refused with a text that quotes it; none is taken for an empty one.
"""

import json
from dataclasses import dataclass
from typing import Any

from event_aggregator.changes import epoch_ms_of
from event_aggregator.folders import EVERYTHING
from event_aggregator.request import VERSION, Request, WakeRequest
from event_aggregator.table import Key


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


Message = Request | WakeRequest | BucketRequest | RefreshCompleted | Sweep | FailedEvent


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
            "detail-type": "Storage Gateway Refresh Cache Event",
            "resources": [*arns],
            "detail": {"notification-id": str(notification_id), **detail},
        } if (shares := [arn for arn in arns if ":share/" in str(arn)]) and (
            gateways := [arn for arn in arns if ":gateway/" in str(arn)]
        ):
            began, at = _time_of(detail.get("started")), _time_of(detail.get("completed"))
            folders = _folders_of(detail.get("folderList"))
            return RefreshCompleted(shares[0], Key.read(gateways[0]), notification_id, began, at, folders)
        case {"sweep": True}:
            return Sweep()
        case {"requestPayload": event}:
            return FailedEvent(event)
        case {"bucket": str(bucket), "folders": [*folders]} if bucket and folders and all(map(_is_folder, folders)):
            return BucketRequest(bucket, frozenset(folders))
        case dict() if not content and bucket_attribute:  # the request of the 2018 project, which knew no windows
            return BucketRequest(bucket_attribute, frozenset({EVERYTHING}))
    raise NotUnderstoodError(f"The message is neither a request nor an event that is known here: {body[:500]}")


def _is_folder(folder: Any) -> bool:
    """Whether this names what to refresh as windows do: /a/b, / for the root, */a/b for all below, * for everything."""
    return isinstance(folder, str) and (folder == EVERYTHING or folder.removeprefix(EVERYTHING).startswith("/"))


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
