"""Taking turns, explored: in every state of these cases the promises hold, and without any one of the rules of the
module turns, or with the handlers' steps in another order, some state breaks the promise which that rule keeps.

SIMULATION_DEEPER=0 (or more) explores larger cases too, for minutes.
"""

import os
from dataclasses import dataclass
from functools import cache

import pytest

from tests.simulation.dropped_safeguards import changed
from tests.simulation.turns import (
    COVERAGE,
    FRESHNESS,
    INTERVAL,
    NO_LIMIT,
    RESTRAINT,
    TURNS,
    UNIT,
    BrokenError,
    Case,
    Explorer,
    Order,
)

DEEPER = "SIMULATION_DEEPER" in os.environ

SHORT = (UNIT,)
TWICE_ONE = ((0,), (0,))  # two changes of one share
ALL_AND_ONE = ((0, 1), (0,))

# Each with how many states there are at least: a change of the code that takes fewer steps may make these fewer.
CASES = {
    "one share, and whoever asks it dies or is slow": (Case(1, TWICE_ONE, lengths=SHORT, deaths=1, slow=1), 50_000),
    "one share that is busy for long": (Case(1, TWICE_ONE, lengths=(6 * UNIT,), wakes=2), 100),
    "one share, and calls without an answer": (Case(1, TWICE_ONE, lengths=(0,), unanswered=1), 15_000),
    "two shares, deaths and lost completions": (Case(deaths=1, lost=1, lengths=SHORT), 6_000),
    "two slots": (Case(3, ((0, 1, 2), (1,)), slots=2, takes=2), 14_000),
    "two slots, a gateway that takes one": (Case(3, ((0, 1, 2),), slots=2, takes=1, lost=1, lengths=SHORT), 100),
    "two slots, a gateway that takes any number": (Case(3, ((0, 1, 2), (1,)), slots=2, takes=NO_LIMIT), 14_000),
    "two shares with intervals of their own, and lost completions": (
        Case(changes=((0, 1), (1,), (0,)), lost=1, lengths=SHORT, intervals=(INTERVAL, 2 * INTERVAL)),
        18_000,
    ),
    "a full gateway, and intervals of the shares' own": (
        Case(3, ((0, 1, 2),), takes=NO_LIMIT, lengths=(6 * UNIT,), intervals=(3 * INTERVAL, INTERVAL, 2 * INTERVAL)),
        30,
    ),
    "four shares": (Case(4, ((0, 1, 2, 3), (0,)), lengths=SHORT), 20_000),
    "completions that come early": (Case(lengths=(0, UNIT), slow=1), 16_000),
    "shares that refuse": (Case(changes=ALL_AND_ONE, refused=1, lengths=SHORT), 4_500),
    "messages that come twice": (Case(twice=1), 13_000),
    "nobody tells of completions": (Case(told=False, changes=ALL_AND_ONE, deaths=1, lengths=SHORT), 20_000),
    "somebody else takes the slot": (Case(foreign=1, lost=1, lengths=SHORT), 15_000),
    "somebody else makes a refresh void": (
        Case(changes=((1,), (0,)), slots=2, takes=2, foreign=1, voids=True, lengths=SHORT),
        5_500,
    ),
    "somebody else makes the only share's refresh void": (
        Case(1, TWICE_ONE, takes=2, foreign=1, voids=True, lengths=SHORT),
        5_000,
    ),
}

DEEPER_CASES = {
    "two shares of one change, and deaths": (Case(changes=ALL_AND_ONE, deaths=1, lengths=SHORT), 40_000),
    "a gateway that takes any number, and deaths": (
        Case(changes=ALL_AND_ONE, takes=NO_LIMIT, deaths=1, lengths=SHORT),
        25_000,
    ),
    "four shares, and lost completions": (Case(4, ((0, 1, 2, 3), (0,)), lost=1, lengths=SHORT), 30_000),
    "one share, calls without an answer and deaths": (
        Case(1, TWICE_ONE, lengths=(0,), unanswered=1, deaths=1),
        30_000,
    ),
    "one share, three changes, deaths": (Case(1, (*TWICE_ONE, (0,)), lengths=SHORT, deaths=1, slow=1), 100_000),
    "three shares, deaths and lost completions": (
        Case(3, ((0, 1, 2), (0,)), lost=1, deaths=1, lengths=SHORT),
        80_000,
    ),
    "two shares, three changes": (Case(changes=((0,), (1,), (0,)), deaths=1, lost=1, lengths=SHORT), 50_000),
    "four shares, two slots": (Case(4, ((0, 1, 2, 3), (1, 0)), slots=2, takes=2), 100_000),
    "shares that refuse, and deaths": (Case(changes=ALL_AND_ONE, deaths=1, refused=1, lengths=SHORT), 40_000),
    "two deaths": (Case(deaths=2, lengths=SHORT), 15_000),
    "somebody else takes the slot, and deaths": (Case(foreign=1, deaths=1, lengths=SHORT), 60_000),
    "messages that come twice, and deaths": (Case(twice=1, deaths=1, lengths=SHORT), 25_000),
    "messages of several shares that come twice": (Case(changes=ALL_AND_ONE, twice=1), 50_000),
}


