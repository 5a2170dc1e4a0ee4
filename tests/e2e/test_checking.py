"""scripts/check.sh on a stack of its own: in health all is well, and of each fault that is put in it names that one."""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from commands.check import command, gateway_report
from commands.deploy.template import Json
from dev.local.gateway import FileShare, StorageGateway
from dev.local.ministack import ACCOUNT, REGION, ROOT, MiniStack
from tests.e2e.conftest import Bucket, eventually, run, run_script
from tests.e2e.test_least_privilege import less

Check = Callable[..., tuple[int, str]]

PREFIX, NAME, GATEWAY, ROLE = "checked-", "checked-bucket", "sgw-checked", "CheckedShareRole"
AGGREGATOR, REFRESH = f"{PREFIX}S3EventAggregator", f"{PREFIX}S3StorageGatewayRefresh"
REFRESH_ROLE = f"{PREFIX}S3GatewayRefresh-{REGION}"
SHARE = rf"arn:aws:storagegateway:{REGION}:{ACCOUNT}:share/share-\w+"
TABLE = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{AGGREGATOR}"
ON_BUCKET = [f"arn:aws:s3:::{NAME}", f"arn:aws:s3:::{NAME}/*"]
MAY_LIST: Json = {
    "Version": "2012-10-17",
    "Statement": [{"Sid": "S", "Effect": "Allow", "Action": ["s3:List*", "s3:Get*"], "Resource": ON_BUCKET}],
}


@pytest.fixture(scope="module")
def deployed(aws: MiniStack, gateway: StorageGateway) -> Iterator[Bucket]:
    """A stack and its bucket."""
    aws.client("s3").create_bucket(Bucket=NAME)
    of_stack = ("--refresh-delay-seconds", "1", "--min-refresh-interval-seconds", "1", "--name-prefix", PREFIX)
    create = ("create-stack.sh", "--bucket", NAME, "--no-initial-refresh", *of_stack)
    run_script(aws, *create, AWS_ENDPOINT_URL_STORAGE_GATEWAY=gateway.endpoint_url)
    iam = aws.client("iam")
    trust = {"Effect": "Allow", "Principal": {"Service": "storagegateway.amazonaws.com"}, "Action": "sts:AssumeRole"}
    iam.create_role(RoleName=ROLE, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}))
    iam.put_role_policy(RoleName=ROLE, PolicyName="p", PolicyDocument=json.dumps(MAY_LIST))
    yield Bucket(aws, gateway, NAME)
    run_script(aws, "delete-stack.sh", "--name-prefix", PREFIX, "--yes")
    aws.client("s3").delete_bucket(Bucket=NAME)
    iam.delete_role_policy(RoleName=ROLE, PolicyName="p")
    iam.delete_role(RoleName=ROLE)


@pytest.fixture(scope="module")
def share(deployed: Bucket) -> Iterator[FileShare]:
    share = deployed.share(gateway_id=GATEWAY, role=ROLE)
    yield share
    del deployed.gateway.shares[share.arn]


@pytest.fixture
def check(deployed: Bucket) -> Check:
    """Runs check.sh: its exit status, and what it says."""
    environment = deployed.aws.environment() | {"AWS_ENDPOINT_URL_STORAGE_GATEWAY": deployed.gateway.endpoint_url}

    def checked(*arguments: str) -> tuple[int, str]:
        done = run("check.sh", "--name-prefix", PREFIX, *arguments, environment=environment)
        return done.status, done.out + done.err

    return checked


def left_behind(bucket: Bucket) -> list[Any]:
    found = bucket.aws.client("s3").list_object_versions(Bucket=bucket.name)
    return [*found.get("Versions", []), *found.get("DeleteMarkers", [])]


def is_settled(bucket: Bucket) -> bool:
    items = bucket.aws.client("dynamodb").scan(TableName=AGGREGATOR)["Items"]
    return not any("WindowId" in item or "RefreshingId" in item for item in items)


def test_in_health_it_says_so_on_one_screen(check: Check, share: FileShare) -> None:  # noqa: ARG001
    status, said = check()
    assert status == 0, said
    areas = ["Stack", "Roles", "Buckets", "Shares", "Network", "Quotas", "Work"]
    assert [line.split()[:2] for line in said.splitlines()] == [["ok", area] for area in areas]
    assert json.loads(check("--json")[1])["status"] == 0


# The faults: each is there inside of its context, and no more after it.

Fault = Callable[[MiniStack, StorageGateway, FileShare], AbstractContextManager[None]]


