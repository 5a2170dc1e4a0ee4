"""Every action that iam/operator.json allows is needed by a command, which says so and ends with 2 when it is denied.

Each is taken away in turn, statement by statement. The local AWS enforces all of them but Storage Gateway's: that
simulation knows no IAM, and so asks the IAM simulator of the local AWS here (SimulatePrincipalPolicy: the evaluator
with which it enforces the others).
"""

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from functools import partial
from typing import Any
from unittest.mock import patch

import pytest
from botocore.client import BaseClient

from commands.check.resources import Live
from commands.check.trial import NAME as OBJECT
from commands.deploy import eventbridge
from commands.deploy.template import Json
from commands.operate.facts import SURELY_MS
from commands.operate.stack import now_ms
from dev.local.gateway import StorageGateway
from dev.local.ministack import ACCOUNT, REGION, ROOT, MiniStack
from tests.e2e.conftest import FUNCTIONS, Bucket, as_enforced_here, eventually, operator, operators_policy, run
from tests.e2e.test_least_privilege import (
    ANOTHER_ACCOUNT,
    QUEUE,
    ROLES,
    SHARE,
    TABLE,
    actions_of,
    denials,
    gateway_asks_iam,
    less,
    may,
)

AGGREGATOR, REFRESH = FUNCTIONS
USER = f"arn:aws:iam::{ACCOUNT}:user/operator"
POLICY = operators_policy()
ALLOWED = [(statement["Sid"], action) for statement in POLICY["Statement"] for action in actions_of(statement)]

# What needs an action.
NAME, VERSIONED, NOTIFYING = "operated-bucket", "operated-versions", "operated-notifying"
STATUS = ("status.sh",)
REFRESH_NOW = ("refresh-now.sh", "--bucket", NAME, "--folder", "a")
EXPLAIN, EXPLAIN_ABSENT = (("explain.sh", "--bucket", NAME, "--key", key) for key in ("a/b.txt", "a/absent.txt"))
EXPLAIN_DELETED = ("explain.sh", "--bucket", VERSIONED, "--key", "deleted.txt")
SHOW, SEND = ("redrive.sh",), ("redrive.sh", "--send")
CHECK, WRITE = ("check.sh",), ("check.sh", "--bucket", NOTIFYING, "--write", "a")
NEEDS = {
    **dict.fromkeys(
        [f"cloudformation:{name}" for name in ("DescribeStacks", "GetTemplate", "ListStackResources")], CHECK
    ),
    "lambda:GetFunctionConfiguration": CHECK,  # of both functions, as the next
    "lambda:GetFunctionRecursionConfig": CHECK,
    "lambda:GetFunctionConcurrency": CHECK,
    "lambda:GetFunctionEventInvokeConfig": CHECK,
    "lambda:GetAccountSettings": CHECK,
    "lambda:ListTags": CHECK,
    "lambda:GetPolicy": STATUS,
    "lambda:ListEventSourceMappings": STATUS,
    "events:DescribeRule": STATUS,
    "events:ListRules": STATUS,
    "events:ListTargetsByRule": CHECK,
    "dynamodb:Scan": STATUS,
    "dynamodb:GetItem": EXPLAIN,
    "dynamodb:DescribeTable": CHECK,
    "sqs:GetQueueUrl": STATUS,
    "sqs:GetQueueAttributes": STATUS,
    "sqs:ReceiveMessage": SHOW,
    "sqs:ChangeMessageVisibility": SHOW,
    "sqs:SendMessage": REFRESH_NOW,
    "sqs:DeleteMessage": SEND,
    "logs:DescribeLogGroups": EXPLAIN,
    "logs:FilterLogEvents": EXPLAIN,
    "s3:GetBucketNotification": STATUS,
    "s3:GetBucketTagging": STATUS,
    "s3:GetObject": EXPLAIN,
    **dict.fromkeys(["s3:GetBucketVersioning", "s3:GetBucketObjectLockConfiguration"], WRITE),
    **dict.fromkeys(["s3:PutObject", "s3:DeleteObject", "s3:DeleteObjectVersion"], WRITE),
    "s3:ListBucketVersions": EXPLAIN_DELETED,
    "s3:ListBucket": EXPLAIN_ABSENT,
    "s3:GetAccessPoint": EXPLAIN,
    "s3:ListAccessPoints": EXPLAIN,
    "storagegateway:ListFileShares": EXPLAIN,
    "storagegateway:DescribeNFSFileShares": EXPLAIN,
    "storagegateway:DescribeSMBFileShares": EXPLAIN,
    "storagegateway:DescribeGatewayInformation": CHECK,
    "iam:GetRole": CHECK,
    "iam:SimulatePrincipalPolicy": CHECK,
    **dict.fromkeys(
        [f"ec2:Describe{name}" for name in ("Subnets", "SecurityGroups", "RouteTables", "VpcEndpoints")], CHECK
    ),
    "cloudwatch:DescribeAlarms": STATUS,
    "cloudwatch:GetMetricData": STATUS,
}