@cache
def states_of(case: Case) -> int:
    """How many there are. BrokenError if one breaks a promise."""
    return Explorer(case).run()


@pytest.mark.parametrize("name", [*CASES, *(DEEPER_CASES if DEEPER else ())])
def test_every_state_keeps_the_promises(name: str) -> None:
    case, at_least = (CASES | DEEPER_CASES)[name]
    states = states_of(case)
    print(f"{name}: {states} states")
    assert states >= at_least


@dataclass(frozen=True, slots=True)
class DroppedSafeguard:
    name: str
    promise: str
    old: str  # in turns.py
    new: str
    case: Case


LATE = Case(deaths=1, lengths=SHORT)
TO_BE_PROBED = Case(3, ((0, 1, 2),), takes=NO_LIMIT, lengths=(6 * UNIT,))

DROPPED_SAFEGUARDS = (
    DroppedSafeguard(
        "nobody queues a wake",
        COVERAGE,
        "gateway, todo = replace(gateway, wake=wake), replace(todo, wake=wake)",
        "pass",
        Case(lost=1, lengths=SHORT),
    ),
    DroppedSafeguard(
        "a full gateway is not asked for more",
        FRESHNESS,
        "return next(eligible, None), True",
        "return None, False",
        TO_BE_PROBED,
    ),
    DroppedSafeguard(
        "a full gateway is asked by whoever wakes",
        RESTRAINT,
        "if woken and now >= probed_at + rules.least_interval:",
        "if woken:",
        Case(changes=((0, 1),), takes=NO_LIMIT, lengths=(6 * UNIT,), refused=1),
    ),
    DroppedSafeguard(
        "it is forgotten that a full gateway was asked",
        RESTRAINT,
        "replace(gateway, probed_at=now) if probe else gateway",
        "gateway",
        Case(changes=((0, 1),), takes=NO_LIMIT, lengths=(6 * UNIT,), refused=1),
    ),
    DroppedSafeguard(
        "a claim lasts for ever",
        COVERAGE,
        "if share.claim and share.claim.until <= now:",
        "if share.claim and share.claim.until <= 0:",
        Case(1, TWICE_ONE, lengths=SHORT, processes=1, deaths=1, told=False),
    ),
    DroppedSafeguard(
        "a share whose claimer died is not asked again",
        COVERAGE,
        "share = replace(_back(share), asked_at=asked_at)\n",
        "share = replace(share, claim=None, asked_at=asked_at)\n",
        LATE,
    ),
    DroppedSafeguard(
        "a share whose claimer died does not count as asked",
        RESTRAINT,
        "asked_at = max(share.asked_at, share.claim.until - CLAIM_MARGIN_MS)",
        "asked_at = share.asked_at",
        Case(1, TWICE_ONE, lengths=SHORT, deaths=1, slow=1),
    ),
    DroppedSafeguard(
        "a share whose claimer died counts as asked when it was claimed",
        RESTRAINT,
        "share.claim.until - CLAIM_MARGIN_MS)",
        "share.claim.until - 2 * 30_000)",
        Case(1, TWICE_ONE, lengths=SHORT, deaths=1, slow=1),
    ),
    DroppedSafeguard(
        "a call that may have had effect does not count as asked",
        RESTRAINT,
        "now if perhaps else share.asked_at",
        "share.asked_at",
        Case(1, TWICE_ONE, lengths=SHORT, unanswered=1),
    ),
    DroppedSafeguard(
        "a share that waits again while it is busy is forgotten",
        COVERAGE,
        "replace(share, since=share.since or now))",
        "replace(share, since=share.since or (0 if share.occupied_until() else now)))",
        Case(1, TWICE_ONE, lengths=SHORT),
    ),
    DroppedSafeguard(
        "a share that is claimed and waits again is forgotten when it accepts",
        COVERAGE,
        "since=share.since or (now if asked.left else 0),",
        "since=now if asked.left else 0,",
        Case(1, TWICE_ONE, lengths=SHORT),
    ),
    DroppedSafeguard(
        "the newest comes first",
        TURNS,
        "return [key for _, _, key in sorted(waiting)]",
        "return [key for _, _, key in sorted(waiting, reverse=True)]",
        Case(4, ((0,), (1,), (2,), (3,), (0,)), lengths=SHORT, processes=1),
    ),
    DroppedSafeguard(
        "a share that waits loses its slot by another change",
        TURNS,
        "since=share.since or now))",
        "since=now))",
        Case(3, ((0,), (2,), (1,), (2,)), lengths=SHORT, processes=1, overtaken=0),
    ),
    DroppedSafeguard(
        "a share that is refused since the gateway is busy goes to the end",
        TURNS,
        "share, gateway = _back(share), replace(gateway, refused_at=now)",
        "share, gateway = replace(_back(share), since=now), replace(gateway, refused_at=now)",
        Case(changes=((1,), (0,)), foreign=2, lengths=SHORT, processes=1, overtaken=0),
    ),
    DroppedSafeguard(
        "the interval is not kept",
        RESTRAINT,
        "passed = self.asked_at + interval if self.asked_at else 0",
        "passed = 0",
        Case(1, TWICE_ONE, lengths=SHORT),
    ),
    DroppedSafeguard(
        "a share has the interval of all others",
        RESTRAINT,
        "return self.exceptions.get(key.share_id, self.interval)",
        "return self.least_interval",
        Case(changes=((0,), (0,)), lengths=SHORT, intervals=(2 * INTERVAL, INTERVAL)),
    ),
    DroppedSafeguard(
        "a full gateway is asked as often as the shares without an interval of their own",
        FRESHNESS,
        "return min(self.interval, *self.exceptions.values()) if self.exceptions else self.interval",
        "return self.interval",
        Case(3, ((0, 1, 2),), takes=NO_LIMIT, lengths=(6 * UNIT,), intervals=(INTERVAL, 2 * INTERVAL, 2 * INTERVAL)),
    ),
    DroppedSafeguard(
        "a share is asked while its refresh is in progress",
        RESTRAINT,
        "return max(passed, self.not_before, self.occupied_until())",
        "return max(passed, self.not_before, self.claim.until if self.claim else 0)",
        Case(1, TWICE_ONE, takes=NO_LIMIT, lengths=(3 * UNIT,)),
    ),
    DroppedSafeguard(
        "a completion that comes early is ignored",
        FRESHNESS,
        "in_progress_until=0 if complete else asked.until,",
        "in_progress_until=asked.until,",
        Case(1, TWICE_ONE, lengths=(0,)),
    ),
    DroppedSafeguard(
        "a completion changes nothing",
        FRESHNESS,
        "return gateway.with_share(key, replace(share, in_progress_until=0)), Todo(completed=completed)",
        "return gateway, Todo(completed=completed)",
        Case(1, TWICE_ONE, lengths=SHORT),
    ),
    DroppedSafeguard(
        "a completion takes no turn",
        FRESHNESS,
        "return [now + rules.least_interval, *(",
        "return [*(",
        TO_BE_PROBED,
    ),
    DroppedSafeguard(
        "a gateway that said that it is busy is asked again",
        RESTRAINT,
        "share, gateway = _back(share), replace(gateway, refused_at=now)",
        "share = _back(share)",
        Case(foreign=1, lengths=(3 * UNIT,)),
    ),
    DroppedSafeguard(
        "an earlier wake replaces no later one",
        FRESHNESS,
        "(wake and wake.at <= at and now < wake.at + _LOST_WAKE_MS)",
        "(wake and now < wake.at + _LOST_WAKE_MS)",
        Case(2, ((0,), (0,), (1,)), lengths=(6 * UNIT,), takes=NO_LIMIT),
    ),
    DroppedSafeguard(
        "a share is asked directly although somebody waits",
        COVERAGE,
        "direct = isinstance(event, Enqueued) and nobody_waited and",
        "direct = isinstance(event, Enqueued) and",
        Case(1, (*TWICE_ONE, (0,)), lengths=SHORT),
    ),
    DroppedSafeguard(
        "it is forgotten that somebody else refreshed a share that is claimed",
        COVERAGE,
        "share, gateway = _back(share), replace(gateway, refused_at=now)",
        "share, gateway = replace(_back(share), early_completions=()), replace(gateway, refused_at=now)",
        Case(changes=((1,), (0,)), slots=2, takes=2, foreign=1, voids=True, lengths=SHORT),
    ),
    DroppedSafeguard(
        "a refresh that may be void is not repeated",
        COVERAGE,
        "return not last.is_repeat and",
        "return False and",
        Case(1, TWICE_ONE, takes=2, foreign=1, voids=True, lengths=SHORT),
    ),
)


