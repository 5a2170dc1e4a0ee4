"""Mutants of the code: each without one of its safeguards, and the schedule search that must find out.

The guarantee: `python -m tests.simulation.mutants` (with the repository and its src on PYTHONPATH) applies every mutant
to a copy of src, one at a time, searches a small scenario for a schedule that breaks the promise named here, and prints
a line of JSON for each. A mutant whose text is not found exactly once is reported as such: the code has moved on.
`python -m tests.simulation.mutants NAME` prints the schedule as well.
"""

import importlib
import json
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SOURCE = Path(__file__).parents[2] / "src"


@dataclass(frozen=True, slots=True)
class Mutant:
    name: str
    promise: str
    file: str
    old: str
    new: str
    scenario: str  # in scenarios.py
    preemptions: int = 0
    deaths: int = 0
    faults: bool = False


COVERAGE, AGGREGATION, FRESHNESS, RESTRAINT = "Coverage", "Aggregation", "Freshness", "Restraint"

MUTANTS = (
    Mutant(
        "the owner cannot take its window over",
        COVERAGE,
        "window.py",
        "opened_by_us = f\"OpenedBy IN ({', '.join(owner_names)})\"",
        "opened_by_us = f\"(attribute_not_exists(WindowId) AND OpenedBy IN ({', '.join(owner_names)}))\"",
        "RETRIED_SOON",
        deaths=1,
    ),
    Mutant(
        "an unconfirmed window is remembered",
        COVERAGE,
        "memo.py",
        "if item.confirmed:",
        "if item.window_id:",
        "SAME_FOLDER",
        deaths=1,
    ),
    Mutant(
        "RefreshingId is not set",
        COVERAGE,
        "window.py",
        "SET RefreshingId = :window, RefreshedFolders = Folders",
        "SET RefreshedFolders = Folders",
        "TWO_CHANGES",
        deaths=1,
    ),
    Mutant(
        "a request whose window is closed is always dropped",
        COVERAGE,
        "refresh.py",
        "elif request.window in (item.window_id, item.refreshing_id):",
        "elif request.window == item.window_id:",
        "TWO_CHANGES",
        deaths=1,
    ),
    Mutant(
        "an unfinished refresh is not folded into the next",
        COVERAGE,
        "window.py",
        "if item.refreshing_id is not None:",
        "if item.refreshing_id is not None and not item.window_id:",
        "DURING_THE_REFRESH",
        deaths=1,
    ),
    Mutant(
        "a refresh completes another's",
        COVERAGE,
        "window.py",
        'self._update(key, "REMOVE RefreshingId", "RefreshingId = :window"',
        'self._update(key, "REMOVE RefreshingId", "RefreshingId = :window OR attribute_exists(RefreshingId)"',
        "NO_DELAY",
        preemptions=1,
        deaths=1,
    ),
    Mutant(
        "a window is confirmed that was taken over",
        COVERAGE,
        "window.py",
        '"WindowId = :window OR (attribute_not_exists(WindowId) AND RefreshingId = :window)"',
        '"WindowId = :window OR attribute_exists(WindowId)"',
        "DUPLICATE",
        preemptions=1,
        deaths=1,
    ),
    Mutant(
        "a take-over overwrites the folders",
        COVERAGE,
        "window.py",
        "LeaseUntil = :lease_until{waiting} ADD Folders :folders",
        "LeaseUntil = :lease_until{waiting}, Folders = :folders",
        "RETRIED_SOON",
        deaths=1,
    ),
    Mutant(
        "complete before the refresh",
        COVERAGE,
        "refresh.py",
        "        self._hand_over(hand_over, listing)\n"
        "        self.aggregator.windows.complete(request.key, request.window)\n",
        "        self.aggregator.windows.complete(request.key, request.window)\n"
        "        self._hand_over(hand_over, listing)\n",
        "TWO_CHANGES",
        deaths=1,
    ),
    Mutant(
        "who joins a share's window leaves its request to the opener",
        COVERAGE,
        "aggregate.py",
        "if newest_event is None and item.window_id and not item.confirmed:",
        "if newest_event is None and not item.window_id and not item.confirmed:",
        "HAND_OVER_DIES",
        deaths=1,
    ),
    Mutant(
        "confirm before the request is sent",
        COVERAGE,
        "aggregate.py",
        "        self.queue.send(request, now=self.now(), due=due)\n",
        "        self.windows.confirm(request.key, request.window, due + LIFETIME_MS)\n"
        "        self.queue.send(request, now=self.now(), due=due)\n",
        "RETRIED_SOON",
        deaths=1,
    ),
    Mutant(
        "a hand-over is taken for covered",
        COVERAGE,
        "window.py",
        "        if newest_event is not None:\n",
        "        if (newest_event := since if newest_event is None else newest_event) is not None:\n",
        "JOINED_AFTER_THE_REFRESH",
    ),
    Mutant(
        "the margin of what is covered",
        COVERAGE,
        "window.py",
        "number(newest_event + COVERED_MARGIN_MS)",
        "number(newest_event)",
        "REFRESHER_AHEAD",
    ),
    Mutant(
        "the memo's margin",
        COVERAGE,
        "memo.py",
        "now < item.refresh_at - MARGIN_MS",
        "now < item.refresh_at",
        "AGGREGATOR_BEHIND",
    ),
    Mutant(
        "RefreshAt moves earlier",
        COVERAGE,
        "window.py",
        "{condition} AND RefreshAt <= :refresh_at",
        "{condition}",
        "QUIET_WINDOW",
        preemptions=2,
    ),
    Mutant(
        "a window is closed that was moved later",
        COVERAGE,
        "window.py",
        '"WindowId = :window AND RefreshAt <= :now"',
        '"WindowId = :window"',
        "QUIET_AT_THE_CLOSE",
        preemptions=1,
    ),
    Mutant(
        "too many folders keep only the last",
        COVERAGE,
        "window.py",
        'folders, change = frozenset({EVERYTHING}), f"{change}, Folders = :folders"',
        'change = f"{change}, Folders = :folders"',
        "TOO_MANY_FOLDERS",
    ),
    Mutant(
        "what is left for the next round",
        COVERAGE,
        "refresh.py",
        "        if round_.left:\n",
        "        if round_.left and False:\n",
        "MANY_FOLDERS",
    ),
    Mutant(
        "the folders above a changed one",
        COVERAGE,
        "folders.py",
        "listed.update(path[:depth] for depth in range(len(path) + 1))",
        "listed.add(path)",
        "DEEP_FOLDER",
    ),
    Mutant(
        "a refusal widens nothing",
        COVERAGE,
        "refresh.py",
        "if round_ != WHOLE_SHARE and may_concern_folders(error):",
        "if round_ == WHOLE_SHARE and may_concern_folders(error):",
        "UNCACHED_FOLDER",
    ),
    Mutant(
        "a request that comes early is not sent again",
        COVERAGE,
        "refresh.py",
        "        self.aggregator.queue.send(request, now=now, due=due)\n",
        "",
        "LONG_DELAY",
    ),
    Mutant(
        "the aggregator swallows a failure",
        COVERAGE,
        "aggregate.py",
        "                failures.append(error)\n",
        "",
        "TWO_CHANGES",
        deaths=1,
        faults=True,
    ),
    Mutant(
        "the refresh function swallows a failure",
        COVERAGE,
        "refresh.py",
        'error.add_note(f"File share {share.key}")\n                failures.append(error)\n',
        "pass\n",
        "TWO_CHANGES",
        deaths=1,
        faults=True,
    ),
    Mutant(
        "an event that failed for good is passed over",
        COVERAGE,
        "refresh.py",
        "                self.aggregator.aggregate_event(message.event, time_left)\n",
        "",
        "FAILS_FOR_GOOD",
        deaths=3,
    ),
    Mutant(
        "a confirmed window keeps its short lease",
        AGGREGATION,
        "aggregate.py",
        "self.windows.confirm(request.key, request.window, due + LIFETIME_MS)",
        "self.windows.confirm(request.key, request.window, due)",
        "BEFORE_THE_REQUEST",
    ),
    Mutant(
        "a mark is made after its completion",
        FRESHNESS,
        "pace.py",
        " AND (attribute_not_exists(CompletedIds) OR NOT contains(CompletedIds, :id))",
        "",
        "COMPLETE_AT_ONCE",
        preemptions=1,
    ),
    Mutant(
        "a share waits for a completion that has come",
        FRESHNESS,
        "window.py",
        "        if while_in_progress:\n",
        "        if while_in_progress and False:\n",
        "COMPLETE_WHEN_DUE",
        preemptions=1,
    ),
    Mutant(
        "a completion ends no wait",
        FRESHNESS,
        "refresh.py",
        "        if item.window_id and not item.in_progress_id and (again or item.refresh_at > due):\n",
        "        if item.window_id and item.in_progress_id and (again or item.refresh_at > due):\n",
        "LONG_REFRESH",
    ),
    Mutant(
        "the claim",
        RESTRAINT,
        "refresh.py",
        "        if forbids:\n",
        "        if forbids and False:\n",
        "TWO_WINDOWS",
    ),
    Mutant(
        "the interval",
        RESTRAINT,
        "pace.py",
        "OR LastAskedAt <= :interval_ago)",
        "OR LastAskedAt <= :interval_ago OR LastAskedAt > :interval_ago)",
        "TWO_WINDOWS",
    ),
    Mutant(
        "the refresh in progress",
        RESTRAINT,
        "pace.py",
        "OR InProgressSince <= :lapsed)",
        "OR InProgressSince <= :lapsed OR InProgressSince > :lapsed)",
        "LONG_REFRESH",
    ),
    Mutant(
        "one of two shares with the writer's role is taken for the one that was written through",
        COVERAGE,
        "writers.py",
        "users[share.role] == 1 and ",
        "",
        "ONE_ROLE",
    ),
    Mutant(
        "what a gateway wrote is news for nobody",
        COVERAGE,
        "refresh.py",
        "return folders, share.key",
        "return frozenset(), share.key",
        "WRITTEN_THROUGH",
    ),
    Mutant(
        "a share is refreshed for what was written through it",
        AGGREGATION,
        "refresh.py",
        "if folders and share.key != hand_over.knows:",
        "if folders:",
        "WRITTEN_THROUGH",
    ),
    Mutant(
        "what is for a region that cannot be listed is not kept",
        COVERAGE,
        "refresh.py",
        "for name, failure in listing.unlisted.items():",
        "for name, failure in dict[str, Exception | None]().items():",
        "TWO_REGIONS",
        deaths=1,
        faults=True,
    ),
    Mutant(
        "a region that cannot be listed is taken for one without shares",
        COVERAGE,
        "places.py",
        "                unlisted[name] = error\n",
        "",
        "TWO_REGIONS",
        deaths=1,
        faults=True,
    ),
    Mutant(
        "a region that denies its list is given up at once",
        COVERAGE,
        "refresh.py",
        "if denials >= _DENIED_TRIES:",
        "if denials:",
        "TWO_REGIONS",
        deaths=1,
        faults=True,
    ),
    Mutant(
        "refusals of another kind are counted as denials",
        COVERAGE,
        "refresh.py",
        "denials = hand_over.denials + 1 if failure",
        "denials = hand_over.attempt if failure",
        "AWAY_AND_OFFLINE",
        deaths=1,
        faults=True,
    ),
    Mutant(
        "a region's window is completed before its shares have what it holds",
        COVERAGE,
        "refresh.py",
        "        self._hand_over(hand_over, listing)\n        self.aggregator.windows.complete(",
        "        if place:\n"
        "            self.aggregator.windows.complete(request.key, request.window)\n"
        "        self._hand_over(hand_over, listing)\n"
        "        self.aggregator.windows.complete(",
        "TWO_REGIONS",
        deaths=2,
        faults=True,
    ),
    Mutant(
        "a region that cannot be listed fails the others",
        FRESHNESS,
        "places.py",
        "                if len(self._makers) == 1:\n",
        "                if self._makers:\n",
        "TWO_REGIONS",
        deaths=1,
        faults=True,
    ),
    Mutant(
        "a share of another region waits for an event that stays there",
        FRESHNESS,
        "refresh.py",
        "mark=timeout > 0 and not share.away,",
        "mark=timeout > 0,",
        "LONG_REFRESH_AWAY",
    ),
    Mutant(
        "what waits for a region is for the shares of all",
        AGGREGATION,
        "refresh.py",
        'place = "" if writer is not None else place or (self.places.home if share_id else "")',
        'place = "" if writer is not None or not share_id else place or self.places.home',
        "TWO_REGIONS",
        deaths=1,
        faults=True,
    ),
    Mutant(
        "one id in two regions is one share",
        COVERAGE,
        "file_shares.py",
        "filter(None, (self.bucket, self.away, self.share_id))",
        "filter(None, (self.bucket, self.share_id))",
        "TWO_REGIONS",
    ),
)


