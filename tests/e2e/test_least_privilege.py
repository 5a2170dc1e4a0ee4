"""Every action that iam/ allows is needed, and nothing else is allowed: on the deployed stack, with IAM enforced.

What the local AWS enforces is taken away, an action at a time, and what needs it fails until it is given back (but
for one action, which only hastens what comes without it as well). What it does not enforce (logs, the poller of the
queue; and Storage Gateway, whose simulation knows no IAM), and what is not tried again after a denial (access points,
the shares' roles, the buckets' notifications), is evaluated: its IAM simulator (SimulatePrincipalPolicy: the
evaluator with which it enforces the others) says what the deployed policies allow on the resources of the calls made,
and on others. It lets S3 and EventBridge through without a permission: that side is asserted on the policies as
deployed.
"""

import json
import re
import time
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from dev.local.gateway import TOO_MANY, FileShare, Place, Refusal, RefusedError, StorageGateway
from dev.local.ministack import ROOT, MiniStack
from tests.e2e.conftest import FUNCTIONS, Bucket, eventually
from tests.e2e.proxy import Proxy

AGGREGATOR, REFRESH = FUNCTIONS
ROLES = {AGGREGATOR: "S3Aggregator-us-east-1", REFRESH: "S3GatewayRefresh-us-east-1"}
POLICY = "S3EventAggregator"

ACCOUNT, ANOTHER_ACCOUNT = "000000000000", "999999999999"
TABLE = f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/S3EventAggregator"
QUEUE = f"arn:aws:sqs:us-east-1:{ACCOUNT}:S3EventAggregatorActionQueue"
SHARE_ROLE = f"arn:aws:iam::{ACCOUNT}:role/StorageGatewayBucketAccessRole"
SHARE = f"arn:aws:storagegateway:us-east-1:{ACCOUNT}:share/share-00000001"
FUNCTION = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:{AGGREGATOR}"
BUS = f"arn:aws:events:us-east-1:{ACCOUNT}:event-bus/default"
RULES = ("S3EventAggregatorRefreshComplete", "S3EventAggregatorSweep")


# What needs an action: each trigger leads to a call of it, and what it returns holds once the call has been allowed.

Done = Callable[[], object]


def upload(bucket: Bucket) -> Done:
    share = bucket.share()
    bucket.put("a.txt")
    return lambda: share.tree() == {"a.txt"} and bucket.is_settled()


def upload_to_a_share_that_refuses(bucket: Bucket) -> Done:
    share = bucket.share()
    bucket.gateway.refuse([TOO_MANY], of=share)
    bucket.put("a.txt")
    return lambda: share.tree() == {"a.txt"} and bucket.is_settled()


def removal_of_a_share_that_waits(bucket: Bucket) -> Done:
    share = bucket.share(gateway_id="sgw-gone")
    bucket.gateway.set_online("sgw-gone", online=False)
    bucket.put("a.txt")
    eventually(lambda: waits(bucket, share))
    del bucket.gateway.shares[share.arn]
    return lambda: not waits(bucket, share)


def waits(bucket: Bucket, share: FileShare) -> bool:
    return any(item["BucketName"]["S"] == f"{bucket.name}/{share.share_id}" for item in bucket.items())


def sweep_after_a_request_was_lost(bucket: Bucket) -> Done:
    share = bucket.share()
    nobody_is_told: dict[str, Any] = {}
    bucket.aws.client("s3").put_bucket_notification_configuration(
        Bucket=bucket.name, NotificationConfiguration=nobody_is_told
    )
    bucket.put("a.txt")
    past = {"N": "1"}
    bucket.aws.client("dynamodb").put_item(
        TableName="S3EventAggregator",
        Item={
            "BucketName": {"S": bucket.name},
            "WindowId": {"S": "without-a-request"},
            "Folders": {"SS": ["/"]},
            **dict.fromkeys(("OpenedAt", "LastChangeAt", "RefreshAt", "LeaseUntil"), past),
        },
    )
    sqs = bucket.aws.client("sqs")
    queue = sqs.get_queue_url(QueueName="S3EventAggregatorActionQueue")["QueueUrl"]
    sqs.send_message(QueueUrl=queue, MessageBody=json.dumps({"sweep": True}))
    return lambda: share.tree() == {"a.txt"} and bucket.is_settled()


ENFORCED: dict[tuple[str, str], Callable[[Bucket], Done]] = {
    (AGGREGATOR, "dynamodb:UpdateItem"): upload,
    (AGGREGATOR, "sqs:SendMessage"): upload,
    (REFRESH, "dynamodb:GetItem"): upload,
    (REFRESH, "dynamodb:UpdateItem"): upload,
    (REFRESH, "dynamodb:Scan"): sweep_after_a_request_was_lost,
    (REFRESH, "dynamodb:DeleteItem"): removal_of_a_share_that_waits,
    (REFRESH, "sqs:SendMessage"): upload_to_a_share_that_refuses,
}

