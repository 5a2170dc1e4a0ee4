"""What a bucket has where there is no such key or folder: what differs from it only as people do not see.

Folders end in a slash here, and the root is empty.
"""

import unicodedata
from collections.abc import Callable, Iterator
from typing import Any

# What is read of a bucket to find a key that is like another: so many pages of up to 1,000 names.
_MAX_PAGES = 20


def is_folder(s3: Any, bucket: str, folder: str) -> bool:
    """Whether there is an object in the folder, or below it; its own marker is one."""
    return bool(s3.list_objects_v2(Bucket=bucket, Prefix=folder, MaxKeys=1).get("Contents"))


def is_key(s3: Any, bucket: str, key: str) -> bool:
    first = s3.list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1).get("Contents", [])  # the shortest comes first
    return [found["Key"] for found in first] == [key]


def above(folder: str) -> str:
    return folder[: folder.rstrip("/").rfind("/") + 1]


class Search:
    """For keys and folders that differ from a key only as people do not see: `_WAYS`."""

    def __init__(self, s3: Any, bucket: str) -> None:
        self._s3, self._bucket, self._pages = s3, bucket, iter(range(_MAX_PAGES))
        self.read_all = True  # False: there were too many names to compare

    def alike(self, key: str) -> list[str]:
        """What is like a key that is not there: first what lies in its own folder, then in those above it."""
        names = key.split("/")
        for depth in range(len(names) - 1, -1, -1):
            start, below = "".join(f"{name}/" for name in names[:depth]), names[depth + 1 :]
            exact = f"{start}{names[depth]}/"  # what lies in it was read before
            others = [other for other in self._like(start, names[depth]) if f"{other.removesuffix('/')}/" != exact]
            if found := [one for other in others for one in self._below(other, below)]:
                return found
        return []

    def _below(self, start: str, names: list[str]) -> list[str]:
        """What is like `names` on the way down from `start`."""
        if not names:
            return [start]
        if not start.endswith("/"):
            return []  # an object has nothing in it
        return [one for other in self._like(start, names[0]) for one in self._below(other, names[1:])]

    def _like(self, folder: str, name: str) -> list[str]:
        """The objects and folders in a folder that are called like this."""
        wanted = _plain(name)
        return [one for one in self._listed(folder) if _plain(one[len(folder) :].removesuffix("/")) == wanted]

    def _listed(self, folder: str) -> Iterator[str]:
        more: dict[str, str] = {}
        for _ in self._pages:
            page = self._s3.list_objects_v2(Bucket=self._bucket, Prefix=folder, Delimiter="/", **more)
            yield from (one["Key"] for one in page.get("Contents", []))
            yield from (one["Prefix"] for one in page.get("CommonPrefixes", []))
            if not page.get("IsTruncated"):
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}
        self.read_all = False


# What people do not see, or do not mind, by what takes it away.
_WAYS: dict[str, Callable[[str], str]] = {
    "Unicode form (NFC, NFD)": lambda key: unicodedata.normalize("NFD", key),
    "upper and lower case": str.casefold,
    "spaces or dots at a name's end": lambda key: "/".join(name.rstrip(" .") for name in key.split("/")),
}


def _plain(key: str, but: str = "") -> str:
    """The same for all keys that are alike; or only for those that differ in nothing `but` names."""
    for way, take_away in _WAYS.items():
        key = key if way == but else take_away(key)
    return key


def difference(key: str, other: str) -> str:
    """In what two keys that are alike differ."""
    key, other = key.removesuffix("/"), other.removesuffix("/")
    return " and ".join(way for way in _WAYS if _plain(key, way) != _plain(other, way))


def told(key: str, other: str) -> str:
    """The other key, so that it can be told apart, and in what it differs."""
    what = difference(key, other)
    spelled = f" ({other!a})" if "Unicode" in what else ""
    return f"'{other}'{spelled}, which differs only in {what}."
