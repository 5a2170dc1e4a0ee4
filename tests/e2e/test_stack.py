"""The scripts on the local AWS: one stack beside another, killed on the way, changed, and removed to the last trace.

Killed after a few sampled calls of AWS, that is; with KILL_AT_EVERY_CALL=1 after every call of each in turn, which
takes about half an hour: KILL_AT_EVERY_CALL=1 scripts/test.sh tests/e2e/test_stack.py -k every_call
"""

import itertools
import json
import os
from typing import Any

import pytest

from dev.local.ministack import ROOT, MiniStack
from event_aggregator.request import LIFETIME_MS
from tests.e2e.conftest import FUNCTIONS, eventually, run_aws, run_script, s3_may
from tests.e2e.proxy import Proxy

BUCKET, PREFIX, TAG = "archive.example.com", "second-", "team=storage"
STACK = f"s3-event-aggregator-{PREFIX}"
AGGREGATOR, REFRESH = (f"{PREFIX}{function}" for function in FUNCTIONS)
ROLES = ("S3Aggregator-us-east-1", "S3GatewayRefresh-us-east-1")
CREATE = ("create-stack.sh", "--bucket", BUCKET, "--name-prefix", PREFIX)
DELETE = ("delete-stack.sh", "--name-prefix", PREFIX, "--yes")


def everything(aws: MiniStack) -> dict[str, Any]:
    """All that the scripts may make, by kind, but for the bucket's notification."""
    functions, cloudwatch = aws.client("lambda"), aws.client("cloudwatch")
    return {
        "stacks": [s["StackName"] for s in aws.client("cloudformation").describe_stacks()["Stacks"]],
        "buckets": [bucket["Name"] for bucket in aws.client("s3").list_buckets()["Buckets"]],
        "tables": aws.client("dynamodb").list_tables()["TableNames"],
        "queues": aws.client("sqs").list_queues().get("QueueUrls", []),
        "functions": sorted(f["FunctionName"] for f in functions.list_functions()["Functions"]),
        "triggers": [m["FunctionArn"] for m in functions.list_event_source_mappings()["EventSourceMappings"]],
        "roles": sorted(role["RoleName"] for role in aws.client("iam").list_roles()["Roles"]),
        "rules": sorted(rule["Name"] for rule in aws.client("events").list_rules()["Rules"]),
        "alarms": [alarm["AlarmName"] for alarm in cloudwatch.describe_alarms()["MetricAlarms"]],
        "dashboards": [entry["DashboardName"] for entry in cloudwatch.list_dashboards()["DashboardEntries"]],
        "log groups": [group["logGroupName"] for group in aws.client("logs").describe_log_groups()["logGroups"]],
    }


def notification(aws: MiniStack) -> dict[str, Any]:
    configuration = aws.client("s3").get_bucket_notification_configuration(Bucket=BUCKET)
    del configuration["ResponseMetadata"]
    return dict(configuration)


def longest_delivery_ms(aws: MiniStack) -> int:
    """How long a message may be delivered again and again before it goes to the dead-letter queue."""
    sqs = aws.client("sqs")
    queue = sqs.get_queue_url(QueueName=f"{PREFIX}S3EventAggregatorActionQueue")["QueueUrl"]
    attributes = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
    receives: int = json.loads(attributes["RedrivePolicy"])["maxReceiveCount"]
    return receives * int(attributes["VisibilityTimeout"]) * 1000


@pytest.fixture
def others_notification(aws: MiniStack) -> dict[str, Any]:
    """A bucket that notifies a queue, a topic and EventBridge already."""
    sqs, sns = aws.client("sqs"), aws.client("sns")
    queue = sqs.create_queue(QueueName="somebody-elses")["QueueUrl"]
    queue_arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": s3_may("sqs:SendMessage", queue_arn)})
    topic_arn = sns.create_topic(Name="somebody-elses")["TopicArn"]
    policy = s3_may("sns:Publish", topic_arn)
    sns.set_topic_attributes(TopicArn=topic_arn, AttributeName="Policy", AttributeValue=policy)
    aws.client("s3").create_bucket(Bucket=BUCKET)
    key_filter = {
        "Key": {"FilterRules": [{"Name": "prefix", "Value": "ünï cödé/"}, {"Name": "suffix", "Value": ".csv"}]}
    }
    aws.client("s3").put_bucket_notification_configuration(
        Bucket=BUCKET,
        NotificationConfiguration={
            "QueueConfigurations": [
                {
                    "Id": "q",
                    "QueueArn": queue_arn,
                    "Events": ["s3:ObjectTagging:*"],
                    "Filter": key_filter,
                }
            ],
            "TopicConfigurations": [
                {
                    "Id": "t",
                    "TopicArn": topic_arn,
                    "Events": ["s3:ObjectRestore:Post", "s3:ObjectRestore:Completed"],
                }
            ],
            "EventBridgeConfiguration": {},
        },
    )
    return notification(aws)


