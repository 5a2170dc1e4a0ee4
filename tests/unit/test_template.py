"""template.yaml, wherever the local AWS cannot show what it makes; without AWS."""

import json
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import hcl2
import pytest

from commands.deploy.template import TEMPLATE as FILE
from dev.fill_template import filled
from event_aggregator.request import MAX_RECEIVES, VISIBILITY_TIMEOUT_SECONDS
from event_aggregator.settings import SettingError, Settings
from tests.unit.deployed import PARAMETERS, TEMPLATE, resources, statements

ROOT = Path(__file__).parents[2]
FUNCTIONS = "AWS::Lambda::Function"


def variables(function: str, **given: Any) -> dict[str, str]:
    found = resources(FUNCTIONS, **given)[function]["Environment"]["Variables"]
    return {name: str(value) for name, value in found.items()}


# Each parameter has its own name as its value.
MARKED = {name: [name] if one["Type"] == "CommaDelimitedList" else name for name, one in PARAMETERS.items()}


def test_what_stands_between_the_marks_is_what_the_files_say() -> None:
    assert FILE.read_text() == filled(FILE.read_text()), "python dev/fill_template.py"


def test_a_mark_takes_what_its_file_says_and_leaves_the_rest() -> None:
    before, after = "a: # by hand\n  # >>> iam/sqs-writer.json\n", "  # <<<\nb: 1\n"
    made = filled(f"{before}  old\n{after}")

    assert made.startswith(before)
    assert made.endswith(after)
    assert "  - Sid: SendRequestsAndFailedEvents" in made
    assert "old" not in made


def test_every_policy_of_iam_but_the_operators_is_in_the_template() -> None:
    in_template = set(re.findall(r"# >>> iam/(.*)\.json", FILE.read_text()))

    assert in_template == {path.stem for path in (ROOT / "iam").glob("*.json")} - {"operator"}


