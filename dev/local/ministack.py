"""Runs MiniStack, the local AWS of the demo and of the end-to-end tests.

It listens on a free port of loopback and sees nothing of the caller's environment, because the Lambda functions that
it runs see all of its own. It leaves neither a process nor a file behind, however the process that started it ends.
"""

import os
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import botocore.session
from botocore.config import Config

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-ministack" / "bin" / "python"
REGION, ACCOUNT = "us-east-1", "000000000000"
START_SECONDS = 60  # about 2 on an idle machine
STOP_SECONDS = 5  # about 1
PORT_ATTEMPTS = 3

# Botocore's session variables, each as (name in a profile, environment variable, default, conversion).
NO_PROFILE = {
    "profile": (None, None, None, None),
    "config_file": (None, None, os.devnull, None),
    "credentials_file": (None, None, os.devnull, None),
}

# Standard input is a pipe from the parent: its end is the parent's end, be it by SIGKILL, on every system.
# And what a container has in a folder of its own is the same for all of a function: they share it, with what Python
# compiles of it, which is half of a cold start.
# And it knows no condition on the source of the events that a role may send, takes four reads of Lambda for others, and
# does not know which rule's targets, or which role's policies, are asked for.
# And its CloudFormation refuses an alarm on a query, and leaves a function's recursive loop, subnets and key out.
# And it starts a container for each event that comes while the others are busy: twenty for a burst of twenty uploads,
# each with a second of CPU. Here an event waits for one of four.
# And its SimulatePrincipalPolicy knows one resource, no context and no boundary; its organizations know no SCP.
LAUNCHER = """
import itertools, json, os, pathlib, runpy, shutil, signal, threading, time, urllib.parse, zipfile

unzip, unzipping = zipfile.ZipFile.extractall, threading.Lock()

def share(self, folder):
    content = tuple((member.filename, member.CRC) for member in self.infolist())
    shared = pathlib.Path(os.environ["TMPDIR"], f"code-{hash(content)}")
    with unzipping:
        if not shared.exists():
            unzip(self, shared)
    for entry in shared.iterdir():
        pathlib.Path(folder, entry.name).symlink_to(entry)

zipfile.ZipFile.extractall = share

from ministack.core import iam_actions, iam_evaluator
from ministack.services import iam, lambda_svc
from ministack.services.cloudformation import provisioners

of_tags = iam_actions.request_tag_context

def with_those_of_events(service, action, body, params):
    found = of_tags(service, action, body, params)
    if action == "events:PutEvents":
        found["events:source"] = ",".join(sorted({entry["Source"] for entry in json.loads(body)["Entries"]}))
    return found

iam_actions.request_tag_context = with_those_of_events

of_lambda, reads = iam_actions._lambda_action, {
    "account-settings": "GetAccountSettings",
    "concurrency": "GetFunctionConcurrency",
    "event-invoke-config": "GetFunctionEventInvokeConfig",
    "recursion-config": "GetFunctionRecursionConfig",
}

def with_these_reads(method, path):
    last = path.rstrip("/").rpartition("/")[2]
    return reads[last] if method == "GET" and last in reads else of_lambda(method, path)

iam_actions._lambda_action = with_these_reads

of_resources = iam_actions.extract_resource_arn

def with_these_resources(service, method, path, headers, body, query, region, account):
    if service == "events" and (rule := json.loads(body or "{}").get("Rule")):
        return f"arn:aws:events:{region}:{account}:rule/default/{rule}"
    if service == "iam" and (source := iam._p(urllib.parse.parse_qs(body.decode()), "PolicySourceArn")):
        return source
    return of_resources(service, method, path, headers, body, query, region, account)

iam_actions.extract_resource_arn = with_these_resources

def listed(parameters, name):
    return list(itertools.takewhile(bool, (iam._p(parameters, name % number) for number in itertools.count(1))))

def simulate(parameters):
    arn = iam._p(parameters, "PolicySourceArn")
    account, (kind, *_, name) = arn.split(":")[4], arn.split(":")[5].split("/")
    is_role = kind == "role"
    principals = iam._roles if is_role else iam._users
    if principals.get_scoped(account, None, name) is None:
        return iam._error(404, "NoSuchEntity", f"The {kind} with name {name} cannot be found.", ns="iam")
    of = iam_evaluator._gather_role_policies if is_role else iam_evaluator._gather_user_policies
    limits = iam_evaluator._permissions_boundary(principals, name, account)
    entry = "ContextEntries.member.%d.ContextKey"
    context = {
        key: listed(parameters, f"ContextEntries.member.{number}.ContextKeyValues.member.%d")
        for number, key in enumerate(listed(parameters, f"{entry}Name"), start=1)
    }
    [region] = context.get("aws:RequestedRegion", [iam.get_region()])
    results = ""
    for action, resource in itertools.product(
        listed(parameters, "ActionNames.member.%d"), listed(parameters, "ResourceArns.member.%d") or ["*"]
    ):
        asked = iam_evaluator.EvalContext(
            arn, "AssumedRole" if is_role else "User", account, action, resource, region, "127.0.0.1", False,
            service_context={key.lower(): values[0] for key, values in context.items()},
        )
        decision = iam_evaluator.evaluate(asked, of(name, account), *limits).decision
        bounded = all(iam_evaluator.evaluate(asked, limit).decision == "Allow" for limit in limits)
        told = f"<AllowedByPermissionsBoundary>{str(bounded).lower()}</AllowedByPermissionsBoundary>" if limits else ""
        results += f"<member><EvalActionName>{action}</EvalActionName><EvalResourceName>{resource}</EvalResourceName>"
        results += "<EvalDecision>" + {"Allow": "allowed", "Deny": "explicitDeny"}.get(decision, "implicitDeny")
        results += f"</EvalDecision><PermissionsBoundaryDecisionDetail>{told}</PermissionsBoundaryDecisionDetail>"
        results += "</member>"
    answer = f"<EvaluationResults>{results}</EvaluationResults><IsTruncated>false</IsTruncated>"
    answer = f"<SimulatePrincipalPolicyResult>{answer}</SimulatePrincipalPolicyResult>"
    return iam._xml(200, "SimulatePrincipalPolicyResponse", answer, ns="iam")

iam._IAM_HANDLERS["SimulatePrincipalPolicy"] = simulate

lease = lambda_svc.acquire_worker

def one_of_four(*function, **more):
    while (found := lease(*function, **more, max_concurrency=4))[0] is None:
        time.sleep(0.02)
    return found

lambda_svc.acquire_worker = one_of_four

record, of_functions = provisioners._cw_metric_alarm_record, provisioners._RESOURCE_HANDLERS["AWS::Lambda::Function"]

def without_query(name, properties):
    plain = {"Namespace": "-", "MetricName": "-", "Statistic": "Maximum", "Period": 60}
    return record(name, {**plain, **{key: value for key, value in properties.items() if key != "Metrics"}})

def with_the_rest(make, position):
    def made(*arguments):
        name, attributes = make(*arguments)
        function, properties = lambda_svc._functions[name], arguments[position]
        function["recursive_loop"] = properties.get("RecursiveLoop", "Terminate")
        function["config"]["KMSKeyArn"] = properties.get("KmsKeyArn", "")
        function["config"]["VpcConfig"] = properties.get("VpcConfig", {"SubnetIds": [], "SecurityGroupIds": []})
        return name, attributes
    return made

provisioners._cw_metric_alarm_record = without_query
of_functions.update(create=with_the_rest(of_functions["create"], 1), update=with_the_rest(of_functions["update"], 2))

def follow_parent():
    os.read(0, 1)
    shutil.rmtree(os.environ["TMPDIR"], ignore_errors=True)
    os.killpg(0, signal.SIGTERM)
    time.sleep(5)
    os.killpg(0, signal.SIGKILL)

threading.Thread(target=follow_parent, daemon=True).start()
runpy.run_module("ministack", run_name="__main__")
"""


