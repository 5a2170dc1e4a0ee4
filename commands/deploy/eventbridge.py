"""The rules of EventBridge for buckets, as data: which bucket a rule watches is in its pattern.

Each bucket has rules of its own, as many as its prefixes need: a pattern has 2,048 characters.
"""

import json
from collections.abc import Iterable, Mapping, Sequence

from commands.deploy.template import Json

_MOST_CHARACTERS = 2_048


def pattern(bucket: str, prefixes: Sequence[str]) -> str:
    """The pattern that matches the changes of these keys of the bucket; no prefixes: of all keys."""
    detail: Json = {"bucket": {"name": [bucket]}}
    if prefixes:
        detail["object"] = {"key": [{"prefix": prefix} for prefix in prefixes]}
    matched = {"source": ["aws.s3"], "detail-type": ["Object Created", "Object Deleted"], "detail": detail}
    return json.dumps(matched, ensure_ascii=False, separators=(",", ":"))


def patterns(bucket: str, prefixes: Iterable[str]) -> list[str]:
    """Those of all rules of the bucket."""
    pieces: list[list[str]] = [[]]
    for prefix in sorted(prefixes):
        if pieces[-1] and len(pattern(bucket, [*pieces[-1], prefix])) > _MOST_CHARACTERS:
            pieces.append([])
        pieces[-1].append(prefix)
    return [pattern(bucket, piece) for piece in pieces]


def of_all(rules: Mapping[str, Mapping[str, Sequence[str]]]) -> dict[str, list[str]]:
    """The buckets that the rules watch together, each with the prefixes of its keys that count; none: all keys."""
    found: dict[str, list[str]] = {}
    for rule in rules.values():
        for bucket, prefixes in rule.items():
            is_wide = not prefixes or found.get(bucket) == []
            found[bucket] = [] if is_wide else [*found.get(bucket, []), *prefixes]
    return found
