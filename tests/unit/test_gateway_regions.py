"""Shares in several regions and accounts: each region is listed, fails, waits and is asked again on its own."""

from functools import partial

import pytest

from event_aggregator.folders import Round
from event_aggregator.regions import Regions, UnnamedRegionError
from event_aggregator.request import LIFETIME_MS
from event_aggregator.table import Key, WindowItem
from tests.unit.conftest import START, World, fail, s3_event, s3_record
from tests.unit.shares import (
    AWAY,
    BUSY,
    DENIED,
    DOWN,
    HOME,
    MINUTE,
    OFFLINE,
    TIME_LEFT,
    Function,
    KilledError,
    Region,
    change,
    share,
)

DUE = START + 30_000
A_DAY = 86_400_000
PHOTOS = Round(["/", "photos"], recursive=False)
HOME_KEY, AWAY_KEY = "my-bucket/us-east-1/", "my-bucket/eu-west-1/"
AWAY_SHARE = share(region=AWAY)


@pytest.fixture
def home(world: World) -> Region:
    return Region(world)


@pytest.fixture
def away(world: World) -> Region:
    """A region with a share that has the same id as the one at home."""
    return Region(world, [AWAY_SHARE])


@pytest.fixture
def function(world: World, home: Region, away: Region) -> Function:
    """A change of /photos/a.jpg has opened a window, whose request is queued; each region has a share of the bucket."""
    function = Function(world, {HOME: home, AWAY: away})
    change(world, "photos/a.jpg")
    return function


def test_a_due_request_puts_the_folders_into_a_window_of_each_region_with_a_request_that_comes_at_once(
    world: World, home: Region, away: Region, function: Function
) -> None:
    window = function.last_request().window
    function.deliver_request()
    assert (home.listings, away.listings) == (0, 0)
    for key in (HOME_KEY, AWAY_KEY):
        assert world.item(key).folders == {"/photos"}
        assert world.item(key).opened_at == START
        request = function.last_request(key)
        assert (request.window, request.correlation, request.attempt) == (world.item(key).window_id, window, 1)
    assert [message.due for message in function.queue] == [DUE, DUE]
    assert world.item().refreshing_id is None


def test_the_shares_of_all_regions_are_refreshed_and_one_id_in_two_regions_is_two_shares(
    world: World, home: Region, away: Region, function: Function
) -> None:
    function.run()
    assert home.rounds == away.rounds == [PHOTOS]
    assert [refresh.at for refresh in (*home.refreshes, *away.refreshes)] == [DUE, DUE]
    assert function.gateway().shares[Key.read("my-bucket/share-1")].asked_at == DUE
    assert function.gateway(AWAY_SHARE.gateway_arn).shares[Key.read("my-bucket/eu-west-1/share-1")].asked_at == DUE
    for key in (HOME_KEY, AWAY_KEY):
        assert (world.item(key).window_id, world.item(key).refreshing_id) == (None, None)


@pytest.mark.parametrize("slow", [HOME, AWAY])
def test_a_region_that_hangs_until_its_delivery_is_killed_delays_no_other(
    world: World, home: Region, away: Region, function: Function, slow: str
) -> None:
    hanging, quick = (home, away) if slow == HOME else (away, home)

    def hang(_: str) -> None:
        hanging.listings += 1
        raise KilledError

    hanging.showing = hang  # type: ignore[assignment, method-assign]
    function.run(until=DUE + 2 * MINUTE)
    assert hanging.listings > 0
    assert [refresh.at for refresh in quick.refreshes] == [DUE]
    assert world.item(HOME_KEY if slow == HOME else AWAY_KEY).refreshed_folders == {"/photos"}


