"""Every parameter of template.yaml: deployed away from its default, changed by create-stack.sh and by plain
CloudFormation; and drift by hand, which the local AWS cannot mend: it ignores --revert-drift.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from commands.deploy.__main__ import main
from commands.deploy.template import OWN, parameters, settings
from dev.local.ministack import ACCOUNT, ROOT, MiniStack
from tests.e2e.conftest import FUNCTIONS, run, run_program

BUCKET, PREFIX, STACK = "every-setting", "every-", "s3-event-aggregator-every-"
AGGREGATOR, REFRESH = (f"{PREFIX}{function}" for function in FUNCTIONS)
CREATE = ("create-stack.sh", "--name-prefix", PREFIX)


@pytest.fixture
def deployed(aws: MiniStack, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """A stack with every parameter away from its default; their values."""
    for name, value in aws.environment().items():
        if name not in ("PATH", "PYTHONPATH"):
            monkeypatch.setenv(name, value)
    aws.client("s3").create_bucket(Bucket=BUCKET)
    keys = [aws.client("kms").create_key()["KeyMetadata"]["Arn"] for _ in "12"]
    [group, *_] = aws.client("ec2").describe_security_groups()["SecurityGroups"]
    values = {
        "RefreshDelaySeconds": "31,renders=600",
        "RefreshQuietSeconds": "20,renders=0",
        "RefreshMaxDelaySeconds": "300",
        "MinRefreshIntervalSeconds": "90,share-1234ABCD=3600",
        "RefreshesPerGateway": "3",
        "InProgressTimeoutSeconds": "1800",
        "RefreshScope": "share",
        "RefreshOtherGateways": "on",
        "IgnoreKeys": "*.tmp,*/_temporary/*",
        "GatewaySessionName": "Elsewhere",
        "ReattachBucketArns": f"arn:aws:s3:::{BUCKET}",
        "GatewayRegions": "us-east-1",
        "GatewayRoleArns": "arn:aws:iam::210987654321:role/a,arn:aws:iam::310987654321:role/b",
        "GatewayExternalIds": "210987654321=secret",
        "StorageGatewayEndpointUrl": "https://vpce.example.com",
        "VisibleEvents": "off",
        "PermissionsBoundary": f"arn:aws:iam::{ACCOUNT}:policy/boundary",
        "KmsKey": keys[0],
        "EarlierKmsKey": keys[1],
        "SubnetIds": ",".join(subnet["SubnetId"] for subnet in aws.client("ec2").describe_subnets()["Subnets"][:2]),
        "SecurityGroupIds": group["GroupId"],
        "LogLevel": "DEBUG",
        "LogRetentionDays": "7",
        "AlarmTopicArn": aws.client("sns").create_topic(Name="operators")["TopicArn"],
    }
    assert values.keys() == {parameter.name for parameter in settings()}
    assert [name for name in values if values[name] == parameters()[name].default] == []
    flags = [word for name, value in values.items() for word in (parameters()[name].flag, value)]
    assert main([*CREATE, "--bucket", BUCKET, "--no-initial-refresh", *flags]) == 0
    yield values
    assert main(["delete-stack.sh", "--name-prefix", PREFIX, "--yes"]) == 0


def in_force(aws: MiniStack) -> dict[str, str]:
    """The parameters of the stack; that each is where it belongs is a unit test of the template."""
    [stack] = aws.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"]
    return {parameter["ParameterKey"]: parameter["ParameterValue"] for parameter in stack["Parameters"]}


def test_every_setting_is_deployed_and_changed_by_either_way_and_drift_is_told_of(
    aws: MiniStack, deployed: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    own = {name: in_force(aws)[name] for name in OWN}
    assert in_force(aws) == own | deployed

    flags = [word for name in deployed for word in (parameters()[name].flag, parameters()[name].default or "none")]
    assert main([*CREATE, *flags]) == 0
    assert in_force(aws) == own | {name: parameters()[name].default for name in deployed}

    # By plain CloudFormation, as docs/settings.md says.
    deploy = ("aws", "cloudformation", "deploy", "--stack-name", STACK, "--capabilities", "CAPABILITY_NAMED_IAM")
    template = ("--template-file", str(ROOT / "template.yaml"), "--s3-bucket", own["CodeBucket"])
    run_program(aws, *deploy, *template, "--parameter-overrides", *(f"{n}={value}" for n, value in deployed.items()))
    assert in_force(aws) == own | deployed

    functions, events, nothing = aws.client("lambda"), aws.client("events"), dict[str, Any]()
    [trigger] = functions.list_event_source_mappings(FunctionName=REFRESH)["EventSourceMappings"]
    functions.update_event_source_mapping(UUID=trigger["UUID"], Enabled=False)
    events.remove_targets(Rule=f"{AGGREGATOR}Sweep", Ids=["action-queue"])
    events.delete_rule(Name=f"{AGGREGATOR}Sweep")
    aws.client("s3").put_bucket_notification_configuration(Bucket=BUCKET, NotificationConfiguration=nothing)
    told = run("status.sh", "--name-prefix", PREFIX, environment=aws.environment() | {"COLUMNS": "200"}).out
    assert "the queue is not read: the refresh function's trigger is Disabled" in told
    assert f"the rule {AGGREGATOR}Sweep is gone" in told
    assert f"so does scripts/create-stack.sh --revert-drift --region us-east-1 --name-prefix {PREFIX}" in told
    assert f"scripts/attach-bucket.sh --bucket {BUCKET} --region us-east-1 --name-prefix {PREFIX}" in told

    capsys.readouterr()
    assert main([*CREATE]) == 0
    said = capsys.readouterr().out
    assert f"keep    stack {STACK}\n" in said, "it compares with what was deployed, not with what is there"
    assert f"set     notification of {BUCKET}\n" in said, "what is not CloudFormation's it mends"
