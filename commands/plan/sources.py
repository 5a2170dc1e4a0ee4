"""What people have of a bucket's changes, read in pieces by as many processes as there are processors.

A file may be gzipped. Which kind it is, is seen by its content: S3 server access logs, CloudTrail's log files, an S3
Inventory by its manifest.json (CSV), or a CSV of time and key. Keys stay encoded until their folder is new.
"""

import csv
import gc
import gzip
import io
import json
import os
import re
import sys
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from urllib.parse import unquote, unquote_plus

import boto3
import numpy as np

from commands.plan.trace import Ints, Piece
from event_aggregator.changes import Change, NoChangeError, read_event
from event_aggregator.folders import folder_of

# What is handed to a process at a time: a file, or so much of one that is not gzipped.
_PIECE_BYTES = 16_000_000
_GZIP = b"\x1f\x8b"
_S3 = "s3://"

# The session in which a gateway writes, as the functions' GATEWAY_SESSION_NAME has it.
_GATEWAY = "StorageGateway"

# The operations of server access logs that change a listing (S3 user guide, LogFormat), by requests that succeeded.
_ACCESS_LOG = re.compile(
    r"^\S+ (\S+) \[([^\]]+)\] \S+ (\S+) \S+ (REST\.(?:PUT|COPY|POST|DELETE)\.OBJECT|REST\.POST\.UPLOAD"
    r"|BATCH\.DELETE\.OBJECT|S3\.EXPIRE\.OBJECT|S3\.CREATE\.DELETEMARKER) (\S+) (?:\"[^\"]*\"|-) (?:2\d\d|-) ",
    re.MULTILINE,
)
_LOOKS_LIKE_ACCESS_LOG = re.compile(r"\S+ \S+ \[\d\d/\w{3}/\d{4}:")
# Keys are encoded twice there, but for these.
_ENCODED_ONCE = ("BATCH.DELETE.OBJECT", "S3.EXPIRE.OBJECT")


class SourceError(Exception):
    """What was given cannot be read as changes; the message says what to give instead."""


@dataclass(frozen=True)
class Part:
    """Of a file, local or s3://: what lies between two places, by bytes. `columns` are an inventory's."""

    file: str
    size: int
    start: int = 0
    end: int | None = None
    columns: tuple[str, ...] = ()


@dataclass
class Read:
    """What a part holds; `unread`: lines that tell of a change and cannot be read, and the first of them."""

    piece: Piece
    by_gateways: int = 0  # changes that gateways wrote, which are left out
    unread: int = 0
    example: str = ""


@dataclass
class _Changes:
    """Changes as they are collected, in arrays: ten million take 160 MB."""

    numbers: defaultdict[str, int] = field(default_factory=defaultdict)  # by what stands before a key's last slash
    arrays: list[tuple[Ints, Ints, Ints]] = field(default_factory=list)
    number: int = 0
    by_gateways: int = 0
    unread: int = 0
    example: str = ""

    def __post_init__(self) -> None:
        self.numbers.default_factory = self.numbers.__len__

    def add(self, times: Sequence[int] | Ints, keys: Sequence[str]) -> None:
        numbered = (self.numbers[key.rpartition("/")[0]] for key in keys)
        checksums = (zlib.crc32(key.encode("utf-8", "surrogatepass")) for key in keys)
        folders = np.fromiter(numbered, np.int32, len(keys))
        self.arrays.append((np.asarray(times, np.int64), folders, np.fromiter(checksums, np.uint32, len(keys))))
        self.number += len(keys)

    def fails(self, line: str) -> None:
        self.unread += 1
        self.example = self.example or line[:200]

    def read(self) -> Read:
        none = np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0, np.uint32)
        times, folders, checksums = (np.concatenate(part) for part in zip(none, *self.arrays, strict=True))
        names = [folder_of(f"{before}/") for before in self.numbers]
        return Read(Piece(times, folders, checksums, names), self.by_gateways, self.unread, self.example)


def read_files(places: Iterable[str], bucket: str | None, told: Callable[[float, int], None]) -> Iterator[Read]:
    """The changes in files and folders, local or s3://, of this bucket if it is named. Raises SourceError.

    `told` gets how much of it is done, up to 1, and how many changes there are so far.
    """
    parts = [part for place in places for part in _parts(place)]
    total, done, changes = sum(part.size for part in parts) or 1, 0, 0
    with processes() as pool:
        for part, read in zip(parts, pool.map(partial(read_part, bucket=bucket), parts), strict=True):
            done, changes = done + part.size, changes + len(read.piece.times)
            told(done / total, changes)
            yield read


