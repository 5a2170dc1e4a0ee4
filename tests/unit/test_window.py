"""The window's operations, each against moto's DynamoDB."""

from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from event_aggregator.folders import EVERYTHING
from event_aggregator.table import Key, WindowItem
from event_aggregator.window import Due, Windows
from tests.unit.conftest import START, World, fail

KEY = Key.read("my-bucket")
DUE = START + 30_000
LEASE = DUE + 10_000
FIXED = Due(DUE)


def open_window(windows: Windows, window_id: str = "w1", key: Key = KEY, **changed: Any) -> WindowItem:
    arguments: dict[str, Any] = {
        "folders": frozenset({"/a"}),
        "owners": ["change-1"],
        "newest_event": START,
        "now": START,
        "since": START,
        "refresh_at": DUE,
        "lease_until": START + 40_000,
    }
    opened, item = windows.open(key, window_id, **(arguments | changed))
    assert opened == (item.window_id == window_id)
    return item


def closed(windows: Windows, now: int = START + 30_000) -> None:
    """A window of /a was opened, confirmed and closed at `now`, and distributed."""
    open_window(windows, "w0")
    assert windows.close(KEY, windows.read(KEY), now, LEASE)
    windows.mark_distributed(KEY, "w0")


def test_a_change_opens_a_window_where_none_is(world: World) -> None:
    item = open_window(world.windows)
    assert item == world.item()
    assert (item.window_id, item.folders, item.refresh_at) == ("w1", frozenset({"/a"}), START + 30_000)


def test_a_second_change_meets_the_open_window(world: World) -> None:
    open_window(world.windows, "w1")
    met = open_window(world.windows, "w2", owners=["change-2"], folders=frozenset({"/b"}))
    assert met == world.item()
    assert met.window_id == "w1"


def test_the_retry_of_the_change_that_opened_it_takes_the_window_over_with_its_folders(world: World) -> None:
    open_window(world.windows, "w1", folders=frozenset({"/a", "/b"}))
    item = open_window(world.windows, "w2", owners=["change-0", "change-1"])
    assert item.window_id == "w2"
    assert item.folders == {"/a", "/b"}


def test_once_its_request_is_queued_nobody_takes_it_over_by_name(world: World) -> None:
    open_window(world.windows, "w1")
    world.windows.confirm(KEY, "w1", START + 1_000_000)
    assert open_window(world.windows, "w2").window_id == "w1"


def test_a_window_past_its_lease_is_taken_over_with_its_folders(world: World) -> None:
    open_window(world.windows, "w1", lease_until=START + 40_000)
    still = open_window(world.windows, "w2", owners=["change-2"], now=START + 40_000)
    assert still.window_id == "w1"
    item = open_window(world.windows, "w3", owners=["change-2"], folders=frozenset({"/b"}), now=START + 40_001)
    assert item.window_id == "w3"
    assert item.folders == {"/a", "/b"}


def test_a_confirmation_that_comes_after_a_take_over_is_without_effect(world: World) -> None:
    open_window(world.windows, "w1")
    open_window(world.windows, "w2")  # by the same change: its first try was slow, not dead
    world.windows.confirm(KEY, "w1", START + 1_000_000)
    assert open_window(world.windows, "w3").window_id == "w3", "w2 must still be known as unconfirmed"


def test_folders_join_the_window_that_was_met(world: World) -> None:
    item = open_window(world.windows)
    assert world.windows.join(KEY, item, frozenset({"/b"}), START, FIXED)
    assert world.item().folders == {"/a", "/b"}


def test_nothing_joins_a_window_that_was_closed_meanwhile(world: World) -> None:
    item = open_window(world.windows)
    world.windows.close(KEY, item, DUE, LEASE)
    assert world.windows.join(KEY, item, frozenset({"/b"}), START, FIXED) is None
    assert world.item().folders == frozenset()


