"""What a window costs in AWS calls; and that 500 shares on one bucket are all asked, by deliveries that end in time."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore.exceptions import ClientError

from event_aggregator.access_points import AccessPoints
from event_aggregator.file_shares import FileShares
from event_aggregator.observability import logger
from event_aggregator.regions import Regions
from tests.simulation.engine import Attributes, Engine, Row
from tests.unit.conftest import World, s3_event, s3_record
from tests.unit.shares import BUSY, HOME, MINUTE, TIME_LEFT, Function, KilledError, Region, change, completion, share


@pytest.fixture
def calls(world: World) -> Counter[str]:
    """The operations of every call to DynamoDB and SQS."""
    made: Counter[str] = Counter()
    for client in (world.dynamodb, world.sqs):
        client.meta.events.register("before-call", lambda model, **_: made.update([model.name]))
    return made


def test_a_window_of_one_share_on_one_gateway_takes_7_writes_1_message_and_11_calls(
    world: World, calls: Counter[str]
) -> None:
    world.settings["VISIBLE_EVENTS"] = "off"
    region = Region(world)
    function = Function(world, {HOME: region})
    aggregator = world.aggregator
    for _ in range(3):
        calls.clear()
        region.listings = 0
        aggregator.aggregate_event(s3_event(s3_record(at=world.time)), TIME_LEFT)
        function.deliver_next()
        world.time += 60_000
        function.complete(region.refreshes[-1])
    assert len(region.refreshes) == 3
    assert (region.looked, region.listings, function.queue) == ([], 1, [])
    assert calls == {"UpdateItem": 7, "GetItem": 1, "SendMessage": 1}
    assert calls.total() + region.listings + 1 == 11, "with the one RefreshCache"
    assert world.bus.calls == 0


def test_telling_others_of_what_is_visible_takes_one_call_more(world: World, calls: Counter[str]) -> None:
    region = Region(world)
    function = Function(world, {HOME: region})
    aggregator = world.aggregator
    for number in range(1, 4):
        calls.clear()
        aggregator.aggregate_event(s3_event(s3_record(at=world.time)), TIME_LEFT)
        function.deliver_next()
        assert world.bus.calls == number - 1, "at the completion"
        world.time += 60_000
        function.complete(region.refreshes[-1])
        assert world.bus.calls == number
    assert (region.looked, region.listings) == ([], 3)
    assert calls == {"UpdateItem": 7, "GetItem": 1, "SendMessage": 1}


def test_a_container_that_starts_reads_the_gateways_document_once(world: World, calls: Counter[str]) -> None:
    region = Region(world)
    function = Function(world, {HOME: region})
    change(world)
    calls.clear()
    function.deliver_next()
    assert calls == {"UpdateItem": 4, "GetItem": 2}


def test_a_completion_describes_and_lists_nothing(world: World, calls: Counter[str]) -> None:
    region = Region(world)
    function = Function(world, {HOME: region})
    change(world)
    function.deliver_next()
    calls.clear()
    function.restart()
    function.complete(region.refreshes[0])
    assert calls == {"GetItem": 1, "UpdateItem": 1}
    assert (region.listings, region.looked) == (1, [])


def test_a_share_that_takes_its_turn_costs_one_describe_and_one_refresh(world: World) -> None:
    region = Region(world, [share(f"share-{n}") for n in range(9)])
    function = Function(world, {HOME: region})
    change(world)
    function.run()
    assert (region.listings, len(region.looked), len(region.asked)) == (1, 9, 9)


# 500 shares


GATEWAYS, SHARES_EACH, LIST_PAGE = 10, 50, 100
DYNAMODB_MS, SQS_MS, STORAGE_GATEWAY_MS = 8, 12, 300


class Table:
    """The table behind its SDK's client; thousands of calls through HTTP and moto would take a minute."""

    def __init__(self, spend: Callable[[int], None]) -> None:
        self._spend = spend
        self._engine = Engine()
        self._rows: dict[str, Row | None] = {}

    def get_item(self, *, Key: Attributes, **_: Any) -> Attributes:  # noqa: N803 - the SDK's
        self._spend(DYNAMODB_MS)
        row = self._rows.get(Key["BucketName"]["S"])
        return {"Item": row.attributes} if row else {}

    def update_item(self, **parameters: Any) -> Attributes:
        self._spend(DYNAMODB_MS)
        key = parameters["Key"]["BucketName"]["S"]
        parameters["Key"] = {"BucketName": {"S": "any"}}  # the answer is the same for every key: it is found once
        text = json.dumps(parameters, sort_keys=True)
        ok, after = self._engine.update(self._rows.get(key), text, parameters)
        attributes = after.attributes if after else {}
        if not ok:
            answer: Any = {"Error": {"Code": "ConditionalCheckFailedException", "Message": ""}, "Item": attributes}
            raise ClientError(answer, "UpdateItem")
        self._rows[key] = after
        return {"Attributes": attributes}


