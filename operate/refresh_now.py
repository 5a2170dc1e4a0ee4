"""A refresh that somebody asks for, followed to its end.

It takes the way of every other: the folders are put into each share's own window, whose request the refresh function
handles, with all restraint. A bucket's window is left alone: warm containers rely on its staying open until it is due.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import uuid4

from event_aggregator.folders import EVERYTHING, shown
from event_aggregator.table import Item
from event_aggregator.window import Due
from operate.stack import Stack, StackError, now_ms
from operate.words import ago, clock

# As long as this process may take between opening a share's window and sending its request; then others may take over.
_SEND_MS = 60_000

_POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Asked:
    """A share whose window got the folders, and what was known of it before."""

    key: str
    before: Item


def folders(folder: str | None, *, recursive: bool) -> frozenset[str]:
    """What to refresh, as windows hold it."""
    path = (folder or "").strip("/")
    if folder is None or (recursive and not path):
        return frozenset({EVERYTHING})
    return frozenset({f"/{path}", f"*/{path}"} if recursive else {f"/{path}"})


def hand_over(stack: Stack, bucket: str, wanted: frozenset[str]) -> list[Asked]:
    """Put `wanted` into the window of each share that shows it, and have it due as soon as the share may be asked."""
    shares = stack.shares(bucket)
    if not shares:
        nobody = f"No file share of this account in {stack.region} is known to show the bucket {bucket}."
        raise StackError("\n".join([nobody, *stack.notes]))
    refresher, asked = stack.refresher, []
    window = uuid4().hex
    for share in shares:
        if of_share := shown(wanted, share.prefix):
            now, before = now_ms(), stack.windows.read(share.key)
            item, opened = refresher.aggregator.gather(
                share.key,
                of_share,
                owners=[window],
                due=Due(now),
                since=now,
                deadline=now + _SEND_MS,
                correlation=window,
                reason="asked for by refresh-now.sh",
            )
            if not opened:  # it has waited already, and may be tried again at once
                refresher.hasten(share.key, item, again=True)
            asked.append(Asked(share.key, before))
    if not asked:
        raise StackError(f"No file share of {bucket} shows {', '.join(sorted(wanted))}: their prefixes are others.")
    return asked


def follow(stack: Stack, asked: list[Asked]) -> Iterator[str]:
    """A line whenever the state of a share changes, until all are complete."""
    last: dict[str, str] = {}
    while len(last) < len(asked) or not all(state.startswith(_ENDS) for state in last.values()):
        for share in asked:
            state = _state(stack, share, stack.windows.read(share.key))
            if last.get(share.key) != state:
                last[share.key] = state
                yield f"{clock(now_ms())}  {share.key} {state}"
        time.sleep(_POLL_SECONDS)


_COMPLETE, _ACCEPTED, _GONE = "shows everything now", "was asked; when it is complete, nobody tells", "is gone"
_ENDS = (_COMPLETE, _ACCEPTED, _GONE)


def _state(stack: Stack, share: Asked, item: Item) -> str:
    if item.window_id:
        due = ago(now_ms(), item.refresh_at) if item.refresh_at > now_ms() else "now"
        return f"waits, to be asked {due}: {item.reason or 'no reason known'}"
    if item.refreshing_id:
        return "is being asked"
    if item.last_accepted_at <= share.before.last_accepted_at:
        return _GONE
    if item.in_progress_id:
        return f"refreshes since {clock(item.in_progress_since)}"
    return _COMPLETE if stack.settings.in_progress_timeout_seconds else _ACCEPTED