@pytest.mark.parametrize("error", [DOWN, DENIED], ids=str)
def test_a_region_that_cannot_be_listed_is_listed_again_after_5_seconds_and_ever_more_rarely_and_never_given_up(
    world: World, home: Region, away: Region, function: Function, error: Exception
) -> None:
    away.listing = error
    listed_at: list[int] = []
    showing = away.showing

    def listed(bucket: str) -> list[object]:
        listed_at.append((world.time - DUE) // 1000)
        return list(showing(bucket))

    away.showing = listed  # type: ignore[assignment, method-assign]
    function.run(until=DUE + 4_000_000)
    assert listed_at == [0, 5, 15, 35, 75, 155, 315, 635, 1275, 2175, 3075, 3975]
    assert home.listings == 1, "only the region that waits is listed again"
    assert "could not be listed" in (world.item(AWAY_KEY).reason or "")
    away.listing = None
    function.run()
    assert away.rounds == [PHOTOS]
    assert world.item(AWAY_KEY).reason is None


def test_later_changes_join_what_waits_for_a_region(world: World, away: Region, function: Function) -> None:
    away.listing = DOWN
    function.run(until=DUE + 100_000)
    change(world, "videos/b.mp4")
    function.run(until=world.time + 50_000)
    assert world.item(AWAY_KEY).folders == {"/photos", "/videos"}
    assert world.item(AWAY_KEY).opened_at == START
    away.listing = None
    function.run()
    assert [round_.folder_list for round_ in away.rounds] == [["/", "photos", "videos"]]


def test_a_share_that_refuses_after_its_place_was_down_begins_with_the_shortest_back_off(
    world: World, away: Region, function: Function
) -> None:
    away.listing = DOWN
    function.run(until=DUE + 100_000)
    away.listing = None
    away.refuse("share-1", [OFFLINE])
    asked_at: list[int] = []
    away.meanwhile = lambda _: asked_at.append(world.time)
    function.run()
    assert asked_at[1] - asked_at[0] == 5_000


def test_a_region_whose_window_has_an_opener_that_died_gets_its_request_from_who_comes_next(
    world: World, away: Region, function: Function
) -> None:
    message = function.next
    fail(world.sqs, "SendMessage", after=1)
    with pytest.raises(Exception, match="Could not connect"):
        function.deliver(message)
    assert world.item().refreshing_id, "the bucket's window is not done"
    function.run()
    assert len(away.refreshes) == 1
    assert world.item().refreshing_id is None


def test_folders_that_a_later_window_takes_over_have_the_regions_request_sent(
    world: World, away: Region, function: Function
) -> None:
    message = function.next
    fail(world.sqs, "SendMessage", after=1)
    with pytest.raises(Exception, match="Could not connect"):
        function.deliver(message)
    function.queue.clear()  # the message never comes again
    change(world, "videos/b.mp4")
    function.run()
    assert "photos" in [folder for round_ in away.rounds for folder in round_.folder_list]
    assert world.item(AWAY_KEY).window_id is None


# Away from home no completion is told


def test_the_mark_of_a_share_away_ends_with_the_interval(world: World, home: Region, away: Region) -> None:
    away.shares = [share(f"share-{n}", region=AWAY) for n in range(5)]
    function = Function(world, {HOME: home, AWAY: away})
    change(world)
    function.run(told=False)
    assert [(refresh.at - DUE) // 1000 for refresh in away.refreshes] == [0, 0, 60, 60, 120]


def test_an_event_of_another_places_share_with_the_same_id_frees_no_place_at_home(
    home: Region, away: Region, function: Function
) -> None:
    function.run(until=DUE)
    function.handle(away.refreshes[0].event(DUE + 1_000))
    assert function.gateway().taken_slots() == 1
    function.complete(home.refreshes[0])
    assert function.gateway().taken_slots() == 0


def test_a_share_of_another_account_has_its_own_key_and_line(world: World, home: Region) -> None:
    name = "us-east-1:999999999999"
    other = Region(world, [share(region=name)])
    function = Function(world, {HOME: home, name: other})
    change(world)
    other.refuse("share-1", [BUSY])
    function.run(until=DUE + 1_000)
    assert home.asked == other.asked == ["share-1"]
    assert function.in_line(share(region=name).gateway_arn) == [f"my-bucket/{name}/share-1"]
    assert function.in_line() == []


def test_a_share_away_that_is_gone_takes_what_waited_for_it_along(
    world: World, away: Region, function: Function
) -> None:
    away.refuse("share-1", [OFFLINE])
    function.run(until=DUE + 1_000)
    away.shares = []
    function.run()
    assert away.asked == ["share-1"]
    assert world.waits("my-bucket/eu-west-1/share-1").arn == ""


# Regions that the settings do not name: any more, or not yet


def test_a_roll_out_of_settings_loses_nothing(world: World, away: Region, function: Function) -> None:
    away.listing = DOWN
    function.run(until=DUE + 1_000)
    del function.regions[AWAY]
    function.run(until=DUE + 600_000)
    assert world.item(AWAY_KEY).folders == {"/photos"}
    function.regions[AWAY] = away
    away.listing = None
    function.run()
    assert away.rounds == [PHOTOS]


def test_what_waits_for_a_share_in_a_region_that_is_not_named_waits_too(
    world: World, away: Region, function: Function
) -> None:
    away.refuse("share-1", [OFFLINE])
    function.run(until=DUE + 1_000)
    del function.regions[AWAY]
    function.run(until=DUE + 600_000)
    assert "the settings name no gateways in eu-west-1" in (world.waits("my-bucket/eu-west-1/share-1").reason or "")
    function.regions[AWAY] = away
    function.run()
    assert [refresh.round_ for refresh in away.refreshes] == [PHOTOS]


@pytest.mark.parametrize("what", ["region", "share"])
def test_what_waits_for_a_region_that_was_not_named_for_a_day_is_forgotten_by_the_sweep_though_it_is_tried_again(
    world: World, away: Region, function: Function, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    if what == "region":
        away.listing, key = DOWN, AWAY_KEY
    else:
        away.refuse("share-1", [OFFLINE])
        key = str(AWAY_SHARE.key)
    function.run(until=DUE + 1_000)
    del function.regions[AWAY]
    function.run(until=DUE + 1_000_000)
    world.time = START + A_DAY - 1
    function.deliver_next()
    function.sweep()
    assert world.waits(key).folders | world.waits(key).refreshed_folders == {"/photos"}
    world.time += 1
    function.sweep()
    assert world.item(key) == WindowItem()
    assert "The settings name no gateways in eu-west-1" in caplog.messages[-1]
    function.run()
    assert (away.refreshes, function.queue) == ([], [])


def test_the_window_of_a_region_that_is_named_is_not_forgotten_however_long_it_waits(
    world: World, away: Region, function: Function
) -> None:
    away.listing = DENIED
    function.run(until=DUE + 1_000)
    world.time += 3 * A_DAY
    function.sweep()
    assert world.item(AWAY_KEY).folders == {"/photos"}


def test_the_sweep_sends_a_lost_request_of_a_region_again(world: World, away: Region, function: Function) -> None:
    away.listing = DOWN
    function.run(until=DUE + 1_000)
    function.queue.clear()
    away.listing = None
    world.time += 2 * LIFETIME_MS
    function.sweep()
    function.run()
    assert away.rounds == [PHOTOS]


def test_a_message_for_everything_in_a_bucket_waits_for_a_region_too(
    world: World, home: Region, away: Region, function: Function
) -> None:
    away.listing = DOWN
    function.handle("{}", "my-bucket")
    function.run(until=world.time + 1_000)
    assert [round_.recursive for round_ in home.rounds] == [True]
    assert world.item(AWAY_KEY).folders == {"*"}


# What a gateway wrote


def test_what_a_gateway_wrote_waits_for_a_region_apart_from_what_others_wrote(
    world: World, away: Region, function: Function
) -> None:
    away.listing = DOWN
    record = s3_record("videos/b.mp4", userIdentity={"principalId": "AWS:AROAX:StorageGateway"})
    world.aggregator.aggregate_event(s3_event(record), TIME_LEFT)
    function.run(until=DUE + 1_000)
    assert world.item(AWAY_KEY).folders == {"/photos"}
    assert world.item("my-bucket/eu-west-1/gateways:AROAX/").folders == {"/videos"}


def test_no_region_is_made_before_it_is_needed() -> None:
    made: list[str] = []

    def make(name: str) -> Region:
        made.append(name)
        return Region.__new__(Region)

    regions = Regions(HOME, {name: partial(make, name) for name in (HOME, AWAY)})
    assert regions.at(AWAY) is regions.at(AWAY)
    assert regions.of(AWAY_SHARE.key) is regions.at(AWAY)
    assert made == [AWAY]
    assert regions.of(share().key) is regions.at(HOME)
    with pytest.raises(UnnamedRegionError):
        regions.of(share(region="eu-west-9").key)
