import re

import pytest

from local.ministack import ROOT
from operate import refresh_now
from operate.help import document
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
