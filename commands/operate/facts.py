"""What is known about one key of a bucket: in S3, on its file shares, in the table and in the log."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from urllib.parse import unquote_plus

from botocore.exceptions import ClientError

from commands.deploy.notification import filter_of
from commands.operate import similar_names
from commands.operate.refresh_log import LeftOut, Refresh, refreshes_of
from commands.operate.share_state import Snapshot, Standing
from commands.operate.stack import DENIED, Stack, now_ms
from event_aggregator.file_shares import FileShare
from event_aggregator.folders import EVERYTHING, folder_of, path_below, shown
from event_aggregator.ignored_keys import pattern_of
from event_aggregator.table import Key, Kind, WindowItem

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
    versioned: bool = False  # then `changed` is when this version was written; it may be the current one since later
    is_replica: bool = False  # then `changed` is when the original was written (S3 user guide, replication)
    alike: list[str] = field(default_factory=list)  # it does not exist, but these do, which people take for the same
    all_compared: bool = True  # False: there may be more that are alike
    not_told: list[str] = field(default_factory=list)  # what could not be asked, and why

    @property
    def came_later(self) -> str:
        """Why it may have come long after `changed`; empty if it has not."""
        if self.is_replica:
            return "it is a replica, and S3 tells only when its original was written"
        return "it was uploaded in parts, and S3 tells only when that began" if self.in_parts else ""


@dataclass(frozen=True)
class Window:
    """An open window, or one whose folders are being handed to the shares; `reads`: that will read the key's folder."""

    since: int
    due: int
    reads: bool
    reason: str | None = None  # why the shares of a region could not be listed


@dataclass(frozen=True)
class Closed:
    """The bucket's last window whose refresh has begun. `reads` None: the folders are not kept; the log has them."""

    since: int
    began: int
    reads: bool | None
    unfinished: bool  # not every share is asked or in line yet


@dataclass(frozen=True)
class Share:
    """A file share that shows the key."""

    share: str
    prefix: str
    status: str
    path: str  # of the file, from the share's root
    way: list[str]  # the folders to it, as in FolderList: a new folder appears in the one above
    standing: Standing
    region: str = ""  # its region
    folder_waits: bool = False  # what waits for the share will have it read the folder
    handed_over: int | None = None  # a refresh of its folder began then, and has not asked this share yet
    in_window: bool = False  # the bucket's window will have it read the folder
    refreshes: list[Refresh] = field(default_factory=list)  # oldest first
    left_out: list[LeftOut] = field(default_factory=list)  # of refreshes of its folder, since a gateway wrote
    stale_seconds: int = 0  # so long after a folder was read, it reads it again if somebody opens it; 0: it does not
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
    ignored_by: str  # the pattern of IGNORE_KEYS that the key matches; empty: none
    window: Window | None
    by_gateways: Window | None  # of what gateways wrote: refreshed on the shares that do not know of it
    closed: Closed | None
    regions: dict[str, Window]  # what waits until the shares of a region are listed, by the region
    shares: list[Share]
    others: dict[str, str]  # the bucket's other shares: their prefixes
    unresolved: list[str]  # shares of which it is not known what they show
    unseen: list[str]  # the regions whose shares only the refresh function can list
    log_since: int
    mend: str  # the command that attaches the bucket
    refresh: str  # the one that has the key's folder refreshed
    aggregator_log: str  # the commands that show the logs
    refresh_log: str


# Collecting


def look(stack: Stack, bucket: str, key: str, log_since: int | None = None) -> Facts:
    """Everything about the key as it is now. It is read in the order in which a change goes: none slips through.

    The log is read from `log_since` on, or from the change.
    """
    at, folder, settings = now_ms(), folder_of(key), stack.settings
    scope = settings.refresh_scope.of(bucket)
    entries = stack.notifications(bucket)  # first: it raises if there is no such bucket
    found = s3_object(stack, bucket, key)
    item = stack.windows.read(Key.read(bucket))
    showing = [share for share in stack.shares(bucket) if not share.unknown]
    table = stack.snapshot()
    # What has left a share's key by now stands in its gateway's document, as the last refresh that was accepted.
    table = stack.with_latest(table, {Key.read(share.gateway_arn) for share in showing})
    showing_it = [
        (share, share_facts(share, table.standing(share.key), item, key=key, scope=scope, home=stack.region))
        for share in showing
        if key.startswith(share.prefix)
    ]
    if log_since is None:
        log_since = at - _DAY_MS if found.changed is None else found.changed - SURELY_MS
    return Facts(
        bucket=bucket,
        key=key,
        folder=folder,
        object=found,
        notified=bool(entries),
        excluded_by=excluded_by(entries, key),
        ignored_by=pattern_of(key, settings.ignore_keys),
        window=_window(item, folder, scope) if item.window_id else None,
        by_gateways=_by_gateways(table, bucket, folder, scope),
        closed=_closed(item, folder),
        regions=_regions(table, bucket, folder, scope),
        shares=[_with_log(stack, share, known, folder, log_since) for share, known in showing_it],
        others={share.share_id: share.prefix for share in showing if not key.startswith(share.prefix)},
        unresolved=list(stack.notes),
        unseen=stack.unseen_regions,
        log_since=log_since,
        mend=stack.command("attach-bucket.sh", "--bucket", bucket),
        refresh=stack.command("refresh-now.sh", "--bucket", bucket, "--folder", folder),
        aggregator_log=_tail(stack, stack.aggregator, at, log_since),
        refresh_log=_tail(stack, stack.refresh, at, log_since),
        at=now_ms(),
    )