@pytest.mark.parametrize("folders", [[f"/{n}" for n in range(151)], [f"/{n}{'x' * 1000}" for n in range(17)]])
def test_a_window_of_too_many_folders_or_bytes_holds_everything_instead(world: World, folders: list[str]) -> None:
    item = open_window(world.windows)
    assert world.windows.join(KEY, item, frozenset(folders), START, FIXED)
    assert world.item().folders == {EVERYTHING}
    assert world.item().holds(frozenset({"/anything"}))


# Each is as much as a window keeps, and one folder more is too much.
FULL = [
    pytest.param([f"/{n}" for n in range(150)], id="150 folders"),
    pytest.param([f"/{n:02}{'x' * 1021}" for n in range(16)], id="16,384 bytes"),
]


@pytest.mark.parametrize("folders", FULL)
def test_a_window_keeps_as_many_folders_and_bytes_as_it_may(world: World, folders: list[str]) -> None:
    open_window(world.windows, folders=frozenset(folders))
    assert world.item().folders == frozenset(folders)


@pytest.mark.parametrize("folders", FULL)
def test_a_container_that_knows_less_than_is_there_cannot_make_a_window_too_large(
    world: World, folders: list[str]
) -> None:
    seen = open_window(world.windows, folders=frozenset(folders[:1]))
    assert world.windows.join(KEY, seen, frozenset(folders), START, FIXED)
    joined = world.windows.join(KEY, seen, frozenset({"/more"}), START, FIXED)
    assert joined == world.item()
    assert world.item().folders == {EVERYTHING}
    assert world.item().window_id == "w1"


@pytest.mark.parametrize("folders", FULL)
def test_a_window_that_is_taken_over_with_more_than_it_may_keep_holds_everything(
    world: World, folders: list[str]
) -> None:
    open_window(world.windows, "w1", folders=frozenset(folders))
    item = open_window(world.windows, "w2", folders=frozenset({"/more"}))
    assert item == world.item()
    assert item.folders == {EVERYTHING}
    assert item.window_id == "w2"
    assert not item.confirmed


@pytest.mark.parametrize("folders", FULL)
def test_a_refresh_that_takes_over_more_than_an_item_may_keep_is_of_everything(
    world: World, folders: list[str]
) -> None:
    open_window(world.windows, "w1", folders=frozenset(folders))
    world.windows.close(KEY, world.item(), DUE, LEASE)
    open_window(world.windows, "w2", folders=frozenset({"/more"}), newest_event=DUE)
    item = world.windows.close(KEY, world.item(), DUE, LEASE)
    assert item == world.item()
    assert item.refreshed_folders == {EVERYTHING}
    assert item.refreshing_id == "w2"


def test_a_window_whose_last_writer_died_before_it_was_cut_is_closed_as_everything(world: World) -> None:
    seen = open_window(world.windows)
    assert world.windows.join(KEY, seen, frozenset(f"/{n}" for n in range(149)), START, FIXED)
    fail(world.dynamodb, "UpdateItem", after=1)
    with pytest.raises(EndpointConnectionError):
        world.windows.join(KEY, seen, frozenset({"/more"}), START, FIXED)
    assert len(world.item().folders) == 151
    item = world.windows.close(KEY, world.item(), DUE, LEASE)
    assert item == world.item()
    assert item.refreshed_folders == {EVERYTHING}


def test_what_an_earlier_refresh_covered_is_forgotten_when_the_next_window_is_confirmed(world: World) -> None:
    closed(world.windows)
    opened = open_window(world.windows, "w1", folders=frozenset({"/b"}), newest_event=DUE)
    assert opened.refreshed_folders == {"/a"}
    item = world.windows.confirm(KEY, "w1", LEASE, opened)
    assert item == world.item()
    assert (item.confirmed, item.lease_until) == (True, LEASE)
    assert (item.folders, item.refreshed_folders) == (frozenset({"/b"}), frozenset())


def test_the_folders_of_an_unfinished_refresh_are_kept_when_the_next_window_is_confirmed(world: World) -> None:
    world.windows.close(KEY, open_window(world.windows, "w0"), DUE, LEASE)
    opened = open_window(world.windows, "w1", folders=frozenset({"/b"}), newest_event=DUE)
    item = world.windows.confirm(KEY, "w1", LEASE + 1, opened)
    assert item == world.item()
    assert (item.confirmed, item.lease_until) == (True, LEASE + 1)
    assert (item.refreshing_id, item.refreshed_folders) == ("w0", frozenset({"/a"}))


