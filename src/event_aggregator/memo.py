"""What a warm container remembers of open windows, so that most absorbed changes cost no AWS call.

The guarantee: a change is absorbed from memory only if its folder is in a window whose request is known to be queued
and whose refresh cannot have begun. So only confirmed windows are remembered, and none is relied on near its RefreshAt,
which on a bucket's key nothing ever moves earlier.
"""

from collections import OrderedDict

from event_aggregator.table import Key, WindowItem

# Another host, whose clock may be ahead of ours by less than this, refreshes the window.
MARGIN_MS = 1_000

_MAX_BUCKETS = 256


def is_open(item: WindowItem, now: int) -> bool:
    """Whether a confirmed window is certain not to be refreshed yet at `now` (epoch milliseconds)."""
    return now < item.refresh_at - MARGIN_MS


class Memo:
    """Windows by bucket, those used last."""

    def __init__(self) -> None:
        self._windows: OrderedDict[Key, WindowItem] = OrderedDict()

    def recall(self, key: Key, now: int) -> WindowItem | None:
        """The bucket's window as it was seen last, if it is not due: still open for sure only if `is_open` says so."""
        item = self._windows.get(key)
        return item if item and now < item.refresh_at else None

    def remember(self, key: Key, item: WindowItem) -> None:
        """Remember the bucket's window as `item` shows it, or that none can be relied on."""
        self._windows.pop(key, None)
        if item.confirmed:
            self._windows[key] = item
            if len(self._windows) > _MAX_BUCKETS:
                self._windows.popitem(last=False)