@pytest.mark.parametrize("dropped", DROPPED_SAFEGUARDS, ids=lambda dropped: dropped.name)
def test_without_a_safeguard_of_the_rules_a_promise_is_broken(dropped: DroppedSafeguard) -> None:
    assert states_of(dropped.case)
    with changed("turns.py", dropped.old, dropped.new), pytest.raises(BrokenError) as broken:
        Explorer(dropped.case).run()
    assert broken.value.promise == dropped.promise, broken.value


ORDERS = {
    "a share is put into the line before its window has the folders": (
        Order(window_first=False),
        Case(1, TWICE_ONE, lengths=SHORT),
    ),
    "what a share is asked for is removed before it has accepted": (Order(removes_late=False), LATE),
    "what is handed over again is asked for directly": (Order(directly_again=True), LATE),
    "a wake is written down before it is queued": (
        Order(wake_first=False),
        Case(1, ((0,), (0,), (0,)), told=False, deaths=1, lengths=SHORT, processes=1),
    ),
    "a wake that comes before it is written down writes nothing": (
        Order(wake_writes=False),
        Case(1, TWICE_ONE, slow=1, lengths=SHORT),
    ),
}


@pytest.mark.parametrize("name", ORDERS)
def test_in_another_order_something_waits_for_ever(name: str) -> None:
    order, case = ORDERS[name]
    assert states_of(case)
    with pytest.raises(BrokenError) as broken:
        Explorer(case, order).run()
    assert broken.value.promise == COVERAGE, broken.value
