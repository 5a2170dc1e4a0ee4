"""What one refresh makes the gateway do: a LIST for each 1,000 entries of a folder, and a HEAD for each object in it,
as the simulated share counts them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from dev.local.gateway import Share, list_keys
from event_aggregator.folders import folder_of, next_round

OBJECTS_A_FOLDER = 100
DEPTH = 3  # of the folders that hold objects


@dataclass(frozen=True)
class Cost:
    lists: int
    heads: int
    calls: int = 1  # of RefreshCache


@dataclass(frozen=True)
class Scope:
    """One change in a bucket of `objects`: a refresh of what changed, and one of the whole share."""

    objects: int
    changed: Cost
    share: Cost


@dataclass(frozen=True)
class Spread:
    """Changes in so many folders of one bucket."""

    folders: int
    objects: int
    changed: Cost


def bucket(objects: int) -> list[str]:
    """Keys in a tree of three levels, sorted: 100 objects a folder, ten folders in ten in as many as it takes."""
    return sorted(
        f"{folder // 100:04}/{folder // 10 % 10}/{folder % 10}/{number:02}"
        for folder in range(objects // OBJECTS_A_FOLDER)
        for number in range(OBJECTS_A_FOLDER)
    )


def by_size(sizes: Iterable[int]) -> Iterator[Scope]:
    for size in sizes:
        keys = bucket(size)
        share = _share(keys)
        share.refresh()
        yield Scope(size, refreshed(keys, keys[:1]), Cost(share.lists, share.heads))


def by_spread(objects: int, folders: Iterable[int]) -> Iterator[Spread]:
    """The changed folders lie as far from each other as they can."""
    keys = bucket(objects)
    for number in folders:
        yield Spread(number, objects, refreshed(keys, keys[:: len(keys) // number][:number]))


def refreshed(keys: list[str], changed: list[str]) -> Cost:
    """What a refresh of the folders of `changed` costs, in all the rounds that it takes."""
    share = _share(keys)
    for key in changed:
        share.listing(key.rpartition("/")[0])  # a client has looked, so that the folder is cached
    left, calls = frozenset(folder_of(key) for key in changed), 0
    while left:
        round_ = next_round(left, share.prefix)
        share.refresh(round_.folder_list, recursive=round_.recursive)
        left, calls = round_.left, calls + 1
    return Cost(share.lists, share.heads, calls)


def _share(keys: list[str]) -> Share:
    return Share(partial(list_keys, keys))
