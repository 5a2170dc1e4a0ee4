"""The two scripts on the local AWS: one beside another, killed on the way, and removed to the last trace.

Killed after a few sampled calls, that is; with KILL_AT_EVERY_CALL=1 after every call of each in turn, which takes
about an hour: KILL_AT_EVERY_CALL=1 scripts/test.sh tests/e2e/test_stack.py -k every_call
"""

import itertools
import json
import os
from typing import Any

import pytest

from event_aggregator.request import LIFETIME_MS
from local.ministack import MiniStack
from tests.e2e.conftest import FUNCTIONS, run_script, s3_may
from tests.e2e.proxy import Proxy
from tests.e2e.test_both_ways import PREFIX as OF_TEMPLATE
from tests.e2e.test_both_ways import ROLES, compared, delete, deploy

BUCKET, PREFIX, TAG = "archive.example.com", "second-", "team=storage"
AGGREGATOR, REFRESH = (f"{PREFIX}{function}" for function in FUNCTIONS)
# Each flag of a house rule, or of where gateways are, and the template's parameter.
HOUSE_RULES = {
    "--permissions-boundary": "PermissionsBoundaryArn",
    "--kms-key": "KmsKeyArn",
    "--gateway-regions": "GatewayRegions",
    "--gateway-role-arns": "GatewayRoleArns",
    "--subnet-ids": "SubnetIds",
    "--security-group-ids": "SecurityGroupIds",
}
CREATE = ("create-stack.sh", "--bucket", BUCKET, "--name-prefix", PREFIX)
DELETE = ("delete-stack.sh", "--name-prefix", PREFIX, "--yes")


def everything(aws: MiniStack) -> dict[str, Any]:
    """All that the scripts may make, by kind, but for the bucket's notification."""
    functions, cloudwatch = aws.client("lambda"), aws.client("cloudwatch")
    return {
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
    """The same flags, by what is deployed; each thing they are about has the same. Of one that nothing has: none."""
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
    of_table = table["SSEDescription"]
    keys = {
        of_table["KMSMasterKeyArn"] if of_table["Status"] == "ENABLED" else "none",
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
            aws.client("events").list_tags_for_resource(ResourceARN=rule["Arn"])["Tags"]
            for rule in aws.client("events").list_rules(NamePrefix=AGGREGATOR)["Rules"]
        ),
        *(
            aws.client("cloudwatch").list_tags_for_resource(ResourceARN=alarm["AlarmArn"])["Tags"]
            for alarm in aws.client("cloudwatch").describe_alarms(AlarmNamePrefix=AGGREGATOR)["MetricAlarms"]
        ),
        *(
            as_list(functions.list_tags(Resource=mapping["EventSourceMappingArn"])["Tags"])
            for mapping in functions.list_event_source_mappings(FunctionName=REFRESH)["EventSourceMappings"]
        ),
    ]
    assert [tag for tag in tags if tag != tags[0]] == []
    [boundary] = {role.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn", "none") for role in roles}
    [key] = keys
    [tag] = tags[0]
    network, variables = of_functions[1]["VpcConfig"], of_functions[1]["Environment"]["Variables"]
    assert not of_functions[0].get("VpcConfig", {}).get("SubnetIds")
    return {
        "--permissions-boundary": boundary,
        "--kms-key": key,
        "--gateway-regions": variables["GATEWAY_REGIONS"],
        "--gateway-role-arns": variables["GATEWAY_ROLE_ARNS"],
        "--subnet-ids": ",".join(network["SubnetIds"]) or "none",
        "--security-group-ids": ",".join(network["SecurityGroupIds"]),
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

    planned = run_script(aws, *CREATE, "--dry-run")
    assert f"would create table {PREFIX}S3EventAggregator" in planned
    assert everything(aws) == before
    assert notification(aws) == others_notification

    for calls in (9, 24):
        # With them from the start: the local AWS knows no AssociateKmsKey, which gives a log group its key afterwards.
        assert kill_after(calls, *CREATE, *words(house_rules)), f"it made fewer than {calls} calls"
    with Proxy(aws.endpoint_url) as proxy:
        proxy.throttle_every = 4
        flags = ("--refresh-delay-seconds", "120", *words(house_rules))
        changed = run_script(aws, *CREATE, *flags, AWS_ENDPOINT_URL=proxy.endpoint_url)
    assert sum(proxy.refused.values()) >= 10, "every fourth call was throttled, and made again"
    assert "REFRESH_DELAY_SECONDS 30 -> 120" in changed, "a function that was made before is changed"
    ours, *others = notification(aws)["LambdaFunctionConfigurations"]
    assert ours["Id"] == f"{PREFIX}s3-event-aggregator"
    assert others == []
    assert {name: notification(aws)[name] for name in others_notification} == others_notification

    assert longest_delivery_ms(aws) <= LIFETIME_MS, "a window must outlive its request"

    assert rules_in_force(aws) == house_rules
    complete, again = everything(aws), run_script(aws, *CREATE)
    assert all(line.startswith("keep") for line in again.split("\n\n")[0].splitlines()[1:]), again
    assert everything(aws) == complete
    assert rules_in_force(aws) == house_rules, "without their flags they stay"

    parameters = [f"{HOUSE_RULES[flag]}={value}" for flag, value in house_rules.items() if flag in HOUSE_RULES]
    deploy(aws, *parameters, "RefreshDelaySeconds=120", "VisibleThreshold=360", tags=(TAG,))
    assert compared(aws, OF_TEMPLATE) == compared(aws, PREFIX), "the template makes the same"
    delete(aws)

    for name in (AGGREGATOR, REFRESH):  # nor DisassociateKmsKey, which takes it away
        aws.client("logs").delete_log_group(logGroupName=f"/aws/lambda/{name}")
        aws.client("logs").create_log_group(logGroupName=f"/aws/lambda/{name}", tags=dict([TAG.split("=")]))
    none = dict.fromkeys(("--permissions-boundary", "--kms-key", "--subnet-ids"), "none")
    taken = run_script(aws, *CREATE, *words(none))
    assert "keep    permission to use arn:aws:kms:" in taken, "of which messages may still be encrypted"
    again = run_script(aws, *CREATE)
    assert all(line.startswith("keep") for line in again.split("\n\n")[0].splitlines()[1:]), again
    assert rules_in_force(aws) == house_rules | none | {"--security-group-ids": ""}, (
        "without their flags they stay away"
    )

    assert kill_after(9, *DELETE), "it made fewer than 9 calls"
    with Proxy(aws.endpoint_url) as proxy:
        proxy.throttle_every = 4
        run_script(aws, *DELETE, AWS_ENDPOINT_URL=proxy.endpoint_url)
    assert sum(proxy.refused.values()) >= 5
    assert everything(aws) == before
    assert notification(aws) == others_notification
    assert "Nothing to delete" in run_script(aws, *DELETE)


@pytest.mark.skipif("KILL_AT_EVERY_CALL" not in os.environ, reason="takes about an hour")
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
