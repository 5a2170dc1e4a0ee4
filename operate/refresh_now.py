"""A refresh that somebody asks for, followed to its end.

It takes the way of every other: the folders are put into each share's own window, whose request the refresh function
handles, with all restraint; and into that of each place whose shares only the function can list. A bucket's window is
left alone: warm containers rely on its staying open until it is due.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import uuid4

from event_aggregator.folders import EVERYTHING, shown
from event_aggregator.table import Item, key_of_place
from event_aggregator.window import Due
from operate.stack import Stack, StackError, now_ms
from operate.words import ago, clock

# As long as this process may take between opening a share's window and sending its request; then others may take over.
_SEND_MS = 60_000

_POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Asked:
    """A share or a place whose window got the folders, and what was known of it before."""

    key: str
    before: Item
    is_place: bool = False
    tells: bool = False  # an event tells when a refresh is complete


def folders(folder: str | None, *, recursive: bool) -> frozenset[str]:
    """What to refresh, as windows hold it."""
    path = (folder or "").strip("/")
    if folder is None or (recursive and not path):
        return frozenset({EVERYTHING})
    return frozenset({f"/{path}", f"*/{path}"} if recursive else {f"/{path}"})


def hand_over(stack: Stack, bucket: str, wanted: frozenset[str]) -> list[Asked]:
    """Put `wanted` into the windows of all that may show it, and have each due as soon as it may be asked."""
    listing = stack.places.showing(bucket, "", lambda: False)
    places = [*listing.unlisted, *stack.unseen_places]
    if not listing.shares and not places:
        nobody = f"No file share of this account in {stack.region} is known to show the bucket {bucket}."
        raise StackError("\n".join([nobody, *stack.notes]))
    owner, tells = uuid4().hex, stack.settings.in_progress_timeout_seconds > 0
    asked = [
        Asked(share.key, _put(stack, share.key, folders, owner), tells=tells and not share.away)
        for share in listing.shares
        if (folders := shown(wanted, share.prefix))
    ]
    asked += [
        Asked(key, _put(stack, key, wanted, owner), is_place=True)
        for key in (key_of_place(bucket, name) for name in places)
    ]
    if not asked:
        raise StackError(f"No file share of {bucket} shows {', '.join(sorted(wanted))}: their prefixes are others.")
    return asked


def _put(stack: Stack, key: str, folders: frozenset[str], owner: str) -> Item:
    """Have `folders` wait in the window of `key`, until it may be asked; what the table held before."""
    now, before, refresher = now_ms(), stack.windows.read(key), stack.refresher
    item, opened = refresher.aggregator.gather(
        key,
        folders,
        owners=[owner],
        due=Due(now),
        since=now,
        deadline=now + _SEND_MS,
        correlation=owner,
        reason="asked for by refresh-now.sh",
    )
    if not opened:  # it has waited already, and may be tried again at once
        refresher.hasten(key, item, again=True)
    return before


def follow(stack: Stack, asked: list[Asked]) -> Iterator[str]:
    """A line whenever the state of a share or place changes, until all have come to an end that is known."""
    last: dict[str, str] = {}
    while len(last) < len(asked) or not all(known.startswith(_ENDS) for known in last.values()):
        for share in asked:
            known = state(stack, share, stack.windows.read(share.key))
            if last.get(share.key) != known:
                last[share.key] = known
                yield f"{clock(now_ms())}  {share.key} {known}"
        time.sleep(_POLL_SECONDS)


_COMPLETE, _ACCEPTED, _GONE = "shows everything now", "was asked; when it is complete, nobody tells", "is gone"
_HANDED_ON = "is dealt with: the refresh function's log tells which of its shares were asked"
_ENDS = (_COMPLETE, _ACCEPTED, _GONE, _HANDED_ON)


def state(stack: Stack, asked: Asked, item: Item) -> str:
    """In words, by what the table holds for it now."""
    now = now_ms()
    if item.window_id:
        due = ago(now, item.refresh_at) if item.refresh_at > now else "now"
        return f"waits, to be asked {due}: {item.reason or 'no reason known'}"
    if item.refreshing_id:
        return "is being asked"
    if asked.is_place:
        return _HANDED_ON if item.refresh_started_at > asked.before.refresh_started_at else _GONE
    if item.last_accepted_at <= asked.before.last_accepted_at:
        return _GONE
    if item.in_progress_id is None:
        return _COMPLETE if asked.tells else _ACCEPTED
    lapsed = item.in_progress_since + stack.settings.in_progress_timeout_seconds * 1000 <= now
    return _ACCEPTED if lapsed else f"refreshes since {clock(item.in_progress_since)}"
