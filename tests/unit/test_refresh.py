"""What the refresh function does with each message: requests, early and late, regions, the sweep, what is not known."""

import json
from functools import partial

import pytest

from event_aggregator.aggregate import NotFinishedError
from event_aggregator.file_shares import FileShare
from event_aggregator.messages import NotUnderstoodError
from event_aggregator.refresh import NotRefreshedError
from event_aggregator.regions import Regions, UnnamedRegionError
from event_aggregator.request import LIFETIME_MS, Request
from event_aggregator.table import Key
from event_aggregator.waiting import ChangedFolders
from event_aggregator.window import Due
from event_aggregator.writers import Roles
from tests.unit.conftest import START, World, fail, s3_event, s3_record
from tests.unit.shares import AWAY, DENIED, DOWN, HOME, OFFLINE, TIME_LEFT, Function, Region, change, same, share

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


def test_a_deferred_window_cannot_be_taken_over_while_its_request_may_be_delivered(
    world: World, function: Function
) -> None:
    deliver_early(function)
    world.time = DUE + LIFETIME_MS
    change(world, "photos/b.jpg")
    assert len(world.sent) == 2
    world.time += 1
    change(world, "photos/b.jpg")
    assert len(world.sent) == 3


def test_two_deliveries_at_once_close_the_window_once(world: World, region: Region, function: Function) -> None:
    world.time = DUE
    body, between = function.next.body, [True]

    def deliver_meanwhile(**_: object) -> None:
        if between:
            between.clear()
            function.handle(body, message_id="the-other")

    world.dynamodb.meta.events.register("provide-client-params.dynamodb.UpdateItem", deliver_meanwhile)
    function.handle(body, message_id="the-one")
    assert region.asked == ["share-1"]
    assert world.item().refreshing_id is None


def test_a_delay_of_12_hours_takes_48_rounds_and_one_refresh(world: World, region: Region) -> None:
    world.settings["REFRESH_DELAY_SECONDS"] = "43200"
    function = Function(world, {HOME: region})
    change(world)
    rounds = 0
    while not region.asked:
        function.deliver_next()
        rounds += 1
    assert world.time == START + 43_200_000
    assert rounds == 48


def test_only_shares_that_show_a_changed_folder_are_asked(region: Region, function: Function) -> None:
    region.shares = [share("share-1", prefix="photos/"), share("share-2", prefix="videos/"), share("share-3")]
    function.run()
    assert region.asked == ["share-1", "share-3"]


def test_a_bucket_without_a_share_is_done_with_a_warning(
    world: World, region: Region, function: Function, caplog: pytest.LogCaptureFixture
) -> None:
    region.shares = []
    function.deliver_next()
    assert world.item().refreshing_id is None
    assert "No file share shows the bucket my-bucket: nothing is refreshed" in caplog.messages


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


def test_an_event_of_another_kind_is_told_of_and_let_go(function: Function, caplog: pytest.LogCaptureFixture) -> None:
    event = {"detail-type": "Storage Gateway File Upload Event", "source": "aws.storagegateway", "detail": {}}
    function.handle(event)
    assert "File Upload Event of aws.storagegateway" in caplog.text


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


def test_a_message_of_2018_that_comes_too_soon_makes_the_share_wait(
    world: World, region: Region, function: Function
) -> None:
    for _ in range(2):
        function.handle("{}", "my-bucket")
    assert region.asked == ["share-1"]
    assert world.waits().folders == {"*"}


def test_a_message_from_outside_is_told_of_by_its_own_id(world: World, region: Region, function: Function) -> None:
    region.shares = [share(status="UPDATING")]
    function.handle({"bucket": "my-bucket", "folders": ["/a"]}, message_id="from-outside")
    assert world.waits().correlation == "from-outside"
    assert world.waits().changes == ChangedFolders(frozenset({"/a"}), START, "from-outside")


def test_a_message_from_outside_fails_with_the_table_and_is_delivered_again(
    world: World, region: Region, function: Function
) -> None:
    function.queue.clear()
    function.put({"bucket": "my-bucket", "folders": ["/a"]}, START)
    fail(world.dynamodb, "UpdateItem")
    function.run()
    assert len(function.failures) == 1
    assert [refresh.round_.folder_list for refresh in region.refreshes] == [["/", "a"]]
    assert world.waits().changes is None


@pytest.mark.parametrize("folder", ["/a", "*/a", "/", "*"])
def test_a_message_may_name_folders_as_windows_do(region: Region, function: Function, folder: str) -> None:
    function.handle({"bucket": "my-bucket", "folders": [folder]})
    assert len(region.rounds) == 1


@pytest.mark.parametrize("folders", [[], [3], "a/b", ["a/b", None], {"/a": 1}, [""]], ids=str)
def test_a_message_with_folders_that_are_none_is_refused(region: Region, function: Function, folders: object) -> None:
    with pytest.raises(NotUnderstoodError):
        function.handle({"bucket": "my-bucket", "folders": folders})
    assert region.listings == 0


