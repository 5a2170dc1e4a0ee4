"""That a replay is what the functions do: the same traffic through both, the functions in a simulated account."""

import random
import zlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from commands.plan.prices import Counted, bill
from commands.plan.replay import CONTAINERS, Pace, Replay, Shown, Window, replay, windows
from commands.plan.trace import Piece, Trace, assemble
from dev.bench.money import counted
from dev.bench.systems import Gateway, Ours
from dev.bench.world import START, World, simulated
from event_aggregator.file_shares import FileShare
from event_aggregator.folders import Round, folder_of
from event_aggregator.request import MIN_DELAY_MS, delay_seconds
from event_aggregator.settings import Settings
from event_aggregator.table import WindowItem
from event_aggregator.window import Due, too_many

Traffic = list[tuple[int, str]]  # milliseconds since the start, key
Calls = list[tuple[int, str, list[str], bool]]  # when, share, FolderList, Recursive

CONSTANT = 1e12  # lists and heads a second: a refresh takes its constant part only


@dataclass(frozen=True)
class Setup:
    traffic: Traffic
    prefixes: tuple[str, ...]  # of the shares, which are of one gateway
    seconds: float  # a refresh takes
    variables: dict[str, int]


class Recording(Gateway):
    """Notes what each share is asked for."""

    def __init__(self, world: World, setup: Setup) -> None:
        super().__init__(world, shares=len(setup.prefixes), takes=round(setup.seconds * 1000))
        for arn, prefix in zip(self.shares, setup.prefixes, strict=True):
            self.shares[arn] = replace(self.shares[arn], prefix=prefix)
        self.calls: Calls = []
        self.world = world

    def refresh(self, share: FileShare, round_: Round) -> str:
        answer = super().refresh(share, round_)
        self.calls.append((self.world.now - START, share.arn[-1], round_.folder_list, round_.recursive))
        return answer


def trace_of(traffic: Traffic) -> Trace:
    names = sorted({folder_of(key) for _, key in traffic})
    times = np.array([START + at for at, _ in traffic])
    folders = np.array([names.index(folder_of(key)) for _, key in traffic])
    checksums = np.array([zlib.crc32(key.encode()) for _, key in traffic])
    return assemble([Piece(times, folders, checksums, names)], days=365)


def settings_of(setup: Setup) -> Settings:
    environment = {name.upper(): str(value) for name, value in setup.variables.items()}
    return Settings.read({"TABLE_NAME": "t", "QUEUE_URL": "q", **environment})


def replayed(setup: Setup) -> Replay:
    pace = Pace(setup.seconds, CONSTANT, CONSTANT)
    return replay(trace_of(setup.traffic), [Shown(prefix) for prefix in setup.prefixes], settings_of(setup), pace)


def calls_of(result: Replay) -> Calls:
    return [
        (refresh.began - START, str(number + 1), refresh.call.folder_list, refresh.call.recursive)
        for number, made in enumerate(result.refreshes)
        for refresh in made
    ]


def run(setup: Setup) -> tuple[Calls, World]:
    """The functions themselves."""
    made: list[Recording] = []

    def system(world: World) -> Ours:
        made.append(Recording(world, setup))
        return Ours(world, gateway=made[0], **setup.variables)

    with simulated(system) as world:
        for at, key in setup.traffic:
            world.advance(START + at)
            world.put(key)
        world.settle()
        return made[0].calls, world


gaps = st.one_of(st.integers(1, 900), st.integers(1_000, 40_000), st.integers(40_000, 400_000))
folders = st.sampled_from(["", "a/", "a/b/", "a/b/c/", "d/", "d/e/"])


@st.composite
def setups(draw: Any) -> Setup:
    at, traffic = 0, []
    for number, gap in enumerate(draw(st.lists(gaps, min_size=1, max_size=20))):
        at += gap
        traffic.append((at, f"{draw(folders)}{number}"))
    variables = {"min_refresh_interval_seconds": draw(st.sampled_from([1, 20, 60]))}
    if draw(st.booleans()):
        variables["refresh_quiet_seconds"] = draw(st.sampled_from([2, 9, 30]))
        variables["refresh_max_delay_seconds"] = draw(st.sampled_from([30, 100]))
    else:
        variables["refresh_delay_seconds"] = draw(st.sampled_from([0, 5, 30, 1_000]))
    # A share that is asked when its gateway is full has turns that are tried out, as the functions do.
    seconds = draw(st.sampled_from([0.737, 31.313, 100.101]))
    return Setup(traffic, draw(st.sampled_from([("",), ("a/",), ("", "a/b/", "d/")])), seconds, variables)


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(setup=setups())
def test_a_replay_makes_the_calls_that_the_functions_make(setup: Setup) -> None:
    calls, _ = run(setup)
    assert sorted(calls_of(replayed(setup))) == sorted(calls)


