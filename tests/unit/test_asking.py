"""How shares are asked: in their turn, whatever they answer, and whoever dies; with moto's DynamoDB and SQS."""

import io
import json
import logging
from dataclasses import replace
from itertools import pairwise, repeat
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from event_aggregator.failures import UnreadableAnswerError
from event_aggregator.file_shares import FileShare
from event_aggregator.folders import WHOLE_SHARE, Round
from event_aggregator.observability import logger
from event_aggregator.refresh import NotRefreshedError
from event_aggregator.table import Key
from event_aggregator.waiting import ChangedFolders, ShareItem
from tests.unit.conftest import START, World, fail
from tests.unit.shares import (
    AN_HOUR,
    BUSY,
    DENIED,
    DOWN,
    HOME,
    INTERNAL,
    MINUTE,
    NO_ANSWER,
    NO_SHARE,
    NOT_CACHED,
    OFFLINE,
    TIME_LEFT,
    UNKNOWN_WORDS,
    Function,
    KilledError,
    Region,
    change,
    completion,
    refusal,
    share,
)

PHOTOS = Round(["/", "photos"], recursive=False)
DUE = START + 30_000  # of the window that the fixture has opened


@pytest.fixture
def region(world: World) -> Region:
    """One share on one gateway."""
    return Region(world)


@pytest.fixture
def function(world: World, region: Region) -> Function:
    """A change of /photos/a.jpg has opened a window, whose request is queued."""
    function = Function(world, {HOME: region})
    change(world, "photos/a.jpg")
    return function


def shares(number: int) -> list[FileShare]:
    """On one gateway."""
    return [share(f"share-{n}") for n in range(1, number + 1)]


def waits(world: World, name: str = "share-1") -> ShareItem:
    return world.waits(f"my-bucket/{name}")


