"""The refresh window. The guarantee: a key has at most one open window; what is put into a window stays in the table
until a refresh that began later has covered it, whoever dies on the way.

    open                         RefreshAt          close                   complete
      |--- WindowId, Folders -------|-- request -----|--- RefreshingId --------|
      |    changes are absorbed     |   arrives      |    RefreshedFolders     |
      '--- OpenedBy ---' until its request is known to be queued
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from event_aggregator.folders import EVERYTHING, MAX_FOLDERS_LEFT
from event_aggregator.settings import Settings
from event_aggregator.table import Key, Table, WindowItem, number, strings

# A window keeps MAX_FOLDERS_LEFT folders and this many bytes of their names, then `*`: writes are charged by size.
_MAX_FOLDER_BYTES = 16_384

# S3's clock and ours may differ, and DynamoDB's writes take a moment: only a change that is this much older than the
# start of a refresh is taken to be covered by it.
COVERED_MARGIN_MS = 5_000

_OPEN_WINDOW = "WindowId, OpenedBy, OpenedAt, LastChangeAt, RefreshAt, Reason, Folders"


@dataclass(frozen=True, slots=True)
class Due:
    """When a window is to be refreshed, for a change that comes now; epoch milliseconds and milliseconds.

    A window that is opened is due at `at`. One that is open already is moved there, if it is due more than `tolerance`
    before, but no further than `longest` after it was opened; 0: it stays as it is.
    """

    at: int
    tolerance: int = 0
    longest: int = 0

    @classmethod
    def of_change(cls, settings: Settings, bucket: str, now: int) -> "Due":
        """A fixed delay after the first change; or, with a quiet time, 1 to 1.25 times that after the last one."""
        quiet = settings.refresh_quiet_seconds.of(bucket) * 1000
        if not quiet:
            return cls(now + settings.refresh_delay_seconds.of(bucket) * 1000)
        longest = settings.refresh_max_delay_seconds.of(bucket) * 1000
        return cls(now + min(quiet + quiet // 4, longest), tolerance=quiet // 4, longest=longest)

    def is_met_by(self, item: WindowItem) -> bool:
        return item.refresh_at >= min(self.at - self.tolerance, item.opened_at + self.longest)

    def moved(self, item: WindowItem) -> int:
        return max(item.refresh_at, min(self.at, item.opened_at + self.longest))


class Windows(Table):
    """The window's operations, each one conditional write. A window that holds too much is cut to `*` by another."""

    def read(self, key: Key) -> WindowItem:
        return WindowItem.of(self._read(key))

    def open(  # noqa: PLR0913 - what a window is made of
        self,
        key: Key,
        window_id: str,
        *,
        folders: frozenset[str],
        owners: Iterable[str],
        newest_event: int | None,
        now: int,
        since: int,
        refresh_at: int,
        lease_until: int,
        reason: str = "",
    ) -> tuple[bool, WindowItem]:
        """Open the window `window_id`: True and its item, or False and the item that stands in the way.

        `owners` are the identities of those on whose behalf it is opened, at most 100. `newest_event` is the time of
        the latest S3 change among them; None for folders that wait for a region, which are never taken to be covered
        already. `since` is when the first change in it came. `reason` is kept for people to read.

        In the way is another open window; or (window_id None) a refresh that began after the changes and covers them.
        """
        if too_many(folders):
            folders = frozenset({EVERYTHING})
        values: dict[str, Any] = {
            ":window": {"S": window_id},
            ":now": number(now),
            ":since": number(since),
            ":refresh_at": number(refresh_at),
            ":lease_until": number(lease_until),
            ":folders": strings(folders),
        }
        owner_names = _name_each(values, "owner", owners)
        values[":opener"] = values[owner_names[0]]
        # Promise: at most one window is open.
        none_open = "attribute_not_exists(WindowId)"
        if newest_event is not None:
            # Promise: a change that comes late, from before a refresh of its folder, causes no other one.
            values[":latest"] = number(newest_event + COVERED_MARGIN_MS)
            values[":everything"] = {"S": EVERYTHING}
            each = [f"contains(RefreshedFolders, {name})" for name in _name_each(values, "folder", sorted(folders))]
            refreshed = f"(contains(RefreshedFolders, :everything) OR ({' AND '.join(each)}))"
            began_before = "(attribute_not_exists(RefreshStartedAt) OR RefreshStartedAt <= :latest)"
            none_open = f"({none_open} AND ({began_before} OR NOT {refreshed}))"
        # Promise: no change waits for a request that was never sent. Whoever opened the window and died before its
        # request was queued comes again as itself, or its lease passes; both take the window over, Folders included.
        expired = "(attribute_exists(WindowId) AND LeaseUntil < :now)"
        opened_by_us = f"OpenedBy IN ({', '.join(owner_names)})"
        condition = f"({none_open} OR {expired} OR {opened_by_us})"
        waiting = ""
        if reason:
            values[":reason"], waiting = {"S": reason}, ", Reason = :reason"
        opened, met = self._update(
            key,
            "SET WindowId = :window, OpenedBy = :opener, OpenedAt = if_not_exists(OpenedAt, :since),"
            f" LastChangeAt = :now, RefreshAt = :refresh_at, LeaseUntil = :lease_until{waiting} ADD Folders :folders",
            condition,
            values,
        )
        return opened, self._collapse(key, WindowItem.of(met)) if opened else WindowItem.of(met)

    def join(self, key: Key, item: WindowItem, folders: frozenset[str], now: int, due: Due) -> WindowItem | None:
        """Put `folders` into the window that `item` shows, and have it due as `due` says.

        The item as it is then; None if the window has been closed or taken over meanwhile.
        """
        window_id = item.window_id
        # Promise: a change is absorbed only by a window whose refresh has not begun.
        change, condition = "SET LastChangeAt = :now", "WindowId = :window"
        if due.longest:
            # Promise: RefreshAt, on which warm containers rely, never moves earlier.
            change, condition = f"{change}, RefreshAt = :refresh_at", f"{condition} AND RefreshAt <= :refresh_at"
        if too_many(item.folders | folders):
            folders, change = frozenset({EVERYTHING}), f"{change}, Folders = :folders"
        else:
            change += " ADD Folders :folders"
        while item.window_id == window_id:
            values = {":window": {"S": window_id}, ":folders": strings(folders), ":now": number(now)}
            if due.longest:
                values[":refresh_at"] = number(due.moved(item))
            joined, met = self._update(key, change, condition, values)
            item = WindowItem.of(met)
            if joined:
                return self._collapse(key, item)
        return None

    def _collapse(self, key: Key, item: WindowItem) -> WindowItem:
        """Promise: an item stays small, whatever others have put into it that this container did not know of."""
        if not too_many(item.folders):
            return item
        values = {":window": {"S": item.window_id}, ":folders": strings([EVERYTHING])}
        cut, met = self._update(key, "SET Folders = :folders", "WindowId = :window", values)
        return WindowItem.of(met) if cut else item

    def confirm(self, key: Key, window_id: str, lease_until: int, opened: WindowItem | None = None) -> WindowItem:
        """The window's request is known to be queued: nobody need take it over, or ask again, until `lease_until`.

        The answer is the item as it is then, with another window or none if this one was taken over or closed.
        `opened` is the item as it was when the window was opened: what an earlier window's refresh covered is
        forgotten, so that no later write is charged for it.
        """
        values = {":window": {"S": window_id}, ":lease_until": number(lease_until)}
        if opened and opened.refreshed_folders and opened.refreshing_id is None:
            confirmed, met = self._update(
                key,
                "SET LeaseUntil = :lease_until REMOVE OpenedBy, RefreshedFolders",
                # Promise: the folders of a refresh that is not finished are kept.
                "WindowId = :window AND attribute_not_exists(RefreshingId)",
                values,
            )
            if confirmed:
                return WindowItem.of(met)
        _, met = self._update(
            key,
            "SET LeaseUntil = :lease_until REMOVE OpenedBy",
            # A window that has been taken over has another opener, whose request may not be queued yet.
            "WindowId = :window OR (attribute_not_exists(WindowId) AND RefreshingId = :window)",
            values,
        )
        return WindowItem.of(met)

    def close(self, key: Key, item: WindowItem, now: int, lease_until: int) -> WindowItem | None:
        """Close the window that `item` shows: in the answer its Folders are refreshed_folders, to be refreshed now.

        Whoever finds it unfinished after `lease_until` may ask for it again.
        None: the window was closed, taken over or moved later since `item` was read.
        """
        if item.refreshing_id is not None:
            self._take_over_unfinished(key, item)
        closed, met = self._update(
            key,
            "SET RefreshingId = :window, RefreshedFolders = Folders, RefreshedSince = OpenedAt,"
            f" RefreshStartedAt = :now, LeaseUntil = :lease_until REMOVE {_OPEN_WINDOW}",
            # Promise: a warm container may absorb changes until RefreshAt, however late it was moved.
            "WindowId = :window AND RefreshAt <= :now",
            {":window": {"S": item.window_id}, ":now": number(now), ":lease_until": number(lease_until)},
        )
        if not closed:
            return None
        after = WindowItem.of(met)
        if too_many(after.refreshed_folders):
            values = {":window": {"S": item.window_id}, ":folders": strings([EVERYTHING])}
            cut, met = self._update(key, "SET RefreshedFolders = :folders", "RefreshingId = :window", values)
            return WindowItem.of(met) if cut else after
        return after

    def _take_over_unfinished(self, key: Key, item: WindowItem) -> None:
        """Take over the folders of a refresh that began and was never completed: whoever ran it may be dead."""
        self._update(
            key,
            "ADD Folders :refreshed REMOVE RefreshingId",
            "WindowId = :window AND RefreshingId = :refreshing",
            {
                ":window": {"S": item.window_id},
                ":refreshing": {"S": item.refreshing_id},
                ":refreshed": strings(item.refreshed_folders),
            },
        )

    def complete(self, key: Key, window_id: str) -> None:
        """Every share of the window that was closed as `window_id` has been asked, or waits in its gateway's line."""
        self._update(key, "REMOVE RefreshingId", "RefreshingId = :window", {":window": {"S": window_id}})


def lost_request(item: WindowItem, now: int) -> str | None:
    """The id of the item's window, open or being refreshed, if it is past its lease: its request must be lost."""
    if item.lease_until >= now:
        return None
    return item.window_id or item.refreshing_id  # the request of an open window takes an unfinished refresh over


def too_many(folders: frozenset[str]) -> bool:
    """Whether an item would be too large, and too dear, with so many folders: `*` is kept instead."""
    return len(folders) > MAX_FOLDERS_LEFT or sum(len(folder.encode()) for folder in folders) > _MAX_FOLDER_BYTES


def _name_each(values: dict[str, Any], name: str, texts: Iterable[str]) -> list[str]:
    """Add each text to the expression's values; the names it got."""
    names = []
    for position, text in enumerate(texts):
        names.append(f":{name}{position}")
        values[names[-1]] = {"S": text}
    return names