class StartError(Exception):
    """MiniStack did not come up; the message ends with the tail of its log."""


class PortTakenError(StartError):
    """Somebody else took the port between our choosing it and MiniStack's binding it."""


# The SDK puts the account before the host name when it calls S3 Control: 000000000000.127.0.0.1 does not resolve.
RESOLVER = """
import socket

resolve = socket.getaddrinfo
home = ".127.0.0.1"
socket.getaddrinfo = lambda host, *how, **more: resolve(home[1:] if str(host).endswith(home) else host, *how, **more)
"""


@dataclass(frozen=True)
class MiniStack:
    """A running MiniStack; `log` is a file with everything that it and its workers print."""

    endpoint_url: str
    log: Path
    home: Path
    _clients: dict[tuple[str, str], Any] = field(default_factory=dict, repr=False)

    def client(self, service: str, account: str = ACCOUNT) -> Any:
        """The botocore client of a service, with nothing in it from the user's profiles, credentials or proxies.

        It may do anything in its account.
        """
        if (service, account) not in self._clients:
            session = botocore.session.Session(session_vars=NO_PROFILE)
            session.set_credentials(account, "test")
            self._clients[service, account] = session.create_client(
                service, region_name=REGION, endpoint_url=self.endpoint_url, config=Config(proxies={})
            )
        return self._clients[service, account]

    def everything(self) -> list[str]:
        """The names of all that the scripts may make in the account. MiniStack makes none of these kinds itself."""

        def names(service: str, operation: str, field_: str, name: str = "") -> list[str]:
            found = getattr(self.client(service), operation)().get(field_, [])
            return [f"{service} {item[name] if name else item}" for item in found]

        return sorted(
            [
                *names("cloudformation", "describe_stacks", "Stacks", "StackName"),
                *names("s3", "list_buckets", "Buckets", "Name"),
                *names("dynamodb", "list_tables", "TableNames"),
                *names("sqs", "list_queues", "QueueUrls"),
                *names("lambda", "list_functions", "Functions", "FunctionName"),
                *names("lambda", "list_event_source_mappings", "EventSourceMappings", "FunctionArn"),
                *names("iam", "list_roles", "Roles", "RoleName"),
                *names("logs", "describe_log_groups", "logGroups", "logGroupName"),
                *names("events", "list_rules", "Rules", "Name"),
                *names("cloudwatch", "describe_alarms", "MetricAlarms", "AlarmName"),
                *names("cloudwatch", "list_dashboards", "DashboardEntries", "DashboardName"),
            ]
        )

    def account_of(self, access_key_id: str) -> str:
        """The account to which an access key belongs; the scripts use `test`, which is none of AWS's form."""
        if access_key_id == "test":
            return ACCOUNT
        return str(self.client("sts").get_access_key_info(AccessKeyId=access_key_id)["Account"])

    def environment(self) -> dict[str, str]:
        """The whole environment with which a script or the AWS CLI reaches this AWS and no other."""
        return {name: os.environ[name] for name in ("LANG", "TERM") if name in os.environ} | {
            "PATH": os.pathsep.join([str(ROOT / ".venv" / "bin"), os.environ.get("PATH", os.defpath)]),
            "HOME": str(self.home),
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_PAGER": "",
            "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}",
        }


