import pytest

from event_aggregator.folders import EVERYTHING, folder_of, shown


@pytest.mark.parametrize(
    ("key", "folder"),
    [("a.txt", "/"), ("a/b.txt", "/a"), ("a/b/c.txt", "/a/b"), ("a/b/", "/a/b"), ("a//b.txt", "/a/"), ("/b.txt", "/")],
)
def test_an_object_changes_the_folder_it_lies_in(key: str, folder: str) -> None:
    assert folder_of(key) == folder


@pytest.mark.parametrize(
    ("folder", "prefix", "is_shown"),
    [
        ("/", "", True),
        ("/a", "", True),
        ("/a/b", "a/b/", True),
        ("/a/b/c", "a/b/", True),
        ("/a", "a/b/", False),
        ("/", "a/b/", False),
        ("/a/bc", "a/b/", False),
        ("/a/", "a//", True),
        (EVERYTHING, "a/b/", True),
    ],
)
def test_a_share_shows_the_folders_below_its_prefix_and_no_neighbour(folder: str, prefix: str, is_shown: bool) -> None:
    assert shown({folder}, prefix) == ({folder} if is_shown else set())
