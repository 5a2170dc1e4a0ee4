"""Shares in several places: each place fails, waits and is asked again on its own."""

import json
from dataclasses import asdict, dataclass, field

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from event_aggregator.file_shares import FileShare, FileShares
from event_aggregator.folders import Round
from event_aggregator.places import Places
from event_aggregator.refresh import NotRefreshedError, Refresher
from event_aggregator.request import LIFETIME_MS
from event_aggregator.table import read_key
from tests.unit.conftest import World, fail, s3_event, s3_record

TIME_LEFT = 60_000
HOME, AWAY = "us-east-1", "eu-west-1"
DOWN = EndpointConnectionError(endpoint_url="test")
DENIED = ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "ListFileShares")


@dataclass
class Place(FileShares):
    """One share, in the place of Storage Gateway's in a region."""

    world: World
    region: str
    asked: list[Round] = field(default_factory=list)
    listings: int = 0
    listing: Exception | None = None
    slowness: int = 0  # of a listing, milliseconds
    shares: int = 1
    answer: Exception | None = None
    account: str = ""

    @property
    def share(self) -> FileShare:
        arn = f"arn:aws:storagegateway:{self.region}:{self.account or '123456789012'}:share/share-1"
        away = f"{self.region}:{self.account}" if self.account else self.region
        return FileShare(arn, "AVAILABLE", "my-bucket", "", "" if away == HOME else away)

    def showing(self, bucket: str) -> list[FileShare]:
        assert bucket == "my-bucket"
        self.listings += 1
        self.world.time += self.slowness
        if self.listing:
            raise self.listing
        return [self.share] * self.shares

    def is_gone(self, share_id: str) -> bool:
        return not (self.shares and share_id == "share-1")

    def key_of(self, arn: str) -> str | None:
        return self.share.key if arn == self.share.arn else None

    def refresh(self, share: FileShare, round_: Round) -> str:
        assert share == self.share
        self.asked.append(round_)
        if self.answer:
            raise self.answer
        return f"{self.region}-{len(self.asked)}"


@dataclass
class Gateways:
    world: World
    home: Place
    away: Place
    places: dict[str, Place]

    def handle(self, body: str, bucket: str | None = None) -> None:
        places = Places(HOME, {name: lambda place=place: place for name, place in self.places.items()})  # type: ignore[misc]
        Refresher(self.world.aggregator, places, self.world.pace).handle(body, bucket, "message-1", TIME_LEFT)

    def deliver(self, key: str = "my-bucket") -> None:
        """Move the clock to where the newest request of `key` is due, and deliver it."""
        request = [request for request in self.world.requests() if request.key == key][-1]
        self.world.time = max(self.world.time, self.world.item(key).refresh_at)
        self.handle(json.dumps({"version": 1, **asdict(request)}))

    def complete(self, place: Place, notification_id: str) -> None:
        event = {
            "detail-type": "Storage Gateway Refresh Cache Event",
            "resources": [place.share.arn],
            "detail": {"notification-id": notification_id},
        }
        self.handle(json.dumps(event))


@pytest.fixture
def gateways(world: World) -> Gateways:
    """A change of /photos/a.jpg has opened a window, whose request is queued; each region has a share of the bucket."""
    world.aggregator.aggregate_event(s3_event(s3_record("photos/a.jpg")), TIME_LEFT)
    home, away = Place(world, HOME), Place(world, AWAY)
    return Gateways(world, home, away, {HOME: home, AWAY: away})


@pytest.mark.parametrize(
    ("key", "parts"),
    [
        ("my-bucket", ("my-bucket", "", "")),
        ("my-bucket/share-1", ("my-bucket", "", "share-1")),
        ("my-bucket/eu-west-1/", ("my-bucket", "eu-west-1", "")),
        ("my-bucket/gateways/", ("my-bucket", "gateways", "")),
        ("my-bucket/gateways:AROAX/", ("my-bucket", "gateways:AROAX", "")),
        ("my-bucket/eu-west-1/share-1", ("my-bucket", "eu-west-1", "share-1")),
    ],
)
def test_a_key_says_of_which_bucket_place_and_share_it_is(key: str, parts: tuple[str, str, str]) -> None:
    assert read_key(key) == parts


def test_shares_of_all_regions_are_refreshed_and_one_id_in_two_regions_is_two_keys(
    world: World, gateways: Gateways
) -> None:
    gateways.deliver()
    assert gateways.home.asked == gateways.away.asked == [Round(["/", "photos"], recursive=False)]
    for key in ("my-bucket/share-1", "my-bucket/eu-west-1/share-1"):
        assert world.item(key).last_accepted_at == world.time
    assert world.item().refreshing_id is None


def test_a_mark_is_made_at_home_only_where_its_completion_is_told(world: World, gateways: Gateways) -> None:
    gateways.deliver()
    assert world.item("my-bucket/share-1").in_progress_id == "us-east-1-1"
    assert world.item("my-bucket/eu-west-1/share-1").in_progress_id is None


