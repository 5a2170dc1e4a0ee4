"""Times and counts as people read them."""

from collections.abc import Iterable
from datetime import UTC, datetime

from event_aggregator.folders import EVERYTHING, is_name


def plural(number: int, thing: str) -> str:
    """1 folder, 2 folders, 2 refreshes."""
    if number == 1:
        return f"1 {thing}"
    return f"{number:,} {thing}{'es' if thing.endswith('sh') else 's'}"


def ordinal(number: int) -> str:
    """1st, 2nd, 11th, 23rd."""
    endings = {1: "st", 2: "nd", 3: "rd"}
    return f"{number}{'th' if number % 100 in (11, 12, 13) else endings.get(number % 10, 'th')}"


def span(seconds: float) -> str:
    """A length of time in its largest unit, or two: 45 s, 12 min, 3 h 20 min, 2 days."""
    whole = max(0, round(seconds))
    if whole < 120:
        return f"{whole} s"
    minutes = round(whole / 60)
    if minutes < 120:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{round(hours / 24)} days"


def ago(now: int, then: int) -> str:
    """`then` as seen from `now` (epoch milliseconds): 45 s ago, in 12 min."""
    return f"{span((now - then) / 1000)} ago" if then <= now else f"in {span((then - now) / 1000)}"


def clock(epoch_ms: int) -> str:
    """2026-01-31 12:00:00 UTC."""
    return f"{datetime.fromtimestamp(epoch_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"


def extent(folders: Iterable[str]) -> str:
    """What is to be refreshed, from folders as windows hold them: everything, /a, all below /b."""
    in_order = sorted(folders, key=lambda folder: (folder.lstrip(EVERYTHING), folder))
    if EVERYTHING in in_order:
        return "everything"
    return ", ".join(f"all below {one[1:]}" if one.startswith(EVERYTHING) else one for one in in_order)


def never_shown(path: str) -> str:
    """Why no share can show an object or a folder of S3's, which has no slash at its ends; empty if one can."""
    for name in path.split("/"):
        if not name:
            return "a name between its slashes is empty"
        if not is_name(name):
            return f"a name in it is {name}" if name in (".", "..") else "a name in it is longer than 255 bytes"
    return ""
