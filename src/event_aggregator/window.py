"""The refresh window: one DynamoDB item for each key, and every change to it one conditional write.

The guarantee: a key has at most one open window; what is put into a window stays in the table until a refresh that
began later has covered it, whoever dies on the way. A key is a bucket, `my-bucket`, or a file share that must wait,
`my-bucket/share-1234ABCD`. Times are epoch milliseconds.

    open                         RefreshAt          close                   complete
      |--- WindowId, Folders -------|-- request -----|--- RefreshingId --------|
      |    changes are absorbed     |   arrives      |    RefreshedFolders     |
      '--- OpenedBy ---' until its request is known to be queued
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from event_aggregator.folders import EVERYTHING, MAX_FOLDERS_LEFT

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

# A window keeps MAX_FOLDERS_LEFT folders and this many bytes of their names, then `*`: writes are charged by size.
_MAX_FOLDER_BYTES = 16_384

# S3's clock and ours may differ, and DynamoDB's writes take a moment: only a change that is this much older than the
# start of a refresh is taken to be covered by it.
COVERED_MARGIN_MS = 5_000

_OPEN_WINDOW = "WindowId, OpenedBy, OpenedAt, LastChangeAt, RefreshAt, LeaseUntil, Folders"


@dataclass(frozen=True, slots=True)
class Item:
    """What the table holds for a key; None and empty sets stand for what is not there."""

    window_id: str | None = None
    confirmed: bool = False  # the open window's request is known to be queued
    opened_at: int | None = None
    refresh_at: int = 0
    folders: frozenset[str] = field(default_factory=frozenset)
    refreshing_id: str | None = None
    refreshed_folders: frozenset[str] = field(default_factory=frozenset)
    last_asked_at: int = 0

    @classmethod
    def of(cls, attributes: Mapping[str, Any]) -> "Item":
        def text(name: str) -> str | None:
            return attributes[name]["S"] if name in attributes else None

        def number(name: str) -> int:
            return int(attributes[name]["N"]) if name in attributes else 0

        def strings(name: str) -> frozenset[str]:
            return frozenset(attributes[name]["SS"]) if name in attributes else frozenset()

        return cls(
            window_id=text("WindowId"),
            confirmed="WindowId" in attributes and "OpenedBy" not in attributes,
            opened_at=number("OpenedAt") or None,
            refresh_at=number("RefreshAt"),
            folders=strings("Folders"),
            refreshing_id=text("RefreshingId"),
            refreshed_folders=strings("RefreshedFolders"),
            last_asked_at=number("LastAskedAt"),
        )

    def holds(self, folders: frozenset[str]) -> bool:
        """Whether the open window will refresh these folders as it is."""
        return EVERYTHING in self.folders or folders <= self.folders


class Windows:
    """The table. Methods raise botocore's errors for everything but a condition that does not hold."""

    def __init__(self, client: "DynamoDBClient", table_name: str) -> None:
        self._client = client
        self._table_name = table_name

    def read(self, key: str) -> Item:
        answer = self._client.get_item(TableName=self._table_name, Key={"BucketName": {"S": key}}, ConsistentRead=True)
        return Item.of(answer.get("Item", {}))

    def open(  # noqa: PLR0913 - what a window is made of
        self,
        key: str,
        window_id: str,
        *,
        folders: frozenset[str],
        owners: Iterable[str],
        last_change_at: int | None,
        now: int,
        refresh_at: int,
        lease_until: int,
    ) -> Item:
        """Open the window `window_id`, or hand back the item that stands in the way.

        `owners` are the identities of those on whose behalf it is opened, at most 100. `last_change_at` is the time of
        the latest S3 change among them; None for a hand-over to a share, which is never taken to be covered already.
        Opened: the answer's window_id is `window_id`. Otherwise another window is open, or (window_id None) the changes
        are covered by a refresh that began after them.
        """
        if _too_many(folders):
            folders = frozenset({EVERYTHING})
        values: dict[str, Any] = {
            ":window": {"S": window_id},
            ":now": _number(now),
            ":refresh_at": _number(refresh_at),
            ":lease_until": _number(lease_until),
            ":folders": _strings(folders),
        }
        owner_names = _name_each(values, "owner", owners)
        values[":opener"] = values[owner_names[0]]
        # Promise: at most one window is open.
        none_open = "attribute_not_exists(WindowId)"
        if last_change_at is not None:
            # Promise: a change that comes late, from before a refresh of its folder, causes no other one.
            values[":latest"] = _number(last_change_at + COVERED_MARGIN_MS)
            values[":everything"] = {"S": EVERYTHING}
            each = [f"contains(RefreshedFolders, {name})" for name in _name_each(values, "folder", sorted(folders))]
            refreshed = f"(contains(RefreshedFolders, :everything) OR ({' AND '.join(each)}))"
            began_before = "(attribute_not_exists(RefreshStartedAt) OR RefreshStartedAt <= :latest)"
            none_open = f"({none_open} AND ({began_before} OR NOT {refreshed}))"
        # Promise: no change waits for a request that was never sent. Whoever opened the window and died before its
        # request was queued comes again as itself, or its lease passes; both take the window over, Folders included.
        expired = "LeaseUntil < :now"
        opened_by_us = f"OpenedBy IN ({', '.join(owner_names)})"
        _, item = self._update(
            key,
            "SET WindowId = :window, OpenedBy = :opener, OpenedAt = :now, LastChangeAt = :now,"
            " RefreshAt = :refresh_at, LeaseUntil = :lease_until ADD Folders :folders",
            f"{none_open} OR {expired} OR {opened_by_us}",
            values,
        )
        return item

    def join(self, key: str, item: Item, folders: frozenset[str], now: int) -> Item | None:
        """Put `folders` into the window that `item` shows; None if it has been closed or taken over meanwhile."""
        add = "SET LastChangeAt = :now ADD Folders :folders"
        if _too_many(item.folders | folders):
            folders, add = frozenset({EVERYTHING}), "SET LastChangeAt = :now, Folders = :folders"
        joined, after = self._update(
            key,
            add,
            # Promise: a change is absorbed only by a window whose refresh has not begun.
            "WindowId = :window",
            {":window": {"S": item.window_id}, ":folders": _strings(folders), ":now": _number(now)},
        )
        return after if joined else None

    def confirm(self, key: str, window_id: str, lease_until: int) -> Item:
        """The window's request is known to be queued: nobody need take it over until `lease_until`.

        The answer is the item as it is then, with another window or none if this one was taken over or closed.
        """
        _, item = self._update(
            key,
            "SET LeaseUntil = :lease_until REMOVE OpenedBy",
            # A window that has been taken over has another opener, whose request may not be queued yet.
            "WindowId = :window",
            {":window": {"S": window_id}, ":lease_until": _number(lease_until)},
        )
        return item

    def close(self, key: str, item: Item, now: int) -> Item | None:
        """Close the window that `item` shows: in the answer its Folders are refreshed_folders, to be refreshed now.

        None: the window was closed or taken over since `item` was read.
        """
        if item.refreshing_id is not None:
            self._fold(key, item)
        closed, after = self._update(
            key,
            f"SET RefreshingId = :window, RefreshedFolders = Folders, RefreshStartedAt = :now REMOVE {_OPEN_WINDOW}",
            "WindowId = :window",
            {":window": {"S": item.window_id}, ":now": _number(now)},
        )
        return after if closed else None

    def _fold(self, key: str, item: Item) -> None:
        """Take over the folders of a refresh that began and was never completed: whoever ran it may be dead."""
        self._update(
            key,
            "ADD Folders :refreshed REMOVE RefreshingId",
            "WindowId = :window AND RefreshingId = :refreshing",
            {
                ":window": {"S": item.window_id},
                ":refreshing": {"S": item.refreshing_id},
                ":refreshed": _strings(item.refreshed_folders),
            },
        )

    def complete(self, key: str, window_id: str) -> None:
        """Every share of the window that was closed as `window_id` has been asked, or waits in a window of its own."""
        self._update(key, "REMOVE RefreshingId", "RefreshingId = :window", {":window": {"S": window_id}})

    def claim(self, key: str, now: int, interval: int) -> Item | None:
        """Claim the right to ask a share for a refresh now; `interval` in milliseconds.

        None: claimed. Otherwise the item that forbids it: something waits for the share already (window_id), or it was
        asked less than `interval` ago (last_asked_at).
        """
        claimed, item = self._update(
            key,
            "SET LastAskedAt = :now",
            # Promise: a share is never asked twice within the interval, by however many processes.
            "attribute_not_exists(WindowId) AND (attribute_not_exists(LastAskedAt) OR LastAskedAt <= :interval_ago)",
            {":now": _number(now), ":interval_ago": _number(now - interval)},
        )
        return None if claimed else item

    def accepted(self, key: str, now: int) -> None:
        """The share's refresh was accepted; the interval to the next runs from here, not from the claim."""
        self._update(key, "SET LastAskedAt = :now, LastAcceptedAt = :now", None, {":now": _number(now)})

    def drop(self, key: str) -> None:
        """Forget a share that is no more."""
        self._client.delete_item(TableName=self._table_name, Key={"BucketName": {"S": key}})

    def _update(self, key: str, update: str, condition: str | None, values: dict[str, Any]) -> tuple[bool, Item]:
        """True and the item as the update leaves it; or False and the item for which the condition does not hold."""
        conditional: Any = {}
        if condition is not None:
            conditional = {"ConditionExpression": condition, "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
        try:
            answer = self._client.update_item(
                TableName=self._table_name,
                Key={"BucketName": {"S": key}},
                UpdateExpression=update,
                ExpressionAttributeValues=values,
                ReturnValues="ALL_NEW",
                **conditional,
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            met: Any = error.response.get("Item", {})
            return False, Item.of(met)
        return True, Item.of(answer.get("Attributes", {}))


def _too_many(folders: frozenset[str]) -> bool:
    return len(folders) > MAX_FOLDERS_LEFT or sum(len(folder.encode()) for folder in folders) > _MAX_FOLDER_BYTES


def _number(value: int) -> dict[str, str]:
    return {"N": str(value)}


def _strings(values: Iterable[str]) -> dict[str, list[str]]:
    return {"SS": sorted(values)}


def _name_each(values: dict[str, Any], name: str, strings: Iterable[str]) -> list[str]:
    """Add each string to the expression's values; the names it got."""
    names = []
    for number, string in enumerate(strings):
        names.append(f":{name}{number}")
        values[names[-1]] = {"S": string}
    return names
