"""What the functions would do with a trace: which windows there are, and when which share is refreshed.

Whatever is decided here is decided by the functions' own code: when a window is due (Due), for how long a message is
delayed (delay_seconds), whose turn it is (turns.step), what a call takes (next_round). Only what changes nothing is
skipped: changes that an open window absorbs, and windows that add to what waits at a gateway where nothing can happen
before its next wake. Windows are computed in bulk. Tests compare them with Due, change by change, and the outcome with
that of the functions themselves.

Events, messages and calls take no time. A refresh takes what its folders take. Each gateway accepts two at a time.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

import numpy as np

from commands.plan.prices import Counted
from commands.plan.trace import Ints, Requests, Trace, folder_in
from event_aggregator.folders import EVERYTHING, MAX_FOLDERS_LEFT, WHOLE_SHARE, Round, next_round
from event_aggregator.request import MIN_DELAY_MS, delay_seconds
from event_aggregator.settings import Settings
from event_aggregator.table import Key
from event_aggregator.turns import (
    Asked,
    Busy,
    Completed,
    Enqueued,
    Gateway,
    GatewayEvent,
    Rules,
    Todo,
    Visit,
    Visited,
    Woken,
    next_wake,
    step,
)
from event_aggregator.window import Due, too_many, too_much

_BUCKET = "bucket"
_ACCEPTED_AT_A_TIME = 2  # by a gateway
_INVOCATION_MS = 60_000  # timeout of the refresh function

# The aggregator's warm containers, as the bill has them: each asks the table once a window. One that had nothing to do
# for some minutes is gone.
CONTAINERS, _WARM_MS = 2, 600_000
# What the functions log of a window and of a refresh, measured.
_WINDOW_LOG_BYTES, _ABSORBED_LOG_BYTES, _REFRESH_LOG_BYTES, _FOLDER_LOG_BYTES = 700, 1_000, 1_200, 3
_ITEM_BYTES, _MAX_FOLDER_BYTES = 300, 16_384  # of a window, without its folders, and of these


@dataclass(frozen=True)
class Pace:
    """How fast a gateway is: assumed, or measured."""

    seconds: float = 1.0  # each refresh, whatever it reads
    lists: float = 20.0  # a second
    heads: float = 5_500.0  # a second: what S3 gives a prefix (knowledge centre, storage-gateway-refreshcache-latency)

    def milliseconds(self, requests: Requests) -> int:
        return max(1, round(1000 * (self.seconds + requests.lists / self.lists + requests.heads / self.heads)))


@dataclass(frozen=True)
class Shown:
    """A file share of the bucket: it shows what lies under `prefix` (empty, or ending in a slash)."""

    prefix: str = ""
    gateway: str = "sgw-1"


@dataclass(frozen=True, slots=True)
class Window:
    """The changes from `first` to before `end`, refreshed together; `everything`: they have too many folders."""

    first: int
    end: int
    closed: int
    everything: bool


@dataclass(frozen=True, slots=True)
class Refresh:
    """One RefreshCache call that was accepted. `folders`: those of the trace that it lists; None: all."""

    began: int
    ended: int
    requests: Requests
    folders: Ints | None
    call: Round


@dataclass
class Replay:
    """What happened: the refreshes of each share, in the order of time."""

    refreshes: list[list[Refresh]]
    counted: Counted = field(default_factory=Counted)


def replay(trace: Trace, shares: Sequence[Shown], settings: Settings, pace: Pace) -> Replay:
    """The refreshes of all shares, in the windows of one bucket."""
    result = Replay([[] for _ in shares])
    found = windows(trace, settings, result.counted)
    for name in dict.fromkeys(share.gateway for share in shares):
        here = {number: share for number, share in enumerate(shares) if share.gateway == name}
        _AtGateway(trace, here, settings, pace, result).run(found)
    result.counted.events = len(trace.times)
    return result


def windows(trace: Trace, settings: Settings, counted: Counted) -> list[Window]:
    """The bucket's windows one after the other, each with the changes that it absorbs."""
    times, due = trace.times, Due.of_change(settings, _BUCKET, 0)
    start, starts, found = 0, [], []
    life = _life(trace, due, 0)  # without a quiet time, all windows live alike
    while start < len(times):
        life = _life(trace, due, start) if due.longest else life
        starts.append(start)
        found.append(life)
        start = max(start + 1, int(times.searchsorted(int(times[start]) + life[0])))
    first, lives = np.array(starts, np.int32), np.array(found, np.int64).T
    changes, closed = np.diff(first, append=len(times)), times[first] + lives[0]
    is_new = trace.previous < np.repeat(first, changes)  # the first change of its folder in its window
    name_bytes = np.array([len(name.encode()) for name in trace.names], np.int32)
    folders = np.add.reduceat(is_new, first, dtype=np.int64)
    folder_bytes = np.add.reduceat(is_new * name_bytes[trace.folders], first, dtype=np.int64)
    _count_windows(counted, lives, changes, folders, folder_bytes)
    after_a_pause = times[first] - np.append(0, closed[:-1]) > _WARM_MS
    counted.cold_starts += int((1 + np.minimum(changes, CONTAINERS))[after_a_pause].sum())
    everything = map(too_much, folders.tolist(), folder_bytes.tolist())
    return list(map(Window, starts, [*starts[1:], len(times)], closed.tolist(), everything))


