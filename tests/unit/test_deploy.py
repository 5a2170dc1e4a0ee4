"""The command line of what deploys: flags, what is refused before anything is written, and what is handed on."""

import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from commands.deploy import create
from commands.deploy.__main__ import main, parser
from commands.deploy.buckets import Buckets, Wish
from commands.deploy.cloudformation import DeployError
from commands.deploy.create import Deployment, Order
from commands.deploy.package import ArtifactBucket
from commands.deploy.template import OWN, Json, RefusedError, parameters, refuse_unless_consistent, settings
from commands.operate.stack import Stack
from dev.local.ministack import ROOT

ACCOUNT, REGION = "123456789012", "us-east-1"
KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1234abcd"
ROLE = "arn:aws:iam::210987654321:role/"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"RefreshesPerGateway": "51"}, "--refreshes-per-gateway is '51': set it to a whole number .* from 1 to 50"),
        ({"RefreshDelaySeconds": "30,renders=soon"}, "--refresh-delay-seconds holds 'renders=soon': set it to"),
        ({"RefreshQuietSeconds": "0,b-1=901"}, "Bucket b-1: --refresh-quiet-seconds is 901 and --refresh-max"),
        ({"RefreshQuietSeconds": "600", "RefreshMaxDelaySeconds": "300"}, "is 300, so every window closes"),
        ({"GatewayExternalIds": "secret"}, "--gateway-external-ids holds 'secret': set it to ACCOUNT=ID"),
        ({"IgnoreKeys": "*.tmp,*/*"}, "--ignore-keys holds '[*]/[*]': set it to patterns that match some keys"),
        ({"LogLevel": "WARN"}, "--log-level is 'WARN': set it to one of DEBUG, INFO"),
        ({"LogLevel": "CRITICAL"}, "--log-level CRITICAL: it must be one of DEBUG, INFO, WARNING, ERROR"),
        ({"LogRetentionDays": "31"}, "--log-retention-days 31: it must be one of 1, 3, 5"),
        ({"GatewayRegions": "us-east-1,Ireland"}, "--gateway-regions holds 'Ireland': set it to regions"),
        ({"ReattachBucketArns": "No_Bucket"}, "--reattach No_Bucket: it must match .*, or none"),
        ({"AlarmTopicArn": "arn:aws:sns:us-east-1:123456789012:t.fifo"}, "--alarm-topic-arn .*: it must match "),
        ({"AlarmTopicArn": f"arn:aws:sns:eu-west-1:{ACCOUNT}:t"}, "--alarm-topic-arn .*: it must be in us-east-1"),
        ({"KmsKey": KEY.replace("us-east-1", "eu-west-1")}, "--kms-key .*: it must be in us-east-1"),
        ({"KmsKey": "alias/mine"}, "--kms-key alias/mine: it must match "),
        ({"SubnetIds": "subnet-1a"}, "Give --subnet-ids and --security-group-ids together"),
        ({"SecurityGroupIds": "sg-1a"}, "Give --subnet-ids and --security-group-ids together"),
        ({"GatewayRoleArns": f"{ROLE}a,{ROLE}b"}, "--gateway-role-arns holds two roles of one account"),
        (
            {"StorageGatewayEndpointUrl": "https://vpce", "GatewayRegions": "us-east-1,eu-west-1"},
            "--storage-gateway-endpoint-url serves one region",
        ),
    ],
)
def test_what_cloudformation_or_a_function_would_refuse_is_refused_with_its_flag(given: Json, message: str) -> None:
    defaults = {name: parameter.default for name, parameter in parameters().items()}

    refuse_unless_consistent(defaults, REGION, ACCOUNT)
    with pytest.raises(RefusedError, match=message):
        refuse_unless_consistent({**defaults, **given}, REGION, ACCOUNT)


