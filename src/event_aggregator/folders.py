"""Which folder a change changes, which file shares show that folder, and which folders one RefreshCache call takes.

A folder is written `/` (the bucket's root) or `/a/b`. The folders above it are refreshed too, because a new folder
appears in its parent. `*` means everything, and `*/a/b` everything in a folder. `=/a/b` means the folder alone: an
earlier round has refreshed the folders above it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

EVERYTHING = "*"
_ALONE = "="
_ALL_IN = "*"

# RefreshCache takes 1 to 50 folders of 1 to 1,024 characters each (API reference, RefreshCache).
MAX_FOLDERS_A_CALL = 50
_MAX_FOLDER_LENGTH = 1_024

# No share shows these names, nor a name of more bytes: file systems do not allow them.
_NO_NAMES = ("", ".", "..")
_MAX_NAME_BYTES = 255

# More folders than these (four calls) are refreshed as subtrees instead.
_MAX_FOLDERS_ONE_BY_ONE = 200
# The first of the four calls leaves at most these. A window keeps no more folders either: more become `*`.
MAX_FOLDERS_LEFT = _MAX_FOLDERS_ONE_BY_ONE - MAX_FOLDERS_A_CALL

# The names on the way from a share's root to a folder.
_Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Round:
    """One RefreshCache call (FolderList, Recursive), and the folders that are left for the next ones."""

    folder_list: list[str]
    recursive: bool
    left: frozenset[str] = frozenset()


WHOLE_SHARE = Round(["/"], recursive=True)


def folder_of(key: str) -> str:
    """The folder in whose listing the object `key` is. A folder marker, such as `a/b/`, is in the folder itself."""
    return "/" + key.rpartition("/")[0]


def shown(folders: Iterable[str], prefix: str) -> frozenset[str]:
    """Those of `folders` that a file share on `prefix` (empty, or ending with a slash) shows. `*/a/b` becomes `*` for a
    share inside of `/a/b`."""
    found = set()
    for folder in folders:
        path = f"{_without_mark(folder)[1:]}/"
        if folder == EVERYTHING or path.startswith(prefix):
            found.add(folder)
        elif folder[0] == _ALL_IN and (path == "/" or prefix.startswith(path)):
            found.add(EVERYTHING)
    return frozenset(found)


def shown_by_several(folders: Iterable[str], prefixes: Sequence[str]) -> frozenset[str]:
    """Those of `folders` that at least two of the file shares on `prefixes` show."""
    return frozenset(folder for folder in folders if sum(bool(shown([folder], prefix)) for prefix in prefixes) > 1)


def next_round(folders: Iterable[str], prefix: str) -> Round:
    """The next call for a share on `prefix` that shows all of `folders`.

    Up to 200 folders are refreshed one by one, 50 per call, the shallowest first. More are refreshed as at most 50
    subtrees, after one call for the folders above them. If that is not enough, the whole share is refreshed. No call
    has both single folders and subtrees, because Recursive applies to its whole FolderList.
    """
    listed: set[_Path] = set()
    trees: set[_Path] = set()
    for folder in folders:
        if folder == EVERYTHING:
            return WHOLE_SHARE
        path = path_below(_without_mark(folder), prefix)
        if folder[0] == _ALL_IN:
            trees.add(path)
        elif folder[0] == _ALONE:
            listed.add(path)
        else:
            listed.update(path[:depth] for depth in range(len(path) + 1))
    if len(listed) > _MAX_FOLDERS_ONE_BY_ONE:
        listed, more_trees = _cut(listed)
        trees |= more_trees
    if () in trees or len(trees) > MAX_FOLDERS_A_CALL:
        return WHOLE_SHARE
    if not listed:
        return Round([_name(path) for path in sorted(trees)], recursive=True)
    in_order = sorted(listed, key=lambda path: (len(path), path))
    later = {_ALONE + _folder(path, prefix) for path in in_order[MAX_FOLDERS_A_CALL:]}
    later |= {_ALL_IN + _folder(path, prefix) for path in trees}
    return Round([_name(path) for path in in_order[:MAX_FOLDERS_A_CALL]], recursive=False, left=frozenset(later))


def _cut(listed: set[_Path]) -> tuple[set[_Path], set[_Path]]:
    """Single folders and the subtrees below them, which together cover `listed`. Each of the two fits into one call.
    The subtrees begin as deep as possible."""
    for depth in range(max(map(len, listed)), 0, -1):
        above = {path for path in listed if len(path) < depth}
        trees = {path[:depth] for path in listed if len(path) >= depth}
        if len(above) <= MAX_FOLDERS_A_CALL and len(trees) <= MAX_FOLDERS_A_CALL:
            return above, trees
    return set(), {()}


def _without_mark(folder: str) -> str:
    return folder.lstrip(_ALONE + _ALL_IN)


def path_below(folder: str, prefix: str) -> _Path:
    """The names on the way from a share's root to `folder`. They end before a name that no share shows (`a//b` and
    `a/../b` end with `a`), and before the path is longer than RefreshCache takes.

    Promise: no uploaded key makes a gateway refuse a refresh. After a refusal everything would be refreshed.
    """
    names = folder[1 + len(prefix) :].split("/")
    length = -1
    for depth, name in enumerate(names):
        length += 1 + len(name)
        if not is_name(name) or length > _MAX_FOLDER_LENGTH:
            return tuple(names[:depth])
    return tuple(names)


def is_name(name: str) -> bool:
    """Whether a share can show a file or folder with this name."""
    return name not in _NO_NAMES and len(name.encode()) <= _MAX_NAME_BYTES


def _folder(path: _Path, prefix: str) -> str:
    return f"/{prefix}{'/'.join(path)}"


def _name(path: _Path) -> str:
    """The folder as in FolderList: without a slash at either end; the root is `/`."""
    return "/".join(path) or "/"
