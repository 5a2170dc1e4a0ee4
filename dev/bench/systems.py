"""What is measured: this project's two functions, and the plain baseline of 2018, in a simulated account."""

import json
from typing import Any, Literal

from botocore.exceptions import ClientError

from dev.bench.world import ACCOUNT, BUCKET, DELAY, REGION, TABLE, World
from event_aggregator.aggregate import Aggregator
from event_aggregator.asking import Asker
from event_aggregator.file_shares import FileShare, FileShares
from event_aggregator.folders import Round
from event_aggregator.gateways import Gateways
from event_aggregator.observability import timestamp
from event_aggregator.refresh import Refresher
from event_aggregator.regions import Regions
from event_aggregator.request import ActionQueue
from event_aggregator.settings import Settings
from event_aggregator.turns import Rules
from event_aggregator.waiting import WaitingShares
from event_aggregator.window import Windows

TIME_LEFT, REFRESH_TIME_LEFT = 30_000, 60_000  # the functions' timeouts, in milliseconds
REFRESH_TAKES = 5_000  # milliseconds, until the gateway reports it complete

Scope = Literal["gateway", "share"]

_ARN = f"arn:aws:storagegateway:{REGION}:{ACCOUNT}"
_GATEWAY = f"{_ARN}:gateway/sgw-1"


class Ours:
    """This project's two functions: an Aggregator a container, and one Refresher."""

    def __init__(self, world: World, containers: int = 1, gateway: "Gateway | None" = None, **changed: int) -> None:
        environment = {name.upper(): str(value) for name, value in changed.items()}
        settings = Settings.read({"TABLE_NAME": TABLE, "QUEUE_URL": world.queue_url, **environment})
        table = world.dynamodb, TABLE
        windows, queue = Windows(*table), ActionQueue(lambda: world.sqs, world.queue_url)
        shares = gateway or Gateway(world)

        def now() -> int:
            return world.now

        gateways = Gateways(*table, queue, Rules.of(settings), now)
        regions = Regions(REGION, {REGION: lambda: shares})
        asker = Asker(regions, windows, WaitingShares(*table), gateways, settings, now)
        first, *self._containers = [Aggregator(windows, queue, settings, now) for _ in range(containers + 1)]
        self._refresher = Refresher(first, asker)

    def change(self, event: dict[str, Any], container: int) -> None:
        self._containers[container].aggregate_event(event, TIME_LEFT)

    def request(self, body: str, message_id: str) -> None:
        self._refresher.handle(body, BUCKET, message_id, REFRESH_TIME_LEFT)


class Gateway(FileShares):
    """A gateway in the place of Storage Gateway, whose calls are free. It reports each refresh complete.

    Its shares all show the world's bucket. It accepts two refreshes at a time, in all or of each share.
    """

    def __init__(
        self, world: World, *, shares: int = 1, takes: int = REFRESH_TAKES, two_accepted_per: Scope = "gateway"
    ) -> None:
        arns = [f"{_ARN}:share/share-{number}" for number in range(1, shares + 1)]
        self.shares = {arn: FileShare(arn, "NFS", _GATEWAY, "AVAILABLE", BUCKET) for arn in arns}
        self.story: list[tuple[int, str]] = []  # when it was listed, and when which share accepted a refresh
        self.refused = 0
        self._world = world
        self._takes = takes
        self._two_accepted_per = two_accepted_per

    def showing(self, bucket: str) -> list[FileShare]:  # noqa: ARG002 - there is one
        self.story.append((self._world.now, ""))
        return list(self.shares.values())

    def describe(self, arn: str, *_: str) -> FileShare:
        return self.shares[arn]

    def refresh(self, share: FileShare, round_: Round) -> str:
        now, world = self._world.now, self._world
        in_progress = [arn for at, arn in self.story if arn and at + self._takes > now]
        if self._two_accepted_per == "share":
            in_progress = [arn for arn in in_progress if arn == share.arn]
        if len(in_progress) >= 2:
            self.refused += 1
            busy: Any = {
                "Code": "InvalidGatewayRequestException",
                "Message": "Too many requests have been sent to server.",
            }
            raise ClientError({"Error": busy}, "RefreshCache")
        self.story.append((now, share.arn))
        world.refresh(round_.folder_list, recursive=round_.recursive)
        notification_id = str(len(self.story))
        event = {
            "detail-type": "Storage Gateway Refresh Cache Event",
            "resources": [share.arn, share.gateway_arn],
            "detail": {
                "notification-id": notification_id,
                "started": timestamp(now),
                "completed": timestamp(now + self._takes),
            },
        }
        world.queue(json.dumps(event), now + self._takes)
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

    def request(self, *_: str) -> None:
        self._world.dynamodb.update_item(**self._item, UpdateExpression="REMOVE Pending")
        self._world.refresh(["/"], recursive=True)
