"""Which rules of EventBridge tell of which buckets, as data: which these are is in the rules' patterns.

A pattern has 2,048 characters, so there are as many rules as the buckets and their prefixes need.
"""

import json
from collections.abc import Mapping, Sequence
from itertools import count

from commands.deploy.template import Json, RefusedError

# Buckets, each with the prefixes of its keys that count; none: all keys.
Watched = Mapping[str, Sequence[str]]
_MOST_CHARACTERS = 2_048


def pattern(watched: Watched) -> str:
    """The pattern that matches the changes of these buckets."""
    wide = sorted(bucket for bucket, prefixes in watched.items() if not prefixes)
    alternatives: list[Json] = [{"bucket": {"name": wide}}] if wide else []
    for bucket, prefixes in sorted(watched.items()):
        if prefixes:
            keys = [{"prefix": prefix} for prefix in sorted(prefixes)]
            alternatives.append({"bucket": {"name": [bucket]}, "object": {"key": keys}})
    detail = alternatives[0] if len(alternatives) == 1 else {"$or": alternatives}
    matched = {"source": ["aws.s3"], "detail-type": ["Object Created", "Object Deleted"], "detail": detail}
    return json.dumps(matched, ensure_ascii=False, separators=(",", ":"))


def of_all(rules: Mapping[str, Watched]) -> dict[str, list[str]]:
    """What the rules watch together."""
    found: dict[str, list[str]] = {}
    for of_rule in rules.values():
        for bucket, prefixes in of_rule.items():
            if bucket not in found:
                found[bucket] = list(prefixes)
            elif found[bucket]:
                found[bucket] = [*found[bucket], *prefixes] if prefixes else []
    return found


def without(rules: Mapping[str, Watched], bucket: str) -> dict[str, Watched]:
    """The rules when the bucket is in none of them; one that watches nothing is to be deleted."""
    return {name: {other: rule[other] for other in rule if other != bucket} for name, rule in rules.items()}


def with_bucket(rules: Mapping[str, Watched], name: str, bucket: str, prefixes: Sequence[str]) -> dict[str, Watched]:
    """The rules that watch this bucket too, each named `name`, `name`2, ...; the other buckets stay in theirs."""
    placed = without(rules, bucket)
    had = [rule for rule in rules if bucket in rules[rule]]
    for piece in _pieces(bucket, sorted(prefixes)):
        new = next(rule for number in count(1) if (rule := f"{name}{number if number > 1 else ''}") not in placed)
        for rule in [*had, *placed, new]:
            candidate = {**placed.get(rule, {}), bucket: piece}
            if bucket not in placed.get(rule, {}) and len(pattern(candidate)) <= _MOST_CHARACTERS:
                placed[rule] = candidate
                break
    return placed


def _pieces(bucket: str, prefixes: Sequence[str]) -> list[Sequence[str]]:
    """The prefixes, as many together as find room in one pattern."""
    pieces: list[list[str]] = [[]]
    for prefix in prefixes:
        if len(pattern({bucket: [*pieces[-1], prefix]})) > _MOST_CHARACTERS:
            pieces.append([])
        pieces[-1].append(prefix)
        if len(pattern({bucket: pieces[-1]})) > _MOST_CHARACTERS:
            raise RefusedError(f"--prefix {prefix[:40]}...: it finds no room in a rule's pattern. Give a shorter one.")
    return [piece for piece in pieces if piece] or [[]]
