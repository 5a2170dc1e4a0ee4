"""The command line of what deploys: flags, what is refused before anything is written, and what is handed on."""

import re
import subprocess
from dataclasses import dataclass, field
from typing import Any

import boto3
import pytest

from commands.deploy import create
from commands.deploy.__main__ import main, parser
from commands.deploy.buckets import Buckets, Wish
from commands.deploy.create import Deployment, Order
from commands.deploy.package import ArtifactBucket
from commands.deploy.template import OWN, Json, RefusedError, parameters, refuse_unless_consistent, settings
from commands.operate.stack import Stack
from dev.local.ministack import ROOT

ACCOUNT, REGION = "123456789012", "us-east-1"
LAUNCHERS = ("create-stack.sh", "delete-stack.sh", "attach-bucket.sh", "detach-bucket.sh", "zip.sh")
KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1234abcd"


def checked(**given: str) -> None:
    values = {name: parameter.default for name, parameter in parameters().items()} | given
    refuse_unless_consistent(values, REGION, ACCOUNT)


def test_the_defaults_of_the_template_are_accepted() -> None:
    checked()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"RefreshesPerGateway": "51"}, "--refreshes-per-gateway is '51': set it to a whole number .* from 1 to 50"),
        ({"RefreshesPerGateway": "007"}, "--refreshes-per-gateway 007: it must be a number from 1 to 50"),
        ({"RefreshDelaySeconds": "30,renders=soon"}, "--refresh-delay-seconds holds 'renders=soon': set it to"),
        (
            {"RefreshQuietSeconds": "0,b-1=901"},
            "Bucket b-1: --refresh-quiet-seconds is 901 and --refresh-max-delay-seconds",
        ),
        ({"GatewayExternalIds": "secret"}, "--gateway-external-ids holds 'secret': set it to ACCOUNT=ID"),
        ({"IgnoreKeys": "*.tmp,*/*"}, "--ignore-keys holds '[*]/[*]': set it to patterns that match some keys"),
        ({"LogLevel": "WARN"}, "--log-level is 'WARN': set it to one of DEBUG, INFO"),
        ({"LogLevel": "CRITICAL"}, "--log-level CRITICAL: it must be one of DEBUG, INFO, WARNING, ERROR"),
        ({"LogRetentionDays": "31"}, "--log-retention-days 31: it must be one of 1, 3, 5"),
        ({"GatewayRegions": "us-east-1,Ireland"}, "--gateway-regions holds 'Ireland': set it to regions"),
        ({"AlarmTopicArn": "arn:aws:sns:us-east-1:123456789012:t.fifo"}, "--alarm-topic-arn .*: it must match "),
        ({"AlarmTopicArn": f"arn:aws:sns:eu-west-1:{ACCOUNT}:t"}, "--alarm-topic-arn .*: it must be in us-east-1"),
        ({"KmsKey": KEY.replace("us-east-1", "eu-west-1")}, "--kms-key .*: it must be in us-east-1"),
        ({"KmsKey": "alias/mine"}, "--kms-key alias/mine: it must match "),
        ({"SubnetIds": "subnet-1a"}, "Give --subnet-ids and --security-group-ids together"),
        ({"SecurityGroupIds": "sg-1a"}, "Give --subnet-ids and --security-group-ids together"),
        ({"GatewayRoleArns": f"arn:aws:iam::{ACCOUNT}:role/r"}, f"a role of this account, {ACCOUNT}"),
        (
            {"GatewayRoleArns": "arn:aws:iam::210987654321:role/a,arn:aws:iam::210987654321:role/b"},
            "--gateway-role-arns holds two roles of one account",
        ),
        (
            {"StorageGatewayEndpointUrl": "https://vpce", "GatewayRegions": "us-east-1,eu-west-1"},
            "--storage-gateway-endpoint-url serves one region",
        ),
        (
            {"RefreshQuietSeconds": "600", "RefreshMaxDelaySeconds": "300"},
            "--refresh-quiet-seconds is 600 and --refresh-max-delay-seconds is 300, so every window closes",
        ),
    ],
)
def test_what_cloudformation_or_a_function_would_refuse_is_refused_with_its_flag(
    given: dict[str, str], message: str
) -> None:
    with pytest.raises(RefusedError, match=message):
        checked(**given)


