"""From S3 events to windows and requests, with moto's DynamoDB and SQS."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from event_aggregator.aggregate import NotFinishedError
from event_aggregator.request import LIFETIME_MS, Request
from event_aggregator.table import Key
from tests.unit.conftest import START, World, fail, s3_event, s3_record

TIME_LEFT = 30_000


def aggregate(world: World, *records: Any) -> None:
    world.aggregator.aggregate_event(s3_event(*records), TIME_LEFT)


def test_the_first_change_opens_a_window_and_sends_its_delayed_request(world: World) -> None:
    aggregate(world, s3_record("photos/a.jpg"))
    item = world.item()
    assert item.folders == {"/photos"}
    assert item.refresh_at == START + 30_000
    assert world.requests() == [Request(Key.read("my-bucket"), item.window_id or "", item.window_id or "", attempt=1)]
    assert world.sent[0]["DelaySeconds"] == 30


def test_any_number_of_changes_send_one_request(world: World) -> None:
    for n in range(20):
        aggregate(world, s3_record(f"photos/{n}.jpg"))
        world.time += 100
    aggregate(world, *(s3_record(f"videos/{n}.mp4") for n in range(120)))
    assert len(world.sent) == 1
    assert world.item().folders == {"/photos", "/videos"}


def test_a_repeated_delivery_sends_nothing_more(world: World) -> None:
    for _ in range(3):
        aggregate(world, s3_record())
    assert len(world.sent) == 1


def test_every_bucket_has_its_own_window(world: World) -> None:
    aggregate(world, s3_record(bucket="one"), s3_record(bucket="two"), s3_record(bucket="one"))
    assert sorted(str(request.key) for request in world.requests()) == ["one", "two"]


BY_A_GATEWAY = {"principalId": "AWS:AROAX:StorageGateway"}


@pytest.mark.parametrize("mode", ["auto", "on"])
def test_what_a_gateway_wrote_goes_into_a_window_of_its_roles_and_is_absorbed_by_it(world: World, mode: str) -> None:
    world.settings["REFRESH_OTHER_GATEWAYS"] = mode
    aggregate(world, s3_record("a/1", userIdentity=BY_A_GATEWAY), s3_record("b/1"))
    aggregate(world, s3_record("a/2", userIdentity=BY_A_GATEWAY), s3_record("b/2"))
    assert [str(request.key) for request in world.requests()] == ["my-bucket/gateways:AROAX/", "my-bucket"]
    assert world.item("my-bucket/gateways:AROAX/").folders == {"/a"}
    assert world.item().folders == {"/b"}


def test_two_gateways_that_write_by_roles_of_their_own_have_two_windows(world: World) -> None:
    principals = [f"AWS:{role}:StorageGateway" for role in ("AROAX", "AROAY")]
    aggregate(world, *(s3_record(userIdentity={"principalId": principal}) for principal in principals))
    keys = [str(request.key) for request in world.requests()]
    assert keys == ["my-bucket/gateways:AROAX/", "my-bucket/gateways:AROAY/"]


@pytest.mark.parametrize("principal", ["AWS:AROAJOB:StorageGatewayLoader", "AWS:somebody:StorageGateway"])
def test_who_is_only_named_like_a_gateway_writes_as_anybody(world: World, principal: str) -> None:
    aggregate(world, s3_record(userIdentity={"principalId": principal}))
    assert [str(request.key) for request in world.requests()] == ["my-bucket"]


def test_nobody_is_a_gateway_if_so_told(world: World) -> None:
    world.settings["GATEWAY_SESSION_NAME"] = ""
    aggregate(world, s3_record(userIdentity=BY_A_GATEWAY))
    assert [str(request.key) for request in world.requests()] == ["my-bucket"]


def test_changes_of_keys_that_nobody_wants_to_see_refresh_nothing_and_are_counted(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.settings["IGNORE_KEYS"] = "*.tmp,*/_temporary/*"
    aggregate(world, s3_record("a/1.tmp"), s3_record("b/2"), s3_record("_temporary/0/c"))
    assert world.item().folders == {"/b"}
    emitted = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "ChangesIgnored" in line]
    assert [(line["bucket"], line["ChangesIgnored"]) for line in emitted] == [
        ("my-bucket", [1.0]),
        ("my-bucket", [1.0]),
    ]


def test_an_event_of_ignored_keys_alone_makes_no_call(world: World) -> None:
    world.settings["IGNORE_KEYS"] = "*.tmp"
    fail(world.dynamodb, "UpdateItem", times=9)
    aggregate(world, s3_record("a/1.tmp"))
    assert world.sent == []


def test_the_delay_is_the_one_that_was_set(world: World) -> None:
    world.settings["REFRESH_DELAY_SECONDS"] = "0"
    aggregate(world, s3_record())
    assert world.sent[0]["DelaySeconds"] == 0


def test_a_retry_after_the_request_could_not_be_sent_sends_it(world: World) -> None:
    fail(world.sqs, "SendMessage")
    with pytest.raises(NotFinishedError):
        aggregate(world, s3_record())
    assert world.sent == []
    aggregate(world, s3_record())
    assert [request.window for request in world.requests()] == [world.item().window_id]


def test_a_retry_after_a_lost_confirmation_takes_the_window_over_and_sends_again(world: World) -> None:
    fail(world.dynamodb, "UpdateItem", after=1)
    with pytest.raises(NotFinishedError):
        aggregate(world, s3_record())
    aggregate(world, s3_record())
    _, second = world.requests()
    assert second.window == world.item().window_id


def test_another_change_does_not_take_over_a_window_that_is_being_sent(world: World) -> None:
    fail(world.sqs, "SendMessage")
    with pytest.raises(NotFinishedError):
        aggregate(world, s3_record("photos/a.jpg"))
    aggregate(world, s3_record("photos/b.jpg"))
    assert world.sent == []


def test_another_change_takes_it_over_when_its_opener_must_be_dead(world: World) -> None:
    fail(world.sqs, "SendMessage")
    with pytest.raises(NotFinishedError):
        aggregate(world, s3_record("photos/a.jpg"))
    world.time += TIME_LEFT + 10_001
    aggregate(world, s3_record("videos/b.mp4", at=world.time))
    assert len(world.sent) == 1
    assert world.item().folders == {"/photos", "/videos"}


def test_a_confirmed_window_is_left_alone_for_as_long_as_its_request_may_be_delivered(world: World) -> None:
    aggregate(world, s3_record())
    world.time += 30_000 + LIFETIME_MS
    aggregate(world, s3_record("photos/b.jpg", at=world.time))
    assert len(world.sent) == 1
    world.time += 1
    aggregate(world, s3_record("photos/b.jpg", at=world.time))
    assert len(world.sent) == 2


def test_a_bucket_that_fails_does_not_stop_the_others_and_is_named(world: World) -> None:
    fail(world.dynamodb, "UpdateItem")
    with pytest.raises(NotFinishedError, match="Bucket one"):
        aggregate(world, s3_record(bucket="one"), s3_record(bucket="two"))
    assert [str(request.key) for request in world.requests()] == ["two"]


def test_a_record_that_is_none_of_s3s_does_not_stop_the_others_and_is_raised(world: World) -> None:
    with pytest.raises(NotFinishedError, match="Record 0 cannot be read as S3's"):
        aggregate(world, {"eventSource": "aws:sns"}, s3_record())
    assert len(world.sent) == 1


def test_a_change_that_joins_while_the_window_is_closed_opens_the_next(world: World) -> None:
    aggregate(world, s3_record("photos/a.jpg"))
    closing = [True]

    def close_first(params: dict[str, Any], **_: Any) -> None:
        if closing[0] and "SET LastChangeAt" in params["UpdateExpression"]:
            closing[0] = False
            world.windows.close(Key.read("my-bucket"), world.item(), world.item().refresh_at, world.time + LIFETIME_MS)

    world.dynamodb.meta.events.register("provide-client-params.dynamodb.UpdateItem", close_first)
    aggregate(world, s3_record("videos/b.mp4"))
    assert not closing[0]
    assert len(world.sent) == 2
    assert world.item().folders == {"/videos"}
    assert world.item().refreshed_folders == {"/photos"}


def test_an_answer_that_says_nothing_is_not_taken_for_success(world: World) -> None:
    def truncate(parsed: dict[str, Any], **_: Any) -> None:
        parsed.pop("Attributes", None)

    world.dynamodb.meta.events.register("after-call.dynamodb.UpdateItem", truncate)
    with pytest.raises(NotFinishedError, match="DynamoDB updated my-bucket, but its response lacks the item"):
        aggregate(world, s3_record())


def test_what_dynamodb_refuses_is_raised(world: World) -> None:
    world.dynamodb.delete_table(TableName=world.table)
    with pytest.raises(NotFinishedError) as raised:
        aggregate(world, s3_record())
    assert isinstance(raised.value.__cause__, ClientError)


# Changes from before a refresh

HOUR = 3_600_000
BEGAN = START + 10 * HOUR  # the refresh of /photos


def refreshed(world: World) -> None:
    """/photos has been refreshed at BEGAN, and another hour has passed."""
    aggregate(world, s3_record("photos/a.jpg"))
    item = world.item()
    assert world.windows.close(Key.read("my-bucket"), item, BEGAN, BEGAN + 1)
    world.windows.mark_distributed(Key.read("my-bucket"), item.window_id or "")
    world.time = BEGAN + HOUR


@pytest.mark.parametrize("made_at", [BEGAN - 5_001, BEGAN - HOUR, BEGAN - 5 * HOUR])
def test_a_change_that_comes_up_to_six_hours_late_opens_no_window_if_a_refresh_has_covered_it(
    world: World, made_at: int
) -> None:
    refreshed(world)
    aggregate(world, s3_record("photos/b.jpg", at=made_at))
    assert world.item().window_id is None
    assert len(world.sent) == 1


@pytest.mark.parametrize("made_at", [0, START, BEGAN - 5 * HOUR - 1, BEGAN + 1_000 * HOUR])
def test_a_time_that_cannot_be_true_is_not_taken_for_one_from_before_a_refresh(world: World, made_at: int) -> None:
    refreshed(world)
    aggregate(world, s3_record("photos/b.jpg", at=made_at))
    assert world.item().folders == {"/photos"}
    assert len(world.sent) == 2


def test_a_time_that_cannot_be_true_is_not_hidden_by_a_late_one_beside_it(world: World) -> None:
    refreshed(world)
    aggregate(world, s3_record("photos/b.jpg", at=0), s3_record("photos/c.jpg", at=BEGAN - HOUR))
    assert world.item().folders == {"/photos"}


def test_a_time_that_cannot_be_true_takes_no_window_from_its_opener(world: World) -> None:
    fail(world.sqs, "SendMessage")
    with pytest.raises(NotFinishedError):
        aggregate(world, s3_record("photos/a.jpg"))
    aggregate(world, s3_record("photos/b.jpg", at=0))
    assert world.sent == []


# Quiet windows


def quiet(world: World, seconds: int = 20, longest: int = 120) -> None:
    world.settings |= {"REFRESH_QUIET_SECONDS": str(seconds), "REFRESH_MAX_DELAY_SECONDS": str(longest)}


def test_a_quiet_window_is_due_between_1_and_1_25_times_the_quiet_time_after_its_last_change(world: World) -> None:
    quiet(world)
    container = world.aggregator
    for _ in range(40):
        container.aggregate_event(s3_event(s3_record(at=world.time)), TIME_LEFT)
        assert 20_000 <= world.item().refresh_at - world.time <= 25_000
        world.time += 700
    assert len(world.sent) == 1


def test_a_quiet_window_is_due_no_later_than_its_maximum_after_its_first_change(world: World) -> None:
    quiet(world)
    container = world.aggregator
    while world.time < START + 110_000:
        container.aggregate_event(s3_event(s3_record(at=world.time)), TIME_LEFT)
        world.time += 3_000
    assert world.item().refresh_at == START + 120_000


def test_a_quiet_window_is_moved_at_most_once_a_container_in_a_quarter_of_the_quiet_time(world: World) -> None:
    quiet(world)
    writes = 0

    def count_write(**_: Any) -> None:
        nonlocal writes
        writes += 1

    containers = [world.aggregator, world.aggregator]
    for container in containers:
        container.aggregate_event(s3_event(s3_record()), TIME_LEFT)
    world.dynamodb.meta.events.register("before-call.dynamodb.UpdateItem", count_write)
    for _ in range(60):  # 60 s: 12 quarters
        world.time += 1_000
        for container in containers:
            container.aggregate_event(s3_event(s3_record(at=world.time)), TIME_LEFT)
    assert writes <= 2 * 12


def test_a_cold_container_moves_the_quiet_window_that_it_meets(world: World) -> None:
    quiet(world)
    world.aggregator.aggregate_event(s3_event(s3_record()), TIME_LEFT)
    world.time += 10_000
    world.aggregator.aggregate_event(s3_event(s3_record(at=world.time)), TIME_LEFT)
    assert world.item().refresh_at == world.time + 25_000


# A pace of the bucket's own


def test_a_bucket_has_the_delay_of_its_own_also_for_what_a_gateway_wrote(world: World) -> None:
    world.settings["REFRESH_DELAY_SECONDS"] = "30,renders=600"
    by_a_gateway = s3_record(bucket="renders", userIdentity=BY_A_GATEWAY)
    aggregate(world, s3_record(), s3_record(bucket="renders"), by_a_gateway)
    due = {key: world.item(key).refresh_at - START for key in ("my-bucket", "renders", "renders/gateways:AROAX/")}
    assert due == {"my-bucket": 30_000, "renders": 600_000, "renders/gateways:AROAX/": 600_000}
    assert [message["DelaySeconds"] for message in world.sent] == [30, 600, 600]


def test_one_bucket_has_a_quiet_time_while_another_has_a_delay(world: World) -> None:
    world.settings |= {"REFRESH_QUIET_SECONDS": "0,renders=20", "REFRESH_MAX_DELAY_SECONDS": "900,renders=40"}
    container = world.aggregator
    for _ in range(3):
        container.aggregate_event(s3_event(s3_record(), s3_record(bucket="renders")), TIME_LEFT)
        world.time += 15_000
    assert world.item().refresh_at == START + 30_000
    assert world.item("renders").refresh_at == START + 40_000


def test_a_delay_beyond_what_sqs_allows_is_sent_as_far_as_it_goes(world: World) -> None:
    world.settings["REFRESH_DELAY_SECONDS"] = "43200"
    aggregate(world, s3_record())
    assert world.sent[0]["DelaySeconds"] == 900
    assert world.item().refresh_at == START + 43_200_000
