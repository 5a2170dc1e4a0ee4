"""How often a file share is asked, kept in the table under the share's key.

The guarantee: a share is never asked twice within the interval, counted from the acceptance, or from the claim where
there was none; nor while a refresh of it is known to be in progress: from when it was accepted (the mark, InProgressId)
until its completion event has come, or until the mark has lapsed because none came.
"""

from event_aggregator.table import Item, Table, number, strings

# InProgressFor and InProgressWindow stay, to tell how long what is complete has taken, and for whom.
_MARK = "InProgressId, InProgressSince"

# So many completions are remembered until the share's next refresh is accepted: most are of refreshes of others.
_MAX_COMPLETED = 10


class Pace(Table):
    """A share's operations; `key` is its key in the table, times and durations in milliseconds."""

    def claim(self, key: str, now: int, *, interval: int, in_progress_timeout: int) -> Item | None:
        """Claim the right to ask a share for a refresh now.

        None: claimed. Otherwise the item that forbids it: something waits for the share already (window_id), it was
        asked less than `interval` ago (last_asked_at), or a refresh is in progress (in_progress_id).
        """
        claimed, item = self._update(
            key,
            "SET LastAskedAt = :now",
            # Promise: by however many processes, a share is not asked twice in the interval, nor while it refreshes.
            "attribute_not_exists(WindowId)"
            " AND (attribute_not_exists(LastAskedAt) OR LastAskedAt <= :interval_ago)"
            " AND (attribute_not_exists(InProgressId) OR InProgressSince <= :lapsed)",
            {
                ":now": number(now),
                ":interval_ago": number(now - interval),
                ":lapsed": number(now - in_progress_timeout),
            },
        )
        return None if claimed else item

    def accepted(  # noqa: PLR0913 - what there is to know of it
        self, key: str, claimed_at: int, now: int, *, notification_id: str, since: int, window: str, mark: bool
    ) -> Item:
        """A refresh was accepted that shows the changes of `window`, the first of which came at `since`.

        The interval runs from here, not from the claim.

        With `mark` it is known to be in progress from now on, unless its completion event has come already. The answer
        is the item as it is then.
        """
        # Promise: a write that the SDK repeats, since its answer was lost, makes no mark that a completion has cleared.
        ours = "LastAskedAt = :claimed_at AND (attribute_not_exists(LastAcceptedAt) OR LastAcceptedAt < :claimed_at)"
        values = {":claimed_at": number(claimed_at), ":now": number(now)}
        accepted = "SET LastAskedAt = :now, LastAcceptedAt = :now"
        if mark:
            marked, item = self._update(
                key,
                f"{accepted}, InProgressId = :id, InProgressSince = :now, InProgressFor = :since,"
                " InProgressWindow = :window REMOVE CompletedIds",
                f"{ours} AND (attribute_not_exists(CompletedIds) OR NOT contains(CompletedIds, :id))",
                {**values, ":id": {"S": notification_id}, ":since": number(since), ":window": {"S": window}},
            )
            if marked:
                return item
        _, item = self._update(key, f"{accepted} REMOVE {_MARK}", ours, values)
        return item

    def completed(self, key: str, notification_id: str) -> tuple[bool, Item] | None:
        """A refresh of the share is complete: whether that cleared its mark, and the item as it is then.

        None if this share was never asked, so that the refresh is somebody else's.
        """
        clear = (key, f"REMOVE {_MARK}", "InProgressId = :id", {":id": {"S": notification_id}})
        cleared, item = self._update(*clear)
        if cleared:
            return True, item
        # Somebody else's, or ours, and the event came before the mark was made: then `accepted` will find it here.
        ids = {":ids": strings([notification_id])}
        known, item = self._update(key, "ADD CompletedIds :ids", "attribute_exists(LastAskedAt)", ids)
        if not known:
            return None
        if item.completed > _MAX_COMPLETED:
            self._update(key, "SET CompletedIds = :ids", "attribute_exists(LastAskedAt)", ids)
        # Or the mark was made between the two writes.
        return self._update(*clear) if item.in_progress_id == notification_id else (False, item)

    def make_due(self, key: str, window_id: str, refresh_at: int) -> None:
        """Have the share's waiting window due at `refresh_at`, if that is earlier and nothing is in progress.

        On a share's key RefreshAt may move earlier: no container absorbs changes by remembering it.
        """
        self._update(
            key,
            "SET RefreshAt = :refresh_at",
            "WindowId = :window AND RefreshAt > :refresh_at AND attribute_not_exists(InProgressId)",
            {":window": {"S": window_id}, ":refresh_at": number(refresh_at)},
        )

    def drop(self, key: str) -> None:
        """Forget a share that is no more."""
        self._delete(key)
