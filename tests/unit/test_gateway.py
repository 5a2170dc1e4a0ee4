"""The simulated Storage Gateway keeps the rules of the real one: those of its folder cache, and those of its API."""

from bisect import insort
from collections.abc import Iterator
from functools import partial
from itertools import repeat
from queue import Queue
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError
from moto import mock_aws

from dev.local.completions import to_rule_targets
from dev.local.gateway import (
    NOT_CACHED,
    TOO_MANY,
    FileShare,
    Place,
    Refresh,
    Refusal,
    RefusedError,
    Scope,
    Share,
    StorageGateway,
    list_keys,
)

if TYPE_CHECKING:
    from types_boto3_storagegateway import StorageGatewayClient

SESSION = boto3.Session()  # one for all tests: it reads the service models once
SECONDS = 5  # more than any background refresh of these tests takes
HOUR, DAY = 3_600, 86_400
START = 1_790_000_000_000  # epoch milliseconds


def in_memory(*keys: str) -> list[str]:
    return sorted(keys)


def share_of(keys: list[str], **options: Any) -> Share:
    return Share(partial(list_keys, keys), **options)


# ---- The folder cache


def test_a_client_sees_every_object_of_a_bucket_never_listed_before() -> None:
    share = share_of(in_memory("top.txt", "a/one.txt", "a/b/two.txt"))

    assert share.tree() == {"top.txt", "a/one.txt", "a/b/two.txt"}


def test_a_new_object_in_a_cached_folder_is_invisible_until_the_folder_is_refreshed() -> None:
    keys = in_memory("a/one.txt")
    share = share_of(keys)
    share.tree()

    insort(keys, "a/two.txt")
    assert share.tree() == {"a/one.txt"}

    share.refresh(["a"], recursive=False)
    assert share.tree() == {"a/one.txt", "a/two.txt"}


def test_a_new_folder_is_invisible_until_its_parent_is_refreshed() -> None:
    keys = in_memory("top.txt")
    share = share_of(keys)
    share.tree()
    insort(keys, "new/one.txt")

    share.refresh(["new"], recursive=False)
    assert share.tree() == {"top.txt"}
    with pytest.raises(FileNotFoundError):
        share.listing("new")

    share.refresh(["/"], recursive=False)
    assert share.tree() == {"top.txt", "new/one.txt"}


def test_a_refresh_that_is_not_recursive_leaves_the_folders_below_stale() -> None:
    keys = in_memory("a/b/one.txt")
    share = share_of(keys)
    share.tree()
    insort(keys, "a/b/two.txt")

    share.refresh(["/", "a"], recursive=False)

    assert share.tree() == {"a/b/one.txt"}


def test_a_recursive_refresh_reaches_everything_beneath() -> None:
    keys = in_memory("a/b/one.txt", "z/one.txt")
    share = share_of(keys)
    share.tree()
    for key in ("a/b/two.txt", "a/c/d/three.txt", "z/two.txt"):
        insort(keys, key)

    share.refresh(["a"], recursive=True)

    assert share.tree() == {"a/b/one.txt", "a/b/two.txt", "a/c/d/three.txt", "z/one.txt"}


def test_a_folder_that_vanished_is_forgotten_with_all_beneath_it() -> None:
    keys = in_memory("a/b/one.txt", "top.txt")
    share = share_of(keys)
    share.tree()
    keys.remove("a/b/one.txt")
    share.refresh(["/"], recursive=False)

    insort(keys, "a/b/two.txt")
    share.refresh(["/"], recursive=False)

    assert share.tree() == {"a/b/two.txt", "top.txt"}


def test_a_folder_made_known_by_a_parent_in_the_same_call_is_not_listed_by_that_call() -> None:
    keys = in_memory("top.txt")
    share = share_of(keys)
    share.tree()
    insort(keys, "new/one.txt")

    share.refresh(["/", "new"], recursive=False)

    assert share.lists == 1


