"""The patterns of the rules for buckets that tell EventBridge."""

import hypothesis
from hypothesis import strategies as st

from commands.deploy.eventbridge import patterns, watched_by
from commands.deploy.notification import shortest

PREFIXES = st.lists(st.text(st.sampled_from('a/ü"%'), min_size=1, max_size=300), max_size=20).map(shortest)


@hypothesis.settings(max_examples=50, derandomize=True, database=None, deadline=None)
@hypothesis.given(PREFIXES)
def test_the_patterns_of_a_bucket_hold_its_prefixes_and_have_room_for_them(prefixes: list[str]) -> None:
    rules = [{"EventPattern": pattern} for pattern in patterns("b", prefixes)]

    assert watched_by(rules) == {"b": prefixes or [""]}
    assert all(len(rule["EventPattern"]) <= 2048 for rule in rules)
