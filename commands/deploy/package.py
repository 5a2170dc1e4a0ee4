"""The zip of the functions' code, and the bucket from which Lambda takes it.

The zip is the same to the byte from any checkout, with any Python and on any system, so that its name, its hash, tells
whether the code differs. So nothing in it is compressed or compiled, for zlib and the compiler differ: a cold start
compiles the modules that it imports, 0.12 s of a whole CPU.
"""

import hashlib
import io
import subprocess
import sys
import tempfile
import zipfile
from fnmatch import fnmatch
from pathlib import Path

from botocore.exceptions import ClientError

from commands.deploy.template import ROOT, DeployError
from commands.operate.stack import Stack

BUILD = ROOT / "build"
_NAME = "s3-event-aggregator"
# The installer's notes, and scripts, with the path of an interpreter in them. The packages' licenses are packed.
_NOT_PACKED = ("__pycache__", "bin", ".*", "*.pyc", "INSTALLER", "RECORD", "REQUESTED")


def pack() -> tuple[str, bytes]:
    """The zip of src/ and of what requirements.txt names: its name, with its hash, and its content."""
    content = zip_of([ROOT / "src", packages()])
    return f"{_NAME}-{digest(content)}.zip", content


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def zip_of(folders: list[Path]) -> bytes:
    """The folders' files, stored in the order of their names, each of 1980 and readable by all."""
    files = {path.relative_to(folder).as_posix(): path for folder in folders for path in folder.rglob("*")}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, path in sorted(files.items()):
            if path.is_file() and not any(fnmatch(part, no) for part in name.split("/") for no in _NOT_PACKED):
                info = zipfile.ZipInfo(name)
                info.create_system = 3  # Unix, whose modes these are
                info.external_attr = 0o100644 << 16
                archive.writestr(info, path.read_bytes())
    return buffer.getvalue()


def packages() -> Path:
    """The folder of the packages that the functions carry, fetched once for each requirements.txt."""
    requirements = ROOT / "requirements.txt"
    folder = BUILD / f"packages-{digest(requirements.read_bytes())}"
    if folder.exists():
        return folder
    BUILD.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BUILD) as made:
        pip = [sys.executable, "-P", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
        what = ["--require-hashes", "--only-binary", ":all:", "--requirement", str(requirements)]
        runtime = ["--python-version", "3.13", "--platform", "manylinux2014_aarch64", "--target", f"{made}/packages"]
        if subprocess.run([*pip, *what, *runtime], check=False).returncode:
            raise DeployError("pip could not fetch the functions' packages (see above).")
        try:
            Path(made, "packages").replace(folder)
        except OSError:
            if not folder.exists():  # or another run has fetched them meanwhile
                raise
    return folder


def region_of(stack: Stack, bucket: str, **owner: str) -> str:
    """Where the bucket is; empty if there is none. ClientError if it is another account's."""
    found = stack.if_there("s3", "head_bucket", Bucket=bucket, **owner)
    return str(found.get("BucketRegion", stack.region)) if found else ""


class ArtifactBucket:
    """The bucket in a folder of which a stack's code and template lie: the stack's own, or one that the user named."""

    def __init__(self, stack: Stack, named: str = "") -> None:
        end = f"-{digest(stack.prefix.encode())[:8]}" if stack.prefix else ""
        own = f"{_NAME}-{stack.caller[0]}-{stack.region}{end}"
        self.stack, self.s3, self.name, self.folder = stack, stack.client("s3"), named or own, f"{own}/"
        self.is_own = self.name == own
        self._it = {"Bucket": self.name, "ExpectedBucketOwner": stack.caller[0]}

    def make(self) -> bool:
        """Makes the stack's own bucket, private and encrypted as S3 makes every bucket; whether it was not there."""
        region = self.stack.region
        if where := self._region():
            if where != region:
                raise DeployError(f"The bucket {self.name} is in {where}: Lambda takes code from {region} only.")
            return False
        if not self.is_own:
            raise DeployError(f"There is no bucket {self.name}. Create it, or leave --artifact-bucket out.")
        place = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        self.s3.create_bucket(Bucket=self.name, **place)
        return True

    def _region(self) -> str:
        try:
            return region_of(self.stack, self.name, ExpectedBucketOwner=self.stack.caller[0])
        except ClientError as error:
            if error.response["Error"]["Code"] != "403":
                raise
            why = f"{error}. It is another account's, or s3:ListBucket is missing"
            way = "create-stack.sh takes another one: --artifact-bucket."
            raise DeployError(f"The bucket {self.name}: {why}. {way}") from error

    def put(self, name: str, content: bytes) -> str:
        """Puts an object, in whose name its hash is, into the stack's folder; its key."""
        key = f"{self.folder}{name}"
        self.s3.put_object(**self._it, Key=key, Body=content)
        return key

    def url_of(self, key: str) -> str:
        return f"{self.s3.meta.endpoint_url}/{self.name}/{key}"

    def keep_only(self, kept: set[str]) -> bool:
        """Deletes what else is the stack's, in its own bucket or its folder of another one; whether there was some."""
        below = "" if self.is_own else self.folder
        pages = self.s3.get_paginator("list_objects_v2").paginate(**self._it, Prefix=below)
        others = {found["Key"] for page in pages for found in page.get("Contents", [])} - kept
        for key in others:
            self.s3.delete_object(**self._it, Key=key)
        return bool(others)

    def remove(self) -> bool:
        """Deletes what is the stack's, the bucket if that is its own; whether there was something."""
        was_there = bool(self._region()) and (self.keep_only(set()) or self.is_own)
        if was_there and self.is_own:
            self.s3.delete_bucket(**self._it)
        return was_there
