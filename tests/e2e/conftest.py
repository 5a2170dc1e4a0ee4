"""The whole system on a local AWS with IAM enforced: deployed once by create-stack.sh, removed by delete-stack.sh."""

import io
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cache, partial
from string import Template
from typing import Any, TypeVar
from unittest.mock import patch

import boto3
import pytest

from commands.deploy.__main__ import main as deploy
from commands.deploy.template import Json
from commands.operate.__main__ import main as operate
from dev.local.completions import to_rule_targets
from dev.local.gateway import FileShare, StorageGateway
from dev.local.ministack import ACCOUNT, REGION, RESOLVER, ROOT, MiniStack, ministack
from tests.e2e.proxy import Proxy
from tests.unit.conftest import s3_event, s3_record

T = TypeVar("T")

FUNCTIONS = ("S3EventAggregator", "S3StorageGatewayRefresh")


def eventually(condition: Callable[[], T]) -> T:
    """Wait until the condition holds, and answer what it was then, for it may not hold a moment later.

    Fails with what it last was after two minutes, which no healthy machine takes.
    """
    deadline = time.monotonic() + 120
    while not (last := condition()):
        assert time.monotonic() < deadline, f"still {last!r} after two minutes"
        time.sleep(0.1)
    return last


DEPLOYING = ("create-stack.sh", "delete-stack.sh", "attach-bucket.sh", "detach-bucket.sh")


@dataclass(frozen=True)
class Done:
    """What a command has printed, and its exit status."""

    status: int
    out: str
    err: str


