"""Every schedule of small scenarios: at each AWS call the process may die, the call may fail, and anything else may
come in between, so often as the table says. Every schedule keeps every promise.

SIMULATION_DEEPER=0 runs the large searches too, SIMULATION_DEEPER=1 allows one preemption more in each.
"""

import os
from collections import Counter

import pytest

from tests.simulation import scenarios
from tests.simulation.scenarios import Scenario
from tests.simulation.schedules import Search, undisturbed

LARGE, DEEPER = "SIMULATION_DEEPER" in os.environ, int(os.environ.get("SIMULATION_DEEPER", "0"))

# Scenario, preemptions, deaths, what may happen as well (f: calls fail, l: completion events are lost), and how many
# schedules there are at least: a change of the code that makes fewer calls may make these fewer, and nothing else may.
SEARCHES = (
    ("ONE_SHARE", 1, 1, "fl", 560),
    ("TWO_CHANGES", 1, 0, "", 50),
    ("TWO_CHANGES", 0, 1, "f", 160),
    ("TWO_WINDOWS", 1, 0, "", 150),
    ("TWO_WINDOWS", 0, 1, "fl", 1_100),
    ("AT_THE_CLOSE", 1, 0, "", 170),
    ("AT_THE_CLOSE", 0, 1, "", 170),
    ("SAME_FOLDER", 0, 1, "f", 770),
    ("RETRIED_SOON", 0, 1, "", 200),
    ("DUPLICATE", 1, 1, "", 530),
    ("LATE_DUPLICATE", 1, 1, "", 720),
    ("DURING_THE_REFRESH", 0, 1, "", 3_500),
    ("FAILS_FOR_GOOD", 0, 2, "", 160),
    ("HAND_OVER_DIES", 0, 1, "", 130),
    ("COMPLETE_AT_ONCE", 1, 0, "", 1_300),
    ("STALLED_HAND_OVER", 0, 0, "", 120),
    ("LATE_WAKE", 0, 1, "", 66),
    ("ADDED_WHILE_IT_IS_ITS_TURN", 0, 0, "", 860),
    ("COMPLETE_WHEN_DUE", 0, 0, "", 43),
    ("COMPLETE_WHEN_NEXT_IS_DUE", 0, 0, "", 220),
    ("NO_DELAY", 0, 0, "", 490),
    ("LONG_REFRESH", 1, 0, "", 90),
    ("LONG_REFRESH", 0, 1, "fl", 400),
    ("ENDLESS_REFRESH", 1, 0, "", 90),
    ("THREE_SHARES", 0, 0, "", 110),
    ("QUIET_WINDOW", 1, 0, "", 460),
    ("QUIET_AT_THE_CLOSE", 1, 0, "", 420),
    ("BEFORE_THE_REQUEST", 1, 0, "", 58),
    ("REFRESHER_AHEAD", 1, 0, "", 110),
    ("AGGREGATOR_BEHIND", 1, 0, "", 480),
    ("UNCACHED_FOLDER", 1, 1, "", 260),
    ("UNCACHED_FOLDER_IN_UNKNOWN_WORDS", 0, 1, "", 39),
    ("UNCACHED_FOLDER_BESIDE_ANOTHER", 0, 1, "fl", 660),
    ("WRITTEN_THROUGH", 0, 1, "", 95),
    ("ONE_ROLE", 0, 1, "", 57),
    ("WRITTEN_THROUGH_AN_UNKNOWN_SHARE", 0, 1, "", 100),
    ("NO_OTHER_SHARE", 1, 0, "", 47),
    ("DEEP_FOLDER", 1, 1, "", 110),
    ("MANY_FOLDERS", 1, 0, "", 16),
    ("TOO_MANY_FOLDERS", 0, 0, "", 1),
    ("LONG_DELAY", 1, 1, "", 79),
    ("TWO_REGIONS", 1, 0, "f", 25),
    ("TWO_REGIONS", 0, 1, "", 63),
    ("WAITS_FOR_A_REGION", 0, 0, "", 22),
    ("DENIED_FOR_AN_HOUR", 0, 0, "", 4),
    ("ONLY_REGION_DENIED_FOR_AN_HOUR", 0, 1, "", 220),
    ("LONG_REFRESH_AWAY", 0, 0, "", 7),
    ("OTHER_ACCOUNT", 0, 0, "", 14),
    ("TWO_ON_ONE", 0, 0, "", 1_400),
    ("TWO_GATEWAYS", 1, 0, "", 210),
    ("TWO_GATEWAYS_BY_SHARE", 0, 0, "", 22),
    ("THREE_ON_ONE", 0, 0, "", 59),
    ("THREE_ON_ONE_BY_SHARE", 0, 0, "", 59),
    ("CHANGES_GO_ON", 0, 0, "", 260),
    ("CHANGES_GO_ON_BY_SHARE", 0, 0, "", 5),
    ("NO_COMPLETIONS", 0, 0, "", 2),
    ("NO_COMPLETIONS_BY_SHARE", 0, 0, "", 2),
    ("FOUR_AWAY", 0, 0, "", 1),
    ("FAST_AND_SLOW", 0, 0, "", 1),
    ("ONE_OF_THREE_IS_OFFLINE", 0, 0, "", 33),
    ("OFFLINE_FOR_A_MINUTE", 0, 1, "f", 190),
    ("INTERNAL_ERRORS", 1, 1, "", 320),
    ("BUSY_TWICE", 0, 1, "l", 90),
    ("UNKNOWN_WORDS_THRICE", 0, 1, "", 110),
    ("ONE_IS_UNKNOWN", 0, 1, "", 140),
    ("GONE_WHILE_IT_WAITS", 0, 0, "", 12),
    ("REFRESHED_BY_OTHERS", 1, 0, "", 26),
    ("REFRESHED_BY_OTHERS_OLDER_RULE", 1, 0, "", 26),
    ("COMPLETED_BY_OTHERS_OLDER_RULE", 1, 0, "", 31),
    ("LONG_BY_OTHERS_OLDER_RULE", 1, 0, "", 54),
    ("SLOTS_TAKEN_BY_OTHERS", 0, 0, "", 710),
    ("TWO_BUCKETS", 1, 0, "", 89),
    ("TWO_PACES", 0, 0, "", 140),
    ("CLAIMED_FOR_ANOTHER_BUCKET", 0, 0, "", 65),
    ("SWEPT", 1, 0, "", 1_000),
    ("REMEMBERED_LINE", 0, 0, "", 20_000),
)