Operate = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def operate(aws: MiniStack, gateway: StorageGateway, stack: Any) -> Iterator[Operate]:  # noqa: ARG001
    """Runs a command as the operator: its exit status, and what it says."""
    environment = aws.environment() | operator(aws) | {"AWS_ENDPOINT_URL_STORAGE_GATEWAY": gateway.endpoint_url}

    def operated(*command: str) -> tuple[int, str]:
        done = run(*command, environment=environment)
        return done.status, " ".join((done.out + done.err).split())

    with pytest.MonkeyPatch.context() as patch:
        gateway_asks_iam(patch, aws, gateway, USER, NEEDS)
        patch.setattr(Live, "function", property(partial(_in_a_vpc, aws, Live.__dict__["function"].func)))
        yield operated


def _in_a_vpc(aws: MiniStack, function_of: Callable[[Live], Json], live: Live) -> Json:
    """The refresh function as if it was in one, whose endpoints are then looked at."""
    ec2 = aws.client("ec2")
    [subnet, *_] = ec2.describe_subnets()["Subnets"]
    [group, *_] = ec2.describe_security_groups()["SecurityGroups"]
    vpc = {"VpcId": subnet["VpcId"], "SubnetIds": [subnet["SubnetId"]], "SecurityGroupIds": [group["GroupId"]]}
    return {**function_of(live), "VpcConfig": vpc}


@pytest.fixture(scope="module", autouse=True)
def operated(
    aws: MiniStack,
    gateway: StorageGateway,
    stack: Any,
    operate: Operate,
    s3_control: Any,
) -> Iterator[None]:
    """What changed in a/ is refreshed on the share that shows it. Others are of the other kinds.

    Another bucket is versioned, and nobody is told that a file was deleted there: its notification was wiped. A third
    is versioned, too, and notifies. A rule tells of changes.
    """
    s3, bucket, versioned = aws.client("s3"), Bucket(aws, gateway, NAME), Bucket(aws, gateway, VERSIONED)
    for name in (NAME, VERSIONED, NOTIFYING):
        s3.create_bucket(Bucket=name)
    for name in (VERSIONED, NOTIFYING):
        s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    s3.put_bucket_notification_configuration(Bucket=NOTIFYING, NotificationConfiguration=stack)
    bucket.put("a/b.txt")
    versioned.put("deleted.txt")
    versioned.delete("deleted.txt")
    functions, wiped = aws.client("lambda"), {"FunctionName": AGGREGATOR, "StatementId": "wiped"}
    functions.add_permission(
        **wiped, Action="lambda:InvokeFunction", Principal="s3.amazonaws.com", SourceArn=f"arn:aws:s3:::{VERSIONED}"
    )
    events, rule = aws.client("events"), f"{AGGREGATOR}ObjectChanges"
    events.put_rule(Name=rule, EventPattern=eventbridge.pattern(VERSIONED, []))
    changed = now_ms()
    point = s3_control.create_access_point(AccountId=ACCOUNT, Name="operated", Bucket=NAME)
    shares = [
        Bucket(aws, gateway, NOTIFYING).share(),
        versioned.share(),
        *(bucket.share(kind="NFS"), bucket.share("c", kind="SMB")),
        *(bucket.share("c", location_arn=f"{point[name]}/c/") for name in ("AccessPointArn", "Alias")),
    ]
    eventually(lambda: now_ms() >= changed + SURELY_MS)
    assert operate(*REFRESH_NOW)[0] == 0
    eventually(lambda: operate(*EXPLAIN)[0] == 0)  # the log has it
    yield
    functions.remove_permission(**wiped)
    events.delete_rule(Name=rule)
    for share in shares:
        del gateway.shares[share.arn]


@pytest.fixture(autouse=True)
def failed_message(aws: MiniStack) -> Iterator[None]:
    sqs = aws.client("sqs")
    dead = sqs.get_queue_url(QueueName="S3EventAggregatorActionQueueDeadLetter")["QueueUrl"]
    sqs.send_message(QueueUrl=dead, MessageBody='{"sweep": true}')
    yield
    sqs.purge_queue(QueueUrl=dead)


@contextmanager
def without(aws: MiniStack, sid: str, action: str) -> Iterator[None]:
    put_policy(aws, less(POLICY, action, sid))
    try:
        yield
    finally:
        put_policy(aws, POLICY)


_answers: dict[tuple[str, str, str], Any] = {}


@contextmanager
def answered_before(but: str) -> Iterator[None]:
    """Of services `but` this one AWS is asked once only, for the commands that change nothing; all ask the same.

    (The simulated gateway is a client of IAM's.)
    """
    call = BaseClient._make_api_call  # type: ignore[attr-defined]

    def answer(client: Any, operation: str, parameters: Json) -> Any:
        service = client.meta.service_model.service_name.removesuffix("control")
        if service == but or (service, but) == ("iam", "storagegateway"):
            return call(client, operation, parameters)
        key = service, operation, repr(parameters)
        if key not in _answers:
            _answers[key] = call(client, operation, parameters)
        return deepcopy(_answers[key])

    with patch.object(BaseClient, "_make_api_call", answer):
        yield