def test_every_parameter_is_a_flag_of_the_deploying_script(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["create-stack.sh", "--help"])
    flags = {parameter.flag for parameter in settings()}

    assert flags <= set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    assert {"--refresh-delay-seconds", "--kms-key", "--alarm-topic-arn", "--subnet-ids", "--reattach"} <= flags
    assert len(flags) == len(parameters()) - len(OWN)


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
    flags = [
        "--refresh-delay-seconds",
        "5",
        "--kms-key",
        "none",
        "--gateway-session-name",
        "none",
        "--subnet-ids",
        "none",
    ]
    of_buckets = ["--bucket", "a-bucket", "--all-keys", "--no-initial-refresh", "--reattach", "a-bucket,other"]
    assert main(["create-stack.sh", "--tag", "a=b=c", *flags, *of_buckets]) == 0

    [order] = ordered
    assert order.given == {
        "RefreshDelaySeconds": "5",
        "KmsKey": "",
        "GatewaySessionName": "none",
        "SubnetIds": "",
        "SecurityGroupIds": "",  # which no subnets need
        "ReattachBucketArns": "arn:aws-cn:s3:::a-bucket,arn:aws-cn:s3:::other",
    }
    assert order.buckets == ["a-bucket"]
    assert order.tags == {"a": "b=c"}
    assert order.wish == Wish(prefixes=[], initial_refresh=False)


def test_the_environment_may_name_the_bucket_and_the_endpoint(
    ordered: list[Order], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUCKET", "its-bucket")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STORAGE_GATEWAY", "https://vpce")

    assert main(["create-stack.sh"]) == 0
    assert main(["create-stack.sh", "--bucket", "mine", "--prefix", "a/"]) == 0

    assert [order.buckets for order in ordered] == [["its-bucket"], ["mine"]]
    assert ordered[0].given == {"StorageGatewayEndpointUrl": "https://vpce"}
    assert [order.wish for order in ordered] == [Wish(), Wish(prefixes=["a/"])]


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


@dataclass
class Cloud:
    """The stack of CloudFormation's: as it is found, and as it is when it is settled."""

    found: Json | None
    settled: Json | None
    name: str = "s"
    proposed: list[Json] = field(default_factory=list)
    more: Json = field(default_factory=dict)
    refusal: str = ""  # of DeleteStack

    def remove(self) -> bool:
        if self.refusal:
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": self.refusal}}, "DeleteStack")
        return self.found is not None

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
    told = [{"ParameterKey": name, "ParameterValue": value} for name, value in own.items()]
    return {"StackStatus": "UPDATE_COMPLETE", "Parameters": told}


