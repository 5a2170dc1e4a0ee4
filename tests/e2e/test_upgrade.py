"""create-stack.sh on what the scripts of 2018 made: it becomes what a new stack is, and an open window is not lost.

The functions of 2018 are stand-ins here: what counts is what they left in the table and on the queue.
"""

import io
import json
import zipfile
from typing import Any

import pytest

from local.gateway import StorageGateway
from local.ministack import REGION, ROOT, MiniStack
from tests.e2e.conftest import eventually, run_script
from tests.e2e.test_both_ways import described

ACCOUNT = "000000000000"
BASIC_EXECUTION = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
AGGREGATOR, REFRESH, TABLE = "S3EventAggregator", "S3StorageGatewayRefresh", "S3EventAggregator"
QUEUE = "S3EventAggregatorActionQueue"
POLICIES = {
    "S3EventAggregatorDynamo": (
        ["dynamodb:UpdateItem", "dynamodb:GetItem"],
        f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{{prefix}}{TABLE}",
    ),
    "S3EventAggregatorSqsWriter": (["sqs:SendMessage"], f"arn:aws:sqs:{REGION}:{ACCOUNT}:{{prefix}}{QUEUE}"),
    "S3EventAggregatorSqsReader": (
        ["sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"],
        f"arn:aws:sqs:{REGION}:{ACCOUNT}:{{prefix}}{QUEUE}",
    ),
    "StorageGatewayRefreshPolicy": (["storagegateway:RefreshCache", "storagegateway:ListFileShares"], "*"),
}
ROLES = {
    "S3EventAggregatorLambdaRole": ("S3EventAggregatorDynamo", "S3EventAggregatorSqsWriter"),
    "S3AggregatorActionLambdaRole": (
        "S3EventAggregatorDynamo",
        "S3EventAggregatorSqsReader",
        "StorageGatewayRefreshPolicy",
    ),
}

# What either function does: nothing. A message that comes while it is still there is not taken for done.
STAND_IN = """
def lambda_handler(event, context):
    if event["Records"][0].get("eventSource") == "aws:sqs":
        raise RuntimeError("2018")
"""


def make_stack_of_2018(aws: MiniStack, prefix: str, bucket: str) -> None:
    """What the scripts of 2018 make, by the same names, with the settings that they give."""
    aws.client("dynamodb").create_table(
        TableName=f"{prefix}{TABLE}",
        AttributeDefinitions=[{"AttributeName": "BucketName", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "BucketName", "KeyType": "HASH"}],
        ProvisionedThroughput={"ReadCapacityUnits": 5, "WriteCapacityUnits": 5},
    )
    queue = aws.client("sqs").create_queue(QueueName=f"{prefix}{QUEUE}")["QueueUrl"]
    make_roles(aws, prefix)
    settings = {"QUEUE_URL": queue, "REFRESH_DELAY_SECONDS": "2", "LOG_LEVEL": "INFO"}
    make_function(aws, f"{prefix}{AGGREGATOR}", f"{prefix}S3EventAggregatorLambdaRole", "s3_aggregator", 10, settings)
    make_function(
        aws, f"{prefix}{REFRESH}", f"{prefix}S3AggregatorActionLambdaRole", "s3_sgw_refresh", 5, {"LOG_LEVEL": "INFO"}
    )
    functions = aws.client("lambda")
    functions.create_event_source_mapping(
        FunctionName=f"{prefix}{REFRESH}", EventSourceArn=f"arn:aws:sqs:{REGION}:{ACCOUNT}:{prefix}{QUEUE}", BatchSize=5
    )
    functions.add_permission(
        FunctionName=f"{prefix}{AGGREGATOR}",
        StatementId=f"SID_{bucket}",
        Action="lambda:InvokeFunction",
        Principal="s3.amazonaws.com",
        SourceAccount=ACCOUNT,
        SourceArn=f"arn:aws:s3:::{bucket}",
    )
    aws.client("s3").create_bucket(Bucket=bucket)
    entry = {
        "Id": "s3-event-aggregator",
        "LambdaFunctionArn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{prefix}{AGGREGATOR}",
        "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"],
    }
    aws.client("s3").put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"LambdaFunctionConfigurations": [entry]}
    )


def make_roles(aws: MiniStack, prefix: str) -> None:
    iam = aws.client("iam")
    for name, (actions, resource) in POLICIES.items():
        statement = {"Effect": "Allow", "Action": actions, "Resource": resource.format(prefix=prefix)}
        document = {"Version": "2012-10-17", "Statement": [statement]}
        iam.create_policy(PolicyName=f"{prefix}{name}", PolicyDocument=json.dumps(document))
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    for role, policies in ROLES.items():
        document = {"Version": "2012-10-17", "Statement": [trust]}
        iam.create_role(RoleName=f"{prefix}{role}", AssumeRolePolicyDocument=json.dumps(document))
        of_account = [f"arn:aws:iam::{ACCOUNT}:policy/{prefix}{policy}" for policy in policies]
        for arn in [BASIC_EXECUTION, *of_account]:
            iam.attach_role_policy(RoleName=f"{prefix}{role}", PolicyArn=arn)


def make_function(  # noqa: PLR0913, PLR0917 - what a function is made of
    aws: MiniStack, name: str, role: str, module: str, timeout: int, variables: dict[str, str]
) -> None:
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr(f"{module}.py", STAND_IN)
    functions = aws.client("lambda")
    functions.create_function(
        FunctionName=name,
        Runtime="python3.6",
        Role=f"arn:aws:iam::{ACCOUNT}:role/{role}",
        Handler=f"{module}.lambda_handler",
        Code={"ZipFile": code.getvalue()},
        Timeout=timeout,
        Environment={"Variables": variables},
    )
    functions.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)