def _life(trace: Trace, due: Due, start: int) -> tuple[int, int, int]:
    """Of the window that the change `start` opens: the milliseconds until it is closed, how often RefreshAt was moved,
    and how often its request arrived until then. It is sent again until it arrives when the window is due.

    `due` is that of a change at the time 0. A change that Due.is_met_by would find late moves RefreshAt as
    Due.moved_refresh_at would; neither is called for each change.
    """
    times, previous = trace.times, trace.previous
    now = opened = int(times[start])
    refresh_at, latest = opened + due.at, opened + due.longest
    position, room, moves, arrivals = start + 1, MAX_FOLDERS_LEFT, 0, 0
    while True:
        arrivals += 1
        now += 1000 * delay_seconds(now, refresh_at)
        stop = int(times.searchsorted(now)) if refresh_at < latest else position
        while refresh_at < latest and position < stop:
            # Changes before this fit: only a new folder moves RefreshAt, which makes more of them fit.
            miss = int(times.searchsorted(refresh_at - due.at + due.tolerance, "right"))
            is_new = previous[position : min(miss + 1, stop)] < start if room else previous[:0]
            new = np.flatnonzero(is_new)[:room]
            position = position + int(new[-1]) if len(new) else min(miss, stop)
            if position < stop:
                refresh_at = min(int(times[position]) + due.at, latest)
                position, room, moves = position + 1, room - len(new), moves + (not len(new))
        if refresh_at <= now:
            return now - opened, moves, arrivals


# A window of more folders holds too many, whatever they are called.
_LOOK_AT = 1_000


