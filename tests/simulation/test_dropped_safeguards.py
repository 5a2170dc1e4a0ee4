"""The simulation can fail: without any one of the code's safeguards it finds a schedule that breaks the promise which
that safeguard keeps."""

import pytest

from tests.simulation.dropped_safeguards import DROPPED_SAFEGUARDS, DroppedSafeguard, search
from tests.simulation.schedules import ScheduleError


@pytest.mark.parametrize("dropped", DROPPED_SAFEGUARDS, ids=lambda dropped: dropped.name)
def test_without_a_safeguard_its_promise_is_broken(dropped: DroppedSafeguard) -> None:
    with pytest.raises(ScheduleError) as broken:
        search(dropped)
    assert broken.value.promise == dropped.promise, broken.value


def test_every_promise_has_safeguards() -> None:
    assert {dropped.promise for dropped in DROPPED_SAFEGUARDS} == {
        "Coverage",
        "Aggregation",
        "Freshness",
        "Restraint",
        "Turns",
    }
