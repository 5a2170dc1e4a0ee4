"""What is known about one key of a bucket: in S3, on its file shares, in the table and in the log."""

import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from urllib.parse import unquote_plus

from botocore.exceptions import ClientError

from event_aggregator.file_shares import FileShare
from event_aggregator.folders import EVERYTHING, folder_of, shown
from event_aggregator.settings import Settings
from event_aggregator.table import Item, read_key, writer_in
from operate.refresh_log import Refresh, refreshes_of
from operate.stack import DENIED, Stack, now_ms
from scripts.stack_files import filter_of

# A refresh came after a change only if it is later by this: LastModified has whole seconds, clocks differ by less than
# a second, and the log has the end of the call, which takes less than another.
SURELY_MS = 3_000

_DAY_MS = 24 * 3_600_000


# The facts. Times are epoch milliseconds.


@dataclass(frozen=True)
class S3Object:
    """What S3 says of the key; `exists` None: it does not let us know."""

    exists: bool | None
    changed: int | None = None  # whole seconds; when it was written, or deleted
    size: int | None = None
    in_parts: bool = False  # then `changed` is when its upload began
    is_folder: bool = False  # it does not exist, but objects below it do
    not_told: list[str] = field(default_factory=list)  # what could not be asked, and why


@dataclass(frozen=True)
class Window:
    """An open window; `reads`: its refresh will read the key's folder."""

    since: int
    due: int
    reads: bool
    reason: str | None = None


@dataclass(frozen=True)
class Closed:
    """The bucket's last window whose refresh has begun."""

    since: int
    began: int
    reads: bool
    unfinished: bool  # not every share is asked or waiting yet


@dataclass(frozen=True)
class Share:
    """A file share that shows the key."""

    share: str
    prefix: str
    status: str
    path: str  # of the file, from the share's root
    way: list[str]  # the folders to it, as in FolderList: a new folder appears in the one above
    last_accepted: int | None = None
    in_progress_since: int | None = None
    waiting: Window | None = None
    handed_over: int | None = None  # a refresh of its folder began then, and has not asked this share yet
    in_window: bool = False  # the bucket's window will have it read the folder
    refreshes: list[Refresh] = field(default_factory=list)  # oldest first
    log_lacks: str | None = None  # why there may be others


@dataclass(frozen=True)
class Facts:
    at: int
    bucket: str
    key: str
    folder: str
    object: S3Object
    notified: bool
    excluded_by: list[str]  # filters of the notification, if all of its entries have one that the key does not pass
    ignored: str  # changes by principals whose id contains this are not counted; empty: all are
    window: Window | None
    by_gateways: Window | None  # of what gateways wrote: refreshed on the shares that do not know of it
    closed: Closed | None
    shares: list[Share]
    others: dict[str, str]  # the bucket's other shares: their prefixes
    unresolved: list[str]  # shares of which it is not known what they show
    unseen: list[str]  # the places whose shares only the refresh function can list
    log_since: int
    mend: str  # the command that attaches the bucket
    refresh: str  # the one that has the key's folder refreshed
    aggregator_log: str  # the commands that show the logs
    refresh_log: str


# Collecting


def look(stack: Stack, bucket: str, key: str) -> Facts:
    """Everything about the key as it is now. It is read in the order in which a change goes: none slips through."""
    at, folder, settings = now_ms(), folder_of(key), stack.settings
    entries = stack.notifications(bucket)  # first: it raises if there is no such bucket
    found = s3_object(stack, bucket, key)
    item = stack.windows.read(bucket)
    showing = stack.shares(bucket)
    log_since = at - _DAY_MS if found.changed is None else found.changed - SURELY_MS
    return Facts(
        bucket=bucket,
        key=key,
        folder=folder,
        object=found,
        notified=bool(entries),
        excluded_by=excluded_by(entries, key),
        ignored=settings.ignore_principals_containing if settings.refresh_other_gateways == "off" else "",
        window=_window(item, folder, "", settings.refresh_scope),
        by_gateways=_by_gateways(stack, bucket, folder),
        closed=_closed(item, folder),
        shares=[_share(stack, share, item, key, log_since) for share in showing if key.startswith(share.prefix)],
        others={share.share_id: share.prefix for share in showing if not key.startswith(share.prefix)},
        unresolved=list(stack.notes),
        unseen=stack.unseen_places,
        log_since=log_since,
        mend=stack.command("attach-bucket.sh", "--bucket", bucket),
        refresh=stack.command("refresh-now.sh", "--bucket", bucket, "--folder", shlex.quote(folder)),
        aggregator_log=_tail(stack, stack.aggregator, at, log_since),
        refresh_log=_tail(stack, stack.refresh, at, log_since),
        at=now_ms(),
    )


def _by_gateways(stack: Stack, bucket: str, folder: str) -> Window | None:
    """The one that is due last of the windows of what gateways wrote, if any will have the folder read."""
    keys = ((read_key(key), item) for key, item in stack.windows.everything())
    items = [item for (name, place, _), item in keys if name == bucket and writer_in(place) is not None]
    windows = [_window(item, folder, "", stack.settings.refresh_scope) for item in items]
    return max((window for window in windows if window and window.reads), key=lambda w: w.due, default=None)


def _tail(stack: Stack, function: str, at: int, since: int) -> str:
    hours = (at - since) // 3_600_000 + 1
    return f"aws logs tail /aws/lambda/{function} --since {hours}h --region {stack.region}"


