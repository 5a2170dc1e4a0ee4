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
            [PYTHON, "-P", Path(__file__).with_name("inside_ministack.py")],
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
