import re
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from local.ministack import ROOT
from operate import refresh_now, status
from operate.__main__ import main
from operate.help import document
from operate.stack import Stack, StackError
from operate.words import ago, plural, span


def test_the_page_about_the_commands_is_what_their_help_says() -> None:
    assert (ROOT / "docs" / "commands.md").read_text() == document(), "python -m operate.help > docs/commands.md"


def test_the_page_of_settings_and_the_help_of_the_deploying_script_name_the_same_flags() -> None:
    usage = "".join(re.findall(r"^#.*\n", (ROOT / "scripts" / "create-stack.sh").read_text(), re.MULTILINE)[:60])
    in_help = set(re.findall(r"^#   (--[a-z-]+)", usage, re.MULTILINE))
    on_the_page = set(re.findall(r"^\| `(--[a-z-]+)", (ROOT / "docs" / "settings.md").read_text(), re.MULTILINE))
    assert on_the_page == in_help - {"--help", "--dry-run"}


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
    assert (plural(1, "folder"), plural(2_000, "folder")) == ("1 folder", "2,000 folders")


@pytest.mark.parametrize(
    ("folder", "recursive", "window_holds"),
    [
        (None, False, {"*"}),
        ("a/b/", False, {"/a/b"}),
        ("/a/b", True, {"/a/b", "*/a/b"}),
        ("/", False, {"/"}),
        ("/", True, {"*"}),
    ],
)
def test_a_folder_is_asked_for_as_windows_hold_it(folder: str | None, recursive: bool, window_holds: set[str]) -> None:
    assert refresh_now.folders(folder, recursive=recursive) == window_holds


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


NOTE = "share-3 shows the access point a-point, and it is not known what that is"


def test_a_refresh_ends_with_what_is_not_known_of_other_shares(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def hand_over(stack: Stack, *_: object) -> list[refresh_now.Asked]:
        stack.notes.append(NOTE)
        return []  # none is left to be followed

    monkeypatch.setattr(refresh_now, "hand_over", hand_over)
    assert main(["refresh-now.sh", "--bucket", "my-bucket", "--region", "us-east-1"]) == 2
    assert NOTE in capsys.readouterr().err


def test_a_refresh_without_a_share_says_if_some_are_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Stack, "shares", lambda *_: [])
    stack = Stack(boto3.Session(region_name="us-east-1"), notes=[NOTE])
    with pytest.raises(StackError, match=NOTE):
        refresh_now.hand_over(stack, "my-bucket", frozenset({"*"}))
