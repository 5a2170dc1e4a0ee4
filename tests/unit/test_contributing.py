"""What contributors are told, against what is there."""

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]


def test_before_a_commit_the_same_is_checked_as_by_the_tests() -> None:
    [repository] = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    steps = re.findall(r'^  step "(.*?)" (\S+)', (ROOT / "scripts" / "test.sh").read_text(), re.MULTILINE)

    hooks = [(hook["name"], Path(hook["entry"].split()[0]).name) for hook in repository["hooks"]]
    assert hooks == [step for step in steps if step[1] != "pytest"]


def test_the_files_that_the_pages_name_are_there() -> None:
    for page in ("CONTRIBUTING.md", "SECURITY.md"):
        named = re.findall(r"\b(?:scripts|dev|tests|docs|src|iam|requirements)/[\w./-]*\w", (ROOT / page).read_text())
        assert [name for name in named if not (ROOT / name).exists()] == []
        assert named


def test_every_python_from_the_oldest_on_is_tested() -> None:
    jobs = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text())["jobs"]
    oldest = jobs["all"]["steps"][1]["with"]["python-version"]

    assert f'requires-python = ">={oldest}"' in (ROOT / "pyproject.toml").read_text()
    assert [oldest, *jobs["unit"]["strategy"]["matrix"]["python-version"]] == ["3.11", "3.12", "3.13", "3.14"]
