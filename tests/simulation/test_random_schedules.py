"""Random scenarios under random schedules: several changes an event, buckets, gateways, shares, containers; both
readings of how much a gateway takes, somebody else's refreshes, refreshes of seconds to hours; clocks that differ,
calls that fail or take effect without an answer, deaths, duplicates, late deliveries, lost completions, quiet windows.

Derandomized, so that every run makes the same schedules. SIMULATION_EXAMPLES=100000 makes so many of each kind, and
SIMULATION_SEED=n others than usual.
"""

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.simulation import scenarios
from tests.simulation.scenarios import HOME, HOUR, OTHER_ROLE, REGIONS, SECOND, Event, Other, Scenario, Share
from tests.simulation.schedules import run_at_random

EXAMPLES = int(os.environ.get("SIMULATION_EXAMPLES", "25"))
SEED = os.environ.get("SIMULATION_SEED")

Choose = Callable[[int], int]


def chooser(choices: bytes) -> Choose:
    """Numbers below n out of `choices`, and 0 when they are used up: what shrinks becomes harmless."""
    left = iter(choices)
    return lambda n: next(left, 0) * n // 256


# Where shares may be, and the settings that say so.
PLACES: tuple[tuple[tuple[str, ...], tuple[tuple[str, str], ...]], ...] = (
    ((HOME,), ()),
    ((HOME, "eu-west-1"), (REGIONS,)),
    ((HOME, f"{HOME}:222222222222"), (OTHER_ROLE,)),
    (("eu-west-1",), (("GATEWAY_REGIONS", "eu-west-1"),)),
)


REFUSALS = (scenarios.OFFLINE, scenarios.BUSY, scenarios.UNKNOWN_WORDS, scenarios.INTERNAL, scenarios.UNKNOWN_FOLDER)


def random_scenario(choose: Choose, *, skew: bool) -> Scenario:
    names = ("a/1", "a/2", "b/c/1", "b/2", "root", "d/e/f/1")
    delay = (20, 5, 0, 70)[choose(4)]
    quiet = (0, 0, 10, 25)[choose(4)]
    timeout = (3600, 100, 0)[choose(3)]
    buckets = ("my-bucket", "my-bucket", "my-bucket", "other-bucket")
    regions, named = PLACES[choose(len(PLACES))]
    shares = tuple(
        Share(
            f"share-{number}",
            prefix=("", "", "b/", "a/")[choose(4)],
            refresh_takes=(5, 0, 90, 200, 5_000)[choose(5)] * SECOND,
            bucket=buckets[choose(4)],
            gateway=("sgw-1", "sgw-1", "sgw-2")[choose(3)],
            kind=("NFS", "SMB")[choose(2)],
            unavailable=((0, 0), (0, 0), (0, 0), (20 * SECOND, 150 * SECOND))[choose(4)],
            undescribed=((0, 0), (0, 0), (0, 0), (0, 70 * SECOND), (30 * SECOND, HOUR))[choose(5)],
            refuses=((0, 0), (0, 0), (0, 0), (0, 80 * SECOND), (50 * SECOND, 600 * SECOND))[choose(5)],
            refusal=REFUSALS[choose(len(REFUSALS))],
            times=(1_000, 1, 3)[choose(3)],
            role_of=("", "", "share-1")[choose(3)],
            region=regions[choose(len(regions))],
        )
        for number in range(1, 2 + choose(5))
    )
    others = tuple(
        Other(choose(60) * 2 * SECOND, shares[choose(len(shares))].name, (5, 40, 300)[choose(3)] * SECOND)
        for _ in range(choose(5) // 3)
    )
    events = tuple(
        Event(
            at=choose(40) * 3 * SECOND,
            keys=tuple(names[choose(len(names))] for _ in range(1 + choose(6) // 3)),
            after=((0,), (0,), (0,), (1_500,), (45 * SECOND,), (0, 8 * SECOND))[choose(6)],
            bucket=buckets[choose(4)],
        )
        for _ in range(1 + choose(5))
    )
    # What is written through a share is below its prefix, and in its bucket.
    events = tuple(
        replace(event, through=share.name, bucket=share.bucket, keys=tuple(share.prefix + key for key in event.keys))
        if choose(3) == 2 and (share := shares[choose(len(shares))])
        else event
        for event in events
    )
    skews = (0, 0, 400, -450) if skew else (0, 0, 0, 0)
    return Scenario(
        events=events,
        shares=shares,
        aggregators=(skews[choose(4)], skews[choose(4)]),
        refreshers=tuple(skews[choose(4)] for _ in range(1 + choose(3))),
        settings=(
            ("REFRESH_DELAY_SECONDS", str(delay)),
            ("REFRESH_QUIET_SECONDS", str(quiet)),
            ("REFRESH_MAX_DELAY_SECONDS", "60"),
            ("IN_PROGRESS_TIMEOUT_SECONDS", str(timeout)),
            ("REFRESH_OTHER_GATEWAYS", ("auto", "on")[choose(2)]),
            ("REFRESHES_PER_GATEWAY", ("2", "2", "1", "3")[choose(4)]),
            ("MIN_REFRESH_INTERVAL_SECONDS", ("60", "60", "60,share-2=150", "150,share-1=60")[choose(4)]),
            *named,
        ),
        retries=((60 * SECOND, 120 * SECOND), (2 * SECOND, 5 * SECOND))[choose(2)],
        completion_events=timeout > 0 and choose(8) < 7,
        limit=("gateway", "share")[choose(2)],
        others=others,
        unlisted=((), (), (), ((regions[0], 0, 300 * SECOND),))[choose(4)],
    )


def searched(**limits: Any) -> Callable[[Callable[[bytes], None]], Callable[[], None]]:
    def decorate(test: Callable[[bytes], None]) -> Callable[[], None]:
        given_bytes = given(st.binary(min_size=500, max_size=500))(test)
        if SEED:
            given_bytes = seed(int(SEED))(given_bytes)
        run: Callable[[], None] = settings(
            max_examples=EXAMPLES,
            derandomize=not SEED,
            database=None,
            deadline=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
            **limits,
        )(given_bytes)
        return run

    return decorate


@pytest.mark.parametrize(("faults", "preemptions", "skew"), [(0, 0, False), (0, 6, False), (2, 4, True), (6, 8, True)])
def test_every_promise_is_kept(faults: int, preemptions: int, skew: bool) -> None:
    ran = 0

    @searched()
    def one_schedule(choices: bytes) -> None:
        nonlocal ran
        ran += 1
        choose = chooser(choices)
        run_at_random(random_scenario(choose, skew=skew), choose, faults=faults, preemptions=preemptions)

    one_schedule()
    print(f"{ran} schedules with at most {faults} faults and {preemptions} preemptions")
    assert ran == EXAMPLES
