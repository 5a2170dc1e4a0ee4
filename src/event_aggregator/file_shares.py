"""The file shares that show a bucket, and how they are asked to refresh (Storage Gateway).

The list is read afresh for every refresh: all pages, all gateways of an account in a region, NFS and SMB. Where a
share's bucket and prefix lie cannot change while it exists, so that is remembered by ARN. A share may be on an access
point instead of on a bucket: then the bucket behind it is looked up, once.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from event_aggregator.access_points import AccessPoints, UnknownBucketError, is_access_point
from event_aggregator.aws import UnreadableAnswerError
from event_aggregator.folders import Round

if TYPE_CHECKING:
    from types_boto3_storagegateway import StorageGatewayClient
    from types_boto3_storagegateway.type_defs import FileShareInfoTypeDef

# The Describe operations take at most ten ARNs (API reference, DescribeNFSFileShares).
_ARNS_A_DESCRIBE = 10

# Where a share lies that is on an access point whose bucket is not known.
NO_BUCKET = ("", "")

_LEAVING = ("DELETING", "FORCE_DELETING")


@dataclass(frozen=True, slots=True)
class FileShare:
    """A file share as it is now; `prefix` is empty or ends in a slash.

    `away` is the place it is in, if that is not the function's own region and account: its completed refreshes are not
    reported here, and its id may be that of another share at home.
    """

    arn: str
    status: str
    bucket: str
    prefix: str
    away: str = ""
    role: str = ""  # ARN of the role by which its gateway reads and writes the bucket

    @property
    def key(self) -> str:
        """Its key in the window table: my-bucket/share-1234ABCD, or my-bucket/eu-west-1/share-1234ABCD."""
        return "/".join(filter(None, (self.bucket, self.away, self.share_id)))

    @property
    def share_id(self) -> str:
        return self.arn.rpartition("/")[2]

    @property
    def available(self) -> bool:
        """Whether it can be refreshed now; if not, it is being made, changed or repaired, and may be later."""
        return self.status == "AVAILABLE"


class FileShares:
    """The file shares of one place. Methods raise botocore's errors.

    `warn` is told of shares of which it cannot be known what they show, once for each.
    """

    def __init__(
        self,
        client: "StorageGatewayClient",
        asking_once: "StorageGatewayClient",
        access_points: AccessPoints,
        warn: Callable[[str], None],
        away: str = "",
    ) -> None:
        self._client = client
        self._asking_once = asking_once
        self._access_points = access_points
        self._warn = warn
        self._away = away
        self._locations: dict[str, tuple[str, str]] = {}  # ARN of the share: bucket and prefix
        self._roles: dict[str, str] = {}  # the same: ARN of the role

    def showing(self, bucket: str) -> list[FileShare]:
        """The file shares that show `bucket` or a part of it, without those that are being deleted."""
        listed = [share for share in self._listed() if share.get("FileShareStatus") not in _LEAVING]
        self._locate(listed)
        shares = [
            FileShare(arn, share.get("FileShareStatus", ""), *self._locations[arn], self._away, self._roles[arn])
            for share in listed
            if (arn := share["FileShareARN"]) in self._locations
        ]
        return [share for share in shares if share.bucket == bucket]

    def is_gone(self, share_id: str) -> bool:
        """Whether there is no such share, or one that is being deleted."""
        shares = (share for share in self._listed() if share.get("FileShareStatus") not in _LEAVING)
        return all(share["FileShareARN"].rpartition("/")[2] != share_id for share in shares)

    def key_of(self, arn: str) -> str | None:
        """The key in the window table of the file share with this ARN, if it is known or can be found."""
        if arn not in self._locations:
            self._locate([share for share in self._listed() if share["FileShareARN"] == arn])
        bucket, prefix = self._locations.get(arn, NO_BUCKET)
        return FileShare(arn, "", bucket, prefix, self._away).key if bucket else None

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

    def _listed(self) -> "Iterator[FileShareInfoTypeDef]":
        for page in self._client.get_paginator("list_file_shares").paginate():
            yield from page["FileShareInfoList"]

    def _locate(self, shares: "list[FileShareInfoTypeDef]") -> None:
        new = [share for share in shares if share["FileShareARN"] not in self._locations]
        for kind, describe in (("NFS", self._describe_nfs), ("SMB", self._describe_smb)):
            for arns in _tens(share["FileShareARN"] for share in new if share.get("FileShareType") == kind):
                try:
                    describe(arns)
                except ClientError as error:
                    if error.response["Error"]["Code"] != "InvalidGatewayRequestException":
                        raise
                    self._locate_one_by_one(arns, describe)

    def _locate_one_by_one(self, arns: list[str], describe: Callable[[list[str]], None]) -> None:
        """One share that cannot be described must not keep the others from being refreshed."""
        for arn in arns:
            try:
                describe([arn])
            except ClientError as error:
                if error.response["Error"]["Code"] != "InvalidGatewayRequestException":
                    raise
                self._warn(f"{arn} cannot be described, and so it is not known what it shows: {error}")

    def _describe_nfs(self, arns: list[str]) -> None:
        for share in self._client.describe_nfs_file_shares(FileShareARNList=arns)["NFSFileShareInfoList"]:
            self._remember(share["FileShareARN"], share["LocationARN"], share.get("Role", ""))

    def _describe_smb(self, arns: list[str]) -> None:
        for share in self._client.describe_smb_file_shares(FileShareARNList=arns)["SMBFileShareInfoList"]:
            self._remember(share["FileShareARN"], share["LocationARN"], share.get("Role", ""))

    def _remember(self, arn: str, location_arn: str, role: str) -> None:
        bucket, prefix = location(location_arn)
        if is_access_point(bucket):
            account = arn.split(":")[4]
            try:
                bucket = self._access_points.bucket_of(bucket, account)
            except UnknownBucketError as error:
                self._warn(
                    f"{arn} is on the access point {location_arn}, whose bucket is not known, and so it is not known"
                    f" what it shows: {error}"
                )
                bucket, prefix = NO_BUCKET
        self._locations[arn] = bucket, prefix
        self._roles[arn] = role


def location(arn: str) -> tuple[str, str]:
    """The bucket or access point, and the prefix, which may be empty, of a LocationARN (API reference,
    CreateNFSFileShare).

    Each with or without a prefix, my/prefix/: arn:aws:s3:::my-bucket/, arn:aws:s3:REGION:ACCOUNT:accesspoint/NAME/, and
    the alias of an access point, NAME-...-s3alias/, which may or may not follow arn:aws:s3:::.
    """
    start, access_point, rest = arn.partition(":accesspoint/")
    if not access_point:
        start, rest = "", arn.rpartition(":s3:::")[2]
    name, _, prefix = rest.partition("/")
    return f"{start}{access_point}{name}", prefix


def _tens(arns: Iterable[str]) -> Iterator[list[str]]:
    whole = list(arns)
    for start in range(0, len(whole), _ARNS_A_DESCRIBE):
        yield whole[start : start + _ARNS_A_DESCRIBE]


# What says that a share, a gateway or the service cannot just now, or that we may not, whatever is asked for.
_NOT_ABOUT_FOLDERS = frozenset(
    {
        "AccessDenied",  # to assume the role
        "AccessDeniedException",
        "ExpiredTokenException",
        "GatewayInternalError",
        "GatewayNotConnected",
        "GatewayProxyNetworkConnectionBusy",
        "OperationAborted",
        "RequestTimeout",
        "ServiceUnavailable",
        "ServiceUnavailableError",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "UnrecognizedClientException",
    }
)


def may_concern_folders(error: Exception) -> bool:
    """Whether a failed RefreshCache may be due to the folders that it named, so that it may help to name none.

    How AWS answers for a folder that the gateway has not cached is undocumented, and "too many requests", for two
    refreshes in progress, comes under the same name as everything else that a gateway refuses.
    """
    if not isinstance(error, ClientError):
        return False  # no answer at all
    answer: Any = error.response
    codes = {answer["Error"]["Code"], answer.get("error", {}).get("errorCode")}
    return not (codes & _NOT_ABOUT_FOLDERS) and "too many requests" not in str(error).lower()