MOST = 5  # folders that a window keeps, here
PACES = [
    {"refresh_delay_seconds": 0},
    {"refresh_delay_seconds": 1_000},
    {"refresh_quiet_seconds": 2, "refresh_max_delay_seconds": 30},
    {"refresh_quiet_seconds": 9, "refresh_max_delay_seconds": 10},
    {"refresh_quiet_seconds": 9, "refresh_max_delay_seconds": 100},
    {"refresh_quiet_seconds": 30, "refresh_max_delay_seconds": 1_000},
]


def window_by_the_rules(trace: Trace, how: Settings, first: int) -> tuple[Window, int, int]:
    """Of the window that the change `first` opens, change by change: also its deliveries, and its writes that join."""
    now = opened = int(trace.times[first])
    item = WindowItem(opened_at=opened, refresh_at=Due.of_change(how, "bucket", now).at)
    folders, end, deliveries, moves = {trace.folders[first]}, first + 1, 0, 0
    while not deliveries or item.refresh_at > now:
        now += 1000 * delay_seconds(now, max(item.refresh_at, now + MIN_DELAY_MS if deliveries else now))
        deliveries += 1
        while end < len(trace.times) and trace.times[end] < now:
            due = Due.of_change(how, "bucket", int(trace.times[end]))
            is_new = trace.folders[end] not in folders and len(folders) <= MOST
            if is_new or not due.is_met_by(item):
                item, moves = replace(item, refresh_at=due.moved_refresh_at(item)), moves + (not is_new)
            folders.add(trace.folders[end])
            end += 1
    names = frozenset(trace.names[folder] for folder in folders)
    joins = min(len(folders) - 1, MOST) + min(end - first, CONTAINERS) - 1 + moves
    return Window(first, end, now, too_many(names)), deliveries, joins


@pytest.mark.parametrize("seed", range(100))
def test_windows_that_are_reckoned_in_bulk_are_those_of_the_rules_change_by_change(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance, at, traffic = random.Random(seed), 0, []  # noqa: S311 - the same at each run
    pause = chance.choice([200, 2_000, 20_000])
    for number in range(300):
        at += round(chance.expovariate(1 / pause)) + 1
        traffic.append((at, f"{'x' * round(chance.expovariate(1))}/{number}"))  # some folders change seldom
    setup = Setup(traffic, ("",), 1, chance.choice(PACES))
    monkeypatch.setattr(f"{too_many.__module__}._MAX_FOLDER_BYTES", 12)
    monkeypatch.setattr(f"{replay.__module__}.MAX_FOLDERS_LEFT", MOST)
    monkeypatch.setattr(f"{too_many.__module__}.MAX_FOLDERS_LEFT", MOST)
    trace, how, counted, end = trace_of(setup.traffic), settings_of(setup), Counted(), 0
    found = windows(trace, how, counted)
    deliveries = calls = 0
    for window in found:
        expected, arrivals, joins = window_by_the_rules(trace, how, end)
        assert window == expected
        end, deliveries, calls = window.end, deliveries + arrivals, calls + 3 + 3 * arrivals + joins
    assert end == len(trace.times)
    assert (counted.deliveries, counted.calls) == (deliveries, calls)


@pytest.mark.parametrize(
    ("variables", "shares", "changes", "pause", "folders"),
    [
        ({"refresh_delay_seconds": 30}, 1, 40, 400_000, 1),
        ({"refresh_delay_seconds": 30}, 1, 100, 3_000, 5),
        ({"refresh_quiet_seconds": 30}, 1, 80, 9_000, 5),
        ({"refresh_delay_seconds": 30}, 3, 30, 20_000, 3),
    ],
)
def test_a_replay_counts_for_the_bill_what_the_functions_use(
    variables: dict[str, int], shares: int, changes: int, pause: int, folders: int
) -> None:
    chance, at, traffic = random.Random(3), 0, []  # noqa: S311 - the same at each run
    for number in range(changes):
        at += round(chance.expovariate(1 / pause)) + 1
        traffic.append((at, f"projects/customer-{chance.randrange(folders):04}/incoming/{number}"))
    setup = Setup(traffic, ("",) * shares, 0.7, variables)
    _, world = run(setup)
    result = replayed(setup)
    assert result.counted.deliveries == world.meter.deliveries
    measured = bill(counted(world.meter, world.log.size, result.counted.cold_starts))
    assert bill(result.counted).total == pytest.approx(measured.total, rel=0.1)


@pytest.mark.parametrize("folders", [60, 120, 160])
@pytest.mark.parametrize("quiet", [0, 20])
def test_many_folders_are_refreshed_in_the_same_calls(folders: int, quiet: int) -> None:
    traffic = [(number * 99, f"{number % 7}/{number}/file") for number in range(folders)]
    traffic += [(at + 45_000, f"{key}-again") for at, key in traffic[::20]]
    setup = Setup(traffic, ("", "3/"), 2.5, {"refresh_quiet_seconds": quiet, "refresh_delay_seconds": 30})
    calls, _ = run(setup)
    assert sorted(calls_of(replayed(setup))) == sorted(calls)
