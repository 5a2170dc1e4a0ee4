"""The open windows that a warm container remembers, so that most absorbed changes cost no AWS call.

Promise: a change is absorbed from memory only if its folder is in a window whose request is known to be queued and
whose refresh cannot have begun. So only confirmed windows are remembered, and the memory counts only until MARGIN_MS
before RefreshAt, which never moves earlier on a bucket's key.
"""

from collections import OrderedDict

from event_aggregator.table import Key, WindowItem

# The window is closed on another host, whose clock may be ahead of ours by less than this.
MARGIN_MS = 1_000

_MAX_BUCKETS = 256


def is_open(item: WindowItem, now: int) -> bool:
    """Whether a confirmed window is certainly still open at `now` (epoch milliseconds)."""
    return now < item.refresh_at - MARGIN_MS


class Memo:
    """The windows that were remembered last, by their keys."""

    def __init__(self) -> None:
        self._windows: OrderedDict[Key, WindowItem] = OrderedDict()

    def recall(self, key: Key, now: int) -> WindowItem | None:
        """The key's window as it was seen last, if it is not due. It is certainly open only if `is_open` says so."""
        item = self._windows.get(key)
        return item if item and now < item.refresh_at else None

    def remember(self, key: Key, item: WindowItem) -> None:
        """Remember the window that `item` shows, or forget the key if that window is not confirmed."""
        self._windows.pop(key, None)
        if item.confirmed:
            self._windows[key] = item
            if len(self._windows) > _MAX_BUCKETS:
                self._windows.popitem(last=False)