@pytest.mark.parametrize("refusal", [NOT_CACHED, Refusal("Computer says no.", code="ValidationException")])
def test_a_gateway_may_refuse_a_folder_that_it_has_not_cached_but_never_the_root(refusal: Refusal) -> None:
    share = share_of(in_memory("a/one.txt"), uncached=refusal)

    share.refresh(["/"], recursive=False)
    with pytest.raises(RefusedError) as refused:
        share.refresh(["/", "a"], recursive=False)
    assert refused.value.refusal == refusal


def test_a_share_on_a_prefix_shows_what_lies_under_it_and_nothing_else() -> None:
    keys = in_memory("photos/2024/one.jpg", "photos/top.jpg", "photos2/two.jpg", "three.jpg")
    share = share_of(keys, prefix="photos/")

    assert share.tree() == {"2024/one.jpg", "top.jpg"}


def test_a_folder_marker_makes_a_folder_and_no_file() -> None:
    share = share_of(in_memory("a/b/"))

    assert share.listing("a").folders == {"b"}
    assert share.tree() == set()


def test_an_object_with_an_empty_name_in_its_path_is_never_shown() -> None:
    share = share_of(in_memory("/a.txt", "b//c.txt", "b/d.txt"))

    assert share.tree() == {"b/d.txt"}


@pytest.mark.parametrize("name", [".", "..", "n" * 256, "ü" * 128], ids=[".", "..", "256", "256 in 128"])
def test_an_object_with_a_name_in_its_path_that_no_file_system_has_is_never_shown(name: str) -> None:
    share = share_of(in_memory(f"{name}/a.txt", f"b/{name}/c.txt", f"b/{name}", "b/d.txt", "b/" + "ü" * 127))

    assert share.tree() == {"b/d.txt", "b/" + "ü" * 127}


def test_a_refresh_costs_a_list_for_a_thousand_entries_and_a_head_for_each_object_in_the_listed_folders() -> None:
    share = share_of([f"a/{number:04}" for number in range(2001)] + ["b/one", "top"])
    share.tree()

    share.refresh(["/", "a"], recursive=False)

    assert (share.lists, share.heads) == (1 + 3, 1 + 2001)


@pytest.mark.parametrize("folder", ["/a", "a/", "//"])
def test_a_folder_name_with_a_slash_at_an_end_is_refused(folder: str) -> None:
    with pytest.raises(RefusedError, match="slash"):
        share_of([]).refresh([folder])


@pytest.mark.parametrize("length", [0, 1025])
def test_a_folder_name_has_1_to_1024_characters(length: int) -> None:
    share_of([]).refresh(["a" * 1024])
    with pytest.raises(RefusedError, match="1 to 1024"):
        share_of([]).refresh(["a" * length])


@pytest.mark.parametrize("count", [0, 51])
def test_a_call_names_one_to_fifty_folders(count: int) -> None:
    with pytest.raises(RefusedError, match="1 to 50"):
        share_of([]).refresh(["a"] * count)


# ---- The service


@pytest.fixture
def s3() -> Iterator[Any]:
    with mock_aws():
        client = SESSION.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket="bucket")
        yield client


@pytest.fixture
def gateway(s3: Any) -> Iterator[StorageGateway]:
    with StorageGateway(s3, refresh_seconds=0.01) as gateway:
        yield gateway


@pytest.fixture
def share(gateway: StorageGateway) -> FileShare:
    return gateway.add_share("bucket")


@pytest.fixture
def client(gateway: StorageGateway) -> "StorageGatewayClient":
    return SESSION.client(
        "storagegateway",
        region_name="us-east-1",
        endpoint_url=gateway.endpoint_url,
        config=Config(retries={"total_max_attempts": 1}, parameter_validation=False, proxies={}),
    )


def completions_of(gateway: StorageGateway) -> "Queue[dict[str, Any]]":
    events: Queue[dict[str, Any]] = Queue()
    gateway.on_complete = events.put
    return events


