"""Which keys match a pattern of IGNORE_KEYS, such as those of temporary files. Their changes refresh nothing.

A pattern without a slash (`*.tmp`, `.DS_Store`) is compared with the last name in the key. A pattern with a slash
(`*/_temporary/*`, `/logs/*`) is compared with a slash and the whole key. `*` matches any characters, `?` one character,
`[ab]` one of these. Upper and lower case differ.
"""

import re
from fnmatch import translate
from functools import lru_cache


def pattern_of(key: str, patterns: tuple[str, ...]) -> str:
    """The first of the patterns that the key matches; empty if it matches none."""
    found = _compiled(patterns).fullmatch(f"/{key}") if patterns else None
    return patterns[found.lastindex - 1] if found and found.lastindex else ""


@lru_cache(maxsize=1)
def _compiled(patterns: tuple[str, ...]) -> re.Pattern[str]:
    """One expression for all patterns, so that each key is matched once. It has one group per pattern, in order."""
    return re.compile("|".join(f"({_expression(pattern)})" for pattern in patterns))


def _expression(pattern: str) -> str:
    if "/" not in pattern:
        return rf"(?s:.*)/(?=[^/]*\Z){translate(pattern)}"
    return translate(pattern if pattern[0] in "/*" else f"/{pattern}")
