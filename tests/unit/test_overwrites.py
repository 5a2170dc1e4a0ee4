"""A file that is overwritten in place every few seconds: when its folder is refreshed, and what a quiet time changes.

A refresh that begins between two overwrites may show clients a size of the one and the contents of the other.
"""

import pytest

from tests.unit.conftest import World, s3_event, s3_record
from tests.unit.shares import HOME, TIME_LEFT, Function, Region

PACE = 3_000
QUIET = 10_000
BURST, PAUSE = 15, 180_000  # overwrites in a row, and how long nobody writes after them


@pytest.fixture(params=["warm", "cold"])
def refreshes(world: World, request: pytest.FixtureRequest) -> tuple[list[int], list[int]]:
    """When the object is overwritten, in two bursts, and when a refresh of its folder begins. A warm container has
    seen each earlier event; a cold one none."""
    region, container = Region(world), world.aggregator
    function, written = Function(world, {HOME: region}), list[int]()
    for _ in range(2):
        for _ in range(BURST):
            written.append(world.time)
            aggregator = container if request.param == "warm" else world.aggregator
            aggregator.aggregate_event(s3_event(s3_record("scores/live.db", at=world.time)), TIME_LEFT)
            function.run(until=world.time + PACE, refreshes_take=2_000)
        function.run(until=world.time + PAUSE, refreshes_take=2_000)
    assert region.refreshes
    assert not function.failures
    return written, [refresh.at for refresh in region.refreshes]


def between_overwrites(written: list[int], began: list[int]) -> list[int]:
    """The refreshes that began less than the quiet time after an overwrite."""
    return [at for at in began if any(0 <= at - time < QUIET for time in written)]


@pytest.fixture
def fixed_delay(world: World) -> None:
    world.settings["REFRESH_DELAY_SECONDS"] = "30"


@pytest.fixture
def quiet_time(world: World) -> None:
    world.settings["REFRESH_QUIET_SECONDS"] = str(QUIET // 1000)


@pytest.fixture
def quiet_time_with_a_low_maximum(world: World, quiet_time: None) -> None:  # noqa: ARG001 - it is lowered then
    world.settings["REFRESH_MAX_DELAY_SECONDS"] = "20"


@pytest.mark.usefixtures("fixed_delay")
def test_with_a_fixed_delay_refreshes_begin_while_the_object_is_overwritten(
    refreshes: tuple[list[int], list[int]],
) -> None:
    written, began = refreshes
    assert len(between_overwrites(written, began)) == 2


@pytest.mark.usefixtures("quiet_time")
def test_with_a_quiet_time_no_refresh_begins_within_it_and_each_burst_has_one(
    refreshes: tuple[list[int], list[int]],
) -> None:
    written, began = refreshes
    assert between_overwrites(written, began) == []
    ends = [written[number] for number in range(BURST - 1, len(written), BURST)]
    assert len(began) == len(ends)
    assert all(QUIET <= at - end <= QUIET + QUIET // 4 + 1_000 for at, end in zip(began, ends, strict=True))


@pytest.mark.usefixtures("quiet_time_with_a_low_maximum")
def test_a_burst_that_lasts_longer_than_the_maximum_is_refreshed_while_it_goes_on(
    refreshes: tuple[list[int], list[int]],
) -> None:
    assert between_overwrites(*refreshes)