def _by_gateways(table: Snapshot, bucket: str, folder: str, scope: str) -> Window | None:
    """The one that is due last of the windows of what gateways wrote, if any will have the folder read."""
    windows = [
        window
        for key, item in table.windows.items()
        if key.bucket == bucket and key.writer is not None and (window := _window(item, folder, scope))
    ]
    return max((window for window in windows if window.reads), key=lambda w: w.due, default=None)


def _regions(table: Snapshot, bucket: str, folder: str, scope: str) -> dict[str, Window]:
    """The regions for which the folder waits until their shares are listed."""
    windows = {
        key.region: _window(item, folder, scope)
        for key, item in table.windows.items()
        if key.bucket == bucket and key.kind is Kind.REGION and key.writer is None
    }
    return {region: window for region, window in windows.items() if window and window.reads}


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
    return S3Object(
        True,
        _epoch_ms(head["LastModified"]),
        head["ContentLength"],
        in_parts,
        versioned="VersionId" in head,
        is_replica=head.get("ReplicationStatus") == "REPLICA",
    )


def _absent(stack: Stack, bucket: str, key: str) -> S3Object:
    s3, not_told = stack.client("s3"), []
    changed, is_folder, others, all_compared = None, False, [], True
    try:
        markers = s3.list_object_versions(Bucket=bucket, Prefix=key).get("DeleteMarkers", [])
        times = [marker["LastModified"] for marker in markers if marker["Key"] == key and marker["IsLatest"]]
        changed = _epoch_ms(times[0]) if times else None
    except ClientError as error:
        not_told.append(_unless_denied(error, "Whether it has a delete marker is not known"))
    try:
        if not (is_folder := similar_names.is_folder(s3, bucket, f"{key.removesuffix('/')}/")):
            search = similar_names.Search(s3, bucket)
            others = [similar_names.told(key, other) for other in search.alike(key)]
            all_compared = search.read_all
    except ClientError as error:
        not_told.append(_unless_denied(error, "Whether it is a folder, or another key is like it, is not known"))
    return S3Object(
        False,
        changed,
        is_folder=is_folder,
        versioned=changed is not None,
        alike=others,
        all_compared=all_compared,
        not_told=not_told,
    )


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


def _window(item: WindowItem, folder: str, scope: str) -> Window | None:
    """What it holds, and what is being handed on just now."""
    unfinished = item.refreshed_folders if item.refreshing_id else frozenset()
    reads = will_read(item.folders | unfinished, folder, "", scope)
    if item.window_id:
        return Window(item.opened_at, item.refresh_at, reads, item.reason)
    return Window(item.refreshed_since, item.refresh_started_at, reads) if item.refreshing_id else None


def _closed(item: WindowItem, folder: str) -> Closed | None:
    if not item.refresh_started_at:
        return None
    reads = will_read(item.refreshed_folders, folder, "", "folders") if item.refreshed_folders else None
    return Closed(item.refreshed_since, item.refresh_started_at, reads, item.refreshing_id is not None)


def _with_log(stack: Stack, share: FileShare, known: Share, folder: str, since: int) -> Share:
    refreshes, left_out, lacks = refreshes_of(stack, share, since, now_ms(), known.standing.last_accepted or 0)
    left_out = [one for one in left_out if will_read(one.folders, folder, share.prefix, "folders")]
    stale = stack.stale_seconds(share)
    return replace(known, refreshes=refreshes, left_out=left_out, log_lacks=lacks, stale_seconds=stale)


def share_facts(  # noqa: PLR0913 - what there is to know of it
    share: FileShare, standing: Standing, of_bucket: WindowItem, *, key: str, scope: str, home: str
) -> Share:
    """What the table knows about a share that shows the key: from its own items, and from its bucket's."""
    folder, waits = folder_of(key), standing.waits
    is_handed_over = of_bucket.refreshing_id is not None
    is_handed_over &= will_read(of_bucket.refreshed_folders, folder, share.prefix, scope)
    return Share(
        share=share.share_id,
        prefix=share.prefix,
        status=share.status,
        path=f"/{key.removeprefix(share.prefix)}",
        way=way_to(folder, share.prefix),
        standing=standing,
        region=share.region or home,
        folder_waits=waits is not None and will_read(waits.folders, folder, share.prefix, scope),
        handed_over=of_bucket.refresh_started_at if is_handed_over else None,
        in_window=will_read(of_bucket.folders, folder, share.prefix, scope),
    )


def way_to(folder: str, prefix: str) -> list[str]:
    """The folders from a share's root to `folder`, as FolderList takes them: /, a, a/b."""
    names = path_below(folder, prefix)
    return ["/", *("/".join(names[:depth]) for depth in range(1, len(names) + 1))]