@dataclass
class Service:
    """Storage Gateway behind its SDK's client: it takes two refreshes at a time, of a gateway or of a share."""

    each_share_takes: bool
    spend: Callable[[int], None]
    now: Callable[[], int]
    running: dict[str, tuple[int, int]] = field(default_factory=dict)  # by notification: share and when it ends
    accepted: list[int] = field(default_factory=list)  # share by share
    calls: Counter[str] = field(default_factory=Counter)

    def _called(self, operation: str) -> None:
        self.calls[operation] += 1
        self.spend(STORAGE_GATEWAY_MS)

    def get_paginator(self, operation: str) -> Any:
        assert operation == "list_file_shares"
        return self

    def paginate(self) -> Iterator[dict[str, Any]]:
        shares = [share(f"share-{n:03}", f"sgw-{n // SHARES_EACH}") for n in range(GATEWAYS * SHARES_EACH)]
        for start in range(0, len(shares), LIST_PAGE):
            self._called("ListFileShares")
            yield {
                "FileShareInfoList": [
                    {
                        "FileShareARN": one.arn,
                        "FileShareType": "NFS",
                        "FileShareStatus": "AVAILABLE",
                        "GatewayARN": one.gateway_arn,
                    }
                    for one in shares[start : start + LIST_PAGE]
                ]
            }

    def describe_nfs_file_shares(self, *, FileShareARNList: list[str]) -> dict[str, Any]:  # noqa: N803 - the SDK's
        self._called("DescribeNFSFileShares")
        described = {"FileShareStatus": "AVAILABLE", "LocationARN": "arn:aws:s3:::my-bucket"}
        return {"NFSFileShareInfoList": [{"FileShareARN": arn, **described} for arn in FileShareARNList]}

    def refresh_cache(self, *, FileShareARN: str, **_: Any) -> dict[str, str]:  # noqa: N803 - the SDK's
        self._called("RefreshCache")
        number = int(FileShareARN.rpartition("-")[2])
        scope = 1 if self.each_share_takes else SHARES_EACH
        if sum(other // scope == number // scope for other, _ in self.running.values()) >= 2:
            self.calls["refused"] += 1
            raise BUSY
        self.accepted.append(number)
        self.running[f"n{len(self.accepted)}"] = number, self.now() + MINUTE
        return {"NotificationId": f"n{len(self.accepted)}"}


class SlowWorld:
    """Every call takes its time, and Lambda kills a delivery that takes longer than the function may."""

    def __init__(self, world: World, *, each_share_takes: bool) -> None:
        self.world = world
        self.kill_at: int | None = None
        self.service = Service(each_share_takes, self.spend, lambda: world.time)
        client: Any = self.service
        self.file_shares = FileShares(client, client, AccessPoints(pytest.fail), pytest.fail)
        world.dynamodb = Table(self.spend)
        world.sqs.meta.events.register("before-call", lambda **_: self.spend(SQS_MS))
        self.function = Function(world, {})

    def spend(self, milliseconds: int) -> None:
        self.world.time += milliseconds
        if self.kill_at is not None and self.world.time > self.kill_at:
            raise KilledError

    def handle(self, body: str, message_id: str) -> None:
        """One delivery, in the one warm container."""
        logger.clear_state()
        self.kill_at = self.world.time + TIME_LEFT
        regions = Regions(HOME, {HOME: lambda: self.file_shares})
        self.world.refresher(regions, self.function.gateways).handle(body, None, message_id, TIME_LEFT)
        self.kill_at = None

    def run(self) -> None:
        """Deliver everything until it is quiet."""
        queue, running = self.function.queue, self.service.running
        while queue or running:
            ends = min(running.items(), key=lambda item: item[1][1], default=None)
            if ends and (not queue or ends[1][1] <= self.function.next.due):
                number, end = running.pop(ends[0])
                self.world.time = max(self.world.time, end)
                one = share(f"share-{number:03}", f"sgw-{number // SHARES_EACH}")
                self.function.put(completion(one, ends[0], end - MINUTE, end), self.world.time)
            else:
                message = self.function.next
                queue.remove(message)
                self.world.time = max(self.world.time, message.due)
                self.handle(message.body, message.id)


@pytest.mark.parametrize("each_share_takes", [False, True], ids=["two a gateway", "two a share"])
def test_500_shares_on_one_bucket_are_all_asked_in_turn_and_no_delivery_runs_out_of_time(
    world: World, each_share_takes: bool
) -> None:
    slow = SlowWorld(world, each_share_takes=each_share_takes)
    change(world)
    due = world.time + 30_000
    slow.run()
    calls, accepted = slow.service.calls, slow.service.accepted
    assert sorted(accepted) == list(range(500))
    assert world.item().refreshing_id is None
    assert world.time - due <= 1.1 * SHARES_EACH / 2 * MINUTE
    pages, cold_describes = 500 // LIST_PAGE, 500 // 10
    assert calls["ListFileShares"] == pages
    assert calls["DescribeNFSFileShares"] == cold_describes + 500 + calls["refused"]
    assert calls["RefreshCache"] == 500 + calls["refused"]
    assert calls["refused"] <= (0 if each_share_takes else 0.1 * 500)
    for number in range(GATEWAYS):
        in_order = [one for one in accepted if one // SHARES_EACH == number]
        for position, one in enumerate(in_order):
            assert sum(other > one for other in in_order[:position]) <= 2 + 1, "overtaken by later ones"
