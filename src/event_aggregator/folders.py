"""Which folder a change changes, which file shares show it, and which folders one RefreshCache call takes.

A folder is written `/` (the bucket's root) or `/a/b`; its listing and those of its ancestors have to be read again, for
a new folder appears in its parent. `*` stands for everything. Between two rounds of a share's refresh there are also
`=/a/b`, the folder alone, its ancestors having been read, and `*/a/b`, everything in the folder.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

EVERYTHING = "*"
_ALONE = "="
_ALL_IN = "*"

# RefreshCache takes 1 to 50 folders, of 1 to 1,024 characters each (API reference, RefreshCache).
MAX_FOLDERS_A_CALL = 50
_MAX_FOLDER_LENGTH = 1_024

# What no file system has as a name, and so no share shows; nor a name of more bytes.
_NO_NAMES = ("", ".", "..")
_MAX_NAME_BYTES = 255

# More folders than four calls can take are refreshed by sub-trees instead.
_MAX_FOLDERS_ONE_BY_ONE = 200
# What up to 200 single folders leave for later rounds, and so what a window has to keep; more become everything.
MAX_FOLDERS_LEFT = _MAX_FOLDERS_ONE_BY_ONE - MAX_FOLDERS_A_CALL

# A folder below a share's root, as the names on the way to it.
_Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Round:
    """One RefreshCache call (FolderList, Recursive), and the folders that are left for the next."""

    folder_list: list[str]
    recursive: bool
    left: frozenset[str] = frozenset()


WHOLE_SHARE = Round(["/"], recursive=True)


def folder_of(key: str) -> str:
    """The folder whose listing changes with the object `key`; a folder marker `a/b/` belongs to the folder itself."""
    return "/" + key.rpartition("/")[0]


def shown(folders: Iterable[str], prefix: str) -> frozenset[str]:
    """Those of `folders` that a file share on `prefix` (empty, or ending in a slash) shows; everything, if the share
    lies in one of which all is meant."""
    found = set()
    for folder in folders:
        path = f"{_without_mark(folder)[1:]}/"
        if folder == EVERYTHING or path.startswith(prefix):
            found.add(folder)
        elif folder[0] == _ALL_IN and (path == "/" or prefix.startswith(path)):
            found.add(EVERYTHING)
    return frozenset(found)


def shown_by_several(folders: Iterable[str], prefixes: Sequence[str]) -> frozenset[str]:
    """Those of `folders` that more than one of the file shares on `prefixes` shows."""
    return frozenset(folder for folder in folders if sum(bool(shown([folder], prefix)) for prefix in prefixes) > 1)


def next_round(folders: Iterable[str], prefix: str) -> Round:
    """The next call to make for a share on `prefix`, all of whose changed `folders` it shows.

    Shallowest first, and no call mixes single folders with sub-trees, since Recursive is one flag for all of its list:
    up to 200 folders one by one, 50 a call; more of them as at most 50 sub-trees after one call for what is above them;
    and where that is not enough, the whole share.
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
    """The same folders as few single ones and, below these, sub-trees: each as many as one call takes, the sub-trees as
    deep as that allows."""
    for depth in range(max(map(len, listed)), 0, -1):
        above = {path for path in listed if len(path) < depth}
        trees = {path[:depth] for path in listed if len(path) >= depth}
        if len(above) <= MAX_FOLDERS_A_CALL and len(trees) <= MAX_FOLDERS_A_CALL:
            return above, trees
    return set(), {()}


def _without_mark(folder: str) -> str:
    return folder.lstrip(_ALONE + _ALL_IN)


def path_below(folder: str, prefix: str) -> _Path:
    """The names on the way from a share's root to `/a/b`, down to the first that no share shows, and no further than
    RefreshCache takes: a key such as `a//b` or `a/../b` changes in a share what `a` lists, if anything.

    Promise: whatever somebody uploads, no gateway refuses a refresh for it, which would then be one of everything.
    """
    names = folder[1 + len(prefix) :].split("/")
    length = -1
    for depth, name in enumerate(names):
        length += 1 + len(name)
        if not is_name(name) or length > _MAX_FOLDER_LENGTH:
            return tuple(names[:depth])
    return tuple(names)


def is_name(name: str) -> bool:
    """Whether a share can show what is called so."""
    return name not in _NO_NAMES and len(name.encode()) <= _MAX_NAME_BYTES


def _folder(path: _Path, prefix: str) -> str:
    return f"/{prefix}{'/'.join(path)}"


def _name(path: _Path) -> str:
    """As FolderList takes it: no slash at either end, the root as `/`."""
    return "/".join(path) or "/"