def test_a_window_whose_refresh_began_before_it_was_confirmed_keeps_its_folders(world: World) -> None:
    closed(world.windows)
    opened = open_window(world.windows, "w1", folders=frozenset({"/b"}), newest_event=DUE)
    world.windows.close(KEY, opened, DUE, LEASE)
    item = world.windows.confirm(KEY, "w1", LEASE + 1, opened)
    assert item == world.item()
    assert (item.refreshing_id, item.refreshed_folders, item.lease_until) == ("w1", frozenset({"/b"}), LEASE + 1)


def test_the_opener_of_a_window_that_was_taken_over_and_is_refreshed_forgets_nothing(world: World) -> None:
    closed(world.windows)
    opened = open_window(world.windows, "w1", folders=frozenset({"/b"}), newest_event=DUE)
    world.windows.close(KEY, open_window(world.windows, "w2", newest_event=DUE), DUE, LEASE)
    before = world.item()
    world.windows.confirm(KEY, "w1", LEASE + 1, opened)
    assert world.item() == before
    assert before.refreshed_folders == {"/a", "/b"}


def test_closing_moves_the_folders_to_the_refresh(world: World) -> None:
    open_window(world.windows)
    item = world.windows.close(KEY, world.item(), DUE, LEASE)
    assert item == world.item()
    assert item == WindowItem(
        refreshing_id="w1",
        refreshed_folders=frozenset({"/a"}),
        refreshed_since=START,
        refresh_started_at=DUE,
        lease_until=LEASE,
    )


def test_a_window_is_not_closed_before_it_is_due(world: World) -> None:
    item = open_window(world.windows)
    assert world.windows.close(KEY, item, DUE - 1, LEASE) is None


def test_a_window_that_was_moved_later_meanwhile_is_not_closed(world: World) -> None:
    """A warm container relies on the later RefreshAt, and absorbs changes until then."""
    seen = open_window(world.windows)
    world.windows.join(KEY, seen, frozenset({"/a"}), DUE - 1, Due(DUE + 20_000, longest=600_000))
    assert world.windows.close(KEY, seen, DUE, LEASE) is None


def test_joining_moves_a_window_later_and_never_earlier(world: World) -> None:
    item = open_window(world.windows)
    for due, refresh_at in ((Due(DUE + 5, longest=600_000), DUE + 5), (Due(DUE, longest=600_000), DUE + 5)):
        # With an item that is out of date, as another container may have it.
        after = world.windows.join(KEY, item, frozenset({"/a"}), START, due)
        assert after
        assert after.refresh_at == world.item().refresh_at == refresh_at


def test_a_window_is_moved_no_further_than_its_longest_time(world: World) -> None:
    item = open_window(world.windows)
    after = world.windows.join(KEY, item, frozenset({"/a"}), START, Due(DUE + 600_000, longest=60_000))
    assert after
    assert after.refresh_at == START + 60_000


def test_a_window_of_a_fixed_delay_is_not_moved(world: World) -> None:
    item = open_window(world.windows)
    assert Due(DUE + 600_000).is_met_by(item)
    assert Due(DUE + 600_000).moved_refresh_at(item) == DUE


def test_a_taken_over_window_keeps_the_time_of_its_first_change(world: World) -> None:
    open_window(world.windows, "w1", since=START)
    assert open_window(world.windows, "w2", since=START + 9_000).opened_at == START


def test_renewing_the_lease_of_a_refresh_leaves_the_window_that_was_opened_meanwhile_alone(world: World) -> None:
    world.windows.close(KEY, open_window(world.windows, "w1"), DUE, LEASE)
    open_window(world.windows, "w2", newest_event=DUE, lease_until=START + 50_000)
    world.windows.confirm(KEY, "w1", START + 1_000_000)
    assert not world.item().confirmed