@contextmanager
def trigger_disabled(aws: MiniStack, *_: object) -> Iterator[None]:
    functions = aws.client("lambda")
    [trigger] = functions.list_event_source_mappings(FunctionName=REFRESH)["EventSourceMappings"]
    functions.update_event_source_mapping(UUID=trigger["UUID"], Enabled=False)
    yield
    functions.update_event_source_mapping(UUID=trigger["UUID"], Enabled=True)


@contextmanager
def completion_rule_disabled(aws: MiniStack, *_: object) -> Iterator[None]:
    aws.client("events").disable_rule(Name=f"{AGGREGATOR}RefreshComplete")
    yield
    aws.client("events").enable_rule(Name=f"{AGGREGATOR}RefreshComplete")


@contextmanager
def sweep_rule_deleted(aws: MiniStack, *_: object) -> Iterator[None]:
    events, name = aws.client("events"), f"{AGGREGATOR}Sweep"
    targets = events.list_targets_by_rule(Rule=name)["Targets"]
    events.remove_targets(Rule=name, Ids=[target["Id"] for target in targets])
    events.delete_rule(Name=name)
    yield
    events.put_rule(Name=name, ScheduleExpression="rate(15 minutes)", State="ENABLED")
    events.put_targets(Rule=name, Targets=targets)


@contextmanager
def rule_without_its_target(aws: MiniStack, *_: object) -> Iterator[None]:
    events, name = aws.client("events"), f"{AGGREGATOR}RefreshComplete"
    targets = events.list_targets_by_rule(Rule=name)["Targets"]
    events.remove_targets(Rule=name, Ids=[target["Id"] for target in targets])
    yield
    events.put_targets(Rule=name, Targets=targets)


@contextmanager
def function_that_may_not_run(aws: MiniStack, *_: object) -> Iterator[None]:
    aws.client("lambda").put_function_concurrency(FunctionName=AGGREGATOR, ReservedConcurrentExecutions=0)
    yield
    aws.client("lambda").delete_function_concurrency(FunctionName=AGGREGATOR)


@contextmanager
def environment_changed(aws: MiniStack, *_: object) -> Iterator[None]:
    functions = aws.client("lambda")
    before = functions.get_function_configuration(FunctionName=REFRESH)["Environment"]
    changed = {"Variables": before["Variables"] | {"REFRESH_DELAY_SECONDS": "900"}}
    functions.update_function_configuration(FunctionName=REFRESH, Environment=changed)
    yield
    functions.update_function_configuration(FunctionName=REFRESH, Environment=before)


@contextmanager
def attribute_of_queue(aws: MiniStack, name: str, value: str) -> Iterator[None]:
    sqs = aws.client("sqs")
    queue = sqs.get_queue_url(QueueName=f"{AGGREGATOR}ActionQueue")["QueueUrl"]
    before = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=[name])["Attributes"][name]
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={name: value})
    yield
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={name: before})


def queue_policy_removed(aws: MiniStack, *_: object) -> AbstractContextManager[None]:
    return attribute_of_queue(aws, "Policy", "")


def visibility_timeout_changed(aws: MiniStack, *_: object) -> AbstractContextManager[None]:
    return attribute_of_queue(aws, "VisibilityTimeout", "30")


@contextmanager
def permission_of_s3_removed(aws: MiniStack, *_: object) -> Iterator[None]:
    functions = aws.client("lambda")
    functions.remove_permission(FunctionName=AGGREGATOR, StatementId=f"s3-{NAME}")
    yield
    run_script(aws, "attach-bucket.sh", "--bucket", NAME, "--no-initial-refresh", "--name-prefix", PREFIX)


@contextmanager
def notification_wiped(aws: MiniStack, *_: object) -> Iterator[None]:
    s3 = aws.client("s3")
    before = s3.get_bucket_notification_configuration(Bucket=NAME)
    del before["ResponseMetadata"]
    nobody_is_told: dict[str, Any] = {}
    s3.put_bucket_notification_configuration(Bucket=NAME, NotificationConfiguration=nobody_is_told)
    yield
    s3.put_bucket_notification_configuration(Bucket=NAME, NotificationConfiguration=before)


@contextmanager
def deletions_not_told(aws: MiniStack, *_: object) -> Iterator[None]:
    s3 = aws.client("s3")
    before = s3.get_bucket_notification_configuration(Bucket=NAME)["LambdaFunctionConfigurations"]
    less_of_it = [{**entry, "Events": ["s3:ObjectCreated:*"]} for entry in before]
    for entries in (less_of_it, before):
        s3.put_bucket_notification_configuration(
            Bucket=NAME, NotificationConfiguration={"LambdaFunctionConfigurations": entries}
        )
        if entries is less_of_it:
            yield


