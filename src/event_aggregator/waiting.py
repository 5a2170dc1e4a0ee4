"""What waits for a file share: the folders that it is to be asked for, under the share's own key.

The guarantee: folders that are put here stay in the table until the share has accepted a refresh of them that began
later, or is gone. When the share is asked is not decided here, but by the turns at its gateway; only one process asks
it at a time.

    add                        close                      complete
      |--- Folders -------------|--- RefreshedFolders ------|
      '--- WindowId: changes    '--- RefreshingId: stays until the share has accepted, however often it refuses
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
class Changes:
    """Folders on their way to a share, and whose they are."""

    folders: frozenset[str]
    since: int  # when the first change in them came, epoch milliseconds
    correlation: str  # the bucket's window


@dataclass(frozen=True, slots=True)
class ShareItem:
    """What the table holds for a share."""

    window_id: str | None = None
    opened_at: int = 0
    folders: frozenset[str] = field(default_factory=frozenset)
    refreshing_id: str | None = None
    refreshed_folders: frozenset[str] = field(default_factory=frozenset)
    refreshed_since: int = 0
    refreshed_for: str = ""
    correlation: str = ""  # the bucket's window whose changes wait since opened_at
    arn: str = ""
    kind: str = ""
    gateway: str = ""
    reason: str | None = None  # why it refused last
    unclear: int = 0  # refusals in words that nobody knows
    widen: bool = False  # it is asked for everything next, once

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
    def changes(self) -> Changes | None:
        """All that the share is to be asked for; None: nothing."""
        unfinished = self.refreshed_folders if self.refreshing_id else frozenset()
        folders = unfinished | self.folders
        if not folders:
            return None
        if too_many(folders):
            folders = frozenset({EVERYTHING})
        if self.refreshing_id:
            return Changes(folders, self.refreshed_since, self.refreshed_for)
        return Changes(folders, self.opened_at, self.correlation)


class WaitingShares(Table):
    """A share's operations, each one write. Adding is for everybody; the others for who has claimed the share."""

    def read(self, key: Key) -> ShareItem:
        return ShareItem.of(self._read(key))

    def add(self, key: Key, share: FileShare, changes: Changes, addition: str, reason: str = "") -> None:
        """Put folders there. `addition` is a new id."""
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
        """Have all that waits be what the share is asked for: the answer's refreshed_folders, since refreshed_since."""
        while item.window_id and (changes := item.changes):
            closed, met = self._update(
                key,
                "SET RefreshingId = :window, RefreshedFolders = :folders, RefreshedSince = :since,"
                " RefreshedFor = :correlation REMOVE WindowId, OpenedAt, Folders, Correlation",
                # Promise: what was added since `item` was read is not removed.
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
        """Note why the share refused, and what is to be tried next."""
        self._update(
            key,
            "SET Reason = :reason, Unclear = :unclear, Widen = :widen",
            "attribute_exists(WindowId) OR attribute_exists(RefreshingId)",
            {":reason": {"S": reason}, ":unclear": number(unclear), ":widen": number(int(widen))},
        )

    def complete(self, key: Key, window_id: str, *, keep: bool) -> None:
        """The share has accepted a refresh of what was closed. `keep` its folders, should it have to be repeated."""
        folders = "" if keep else ", RefreshedFolders"
        self._update(
            key,
            f"REMOVE RefreshingId, Reason, Unclear, Widen{folders}",
            "RefreshingId = :window",
            {":window": {"S": window_id}},
        )

    def forget(self, key: Key) -> None:
        """The share is gone, or does not show this bucket."""
        self._delete(key)
