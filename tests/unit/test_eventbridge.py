"""The patterns of the rules for buckets that tell EventBridge."""

import hypothesis
from hypothesis import strategies as st

from commands.deploy.eventbridge import of_all, pattern, patterns
from commands.deploy.notification import shortest
from event_aggregator.attached import watched

PREFIXES = st.lists(st.text(st.sampled_from('a/ü"%'), min_size=1, max_size=300), max_size=20).map(shortest)


@hypothesis.settings(max_examples=200, derandomize=True, database=None, deadline=None)
@hypothesis.given(PREFIXES)
def test_the_patterns_of_a_bucket_hold_its_prefixes_and_have_room_for_them(prefixes: list[str]) -> None:
    rules = {str(number): watched(pattern) for number, pattern in enumerate(patterns("b", prefixes))}

    assert of_all(rules) == {"b": prefixes}
    assert all(len(pattern(bucket, those)) <= 2048 for rule in rules.values() for bucket, those in rule.items())


def test_a_bucket_watched_in_full_by_one_rule_is_so_whatever_another_says() -> None:
    assert of_all({"r": {"a": ["x/"]}, "r2": {"a": []}}) == {"a": []}
    assert of_all({"r": {"a": []}, "r2": {"a": ["x/"]}}) == {"a": []}
