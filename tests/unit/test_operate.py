import argparse
import re
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from commands.deploy.__main__ import parser as deploying
from commands.operate import status
from commands.operate.__main__ import look_again, main
from commands.operate.help import document
from commands.operate.stack import Stack
from commands.operate.words import ago, ordinal, plural, span
from dev.local.ministack import ROOT


def test_the_page_about_the_commands_is_what_their_help_says() -> None:
    assert (ROOT / "docs" / "commands.md").read_text() == document(), (
        "PYTHONPATH=src:. .venv/bin/python -m commands.operate.help > docs/commands.md"
    )


def test_the_page_of_settings_and_the_help_of_the_deploying_script_name_the_same_flags() -> None:
    [commands] = [action for action in deploying()._actions if isinstance(action, argparse._SubParsersAction)]
    in_help = {flag for action in commands.choices["create-stack.sh"]._actions for flag in action.option_strings}
    on_the_page = set(re.findall(r"^\| `(--[a-z-]+)", (ROOT / "docs" / "settings.md").read_text(), re.MULTILINE))
    assert on_the_page == in_help - {"-h", "--help", "--version"}


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (119, "119 s"),
        (120, "2 min"),
        (7_199, "2 h"),
        (7_200, "2 h"),
        (12_000, "3 h 20 min"),
        (180_000, "2 days"),
    ],
)
def test_a_length_of_time_is_told_in_units_that_fit_it(seconds: int, words: str) -> None:
    assert span(seconds) == words


def test_times_are_told_from_now() -> None:
    assert ago(60_000, 30_000) == "30 s ago"
    assert ago(30_000, 60_000) == "in 30 s"


def test_things_are_counted_as_people_do() -> None:
    assert (plural(1, "folder"), plural(2_000, "folder")) == ("1 folder", "2,000 folders")
    assert (plural(1, "refresh"), plural(2, "refresh")) == ("1 refresh", "2 refreshes")
    counted = ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "22nd", "103rd", "111th"]
    assert [ordinal(int(text[:-2])) for text in counted] == counted


def test_who_is_denied_something_is_told_which_policy_allows_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def look(_: Stack) -> None:
        error: Any = {"Error": {"Code": "AccessDenied", "Message": "you may not perform: dynamodb:Scan"}}
        raise ClientError(error, "Scan")

    monkeypatch.setattr(status, "look", look)
    assert main(["status.sh", "--region", "us-east-1"]) == 2
    said = capsys.readouterr().err
    assert "you may not perform: dynamodb:Scan" in said
    assert "iam/operator.json" in said


def stack(**variables: str) -> Stack:
    stack = Stack(boto3.Session(region_name="us-east-1"))
    stack.variables = {"TABLE_NAME": "t", "QUEUE_URL": "q", **variables}
    return stack


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, "QUEUE_URL is not set"),
        ({"Environment": {"Variables": {"TABLE_NAME": "t", "QUEUE_URL": "q", "LOG_LEVEL": "WARN"}}}, "'WARN'"),
    ],
)
def test_a_function_that_cannot_start_is_said_to(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], environment: Any, said: str
) -> None:
    with_it = SimpleNamespace(get_function_configuration=lambda **_: environment)
    monkeypatch.setattr(Stack, "client", lambda *_: with_it)
    assert main(["status.sh", "--region", "us-east-1"]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert "S3StorageGatewayRefresh" in told


def test_a_watch_goes_on_when_it_cannot_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    def look(_: Stack) -> None:
        raise EndpointConnectionError(endpoint_url="https://dynamodb")

    monkeypatch.setattr(status, "look", look)
    assert "https://dynamodb" in str(look_again(stack()))