def times(function: Function, region: Region) -> list[int]:
    """Seconds after the window was due at which shares were asked, while messages are delivered."""
    found: list[int] = []
    region.meanwhile = lambda _: found.append((function.world.time - DUE) // 1000)
    return found


# Turns


def test_two_shares_of_a_gateway_are_asked_at_once_and_each_completion_lets_the_next_take_its_turn(
    region: Region, function: Function
) -> None:
    region.shares = shares(5)
    function.deliver_request()
    assert region.asked == ["share-1", "share-2"]
    assert function.in_line() == ["my-bucket/share-3", "my-bucket/share-4", "my-bucket/share-5"]
    for number in range(3):
        function.complete(region.refreshes[number])
        assert len(region.asked) == 3 + number
    assert region.asked == ["share-1", "share-2", "share-3", "share-4", "share-5"]
    assert function.in_line() == []
    assert set(map(str, region.rounds)) == {str(PHOTOS)}


def test_as_many_are_asked_at_once_as_the_settings_say(world: World, region: Region, function: Function) -> None:
    world.settings["REFRESHES_PER_GATEWAY"] = "3"
    function.restart()
    region.shares, region.takes = shares(5), 9
    function.deliver_request()
    assert region.asked == ["share-1", "share-2", "share-3"]


@pytest.mark.parametrize("each_share_takes", [False, True])
def test_without_completions_the_others_are_asked_by_a_probe_an_interval(
    region: Region, function: Function, each_share_takes: bool
) -> None:
    region.shares, region.each_share_takes = shares(5), each_share_takes
    asked_at = times(function, region)
    function.run(told=False)
    assert region.asked == ["share-1", "share-2", "share-3", "share-4", "share-5"]
    assert asked_at == [0, 0, 60, 120, 180]


def test_two_gateways_do_not_wait_for_each_other(region: Region, function: Function) -> None:
    region.shares = [*shares(3), share("share-4", "sgw-2"), share("share-5", "sgw-2")]
    function.deliver_request()
    assert region.asked == ["share-1", "share-2", "share-4", "share-5"]


def test_who_waits_longer_is_asked_first_whatever_its_name(world: World, region: Region, function: Function) -> None:
    region.shares = [share(f"share-{n}") for n in (5, 6, 9)]
    function.deliver_request()
    assert region.asked == ["share-5", "share-6"]
    region.shares = [share("share-1"), share("share-9")]
    change(world)
    function.deliver_request()
    assert function.in_line() == ["my-bucket/share-9", "my-bucket/share-1"]
    function.complete(region.refreshes[0])
    assert region.asked[2:] == ["share-9"]


def test_what_comes_while_a_share_waits_is_asked_for_in_the_same_call(
    world: World, region: Region, function: Function
) -> None:
    region.shares = shares(3)
    function.deliver_request()
    change(world, "videos/b.mp4")
    function.deliver_request()
    assert waits(world, "share-3").folders == {"/photos", "/videos"}
    function.complete(region.refreshes[0])
    assert (region.asked[-1], region.rounds[-1].folder_list) == ("share-3", ["/", "photos", "videos"])


def test_shares_for_which_no_time_is_left_are_asked_by_a_wake(world: World, region: Region, function: Function) -> None:
    region.shares = [share(f"share-{n}", f"sgw-{n}") for n in range(1, 5)]
    region.slowness = 10_000
    function.deliver_request()
    assert region.asked == ["share-1", "share-2", "share-3"]
    assert world.item().refreshing_id is None, "each of them is in its line"
    assert function.in_line(share("share-4", "sgw-4").gateway_arn) == ["my-bucket/share-4"]
    assert waits(world, "share-4").folders == {"/photos"}
    function.deliver_next()
    assert region.asked[-1] == "share-4"


def test_a_share_that_took_long_to_describe_is_not_asked_when_the_call_might_outlive_the_invocation(
    world: World, region: Region, function: Function
) -> None:
    region.shares = shares(3)
    function.deliver_request()
    region.slowness = 37_000
    function.complete(region.refreshes[0])
    assert region.looked[-1] == "share-3"
    assert region.asked == ["share-1", "share-2"]
    assert waits(world, "share-3").changes
    region.slowness = 0
    function.deliver_next()
    assert region.asked[-1] == "share-3"


def test_a_share_that_was_claimed_at_the_last_moment_waits_in_its_window_and_is_asked_by_a_wake(
    world: World, region: Region, function: Function
) -> None:
    def be_slow(params: dict[str, Any], **_: Any) -> None:
        if ":turns" in params["ExpressionAttributeValues"]:
            world.time += 8_000

    region.slowness = 29_000
    world.dynamodb.meta.events.register("provide-client-params.dynamodb.UpdateItem", be_slow)
    function.deliver_next()
    assert region.asked == []
    assert waits(world).folders == {"/photos"}
    assert world.item().refreshing_id is None
    region.slowness = 0
    function.deliver_next()
    assert region.rounds == [PHOTOS]


# The interval, and what is in progress


def test_a_share_is_not_asked_twice_within_the_interval(world: World, region: Region, function: Function) -> None:
    function.deliver_request()
    function.complete(region.refreshes[0])
    change(world)
    function.deliver_request()
    assert region.asked == ["share-1"]
    function.run()
    assert region.asked == ["share-1", "share-1"]
    assert region.refreshes[1].at == DUE + 60_000


def test_a_share_is_asked_as_soon_as_its_refresh_is_complete_and_its_interval_has_passed(
    world: World, region: Region, function: Function
) -> None:
    function.deliver_request()
    change(world)
    function.deliver_request()
    world.time = DUE + 75_000
    function.complete(region.refreshes[0])
    assert region.asked == ["share-1", "share-1"]


def test_a_share_is_asked_directly_by_a_container_that_does_not_know_of_its_completion_yet(
    world: World, region: Region, function: Function
) -> None:
    function.deliver_request()
    first = function.gateways
    function.restart()
    function.complete(region.refreshes[0])
    function.gateways = first
    world.time = DUE + MINUTE
    change(world)
    function.deliver_request()
    assert region.asked == ["share-1", "share-1"]
    assert region.looked == []
    assert world.wakes() == []


def test_a_completion_that_is_lost_is_waited_for_until_the_mark_lapses(
    world: World, region: Region, function: Function
) -> None:
    function.deliver_request()
    change(world)
    function.run(told=False)
    assert [refresh.at for refresh in region.refreshes] == [DUE, DUE + AN_HOUR]
    assert len(world.wakes()) == 4, "SQS delays a message for a quarter of an hour: no wake goes round each minute"


def test_without_a_time_in_which_completions_are_waited_for_only_the_interval_counts(
    world: World, region: Region, function: Function
) -> None:
    world.settings["IN_PROGRESS_TIMEOUT_SECONDS"] = "0"
    function.deliver_request()
    change(world)
    function.run(told=False)
    assert [refresh.at for refresh in region.refreshes] == [DUE, DUE + 60_000]


def test_a_completion_that_comes_while_the_call_is_not_answered_yet_frees_the_place(
    region: Region, function: Function
) -> None:
    region.shares = shares(3)

    def complete_at_once(_: FileShare) -> None:
        if region.asked == ["share-1"]:
            function.complete(region.refreshes[0])

    region.afterwards = complete_at_once
    function.deliver_request()
    assert region.asked == ["share-1", "share-2", "share-3"]
    first = function.gateway().shares[Key.read("my-bucket/share-1")]
    assert first.in_progress_until == 0
    assert not first.early_completions


def test_a_completion_that_comes_again_leaves_the_mark_of_the_next_refresh(
    world: World, region: Region, function: Function
) -> None:
    function.deliver_request()
    function.complete(region.refreshes[0])
    change(world)
    world.time += 60_000
    function.deliver_request()
    function.complete(region.refreshes[0])
    assert function.gateway().taken_slots() == 1


# Who dies on the way


def test_who_dies_before_a_share_is_asked_delays_it_until_the_claim_has_lapsed(
    world: World, region: Region, function: Function
) -> None:
    message = function.next

    def die(_: FileShare) -> None:
        region.meanwhile = lambda _: None
        raise KilledError

    region.meanwhile = die
    with pytest.raises(KilledError):
        function.deliver(message)
    assert region.refreshes == []
    function.restart()
    world.time = DUE + TIME_LEFT + 9_000
    function.deliver(message)
    assert region.refreshes == [], "it may have been asked a moment before that invocation ended"
    assert world.item().refreshing_id is None
    function.run()
    assert [(refresh.at, refresh.round_) for refresh in region.refreshes] == [(DUE + TIME_LEFT + MINUTE, PHOTOS)]
    assert waits(world).changes is None


def test_who_dies_after_a_share_has_accepted_has_it_asked_again_but_not_within_the_interval(
    world: World, region: Region, function: Function
) -> None:
    world.settings["MIN_REFRESH_INTERVAL_SECONDS"] = "300"
    function.restart()
    message = function.next

    def die(_: FileShare) -> None:
        region.afterwards = lambda _: None
        raise KilledError

    region.afterwards = die
    with pytest.raises(KilledError):
        function.deliver(message)
    world.time = DUE + TIME_LEFT + 10_001
    function.restart()
    function.deliver(message)
    assert region.asked == ["share-1"], "it may have been refreshed"
    assert waits(world).folders == {"/photos"}
    function.run(until=DUE + 600_000)
    assert [refresh.at for refresh in region.refreshes] == [DUE, DUE + TIME_LEFT + 300_001]


def test_two_shares_of_one_gateway_are_each_asked_at_their_own_interval(
    world: World, region: Region, function: Function
) -> None:
    world.settings["MIN_REFRESH_INTERVAL_SECONDS"] = "1200,share-1=120"
    region.shares = shares(2)
    function.restart()
    for second in range(0, 2_400, 60):
        world.time = max(world.time, START + second * 1000)
        change(world, f"photos/{second}.jpg")
        function.run(until=world.time + 59_999)
    at = {name: [r.at for r in region.refreshes if r.share.share_id == name] for name in ("share-1", "share-2")}
    waits_between = {name: {b - a for a, b in pairwise(times)} for name, times in at.items()}
    assert waits_between == {"share-1": {120_000}, "share-2": {1_200_000}}


@pytest.mark.parametrize("number", range(8))
def test_a_share_in_a_line_is_asked_whichever_write_its_turn_dies_at(
    world: World, region: Region, function: Function, number: int
) -> None:
    region.shares = shares(3)
    function.deliver_request()
    region.refreshes[0].is_complete = True
    writes = 0

    def die(**_: Any) -> None:
        nonlocal writes
        writes += 1
        if writes == number:
            raise KilledError

    world.dynamodb.meta.events.register("before-call.dynamodb.UpdateItem", die)
    function.put(region.refreshes[0].event(world.time), world.time)
    function.run()
    assert region.asked[2] == "share-3"
    assert next(refresh.round_ for refresh in region.refreshes if refresh.share == share("share-3")) == PHOTOS
    assert waits(world, "share-3").changes is None
    assert function.in_line() == []


def test_a_wake_that_is_delivered_twice_at_once_asks_once(region: Region, function: Function) -> None:
    region.refuse("share-1", [OFFLINE])
    function.deliver_request()
    wake = function.next

    def deliver_again(_: FileShare) -> None:
        region.meanwhile = lambda _: None
        function.restart()
        function.handle(wake.body, message_id=wake.id)

    region.meanwhile = deliver_again
    function.deliver(wake)
    assert region.asked == ["share-1", "share-1"]


def test_a_table_that_fails_while_a_share_is_looked_at_gives_it_its_turn_back(
    world: World, region: Region, function: Function
) -> None:
    region.shares = shares(3)
    function.deliver_request()
    fail(world.dynamodb, "GetItem")
    with pytest.raises(EndpointConnectionError):
        function.complete(region.refreshes[0])
    assert function.in_line() == ["my-bucket/share-3"]
    function.run()
    assert region.asked[2:] == ["share-3"]


def test_a_queue_that_fails_when_a_refused_share_needs_a_wake_gives_it_its_turn_back(
    world: World, region: Region, function: Function
) -> None:
    region.refuse("share-1", [OFFLINE])
    message, began = function.next, world.time
    fail(world.sqs, "SendMessage")
    with pytest.raises(NotRefreshedError):
        function.deliver(message)
    assert function.in_line() == ["my-bucket/share-1"]
    function.run()
    assert region.refreshes[0].at < began + TIME_LEFT, "it does not wait until the claim has lapsed"


def test_a_refresh_that_is_complete_when_the_queue_fails_is_told_of(
    world: World, region: Region, function: Function, caplog: pytest.LogCaptureFixture
) -> None:
    change(world, *(f"{number}/a.jpg" for number in range(71)))  # more than one call takes: a wake is needed

    def complete(_: FileShare) -> None:
        region.afterwards = lambda _: None
        function.complete(region.refreshes[0])
        fail(world.sqs, "SendMessage")

    region.afterwards = complete
    with pytest.raises(NotRefreshedError):
        function.deliver(function.next)
    assert [record for record in caplog.records if "share-1 is complete" in record.message]


# A gateway that is busy


def test_a_full_gateway_is_not_asked_again_by_every_window_but_by_a_probe_an_interval(
    world: World, region: Region, function: Function
) -> None:
    for name in ("share-8", "share-9"):
        region.refreshed_by_somebody_else(share(name))
    asked_at = times(function, region)
    for _ in range(5):
        change(world)
        function.run(until=world.time + 35_000, refreshes_take=AN_HOUR)
    assert asked_at == [0, 60, 120]
    assert waits(world).folders == {"/photos"}


def test_a_share_that_was_refused_since_its_gateway_is_busy_is_asked_at_the_next_completion_of_anybody(
    world: World, region: Region, function: Function
) -> None:
    others = [region.refreshed_by_somebody_else(share(name)) for name in ("share-8", "share-9")]
    function.deliver_request()
    assert region.asked == ["share-1"]
    assert region.refreshes == others
    world.time += 2_000
    function.complete(others[0])
    assert region.asked == ["share-1", "share-1"]
    assert region.rounds == [PHOTOS, PHOTOS]


def test_who_was_refused_keeps_its_place_in_the_line(world: World, region: Region, function: Function) -> None:
    region.shares = [share("share-5"), share("share-6")]
    others = [region.refreshed_by_somebody_else(share(name)) for name in ("share-8", "share-9")]
    function.deliver_request()
    region.shares = [share("share-1"), share("share-5"), share("share-6")]
    world.time += 1_000
    change(world)
    function.deliver_request()
    assert function.in_line() == ["my-bucket/share-5", "my-bucket/share-6", "my-bucket/share-1"]
    function.complete(others[0])
    assert region.asked[-2:] == ["share-5", "share-6"], "the place of the other refresh is not known to be taken"
    assert region.refreshes[-1].share.share_id == "share-5"


# A share that refuses for a reason of its own


@pytest.mark.parametrize("error", [OFFLINE, DENIED, refusal("ThrottlingException"), DOWN], ids=str)
def test_a_share_that_cannot_be_refreshed_is_asked_after_5_seconds_and_ever_more_rarely_for_the_same_folders(
    world: World, region: Region, function: Function, error: Exception
) -> None:
    region.refuse("share-1", repeat(error, 11))
    asked_at = times(function, region)
    function.run()
    waited = [later - earlier for earlier, later in pairwise(asked_at)]
    assert waited == [5, 10, 20, 40, 80, 160, 320, 640, 900, 900, 900]
    assert region.rounds == [PHOTOS] * 12
    assert waits(world).changes is None


def test_a_share_that_was_asked_after_refusals_begins_anew_with_its_back_off(
    world: World, region: Region, function: Function
) -> None:
    region.refuse("share-1", [OFFLINE, OFFLINE])
    function.run()
    world.time += 60_000
    region.refuse("share-1", [OFFLINE])
    change(world)
    function.run()
    assert region.refreshes[1].at == region.refreshes[0].at + 60_000 + 60_000 + 30_000 + 5_000


def test_a_share_that_is_offline_does_not_hold_up_the_next(world: World, region: Region, function: Function) -> None:
    region.shares = shares(4)
    region.refuse("share-1", repeat(OFFLINE))
    region.refuse("share-2", repeat(OFFLINE))
    function.deliver_request()
    assert region.asked == ["share-1", "share-2", "share-3", "share-4"]
    assert waits(world, "share-1").reason == "The specified gateway is not connected."


@pytest.mark.parametrize("error", [NO_ANSWER, INTERNAL, UnreadableAnswerError("It says nothing.")], ids=str)
def test_a_call_whose_outcome_is_unknown_counts_for_the_interval_and_keeps_its_folders(
    region: Region, function: Function, error: Exception
) -> None:
    region.refuse("share-1", [error, error])
    asked_at = times(function, region)
    function.run()
    assert asked_at == [0, 60, 120]
    assert region.rounds == [PHOTOS] * 3


@pytest.mark.parametrize("status", ["CREATING", "UPDATING", "UNAVAILABLE"])
def test_a_share_that_is_not_available_is_looked_at_until_it_is_and_not_asked_before(
    world: World, region: Region, function: Function, status: str
) -> None:
    region.shares = [share(status=status)]
    function.deliver_request()
    assert waits(world).reason == f"it is {status}"
    function.deliver_next()
    assert (region.looked, region.asked) == (["share-1"], [])
    assert world.time == DUE + 5_000
    region.shares = [share()]
    function.deliver_next()
    assert (world.time, region.rounds) == (DUE + 15_000, [PHOTOS])
    assert waits(world).reason is None


def test_changes_that_come_while_a_share_is_not_available_do_not_have_it_looked_at_more_often(
    world: World, region: Region, function: Function
) -> None:
    region.shares = [share(status="UPDATING")]
    for _ in range(10):
        function.run(until=world.time + 60_000)
        change(world)
    assert len(region.looked) == 6, "5, 15, 35, 75, 155 and 315 s after it was listed"


def test_a_share_that_is_gone_is_forgotten_and_the_next_takes_its_turn(
    world: World, region: Region, function: Function
) -> None:
    region.shares = shares(4)
    function.deliver_request()
    region.shares.pop(2)
    function.complete(region.refreshes[0])
    assert region.asked == ["share-1", "share-2", "share-4"]
    assert waits(world, "share-3") == ShareItem()
    assert Key.read("my-bucket/share-3") not in function.gateway().shares


def test_a_share_that_is_not_found_when_it_is_asked_is_forgotten_when_it_is_looked_at(
    world: World, region: Region, function: Function
) -> None:
    region.refuse("share-1", [NO_SHARE])
    function.deliver_request()
    region.shares = []
    function.run()
    assert region.asked == ["share-1"]
    assert waits(world) == ShareItem()


@pytest.mark.parametrize("error", [DENIED, DOWN], ids=str)
def test_a_share_that_cannot_be_described_when_it_is_its_turn_waits_and_the_next_takes_it(
    world: World, region: Region, function: Function, error: Exception
) -> None:
    region.shares = shares(4)
    function.deliver_request()
    region.looking["share-3"] = error
    function.complete(region.refreshes[0])
    assert region.asked == ["share-1", "share-2", "share-4"]
    assert "it cannot be described" in (waits(world, "share-3").reason or "")
    region.looking.clear()
    function.run()
    assert [refresh.share.share_id for refresh in region.refreshes[3:]] == ["share-3"]


# A share of which it is not known what it shows


def test_a_share_that_may_show_the_bucket_waits_and_is_described_again_while_the_others_are_refreshed(
    world: World, region: Region, function: Function
) -> None:
    region.shares = [share("share-1", unknown="denied"), share("share-2")]
    function.deliver_request()
    assert region.asked == ["share-2"]
    assert waits(world).folders == {"/photos"}
    assert waits(world).reason == "it is not known what it shows: denied"
    function.deliver_next()
    assert region.looked[-1] == "share-1"
    region.shares[0] = share("share-1")
    function.run()
    assert region.asked == ["share-2", "share-1"]


def test_a_share_that_turns_out_to_show_another_bucket_is_forgotten(
    world: World, region: Region, function: Function
) -> None:
    region.shares = [share(unknown="denied")]
    function.deliver_request()
    region.shares = [replace(share(), bucket="other")]
    function.run()
    assert region.asked == []
    assert waits(world) == ShareItem()


def test_a_share_that_turns_out_to_show_another_folder_is_not_asked(
    world: World, region: Region, function: Function
) -> None:
    region.shares = [share(unknown="denied")]
    function.deliver_request()
    region.shares = [share(prefix="videos/")]
    function.run()
    assert region.asked == []
    assert waits(world).changes is None
    assert function.in_line() == []


# What is asked for


def test_a_share_is_asked_for_the_changed_folder_and_its_ancestors(region: Region, function: Function) -> None:
    function.deliver_request()
    assert region.rounds == [PHOTOS]


def test_a_share_on_a_prefix_is_asked_for_folders_below_it(region: Region, function: Function) -> None:
    region.shares = [share(prefix="photos/")]
    function.deliver_request()
    assert region.rounds == [Round(["/"], recursive=False)]


def test_the_whole_share_is_refreshed_if_so_told(world: World, region: Region, function: Function) -> None:
    world.settings["REFRESH_SCOPE"] = "share"
    region.shares = shares(3)
    function.run()
    assert region.rounds == [WHOLE_SHARE] * 3


def test_the_whole_share_is_refreshed_where_the_bucket_is_told_so(
    world: World, region: Region, function: Function
) -> None:
    world.settings["REFRESH_SCOPE"] = "folders,my-bucket=share"
    function.run()
    world.settings["REFRESH_SCOPE"] = "share,my-bucket=folders"
    change(world, "photos/b.jpg")
    function.run()
    assert region.rounds == [WHOLE_SHARE, PHOTOS]


def test_more_folders_than_a_call_takes_are_refreshed_in_rounds(
    world: World, region: Region, function: Function
) -> None:
    change(world, *(f"videos/{n:03}/a.mp4" for n in range(120)))
    window = world.item().window_id
    function.deliver_request()
    assert waits(world).changes
    assert waits(world).correlation == window
    assert function.in_line() == ["my-bucket/share-1"]
    function.run()
    assert [len(round_.folder_list) for round_ in region.rounds] == [50, 50, 23]
    assert not any(round_.recursive for round_ in region.rounds)
    assert [refresh.at - DUE for refresh in region.refreshes] == [0, 60_000, 120_000]
    assert waits(world).changes is None


def test_other_shares_take_their_turns_between_the_rounds_of_one(
    world: World, region: Region, function: Function
) -> None:
    change(world, *(f"videos/{n:03}/a.mp4" for n in range(60)))
    region.shares, region.slowness = shares(4), 1
    function.run()
    assert region.asked[:4] == ["share-1", "share-2", "share-3", "share-4"]
    assert sorted(region.asked[4:]) == ["share-1", "share-2", "share-3", "share-4"]


def test_a_refusal_that_names_a_folder_has_everything_asked_for_once_with_one_warning(
    world: World, region: Region, function: Function, caplog: pytest.LogCaptureFixture
) -> None:
    region.refuse("share-1", [NOT_CACHED])
    function.run()
    assert region.rounds == [PHOTOS, WHOLE_SHARE]
    assert region.refreshes[0].at == DUE + 5_000
    [warning] = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert warning == "my-bucket/share-1 refuses single folders; it is asked for everything once"
    world.time += 60_000
    change(world)
    function.run()
    assert region.rounds[2:] == [PHOTOS], "the next changes are folders again"


def test_after_everything_was_refused_too_the_folders_are_asked_for_again(region: Region, function: Function) -> None:
    region.refuse("share-1", repeat(NOT_CACHED, 4))
    function.run()
    assert region.rounds == [PHOTOS, WHOLE_SHARE, PHOTOS, WHOLE_SHARE, PHOTOS]


def test_everything_is_asked_for_once_even_if_that_was_refused_in_other_words(
    region: Region, function: Function
) -> None:
    region.refuse("share-1", [NOT_CACHED, UNKNOWN_WORDS])
    function.run()
    assert region.rounds == [PHOTOS, WHOLE_SHARE, PHOTOS]


@pytest.mark.parametrize("error", [BUSY, OFFLINE, INTERNAL, DENIED, DOWN], ids=str)
def test_a_refusal_that_passes_does_not_spend_the_one_time_that_everything_is_asked_for(
    region: Region, function: Function, error: Exception
) -> None:
    region.refuse("share-1", [NOT_CACHED, error])
    function.run()
    assert region.rounds == [PHOTOS, WHOLE_SHARE, WHOLE_SHARE]


@pytest.mark.parametrize("error", [UNKNOWN_WORDS, refusal(inside="GatewayInternalError")], ids=["words", "inside"])
def test_unknown_words_count_as_busy_and_the_third_time_without_another_refresh_as_about_the_folders(
    world: World, region: Region, function: Function, error: Exception
) -> None:
    region.refuse("share-1", repeat(error, 3))
    asked_at = times(function, region)
    function.run(until=DUE + 130_000)
    assert asked_at == [0, 60, 120, 125]
    assert region.rounds == [PHOTOS, PHOTOS, PHOTOS, WHOLE_SHARE]
    assert waits(world).unclear == 0


@pytest.mark.parametrize("between", [BUSY, OFFLINE, DENIED, INTERNAL], ids=str)
def test_other_refusals_between_unknown_words_neither_count_nor_start_again(
    region: Region, function: Function, between: Exception
) -> None:
    region.refuse("share-1", [UNKNOWN_WORDS, between, UNKNOWN_WORDS, between, UNKNOWN_WORDS])
    function.run()
    assert region.rounds == [*[PHOTOS] * 5, WHOLE_SHARE]


def test_unknown_words_do_not_count_as_about_the_folders_while_another_refresh_is_known_at_the_gateway(
    region: Region, function: Function
) -> None:
    region.shares = shares(2)
    region.refuse("share-2", repeat(UNKNOWN_WORDS, 8))
    function.run(until=DUE + 599_000, refreshes_take=600_000)
    assert region.asked == ["share-1", *["share-2"] * 9]
    assert region.rounds == [PHOTOS] * 10


@pytest.mark.parametrize("passing", [BUSY, OFFLINE, DENIED, INTERNAL], ids=str)
def test_however_often_unknown_words_came_a_refusal_that_passes_is_not_about_the_folders(
    region: Region, function: Function, passing: Exception
) -> None:
    region.shares = shares(2)
    region.refuse("share-2", [*repeat(UNKNOWN_WORDS, 3), passing, UNKNOWN_WORDS])
    function.run(refreshes_take=150_000)
    rounds = [round_ for share, round_ in zip(region.asked, region.rounds, strict=True) if share == "share-2"]
    assert rounds == [*[PHOTOS] * 5, WHOLE_SHARE]


def test_unknown_words_are_counted_from_the_start_after_a_refresh_was_accepted(
    world: World, region: Region, function: Function
) -> None:
    region.refuse("share-1", repeat(UNKNOWN_WORDS, 2))
    function.run()
    world.time += 60_000
    region.refuse("share-1", repeat(UNKNOWN_WORDS, 2))
    change(world)
    function.run()
    assert region.rounds == [PHOTOS] * 6


def test_an_internal_error_of_storage_gateway_never_makes_a_refresh_wider(region: Region, function: Function) -> None:
    region.refuse("share-1", repeat(INTERNAL, 6))
    function.run()
    assert region.rounds == [PHOTOS] * 7


# Somebody else's refresh, after which ours may have had no effect


def test_a_refresh_soon_after_somebody_elses_is_repeated_once_a_minute_after_theirs(
    world: World, region: Region, function: Function
) -> None:
    theirs = region.refreshed_by_somebody_else(share())
    world.time += 20_000
    theirs.at = world.time  # 10 s before ours
    function.deliver_request()
    world.time = DUE + 2_000
    function.complete(theirs)
    assert waits(world).folders == {"/photos"}, "ours, which it was asked for"
    function.run()
    assert region.rounds == [PHOTOS, PHOTOS]
    assert region.refreshes[-1].at == DUE + 61_000
    assert waits(world).changes is None


def test_a_refresh_soon_after_one_that_is_known_to_have_begun_is_repeated_with_its_folders(
    world: World, region: Region, function: Function
) -> None:
    world.time += 25_000
    theirs = region.refreshed_by_somebody_else(share())
    world.time += 1_000
    function.complete(theirs)
    function.deliver_request()
    assert region.rounds == [PHOTOS]
    function.run()
    assert region.rounds == [PHOTOS, PHOTOS]
    assert region.refreshes[-1].at == DUE + 61_000
    assert waits(world).changes is None


def test_a_refresh_is_repeated_if_the_completion_of_anothers_comes_before_its_answer(
    world: World, region: Region, function: Function
) -> None:
    world.time += 29_000
    theirs = region.refreshed_by_somebody_else(share())

    def complete_theirs(_: FileShare) -> None:
        region.meanwhile = lambda _: None
        function.complete(theirs)

    region.meanwhile = complete_theirs
    function.run()
    assert region.rounds == [PHOTOS, PHOTOS]


def test_a_share_of_several_is_repeated_with_its_folders_after_somebody_elses(
    world: World, region: Region, function: Function
) -> None:
    region.shares = shares(2)
    world.time += 29_000
    theirs = region.refreshed_by_somebody_else(share())
    region.takes = 3
    function.deliver_request()
    world.time += 1_000
    function.complete(theirs)
    function.run()
    assert region.asked == ["share-1", "share-2", "share-1"]
    assert region.rounds == [PHOTOS] * 3


def test_a_repeated_refresh_is_not_repeated_again(world: World, region: Region, function: Function) -> None:
    world.time += 29_000
    region.refreshed_by_somebody_else(share())
    region.takes = 9
    function.run(until=DUE + 65_000)
    assert len(region.asked) == 2
    again = region.refreshes[-1]
    somebody = completion(share(), "theirs", again.at - 10_000, again.at + 1_000)
    function.handle(somebody)
    function.run()
    assert len(region.asked) == 2


def test_a_refresh_a_minute_after_somebody_elses_is_not_repeated(region: Region, function: Function) -> None:
    function.handle(completion(share(), "theirs", DUE - 61_001, DUE - 20_000))
    function.run()
    assert len(region.asked) == 1


def test_a_refresh_before_somebody_elses_is_not_repeated(region: Region, function: Function) -> None:
    function.deliver_request()
    function.handle(completion(share(), "theirs", DUE + 2_000, DUE + 20_000))
    function.run()
    assert len(region.asked) == 1


def test_somebody_elses_refresh_of_another_share_has_nothing_repeated(region: Region, function: Function) -> None:
    function.deliver_request()
    function.handle(completion(share("share-9"), "theirs", DUE - 2_000, DUE + 20_000))
    function.run()
    assert len(region.asked) == 1


def test_what_is_repeated_after_the_next_window_has_opened_is_everything(
    world: World, region: Region, function: Function
) -> None:
    """The folders are not kept any more: to keep them would cost each write of the next window."""
    function.deliver_request()
    world.time += 1_000
    change(world, "videos/b.mp4")
    function.handle(completion(share(), "theirs", DUE - 2_000, world.time))
    function.run()
    assert region.rounds == [PHOTOS, WHOLE_SHARE]


# Logs and the id of the bucket's window


def told(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    log = io.StringIO()
    [handler] = logging.getLogger(logger.service).handlers
    monkeypatch.setattr(handler, "stream", log)
    return log


def lines(log: io.StringIO) -> list[tuple[str, str]]:
    """Every line's beginning, and the id of its window."""
    found = [json.loads(line) for line in log.getvalue().splitlines()]
    return [(" ".join(line["message"].split(" ")[:2]), line.get("correlation_id", "")) for line in found]


def test_every_line_of_a_window_has_its_id_from_the_request_to_the_completion(
    monkeypatch: pytest.MonkeyPatch, world: World, region: Region, function: Function
) -> None:
    window = world.requests()[0].window
    log = told(monkeypatch)
    region.refuse("share-1", [OFFLINE])
    function.run()
    assert lines(log) == [
        ("my-bucket/share-1 waits:", window),
        ("my-bucket/share-1 accepted", window),
        ("The refresh", window),
    ]


def test_shares_that_wait_for_different_windows_are_told_of_by_theirs(
    monkeypatch: pytest.MonkeyPatch, world: World, region: Region, function: Function
) -> None:
    region.shares = shares(3)
    first = function.last_request().window
    function.deliver_request()
    change(world)
    second = function.last_request().window
    region.shares = [share("share-3"), share("share-5", "sgw-2")]
    for refresh in region.refreshes:
        refresh.is_complete = True
    world.time = max(world.time, DUE + AN_HOUR)  # the marks have lapsed: turns are taken by the bucket's request
    log = told(monkeypatch)
    function.deliver_request()
    assert waits(world, "share-3").changes is None
    assert lines(log) == [
        ("my-bucket/share-3 accepted", first),
        ("my-bucket/share-5 accepted", second),
    ]


def test_a_share_that_waits_keeps_the_id_of_the_window_whose_change_came_first(
    world: World, region: Region, function: Function
) -> None:
    region.shares = shares(3)
    first = function.last_request().window
    function.deliver_request()
    change(world, "videos/b.mp4")
    function.deliver_request()
    assert waits(world, "share-3").changes == ChangedFolders(frozenset({"/photos", "/videos"}), START, first)


def test_the_rounds_and_probes_of_a_share_keep_the_id_of_their_window(
    monkeypatch: pytest.MonkeyPatch, world: World, region: Region, function: Function
) -> None:
    change(world, *(f"videos/{n:03}/a.mp4" for n in range(120)))
    window = function.last_request().window
    log = told(monkeypatch)
    region.refuse("share-1", [BUSY])
    function.run()
    assert {id_ for _, id_ in lines(log)} == {window}
    assert [line for line, _ in lines(log)].count("my-bucket/share-1 accepted") == 3


# Metrics


def metrics(printed: str) -> dict[str, float]:
    """The values of every metric in the lines that were printed."""
    found = [json.loads(line) for line in printed.splitlines() if "CloudWatchMetrics" in line]
    return {name: value[0] for line in found for name, value in line.items() if isinstance(value, list)}


def test_the_seconds_until_accepted_and_until_visible_are_counted_from_the_first_change(
    world: World, region: Region, function: Function, capsys: pytest.CaptureFixture[str]
) -> None:
    function.deliver_request()
    world.time += 10_000
    function.complete(region.refreshes[0])
    found = metrics(capsys.readouterr().out)
    assert found["SecondsUntilAccepted"] == 30
    assert found["SecondsUntilVisible"] == 40


def test_a_refresh_that_had_to_wait_counts_from_the_first_change_all_the_same(
    region: Region, function: Function, capsys: pytest.CaptureFixture[str]
) -> None:
    region.refuse("share-1", [OFFLINE])
    function.run()
    found = metrics(capsys.readouterr().out)
    assert found["SecondsUntilAccepted"] == 35
    assert found["SecondsUntilVisible"] == 95


def test_what_became_of_a_refresh_is_counted(
    world: World, region: Region, function: Function, capsys: pytest.CaptureFixture[str]
) -> None:
    region.refuse("share-1", [OFFLINE])
    capsys.readouterr()
    function.deliver_request()
    assert metrics(capsys.readouterr().out) == {"RefreshesRefused": 1}
    function.deliver_next()
    accepted = {"RefreshesAccepted": 1, "FoldersRefreshed": 2, "SecondsUntilAccepted": 35}
    assert metrics(capsys.readouterr().out) == accepted
    change(world)
    capsys.readouterr()
    function.deliver_request()
    assert metrics(capsys.readouterr().out) == {"RefreshesDeferred": 1}


def test_a_share_that_is_not_available_is_counted_as_one_that_refused(
    region: Region, function: Function, capsys: pytest.CaptureFixture[str]
) -> None:
    region.shares = [share(status="UPDATING")]
    for _ in range(2):
        capsys.readouterr()
        function.deliver_next()
        assert metrics(capsys.readouterr().out) == {"RefreshesRefused": 1}


def test_a_share_whose_turn_comes_later_is_counted_as_deferred_and_not_as_refused(
    region: Region, function: Function, capsys: pytest.CaptureFixture[str]
) -> None:
    region.shares = shares(3)
    capsys.readouterr()
    function.deliver_request()
    found = metrics(capsys.readouterr().out)
    assert found["RefreshesDeferred"] == 1
    assert "RefreshesRefused" not in found


def test_a_share_that_a_busy_gateway_refused_is_counted_as_refused_and_not_as_deferred(
    region: Region, function: Function, capsys: pytest.CaptureFixture[str]
) -> None:
    region.refuse("share-1", [BUSY])
    capsys.readouterr()
    function.deliver_request()
    assert metrics(capsys.readouterr().out) == {"RefreshesRefused": 1}


def test_a_refresh_of_everything_is_counted_as_such(
    world: World, function: Function, capsys: pytest.CaptureFixture[str]
) -> None:
    world.settings["REFRESH_SCOPE"] = "share"
    function.deliver_request()
    found = metrics(capsys.readouterr().out)
    assert found["WholeShareRefreshes"] == 1
    assert "FoldersRefreshed" not in found


def test_somebody_elses_completion_tells_nothing_of_what_is_visible(
    function: Function, capsys: pytest.CaptureFixture[str]
) -> None:
    function.deliver_request()
    capsys.readouterr()
    function.handle(completion(share(), "theirs", DUE, DUE))
    assert metrics(capsys.readouterr().out) == {}
