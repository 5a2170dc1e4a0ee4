"""From an S3 event to a queued request. The aggregator does this, and the refresh function does it with an event that
the aggregator could not finish.

Promise: when `aggregate_event` returns, every change in the event is in a window whose request is queued or will be
sent by its opener, or a refresh that began after the change covers it, or its key is ignored. Otherwise it raises, and
the same event must be delivered again.
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

# How many changes of a window share one write. DynamoDB allows 100 operands of IN and 4 KB per expression.
_CHANGES_A_WRITE = 50

# Lambda keeps an event for at most six hours (Lambda guide, invocation-async-error-handling).
_AN_HOUR_MS = 3_600_000
_LONGEST_WAIT_MS = 6 * _AN_HOUR_MS

# Anybody may take over an unconfirmed window this long after its opener's invocation must have ended.
_SEND_LEASE_MARGIN_MS = 10_000


class NotFinishedError(Exception):
    """Part of an event could not be handled, so the event must be delivered again. The message says which and why."""


@dataclass(frozen=True, slots=True)
class Aggregator:
    windows: Windows
    queue: ActionQueue
    settings: Settings
    now: Callable[[], int]  # epoch milliseconds
    memo: Memo = field(default_factory=Memo)
    tally: Tally = field(default_factory=Tally)
    ignored: Tally = field(default_factory=partial(Tally, "ChangesIgnored"))  # by the hour, not by window
    _warned: set[str] = field(default_factory=set)

    def aggregate_event(self, event: Any, time_left: int) -> None:
        """Put every change of an S3 event into its window. `time_left`: milliseconds until Lambda ends the invocation.

        If a window fails or a record is not S3's, the others are handled, and then NotFinishedError is raised. A record
        that changes no listing is only logged as a warning, once per container.
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
                self._put_into_window(key, of_key, deadline)
            except AWS_ERRORS as error:
                error.add_note(f"Bucket {key}")
                failures.append(error)
        if failures:
            raise NotFinishedError(all_messages(failures)) from failures[0]

    def warn_once(self, text: str) -> None:
        """Log a warning once per container, because every event would repeat it."""
        if text not in self._warned:
            self._warned.add(text)
            logger.warning(text)

    def _by_window(self, changes: list[Change]) -> Iterator[tuple[Key, list[Change]]]:
        """Each window's key and its changes in order, at most _CHANGES_A_WRITE at a time; without ignored changes."""
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
        """The key of the change's window.

        The share through which a gateway wrote a file knows the file. So a change that a gateway may have written goes
        into the window of the writer's role. When that is due, the refresh function looks for a share with this role.
        """
        role_id = change.role_of(self.settings.gateway_session_name)
        return Key.of_writer(change.bucket, role_id) if role_id else Key.read(change.bucket)

    def _put_into_window(self, key: Key, changes: list[Change], deadline: int) -> None:
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
                f"Opened a window for {key}, which closes no earlier than {at}",
                bucket=key.bucket,
                folders=sorted(folders),
                correlation_id=opened,
            )
            measure(key.bucket, WindowsOpened=1)

    def open_or_join(  # noqa: PLR0913 - the attributes of a window
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
        """Put `folders` into the open window of `key`. If there is none, open one and queue its request.

        Returns the item as it was seen last, and the id of the window if this call opened it. This invocation ends by
        `deadline` (epoch milliseconds). The other arguments are those of Windows.open and Request.
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
                return self._queue_request(request, due.at, item), window
            if item.window_id is None:
                logger.debug(f"A refresh that began later covers the change of {key}", folders=sorted(folders))
                return item, None
            fits = item.holds(folders) and due.is_met_by(item)
            if joined := item if fits else self.windows.join(key, item, folders, now, due):
                logger.debug(f"Absorbed by the window of {key}", window=joined.window_id, folders=sorted(folders))
                if newest_event is None and joined.window_id and not joined.confirmed:
                    # Promise: a region's window has a request. If its opener died before it sent the request, it may
                    # not be invoked again: its message is dropped if a later window of the bucket took the folders
                    # over. So whoever joins the window sends the request too.
                    request = Request(key, joined.window_id, correlation or joined.window_id, attempt)
                    joined = self._queue_request(request, joined.refresh_at)
                return joined, None
            # The window was closed between the two writes: try again.

    def _queue_request(self, request: Request, due: int, opened: WindowItem | None = None) -> WindowItem:
        """Queue a window's request, and only then confirm the window."""
        self.queue.send(request, now=self.now(), due=due)
        return self.windows.confirm(request.key, request.window, due + LIFETIME_MS, opened)


def _newest(changes: Iterable[Change], now: int) -> int:
    """The time of the newest change, in epoch milliseconds. A time of more than six hours ago counts as now.

    S3 reports a change within seconds, and Lambda keeps the event for at most six hours. An older time is a test
    event's (1970), a wrong clock's, or that of an event that was queued for days. If it counts as now, no earlier
    refresh covers the change, which costs at most one refresh. A time in the future needs no rule: no refresh began
    after it.
    """
    return max(change.time if change.time >= now - _LONGEST_WAIT_MS else now for change in changes)