@contextmanager
def role_without_an_action(aws: MiniStack, *_: object) -> Iterator[None]:
    iam, of = aws.client("iam"), {"RoleName": REFRESH_ROLE, "PolicyName": "S3EventAggregator"}
    before = iam.get_role_policy(**of)["PolicyDocument"]
    iam.put_role_policy(**of, PolicyDocument=json.dumps(less(before, "storagegateway:RefreshCache")))
    yield
    iam.put_role_policy(**of, PolicyDocument=json.dumps(before))


@contextmanager
def boundary_too_narrow(aws: MiniStack, *_: object) -> Iterator[None]:
    iam = aws.client("iam")
    statement = {"Effect": "Allow", "NotAction": "dynamodb:Scan", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    boundary = iam.create_policy(PolicyName="narrow", PolicyDocument=document)["Policy"]["Arn"]
    iam.put_role_permissions_boundary(RoleName=REFRESH_ROLE, PermissionsBoundary=boundary)
    yield
    iam.delete_role_permissions_boundary(RoleName=REFRESH_ROLE)
    iam.delete_policy(PolicyArn=boundary)


@contextmanager
def gateway_offline(_: MiniStack, gateway: StorageGateway, __: FileShare) -> Iterator[None]:
    gateway.set_online(GATEWAY, online=False)
    yield
    gateway.set_online(GATEWAY, online=True)


@contextmanager
def share_unavailable(_: MiniStack, __: StorageGateway, share: FileShare) -> Iterator[None]:
    share.status = "UNAVAILABLE"
    yield
    share.status = "AVAILABLE"


@contextmanager
def share_that_may_not_list(aws: MiniStack, *_: object) -> Iterator[None]:
    iam, of = aws.client("iam"), {"RoleName": ROLE, "PolicyName": "p"}
    iam.put_role_policy(**of, PolicyDocument=json.dumps(less(MAY_LIST, "s3:List*")))
    yield
    iam.put_role_policy(**of, PolicyDocument=json.dumps(MAY_LIST))


@contextmanager
def alarm_without_actions(aws: MiniStack, *_: object) -> Iterator[None]:
    aws.client("cloudwatch").disable_alarm_actions(AlarmNames=[f"{AGGREGATOR}DeadLetters"])
    yield
    aws.client("cloudwatch").enable_alarm_actions(AlarmNames=[f"{AGGREGATOR}DeadLetters"])


@contextmanager
def message_given_up(aws: MiniStack, *_: object) -> Iterator[None]:
    sqs = aws.client("sqs")
    dead = sqs.get_queue_url(QueueName=f"{AGGREGATOR}ActionQueueDeadLetter")["QueueUrl"]
    sqs.send_message(QueueUrl=dead, MessageBody='{"sweep": true}')
    yield
    sqs.purge_queue(QueueUrl=dead)


# What it says of each, and of nothing else.
FAULTS: dict[Fault, str] = {
    trigger_disabled: r"Stack the event source mapping Trigger: State is Disabled",
    completion_rule_disabled: rf"Stack the rule {AGGREGATOR}RefreshComplete: State is DISABLED, and ENABLED in the",
    sweep_rule_deleted: rf"Stack the rule {AGGREGATOR}Sweep is gone",
    rule_without_its_target: rf"Stack the rule {AGGREGATOR}RefreshComplete: Targets is nothing, and ",
    function_that_may_not_run: rf"Stack the function {AGGREGATOR}: ReservedConcurrentExecutions is 0, and nothing in",
    environment_changed: rf"Stack the function {REFRESH}: Environment.Variables.REFRESH_DELAY_SECONDS is 900, and 1 in",
    queue_policy_removed: r"Stack the queue policy QueuePolicy is gone",
    visibility_timeout_changed: rf"Stack the queue {AGGREGATOR}ActionQueue: VisibilityTimeout is 30, and 360 in the",
    permission_of_s3_removed: rf"Buckets {NAME} notifies {AGGREGATOR}, and S3 has no permission to invoke it",
    notification_wiped: rf"Buckets {NAME} does not notify this stack of its changes: it tells nobody",
    deletions_not_told: rf"Buckets {NAME} does not notify {AGGREGATOR} of all changes, such as deletions",
    role_without_an_action: rf"Roles the role {REFRESH_ROLE} may not storagegateway:RefreshCache on {SHARE}: none of",
    boundary_too_narrow: rf"Roles the role {REFRESH_ROLE} may not dynamodb:Scan on {TABLE}: its permissions boundary",
    gateway_offline: rf"Shares the gateway {GATEWAY}: .* The specified gateway is not connected",
    share_unavailable: rf"Buckets {NAME}/share-\w+ is UNAVAILABLE",
    share_that_may_not_list: rf"Shares the role {ROLE} may not s3:ListBucket on arn:aws:s3:::{NAME}: none of its",
    alarm_without_actions: rf"Stack the alarm {AGGREGATOR}DeadLetters: ActionsEnabled is False",
    message_given_up: r"Work 1 message in the dead-letter queue",
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_is_named(fault: Fault, check: Check, deployed: Bucket, share: FileShare) -> None:
    with fault(deployed.aws, deployed.gateway, share):
        status, said = check()
    named = [" ".join(line.split()[1:]) for line in said.splitlines() if line.startswith("FAULT")]
    assert status == 1, said
    assert re.match(FAULTS[fault], named[0]), said
    assert len(named) == 1, said


# The object


def test_an_object_is_followed_to_the_share_and_so_is_its_deletion_and_nothing_is_left(
    check: Check, deployed: Bucket, share: FileShare
) -> None:
    status, said = check("--write", "a/b")
    assert status == 0, said
    hops = ["the event was seen", "the window's request is queued", "the request was received"]
    hops += [f"{share.share_id} accepted RefreshCache", f"{share.share_id} reported completion"]
    for walk in said.partition("write   ")[2].split("delete  it"):
        times = [re.search(rf"(\d+\.\d) s  {hop}", walk) for hop in hops]
        assert all(times), said
    assert left_behind(deployed) == []
    assert share.tree() == set()


def test_of_a_versioned_bucket_no_version_and_no_marker_is_left(
    check: Check, make_versioned: Bucket, share: FileShare
) -> None:
    status, said = check("--write", "/")
    assert status == 0, said
    assert left_behind(make_versioned) == []
    assert share


@pytest.fixture
def make_versioned(deployed: Bucket) -> Iterator[Bucket]:
    s3 = deployed.aws.client("s3")
    s3.put_bucket_versioning(Bucket=NAME, VersioningConfiguration={"Status": "Enabled"})
    yield deployed
    s3.put_bucket_versioning(Bucket=NAME, VersioningConfiguration={"Status": "Suspended"})


def test_a_hop_that_does_not_come_is_named_and_explained_and_nothing_is_left(
    check: Check, deployed: Bucket, share: FileShare
) -> None:
    deployed.gateway.set_online(GATEWAY, online=False)
    try:
        status, said = check("--write", "a", "--timeout", "1")
    finally:
        deployed.gateway.set_online(GATEWAY, online=True)
    assert status == 1, said
    assert f"FAULT  {share.share_id} has accepted no refresh of it" in said, said
    assert f"{share.share_id}: It has waited since" in said
    assert "The specified gateway is not connected" in said.partition("write   ")[2]
    assert left_behind(deployed) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_stopped_it_leaves_nothing_behind(number: signal.Signals, deployed: Bucket, share: FileShare) -> None:
    share.refresh_seconds = 60.0  # it is stopped while it waits for that
    program = [sys.executable, "-m", "commands.operate", "check.sh", "--name-prefix", PREFIX, "--write", "a"]
    environment = deployed.aws.environment() | {"AWS_ENDPOINT_URL_STORAGE_GATEWAY": deployed.gateway.endpoint_url}
    try:
        with subprocess.Popen(program, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout
            assert any("accepted RefreshCache" in line for line in process.stdout)
            assert left_behind(deployed)
            process.send_signal(number)
            process.communicate(timeout=60)
        assert process.returncode == 130
        assert left_behind(deployed) == []
    finally:
        share.refresh_seconds = None
        deployed.gateway.finish(deployed.gateway.refreshes[-1])
        eventually(lambda: is_settled(deployed))


# The report


def test_a_report_tells_what_was_learned_and_names_nothing(
    check: Check, deployed: Bucket, share: FileShare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, report = deployed.share("b", gateway_id=GATEWAY, role=ROLE), tmp_path / "report.md"

    def pause(_: float) -> None:
        """In the place of a minute: all refreshes end, and those that come next take until the next pause."""
        share.refresh_seconds = other.refresh_seconds = 300.0
        for refresh in deployed.gateway.refreshes:
            deployed.gateway.finish(refresh)
        time.sleep(0.1)

    monkeypatch.setattr(command, "Probe", partial(gateway_report.Probe, pause=pause))
    try:
        status, said = check("--write", "a", "--report", str(report), "--probe-limits", "--yes")
    finally:
        pause(0)
        del deployed.gateway.shares[other.arn]
        share.refresh_seconds = None
    assert status == 0, said
    told = report.read_text()
    assert "Too many requests have been sent to server." in told
    assert told.count("accepted in ") == 7
    assert re.search(r"complete, it was told \d\.\d s later", told)
    for name in (share.share_id, other.share_id, GATEWAY, NAME, ROLE, ACCOUNT, PREFIX, "arn:"):
        assert name not in told
