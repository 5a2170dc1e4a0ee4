"""From an S3 event to a queued request: what the aggregator Lambda does, and what the refresh Lambda does with an event
that the aggregator could not finish.

The guarantee: when `aggregate_event` returns, every change in the event is in a window whose request is known to be
queued or will be sent by whoever opened it, or is covered by a refresh that began after it. Otherwise it raises, and
the same event must come again.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import uuid4

from event_aggregator.changes import Change, NoChangeError, read_event
from event_aggregator.failures import AWS_ERRORS, all_messages
from event_aggregator.folders import folder_of
from event_aggregator.ignored_keys import pattern_of
from event_aggregator.memo import Memo, is_open
from event_aggregator.observability import Tally, logger, measure, timestamp
from event_aggregator.request import LIFETIME_MS, ActionQueue, Request
from event_aggregator.settings import Settings
from event_aggregator.table import Key, WindowItem
from event_aggregator.window import Due, Windows

# Changes of a bucket that share one write; DynamoDB allows 100 operands to IN and 4 KB to an expression.
_CHANGES_A_WRITE = 50

# An event that Lambda cannot hand over waits no longer (Lambda guide, invocation-async-error-handling).
_AN_HOUR_MS = 3_600_000
_LONGEST_WAIT_MS = 6 * _AN_HOUR_MS

# A window whose opener has not confirmed its request may be taken over this long after the opener must have ended.
_SEND_LEASE_MARGIN_MS = 10_000


class NotFinishedError(Exception):
    """Part of an event could not be handled: the event must be delivered again. The message says which part and why."""


@dataclass(frozen=True, slots=True)
class Aggregator:
    windows: Windows
    queue: ActionQueue
    settings: Settings
    now: Callable[[], int]  # epoch milliseconds
    memo: Memo = field(default_factory=Memo)
    tally: Tally = field(default_factory=Tally)
    ignored: Tally = field(default_factory=partial(Tally, "ChangesIgnored"))  # by the hour, as no window ends
    _told: set[str] = field(default_factory=set)

    def aggregate_event(self, event: Any, time_left: int) -> None:
        """Put every change of an S3 event into its bucket's window. `time_left`: milliseconds until Lambda ends this.

        A bucket that fails, or a record that is none of S3's, stops no other; then NotFinishedError is raised. A record
        that is known to be no change is told as a warning, once in a container, and let go.
        """
        deadline = self.now() + time_left
        changes, problems = read_event(event)
        failures: list[Exception] = []
        for problem in problems:
            if isinstance(problem, NoChangeError):
                self.warn_once(str(problem))
            else:
                failures.append(problem)
        for key, of_key in self._by_window(changes):
            try:
                self._absorb(key, of_key, deadline)
            except AWS_ERRORS as error:
                error.add_note(f"Bucket {key}")
                failures.append(error)
        if failures:
            raise NotFinishedError(all_messages(failures)) from failures[0]

    def warn_once(self, text: str) -> None:
        """Warn of what would else be told with every event, once in a container."""
        if text not in self._told:
            self._told.add(text)
            logger.warning(text)

    def _by_window(self, changes: list[Change]) -> Iterator[tuple[Key, list[Change]]]:
        """The keys whose windows the changes belong in, and the changes, in their order, as many as share a write."""
        windows: dict[Key, list[Change]] = {}
        for change in changes:
            if pattern_of(change.key, self.settings.ignore_keys):
                self.ignored.add(Key.read(change.bucket), str(self.now() // _AN_HOUR_MS), 1)
            else:
                windows.setdefault(self._key(change), []).append(change)
        for key, of_key in windows.items():
            for start in range(0, len(of_key), _CHANGES_A_WRITE):
                yield key, of_key[start : start + _CHANGES_A_WRITE]

    def _key(self, change: Change) -> Key:
        """Of the window that the change belongs in.

        What a gateway wrote is no news for the share that it was written through. So what may be a gateway's has a
        window of its role's, and when that is due it is seen whether a share has this role, and which others there are.
        """
        role_id = change.role_of(self.settings.gateway_session_name)
        return Key.of_writer(change.bucket, role_id) if role_id else Key.read(change.bucket)

    def _absorb(self, key: Key, changes: list[Change], deadline: int) -> None:
        folders, now = frozenset(folder_of(change.key) for change in changes), self.now()
        due = Due.of_change(self.settings, key.bucket, now)
        if known := self.memo.recall(key, now):
            if is_open(known, now) and known.holds(folders) and due.is_met_by(known):
                logger.debug("Absorbed by the window of %s, from memory", key)
                self.tally.add(key, known.window_id, len(changes))
                return
            if joined := self.windows.join(key, known, folders, now, due):
                self.memo.remember(key, joined)
                self.tally.add(key, joined.window_id, len(changes))
                return
        item, opened = self.open_or_join(
            key,
            folders,
            owners=[change.identity for change in changes],
            newest_event=_newest(changes, now),
            since=now,
            due=due,
            deadline=deadline,
        )
        self.memo.remember(key, item)
        self.tally.add(key, opened or item.window_id, len(changes) - bool(opened))
        if opened:
            at = timestamp(due.at)
            logger.info(
                f"Opened a window for {key}, to be refreshed at {at}",
                bucket=key.bucket,
                folders=sorted(folders),
                correlation_id=opened,
            )
            measure(key.bucket, WindowsOpened=1)

    def open_or_join(  # noqa: PLR0913 - what a window is made of
        self,
        key: Key,
        folders: frozenset[str],
        *,
        owners: Iterable[str],
        due: Due,
        since: int,
        deadline: int,
        newest_event: int | None = None,
        attempt: int = 1,
        correlation: str = "",
        reason: str = "",
    ) -> tuple[WindowItem, str | None]:
        """Put `folders` into the open window of `key`; if there is none, open one and queue its request.

        The item as it was seen last, and the id of the window if it was opened. By `deadline` (epoch milliseconds) this
        process has ended. The other arguments are those of Windows.open and Request.
        """
        while True:
            window, now = uuid4().hex, self.now()
            opened, item = self.windows.open(
                key,
                window,
                folders=folders,
                owners=owners,
                newest_event=newest_event,
                now=now,
                since=since,
                refresh_at=due.at,
                lease_until=deadline + _SEND_LEASE_MARGIN_MS,
                reason=reason,
            )
            if opened:
                request = Request(key, window, correlation or window, attempt)
                return self._request(request, due.at, item), window
            if item.window_id is None:
                logger.debug(f"A refresh that began later has covered the change of {key}", folders=sorted(folders))
                return item, None
            fits = item.holds(folders) and due.is_met_by(item)
            if joined := item if fits else self.windows.join(key, item, folders, now, due):
                logger.debug(f"Absorbed by the window of {key}", window=joined.window_id, folders=sorted(folders))
                if newest_event is None and joined.window_id and not joined.confirmed:
                    # Promise: a region's window has a request. Its opener may be dead, never to come again: a later
                    # window of the bucket takes its folders over, so that its own message is dropped.
                    request = Request(key, joined.window_id, correlation or joined.window_id, attempt)
                    joined = self._request(request, joined.refresh_at)
                return joined, None
            # The window was closed between the two writes: the next round opens one, or finds the next.

    def _request(self, request: Request, due: int, opened: WindowItem | None = None) -> WindowItem:
        """Queue a window's request, and only then note that it is queued."""
        self.queue.send(request, now=self.now(), due=due)
        return self.windows.confirm(request.key, request.window, due + LIFETIME_MS, opened)


def _newest(changes: Iterable[Change], now: int) -> int:
    """When the last of the changes was made, as far as their times can be true; epoch milliseconds.

    S3 tells of a change within seconds, and Lambda may keep the event for six hours. So a time from before that proves
    nothing, be it of a test event (1970), of a clock that is wrong, or of an event that lay in a queue for days: it
    counts as now, and no earlier refresh is taken to cover the change. That costs one refresh at most. A time to come
    needs no rule: no refresh began after it.
    """
    return max(change.time if change.time >= now - _LONGEST_WAIT_MS else now for change in changes)
