"""How long the aggregator takes to be ready for its first event, against `import boto3` and two clients.

Both in fresh interpreters, one after the other in turn, as CPU time without the interpreter's own start; of the code as
it goes into the functions' zip, of which Python compiles what it imports. In the Lambda runtime's Python, if there is
one on this machine.
"""

import io
import shutil
import statistics
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from commands.deploy.package import pack

_ROOT = Path(__file__).parents[2]
_BUILD = _ROOT / "build" / "cold-start"
RUNTIME = (3, 13)
_RUNTIME = f"python{RUNTIME[0]}.{RUNTIME[1]}"
_PIP_INSTALL = ["-m", "pip", "install", "-qq", "--disable-pip-version-check"]

_OURS = "import s3_aggregator"
_BOTO3 = "import boto3; boto3.client('dynamodb'); boto3.client('sqs')"

# Its own code runs at the top of a program: an import below a deep stack of calls takes longer.
_PROGRAM = """import sys, time
sys.path.insert(0, sys.argv[1])
begin = time.process_time()
{code}
print(time.process_time() - begin)
"""


@dataclass(frozen=True)
class ColdStart:
    """Medians, in CPU milliseconds."""

    python: str  # its version
    is_runtime: bool  # the Lambda runtime's
    rounds: int
    boto3_ms: float
    ours_ms: float
    ratio: float  # of those that ran one after the other, so that a busy machine slows both


def measure(rounds: int) -> ColdStart:
    runtime = _runtime_python()
    python = runtime or Path(sys.executable)
    took: dict[str, list[float]] = {_BOTO3: [], _OURS: []}
    with tempfile.TemporaryDirectory() as folder:
        zipfile.ZipFile(io.BytesIO(pack()[1])).extractall(folder)
        for _ in range(rounds):
            for code, times in took.items():
                times.append(_cpu_ms(python, code, folder))
    release = subprocess.check_output([python, "-c", "import platform; print(platform.python_version())"], text=True)
    return ColdStart(
        python=release.strip(),
        is_runtime=runtime is not None,
        rounds=rounds,
        boto3_ms=statistics.median(took[_BOTO3]),
        ours_ms=statistics.median(took[_OURS]),
        ratio=statistics.median(ours / boto3 for ours, boto3 in zip(took[_OURS], took[_BOTO3], strict=True)),
    )


def _cpu_ms(python: Path, code: str, folder: str) -> float:
    environment = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "TABLE_NAME": "windows",
        "QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/123456789012/actions",
        "POWERTOOLS_SERVICE_NAME": "S3EventAggregator",
        "POWERTOOLS_METRICS_NAMESPACE": "S3EventAggregator",
    }
    program = _PROGRAM.format(code=code)
    # With -B, for what is compiled is not kept: /var/task is read-only.
    printed = subprocess.check_output([python, "-IB", "-c", program, folder], env=environment)
    return 1000 * float(printed.splitlines()[-1])  # after what the function logs


def _runtime_python() -> Path | None:
    """A Python of the Lambda runtime's version, with the boto3 that this one has; None if there cannot be one."""
    home = _BUILD / f"{_RUNTIME}-boto3-{version('boto3')}"
    for found in _runtime_pythons():
        try:
            if not home.exists():
                partial = home.with_suffix(".partial")
                subprocess.run([found, "-m", "venv", "--clear", partial], check=True, capture_output=True)
                python = partial / "bin" / "python"
                subprocess.run([python, *_PIP_INSTALL, f"boto3=={version('boto3')}"], check=True)
                partial.rename(home)
        except (OSError, subprocess.CalledProcessError):
            continue
        return home / "bin" / "python"
    return None


def _runtime_pythons() -> Iterator[str | Path]:
    """Where one may be: on the PATH, or where pyenv keeps those that are not."""
    if found := shutil.which(_RUNTIME):
        yield found
    yield from Path.home().glob(f".pyenv/versions/{RUNTIME[0]}.{RUNTIME[1]}.*/bin/{_RUNTIME}")
