"""create-stack.sh against a stub of the AWS CLI: what the local AWS cannot show, or not in a moment."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from scripts import stack_files
from tests.unit.resident import Programs, operation_of

ROOT = Path(__file__).parents[2]

ABSENT = ["An error occurred (ResourceNotFoundException) when calling the X operation: It is not there"]
NO_ROLE = ["An error occurred (NoSuchEntity) when calling the GetRole operation: It is not there"]
NO_DASHBOARD = ["An error occurred (ResourceNotFound) when calling the GetDashboard operation: It is not there"]
NO_QUEUE = ["An error occurred (QueueDoesNotExist) when calling the GetQueueUrl operation: It is not there"]
EMPTY_ACCOUNT = {
    "--version": ["aws-cli/2.18.0 Python/3.12.6 Linux/6.1 exe/x86_64"],
    "sts get-caller-identity": ["123456789012\tarn:aws:iam::123456789012:user/me"],
    "s3api get-bucket-location": ["None"],
    "s3api get-bucket-notification-configuration": [""],
    "dynamodb describe-table": ABSENT,
    "sqs get-queue-url": NO_QUEUE,
    "sqs create-queue": ["https://sqs.us-east-1.amazonaws.com/123456789012/Q"],
    "iam get-role": NO_ROLE,
    "iam get-role-policy": NO_ROLE,
    "logs describe-log-groups": ["null"],
    "lambda get-function-configuration": ABSENT,
    "lambda get-function-concurrency": ABSENT,
    "lambda get-function-event-invoke-config": ABSENT,
    "lambda get-function-recursion-config": ABSENT,
    "lambda get-policy": ABSENT,
    "events describe-rule": ABSENT,
    "events list-targets-by-rule": ABSENT,
    "lambda list-event-source-mappings": ["null"],
    "cloudwatch describe-alarms": ['{"MetricAlarms": []}'],
    "cloudwatch get-dashboard": NO_DASHBOARD,
}


@dataclass
class Run:
    exit_code: int
    output: str
    details: list[list[str]]  # each call with its arguments; in the place of a file what it holds
    retries: list[str]  # each call's mode and number

    @property
    def calls(self) -> list[str]:
        return [operation for operation, *_ in self.details]

    @property
    def writes(self) -> list[str]:
        return [
            call for call in self.calls if " " in call and not call.split(" ")[1].startswith(("get", "list", "desc"))
        ]

    def told(self, operation: str, flag: str) -> list[str]:
        """What the calls of an operation were given by a flag."""
        return [call[call.index(flag) + 1] for call in self.details if call[0] == operation and flag in call]


@dataclass
class Checkout:
    """A copy of what the script needs, with the stubs on its PATH, and an account that holds what the answers say."""

    folder: Path
    programs: Programs
    policies: dict[str, str] = field(default_factory=dict)  # of roles, as put last

    def create_stack(
        self, *arguments: str, answers: Mapping[str, Sequence[str]] | None = None, **environment: str
    ) -> Run:
        run = Run(0, "", [], [])
        self.programs.aws = partial(self.answer, run, {**EMPTY_ACCOUNT, **(answers or {})})
        result = subprocess.run(
            [self.folder / "scripts/create-stack.sh", "--region", "us-east-1", *arguments],
            env={"PATH": f"{self.folder / 'bin'}:/usr/bin:/bin"} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        run.exit_code, run.output = result.returncode, result.stdout
        return run

    def answer(self, run: Run, answers: Mapping[str, Sequence[str]], retries: str, arguments: list[str]) -> str:
        """The next of the answers to the operation, or else the last."""
        operation, words = operation_of(arguments)
        of_operation = answers.get(operation, ["{}"])
        answer = of_operation[min(run.calls.count(operation), len(of_operation) - 1)]
        words = [Path(word[7:]).read_text() if word.startswith("file://") else word for word in words]
        run.details.append([operation, *words])
        run.retries.append(retries)
        match operation:
            case "iam put-role-policy":
                self.policies[words[1]] = words[-1]
            case "s3api get-bucket-notification-configuration":
                put = run.told("s3api put-bucket-notification-configuration", "--notification-configuration")
                answer = put[-1] if put else answer
        if answer.startswith("An error occurred"):
            raise ValueError(f"\n{answer}")
        return f"{answer}\n"


@pytest.fixture
def checkout(tmp_path: Path, programs: Programs) -> Checkout:
    for folder in ("scripts", "iam", "s3", "cloudwatch"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    (tmp_path / "src").mkdir()
    # No requirements, fetched before: the tests need no network.
    (tmp_path / "requirements.txt").touch()
    key = subprocess.run(["cksum"], input="", capture_output=True, text=True, check=True).stdout.strip()
    (tmp_path / "build" / f"packages-{key.replace(' ', '-')}").mkdir(parents=True)
    programs.install(tmp_path / "bin")
    return Checkout(tmp_path, programs)


# Before anything is made


@pytest.mark.parametrize(
    "version", ["aws-cli/1.34.0 Python/3.11", "aws-cli/2.9.19 Python/3.11", "-bash: no such thing"]
)
def test_a_cli_that_is_too_old_is_refused_with_the_way_to_upgrade(checkout: Checkout, version: str) -> None:
    run = checkout.create_stack("--bucket", "my-bucket", answers={"--version": [version]})

    assert run.exit_code == 1
    assert "Upgrade it: https://" in run.output
    assert run.calls == ["--version"]


def test_a_bucket_in_another_region_is_refused_with_the_region_to_give(checkout: Checkout) -> None:
    run = checkout.create_stack("--bucket", "my-bucket", answers={"s3api get-bucket-location": ["EU"]})

    assert run.exit_code == 1
    assert "my-bucket is in eu-west-1" in run.output
    assert "--region eu-west-1" in run.output
    assert run.writes == []


def test_a_bucket_that_does_not_exist_is_refused(checkout: Checkout) -> None:
    missing = ["An error occurred (NoSuchBucket) when calling the GetBucketLocation operation: It is not there"]

    run = checkout.create_stack("--bucket", "my-bucket", answers={"s3api get-bucket-location": missing})

    assert run.exit_code == 1
    assert "There is no bucket my-bucket" in run.output
    assert run.writes == []


def test_a_quiet_time_above_the_maximum_is_refused_before_anything_is_made(checkout: Checkout) -> None:
    run = checkout.create_stack("--bucket", "my-bucket", "--refresh-quiet-seconds", "901")

    assert run.exit_code == 1
    assert "--refresh-quiet-seconds is 901 and --refresh-max-delay-seconds is 900" in run.output
    assert "Lower the quiet time or raise the maximum." in run.output
    assert run.writes == []


@pytest.mark.parametrize(
    ("flag", "value", "allowed"),
    [
        ("--in-progress-timeout-seconds", "86401", "from 0 to 86400"),
        ("--in-progress-timeout-seconds", "-1", "from 0 to 86400"),
        ("--in-progress-timeout-seconds", "1.5", "from 0 to 86400"),
        ("--refresh-delay-seconds", "30, renders=600", "without spaces, like 30,my-bucket=600"),
        ("--refreshes-per-gateway", "0", "from 1 to 50"),
        ("--log-level", "LOUD", "DEBUG INFO WARNING ERROR"),
        ("--gateway-regions", "us-east-1, eu-west-1", "it must be regions"),
        ("--gateway-regions", "us-east-1,", "it must be regions"),
        ("--gateway-role-arns", "gateways", "it must be ARNs of roles"),
        ("--gateway-external-ids", "secret", "it must be ACCOUNT=ID"),
        ("--ignore-keys", "*.tmp, *.bak", "it must be patterns of some keys"),
        ("--ignore-keys", "*.tmp,*/*", "it must be patterns of some keys"),
        ("--log-retention-days", "31", "14 30 60"),
        ("--name-prefix", "a b", "letters, digits"),
        ("--alarm-topic-arn", "operators", "arn:aws:sns:REGION:ACCOUNT:NAME"),
        ("--alarm-topic-arn", "arn:aws:sqs:us-east-1:123456789012:operators", "arn:aws:sns:REGION:ACCOUNT:NAME"),
        ("--alarm-topic-arn", "arn:aws:sns:us-east-1:123456789012:a.fifo", "no FIFO topics"),
        ("--bucket", "My_Bucket", "not a bucket name"),
        ("--bucket", "fast--use1-az4--x-s3", "a directory bucket (S3 Express) tells nobody of its changes"),
        ("--bucket", "rows--table-s3", "a table bucket (S3 Tables) has no files"),
        ("--bucket", "point-x1-s3alias", "Give the bucket behind it"),
        ("--permissions-boundary", "OnlyThis", "arn:aws:iam::ACCOUNT:policy/NAME"),
        ("--tag", "=nobody", "KEY=VALUE"),
        ("--kms-key", "alias/mine", "arn:aws:kms:REGION:ACCOUNT:key/ID"),
        ("--subnet-ids", "subnet-1a,", "subnet-1a2b,subnet-3c4d"),
        ("--security-group-ids", "mine", "sg-1a2b,sg-3c4d"),
    ],
)
def test_a_value_out_of_range_is_refused_with_its_flag_and_the_range(
    checkout: Checkout, flag: str, value: str, allowed: str
) -> None:
    run = checkout.create_stack("--bucket", "my-bucket", flag, value)

    assert run.exit_code == 1
    assert f"{flag} {value}: " in run.output
    assert allowed in run.output
    assert run.calls == []


@pytest.mark.parametrize(
    ("flag", "value", "bad", "allowed"),
    [
        ("--refresh-delay-seconds", "43201", "43201", "from 0 to 43200"),
        ("--refresh-delay-seconds", "30,renders=soon,b=1", "renders=soon', 'b=1", "from 0 to 43200"),
        ("--refresh-quiet-seconds", "-1", "-1", "from 0 to 43200"),
        ("--refresh-max-delay-seconds", "900,renders=0", "renders=0", "from 1 to 43200"),
        ("--min-refresh-interval-seconds", "60,share-1=3601", "share-1=3601", "from 1 to 3600"),
        ("--refresh-scope", "folders,renders=all", "renders=all", "one of folders, share"),
    ],
)
def test_every_bad_part_of_a_setting_with_exceptions_is_named_before_anything_is_made(
    checkout: Checkout, flag: str, value: str, bad: str, allowed: str
) -> None:
    run = checkout.create_stack("--bucket", "my-bucket", flag, value)

    assert run.exit_code == 1
    assert f"{flag} holds '{bad}': set it to " in run.output
    assert allowed in run.output
    assert run.writes == []


def test_a_contradiction_for_one_bucket_is_refused_before_anything_is_made(checkout: Checkout) -> None:
    run = checkout.create_stack("--bucket", "my-bucket", "--refresh-quiet-seconds", "0,my-bucket=901")

    assert run.exit_code == 1
    assert "For my-bucket --refresh-quiet-seconds is 901 and --refresh-max-delay-seconds is 900" in run.output
    assert run.writes == []


def test_a_setting_with_exceptions_is_passed_to_both_functions_as_it_is_written(checkout: Checkout) -> None:
    delays, intervals = "30,my-bucket=600", "60,share-1234ABCD=3600"

    run = checkout.create_stack(
        *("--bucket", "my-bucket", "--refresh-delay-seconds", delays, "--min-refresh-interval-seconds", intervals)
    )

    assert run.exit_code == 0, run.output
    for function in map(json.loads, run.told("lambda create-function", "--cli-input-json")):
        variables = function["Environment"]["Variables"]
        assert (variables["REFRESH_DELAY_SECONDS"], variables["MIN_REFRESH_INTERVAL_SECONDS"]) == (delays, intervals)
    alarms = map(json.loads, run.told("cloudwatch put-metric-alarm", "--cli-input-json"))
    assert 3 * 3600 in {alarm["Threshold"] for alarm in alarms}, "the longest interval counts"


def test_a_topic_in_another_region_is_refused_before_anything_is_made(checkout: Checkout) -> None:
    topic = "arn:aws:sns:us-west-2:123456789012:operators"

    run = checkout.create_stack("--bucket", "my-bucket", "--alarm-topic-arn", topic)

    assert run.exit_code == 1
    assert f"--alarm-topic-arn {topic}: " in run.output
    assert "topics in us-east-1 only" in run.output
    assert run.writes == []


def test_the_first_run_needs_a_bucket(checkout: Checkout) -> None:
    run = checkout.create_stack()

    assert run.exit_code == 1
    assert "Which bucket?" in run.output
    assert run.writes == []


@pytest.mark.parametrize(("seconds", "warned"), [("59", True), ("60", False)])
def test_an_interval_below_that_of_aws_is_taken_and_warned_of_with_the_reason(
    checkout: Checkout, seconds: str, warned: bool
) -> None:
    run = checkout.create_stack("--bucket", "my-bucket", "--min-refresh-interval-seconds", seconds, "--dry-run")

    assert run.exit_code == 0, run.output
    warning = "Warning: --min-refresh-interval-seconds is 59, and AWS asks for 60 s between two refreshes of a share."
    assert (f"{warning} By an older page of its reference, an earlier refresh may do nothing" in run.output) == warned
    assert ("Warning" in run.output) == warned


# Where the gateways are


def statements(checkout: Checkout) -> dict[str, Any]:
    """Those of the refresh function's policy, as it was put last, by their Sid."""
    policy = json.loads(checkout.policies["S3AggregatorActionLambdaRole"])
    return {statement["Sid"]: statement for statement in policy["Statement"]}