def processes(**how: Any) -> ProcessPoolExecutor:
    """As many as there are processors; where it is safe, they share what there is in memory already."""
    context = get_context("fork" if sys.platform == "linux" else "spawn")
    return ProcessPoolExecutor(os.cpu_count(), mp_context=context, **how)


def read_listing(bucket: str, session: Any, told: Callable[[float, int], None]) -> Iterator[Read]:
    """When the objects of a bucket were written last: neither overwrites nor deletions are seen."""
    changes = _Changes()
    for page in session.client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket):
        found = page.get("Contents", ())
        changes.add([round(one["LastModified"].timestamp() * 1000) for one in found], [one["Key"] for one in found])
        told(0, changes.number)
    yield changes.read()


# ---- Where they lie


def _parts(place: str) -> Iterator[Part]:
    if place.startswith(_S3):
        yield from _parts_in_s3(place)
        return
    path = Path(place)
    if not path.exists():
        raise SourceError(f"There is no {place}.")
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    for file in files:
        size = file.stat().st_size
        with file.open("rb") as opened:
            begin = opened.read(1)
            is_whole = begin == _GZIP[:1] or begin == b"{"
        if file.name == "manifest.json":
            yield from _inventory(json.loads(file.read_text()), partial(_beside, file))
        elif is_whole or size <= _PIECE_BYTES:
            yield Part(str(file), size)
        else:
            for start in range(0, size, _PIECE_BYTES):
                end = min(size, start + _PIECE_BYTES)
                yield Part(str(file), end - start, start, end)


def _beside(manifest: Path, key: str, _: str) -> Part:
    """A file of an inventory that was copied with its manifest: S3 has it in `data` beside the manifest's folder."""
    name = key.rpartition("/")[2]
    for file in (manifest.parent / name, manifest.parent / "data" / name, manifest.parent.parent / "data" / name):
        if file.exists():
            return Part(str(file), file.stat().st_size)
    raise SourceError(f"{manifest} names {key}: put it beside the manifest, or give the inventory's s3:// place.")


def _parts_in_s3(place: str) -> Iterator[Part]:
    bucket, _, prefix = place.removeprefix(_S3).partition("/")
    s3 = boto3.client("s3")
    if prefix.endswith("manifest.json"):
        manifest = json.loads(s3.get_object(Bucket=bucket, Key=prefix)["Body"].read())
        yield from _inventory(manifest, lambda key, where: Part(f"{_S3}{where}/{key}", 1))
        return
    found = 0
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for item in page.get("Contents", ()):
            if not item["Key"].endswith(("/", "manifest.json", "manifest.checksum")) and "-Digest/" not in item["Key"]:
                found += 1
                yield Part(f"{_S3}{bucket}/{item['Key']}", item["Size"])
    if not found:
        raise SourceError(f"There is nothing at {place}.")


def _inventory(manifest: dict[str, Any], locate: Callable[[str, str], Part]) -> Iterator[Part]:
    """The files that a manifest names (S3 user guide, storage-inventory-location)."""
    if manifest.get("fileFormat") != "CSV":
        raise SourceError(f"The inventory is {manifest.get('fileFormat')}: have S3 write it as CSV.")
    columns = tuple(name.strip() for name in manifest["fileSchema"].split(","))
    if "LastModifiedDate" not in columns:
        raise SourceError("The inventory has no LastModifiedDate: add the field to its configuration.")
    where = str(manifest["destinationBucket"]).rpartition(":")[2]
    for file in manifest["files"]:
        part = locate(file["key"], where)
        yield Part(part.file, file.get("size") or part.size, columns=columns)


# ---- What they hold


def read_part(part: Part, bucket: str | None = None) -> Read:
    """The changes that a part of a file tells of."""
    changes, blocks = _Changes(), _blocks(part)
    gc.disable()  # it would look again and again at millions of strings
    for number, block in enumerate(blocks):
        if part.columns:
            _read_inventory(block, part.columns, bucket, changes)
        elif number == 0 and block.lstrip()[:1] == "{":
            _read_cloudtrail("".join([block, *blocks]), bucket, changes)
        elif _LOOKS_LIKE_ACCESS_LOG.match(block):
            _read_access_log(block, bucket, changes)
        else:
            _read_csv(block, changes, has_head=part.start == number == 0)
    gc.enable()
    return changes.read()


def _blocks(part: Part) -> Iterator[str]:
    """The lines that begin in this part, many at a time."""
    with _opened(part) as file:
        left, rest = part.end - file.tell() if part.end else sys.maxsize, b""
        while left > 0 and (content := file.read(min(left, _PIECE_BYTES))):
            left -= len(content)
            content = rest + content
            if left <= 0 and content[-1:] != b"\n":
                content += file.readline()
            whole = len(content) if left <= 0 else content.rfind(b"\n") + 1
            rest = content[whole:]
            if whole:
                yield content[:whole].decode(errors="replace")
        if rest:
            yield rest.decode(errors="replace")


