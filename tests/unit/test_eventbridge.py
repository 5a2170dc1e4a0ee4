"""The rules for buckets that tell EventBridge: as many as their patterns need, and no bucket moves without need."""

import hypothesis
import pytest
from hypothesis import strategies as st

from commands.deploy.eventbridge import Watched, of_all, pattern, with_bucket, without
from commands.deploy.notification import shortest
from commands.deploy.template import RefusedError
from event_aggregator.attached import watched

BUCKETS = st.sampled_from(["a" * 60, "b" * 63, "c", "d" * 50, "e" * 40])
PREFIXES = st.lists(st.text(st.sampled_from('a/ü"%'), min_size=1, max_size=300), max_size=20).map(shortest)
RANDOM = hypothesis.settings(max_examples=200, derandomize=True, database=None, deadline=None)


@RANDOM
@hypothesis.given(st.dictionaries(BUCKETS, PREFIXES, min_size=1))
def test_a_pattern_holds_the_buckets_and_prefixes_that_were_put_into_it(given: dict[str, list[str]]) -> None:
    assert watched(pattern(given)) == given


@RANDOM
@hypothesis.given(st.lists(st.tuples(BUCKETS, PREFIXES), max_size=8))
def test_the_rules_watch_what_was_asked_for_last_and_each_has_room_for_it(asked: list[tuple[str, list[str]]]) -> None:
    rules: dict[str, Watched] = {}
    for bucket, prefixes in asked:
        before = rules
        rules = {name: rule for name, rule in with_bucket(rules, "r", bucket, prefixes).items() if rule}
        for name in before.keys() & rules.keys():
            others = before[name].keys() - {bucket}
            assert {other: rules[name].get(other) for other in others} == {
                other: before[name][other] for other in others
            }
    assert {bucket: sorted(prefixes) for bucket, prefixes in of_all(rules).items()} == {b: sorted(p) for b, p in asked}
    assert all(len(pattern(rule)) <= 2048 for rule in rules.values())
    for bucket, _ in asked:
        rules = {name: rule for name, rule in without(rules, bucket).items() if rule}
    assert rules == {}


def test_what_is_as_asked_for_stays_as_it_is() -> None:
    rules = with_bucket(with_bucket({}, "r", "a", ["x/"]), "r", "b", [])

    assert rules == {"r": {"a": ["x/"], "b": []}}
    assert with_bucket(rules, "r", "a", ["x/"]) == rules


def test_a_prefix_that_no_pattern_has_room_for_is_refused() -> None:
    with pytest.raises(RefusedError, match="finds no room in a rule's pattern"):
        with_bucket({}, "r", "a", ['"' * 1024])


def test_a_bucket_watched_in_full_by_one_rule_is_so_whatever_another_says() -> None:
    assert of_all({"r": {"a": ["x/"]}, "r2": {"a": []}}) == {"a": []}
    assert of_all({"r": {"a": []}, "r2": {"a": ["x/"]}}) == {"a": []}