def test_shares_may_be_refreshed_in_the_regions_of_the_gateways_and_in_no_other(checkout: Checkout) -> None:
    run = checkout.create_stack("--bucket", "my-bucket", "--gateway-regions", "us-east-1,eu-west-1")

    assert run.exit_code == 0, run.output
    shares = [f"arn:aws:storagegateway:{region}:123456789012:share/*" for region in ("us-east-1", "eu-west-1")]
    assert statements(checkout)["RefreshFileShares"]["Resource"] == shares


def test_regions_of_gateways_that_are_not_given_again_stay(checkout: Checkout) -> None:
    function = {"Environment": {"Variables": {"GATEWAY_REGIONS": "eu-west-1"}}}

    run = checkout.create_stack(answers={"lambda get-function-configuration": [json.dumps(function)]})

    assert run.exit_code == 0, run.output
    share = "arn:aws:storagegateway:eu-west-1:123456789012:share/*"
    assert statements(checkout)["RefreshFileShares"]["Resource"] == share


def test_without_regions_the_gateways_are_in_that_of_the_stack(checkout: Checkout) -> None:
    checkout.create_stack("--bucket", "my-bucket", "--gateway-regions", "")

    share = "arn:aws:storagegateway:us-east-1:123456789012:share/*"
    assert statements(checkout)["RefreshFileShares"]["Resource"] == share


