"""The bucket behind an S3 access point (S3 Control). A file share can be made on an access point instead of a bucket.

Promise: a failed look-up raises an error with its reason, and is repeated the next time. Somebody may give a missing
permission, and a new access point is not known everywhere at once. A bucket that was found is remembered, because it
cannot change while the access point exists.
"""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any


class UnknownBucketError(Exception):
    """AWS does not tell the bucket behind an access point."""


class OtherRegionError(Exception):
    """The access point and its bucket are in another region, whose S3 events do not arrive here."""


class AccessPoints:
    """The access points of all accounts. Raises botocore's errors.

    An access point is given as its ARN (arn:aws:s3:REGION:ACCOUNT:accesspoint/NAME) or its alias (NAME-...-s3alias).
    The client of the account that owns the access point looks it up. A client is made when it is needed, because few
    file shares are on access points.
    """

    def __init__(self, make_client: Callable[[str], Any]) -> None:
        self._client_of = cache(make_client)
        self._found: dict[tuple[str, str], str] = {}  # by account and access point

    def bucket_of(self, access_point: str, account: str) -> str:
        """The bucket behind the access point. An ARN names the owner. An alias does not: its owner is `account`.

        Raises UnknownBucketError and OtherRegionError.
        """
        owner = account if is_alias(access_point) else access_point.split(":")[4]
        key = owner, access_point
        if key not in self._found:
            self._look_up(access_point, owner)
        if bucket := self._found.get(key):
            return bucket
        raise UnknownBucketError(f"the account {owner} has no such access point, or AWS does not tell its bucket")

    def _look_up(self, access_point: str, owner: str) -> None:
        if is_alias(access_point):
            self._found |= {(owner, alias): bucket for alias, bucket in self._aliases(owner)}
            return
        client = self._client_of(owner)
        region, here = access_point.split(":")[3], client.meta.region_name
        if region != here:  # S3 invokes only functions in the bucket's region
            raise OtherRegionError(f"it and its bucket are in {region}, whose S3 events do not arrive in {here}")
        answer = client.get_access_point(AccountId=owner, Name=access_point.rpartition("/")[2])
        if bucket := answer.get("Bucket"):
            self._found[owner, access_point] = bucket

    def _aliases(self, account: str) -> Iterator[tuple[str, str]]:
        """The aliases of all access points of the account in this region, each with its bucket."""
        more: dict[str, str] = {}
        while True:  # botocore has no paginator for this call
            page = self._client_of(account).list_access_points(AccountId=account, **more)
            for access_point in page.get("AccessPointList", []):
                if "Alias" in access_point and "Bucket" in access_point:
                    yield access_point["Alias"], access_point["Bucket"]
            if "NextToken" not in page:
                return
            more = {"NextToken": page["NextToken"]}


def is_access_point(store: str) -> bool:
    return ":accesspoint/" in store or is_alias(store)


def is_alias(store: str) -> bool:
    """Whether it is an alias: no bucket may have such a name (S3 user guide, bucketnamingrules)."""
    return store.endswith("-s3alias")