def test_refresh_cache_returns_at_once_and_the_listing_changes_when_it_completes(
    gateway: StorageGateway, share: FileShare, client: "StorageGatewayClient", s3: Any
) -> None:
    assert share.tree() == set()
    s3.put_object(Bucket="bucket", Key="a/ü +%.txt")
    completions = completions_of(gateway)

    answer = client.refresh_cache(FileShareARN=share.arn)
    event = completions.get(timeout=SECONDS)

    assert answer["FileShareARN"] == share.arn
    assert answer["NotificationId"] == event["detail"]["notification-id"]
    assert share.tree() == {"a/ü +%.txt"}


def test_an_object_written_while_a_refresh_runs_may_be_missing_from_it(
    gateway: StorageGateway, share: FileShare, client: "StorageGatewayClient", s3: Any
) -> None:
    completions = completions_of(gateway)
    reading = share.list_objects

    def list_then_put(prefix: str) -> Any:
        objects = reading(prefix)
        s3.put_object(Bucket="bucket", Key="late.txt")
        return objects

    share.list_objects = list_then_put
    client.refresh_cache(FileShareARN=share.arn)
    completions.get(timeout=SECONDS)

    assert share.tree() == set()


def test_completion_is_reported_as_the_event_that_the_user_guide_documents(
    gateway: StorageGateway, share: FileShare, client: "StorageGatewayClient"
) -> None:
    completions = completions_of(gateway)

    client.refresh_cache(FileShareARN=share.arn, FolderList=["/", "a"], Recursive=False)
    event = completions.get(timeout=SECONDS)

    assert event["source"] == "aws.storagegateway"
    assert event["detail-type"] == "Storage Gateway Refresh Cache Event"
    assert event["resources"] == [share.arn, share.gateway_arn]
    assert event["detail"]["event-type"] == "refresh-complete"
    assert event["detail"]["folderList"] == ["/", "a"]
    assert event["detail"]["started"] <= event["detail"]["completed"]


SCOPES = pytest.mark.parametrize("scope", ["share", "gateway"])


@SCOPES
def test_a_third_refresh_of_a_share_is_refused_while_two_are_in_progress(
    gateway: StorageGateway, share: FileShare, client: "StorageGatewayClient", scope: Scope
) -> None:
    gateway.two_accepted_per, gateway.refresh_seconds = scope, DAY

    client.refresh_cache(FileShareARN=share.arn)
    client.refresh_cache(FileShareARN=share.arn)
    with pytest.raises(client.exceptions.InvalidGatewayRequestException, match="Too many requests"):
        client.refresh_cache(FileShareARN=share.arn)


def test_a_gateway_accepts_no_third_refresh_whatever_the_share_and_another_gateway_does(
    gateway: StorageGateway, share: FileShare, client: "StorageGatewayClient"
) -> None:
    gateway.refresh_seconds = DAY
    second, third = (gateway.add_share("bucket") for _ in range(2))
    elsewhere = [
        gateway.add_share("bucket", gateway_id="sgw-FFFFFFFF"),
        gateway.add_share("bucket", region="eu-west-1"),
    ]

    for accepted in (share, second, elsewhere[0]):
        client.refresh_cache(FileShareARN=accepted.arn)
    gateway.refresh_by_somebody_else(elsewhere[1])
    with pytest.raises(client.exceptions.InvalidGatewayRequestException, match="Too many requests"):
        client.refresh_cache(FileShareARN=third.arn)

    gateway.finish(gateway.refreshes[0])
    client.refresh_cache(FileShareARN=third.arn)


def test_if_two_are_accepted_per_share_a_gateway_accepts_more(
    gateway: StorageGateway, share: FileShare, client: "StorageGatewayClient"
) -> None:
    gateway.two_accepted_per, gateway.refresh_seconds = "share", DAY
    other = gateway.add_share("bucket")

    for accepted in (share, share, other, other):
        client.refresh_cache(FileShareARN=accepted.arn)

    assert len(gateway.refreshes) == 4


def test_how_a_third_refresh_is_refused_is_not_documented_and_can_be_set(
    gateway: StorageGateway, share: FileShare, client: "StorageGatewayClient"
) -> None:
    gateway.refresh_seconds, gateway.too_many = DAY, Refusal("Try later.", detail="GatewayInternalError")

    client.refresh_cache(FileShareARN=share.arn)
    client.refresh_cache(FileShareARN=share.arn)
    with pytest.raises(client.exceptions.InvalidGatewayRequestException, match=r"Try later\."):
        client.refresh_cache(FileShareARN=share.arn)


