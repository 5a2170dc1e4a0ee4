"""The version stands in one place, src/event_aggregator/__init__.py, and is shown in all of these."""

import importlib
import re
import tomllib
from pathlib import Path

import pytest

from event_aggregator import __version__
from tests.unit.deployed import TEMPLATE, resources

ROOT = Path(__file__).parents[2]
# Each command, and what its script hands to Python: a package, and to some the name of the script.
COMMANDS = {
    path.name: found.groups()
    for path in sorted((ROOT / "scripts").glob("*.sh"))
    if (found := re.search(r"run\.sh\" \w+ (commands\.\w+)( \"\$\(basename)?", path.read_text()))
}


def test_it_is_one_of_semantic_versioning_and_pyproject_toml_holds_no_other() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", __version__)
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dynamic"] == ["version"]


def test_the_change_log_tells_of_it() -> None:
    assert re.findall(r"^## \[(\d.*)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[0] == __version__


def test_the_stack_and_its_functions_have_it() -> None:
    assert TEMPLATE["Description"].startswith(f"s3-event-aggregator {__version__}: ")
    functions = resources("AWS::Lambda::Function").values()
    assert [function["Environment"]["Variables"]["VERSION"] for function in functions] == [__version__] * 2


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_tells_it(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    package, takes_name = COMMANDS[command]
    main = importlib.import_module(f"{package}.__main__").main

    with pytest.raises(SystemExit, match="0"):
        main([command, "--version"] if takes_name else ["--version"])
    assert capsys.readouterr().out == f"s3-event-aggregator {__version__}\n"
