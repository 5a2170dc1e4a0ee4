"""The rules of EventBridge for buckets, as data: which bucket a rule watches is in its pattern.

Each bucket has rules of its own, as many as its prefixes need: a pattern has 2,048 characters.
"""

import json
from collections.abc import Iterable, Sequence

from commands.deploy.template import Json
from event_aggregator.attached import watched

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


def watched_by(rules: Iterable[Json]) -> dict[str, list[str]]:
    """The buckets that the rules watch, each with the prefixes of its keys that count; an empty one: all keys."""
    found: dict[str, list[str]] = {}
    for rule in rules:
        for bucket, prefixes in watched(rule.get("EventPattern", "")).items():
            found.setdefault(bucket, []).extend(prefixes or [""])
    return found
