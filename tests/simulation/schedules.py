"""Schedules of a scenario: one given step by step, every one within bounds, or one at random."""

import json
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import NamedTuple

from tests.simulation.functions import Call, End, Query, simulated
from tests.simulation.scenarios import Scenario
from tests.simulation.world import BrokenPromiseError, World


def story(scenario: Scenario, steps: tuple[str, ...]) -> str:
    """The schedule as a list to be pasted into a test, each step with what happened."""
    world = World.of(scenario)
    world.noting = True
    try:
        for step in steps:
            world.do(step)
    except BrokenPromiseError:
        pass  # at the last step
    lines = [f"    {json.dumps(step) + ',':28} # {note}" for step, note in zip(world.steps, world.notes, strict=False)]
    lines += [f"    {json.dumps(step)}," for step in world.steps[len(world.notes) :]]
    return "\n".join([f"replay({world.scenario!r}, [", *lines, "])"])


class ScheduleError(AssertionError):
    """A schedule that breaks a promise, to be read and replayed."""

    def __init__(self, world: World, broken: BrokenPromiseError) -> None:
        super().__init__(f"{broken}\n{story(world.scenario, world.steps)}")
        self.promise = broken.promise


def replay(scenario: Scenario, steps: list[str]) -> World:
    """Take exactly these steps, and check the promises if all is quiet then. ScheduleError if one is broken."""
    with simulated():
        world = World.of(scenario)
        with _told(world):
            for step in steps:
                world.do(step)
            if world.quiet():
                _check(world)
        return world


def undisturbed(scenario: Scenario) -> World:
    """The run in which everything is done at once, and nothing fails."""
    with simulated():
        world = World.of(scenario)
        with _told(world):
            _run_on(world)
            _check(world)
        return world


def _run_on(world: World) -> None:
    while not world.quiet():
        _go_on(world)


def _go_on(world: World) -> None:
    world.do((world.running() or world.startable() or ["time"])[0])


def _check(world: World) -> None:
    """Every promise, when all is quiet. What may be left for the sweep is found by it, if there is any."""
    assert world.quiet(), story(world.scenario, world.steps)
    if world.line_is_left():
        world.do("sweep")
        _run_on(world)
    world.check()
    if world.unfinished():
        world.do("sweep")
        _run_on(world)
        if left := world.unfinished():
            raise BrokenPromiseError("Coverage", f"after the sweep {left[0]}")


@contextmanager
def _told(world: World) -> Iterator[None]:
    try:
        yield
    except BrokenPromiseError as broken:
        raise ScheduleError(world, broken) from broken


FAULTS: dict[str, tuple[str, ...]] = {
    "UpdateItem": ("throttled", "unanswered", "twice"),
    "GetItem": ("throttled",),
    "DeleteItem": ("throttled", "unanswered"),
    "Scan": ("throttled",),
    "DescribeNFSFileShares": ("throttled",),
    "DescribeSMBFileShares": ("throttled",),
    "SendMessage": ("throttled", "unanswered", "twice"),
    "ListFileShares": ("throttled",),
    "RefreshCache": ("throttled", "busy", "unknown-folder", "unclear", "unanswered"),
}


def faults_of(asks: Call | Query | End | None) -> tuple[str, ...]:
    """How the call may fail."""
    return FAULTS[asks.operation] if isinstance(asks, Call) else ()


class _Branch(NamedTuple):
    """Where a schedule goes on in several ways: `moves` are those not tried yet."""

    world: World
    moves: list[tuple[str, str | None, int, int]]
    state: Hashable
    before: int  # schedules