@pytest.fixture
def house_rules(aws: MiniStack) -> dict[str, str]:
    """The flags with which an organization has stacks deployed, all at once, and those of gateways elsewhere."""
    anything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    boundary = aws.client("iam").create_policy(PolicyName="boundary", PolicyDocument=json.dumps(anything))["Policy"]
    subnets = [subnet["SubnetId"] for subnet in aws.client("ec2").describe_subnets()["Subnets"][:2]]
    [group, *_] = aws.client("ec2").describe_security_groups()["SecurityGroups"]
    return {
        "--permissions-boundary": boundary["Arn"],
        "--kms-key": aws.client("kms").create_key()["KeyMetadata"]["Arn"],
        "--gateway-regions": "us-east-1,eu-west-1",
        "--gateway-role-arns": "arn:aws:iam::210987654321:role/a,arn:aws:iam::310987654321:role/b",
        "--subnet-ids": ",".join(subnets),
        "--security-group-ids": group["GroupId"],
        "--tag": TAG,
    }


def rules_in_force(aws: MiniStack) -> dict[str, str]:
    """The same flags, by what is deployed; each thing they are about has the same. Of one that nothing has: none.

    The local AWS's CloudFormation tags no rules and no triggers, and leaves boundaries and the table's key out.
    """
    functions, sqs, logs, iam = (aws.client(name) for name in ("lambda", "sqs", "logs", "iam"))
    table = aws.client("dynamodb").describe_table(TableName=AGGREGATOR)["Table"]
    queues = [sqs.get_queue_url(QueueName=f"{AGGREGATOR}ActionQueue{end}")["QueueUrl"] for end in ("", "DeadLetter")]
    of_queues = [sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"] for url in queues]
    of_functions = [functions.get_function_configuration(FunctionName=name) for name in (AGGREGATOR, REFRESH)]
    groups = [
        group
        for name in (AGGREGATOR, REFRESH)
        for group in logs.describe_log_groups(logGroupNamePrefix=f"/aws/lambda/{name}")["logGroups"]
    ]
    roles = [iam.get_role(RoleName=f"{PREFIX}{name}")["Role"] for name in ROLES]
    keys = {
        *(of.get("KmsMasterKeyId") or "none" for of in of_queues),
        *(of.get("KMSKeyArn") or "none" for of in of_functions),
        *(group.get("kmsKeyId", "none") for group in groups),
    }
    assert {of["SqsManagedSseEnabled"] for of in of_queues} == {"true" if keys == {"none"} else "false"}
    tags = [
        aws.client("dynamodb").list_tags_of_resource(ResourceArn=table["TableArn"])["Tags"],
        *(as_list(sqs.list_queue_tags(QueueUrl=url)["Tags"]) for url in queues),
        *(as_list(functions.list_tags(Resource=of["FunctionArn"])["Tags"]) for of in of_functions),
        *(as_list(logs.list_tags_for_resource(resourceArn=of["arn"].removesuffix(":*"))["tags"]) for of in groups),
        *(iam.list_role_tags(RoleName=role["RoleName"])["Tags"] for role in roles),
        *(
            aws.client("cloudwatch").list_tags_for_resource(ResourceARN=alarm["AlarmArn"])["Tags"]
            for alarm in aws.client("cloudwatch").describe_alarms(AlarmNamePrefix=AGGREGATOR)["MetricAlarms"]
        ),
    ]
    own = [[tag for tag in tagged if not tag["Key"].startswith("aws:")] for tagged in tags]
    assert [tag for tag in own if tag != own[0]] == []
    [key] = keys
    [tag] = own[0]
    network, variables = of_functions[1]["VpcConfig"], of_functions[1]["Environment"]["Variables"]
    assert not of_functions[0].get("VpcConfig", {}).get("SubnetIds")
    return {
        "--kms-key": key,
        "--gateway-regions": variables["GATEWAY_REGIONS"],
        "--gateway-role-arns": variables["GATEWAY_ROLE_ARNS"],
        "--subnet-ids": ",".join(network["SubnetIds"]) or "none",
        "--security-group-ids": ",".join(network["SecurityGroupIds"]) or "none",
        "--tag": f"{tag['Key']}={tag['Value']}",
    }


def words(flags: dict[str, str]) -> list[str]:
    return [word for flag in flags.items() for word in flag]


def as_list(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


@pytest.mark.usefixtures("stack")
def test_a_stack_survives_being_killed_half_way_and_leaves_nothing_when_it_is_deleted(
    aws: MiniStack, others_notification: dict[str, Any], kill_after: Any, house_rules: dict[str, str]
) -> None:
    before = everything(aws)

    planned = run_script(aws, *CREATE, *words(house_rules), "--dry-run")
    assert f"would create  stack {STACK}" in planned
    assert everything(aws) == before
    assert notification(aws) == others_notification

    for calls in (9, 20, 30):
        assert kill_after(calls, *CREATE, *words(house_rules)), f"it made fewer than {calls} calls"
    with Proxy(aws.endpoint_url) as proxy:
        proxy.throttle_every = 4
        flags = ("--refresh-delay-seconds", "120", *words(house_rules))
        run_script(aws, *CREATE, *flags, AWS_ENDPOINT_URL=proxy.endpoint_url)
    assert sum(proxy.refused.values()) >= 5, "every fourth call was throttled, and made again"
    ours, *others = notification(aws)["LambdaFunctionConfigurations"]
    assert ours["Id"] == f"{PREFIX}s3-event-aggregator"
    assert others == []
    assert {name: notification(aws)[name] for name in others_notification} == others_notification
    assert longest_delivery_ms(aws) <= LIFETIME_MS, "a window must outlive its request"
    assert rules_in_force(aws) == of_which_it_tells(house_rules)

    complete, again = everything(aws), run_script(aws, *CREATE)
    assert f"keep    stack {STACK}\nkeep    notification of {BUCKET}\n" in again
    assert everything(aws) == complete
    assert rules_in_force(aws) == of_which_it_tells(house_rules), "without their flags they stay"
    assert variables(aws)["REFRESH_DELAY_SECONDS"] == "120"

    none = dict.fromkeys(("--permissions-boundary", "--kms-key", "--subnet-ids"), "none")
    planned = run_script(aws, *CREATE, *words(none), "--dry-run")
    assert f"would set     --kms-key {house_rules['--kms-key']} -> none" in planned
    assert rules_in_force(aws) == of_which_it_tells(house_rules), "a dry run changes nothing"
    run_script(aws, *CREATE, *words(none))
    assert rules_in_force(aws) == of_which_it_tells(house_rules | none) | {"--security-group-ids": "none"}
    policy = aws.client("iam").get_role_policy(RoleName=f"{PREFIX}{ROLES[1]}", PolicyName="S3EventAggregator")
    [of_keys] = [s for s in policy["PolicyDocument"]["Statement"] if "kms:Decrypt" in s["Action"]]
    assert of_keys["Resource"] == [house_rules["--kms-key"]], "of which messages may still be encrypted"

    assert kill_after(9, *DELETE), "it made fewer than 9 calls"
    with Proxy(aws.endpoint_url) as proxy:
        proxy.throttle_every = 4
        run_script(aws, *DELETE, AWS_ENDPOINT_URL=proxy.endpoint_url)
    assert everything(aws) == before
    assert notification(aws) == others_notification
    assert "Nothing to delete" in run_script(aws, *DELETE)


def variables(aws: MiniStack) -> dict[str, str]:
    found = aws.client("lambda").get_function_configuration(FunctionName=AGGREGATOR)["Environment"]["Variables"]
    return dict(found)


def of_which_it_tells(flags: dict[str, str]) -> dict[str, str]:
    """Those of which the local AWS does."""
    return {flag: value for flag, value in flags.items() if flag != "--permissions-boundary"}


@pytest.fixture
def second(aws: MiniStack) -> Any:
    """A second stack, attached to the bucket; gone after the test."""
    aws.client("s3").create_bucket(Bucket=BUCKET)
    run_script(aws, *CREATE, "--no-initial-refresh")
    yield aws
    run_script(aws, *DELETE)


def test_plain_cloudformation_changes_the_stack_that_the_script_made_and_the_script_that_one(second: MiniStack) -> None:
    template = ("--template-file", str(ROOT / "template.yaml"), "--s3-bucket", code_bucket(second))
    deploy = ("cloudformation", "deploy", "--stack-name", STACK, "--capabilities", "CAPABILITY_NAMED_IAM", *template)
    run_aws(second, *deploy, "--parameter-overrides", "RefreshDelaySeconds=300")
    assert variables(second)["REFRESH_DELAY_SECONDS"] == "300"

    run_script(second, *CREATE, "--log-level", "DEBUG")

    assert variables(second)["REFRESH_DELAY_SECONDS"] == "300", "it keeps its value"
    assert variables(second)["LOG_LEVEL"] == "DEBUG"


def test_a_change_set_is_made_and_not_carried_out(second: MiniStack) -> None:
    said = run_script(second, *CREATE, "--refresh-delay-seconds", "90", "--change-set")

    assert f"to change  AWS::Lambda::Function {AGGREGATOR}: Environment" in said
    assert variables(second)["REFRESH_DELAY_SECONDS"] == "30"
    found = second.client("cloudformation").list_change_sets(StackName=STACK)["Summaries"]
    [change_set] = [one for one in found if one["ChangeSetId"] in said]
    assert change_set["ExecutionStatus"] == "AVAILABLE"
    second.client("cloudformation").execute_change_set(ChangeSetName=change_set["ChangeSetId"])
    eventually(lambda: variables(second)["REFRESH_DELAY_SECONDS"] == "90")
    run_script(second, *CREATE)
    assert variables(second)["REFRESH_DELAY_SECONDS"] == "90", "it keeps its value"


def code_bucket(aws: MiniStack) -> str:
    [stack] = aws.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"]
    [bucket] = [p["ParameterValue"] for p in stack["Parameters"] if p["ParameterKey"] == "CodeBucket"]
    return str(bucket)


def test_what_failed_once_is_created_anew_with_the_parameters_that_were_given_then(aws: MiniStack) -> None:
    aws.client("s3").create_bucket(Bucket=BUCKET)
    broken = {
        "Parameters": {"NamePrefix": {"Type": "String"}, "RefreshDelaySeconds": {"Type": "Number"}},
        "Resources": {"Alarm": {"Type": "AWS::CloudWatch::Alarm", "Properties": {"AlarmName": "of-no-metric"}}},
    }
    given = {"NamePrefix": PREFIX, "RefreshDelaySeconds": "75"}
    parameters = [{"ParameterKey": name, "ParameterValue": value} for name, value in given.items()]
    cloud = aws.client("cloudformation")
    cloud.create_stack(StackName=STACK, TemplateBody=json.dumps(broken), Parameters=parameters)
    eventually(lambda: cloud.describe_stacks(StackName=STACK)["Stacks"][0]["StackStatus"] == "ROLLBACK_COMPLETE")

    done = run_script(aws, *CREATE)

    assert f"delete  the stack {STACK}, which is ROLLBACK_COMPLETE" in done
    assert variables(aws)["REFRESH_DELAY_SECONDS"] == "75"
    run_script(aws, *DELETE)


def test_a_function_that_no_stack_owns_is_left_alone(aws: MiniStack) -> None:
    role = {"Version": "2012-10-17", "Statement": []}
    arn = aws.client("iam").create_role(RoleName="of-2018", AssumeRolePolicyDocument=json.dumps(role))["Role"]["Arn"]
    functions, code = aws.client("lambda"), {"ZipFile": b"PK\x05\x06" + 18 * b"\0"}
    functions.create_function(FunctionName=REFRESH, Role=arn, Runtime="python3.13", Handler="a.b", Code=code)
    before = everything(aws)

    for script in (CREATE, DELETE):
        refused = run_script(aws, *script, check=False)
        assert f"There is a function {REFRESH} that no stack of CloudFormation owns" in refused
    assert everything(aws) == before
    functions.delete_function(FunctionName=REFRESH)
    aws.client("iam").delete_role(RoleName="of-2018")


@pytest.mark.skipif("KILL_AT_EVERY_CALL" not in os.environ, reason="takes about half an hour")
@pytest.mark.usefixtures("stack")
def test_killed_after_every_call_in_turn_both_scripts_end_right_when_they_are_run_again(
    aws: MiniStack, others_notification: dict[str, Any], kill_after: Any
) -> None:
    before = everything(aws)
    run_script(aws, *CREATE)
    complete, attached = everything(aws), notification(aws)
    for calls in itertools.count(1):
        delete_was_killed = kill_after(calls, *DELETE)
        run_script(aws, *DELETE)
        assert everything(aws) == before, f"delete-stack.sh killed after call {calls}"
        assert notification(aws) == others_notification
        create_was_killed = kill_after(calls, *CREATE)
        printed = run_script(aws, *CREATE)
        assert everything(aws) == complete, f"create-stack.sh killed after call {calls}:\n{printed}"
        assert notification(aws) == attached
        assert "would" not in run_script(aws, *CREATE, "--dry-run"), f"create-stack.sh killed after call {calls}"
        if not delete_was_killed and not create_was_killed:
            break
