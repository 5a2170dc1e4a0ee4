"""What the stack scripts do to documents, without AWS."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import hypothesis
import pytest
from hypothesis import strategies as st

from event_aggregator import file_shares
from scripts import stack_files

ROOT = Path(__file__).parents[2]
VALUES = {
    "Partition": "aws-cn",
    "Region": "cn-north-1",
    "NamePrefix": "",
    "Account": "123456789012",
    "Table": "dev-S3EventAggregator",
    "Queue": "dev-S3EventAggregatorActionQueue",
    "Function": "dev-S3StorageGatewayRefresh",
    "CompletionRule": "dev-S3EventAggregatorRefreshComplete",
    "SweepRule": "dev-S3EventAggregatorSweep",
    "GatewayRegions": "cn-north-1,cn-northwest-1",
    "GatewayRoles": "arn:aws-cn:iam::210987654321:role/gateways",
    "KmsKey": "arn:aws-cn:kms:cn-north-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab",
}
ARN = "arn:aws:lambda:us-east-1:123456789012:function:S3EventAggregator"
OURS = stack_files.render((ROOT / "s3/event.json").read_text(), {"NamePrefix": "", "FunctionArn": ARN})
OTHERS: stack_files.Json = {
    "QueueConfigurations": [
        {
            "Id": "audit",
            "QueueArn": "arn:aws:sqs:us-east-1:123456789012:audit",
            "Events": ["s3:ObjectTagging:*"],
            "Filter": {"Key": {"FilterRules": [{"Name": "Prefix", "Value": "a b+é/"}]}},
        }
    ],
    "LambdaFunctionConfigurations": [
        {"Id": "restore", "LambdaFunctionArn": f"{ARN}Other", "Events": ["s3:ObjectRestore:*"]},
    ],
    "EventBridgeConfiguration": {},
}


def entry(events: list[str], **rules: str) -> stack_files.Json:
    filter_rules = [{"Name": name, "Value": value} for name, value in rules.items()]
    return {"Id": "x", "TopicArn": "arn:x", "Events": events, "Filter": {"Key": {"FilterRules": filter_rules}}}


# Policies


@pytest.mark.parametrize("path", sorted((ROOT / "iam").glob("*.json")), ids=lambda path: path.stem)
def test_a_rendered_policy_has_no_placeholder_left_and_stays_in_its_partition(path: Path) -> None:
    text = json.dumps(stack_files.render(path.read_text(), VALUES))

    assert "${" not in text
    assert "arn:aws:" not in text


@pytest.mark.parametrize("path", sorted((ROOT / "iam").glob("*.json")), ids=lambda path: path.stem)
def test_only_actions_that_know_no_resource_are_allowed_on_every_one(path: Path) -> None:
    statements = stack_files.render(path.read_text(), VALUES)["Statement"]

    wide = [statement["Action"] for statement in statements if statement.get("Resource") == "*"]

    # Service authorization reference, list_amazons3 and list_awsstoragegateway: "Resource types" is empty. And those of
    # ec2 that Lambda's user guide names for functions in subnets, which may belong to another account.
    without_resource: dict[str, list[Any]] = {
        "vpc": [
            [
                *("ec2:CreateNetworkInterface", "ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets"),
                *("ec2:DeleteNetworkInterface", "ec2:AssignPrivateIpAddresses", "ec2:UnassignPrivateIpAddresses"),
            ]
        ],
        "access-points": [["s3:GetAccessPoint", "s3:ListAccessPoints"]],
        "sgw-refresh": ["storagegateway:ListFileShares"],
        "operator": [
            [
                *("storagegateway:ListFileShares", "s3:GetAccessPoint", "s3:ListAccessPoints"),
                *("lambda:ListEventSourceMappings", "logs:DescribeLogGroups"),
                *("cloudwatch:DescribeAlarms", "cloudwatch:GetMetricData"),
            ]
        ],
    }
    assert wide == without_resource.get(path.stem, [])
    assert not any("*" in action for statement in statements for action in statement["Action"])


def test_a_placeholder_without_a_value_is_an_error() -> None:
    with pytest.raises(KeyError, match="Table"):
        stack_files.render('{"Resource": "${Table}"}', {})


def test_a_text_with_a_placeholder_for_several_values_becomes_a_list_of_texts() -> None:
    template = '{"Statement": [{"Resource": "arn:${Region}:${Regions}:x"}]}'

    several, one = (stack_files.render(template, {"Region": "r", "Regions": regions}) for regions in ("a,b", "a"))

    assert several == {"Statement": [{"Resource": ["arn:r:a:x", "arn:r:b:x"]}]}
    assert one == {"Statement": [{"Resource": "arn:r:a:x"}]}


def test_joined_policies_hold_the_statements_of_all_in_order() -> None:
    policies = [{"Version": "2012-10-17", "Statement": [{"Sid": sid}]} for sid in "ab"]

    assert stack_files.join_policies(policies)["Statement"] == [{"Sid": "a"}, {"Sid": "b"}]


# File shares


@pytest.mark.parametrize(
    "location",
    [
        "arn:aws:s3:::my-bucket",
        "arn:aws:s3:::my-bucket/",
        "arn:aws-cn:s3:::my-bucket/a b/c/",
        "arn:aws:s3:::my-bucket/a b/c",
        "arn:aws:s3:::my-bucket//",
        "arn:aws:s3:us-east-1:123456789012:accesspoint/point",
        "arn:aws:s3:us-east-1:123456789012:accesspoint/point/a/",
        "arn:aws:s3:us-east-1:123456789012:accesspoint/point/a",
        "point-1a-s3alias/a/",
        "point-1a-s3alias/a",
        "arn:aws:s3:::point-1a-s3alias/",
    ],
)
def test_a_share_is_where_the_refresh_function_takes_it_to_be(location: str) -> None:
    described = [{"SMBFileShareInfoList": [{"LocationARN": location}]}]

    assert list(stack_files.locations(described)) == [file_shares.location(location)]


def test_a_prefix_without_a_slash_at_its_end_lets_no_neighbours_changes_through() -> None:
    described = [{"NFSFileShareInfoList": [{"LocationARN": "arn:aws:s3:::my-bucket/p"}]}]

    assert stack_files.prefixes_of_shares("us-east-1", ["my-bucket"], described) == ["p/"]


# Changes


def test_what_is_as_desired_has_no_changes_whatever_else_is_set() -> None:
    assert list(stack_files.changes({"A": 1, "B": {"C": 2, "D": 3}}, {"A": 1, "B": {"C": 2}})) == []


def test_a_change_names_the_setting_its_value_and_the_new_one() -> None:
    current = {"Timeout": 3, "Environment": {"Variables": {"DELAY": "30"}}}
    desired = {"Timeout": 30, "Environment": {"Variables": {"DELAY": "60", "LEVEL": "INFO"}}}

    assert list(stack_files.changes(current, desired)) == ["Timeout 3 -> 30", "DELAY 30 -> 60", "LEVEL none -> INFO"]


def test_json_in_a_string_is_compared_by_what_it_says() -> None:
    current = {"RedrivePolicy": '{"maxReceiveCount":100,"deadLetterTargetArn":"arn"}'}

    same = {"RedrivePolicy": '{"deadLetterTargetArn": "arn", "maxReceiveCount": 100}'}
    other = {"RedrivePolicy": '{"deadLetterTargetArn": "arn", "maxReceiveCount": 5}'}

    assert list(stack_files.changes(current, same)) == []
    assert list(stack_files.changes(current, other)) == ["RedrivePolicy"]


def test_of_documents_in_a_list_too_only_what_is_named_is_compared() -> None:
    current = {"Metrics": [{"Id": "a", "Period": 60, "Label": ""}]}

    assert list(stack_files.changes(current, {"Metrics": [{"Id": "a", "Period": 60}]})) == []
    assert list(stack_files.changes(current, {"Metrics": [{"Id": "a", "Period": 300}]})) == ["Metrics"]
    assert list(stack_files.changes(current, {"Metrics": []})) == ["Metrics"]
    assert list(stack_files.changes({}, {"Metrics": [{"Id": "a"}]})) == ["Metrics"]


def test_what_shall_be_empty_may_as_well_be_missing() -> None:
    current = {"KmsMasterKeyId": "alias/mine", "VpcConfig": {"SubnetIds": ["subnet-1a"]}}
    empty = {"KmsMasterKeyId": "", "VpcConfig": {"SubnetIds": []}}

    assert list(stack_files.changes(current, empty)) == ["KmsMasterKeyId alias/mine -> none", "SubnetIds"]
    assert list(stack_files.changes({}, empty)) == list(stack_files.changes(empty, empty)) == []


def test_a_long_value_is_not_told() -> None:
    assert list(stack_files.changes({"Description": "x"}, {"Description": "y" * 100})) == ["Description"]


# Function settings

FIXED: stack_files.Json = {"Environment": {"Variables": {"TABLE_NAME": "T"}}, "LoggingConfig": {"LogFormat": "JSON"}}
DEFAULTS = {"DELAY": "30", "LOG_LEVEL": "INFO"}


def with_variables(**variables: str) -> stack_files.Json:
    return {"Environment": {"Variables": variables}}


def settings(current: stack_files.Json, sibling: stack_files.Json, **given: str) -> dict[str, str]:
    configuration = stack_files.function_configuration(FIXED, current, sibling, given, DEFAULTS)
    variables: dict[str, str] = configuration["Environment"]["Variables"]
    return variables


def test_a_new_function_gets_the_defaults_and_what_is_given() -> None:
    assert settings({}, {}, LOG_LEVEL="ERROR") == {"TABLE_NAME": "T", "DELAY": "30", "LOG_LEVEL": "ERROR"}


def test_a_setting_that_is_not_given_keeps_its_value() -> None:
    assert settings(with_variables(DELAY="60"), {}, LOG_LEVEL="ERROR")["DELAY"] == "60"


def test_a_log_level_of_2018_is_called_by_its_present_name() -> None:
    current = {"Environment": {"Variables": {"LOG_LEVEL": "WARN"}}}

    assert stack_files.settings(current, {}, {}, DEFAULTS)["LOG_LEVEL"] == "WARNING"
    assert stack_files.settings({}, current, {}, DEFAULTS)["LOG_LEVEL"] == "WARNING"
    assert stack_files.settings(current, {}, {"LOG_LEVEL": "DEBUG"}, DEFAULTS)["LOG_LEVEL"] == "DEBUG"


def test_a_variable_that_the_user_added_stays() -> None:
    assert settings(with_variables(MINE="1"), {})["MINE"] == "1"


def test_a_function_lost_in_an_interrupted_run_gets_its_siblings_settings_and_only_those() -> None:
    assert settings({}, with_variables(DELAY="60", MINE="1")) == {"TABLE_NAME": "T", "DELAY": "60", "LOG_LEVEL": "INFO"}


def test_a_function_keeps_a_setting_of_its_own_that_differs_from_its_siblings() -> None:
    assert settings(with_variables(DELAY="60"), with_variables(DELAY="90"))["DELAY"] == "60"


@pytest.mark.parametrize(("level", "filtered"), [("DEBUG", "DEBUG"), ("INFO", "INFO"), ("ERROR", "INFO")])
def test_lambdas_own_log_filter_lets_metrics_through_at_every_level(level: str, filtered: str) -> None:
    configuration = stack_files.function_configuration(FIXED, {}, {}, {"LOG_LEVEL": level}, DEFAULTS)

    assert configuration["LoggingConfig"] == {"LogFormat": "JSON", "ApplicationLogLevel": filtered}


@pytest.mark.parametrize(
    ("delay", "quiet", "longest", "interval", "window"),
    [
        ("30", "0", "900", "60", 60),
        ("120", "0", "900", "60", 120),
        ("120", "10", "900", "60", 900),
        ("120", "10", "20", "60", 60),
        ("30,renders=600", "0", "900", "60", 600),
        ("30", "0,renders=10", "900,renders=1200", "60", 1200),
        ("600,renders=30", "0", "900", "60,share-1=3600", 3600),
    ],
)
def test_a_change_waits_for_the_longest_delay_or_maximum_of_any_bucket_or_for_the_longest_interval(
    delay: str, quiet: str, longest: str, interval: str, window: int
) -> None:
    variables = {
        "REFRESH_DELAY_SECONDS": delay,
        "REFRESH_QUIET_SECONDS": quiet,
        "REFRESH_MAX_DELAY_SECONDS": longest,
        "MIN_REFRESH_INTERVAL_SECONDS": interval,
    }

    assert stack_files.window_seconds(variables) == window


def test_the_buckets_are_those_that_s3_may_invoke_the_function_for() -> None:
    policy = {
        "Statement": [
            {"Principal": {"Service": "events.amazonaws.com"}, "Condition": {"ArnLike": {"AWS:SourceArn": "arn:r"}}},
            {
                "Sid": "s3-my_bucket",
                "Principal": {"Service": "s3.amazonaws.com"},
                "Condition": {"ArnLike": {"AWS:SourceArn": "arn:aws:s3:::my.bucket"}},
            },
            {"Sid": "any-bucket", "Principal": {"Service": "s3.amazonaws.com"}},
        ]
    }

    assert stack_files.permitted_buckets(policy) == ["my.bucket"]
    assert stack_files.permissions(policy) == [("my.bucket", "s3-my_bucket")]
    assert stack_files.permitted_buckets({}) == []


# Bucket notifications


@pytest.mark.parametrize("before", [{}, OTHERS], ids=["none", "others"])
def test_attached_and_detached_again_leaves_every_notification_as_it_was(before: stack_files.Json) -> None:
    attached = stack_files.attach(before, OURS)

    assert OURS in attached["LambdaFunctionConfigurations"]
    assert stack_files.detach(attached, OURS) == before


def test_attaching_keeps_everything_of_others_to_the_letter() -> None:
    attached = stack_files.attach(OTHERS, OURS)

    attached["LambdaFunctionConfigurations"].remove(OURS)
    assert attached == OTHERS


def test_attaching_again_changes_nothing_though_s3_answers_in_another_order() -> None:
    answered = {**OURS, "Events": OURS["Events"][::-1], "Filter": {"Key": {"FilterRules": []}}}
    before = stack_files.attach(OTHERS, answered)

    assert stack_files.attach(before, OURS) == before


def test_our_entry_is_replaced_when_its_events_differ() -> None:
    before = stack_files.attach(OTHERS, {**OURS, "Events": ["s3:ObjectCreated:*"]})

    assert stack_files.attach(before, OURS) == stack_files.attach(OTHERS, OURS)


def test_an_entry_with_our_id_for_another_function_is_not_stolen() -> None:
    theirs = {**OURS, "LambdaFunctionArn": f"{ARN}Other"}
    before = {"LambdaFunctionConfigurations": [theirs]}

    with pytest.raises(ValueError, match=f"s3-event-aggregator, and it goes to {ARN}Other"):
        stack_files.attach(before, OURS)
    assert stack_files.detach(before, OURS) == before


@pytest.mark.parametrize(
    ("theirs", "ours", "overlap"),
    [
        (entry(["s3:ObjectCreated:Put"]), entry(["s3:ObjectCreated:*"]), True),
        (entry(["s3:ObjectCreated:*"]), entry(["s3:ObjectCreated:Put"]), True),
        (entry(["s3:ObjectCreated:Put"]), entry(["s3:ObjectCreated:Post"]), False),
        (entry(["s3:ObjectRemoved:Delete"]), entry(["s3:ObjectRemoved:DeleteMarkerCreated"]), False),
        (entry(["s3:ObjectRestore:*"]), entry(["s3:ObjectRemoved:*"]), False),
        (entry(["s3:ObjectCreated:*"], Prefix="a/"), entry(["s3:ObjectCreated:*"]), True),
        (entry(["s3:ObjectCreated:*"], Prefix="a/"), entry(["s3:ObjectCreated:*"], prefix="a/b/"), True),
        (entry(["s3:ObjectCreated:*"], prefix="a/"), entry(["s3:ObjectCreated:*"], prefix="b/"), False),
        (entry(["s3:ObjectCreated:*"], suffix=".gz"), entry(["s3:ObjectCreated:*"], suffix=".tar.gz"), True),
        (entry(["s3:ObjectCreated:*"], suffix=".gz"), entry(["s3:ObjectCreated:*"], suffix=".zip"), False),
        (
            entry(["s3:ObjectCreated:*"], prefix="a/", suffix=".gz"),
            entry(["s3:ObjectCreated:*"], prefix="a/", suffix=".zip"),
            False,
        ),
    ],
)
def test_entries_overlap_if_they_share_an_event_type_and_a_key(
    theirs: stack_files.Json, ours: stack_files.Json, overlap: bool
) -> None:
    found = stack_files.overlaps({"TopicConfigurations": [{**theirs, "Id": "theirs"}]}, ours)

    assert found == ([f"theirs: {theirs['Events'][0]} to arn:x"] if overlap else [])


def test_an_entry_of_ours_for_each_prefix_overlaps_with_those_of_others_and_not_with_another() -> None:
    theirs = {**entry(["s3:ObjectCreated:*"], prefix="a/b/"), "Id": "theirs"}
    before = {**stack_files.attach({}, OURS, ["a/", "c/"]), "TopicConfigurations": [theirs]}

    assert stack_files.overlaps(before, OURS, ["a/", "c/"]) == ["theirs: s3:ObjectCreated:* to arn:x"]
    assert stack_files.overlaps(before, OURS, ["c/"]) == []


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
    assert stack_files.filter_value(prefix) == value


def test_what_a_notification_configuration_lost_and_got_is_named() -> None:
    expected = stack_files.attach(OTHERS, OURS)
    reordered = {name: expected[name][::-1] if expected[name] else {} for name in reversed(expected)}
    theirs = {"TopicConfigurations": [{**entry(["s3:ObjectRestore:*"]), "Id": "new"}]}

    assert list(stack_files.differences(expected, reordered)) == []
    assert list(stack_files.differences(expected, {**theirs, **OTHERS})) == [
        "missing: s3-event-aggregator",
        "unexpected: new",
    ]
    assert list(stack_files.differences({}, {"EventBridgeConfiguration": {}})) == ["EventBridge is on"]


# What house rules leave behind

KEY = "arn:aws:kms:us-east-1:123456789012:key/1"
MAY_DECRYPT = {"PolicyDocument": {"Statement": [{"Action": ["kms:Decrypt"], "Resource": KEY}]}}
MAY_DELETE = {"PolicyDocument": {"Statement": [{"Action": ["ec2:DeleteNetworkInterface"], "Resource": "*"}]}}


@pytest.mark.parametrize(
    ("changed", "messages", "usable"),
    [
        (0, {}, [KEY]),  # as it was a moment ago: nothing that it shows counts
        (299, {"ApproximateNumberOfMessages": "0"}, [KEY]),
        (301, {"ApproximateNumberOfMessages": "0", "ApproximateNumberOfMessagesDelayed": "0"}, []),
        (3600, {"ApproximateNumberOfMessages": "0", "ApproximateNumberOfMessagesDelayed": "1"}, [KEY]),
        (3600, {"ApproximateNumberOfMessagesNotVisible": "1"}, [KEY]),
        (15 * 86_400, {"ApproximateNumberOfMessagesDelayed": "1"}, []),
    ],
)
def test_an_earlier_key_is_usable_until_no_message_needs_it(
    changed: int, messages: dict[str, str], usable: list[str]
) -> None:
    queue = {"LastModifiedTimestamp": str(1_790_000_000 - changed), **messages}
    assert stack_files.usable_keys("", [{}, {}], MAY_DECRYPT, queue, 1_790_000_000) == usable


def test_the_key_of_the_functions_settings_and_a_new_one_are_usable() -> None:
    functions = [{"KMSKeyArn": KEY}, {}]
    assert stack_files.usable_keys("new", functions, {}, {}, 1_790_000_000) == ["new", KEY]


@pytest.mark.parametrize(
    ("wanted", "subnets", "minutes", "network"),
    [
        ("", ["subnet-1"], 0, "subnets"),
        ("subnet-2", [], 0, "subnets"),
        ("none", ["subnet-1"], 0, "left"),
        ("", [], 90, "left"),
        ("", [], 150, ""),
    ],
)
def test_a_function_that_left_its_subnets_may_have_left_interfaces_for_two_hours(
    wanted: str, subnets: list[str], minutes: int, network: str
) -> None:
    function = {"LastModified": "2026-09-21T14:13:20.000+0000", "VpcConfig": {"SubnetIds": subnets}}
    changed = datetime(2026, 9, 21, 14, 13, 20, tzinfo=UTC).timestamp()
    assert stack_files.network(wanted, function, MAY_DELETE, changed + 60 * minutes) == network


# Bucket notifications, whatever else the bucket has

EVENTS = st.lists(st.sampled_from(["s3:ObjectCreated:*", "s3:ObjectCreated:Put", "s3:ObjectRestore:*"]), min_size=1)
FILTERS = st.fixed_dictionaries({"Name": st.sampled_from(["Prefix", "Suffix"]), "Value": st.text(max_size=5)}).map(
    lambda rule: {"Key": {"FilterRules": [rule]}}
)


def others_of(target: str, arns: list[str]) -> st.SearchStrategy[list[stack_files.Json]]:
    """Entries of others: never to our function."""
    entries = st.fixed_dictionaries(
        {target: st.sampled_from(arns), "Events": EVENTS},
        optional={"Id": st.sampled_from(["other", "x-s3-event-aggregator", "é"]), "Filter": FILTERS},
    )
    return st.lists(entries, min_size=1, max_size=3)


CONFIGURATIONS: st.SearchStrategy[stack_files.Json] = st.fixed_dictionaries(
    {},
    optional={
        "LambdaFunctionConfigurations": others_of("LambdaFunctionArn", [f"{ARN}Other"]),
        "QueueConfigurations": others_of("QueueArn", ["arn:aws:sqs:us-east-1:123456789012:q"]),
        "TopicConfigurations": others_of("TopicArn", ["arn:aws:sns:us-east-1:123456789012:t"]),
        "EventBridgeConfiguration": st.just({}),
    },
)
RANDOM = hypothesis.settings(max_examples=300, derandomize=True, database=None, deadline=None)
PREFIXES = st.lists(st.text(st.sampled_from("ab/ü +%(~"), max_size=4), max_size=4)


@RANDOM
@hypothesis.given(CONFIGURATIONS, PREFIXES, PREFIXES)
def test_with_prefixes_as_well_attach_then_detach_is_the_identity_and_the_last_prefixes_hold(
    before: stack_files.Json, first: list[str], second: list[str]
) -> None:
    attached = stack_files.attach(stack_files.attach(before, OURS, first), OURS, second)

    assert attached["LambdaFunctionConfigurations"][-1] in stack_files.own_entries(OURS, second)
    assert stack_files.attach(attached, OURS, second) == attached
    in_force = stack_files.prefixes_in_force(attached, OURS, {}, "b")
    assert stack_files.attach(attached, OURS, in_force) == attached
    assert stack_files.detach(attached, OURS) == before


@RANDOM
@hypothesis.given(PREFIXES, st.text(st.sampled_from("ab/ü +%(~"), max_size=6))
def test_a_key_below_a_prefix_matches_exactly_one_entry_of_ours(prefixes: list[str], rest: str) -> None:
    key = quote_plus((prefixes or [""])[-1] + rest, safe="/")
    filters = [stack_files.filter_of(own).get("prefix", "") for own in stack_files.own_entries(OURS, prefixes)]

    assert sum(key.startswith(prefix) for prefix in filters) == 1


@RANDOM
@hypothesis.given(st.dictionaries(st.sampled_from(["a", "b", "c"]), PREFIXES.map(stack_files.shortest), min_size=1))
def test_the_rules_pattern_holds_the_buckets_and_prefixes_that_were_put_into_it(watched: dict[str, list[str]]) -> None:
    assert stack_files.matched(stack_files.rule_for(watched)) == watched


@RANDOM
@hypothesis.given(CONFIGURATIONS)
def test_attach_then_detach_is_the_identity_and_attach_is_idempotent(before: stack_files.Json) -> None:
    copy = json.loads(json.dumps(before))
    attached = stack_files.attach(before, OURS)

    assert stack_files.attach(attached, OURS) == attached
    assert stack_files.detach(attached, OURS) == before == copy
    assert stack_files.detach(before, OURS) == before


@RANDOM
@hypothesis.given(CONFIGURATIONS, EVENTS, st.integers(0, 3), st.sampled_from([OURS["Id"], "made-in-the-console", ""]))
def test_an_older_entry_for_our_function_is_replaced_wherever_it_stands_and_those_of_others_stay_as_they_were(
    others: stack_files.Json, events: list[str], position: int, entry_id: str
) -> None:
    functions = list(others.get("LambdaFunctionConfigurations", []))
    functions.insert(position, {**OURS, "Id": entry_id, "Events": events})
    before = {**others, "LambdaFunctionConfigurations": functions}

    attached = stack_files.attach(before, OURS)

    assert attached["LambdaFunctionConfigurations"].count(OURS) == 1
    assert stack_files.detach(attached, OURS) == stack_files.detach(before, OURS) == others


@RANDOM
@hypothesis.given(CONFIGURATIONS, st.integers(0, 3))
def test_an_entry_of_ours_that_is_as_it_should_be_stays_where_it_stands(
    others: stack_files.Json, position: int
) -> None:
    functions = list(others.get("LambdaFunctionConfigurations", []))
    functions.insert(position, {**OURS, "Events": OURS["Events"][::-1]})
    before = {**others, "LambdaFunctionConfigurations": functions}

    assert stack_files.attach(before, OURS) == before