def test_a_message_may_ask_for_folders(region: Region, function: Function) -> None:
    function.handle({"bucket": "my-bucket", "folders": ["a/b"]})
    assert region.rounds[0].folder_list == ["/", "a", "a/b"]


# The regions


@pytest.mark.parametrize("error", [DOWN, DENIED], ids=str)
def test_the_only_region_that_cannot_be_listed_is_listed_again_after_5_seconds_and_ever_more_rarely_for_ever(
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


def test_of_several_regions_each_is_listed_by_a_request_of_its_own_and_one_that_fails_delays_no_other(
    world: World, region: Region
) -> None:
    away = Region(world, [share("share-1", region=AWAY)], listing=DOWN)
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


def test_what_waits_for_a_region_that_the_settings_do_not_name_waits_and_is_forgotten_by_the_sweep_after_a_day(
    world: World, region: Region
) -> None:
    away = Region(world, [share("share-1", region=AWAY)], listing=DOWN)
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


def test_a_request_lost_after_its_window_was_closed_is_sent_again_by_the_sweep(
    world: World, region: Region, function: Function
) -> None:
    world.time = DUE
    world.windows.close(BUCKET, world.item(), world.time, world.time + LIFETIME_MS)
    function.queue.clear()
    world.time += LIFETIME_MS + 1
    function.sweep()
    function.run()
    assert region.asked == ["share-1"]


def test_a_window_whose_opener_died_before_it_sent_the_request_is_found_by_the_sweep(
    world: World, function: Function
) -> None:
    fail(world.sqs, "SendMessage")
    with pytest.raises(NotFinishedError):
        world.aggregator.aggregate_event(s3_event(s3_record(bucket="other")), TIME_LEFT)
    world.time += TIME_LEFT + 10_001
    function.sweep()
    window = world.item("other").window_id or ""
    assert world.requests()[-1] == Request(Key.read("other"), window, window)


def test_the_sweep_does_not_breed_messages(world: World, region: Region, function: Function) -> None:
    region.shares = [share("share-1"), share("share-2"), share("share-3", status="UPDATING")]
    function.deliver_next()
    sent = len(world.sent)
    for _ in range(3):
        world.time += 1_000
        function.sweep()
    assert len(world.sent) == sent


def test_a_share_in_no_line_is_put_into_it_by_the_sweep_though_its_gateway_is_known(
    world: World, region: Region, function: Function
) -> None:
    function.run()
    world.time += 60_000
    world.waiting.add(share().key, share(), ChangedFolders(frozenset({"/videos"}), world.time, "w"), "an-addition")
    function.sweep()
    function.run()
    assert region.rounds[1].folder_list == ["/", "videos"]
    assert function.in_line() == []


def seconds_waiting(printed: str) -> list[float]:
    found = [json.loads(line) for line in printed.splitlines() if "SecondsWaiting" in line]
    return [value for line in found for value in line["SecondsWaiting"]]


def test_the_sweep_measures_how_long_shares_and_regions_have_waited_and_no_window(
    world: World, region: Region, capsys: pytest.CaptureFixture[str]
) -> None:
    away = Region(world, [share(region=AWAY)], listing=DENIED)
    function = Function(world, {HOME: region, AWAY: away})
    region.shares = [share(status="UPDATING")]
    change(world)
    function.run(until=DUE + 1_000)
    change(world, "videos/b.mp4")
    record = s3_record("photos/b.jpg", userIdentity={"principalId": "AWS:AROAX:StorageGateway"})
    world.aggregator.aggregate_event(s3_event(record), TIME_LEFT)
    capsys.readouterr()
    function.sweep()
    assert seconds_waiting(capsys.readouterr().out) == [31, 31]


def test_the_sweep_measures_a_share_that_is_being_retried_just_then(
    region: Region, function: Function, capsys: pytest.CaptureFixture[str]
) -> None:
    region.refuse("share-1", [OFFLINE, OFFLINE])
    function.deliver_next()

    def sweep_meanwhile(_: FileShare) -> None:
        function.restart()
        capsys.readouterr()
        function.sweep()

    region.meanwhile = sweep_meanwhile
    function.deliver_next()
    assert seconds_waiting(capsys.readouterr().out) == [35]


def test_the_sweep_measures_nothing_once_a_share_was_asked(
    function: Function, capsys: pytest.CaptureFixture[str]
) -> None:
    function.run()
    function.sweep()
    assert seconds_waiting(capsys.readouterr().out) == []


# What an earlier release has left in the table and on the queue: a share's window had a request of its own


@pytest.fixture
def of_an_earlier_release(world: World, function: Function) -> str:
    """Folders wait for a share in a window of an earlier release; its request."""
    key = Key.read("my-bucket/share-1")
    world.windows.open(
        key,
        "w-old",
        folders=frozenset({"/videos"}),
        owners=["message-0"],
        newest_event=None,
        now=START,
        since=START,
        refresh_at=START + 60_000,
        lease_until=START,
        reason="try 1 was refused: busy",
    )
    world.windows.confirm(key, "w-old", START + 60_000 + LIFETIME_MS)
    function.queue.clear()
    return json.dumps({"version": 1, **Request(key, "w-old", "w-older", attempt=2).content()})


def test_a_shares_request_of_an_earlier_release_hands_its_folders_over(
    world: World, region: Region, function: Function, of_an_earlier_release: str
) -> None:
    world.time += 60_000
    function.handle(of_an_earlier_release)
    function.run()
    assert [round_.folder_list for round_ in region.rounds] == [["/", "videos"]]
    function.sweep()
    function.run()
    assert len(region.rounds) == 1


@pytest.mark.usefixtures("of_an_earlier_release")
def test_the_sweep_gets_past_a_shares_window_of_an_earlier_release_and_finds_its_request_lost_in_the_end(
    world: World, region: Region, function: Function
) -> None:
    function.sweep()
    assert region.asked == []
    world.time += 60_000 + LIFETIME_MS + 1
    function.sweep()
    function.run()
    assert ["/", "videos"] in [round_.folder_list for round_ in region.rounds]
    assert world.waits().changes is None


def test_what_is_handed_to_a_share_with_a_window_of_an_earlier_release_takes_that_along(
    world: World, region: Region, function: Function, of_an_earlier_release: str
) -> None:
    region.shares = [share("share-1"), share("share-2")]
    change(world, "photos/b.jpg")
    change(world, "music/c.mp3")
    function.put({"bucket": "my-bucket", "folders": ["/music"]}, START + 1_000)
    function.put(of_an_earlier_release, START + 60_000)
    function.run()
    asked = {folder for refresh in region.refreshes for folder in refresh.round_.folder_list}
    assert {"music", "videos"} <= asked
    assert world.waits().changes is None


def test_a_share_whose_folders_wait_and_that_is_in_no_line_is_put_into_it_by_the_sweep(
    world: World, region: Region, function: Function
) -> None:
    changes = ChangedFolders(frozenset({"/videos"}), START, "w")
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


def left_out(
    world: World, shares: list[FileShare], *, others: str = "auto", away: Region | None = None, **ids: str
) -> str:
    """The ids of the shares that are left out of what AROAX wrote, with blanks between them."""
    by_name = {HOME: Region(world, shares)} | ({AWAY: away} if away else {})
    regions = Regions(HOME, {name: partial(same, region) for name, region in by_name.items()}, {"": Ids(**ids)})
    return " ".join(share.share_id for share in regions.left_out(shares, HOME, "AROAX", others))


TWO = [share("share-1"), share("share-2")]


def test_the_share_whose_role_wrote_is_left_out(world: World) -> None:
    assert left_out(world, TWO, share_1="AROAX", share_2="AROAY") == "share-1"


def test_nobody_is_left_out_if_two_shares_have_the_role(world: World) -> None:
    assert left_out(world, [share("share-1"), share("share-2", role="share-1")], share_1="AROAX") == ""


def test_nobody_is_left_out_if_a_share_is_unknown(world: World) -> None:
    assert left_out(world, [share("share-1"), share("share-2", unknown="denied")], share_1="AROAX") == ""


def test_nobody_is_left_out_if_another_region_has_a_share_with_the_role_or_cannot_be_listed(world: World) -> None:
    elsewhere = share("share-9", region=AWAY, role="share-1")
    assert left_out(world, [share()], away=Region(world, [elsewhere]), share_1="AROAX") == ""
    assert left_out(world, [share()], away=Region(world, listing=DOWN), share_1="AROAX") == ""
    assert left_out(world, [share()], away=Region(world, []), share_1="AROAX") == "share-1"


def test_the_only_share_is_left_out_if_iam_does_not_tell_its_roles_id(world: World) -> None:
    assert left_out(world, [share()]) == "share-1"
    assert left_out(world, [share()], others="on") == ""
    assert left_out(world, [share()], share_1="AROAY") == "", "IAM tells that it was another role"
    assert left_out(world, TWO) == ""


def test_no_share_is_refreshed_for_what_one_wrote_if_so_set_and_every_one_for_what_another_role_wrote(
    world: World,
) -> None:
    assert left_out(world, TWO, others="off", share_1="AROAX", share_2="AROAY") == "share-1 share-2"
    assert left_out(world, TWO, others="off", share_1="AROAY", share_2="AROAZ") == ""
    assert left_out(world, [share()], others="off", share_1="AROAY") == ""
    assert left_out(world, [share()], others="off") == "share-1", "IAM does not tell"


def test_it_is_seen_whether_a_share_of_another_region_has_the_writers_role_if_no_share_is_to_be_refreshed(
    world: World,
) -> None:
    elsewhere = Region(world, [share("share-9", region=AWAY)])
    ids = {"share_1": "AROAY", "share_9": "AROAX"}
    assert left_out(world, [share()], others="off", away=elsewhere, **ids) == "share-1"
    assert left_out(world, [share()], others="off", away=Region(world, listing=DOWN), **ids) == ""


def test_a_region_that_the_settings_do_not_name_is_said_so() -> None:
    with pytest.raises(UnnamedRegionError, match="the settings name no gateways in eu-west-1"):
        Regions(HOME, {}).at(AWAY)


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