@SCOPES
def test_the_second_refresh_of_a_share_begins_after_the_first_has_ended(
    gateway: StorageGateway, share: FileShare, client: "StorageGatewayClient", scope: Scope
) -> None:
    gateway.one_running_per = scope
    completions = completions_of(gateway)

    client.refresh_cache(FileShareARN=share.arn)
    client.refresh_cache(FileShareARN=share.arn)
    for _ in range(2):
        completions.get(timeout=SECONDS)

    first, second = gateway.refreshes
    assert first.completed_at is not None
    assert second.started_at is not None
    assert first.completed_at <= second.started_at


@pytest.mark.parametrize(("scope", "completed"), [("share", ["second"]), ("gateway", ["first", "second"])])
def test_refreshes_of_two_shares_run_at_once_or_one_after_the_other_on_their_gateway(
    gateway: StorageGateway, share: FileShare, scope: Scope, completed: list[str]
) -> None:
    gateway.one_running_per, gateway.refresh_seconds = scope, DAY
    first = gateway.refresh_by_somebody_else(share)
    second = gateway.refresh_by_somebody_else(gateway.add_share("bucket"))

    gateway.finish(second)

    refreshes = {"first": first, "second": second}
    assert [name for name, refresh in refreshes.items() if refresh.completed_at] == completed


def test_a_share_is_refreshed_again_once_its_refreshes_have_completed(
    gateway: StorageGateway, share: FileShare, client: "StorageGatewayClient"
) -> None:
    completions = completions_of(gateway)

    for _ in range(3):
        client.refresh_cache(FileShareARN=share.arn)
        completions.get(timeout=SECONDS)

    assert [call.outcome for call in gateway.calls] == ["accepted"] * 3


def test_a_refresh_of_a_day_can_be_finished_at_once(
    gateway: StorageGateway, share: FileShare, client: "StorageGatewayClient", s3: Any
) -> None:
    time = START
    gateway.clock, gateway.refresh_seconds = (lambda: time), DAY
    completions = completions_of(gateway)
    assert share.tree() == set()
    s3.put_object(Bucket="bucket", Key="a.txt")

    client.refresh_cache(FileShareARN=share.arn)
    client.refresh_cache(FileShareARN=share.arn)
    time += DAY * 1_000
    gateway.finish(gateway.refreshes[0])

    assert share.tree() == {"a.txt"}
    event = completions.get_nowait()
    assert event["detail"]["started"] == "2026-09-21T14:13:20Z"
    assert event["detail"]["completed"] == event["time"] == "2026-09-22T14:13:20Z"
    assert gateway.refreshes[1].completed_at is None


def test_how_long_a_refresh_takes_is_said_for_all_for_a_share_and_for_one_of_somebody_else(
    gateway: StorageGateway, share: FileShare, client: "StorageGatewayClient"
) -> None:
    gateway.one_running_per = gateway.two_accepted_per = "share"
    completions = completions_of(gateway)
    slow, slower = gateway.add_share("bucket"), gateway.add_share("bucket")
    slow.refresh_seconds = HOUR

    client.refresh_cache(FileShareARN=slow.arn)
    gateway.refresh_by_somebody_else(slower, seconds=DAY)
    client.refresh_cache(FileShareARN=share.arn)

    assert completions.get(timeout=SECONDS)["resources"][0] == share.arn
    assert [refresh.seconds for refresh in gateway.refreshes] == [HOUR, DAY, gateway.refresh_seconds]
    assert [refresh.completed_at is None for refresh in gateway.refreshes] == [True, True, False]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_refresh_that_cannot_read_s3_frees_its_place_and_is_not_reported(
    gateway: StorageGateway, share: FileShare
) -> None:
    completions = completions_of(gateway)
    nowhere = gateway.add_share("no-such-bucket")

    gateway.finish(failed := gateway.refresh_by_somebody_else(nowhere))
    gateway.finish(gateway.refresh_by_somebody_else(share))

    assert failed.completed_at is None
    assert completions.get_nowait()["resources"][0] == share.arn
    assert completions.empty()


