"""What the refresh function does with each message: requests, early and late, places, the sweep, what is not known."""

from functools import partial

import pytest

from event_aggregator.aggregate import NotFinishedError
from event_aggregator.file_shares import FileShare
from event_aggregator.messages import NotUnderstoodError
from event_aggregator.places import Places, UnnamedPlaceError
from event_aggregator.refresh import NotRefreshedError
from event_aggregator.request import LIFETIME_MS, Request
from event_aggregator.table import Key
from event_aggregator.waiting import Changes
from event_aggregator.window import Due
from event_aggregator.writers import Roles
from tests.unit.conftest import START, World, fail, s3_event, s3_record
from tests.unit.shares import AWAY, DENIED, DOWN, HOME, TIME_LEFT, Function, Region, change, same, share

BUCKET = Key.read("my-bucket")
DUE = START + 30_000


@pytest.fixture
def region(world: World) -> Region:
    return Region(world)


@pytest.fixture
def function(world: World, region: Region) -> Function:
    """A change of /photos/a.jpg has opened a window, whose request is queued."""
    function = Function(world, {HOME: region})
    change(world, "photos/a.jpg")
    return function


def deliver_early(function: Function) -> None:
    function.handle(function.next.body)


def test_a_request_that_comes_early_is_sent_again_for_what_is_left(
    world: World, region: Region, function: Function
) -> None:
    world.time += 10_001
    deliver_early(function)
    assert region.asked == []
    first, second = world.requests()
    assert first == second
    assert world.sent[1]["DelaySeconds"] == 20


def test_a_request_that_comes_a_moment_early_goes_round_with_a_delay_of_a_second(
    world: World, function: Function
) -> None:
    world.time += 29_999
    deliver_early(function)
    assert world.sent[1]["DelaySeconds"] == 1


def test_the_duplicate_of_a_request_is_dropped(region: Region, function: Function) -> None:
    body = function.next.body
    function.deliver_next()
    function.handle(body)
    assert region.asked == ["share-1"]


def test_a_refresh_that_died_half_way_is_taken_up_again(world: World, region: Region, function: Function) -> None:
    world.time = DUE
    world.windows.close(BUCKET, world.item(), world.time, world.time + LIFETIME_MS)  # and here it died
    function.deliver_next()
    assert region.asked == ["share-1"]
    assert world.item().refreshing_id is None


def test_a_window_that_was_moved_later_is_deferred(world: World, region: Region, function: Function) -> None:
    world.time += 29_000
    due = Due(world.time + 60_000, longest=900_000)
    world.windows.join(BUCKET, world.item(), frozenset({"/photos"}), world.time, due)
    function.deliver_next()
    assert region.asked == []
    assert world.item().window_id


def test_a_bucket_without_a_share_is_done_with_a_warning(
    world: World, region: Region, function: Function, caplog: pytest.LogCaptureFixture
) -> None:
    region.shares = []
    function.deliver_next()
    assert world.item().refreshing_id is None
    assert "No file share shows the bucket my-bucket: nothing to refresh" in caplog.messages


def test_a_table_that_fails_during_a_hand_over_fails_the_message_which_is_repeated_whole(
    world: World, region: Region, function: Function
) -> None:
    region.shares = [share("share-1"), share("share-2")]
    fail(world.dynamodb, "UpdateItem", after=1)
    with pytest.raises(NotRefreshedError, match="File shares of arn:aws:storagegateway"):
        function.deliver(function.next)
    assert world.item().refreshing_id
    function.run()
    assert {refresh.share.share_id for refresh in region.refreshes} == {"share-1", "share-2"}
    assert world.item().refreshing_id is None


def test_a_message_that_is_not_understood_fails(function: Function) -> None:
    with pytest.raises(NotUnderstoodError):
        function.handle("no json")


def test_an_event_that_the_aggregator_could_not_handle_is_aggregated(world: World, function: Function) -> None:
    function.handle({"requestPayload": s3_event(s3_record("videos/a.mp4"))})
    assert world.item().folders == {"/photos", "/videos"}


def test_an_event_that_is_none_of_s3s_fails_again(function: Function) -> None:
    with pytest.raises(NotFinishedError):
        function.handle({"requestPayload": {"Records": [{}]}})


def test_a_message_of_2018_refreshes_its_bucket(region: Region, function: Function) -> None:
    function.handle("{}", "my-bucket")
    assert [round_.recursive for round_ in region.rounds] == [True]


def test_a_message_may_ask_for_folders(region: Region, function: Function) -> None:
    function.handle({"bucket": "my-bucket", "folders": ["/a/b"]})
    assert region.rounds[0].folder_list == ["/", "a", "a/b"]


# The places


