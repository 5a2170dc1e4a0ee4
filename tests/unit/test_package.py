"""The zip of the functions' code, and the bucket that it lies in."""

import io
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from commands.deploy import package
from commands.deploy.package import ArtifactBucket, zip_of
from commands.deploy.template import ROOT, DeployError
from commands.operate.stack import Stack

ACCOUNT = "123456789012"
OWN = f"s3-event-aggregator-{ACCOUNT}-us-east-1"


def test_the_zip_is_the_same_to_the_byte_for_the_same_code(tmp_path: Path) -> None:
    of_this_machine = ("package/__pycache__/room.cpython-311.pyc", "bin/jp.py", "x-1.dist-info/RECORD", ".DS_Store")
    for name in (*of_this_machine, "package/room.py", "x-1.dist-info/LICENSE", "handler.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("X = 1\n")
    before = zip_of([tmp_path])
    files = zipfile.ZipFile(io.BytesIO(before)).infolist()
    packed = ["handler.py", "package/room.py", "x-1.dist-info/LICENSE"]
    assert [(file.filename, file.compress_type) for file in files] == [(name, 0) for name in packed]

    (tmp_path / "handler.py").touch()
    (tmp_path / "handler.py").chmod(0o600)
    assert zip_of([tmp_path]) == before

    (tmp_path / "handler.py").write_text("pass\n")
    assert zip_of([tmp_path]) != before


def test_two_runs_at_once_may_fetch_the_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def pip(command: list[str], **_: Any) -> Any:
        """Meanwhile another run has fetched them."""
        assert command[1:4] == ["-P", "-m", "pip"], "no module of the current directory"
        requirements = (ROOT / "requirements.txt").read_bytes()
        for folder in (Path(command[-1]), tmp_path / f"packages-{package.digest(requirements)}"):
            folder.mkdir()
            (folder / "room.py").write_text("X = 1\n")
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(package, "BUILD", tmp_path)
    monkeypatch.setattr(subprocess, "run", pip)
    assert "room.py" in zipfile.ZipFile(io.BytesIO(package.pack()[1])).namelist()


@pytest.fixture
def s3() -> Any:
    with mock_aws():
        yield boto3.client("s3", region_name="us-east-1")


def artifacts(named: str = "", prefix: str = "", **clients: Any) -> ArtifactBucket:
    return ArtifactBucket(Stack(boto3.Session(region_name="us-east-1"), prefix, _clients=clients), named)


def keys(s3: Any, bucket: str) -> list[str]:
    return [found["Key"] for found in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]


def test_the_stacks_own_bucket_keeps_the_code_before_and_is_removed_with_all_that_is_in_it(s3: Any) -> None:
    bucket = artifacts()
    assert bucket.make()
    assert not bucket.make()
    assert bucket.name == OWN
    assert "Status" not in s3.get_bucket_versioning(Bucket=OWN)

    _, before, now = (bucket.put(f"{name}.zip", b"code") for name in ("oldest", "before", "now"))
    bucket.keep_only({before, now})
    assert keys(s3, OWN) == [before, now]

    assert bucket.remove()
    assert s3.list_buckets()["Buckets"] == []
    assert not bucket.remove()


@pytest.mark.usefixtures("s3")
def test_another_stack_has_a_bucket_of_its_own() -> None:
    names = {artifacts(prefix=prefix).name for prefix in ("", "a_", "A_", 32 * "p")}

    assert len(names) == 4
    assert max(map(len, names)) <= 63
    assert {name for name in names if name != name.lower() or "_" in name} == set()


def test_of_the_users_bucket_only_what_the_stack_has_put_there_is_removed(s3: Any) -> None:
    s3.create_bucket(Bucket="mine")
    bucket, other = (artifacts("mine", prefix) for prefix in ("", "dev-"))
    assert not bucket.make()
    theirs = ["s3-event-aggregator.zip", other.put("s3-event-aggregator.zip", b"code")]
    s3.put_object(Bucket="mine", Key=theirs[0], Body=b"")
    bucket.put("s3-event-aggregator.zip", b"code")

    assert bucket.remove()
    assert keys(s3, "mine") == sorted(theirs)
    assert not bucket.remove()


@pytest.mark.parametrize("code", ["403", "500"])
def test_a_bucket_that_may_not_be_seen_is_refused_and_another_failure_is_not_taken_for_that(s3: Any, code: str) -> None:
    def fail(**_: Any) -> None:
        raise ClientError({"Error": {"Code": code, "Message": "m"}}, "HeadBucket")

    s3.meta.events.register("before-call.s3.HeadBucket", fail)
    with pytest.raises(DeployError if code == "403" else ClientError):
        artifacts(s3=s3).remove()


def test_a_bucket_of_the_users_must_be_there_in_the_region(s3: Any) -> None:
    s3.create_bucket(Bucket="mine", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})

    with pytest.raises(DeployError, match="mine is in eu-west-1: Lambda takes code from us-east-1 only"):
        artifacts("mine").make()
    with pytest.raises(DeployError, match=r"There is no bucket yours\. Create it, or leave --artifact-bucket out\."):
        artifacts("yours").make()