# ---- Refreshes of others, and those that change nothing


def test_a_refresh_by_somebody_else_takes_a_place_and_is_reported_but_is_no_call_of_ours(
    gateway: StorageGateway, share: FileShare, client: "StorageGatewayClient"
) -> None:
    gateway.refresh_seconds = DAY
    completions = completions_of(gateway)

    theirs = [gateway.refresh_by_somebody_else(share, ["/", "a"], recursive=False) for _ in range(2)]
    with pytest.raises(client.exceptions.InvalidGatewayRequestException, match="Too many requests"):
        client.refresh_cache(FileShareARN=share.arn)
    gateway.finish(theirs[0])
    ours = client.refresh_cache(FileShareARN=share.arn)["NotificationId"]

    event = completions.get_nowait()
    assert event["resources"] == [share.arn, share.gateway_arn]
    assert event["detail"]["notification-id"] == theirs[0].notification_id != ours
    assert event["detail"]["folderList"] == ["/", "a"]
    assert event["detail"]["started"] <= event["detail"]["completed"]
    assert [call.outcome for call in gateway.calls] == ["InvalidGatewayRequestException", "accepted"]
    assert [refresh.ours for refresh in gateway.refreshes] == [False, False, True]


def test_somebody_else_is_refused_by_the_same_rules(gateway: StorageGateway, share: FileShare) -> None:
    share.status = "UPDATING"

    with pytest.raises(RefusedError, match="UPDATING"):
        gateway.refresh_by_somebody_else(share)


@pytest.mark.parametrize(("seconds_later", "seen"), [(59, {"a.txt"}), (60, {"a.txt", "b.txt"})])
def test_a_refresh_less_than_a_minute_after_another_of_the_share_may_change_nothing(
    gateway: StorageGateway, client: "StorageGatewayClient", s3: Any, seconds_later: int, seen: set[str]
) -> None:
    time = START
    gateway.clock, gateway.void_within_seconds = (lambda: time), 60
    share, other = gateway.add_share("bucket"), gateway.add_share("bucket")
    completions = completions_of(gateway)
    assert share.tree() == set()
    s3.put_object(Bucket="bucket", Key="a.txt")
    gateway.finish(gateway.refresh_by_somebody_else(share))
    s3.put_object(Bucket="bucket", Key="b.txt")

    time += seconds_later * 1_000
    gateway.finish(gateway.refresh_by_somebody_else(other))
    ours = client.refresh_cache(FileShareARN=share.arn)["NotificationId"]

    events = [completions.get(timeout=SECONDS) for _ in range(3)]
    assert events[-1]["detail"]["notification-id"] == ours
    assert share.tree() == seen


def test_a_refresh_that_changed_nothing_voids_the_next_one_too(gateway: StorageGateway, share: FileShare) -> None:
    time = START
    gateway.clock, gateway.void_within_seconds = (lambda: time), 60

    for _ in range(3):
        gateway.finish(gateway.refresh_by_somebody_else(share))
        time += 40_000

    assert [refresh.void for refresh in gateway.refreshes] == [False, True, True]


# ---- Completion events


@pytest.mark.parametrize("times", [0, 1, 2])
def test_a_completion_event_can_be_lost_and_delivered_twice(
    gateway: StorageGateway, share: FileShare, times: int
) -> None:
    completions = completions_of(gateway)
    mine = gateway.add_share("bucket")

    def deliveries(refresh: Refresh) -> int:
        return times if refresh.share is mine else 1

    gateway.deliveries = deliveries
    gateway.finish(gateway.refresh_by_somebody_else(mine))
    gateway.finish(gateway.refresh_by_somebody_else(share))

    events = [completions.get_nowait() for _ in range(times + 1)]
    assert completions.empty()
    assert [event["resources"][0] for event in events] == [mine.arn] * times + [share.arn]
    assert len({event["id"] for event in events[:times]}) == min(times, 1)