def test_a_completion_from_another_region_is_that_of_its_own_share(world: World, gateways: Gateways) -> None:
    gateways.deliver()
    gateways.complete(gateways.away, "us-east-1-1")
    assert world.item("my-bucket/share-1").in_progress_id == "us-east-1-1"
    gateways.complete(gateways.home, "us-east-1-1")
    assert world.item("my-bucket/share-1").in_progress_id is None


def test_a_completion_in_another_account_is_that_of_its_own_share(world: World) -> None:
    home, other = Place(world, HOME), Place(world, HOME, account="999999999999")
    gateways = Gateways(world, home, other, {HOME: home, other.share.away: other})
    assert other.share.key == "my-bucket/us-east-1:999999999999/share-1"
    gateways.handle("{}", "my-bucket")
    gateways.complete(other, "us-east-1-1")
    assert world.item("my-bucket/share-1").in_progress_id == "us-east-1-1"
    assert world.item(other.share.key).in_progress_id is None


@pytest.mark.parametrize(("down", "up"), [(HOME, AWAY), (AWAY, HOME)])
def test_a_region_that_cannot_be_listed_delays_no_other_and_its_folders_wait_for_it(
    world: World, gateways: Gateways, down: str, up: str
) -> None:
    gateways.places[down].listing = DOWN
    gateways.deliver()
    assert [len(gateways.places[name].asked) for name in (down, up)] == [0, 1]
    assert world.item().refreshing_id is None
    waiting = world.item(f"my-bucket/{down}/")
    assert waiting.folders == {"/photos"}
    assert waiting.refresh_at == world.time + 60_000
    assert "could not be listed" in (waiting.reason or "")
    gateways.places[down].listing = None
    gateways.deliver(f"my-bucket/{down}/")
    assert [len(gateways.places[name].asked) for name in (down, up)] == [1, 1]
    done = world.item(f"my-bucket/{down}/")
    assert (done.window_id, done.refreshing_id) == (None, None)


