"""The scripts on the local AWS: one stack beside another, killed on the way, changed, and removed to the last trace.

Killed after a few sampled calls of AWS, that is; with KILL_AT_EVERY_CALL=1 after every call of each in turn, which
takes minutes: KILL_AT_EVERY_CALL=1 scripts/test.sh tests/e2e/test_stack.py -k every_call
"""

import itertools
import os
from typing import Any

import pytest

from dev.local.ministack import MiniStack
from tests.e2e.conftest import FUNCTIONS, eventually, run_script, s3_may
from tests.e2e.proxy import Proxy

BUCKET, PREFIX = "archive.example.com", "second-"
STACK = f"s3-event-aggregator-{PREFIX}"
AGGREGATOR, REFRESH = (f"{PREFIX}{function}" for function in FUNCTIONS)
CREATE = ("create-stack.sh", "--bucket", BUCKET, "--name-prefix", PREFIX)
DELETE = ("delete-stack.sh", "--name-prefix", PREFIX, "--yes")


def notification(aws: MiniStack) -> dict[str, Any]:
    configuration = aws.client("s3").get_bucket_notification_configuration(Bucket=BUCKET)
    del configuration["ResponseMetadata"]
    return dict(configuration)


@pytest.fixture
def others_notification(aws: MiniStack) -> dict[str, Any]:
    """A bucket that notifies a queue and EventBridge already."""
    sqs = aws.client("sqs")
    queue = sqs.create_queue(QueueName="somebody-elses")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": s3_may("sqs:SendMessage", arn)})
    aws.client("s3").create_bucket(Bucket=BUCKET)
    key = {"FilterRules": [{"Name": "prefix", "Value": "ünï cödé/"}, {"Name": "suffix", "Value": ".csv"}]}
    entry: Any = {"Id": "q", "QueueArn": arn, "Events": ["s3:ObjectTagging:*"], "Filter": {"Key": key}}
    others: Any = {"QueueConfigurations": [entry], "EventBridgeConfiguration": {}}
    aws.client("s3").put_bucket_notification_configuration(Bucket=BUCKET, NotificationConfiguration=others)
    return notification(aws)


@pytest.mark.usefixtures("stack")
def test_a_stack_survives_being_killed_half_way_and_leaves_nothing_when_it_is_deleted(
    aws: MiniStack, others_notification: dict[str, Any], kill_after: Any
) -> None:
    before = aws.everything()

    planned = run_script(aws, *CREATE, "--dry-run")
    assert f"would create  stack {STACK}" in planned
    assert aws.everything() == before
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

    complete, again = aws.everything(), run_script(aws, *CREATE)
    assert f"keep    stack {STACK}\nkeep    notification of {BUCKET}\n" in again
    assert aws.everything() == complete
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
    assert aws.everything() == before
    assert notification(aws) == others_notification
    assert "Nothing to delete" in run_script(aws, *DELETE)


def variables(aws: MiniStack) -> dict[str, str]:
    found = aws.client("lambda").get_function_configuration(FunctionName=AGGREGATOR)["Environment"]["Variables"]
    return dict(found)


@pytest.mark.skipif("KILL_AT_EVERY_CALL" not in os.environ, reason="takes minutes: KILL_AT_EVERY_CALL=1")
@pytest.mark.usefixtures("stack")
def test_killed_after_every_call_in_turn_both_scripts_end_right_when_they_are_run_again(
    aws: MiniStack, others_notification: dict[str, Any], kill_after: Any
) -> None:
    before = aws.everything()
    run_script(aws, *CREATE)
    complete, attached = aws.everything(), notification(aws)
    for calls in itertools.count(1):
        delete_was_killed = kill_after(calls, *DELETE)
        run_script(aws, *DELETE)
        assert aws.everything() == before, f"delete-stack.sh killed after call {calls}"
        assert notification(aws) == others_notification
        create_was_killed = kill_after(calls, *CREATE)
        printed = run_script(aws, *CREATE)
        assert aws.everything() == complete, f"create-stack.sh killed after call {calls}:\n{printed}"
        assert notification(aws) == attached
        assert "would" not in run_script(aws, *CREATE, "--dry-run"), f"create-stack.sh killed after call {calls}"
        if not delete_was_killed and not create_was_killed:
            break