# ---- Refusals


def test_a_gateway_that_is_offline_refuses_and_another_does_not(
    gateway: StorageGateway, share: FileShare, client: "StorageGatewayClient"
) -> None:
    away = gateway.add_share("bucket", gateway_id="sgw-FFFFFFFF")
    gateway.set_online("sgw-FFFFFFFF", False)

    client.refresh_cache(FileShareARN=share.arn)
    for _ in range(2):
        with pytest.raises(client.exceptions.InvalidGatewayRequestException) as refused:
            client.refresh_cache(FileShareARN=away.arn)
        assert refused.value.response.get("error") == {"errorCode": "GatewayNotConnected", "errorDetails": {}}

    gateway.set_online("sgw-FFFFFFFF", True)
    client.refresh_cache(FileShareARN=away.arn)


def test_a_gateway_of_another_region_and_account_can_be_offline(gateway: StorageGateway, share: FileShare) -> None:
    place = Place("eu-west-1", "222222222222")
    away = gateway.add_share("bucket", region=place.region, account=place.account)
    gateway.set_online("sgw-12A3456B", False, place)

    with pytest.raises(RefusedError, match="not connected"):
        gateway.answer("RefreshCache", {"FileShareARN": away.arn}, place)
    gateway.answer("RefreshCache", {"FileShareARN": share.arn}, share.place)


def test_a_share_that_is_not_available_refuses_in_words_that_nobody_documents(
    gateway: StorageGateway, share: FileShare, client: "StorageGatewayClient"
) -> None:
    share.status = "UPDATING"

    with pytest.raises(client.exceptions.InvalidGatewayRequestException, match="UPDATING") as refused:
        client.refresh_cache(FileShareARN=share.arn)
    assert "error" not in refused.value.response
    assert gateway.refreshes == []


def test_a_share_refuses_what_it_is_told_to_in_that_order(
    gateway: StorageGateway, share: FileShare, client: "StorageGatewayClient"
) -> None:
    other = gateway.add_share("bucket")
    gateway.refuse([TOO_MANY, Refusal("Not now.", code="ThrottlingException")], of=share)

    for code in ("InvalidGatewayRequestException", "ThrottlingException"):
        client.refresh_cache(FileShareARN=other.arn)
        gateway.finish(gateway.refreshes[-1])
        with pytest.raises(ClientError, match=code):
            client.refresh_cache(FileShareARN=share.arn)
    client.refresh_cache(FileShareARN=share.arn)

    refused = [(call.outcome, call.message) for call in gateway.calls if call.outcome != "accepted"]
    assert refused == [("InvalidGatewayRequestException", TOO_MANY.message), ("ThrottlingException", "Not now.")]


MODEL = SESSION.client("storagegateway", region_name="us-east-1").meta.service_model


@pytest.mark.parametrize("status", [400, 500])
@pytest.mark.parametrize("code", [shape.name for shape in MODEL.error_shapes])
def test_every_error_of_the_service_can_be_answered_with_every_error_code_inside(
    gateway: StorageGateway, share: FileShare, client: "StorageGatewayClient", code: str, status: int
) -> None:
    details = MODEL.shape_for("ErrorCode").enum  # type: ignore[attr-defined]
    gateway.refuse([Refusal("No.", code, detail, status) for detail in details], of=share)

    answers = []
    for _ in details:
        with pytest.raises(getattr(client.exceptions, code), match=r"No\.") as refused:
            client.refresh_cache(FileShareARN=share.arn)
        answers.append(refused.value.response)
    client.refresh_cache(FileShareARN=share.arn)

    assert [answer["error"]["errorCode"] for answer in answers] == details
    assert {answer["ResponseMetadata"]["HTTPStatusCode"] for answer in answers} == {status}