# Those that take longest, which are run on request.
LARGE_SEARCHES = (
    ("FAILS_FOR_GOOD", 0, 3, "", 2_100),
    ("TWO_CHANGES", 1, 1, "", 1_400),
    ("WAITS_FOR_A_REGION", 0, 1, "", 2_500),
    ("TWO_GATEWAYS", 0, 1, "l", 3_300),
    ("TWO_GATEWAYS_BY_SHARE", 0, 1, "l", 3_300),
    ("CLAIMED_FOR_ANOTHER_BUCKET", 0, 1, "", 6_300),
    ("TWO_REGIONS", 0, 1, "f", 470),
    ("STALLED_HAND_OVER", 1, 0, "", 1_500),
    ("BUSY_TWICE", 0, 1, "fl", 570),
    ("COMPLETE_WHEN_DUE", 0, 1, "", 3_700),
    ("TWO_BUCKETS", 0, 1, "f", 360),
    ("THREE_ON_ONE", 1, 0, "", 2_900),
    ("FOUR_AWAY", 0, 1, "", 83),
    ("COMPLETE_AT_ONCE", 0, 1, "", 2_000),
    ("GONE_WHILE_IT_WAITS", 0, 1, "", 720),
    ("DENIED_FOR_AN_HOUR", 0, 1, "", 440),
)


@pytest.mark.parametrize(
    ("name", "preemptions", "deaths", "may", "at_least"), [*SEARCHES, *(LARGE_SEARCHES if LARGE else ())]
)
def test_every_schedule_keeps_every_promise(name: str, preemptions: int, deaths: int, may: str, at_least: int) -> None:
    scenario: Scenario = getattr(scenarios, name)
    search = Search(scenario, preemptions + DEEPER, deaths, faults="f" in may, losses="l" in may)
    schedules = search.run()
    bounds = f"at most {search.preemptions} preemptions and {deaths} failures"
    print(f"{name}: {schedules} schedules with {bounds}, {search.to_the_end} of them run to their own end")
    assert schedules >= at_least


def test_the_searches_are_not_fewer_than_promised() -> None:
    assert sum(at_least for *_, at_least in SEARCHES) >= 40_000
    assert sum(at_least for *_, at_least in (*SEARCHES, *LARGE_SEARCHES)) >= 70_000


def test_every_scenario_is_searched() -> None:
    named = {name for name, value in vars(scenarios).items() if isinstance(value, Scenario)}
    assert named == {name for name, *_ in SEARCHES}


def test_one_share_alone_costs_seven_writes_and_one_message() -> None:
    calls = Counter(undisturbed(scenarios.ONE_SHARE).calls)

    # The reads are those of the window and, in a container that starts, of the gateway.
    assert calls == {"UpdateItem": 7, "SendMessage": 1, "GetItem": 2, "RefreshCache": 1}
