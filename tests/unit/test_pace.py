"""A share's restraint, each operation against moto's DynamoDB."""

from typing import Any

from event_aggregator.table import Item
from tests.unit.conftest import START, World
from tests.unit.test_window import open_window

KEY = "my-bucket/share-1"


def claim(world: World, now: int) -> Item | None:
    """None if it was allowed; an interval of a minute, and a mark lapses after an hour."""
    return world.pace.claim(KEY, now, interval=60_000, in_progress_timeout=3_600_000)


def accepted(world: World, now: int, *, mark: bool = True, notification_id: str = "n1") -> Item:
    """The refresh that was claimed at the START is accepted."""
    return world.pace.accepted(KEY, START, now, notification_id=notification_id, since=START, window="w0", mark=mark)


def test_a_share_is_claimed_once_an_interval(world: World) -> None:
    assert claim(world, START) is None
    forbids = claim(world, START)
    assert forbids
    assert forbids.last_asked_at == START
    assert claim(world, START + 59_999)
    assert claim(world, START + 60_000) is None


def test_the_interval_runs_from_the_accepted_call_not_from_the_claim(world: World) -> None:
    claim(world, START)
    accepted(world, START + 9_000, mark=False)
    assert claim(world, START + 60_000)
    assert claim(world, START + 69_000) is None


def test_a_share_for_which_something_waits_cannot_be_claimed(world: World) -> None:
    open_window(world.windows, "w1", key=KEY)
    forbids = claim(world, START)
    assert forbids
    assert forbids.window_id == "w1"


def test_a_share_cannot_be_claimed_while_a_refresh_is_in_progress_until_the_mark_lapses(world: World) -> None:
    claim(world, START)
    assert accepted(world, START).in_progress_id == "n1"
    forbids = claim(world, START + 3_599_999)
    assert forbids
    assert forbids.in_progress_id == "n1"
    assert claim(world, START + 3_600_000) is None


def test_a_share_without_marks_can_be_claimed_when_its_interval_has_passed(world: World) -> None:
    claim(world, START)
    assert accepted(world, START, mark=False).in_progress_id is None
    assert claim(world, START + 60_000) is None


def test_a_completion_clears_the_mark_and_hands_back_what_it_was_for(world: World) -> None:
    claim(world, START)
    accepted(world, START + 5)
    found = world.pace.completed(KEY, "n1")
    assert found
    cleared, item = found
    assert cleared
    assert (item.in_progress_id, item.in_progress_for) == (None, START)


def test_a_completion_clears_a_mark_that_is_made_while_it_is_noted(world: World) -> None:
    claim(world, START)
    made: list[Item] = []

    def make_mark(params: dict[str, Any], **_: Any) -> None:
        if "ADD CompletedIds" in params["UpdateExpression"] and not made:
            made.append(accepted(world, START))

    world.dynamodb.meta.events.register("provide-client-params.dynamodb.UpdateItem", make_mark)
    world.pace.completed(KEY, "n1")
    assert made[0].in_progress_id == "n1"
    assert world.item(KEY).in_progress_id is None


def test_an_acceptance_that_is_written_again_after_its_completion_makes_no_mark(world: World) -> None:
    """The SDK repeats a write whose answer was lost."""
    claim(world, START)
    accepted(world, START)
    world.pace.completed(KEY, "n1")
    assert accepted(world, START).in_progress_id is None


def test_an_acceptance_that_is_written_again_after_the_next_claim_changes_nothing(world: World) -> None:
    claim(world, START)
    accepted(world, START)
    world.pace.completed(KEY, "n1")
    claim(world, START + 70_000)
    world.pace.accepted(KEY, START + 70_000, START + 70_001, notification_id="n2", since=START, window="w0", mark=True)
    assert accepted(world, START + 70_002).in_progress_id == "n2"
    assert world.item(KEY).last_asked_at == START + 70_001


def test_no_mark_is_made_for_a_refresh_whose_completion_has_come_already(world: World) -> None:
    claim(world, START)
    world.pace.completed(KEY, "n1")
    assert accepted(world, START).in_progress_id is None


def test_completions_of_others_do_not_hide_one_that_came_early(world: World) -> None:
    claim(world, START)
    world.pace.completed(KEY, "n1")
    for number in range(5):
        world.pace.completed(KEY, f"of-others-{number}")
    assert accepted(world, START).in_progress_id is None


def test_the_number_of_completions_that_are_remembered_is_bounded(world: World) -> None:
    claim(world, START)
    for number in range(30):
        world.pace.completed(KEY, f"of-others-{number}")
    assert world.item(KEY).completed <= 11


def test_a_share_that_was_never_asked_knows_of_no_completion(world: World) -> None:
    assert world.pace.completed(KEY, "n1") is None
    assert world.item(KEY) == Item()


def test_a_waiting_window_is_made_due_earlier_and_never_later(world: World) -> None:
    open_window(world.windows, "w1", key=KEY, refresh_at=START + 100)
    world.pace.make_due(KEY, "w1", START + 50)
    world.pace.make_due(KEY, "w1", START + 70)
    assert world.item(KEY).refresh_at == START + 50


def test_a_waiting_window_is_not_made_due_while_another_refresh_is_in_progress(world: World) -> None:
    claim(world, START)
    accepted(world, START)
    open_window(world.windows, "w1", key=KEY, refresh_at=START + 100)
    world.pace.make_due(KEY, "w1", START + 50)
    assert world.item(KEY).refresh_at == START + 100


def test_a_dropped_share_leaves_nothing(world: World) -> None:
    open_window(world.windows, "w1", key=KEY)
    world.pace.drop(KEY)
    assert world.item(KEY) == Item()