def test_a_share_that_cannot_be_described_fails_the_call_for_the_others_until_it_can(
    gateway: StorageGateway, share: FileShare, client: "StorageGatewayClient"
) -> None:
    other = gateway.add_share("bucket")
    gateway.refuse(repeat(Refusal("No.", detail="StorageFailure")), of=share, operation="Describe")

    for _ in range(3):
        with pytest.raises(client.exceptions.InvalidGatewayRequestException, match=r"No\."):
            client.describe_nfs_file_shares(FileShareARNList=[other.arn, share.arn])
    client.describe_nfs_file_shares(FileShareARNList=[other.arn])
    client.refresh_cache(FileShareARN=share.arn)

    gateway.refuse((), of=share, operation="Describe")
    client.describe_nfs_file_shares(FileShareARNList=[other.arn, share.arn])


def test_a_gateway_refuses_for_all_its_shares(
    gateway: StorageGateway, share: FileShare, client: "StorageGatewayClient"
) -> None:
    other = gateway.add_share("bucket")
    elsewhere = gateway.add_share("bucket", gateway_id="sgw-FFFFFFFF")
    gateway.refuse([TOO_MANY] * 2, of=share.gateway_arn)

    client.refresh_cache(FileShareARN=elsewhere.arn)
    for refused in (share, other):
        with pytest.raises(client.exceptions.InvalidGatewayRequestException, match="Too many"):
            client.refresh_cache(FileShareARN=refused.arn)
    client.refresh_cache(FileShareARN=share.arn)


@pytest.mark.parametrize("everywhere", [True, False])
def test_the_list_of_a_place_or_of_all_can_be_refused(gateway: StorageGateway, everywhere: bool) -> None:
    here, there = Place(), Place("eu-west-1")
    denial = Refusal("You are not authorized.", code="AccessDeniedException")
    gateway.refuse([denial], of=None if everywhere else there, operation="ListFileShares")

    if not everywhere:
        gateway.answer("ListFileShares", {}, here)
    with pytest.raises(RefusedError, match="not authorized"):
        gateway.answer("ListFileShares", {}, there)
    gateway.answer("ListFileShares", {}, there)


def test_shares_are_listed_page_by_page_and_by_gateway(gateway: StorageGateway, client: "StorageGatewayClient") -> None:
    gateway.page_size = 3
    here = [gateway.add_share("bucket", kind="SMB").arn for _ in range(7)]
    there = gateway.add_share("bucket", gateway_id="sgw-FFFFFFFF")

    pages = list(client.get_paginator("list_file_shares").paginate())
    assert [len(page["FileShareInfoList"]) for page in pages] == [3, 3, 2]
    assert [info["FileShareARN"] for page in pages for info in page["FileShareInfoList"]] == [*here, there.arn]

    filtered = client.list_file_shares(GatewayARN=there.gateway_arn, Limit=1)
    assert filtered["FileShareInfoList"] == [
        {
            "FileShareType": "NFS",
            "FileShareARN": there.arn,
            "FileShareId": there.share_id,
            "FileShareStatus": "AVAILABLE",
            "GatewayARN": there.gateway_arn,
        }
    ]


REGIONS, ACCOUNTS = ("us-east-1", "eu-west-1"), ("000000000000", "222222222222")


@pytest.mark.parametrize("account", ACCOUNTS)
@pytest.mark.parametrize("region", REGIONS)
def test_a_call_knows_the_shares_of_its_region_and_of_the_account_that_has_signed_it(
    gateway: StorageGateway, region: str, account: str
) -> None:
    gateway.account_of = lambda key: key
    completions = completions_of(gateway)
    shares = {(r, a): gateway.add_share("bucket", region=r, account=a) for r in REGIONS for a in ACCOUNTS}
    here = shares.pop((region, account))
    client: StorageGatewayClient = SESSION.client(
        "storagegateway",
        region_name=region,
        endpoint_url=gateway.endpoint_url,
        aws_access_key_id=account,
        aws_secret_access_key="test",  # noqa: S106
    )

    assert [share["FileShareARN"] for share in client.list_file_shares()["FileShareInfoList"]] == [here.arn]
    for share in shares.values():
        with pytest.raises(client.exceptions.InvalidGatewayRequestException, match="was not found"):
            client.refresh_cache(FileShareARN=share.arn)
    client.refresh_cache(FileShareARN=here.arn)
    event = completions.get(timeout=SECONDS)
    assert (event["region"], event["account"]) == (region, account)