@pytest.mark.parametrize("error", [DOWN, DENIED], ids=str)
def test_the_only_place_that_cannot_be_listed_is_listed_again_after_5_seconds_and_ever_more_rarely_for_ever(
    world: World, region: Region, function: Function, error: Exception
) -> None:
    region.listing = error
    function.deliver_next()
    waited = []
    for _ in range(12):
        before = world.time
        function.deliver_next()
        waited.append((world.time - before) // 1000)
    assert waited == [5, 10, 20, 40, 80, 160, 320, 640, 900, 900, 900, 900]
    assert world.item("my-bucket/us-east-1/").folders == {"/photos"}
    region.listing = None
    function.run()
    assert region.rounds[0].folder_list == ["/", "photos"]
    assert world.item("my-bucket/us-east-1/").window_id is None


def test_of_several_places_each_is_listed_by_a_request_of_its_own_and_one_that_fails_delays_no_other(
    world: World, region: Region
) -> None:
    away = Region(world, [share("share-1", place=AWAY)], listing=DOWN)
    function = Function(world, {AWAY: away, HOME: region})
    change(world)
    function.deliver_next()
    assert {str(request.key) for request in world.requests()[1:]} == {"my-bucket/us-east-1/", "my-bucket/eu-west-1/"}
    function.deliver_next()
    function.deliver_next()
    assert (region.asked, away.asked) == (["share-1"], [])
    away.listing = None
    function.run()
    assert away.asked == ["share-1"]


def test_what_waits_for_a_place_that_the_settings_do_not_name_waits_and_is_forgotten_by_the_sweep_after_a_day(
    world: World, region: Region
) -> None:
    away = Region(world, [share("share-1", place=AWAY)], listing=DOWN)
    function = Function(world, {AWAY: away, HOME: region})
    change(world)
    for _ in range(3):
        function.deliver_next()
    del function.regions[AWAY]
    function.deliver_next()
    assert world.item("my-bucket/eu-west-1/").folders == {"/photos"}
    world.time += 86_400_000
    function.sweep()
    assert world.item("my-bucket/eu-west-1/").folders == frozenset()


# The sweep


def test_a_lost_request_is_sent_again_by_the_sweep_after_its_lease(
    world: World, region: Region, function: Function
) -> None:
    function.queue.clear()
    world.time = DUE + LIFETIME_MS
    function.sweep()
    assert len(world.requests()) == 1
    world.time += 1
    function.sweep()
    assert len(world.requests()) == 2
    function.run()
    assert region.asked == ["share-1"]


def test_a_lost_wake_is_queued_again_by_the_sweep(world: World, region: Region, function: Function) -> None:
    region.shares = [share("share-1"), share("share-2"), share("share-3")]
    function.deliver_next()
    assert function.in_line() == ["my-bucket/share-3"]
    function.queue.clear()
    world.time += 3_600_000 + 600_001
    function.sweep()
    function.run()
    assert region.asked[-1] == "share-3"


def test_a_share_whose_folders_wait_and_that_is_in_no_line_is_put_into_it_by_the_sweep(
    world: World, region: Region, function: Function
) -> None:
    changes = Changes(frozenset({"/videos"}), START, "w")
    world.waiting.add(share().key, share(), changes, "an-addition")
    function.queue.clear()
    function.sweep()
    function.run()
    assert region.rounds[0].folder_list == ["/", "videos"]


# Who wrote


class Ids(Roles):
    """IAM, which knows the ids of some roles."""

    def __init__(self, **ids: str) -> None:
        self._known = ids

    def id_of(self, arn: str) -> str:
        return self._known.get(arn.rpartition("/")[2].replace("-", "_"), "")


def writer(world: World, shares: list[FileShare], *, lone: bool = True, away: Region | None = None, **ids: str) -> str:
    """The id of the share through which AROAX wrote; empty if nobody is left out."""
    regions = {HOME: Region(world, shares)} | ({AWAY: away} if away else {})
    places = Places(HOME, {name: partial(same, region) for name, region in regions.items()}, {"": Ids(**ids)})
    found = places.writer(shares, HOME, "AROAX", lone=lone)
    return found.share_id if found else ""


TWO = [share("share-1"), share("share-2")]


def test_the_share_whose_role_wrote_is_left_out(world: World) -> None:
    assert writer(world, TWO, share_1="AROAX", share_2="AROAY") == "share-1"


def test_nobody_is_left_out_if_two_shares_have_the_role(world: World) -> None:
    assert writer(world, [share("share-1"), share("share-2", role="share-1")], share_1="AROAX") == ""


def test_nobody_is_left_out_if_a_share_is_unknown(world: World) -> None:
    assert writer(world, [share("share-1"), share("share-2", unknown="denied")], share_1="AROAX") == ""


def test_nobody_is_left_out_if_another_place_has_a_share_with_the_role_or_cannot_be_listed(world: World) -> None:
    elsewhere = share("share-9", place=AWAY, role="share-1")
    assert writer(world, [share()], away=Region(world, [elsewhere]), share_1="AROAX") == ""
    assert writer(world, [share()], away=Region(world, listing=DOWN), share_1="AROAX") == ""
    assert writer(world, [share()], away=Region(world, []), share_1="AROAX") == "share-1"


def test_the_only_share_is_left_out_if_iam_does_not_tell_its_roles_id(world: World) -> None:
    assert writer(world, [share()]) == "share-1"
    assert writer(world, [share()], lone=False) == ""
    assert writer(world, [share()], share_1="AROAY") == "", "IAM tells that it was another role"
    assert writer(world, TWO) == ""


def test_a_place_that_the_settings_do_not_name_is_said_so() -> None:
    with pytest.raises(UnnamedPlaceError, match="the settings name no gateways in eu-west-1"):
        Places(HOME, {}).at(AWAY)


def test_what_a_gateway_wrote_refreshes_every_share_but_its_own(world: World, region: Region) -> None:
    function = Function(world, {HOME: region})
    function.roles = Ids(share_1="AROAX", share_2="AROAY")
    region.shares = [share("share-1", "sgw-1"), share("share-2", "sgw-2")]
    record = s3_record("photos/b.jpg", userIdentity={"principalId": "AWS:AROAX:StorageGateway"})
    world.aggregator.aggregate_event(s3_event(record), TIME_LEFT)
    function.run()
    assert region.asked == ["share-2"]


def test_a_request_for_a_window_that_was_taken_over_is_dropped(region: Region, function: Function) -> None:
    request = Request(BUCKET, "w-before", "w-before")
    function.handle({"version": 1, **request.content()})
    assert region.asked == []
