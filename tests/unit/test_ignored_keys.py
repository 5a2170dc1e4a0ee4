"""Which keys a pattern of IGNORE_KEYS matches."""

import pytest

from event_aggregator.ignored_keys import pattern_of

PATTERNS = ("*.tmp", ".DS_Store", "*/_temporary/*", "logs/*.gz", "/x?", "~$*", "[!a]bc")


@pytest.mark.parametrize(
    ("key", "pattern"),
    [
        ("a.tmp", "*.tmp"),
        ("a/b/c.tmp", "*.tmp"),
        ("a/b\nc.tmp", "*.tmp"),
        ("a.tmp/b", ""),
        ("a.TMP", ""),
        ("a.tmp\n", ""),
        (".DS_Store", ".DS_Store"),
        ("a/.DS_Store", ".DS_Store"),
        ("a.DS_Store", ""),
        ("_temporary/0/part-1", "*/_temporary/*"),
        ("out/_temporary/0/part-1", "*/_temporary/*"),
        ("out/_temporary", ""),
        ("logs/2026/a.gz", "logs/*.gz"),
        ("old/logs/a.gz", ""),
        ("x1", "/x?"),
        ("a/x1", ""),
        ("a/~$b.docx", "~$*"),
        ("a/xbc", "[!a]bc"),
        ("abc", ""),
        ("a/", ""),
    ],
)
def test_a_pattern_is_compared_with_the_last_name_or_if_it_has_a_slash_with_the_whole_key(
    key: str, pattern: str
) -> None:
    assert pattern_of(key, PATTERNS) == pattern


def test_without_patterns_nothing_matches() -> None:
    assert pattern_of("a.tmp", ()) == ""
