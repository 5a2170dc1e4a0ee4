import pytest

from event_aggregator.folders import EVERYTHING, WHOLE_SHARE, Round, folder_of, next_round, shown, shown_by_several


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


def rounds(folders: set[str], prefix: str = "") -> list[Round]:
    """Every call that it takes."""
    result = [next_round(folders, prefix)]
    while result[-1].left:
        result.append(next_round(result[-1].left, prefix))
    return result


@pytest.mark.parametrize(
    ("folders", "prefix", "folder_list"),
    [
        ({"/"}, "", ["/"]),
        ({"/a/b"}, "", ["/", "a", "a/b"]),
        ({"/a/b", "/a/c"}, "", ["/", "a", "a/b", "a/c"]),
        ({"/p/q"}, "p/q/", ["/"]),
        ({"/p/q/a/b"}, "p/q/", ["/", "a", "a/b"]),
        ({"/a/"}, "", ["/", "a"]),  # of the key a//b.txt
        ({"/a//b"}, "", ["/", "a"]),
        ({"//a"}, "", ["/"]),  # of the key /a/b.txt
        ({"/*"}, "", ["/", "*"]),  # a folder may be called so
    ],
)
def test_a_folder_is_listed_again_with_all_its_ancestors(
    folders: set[str], prefix: str, folder_list: list[str]
) -> None:
    assert next_round(folders, prefix) == Round(folder_list, recursive=False)


@pytest.mark.parametrize("name", ["", ".", "..", "n" * 256, "ü" * 128], ids=["empty", ".", "..", "256", "256 in 128"])
def test_a_folder_is_cut_at_a_name_that_no_share_shows(name: str) -> None:
    assert next_round({f"/p/a/{name}/b"}, "p/") == Round(["/", "a"], recursive=False)
    assert next_round({f"/p/a/{name}", f"/p/{name}/a"}, "p/") == Round(["/", "a"], recursive=False)
    assert next_round({f"*/p/a/{name}/b"}, "p/") == Round(["a"], recursive=True)


@pytest.mark.parametrize("name", ["...", ".a", "a.", " ", "n" * 255, "ü" * 127, "\r\n", "\\"])
def test_a_folder_is_not_cut_at_a_name_that_is_only_odd(name: str) -> None:
    assert next_round({f"/{name}/b"}, "") == Round(["/", name, f"{name}/b"], recursive=False)


def test_a_folder_is_cut_where_it_is_longer_than_refreshcache_takes() -> None:
    whole = "/".join(["n" * 204] * 5)  # 5 names and 4 slashes
    assert len(whole) == 1_024
    last = "/".join(["n" * 204] * 4)
    for folder, deepest in ((f"/{whole}", whole), (f"/{whole}n", last), (f"/{whole}/b", whole)):
        assert next_round({folder}, "").folder_list[-1] == deepest
    assert next_round({f"/prefix/{whole}"}, "prefix/").folder_list[-1] == whole


def test_everything_is_the_whole_share() -> None:
    assert next_round({"/a", EVERYTHING}, "p/") == WHOLE_SHARE


def test_up_to_200_folders_are_listed_one_by_one_in_rounds_of_50_the_shallowest_first() -> None:
    folders = {f"/a/{n:03}" for n in range(198)}
    calls = rounds(folders)
    names = [name for call in calls for name in call.folder_list]
    assert [len(call.folder_list) for call in calls] == [50, 50, 50, 50]
    assert names == ["/", "a", *(f"a/{n:03}" for n in range(198))]
    assert not any(call.recursive for call in calls)


def test_a_very_deep_folder_takes_several_rounds_and_no_more() -> None:
    calls = rounds({"/" + "/".join(["d"] * 120)})
    assert [len(call.folder_list) for call in calls] == [50, 50, 21]


def test_more_than_200_folders_are_listed_as_sub_trees_after_what_is_above_them() -> None:
    first, second = rounds({f"/{n:02}/{m}" for n in range(40) for m in range(10)})
    assert first == Round(["/"], recursive=False, left=frozenset(f"*/{n:02}" for n in range(40)))
    assert second == Round([f"{n:02}" for n in range(40)], recursive=True)


def test_a_sub_tree_of_a_share_on_a_prefix_is_named_below_it() -> None:
    first, second = rounds({f"/p/{n}/{m}" for n in range(3) for m in range(100)}, "p/")
    assert first.folder_list == ["/"]
    assert second == Round(["0", "1", "2"], recursive=True)


def test_more_than_50_sub_trees_are_the_whole_share() -> None:
    assert rounds({f"/{n}" for n in range(201)}) == [WHOLE_SHARE]


def test_what_joins_between_two_rounds_is_listed_with_its_ancestors_and_before_the_sub_trees() -> None:
    assert rounds({"=/a/b", "*/t", "/c"}) == [
        Round(["/", "c", "a/b"], recursive=False, left=frozenset({"*/t"})),
        Round(["t"], recursive=True),
    ]


def test_what_is_left_for_a_share_is_still_shown_by_it() -> None:
    assert shown({"=/p/a", "*/p/b", "=/q"}, "p/") == {"=/p/a", "*/p/b"}


@pytest.mark.parametrize("folder", ["*/", "*/a", "*/a/b"])
def test_a_share_that_lies_in_a_folder_of_which_all_is_meant_is_refreshed_whole(folder: str) -> None:
    assert shown({folder, folder[1:]}, "a/b/c/") == {EVERYTHING}
    assert shown({folder}, "") == {folder}


@pytest.mark.parametrize("folder", ["*/a/b", "*/ab", "*/b", "*//a", "/a", "=/a", "/"])
def test_a_share_that_does_not_lie_in_it_is_not(folder: str) -> None:
    assert shown({folder}, "a/c/") == frozenset()


def test_a_folder_is_shown_by_several_if_it_lies_below_more_than_one_prefix() -> None:
    folders = {"/", "/a", "/a/b", "/c", "*"}
    assert shown_by_several(folders, ["", "a/", "a/b/"]) == {"/a", "/a/b", "*"}
    assert shown_by_several(folders, [""]) == frozenset()