def s3_object(stack: Stack, bucket: str, key: str) -> S3Object:
    try:
        head = stack.client("s3").head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response["Error"]["Code"] in DENIED:
            takes = "it takes s3:GetObject (and s3:ListBucket, if there is no such object)"
            return S3Object(None, not_told=[f"S3 refused HeadObject, for which {takes}: {error}"])
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
            raise
        return _absent(stack, bucket, key)
    in_parts = "-" in head["ETag"]  # S3 user guide, mpuoverview: the ETag of an upload in parts ends in their number
    return S3Object(True, _epoch_ms(head["LastModified"]), head["ContentLength"], in_parts)


def _absent(stack: Stack, bucket: str, key: str) -> S3Object:
    s3, not_told, changed, is_folder = stack.client("s3"), [], None, False
    try:
        markers = s3.list_object_versions(Bucket=bucket, Prefix=key).get("DeleteMarkers", [])
        times = [marker["LastModified"] for marker in markers if marker["Key"] == key and marker["IsLatest"]]
        changed = _epoch_ms(times[0]) if times else None
    except ClientError as error:
        not_told.append(_unless_denied(error, "Whether it has a delete marker is not known"))
    try:
        below = s3.list_objects_v2(Bucket=bucket, Prefix=f"{key.rstrip('/')}/", MaxKeys=1)
        is_folder = bool(below.get("Contents"))
    except ClientError as error:
        not_told.append(_unless_denied(error, "Whether it is a folder is not known"))
    return S3Object(False, changed, is_folder=is_folder, not_told=not_told)


def _unless_denied(error: ClientError, what: str) -> str:
    if error.response["Error"]["Code"] not in DENIED:
        raise error
    return f"{what}: {error}"


def _epoch_ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def _in_words(entry: dict[str, Any]) -> str:
    return " and ".join(f"{name} {value}" for name, value in filter_of(entry).items())


def excluded_by(entries: list[dict[str, Any]], key: str) -> list[str]:
    """The filters by which the notification's entries leave the key out, unless one of them lets it through."""
    filters = [_in_words(entry) for entry in entries if not _passes(entry, key)]
    return filters if len(filters) == len(entries) else []


def _passes(entry: dict[str, Any], key: str) -> bool:
    """Whether the entry's filter lets the key through; its values may be URL-encoded."""
    rules = filter_of(entry)
    prefix, suffix = rules.get("prefix", ""), rules.get("suffix", "")
    return key.startswith((prefix, unquote_plus(prefix))) and key.endswith((suffix, unquote_plus(suffix)))


def will_read(held: Iterable[str], folder: str, prefix: str, scope: str) -> bool:
    """Whether a refresh of a window's folders reads `folder`, on a share on `prefix` that shows it: a folder is read
    with those above it, `=` marks it alone, and `*` everything in it."""
    seen = shown(held, prefix)
    below = f"{folder.rstrip('/')}/"
    return any(
        scope == "share"
        or entry in (EVERYTHING, folder, f"={folder}")
        or entry.startswith(below)
        or (entry[0] == "*" and below.startswith(f"{entry[1:].rstrip('/')}/"))
        for entry in seen
    )


def _window(item: Item, folder: str, prefix: str, scope: str) -> Window | None:
    if item.window_id is None:
        return None
    reads = will_read(item.folders, folder, prefix, scope)
    return Window(item.opened_at, item.refresh_at, reads, item.reason)


def _closed(item: Item, folder: str) -> Closed | None:
    if not item.refresh_started_at:
        return None
    reads = will_read(item.refreshed_folders, folder, "", "folders")
    return Closed(item.refreshed_since, item.refresh_started_at, reads, item.refreshing_id is not None)


def _share(stack: Stack, share: FileShare, of_bucket: Item, key: str, log_since: int) -> Share:
    item = stack.windows.read(share.key)  # before the log, which tells what became of it
    refreshes, lacks = refreshes_of(stack, share, log_since, now_ms(), item.last_accepted_at)
    known = share_facts(share, item, of_bucket, key=key, settings=stack.settings, at=now_ms())
    return replace(known, refreshes=refreshes, log_lacks=lacks)


def share_facts(  # noqa: PLR0913 - what there is to know of it
    share: FileShare, item: Item, of_bucket: Item, *, key: str, settings: Settings, at: int
) -> Share:
    """What the table knows about a share that shows the key: from its own item, and from its bucket's."""
    folder, scope = folder_of(key), settings.refresh_scope
    lapses = item.in_progress_since + settings.in_progress_timeout_seconds * 1000
    handed_over = [
        closed.refresh_started_at
        for closed in (item, of_bucket)
        if closed.refreshing_id and will_read(closed.refreshed_folders, folder, share.prefix, scope)
    ]
    return Share(
        share=share.share_id,
        prefix=share.prefix,
        status=share.status,
        path=f"/{key.removeprefix(share.prefix)}",
        way=way_to(folder, share.prefix),
        last_accepted=item.last_accepted_at or None,
        in_progress_since=item.in_progress_since if item.in_progress_id and at < lapses else None,
        waiting=_window(item, folder, share.prefix, scope),
        handed_over=handed_over[0] if handed_over else None,
        in_window=will_read(of_bucket.folders, folder, share.prefix, scope),
    )


def way_to(folder: str, prefix: str) -> list[str]:
    """The folders from a share's root to `folder`, as FolderList takes them: /, a, a/b."""
    names = folder[1 + len(prefix) :].split("/")
    names = names[: names.index("")] if "" in names else names
    return ["/", *("/".join(names[:depth]) for depth in range(1, len(names) + 1))]