@contextmanager
def _opened(part: Part) -> Iterator[Any]:
    """The file, as it is without gzip, where the part's first line begins."""
    if part.file.startswith(_S3):
        bucket, _, key = part.file.removeprefix(_S3).partition("/")
        content = io.BytesIO(boto3.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read())
        yield gzip.GzipFile(fileobj=content) if content.getbuffer()[:2] == _GZIP else content
        return
    with Path(part.file).open("rb") as file:
        if file.read(2) == _GZIP:
            file.seek(0)
            yield gzip.GzipFile(fileobj=file)
            return
        file.seek(max(0, part.start - 1))
        if part.start:
            file.readline()
        yield file


def _read_csv(text: str, changes: _Changes, *, has_head: bool) -> None:
    """`time,key`: the time as ISO 8601 (UTC, if it names no zone), or in seconds or milliseconds since 1970."""
    if has_head and not text[:1].isdigit():
        text = text.partition("\n")[2]
    if (quick := _quick_csv(text)) is not None:
        changes.add(*quick)
        return
    times, keys = [], []
    for row in csv.reader(io.StringIO(text)):
        try:
            times.append(_ms_of(row[0]))
            keys.append(row[1])
        except (ValueError, IndexError):
            changes.fails(",".join(row))
            del times[len(keys) :]
    changes.add(times, keys)


def _quick_csv(text: str) -> tuple[Ints, list[str]] | None:
    """The same of a text without quotes, in which all times are like 2026-01-31T12:00:00.000Z; None: it is another."""
    cells = text.replace("\r", "").replace("\n", ",").removesuffix(",").split(",")
    times = cells[::2]
    if '"' in text or len(cells) % 2 or not all(time[-1:] == "Z" for time in times):
        return None
    try:
        return np.array([time[:-1] for time in times], "datetime64[ms]").astype(np.int64), cells[1::2]
    except ValueError:
        return None


def _read_inventory(text: str, columns: tuple[str, ...], bucket: str | None, changes: _Changes) -> None:
    """Of a versioned bucket also older versions and delete markers, each of which is a change."""
    of, key_at, time_at = columns.index("Bucket"), columns.index("Key"), columns.index("LastModifiedDate")
    times, keys = [], []
    for row in csv.reader(io.StringIO(text)):
        try:
            key = row[key_at]
            if not bucket or row[of] == bucket:
                times.append(_ms_of(row[time_at]))
                keys.append(unquote_plus(key) if "%" in key or "+" in key else key)
        except (ValueError, IndexError):
            changes.fails(",".join(row))
    changes.add(times, keys)


def _read_access_log(text: str, bucket: str | None, changes: _Changes) -> None:
    times, keys = [], []
    for of, time, who, operation, key in _ACCESS_LOG.findall(text):
        if bucket and of != bucket:
            continue
        if who.endswith(f"/{_GATEWAY}"):
            changes.by_gateways += 1
            continue
        times.append(_ms_of_log(time))
        if "%" not in key:
            keys.append(key)
        else:
            keys.append(unquote(key) if operation in _ENCODED_ONCE else unquote(unquote(key)))
    changes.add(times, keys)


def _read_cloudtrail(text: str, bucket: str | None, changes: _Changes) -> None:
    """The functions' own reading of such a record, which knows what changes a listing."""
    try:
        records = json.loads(text)["Records"]
    except (ValueError, KeyError, TypeError):
        changes.fails(text)
        return
    found: list[Change] = []
    for record in records:
        if record.get("eventSource") == "s3.amazonaws.com" and not record.get("readOnly"):
            report = {"source": "aws.s3", "detail-type": "AWS API Call via CloudTrail", "detail": record}
            told, problems = read_event(report)
            found += told
            if any(not isinstance(problem, NoChangeError) for problem in problems):
                changes.fails(str(problems[0]))
    found = [change for change in found if not bucket or change.bucket == bucket]
    ours = [change for change in found if not change.role_of(_GATEWAY)]
    changes.by_gateways += len(found) - len(ours)
    changes.add([change.time for change in ours], [change.key for change in ours])


def _ms_of(text: str) -> int:
    """Epoch milliseconds. Raises ValueError."""
    if text[:10].isdigit():
        number = float(text)
        return round(number if number >= 1e11 else number * 1000)
    time = datetime.fromisoformat(text)
    return round((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000)


@lru_cache(maxsize=65_536)
def _ms_of_log(text: str) -> int:
    """`06/Feb/2019:00:00:38 +0000`; most requests share their second with others."""
    return round(datetime.strptime(text, "%d/%b/%Y:%H:%M:%S %z").timestamp() * 1000)