def test_every_parameter_is_a_flag_of_the_deploying_script() -> None:
    flags = {parameter.flag for parameter in settings()}

    assert flags <= set(re.findall(r"--[a-z-]+", helped("create-stack.sh")))
    assert {"--refresh-delay-seconds", "--kms-key", "--alarm-topic-arn", "--subnet-ids"} <= flags
    assert len(flags) == len(parameters()) - len(OWN)


def helped(script: str) -> str:
    [commands] = [action for action in parser()._actions if hasattr(action, "choices") and action.choices]
    assert isinstance(commands.choices, dict)
    return str(commands.choices[script].format_help())


# What is ordered


@pytest.fixture
def ordered(monkeypatch: pytest.MonkeyPatch) -> list[Order]:
    """The orders that the command line hands on."""
    orders: list[Order] = []
    monkeypatch.setattr(Deployment, "create", lambda _, order: orders.append(order))
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.delenv("BUCKET", raising=False)
    monkeypatch.delenv("AWS_ENDPOINT_URL_STORAGE_GATEWAY", raising=False)
    return orders


def test_what_is_given_and_only_that_is_handed_on(ordered: list[Order]) -> None:
    flags = ["--refresh-delay-seconds", "5", "--kms-key", "none", "--gateway-session-name", "none"]
    assert main(["create-stack.sh", "--bucket", "a-bucket", "--bucket", "a-bucket", "--tag", "a=b=c", *flags]) == 0

    [order] = ordered
    assert order.given == {"RefreshDelaySeconds": "5", "KmsKey": "", "GatewaySessionName": "none"}
    assert order.buckets == ["a-bucket"]
    assert order.tags == {"a": "b=c"}


def test_no_subnets_need_no_security_groups(ordered: list[Order]) -> None:
    assert main(["create-stack.sh", "--subnet-ids", "none"]) == 0

    assert ordered[0].given == {"SubnetIds": "", "SecurityGroupIds": ""}


def test_the_environment_may_name_the_bucket_and_the_endpoint(
    ordered: list[Order], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUCKET", "its-bucket")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STORAGE_GATEWAY", "https://vpce")

    assert main(["create-stack.sh"]) == 0
    assert main(["create-stack.sh", "--bucket", "mine"]) == 0

    assert [order.buckets for order in ordered] == [["its-bucket"], ["mine"]]
    assert ordered[0].given == {"StorageGatewayEndpointUrl": "https://vpce"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["create-stack.sh", "--bucket", "No_Bucket"], "--bucket No_Bucket: this is not a bucket name."),
        (["create-stack.sh", "--bucket", "fast--use1-az4--x-s3"], "a directory bucket (S3 Express) tells nobody"),
        (["attach-bucket.sh", "--bucket", "rows--table-s3"], "a table bucket (S3 Tables) has no files"),
        (["attach-bucket.sh", "--bucket", "point-x1-s3alias"], "Give the bucket behind it"),
        (["create-stack.sh", "--tag", "team"], "--tag team: it must be like KEY=VALUE."),
        (["create-stack.sh", "--prefix", ""], "--prefix is empty."),
        (["create-stack.sh", "--prefix", "/a"], "--prefix /a: S3 keys begin with no slash."),
        (["create-stack.sh", "--prefix", "a/", "--all-keys"], "they contradict each other"),
        (["create-stack.sh", "--name-prefix", 33 * "p"], "--name-prefix ppp"),
        (["attach-bucket.sh"], "Which bucket?"),
        (["detach-bucket.sh"], "Which bucket?"),
        (["delete-stack.sh"], "Nobody is there to be asked: give --yes."),
    ],
)
@pytest.mark.usefixtures("ordered")
def test_a_flag_that_cannot_be_meant_is_refused(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 1
    assert message in capsys.readouterr().err


def test_an_unknown_flag_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["create-stack.sh", "--refresh-delay", "5"])
    assert "--refresh-delay" in capsys.readouterr().err


