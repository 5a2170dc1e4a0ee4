"""The scripts on the local AWS: one stack beside another, killed on the way, changed, and removed to the last trace.

Killed after a few sampled calls of AWS, that is; with KILL_AT_EVERY_CALL=1 after every call of each in turn, which
takes about half an hour: KILL_AT_EVERY_CALL=1 scripts/test.sh tests/e2e/test_stack.py -k every_call
"""

import itertools
import json
import os
from typing import Any

import pytest

from dev.local.ministack import MiniStack
from event_aggregator.request import LIFETIME_MS
from tests.e2e.conftest import FUNCTIONS, eventually, run_script, s3_may
from tests.e2e.proxy import Proxy

BUCKET, PREFIX = "archive.example.com", "second-"
STACK = f"s3-event-aggregator-{PREFIX}"
AGGREGATOR, REFRESH = (f"{PREFIX}{function}" for function in FUNCTIONS)
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
    rules = [{"Name": "prefix", "Value": "ünï cödé/"}, {"Name": "suffix", "Value": ".csv"}]
    to_queue = {
        "Id": "q",
        "QueueArn": queue_arn,
        "Events": ["s3:ObjectTagging:*"],
        "Filter": {"Key": {"FilterRules": rules}},
    }
    to_topic = {"Id": "t", "TopicArn": topic_arn, "Events": ["s3:ObjectRestore:Post", "s3:ObjectRestore:Completed"]}
    everybody: Any = {
        "QueueConfigurations": [to_queue],
        "TopicConfigurations": [to_topic],
        "EventBridgeConfiguration": {},
    }
    aws.client("s3").put_bucket_notification_configuration(Bucket=BUCKET, NotificationConfiguration=everybody)
    return notification(aws)


@pytest.mark.usefixtures("stack")
def test_a_stack_survives_being_killed_half_way_and_leaves_nothing_when_it_is_deleted(
    aws: MiniStack, others_notification: dict[str, Any], kill_after: Any
) -> None:
    before = everything(aws)

    planned = run_script(aws, *CREATE, "--dry-run")
    assert f"would create  stack {STACK}" in planned
    assert everything(aws) == before
    assert notification(aws) == others_notification

    for calls in (9, 20, 30):
        assert kill_after(calls, *CREATE), f"it made fewer than {calls} calls"
    with Proxy(aws.endpoint_url) as proxy:
        proxy.throttle_every = 4
        run_script(aws, *CREATE, "--refresh-delay-seconds", "120", AWS_ENDPOINT_URL=proxy.endpoint_url)
    assert sum(proxy.refused.values()) >= 5, "every fourth call was throttled, and made again"
    ours, *others = notification(aws)["LambdaFunctionConfigurations"]
    assert ours["Id"] == f"{PREFIX}s3-event-aggregator"
    assert others == []
    assert {name: notification(aws)[name] for name in others_notification} == others_notification
    assert longest_delivery_ms(aws) <= LIFETIME_MS, "a window must outlive its request"

    complete, again = everything(aws), run_script(aws, *CREATE)
    assert f"keep    stack {STACK}\nkeep    notification of {BUCKET}\n" in again
    assert everything(aws) == complete
    assert variables(aws)["REFRESH_DELAY_SECONDS"] == "120"
    planned = run_script(aws, *CREATE, "--refresh-delay-seconds", "30", "--dry-run")
    assert "would set     --refresh-delay-seconds 120 -> 30" in planned
    assert variables(aws)["REFRESH_DELAY_SECONDS"] == "120", "a dry run changes nothing"
    said = run_script(aws, *CREATE, "--refresh-delay-seconds", "90", "--change-set")
    assert f"to change  AWS::Lambda::Function {AGGREGATOR}: Environment" in said
    assert variables(aws)["REFRESH_DELAY_SECONDS"] == "120", "it is not carried out"
    cloud = aws.client("cloudformation")
    [change_set] = [s for s in cloud.list_change_sets(StackName=STACK)["Summaries"] if s["ChangeSetId"] in said]
    cloud.execute_change_set(ChangeSetName=change_set["ChangeSetId"])
    eventually(lambda: variables(aws)["REFRESH_DELAY_SECONDS"] == "90")

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
