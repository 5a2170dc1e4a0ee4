"""What tests of every level share: credentials that are none, and a region."""

import os
from itertools import chain, zip_longest
from pathlib import Path

import moto  # noqa: F401 - before event_aggregator: moto answers only for sessions that are made after its import
import pytest

# Before anything makes a client: no profile, no real credentials, no instance metadata.
os.environ |= {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "POWERTOOLS_METRICS_NAMESPACE": "S3EventAggregator",
    "POWERTOOLS_SERVICE_NAME": "test",
}
for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL"):
    os.environ.pop(name, None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The end-to-end tests mostly wait, the others compute: file by file in turn, no core idles.

    The longest come first: those of the simulation, then the largest.
    """
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    waiting, computing = (
        [files[path] for path in sorted(files, key=_from_the_longest) if ("e2e" in path.parts) == waits]
        for waits in (True, False)
    )
    items[:] = chain.from_iterable(chain.from_iterable(zip_longest(waiting, computing, fillvalue=[])))


def _from_the_longest(path: Path) -> tuple[bool, int]:
    return "unit" in path.parts, -path.stat().st_size
