"""The operator's commands against a deployed stack: in health, with a gateway offline, and after failures."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from dev.local.gateway import StorageGateway
from dev.local.ministack import ROOT, MiniStack
from tests.e2e.conftest import Bucket, Done, eventually, operator, run, run_program

METRICS = {"ChangesAbsorbed": 90, "WindowsOpened": 10, "RefreshesAccepted": 20, "SecondsUntilVisible": 42}


@pytest.fixture
def attached(aws: MiniStack, gateway: StorageGateway, stack: Any) -> Iterator[Bucket]:  # noqa: ARG001
    """The bucket that create-stack.sh has attached; the others of the tests only have a copy of its notification."""
    bucket = Bucket(aws, gateway, "first-bucket")
    yield bucket
    for share in [share for share in gateway.shares.values() if "first-bucket" in share.location_arn]:
        del gateway.shares[share.arn]
    gateway.set_online("sgw-far", online=True)


def operate(bucket: Bucket, name: str, *arguments: str, **variables: str) -> Done:
    return run(name, *arguments, environment=environment(bucket) | variables)


def environment(bucket: Bucket) -> dict[str, str]:
    return bucket.aws.environment() | {
        "AWS_ENDPOINT_URL_STORAGE_GATEWAY": bucket.gateway.endpoint_url,
        "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}",
        "COLUMNS": "140",
        **operator(bucket.aws),
    }


def seed_metrics(bucket: Bucket) -> None:
    """In the place of CloudWatch, which makes metrics of the functions' lines."""
    for name, value in METRICS.items():
        service = "S3EventAggregator" if name in ("ChangesAbsorbed", "WindowsOpened") else "S3StorageGatewayRefresh"
        bucket.aws.client("cloudwatch").put_metric_data(
            Namespace="S3EventAggregator",
            MetricData=[
                {
                    "MetricName": name,
                    "Value": value,
                    "Dimensions": [{"Name": "bucket", "Value": bucket.name}, {"Name": "service", "Value": service}],
                }
            ],
        )


def test_status_says_that_all_is_well_and_then_what_is_not(attached: Bucket, make_bucket: Any) -> None:
    once = make_bucket()
    share = once.share()
    once.put("a.txt")
    once.becomes_visible(share)
    once.delete("a.txt")
    once.becomes_visible(share)
    once.aws.client("s3").delete_bucket(Bucket=once.name)
    seed_metrics(attached)
    near = attached.share()
    attached.put("a/b.txt")
    attached.becomes_visible(near)

    healthy = operate(attached, "status.sh")
    assert healthy.status == 0, healthy.out + healthy.err
    assert "All is well." in healthy.out
    report = json.loads(operate(attached, "status.sh", "--json").out)
    assert report["well"]
    assert report["last_day"]["first-bucket"] == METRICS
    [bucket] = [found for found in report["buckets"] if found["name"] == "first-bucket"]
    assert [share["share"] for share in bucket["shares"]] == [near.share_id]
    assert bucket["shares"][0]["standing"]["last_accepted"] <= time.time() * 1000

    far = attached.share(gateway_id="sgw-far")
    attached.gateway.set_online("sgw-far", online=False)
    attached.put("c.txt")
    eventually(lambda: two_hours_pass(attached, f"first-bucket/{far.share_id}"))
    sick = operate(attached, "status.sh")
    assert sick.status == 1
    said = " ".join(sick.out.split())
    assert f"first-bucket/{far.share_id} has waited for 2 h: it" in said
    assert "The specified gateway is not connected is its gateway online?" in said
    print(healthy.out, sick.out)


def two_hours_pass(bucket: Bucket, key: str) -> bool:
    """Has a share have waited for two hours, once it has refused; it goes on being asked all the while."""
    dynamodb = bucket.aws.client("dynamodb")
    with suppress(dynamodb.exceptions.ConditionalCheckFailedException):
        dynamodb.update_item(
            TableName="S3EventAggregator",
            Key={"BucketName": {"S": key}},
            UpdateExpression="SET RefreshedSince = :past",
            ConditionExpression="attribute_exists(RefreshingId) AND attribute_exists(Reason)",
            ExpressionAttributeValues={":past": {"N": str(int((time.time() - 7200) * 1000))}},
        )
        return True
    return False


