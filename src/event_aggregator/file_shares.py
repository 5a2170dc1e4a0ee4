"""Lists the file shares that show a bucket, and calls RefreshCache (Storage Gateway).

The shares are listed anew for every window: NFS and SMB, of all gateways of an account in a region. A share's bucket,
prefix and role cannot change while it exists, so they are remembered by ARN. If the share is on an access point, the
bucket behind it is looked up.

Promise: an unknown share, which cannot be described or whose access point cannot be looked up, stops no other. It is
listed, because it may show the bucket.
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

# A share that is being deleted counts as deleted.
_LEAVING = ("DELETING", "FORCE_DELETING")


@dataclass(frozen=True, slots=True)
class FileShare:
    """A file share as it is now; `prefix` is empty or ends in a slash.

    `region` is empty at home. Ids are unique per region only. `unknown` says why the share's bucket is not known; then
    `bucket` is the one that it may show.
    """

    arn: str
    kind: str  # NFS or SMB
    gateway_arn: str
    status: str
    bucket: str
    prefix: str = ""
    region: str = ""
    role: str = ""  # ARN of the role that its gateway uses to read and write the bucket
    unknown: str = ""

    @property
    def key(self) -> Key:
        return Key.of_share(self.bucket, self.region, self.share_id)

    @property
    def share_id(self) -> str:
        return self.arn.rpartition("/")[2]

    @property
    def unavailable(self) -> str:
        """Why the share cannot be refreshed now; empty if it can."""
        if self.unknown:
            return f"it is not known what it shows: {self.unknown}"
        return "" if self.status == "AVAILABLE" else f"it is {self.status}"


@dataclass(frozen=True, slots=True)
class _Location:
    """What cannot change while a share exists. `bucket` is empty if its access point is in another region."""

    bucket: str
    prefix: str
    role: str


class FileShares:
    """The file shares of one region. Methods raise botocore's errors.

    `warn` is called once for each unknown share and reason.
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
        self._client_without_retries = without_retries
        self._access_points = access_points
        self._warn = warn
        self._region = region
        self._locations: dict[str, _Location] = {}  # by ARN
        self._warned: set[str] = set()

    def showing(self, bucket: str) -> list[FileShare]:
        """The file shares that show `bucket` or a part of it, or that may, except those that are being deleted."""
        return self.showing_each([bucket])[bucket]

    def showing_each(self, buckets: Iterable[str]) -> dict[str, list[FileShare]]:
        """The same of several buckets, by one listing."""
        pages = self._client.get_paginator("list_file_shares").paginate()
        listed = [share for page in pages for share in page["FileShareInfoList"]]
        listed = [share for share in listed if share.get("FileShareStatus") not in _LEAVING]
        unknown = self._locate(listed)

        def shown(bucket: str) -> list[FileShare]:
            shares = (self._share(share, bucket, unknown.get(share["FileShareARN"], "")) for share in listed)
            return [share for share in shares if share.bucket == bucket]

        return {bucket: shown(bucket) for bucket in buckets}

    def describe(self, arn: str, kind: str, gateway_arn: str, bucket: str) -> FileShare | None:
        """The share as it is now; None if it was deleted. `bucket` is the one that it may show if it is unknown."""
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
        """Call RefreshCache. The answer is the notification id; the refresh itself runs on after the call.

        Raises one of AWS_ERRORS.
        """
        answer = self._client_without_retries.refresh_cache(
            FileShareARN=share.arn, FolderList=round_.folder_list, Recursive=round_.recursive
        )
        if "NotificationId" not in answer:
            raise UnreadableAnswerError(f"Storage Gateway accepted a refresh of {share.arn} without a NotificationId")
        return answer["NotificationId"]

    def _share(self, listed: Any, bucket: str, unknown: str) -> FileShare:
        """Combine a listed share with what is remembered about it."""
        arn = listed["FileShareARN"]
        status, gateway_arn = listed.get("FileShareStatus", ""), listed.get("GatewayARN", "")
        share = FileShare(arn, listed.get("FileShareType", ""), gateway_arn, status, bucket, region=self._region)
        if location := self._locations.get(arn):
            return replace(share, bucket=location.bucket, prefix=location.prefix, role=location.role)
        return replace(share, unknown=unknown or "Storage Gateway does not describe it")

    def _locate(self, listed: list[Any]) -> dict[str, str]:
        """Describe the shares that are new. The answer is the unknown ones among them, each with the reason."""
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
                    one_by_one = bool(described)  # only while it helps: for 500 shares it would take minutes
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
        """Describe each share by itself, so that one that cannot be described does not hide the others.

        The answer is the described shares, and the error of each of the others. If no share of this region could ever
        be described and the error passes, it is raised: the fault is not a share's.
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
        """Remember the share's bucket, prefix and role. The answer is why the bucket is unknown, or empty."""
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
        if text not in self._warned:
            self._warned.add(text)
            self._warn(text)
        return str(reason)


def location(arn: str) -> tuple[str, str]:
    """The bucket or access point of a LocationARN, and the prefix, which may be empty (CreateNFSFileShare).

    The formats are arn:aws:s3:::my-bucket/, arn:aws:s3:REGION:ACCOUNT:accesspoint/NAME/, and an access point's alias
    NAME-...-s3alias/ with or without arn:aws:s3::: before it. A prefix my/prefix/ may follow. Its last slash may be
    missing.
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