def run(name: str, *arguments: str, environment: Mapping[str, str]) -> Done:
    """Run the command of a script with this environment and no other, in this process: a new one takes a second."""
    main, out, err = deploy if name in DEPLOYING else operate, io.StringIO(), io.StringIO()
    session = partial(_session, frozenset(environment.items()))
    with (
        patch.dict(os.environ, environment, clear=True),
        patch.object(boto3, "Session", session),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        return Done(main([name, *arguments]), out.getvalue(), err.getvalue())


@cache
def _session(_: frozenset[tuple[str, str]], region_name: str | None = None, make: Any = boto3.Session) -> Any:
    """The session of all commands with this environment, which makes each of its clients once."""
    session = make(region_name=region_name)
    session.client = cache(session.client)
    return session


def run_script(aws: MiniStack, name: str, *arguments: str, **environment: str) -> str:
    """What a script's command prints; it must succeed."""
    done = run(name, *arguments, environment=aws.environment() | environment)
    assert done.status == 0, done.out + done.err
    return done.out + done.err


def run_program(aws: MiniStack, *command: str) -> str:
    """What another program prints, both streams together; it must succeed."""
    done = subprocess.run(
        command,
        env=aws.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def s3_may(action: str, resource: str) -> str:
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "s3.amazonaws.com"},
        "Action": action,
        "Resource": resource,
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


@dataclass(frozen=True)
class Bucket:
    """A watched bucket, to be written to as an outside program would."""

    aws: MiniStack
    gateway: StorageGateway
    name: str

    def put(self, *keys: str) -> None:
        for key in keys:
            self.aws.client("s3").put_object(Bucket=self.name, Key=key, Body=b"content")

    def put_by(self, role_id: str, key: str) -> None:
        """As a gateway does, by the role with this id.

        The local S3 names nobody: here the object tells nobody any more, and the event is made by hand.
        """
        nobody_is_told: dict[str, Any] = {}
        self.aws.client("s3").put_bucket_notification_configuration(
            Bucket=self.name, NotificationConfiguration=nobody_is_told
        )
        self.put(key)
        record = s3_record(key, self.name, userIdentity={"principalId": f"AWS:{role_id}:StorageGateway"})
        payload = json.dumps(s3_event(record))
        self.aws.client("lambda").invoke(FunctionName=FUNCTIONS[0], InvocationType="Event", Payload=payload)

    def delete(self, key: str) -> None:
        self.aws.client("s3").delete_object(Bucket=self.name, Key=key)

    def keys(self) -> set[str]:
        pages = self.aws.client("s3").get_paginator("list_objects_v2").paginate(Bucket=self.name)
        return {found["Key"] for page in pages for found in page.get("Contents", [])}

    def share(self, prefix: str = "", **how: Any) -> FileShare:
        """A file share of this bucket whose clients have seen all that is there so far."""
        share = self.gateway.add_share(self.name, prefix, **how)
        share.tree()
        return share

    def refreshes(self, share: FileShare) -> int:
        """How often a refresh of the share was accepted."""
        return sum(refresh.share is share for refresh in self.gateway.refreshes)

    def items(self) -> list[dict[str, Any]]:
        """What the table holds for this bucket and its shares."""
        return [item for item in self.all_items() if item["BucketName"]["S"].partition("/")[0] == self.name]

    def all_items(self) -> list[dict[str, Any]]:
        return list(self.aws.client("dynamodb").scan(TableName="S3EventAggregator")["Items"])

    def is_settled(self) -> bool:
        """Nothing is open, waiting or half-way for this bucket or its shares."""
        items = self.items()
        return bool(items) and not any("WindowId" in item or "RefreshingId" in item for item in items)

    def becomes_visible(self, *shares: FileShare) -> None:
        """Wait until everything is done, and see that each share shows what the bucket holds below its prefix."""
        keys = self.keys()
        try:
            eventually(lambda: all(share.tree() == _below(keys, share.prefix) for share in shares))
            eventually(self.is_settled)
        except AssertionError as error:
            others = [item for item in self.all_items() if item not in self.items()]
            error.add_note(f"The table holds {self.items()}, and for other buckets and gateways {others}")
            raise


def _below(keys: set[str], prefix: str) -> set[str]:
    return {key.removeprefix(prefix) for key in keys if key.startswith(prefix)}


@pytest.fixture(scope="session")
def aws() -> Iterator[MiniStack]:
    with ministack(auth=True, async_retry_base_seconds=1) as aws:
        yield aws


@pytest.fixture(scope="session")
def gateway(aws: MiniStack) -> Iterator[StorageGateway]:
    # A page of three shares: most tests have to look beyond the first.
    with StorageGateway(
        aws.client("s3"), page_size=3, refresh_seconds=0.2, account_of=cache(aws.account_of)
    ) as gateway:
        gateway.on_complete = partial(to_rule_targets, aws)
        yield gateway


@pytest.fixture(scope="session")
def proxy(aws: MiniStack) -> Iterator[Proxy]:
    with Proxy(aws.endpoint_url) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def stack(aws: MiniStack, gateway: StorageGateway, proxy: Proxy) -> dict[str, Any]:
    """Deploys the stack, its functions' calls going through the proxy; the notification that it put on its bucket."""
    aws.client("s3").create_bucket(Bucket="first-bucket")
    run_script(
        aws,
        "create-stack.sh",
        *("--bucket", "first-bucket"),
        *("--refresh-delay-seconds", "2", "--min-refresh-interval-seconds", "1"),
        AWS_ENDPOINT_URL_STORAGE_GATEWAY=gateway.endpoint_url,
    )
    functions = aws.client("lambda")
    for function in FUNCTIONS:
        environment = functions.get_function_configuration(FunctionName=function)["Environment"]["Variables"]
        environment |= {f"AWS_ENDPOINT_URL_{service}": proxy.endpoint_url for service in ("DYNAMODB", "SQS")}
        functions.update_function_configuration(FunctionName=function, Environment={"Variables": environment})
    deliver_again_soon(aws)
    configuration = aws.client("s3").get_bucket_notification_configuration(Bucket="first-bucket")
    del configuration["ResponseMetadata"]
    return dict(configuration)


def deliver_again_soon(aws: MiniStack, seconds: int = 4) -> None:
    """A message whose invocation was killed comes again after seconds, until create-stack.sh makes it minutes again."""
    queue = aws.client("sqs").get_queue_url(QueueName="S3EventAggregatorActionQueue")["QueueUrl"]
    aws.client("sqs").set_queue_attributes(QueueUrl=queue, Attributes={"VisibilityTimeout": str(seconds)})


_numbers = itertools.count(1)


@pytest.fixture
def make_bucket(aws: MiniStack, gateway: StorageGateway, stack: dict[str, Any]) -> Iterator[Callable[[], Bucket]]:
    """Makes buckets with the notification that create-stack.sh makes; their shares are gone after the test."""
    names = []

    def make() -> Bucket:
        name = f"bucket-{next(_numbers)}"
        names.append(name)
        aws.client("s3").create_bucket(Bucket=name)
        aws.client("s3").put_bucket_notification_configuration(Bucket=name, NotificationConfiguration=stack)
        return Bucket(aws, gateway, name)

    yield make
    for share in list(gateway.shares.values()):
        if share.location_arn.removeprefix("arn:aws:s3:::").partition("/")[0] in names:
            del gateway.shares[share.arn]


@pytest.fixture
def bucket(make_bucket: Callable[[], Bucket]) -> Bucket:
    return make_bucket()


@contextmanager
def setting(aws: MiniStack, function: str, **variables: str) -> Iterator[None]:
    """The function, started anew, with these environment variables, and then as it was."""
    functions = aws.client("lambda")
    before = functions.get_function_configuration(FunctionName=function)["Environment"]["Variables"]
    functions.update_function_configuration(FunctionName=function, Environment={"Variables": before | variables})
    try:
        yield
    finally:
        functions.update_function_configuration(FunctionName=function, Environment={"Variables": before})


@pytest.fixture(scope="module")
def s3_control(aws: MiniStack) -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", socket.getaddrinfo)  # to put it back at the end
        exec(RESOLVER, {})  # noqa: S102
        yield aws.client("s3control")


_operators: dict[str, dict[str, str]] = {}


def operators_policy() -> Json:
    """What iam/operator.json says of the stack of these tests."""
    values = {"Partition": "aws", "Region": REGION, "Account": ACCOUNT, "NamePrefix": ""}
    text = (ROOT / "iam" / "operator.json").read_text()
    policy: Json = json.loads(Template(as_enforced_here(text)).substitute(values))
    return policy


def as_enforced_here(policy: str) -> str:
    """The local AWS has the bus in the ARN of every rule."""
    return policy.replace(":rule/", ":rule/default/")


def operator(aws: MiniStack) -> dict[str, str]:
    """The credentials of the user `operator`, who may do what iam/operator.json says."""
    if aws.endpoint_url not in _operators:
        iam, name = aws.client("iam"), "operator"
        iam.create_user(UserName=name)
        iam.put_user_policy(UserName=name, PolicyName=name, PolicyDocument=json.dumps(operators_policy()))
        key = iam.create_access_key(UserName=name)["AccessKey"]
        _operators[aws.endpoint_url] = {
            "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
        }
    return _operators[aws.endpoint_url]


@pytest.fixture
def kill_after(aws: MiniStack) -> Any:
    """Runs a deploying script that is killed after so many calls of AWS; whether it was."""

    def run(calls: int, name: str, *arguments: str) -> bool:
        with Proxy(aws.endpoint_url) as proxy:
            command = [sys.executable, "-m", "commands.deploy", name, *arguments]
            environment = aws.environment() | {"AWS_ENDPOINT_URL": proxy.endpoint_url}
            nothing = subprocess.DEVNULL
            with subprocess.Popen(command, env=environment, stdin=nothing, stdout=nothing, stderr=nothing) as process:
                proxy.kill_after(calls, process)
            return process.returncode == -signal.SIGKILL

    return run


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    """With a failure go the last lines that the local AWS, and with it the functions, have printed."""
    report = yield
    if report.failed and "aws" in getattr(item, "funcargs", {}):
        log = item.funcargs["aws"].log  # type: ignore[attr-defined]
        report.sections.append(("MiniStack", "\n".join(log.read_text(errors="replace").splitlines()[-300:])))
    return report
