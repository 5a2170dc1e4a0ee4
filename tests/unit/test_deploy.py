"""The command line of what deploys: flags, what is refused before anything is written, and what is handed on."""

import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import boto3
import pytest

from commands.deploy import create
from commands.deploy.__main__ import main
from commands.deploy.buckets import Buckets, Wish
from commands.deploy.create import Deployment, Order
from commands.deploy.package import ArtifactBucket
from commands.deploy.template import DeployError, Json, parameters, refuse_unless_consistent
from commands.operate.stack import Stack
from dev.local.ministack import ROOT
from tests.unit.test_cloudformation import DELETED, Cloud

ACCOUNT, REGION = "123456789012", "us-east-1"
KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1234abcd"
DEFAULTS = {name: parameter.default for name, parameter in parameters().items()}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"RefreshesPerGateway": "51"}, "--refreshes-per-gateway is '51': set it to a whole number .* from 1 to 50"),
        ({"RefreshQuietSeconds": "0,b-1=901"}, "Bucket b-1: --refresh-quiet-seconds is 901 and --refresh-max"),
        ({"LogLevel": "CRITICAL"}, "--log-level CRITICAL: it must be one of DEBUG, INFO, WARNING, ERROR"),
        ({"LogRetentionDays": "31"}, "--log-retention-days 31: it must be one of 1, 3, 5"),
        ({"ReattachBucketArns": "No_Bucket"}, "--reattach No_Bucket: it must match .*, or none"),
        ({"AlarmTopicArn": "arn:aws:sns:us-east-1:123456789012:t.fifo"}, "--alarm-topic-arn .*: it must match "),
        ({"AlarmTopicArn": f"arn:aws:sns:eu-west-1:{ACCOUNT}:t"}, "--alarm-topic-arn .*: it must be in us-east-1"),
        ({"KmsKey": KEY.replace("us-east-1", "eu-west-1")}, "--kms-key .*: it must be in us-east-1"),
        ({"KmsKey": "alias/mine"}, "--kms-key alias/mine: it must match "),
        ({"SubnetIds": "subnet-1a"}, "Give --subnet-ids and --security-group-ids together"),
        ({"SecurityGroupIds": "sg-1a"}, "Give --subnet-ids and --security-group-ids together"),
        (
            {"StorageGatewayEndpointUrl": "https://vpce", "GatewayRegions": "us-east-1,eu-west-1"},
            "--storage-gateway-endpoint-url serves one region",
        ),
    ],
)
def test_what_cloudformation_or_a_function_would_refuse_is_refused_with_its_flag(given: Json, message: str) -> None:
    refuse_unless_consistent(DEFAULTS, REGION, ACCOUNT)
    with pytest.raises(DeployError, match=message):
        refuse_unless_consistent({**DEFAULTS, **given}, REGION, ACCOUNT)


# What is ordered


@pytest.fixture
def ordered(monkeypatch: pytest.MonkeyPatch) -> list[Order]:
    """The orders that the command line hands on."""
    orders: list[Order] = []
    monkeypatch.setattr(Deployment, "create", lambda _, order: orders.append(order))
    monkeypatch.setattr(Stack, "caller", (ACCOUNT, "aws-cn"))
    monkeypatch.delenv("BUCKET", raising=False)
    monkeypatch.delenv("AWS_ENDPOINT_URL_STORAGE_GATEWAY", raising=False)
    return orders


def test_what_is_given_and_only_that_is_handed_on(ordered: list[Order]) -> None:
    flags = "--refresh-delay-seconds 5 --kms-key none --gateway-session-name none --subnet-ids none"
    of_buckets = "--bucket a-bucket --all-keys --no-initial-refresh --reattach a-bucket,other"
    assert main(["create-stack.sh", "--tag", "a=b=c", *flags.split(), *of_buckets.split()]) == 0

    [order] = ordered
    assert order.given == {
        "RefreshDelaySeconds": "5",
        "KmsKey": "",
        "GatewaySessionName": "none",
        "SubnetIds": "",
        "SecurityGroupIds": "",  # which no subnets need
        "ReattachBucketArns": "arn:aws-cn:s3:::a-bucket,arn:aws-cn:s3:::other",
    }
    assert (order.buckets, order.tags) == (["a-bucket"], {"a": "b=c"})
    assert order.wish == Wish(prefixes=[], initial_refresh=False)