def test_the_linter_finds_nothing_in_the_template_which_needs_no_transform() -> None:
    done = subprocess.run([Path(sys.executable).parent / "cfn-lint", FILE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
    assert "Transform" not in TEMPLATE


def test_the_roles_names_find_room_with_the_longest_prefix_and_region() -> None:
    for region in ("ap-southeast-1", "us-isof-south-1"):
        roles = resources("AWS::IAM::Role", NamePrefix=32 * "p", **{"AWS::Region": region})
        assert [len(role["RoleName"]) <= 64 for role in roles.values()] == [True, True]


# Parameters


def test_both_functions_have_every_setting_and_its_default_is_theirs() -> None:
    own = {"TABLE_NAME": "t", "QUEUE_URL": "https://sqs/1/q"}
    of_parameters = {variable_of(name).upper(): name for name in PARAMETERS}
    for function in ("Aggregator", "Refresh"):
        assert Settings.read(variables(function) | own) == Settings.read(own)
        marked = variables(function, **MARKED)
        assert marked.keys() >= {field.name.upper() for field in fields(Settings)}
        assert marked.items() >= {v: name for v, name in of_parameters.items() if v in marked}.items()
    assert variables("Refresh").keys() - variables("Aggregator").keys() == {"AGGREGATOR_ARN", "REATTACH_BUCKET_ARNS"}


def test_only_the_refresh_function_calls_storage_gateway_at_an_endpoint() -> None:
    given = {"StorageGatewayEndpointUrl": "https://vpce"}

    assert "AWS_ENDPOINT_URL_STORAGE_GATEWAY" not in variables("Aggregator", **given) | variables("Refresh")
    assert variables("Refresh", **given)["AWS_ENDPOINT_URL_STORAGE_GATEWAY"] == "https://vpce"


# For each setting with exceptions: a value, and two names.
WITH_EXCEPTIONS = {
    "RefreshDelaySeconds": ("30", "my.bucket-1", "renders"),
    "RefreshQuietSeconds": ("30", "my.bucket-1", "renders"),
    "RefreshMaxDelaySeconds": ("90", "my.bucket-1", "renders"),
    "RefreshScope": ("share", "my.bucket-1", "renders"),
    "MinRefreshIntervalSeconds": ("60", "share-1234ABCD", "share-4CD"),
}


@pytest.mark.parametrize("name", WITH_EXCEPTIONS)
def test_the_pattern_of_a_parameter_with_exceptions_takes_what_the_functions_take(name: str) -> None:
    pattern, (value, one, other) = PARAMETERS[name]["AllowedPattern"], WITH_EXCEPTIONS[name]
    variable = variable_of(name).upper()
    bad = [f"{one}={value}", f"{value},{one}", f"{value},{one}=", f"{value},", f"{value}, {one}={value}", ""]
    bad += [f"{value},-{one}={value}", f"{value},{one}_={value}", f"{value}0000000", f"{value},{value}"]
    good = [value, f"{value},{one}={value}", f"{value},{one}={value},{other}={value}"]
    assert [text for text in good + bad if re.fullmatch(pattern, text)] == good
    ample = {"REFRESH_QUIET_SECONDS": "1"} if variable == "REFRESH_MAX_DELAY_SECONDS" else {}
    given = {"TABLE_NAME": "t", "QUEUE_URL": "q", **ample}
    for text in good:
        read = getattr(Settings.read(given | {variable: text}), variable.lower())
        assert [str(each) for each in read.values()] == [value] * text.count(value)
    for text in bad:
        with pytest.raises(SettingError, match=variable):
            Settings.read(given | {variable: text})


@pytest.mark.parametrize(
    ("name", "exceptions"),
    [
        ("RefreshDelaySeconds", [f"bucket-of-20-char{number}=3600" for number in range(100, 220)]),
        ("MinRefreshIntervalSeconds", [f"share-12345{number}=3600" for number in range(100, 260)]),
    ],
)
def test_lambda_takes_as_many_exceptions_as_the_documentation_says(name: str, exceptions: list[str]) -> None:
    text = (ROOT / "docs/settings.md").read_text()
    assert f"about {len(exceptions)} with" in text or f"or {len(exceptions)} of file" in text
    queue = "https://sqs.us-east-1.amazonaws.com/123456789012/dev-S3EventAggregatorActionQueue"
    for function in ("Aggregator", "Refresh"):
        found = variables(function, **{name: ",".join(["30", *exceptions])})
        found |= {"TABLE_NAME": "dev-S3EventAggregator", "QUEUE_URL": queue}
        assert sum(len(variable) + len(value) for variable, value in found.items()) <= 4096
        assert len(getattr(Settings.read(found), variable_of(name)).exceptions) == len(exceptions)


# Resources


def test_the_refresh_function_may_send_to_the_queue_that_it_is_called_by() -> None:
    assert [f.get("RecursiveLoop") for f in resources(FUNCTIONS).values()] == [None, "Allow"]


def test_who_sends_requests_is_made_after_who_reads_them_and_deleted_before() -> None:
    assert TEMPLATE["Resources"]["Aggregator"]["DependsOn"] == "Trigger"


def test_the_queue_delivers_as_often_and_as_far_apart_as_the_functions_reckon_with() -> None:
    queue = resources("AWS::SQS::Queue")["Queue"]
    assert queue["VisibilityTimeout"] == VISIBILITY_TIMEOUT_SECONDS
    assert queue["RedrivePolicy"]["maxReceiveCount"] == MAX_RECEIVES


def test_a_key_of_the_users_is_on_the_table_too_and_without_one_nothing_names_one() -> None:
    assert {queue["SqsManagedSseEnabled"] for queue in resources("AWS::SQS::Queue").values()} == {True}
    kinds = {resource["Type"] for resource in TEMPLATE["Resources"].values()}
    assert [kind for kind in kinds if "kms" in json.dumps(resources(kind)).lower()] == []
    assert {queue["SqsManagedSseEnabled"] for queue in resources("AWS::SQS::Queue", **MARKED).values()} == {False}
    table = resources("AWS::DynamoDB::Table", **MARKED)["Table"]
    assert table["SSESpecification"] == {"SSEEnabled": True, "SSEType": "KMS", "KMSMasterKeyId": "KmsKey"}


@pytest.mark.parametrize(
    ("kind", "property_", "parameter"),
    [
        ("SQS::Queue", "KmsMasterKeyId", "KmsKey"),
        ("Lambda::Function", "KmsKeyArn", "KmsKey"),
        ("Logs::LogGroup", "KmsKeyId", "KmsKey"),
        ("Logs::LogGroup", "RetentionInDays", "LogRetentionDays"),
        ("CloudWatch::Alarm", "AlarmActions", "AlarmTopicArn"),
        ("CloudWatch::Alarm", "OKActions", "AlarmTopicArn"),
        ("IAM::Role", "PermissionsBoundary", "PermissionsBoundary"),
    ],
)
def test_every_resource_of_a_kind_has_what_a_parameter_says(kind: str, property_: str, parameter: str) -> None:
    for given, value in ({}, PARAMETERS[parameter]["Default"]), (MARKED, parameter):
        for resource in resources(f"AWS::{kind}", **given).values():
            assert resource.get(property_, "") in (value, [value])


def test_file_shares_are_refreshed_in_the_given_regions_or_else_in_the_stacks() -> None:
    both = ["us-east-1", "eu-west-1"]
    for regions, given in (("us-east-1", {}), (both, {"GatewayRegions": both})):
        condition = statements("RefreshRole", **given)["RefreshFileShares"]["Condition"]
        assert condition == {"StringEquals": {"aws:RequestedRegion": regions}}


@pytest.mark.parametrize(
    ("sid", "named"),
    [
        ("PutNotificationsBack", ["ReattachBucketArns"]),
        ("RefreshFileSharesOfOtherAccounts", ["GatewayRoleArns"]),
        ("UseTheKeyOfTableAndQueues", ["KmsKey"]),
        ("UseTheKeyOfTableAndQueues", ["EarlierKmsKey"]),
        ("UseTheKeyOfTableAndQueues", ["KmsKey", "EarlierKmsKey"]),
    ],
)
def test_exactly_what_is_named_may_be_put_back_assumed_or_used(sid: str, named: list[str]) -> None:
    given = {name: MARKED[name] for name in named}
    statement = statements("RefreshRole", **given)[sid]
    assert statement["Resource"] == named
    assert sid not in statements("RefreshRole")
    if "Key" in sid:
        assert statement["Action"] == ["kms:Decrypt", "kms:GenerateDataKey"]
        assert statements("AggregatorRole", **given)[sid] == statement
        assert sid not in statements("AggregatorRole")


def test_only_the_refresh_function_runs_in_subnets_and_only_its_role_may_connect_to_them() -> None:
    network = {"SubnetIds": ["subnet-1a"], "SecurityGroupIds": ["sg-3c"]}
    assert [function.get("VpcConfig") for function in resources(FUNCTIONS, **network).values()] == [None, network]
    assert resources("AWS::IAM::Policy", **network)["VpcPolicy"]["Roles"] == ["RefreshRole"]
    assert "VpcPolicy" in resources(FUNCTIONS, **network)["Refresh"]["Description"], "so that it is made before"
    assert resources("AWS::IAM::Policy") == {}


def test_only_the_stacks_own_rules_may_invoke_the_aggregator() -> None:
    permission = resources("AWS::Lambda::Permission")["RulesOfChanges"]
    rules = "arn:aws:events:us-east-1:123456789012:rule/dev-S3EventAggregator*"
    assert (permission["Principal"], permission["SourceArn"]) == ("events.amazonaws.com", rules)


# Terraform

TYPES = {"String": "string", "Number": "number", "CommaDelimitedList": "${list(string)}"}
OF_MODULE_ALONE = {"stack_name", "template_url", "tags"}


def variable_of(parameter: str) -> str:
    """NamePrefix: name_prefix."""
    return re.sub("(?<!^)(?=[A-Z])", "_", parameter).lower()


@pytest.fixture(scope="module")
def module() -> dict[str, dict[str, Any]]:
    """The blocks of the module by kind and name, as HCL's grammar reads them; an expression is in ${}."""
    blocks: dict[str, dict[str, Any]] = {}
    options = hcl2.SerializationOptions(with_comments=False, explicit_blocks=False, strip_string_quotes=True)
    for file in (ROOT / "examples/terraform").glob("*.tf"):
        for kind, found in hcl2.loads(file.read_text(), serialization_options=options).items():
            for block in found:
                assert not blocks.get(kind, {}).keys() & block.keys(), "two of one name"
                blocks[kind] = blocks.get(kind, {}) | block
    return blocks


def test_the_terraform_module_has_every_parameter_as_a_variable_of_its_type_and_default_and_no_other(
    module: dict[str, Any],
) -> None:
    expected = {}
    for name, parameter in PARAMETERS.items():
        kind, expected[variable_of(name)] = parameter["Type"], {"description": parameter["Description"]}
        expected[variable_of(name)] |= {"type": TYPES[kind]}
        if "Default" in parameter:
            expected[variable_of(name)] |= {"default": [] if kind == "CommaDelimitedList" else parameter["Default"]}
    assert {name: block for name, block in module["variable"].items() if name not in OF_MODULE_ALONE} == expected


def test_the_terraform_module_passes_every_variable_on_to_its_parameter(module: dict[str, Any]) -> None:
    stack = module["resource"]["aws_cloudformation_stack"]["this"]
    assert stack["parameters"] == {
        name: f'${{join(",", var.{variable_of(name)})}}'
        if parameter["Type"] == "CommaDelimitedList"
        else f"${{var.{variable_of(name)}}}"
        for name, parameter in PARAMETERS.items()
    }
    assert {f"${{var.{name}}}" for name in OF_MODULE_ALONE} == {
        stack[argument] for argument in ("name", "template_url", "tags")
    }


def test_what_the_terraform_module_refers_to_is_there(module: dict[str, Any]) -> None:
    expressions = re.findall(r"\$\{.*?\}", json.dumps({kind: module[kind] for kind in ("resource", "output")}))
    text = " ".join(expressions)
    assert set(re.findall(r"\bvar\.(\w+)", text)) == module["variable"].keys()
    assert set(re.findall(r"\baws_\w+\.\w+", text)) == {
        f"{kind}.{name}" for kind, made in module["resource"].items() for name in made
    }
    assert set(re.findall(r'\boutputs\[\\"(\w+)', text)) == TEMPLATE["Outputs"].keys()
