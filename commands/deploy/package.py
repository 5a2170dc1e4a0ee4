"""The zip of the functions' code, and the bucket from which Lambda takes it.

The zip is the same to the byte from any checkout, with any Python and on any system, so that its name, its hash, tells
whether the code differs. So nothing in it is compressed or compiled, for zlib and the compiler differ: a cold start
compiles the modules that it imports, 0.12 s of a whole CPU.
"""

import hashlib
import io
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from commands.deploy.template import ROOT, RefusedError

BUILD = ROOT / "build"
_FOLDER = "s3-event-aggregator"
# The installer's notes, and scripts, with the path of an interpreter in them. The packages' licenses are packed.
_NOT_PACKED = re.compile(r"(.*/)?(__pycache__|bin|\.[^/]*|INSTALLER|RECORD|REQUESTED)(/.*)?|.*\.pyc")

_OURS = re.compile(r"(s3-event-aggregator|template)-[0-9a-f]{16}\.(zip|yaml)")


def pack() -> Path:
    """The zip of src/ and of what requirements.txt names, in build/, named by its hash. RefusedError: pip failed."""
    content = zip_of([ROOT / "src", packages()])
    path = BUILD / f"{_FOLDER}-{digest(content)}.zip"
    if not path.exists():
        _put_in_place(path, content)
    return path


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def zip_of(folders: list[Path]) -> bytes:
    """The folders' files, stored in the order of their names, each of 1980 and readable by all."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, path in sorted(_files(folders)):
            info = zipfile.ZipInfo(name)
            info.create_system = 3  # Unix, whose modes these are
            info.external_attr = 0o100644 << 16
            archive.writestr(info, path.read_bytes())
    return buffer.getvalue()


def _files(folders: list[Path]) -> Iterator[tuple[str, Path]]:
    for folder in folders:
        for path in folder.rglob("*"):
            name = path.relative_to(folder).as_posix()
            if path.is_file() and not _NOT_PACKED.fullmatch(name):
                yield name, path


def packages() -> Path:
    """The folder of the packages that the functions carry, fetched once for each requirements.txt."""
    requirements = ROOT / "requirements.txt"
    folder = BUILD / f"packages-{digest(requirements.read_bytes())}"
    if folder.exists():
        return folder
    BUILD.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BUILD) as made:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
        what = ["--require-hashes", "--only-binary", ":all:", "--requirement", str(requirements)]
        runtime = ["--python-version", "3.13", "--platform", "manylinux2014_aarch64", "--target", f"{made}/packages"]
        if subprocess.run([*pip, *what, *runtime], check=False).returncode:
            raise RefusedError("pip could not fetch the functions' packages (see above).")
        try:
            Path(made, "packages").replace(folder)
        except OSError:
            if not folder.exists():  # or another run has fetched them meanwhile
                raise
    return folder


def _put_in_place(path: Path, content: bytes) -> None:
    """Writes the file whole or not at all."""
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(content)
    Path(file.name).replace(path)


@dataclass(frozen=True)
class ArtifactBucket:
    """The bucket in which a stack's code and template lie; `is_ours` is false of one that the user named."""

    s3: Any
    name: str
    account: str
    prefix: str  # the stack's name prefix
    is_ours: bool

    @classmethod
    def of(cls, s3: Any, account: str, prefix: str, named: str) -> "ArtifactBucket":
        """`named`: the one in force, or given; else it is the stack's own."""
        region = s3.meta.region_name
        end = f"-{digest(prefix.encode())[:8]}" if prefix else ""
        own = f"{_FOLDER}-{account}-{region}{end}"
        return cls(s3, named or own, account, prefix, named in ("", own))

    def make(self) -> bool:
        """Makes the stack's own bucket, private and encrypted as S3 makes every bucket; whether it was not there."""
        if self._is_there():
            return False
        if not self.is_ours:
            raise RefusedError(f"There is no bucket {self.name}. Create it, or leave --artifact-bucket out.")
        region = self.s3.meta.region_name
        where = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        self.s3.create_bucket(Bucket=self.name, **where)
        closed = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
        self.s3.put_public_access_block(
            Bucket=self.name,
            PublicAccessBlockConfiguration=dict.fromkeys(closed, True),
            ExpectedBucketOwner=self.account,
        )
        return True

    def _is_there(self) -> bool:
        try:
            found = self.s3.head_bucket(Bucket=self.name, ExpectedBucketOwner=self.account)
        except ClientError as error:
            match error.response["Error"]["Code"]:
                case "404" | "NoSuchBucket":
                    return False
                case "403" | "AccessDenied" | "301":
                    raise RefusedError(
                        f"The bucket {self.name} may not be used: it is another account's or region's, or"
                        " s3:ListBucket is missing. Give another one by --artifact-bucket."
                    ) from error
            raise
        if (where := found.get("BucketRegion", self.s3.meta.region_name)) != self.s3.meta.region_name:
            raise RefusedError(f"The bucket {self.name} is in {where}: Lambda takes code from the stack's region only.")
        return True

    def put(self, name: str, content: bytes) -> str:
        """Puts an object, in whose name its hash is, into the stack's folder; its key."""
        key = f"{self._folder}{name}"
        self.s3.put_object(Bucket=self.name, Key=key, Body=content, ExpectedBucketOwner=self.account)
        return key

    def url_of(self, key: str) -> str:
        return f"{self.s3.meta.endpoint_url}/{self.name}/{key}"

    @property
    def _folder(self) -> str:
        return f"{_FOLDER}/{self.prefix}/" if self.prefix else f"{_FOLDER}/"

    def keep_only(self, keys: set[str]) -> None:
        """Deletes what the stack has put there before."""
        self._delete(key for key in self._keys(self._folder) if key not in keys and self._is_of_stack(key))

    def remove(self) -> bool:
        """Deletes what the stack has put there, and its own bucket with all in it; whether there was something."""
        if not self._is_there():
            return False
        keys = [
            key for key in self._keys("" if self.is_ours else self._folder) if self.is_ours or self._is_of_stack(key)
        ]
        self._delete(keys)
        if self.is_ours:
            self.s3.delete_bucket(Bucket=self.name, ExpectedBucketOwner=self.account)
        return self.is_ours or bool(keys)

    def _is_of_stack(self, key: str) -> bool:
        return bool(_OURS.fullmatch(key.removeprefix(self._folder)))

    def _keys(self, prefix: str) -> list[str]:
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
        return [found["Key"] for page in pages for found in page.get("Contents", [])]

    def _delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            self.s3.delete_object(Bucket=self.name, Key=key, ExpectedBucketOwner=self.account)
