"""A refresh that somebody asks for, followed to its end.

It takes the way of every other: the refresh function gets a message that names the folders, hands them to the shares
that show them, and asks each in its turn. What became of it is read from the table: what waits for each share, and, in
the gateways' documents, which refresh each share accepted last.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from botocore.exceptions import ClientError

from commands.operate import similar_names
from commands.operate.share_state import Snapshot
from commands.operate.stack import DENIED, Stack, StackError
from commands.operate.words import clock, extent, never_shown
from event_aggregator.folders import EVERYTHING, shown
from event_aggregator.settings import Settings
from event_aggregator.table import Key, Kind, WindowItem
from event_aggregator.waiting import ShareItem

# A message is normally handled within seconds. Where that was not seen for so long, the next look may have come too
# late: a refresh that the share has accepted since is taken to be of the message.
_SURELY_HANDLED_SECONDS = 60

_POLL_SECONDS = 0.5


@dataclass
class Asked:
    """What was asked for, and how things stood before."""

    bucket: str
    folders: frozenset[str]
    shares: dict[Key, frozenset[str]]  # those that are known to show some of the folders, and which
    regions: frozenset[Key]  # those whose shares only the refresh function can list
    before: Snapshot
    message_id: str
    sent_at: float  # of the monotonic clock
    handled: set[Key] = field(default_factory=set)  # the shares and regions that have got the folders


def folders(folder: str | None, *, recursive: bool) -> frozenset[str]:
    """What to refresh, as windows hold it. Raises StackError for a folder that no share can show."""
    path = _path(folder)
    if path and (why := never_shown(path)):
        raise StackError(f"No file share can show the folder {path}: {why}.")
    if folder is None or (recursive and not path):
        return frozenset({EVERYTHING})
    return frozenset({f"/{path}", f"*/{path}"} if recursive else {f"/{path}"})


def _path(folder: str | None) -> str:
    return (folder or "").removeprefix("/").removesuffix("/")


def look_for(stack: Stack, bucket: str, folder: str | None) -> None:
    """Raises StackError if S3 has no such folder, and says what may be meant instead."""
    if not (path := _path(folder)):
        return
    try:
        _look_for(stack, bucket, path)
    except ClientError as error:
        if error.response["Error"]["Code"] not in DENIED:
            raise
        stack.notes.append(f"Whether {bucket} has a folder {path} is not known: {error}")


def _look_for(stack: Stack, bucket: str, path: str) -> None:
    s3, folder = stack.client("s3"), f"{path}/"
    if similar_names.is_folder(s3, bucket, folder):
        return
    roots = {share.prefix for share in stack.shares(bucket)}
    if folder in roots:  # a share shows that it is empty
        return
    above = similar_names.above(folder)
    while above and above not in roots and not similar_names.is_folder(s3, bucket, above):
        above = similar_names.above(above)
    of_above = stack.command("refresh-now.sh", "--bucket", bucket, "--folder", f"/{above.removesuffix('/')}")
    if similar_names.is_key(s3, bucket, path):
        raise StackError(f"{path} is no folder of {bucket} but a file. Refresh the folder that it lies in: {of_above}")
    told = [f"There is no folder {path} in {bucket}."]
    others = [other for other in similar_names.Search(s3, bucket).alike(path) if other.endswith("/")]
    told += [f"There is {similar_names.told(path, other)}" for other in others]
    told.append(f"If it was deleted, refresh the folder above, which may still show it: {of_above}")
    raise StackError(" ".join(told))


def ask(stack: Stack, bucket: str, wanted: frozenset[str]) -> Asked:
    """Send the refresh function a message that names `wanted`."""
    listed = stack.shares(bucket)
    known = [share for share in listed if not share.unknown]
    unlisted = {*stack.unlisted, *stack.unseen_regions}
    if not listed and not unlisted:
        nobody = f"No file share of this account in {stack.region} is known to show the bucket {bucket}"
        raise StackError("; ".join([nobody, *stack.notes]))
    shares = {share.key: held for share in known if (held := shown(wanted, share.prefix))}
    if not shares and not unlisted and len(known) == len(listed):
        prefixes = ", ".join(sorted({f"/{share.prefix}" for share in known}))
        raise StackError(
            f"No file share of {bucket} shows {extent(wanted)}: they show what lies below {prefixes}."
            " With --recursive those are refreshed that lie below the folder."
        )
    before, body = stack.snapshot(), json.dumps({"bucket": bucket, "folders": sorted(wanted)})
    sent = stack.client("sqs").send_message(QueueUrl=stack.settings.queue_url, MessageBody=body)
    # A region that is the only one has a key only if the refresh function cannot list it either.
    is_only_one = len(stack.regions.names) + len(stack.unseen_regions) == 1
    regions = frozenset(Key.of_region(bucket, name, None) for name in unlisted if not is_only_one)
    return Asked(bucket, wanted, shares, regions, before, sent["MessageId"], time.monotonic())


def follow(stack: Stack, asked: Asked) -> Iterator[str]:
    """A line whenever the state of a share or region changes, until all have come to an end that is known."""
    last: dict[Key, str] = {}
    while True:
        table = stack.snapshot()
        asked.handled |= {key for key in _keys(asked.bucket, table) if is_handled(asked, key, table)}
        for key in sorted({*asked.shares, *asked.regions, *asked.handled}, key=str):
            if last.get(key, "").startswith(_ENDS):
                continue
            known = state(stack.settings, asked, key, table)
            if last.get(key) != known:
                last[key] = known
                yield f"{clock(table.at)}  {key} {known}"
        if (last or _is_late(asked)) and all(known.startswith(_ENDS) for known in last.values()):
            return
        time.sleep(_POLL_SECONDS)


def _keys(bucket: str, table: Snapshot) -> set[Key]:
    """The shares of a bucket, and the regions for which something waits."""
    regions = {key for key in table.windows if key.bucket == bucket and key.kind is Kind.REGION and key.writer is None}
    return regions | table.shares(bucket)


def is_handled(asked: Asked, key: Key, table: Snapshot) -> bool:
    """Whether the refresh function is seen to have handed the folders to this share or region."""
    if key.kind is Kind.REGION:
        item = table.windows.get(key, WindowItem())
        # A region that is listed at once needs no word.
        return (key in asked.regions or item.reason is not None) and (
            _covers(item.folders, asked.folders)
            or (_has_begun(asked, key, table) and _covers(item.refreshed_folders, asked.folders))
        )
    waiting, last = table.waiting.get(key, ShareItem()), table.turn(key).last
    if asked.message_id in (waiting.correlation, waiting.refreshed_for, last.window if last else ""):
        return True
    changes = waiting.changes if key in asked.shares else None  # of other changes that waited already
    return changes is not None and _covers(changes.folders, asked.shares[key])


def _covers(held: frozenset[str], wanted: frozenset[str]) -> bool:
    return EVERYTHING in held or wanted <= held


def _has_begun(asked: Asked, key: Key, table: Snapshot) -> bool:
    """Whether the shares of a region were listed since."""
    now, before = (of.windows.get(key, WindowItem()).refresh_started_at for of in (table, asked.before))
    return now != before


_COMPLETE, _ACCEPTED, _GONE = "shows everything now", "was asked; when it is complete, nobody tells", "is gone"
_NOT_YET = "waits for the refresh function to take it up"
_HANDED_ON = "is dealt with: its shares are asked in their turn"
_ENDS = (_COMPLETE, _ACCEPTED, _GONE, _HANDED_ON)


def state(settings: Settings, asked: Asked, key: Key, table: Snapshot) -> str:
    """In words, by what the table holds now."""
    was_seen = key in asked.handled
    if not was_seen and not (_is_late(asked) and (asked.handled or _has_accepted(asked, key, table))):
        return _NOT_YET
    if key.kind is Kind.REGION:
        return _state_of_region(key, table)
    return _state_of_share(settings, asked, key, table)


def _is_late(asked: Asked) -> bool:
    return time.monotonic() > asked.sent_at + _SURELY_HANDLED_SECONDS


def _has_accepted(asked: Asked, key: Key, table: Snapshot) -> bool:
    """Whether the share has accepted a refresh since; clocks do not count."""
    now, before = (of.turn(key).last for of in (table, asked.before))
    return now is not None and (before is None or now.refresh != before.refresh)


def _state_of_share(settings: Settings, asked: Asked, key: Key, table: Snapshot) -> str:
    standing, is_in_line = table.standing(key), table.turn(key).since
    if waits := standing.waits:
        return f"waits{f', to be asked at {clock(waits.next)}' if waits.next else ''}: {waits.why}"
    if standing.is_being_asked or is_in_line:
        return "is being asked"
    if standing.last_accepted is None or not _has_accepted(asked, key, table):
        return _GONE
    timeout = 0 if key.region else settings.in_progress_timeout_seconds * 1000
    if standing.last_accepted + timeout <= table.at:
        return _ACCEPTED
    return f"refreshes since {clock(standing.last_accepted)}" if standing.in_progress_since else _COMPLETE


def _state_of_region(key: Key, table: Snapshot) -> str:
    item = table.windows.get(key, WindowItem())
    if item.window_id:
        at = f"at {clock(item.refresh_at)}" if item.refresh_at > table.at else "now"
        return f"waits, to be listed {at}" + (f": {item.reason}" if item.reason else "")
    if item.refreshing_id:
        return "is being listed"
    return _HANDED_ON