def test_exactly_the_named_roles_may_be_assumed_and_none_if_none_is_named(checkout: Checkout) -> None:
    roles = [f"arn:aws:iam::{account}:role/gateways" for account in ("210987654321", "999999999999")]

    run = checkout.create_stack("--bucket", "my-bucket", "--gateway-role-arns", ",".join(roles))

    assert run.exit_code == 0, run.output
    statement = statements(checkout)["RefreshFileSharesOfOtherAccounts"]
    assert (statement["Action"], statement["Resource"]) == ("sts:AssumeRole", roles)
    checkout.create_stack("--bucket", "my-bucket")
    assert "RefreshFileSharesOfOtherAccounts" not in statements(checkout)


def test_a_role_of_the_stacks_own_account_is_refused(checkout: Checkout) -> None:
    role = "arn:aws:iam::123456789012:role/gateways"

    run = checkout.create_stack("--bucket", "my-bucket", "--gateway-role-arns", role)

    assert run.exit_code == 1
    assert "a role of this account, 123456789012" in run.output
    assert run.writes == []


def test_two_roles_of_one_account_are_refused_before_anything_is_made(checkout: Checkout) -> None:
    roles = ",".join(f"arn:aws:iam::210987654321:role/{name}" for name in "ab")

    run = checkout.create_stack("--bucket", "my-bucket", "--gateway-role-arns", roles)

    assert run.exit_code == 1
    assert "--gateway-role-arns holds two roles of one account" in run.output
    assert run.writes == []


@pytest.mark.parametrize(("given", "in_force"), [("https://vpce", ""), (None, "https://vpce")])
def test_several_regions_are_refused_with_an_endpoint_which_would_be_that_of_one(
    checkout: Checkout, given: str | None, in_force: str
) -> None:
    name = "AWS_ENDPOINT_URL_STORAGE_GATEWAY"
    there = json.dumps({"State": "Active", "Environment": {"Variables": {name: in_force}}})
    answers = DEPLOYED | {"lambda get-function-configuration": ['{"State": "Active"}', there]}
    environment = {} if given is None else {name: given}

    run = checkout.create_stack("--gateway-regions", "us-east-1,eu-west-1", answers=answers, **environment)

    assert run.exit_code == 1
    assert "https://vpce serves one region, and --gateway-regions holds us-east-1,eu-west-1" in run.output
    assert run.writes == []


ROLES = ("--gateway-role-arns", "arn:aws:iam::210987654321:role/gateways")


# Dry run


def test_a_dry_run_says_what_would_be_created_and_makes_no_writing_call(checkout: Checkout) -> None:
    run = checkout.create_stack("--bucket", "my-bucket", "--name-prefix", "dev-", "--dry-run")

    assert run.exit_code == 0
    assert "would create table dev-S3EventAggregator" in run.output
    assert "would create function dev-S3StorageGatewayRefresh" in run.output
    assert "would set notification of my-bucket" in run.output
    assert run.writes == []


def test_a_dry_run_says_which_setting_of_a_function_would_change(checkout: Checkout) -> None:
    current = {"State": "Active", "Environment": {"Variables": {"REFRESH_DELAY_SECONDS": "30", "LOG_LEVEL": "INFO"}}}
    answers = {"lambda get-function-configuration": [json.dumps(current)]}

    run = checkout.create_stack("--refresh-delay-seconds", "60", "--dry-run", answers=answers)

    assert run.exit_code == 0
    assert "REFRESH_DELAY_SECONDS 30 -> 60" in run.output
    assert run.writes == []


# What AWS may answer


def test_a_denied_call_ends_the_run_and_is_not_taken_for_absence(checkout: Checkout) -> None:
    denied = ["An error occurred (AccessDenied) when calling the GetRole operation: You may not"]

    run = checkout.create_stack("--bucket", "my-bucket", answers={"iam get-role": denied})

    assert run.exit_code == 1
    assert "You may not" in run.output
    assert run.writes == []


def test_what_aws_refuses_for_a_moment_is_tried_again(checkout: Checkout) -> None:
    refusals = {
        "sqs create-queue": "(AWS.SimpleQueueService.QueueDeletedRecently) You must wait 60 seconds.",
        "lambda create-function": "(InvalidParameterValueException) The role defined cannot be assumed by Lambda.",
        "s3api put-bucket-notification-configuration": "(InvalidArgument) Unable to validate the following destination",
    }
    answers = {operation: [f"An error occurred {refusal}", "{}"] for operation, refusal in refusals.items()}

    run = checkout.create_stack("--bucket", "my-bucket", answers=answers)

    assert run.exit_code == 0
    assert run.output.count("until AWS is ready") == 3
    assert "Deployed." in run.output


