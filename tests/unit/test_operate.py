import re
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from event_aggregator.file_shares import FileShare
from event_aggregator.places import Listing, Places
from event_aggregator.table import Item
from local.ministack import ROOT
from operate import refresh_now, status
from operate.__main__ import look_again, main
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


def stack(**variables: str) -> Stack:
    stack = Stack(boto3.Session(region_name="us-east-1"))
    stack.variables = {"TABLE_NAME": "t", "QUEUE_URL": "q", **variables}
    return stack


def test_a_refresh_without_a_share_says_if_some_are_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Places, "showing", lambda *_: Listing([]))
    of = stack()
    of.notes.append(NOTE)
    with pytest.raises(StackError, match=NOTE):
        refresh_now.hand_over(of, "my-bucket", frozenset({"*"}))


def test_what_only_the_refresh_function_can_list_is_left_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    handed: dict[str, frozenset[str]] = {}

    def put(_: Stack, key: str, folders: frozenset[str], owner: str) -> Item:  # noqa: ARG001
        handed[key] = folders
        return Item()

    share = FileShare("arn:aws:storagegateway:us-east-1:1:share/share-1", "AVAILABLE", "my-bucket", "b/")
    failed = {"eu-west-1": EndpointConnectionError(endpoint_url="https://")}
    monkeypatch.setattr(Places, "showing", lambda *_: Listing([share], failed))
    monkeypatch.setattr(refresh_now, "_put", put)
    of = stack(GATEWAY_REGIONS="us-east-1,eu-west-1", GATEWAY_ROLE_ARNS="arn:aws:iam::222222222222:role/r")
    asked = refresh_now.hand_over(of, "my-bucket", frozenset({"/a"}))
    everywhere = ("eu-west-1", "us-east-1:222222222222", "eu-west-1:222222222222")
    assert handed == {f"my-bucket/{place}/": {"/a"} for place in everywhere}, "what the share shows is known"
    assert all(known.is_place for known in asked)


BEFORE = Item(last_accepted_at=1, refresh_started_at=1)
SHARE = refresh_now.Asked("my-bucket/share-1", BEFORE, tells=True)
AWAY = refresh_now.Asked("my-bucket/eu-west-1/share-1", BEFORE)
PLACE = refresh_now.Asked("my-bucket/us-east-1:222222222222/", BEFORE, is_place=True)
LATELY = 2_000_000_000_000  # after any test


@pytest.mark.parametrize(
    ("asked", "item", "said"),
    [
        (SHARE, Item(window_id="w", reason="it is offline"), "waits, to be asked now: it is offline"),
        (SHARE, Item(refreshing_id="w"), "is being asked"),
        (SHARE, Item(last_accepted_at=2, in_progress_id="n", in_progress_since=LATELY), "refreshes since"),
        (SHARE, Item(last_accepted_at=2), "shows everything now"),
        (SHARE, Item(last_accepted_at=2, in_progress_id="n", in_progress_since=2), "nobody tells"),
        (SHARE, Item(), "is gone"),
        (AWAY, Item(last_accepted_at=2), "nobody tells"),
        (PLACE, Item(refreshing_id="w", refresh_started_at=2), "is being asked"),
        (PLACE, Item(refresh_started_at=2), "is dealt with"),
        (PLACE, Item(), "is gone"),
    ],
)
def test_a_refresh_is_followed_to_what_is_known_of_its_end(asked: refresh_now.Asked, item: Item, said: str) -> None:
    assert said in refresh_now.state(stack(), asked, item)


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
