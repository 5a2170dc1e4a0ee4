"""The bucket behind an S3 access point, on which a file share can be made instead of on the bucket itself (S3 Control).

The guarantee: what cannot be found out is told once, with its reason; a failure that passes is raised, so that nobody
takes it for an answer. What an access point leads to cannot change while it exists, so that it is remembered.
"""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from botocore.exceptions import ClientError

# We may not know, or there is none: that does not pass. (S3 API reference, GetAccessPoint, ListAccessPoints)
_FINAL = ("AccessDenied", "AccessDeniedException", "NoSuchAccessPoint")


class UnknownBucketError(Exception):
    """It is not known, and will not be without somebody's doing, which bucket an access point leads to."""


class AccessPoints:
    """The access points of all accounts. Raises botocore's errors for failures that pass.

    An access point is its ARN, arn:aws:s3:REGION:ACCOUNT:accesspoint/NAME, or its alias, NAME-...-s3alias. The client
    that is made for the account that owns it looks it up, whoever has a share on it; it is made when it is needed, for
    few file shares are on access points.
    """

    def __init__(self, make_client: Callable[[str], Any]) -> None:
        self._client_of = cache(make_client)
        self._found: dict[tuple[str, str], str | UnknownBucketError] = {}  # by account and access point

    def bucket_of(self, access_point: str, account: str) -> str:
        """The bucket behind the access point; `account` owns it if it is an alias, which does not say whose it is.

        Raises UnknownBucketError.
        """
        owner = account if is_alias(access_point) else access_point.split(":")[4]
        key = owner, access_point
        if key not in self._found:
            try:
                self._look_up(access_point, owner)
            except ClientError as error:
                if error.response["Error"]["Code"] not in _FINAL:
                    raise
                self._found[key] = UnknownBucketError(str(error))
        found = self._found[key]
        if isinstance(found, UnknownBucketError):
            raise found
        return found

    def _look_up(self, access_point: str, owner: str) -> None:
        key = owner, access_point
        if is_alias(access_point):
            for alias, bucket in self._aliases(owner):
                self._found.setdefault((owner, alias), bucket)
            self._found.setdefault(key, UnknownBucketError(f"the account {owner} has no such access point"))
            return
        client = self._client_of(owner)
        region, here = access_point.split(":")[3], client.meta.region_name
        if region != here:  # and S3 notifies functions in its own region only
            unwatched = UnknownBucketError(f"it is in {region}, and so is its bucket, which is not watched from {here}")
            self._found[key] = unwatched
            return
        answer = client.get_access_point(AccountId=owner, Name=access_point.rpartition("/")[2])
        self._found[key] = answer.get("Bucket") or UnknownBucketError("it leads to no bucket")

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
