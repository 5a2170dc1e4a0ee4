"""The changes of a bucket over time, and what its folders hold, in arrays: ten million changes take 160 MB.

Times are epoch milliseconds. A folder is written as the functions write it: `/` the root, `/a/b`.
"""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from event_aggregator.folders import Round, shown

Ints = NDArray[Any]

LIST_PAGE = 1000
DAY_MS = 86_400_000

# Changes of one folder that follow each other within this are one upload.
UPLOAD_PAUSE_MS = 60_000


@dataclass(frozen=True)
class Piece:
    """Some changes, in any order: when, in which of `names`, and a checksum of the key."""

    times: Ints
    folders: Ints
    checksums: Ints
    names: Sequence[str]


@dataclass(frozen=True)
class Requests:
    """What a gateway asks of S3: a LIST for each 1,000 entries, a HEAD for each object."""

    lists: int = 0
    heads: int = 0

    def __add__(self, other: "Requests") -> "Requests":
        return Requests(self.lists + other.lists, self.heads + other.heads)


class Contents:
    """What a refresh reads of each folder, given how many objects lie in each: what they name, and above it."""

    def __init__(self, objects: dict[str, int]) -> None:
        folders = set(objects)
        for folder in objects:
            while folder != "/":
                folder = folder.rpartition("/")[0] or "/"  # noqa: PLW2901 - up to the root
                if folder in folders:
                    break
                folders.add(folder)
        subfolders = Counter(folder.rpartition("/")[0] or "/" for folder in folders if folder != "/")
        in_order = sorted(folders)
        heads = [objects.get(folder, 0) for folder in in_order]
        lists = [
            max(1, -(-(number + subfolders[folder]) // LIST_PAGE))
            for folder, number in zip(in_order, heads, strict=True)
        ]
        self._in_order = in_order
        self._lists, self._heads = [0, *accumulate(lists)], [0, *accumulate(heads)]

    def below(self, folder: str) -> Requests:
        """A refresh of the folder with everything in it."""
        inside = f"{folder.rstrip('/')}/"
        first, last = bisect_left(self._in_order, inside), bisect_left(self._in_order, f"{inside[:-1]}0")
        return self._between(first, last) if folder == "/" else self.alone(folder) + self._between(first, last)

    def alone(self, folder: str) -> Requests:
        """A refresh of the folder only; one that holds nothing that is known is listed all the same."""
        first, last = bisect_left(self._in_order, folder), bisect_right(self._in_order, folder)
        return self._between(first, last) if first < last else Requests(lists=1)

    def of(self, round_: Round, prefix: str) -> Requests:
        """A RefreshCache call for a share on `prefix`."""
        read = self.below if round_.recursive else self.alone
        return sum((read(folder_in(prefix, name)) for name in round_.folder_list), Requests())

    def _between(self, first: int, last: int) -> Requests:
        return Requests(self._lists[last] - self._lists[first], self._heads[last] - self._heads[first])


def folder_in(prefix: str, name: str) -> str:
    """The bucket's folder that RefreshCache calls `name` at a share on `prefix`."""
    return f"/{prefix}{name}" if name != "/" else f"/{prefix[:-1]}"


@dataclass(frozen=True)
class Trace:
    """Changes in the order of their times; `folders` are numbers in `names`."""

    times: Ints
    folders: Ints
    names: Sequence[str]
    contents: Contents
    objects: int  # that the bucket holds, as far as they were named

    @property
    def days(self) -> float:
        """How long it goes on, an hour at least."""
        return max(int(self.times[-1] - self.times[0]), 3_600_000) / DAY_MS

    @cached_property
    def by_folder(self) -> Ints:
        """The changes' places in time, folder after folder, each in the order of time."""
        return np.argsort(self.folders, kind="stable").astype(np.int32)

    @cached_property
    def previous(self) -> Ints:
        """The change before each in the same folder, -1 for none: so that a slice's folders are found in one look."""
        order, before = self.by_folder, np.full(len(self.times), -1, np.int32)
        same = self.folders[order[1:]] == self.folders[order[:-1]]
        before[order[1:][same]] = order[:-1][same]
        return before

    @cached_property
    def starts(self) -> Ints:
        """Where each folder's changes begin in `by_folder`, and where the last one's end."""
        return np.concatenate([[0], np.cumsum(np.bincount(self.folders, minlength=len(self.names)))])

    @cached_property
    def span(self) -> int:
        """More than any time of the trace, or of its refreshes, from its begin: what tells folder from folder."""
        return int(self.times[-1] - self.times[0]) + 30 * DAY_MS

    @cached_property
    def in_folders(self) -> Ints:
        """`folder * span + time since the begin`, ascending: the changes as `by_folder` has them."""
        order = self.by_folder
        keys: Ints = self.folders[order].astype(np.int64) * self.span + (self.times[order] - self.times[0])
        return keys

    @cached_property
    def uploads(self) -> tuple[Ints, Ints, Ints]:
        """Changes of a folder without a pause of a minute, of more than one moment: folder, first and last time."""
        keys = self.in_folders
        cuts = np.flatnonzero(np.diff(keys) > UPLOAD_PAUSE_MS)
        first, last = keys[np.concatenate([[0], cuts + 1])], keys[np.concatenate([cuts, [len(keys) - 1]])]
        long = last > first
        begin = int(self.times[0])
        return first[long] // self.span, first[long] % self.span + begin, last[long] % self.span + begin

    def prepare(self) -> None:
        """Make now what each replay needs, once for all of them."""
        _ = self.previous, self.in_folders, self.starts, self.uploads

    def shown(self, prefix: str) -> Ints:
        """Of each folder, whether a share on `prefix` shows it."""
        if not prefix:
            return np.ones(len(self.names), bool)
        return np.array([bool(shown([name], prefix)) for name in self.names])

    def changed(self, first: int, end: int) -> Ints:
        """The folders of the changes from `first` to before `end`, each once."""
        folders: Ints = self.folders[first:end][self.previous[first:end] < first]
        return folders


def assemble(pieces: Iterable[Piece], days: float) -> Trace:
    """The trace of the last `days` of the pieces; what lies before is known to be in the bucket. At least one change.

    An object is counted once, however often it was written; one that was deleted, too.
    """
    numbers: dict[str, int] = {}
    times, folders, checksums = [], [], []
    for piece in pieces:
        known = np.array([numbers.setdefault(name, len(numbers)) for name in piece.names], np.int32)
        times.append(piece.times)
        folders.append(known[piece.folders])
        checksums.append(piece.checksums)
    when, where = np.concatenate(times), np.concatenate(folders)
    keys = where.astype(np.uint64) << np.uint64(32) | np.concatenate(checksums).astype(np.uint64)
    del times, folders, checksums
    keys.sort()
    keys = keys[np.concatenate([[True], keys[1:] != keys[:-1]])]
    held = np.bincount((keys >> np.uint64(32)).astype(np.int32), minlength=len(numbers))
    objects = len(keys)
    del keys
    order = np.argsort(when, kind="stable").astype(np.int32)
    when, where = when[order], where[order]
    first = int(np.searchsorted(when, when[-1] - int(days * DAY_MS), "right"))
    contents = Contents(dict(zip(numbers, held.tolist(), strict=True)))
    return Trace(when[first:], where[first:], list(numbers), contents, objects)