@pytest.mark.parametrize(
    "message",
    [
        "Configurations overlap. Configurations on the same bucket cannot share a common event type.",
        "Configuration is ambiguously defined. Cannot have overlapping suffixes in two rules if the prefixes are"
        " overlapping for the same event type.",
    ],
)
def test_an_overlapping_notification_is_named_with_what_to_do(checkout: Checkout, message: str) -> None:
    theirs = {"Id": "thumbnails", "TopicArn": "arn:aws:sns:us-east-1:1:t", "Events": ["s3:ObjectCreated:Put"]}
    call = "when calling the PutBucketNotificationConfiguration operation"
    refusal = f"An error occurred (InvalidArgument) {call}: {message}"
    answers = {
        "s3api get-bucket-notification-configuration": [json.dumps({"TopicConfigurations": [theirs]})],
        "s3api put-bucket-notification-configuration": [refusal],
    }

    run = checkout.create_stack("--bucket", "my-bucket", answers=answers)

    assert run.exit_code == 1
    assert "thumbnails: s3:ObjectCreated:Put to arn:aws:sns:us-east-1:1:t" in run.output
    assert "Remove it, or limit it" in run.output


def test_targets_that_s3_cannot_validate_for_long_are_listed(checkout: Checkout) -> None:
    theirs = {"Id": "gone", "TopicArn": "arn:aws:sns:us-east-1:1:gone", "Events": ["s3:ObjectRestore:*"]}
    refusal = "An error occurred (InvalidArgument) Unable to validate the following destination configurations"
    answers = {
        "s3api get-bucket-notification-configuration": [json.dumps({"TopicConfigurations": [theirs]})],
        "s3api put-bucket-notification-configuration": [refusal],
    }

    run = checkout.create_stack("--bucket", "my-bucket", answers=answers)

    assert run.exit_code == 1
    assert "arn:aws:sns:us-east-1:1:gone" in run.output
    assert "function:S3EventAggregator" in run.output


def test_what_changes_until_s3_sends_events_is_asked_for_again_after_a_put_that_took_long(checkout: Checkout) -> None:
    refusal = "An error occurred (InvalidArgument) Unable to validate the following destination configurations"
    answers = {"s3api put-bucket-notification-configuration": [*[refusal] * 9, ""]}

    run = checkout.create_stack("--bucket", "my-bucket", answers=answers)

    assert run.exit_code == 0, run.output
    assert run.told("sqs send-message", "--delay-seconds") == ["360", "360"]
    assert [call for call in run.writes if call.startswith(("sqs send", "s3api"))] == [
        "sqs send-message",
        *["s3api put-bucket-notification-configuration"] * 10,
        "sqs send-message",
    ]


def test_an_entry_with_our_id_for_another_function_is_left_alone(checkout: Checkout) -> None:
    theirs = {"Id": "s3-event-aggregator", "LambdaFunctionArn": "arn:other", "Events": ["s3:ObjectCreated:*"]}
    answers = {
        "s3api get-bucket-notification-configuration": [json.dumps({"LambdaFunctionConfigurations": [theirs]})],
    }

    run = checkout.create_stack("--bucket", "my-bucket", answers=answers)

    assert run.exit_code == 1
    assert "it goes to arn:other" in run.output
    assert "s3api put-bucket-notification-configuration" not in run.calls


# House rules: on the first run, and on a later one that does not say them again

BOUNDARY = "arn:aws:iam::123456789012:policy/OnlyThis"
KEY = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
NETWORK = {"SubnetIds": ["subnet-1a", "subnet-2b"], "SecurityGroupIds": ["sg-3c"]}
DEPLOYED: dict[str, Sequence[str]] = {
    "dynamodb describe-table": [
        '{"TableStatus": "ACTIVE", "KeySchema": [{"AttributeName": "BucketName", "KeyType": "HASH"}],'
        ' "BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"}}'
    ],
    "sqs get-queue-url": ["https://sqs.us-east-1.amazonaws.com/123456789012/Q"],
    "iam get-role": ['{"RoleName": "R"}'],
    "logs describe-log-groups": ['{"logGroupName": "L", "retentionInDays": 30}'],
    "lambda get-function-configuration": ['{"State": "Active"}'],
}


def actions(policy: str) -> list[str]:
    return [
        action
        for statement in json.loads(policy)["Statement"]
        for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
    ]


def test_without_house_rules_no_call_is_made_for_them(checkout: Checkout) -> None:
    run = checkout.create_stack("--bucket", "my-bucket", answers=DEPLOYED)

    assert run.exit_code == 0, run.output
    assert [call for call in run.calls if "tag" in call or "kms" in call or "boundary" in call] == []
    flags = {flag for call in run.details for flag in call if flag.startswith("--")}
    assert flags & {"--tags", "--permissions-boundary", "--sse-specification", "--kms-key-id"} == set()


def test_a_permissions_boundary_is_on_both_roles(checkout: Checkout) -> None:
    run = checkout.create_stack("--bucket", "my-bucket", "--permissions-boundary", BOUNDARY)

    assert run.exit_code == 0, run.output
    assert run.told("iam create-role", "--permissions-boundary") == [BOUNDARY, BOUNDARY]


def test_a_permissions_boundary_stays_and_is_put_on_a_role_that_has_another_or_was_not_made(checkout: Checkout) -> None:
    bounded = json.dumps({"PermissionsBoundary": {"PermissionsBoundaryArn": BOUNDARY}})
    put = "iam put-role-permissions-boundary"

    kept = checkout.create_stack("--bucket", "my-bucket", answers={"iam get-role": [bounded, *NO_ROLE]})
    assert (kept.told("iam create-role", "--permissions-boundary"), put in kept.calls) == ([BOUNDARY], False)

    changed = checkout.create_stack(
        *("--bucket", "my-bucket", "--permissions-boundary", f"{BOUNDARY}2"), answers={"iam get-role": [bounded]}
    )
    assert changed.told(put, "--permissions-boundary") == [f"{BOUNDARY}2"] * 2


def test_what_is_made_has_the_tags_as_it_is_made(checkout: Checkout) -> None:
    run = checkout.create_stack("--bucket", "my-bucket", "--tag", "team=a b", "--tag", "cost=1=2")

    assert run.exit_code == 0, run.output
    as_map, as_list = {"team": "a b", "cost": "1=2"}, [{"Key": "team", "Value": "a b"}, {"Key": "cost", "Value": "1=2"}]
    for operation, times, form in [
        ("dynamodb create-table", 1, as_list),
        ("sqs create-queue", 2, as_map),
        ("iam create-role", 2, as_list),
        ("logs create-log-group", 2, as_map),
        ("lambda create-function", 2, as_map),
        ("events put-rule", 2, as_list),
        ("cloudwatch put-metric-alarm", 9, as_list),
    ]:
        assert [json.loads(tags) for tags in run.told(operation, "--tags")] == [form] * times, operation