def try_out(mutant: Mutant, *, story: bool = False) -> dict[str, Any]:
    """Search with this mutant in the place of the code; in this process, whose modules are exchanged for it."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "src"
        shutil.copytree(_SOURCE, source, ignore=shutil.ignore_patterns("__pycache__"))
        file = source / "event_aggregator" / mutant.file
        text = file.read_text()
        if text.count(mutant.old) != 1:
            found = text.count(mutant.old)
            return {"name": mutant.name, "promise": None, "what": f"its text is in {mutant.file} {found} times"}
        file.write_text(text.replace(mutant.old, mutant.new))
        for name in [name for name in sys.modules if name.partition(".")[0] == "event_aggregator"]:
            del sys.modules[name]
        for name in ("functions", "scenarios", "schedules", "world"):
            sys.modules.pop(f"tests.simulation.{name}", None)
        sys.path.insert(0, str(source))
        try:
            return _searched(mutant, story=story)
        finally:
            sys.path.remove(str(source))


def _searched(mutant: Mutant, *, story: bool) -> dict[str, Any]:
    importlib.invalidate_caches()
    schedules: Any = importlib.import_module("tests.simulation.schedules")
    scenarios = importlib.import_module("tests.simulation.scenarios")
    search = schedules.Search(getattr(scenarios, mutant.scenario), mutant.preemptions, mutant.deaths, mutant.faults)
    try:
        search.run()
    except schedules.ScheduleError as broken:
        what = str(broken) if story else str(broken).splitlines()[0]
        return {"name": mutant.name, "promise": broken.promise, "what": what, "schedules": search.schedules + 1}
    return {"name": mutant.name, "promise": None, "what": "nothing was found", "schedules": search.schedules}


def main(names: list[str]) -> None:
    sys.dont_write_bytecode = True
    for mutant in MUTANTS:
        if not names or mutant.name in names:
            result = try_out(mutant, story=bool(names))
            print(result["what"] if names else json.dumps(result), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