def test_the_environment_may_name_the_bucket_and_the_endpoint(
    ordered: list[Order], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUCKET", "its-bucket")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STORAGE_GATEWAY", "https://vpce")

    assert main(["create-stack.sh"]) == 0
    assert main(["create-stack.sh", "--bucket", "mine", "--prefix", "a/"]) == 0

    given = {"StorageGatewayEndpointUrl": "https://vpce"}
    assert ordered[0] == Order(given, {}, ["its-bucket"], Wish())
    assert ordered[1] == Order(given, {}, ["mine"], Wish(prefixes=["a/"]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["create-stack.sh", "--bucket", "No_Bucket"], "No_Bucket is not the name of a general purpose bucket."),
        (["create-stack.sh", "--bucket", "fast--use1-az4--x-s3"], "Directory and table buckets tell"),
        (["attach-bucket.sh", "--bucket", "rows--table-s3"], "Directory and table buckets tell"),
        (["attach-bucket.sh", "--bucket", "point-x1-s3alias"], "give the bucket behind it"),
        (["create-stack.sh", "--tag", "team"], "team must be like KEY=VALUE"),
        (["create-stack.sh", "--prefix", ""], "For all keys give --all-keys"),
        (["create-stack.sh", "--prefix", "/a"], "'/a': keys begin with no slash."),
        (["create-stack.sh", "--prefix", "a/", "--all-keys"], "not allowed with argument"),
        (["create-stack.sh", "--refresh-delay", "5"], "unrecognized arguments: --refresh-delay 5"),
        (["create-stack.sh", "--name-prefix", 33 * "p"], "--name-prefix ppp"),
        (["attach-bucket.sh"], "required: --bucket"),
        (["detach-bucket.sh"], "required: --bucket"),
    ],
)
@pytest.mark.usefixtures("ordered")
def test_a_flag_that_cannot_be_meant_is_refused(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        status = main(arguments)
    except SystemExit as exit_:
        status = int(exit_.code or 0)
    assert status
    assert message in " ".join(capsys.readouterr().err.split())


# What CloudFormation is asked for


OWN_VALUES = {"NamePrefix": "p-", "CodeBucket": "b", "CodeKey": "folder/code.zip"}


def deployed(status: str = "UPDATE_COMPLETE", **values: str) -> Cloud:
    in_force = {**OWN_VALUES, "CodeKey": "before.zip", **values}.items()
    told = [{"ParameterKey": name, "ParameterValue": value} for name, value in in_force]
    return Cloud(status, DELETED, refusal="No updates are to be performed.", also={"Parameters": told})


@dataclass
class Deployed(Deployment):
    """With what it says, and the buckets that it attaches and detaches, each with the way that was wished."""

    said: list[str] = field(default_factory=list)
    done: list[tuple[str, str]] = field(default_factory=list)

    def asked_for(self, cloud: Cloud, *buckets: str, wish: Wish = Wish(), drift: bool = False, **given: str) -> Json:  # noqa: B008
        """The parameters of the change set, of one whose value is to stay: None."""
        self.__dict__["cloud"] = cloud.stack
        self.create(Order(given, {"team": "storage"}, [*buckets], wish, reverts_drift=drift))
        asked = cloud.given["create_change_set"]["Parameters"]
        assert all(one.keys() & {"ParameterValue", "UsePreviousValue"} for one in asked)
        return {one["ParameterKey"]: one.get("ParameterValue") for one in asked}

    def deleted(self, cloud: Cloud) -> bool:
        self.__dict__["cloud"] = cloud.stack
        return self.delete([])


@pytest.fixture
def deployment(monkeypatch: pytest.MonkeyPatch) -> Deployed:
    """Of a stack to which two buckets are attached."""
    monkeypatch.setattr(create, "pack", lambda: ("code.zip", b""))
    monkeypatch.setattr(ArtifactBucket, "make", lambda _: False)
    monkeypatch.setattr(ArtifactBucket, "put", lambda _, name, __: f"folder/{name}")
    monkeypatch.setattr(ArtifactBucket, "remove", lambda _: True)
    monkeypatch.setattr(Stack, "buckets", lambda _: ["b-1", "b-2"])
    monkeypatch.setattr(Stack, "caller", (ACCOUNT, "aws"))
    stack, said = Stack(boto3.Session(region_name=REGION), "p-"), list[str]()
    made = Deployed(stack, said.append, said=said)
    monkeypatch.setattr(Buckets, "refuse_unless_here", lambda *_: None)
    monkeypatch.setattr(Buckets, "plan", lambda *_: ([], []))
    monkeypatch.setattr(Buckets, "attach", lambda _, bucket, wish: made.done.append((bucket, wish.source)))
    monkeypatch.setattr(Buckets, "detach", lambda _, bucket: made.done.append((bucket, "")))
    made.__dict__["buckets"] = Buckets(stack, said.append)
    return made


def test_a_setting_that_is_not_given_keeps_its_value_if_the_deployed_template_knows_it(deployment: Deployed) -> None:
    cloud = deployed(RefreshDelaySeconds="120", LogLevel="DEBUG", OfAnEarlierTemplate="1")

    assert deployment.asked_for(cloud, LogLevel="INFO", MinRefreshIntervalSeconds="60,share-1=59") == {
        **OWN_VALUES,
        "LogLevel": "INFO",
        "MinRefreshIntervalSeconds": "60,share-1=59",
        "RefreshDelaySeconds": None,
    }
    assert {"Key": "team", "Value": "storage"} in cloud.given["create_change_set"]["Tags"]
    assert any("Warning: AWS asks for 60 s between two refreshes" in line for line in deployment.said)


def test_what_is_in_force_counts_when_settings_are_checked(deployment: Deployed) -> None:
    with pytest.raises(DeployError, match="--refresh-quiet-seconds is 600 and --refresh-max-delay-seconds is 300"):
        deployment.asked_for(deployed(RefreshMaxDelaySeconds="300"), RefreshQuietSeconds="600")


def test_a_stack_of_another_prefix_is_neither_taken_for_this_one_nor_deleted(deployment: Deployed) -> None:
    for act in (deployment.asked_for, deployment.deleted):
        with pytest.raises(DeployError, match="The stack s has another --name-prefix: p_"):
            act(deployed(NamePrefix="p_"))
    assert deployment.done == []


@pytest.mark.parametrize("status", ["", "CREATE_IN_PROGRESS", "CREATE_FAILED", "ROLLBACK_COMPLETE", "DELETE_FAILED"])
def test_a_stack_that_was_never_complete_needs_a_bucket_and_another_says_how_to_attach_one(
    deployment: Deployed, monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    monkeypatch.setattr(Stack, "buckets", lambda _: [])
    with pytest.raises(DeployError, match="Which bucket"):
        deployment.asked_for(deployed(status))

    deployment.asked_for(deployed())
    attach = f"scripts/attach-bucket.sh --bucket B --region {REGION} --name-prefix p-"
    assert f"\nDeployed. No bucket is attached: {attach}\n" in deployment.said[-1]


def test_drift_is_reverted_unless_the_stack_has_to_be_created_anew_with_the_values_that_it_had(
    deployment: Deployed,
) -> None:
    cloud, dead = (deployed(of, RefreshDelaySeconds="9", Older="1") for of in ("UPDATE_COMPLETE", "ROLLBACK_COMPLETE"))
    deployment.asked_for(cloud, drift=True)
    assert cloud.given["create_change_set"]["DeploymentMode"] == "REVERT_DRIFT"

    asked = deployment.asked_for(dead, drift=True)

    assert asked == {**OWN_VALUES, "RefreshDelaySeconds": "9"}, "and nothing that the template has no more"
    assert "DeploymentMode" not in dead.given["create_change_set"]


@pytest.mark.parametrize("named", [[], ["named"]])
def test_the_buckets_that_are_named_come_first_and_only_they_get_what_the_flags_say(
    deployment: Deployed, named: list[str]
) -> None:
    deployment.asked_for(deployed(), *named, wish=Wish("eventbridge"))

    by_flags, as_before = ([(bucket, way) for bucket in ("b-1", "b-2")] for way in ("eventbridge", ""))
    assert deployment.done == ([("named", "eventbridge"), *as_before] if named else by_flags)


@pytest.mark.parametrize(
    ("before", "given", "earlier"), [(KEY, "", KEY), (KEY, f"{KEY}0", KEY), (KEY, KEY, ""), ("", KEY, "")]
)
def test_with_another_key_the_one_before_may_be_used_on(
    deployment: Deployed, before: str, given: str, earlier: str
) -> None:
    assert deployment.asked_for(deployed(KmsKey=before), KmsKey=given).get("EarlierKmsKey", "") == earlier


# What is deleted


def test_a_stack_with_termination_protection_keeps_its_buckets(deployment: Deployed) -> None:
    cloud, allow = deployed(), f"--no-enable-termination-protection --stack-name s --region {REGION}"
    cloud.also["EnableTerminationProtection"] = True
    with pytest.raises(DeployError, match=f"s has termination protection.*Nothing was removed.*{allow}"):
        deployment.deleted(cloud)
    assert deployment.done == []
    cloud.also["EnableTerminationProtection"] = False
    assert deployment.deleted(cloud)
    assert deployment.done == [("b-1", ""), ("b-2", "")]


def test_if_the_deletion_is_refused_it_is_told_which_buckets_are_detached_and_how_to_attach_them(
    deployment: Deployed,
) -> None:
    cloud, again = deployed(), f"attach-bucket.sh --bucket b-1 --bucket b-2 --region {REGION} --name-prefix p-"
    cloud.denied = "delete_stack"

    with pytest.raises(DeployError, match=f"(?s)you may not.*detached now: b-1, b-2.*{again}"):
        deployment.deleted(cloud)


def test_the_code_in_a_bucket_of_the_users_is_removed_first_and_a_bucket_that_cannot_be_seen_is_skipped(
    deployment: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    removed = list[str]()

    def remove(bucket: ArtifactBucket) -> bool:
        removed.append(bucket.name)
        if bucket.is_own:
            raise DeployError(f"The bucket {bucket.name}: 403")
        return True

    monkeypatch.setattr(ArtifactBucket, "remove", remove)

    assert deployment.deleted(deployed(CodeBucket="zz"))
    [users, own] = removed
    assert users == "zz"
    assert own.startswith(f"s3-event-aggregator-{ACCOUNT}-{REGION}")
    begin, remains, skipped = deployment.said
    assert begin == f"Stack s in {REGION}"
    assert f"aws s3 rm --recursive s3://zz/{own}/" in remains
    assert skipped == f"skip    The bucket {own}: 403"

    deployment.said.clear()
    deployment.deleted(deployed(CodeBucket=own))
    assert deployment.said == [begin, skipped]


# The launchers


def test_no_script_holds_what_an_old_bash_does_not_know() -> None:
    too_new = r"mapfile|declare -A|\$\{\w+[,^@]|&>>|(^|[&|]) *command |\[\[ -v"
    for path in (*(ROOT / "scripts").glob("*.sh"), ROOT / "dev/run.sh", ROOT / "dev/setup.sh"):
        assert not re.search(too_new, path.read_text(), re.MULTILINE), path


def test_the_launchers_take_no_module_of_the_current_directory(tmp_path: Path) -> None:
    for name, text in {
        "here/json.py": "raise SystemExit('of the current directory')",
        "root/shown.py": "import json, sys; print(sys.argv[1])",
        "root/dev/run.sh": (ROOT / "dev/run.sh").read_text(),
        "root/dev/setup.sh": "#!/bin/sh\n",
        "root/.venv-g/bin/python": f'#!/bin/sh\nexec "{sys.executable}" "$@"\n',
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    command = [str(tmp_path / "root/dev/run.sh"), "g", "shown", "a"]
    done = subprocess.run(command, cwd=tmp_path / "here", capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("a\n", "")
