"""The file shares that show a bucket, and how they are asked to refresh (Storage Gateway).

The list is read afresh for every window: all pages, all gateways of an account in a region, NFS and SMB. Where a
share's bucket and prefix lie cannot change while it exists, so that is remembered by ARN. A share may be on an access
point instead of on a bucket: then the bucket behind it is looked up.

The guarantee: a share of which it cannot be known what it shows stops no other, and is in the answer as one that is
unknown, for it may show the bucket.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from event_aggregator.access_points import AccessPoints, OtherRegionError, UnknownBucketError, is_access_point
from event_aggregator.failures import AWS_ERRORS, Failure, UnreadableAnswerError, meaning
from event_aggregator.folders import Round
from event_aggregator.table import Key

if TYPE_CHECKING:
    from types_boto3_storagegateway import StorageGatewayClient

# The Describe operations take at most ten ARNs (API reference, DescribeNFSFileShares).
_ARNS_A_DESCRIBE = 10

# A share that is being deleted is gone: it shows nothing new any more.
_LEAVING = ("DELETING", "FORCE_DELETING")


@dataclass(frozen=True, slots=True)
class FileShare:
    """A file share as it is now; `prefix` is empty or ends in a slash.

    `region` is the region, and account, that it is in, if that is not the function's own: its completed refreshes are
    not reported here, and its id may be that of another share at home. `unknown` is why it is not known what it shows;
    then `bucket` is the one that it may show.
    """

    arn: str
    kind: str  # NFS or SMB
    gateway_arn: str
    status: str
    bucket: str
    prefix: str = ""
    region: str = ""
    role: str = ""  # ARN of the role by which its gateway reads and writes the bucket
    unknown: str = ""

    @property
    def key(self) -> Key:
        return Key.of_share(self.bucket, self.region, self.share_id)

    @property
    def share_id(self) -> str:
        return self.arn.rpartition("/")[2]

    @property
    def unavailable(self) -> str:
        """Why it cannot be refreshed now; empty if it can."""
        if self.unknown:
            return f"it is not known what it shows: {self.unknown}"
        return "" if self.status == "AVAILABLE" else f"it is {self.status}"


@dataclass(frozen=True, slots=True)
class _Location:
    """What cannot change while a share exists; no bucket: none that is watched from here."""

    bucket: str
    prefix: str
    role: str


class FileShares:
    """The file shares of one region. Methods raise botocore's errors.

    `warn` is told of each share of which it cannot be known what it shows, once for each reason.
    """

    def __init__(
        self,
        client: "StorageGatewayClient",
        without_retries: "StorageGatewayClient",
        access_points: AccessPoints,
        warn: Callable[[str], None],
        region: str = "",
    ) -> None:
        self._client: Any = client
        self._asking_once = without_retries
        self._access_points = access_points
        self._warn = warn
        self._region = region
        self._locations: dict[str, _Location] = {}  # by ARN
        self._told: set[str] = set()

    def showing(self, bucket: str) -> list[FileShare]:
        """The file shares that show `bucket` or a part of it, or that may; without those that are being deleted."""
        pages = self._client.get_paginator("list_file_shares").paginate()
        listed = [share for page in pages for share in page["FileShareInfoList"]]
        listed = [share for share in listed if share.get("FileShareStatus") not in _LEAVING]
        unknown = self._locate(listed)
        found = (self._share(share, bucket, unknown.get(share["FileShareARN"], "")) for share in listed)
        return [share for share in found if share.bucket == bucket]

    def describe(self, arn: str, kind: str, gateway_arn: str, bucket: str) -> FileShare | None:
        """The share as it is now, which may show `bucket`; None if it is gone. One call, if its bucket is known."""
        try:
            described = self._described([arn], kind)
        except ClientError as error:
            if meaning(error) is Failure.GONE:
                return None
            raise
        if not described or described[0].get("FileShareStatus") in _LEAVING:
            return None
        unknown = self._remember(described[0]) if arn not in self._locations else ""
        return self._share({**described[0], "FileShareType": kind, "GatewayARN": gateway_arn}, bucket, unknown)

    def refresh(self, share: FileShare, round_: Round) -> str:
        """Ask for a refresh of some of what `share` shows; the notification id. It goes on after this returns.

        Raises one of AWS_ERRORS.
        """
        answer = self._asking_once.refresh_cache(
            FileShareARN=share.arn, FolderList=round_.folder_list, Recursive=round_.recursive
        )
        if "NotificationId" not in answer:
            raise UnreadableAnswerError(f"Storage Gateway took a refresh of {share.arn}, and did not say as what")
        return answer["NotificationId"]

    def _share(self, listed: Any, bucket: str, unknown: str) -> FileShare:
        """What is listed, and what is remembered of it."""
        arn = listed["FileShareARN"]
        status, gateway_arn = listed.get("FileShareStatus", ""), listed.get("GatewayARN", "")
        share = FileShare(arn, listed.get("FileShareType", ""), gateway_arn, status, bucket, region=self._region)
        if location := self._locations.get(arn):
            return replace(share, bucket=location.bucket, prefix=location.prefix, role=location.role)
        return replace(share, unknown=unknown or "Storage Gateway does not describe it")

    def _locate(self, listed: list[Any]) -> dict[str, str]:
        """Find out where the shares lie that are not known yet; those that remain unknown, each with its reason."""
        unknown: dict[str, str] = {}
        one_by_one = True
        for kind in ("NFS", "SMB"):
            new = (share["FileShareARN"] for share in listed if share.get("FileShareType") == kind)
            for arns in _tens(arn for arn in new if arn not in self._locations):
                try:
                    described = self._described(arns, kind)
                except ClientError as error:
                    refused: dict[str, ClientError] = dict.fromkeys(arns, error)
                    described, refused = self._described_one_by_one(arns, kind) if one_by_one else ([], refused)
                    one_by_one = bool(described)  # if it helped; of 500 shares it would take minutes
                    unknown |= {arn: self._warn_once(arn, why) for arn, why in refused.items()}
                for share in described:
                    if reason := self._remember(share):
                        unknown[share["FileShareARN"]] = reason
        return unknown

    def _described(self, arns: list[str], kind: str) -> list[Any]:
        if kind == "SMB":
            return list(self._client.describe_smb_file_shares(FileShareARNList=arns)["SMBFileShareInfoList"])
        return list(self._client.describe_nfs_file_shares(FileShareARNList=arns)["NFSFileShareInfoList"])

    def _described_one_by_one(self, arns: list[str], kind: str) -> tuple[list[Any], dict[str, ClientError]]:
        """One share that cannot be described must not keep the others from being refreshed: those, and why not.

        If none can be, and no share of this region ever could, it is not the share: the failure is raised.
        """
        described: list[Any] = []
        refused: dict[str, ClientError] = {}
        for arn in arns:
            try:
                described += self._described([arn], kind)
            except ClientError as error:
                refused[arn] = last = error
        if refused and not described and not self._locations and meaning(last) is Failure.PASSES:
            raise last
        return described, refused

    def _remember(self, described: Any) -> str:
        """Remember where a share lies; or why that is not known."""
        arn, location_arn, role = described["FileShareARN"], described["LocationARN"], described.get("Role", "")
        bucket, prefix = location(location_arn)
        if is_access_point(bucket):
            try:
                bucket = self._access_points.bucket_of(bucket, arn.split(":")[4])
            except OtherRegionError as error:
                self._warn_once(arn, error)
                bucket = ""
            except (UnknownBucketError, *AWS_ERRORS) as error:
                return self._warn_once(arn, f"it is on the access point {location_arn}: {error}")
        self._locations[arn] = _Location(bucket, prefix, role)
        return ""

    def _warn_once(self, arn: str, reason: object) -> str:
        text = f"It is not known what {arn} shows: {reason}"
        if text not in self._told:
            self._told.add(text)
            self._warn(text)
        return str(reason)


def location(arn: str) -> tuple[str, str]:
    """The bucket or access point, and the prefix, which may be empty, of a LocationARN (API reference,
    CreateNFSFileShare).

    Each with or without a prefix, my/prefix/, whose last slash may be missing: arn:aws:s3:::my-bucket/,
    arn:aws:s3:REGION:ACCOUNT:accesspoint/NAME/, and the alias of an access point, NAME-...-s3alias/, which may or may
    not follow arn:aws:s3:::.
    """
    start, access_point, rest = arn.partition(":accesspoint/")
    if not access_point:
        start, rest = "", arn.rpartition(":s3:::")[2]
    name, _, prefix = rest.partition("/")
    return f"{start}{access_point}{name}", f"{prefix.rstrip('/')}/" if prefix else ""


def _tens(arns: Iterable[str]) -> Iterator[list[str]]:
    whole = list(arns)
    for start in range(0, len(whole), _ARNS_A_DESCRIBE):
        yield whole[start : start + _ARNS_A_DESCRIBE]
