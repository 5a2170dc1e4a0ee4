"""template.yaml says what create-stack.sh does, wherever the local AWS cannot show it; without AWS."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import hcl2
import pytest
import yaml

from event_aggregator.request import MAX_RECEIVES, VISIBILITY_TIMEOUT_SECONDS
from event_aggregator.settings import SettingError, Settings
from scripts import stack_files

ROOT = Path(__file__).parents[2]
TEMPLATE = yaml.safe_load((ROOT / "template.yaml").read_text())
SCRIPT = (ROOT / "scripts/create-stack.sh").read_text()
PARAMETERS: dict[str, dict[str, Any]] = TEMPLATE["Parameters"]
# Each setting's flag, what it allows, and its variable, as the script checks them.
CHECKS = re.findall(r"(--[a-z-]+)\) (?:in_range|one_of) .*? \"\$2\" (.*) && set_to ([A-Z_]+)", SCRIPT)
DEFAULTS = dict(re.findall(r"\b([A-Z_]+)=(\S+?)\"?\s", SCRIPT[SCRIPT.index('defaults="') : SCRIPT.index("retention=")]))
# For each setting with exceptions: a value, and two names.
WITH_EXCEPTIONS = {
    "REFRESH_DELAY_SECONDS": ("30", "my.bucket-1", "renders"),
    "REFRESH_QUIET_SECONDS": ("30", "my.bucket-1", "renders"),
    "REFRESH_MAX_DELAY_SECONDS": ("90", "my.bucket-1", "renders"),
    "REFRESH_SCOPE": ("share", "my.bucket-1", "renders"),
    "MIN_REFRESH_INTERVAL_SECONDS": ("60", "share-1234ABCD", "share-4CD"),
}
TEXT_OF_SETTINGS = (ROOT / "docs/settings.md").read_text()
TOPIC = "arn:aws:sns:us-east-1:123456789012:operators"
NAMES = {
    "Partition": "aws",
    "Region": "us-east-1",
    "Account": "123456789012",
    "NamePrefix": "dev-",
    "Table": "dev-S3EventAggregator",
    "Queue": "dev-S3EventAggregatorActionQueue",
    "DeadLetterQueue": "dev-S3EventAggregatorActionQueueDeadLetter",
    "Aggregator": "dev-S3EventAggregator",
    "Refresh": "dev-S3StorageGatewayRefresh",
}


def parameter_of(variable: str) -> str:
    """REFRESH_DELAY_SECONDS: RefreshDelaySeconds."""
    return "".join(word.capitalize() for word in variable.split("_"))


def resolved(value: Any, values: dict[str, Any]) -> Any:  # noqa: PLR0911, PLR0912 - a return for each function
    """The value with CloudFormation's functions carried out; `values` are those of parameters."""
    if isinstance(value, list):
        return [inner for inner in (resolved(inner, values) for inner in value) if inner is not None]
    if not isinstance(value, dict):
        return value
    match next(iter(value.items()), None):
        case "Ref", "AWS::NoValue":
            return None
        case "Ref", name:
            return values.get(name, name)
        case "Fn::GetAtt", [name, "Arn"]:
            return f"arn of {name}"
        case "Fn::Sub", [text, more]:
            return substituted(text, values | resolved(more, values))
        case "Fn::Sub", text:
            return substituted(text, values)
        case "Fn::If", [condition, yes, no]:
            return resolved(yes if resolved(TEMPLATE["Conditions"][condition], values) else no, values)
        case "Fn::Not", [condition]:
            return not resolved(condition, values)
        case "Fn::Equals", [one, other]:
            return resolved(one, values) == resolved(other, values)
        case "Fn::EachMemberEquals", [texts, text]:
            return all(member == text for member in resolved(texts, values))
        case "Fn::Select", [index, texts]:
            return resolved(texts, values)[index]
        case "Fn::Join", [between, texts]:
            return between.join(resolved(texts, values))
    return {name: found for name, inner in value.items() if (found := resolved(inner, values)) is not None}


def substituted(text: str, values: dict[str, Any]) -> str:
    return re.sub(r"\$\{([\w:]+)\}", lambda found: str(values[found[1]]), text)


def with_defaults(given: dict[str, Any]) -> dict[str, Any]:
    """These parameters, and the others at their defaults."""
    values = {name: parameter["Default"] for name, parameter in PARAMETERS.items()}
    lists = {name for name, parameter in PARAMETERS.items() if parameter["Type"] == "CommaDelimitedList"}
    values |= {name: [""] for name in lists} | {"NamePrefix": "dev-"} | given
    return values | {"AWS::Partition": "aws", "AWS::Region": "us-east-1", "AWS::AccountId": "123456789012"}