def test_a_region_that_stays_down_is_asked_ever_more_rarely_and_never_given_up(
    world: World, gateways: Gateways
) -> None:
    gateways.away.listing = DOWN
    gateways.deliver()
    waits = []
    for _ in range(7):
        waits.append(world.item("my-bucket/eu-west-1/").refresh_at - world.time)
        gateways.deliver("my-bucket/eu-west-1/")
    assert [wait // 1000 for wait in waits] == [60, 120, 240, 480, 900, 900, 900]
    assert gateways.home.listings == 1, "only the region that waits is listed again"
    gateways.away.listing = None
    gateways.away.answer = DOWN
    gateways.deliver("my-bucket/eu-west-1/")
    assert world.item("my-bucket/eu-west-1/share-1").refresh_at == world.time + 60_000, (
        "its share did not refuse before"
    )


def test_later_changes_join_what_waits_for_a_region(world: World, gateways: Gateways) -> None:
    gateways.away.listing = DOWN
    gateways.deliver()
    world.aggregator.aggregate_event(s3_event(s3_record("videos/b.mp4", at=world.time)), TIME_LEFT)
    gateways.deliver()
    assert world.item("my-bucket/eu-west-1/").folders == {"/photos", "/videos"}
    assert [request.key for request in world.requests()].count("my-bucket/eu-west-1/") == 1


def test_a_region_that_denies_its_list_is_given_up_after_a_quarter_of_an_hour_with_a_warning(
    world: World, gateways: Gateways, caplog: pytest.LogCaptureFixture
) -> None:
    gateways.away.listing = DENIED
    gateways.deliver()
    start = world.time
    for _ in range(4):
        gateways.deliver("my-bucket/eu-west-1/")
    assert world.time - start == 900_000
    given_up = world.item("my-bucket/eu-west-1/")
    assert (given_up.window_id, given_up.refreshing_id) == (None, None)
    assert "What waited for my-bucket/eu-west-1/ is given up" in caplog.messages[-1]


def test_what_a_region_denies_after_an_outage_waits_for_a_quarter_of_an_hour_all_the_same(
    world: World, gateways: Gateways
) -> None:
    gateways.away.listing = DOWN
    gateways.deliver()
    for _ in range(4):
        gateways.deliver("my-bucket/eu-west-1/")
    gateways.away.listing = DENIED
    for _ in range(4):
        gateways.deliver("my-bucket/eu-west-1/")
        assert world.item("my-bucket/eu-west-1/").folders == {"/photos"}
    gateways.deliver("my-bucket/eu-west-1/")
    assert world.item("my-bucket/eu-west-1/").window_id is None, "and is given up then"


def test_what_waits_for_a_share_that_has_refused_for_long_is_not_given_up_for_one_denial_of_the_list(
    world: World, gateways: Gateways
) -> None:
    gateways.away.answer = DOWN
    gateways.deliver()
    for _ in range(5):
        gateways.deliver("my-bucket/eu-west-1/share-1")
    gateways.away.listing = DENIED
    gateways.deliver("my-bucket/eu-west-1/share-1")
    assert world.item("my-bucket/eu-west-1/share-1").folders == {"/photos"}
    gateways.away.listing = gateways.away.answer = None
    gateways.deliver("my-bucket/eu-west-1/share-1")
    assert len(gateways.away.asked) == 7


def test_the_only_region_that_fails_leaves_the_window_open_whatever_the_failure(
    world: World, gateways: Gateways
) -> None:
    del gateways.places[AWAY]
    for failure in (DOWN, DENIED):
        gateways.home.listing = failure
        with pytest.raises(type(failure)):
            gateways.deliver()
        assert world.item().window_id


def test_a_share_whose_region_cannot_be_listed_when_it_is_due_waits_on(world: World, gateways: Gateways) -> None:
    gateways.away.answer = DOWN
    gateways.deliver()
    gateways.away.listing = DOWN
    gateways.deliver("my-bucket/eu-west-1/share-1")
    assert world.item("my-bucket/eu-west-1/share-1").folders == {"/photos"}
    assert world.item("my-bucket/eu-west-1/share-1").refresh_at == world.time + 120_000
    gateways.away.listing = gateways.away.answer = None
    gateways.deliver("my-bucket/eu-west-1/share-1")
    assert len(gateways.away.asked) == 2


def test_regions_for_which_no_time_is_left_are_listed_in_an_invocation_of_their_own(
    world: World, gateways: Gateways
) -> None:
    gateways.home.slowness, gateways.home.listing = 36_000, DOWN
    gateways.deliver()
    assert gateways.away.listings == 0
    assert world.item("my-bucket/eu-west-1/").refresh_at == world.time + 1_000
    gateways.deliver("my-bucket/eu-west-1/")
    assert len(gateways.away.asked) == 1


def test_what_waits_for_a_region_that_is_none_of_the_settings_any_more_is_dropped(
    world: World, gateways: Gateways, caplog: pytest.LogCaptureFixture
) -> None:
    gateways.away.listing = DOWN
    gateways.deliver()
    del gateways.places[AWAY]
    gateways.deliver("my-bucket/eu-west-1/")
    assert world.item("my-bucket/eu-west-1/").window_id is None
    assert "eu-west-1 has no gateways any more" in caplog.messages[-1]


def test_a_share_of_another_region_that_is_gone_takes_what_waited_for_it_along(
    world: World, gateways: Gateways
) -> None:
    gateways.away.answer = DOWN
    gateways.deliver()
    gateways.away.shares = 0
    gateways.deliver("my-bucket/eu-west-1/share-1")
    assert world.item("my-bucket/eu-west-1/share-1").last_asked_at == 0


def test_a_hand_over_to_a_region_that_died_is_done_again_and_sends_its_request(
    world: World, gateways: Gateways
) -> None:
    gateways.away.listing = DOWN
    fail(world.sqs, "SendMessage")
    with pytest.raises(NotRefreshedError, match="File shares of my-bucket in eu-west-1"):
        gateways.deliver()
    assert len(gateways.home.asked) == 1, "the other region is refreshed all the same"
    assert world.item().refreshing_id, "and the message comes again"
    gateways.deliver()
    assert "my-bucket/eu-west-1/" in [request.key for request in world.requests()]
    assert world.item("my-bucket/eu-west-1/").confirmed


def test_the_sweep_sends_a_lost_request_of_a_region_again(world: World, gateways: Gateways) -> None:
    gateways.away.listing = DOWN
    gateways.deliver()
    world.time += 2 * LIFETIME_MS
    gateways.handle(json.dumps({"sweep": True}))
    assert [request.key for request in world.requests()].count("my-bucket/eu-west-1/") == 2


def test_what_a_gateway_wrote_refreshes_all_shares_while_a_region_does_not_say_how_many_there_are(
    world: World, gateways: Gateways
) -> None:
    record = s3_record("photos/b.jpg", userIdentity={"principalId": "AWS:AROAX:StorageGateway"})
    world.aggregator.aggregate_event(s3_event(record), TIME_LEFT)
    gateways.away.listing = DOWN
    gateways.deliver("my-bucket/gateways:AROAX/")
    assert len(gateways.home.asked) == 1
    assert world.item("my-bucket/eu-west-1/").folders == {"/photos"}


def test_a_request_for_everything_in_a_bucket_waits_for_a_region_too(world: World, gateways: Gateways) -> None:
    gateways.away.listing = DOWN
    gateways.handle("{}", "my-bucket")
    assert world.item("my-bucket/eu-west-1/").folders == {"*"}