def test_with_another_key_the_one_before_may_be_used_on() -> None:
    assert create._with_earlier_key({"KmsKey": ""}, {"KmsKey": KEY}) == {"KmsKey": "", "EarlierKmsKey": KEY}
    assert create._with_earlier_key({"KmsKey": KEY}, {"KmsKey": KEY}) == {"KmsKey": KEY}
    assert create._with_earlier_key({"KmsKey": KEY}, {"KmsKey": ""}) == {"KmsKey": KEY}
    assert create._with_earlier_key({}, {"KmsKey": KEY}) == {}


@pytest.mark.parametrize(
    ("prefix", "partition", "address"),
    [
        ("", "aws", "https://us-east-1.console.aws.amazon.com/cloudwatch/home?region=us-east-1#dashboards/dashboard/"),
        ("p-", "aws-cn", "https://console.amazonaws.cn/cloudwatch/home"),
        ("", "aws-us-gov", "https://console.amazonaws-us-gov.com/cloudwatch/home"),
        ("", "aws-eusc", "https://us-east-1.console.amazonaws-eusc.eu/cloudwatch/home"),
        ("", "aws-iso", ""),
    ],
)
def test_the_dashboards_address_is_of_its_partition_if_that_is_known(prefix: str, partition: str, address: str) -> None:
    said: list[str] = []
    session: Any = type("Session", (), {"region_name": REGION})()
    deployment = Deployment(Stack(session, prefix), said.append)
    deployment.__dict__["_caller"] = (ACCOUNT, partition)

    deployment.stack.variables = {"TABLE_NAME": "t", "QUEUE_URL": "q", "MIN_REFRESH_INTERVAL_SECONDS": "60,share-1=59"}

    deployment._say_what_is_there(["a"])

    graphs = [line for line in said if line.startswith("Graphs:")]
    assert bool(graphs) == bool(address)
    assert all(address in line for line in graphs)
    assert "AWS asks for 60 s between two refreshes" in said[0]


def test_a_stack_of_another_prefix_is_not_taken_for_this_one() -> None:
    found: Json = {"Parameters": [{"ParameterKey": "NamePrefix", "ParameterValue": "a_"}]}
    deployment = Deployment(Stack(None, "a-"), print)  # type: ignore[arg-type]
    deployment.__dict__ |= {
        "_caller": (ACCOUNT, "aws"),
        "cloud": type("Cloud", (), {"find": lambda _: found, "name": "s"})(),
    }

    with pytest.raises(RefusedError, match="The stack s has another --name-prefix: a_"):
        deployment.create(Order({}, {}, [], Wish()))


# What CloudFormation is asked for


@dataclass
class Cloud:
    """The stack of CloudFormation's: as it is found, and as it is when it is settled."""

    found: Json | None
    settled: Json | None
    name: str = "s"
    proposed: list[Json] = field(default_factory=list)
    more: Json = field(default_factory=dict)

    def find(self) -> Json | None:
        return self.found

    def settle(self) -> Json | None:
        return self.settled

    def propose(self, _: Json | None, url: str, values: list[Json], tags: Json, **more: str) -> Json:
        assert url.endswith(".yaml")
        self.proposed, self.more = values, {**tags, **more}
        return {"Changes": []}


def deployed(**values: str) -> Json:
    own = {"NamePrefix": "p-", "CodeBucket": "b", "CodeKey": "before.zip", **values}
    return {"Parameters": [{"ParameterKey": name, "ParameterValue": value} for name, value in own.items()]}