def resources(kind: str, **given: Any) -> list[dict[str, Any]]:
    """The properties of each resource of this kind, with these parameters, and the others at their defaults."""
    values = with_defaults(given)
    return [
        resolved(resource["Properties"], values)
        for resource in TEMPLATE["Resources"].values()
        if resource["Type"] == kind
        and ("Condition" not in resource or resolved(TEMPLATE["Conditions"][resource["Condition"]], values))
    ]


def test_the_template_is_what_its_maker_writes() -> None:
    made = subprocess.run(
        [sys.executable, ROOT / "scripts/make_template.py"], capture_output=True, text=True, check=True
    )
    assert (ROOT / "template.yaml").read_text() == made.stdout, "python scripts/make_template.py > template.yaml"


def test_the_linter_finds_nothing_in_the_template() -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / "cfn-lint", ROOT / "template.yaml"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


# Parameters


def test_every_setting_of_the_script_is_a_parameter_with_its_default_and_its_limits() -> None:
    # Those that are lists have a test of their own; those with exceptions have a pattern each.
    assert {variable for *_, variable in CHECKS} | WITH_EXCEPTIONS.keys() == DEFAULTS.keys()
    needed = {"TABLE_NAME": "t", "QUEUE_URL": "q"}
    for variable in WITH_EXCEPTIONS:
        default = PARAMETERS[parameter_of(variable)]["Default"]
        assert default == DEFAULTS[variable]
        assert Settings.read({**needed, variable: default}) == Settings.read(needed)
    for _, allowed, variable in CHECKS:
        parameter = PARAMETERS[parameter_of(variable)]
        assert str(parameter["Default"]) == DEFAULTS[variable]
        if "AllowedValues" in parameter:
            assert parameter["AllowedValues"] == allowed.strip('"').split()
        else:
            assert [parameter["MinValue"], parameter["MaxValue"]] == [int(limit) for limit in allowed.split()]


def test_logs_may_be_kept_as_long_as_the_script_allows() -> None:
    [allowed] = re.findall(r"--log-retention-days\)\s+one_of .*? \"\$2\" \"(.*)\"", SCRIPT)
    assert PARAMETERS["LogRetentionDays"]["AllowedValues"] == [int(days) for days in allowed.split()]


@pytest.mark.parametrize("variable", WITH_EXCEPTIONS)
def test_the_pattern_of_a_parameter_with_exceptions_takes_what_the_functions_take(variable: str) -> None:
    pattern, (value, one, other) = PARAMETERS[parameter_of(variable)]["AllowedPattern"], WITH_EXCEPTIONS[variable]
    bad = [f"{one}={value}", f"{value},{one}", f"{value},{one}=", f"{value},", f"{value}, {one}={value}", ""]
    bad += [f"{value},-{one}={value}", f"{value},{one}_={value}", f"{value}0000000", f"{value},{value}"]
    good = [value, f"{value},{one}={value}", f"{value},{one}={value},{other}={value}"]
    assert [text for text in good + bad if re.fullmatch(pattern, text)] == good
    ample = {"REFRESH_QUIET_SECONDS": "1"} if variable == "REFRESH_MAX_DELAY_SECONDS" else {}
    environment = {"TABLE_NAME": "t", "QUEUE_URL": "q", **ample}
    for text in good:
        read = getattr(Settings.read(environment | {variable: text}), variable.lower())
        assert [str(each) for each in read.values()] == [value] * text.count(value)
    for text in bad:
        with pytest.raises(SettingError, match=variable):
            Settings.read(environment | {variable: text})


@pytest.mark.parametrize(
    ("variable", "exceptions"),
    [
        ("REFRESH_DELAY_SECONDS", [f"bucket-of-20-char{number}=3600" for number in range(100, 220)]),
        ("MIN_REFRESH_INTERVAL_SECONDS", [f"share-12345{number}=3600" for number in range(100, 260)]),
    ],
)
def test_lambda_takes_as_many_exceptions_as_the_documentation_says(variable: str, exceptions: list[str]) -> None:
    assert f"about {len(exceptions)} with" in TEXT_OF_SETTINGS or f"or {len(exceptions)} of file" in TEXT_OF_SETTINGS
    for function in resources("AWS::Lambda::Function", **{parameter_of(variable): ",".join(["30", *exceptions])}):
        variables = {name: str(value) for name, value in function["Environment"]["Variables"].items()}
        queue = f"https://sqs.us-east-1.amazonaws.com/123456789012/{NAMES['Queue']}"
        variables |= {"TABLE_NAME": NAMES["Table"], "QUEUE_URL": queue}
        assert sum(len(name) + len(value) for name, value in variables.items()) <= 4096
        assert len(getattr(Settings.read(variables), variable.lower()).exceptions) == len(exceptions)


