"""A bucket's notification configuration: ours in it, and out of it, whatever else there is."""

import json
from urllib.parse import quote_plus

import hypothesis
import pytest
from hypothesis import strategies as st

from commands.deploy import notification
from commands.deploy.notification import attached, detached, entries, filter_of, own_of, prefixes_of
from commands.deploy.template import DeployError, Json
from event_aggregator.attached import EVENTS as EVENTS_OF_OURS
from event_aggregator.attached import permissions

ARN = "arn:aws:lambda:us-east-1:123456789012:function:S3EventAggregator"
[OURS] = entries(ARN, "", [])


def test_the_buckets_are_those_that_s3_may_invoke_the_function_for() -> None:
    def statement(source: str, service: str = "s3", **more: str) -> Json:
        condition = {"Condition": {"ArnLike": {"AWS:SourceArn": source}}} if source else {}
        return {"Principal": {"Service": f"{service}.amazonaws.com"}, **condition, **more}

    named = statement("arn:aws:s3:::my.bucket", Sid="s3-my_bucket")
    of_others = [statement("arn:r", "events"), statement(""), statement("arn:aws:s3:::my-*")]

    assert permissions({"Statement": [named, *of_others]}) == [("my.bucket", "s3-my_bucket")]
    assert permissions({}) == []


def test_the_sweep_looks_for_the_event_types_that_attaching_asks_for() -> None:
    assert OURS["Events"] == EVENTS_OF_OURS


def test_an_entry_with_our_id_for_another_function_is_not_stolen() -> None:
    before = {"LambdaFunctionConfigurations": [{**OURS, "LambdaFunctionArn": f"{ARN}Other"}]}

    with pytest.raises(DeployError, match=f"s3-event-aggregator, and it goes to {ARN}Other"):
        attached(before, [OURS])
    assert detached(before, ARN) == before


@pytest.mark.parametrize(
    ("event", "rules", "prefixes", "overlap"),
    [
        ("s3:ObjectCreated:Put", {}, [], True),
        ("s3:ObjectCreated:*", {}, ["a/"], True),
        ("s3:ObjectRemoved:DeleteMarkerCreated", {}, [], True),
        ("s3:ObjectRestore:*", {}, [], False),
        ("s3:ObjectCreated:*", {"Prefix": "a/"}, [], True),
        ("s3:ObjectCreated:*", {"Prefix": "a/"}, ["a/b/"], True),
        ("s3:ObjectCreated:*", {"Prefix": "a/b/"}, ["a/", "c/"], True),
        ("s3:ObjectCreated:*", {"prefix": "a/"}, ["b/"], False),
        ("s3:ObjectCreated:*", {"suffix": ".gz"}, ["b/"], True),
        ("s3:ObjectCreated:*", {"prefix": "a/", "suffix": ".gz"}, ["b/"], False),
    ],
)
def test_entries_overlap_if_they_share_an_event_type_and_a_key(
    event: str, rules: dict[str, str], prefixes: list[str], *, overlap: bool
) -> None:
    key = {"FilterRules": [{"Name": name, "Value": value} for name, value in rules.items()]}
    theirs = {"Id": "theirs", "TopicArn": "arn:x", "Events": [event], "Filter": {"Key": key}}
    ours = entries(ARN, "", prefixes)
    before = {**attached({}, ours), "TopicConfigurations": [theirs]}

    assert notification.overlaps(before, ours) == ([f"theirs: {event} to arn:x"] if overlap else [])


@pytest.mark.parametrize(
    ("prefix", "value"),
    [
        ("photos/2026-01_a.b/", "photos/2026-01_a.b/"),
        ("a b+c=d%/", "a+b%2Bc%3Dd%25/"),
        ("für/", "f%C3%BCr/"),
        ("what is (not) clear/", "what+is+"),
        ("~home/", ""),
    ],
)
def test_a_prefix_is_encoded_for_its_filter_and_cut_off_where_the_encoding_is_not_documented(
    prefix: str, value: str
) -> None:
    assert notification.filter_value(prefix) == value


# Whatever else the bucket has

EVENTS = st.lists(st.sampled_from(["s3:ObjectCreated:*", "s3:ObjectCreated:Put", "s3:ObjectRestore:*"]), min_size=1)
FILTERS = st.fixed_dictionaries({"Name": st.sampled_from(["Prefix", "Suffix"]), "Value": st.text(max_size=5)}).map(
    lambda rule: {"Key": {"FilterRules": [rule]}}
)


def others_of(target: str, arn: str) -> st.SearchStrategy[list[Json]]:
    """Entries of others: never to our function."""
    ids = st.sampled_from(["other", "x-s3-event-aggregator", "é"])
    fixed = {target: st.just(arn), "Events": EVENTS}
    entry = st.fixed_dictionaries(fixed, optional={"Id": ids, "Filter": FILTERS})
    return st.lists(entry, min_size=1, max_size=3)


CONFIGURATIONS: st.SearchStrategy[Json] = st.fixed_dictionaries(
    {},
    optional={
        "LambdaFunctionConfigurations": others_of("LambdaFunctionArn", f"{ARN}Other"),
        "QueueConfigurations": others_of("QueueArn", "arn:aws:sqs:us-east-1:123456789012:q"),
        "TopicConfigurations": others_of("TopicArn", "arn:aws:sns:us-east-1:123456789012:t"),
        "EventBridgeConfiguration": st.just({}),
    },
)
RANDOM = hypothesis.settings(max_examples=50, derandomize=True, database=None, deadline=None)
PREFIXES = st.lists(st.text(st.sampled_from("ab/ü +%(~"), max_size=4), max_size=4)


@RANDOM
@hypothesis.given(CONFIGURATIONS, PREFIXES, PREFIXES, st.text(st.sampled_from("ab/ü +%(~"), max_size=6))
def test_attach_then_detach_is_the_identity_and_the_last_prefixes_hold(
    before: Json, first: list[str], second: list[str], rest: str
) -> None:
    copy = json.loads(json.dumps(before))
    ours = entries(ARN, "", second)
    after = attached(attached(before, entries(ARN, "", first)), ours)

    assert after["LambdaFunctionConfigurations"][-1] in ours
    assert attached(after, ours) == after
    assert attached(after, entries(ARN, "", prefixes_of(after, ARN))) == after
    assert detached(after, ARN) == before == copy
    assert detached(before, ARN) == before
    key = quote_plus((second or [""])[-1] + rest, safe="/")
    assert sum(key.startswith(filter_of(own).get("prefix", "")) for own in ours) == 1, "a key matches one entry of ours"


@RANDOM
@hypothesis.given(CONFIGURATIONS, EVENTS, st.integers(0, 3), st.sampled_from([OURS["Id"], "made-in-the-console", ""]))
def test_an_older_entry_for_our_function_is_replaced_and_one_that_is_as_it_should_be_stays_where_it_stands(
    others: Json, events: list[str], position: int, entry_id: str
) -> None:
    def before(**ours: object) -> Json:
        functions = list(others.get("LambdaFunctionConfigurations", []))
        functions.insert(position, {**OURS, **ours})
        return {**others, "LambdaFunctionConfigurations": functions}

    after = attached(before(Id=entry_id, Events=events), [OURS])

    assert own_of(after, ARN) == [OURS]
    assert detached(after, ARN) == others
    as_s3_answers = before(Events=OURS["Events"][::-1], Filter={"Key": {"FilterRules": []}})
    assert attached(as_s3_answers, [OURS]) == as_s3_answers