def test_tags_are_put_on_what_lacks_them_and_nothing_else(checkout: Checkout) -> None:
    answers = DEPLOYED | {
        "dynamodb list-tags-of-resource": ['{"Tags": [{"Key": "team", "Value": "a"}, {"Key": "mine", "Value": "x"}]}'],
        "sqs list-queue-tags": ['{"Tags": {"team": "b"}}', '{"Tags": {"team": "a"}}'],
        "iam list-role-tags": ['{"Tags": [{"Key": "team", "Value": "a"}]}'],
        "lambda list-tags": ['{"Tags": {"team": "a"}}'],
        "logs list-tags-for-resource": ['{"tags": {"team": "a"}}'],
        "events list-tags-for-resource": ['{"Tags": []}', '{"Tags": [{"Key": "team", "Value": "a"}]}'],
    }

    run = checkout.create_stack("--bucket", "my-bucket", "--tag", "team=a", answers=answers)

    assert run.exit_code == 0, run.output
    assert "set     tags of queue S3EventAggregatorActionQueue: team=a\n" in run.output
    assert [call for call in run.writes if "tag-" in call] == ["sqs tag-queue", "events tag-resource"]
    assert run.told("events tag-resource", "--resource-arn") == [
        "arn:aws:events:us-east-1:123456789012:rule/S3EventAggregatorRefreshComplete"
    ]


def test_a_key_encrypts_all_that_is_made_and_the_roles_may_use_it(checkout: Checkout) -> None:
    run = checkout.create_stack("--bucket", "my-bucket", "--kms-key", KEY)

    assert run.exit_code == 0, run.output
    assert run.told("dynamodb create-table", "--sse-specification") == [
        f"Enabled=true,SSEType=KMS,KMSMasterKeyId={KEY}"
    ]
    of_queues = [json.loads(attributes) for attributes in run.told("sqs create-queue", "--attributes")]
    assert [(of["KmsMasterKeyId"], of["SqsManagedSseEnabled"]) for of in of_queues] == [(KEY, "false")] * 2
    assert run.told("logs create-log-group", "--kms-key-id") == [KEY, KEY]
    configurations = run.told("lambda create-function", "--cli-input-json")
    assert [json.loads(function)["KMSKeyArn"] for function in configurations] == [KEY, KEY]
    for policy in run.told("iam put-role-policy", "--policy-document"):
        [statement] = [one for one in json.loads(policy)["Statement"] if "kms:Decrypt" in one["Action"]]
        assert statement["Resource"] == KEY


def test_a_key_is_put_on_what_is_there_and_stays(checkout: Checkout) -> None:
    given = checkout.create_stack("--bucket", "my-bucket", "--kms-key", KEY, answers=DEPLOYED)
    assert given.exit_code == 0, given.output
    [changed] = given.told("dynamodb update-table", "--sse-specification")
    assert KEY in changed
    assert [json.loads(a)["KmsMasterKeyId"] for a in given.told("sqs set-queue-attributes", "--attributes")] == [
        KEY
    ] * 2
    assert given.told("logs associate-kms-key", "--kms-key-id") == [KEY, KEY]
    configurations = given.told("lambda update-function-configuration", "--cli-input-json")
    assert [json.loads(function)["KMSKeyArn"] for function in configurations] == [KEY, KEY]

    encrypted = {"lambda get-function-configuration": [json.dumps({"State": "Active", "KMSKeyArn": KEY})]}
    kept = checkout.create_stack("--bucket", "my-bucket", answers=DEPLOYED | encrypted)
    assert kept.exit_code == 0, kept.output
    for policy in kept.told("iam put-role-policy", "--policy-document"):
        assert "kms:Decrypt" in actions(policy)
    of_queues = [json.loads(attributes) for attributes in kept.told("sqs set-queue-attributes", "--attributes")]
    assert [(of["KmsMasterKeyId"], of["SqsManagedSseEnabled"]) for of in of_queues] == [(KEY, "false")] * 2


def test_a_table_becomes_on_demand_and_is_encrypted_in_one_run_the_second_when_the_first_is_done(
    checkout: Checkout,
) -> None:
    provisioned = DEPLOYED["dynamodb describe-table"][0].replace("PAY_PER_REQUEST", "PROVISIONED")
    updating = DEPLOYED["dynamodb describe-table"][0].replace("ACTIVE", "UPDATING")
    answers = DEPLOYED | {
        "dynamodb describe-table": [provisioned, *[updating] * 60, *DEPLOYED["dynamodb describe-table"]],
        "dynamodb update-table": [f'{{"TableDescription": {updating}}}'],
    }

    run = checkout.create_stack("--bucket", "my-bucket", "--kms-key", KEY, answers=answers)

    assert run.exit_code == 0, run.output
    of_table = [call for call in run.calls if call.startswith("dynamodb")]
    looks = ["dynamodb describe-table"]
    assert of_table == [*looks, "dynamodb update-table", *looks * 61, "dynamodb update-table", *looks]
    [billing, encryption] = [call for call in run.details if call[0] == "dynamodb update-table"]
    assert ("--billing-mode" in billing, "--sse-specification" in encryption) == (True, True)
    assert run.output.count("wait    until AWS is ready, which may take minutes: aws dynamodb describe-table") == 1


def test_a_key_in_another_region_is_refused_before_anything_is_made(checkout: Checkout) -> None:
    run = checkout.create_stack("--bucket", "my-bucket", "--kms-key", KEY.replace("east", "west"))

    assert run.exit_code == 1
    assert "a stack in us-east-1 needs a key in us-east-1" in run.output
    assert run.writes == []


def test_only_the_refresh_function_runs_in_subnets_and_only_its_role_may_connect_to_them(checkout: Checkout) -> None:
    run = checkout.create_stack(
        "--bucket", "my-bucket", "--subnet-ids", "subnet-1a,subnet-2b", "--security-group-ids", "sg-3c"
    )

    assert run.exit_code == 0, run.output
    refresh, aggregator = map(json.loads, run.told("lambda create-function", "--cli-input-json"))
    assert ("VpcConfig" in aggregator, refresh["VpcConfig"]) == (False, NETWORK)
    may_connect = [
        "ec2:CreateNetworkInterface" in actions(policy)
        for policy in run.told("iam put-role-policy", "--policy-document")
    ]
    assert may_connect == [False, True]


def test_the_refresh_function_stays_in_its_subnets(checkout: Checkout) -> None:
    within = json.dumps({"State": "Active", "VpcConfig": NETWORK})

    run = checkout.create_stack(
        answers=DEPLOYED | {"lambda get-function-configuration": ['{"State": "Active"}', within]}
    )

    assert run.exit_code == 0, run.output
    configurations = run.told("lambda update-function-configuration", "--cli-input-json")
    assert ["VpcConfig" in json.loads(function) for function in configurations] == [False, False], "as they were"
    _, of_refresh = run.told("iam put-role-policy", "--policy-document")
    assert "ec2:CreateNetworkInterface" in actions(of_refresh)
    assert "permission to give network interfaces back" not in run.output


