"""Every schedule of small scenarios: at each AWS call the process may die, the call may fail, and anything else may
come in between, so often as the table says. Every schedule keeps every promise.

SIMULATION_DEEPER=1 allows one preemption more in each: some nine minutes on one core, instead of one.
"""

import os

import pytest

from tests.simulation import scenarios
from tests.simulation.scenarios import Scenario
from tests.simulation.schedules import Search

DEEPER = int(os.environ.get("SIMULATION_DEEPER", "0"))

# Scenario, preemptions, deaths, whether calls may fail as well, and how many schedules there are at least: a change of
# the code that makes fewer calls may make these fewer, and nothing else may.
SEARCHES = (
    ("TWO_CHANGES", 2, 1, False, 39_900),
    ("TWO_CHANGES", 0, 2, True, 4_400),
    ("TWO_WINDOWS", 1, 0, False, 160),
    ("AT_THE_CLOSE", 1, 1, False, 7_300),
    ("SAME_FOLDER", 1, 1, True, 10_800),
    ("RETRIED_SOON", 1, 1, False, 5_300),
    ("DUPLICATE", 2, 1, False, 6_800),
    ("LATE_DUPLICATE", 1, 1, False, 730),
    ("NO_DELAY", 1, 0, False, 1_400),
    ("DURING_THE_REFRESH", 0, 1, True, 250),
    ("FAILS_FOR_GOOD", 0, 3, False, 1_300),
    ("HAND_OVER_DIES", 0, 1, True, 430),
    ("COMPLETE_AT_ONCE", 1, 1, False, 3_600),
    ("COMPLETE_WHEN_DUE", 2, 0, False, 1_360),
    ("COMPLETE_WHEN_NEXT_IS_DUE", 1, 0, False, 185),
    ("LONG_REFRESH", 1, 0, False, 95),
    ("THREE_SHARES", 0, 1, False, 4_400),
    ("QUIET_WINDOW", 1, 0, False, 460),
    ("QUIET_AT_THE_CLOSE", 1, 0, False, 430),
    ("BEFORE_THE_REQUEST", 1, 1, False, 1_700),
    ("REFRESHER_AHEAD", 1, 0, False, 110),
    ("AGGREGATOR_BEHIND", 1, 0, False, 500),
    ("JOINED_AFTER_THE_REFRESH", 1, 0, False, 300),
    ("UNCACHED_FOLDER", 1, 1, False, 190),
    ("WRITTEN_THROUGH", 1, 1, False, 6_100),
    ("ONE_ROLE", 1, 1, False, 470),
    ("NO_OTHER_SHARE", 1, 1, False, 860),
    ("DEEP_FOLDER", 1, 1, False, 100),
    ("MANY_FOLDERS", 1, 0, False, 17),
    ("TOO_MANY_FOLDERS", 0, 0, False, 1),
    ("LONG_DELAY", 1, 1, False, 71),
    ("TWO_REGIONS", 2, 1, True, 5_700),
    ("TWO_REGIONS", 0, 2, True, 5_900),
    ("AWAY_AND_OFFLINE", 0, 1, True, 310),
    ("WAITS_FOR_A_REGION", 0, 1, True, 1_180),
    ("WAITS_FOR_A_REGION", 1, 0, False, 230),
    ("LONG_REFRESH_AWAY", 1, 0, False, 150),
    ("OTHER_ACCOUNT", 0, 1, True, 430),
    ("OTHER_ACCOUNT", 1, 1, False, 3_650),
)


@pytest.mark.parametrize(("name", "preemptions", "deaths", "faults", "at_least"), SEARCHES)
def test_every_schedule_keeps_every_promise(
    name: str, preemptions: int, deaths: int, faults: bool, at_least: int
) -> None:
    scenario: Scenario = getattr(scenarios, name)
    search = Search(scenario, preemptions + DEEPER, deaths, faults)
    schedules = search.run()
    bounds = f"at most {search.preemptions} preemptions and {deaths} failures"
    print(f"{name}: {schedules} schedules with {bounds}, {search.to_the_end} of them run to their own end")
    assert schedules >= at_least


def test_the_searches_are_not_fewer_than_promised() -> None:
    assert sum(at_least for *_, at_least in SEARCHES) >= 105_000
