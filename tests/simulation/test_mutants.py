"""The simulation can fail: without any one of the code's safeguards it finds a schedule that breaks the promise which
that safeguard keeps."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.simulation.mutants import MUTANTS, Mutant

_ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def results() -> dict[str, dict[str, Any]]:
    """What became of each mutant, all tried in one process of their own: their modules must not be seen here."""
    environment = os.environ | {"PYTHONPATH": f"{_ROOT / 'src'}{os.pathsep}{_ROOT}"}
    command = [sys.executable, "-m", "tests.simulation.mutants"]
    run = subprocess.run(command, cwd=_ROOT, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    return {line["name"]: line for line in lines}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_breaks_its_promise(results: dict[str, dict[str, Any]], mutant: Mutant) -> None:
    result = results[mutant.name]
    assert result["promise"] == mutant.promise, result["what"]


def test_every_promise_has_mutants() -> None:
    assert {mutant.promise for mutant in MUTANTS} == {"Coverage", "Aggregation", "Freshness", "Restraint", "Turns"}