@dataclass
class Search:
    """Every schedule of `scenario` with at most so many preemptions and deaths, depth first.

    A running function runs on until it ends, dies, or is preempted: another function runs, something else begins, or
    the clock goes on. What begins next, when nothing runs, is free. With `faults` a call that fails counts as a death,
    and so does a region that denies its list from now on (until it answers again, which is free); with `losses` the
    event of a complete refresh that is lost.

    When nothing runs, or it was preempted, and everything is as it was in another schedule (World.state), the same can
    follow: it is counted again, and not run again.
    """

    scenario: Scenario
    preemptions: int = 2
    deaths: int = 1
    faults: bool = False
    losses: bool = False
    since: int = 0  # until then (milliseconds from the start) everything is done at once, and nothing fails
    schedules: int = 0
    to_the_end: int = 0  # of them, those run to their own end

    def run(self) -> int:
        """The number of schedules. ScheduleError for the first that breaks a promise."""
        with simulated():
            known: dict[Hashable, int] = {}  # how many schedules follow a state
            world = World.of(replace(self.scenario, reads_fail=self.faults))
            while world.time < self.since:
                _go_on(world)
            branches = [_Branch(world, self._moves(world, None, self.preemptions, self.deaths), None, 0)]
            while branches:
                branch = branches[-1]
                if not branch.moves:
                    branches.pop()
                    if branch.state:
                        known[branch.state] = self.schedules - branch.before
                    continue
                step, after, preemptions, deaths = branch.moves.pop()
                # The last of them needs no copy.
                world = branch.world.copy() if branch.moves else branch.world
                world.uninterrupted = not preemptions and not deaths
                try:
                    world.do(step)
                except BrokenPromiseError as broken:
                    raise ScheduleError(world, broken) from broken
                runs = after if after and world.containers[after].process else None
                state = None if runs else (world.state(), preemptions, deaths)
                if (follow := known.get(state)) is not None:
                    self.schedules += follow
                    continue
                moves = self._moves(world, runs, preemptions, deaths)
                branches.append(_Branch(world, moves, state, self.schedules))
                if not moves:
                    self.schedules += 1
                    self.to_the_end += 1
                    with _told(world):
                        _check(world)
        return self.schedules

    def _moves(
        self, world: World, current: str | None, preemptions: int, deaths: int
    ) -> list[tuple[str, str | None, int, int]]:
        """Steps, each with who runs after it, and the preemptions and deaths that are left then."""
        moves: list[tuple[str, str | None, int, int]] = []
        then = preemptions - 1 if current else preemptions
        if current:
            moves.append((current, current, preemptions, deaths))
            process = world.containers[current].process
            assert process
            if deaths:
                moves.append((f"{current} dies", None, preemptions, deaths - 1))
                if self.faults:
                    faults = faults_of(process.node.asks)
                    moves += [(f"{current} {fault}", current, preemptions, deaths - 1) for fault in faults]
            if not preemptions or isinstance(process.node.asks, End):
                return moves
        moves += [(name, name, then, deaths) for name in world.running() if name != current]
        for step in world.startable():
            who = step.split()[0]
            moves.append((step, who if who in world.containers else current, then, deaths))
        waiting = bool(moves)
        if world.next_time() is not None:
            outlived = len(world.outlived())
            if (not waiting or preemptions) and outlived <= deaths:
                moves.append(("time", None, preemptions - 1 if waiting else preemptions, deaths - outlived))
        if self.losses and deaths and (not current or preemptions):
            moves += [(step, current, then, deaths - 1) for step in world.losses()]
        if world.next_time() is not None:
            for step in world.environment() if self.faults and not waiting else ():
                cost = 1 if step.endswith("denies") else 0
                if cost <= deaths:
                    moves.append((step, None, preemptions, deaths - cost))
        return moves


def run_at_random(scenario: Scenario, choose: Callable[[int], int], *, faults: int, preemptions: int) -> World:
    """One schedule. `choose(n)` is a number below n, 0 the most harmless; `faults` and `preemptions` are at most."""
    with simulated():
        world = World.of(replace(scenario, reads_fail=faults > 0))
        current: str | None = None
        with _told(world):
            while not world.quiet():
                step, current, fault, preempted = _random_step(world, current, choose, faults, preemptions)
                faults -= fault
                preemptions -= preempted
                world.uninterrupted = not faults and not preemptions
                world.do(step)
                if current and not world.containers[current].process:
                    current = None
            _check(world)
        return world


def _random_step(
    world: World, current: str | None, choose: Callable[[int], int], faults: int, preemptions: int
) -> tuple[str, str | None, int, int]:
    """A step, who runs after it, and whether it is a fault or a preemption."""
    running, starts = world.running(), world.startable()
    if current and (not preemptions or choose(4) < 3):
        if faults and choose(8) == 7:
            process = world.containers[current].process
            assert process
            asks = process.node.asks
            kinds = ["dies", *(() if process.answer else faults_of(asks))]
            fault = kinds[choose(len(kinds))]
            return f"{current} {fault}", None if fault == "dies" else current, 1, 0
        if preemptions and choose(8) == 7 and isinstance(_asks(world, current), Call):
            return f"{current} slowly", current, 0, 1
        return current, current, 0, 0
    others: list[tuple[str, str | None, int]] = []
    for step in starts:
        who = step.split()[0]
        others.append((step, who if who in world.containers else current, 0))
    others += [(name, name, 0) for name in running if name != current]
    if world.next_time() is not None and len(world.outlived()) <= faults and (not others or preemptions):
        others.append(("time", current, len(world.outlived())))
        others += [(step, current, 0) for step in world.environment() if step.endswith("answers")]
    disturbed = [*world.losses(), *(step for step in world.environment() if step.endswith("denies"))] if faults else []
    if disturbed and choose(16) == 15:
        others = [(disturbed[choose(len(disturbed))], current, 1)]
    if not others:
        assert current
        return current, current, 0, 0
    step, after, died = others[choose(len(others))]
    if faults > died and " takes " in step and choose(16) == 15:
        return f"{step} and again", after, died + 1, 1 if current else 0
    late = step == "time" and bool(starts or running)
    return step, after, died, 1 if current or late else 0


def _asks(world: World, name: str) -> Call | Query | End | None:
    process = world.containers[name].process
    assert process
    return process.node.asks
