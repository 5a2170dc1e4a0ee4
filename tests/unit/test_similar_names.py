"""What a bucket has that is like a key which it has not."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from commands.operate import similar_names
from commands.operate.similar_names import Search, difference, told

NFC, NFD = "caf\u00e9", "cafe\u0301"


@pytest.fixture
def s3() -> Iterator[Any]:
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket="my-bucket")
        yield client


@pytest.mark.parametrize(
    ("there", "asked", "differs_in"),
    [
        ("Photos/a.jpg", "photos/a.jpg", "upper and lower case"),
        ("photos/A.JPG", "photos/a.jpg", "upper and lower case"),
        ("Straße", "STRASSE", "upper and lower case"),
        (f"a/{NFD}/b", f"a/{NFC}/b", "Unicode form (NFC, NFD)"),
        (NFC, NFD, "Unicode form (NFC, NFD)"),
        ("a/b ", "a/b", "spaces or dots at a name's end"),
        ("a./b", "a/b", "spaces or dots at a name's end"),
        ("a/b/", "a/B", "upper and lower case"),
        ("a/b/", "a/B/", "upper and lower case"),
    ],
)
def test_a_key_that_differs_as_people_do_not_see_is_found(s3: Any, there: str, asked: str, differs_in: str) -> None:
    for key in (there, "a", f"a/{NFC}/c", "photos/b.jpg", "b/b", "z/a/b"):
        s3.put_object(Bucket="my-bucket", Key=key)
    search = Search(s3, "my-bucket")
    assert search.alike(asked) == [there]
    assert search.read_all
    assert difference(asked, there) == differs_in


@pytest.mark.parametrize("asked", ["a/c", "ab", "A/b/c", "c/b", "a/b/", "a/b/c/d"])
def test_what_differs_otherwise_is_another_key(s3: Any, asked: str) -> None:
    for key in ("a/b", "d/b/c", "a.b"):
        s3.put_object(Bucket="my-bucket", Key=key)
    assert Search(s3, "my-bucket").alike(asked) == []


def test_a_bucket_is_read_up_to_a_bound(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def pages(**asked: Any) -> Any:
        calls.append(asked)
        return {"Contents": [{"Key": "a/X"}], "IsTruncated": True, "NextContinuationToken": str(len(calls))}

    calls: list[dict[str, Any]] = []
    monkeypatch.setattr(s3, "list_objects_v2", pages)
    search = Search(s3, "my-bucket")
    assert set(search.alike("a/x")) == {"a/X"}
    assert not search.read_all
    assert len(calls) == similar_names._MAX_PAGES
    assert calls[1] == {"Bucket": "my-bucket", "Prefix": "a/", "Delimiter": "/", "ContinuationToken": "1"}


def test_the_other_key_is_spelled_out_where_it_looks_the_same() -> None:
    assert told(NFC, NFD) == f"'{NFD}' ('cafe\\u0301'), which differs only in Unicode form (NFC, NFD)."
    assert difference(f"a/{NFC}/b", f"A/{NFD}/b") == "Unicode form (NFC, NFD) and upper and lower case"
    assert told("a", "a ") == "'a ', which differs only in spaces or dots at a name's end."