def test_subnets_need_security_groups(checkout: Checkout) -> None:
    run = checkout.create_stack("--bucket", "my-bucket", "--subnet-ids", "subnet-1a")

    assert run.exit_code == 1
    assert "Give --subnet-ids and --security-group-ids together." in run.output
    assert run.calls == []


# House rules taken away

NEEDS_KEY = {"Effect": "Allow", "Action": ["kms:Decrypt", "kms:GenerateDataKey"], "Resource": KEY}
NEEDS_INTERFACES = {"Effect": "Allow", "Action": ["ec2:DeleteNetworkInterface"], "Resource": "*"}
LONG_AGO = {"LastModifiedTimestamp": "1500000000"}
RULED = DEPLOYED | {
    "dynamodb describe-table": [
        DEPLOYED["dynamodb describe-table"][0][:-1]
        + f', "SSEDescription": {{"Status": "ENABLED", "SSEType": "KMS", "KMSMasterKeyArn": "{KEY}"}}}}'
    ],
    "sqs get-queue-attributes": [json.dumps({"KmsMasterKeyId": KEY, "SqsManagedSseEnabled": "false"} | LONG_AGO)],
    "iam get-role": [json.dumps({"PermissionsBoundary": {"PermissionsBoundaryArn": BOUNDARY}})],
    "iam get-role-policy": [json.dumps({"PolicyDocument": {"Statement": [NEEDS_KEY, NEEDS_INTERFACES]}})],
    "logs describe-log-groups": [json.dumps({"logGroupName": "L", "retentionInDays": 30, "kmsKeyId": KEY})],
    "lambda get-function-configuration": [
        json.dumps({"State": "Active", "KMSKeyArn": KEY}),
        json.dumps({"State": "Active", "KMSKeyArn": KEY, "VpcConfig": NETWORK}),
    ],
}
NONE = ("--permissions-boundary", "none", "--kms-key", "none", "--subnet-ids", "none")


def put_policies(run: Run) -> list[list[str]]:
    """What each role was allowed, the aggregator's first."""
    return [actions(policy) for policy in run.told("iam put-role-policy", "--policy-document")]


def test_a_boundary_is_taken_off_both_roles(checkout: Checkout) -> None:
    run = checkout.create_stack("--permissions-boundary", "none", answers=RULED)

    assert run.exit_code == 0, run.output
    assert [call for call in run.calls if "boundary" in call] == ["iam delete-role-permissions-boundary"] * 2


def test_a_key_is_taken_from_all_that_has_it_and_the_roles_may_use_it_on_for_messages_sent_with_it(
    checkout: Checkout,
) -> None:
    run = checkout.create_stack("--kms-key", "none", answers=RULED)

    assert run.exit_code == 0, run.output
    assert run.told("dynamodb update-table", "--sse-specification") == ["Enabled=false"]
    of_queues = [json.loads(attributes) for attributes in run.told("sqs set-queue-attributes", "--attributes")]
    assert [(of["KmsMasterKeyId"], of["SqsManagedSseEnabled"]) for of in of_queues] == [("", "true")] * 2
    assert run.calls.count("logs disassociate-kms-key") == 2
    configurations = run.told("lambda update-function-configuration", "--cli-input-json")
    assert [json.loads(function)["KMSKeyArn"] for function in configurations] == ["", ""]
    assert f"keep    permission to use {KEY}, for messages sent with it" in run.output
    assert ["kms:Decrypt" in allowed for allowed in put_policies(run)] == [True, True]


@pytest.mark.parametrize(("hours", "remains"), [(0, True), (1, False)])
def test_a_later_run_takes_the_permission_for_an_earlier_key_away_once_the_queue_shows_empty(
    checkout: Checkout, hours: int, remains: bool
) -> None:
    queue = {"SqsManagedSseEnabled": "true", "ApproximateNumberOfMessagesDelayed": "0"}
    queue["LastModifiedTimestamp"] = str(int(time.time()) - 3600 * hours)
    without = {
        "sqs get-queue-attributes": [json.dumps(queue)],
        "lambda get-function-configuration": ['{"State": "Active"}'],
    }

    run = checkout.create_stack(answers=RULED | without)

    assert run.exit_code == 0, run.output
    assert ["kms:Decrypt" in allowed for allowed in put_policies(run)] == [remains, remains]
    assert ("Run this again when the queue is empty" in run.output) == remains
    assert run.told("lambda update-function-configuration", "--cli-input-json")[0].count("KMSKeyArn") == 0


def test_with_another_key_the_roles_may_use_both_for_a_while_and_before_anything_has_it(checkout: Checkout) -> None:
    run = checkout.create_stack("--kms-key", f"{KEY}2", answers=RULED)

    assert run.exit_code == 0, run.output
    assert statements(checkout)["UseTheKeyOfTableAndQueues"]["Resource"] == [f"{KEY}2", KEY]
    written = [call for call in run.writes if call in {"iam put-role-policy", "dynamodb update-table"}]
    assert written == ["iam put-role-policy", "iam put-role-policy", "dynamodb update-table"]


def test_the_refresh_function_leaves_its_subnets_and_lambda_may_give_its_interfaces_back(checkout: Checkout) -> None:
    run = checkout.create_stack("--subnet-ids", "none", answers=RULED)

    assert run.exit_code == 0, run.output
    refresh, aggregator = map(json.loads, run.told("lambda update-function-configuration", "--cli-input-json"))
    nothing: dict[str, list[str]] = {"SubnetIds": [], "SecurityGroupIds": []}
    assert ("VpcConfig" in aggregator, refresh["VpcConfig"]) == (False, nothing)
    assert "ec2:DeleteNetworkInterface" in put_policies(run)[1]
    assert "keep    permission to give network interfaces back" in run.output


@pytest.mark.parametrize(("changed", "remains"), [("2100-01-01T00:00:00.000+0000", True), ("2020-01-01T00:00Z", False)])
def test_a_run_two_hours_later_takes_the_permission_for_network_interfaces_away(
    checkout: Checkout, changed: str, remains: bool
) -> None:
    left = json.dumps({"State": "Active", "LastModified": changed, "VpcConfig": {"SubnetIds": []}})

    run = checkout.create_stack(answers=RULED | {"lambda get-function-configuration": [left]})

    assert run.exit_code == 0, run.output
    assert ("ec2:DeleteNetworkInterface" in put_policies(run)[1]) == remains
    assert ("permission to give network interfaces back" in run.output) == remains


