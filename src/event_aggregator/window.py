"""The window. Promise: a key has at most one open window. What is put into a window stays in the table until a refresh
that began later covers it, whichever function dies meanwhile.

    open                         RefreshAt          close              mark_distributed
      |--- WindowId, Folders -------|-- request -----|--- RefreshingId --------|
      |    changes are absorbed     |   arrives      |    RefreshedFolders     |
      '--- OpenedBy ---' until its request is known to be queued

On a bucket's item, RefreshingId names the closed window whose folders are being distributed to the shares. On a share's
item it marks the folders that the share is being asked for.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from event_aggregator.folders import EVERYTHING, MAX_FOLDERS_LEFT
from event_aggregator.settings import Settings
from event_aggregator.table import Key, Table, WindowItem, number, strings

# A window with more than MAX_FOLDERS_LEFT folders, or more bytes of their names than this, keeps `*` instead: DynamoDB
# charges a write by the item's size.
_MAX_FOLDER_BYTES = 16_384

# A refresh counts as covering a change only if it began this much later: S3's clock and ours may differ, and DynamoDB's
# writes take a moment.
COVERED_MARGIN_MS = 5_000

_OPEN_WINDOW = "WindowId, OpenedBy, OpenedAt, LastChangeAt, RefreshAt, Reason, Folders"


@dataclass(frozen=True, slots=True)
class Due:
    """When a window is due to be closed, for a change that comes now.

    A new window is due at `at`. An open window that is due more than `tolerance` earlier is moved to `at`, but to no
    later than `longest` after it was opened. If `longest` is 0, an open window is not moved.
    """

    at: int  # epoch milliseconds
    tolerance: int = 0  # milliseconds
    longest: int = 0  # milliseconds

    @classmethod
    def of_change(cls, settings: Settings, bucket: str, now: int) -> "Due":
        """The delay after the first change; or, with a quiet time, 1 to 1.25 times that after the last change."""
        quiet = settings.refresh_quiet_seconds.of(bucket) * 1000
        if not quiet:
            return cls(now + settings.refresh_delay_seconds.of(bucket) * 1000)
        longest = settings.refresh_max_delay_seconds.of(bucket) * 1000
        return cls(now + min(quiet + quiet // 4, longest), tolerance=quiet // 4, longest=longest)

    def is_met_by(self, item: WindowItem) -> bool:
        return item.refresh_at >= min(self.at - self.tolerance, item.opened_at + self.longest)

    def moved_refresh_at(self, item: WindowItem) -> int:
        return max(item.refresh_at, min(self.at, item.opened_at + self.longest))


class Windows(Table):
    """The operations on a window. Each is one conditional write, and a second one if the window then holds too much."""

    def read(self, key: Key) -> WindowItem:
        return WindowItem.of(self._read(key))

    def open(  # noqa: PLR0913 - the attributes of a window
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
        """Open the window `window_id`: True and its item, or False and the item that prevents it.

        Another open window prevents it, or (if the item's window_id is None) a refresh that began after the changes and
        covers them.

        `owners`, at most 100, identify the changes or the message for which the window is opened. `newest_event` is the
        time of the newest change; it is None for the folders of a region, which no refresh counts as covering. `since`
        is when the first change came. `reason` is for people to read.
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
        may_open = "attribute_not_exists(WindowId)"
        if newest_event is not None:
            # Promise: a late change, which a refresh of its folder has covered, does not cause another refresh.
            values[":latest"] = number(newest_event + COVERED_MARGIN_MS)
            values[":everything"] = {"S": EVERYTHING}
            each = [f"contains(RefreshedFolders, {name})" for name in _name_each(values, "folder", sorted(folders))]
            refreshed = f"(contains(RefreshedFolders, :everything) OR ({' AND '.join(each)}))"
            began_before = "(attribute_not_exists(RefreshStartedAt) OR RefreshStartedAt <= :latest)"
            may_open = f"({may_open} AND ({began_before} OR NOT {refreshed}))"
        # Promise: no change waits for a request that was never sent. If the opener died before it queued the request,
        # its retry takes the window over with its Folders. After the lease, anybody does.
        expired = "(attribute_exists(WindowId) AND LeaseUntil < :now)"
        opened_by_us = f"OpenedBy IN ({', '.join(owner_names)})"
        condition = f"({may_open} OR {expired} OR {opened_by_us})"
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
        """Put `folders` into the window that `item` shows, and move it as `due` says.

        The updated item; None if the window was closed or taken over meanwhile.
        """
        window_id = item.window_id
        # Promise: a change joins only a window whose refresh has not begun.
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
                values[":refresh_at"] = number(due.moved_refresh_at(item))
            joined, met = self._update(key, change, condition, values)
            item = WindowItem.of(met)
            if joined:
                return self._collapse(key, item)
        return None

    def _collapse(self, key: Key, item: WindowItem) -> WindowItem:
        """Promise: an item stays small, also if other containers have added folders meanwhile."""
        if not too_many(item.folders):
            return item
        values = {":window": {"S": item.window_id}, ":folders": strings([EVERYTHING])}
        cut, met = self._update(key, "SET Folders = :folders", "WindowId = :window", values)
        return WindowItem.of(met) if cut else item

    def confirm(self, key: Key, window_id: str, lease_until: int, opened: WindowItem | None = None) -> WindowItem:
        """Note that the window's request is queued. Until `lease_until` nobody repeats it or takes the window over.

        `opened` is the item as it was when the window was opened. If it has the folders of a distributed window, they
        are removed, so that later writes do not pay for them.
        Returns the item after that. If the window was closed or taken over meanwhile, it shows no window or another.
        """
        values = {":window": {"S": window_id}, ":lease_until": number(lease_until)}
        if opened and opened.refreshed_folders and opened.refreshing_id is None:
            confirmed, met = self._update(
                key,
                "SET LeaseUntil = :lease_until REMOVE OpenedBy, RefreshedFolders",
                # Promise: the folders of a closed window are kept until it is distributed.
                "WindowId = :window AND attribute_not_exists(RefreshingId)",
                values,
            )
            if confirmed:
                return WindowItem.of(met)
        _, met = self._update(
            key,
            "SET LeaseUntil = :lease_until REMOVE OpenedBy",
            # If the window was taken over, it has another opener, whose request may not be queued yet.
            "WindowId = :window OR (attribute_not_exists(WindowId) AND RefreshingId = :window)",
            values,
        )
        return WindowItem.of(met)

    def close(self, key: Key, item: WindowItem, now: int, lease_until: int) -> WindowItem | None:
        """Close the window that `item` shows. The returned item has its folders as refreshed_folders.

        If the window is not distributed at `lease_until`, its request may be repeated.
        None: the window was closed, taken over or moved later since `item` was read.
        """
        if item.refreshing_id is not None:
            self._take_over_undistributed(key, item)
        closed, met = self._update(
            key,
            "SET RefreshingId = :window, RefreshedFolders = Folders, RefreshedSince = OpenedAt,"
            f" RefreshStartedAt = :now, LeaseUntil = :lease_until REMOVE {_OPEN_WINDOW}",
            # Promise: a warm container may absorb changes until RefreshAt, also if that was moved later.
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

    def _take_over_undistributed(self, key: Key, item: WindowItem) -> None:
        """Put the folders of a closed, undistributed window into the open one: its invocation may be dead."""
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

    def mark_distributed(self, key: Key, window_id: str) -> None:
        """Note that every share has been asked for the closed window `window_id`, or waits in line."""
        self._update(key, "REMOVE RefreshingId", "RefreshingId = :window", {":window": {"S": window_id}})


def lost_request(item: WindowItem, now: int) -> str | None:
    """The id of the open window, or of a closed, undistributed one, if the lease ended: its request is lost."""
    if item.lease_until >= now:
        return None
    return item.window_id or item.refreshing_id  # closing an open window takes the closed one over


def too_many(folders: frozenset[str]) -> bool:
    """Whether an item with these folders would be too large. It keeps `*` instead."""
    return too_much(len(folders), sum(len(folder.encode()) for folder in folders))


def too_much(folders: int, folder_bytes: int) -> bool:
    """The same by the number of the folders and the bytes of their names."""
    return folders > MAX_FOLDERS_LEFT or folder_bytes > _MAX_FOLDER_BYTES


def _name_each(values: dict[str, Any], name: str, texts: Iterable[str]) -> list[str]:
    """Add each text to the expression's values. Returns their names."""
    names = []
    for position, text in enumerate(texts):
        names.append(f":{name}{position}")
        values[names[-1]] = {"S": text}
    return names