def test_folders_that_are_taken_over_again_and_again_become_everything(world: World) -> None:
    for number in range(4):
        folders = frozenset(f"/{number}/{n}" for n in range(50))
        item = open_window(world.windows, f"w{number}", folders=folders, newest_event=DUE)
        world.windows.close(KEY, item, DUE, LEASE)
    assert world.item().refreshed_folders == {EVERYTHING}


def test_a_window_is_closed_once(world: World) -> None:
    item = open_window(world.windows)
    assert world.windows.close(KEY, item, DUE, LEASE)
    assert world.windows.close(KEY, item, DUE, LEASE) is None


def test_closing_takes_over_the_folders_of_a_window_that_was_never_distributed(world: World) -> None:
    open_window(world.windows, "w1", folders=frozenset({"/a"}))
    world.windows.close(KEY, world.item(), DUE, LEASE)
    open_window(world.windows, "w2", folders=frozenset({"/b"}), newest_event=DUE)
    item = world.windows.close(KEY, world.item(), DUE, LEASE)
    assert item
    assert item.refreshing_id == "w2"
    assert item.refreshed_folders == {"/a", "/b"}


def test_a_window_that_was_taken_over_cannot_be_marked_as_distributed(world: World) -> None:
    open_window(world.windows, "w1")
    world.windows.close(KEY, world.item(), DUE, LEASE)
    open_window(world.windows, "w2", newest_event=DUE)
    world.windows.close(KEY, world.item(), DUE, LEASE)
    world.windows.mark_distributed(KEY, "w1")
    assert world.item().refreshing_id == "w2"


@pytest.mark.parametrize(
    ("folders", "change_before_refresh", "is_covered"),
    [
        ({"/a"}, 5_001, True),
        ({"/a"}, 5_000, False),  # within the margin for clock skew
        ({"/b"}, 60_000, False),
        ({"/a", "/b"}, 60_000, False),
    ],
)
def test_a_late_change_is_covered_only_by_a_refresh_of_its_folder_that_began_well_after_it(
    world: World, folders: set[str], change_before_refresh: int, is_covered: bool
) -> None:
    closed(world.windows, now=START + 100_000)
    changed_at = START + 100_000 - change_before_refresh
    item = open_window(world.windows, "w1", folders=frozenset(folders), newest_event=changed_at)
    assert (item.window_id is None) == is_covered


def test_a_refresh_of_everything_covers_every_folder(world: World) -> None:
    open_window(world.windows, "w0", folders=frozenset({EVERYTHING}))
    world.windows.close(KEY, world.item(), START + 100_000, LEASE)
    assert open_window(world.windows, "w1", folders=frozenset({"/x", "/y"})).window_id is None


def test_what_is_handed_to_a_share_is_never_taken_for_covered(world: World) -> None:
    closed(world.windows, now=START + 100_000)
    assert open_window(world.windows, "w1", newest_event=None).window_id == "w1"


def test_an_error_that_is_no_failed_condition_is_raised(world: World) -> None:
    with pytest.raises(world.dynamodb.exceptions.ResourceNotFoundException):
        Windows(world.dynamodb, "no-such-table").mark_distributed(KEY, "w1")


# An item stays small: writes are charged by what it holds


def many(number: int, start: str = "") -> frozenset[str]:
    return frozenset(f"/{start}{n}" for n in range(number))


def test_a_window_that_is_opened_with_too_many_folders_holds_everything(world: World) -> None:
    assert open_window(world.windows, folders=many(151)).folders == {EVERYTHING}
    assert world.item().folders == {EVERYTHING}


def test_a_window_of_as_many_folders_as_are_kept_holds_them(world: World) -> None:
    assert open_window(world.windows, folders=many(150)).folders == many(150)


def test_a_window_that_is_taken_over_with_more_folders_than_are_kept_holds_everything(world: World) -> None:
    open_window(world.windows, "w1", folders=many(100))
    assert open_window(world.windows, "w2", folders=many(100, "b")).folders == {EVERYTHING}
    assert world.item().folders == {EVERYTHING}
    assert world.item().window_id == "w2"


