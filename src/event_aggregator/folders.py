"""Which folder a change changes, and which file shares show it.

A folder is written `/` (the bucket's root) or `/a/b`; `*` stands for everything.
"""

from collections.abc import Iterable

EVERYTHING = "*"


def folder_of(key: str) -> str:
    """The folder whose listing changes with the object `key`; a folder marker `a/b/` belongs to the folder itself."""
    return "/" + key.rpartition("/")[0]


def shown(folders: Iterable[str], prefix: str) -> frozenset[str]:
    """Those of `folders` that a file share on `prefix` (empty, or ending in a slash) shows."""
    return frozenset(
        folder for folder in folders if folder == EVERYTHING or f"{folder.removeprefix('/')}/".startswith(prefix)
    )
