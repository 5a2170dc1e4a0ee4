"""The simulation can fail: without any one of the code's safeguards it finds a schedule that breaks the promise which
that safeguard keeps."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.simulation.dropped_safeguards import DROPPED_SAFEGUARDS, DroppedSafeguard

_ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def results() -> dict[str, dict[str, Any]]:
    """What was found without each safeguard, in a process of its own: its modules must not be seen here."""
    environment = os.environ | {"PYTHONPATH": f"{_ROOT / 'src'}{os.pathsep}{_ROOT}"}
    command = [sys.executable, "-m", "tests.simulation.dropped_safeguards"]
    run = subprocess.run(command, cwd=_ROOT, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    return {line["name"]: line for line in lines}


@pytest.mark.parametrize("dropped", DROPPED_SAFEGUARDS, ids=lambda dropped: dropped.name)
def test_without_a_safeguard_its_promise_is_broken(
    results: dict[str, dict[str, Any]], dropped: DroppedSafeguard
) -> None:
    result = results[dropped.name]
    assert result["promise"] == dropped.promise, result["what"]


def test_every_promise_has_safeguards() -> None:
    assert {dropped.promise for dropped in DROPPED_SAFEGUARDS} == {
        "Coverage",
        "Aggregation",
        "Freshness",
        "Restraint",
        "Turns",
    }
