"""The folders that wait for a file share, in an item of the table under the share's key.

Promise: folders that are added stay in the table until the share has accepted a later refresh of them, or was deleted.
When the share is asked is decided by the module turns. Only one invocation asks it at a time.

    add                        close                      remove_closed
      |--- Folders -------------|--- RefreshedFolders ------|
      '--- WindowId: a new one  '--- RefreshingId: stays until the share has accepted, however often it refuses
           with each addition
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from event_aggregator.file_shares import FileShare
from event_aggregator.folders import EVERYTHING
from event_aggregator.table import Attributes, Key, Table, number, strings
from event_aggregator.window import too_many


@dataclass(frozen=True, slots=True)
class ChangedFolders:
    """Folders on their way to a share, and the window that they come from."""

    folders: frozenset[str]
    since: int  # when their first change came, epoch milliseconds
    correlation: str  # id of the bucket's window


@dataclass(frozen=True, slots=True)
class ShareItem:
    """A share's item in the table (docs/design.md)."""

    window_id: str | None = None  # of these waiting folders: each addition gives a new one
    opened_at: int = 0
    folders: frozenset[str] = field(default_factory=frozenset)
    refreshing_id: str | None = None
    refreshed_folders: frozenset[str] = field(default_factory=frozenset)
    refreshed_since: int = 0
    refreshed_for: str = ""
    correlation: str = ""  # id of the bucket's window whose changes wait since opened_at
    arn: str = ""
    kind: str = ""
    gateway: str = ""
    reason: str | None = None  # why the share refused last
    unclear: int = 0  # refusals with an unknown error
    widen: bool = False  # the share is asked for everything next, once

    @classmethod
    def of(cls, attributes: Mapping[str, Any]) -> "ShareItem":
        values = Attributes(attributes)
        return cls(
            window_id=values.text("WindowId"),
            opened_at=values.number("OpenedAt"),
            folders=values.texts("Folders"),
            refreshing_id=values.text("RefreshingId"),
            refreshed_folders=values.texts("RefreshedFolders"),
            refreshed_since=values.number("RefreshedSince"),
            refreshed_for=values.text("RefreshedFor") or "",
            correlation=values.text("Correlation") or "",
            arn=values.text("ShareArn") or "",
            kind=values.text("ShareType") or "",
            gateway=values.text("GatewayArn") or "",
            reason=values.text("Reason"),
            unclear=values.number("Unclear"),
            widen=bool(values.number("Widen")),
        )

    @property
    def changes(self) -> ChangedFolders | None:
        """All folders that the share is to be asked for; None if there are none."""
        unfinished = self.refreshed_folders if self.refreshing_id else frozenset()
        folders = unfinished | self.folders
        if not folders:
            return None
        if too_many(folders):
            folders = frozenset({EVERYTHING})
        if self.refreshing_id:
            return ChangedFolders(folders, self.refreshed_since, self.refreshed_for)
        return ChangedFolders(folders, self.opened_at, self.correlation)


class WaitingShares(Table):
    """The operations on a share's item, each one write. `close`, `refused` and `remove_closed` need a claim."""

    def read(self, key: Key) -> ShareItem:
        return ShareItem.of(self._read(key))

    def add(self, key: Key, share: FileShare, changes: ChangedFolders, addition: str, reason: str = "") -> None:
        """Add folders. `addition` is a new id, `reason` why the share cannot be asked now."""
        values: dict[str, Any] = {
            ":addition": {"S": addition},
            ":since": number(changes.since),
            ":correlation": {"S": changes.correlation},
            ":folders": strings(changes.folders),
            ":arn": {"S": share.arn},
            ":kind": {"S": share.kind},
            ":gateway": {"S": share.gateway_arn},
        }
        because = ""
        if reason:
            because, values[":reason"] = ", Reason = :reason", {"S": reason}
        _, met = self._update(
            key,
            "SET WindowId = :addition, OpenedAt = if_not_exists(OpenedAt, :since), ShareArn = :arn, ShareType = :kind,"
            f" GatewayArn = :gateway, Correlation = if_not_exists(Correlation, :correlation){because}"
            " ADD Folders :folders",
            None,
            values,
        )
        if too_many(ShareItem.of(met).folders):
            everything = {":folders": strings([EVERYTHING]), ":addition": {"S": addition}}
            self._update(key, "SET Folders = :folders", "WindowId = :addition", everything)

    def close(self, key: Key, item: ShareItem) -> ShareItem:
        """Move all waiting folders to RefreshedFolders: the share is asked for these now."""
        while item.window_id and (changes := item.changes):
            closed, met = self._update(
                key,
                "SET RefreshingId = :window, RefreshedFolders = :folders, RefreshedSince = :since,"
                " RefreshedFor = :correlation REMOVE WindowId, OpenedAt, Folders, Correlation",
                # Promise: folders that were added since `item` was read are not removed.
                "WindowId = :window",
                {
                    ":window": {"S": item.window_id},
                    ":folders": strings(changes.folders),
                    ":since": number(changes.since),
                    ":correlation": {"S": changes.correlation},
                },
            )
            item = ShareItem.of(met)
            if closed:
                break
        return item

    def refused(self, key: Key, reason: str, *, unclear: int = 0, widen: bool = False) -> None:
        """Note why the share refused, and what to try next."""
        self._update(
            key,
            "SET Reason = :reason, Unclear = :unclear, Widen = :widen",
            "attribute_exists(WindowId) OR attribute_exists(RefreshingId)",
            {":reason": {"S": reason}, ":unclear": number(unclear), ":widen": number(int(widen))},
        )

    def remove_closed(self, key: Key, window_id: str, *, keep_folders: bool) -> None:
        """Remove what `close` moved: the share accepted it, or shows none of it. A repetition may need its folders."""
        folders = "" if keep_folders else ", RefreshedFolders"
        self._update(
            key,
            f"REMOVE RefreshingId, Reason, Unclear, Widen{folders}",
            "RefreshingId = :window",
            {":window": {"S": window_id}},
        )

    def forget(self, key: Key) -> None:
        """Drop the folders: the share was deleted, or does not show this bucket."""
        self._delete(key)
