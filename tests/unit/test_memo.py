"""The memo, and each way in which a careless one would lose a change."""

from dataclasses import replace
from typing import Any

import pytest

from event_aggregator.aggregate import Aggregator, NotFinishedError
from event_aggregator.memo import MARGIN_MS, Memo, is_open
from event_aggregator.table import Key, WindowItem
from tests.unit.conftest import START, World, fail, s3_event, s3_record

OPEN = WindowItem(window_id="w1", confirmed=True, refresh_at=START + 30_000, folders=frozenset({"/photos"}))
PHOTOS = frozenset({"/photos"})


def remembering(item: WindowItem) -> Memo:
    memo = Memo()
    memo.remember(Key.read("my-bucket"), item)
    return memo


def absorbs(memo: Memo, bucket: str, folders: frozenset[str], now: int) -> bool:
    known = memo.recall(Key.read(bucket), now)
    return known is not None and is_open(known, now) and known.holds(folders)


def test_a_change_of_a_folder_in_a_confirmed_window_is_absorbed() -> None:
    assert absorbs(remembering(OPEN), "my-bucket", PHOTOS, START)


def test_a_window_of_everything_absorbs_every_folder() -> None:
    assert absorbs(remembering(replace(OPEN, folders=frozenset({"*"}))), "my-bucket", PHOTOS, START)


def test_an_unconfirmed_window_is_not_remembered_for_its_opener_may_die_before_it_sends_the_request() -> None:
    assert not absorbs(remembering(replace(OPEN, confirmed=False)), "my-bucket", PHOTOS, START)


def test_no_window_absorbs_near_its_refresh_for_the_refresher_s_clock_may_be_ahead() -> None:
    assert absorbs(remembering(OPEN), "my-bucket", PHOTOS, OPEN.refresh_at - MARGIN_MS - 1)
    assert not absorbs(remembering(OPEN), "my-bucket", PHOTOS, OPEN.refresh_at - MARGIN_MS)


def test_a_folder_that_is_not_in_the_window_is_not_absorbed() -> None:
    assert not absorbs(remembering(OPEN), "my-bucket", frozenset({"/photos", "/videos"}), START)


def test_another_bucket_s_change_is_not_absorbed() -> None:
    assert not absorbs(remembering(OPEN), "other-bucket", PHOTOS, START)


def test_a_window_that_was_closed_or_taken_over_is_forgotten() -> None:
    memo = remembering(OPEN)
    memo.remember(Key.read("my-bucket"), WindowItem(refreshing_id="w1"))
    assert not absorbs(memo, "my-bucket", PHOTOS, START)


def test_the_memo_holds_a_bounded_number_of_buckets_and_drops_the_oldest() -> None:
    memo = Memo()
    for number in range(257):
        memo.remember(Key.read(f"bucket-{number}"), OPEN)
    assert not absorbs(memo, "bucket-0", PHOTOS, START)
    assert absorbs(memo, "bucket-1", PHOTOS, START)


# The same in a warm container, counted in AWS calls.


def aggregate(aggregator: Aggregator, *keys: str, at: int = START) -> None:
    aggregator.aggregate_event(s3_event(*(s3_record(key, at=at) for key in keys)), 30_000)


@pytest.fixture
def calls(world: World) -> list[str]:
    """The operations of every AWS call, as they are made."""
    made: list[str] = []

    def note(model: Any, **_: Any) -> None:
        made.append(model.name)

    for client in (world.dynamodb, world.sqs):
        client.meta.events.register("before-call", note)
    return made


def test_an_absorbed_change_makes_no_call(world: World, calls: list[str]) -> None:
    container = world.aggregator
    aggregate(container, "photos/a.jpg")
    calls.clear()
    for n in range(1000):
        aggregate(container, f"photos/{n}.jpg")
    assert calls == []


@pytest.mark.parametrize("events", [1, 100, 1_000])
def test_a_window_costs_a_call_for_each_folder_and_container_and_none_for_an_event(
    world: World, calls: list[str], events: int
) -> None:
    containers = [world.aggregator for _ in range(4)]
    for n in range(events):
        for container in containers:
            for folder in ("photos", "videos", "music"):
                aggregate(container, f"{folder}/{n}")
    # The window is opened and confirmed, each other folder joins it, and each other container meets it once.
    assert calls.count("SendMessage") == 1
    assert calls.count("UpdateItem") == 2 + 2 + 3


def test_a_second_container_relies_on_a_window_only_once_its_request_is_queued(world: World, calls: list[str]) -> None:
    fail(world.sqs, "SendMessage")
    with pytest.raises(NotFinishedError):
        aggregate(world.aggregator, "photos/a.jpg")
    second = world.aggregator
    aggregate(second, "photos/b.jpg")
    calls.clear()
    aggregate(second, "photos/c.jpg")
    assert calls, "it must ask again: only a later change or the first one's retry will send the request"


def test_a_change_after_the_refresh_opens_the_next_window(world: World) -> None:
    container = world.aggregator
    aggregate(container, "photos/a.jpg")
    world.time += 30_000
    world.windows.close(Key.read("my-bucket"), world.item(), world.time, world.time + 1)
    aggregate(container, "photos/b.jpg", at=world.time)
    assert len(world.sent) == 2


def test_a_window_that_is_due_is_not_even_asked_for(world: World, calls: list[str]) -> None:
    container = world.aggregator
    aggregate(container, "photos/a.jpg")
    world.time += 30_000
    calls.clear()
    aggregate(container, "photos/b.jpg", at=world.time)
    assert calls == ["UpdateItem"], "it finds the window open, for its request has not come yet"


def test_a_failed_change_leaves_nothing_in_the_memo_that_hides_its_retry(world: World) -> None:
    container = world.aggregator
    aggregate(container, "photos/a.jpg")
    fail(world.dynamodb, "UpdateItem")
    with pytest.raises(NotFinishedError):
        aggregate(container, "videos/b.mp4")
    aggregate(container, "videos/b.mp4")
    assert world.item().folders == {"/photos", "/videos"}
