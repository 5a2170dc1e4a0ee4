"""What is measured: this project's two functions, and the plain baseline of 2018, in a simulated account."""

import json
from typing import Any

from bench.world import ACCOUNT, BUCKET, DELAY, REGION, TABLE, World
from event_aggregator.aggregate import Aggregator
from event_aggregator.file_shares import FileShare, FileShares
from event_aggregator.folders import Round
from event_aggregator.observability import timestamp
from event_aggregator.pace import Pace
from event_aggregator.places import Places
from event_aggregator.refresh import Refresher
from event_aggregator.request import ActionQueue
from event_aggregator.settings import Settings
from event_aggregator.window import Windows

TIME_LEFT = 30_000
REFRESH_TAKES = 5_000  # milliseconds, until the gateway reports it complete


class Ours:
    """This project's two functions: an Aggregator a container, and a Refresher for the one share."""

    def __init__(self, world: World, containers: int = 1, **changed: int) -> None:
        environment = {name.upper(): str(value) for name, value in changed.items()}
        settings = Settings.read({"TABLE_NAME": TABLE, "QUEUE_URL": world.queue_url, **environment})
        windows, queue = Windows(world.dynamodb, TABLE), ActionQueue(lambda: world.sqs, world.queue_url)
        first, *others = [Aggregator(windows, queue, settings, lambda: world.now) for _ in range(containers + 1)]
        self._refresher = Refresher(
            first, Places(REGION, {REGION: lambda: _OneShare(world)}), Pace(world.dynamodb, TABLE)
        )
        self._containers = others

    def change(self, event: dict[str, Any], container: int) -> None:
        self._containers[container].aggregate_event(event, TIME_LEFT)

    def request(self, body: str) -> None:
        self._refresher.handle(body, BUCKET, "message", TIME_LEFT)


class _OneShare(FileShares):
    """The world's share in the place of Storage Gateway's, whose calls are free. It reports each refresh complete."""

    _share = FileShare(f"arn:aws:storagegateway:{REGION}:{ACCOUNT}:share/share-1", "AVAILABLE", BUCKET, "")

    def __init__(self, world: World) -> None:
        self._world = world

    def showing(self, bucket: str) -> list[FileShare]:  # noqa: ARG002 - there is one
        return [self._share]

    def key_of(self, arn: str) -> str:  # noqa: ARG002
        return self._share.key

    def refresh(self, share: FileShare, round_: Round) -> str:
        self._world.refresh(round_.folder_list, recursive=round_.recursive)
        notification_id = str(len(self._world.refreshed_at))
        completed = self._world.now + REFRESH_TAKES
        event = {
            "detail-type": "Storage Gateway Refresh Cache Event",
            "resources": [share.arn],
            "detail": {"notification-id": notification_id, "completed": timestamp(completed)},
        }
        self._world.queue(json.dumps(event), completed)
        return notification_id


class Plain:
    """The baseline, as in 2018: one conditional UpdateItem an event, and each refresh is one of the whole share."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._item: Any = {"TableName": TABLE, "Key": {"BucketName": {"S": BUCKET}}}

    def change(self, event: dict[str, Any], container: int) -> None:  # noqa: ARG002 - it remembers nothing
        for _ in event["Records"]:
            try:
                self._world.dynamodb.update_item(
                    **self._item,
                    UpdateExpression="SET Pending = :yes",
                    ConditionExpression="attribute_not_exists(Pending)",
                    ExpressionAttributeValues={":yes": {"BOOL": True}},
                )
            except self._world.dynamodb.exceptions.ConditionalCheckFailedException:
                continue
            self._world.sqs.send_message(QueueUrl=self._world.queue_url, DelaySeconds=DELAY // 1000, MessageBody=BUCKET)

    def request(self, body: str) -> None:  # noqa: ARG002 - it is the bucket
        self._world.dynamodb.update_item(**self._item, UpdateExpression="REMOVE Pending")
        self._world.refresh(["/"], recursive=True)
