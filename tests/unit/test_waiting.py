"""What waits for a file share, each operation against moto's DynamoDB."""

from collections.abc import Callable
from typing import Any

import pytest

from event_aggregator.folders import EVERYTHING
from event_aggregator.table import Key
from event_aggregator.waiting import ChangedFolders, ShareItem
from tests.unit.conftest import START, World
from tests.unit.shares import share

KEY = Key.read("my-bucket/share-1")
A, B = ChangedFolders(frozenset({"/a"}), START, "w1"), ChangedFolders(frozenset({"/b"}), START + 9_000, "w2")


def add(world: World, changes: ChangedFolders, addition: str = "first", **reason: str) -> None:
    world.waiting.add(KEY, share(), changes, addition, **reason)


def before_write(world: World, do: Callable[[], object]) -> None:
    """Do something once, when the next write is about to be made."""
    todo = [do]

    def instead(**_: Any) -> None:
        if todo:
            todo.pop()()

    world.dynamodb.meta.events.register("provide-client-params.dynamodb.UpdateItem", instead)


def test_what_is_added_waits_with_what_is_needed_to_ask_the_share(world: World) -> None:
    add(world, A)
    waits = world.waits()
    assert waits.changes == A
    assert (waits.arn, waits.kind, waits.gateway) == (share().arn, "NFS", share().gateway_arn)
    assert waits.reason is None


def test_what_is_added_later_keeps_the_time_and_the_window_of_the_first_change(world: World) -> None:
    add(world, A)
    add(world, B, "second")
    assert world.waits().changes == ChangedFolders(frozenset({"/a", "/b"}), START, "w1")


def test_why_a_share_cannot_be_asked_now_is_kept(world: World) -> None:
    add(world, A, reason="it is UPDATING")
    assert world.waits().reason == "it is UPDATING"
    add(world, B, "second")
    assert world.waits().reason == "it is UPDATING"


@pytest.mark.parametrize("folders", [[f"/{n}" for n in range(151)], [f"/{n}{'x' * 1000}" for n in range(17)]])
def test_too_many_folders_or_bytes_become_everything(world: World, folders: list[str]) -> None:
    add(world, A)
    add(world, ChangedFolders(frozenset(folders), START, "w1"), "second")
    assert world.waits().folders == {EVERYTHING}
    assert world.waits().changes == ChangedFolders(frozenset({EVERYTHING}), START, "w1")


def test_what_is_added_while_too_many_folders_are_cut_is_not_lost(world: World) -> None:
    add(world, ChangedFolders(frozenset(f"/{n}" for n in range(150)), START, "w1"))
    writes = 0

    def add_meanwhile(**_: Any) -> None:
        nonlocal writes
        writes += 1
        if writes == 2:  # the cut
            item = world.waiting.close(KEY, world.waits())
            world.waiting.remove_closed(KEY, str(item.refreshing_id), keep_folders=False)
            add(world, ChangedFolders(frozenset({"/late"}), START, "w3"), "third")

    world.dynamodb.meta.events.register("provide-client-params.dynamodb.UpdateItem", add_meanwhile)
    add(world, B, "second")
    assert world.waits().folders == {"/late"}


def test_closing_moves_all_that_waits_to_what_the_share_is_asked_for(world: World) -> None:
    add(world, A)
    item = world.waiting.close(KEY, world.waits())
    assert item == world.waits()
    assert (item.window_id, item.folders) == (None, frozenset())
    assert (item.refreshing_id, item.refreshed_folders) == ("first", A.folders)
    assert item.changes == A


def test_what_comes_after_the_close_waits_beside_what_is_asked_for(world: World) -> None:
    add(world, A)
    world.waiting.close(KEY, world.waits())
    add(world, B, "second")
    assert (world.waits().refreshed_folders, world.waits().folders) == (A.folders, B.folders)
    assert world.waits().changes == ChangedFolders(frozenset({"/a", "/b"}), START, "w1")


