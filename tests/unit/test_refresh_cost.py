"""What a refresh costs a gateway in LISTs and HEADs: it depends on what changed, and not on how much there is."""

from bisect import insort
from functools import cache, partial

import pytest

from dev.local.gateway import NOT_CACHED, Refusal, Share, list_keys
from event_aggregator.folders import folder_of, next_round, shown

Uncached = Refusal | None


@cache
def bucket(size: int) -> tuple[str, ...]:
    """`size` times 100,000 objects in 1,000 folders: 10 at the top, 9 in each, 10 in each of these, 100 objects in all.

    At size 1 the ten at the top are called 00 to 09, at size 10 there are 90 more.
    """
    folders: list[str] = []
    for top in range(10 * size):
        folders.append(f"{top:02}")
        for middle in range(9):
            folders.append(f"{top:02}/{middle}")
            folders += [f"{top:02}/{middle}/{bottom}" for bottom in range(10)]
    return tuple(sorted(f"{folder}/{number:02}.jpg" for folder in folders for number in range(100)))


def cost_of_a_refresh(share: Share, *changed: str) -> tuple[int, int]:
    """LISTs and HEADs of all the calls that these changes take."""
    lists, heads = share.lists, share.heads
    folders = shown({folder_of(key) for key in changed}, share.prefix)
    while folders:
        round_ = next_round(folders, share.prefix)
        share.refresh(round_.folder_list, recursive=round_.recursive)
        folders = round_.left
    return share.lists - lists, share.heads - heads


BOTH_KINDS = pytest.mark.parametrize("uncached", [None, NOT_CACHED], ids=["ignored", "refused"])
BOTH_SIZES = pytest.mark.parametrize("size", [1, 10])


@BOTH_SIZES
@BOTH_KINDS
@pytest.mark.parametrize(
    ("folder", "lists", "heads"), [("", 1, 1), ("05", 2, 101), ("05/4", 3, 201), ("05/4/3", 4, 301)]
)
def test_a_new_object_costs_a_list_a_level_and_a_head_for_each_object_on_the_way(
    size: int, uncached: Uncached, folder: str, lists: int, heads: int
) -> None:
    keys = list(bucket(size))
    share = Share(partial(list_keys, keys), uncached=uncached)
    share.listing(folder)  # a client has been there

    new = f"{folder}/new.jpg".lstrip("/")
    insort(keys, new)

    assert cost_of_a_refresh(share, new) == (lists, heads)
    assert "new.jpg" in share.listing(folder).files


@BOTH_SIZES
@BOTH_KINDS
def test_on_a_prefix_it_costs_what_lies_below(size: int, uncached: Uncached) -> None:
    keys = list(bucket(size))
    share = Share(partial(list_keys, keys), "05/4/", uncached)
    share.listing("3")

    insort(keys, "05/4/3/new.jpg")

    assert cost_of_a_refresh(share, "05/4/3/new.jpg") == (2, 201)
    assert "new.jpg" in share.listing("3").files


@BOTH_SIZES
@BOTH_KINDS
def test_a_change_outside_the_prefix_costs_nothing(size: int, uncached: Uncached) -> None:
    keys = list(bucket(size))
    share = Share(partial(list_keys, keys), "05/4/", uncached)
    share.listing("3")

    assert cost_of_a_refresh(share, "05/new.jpg", "05/40/new.jpg", "new.jpg") == (0, 0)


@BOTH_SIZES
@BOTH_KINDS
def test_a_folder_that_vanishes_costs_no_more_than_one_that_changes(size: int, uncached: Uncached) -> None:
    keys = list(bucket(size))
    insort(keys, "05/4/last/one.jpg")
    share = Share(partial(list_keys, keys), uncached=uncached)
    share.listing("05/4/last")

    keys.remove("05/4/last/one.jpg")

    assert cost_of_a_refresh(share, "05/4/last/one.jpg") == (4, 200)
    assert "last" not in share.listing("05/4").folders


@BOTH_SIZES
def test_a_new_folder_costs_the_levels_above_it(size: int) -> None:
    keys = list(bucket(size))
    share = Share(partial(list_keys, keys))
    share.listing("05/4")

    insort(keys, "05/4/new/one.jpg")

    assert cost_of_a_refresh(share, "05/4/new/one.jpg") == (3, 200)
    assert share.listing("05/4/new").files == {"one.jpg"}


@BOTH_KINDS
def test_refreshing_everything_would_cost_a_list_a_folder_and_a_head_an_object(uncached: Uncached) -> None:
    share = Share(partial(list_keys, bucket(1)), uncached=uncached)
    share.refresh(["/"], recursive=True)
    assert (share.lists, share.heads) == (1_001, 100_000)