@pytest.fixture
def asked_for(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Asks for a stack; the parameters of the change set, of one whose value is to stay: None."""
    monkeypatch.setattr(create, "pack", lambda: ("code.zip", b""))
    monkeypatch.setattr(ArtifactBucket, "make", lambda _: False)
    monkeypatch.setattr(ArtifactBucket, "put", lambda _, name, __: f"folder/{name}")
    monkeypatch.setattr(Stack, "buckets", lambda _: [])
    monkeypatch.setattr(Stack, "caller", (ACCOUNT, "aws"))
    session, clients = boto3.Session(region_name=REGION), dict[str, Any]()

    def ask(
        cloud: Cloud,
        said: list[str] | None = None,
        *,
        buckets: Sequence[str] = (),
        wish: Wish = Wish(),  # noqa: B008 - it is frozen
        reverts_drift: bool = False,
        **given: str,
    ) -> Json:
        deployment = Deployment(Stack(session, "p-", _clients=clients), (said if said is not None else []).append)
        deployment.__dict__ |= {"cloud": cloud, "buckets": Buckets(deployment.stack, print)}
        deployment.create(Order(given, {"team": "storage"}, [*buckets], wish, reverts_drift=reverts_drift))
        return {one["ParameterKey"]: one.get("ParameterValue") for one in cloud.proposed}

    return ask


def test_a_setting_that_is_not_given_keeps_its_value_if_the_deployed_template_knows_it(asked_for: Any) -> None:
    stack, said = deployed(RefreshDelaySeconds="120", LogLevel="DEBUG", OfAnEarlierTemplate="1"), list[str]()
    cloud = Cloud(stack, stack)

    assert asked_for(cloud, said, LogLevel="INFO", MinRefreshIntervalSeconds="60,share-1=59") == {
        "NamePrefix": "p-",
        "CodeBucket": "b",
        "CodeKey": "folder/code.zip",
        "LogLevel": "INFO",
        "MinRefreshIntervalSeconds": "60,share-1=59",
        "RefreshDelaySeconds": None,
    }
    assert [one for one in cloud.proposed if "UsePreviousValue" in one] == [
        {"ParameterKey": "RefreshDelaySeconds", "UsePreviousValue": True}
    ]
    assert cloud.more == {"team": "storage"}
    assert any("Warning: AWS asks for 60 s between two refreshes" in line for line in said)


def test_each_setting_can_be_changed_alone(asked_for: Any) -> None:
    for one in settings():
        stack = deployed(**{parameter.name: parameter.default for parameter in settings()})
        cloud = Cloud(stack, stack)

        asked = asked_for(cloud, **{one.name: one.default})

        assert asked.keys() == parameters().keys()
        assert {name for name, value in asked.items() if value is not None} == {*OWN, one.name}


def test_what_is_in_force_counts_when_settings_are_checked(asked_for: Any) -> None:
    stack = deployed(RefreshMaxDelaySeconds="300")

    with pytest.raises(RefusedError, match="--refresh-quiet-seconds is 600 and --refresh-max-delay-seconds is 300"):
        asked_for(Cloud(stack, stack), RefreshQuietSeconds="600")


def test_a_stack_of_another_prefix_is_not_taken_for_this_one(asked_for: Any) -> None:
    stack = deployed(NamePrefix="p_")

    with pytest.raises(RefusedError, match="The stack s has another --name-prefix: p_"):
        asked_for(Cloud(stack, stack))


@pytest.mark.parametrize(
    "status", ["CREATE_IN_PROGRESS", "CREATE_FAILED", "ROLLBACK_IN_PROGRESS", "ROLLBACK_COMPLETE", "DELETE_FAILED"]
)
def test_a_stack_that_was_never_complete_is_asked_for_its_bucket(asked_for: Any, status: str) -> None:
    stack = {**deployed(), "StackStatus": status}

    with pytest.raises(RefusedError, match="Which bucket"):
        asked_for(Cloud(stack, stack))


def test_a_stack_without_a_bucket_says_so_when_it_is_deployed(asked_for: Any) -> None:
    said = list[str]()
    asked_for(Cloud(deployed(), deployed()), said)

    attach = f"scripts/attach-bucket.sh --bucket B --region {REGION} --name-prefix p-"
    assert f"\nDeployed. No bucket is attached: {attach}" in said


@pytest.mark.parametrize("reverts_drift", [False, True])
def test_a_stack_that_has_to_be_created_anew_gets_the_values_that_it_had(
    asked_for: Any, *, reverts_drift: bool
) -> None:
    cloud = Cloud(deployed(RefreshDelaySeconds="120", OfAnEarlierTemplate="1"), None)

    asked = asked_for(cloud, reverts_drift=reverts_drift)

    assert asked["RefreshDelaySeconds"] == "120"
    assert "OfAnEarlierTemplate" not in asked
    assert not any("UsePreviousValue" in one for one in cloud.proposed)
    assert cloud.more == {"team": "storage"}, "there is no drift to revert"


@pytest.mark.parametrize("named", [[], ["named"]])
def test_the_buckets_that_are_named_come_first_and_only_they_get_what_the_flags_say(
    asked_for: Any, monkeypatch: pytest.MonkeyPatch, named: list[str]
) -> None:
    wishes: list[tuple[str, str]] = []
    monkeypatch.setattr(Stack, "buckets", lambda _: ["a-bucket", "named"])
    monkeypatch.setattr(Buckets, "refuse_unless_here", lambda *_: None)
    monkeypatch.setattr(Buckets, "plan", lambda *_: None)
    monkeypatch.setattr(Buckets, "attach", lambda _, bucket, wish: wishes.append((bucket, wish.source)))

    asked_for(Cloud(deployed(), deployed()), buckets=named, wish=Wish("eventbridge"))

    by_flags = ("named", "eventbridge")
    assert wishes == ([by_flags, ("a-bucket", "")] if named else [("a-bucket", "eventbridge"), by_flags])


def test_drift_is_reverted_if_that_is_asked_for(asked_for: Any) -> None:
    cloud = Cloud(deployed(), deployed())
    asked_for(cloud, reverts_drift=True)

    assert cloud.more == {"team": "storage", "DeploymentMode": "REVERT_DRIFT"}


@pytest.mark.parametrize(
    ("before", "given", "earlier"), [(KEY, "", KEY), (KEY, f"{KEY}0", KEY), (KEY, KEY, None), ("", KEY, None)]
)
def test_with_another_key_the_one_before_may_be_used_on(
    asked_for: Any, before: str, given: str, earlier: str | None
) -> None:
    stack = deployed(KmsKey=before)

    assert asked_for(Cloud(stack, stack), KmsKey=given).get("EarlierKmsKey") == earlier


# What is deleted


@pytest.fixture
def detached(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The buckets that were detached, of the two that are attached."""
    done: list[str] = []
    monkeypatch.setattr(Stack, "buckets", lambda _: ["b-1", "b-2"])
    monkeypatch.setattr(Buckets, "detach", lambda _, bucket: done.append(bucket))
    monkeypatch.setattr(ArtifactBucket, "remove", lambda _: True)
    monkeypatch.setattr(Stack, "caller", (ACCOUNT, "aws"))
    return done


def delete(cloud: Cloud, said: list[str] | None = None) -> bool:
    stack = Stack(boto3.Session(region_name=REGION), "p-")
    deployment = Deployment(stack, (said if said is not None else []).append)
    deployment.__dict__ |= {"cloud": cloud, "buckets": Buckets(stack, print)}
    return deployment.delete([])


def test_a_stack_with_termination_protection_keeps_its_buckets(detached: list[str]) -> None:
    allow = f"--no-enable-termination-protection --stack-name s --region {REGION}"

    with pytest.raises(RefusedError, match=f"s has termination protection.*Nothing was removed.*{allow}"):
        delete(Cloud({**deployed(), "EnableTerminationProtection": True}, None))
    assert detached == []
    assert delete(Cloud({**deployed(), "EnableTerminationProtection": False}, None))
    assert detached == ["b-1", "b-2"]


@pytest.mark.usefixtures("detached")
def test_if_the_deletion_is_refused_it_is_told_which_buckets_are_detached_and_how_to_attach_them() -> None:
    again = f"attach-bucket.sh --bucket b-1 --bucket b-2 --region {REGION} --name-prefix p-"

    with pytest.raises(DeployError, match=f"(?s)you may not.*detached now: b-1, b-2.*{again}"):
        delete(Cloud(deployed(), None, refusal="you may not"))


def test_a_stack_of_another_prefix_is_not_deleted(detached: list[str]) -> None:
    with pytest.raises(RefusedError, match="The stack s has another --name-prefix: p_"):
        delete(Cloud(deployed(NamePrefix="p_"), None))
    assert detached == []


def test_the_code_in_a_bucket_of_the_users_is_removed_first_and_a_bucket_that_cannot_be_seen_is_skipped(
    detached: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said, own, removed = list[str](), f"s3-event-aggregator-{ACCOUNT}-{REGION}", list[str]()

    def remove(bucket: ArtifactBucket) -> bool:
        removed.append(bucket.name)
        if bucket.is_own:
            raise RefusedError(f"The bucket {bucket.name}: 403")
        return True

    monkeypatch.setattr(ArtifactBucket, "remove", remove)

    assert delete(Cloud(deployed(CodeBucket="zz"), None), said)
    assert detached == ["b-1", "b-2"]
    assert removed[0] == "zz"
    assert removed[1].startswith(own)
    begin, remains, skipped = said
    assert begin == f"Stack s in {REGION}"
    assert f"aws s3 rm --recursive s3://zz/{removed[1]}/" in remains
    assert skipped == f"skip    The bucket {removed[1]}: 403"

    said.clear()
    delete(Cloud(deployed(CodeBucket=removed[1]), None), said)
    assert said == [begin, skipped]


# The launchers


@pytest.mark.parametrize("script", sorted((ROOT / "scripts").glob("*.sh")), ids=lambda path: path.name)
def test_a_script_holds_nothing_that_an_old_bash_does_not_know(script: Any) -> None:
    for path in (script, ROOT / "dev/run.sh", ROOT / "dev/setup.sh"):
        assert not re.search(
            r"mapfile|declare -A|\$\{\w+[,^@]|&>>|(^|[&|]) *command |\[\[ -v", path.read_text(), re.MULTILINE
        )
        subprocess.run(["bash", "-n", path], check=True)


def test_the_launchers_take_no_module_of_the_current_directory(tmp_path: Path) -> None:
    here, root = tmp_path / "here", tmp_path / "root"
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

    done = subprocess.run(
        [root / "dev/run.sh", "g", "shown", "a"], cwd=here, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("a\n", "")
