"""Every parameter of template.yaml: deployed away from its default, changed by create-stack.sh and by plain
CloudFormation; and drift by hand.

What the local AWS's CloudFormation cannot show: it leaves permissions boundaries and the table's key out, and it
ignores --revert-drift, so that nothing mends what was changed by hand.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from commands.deploy.__main__ import main
from commands.deploy.template import parameters, settings, words_of
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
    """The parameters by what is deployed, but the boundary; each thing that one is about has the same."""
    functions, sqs, logs, iam = (aws.client(name) for name in ("lambda", "sqs", "logs", "iam"))
    aggregator, refresh = (functions.get_function_configuration(FunctionName=name) for name in (AGGREGATOR, REFRESH))
    of_aggregator, of_refresh = (of["Environment"]["Variables"] for of in (aggregator, refresh))
    names = {name: "_".join(words_of(name)).upper() for name in parameters()}
    found = {name: of_refresh[variable] for name, variable in names.items() if variable in of_refresh}
    assert found.items() >= {n: of_aggregator[v] for n, v in names.items() if v in of_aggregator}.items()
    queues = [sqs.get_queue_url(QueueName=f"{AGGREGATOR}ActionQueue{end}")["QueueUrl"] for end in ("", "DeadLetter")]
    of_queues = [sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"] for url in queues]
    prefixes = [f"/aws/lambda/{name}" for name in (AGGREGATOR, REFRESH)]
    groups = [g for name in prefixes for g in logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"]]
    alarms = aws.client("cloudwatch").describe_alarms(AlarmNamePrefix=AGGREGATOR)["MetricAlarms"]
    policy = iam.get_role_policy(RoleName=f"{PREFIX}S3GatewayRefresh-us-east-1", PolicyName="S3EventAggregator")
    of_keys = [s["Resource"] for s in policy["PolicyDocument"]["Statement"] if "kms:Decrypt" in s["Action"]]
    [key] = {
        *(of.get("KmsMasterKeyId") or "" for of in of_queues),
        *(of.get("KMSKeyArn") or "" for of in (aggregator, refresh)),
        *(group.get("kmsKeyId", "") for group in groups),
    }
    assert {of["SqsManagedSseEnabled"] for of in of_queues} == {"false" if key else "true"}
    [days] = {str(group["retentionInDays"]) for group in groups}
    [topics] = {",".join(alarm[actions]) for alarm in alarms for actions in ("AlarmActions", "OKActions")}
    network = refresh.get("VpcConfig", {})
    assert not aggregator.get("VpcConfig", {}).get("SubnetIds")
    return found | {
        "StorageGatewayEndpointUrl": of_refresh.get("AWS_ENDPOINT_URL_STORAGE_GATEWAY", ""),
        "KmsKey": key,
        "EarlierKmsKey": ",".join(used for used in (of_keys or [[]])[0] if used != key),
        "SubnetIds": ",".join(network["SubnetIds"]),
        "SecurityGroupIds": ",".join(network["SecurityGroupIds"]),
        "LogRetentionDays": days,
        "AlarmTopicArn": topics,
    }


def test_every_setting_is_deployed_and_changed_by_either_way_and_drift_is_told_of(
    aws: MiniStack, deployed: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = {name: value for name, value in deployed.items() if name != "PermissionsBoundary"}
    assert in_force(aws) == wanted

    flags = [word for name in deployed for word in (parameters()[name].flag, parameters()[name].default or "none")]
    assert main([*CREATE, *flags]) == 0
    assert in_force(aws) == {name: parameters()[name].default for name in wanted}

    # By plain CloudFormation, as docs/settings.md says.
    code = aws.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"][0]["Parameters"]
    [bucket] = [found["ParameterValue"] for found in code if found["ParameterKey"] == "CodeBucket"]
    deploy = ("aws", "cloudformation", "deploy", "--stack-name", STACK, "--capabilities", "CAPABILITY_NAMED_IAM")
    template = ("--template-file", str(ROOT / "template.yaml"), "--s3-bucket", bucket)
    run_program(aws, *deploy, *template, "--parameter-overrides", *(f"{n}={value}" for n, value in deployed.items()))
    assert in_force(aws) == wanted

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
