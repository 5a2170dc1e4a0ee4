"""Safeguards that are dropped from the code on purpose, and the schedule search that must find out.

The guarantee: `search` gives the functions of one module the code that they have with the changed text, searches a
small scenario for a schedule that breaks the promise named here, and gives the functions their own code back. If the
text is not found exactly once, that is an error: the code has moved on.
`python -m tests.simulation.dropped_safeguards NAME`, with the repository and its src on PYTHONPATH, prints the
schedule.
"""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any
from unittest.mock import patch

from tests.simulation import scenarios, world
from tests.simulation.functions import forget
from tests.simulation.schedules import ScheduleError, Search


@dataclass(frozen=True, slots=True)
class DroppedSafeguard:
    name: str
    promise: str
    file: str
    old: str
    new: str
    scenario: str  # in scenarios.py
    preemptions: int = 0
    deaths: int = 0
    faults: bool = False
    since: int = 0  # seconds: before, nothing is searched


COVERAGE, AGGREGATION, FRESHNESS, RESTRAINT, TURNS = "Coverage", "Aggregation", "Freshness", "Restraint", "Turns"

DROPPED_SAFEGUARDS = (
    # The window of a bucket
    DroppedSafeguard(
        "the owner cannot take its window over",
        COVERAGE,
        "window.py",
        "opened_by_us = f\"OpenedBy IN ({', '.join(owner_names)})\"",
        "opened_by_us = f\"(attribute_not_exists(WindowId) AND OpenedBy IN ({', '.join(owner_names)}))\"",
        "RETRIED_SOON",
        deaths=1,
    ),
    DroppedSafeguard(
        "an unconfirmed window is remembered",
        COVERAGE,
        "memo.py",
        "if item.confirmed:",
        "if item.window_id:",
        "SAME_FOLDER",
        deaths=1,
    ),
    DroppedSafeguard(
        "RefreshingId is not set",
        COVERAGE,
        "window.py",
        "SET RefreshingId = :window, RefreshedFolders = Folders",
        "SET RefreshedFolders = Folders",
        "TWO_CHANGES",
        deaths=1,
    ),
    DroppedSafeguard(
        "a request whose window is closed is always dropped",
        COVERAGE,
        "refresh.py",
        "elif request.window in (item.window_id, item.refreshing_id):",
        "elif request.window == item.window_id:",
        "TWO_CHANGES",
        deaths=1,
    ),
    DroppedSafeguard(
        "a closed window is not taken over by the next",
        COVERAGE,
        "window.py",
        "if item.refreshing_id is not None:",
        "if item.refreshing_id is not None and not item.window_id:",
        "DURING_THE_REFRESH",
        deaths=1,
        since=20,
    ),
    DroppedSafeguard(
        "a window's request marks another one as distributed",
        COVERAGE,
        "window.py",
        'self._update(key, "REMOVE RefreshingId", "RefreshingId = :window"',
        'self._update(key, "REMOVE RefreshingId", "RefreshingId = :window OR attribute_exists(RefreshingId)"',
        "STALLED_HAND_OVER",
        preemptions=2,
        deaths=1,
    ),
    DroppedSafeguard(
        "a window is confirmed that was taken over",
        COVERAGE,
        "window.py",
        '"WindowId = :window OR (attribute_not_exists(WindowId) AND RefreshingId = :window)"',
        '"WindowId = :window OR attribute_exists(WindowId)"',
        "DUPLICATE",
        preemptions=1,
        deaths=1,
    ),
    DroppedSafeguard(
        "a take-over overwrites the folders",
        COVERAGE,
        "window.py",
        "LeaseUntil = :lease_until{waiting} ADD Folders :folders",
        "LeaseUntil = :lease_until{waiting}, Folders = :folders",
        "RETRIED_SOON",
        deaths=1,
    ),
    DroppedSafeguard(
        "confirm before the request is sent",
        COVERAGE,
        "aggregate.py",
        "        self.queue.send(request, now=self.now(), due=due)\n",
        "        self.windows.confirm(request.key, request.window, due + LIFETIME_MS)\n"
        "        self.queue.send(request, now=self.now(), due=due)\n",
        "RETRIED_SOON",
        deaths=1,
    ),
    DroppedSafeguard(
        "the margin of what is covered",
        COVERAGE,
        "window.py",
        "number(newest_event + COVERED_MARGIN_MS)",
        "number(newest_event)",
        "REFRESHER_AHEAD",
    ),
    DroppedSafeguard(
        "the memo's margin",
        COVERAGE,
        "memo.py",
        "now < item.refresh_at - MARGIN_MS",
        "now < item.refresh_at",
        "AGGREGATOR_BEHIND",
    ),
    DroppedSafeguard(
        "RefreshAt moves earlier",
        COVERAGE,
        "window.py",
        "{condition} AND RefreshAt <= :refresh_at",
        "{condition}",
        "QUIET_WINDOW",
        preemptions=2,
        since=3,
    ),
    DroppedSafeguard(
        "a window is closed that was moved later",
        COVERAGE,
        "window.py",
        '"WindowId = :window AND RefreshAt <= :now"',
        '"WindowId = :window"',
        "QUIET_AT_THE_CLOSE",
        preemptions=1,
    ),
    DroppedSafeguard(
        "too many folders keep only the last",
        COVERAGE,
        "window.py",
        'folders, change = frozenset({EVERYTHING}), f"{change}, Folders = :folders"',
        'change = f"{change}, Folders = :folders"',
        "TOO_MANY_FOLDERS",
    ),
    DroppedSafeguard(
        "the folders above a changed one",
        COVERAGE,
        "folders.py",
        "listed.update(path[:depth] for depth in range(len(path) + 1))",
        "listed.add(path)",
        "DEEP_FOLDER",
    ),
    DroppedSafeguard(
        "a request that comes early is not sent again",
        COVERAGE,
        "refresh.py",
        "        self.aggregator.queue.send(request, now=now, due=due)\n",
        "",
        "LONG_DELAY",
    ),
    DroppedSafeguard(
        "the aggregator swallows a failure",
        COVERAGE,
        "aggregate.py",
        "                failures.append(error)\n",
        "",
        "TWO_CHANGES",
        deaths=1,
        faults=True,
    ),
    DroppedSafeguard(
        "an event that failed for good is passed over",
        COVERAGE,
        "refresh.py",
        "                self.aggregator.aggregate_event(message.event, time_left)\n",
        "",
        "FAILS_FOR_GOOD",
        deaths=3,
    ),
    DroppedSafeguard(
        "a confirmed window keeps its short lease",
        AGGREGATION,
        "aggregate.py",
        "due + LIFETIME_MS, opened)",
        "due, opened)",
        "BEFORE_THE_REQUEST",
    ),
    # Handing over
    DroppedSafeguard(
        "a window counts as distributed before its folders are",
        COVERAGE,
        "refresh.py",
        "        self._distribute(request.key, changes, delivery, request.attempt)\n"
        "        windows.mark_distributed(request.key, request.window)\n",
        "        windows.mark_distributed(request.key, request.window)\n"
        "        self._distribute(request.key, changes, delivery, request.attempt)\n",
        "TWO_CHANGES",
        deaths=1,
    ),
    DroppedSafeguard(
        "a failure at a gateway is swallowed",
        COVERAGE,
        "refresh.py",
        "        if failures:\n            raise NotRefreshedError",
        "        if failures and False:\n            raise NotRefreshedError",
        "TWO_CHANGES",
        deaths=1,
        faults=True,
    ),
    DroppedSafeguard(
        "shares that are put into the line are asked by nobody",
        COVERAGE,
        "refresh.py",
        "self.asker.take_turns(gateway, delivery, handed)\n",
        "None\n",
        "TWO_ON_ONE",
    ),
    DroppedSafeguard(
        "a gateway that was handed two shares is not written",
        COVERAGE,
        "refresh.py",
        "len(handed) > 1 and self.asker.enqueue",
        "len(handed) > 2 and self.asker.enqueue",
        "TWO_ON_ONE",
    ),
    DroppedSafeguard(
        "one of two shares with the writer's role is taken for the one that was written through",
        COVERAGE,
        "regions.py",
        "if len(found) != 1 or any",
        "if not found or any",
        "ONE_ROLE",
    ),
    DroppedSafeguard(
        "an unknown share is not thought to be the writer",
        COVERAGE,
        "regions.py",
        "if len(found) != 1 or any(share.unknown for share in shares):",
        "if len(found) != 1:",
        "WRITTEN_THROUGH_AN_UNKNOWN_SHARE",
    ),
    DroppedSafeguard(
        "a share is refreshed for what was written through it",
        AGGREGATION,
        "refresh.py",
        "shares = [share for share in shares if share not in left_out]",
        "shares = list(shares)",
        "WRITTEN_THROUGH",
    ),
    # Regions
    DroppedSafeguard(
        "what is for a region that cannot be listed is not kept",
        COVERAGE,
        "refresh.py",
        "            self._wait_for_region(\n"
        '                key, changes, delivery, attempt, f"its file shares could not be listed: {error_text(error)}"\n'
        "            )\n",
        "",
        "ONLY_REGION_DENIED_FOR_AN_HOUR",
    ),
    DroppedSafeguard(
        "a region that denies is asked again as late as one that did so for long",
        FRESHNESS,
        "refresh.py",
        "(backoff(attempt) if reason else 0)",
        "(backoff(attempt + 9) if reason else 0)",
        "TWO_REGIONS",
        deaths=1,
        faults=True,
    ),
    DroppedSafeguard(
        "only the first region is handed the folders",
        COVERAGE,
        "refresh.py",
        "for name in regions.names:",
        "for name in regions.names[:1]:",
        "TWO_REGIONS",
    ),
    DroppedSafeguard(
        "what waits for a region is for the first",
        COVERAGE,
        "refresh.py",
        "name = key.region or regions.names[0]",
        "name = regions.names[0]",
        "TWO_REGIONS",
    ),
    DroppedSafeguard(
        "who joins a region's window leaves its request to the opener",
        COVERAGE,
        "aggregate.py",
        "if newest_event is None and joined.window_id and not joined.confirmed:",
        "if newest_event is None and not joined.window_id and not joined.confirmed:",
        "WAITS_FOR_A_REGION",
        deaths=1,
        since=20,
    ),
    DroppedSafeguard(
        "one id in two regions is one share",
        RESTRAINT,
        "table.py",
        "filter(None, (bucket, region, share_id))",
        "filter(None, (bucket, share_id))",
        "TWO_REGIONS",
    ),
    DroppedSafeguard(
        "a share of another region waits for an event that stays there",
        FRESHNESS,
        "asking.py",
        "self.settings.in_progress_timeout_seconds if self.regions.reports_completions(share) else 0",
        "self.settings.in_progress_timeout_seconds",
        "LONG_REFRESH_AWAY",
    ),
    # What waits for a share
    DroppedSafeguard(
        "what is added overwrites what waits",
        COVERAGE,
        "waiting.py",
        '            " ADD Folders :folders",\n            None,',
        '            ", Folders = :folders",\n            None,',
        "HAND_OVER_DIES",
    ),
    DroppedSafeguard(
        "what was added since the share's window was read is taken for read",
        COVERAGE,
        "waiting.py",
        '                "WindowId = :window",\n                {\n',
        '                "attribute_exists(WindowId)",\n                {\n',
        "ADDED_WHILE_IT_IS_ITS_TURN",
        preemptions=1,
        since=80,
    ),
    DroppedSafeguard(
        "what was closed and refused is not asked for again",
        COVERAGE,
        "waiting.py",
        "unfinished = self.refreshed_folders if self.refreshing_id else frozenset()",
        "unfinished = frozenset[str]()",
        "OFFLINE_FOR_A_MINUTE",
    ),
    # Asking
    DroppedSafeguard(
        "what is closed is removed before the call",
        COVERAGE,
        "asking.py",
        "        try:\n            refresh = self.regions.of(key).refresh(share, round_)\n",
        "        try:\n"
        "            if ask.closed:\n"
        "                self.waiting.remove_closed(key, ask.closed, keep_folders=False)\n"
        "            refresh = self.regions.of(key).refresh(share, round_)\n",
        "TWO_WINDOWS",
        deaths=1,
        faults=True,
        since=45,
    ),
    DroppedSafeguard(
        "an acceptance is noted before what it asked for is removed",
        COVERAGE,
        "asking.py",
        "may_claim=may_claim, before_writing=finish)\n",
        "may_claim=may_claim)\n"
        "                if finish and todo:\n                    finish(Gateway(), Gateway(), todo)\n",
        "TWO_WINDOWS",
        deaths=1,
    ),
    DroppedSafeguard(
        "what is left for the next round is dropped",
        COVERAGE,
        "asking.py",
        "if left := round_.left | (folders if todo.repeat == key else frozenset()):",
        "if left := folders if todo.repeat == key else frozenset():",
        "MANY_FOLDERS",
    ),
    DroppedSafeguard(
        "a share that was asked directly and refused loses its folders",
        COVERAGE,
        "asking.py",
        "        if ask.closed is None:\n            self.waiting.add(key, ask.share, ask.changes, uuid4().hex)\n"
        "        is_about",
        "        is_about",
        "OFFLINE_FOR_A_MINUTE",
    ),
    DroppedSafeguard(
        "a share is asked directly while others wait",
        RESTRAINT,
        "turns.py",
        "nobody_waited = not gateway.waiting()",
        "nobody_waited = True",
        "CLAIMED_FOR_ANOTHER_BUCKET",
    ),
    DroppedSafeguard(
        "what waits for a share that is gone is not forgotten",
        COVERAGE,
        "asking.py",
        "            self.waiting.forget(key)\n            return NothingToAsk(key, gone=True)\n",
        "            return NothingToAsk(key, gone=True)\n",
        "GONE_WHILE_IT_WAITS",
    ),
    DroppedSafeguard(
        "a share that cannot be described is taken for gone",
        COVERAGE,
        "asking.py",
        '            return self._postpone(key, f"it cannot be described: {error_text(error)}")\n',
        "            self.waiting.forget(key)\n            return NothingToAsk(key, gone=True)\n",
        "ONE_IS_UNKNOWN",
    ),
    DroppedSafeguard(
        "a share that cannot be described shows nothing",
        COVERAGE,
        "file_shares.py",
        'return replace(share, unknown=unknown or "Storage Gateway does not describe it")',
        'return replace(share, bucket="")',
        "ONE_IS_UNKNOWN",
    ),
    DroppedSafeguard(
        "a share that cannot be described fails the others",
        FRESHNESS,
        "file_shares.py",
        "            except ClientError as error:\n                refused[arn]",
        "            except UnreadableAnswerError as error:\n                refused[arn]",
        "ONE_IS_UNKNOWN",
    ),
    DroppedSafeguard(
        "a refresh in progress is taken for complete",
        RESTRAINT,
        "asking.py",
        "until = now + (timeout * 1000 or self.gateways.rules.least_interval)",
        "until = now + self.gateways.rules.least_interval",
        "LONG_REFRESH",
    ),
    DroppedSafeguard(
        "a share has the interval of all others",
        RESTRAINT,
        "turns.py",
        "return self.exceptions.get(key.share_id, self.interval)",
        "return self.least_interval",
        "TWO_PACES",
    ),
    DroppedSafeguard(
        "a bucket has the delay of all others",
        FRESHNESS,
        "window.py",
        "refresh_delay_seconds.of(bucket)",
        "refresh_delay_seconds.default",
        "TWO_PACES",
    ),
    DroppedSafeguard(
        "a completion is passed over",
        FRESHNESS,
        "refresh.py",
        "                self.asker.completed(message, delivery)\n",
        "                pass\n",
        "LONG_REFRESH",
    ),
    # What a failure means
    DroppedSafeguard(
        "a call without an answer does not count for the interval",
        RESTRAINT,
        "failures.py",
        "        return not isinstance(error, _NOT_SENT)\n",
        "        return False\n",
        "TWO_CHANGES",
        deaths=1,
        faults=True,
    ),
    DroppedSafeguard(
        "an internal error does not count for the interval",
        RESTRAINT,
        "failures.py",
        "return code not in _THROTTLED and (",
        "return False and (",
        "INTERNAL_ERRORS",
    ),
    DroppedSafeguard(
        "a failure of the table hides that a call had no answer",
        RESTRAINT,
        "asking.py",
        "event = Refused(key, perhaps=True)",
        "event = Refused(key)",
        "INTERNAL_ERRORS",
        deaths=1,
        faults=True,
    ),
    DroppedSafeguard(
        "a folder that is refused is asked for again and again",
        COVERAGE,
        "asking.py",
        "unclear, widen = 0, round_ != WHOLE_SHARE",
        "unclear, widen = 0, False",
        "UNCACHED_FOLDER",
    ),
    DroppedSafeguard(
        "unknown words are never about the request",
        COVERAGE,
        "asking.py",
        "unclear >= _UNCLEAR and is_idle",
        "unclear > 1_000 and is_idle",
        "UNCACHED_FOLDER_IN_UNKNOWN_WORDS",
    ),
    DroppedSafeguard(
        "unknown words are about the request at once",
        RESTRAINT,
        "asking.py",
        "unclear >= _UNCLEAR and is_idle",
        "unclear and is_idle",
        "UNKNOWN_WORDS_THRICE",
    ),
    DroppedSafeguard(
        "unknown words of a gateway that is at work are about the request",
        RESTRAINT,
        "asking.py",
        "unclear >= _UNCLEAR and is_idle",
        "unclear >= _UNCLEAR",
        "UNCACHED_FOLDER_BESIDE_ANOTHER",
    ),
    DroppedSafeguard(
        "a refusal that passes counts as one in unknown words",
        RESTRAINT,
        "asking.py",
        "            is_about_request = unclear >= _UNCLEAR and is_idle\n",
        "        is_about_request = is_about_request or (unclear >= _UNCLEAR and is_idle)\n",
        "UNCACHED_FOLDER_BESIDE_ANOTHER",
        deaths=1,
        faults=True,
    ),
    DroppedSafeguard(
        "an internal error is about the request",
        RESTRAINT,
        "failures.py",
        "    code, inside = _codes(error)\n    for codes",
        '    code, inside = _codes(error)\n    if code == "InternalServerError":\n'
        "        return Failure.REQUEST\n    for codes",
        "INTERNAL_ERRORS",
    ),
    # Somebody else's refreshes
    DroppedSafeguard(
        "the folders of a refresh that is to be repeated are not put back",
        COVERAGE,
        "asking.py",
        "if (key := todo.repeat) and (last := after.shares[key].last):",
        "if (key := todo.repeat) and (last := after.shares[key].last) and not last:",
        "REFRESHED_BY_OTHERS_OLDER_RULE",
    ),
    DroppedSafeguard(
        "the folders of a refresh that is known to be void are not kept",
        COVERAGE,
        "asking.py",
        "(folders if todo.repeat == key else frozenset())",
        "frozenset()",
        "COMPLETED_BY_OTHERS_OLDER_RULE",
    ),
    DroppedSafeguard(
        "of a refresh that is told of late nobody knows that it was ours",
        RESTRAINT,
        "turns.py",
        "if any(refresh == event.refresh for refresh, _ in share.previous):",
        "if False:",
        "HAND_OVER_DIES",
        deaths=1,
    ),
    DroppedSafeguard(
        "a refresh before the last is taken to have had effect",
        COVERAGE,
        "turns.py",
        "return any(_is_soon_after(began, at) for _, at in share.previous)",
        "return False",
        "LONG_BY_OTHERS_OLDER_RULE",
    ),
    # The line of a gateway
    DroppedSafeguard(
        "what a container remembers of a line is taken for what stands there",
        COVERAGE,
        "gateways.py",
        "if after == before and not is_fresh:",
        "if after == before and not is_fresh and False:",
        "REMEMBERED_LINE",
    ),
    DroppedSafeguard(
        "a line that another has written is written over",
        COVERAGE,
        "gateways.py",
        'condition, values[":version"] = "Version = :version", {"S": version}',
        'condition = "attribute_exists(Version)"',
        "REMEMBERED_LINE",
    ),
    DroppedSafeguard(
        "a wake is named before it is queued",
        COVERAGE,
        "gateways.py",
        "                if todo.wake:\n"
        "                    self.queue_wake(key, todo.wake)\n"
        "                if self._written(key, after, version, new):\n"
        "                    break\n",
        "                if self._written(key, after, version, new):\n"
        "                    if todo.wake:\n"
        "                        self.queue_wake(key, todo.wake)\n"
        "                    break\n",
        "HAND_OVER_DIES",
        deaths=1,
    ),
    DroppedSafeguard(
        "a wake that comes before it is named is forgotten",
        COVERAGE,
        "gateways.py",
        "elif after == before and not isinstance(event, Woken):",
        "elif after == before:",
        "DURING_THE_REFRESH",
        preemptions=1,
        since=40,
    ),
    DroppedSafeguard(
        "a wake that comes early is not queued again",
        COVERAGE,
        "asking.py",
        "            self.gateways.queue_wake(wake.key, due)\n",
        "",
        "LATE_WAKE",
    ),
    DroppedSafeguard(
        "nobody is woken when a claim lapses",
        COVERAGE,
        "turns.py",
        "    times += [share.claim.until + 1 for share in gateway.shares.values() if share.claim]\n",
        "",
        "CLAIMED_FOR_ANOTHER_BUCKET",
        deaths=1,
        since=80,
    ),
    DroppedSafeguard(
        "whoever came last is asked first",
        TURNS,
        "turns.py",
        "return [key for _, _, key in sorted(waiting)]",
        "return [key for _, _, key in sorted(waiting, reverse=True)]",
        "CHANGES_GO_ON",
    ),
    DroppedSafeguard(
        "the sweep does not look at shares",
        COVERAGE,
        "refresh.py",
        "                    lines.setdefault(Key.read(item.gateway), []).append(key)\n",
        "",
        "CLAIMED_FOR_ANOTHER_BUCKET",
        deaths=1,
        since=80,
    ),
)


