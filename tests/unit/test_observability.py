import json

import pytest

from event_aggregator.observability import METRICS, Tally
from event_aggregator.table import Key


def absorbed(capsys: pytest.CaptureFixture[str]) -> list[int]:
    """The counts that were emitted, a line each."""
    return [int(json.loads(line)["ChangesAbsorbed"][0]) for line in capsys.readouterr().out.splitlines()]


def test_a_thousand_absorbed_changes_are_counted_in_some_thirty_lines(capsys: pytest.CaptureFixture[str]) -> None:
    tally = Tally()
    for _ in range(1_000):
        tally.add(Key.read("my-bucket"), "w1", 1)
    lines = absorbed(capsys)
    assert len(lines) < 40
    assert 800 <= sum(lines) <= 1_000, "at most a fifth is not told yet"


def test_the_next_window_of_the_bucket_tells_the_rest(capsys: pytest.CaptureFixture[str]) -> None:
    tally = Tally()
    for _ in range(999):
        tally.add(Key.read("my-bucket"), "w1", 1)
        tally.add(Key.read("other"), "w1", 1)
    tally.add(Key.read("my-bucket"), "w2", 1)
    tally.add(Key.read("other"), "w2", 0)
    assert sum(absorbed(capsys)) == 2 * 999 + 1


def test_a_change_that_opens_a_window_is_not_absorbed(capsys: pytest.CaptureFixture[str]) -> None:
    Tally().add(Key.read("my-bucket"), "w1", 0)
    assert absorbed(capsys) == []


def test_metrics_are_few_enough_for_their_price_to_be_four_dollars_a_bucket_if_all_is_well() -> None:
    of_exceptions = {"ChangesIgnored", "SharesLeftOut", "NotificationsLost", "VisibleEventsLost"}
    assert len(METRICS.keys() - of_exceptions) <= 12