def test_joining_by_a_container_that_knows_less_than_is_there_leaves_no_more_than_is_kept(world: World) -> None:
    known = open_window(world.windows, folders=many(10))
    assert world.windows.join(KEY, known, many(100, "b"), START, FIXED)
    joined = world.windows.join(KEY, known, many(100, "c"), START, FIXED)
    assert joined
    assert joined.folders == {EVERYTHING}
    assert world.item() == joined


def test_a_window_that_is_closed_while_it_is_cut_leaves_the_next_window_alone(world: World) -> None:
    known = open_window(world.windows, folders=many(10))
    assert world.windows.join(KEY, known, many(100, "b"), START, FIXED)
    writes = 0

    def close_before_the_cut(**_: Any) -> None:
        nonlocal writes
        writes += 1
        if writes == 2:
            world.windows.close(KEY, world.item(), DUE, LEASE)
            open_window(world.windows, "w2", folders=frozenset({"/next"}), newest_event=DUE)

    world.dynamodb.meta.events.register("provide-client-params.dynamodb.UpdateItem", close_before_the_cut)
    assert world.windows.join(KEY, known, many(100, "c"), START, FIXED)
    assert world.item().folders == {"/next"}
    assert world.item().refreshed_folders == {EVERYTHING}


def test_a_window_that_was_never_cut_is_refreshed_as_everything(world: World) -> None:
    """Whoever joined it died before the cut."""
    open_window(world.windows, folders=many(100))
    values = {":more": {"SS": sorted(many(100, "b"))}}
    world.dynamodb.update_item(
        TableName=world.table,
        Key={"BucketName": {"S": str(KEY)}},
        UpdateExpression="ADD Folders :more",
        ExpressionAttributeValues=values,
    )
    item = world.windows.close(KEY, world.item(), DUE, LEASE)
    assert item
    assert item.refreshed_folders == {EVERYTHING}
    assert world.item() == item


def test_what_an_earlier_refresh_covered_is_forgotten_once_the_next_window_has_its_request(world: World) -> None:
    closed(world.windows)
    opened = open_window(world.windows, "w1", newest_event=DUE)
    assert opened.refreshed_folders == {"/a"}
    confirmed = world.windows.confirm(KEY, "w1", LEASE, opened)
    assert confirmed == world.item()
    assert (confirmed.confirmed, confirmed.lease_until) == (True, LEASE)
    assert confirmed.refreshed_folders == frozenset()


def test_the_folders_of_a_refresh_that_is_not_finished_are_kept_through_the_next_window(world: World) -> None:
    world.windows.close(KEY, open_window(world.windows, "w0"), DUE, LEASE)
    opened = open_window(world.windows, "w1", newest_event=DUE, folders=frozenset({"/b"}))
    confirmed = world.windows.confirm(KEY, "w1", LEASE, opened)
    assert (confirmed.confirmed, confirmed.refreshing_id) == (True, "w0")
    assert confirmed.refreshed_folders == {"/a"}
    closed_both = world.windows.close(KEY, world.item(), DUE + 30_000, LEASE)
    assert closed_both
    assert closed_both.refreshed_folders == {"/a", "/b"}


def test_a_refresh_that_begins_while_the_next_window_is_confirmed_keeps_its_folders(world: World) -> None:
    """A confirmation that is late: its window is due and closed already."""
    closed(world.windows, now=DUE)
    opened = open_window(world.windows, "w1", newest_event=DUE, refresh_at=DUE + 1, folders=frozenset({"/b"}))
    closing = [True]

    def close_first(**_: Any) -> None:
        if closing:
            closing.clear()
            world.windows.close(KEY, world.item(), DUE + 1, LEASE)

    world.dynamodb.meta.events.register("provide-client-params.dynamodb.UpdateItem", close_first)
    confirmed = world.windows.confirm(KEY, "w1", LEASE + 9, opened)
    assert (confirmed.refreshing_id, confirmed.window_id) == ("w1", None)
    assert confirmed.refreshed_folders == {"/b"}
    assert confirmed.lease_until == LEASE + 9