def asked_for(monkeypatch: pytest.MonkeyPatch, cloud: Cloud, given: dict[str, str], **more: Any) -> dict[str, Any]:
    """The parameters of the change set; of one whose value is to stay: None."""
    monkeypatch.setattr(create, "pack", lambda: ROOT / "README.md")
    monkeypatch.setattr(ArtifactBucket, "make", lambda _: False)
    monkeypatch.setattr(ArtifactBucket, "put", lambda _, name, __: f"s3-event-aggregator/{name}")
    monkeypatch.setattr(Buckets, "attached", lambda _: [])
    deployment = Deployment(Stack(boto3.Session(region_name=REGION), "p-"), print)
    deployment.__dict__ |= {"_caller": (ACCOUNT, "aws"), "cloud": cloud}
    deployment.__dict__["buckets"] = Buckets(deployment.stack, ACCOUNT, "aws", print)
    deployment.create(Order(given, {"team": "storage"}, [], Wish(), **more))
    return {one["ParameterKey"]: one.get("ParameterValue") for one in cloud.proposed}


def test_a_setting_that_is_not_given_keeps_its_value_if_the_deployed_template_knows_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stack = deployed(RefreshDelaySeconds="120", LogLevel="DEBUG", OfAnEarlierTemplate="1")
    cloud = Cloud(stack, stack)

    assert asked_for(monkeypatch, cloud, {"LogLevel": "INFO"}) == {
        "NamePrefix": "p-",
        "CodeBucket": "b",
        "CodeKey": "s3-event-aggregator/README.md",
        "LogLevel": "INFO",
        "RefreshDelaySeconds": None,
    }
    assert [one for one in cloud.proposed if "UsePreviousValue" in one] == [
        {"ParameterKey": "RefreshDelaySeconds", "UsePreviousValue": True}
    ]
    assert cloud.more == {"team": "storage"}


def test_what_is_in_force_counts_when_settings_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    stack = deployed(RefreshMaxDelaySeconds="300")

    with pytest.raises(RefusedError, match="--refresh-quiet-seconds is 600 and --refresh-max-delay-seconds is 300"):
        asked_for(monkeypatch, Cloud(stack, stack), {"RefreshQuietSeconds": "600"})


def test_a_stack_that_has_to_be_created_anew_gets_the_values_that_it_had(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = Cloud(deployed(RefreshDelaySeconds="120", OfAnEarlierTemplate="1"), None)

    asked = asked_for(monkeypatch, cloud, {})

    assert asked["RefreshDelaySeconds"] == "120"
    assert "OfAnEarlierTemplate" not in asked
    assert not any("UsePreviousValue" in one for one in cloud.proposed)


def test_drift_is_reverted_if_that_is_asked_for_and_there_is_a_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    for settled, mode in ((deployed(), {"DeploymentMode": "REVERT_DRIFT"}), (None, {})):
        cloud = Cloud(deployed(), settled)
        asked_for(monkeypatch, cloud, {}, reverts_drift=True)
        assert cloud.more == {"team": "storage", **mode}


def test_another_key_leaves_the_one_before_usable(monkeypatch: pytest.MonkeyPatch) -> None:
    stack = deployed(KmsKey=KEY)

    assert asked_for(monkeypatch, Cloud(stack, stack), {"KmsKey": ""})["EarlierKmsKey"] == KEY


# The launchers


@pytest.mark.parametrize("script", LAUNCHERS)
def test_a_launcher_has_a_few_lines_that_an_old_bash_knows(script: str) -> None:
    text = (ROOT / "scripts" / script).read_text()

    assert len(text.splitlines()) <= 8
    assert not re.search(r"mapfile|declare -A|\$\{\w+[,^@]|&>>|\bcommand\b|\[\[ -v", text)
    subprocess.run(["bash", "-n", ROOT / "scripts" / script], check=True)