@pytest.mark.parametrize("elsewhere", [{"region": "eu-west-1"}, {"account": "222222222222"}])
def test_a_completion_in_another_region_or_account_is_delivered_to_no_rule_here(elsewhere: dict[str, str]) -> None:
    nobody_asked: Any = SimpleNamespace(client=pytest.fail)
    to_rule_targets(nobody_asked, {"region": "us-east-1", "account": "000000000000"} | elsewhere)


def test_describing_tells_what_a_share_shows(gateway: StorageGateway, client: "StorageGatewayClient") -> None:
    nfs = gateway.add_share("bucket", "photos")
    smb = gateway.add_share("bucket", kind="SMB", location_arn="arn:aws-cn:s3:::bucket")

    (described_nfs,) = client.describe_nfs_file_shares(FileShareARNList=[nfs.arn])["NFSFileShareInfoList"]
    (described_smb,) = client.describe_smb_file_shares(FileShareARNList=[smb.arn])["SMBFileShareInfoList"]

    assert described_nfs["FileShareARN"] == nfs.arn
    assert described_nfs["LocationARN"] == "arn:aws:s3:::bucket/photos/"
    assert described_smb["LocationARN"] == "arn:aws-cn:s3:::bucket"


def test_at_most_ten_shares_are_described_in_a_call(gateway: StorageGateway, client: "StorageGatewayClient") -> None:
    arns = [gateway.add_share("bucket", kind="SMB").arn for _ in range(11)]

    assert len(client.describe_smb_file_shares(FileShareARNList=arns[:10])["SMBFileShareInfoList"]) == 10
    with pytest.raises(ClientError, match="ValidationException"):
        client.describe_smb_file_shares(FileShareARNList=arns)


def test_a_share_of_the_other_kind_or_unknown_is_not_found(share: FileShare, client: "StorageGatewayClient") -> None:
    for arn in (share.arn, share.arn + "0"):
        with pytest.raises(client.exceptions.InvalidGatewayRequestException, match="was not found"):
            client.describe_smb_file_shares(FileShareARNList=[arn])


def test_a_list_of_folders_that_is_too_long_is_a_validation_error(
    share: FileShare, client: "StorageGatewayClient"
) -> None:
    with pytest.raises(ClientError, match="ValidationException"):
        client.refresh_cache(FileShareARN=share.arn, FolderList=["a"] * 51)


def test_in_an_outage_every_call_fails_and_is_noted(
    gateway: StorageGateway, share: FileShare, client: "StorageGatewayClient"
) -> None:
    gateway.outage = True

    with pytest.raises(client.exceptions.InternalServerError) as failed:
        client.list_file_shares()
    assert failed.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    with pytest.raises(client.exceptions.InternalServerError):
        client.refresh_cache(FileShareARN=share.arn)

    assert [(call.operation, call.outcome) for call in gateway.calls] == [
        ("ListFileShares", "InternalServerError"),
        ("RefreshCache", "InternalServerError"),
    ]


def test_when_answers_are_lost_the_refresh_runs_all_the_same(
    gateway: StorageGateway, share: FileShare, client: "StorageGatewayClient"
) -> None:
    gateway.lose_answers = True
    completions = completions_of(gateway)

    with pytest.raises(ConnectionClosedError):
        client.refresh_cache(FileShareARN=share.arn)

    assert completions.get(timeout=SECONDS)["resources"][0] == share.arn


def test_calls_are_noted_as_they_were_sent(
    gateway: StorageGateway, share: FileShare, client: "StorageGatewayClient"
) -> None:
    client.refresh_cache(FileShareARN=share.arn, FolderList=["/", "a/b"], Recursive=False)

    (call,) = gateway.calls
    assert (call.operation, call.shares, call.folders, call.recursive, call.outcome) == (
        "RefreshCache",
        (share.arn,),
        ("/", "a/b"),
        False,
        "accepted",
    )