# Without which all is done as well, but later.
HASTENS = (REFRESH, "sqs:ChangeMessageVisibility")

# Without which all is done as well, and nobody is told.
TELLS = (REFRESH, "events:PutEvents")

# By whom each is called: the function's log, the trigger that reads the queue, the refresh function.
NOT_ENFORCED = {
    *((function, f"logs:{action}") for function in FUNCTIONS for action in ("CreateLogStream", "PutLogEvents")),
    *((REFRESH, f"sqs:{action}") for action in ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes")),
    *((REFRESH, f"storagegateway:{action}") for action in ("DescribeNFSFileShares", "DescribeSMBFileShares")),
    *((REFRESH, f"storagegateway:{action}") for action in ("ListFileShares", "RefreshCache")),
    *((REFRESH, f"s3:{action}") for action in ("GetAccessPoint", "ListAccessPoints")),
    (REFRESH, "iam:GetRole"),
    *((REFRESH, action) for action in ("lambda:GetPolicy", "events:ListRules", "s3:GetBucketNotification")),
}
KNOW_NO_RESOURCE = ("events:ListRules", "storagegateway:ListFileShares", "s3:GetAccessPoint", "s3:ListAccessPoints")


# The policies as deployed


def policy_of(aws: MiniStack, function: str) -> dict[str, Any]:
    policy = aws.client("iam").get_role_policy(RoleName=ROLES[function], PolicyName=POLICY)["PolicyDocument"]
    return dict(policy)


def actions_of(statement: dict[str, Any]) -> list[str]:
    action = statement["Action"]
    return [action] if isinstance(action, str) else list(action)


def less(policy: dict[str, Any], action: str, sid: str = "") -> dict[str, Any]:
    """The policy without an action: in the statement `sid`, or in all."""
    left = [
        {**s, "Action": [a for a in actions_of(s) if a != action or sid not in ("", s["Sid"])]}
        for s in policy["Statement"]
    ]
    return {**policy, "Statement": [statement for statement in left if statement["Action"]]}


@contextmanager
def without(aws: MiniStack, function: str, action: str) -> Iterator[None]:
    """Takes an action away from the function's role, and gives it back."""
    policy = policy_of(aws, function)
    put_policy(aws, function, less(policy, action))
    try:
        yield
    finally:
        put_policy(aws, function, policy)


def put_policy(aws: MiniStack, function: str, policy: dict[str, Any]) -> None:
    document = json.dumps(policy)
    aws.client("iam").put_role_policy(RoleName=ROLES[function], PolicyName=POLICY, PolicyDocument=document)


def denied(aws: MiniStack, function: str, since: int) -> set[str]:
    """The actions that the function was denied since then (epoch milliseconds), by its log."""
    return denials(log_of(aws, function, since))


def log_of(aws: MiniStack, function: str, since: int) -> str:
    """What the function has logged since then (epoch milliseconds)."""
    pages = (
        aws.client("logs")
        .get_paginator("filter_log_events")
        .paginate(logGroupName=f"/aws/lambda/{function}", startTime=since)
    )
    return "\n".join(event["message"] for page in pages for event in page["events"])


def denials(text: str) -> set[str]:
    """The actions of which a text says that they were denied."""
    return set(re.findall(r"is not authorized to perform: (\w+:\w+)", text))


@pytest.fixture(scope="module", autouse=True)
def no_delay(aws: MiniStack, stack: Any) -> Iterator[None]:  # noqa: ARG001 - it must be there
    functions = aws.client("lambda")
    configuration = functions.get_function_configuration(FunctionName=AGGREGATOR)
    before = configuration["Environment"]["Variables"]

    def delay(seconds: str) -> None:
        variables = before | {"REFRESH_DELAY_SECONDS": seconds}
        functions.update_function_configuration(FunctionName=AGGREGATOR, Environment={"Variables": variables})

    delay("0")
    yield
    delay(before["REFRESH_DELAY_SECONDS"])


@pytest.mark.parametrize(("function", "action"), ENFORCED, ids=lambda value: value.replace(":", "-"))
def test_an_action_taken_away_is_missed_and_given_back_mends_it(
    aws: MiniStack, bucket: Bucket, function: str, action: str
) -> None:
    with without(aws, function, action):
        since = time.time_ns() // 1_000_000
        done = ENFORCED[function, action](bucket)
        eventually(lambda: denied(aws, function, since))
        assert not done()
        assert denied(aws, function, since) == {action}
    eventually(done)


def test_a_failed_message_that_the_function_may_not_have_sooner_comes_again_after_the_visibility_timeout(
    aws: MiniStack, bucket: Bucket, proxy: Proxy
) -> None:
    share = bucket.share()
    with without(aws, *HASTENS):
        since = time.time_ns() // 1_000_000
        proxy.down = {"DynamoDB"}
        try:
            bucket.put("a.txt")  # the aggregator gives up, and the queue gets the event
            eventually(lambda: denied(aws, REFRESH, since))
        finally:
            proxy.down = set()
        assert denied(aws, REFRESH, since) == {HASTENS[1]}
        bucket.becomes_visible(share)
    [warning, *_] = [line for line in log_of(aws, REFRESH, since).splitlines() if HASTENS[1] in line]
    assert json.loads(warning)["level"] == "WARNING"
    assert "only after its visibility timeout: An error occurred (AccessDenied" in json.loads(warning)["message"]


def test_without_the_permission_to_tell_of_it_a_refresh_is_complete_all_the_same(
    aws: MiniStack, bucket: Bucket
) -> None:
    share = bucket.share()
    with without(aws, *TELLS):
        since = time.time_ns() // 1_000_000
        bucket.put("a.txt")
        bucket.becomes_visible(share)
        eventually(lambda: denied(aws, REFRESH, since) == {TELLS[1]})
        eventually(bucket.is_settled)


def test_every_action_that_a_role_has_is_taken_away_above_or_named_as_not_enforced(aws: MiniStack) -> None:
    allowed = [(f, action) for f in FUNCTIONS for s in policy_of(aws, f)["Statement"] for action in actions_of(s)]
    assert sorted(allowed) == sorted([*ENFORCED, HASTENS, TELLS, *NOT_ENFORCED])
    # Of people; and for stacks with roles of other accounts, a key of the user's, or in subnets: not this one.
    others = ("lambda-trust", "queue-senders", "operator", "assume-gateway-roles", "reattach", "kms", "vpc")
    of_roles = [path for path in (ROOT / "iam").glob("*.json") if path.stem not in others]
    in_files = {a for path in of_roles for s in json.loads(path.read_text())["Statement"] for a in actions_of(s)}
    assert in_files == {action for _, action in allowed}
    for role in ROLES.values():
        assert aws.client("iam").list_role_policies(RoleName=role)["PolicyNames"] == [POLICY]
        assert aws.client("iam").list_attached_role_policies(RoleName=role)["AttachedPolicies"] == []


def other_calls(function: str) -> dict[str, list[str]]:
    """By service, what its actions are called on: first the right resource, then others that look like it."""
    log, other_log = (f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:/aws/lambda/{f}" for f in (function, "Other"))
    return {
        "dynamodb": [TABLE, f"{TABLE}2", TABLE.replace(ACCOUNT, ANOTHER_ACCOUNT), TABLE.replace("east", "west")],
        "sqs": [QUEUE, f"{QUEUE}DeadLetter", QUEUE.replace(ACCOUNT, ANOTHER_ACCOUNT), QUEUE.replace("east", "west")],
        "logs": [f"{log}:log-stream:1", f"{other_log}:log-stream:1", f"{log}2:log-stream:1"],
        "storagegateway": [
            SHARE,
            SHARE.replace(ACCOUNT, ANOTHER_ACCOUNT),  # the simulator takes every call for one in us-east-1
            SHARE.replace("share/share", "gateway/sgw"),
        ],
        "lambda": [FUNCTION, f"{FUNCTION}2", FUNCTION.replace(ACCOUNT, ANOTHER_ACCOUNT)],
        "events": [BUS, BUS.replace("default", "other"), BUS.replace(ACCOUNT, ANOTHER_ACCOUNT)],
        "s3": ["arn:aws:s3:::any-bucket"],
        "iam": [SHARE_ROLE, SHARE_ROLE.replace(ACCOUNT, ANOTHER_ACCOUNT), SHARE_ROLE.replace(":role/", ":user/")],
    }


def is_allowed(aws: MiniStack, function: str, action: str, resource: str) -> bool:
    return may(aws, f"arn:aws:iam::{ACCOUNT}:role/{ROLES[function]}", action, resource)


# Of the events that a function sends.
SOURCE = {"ContextKeyName": "events:source", "ContextKeyValues": ["s3-event-aggregator"], "ContextKeyType": "string"}


def may(aws: MiniStack, principal: str, action: str, resource: str) -> bool:
    answer = aws.client("iam", principal.split(":")[4]).simulate_principal_policy(
        PolicySourceArn=principal, ActionNames=[action], ResourceArns=[resource], ContextEntries=[SOURCE]
    )
    [result] = answer["EvaluationResults"]
    return bool(result["EvalDecision"] == "allowed")


def gateway_asks_iam(
    patch: pytest.MonkeyPatch, aws: MiniStack, gateway: StorageGateway, principal: str, actions: Container[str]
) -> None:
    """Has the simulated gateway, which knows no IAM, refuse those of its actions that the principal may not do."""
    answer = gateway.answer

    def answer_who_may(operation: str, request: dict[str, Any], region: Place) -> dict[str, Any]:
        action = f"storagegateway:{operation}"
        of = request.get("FileShareARN") or request.get("GatewayARN", "*")
        for arn in request.get("FileShareARNList", [of]):
            if action in actions and not may(aws, principal, action, arn):
                text = f"User: {principal} is not authorized to perform: {action} on resource: {arn}"
                raise RefusedError(Refusal(text, code="AccessDeniedException"))
        return answer(operation, request, region)

    patch.setattr(gateway, "answer", answer_who_may)


@pytest.mark.parametrize(
    ("function", "action"),
    sorted([*ENFORCED, HASTENS, TELLS, *NOT_ENFORCED]),
    ids=lambda value: value.replace(":", "-"),
)
def test_an_action_is_allowed_on_its_own_resource_and_on_no_other(aws: MiniStack, function: str, action: str) -> None:
    right, *wrong = ["*"] if action in KNOW_NO_RESOURCE else other_calls(function)[action.partition(":")[0]]
    assert is_allowed(aws, function, action, right)
    assert [resource for resource in wrong if is_allowed(aws, function, action, resource)] == []
    with without(aws, function, action):
        assert not is_allowed(aws, function, action, right)


def test_the_calls_to_storage_gateway_are_those_that_the_policy_allows(
    aws: MiniStack, bucket: Bucket, gateway: StorageGateway
) -> None:
    shares = [bucket.share(kind="NFS"), bucket.share(kind="SMB")]
    before = len(gateway.calls)
    bucket.put("a.txt")
    bucket.becomes_visible(*shares)
    calls = {(call.operation, arn) for call in gateway.calls[before:] for arn in call.shares or ("*",)}
    allowed = {action.partition(":")[2] for _, action in NOT_ENFORCED if action.startswith("storagegateway:")}
    assert {operation for operation, _ in calls} == allowed
    assert all(is_allowed(aws, REFRESH, f"storagegateway:{operation}", arn) for operation, arn in calls)


# Who may invoke the functions and send to the queue


def test_s3_may_invoke_the_aggregator_only_for_the_named_bucket_and_the_stacks_own_rules(aws: MiniStack) -> None:
    functions = aws.client("lambda")
    of_rules, statement = json.loads(functions.get_policy(FunctionName=AGGREGATOR)["Policy"])["Statement"]
    rules = f"arn:aws:events:us-east-1:{ACCOUNT}:rule/S3EventAggregator*"
    assert of_rules["Principal"] == {"Service": "events.amazonaws.com"}
    assert of_rules["Condition"] == {"ArnLike": {"AWS:SourceArn": rules}}
    del statement["Sid"]
    assert statement == {
        "Effect": "Allow",
        "Principal": {"Service": "s3.amazonaws.com"},
        "Action": "lambda:InvokeFunction",
        "Resource": f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:{AGGREGATOR}",
        "Condition": {
            "StringEquals": {"AWS:SourceAccount": ACCOUNT},
            "ArnLike": {"AWS:SourceArn": "arn:aws:s3:::first-bucket"},
        },
    }
    # Nobody may invoke the other one. (AWS says so by a 404, the local AWS by an empty policy.)
    assert json.loads(functions.get_policy(FunctionName=REFRESH)["Policy"])["Statement"] == []


def test_eventbridge_may_send_to_the_queue_only_from_the_two_rules_of_the_stack(aws: MiniStack) -> None:
    [statement] = queue_policy(aws, "S3EventAggregatorActionQueue")["Statement"]
    del statement["Sid"]
    assert statement == {
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": QUEUE,
        "Condition": {
            "ArnEquals": {"aws:SourceArn": [f"arn:aws:events:us-east-1:{ACCOUNT}:rule/{rule}" for rule in RULES]}
        },
    }
    assert queue_policy(aws, "S3EventAggregatorActionQueueDeadLetter") == {}


def queue_policy(aws: MiniStack, name: str) -> dict[str, Any]:
    sqs = aws.client("sqs")
    queue = sqs.get_queue_url(QueueName=name)["QueueUrl"]
    attributes = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
    return dict(json.loads(attributes.get("Policy") or "{}"))