def open_window_of_2018(aws: MiniStack, prefix: str, bucket: str, share_arn: str, delay: int) -> None:
    """What the aggregator of 2018 leaves after a change: an item, and a delayed message about the whole bucket."""
    item = {"BucketName": {"S": bucket}, "timestamp": {"N": "1535171400123.0"}, "share": {"S": share_arn}}
    aws.client("dynamodb").put_item(TableName=f"{prefix}{TABLE}", Item=item)
    attributes = {
        "bucket-name": {"DataType": "String", "StringValue": bucket},
        "timestamp": {"DataType": "Number", "StringValue": "1535171400123.0"},
    }
    queue = aws.client("sqs").get_queue_url(QueueName=f"{prefix}{QUEUE}")["QueueUrl"]
    aws.client("sqs").send_message(QueueUrl=queue, MessageBody="{}", DelaySeconds=delay, MessageAttributes=attributes)


def comparable(aws: MiniStack, prefix: str) -> Any:
    """What the stack is, but for its alarms, whose texts name its prefix."""
    found = {what: how for what, how in described(aws, prefix).items() if what != "alarms"}
    text = json.dumps(found)
    return json.loads(text.replace(prefix, "") if prefix else text)


@pytest.mark.usefixtures("stack")
def test_a_stack_of_2018_becomes_a_new_one_and_its_open_window_is_refreshed(
    aws: MiniStack, gateway: StorageGateway, kill_after: Any
) -> None:
    prefix, bucket = "old-", "bucket-of-2018"
    create = ("create-stack.sh", "--name-prefix", prefix, "--min-refresh-interval-seconds", "1")
    make_stack_of_2018(aws, prefix, bucket)
    share = gateway.add_share(bucket)
    assert share.tree() == set()
    assert kill_after(20, *create)
    aws.client("s3").put_object(Bucket=bucket, Key="a/of-2018.txt", Body=b"")
    open_window_of_2018(aws, prefix, bucket, share.arn, delay=60)

    printed = run_script(aws, *create, AWS_ENDPOINT_URL_STORAGE_GATEWAY=gateway.endpoint_url)

    reader, writer = (printed.index(f"function {prefix}{name}: newer code") for name in (REFRESH, AGGREGATOR))
    assert reader < writer, printed
    eventually(lambda: share.tree() == {"a/of-2018.txt"})
    aws.client("s3").put_object(Bucket=bucket, Key="b/new.txt", Body=b"")
    eventually(lambda: share.tree() == {"a/of-2018.txt", "b/new.txt"})

    assert comparable(aws, prefix) == comparable(aws, "")
    functions, sqs = aws.client("lambda"), aws.client("sqs")
    for name in (AGGREGATOR, REFRESH):
        reserved = functions.get_function_concurrency(FunctionName=f"{prefix}{name}")
        assert "ReservedConcurrentExecutions" not in reserved
    queue = sqs.get_queue_url(QueueName=f"{prefix}{QUEUE}")["QueueUrl"]
    attributes = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["VisibilityTimeout"])["Attributes"]
    assert attributes == {"VisibilityTimeout": "360"}
    notification = aws.client("s3").get_bucket_notification_configuration(Bucket=bucket)
    [entry] = notification["LambdaFunctionConfigurations"]
    ours = json.loads((ROOT / "s3/event.json").read_text())
    assert (entry["Id"], sorted(entry["Events"])) == (f"{prefix}s3-event-aggregator", sorted(ours["Events"]))
    [permission] = json.loads(functions.get_policy(FunctionName=f"{prefix}{AGGREGATOR}")["Policy"])["Statement"]
    assert permission["Sid"] == f"s3-{bucket}"
    assert attached_policies(aws, prefix) == []

    again = run_script(aws, *create, AWS_ENDPOINT_URL_STORAGE_GATEWAY=gateway.endpoint_url)
    assert all(line.startswith("keep") for line in again.split("\n\n")[0].splitlines()[1:]), again
    run_script(aws, "delete-stack.sh", "--name-prefix", prefix, "--yes")
    del gateway.shares[share.arn]


def attached_policies(aws: MiniStack, prefix: str) -> list[str]:
    answers = [aws.client("iam").list_attached_role_policies(RoleName=f"{prefix}{role}") for role in ROLES]
    return [policy["PolicyName"] for answer in answers for policy in answer["AttachedPolicies"]]


def test_a_stack_of_2018_can_be_deleted_as_it_is(aws: MiniStack) -> None:
    prefix, bucket = "older-", "another-bucket-of-2018"
    make_stack_of_2018(aws, prefix, bucket)

    printed = run_script(aws, "delete-stack.sh", "--name-prefix", prefix, "--yes")

    left = [
        *[role["RoleName"] for role in aws.client("iam").list_roles()["Roles"]],
        *[function["FunctionName"] for function in aws.client("lambda").list_functions()["Functions"]],
        *aws.client("dynamodb").list_tables()["TableNames"],
        *aws.client("sqs").list_queues().get("QueueUrls", []),
    ]
    assert not [name for name in left if prefix in name]
    notification = aws.client("s3").get_bucket_notification_configuration(Bucket=bucket)
    assert "LambdaFunctionConfigurations" not in notification
    for name in POLICIES:
        arn = f"arn:aws:iam::{ACCOUNT}:policy/{prefix}{name}"
        assert printed.count(f"aws iam delete-policy --policy-arn {arn}") == 1
        aws.client("iam").delete_policy(PolicyArn=arn)