def test_status_watched_in_a_terminal_looks_again_until_it_is_interrupted(attached: Bucket) -> None:
    # Who is started by nohup ignores it, and so would the command.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    terminal, end = pty.openpty()
    command = [sys.executable, "-m", "commands.operate", "status.sh", "--watch"]
    with subprocess.Popen(command, cwd=ROOT, env=environment(attached), stdout=end, stderr=end) as watching:
        os.close(end)  # so that reading ends, should it end by itself
        seen = b""
        while seen.count(b"Dead-letter queue") < 2:
            seen += os.read(terminal, 65_536)
        watching.send_signal(signal.SIGINT)
        with suppress(OSError):  # so says a terminal whose other end was closed
            while os.read(terminal, 65_536):
                pass
    assert watching.returncode == 130


def test_status_cannot_tell_of_a_stack_that_is_not_there(attached: Bucket) -> None:
    may_all = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    done = operate(attached, "status.sh", "--name-prefix", "other-", **may_all)
    assert done.status == 2
    assert "no function other-S3StorageGatewayRefresh" in done.err


def test_a_refresh_that_is_asked_for_is_followed_to_its_end_and_shows_what_no_event_told(bucket: Bucket) -> None:
    share, elsewhere = bucket.share(), bucket.share("other/")
    bucket.aws.client("s3").put_bucket_notification_configuration(Bucket=bucket.name, NotificationConfiguration={})
    bucket.put("a/b/c.txt", "a/d.txt")
    assert share.tree() == set()
    done = operate(bucket, "refresh-now.sh", "--bucket", bucket.name, "--folder", "a/b/")
    assert done.status == 0, done.out + done.err
    assert "shows everything now" in done.out.splitlines()[-1]
    assert share.tree() == {"a/b/c.txt", "a/d.txt"}
    assert elsewhere.share_id not in done.out

    refused = operate(bucket, "refresh-now.sh", "--bucket", "nobodys-bucket")
    assert refused.status == 2
    assert "No file share" in refused.err


def test_what_failed_for_good_is_told_in_words_and_sent_back(aws: MiniStack, bucket: Bucket) -> None:
    share = bucket.share()
    sqs = aws.client("sqs")
    dead = sqs.get_queue_url(QueueName="S3EventAggregatorActionQueueDeadLetter")["QueueUrl"]
    bucket.aws.client("s3").put_bucket_notification_configuration(Bucket=bucket.name, NotificationConfiguration={})
    bucket.put("a.txt")
    attribute = {"bucket-name": {"DataType": "String", "StringValue": bucket.name}}
    sqs.send_message(QueueUrl=dead, MessageBody="{}", MessageAttributes=attribute)
    sqs.send_message(QueueUrl=dead, MessageBody='{"sweep": true}')

    shown = operate(bucket, "redrive.sh")
    assert shown.status == 1
    assert f"a request to refresh everything in {bucket.name}" in shown.out
    assert share.tree() == set()
    assert operate(bucket, "redrive.sh").out.count("harmless") == 1, "they are there again at once"

    sent = operate(bucket, "redrive.sh", "--send")
    assert sent.status == 0, sent.out + sent.err
    eventually(lambda: share.tree() == {"a.txt"})
    assert operate(bucket, "redrive.sh").out == "The dead-letter queue is empty.\n"


def test_the_script_sets_up_what_it_needs(attached: Bucket) -> None:
    assert "Exit status" in run_program(attached.aws, str(ROOT / "scripts" / "status.sh"), "--help")
    assert "--change-set" in run_program(attached.aws, str(ROOT / "scripts" / "create-stack.sh"), "--help")
