"""The bucket behind an S3 access point, on which a file share can be made instead of on the bucket itself (S3 Control).

The guarantee: what cannot be found out is raised with its reason, so that nobody takes it for an answer, and is looked
up again the next time: a permission may be given, and a new access point is not known everywhere at once. What an
access point leads to cannot change while it exists, so that it is remembered.
"""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any


class UnknownBucketError(Exception):
    """AWS does not say which bucket an access point leads to."""


class OtherRegionError(Exception):
    """The access point is in another region, and so is its bucket, which is not watched from here."""


class AccessPoints:
    """The access points of all accounts. Raises botocore's errors.

    An access point is its ARN, arn:aws:s3:REGION:ACCOUNT:accesspoint/NAME, or its alias, NAME-...-s3alias. The client
    that is made for the account that owns it looks it up, whoever has a share on it; it is made when it is needed, for
    few file shares are on access points.
    """

    def __init__(self, make_client: Callable[[str], Any]) -> None:
        self._client_of = cache(make_client)
        self._found: dict[tuple[str, str], str] = {}  # by account and access point

    def bucket_of(self, access_point: str, account: str) -> str:
        """The bucket behind the access point; `account` owns it if it is an alias, which does not say whose it is.

        Raises UnknownBucketError and OtherRegionError.
        """
        owner = account if is_alias(access_point) else access_point.split(":")[4]
        key = owner, access_point
        if key not in self._found:
            self._look_up(access_point, owner)
        if bucket := self._found.get(key):
            return bucket
        raise UnknownBucketError(f"the account {owner} has no such access point, or it leads to no bucket")

    def _look_up(self, access_point: str, owner: str) -> None:
        if is_alias(access_point):
            self._found |= {(owner, alias): bucket for alias, bucket in self._aliases(owner)}
            return
        client = self._client_of(owner)
        region, here = access_point.split(":")[3], client.meta.region_name
        if region != here:  # and S3 notifies functions in its own region only
            raise OtherRegionError(f"it is in {region}, and so is its bucket, which is not watched from {here}")
        answer = client.get_access_point(AccountId=owner, Name=access_point.rpartition("/")[2])
        if bucket := answer.get("Bucket"):
            self._found[owner, access_point] = bucket

    def _aliases(self, account: str) -> Iterator[tuple[str, str]]:
        """The aliases of all access points of the account in this region, each with its bucket."""
        more: dict[str, str] = {}
        while True:  # botocore has no paginator for it
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
    """No bucket may have such a name (S3 user guide, bucketnamingrules)."""
    return store.endswith("-s3alias")