@contextmanager
def ministack(*, auth: bool = True, async_retry_base_seconds: float = 1) -> Iterator[MiniStack]:
    """Start MiniStack, wait until it answers, and stop it and its workers at the end.

    With `auth` it enforces IAM, the execution roles of functions included. The retries of an asynchronous invocation
    come after the given base and twice that. Raises StartError.
    """
    with tempfile.TemporaryDirectory(prefix="ministack-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        settings = {
            "AUTH": "true" if auth else "false",
            "LAMBDA_ASYNC_RETRY_BASE_SECONDS": str(async_retry_base_seconds),
        }
        for attempts_left in reversed(range(PORT_ATTEMPTS)):
            try:
                with _running(home, _free_port(), settings) as aws:
                    yield aws
                return
            except PortTakenError:
                if not attempts_left:
                    raise


@contextmanager
def _running(home: Path, port: int, settings: dict[str, str]) -> Iterator[MiniStack]:
    aws = MiniStack(f"http://127.0.0.1:{port}", home / "ministack.log", home)
    environment = settings | {
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "MINISTACK_HOST": "127.0.0.1",  # in the URLs of queues, whoever asks for them, and through which proxy
        "MINISTACK_REGION": REGION,
        "HOME": str(home),
        "TMPDIR": str(home),
        "PATH": os.defpath,
        "PYTHONPATH": str(home),
    }
    (home / "sitecustomize.py").write_text(RESOLVER)
    with (
        aws.log.open("wb") as log,
        subprocess.Popen(
            [PYTHON, "-c", LAUNCHER],
            cwd=home,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C in the terminal reaches the parent alone, which then stops this one
        ) as process,
    ):
        try:
            _wait_until_ready(aws, process)
            yield aws
        finally:
            _stop(process)


def _wait_until_ready(aws: MiniStack, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        log = aws.log.read_text(errors="replace")
        tail = "\n".join(log.splitlines()[-20:])
        if process.poll() is not None:
            error = PortTakenError if "already in use" in log else StartError
            raise error(f"MiniStack ended with {process.returncode} while starting:\n{tail}")
        # Its own log as well, because another MiniStack could be the one that answers on a port taken meanwhile.
        if f"Running on {aws.endpoint_url}" in log and _healthy(aws):
            return
        time.sleep(0.05)
    raise StartError(f"MiniStack was not up within {START_SECONDS} seconds:\n{tail}")


def _healthy(aws: MiniStack) -> bool:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"{aws.endpoint_url}/_ministack/health", timeout=1) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, TimeoutError):
        return False


def _stop(process: "subprocess.Popen[bytes]") -> None:
    with suppress(ProcessLookupError, PermissionError):  # the latter: macOS, when only a zombie is left of the group
        os.killpg(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
