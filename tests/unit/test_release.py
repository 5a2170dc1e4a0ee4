"""What dev/release.py writes into dist/, from two checkouts."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from event_aggregator import __version__
from tests.unit.deployed import PARAMETERS

ROOT = Path(__file__).parents[2]
ZIP, TEMPLATE, MODULE, BILL = (
    *(f"s3-event-aggregator-{__version__}.{kind}" for kind in ("zip", "yaml")),
    *(f"s3-event-aggregator-terraform-{__version__}.zip", f"s3-event-aggregator-{__version__}.cdx.json"),
)


def built(checkout: Path, *, without: str, **environment: str) -> Path:
    """dist/ of a copy of this checkout."""
    shutil.copytree(ROOT, checkout, ignore=shutil.ignore_patterns(".*", "dist", "__pycache__", without))
    variables = {**os.environ, "PYTHONPATH": f"{checkout / 'src'}:{checkout}", **environment}
    subprocess.run([sys.executable, "-m", "dev.release"], cwd=checkout, env=variables, check=True, capture_output=True)
    return checkout / "dist"


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("one") / "checkout", without="docs", TZ="UTC", PYTHONHASHSEED="1")


def test_it_is_the_same_to_the_byte_from_another_checkout_at_another_time_of_day(dist: Path, tmp_path: Path) -> None:
    # This one fetches the functions' packages itself.
    other = built(tmp_path / "another" / "name", without="build", TZ="Asia/Tokyo", PYTHONHASHSEED="2")

    assert {file.name: file.read_bytes() for file in other.iterdir()} == {
        file.name: file.read_bytes() for file in dist.iterdir()
    }


def test_the_sums_are_those_of_all_files(dist: Path) -> None:
    summed = dict(line.split("  ")[::-1] for line in (dist / "SHA256SUMS").read_text().splitlines())

    assert summed.keys() == {"LICENSE", "NOTICE", ZIP, TEMPLATE, MODULE, BILL}
    assert summed == {name: hashlib.sha256((dist / name).read_bytes()).hexdigest() for name in summed}


def test_the_template_wants_to_be_told_where_the_zip_is_and_nothing_else(dist: Path) -> None:
    assert (dist / TEMPLATE).read_bytes() == (ROOT / "template.yaml").read_bytes()
    assert [name for name, said in PARAMETERS.items() if "Default" not in said] == ["CodeBucket", "CodeKey"]


def test_the_archives_hold_the_functions_with_their_packages_licenses_and_the_module(dist: Path) -> None:
    code, module = (zipfile.ZipFile(dist / name).namelist() for name in (ZIP, MODULE))

    assert {"s3_aggregator.py", "s3_sgw_refresh.py", "event_aggregator/turns.py", "jmespath/parser.py"} <= set(code)
    assert len([name for name in code if name.endswith("/LICENSE")]) == 3
    assert module == ["README.md", "main.tf", "outputs.tf", "variables.tf"]


def test_the_bill_of_materials_keeps_to_its_schema_and_names_what_is_in_the_zip(dist: Path) -> None:
    text = (dist / BILL).read_text()
    bill = json.loads(text)

    # Its import takes seconds, and every process of the tests imports every file of them.
    from cyclonedx.schema import SchemaVersion  # noqa: PLC0415
    from cyclonedx.validation.json import JsonStrictValidator  # noqa: PLC0415

    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    assert bill["metadata"]["component"]["version"] == __version__
    assert (
        bill["metadata"]["component"]["hashes"][0]["content"] == hashlib.sha256((dist / ZIP).read_bytes()).hexdigest()
    )
    pinned = [line.split()[0] for line in (ROOT / "requirements.txt").read_text().splitlines() if "==" in line]
    assert [one["purl"] for one in bill["components"]] == [f"pkg:pypi/{pin.replace('==', '@')}" for pin in pinned]
    assert all(one["licenses"] for one in bill["components"])
