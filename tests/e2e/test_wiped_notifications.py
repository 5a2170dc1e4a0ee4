"""A notification that somebody else wiped is found by the sweep, and put back if that may be done."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from dev.local.ministack import ACCOUNT, REGION, MiniStack
from tests.e2e.conftest import FUNCTIONS, eventually, setting
from tests.e2e.test_least_privilege import QUEUE, log_of, policy_of, put_policy

BUCKET, (AGGREGATOR, REFRESH) = "first-bucket", FUNCTIONS
WHY = "its notification to the aggregator is gone or changed; it notifies nobody."
LOST = f"{BUCKET} no longer reports its changes: {WHY}"


@pytest.fixture
def wiped(aws: MiniStack, stack: dict[str, Any]) -> Iterator[int]:
    """The bucket that create-stack.sh attached, without its notification; since when, in epoch milliseconds."""
    s3, nothing = aws.client("s3"), dict[str, Any]()
    s3.put_bucket_notification_configuration(Bucket=BUCKET, NotificationConfiguration=nothing)
    yield time.time_ns() // 1_000_000
    s3.put_bucket_notification_configuration(Bucket=BUCKET, NotificationConfiguration=stack)


def sweep(aws: MiniStack) -> None:
    url = aws.client("sqs").get_queue_url(QueueName=QUEUE.rpartition(":")[2])["QueueUrl"]
    aws.client("sqs").send_message(QueueUrl=url, MessageBody=json.dumps({"sweep": True}))


def notification(aws: MiniStack) -> dict[str, Any]:
    found = aws.client("s3").get_bucket_notification_configuration(Bucket=BUCKET)
    return {name: value for name, value in found.items() if name != "ResponseMetadata"}


def test_a_wiped_notification_is_found_by_the_sweep_and_left_alone(aws: MiniStack, wiped: int) -> None:
    sweep(aws)

    eventually(lambda: LOST in log_of(aws, REFRESH, wiped))
    eventually(lambda: '"NotificationsLost":[1.0]' in log_of(aws, REFRESH, wiped))
    assert notification(aws) == {}


def test_a_wiped_notification_is_put_back_if_the_function_may(
    aws: MiniStack, wiped: int, stack: dict[str, Any]
) -> None:
    arn, policy = f"arn:aws:s3:::{BUCKET}", policy_of(aws, REFRESH)
    may = {"Sid": "PutNotificationsBack", "Effect": "Allow", "Action": "s3:PutBucketNotification", "Resource": arn}
    with setting(aws, REFRESH, REATTACH_BUCKET_ARNS=arn):
        sweep(aws)
        eventually(lambda: f"The notification of {BUCKET} could not be put back" in log_of(aws, REFRESH, wiped))
        assert notification(aws) == {}, "its role does not let it"
        put_policy(aws, REFRESH, {**policy, "Statement": [*policy["Statement"], may]})
        try:
            sweep(aws)
            eventually(lambda: notification(aws) == stack)
        finally:
            put_policy(aws, REFRESH, policy)
    [ours] = notification(aws)["LambdaFunctionConfigurations"]
    assert ours["LambdaFunctionArn"] == f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{AGGREGATOR}"
