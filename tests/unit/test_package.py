"""The zip of the functions' code, and the bucket that it lies in."""

import io
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from commands.deploy import package
from commands.deploy.package import ArtifactBucket, zip_of
from commands.deploy.template import ROOT, RefusedError

ACCOUNT = "123456789012"
OWN = f"s3-event-aggregator-{ACCOUNT}-us-east-1"
CODE = [f"s3-event-aggregator-{number:016x}.zip" for number in range(3)]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    source = tmp_path / "src"
    for name in ("package/__pycache__/room.cpython-311.pyc", "bin/jp.py", "x-1.dist-info/RECORD", ".DS_Store"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text("of this machine")
    (source / "package/room.py").write_text("X = 1\n")
    (source / "x-1.dist-info/LICENSE").write_text("You may.")
    (source / "handler.py").write_text("from package import room\n")
    return source


def test_the_zip_holds_nothing_that_differs_by_machine(source: Path) -> None:
    assert zipfile.ZipFile(io.BytesIO(zip_of([source]))).namelist() == [
        *("handler.py", "package/room.py", "x-1.dist-info/LICENSE")
    ]


def test_the_zip_is_the_same_to_the_byte_for_the_same_files(source: Path) -> None:
    before = zip_of([source])

    (source / "handler.py").touch()
    (source / "handler.py").chmod(0o600)

    assert zip_of([source]) == before
    assert {info.compress_type for info in zipfile.ZipFile(io.BytesIO(before)).infolist()} == {zipfile.ZIP_STORED}


def test_the_zip_differs_when_a_file_does(source: Path) -> None:
    before = zip_of([source])

    (source / "handler.py").write_text("pass\n")

    assert zip_of([source]) != before


def test_two_runs_at_once_may_fetch_the_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def pip(command: list[str], **_: Any) -> Any:
        """Meanwhile another run has fetched them."""
        requirements = (ROOT / "requirements.txt").read_bytes()
        for folder in (Path(command[-1]), tmp_path / f"packages-{package.digest(requirements)}"):
            folder.mkdir()
            (folder / "room.py").write_text("X = 1\n")
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(package, "BUILD", tmp_path)
    monkeypatch.setattr(subprocess, "run", pip)
    assert "room.py" in zipfile.ZipFile(package.pack()).namelist()


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Any:
    for name, value in {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}.items():
        monkeypatch.setenv(name, value)
    with mock_aws():
        yield boto3.client("s3", region_name="us-east-1")


def keys(s3: Any, bucket: str) -> list[str]:
    return [found["Key"] for found in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]


def test_the_stacks_own_bucket_is_private_and_removed_with_all_that_is_in_it(s3: Any) -> None:
    bucket = ArtifactBucket.of(s3, ACCOUNT, "", "")

    assert bucket.make()
    assert not bucket.make()
    assert bucket.name == OWN
    assert all(s3.get_public_access_block(Bucket=OWN)["PublicAccessBlockConfiguration"].values())
    assert "Status" not in s3.get_bucket_versioning(Bucket=OWN)
    bucket.put(CODE[0], b"code")
    s3.put_object(Bucket=OWN, Key="of-the-cli.template", Body=b"")
    assert bucket.remove()
    assert s3.list_buckets()["Buckets"] == []
    assert not bucket.remove()


def test_another_stack_has_a_bucket_of_its_own() -> None:
    s3 = boto3.client("s3", region_name="us-east-1")

    names = {ArtifactBucket.of(s3, ACCOUNT, prefix, "").name for prefix in ("", "a_", "A_", 32 * "p")}

    assert len(names) == 4
    assert max(map(len, names)) <= 63
    assert {name for name in names if name != name.lower() or "_" in name} == set()


def test_of_the_users_bucket_only_what_the_stack_has_put_there_is_removed(s3: Any) -> None:
    s3.create_bucket(Bucket="mine")
    bucket, other = (ArtifactBucket.of(s3, ACCOUNT, prefix, "mine") for prefix in ("", "dev-"))
    assert not bucket.make()
    theirs = ["s3-event-aggregator/README", other.put(CODE[0], b"code")]
    s3.put_object(Bucket="mine", Key=theirs[0], Body=b"")
    bucket.put(CODE[0], b"code")

    assert bucket.remove()
    assert keys(s3, "mine") == sorted(theirs)
    assert not bucket.remove()


def test_the_code_before_stays_and_older_code_goes(s3: Any) -> None:
    bucket = ArtifactBucket.of(s3, ACCOUNT, "", "")
    bucket.make()
    oldest, before, now = (bucket.put(name, b"code") for name in CODE)

    bucket.keep_only({before, now})

    assert keys(s3, OWN) == [before, now]
    assert oldest not in keys(s3, OWN)


def test_a_bucket_of_the_users_that_is_not_there_is_not_made(s3: Any) -> None:
    with pytest.raises(RefusedError, match=r"There is no bucket mine\. Create it, or leave --artifact-bucket out\."):
        ArtifactBucket.of(s3, ACCOUNT, "", "mine").make()


def test_a_bucket_elsewhere_is_refused(s3: Any) -> None:
    s3.create_bucket(Bucket="mine", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})

    with pytest.raises(RefusedError, match="mine is in eu-west-1: Lambda takes code from the stack's region only"):
        ArtifactBucket.of(s3, ACCOUNT, "", "mine").make()
