"""The DynamoDB table: one item for each key, and every change to it one conditional write.

A key (attribute BucketName) is a bucket, a file share, or something else of the bucket that a window of its own is for:
see `read_key`. Times are epoch milliseconds. What the attributes mean is in docs/design.md.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from event_aggregator.aws import UnreadableAnswerError
from event_aggregator.folders import EVERYTHING

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

# In the place of a place's name, which is a region's.
_GATEWAYS = "gateways"


@dataclass(frozen=True, slots=True)
class Item:
    """What the table holds for a key; None, zero and empty sets stand for what is not there."""

    window_id: str | None = None
    confirmed: bool = False  # the open window's request is known to be queued
    opened_at: int = 0
    last_change_at: int = 0
    refresh_at: int = 0
    lease_until: int = 0
    reason: str | None = None  # why a share's window waits
    folders: frozenset[str] = field(default_factory=frozenset)
    refreshing_id: str | None = None
    refreshed_folders: frozenset[str] = field(default_factory=frozenset)
    refreshed_since: int = 0
    refresh_started_at: int = 0
    last_asked_at: int = 0
    last_accepted_at: int = 0
    in_progress_id: str | None = None
    in_progress_since: int = 0
    in_progress_for: int = 0
    in_progress_window: str | None = None
    completed: int = 0  # how many completions are remembered

    @classmethod
    def of(cls, attributes: Mapping[str, Any]) -> "Item":
        def text(name: str) -> str | None:
            return attributes[name]["S"] if name in attributes else None

        def number(name: str) -> int:
            return int(attributes[name]["N"]) if name in attributes else 0

        def strings(name: str) -> frozenset[str]:
            return frozenset(attributes[name]["SS"]) if name in attributes else frozenset()

        return cls(
            window_id=text("WindowId"),
            confirmed="WindowId" in attributes and "OpenedBy" not in attributes,
            opened_at=number("OpenedAt"),
            last_change_at=number("LastChangeAt"),
            refresh_at=number("RefreshAt"),
            lease_until=number("LeaseUntil"),
            reason=text("Reason"),
            folders=strings("Folders"),
            refreshing_id=text("RefreshingId"),
            refreshed_folders=strings("RefreshedFolders"),
            refreshed_since=number("RefreshedSince"),
            refresh_started_at=number("RefreshStartedAt"),
            last_asked_at=number("LastAskedAt"),
            last_accepted_at=number("LastAcceptedAt"),
            in_progress_id=text("InProgressId"),
            in_progress_since=number("InProgressSince"),
            in_progress_for=number("InProgressFor"),
            in_progress_window=text("InProgressWindow"),
            completed=len(strings("CompletedIds")),
        )

    def holds(self, folders: frozenset[str]) -> bool:
        """Whether the open window will refresh these folders as it is."""
        return EVERYTHING in self.folders or folders <= self.folders


class Table:
    """Reads and conditional writes. Raises botocore's errors for everything but a condition that does not hold."""

    def __init__(self, client: "DynamoDBClient", name: str) -> None:
        self._client = client
        self._name = name

    def read(self, key: str) -> Item:
        answer = self._client.get_item(TableName=self._name, Key={"BucketName": {"S": key}}, ConsistentRead=True)
        return Item.of(answer.get("Item", {}))

    def _update(self, key: str, update: str, condition: str, values: dict[str, Any]) -> tuple[bool, Item]:
        """True and the item as the update leaves it; or False and the item for which the condition does not hold."""
        try:
            answer = self._client.update_item(
                TableName=self._name,
                Key={"BucketName": {"S": key}},
                UpdateExpression=update,
                ConditionExpression=condition,
                ExpressionAttributeValues=values,
                ReturnValues="ALL_NEW",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            met: Any = error.response.get("Item", {})
            return False, Item.of(met)
        if "Attributes" not in answer:
            raise UnreadableAnswerError(f"DynamoDB says that it updated {key}, and not to what")
        return True, Item.of(answer["Attributes"])

    def _delete(self, key: str) -> None:
        self._client.delete_item(TableName=self._name, Key={"BucketName": {"S": key}})

    def _scan(self, condition: str) -> Iterator[tuple[str, Item]]:
        """Every key whose item meets the condition, with the item."""
        pages = self._client.get_paginator("scan").paginate(
            TableName=self._name, FilterExpression=condition, ConsistentRead=True
        )
        for page in pages:
            for attributes in page["Items"]:
                yield attributes["BucketName"]["S"], Item.of(attributes)


def number(value: int) -> dict[str, str]:
    return {"N": str(value)}


def strings(values: Iterable[str]) -> dict[str, list[str]]:
    return {"SS": sorted(values)}


def key_of_place(bucket: str, name: str) -> str:
    """Where changes wait for a place that cannot be asked for its shares: my-bucket/eu-west-1/."""
    return f"{bucket}/{name}/"


def key_of_writer(bucket: str, role_id: str) -> str:
    """Of the window of what a gateway wrote by a role: my-bucket/gateways:AROAEXAMPLE/, or my-bucket/gateways/."""
    return key_of_place(bucket, f"{_GATEWAYS}:{role_id}" if role_id else _GATEWAYS)


def writer_in(place: str) -> str | None:
    """The id of the role, which may be empty, if this is no place but part of the key of what a gateway wrote."""
    name, _, role_id = place.partition(":")
    return role_id if name == _GATEWAYS else None


def read_key(key: str) -> tuple[str, str, str]:
    """Bucket, place and share id of a key; the place is empty at home, or if all are meant.

    my-bucket, my-bucket/share-1234ABCD, my-bucket/eu-west-1/, my-bucket/eu-west-1/share-1234ABCD; `writer_in` reads
    what stands in the place's place in the key of what a gateway wrote.
    """
    bucket, _, rest = key.partition("/")
    place, _, share_id = rest.rpartition("/")
    return bucket, place, share_id