def test_closing_again_takes_what_a_share_refused_and_what_came_since(world: World) -> None:
    add(world, A)
    world.waiting.close(KEY, world.waits())
    add(world, B, "second")
    item = world.waiting.close(KEY, world.waits())
    assert (item.refreshing_id, item.refreshed_folders) == ("second", A.folders | B.folders)
    assert (item.refreshed_since, item.refreshed_for) == (START, "w1")


def test_what_a_share_refused_is_closed_without_a_write_if_nothing_came_since(world: World) -> None:
    add(world, A)
    item = world.waiting.close(KEY, world.waits())
    before_write(world, lambda: pytest.fail("it is closed already"))
    assert world.waiting.close(KEY, item) == item


def test_what_is_added_while_the_window_is_closed_is_closed_with_it(world: World) -> None:
    add(world, A)
    before_write(world, lambda: add(world, B, "second"))
    assert world.waiting.close(KEY, world.waits()).refreshed_folders == {"/a", "/b"}
    assert world.waits().folders == frozenset()


def test_too_many_folders_in_the_two_of_them_are_closed_as_everything(world: World) -> None:
    for number in range(2):
        add(world, ChangedFolders(frozenset(f"/{number}/{n}" for n in range(100)), START, "w1"), f"addition-{number}")
        world.waiting.close(KEY, world.waits())
    assert world.waits().refreshed_folders == {EVERYTHING}


def test_nothing_is_closed_where_nothing_waits(world: World) -> None:
    assert world.waiting.close(KEY, world.waits()) == ShareItem()


def test_what_was_accepted_is_done_with_all_that_was_noted_of_refusals(world: World) -> None:
    add(world, A)
    world.waiting.close(KEY, world.waits())
    world.waiting.refused(KEY, "busy", unclear=2, widen=True)
    assert (world.waits().reason, world.waits().unclear, world.waits().widen) == ("busy", 2, True)
    world.waiting.remove_closed(KEY, "first", keep_folders=False)
    assert world.waits() == ShareItem(
        refreshed_since=START, refreshed_for="w1", arn=share().arn, kind="NFS", gateway=share().gateway_arn
    )


def test_the_folders_of_an_accepted_refresh_are_kept_if_it_may_have_to_be_repeated(world: World) -> None:
    add(world, A)
    world.waiting.close(KEY, world.waits())
    world.waiting.remove_closed(KEY, "first", keep_folders=True)
    assert world.waits().changes is None
    assert (world.waits().refreshed_folders, world.waits().refreshed_for) == (A.folders, "w1")


def test_removing_what_was_closed_again_meanwhile_changes_nothing(world: World) -> None:
    add(world, A)
    world.waiting.close(KEY, world.waits())
    add(world, B, "second")
    world.waiting.close(KEY, world.waits())
    world.waiting.remove_closed(KEY, "first", keep_folders=False)
    assert world.waits().refreshing_id == "second"


@pytest.mark.parametrize("widen", [False, True])
def test_a_refusal_is_noted_before_and_after_the_close(world: World, widen: bool) -> None:
    add(world, A)
    for _ in range(2):
        world.waiting.refused(KEY, "busy", unclear=1, widen=widen)
        waits = world.waits()
        assert (waits.reason, waits.unclear, waits.widen) == ("busy", 1, widen)
        waits = world.waiting.close(KEY, waits)
        assert (waits.reason, waits.unclear, waits.widen) == ("busy", 1, widen)
        world.waiting.refused(KEY, "", unclear=0, widen=False)


def test_a_refusal_is_not_noted_where_nothing_waits(world: World) -> None:
    world.waiting.refused(KEY, "busy", unclear=1)
    assert world.waits() == ShareItem()


def test_a_share_that_is_forgotten_leaves_nothing(world: World) -> None:
    add(world, A)
    world.waiting.forget(KEY)
    assert world.waits() == ShareItem()