def _count_windows(counted: Counted, lives: Ints, changes: Ints, folders: Ints, folder_bytes: Ints) -> None:
    """Opened, confirmed, closed, distributed; joined with each further folder, and met by each further container."""
    _, moves, arrivals = lives
    joins = np.minimum(folders, MAX_FOLDERS_LEFT + 1) - 1 + np.minimum(changes, CONTAINERS) - 1 + moves
    folder_bytes = np.minimum(folder_bytes, _MAX_FOLDER_BYTES)
    units = (3 + arrivals) * -(-(_ITEM_BYTES + folder_bytes) // 1024) + joins * (1 + folder_bytes // 2048)
    counted.write_units += int(units.sum())
    counted.read_units += int((arrivals * -(-(_ITEM_BYTES + folder_bytes) // 4096)).sum())
    counted.deliveries += int(arrivals.sum())
    counted.calls += int((3 + joins + 3 * arrivals).sum())  # a message sent and the item read for each arrival
    log_bytes = _WINDOW_LOG_BYTES + _FOLDER_LOG_BYTES * folder_bytes + _ABSORBED_LOG_BYTES * (changes > 1)
    counted.log_bytes += int(log_bytes.sum())


@dataclass
class _Waiting:
    """What waits for a share: the changes from `first` to before `end`, and what earlier rounds have left."""

    first: int = 0
    end: int = 0
    left: frozenset[str] = frozenset()
    everything: bool = False


class _AtGateway:
    """The shares of one gateway, by their numbers, and what happens there in the order of time."""

    def __init__(self, trace: Trace, shares: dict[int, Shown], settings: Settings, pace: Pace, result: Replay) -> None:
        self.trace, self.shares, self.pace, self.result = trace, shares, pace, result
        self.rules = Rules.of(settings)
        self.timeout = settings.in_progress_timeout_seconds * 1000
        self.scope_is_share = settings.refresh_scope.default == "share"
        self.keys = {number: Key.of_share(_BUCKET, "", f"share-{number}") for number in shares}
        self.numbers = {key: number for number, key in self.keys.items()}
        self.waiting = {number: _Waiting() for number in shares}
        self.shows = {number: trace.shown(share.prefix) for number, share in shares.items() if share.prefix}
        self.gateway = Gateway()
        self.ends: list[int] = []  # of the refreshes in progress
        self.messages: list[tuple[int, int, GatewayEvent]] = []  # a heap: due, number, what it tells of
        self.numbered = count(1)
        self.calls: dict[tuple[int, bytes, frozenset[str]], tuple[Round, Requests, Ints | None]] = {}
        self.folder_numbers = {name: folder for folder, name in enumerate(trace.names)}
        self.nothing_before = 0  # nothing can happen to the shares that wait before this

    def run(self, found: Sequence[Window]) -> None:
        for window in found:
            while self.messages and self.messages[0][0] < window.closed:
                self._deliver()
            self._distribute(window)
        while self.messages:
            self._deliver()

    def _deliver(self) -> None:
        now, _, happened = heapq.heappop(self.messages)
        self.result.counted.deliveries += 1
        wake = self.gateway.wake
        if isinstance(happened, Woken):
            self._count(reads=1)
            if wake and wake.token == happened.token and now < wake.at:
                self._send_wake(happened, now, wake.at)
                return
        self._visit(now, happened)

    def _distribute(self, window: Window) -> None:
        """As Refresher._distribute_to and Asker do: enqueue the shares that show a changed folder, then take turns."""
        handed = [number for number in self.shares if self._is_shown(number, window)]
        waits = True
        for number in handed:
            waiting = self.waiting[number]
            if waiting.end == waiting.first:
                waiting.first, waits = window.first, waits and bool(waiting.left)
            waiting.end, waiting.everything = window.end, waiting.everything or window.everything
        if not handed:
            return
        if waits and window.closed < self.nothing_before:
            self._count(writes=len(handed), reads=3)
            return
        keys = tuple(self.keys[number] for number in handed)
        if len(handed) > 1:
            self._step(window.closed, Enqueued(keys), may_claim=False, queues_wake=False)
            self._count(writes=len(handed))
            self._visit(window.closed, Visited())
        elif not self._visit(window.closed, Enqueued(keys)):
            self._count(writes=1, reads=2)

    def _is_shown(self, number: int, window: Window) -> bool:
        if window.everything or number not in self.shows:
            return True
        return bool(self.shows[number][self.trace.changed(window.first, window.end)].any())

    def _visit(self, now: int, happened: GatewayEvent) -> bool:
        """Take turns, as Asker._ask_claimed does; whether the first share took its turn without entering the line."""
        todo = self._step(now, happened)
        is_direct = todo.direct
        while key := todo.take:
            if not todo.direct:
                self._count(writes=2, reads=1)  # the share's item is read, closed, and what was closed is removed
            todo = self._step(now, self._ask(self.numbers[key], key, now))
        self.nothing_before = next_wake(self.gateway, now, self.rules) or 0
        return is_direct

    def _step(self, now: int, happened: GatewayEvent, *, may_claim: bool = True, queues_wake: bool = True) -> Todo:
        visit = Visit(now + _INVOCATION_MS, may_claim, queues_wake)
        token = str(next(self.numbered))
        self.gateway, todo = step(self.gateway, happened, visit=visit, now=now, rules=self.rules, token=token)
        self._count(writes=1)
        if todo.wake:
            self._send_wake(Woken(todo.wake.token), now, todo.wake.at)
        return todo

    def _count(self, writes: int = 0, reads: int = 0) -> None:
        counted = self.result.counted
        counted.write_units, counted.read_units = counted.write_units + writes, counted.read_units + reads
        counted.calls += writes + reads

    def _send_wake(self, wake: Woken, now: int, at: int) -> None:
        self.result.counted.calls += 1
        due = now + 1000 * delay_seconds(now, max(at, now + MIN_DELAY_MS))
        heapq.heappush(self.messages, (due, next(self.numbered), wake))

    def _ask(self, number: int, key: Key, now: int) -> Asked | Busy:
        """As Asker._ask does: one RefreshCache call."""
        self.ends = [end for end in self.ends if end > now]
        if len(self.ends) >= _ACCEPTED_AT_A_TIME:
            return Busy(key)
        waiting, self.waiting[number] = self.waiting[number], _Waiting()
        call, requests, folders = self._call(number, waiting)
        self.waiting[number].left = call.left
        ended = now + self.pace.milliseconds(requests)
        self.ends.append(ended)
        made = self.result.refreshes[number]
        made.append(Refresh(now, ended, requests, folders, call))
        refresh = f"{number}.{len(made)}"
        heapq.heappush(self.messages, (ended, next(self.numbered), Completed(key.share_id, refresh, now)))
        self.result.counted.log_bytes += _REFRESH_LOG_BYTES
        until = now + (self.timeout or self.rules.least_interval)
        return Asked(key, refresh, until, first_change=now, window="", kind="NFS", left=bool(call.left))

    def _call(self, number: int, waiting: _Waiting) -> tuple[Round, Requests, Ints | None]:
        """What the share is asked for, what that makes the gateway read, and which folders of the trace it shows."""
        prefix, trace = self.shares[number].prefix, self.trace
        changed = np.sort(trace.changed(waiting.first, waiting.end))
        if prefix:
            changed = changed[self.shows[number][changed]]
        if waiting.everything or self.scope_is_share or len(changed) > _LOOK_AT:
            return self._remembered(number, b"*", waiting.left, frozenset({EVERYTHING}))
        folders = frozenset(trace.names[folder] for folder in changed.tolist())
        return self._remembered(number, changed.tobytes(), waiting.left, folders)

    def _remembered(
        self, number: int, changed: bytes, left: frozenset[str], folders: frozenset[str]
    ) -> tuple[Round, Requests, Ints | None]:
        """The same for the same folders: most asks are for some that were asked for before."""
        remembered = (number, changed, left)
        if remembered not in self.calls:
            every = folders | left
            prefix, contents = self.shares[number].prefix, self.trace.contents
            call = WHOLE_SHARE if too_many(every) else next_round(every, prefix)
            self.calls[remembered] = call, contents.of(call, prefix), self._listed(call, prefix, every)
        return self.calls[remembered]

    def _listed(self, call: Round, prefix: str, folders: frozenset[str]) -> Ints | None:
        if call == WHOLE_SHARE:
            return None
        names = {folder_in(prefix, name) for name in call.folder_list}
        if call.recursive:
            below = tuple(f"{name.rstrip('/')}/" for name in names)
            names |= {name for folder in folders if f"{(name := folder.lstrip('=*'))}/".startswith(below)}
        found = [self.folder_numbers[name] for name in names if name in self.folder_numbers]
        return np.array(sorted(found), np.int32)
