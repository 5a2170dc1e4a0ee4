"""The DynamoDB table: one item for each key, and every change to it one conditional write.

A key (attribute BucketName) says what its item is about: see `Key`. Times are epoch milliseconds. What the attributes
mean is in docs/design.md.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from event_aggregator.failures import UnreadableAnswerError
from event_aggregator.folders import EVERYTHING

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

_GATEWAYS = "gateways"


class Kind(Enum):
    BUCKET = auto()  # the window of a bucket
    WRITER = auto()  # the window of what gateways wrote to a bucket by one role
    REGION = auto()  # what waits until the file shares of a region are listed
    SHARE = auto()  # what waits for a file share
    GATEWAY = auto()  # whose turn it is at a gateway


@dataclass(frozen=True, slots=True)
class Key:
    """A key of the table: text as the table holds it, and what it says.

    my-bucket                            BUCKET
    my-bucket/gateways:AROAEXAMPLE/      WRITER; the role's id may be missing, with its colon
    my-bucket/eu-west-1/                 REGION; in another account eu-west-1:123456789012
    my-bucket/eu-west-1/gateways:AROAEXAMPLE/    REGION, for what gateways wrote
    my-bucket/share-1234ABCD             SHARE at home
    my-bucket/eu-west-1/share-1234ABCD   SHARE in another region: an id is unique in a region
    arn:aws:storagegateway:...           GATEWAY: its ARN; no bucket's name has a colon
    """

    text: str
    kind: Kind = field(compare=False)
    bucket: str = field(default="", compare=False)
    region: str = field(default="", compare=False)  # empty: home, or all
    writer: str | None = field(default=None, compare=False)  # id of the role by which a gateway wrote; may be empty
    share_id: str = field(default="", compare=False)

    def __str__(self) -> str:
        return self.text

    @classmethod
    @lru_cache(maxsize=1024)
    def read(cls, text: str) -> "Key":
        if text.startswith("arn:"):
            return cls(text, Kind.GATEWAY)
        bucket, *names = text.split("/")
        if not names:
            return cls(text, Kind.BUCKET, bucket)
        if names[-1]:
            return cls(text, Kind.SHARE, bucket, "/".join(names[:-1]), share_id=names[-1])
        name, _, role_id = names[-2].partition(":")
        if name != _GATEWAYS:
            return cls(text, Kind.REGION, bucket, names[-2])
        region = names[0] if len(names) > 2 else ""
        return cls(text, Kind.REGION if region else Kind.WRITER, bucket, region, role_id)

    @classmethod
    def of_writer(cls, bucket: str, role_id: str) -> "Key":
        return cls.read(f"{bucket}/{_writer(role_id)}/")

    @classmethod
    def of_region(cls, bucket: str, region: str, writer: str | None) -> "Key":
        return cls.read(f"{bucket}/{region}/" if writer is None else f"{bucket}/{region}/{_writer(writer)}/")

    @classmethod
    def of_share(cls, bucket: str, region: str, share_id: str) -> "Key":
        return cls.read("/".join(filter(None, (bucket, region, share_id))))


def _writer(role_id: str) -> str:
    return f"{_GATEWAYS}:{role_id}" if role_id else _GATEWAYS


@dataclass(frozen=True, slots=True)
class WindowItem:
    """A window, of a bucket or of a region; None, zero and empty sets stand for what is not there."""

    window_id: str | None = None
    confirmed: bool = False  # the open window's request is known to be queued
    opened_at: int = 0
    last_change_at: int = 0
    refresh_at: int = 0
    lease_until: int = 0
    reason: str | None = None  # why a region's window waits
    folders: frozenset[str] = field(default_factory=frozenset)
    refreshing_id: str | None = None
    refreshed_folders: frozenset[str] = field(default_factory=frozenset)
    refreshed_since: int = 0
    refresh_started_at: int = 0

    @classmethod
    def of(cls, attributes: Mapping[str, Any]) -> "WindowItem":
        values = Attributes(attributes)
        return cls(
            window_id=values.text("WindowId"),
            confirmed="WindowId" in attributes and "OpenedBy" not in attributes,
            opened_at=values.number("OpenedAt"),
            last_change_at=values.number("LastChangeAt"),
            refresh_at=values.number("RefreshAt"),
            lease_until=values.number("LeaseUntil"),
            reason=values.text("Reason"),
            folders=values.texts("Folders"),
            refreshing_id=values.text("RefreshingId"),
            refreshed_folders=values.texts("RefreshedFolders"),
            refreshed_since=values.number("RefreshedSince"),
            refresh_started_at=values.number("RefreshStartedAt"),
        )

    @property
    def since(self) -> int:
        """When the first change came of what it holds, or hands to the shares; 0: nothing."""
        opened, handed = self.opened_at * bool(self.window_id), self.refreshed_since * bool(self.refreshing_id)
        return min(opened or handed, handed or opened)

    def holds(self, folders: frozenset[str]) -> bool:
        """Whether the open window will refresh these folders as it is."""
        return EVERYTHING in self.folders or folders <= self.folders


@dataclass(frozen=True, slots=True)
class Attributes:
    """What DynamoDB answers, by its types."""

    all: Mapping[str, Any]

    def text(self, name: str) -> str | None:
        return self.all[name]["S"] if name in self.all else None

    def number(self, name: str) -> int:
        return int(self.all[name]["N"]) if name in self.all else 0

    def texts(self, name: str) -> frozenset[str]:
        return frozenset(self.all[name]["SS"]) if name in self.all else frozenset()


class Table:
    """Reads and conditional writes. Raises botocore's errors for everything but a condition that does not hold."""

    def __init__(self, client: "DynamoDBClient", name: str) -> None:
        self._client = client
        self._name = name

    def _read(self, key: Key) -> Mapping[str, Any]:
        answer = self._client.get_item(TableName=self._name, Key=_key(key), ConsistentRead=True)
        return answer.get("Item", {})

    def _update(
        self, key: Key, update: str, condition: str | None, values: dict[str, Any]
    ) -> tuple[bool, Mapping[str, Any]]:
        """True and the item as the update leaves it; or False and the item for which the condition does not hold."""
        conditional: dict[str, Any] = {"ConditionExpression": condition} if condition else {}
        try:
            answer = self._client.update_item(
                TableName=self._name,
                Key=_key(key),
                UpdateExpression=update,
                **conditional,
                ExpressionAttributeValues=values,
                ReturnValues="ALL_NEW",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            met: Any = error.response.get("Item", {})
            return False, met
        if "Attributes" not in answer:
            raise UnreadableAnswerError(f"DynamoDB says that it updated {key}, and not to what")
        return True, answer["Attributes"]

    def _delete(self, key: Key) -> None:
        self._client.delete_item(TableName=self._name, Key=_key(key))

    def everything(self) -> Iterator[tuple[Key, Mapping[str, Any]]]:
        """Every key that the table holds, with its item's attributes."""
        for page in self._client.get_paginator("scan").paginate(TableName=self._name, ConsistentRead=True):
            for attributes in page["Items"]:
                yield Key.read(attributes["BucketName"]["S"]), attributes


def _key(key: Key) -> dict[str, Any]:
    return {"BucketName": {"S": str(key)}}


def number(value: int) -> dict[str, str]:
    return {"N": str(int(value))}


def strings(values: Iterable[str]) -> dict[str, list[str]]:
    return {"SS": sorted(values)}