def test_a_dry_run_says_what_would_be_taken_away(checkout: Checkout) -> None:
    run = checkout.create_stack(*NONE, "--dry-run", answers=RULED)

    assert run.exit_code == 0, run.output
    for line in (
        f"would delete its permissions boundary {BOUNDARY}",
        "would change table S3EventAggregator: encrypted with a key that AWS owns",
        "would set log group /aws/lambda/S3EventAggregator: encrypted by CloudWatch Logs",
        f"keep    permission to use {KEY}",
    ):
        assert f"\n{line}" in run.output
    assert "SubnetIds" in next(line for line in run.output.splitlines() if "function S3StorageGatewayRefresh" in line)
    assert run.writes == []


def test_what_was_never_given_is_not_taken_away(checkout: Checkout) -> None:
    created, created_without = (checkout.create_stack("--bucket", "my-bucket", *flags) for flags in (NONE, ()))
    assert created.exit_code == 0, created.output
    assert created.details == created_without.details

    changed, changed_without = (checkout.create_stack(*flags, answers=DEPLOYED) for flags in (NONE, ()))
    assert changed.exit_code == 0, changed.output
    assert changed.writes == changed_without.writes
    assert changed.output == changed_without.output


def test_no_subnets_need_no_security_groups(checkout: Checkout) -> None:
    run = checkout.create_stack("--subnet-ids", "none", "--security-group-ids", "sg-3c")

    assert run.exit_code == 1
    assert "--subnet-ids none is alone" in run.output
    assert run.calls == []


def test_the_endpoint_of_storage_gateway_stays_until_it_is_set_to_nothing(checkout: Checkout) -> None:
    name = "AWS_ENDPOINT_URL_STORAGE_GATEWAY"
    there = json.dumps({"State": "Active", "Environment": {"Variables": {name: "https://vpce"}}})
    answers = DEPLOYED | {"lambda get-function-configuration": ['{"State": "Active"}', there]}

    kept, taken = (checkout.create_stack(answers=answers, **given) for given in ({}, {name: ""}))

    for run, endpoint in ((kept, "https://vpce"), (taken, "")):
        assert run.exit_code == 0, run.output
        refresh, _ = run.told("lambda update-function-configuration", "--cli-input-json")
        assert json.loads(refresh)["Environment"]["Variables"][name] == endpoint


# The dashboard and the alarms


def described_alarms(window: int, topic: str) -> list[stack_files.Json]:
    names = {
        "Partition": "aws",
        "Region": "us-east-1",
        "Account": "123456789012",
        "NamePrefix": "",
        "Aggregator": "S3EventAggregator",
        "Refresh": "S3StorageGatewayRefresh",
        "Queue": "S3EventAggregatorActionQueue",
        "DeadLetterQueue": "S3EventAggregatorActionQueueDeadLetter",
        "Table": "S3EventAggregator",
    }
    template = (ROOT / "cloudwatch/alarms.json").read_text()
    return [alarm for _, _, alarm in stack_files.alarms(template, names, window, [], topic)]


def test_only_alarms_that_differ_are_put_whose_list_takes_one_call(checkout: Checkout) -> None:
    alarms = described_alarms(60, "arn:aws:sns:us-east-1:123456789012:operators")
    del alarms[0]
    answers = {"cloudwatch describe-alarms": [json.dumps({"MetricAlarms": alarms})]}

    run = checkout.create_stack("--bucket", "my-bucket", "--refresh-delay-seconds", "90", answers=answers)

    assert run.exit_code == 0, run.output
    assert "create  alarm S3EventAggregatorDeadLetters\n" in run.output
    assert "alarm S3EventAggregatorLateToBeVisible: AlarmDescription, Threshold 180 -> 270\n" in run.output
    assert run.output.count("keep    alarm ") == len(alarms) - 1
    assert run.calls.count("cloudwatch describe-alarms") == 1
    assert run.calls.count("cloudwatch put-metric-alarm") == 2


def test_a_dry_run_says_whom_the_alarms_would_tell_no_more(checkout: Checkout) -> None:
    alarms = described_alarms(60, "arn:aws:sns:us-east-1:123456789012:operators")
    answers = {"cloudwatch describe-alarms": [json.dumps({"MetricAlarms": alarms})]}

    run = checkout.create_stack("--bucket", "my-bucket", "--alarm-topic-arn", "none", "--dry-run", answers=answers)

    assert run.output.count("AlarmActions, OKActions\n") == len(alarms)
    assert "would create dashboard S3EventAggregator-us-east-1\n" in run.output
    assert run.writes == []


def test_a_dashboard_that_differs_is_put(checkout: Checkout) -> None:
    older = {"DashboardName": "S3EventAggregator-us-east-1", "DashboardBody": '{"widgets": []}'}

    run = checkout.create_stack("--bucket", "my-bucket", answers={"cloudwatch get-dashboard": [json.dumps(older)]})

    assert "change  dashboard S3EventAggregator-us-east-1\n" in run.output
    assert "cloudwatch put-dashboard" in run.calls


@pytest.mark.parametrize(
    ("partition", "region", "console"),
    [
        ("aws", "eu-west-1", "eu-west-1.console.aws.amazon.com"),
        ("aws-cn", "cn-north-1", "console.amazonaws.cn"),
        ("aws-us-gov", "us-gov-west-1", "console.amazonaws-us-gov.com"),
        ("aws-eusc", "eusc-de-east-1", "eusc-de-east-1.console.amazonaws-eusc.eu"),
    ],
)
def test_the_dashboards_address_is_of_its_partition(
    checkout: Checkout, partition: str, region: str, console: str
) -> None:
    answers = {
        "sts get-caller-identity": [f"123456789012\tarn:{partition}:iam::123456789012:user/me"],
        "s3api get-bucket-location": [region],
    }

    run = checkout.create_stack("--bucket", "my-bucket", "--region", region, answers=answers)

    path = f"cloudwatch/home?region={region}#dashboards/dashboard/S3EventAggregator-{region}"
    assert f"https://{console}/{path}\n" in run.output


TRIGGER = {
    "UUID": "1",
    "BatchSize": 1,
    "FunctionResponseTypes": ["ReportBatchItemFailures"],
    "ScalingConfig": {"MaximumConcurrency": 10},
    "State": "Enabled",
}


def with_trigger(trigger: Mapping[str, Any]) -> dict[str, list[str]]:
    """The answers of an account in which the refresh function has this trigger."""
    functions = {"lambda get-function-configuration": ['{"State": "Active"}']}
    return functions | {"lambda list-event-source-mappings": [json.dumps(trigger, indent=4)]}


