"""Which keys nobody wants to see on a share: those that match a pattern of IGNORE_KEYS, as temporary files do.

A pattern without a slash is compared with the last name of a key, `*.tmp` and `.DS_Store`; one with a slash with the
whole key and a slash before it, `*/_temporary/*`, `/logs/*`. `*` stands for any characters, `?` for one, `[ab]` for one
of these; upper and lower case differ.
"""

import re
from fnmatch import translate
from functools import lru_cache


def pattern_of(key: str, patterns: tuple[str, ...]) -> str:
    """The first of the patterns that the key matches; empty: none."""
    found = _compiled(patterns).fullmatch(f"/{key}") if patterns else None
    return patterns[found.lastindex - 1] if found and found.lastindex else ""


@lru_cache(maxsize=1)
def _compiled(patterns: tuple[str, ...]) -> re.Pattern[str]:
    """One expression for all of them, with a group for each, in their order: a key is looked at once."""
    return re.compile("|".join(f"({_expression(pattern)})" for pattern in patterns))


def _expression(pattern: str) -> str:
    if "/" not in pattern:
        return rf"(?s:.*)/(?=[^/]*\Z){translate(pattern)}"
    return translate(pattern if pattern[0] in "/*" else f"/{pattern}")