@pytest.mark.parametrize("variable", [name for name in DEFAULTS if name not in WITH_EXCEPTIONS])
def test_the_functions_know_a_parameters_default_as_theirs_and_take_its_limits_and_nothing_beyond(
    variable: str,
) -> None:
    parameter = PARAMETERS[parameter_of(variable)]
    needed = {"TABLE_NAME": "t", "QUEUE_URL": "q"}

    def read(value: object) -> Settings:
        return Settings.read({**needed, variable: str(value)})

    assert Settings.read({**needed, variable: str(parameter["Default"])}) == Settings.read(needed)
    limits = parameter.get("AllowedValues") or [parameter["MinValue"], parameter["MaxValue"]]
    assert {str(getattr(read(limit), variable.lower())) for limit in limits} == {str(limit) for limit in limits}
    for beyond in ["NOTHING_SUCH"] if "AllowedValues" in parameter else [limits[0] - 1, limits[1] + 1]:
        with pytest.raises(SettingError):
            read(beyond)


@pytest.mark.parametrize(
    ("given", "refusals"),
    [
        ({}, []),
        ({"SubnetIds": ["subnet-1a", "subnet-2b"], "SecurityGroupIds": ["sg-3c"]}, []),
        ({"SubnetIds": ["subnet-1a"]}, ["SubnetIds needs SecurityGroupIds: give both, or neither."]),
        ({"SecurityGroupIds": ["sg-3c"]}, ["SecurityGroupIds needs SubnetIds: give both, or neither."]),
        ({"SubnetIds": [], "SecurityGroupIds": []}, []),  # as an empty value may be read, too
    ],
)
def test_subnets_without_security_groups_are_refused_and_the_other_way_round(
    given: dict[str, list[str]], refusals: list[str]
) -> None:
    values = with_defaults(given)
    assert [
        assertion["AssertDescription"]
        for rule in TEMPLATE["Rules"].values()
        if resolved(rule["RuleCondition"], values)
        for assertion in rule["Assertions"]
        if not resolved(assertion["Assert"], values)
    ] == refusals


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
    expected = {
        variable_of(name): {
            "type": TYPES[parameter["Type"]],
            "default": [] if parameter["Type"] == "CommaDelimitedList" else parameter["Default"],
            "description": parameter["Description"],
        }
        for name, parameter in PARAMETERS.items()
    }
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


# Resources


@pytest.mark.parametrize("topic", ["", TOPIC])
def test_the_alarms_are_those_that_the_script_puts(topic: str) -> None:
    text = (ROOT / "cloudwatch/alarms.json").read_text()
    put = [alarm for _, _, alarm in stack_files.alarms(text, NAMES, 60, [], topic or "none")]
    assert any("Metrics" in alarm for alarm in put), "which the local AWS does not know"

    told: dict[str, Any] = {"AlarmActions": [], "OKActions": []}
    assert [{**told, **alarm} for alarm in resources("AWS::CloudWatch::Alarm", AlarmTopicArn=topic)] == put


def test_the_refresh_function_may_send_to_the_queue_that_it_is_called_by() -> None:
    assert [f.get("RecursiveLoop") for f in resources("AWS::Lambda::Function")] == [None, "Allow"]


KEY = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"


def sids(role: dict[str, Any]) -> list[str]:
    return [statement["Sid"] for statement in role["Policies"][0]["PolicyDocument"]["Statement"]]


def test_the_queue_delivers_as_often_and_as_far_apart_as_the_functions_reckon_with() -> None:
    [queue] = [queue for queue in resources("AWS::SQS::Queue") if "RedrivePolicy" in queue]
    assert (queue["VisibilityTimeout"], queue["RedrivePolicy"]["maxReceiveCount"]) == (
        VISIBILITY_TIMEOUT_SECONDS,
        MAX_RECEIVES,
    )


def test_without_a_key_of_the_users_nothing_names_one() -> None:
    assert {queue["SqsManagedSseEnabled"] for queue in resources("AWS::SQS::Queue")} == {True}
    everything = [made for resource in TEMPLATE["Resources"].values() for made in resources(resource["Type"])]
    assert [made for made in everything if "kms" in json.dumps(made).lower()] == []


def test_a_key_is_on_all_that_the_script_puts_it_on() -> None:
    given = {"KmsKeyArn": KEY}
    queues = resources("AWS::SQS::Queue", **given)
    assert [(queue["KmsMasterKeyId"], queue["SqsManagedSseEnabled"]) for queue in queues] == [(KEY, False)] * 2
    [table] = resources("AWS::DynamoDB::Table", **given)
    assert table["SSESpecification"] == {"SSEEnabled": True, "SSEType": "KMS", "KMSMasterKeyId": KEY}
    assert [group["KmsKeyId"] for group in resources("AWS::Logs::LogGroup", **given)] == [KEY, KEY]
    assert [function["KmsKeyArn"] for function in resources("AWS::Lambda::Function", **given)] == [KEY, KEY]
    for role in resources("AWS::IAM::Role", **given):
        [statement] = [s for s in role["Policies"][0]["PolicyDocument"]["Statement"] if "kms:Decrypt" in s["Action"]]
        assert statement == stack_files.render((ROOT / "iam/kms.json").read_text(), {"KmsKey": KEY})["Statement"][0]


