"""The DynamoDB table: one item per key. Each update of an item is one write, conditional where a promise needs it.

A key (attribute BucketName) says what its item is about: see `Key`. Times are epoch milliseconds. docs/design.md
explains the attributes.
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
    WRITER = auto()  # the window of changes that a gateway may have written by one role
    REGION = auto()  # the folders that wait until the file shares of a region are listed
    SHARE = auto()  # the folders that wait for a file share
    GATEWAY = auto()  # the line of a gateway


@dataclass(frozen=True, slots=True)
class Key:
    """A key of the table: its text, and what that says.

    my-bucket                            BUCKET
    my-bucket/gateways:AROAEXAMPLE/      WRITER; my-bucket/gateways/ without a role's id
    my-bucket/eu-west-1/                 REGION; in another account eu-west-1:123456789012
    my-bucket/eu-west-1/gateways:AROAEXAMPLE/    REGION, for the changes of a WRITER
    my-bucket/share-1234ABCD             SHARE at home
    my-bucket/eu-west-1/share-1234ABCD   SHARE in another region: ids are unique per region
    arn:aws:storagegateway:...           GATEWAY: its ARN; bucket names have no colon
    """

    text: str
    kind: Kind = field(compare=False)
    bucket: str = field(default="", compare=False)
    region: str = field(default="", compare=False)  # of a REGION, or of a SHARE that is not at home
    writer: str | None = field(default=None, compare=False)  # id of the writer's role, may be empty; None: any writer
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
    """The window of a bucket or a region. An absent attribute is None, zero or an empty set."""

    window_id: str | None = None
    confirmed: bool = False  # the open window's request is known to be queued
    opened_at: int = 0
    last_change_at: int = 0
    refresh_at: int = 0
    lease_until: int = 0
    reason: str | None = None  # why the region could not be listed
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
        """The time of the first change in the open window or in a closed, undistributed one; 0 if there is neither."""
        opened, closed = self.opened_at * bool(self.window_id), self.refreshed_since * bool(self.refreshing_id)
        return min(opened or closed, closed or opened)

    def holds(self, folders: frozenset[str]) -> bool:
        """Whether the open window holds these folders already."""
        return EVERYTHING in self.folders or folders <= self.folders


@dataclass(frozen=True, slots=True)
class Attributes:
    """The attributes of an item, read by their types. An absent one is None, zero or an empty set."""

    all: Mapping[str, Any]

    def text(self, name: str) -> str | None:
        return self.all[name]["S"] if name in self.all else None

    def number(self, name: str) -> int:
        return int(self.all[name]["N"]) if name in self.all else 0

    def texts(self, name: str) -> frozenset[str]:
        return frozenset(self.all[name]["SS"]) if name in self.all else frozenset()


class Table:
    """Reads and conditional writes. Raises botocore's errors, except for a condition that fails."""

    def __init__(self, client: "DynamoDBClient", name: str) -> None:
        self._client = client
        self._name = name

    def _read(self, key: Key) -> Mapping[str, Any]:
        answer = self._client.get_item(TableName=self._name, Key=_key(key), ConsistentRead=True)
        return answer.get("Item", {})

    def _update(
        self, key: Key, update: str, condition: str | None, values: dict[str, Any]
    ) -> tuple[bool, Mapping[str, Any]]:
        """True and the updated item; or, if the condition fails, False and the item that it met."""
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
            raise UnreadableAnswerError(f"DynamoDB updated {key}, but its response lacks the item")
        return True, answer["Attributes"]

    def _delete(self, key: Key) -> None:
        self._client.delete_item(TableName=self._name, Key=_key(key))

    def everything(self) -> Iterator[tuple[Key, Mapping[str, Any]]]:
        """Every key in the table, with its item's attributes."""
        for page in self._client.get_paginator("scan").paginate(TableName=self._name, ConsistentRead=True):
            for attributes in page["Items"]:
                yield Key.read(attributes["BucketName"]["S"]), attributes


def _key(key: Key) -> dict[str, Any]:
    return {"BucketName": {"S": str(key)}}


def number(value: int) -> dict[str, str]:
    return {"N": str(int(value))}


def strings(values: Iterable[str]) -> dict[str, list[str]]:
    return {"SS": sorted(values)}