@pytest.mark.parametrize(
    ("difference", "told"),
    [
        ({}, "keep    trigger of S3StorageGatewayRefresh: the queue\n"),
        ({"State": "Disabled"}, "would change trigger of S3StorageGatewayRefresh: the queue: it was disabled\n"),
        (
            {"ScalingConfig": {}},
            "would change trigger of S3StorageGatewayRefresh: the queue: MaximumConcurrency none -> 10\n",
        ),
    ],
)
def test_a_trigger_that_is_as_it_should_be_is_kept_and_any_other_corrected(
    checkout: Checkout, difference: dict[str, Any], told: str
) -> None:
    run = checkout.create_stack("--bucket", "my-bucket", "--dry-run", answers=with_trigger(TRIGGER | difference))

    assert told in run.output


@pytest.mark.parametrize("found", [{}, TRIGGER | {"ScalingConfig": {"MaximumConcurrency": 100}}])
def test_the_queue_is_read_by_at_most_ten_invocations_of_one_message_each(
    checkout: Checkout, found: dict[str, Any]
) -> None:
    run = checkout.create_stack("--bucket", "my-bucket", answers=with_trigger(found))

    operation = f"lambda {'update' if found else 'create'}-event-source-mapping"
    [put] = run.told(operation, "--cli-input-json")
    assert json.loads(put) == {name: TRIGGER[name] for name in TRIGGER if name not in ("UUID", "State")}


# The ways of a bucket's events


def test_a_stack_is_created_with_a_bucket_on_eventbridge(checkout: Checkout) -> None:
    run = checkout.create_stack("--bucket", "my-bucket", "--event-source", "eventbridge", "--prefix", "a b/")

    assert run.exit_code == 0, run.output
    assert run.writes[-5:] == [
        "sqs send-message",
        "lambda add-permission",
        "events put-rule",
        "events put-targets",
        "s3api put-bucket-notification-configuration",
    ]
    assert "Changes in these buckets refresh their file shares: my-bucket" in run.output


def test_without_a_share_to_take_prefixes_from_nothing_is_made(checkout: Checkout) -> None:
    answers = {"storagegateway list-file-shares": ['{"FileShareInfoList": []}']}

    run = checkout.create_stack("--bucket", "my-bucket", "--prefixes-from-shares", answers=answers)

    assert run.exit_code == 1
    assert "No file share of this account in us-east-1 shows the bucket my-bucket" in run.output
    assert run.writes == []


def test_prefixes_are_taken_from_shares_in_the_regions_and_refused_for_the_roles_that_are_given_with_it(
    checkout: Checkout,
) -> None:
    by_shares = ("--bucket", "my-bucket", "--prefixes-from-shares")
    answers = {"storagegateway list-file-shares": ['{"FileShareInfoList": []}']}

    run = checkout.create_stack(*by_shares, "--gateway-regions", "us-east-1,eu-west-1", answers=answers)
    assert run.calls.count("storagegateway list-file-shares") == 2

    run = checkout.create_stack("--prefixes-from-shares", *ROLES, answers=DEPLOYED)
    assert run.exit_code == 1
    assert "Give the prefixes of all by --prefix" in run.output
    assert run.writes == []


def test_where_shares_are_is_read_from_the_refresh_function_which_alone_asks_them(checkout: Checkout) -> None:
    away = json.dumps({"State": "Active", "Environment": {"Variables": {"GATEWAY_REGIONS": "eu-west-1"}}})
    home = away.replace("eu-west-1", "")

    run = checkout.create_stack(answers=DEPLOYED | {"lambda get-function-configuration": [home, away]})

    assert run.exit_code == 0, run.output
    assert statements(checkout)["RefreshFileShares"]["Resource"].split(":")[3] == "eu-west-1"


def test_flags_about_events_are_for_all_buckets_of_the_stack_if_none_is_named(checkout: Checkout) -> None:
    permission = {
        "Sid": "s3-my-bucket",
        "Principal": {"Service": "s3.amazonaws.com"},
        "Condition": {"ArnLike": {"AWS:SourceArn": "arn:aws:s3:::my-bucket"}},
    }
    answers = {
        "lambda get-function-configuration": ['{"State": "Active"}'],
        "lambda get-policy": [json.dumps({"Statement": [permission]})],
    }

    run = checkout.create_stack("--event-source", "eventbridge", "--dry-run", answers=answers)

    assert run.exit_code == 0, run.output
    assert "would set events of my-bucket to EventBridge" in run.output
    assert "would delete permission for my-bucket to invoke" in run.output


# Throttled calls


def test_every_call_is_made_with_the_retries_of_the_cli(checkout: Checkout) -> None:
    run = checkout.create_stack("--bucket", "my-bucket")

    assert run.exit_code == 0
    assert run.retries == ["standard 5"] * len(run.calls)


class ThrottledAws(BaseHTTPRequestHandler):
    """An AWS without buckets, which throttles each operation so many times before it answers."""

    IDENTITY = (
        '<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>'
        "<Arn>arn:aws:iam::123456789012:user/me</Arn><Account>123456789012</Account>"
        "</GetCallerIdentityResult></GetCallerIdentityResponse>"
    )

    def __init__(self, calls: "Counter[str]", throttled: int, *args: Any) -> None:
        self.calls, self.throttled = calls, throttled
        super().__init__(*args)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        throttling = "<ErrorResponse><Error><Type>Sender</Type><Code>Throttling</Code></Error></ErrorResponse>"
        self._answer("sts", (400, throttling), (200, self.IDENTITY))

    def do_GET(self) -> None:
        slow_down = "<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>"
        self._answer("s3", (503, slow_down), (404, "<Error><Code>NoSuchBucket</Code></Error>"))

    def _answer(self, service: str, throttling: tuple[int, str], answer: tuple[int, str]) -> None:
        self.calls[service] += 1
        status, text = throttling if self.calls[service] <= self.throttled else answer
        self.send_response(status)
        self.send_header("Content-Type", "text/xml")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        """Nothing: what happened is in the calls."""


@pytest.fixture
def throttled_aws() -> Iterator[tuple[str, "Counter[str]"]]:
    """The URL of an AWS that throttles each call twice, and what it was asked."""
    calls: Counter[str] = Counter()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(ThrottledAws, calls, 2)) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", calls
        server.shutdown()


def test_the_cli_makes_a_throttled_call_again(throttled_aws: tuple[str, "Counter[str]"], tmp_path: Path) -> None:
    url, calls = throttled_aws

    result = subprocess.run(
        [ROOT / "scripts/create-stack.sh", "--region", "us-east-1", "--bucket", "my-bucket"],
        env={
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(tmp_path),
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_EC2_METADATA_DISABLED": "true",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )

    assert "There is no bucket my-bucket" in result.stdout, "the answer to the third try of the second call"
    assert calls == {"sts": 3, "s3": 3}
