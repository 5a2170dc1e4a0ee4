"""The lock files, as far as they can be read without a package index."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
GROUPS: dict[str, list[Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
PINNED = re.compile(r"([a-z0-9-]+)==(\S+)(?: ; [^\\]+)? \\((?:\n    --hash=sha256:[0-9a-f]{64}(?: \\)?)+)\n")


def lock(group: str) -> str:
    return (ROOT / ("requirements.txt" if group == "functions" else f"requirements/{group}.txt")).read_text()


def versions(group: str) -> dict[str, str]:
    return {name: version for name, version, _ in PINNED.findall(lock(group))}


def needed(group: str) -> list[Requirement]:
    """What pyproject.toml says that the group needs."""
    found = []
    for each in GROUPS[group]:
        found += [Requirement(each)] if isinstance(each, str) else needed(each["include-group"])
    return found


@pytest.mark.parametrize("group", GROUPS)
def test_each_group_is_locked_with_hashes_and_names_no_package_index(group: str) -> None:
    rest = PINNED.sub("", lock(group))

    assert [line for line in rest.splitlines() if not line.startswith("#")] == []
    assert "://" not in lock(group)


@pytest.mark.parametrize("group", GROUPS)
def test_the_lock_has_what_the_group_needs_in_a_version_that_is_allowed(group: str) -> None:
    locked = versions(group)

    assert {canonicalize_name(one.name) for one in needed(group)} <= locked.keys()
    assert [str(one) for one in needed(group) if locked[canonicalize_name(one.name)] not in one.specifier] == []


@pytest.mark.parametrize("group", ["functions", "operate", "plan"])
def test_what_is_run_is_what_is_tested(group: str) -> None:
    assert versions(group).items() <= versions("dev").items()