def put_policy(aws: MiniStack, policy: Json) -> None:
    aws.client("iam").put_user_policy(UserName="operator", PolicyName="operator", PolicyDocument=json.dumps(policy))


def test_what_needs_an_action_is_known_of_each_and_of_no_other() -> None:
    assert {action for _, action in ALLOWED} == {*NEEDS}


@pytest.mark.parametrize("command", dict.fromkeys(NEEDS.values()), ids=" ".join)
def test_with_all_of_them_a_command_is_denied_nothing(operate: Operate, command: tuple[str, ...]) -> None:
    status, said = operate(*command)
    assert status in (0, 1), said
    assert not denials(said)


@pytest.mark.parametrize(("sid", "action"), ALLOWED, ids=lambda value: value.replace(":", "-"))
def test_a_command_that_is_denied_an_action_cannot_tell_and_names_it(
    aws: MiniStack, operate: Operate, sid: str, action: str
) -> None:
    asks_once = NEEDS[action] in (CHECK, STATUS, EXPLAIN, EXPLAIN_ABSENT, EXPLAIN_DELETED)
    with without(aws, sid, action), answered_before(action.partition(":")[0]) if asks_once else nullcontext():
        status, said = operate(*NEEDS[action])
    # check.sh goes on looking, and finds faults here.
    assert status == (1 if NEEDS[action] == CHECK and "FAULT" in said else 2), said
    assert action in said
    assert denials(said) <= {action}


# On what the statements allow it: first that, then others that look like it.


def look_alikes(arn: str) -> list[str]:
    return [arn, f"{arn}2", arn.replace(ACCOUNT, ANOTHER_ACCOUNT), arn.replace("us-east-1", "us-west-1")]


HOME = f"{REGION}:{ACCOUNT}"
RESOURCES = {
    "SeeTheStack": look_alikes(f"arn:aws:cloudformation:{HOME}:stack/s3-event-aggregator/1")[::2],
    "SeeTheFunctions": look_alikes(f"arn:aws:lambda:{HOME}:function:{REFRESH}"),
    "SeeWhoseFunctionItIs": look_alikes(f"arn:aws:lambda:{HOME}:function:{REFRESH}"),
    "SeeWhichBucketsInvoke": look_alikes(f"arn:aws:lambda:{HOME}:function:{AGGREGATOR}"),
    "SeeTheRules": look_alikes(f"arn:aws:events:{HOME}:rule/default/{AGGREGATOR}Sweep")[::2],
    "SeeWhatRolesMayDo": [f"arn:aws:iam::{ACCOUNT}:role/any", f"arn:aws:iam::{ACCOUNT}:user/any"],
    "SeeTheRoles": look_alikes(f"arn:aws:iam::{ACCOUNT}:role/{ROLES[REFRESH]}"),
    "SeeGateways": [f"arn:aws:storagegateway:{HOME}:gateway/sgw-1", SHARE],
    "SeeWhetherAnObjectCanBeRemoved": ["arn:aws:s3:::any-bucket"],
    "WriteAndRemoveTheObjectOfACheck": [f"arn:aws:s3:::any-bucket/a/{OBJECT}1", "arn:aws:s3:::any-bucket/a/b"],
    "SeeWhatWaits": look_alikes(TABLE),
    "SeeAndSendRequests": look_alikes(QUEUE),
    "SeeAndRedriveWhatFailed": look_alikes(f"{QUEUE}DeadLetter"),
    "ReadTheLogs": look_alikes(f"arn:aws:logs:{HOME}:log-group:/aws/lambda/{REFRESH}"),
    "SeeTheBuckets": ["arn:aws:s3:::any-bucket"],
    "SeeWhenAFileChanged": ["arn:aws:s3:::any-bucket/any/key", "arn:aws:s3:::any-bucket"],
    "SeeFileShares": [SHARE, SHARE.replace(ACCOUNT, ANOTHER_ACCOUNT), SHARE.replace("share/share", "gateway/sgw")],
    "SeeWhatKnowsNoResource": ["*"],
}


@pytest.mark.parametrize(("sid", "action"), ALLOWED, ids=lambda value: value.replace(":", "-"))
def test_an_action_is_allowed_on_its_own_resource_and_on_no_other(aws: MiniStack, sid: str, action: str) -> None:
    right, *wrong = RESOURCES[sid]
    assert may(aws, USER, action, right)
    assert [resource for resource in wrong if may(aws, USER, action, resource)] == []


def test_the_policy_is_given_to_a_group_as_the_page_says(aws: MiniStack) -> None:
    page = (ROOT / "docs/security-and-network.md").read_text().partition("## Permissions for operators")[2]
    block = re.findall(r"```\n(.*?)```", page, re.DOTALL)[0].replace("123456789012", ACCOUNT)
    aws.client("iam").create_group(GroupName="storage-people")
    subprocess.run(["bash", "-euc", block], cwd=ROOT, env=aws.environment(), check=True)
    given = aws.client("iam").get_group_policy(GroupName="storage-people", PolicyName="s3-event-aggregator")
    assert as_enforced_here(json.dumps(given["PolicyDocument"])) == json.dumps(POLICY)