@contextmanager
def changed(file: str, old: str, new: str) -> Iterator[None]:
    """The functions of a module of src do what they do with other text in one place."""
    module = importlib.import_module(f"event_aggregator.{Path(file).stem}")
    path = Path(str(module.__file__))
    text = path.read_text()
    assert text.count(old) == 1, f"{old!r} is in {file} {text.count(old)} times"
    codes = {code.co_qualname: code for code in _codes(compile(text.replace(old, new), path, "exec"))}
    functions = [one for one in _functions(module) if one.__code__.co_filename == str(path)]
    before = [function.__code__ for function in functions]
    try:
        for function in functions:
            function.__code__ = codes[function.__qualname__]
        forget()
        yield
    finally:
        for function, code in zip(functions, before, strict=True):
            function.__code__ = code
        forget()


def _codes(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _codes(constant)


def _functions(space: Any) -> Iterator[FunctionType]:
    """Those of a module and the methods of its classes, without what decorators make of them."""
    for value in vars(space).values():
        if isinstance(value, type) and value.__module__ == space.__name__:
            yield from _functions(value)
        function = value
        for name in ("__func__", "fget", "func", "__wrapped__"):  # static and class methods, properties, caches
            function = getattr(function, name, function)
        if isinstance(function, FunctionType):
            yield function


def search(dropped: DroppedSafeguard) -> int:
    """The number of schedules of its scenario. ScheduleError, if one breaks a promise."""
    scenario, since = getattr(scenarios, dropped.scenario), dropped.since * scenarios.SECOND
    enough = patch.object(world, "_MAX_STEPS", 500)  # for these scenarios
    with changed(dropped.file, dropped.old, dropped.new), enough:
        return Search(scenario, dropped.preemptions, dropped.deaths, dropped.faults, since=since).run()


def main(names: list[str]) -> None:
    if unknown := {*names} - {dropped.name for dropped in DROPPED_SAFEGUARDS}:
        sys.exit(f"No dropped safeguard has the name {', '.join(unknown)}")
    for dropped in DROPPED_SAFEGUARDS:
        if not names or dropped.name in names:
            try:
                print(f"{dropped.name}: nothing in {search(dropped)} schedules")
            except ScheduleError as broken:
                print(f"{dropped.name}: {broken}")


if __name__ == "__main__":
    main(sys.argv[1:])
