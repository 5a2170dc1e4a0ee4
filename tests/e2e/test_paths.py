"""Events that come by another path than the bucket's own notification: EventBridge, SNS, and a queue."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from dev.local.ministack import MiniStack
from tests.e2e.conftest import FUNCTIONS, Bucket, run_script, s3_may
from tests.e2e.proxy import Proxy

AGGREGATOR, _ = FUNCTIONS


@pytest.fixture
def quiet_bucket(bucket: Bucket) -> Bucket:
    """A bucket that tells nobody of its changes."""
    notify(bucket, {})
    return bucket


def notify(bucket: Bucket, configuration: dict[str, Any]) -> None:
    s3 = bucket.aws.client("s3")
    s3.put_bucket_notification_configuration(Bucket=bucket.name, NotificationConfiguration=configuration)


def rules(aws: MiniStack) -> set[str]:
    return {rule["Name"] for rule in aws.client("events").list_rules()["Rules"]}


def test_changes_that_eventbridge_tells_of_become_visible_until_the_bucket_is_detached(
    aws: MiniStack, quiet_bucket: Bucket
) -> None:
    bucket = quiet_bucket
    bucket.put("team é/old.txt")
    share = bucket.share("team é/")
    before, rules_before = aws.client("lambda").get_policy(FunctionName=AGGREGATOR)["Policy"], rules(aws)

    with Proxy(aws.endpoint_url) as proxy:
        run_script(
            aws,
            "attach-bucket.sh",
            *("--bucket", bucket.name, "--event-source", "eventbridge", "--prefixes-from-shares"),
            AWS_ENDPOINT_URL_STORAGE_GATEWAY=bucket.gateway.endpoint_url,
            AWS_ENDPOINT_URL_SQS=proxy.endpoint_url,
        )
    [rule] = rules(aws) - rules_before
    pattern = json.loads(aws.client("events").describe_rule(Name=rule)["EventPattern"])
    assert pattern["detail"] == {"bucket": {"name": [bucket.name]}, "object": {"key": [{"prefix": "team é/"}]}}
    sent = proxy.calls["SQS.SendMessage"]
    assert sent == 1, "all of it is refreshed once more when S3 sends its events"
    bucket.put("team é/a+b c/100%.txt")
    bucket.delete("team é/old.txt")
    bucket.becomes_visible(share)
    assert share.tree() == {"a+b c/100%.txt"}

    run_script(aws, "detach-bucket.sh", "--bucket", bucket.name)
    assert rules(aws) == rules_before
    assert aws.client("lambda").get_policy(FunctionName=AGGREGATOR)["Policy"] == before


@contextmanager
def topic_to_the_aggregator(aws: MiniStack) -> Iterator[str]:
    sns = aws.client("sns")
    topic = sns.create_topic(Name="changes")["TopicArn"]
    sns.set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=s3_may("sns:Publish", topic))
    function = aws.client("lambda").get_function_configuration(FunctionName=AGGREGATOR)["FunctionArn"]
    sns.subscribe(TopicArn=topic, Protocol="lambda", Endpoint=function)
    yield topic
    sns.delete_topic(TopicArn=topic)


def test_changes_that_sns_tells_of_become_visible(aws: MiniStack, quiet_bucket: Bucket) -> None:
    share = quiet_bucket.share()
    with topic_to_the_aggregator(aws) as topic:
        notify(quiet_bucket, {"TopicConfigurations": [{"TopicArn": topic, "Events": ["s3:ObjectCreated:*"]}]})
        quiet_bucket.put("a b/c.txt")
        quiet_bucket.becomes_visible(share)
    assert share.tree() == {"a b/c.txt"}


@contextmanager
def queue_to_the_aggregator(aws: MiniStack) -> Iterator[str]:
    sqs, functions = aws.client("sqs"), aws.client("lambda")
    url = sqs.create_queue(QueueName="changes")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": s3_may("sqs:SendMessage", arn)})
    trigger = functions.create_event_source_mapping(FunctionName=AGGREGATOR, EventSourceArn=arn)["UUID"]
    yield arn
    functions.delete_event_source_mapping(UUID=trigger)
    sqs.delete_queue(QueueUrl=url)


def test_changes_that_wait_on_a_queue_become_visible(aws: MiniStack, quiet_bucket: Bucket) -> None:
    share = quiet_bucket.share()
    with queue_to_the_aggregator(aws) as queue:
        notify(quiet_bucket, {"QueueConfigurations": [{"QueueArn": queue, "Events": ["s3:ObjectCreated:*"]}]})
        quiet_bucket.put("a b/c.txt")
        quiet_bucket.becomes_visible(share)
    assert share.tree() == {"a b/c.txt"}