def test_a_permissions_boundary_is_on_both_roles_if_one_is_given() -> None:
    boundary = "arn:aws:iam::123456789012:policy/OnlyThis"
    assert [role.get("PermissionsBoundary") for role in resources("AWS::IAM::Role")] == [None, None]
    bounded = resources("AWS::IAM::Role", PermissionsBoundaryArn=boundary)
    assert [role["PermissionsBoundary"] for role in bounded] == [boundary, boundary]


def test_gateways_in_other_regions_and_accounts_are_asked_with_these_regions_and_roles_alone() -> None:
    roles = ["arn:aws:iam::210987654321:role/gateways"]
    external_id = "210987654321=secret"
    given = {
        "GatewayRegions": ["us-east-1", "eu-west-1"],
        "GatewayRoleArns": roles,
        "GatewayExternalIds": [external_id],
    }
    for function in resources("AWS::Lambda::Function", **given):
        variables = function["Environment"]["Variables"]
        assert (variables["GATEWAY_REGIONS"], variables["GATEWAY_ROLE_ARNS"]) == ("us-east-1,eu-west-1", *roles)
        assert variables["GATEWAY_EXTERNAL_IDS"] == external_id
    _, role = resources("AWS::IAM::Role", **given)
    statements = {s["Sid"]: s for s in role["Policies"][0]["PolicyDocument"]["Statement"]}
    shares = statements["RefreshFileShares"]
    assert shares["Resource"] == "arn:aws:storagegateway:*:123456789012:share/*"
    assert shares["Condition"] == {"StringEquals": {"aws:RequestedRegion": ["us-east-1", "eu-west-1"]}}
    assert statements["RefreshFileSharesOfOtherAccounts"]["Resource"] == roles

    _, role = resources("AWS::IAM::Role")
    statements = {s["Sid"]: s for s in role["Policies"][0]["PolicyDocument"]["Statement"]}
    assert statements["RefreshFileShares"]["Resource"] == "arn:aws:storagegateway:us-east-1:123456789012:share/*"
    assert "RefreshFileSharesOfOtherAccounts" not in statements


def test_an_endpoint_and_the_name_of_gateways_sessions_are_variables_of_the_functions_if_they_are_given() -> None:
    endpoint, session = "AWS_ENDPOINT_URL_STORAGE_GATEWAY", "GATEWAY_SESSION_NAME"

    def variables(**given: str) -> list[dict[str, str]]:
        made = resources("AWS::Lambda::Function", **given)
        every = [function["Environment"]["Variables"] for function in made]
        return [{name: of[name] for name in (endpoint, session) if name in of} for of in every]

    assert variables() == [{}, {}]
    settings = Settings.read({"TABLE_NAME": "t", "QUEUE_URL": "q"})
    assert PARAMETERS["GatewaySessionName"]["Default"] == settings.gateway_session_name
    given = {"StorageGatewayEndpointUrl": "https://vpce", "GatewaySessionName": ""}
    assert variables(**given) == [{session: ""}, {session: "", endpoint: "https://vpce"}]


def test_only_the_refresh_function_runs_in_subnets_and_only_its_role_may_connect_to_them() -> None:
    network = {"SubnetIds": ["subnet-1a"], "SecurityGroupIds": ["sg-3c"]}
    assert [function.get("VpcConfig") for function in resources("AWS::Lambda::Function", **network)] == [None, network]
    may_connect = ["LetLambdaConnectTheFunctionToSubnets" in sids(r) for r in resources("AWS::IAM::Role", **network)]
    assert may_connect == [False, True]
    assert all("LetLambdaConnectTheFunctionToSubnets" not in sids(role) for role in resources("AWS::IAM::Role"))


def test_buckets_that_tell_eventbridge_have_the_rule_that_the_script_makes() -> None:
    assert len(resources("AWS::Events::Rule")) == 2
    assert resources("AWS::Lambda::Permission") == []

    *_, rule = resources("AWS::Events::Rule", EventBridgeBuckets=["archive", "photos"])
    [permission] = resources("AWS::Lambda::Permission", EventBridgeBuckets=["archive", "photos"])

    made = stack_files.rule_for({"archive": [], "photos": []})
    assert rule == {
        "Name": "dev-S3EventAggregatorObjectChanges",
        "State": made["State"],
        "EventPattern": json.loads(made["EventPattern"]),
        "Targets": [{"Id": "aggregator", "Arn": "arn of Aggregator"}],
    }
    assert permission["SourceArn"] == "arn of ChangesRule"
