"""From messages on the queue to refreshed shares, with moto's DynamoDB and SQS and shares that do as a test says."""

import io
import json
import logging
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

from event_aggregator import aws
from event_aggregator.aggregate import NotFinishedError
from event_aggregator.file_shares import FileShare, FileShares
from event_aggregator.folders import WHOLE_SHARE, Round
from event_aggregator.messages import NotUnderstoodError
from event_aggregator.observability import logger, timestamp
from event_aggregator.places import Places
from event_aggregator.refresh import NotRefreshedError, Refresher, backoff
from event_aggregator.request import LIFETIME_MS, Request
from event_aggregator.table import Item
from event_aggregator.window import Due
from event_aggregator.writers import Roles
from tests.unit.conftest import START, World, fail, s3_event, s3_record

TIME_LEFT = 60_000
BUSY = ClientError(
    {"Error": {"Code": "InvalidGatewayRequestException", "Message": "too many requests"}}, "RefreshCache"
)


NOT_CACHED = ClientError(
    {"Error": {"Code": "InvalidGatewayRequestException", "Message": "The folder is not known"}}, "RefreshCache"
)


def share(name: str = "share-1", status: str = "AVAILABLE", prefix: str = "", role: str = "") -> FileShare:
    arn = f"arn:aws:storagegateway:us-east-1:123456789012:share/{name}"
    return FileShare(arn, status, "my-bucket", prefix, role=f"arn:aws:iam::123456789012:role/{role or name}")


def completion(notification_id: str, name: str, at: int) -> dict[str, object]:
    """The event as EventBridge delivers it (S3 File Gateway user guide, monitoring-file-gateway)."""
    return {
        "version": "0",
        "detail-type": "Storage Gateway Refresh Cache Event",
        "source": "aws.storagegateway",
        "resources": [share(name).arn, "arn:aws:storagegateway:us-east-1:123456789012:gateway/sgw-712345DA"],
        "detail": {
            "event-type": "refresh-complete",
            "notification-id": notification_id,
            "started": timestamp(at - 1000),
            "completed": timestamp(at),
            "folderList": ["/"],
        },
    }


@dataclass
class Gateway(FileShares):
    """Shares in the place of Storage Gateway's; `asked` are those whose RefreshCache was called, in order."""

    world: World
    shares: list[FileShare] = field(default_factory=lambda: [share()])
    answers: dict[str, Exception] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    rounds: list[Round] = field(default_factory=list)
    listing: Exception | None = None
    slowness: int = 0  # of a RefreshCache call, milliseconds
    roles: Roles = field(default_factory=lambda: Roles(partial(aws.iam, aws.own_session), print))

    def showing(self, bucket: str) -> list[FileShare]:
        if self.listing:
            raise self.listing
        return [share for share in self.shares if share.bucket == bucket]

    def is_gone(self, share_id: str) -> bool:
        return all(share.share_id != share_id for share in self.shares)

    def refresh(self, share: FileShare, round_: Round) -> str:
        self.world.time += self.slowness
        self.asked.append(share.share_id)
        self.rounds.append(round_)
        if share.share_id in self.answers:
            raise self.answers[share.share_id]
        return f"notification-{len(self.asked)}"

    def key_of(self, arn: str) -> str | None:
        return next((share.key for share in self.shares if share.arn == arn), None)

    def deliver(self, request: Request) -> None:
        """Have the refresh Lambda handle `request`, once."""
        self.deliver_body(json.dumps({"version": 1, **asdict(request)}))

    def deliver_body(self, body: str, bucket_attribute: str | None = None) -> None:
        places = Places("us-east-1", {"us-east-1": lambda: self}, {"": self.roles})
        Refresher(self.world.aggregator, places, self.world.pace).handle(body, bucket_attribute, "message-1", TIME_LEFT)

    def complete(self, notification_id: str, name: str = "share-1") -> None:
        """Have the refresh Lambda handle the event that a refresh is complete, now."""
        self.deliver_body(json.dumps(completion(notification_id, name, self.world.time)))

    def deliver_when_due(self) -> None:
        """Move the clock to where the newest request is due, and deliver it."""
        request = self.world.requests()[-1]
        self.world.time = max(self.world.time, self.world.item(request.key).refresh_at)
        self.deliver(request)


@pytest.fixture
def gateway(world: World) -> Gateway:
    """A change of /photos/a.jpg has opened a window, whose request is queued; one share shows the bucket."""
    world.aggregator.aggregate_event(s3_event(s3_record("photos/a.jpg")), TIME_LEFT)
    return Gateway(world)


def test_a_due_request_refreshes_every_share_and_closes_the_window(world: World, gateway: Gateway) -> None:
    gateway.shares = [share("share-1"), share("share-2")]
    gateway.deliver_when_due()
    assert gateway.asked == ["share-1", "share-2"]
    item = world.item()
    assert (item.window_id, item.refreshing_id) == (None, None)
    assert item.refreshed_folders == {"/photos"}


def test_a_request_that_comes_early_is_sent_again_for_what_is_left(world: World, gateway: Gateway) -> None:
    world.time += 10_001
    gateway.deliver(world.requests()[0])
    assert gateway.asked == []
    first, second = world.requests()
    assert first == second
    assert world.sent[1]["DelaySeconds"] == 20


def test_a_request_that_comes_a_moment_early_goes_round_with_a_delay_of_a_second(
    world: World, gateway: Gateway
) -> None:
    world.time += 29_999
    gateway.deliver(world.requests()[0])
    assert world.sent[1]["DelaySeconds"] == 1


def test_a_deferred_window_cannot_be_taken_over_while_its_request_may_be_delivered(
    world: World, gateway: Gateway
) -> None:
    gateway.deliver(world.requests()[0])
    world.time += 30_000 + LIFETIME_MS
    world.aggregator.aggregate_event(s3_event(s3_record("photos/b.jpg", at=world.time)), TIME_LEFT)
    assert len(world.sent) == 2


def test_the_duplicate_of_a_request_is_dropped(world: World, gateway: Gateway) -> None:
    gateway.deliver_when_due()
    gateway.deliver(world.requests()[0])
    assert gateway.asked == ["share-1"]


def test_the_request_of_a_window_that_was_taken_over_is_dropped(world: World, gateway: Gateway) -> None:
    gateway.deliver(Request("my-bucket", "w-before", "w-before"))
    assert gateway.asked == []
    assert world.item().window_id == world.requests()[0].window


def test_a_listing_that_fails_leaves_the_window_open(gateway: Gateway) -> None:
    gateway.listing = BUSY
    with pytest.raises(ClientError):
        gateway.deliver_when_due()
    gateway.listing = None
    gateway.deliver_when_due()
    assert gateway.asked == ["share-1"]


def test_a_refresh_that_died_half_way_is_taken_up_again(world: World, gateway: Gateway) -> None:
    world.time += 30_000
    world.windows.close("my-bucket", world.item(), world.time, world.time + LIFETIME_MS)  # and here it died
    gateway.deliver(world.requests()[0])
    assert gateway.asked == ["share-1"]
    assert world.item().refreshing_id is None


def test_two_deliveries_at_once_close_the_window_once(world: World, gateway: Gateway) -> None:
    world.time += 30_000
    [request] = world.requests()
    between = [True]

    def deliver_meanwhile(**_: object) -> None:
        if between.pop():
            between.append(False)
            gateway.deliver(request)
        else:
            between.append(False)

    world.dynamodb.meta.events.register("provide-client-params.dynamodb.UpdateItem", deliver_meanwhile)
    gateway.deliver(request)
    assert gateway.asked == ["share-1"]


def test_a_bucket_without_a_share_is_done_with_a_warning(
    world: World, gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    gateway.shares = []
    gateway.deliver_when_due()
    assert world.item().refreshing_id is None
    [warning] = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert warning == "No file share shows the bucket my-bucket: nothing to refresh"


def test_a_share_on_another_prefix_is_left_alone(gateway: Gateway) -> None:
    gateway.shares = [share("share-1", prefix="photos/"), share("share-2", prefix="videos/")]
    gateway.deliver_when_due()
    assert gateway.asked == ["share-1"]


@pytest.fixture
def writer(world: World) -> str:  # noqa: ARG001 - it has moto's IAM
    """The id of the role of share-1."""
    iam = aws.iam(aws.own_session)
    for name in ("share-1", "share-3"):
        iam.create_role(RoleName=name, AssumeRolePolicyDocument="{}")
    return str(iam.get_role(RoleName="share-1")["Role"]["RoleId"])


@pytest.fixture
def written_by_a_gateway(world: World, gateway: Gateway, writer: str) -> Gateway:
    """The bucket's window is done; a gateway wrote /photos/b.jpg by the role of share-1, and that request is queued."""
    gateway.deliver_when_due()
    gateway.complete("notification-1")
    gateway.asked.clear()
    world.time += 60_000
    record = s3_record("photos/b.jpg", at=world.time, userIdentity={"principalId": f"AWS:{writer}:StorageGateway"})
    world.aggregator.aggregate_event(s3_event(record), TIME_LEFT)
    return gateway


SHOWING = ("share-1", ""), ("share-2", "videos/"), ("share-3", "photos/"), ("share-4", "")


def test_what_a_gateway_wrote_refreshes_nothing_if_one_share_only_shows_it(
    world: World, written_by_a_gateway: Gateway, writer: str, caplog: pytest.LogCaptureFixture
) -> None:
    written_by_a_gateway.shares = [share("share-1"), share("share-2", prefix="videos/")]
    written_by_a_gateway.deliver_when_due()
    assert written_by_a_gateway.asked == []
    done = world.item(f"my-bucket/gateways:{writer}/")
    assert (done.window_id, done.refreshing_id) == (None, None)
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


@pytest.mark.parametrize("mode", ["auto", "on"])
def test_what_a_gateway_wrote_refreshes_every_share_that_shows_it_but_the_writers(
    world: World, written_by_a_gateway: Gateway, mode: str
) -> None:
    world.settings["REFRESH_OTHER_GATEWAYS"] = mode
    written_by_a_gateway.shares = [share(name, prefix=prefix) for name, prefix in SHOWING]
    written_by_a_gateway.deliver_when_due()
    assert written_by_a_gateway.asked == ["share-3", "share-4"]


@pytest.mark.parametrize(
    "role", ["share-1", "share-3", "no-role"], ids=["of two shares", "of another share", "that IAM does not know"]
)
def test_what_a_gateway_wrote_by_a_role_that_tells_no_share_refreshes_every_share_that_shows_it(
    written_by_a_gateway: Gateway, role: str
) -> None:
    first, *others = (share(name, prefix=prefix) for name, prefix in SHOWING)
    written_by_a_gateway.shares = [replace(first, role=share(role).role), *others]
    if role == "share-1":
        written_by_a_gateway.shares[1] = replace(written_by_a_gateway.shares[1], role=first.role)
    written_by_a_gateway.deliver_when_due()
    assert written_by_a_gateway.asked == ["share-1", "share-3", "share-4"]


def test_what_a_gateway_wrote_refreshes_the_only_share_if_so_told_and_it_may_not_be_the_writers(
    world: World, written_by_a_gateway: Gateway
) -> None:
    world.settings["REFRESH_OTHER_GATEWAYS"] = "on"
    written_by_a_gateway.shares = [share("share-4")]
    written_by_a_gateway.deliver_when_due()
    assert written_by_a_gateway.asked == ["share-4"]


@pytest.mark.usefixtures("writer")
def test_iam_is_not_asked_again_for_what_it_said_and_not_at_all_once_it_did_not_answer() -> None:
    said: list[str] = []
    client = aws.iam(aws.own_session)
    calls: list[Any] = []
    client.meta.events.register("provide-client-params.iam.GetRole", lambda params, **_: calls.append(params))
    roles = Roles(lambda: client, said.append)
    arn = share("share-1").role
    assert roles.id_of(arn) == roles.id_of(arn) != ""
    assert roles.id_of(share("nobody").role) == roles.id_of(share("nobody").role) == ""
    assert len(calls) == 2
    fail(client, "GetRole", times=9)
    assert roles.id_of(share("share-3").role) == roles.id_of(share("share-4").role) == ""
    assert roles.id_of(arn), "what it knows, it knows"
    assert len(calls) == 2
    assert [text.partition(" refreshes")[0] for text in said] == [
        f"What is written through the file share with the role {share(name).role}" for name in ("nobody", "share-3")
    ]


def test_the_sweep_does_not_count_a_window_of_what_a_gateway_wrote_as_a_share_that_waits(
    written_by_a_gateway: Gateway, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    written_by_a_gateway.deliver_body('{"sweep": true}')
    assert "SecondsWaiting" not in capsys.readouterr().out


def test_a_share_is_asked_for_the_changed_folder_and_its_ancestors(gateway: Gateway) -> None:
    gateway.deliver_when_due()
    assert gateway.rounds == [Round(["/", "photos"], recursive=False)]


def test_a_share_on_a_prefix_is_asked_for_folders_below_it(gateway: Gateway) -> None:
    gateway.shares = [share(prefix="photos/")]
    gateway.deliver_when_due()
    assert gateway.rounds == [Round(["/"], recursive=False)]


def test_the_whole_share_is_refreshed_if_so_told(world: World, gateway: Gateway) -> None:
    world.settings["REFRESH_SCOPE"] = "share"
    gateway.deliver_when_due()
    assert gateway.rounds == [WHOLE_SHARE]


def test_a_refusal_that_may_be_about_the_folders_widens_the_next_try_with_one_warning(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    gateway.answers["share-1"] = NOT_CACHED
    gateway.deliver_when_due()
    gateway.deliver_when_due()
    gateway.deliver_when_due()
    assert gateway.rounds == [Round(["/", "photos"], recursive=False), WHOLE_SHARE, WHOLE_SHARE]
    [warning] = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert "it will be asked for all" in warning


def test_a_busy_share_is_asked_for_the_same_folders_again(gateway: Gateway) -> None:
    gateway.answers["share-1"] = BUSY
    gateway.deliver_when_due()
    gateway.deliver_when_due()
    assert gateway.rounds == [Round(["/", "photos"], recursive=False)] * 2


def test_more_folders_than_a_call_takes_are_refreshed_in_rounds(world: World, gateway: Gateway) -> None:
    changes = (s3_record(f"videos/{n:03}/a.mp4") for n in range(120))
    world.aggregator.aggregate_event(s3_event(*changes), TIME_LEFT)
    gateway.deliver_when_due()
    gateway.deliver_when_due()
    gateway.deliver_when_due()
    assert [len(round_.folder_list) for round_ in gateway.rounds] == [50, 50, 23]
    assert not any(round_.recursive for round_ in gateway.rounds)
    assert world.item("my-bucket/share-1").window_id is None


def test_a_refused_share_waits_in_a_window_of_its_own(world: World, gateway: Gateway) -> None:
    gateway.shares = [share("share-1"), share("share-2")]
    gateway.answers["share-1"] = BUSY
    gateway.deliver_when_due()
    assert gateway.asked == ["share-1", "share-2"], "a share that refuses must not stop the next"
    waiting = world.item("my-bucket/share-1")
    assert waiting.folders == {"/photos"}
    assert waiting.refresh_at == world.time + 60_000
    bucket_request, share_request = world.requests()
    assert share_request == Request("my-bucket/share-1", waiting.window_id or "", bucket_request.window, attempt=2)
    assert waiting.reason
    assert waiting.reason.startswith("try 1 was refused: ")
    assert world.item().refreshing_id is None, "the bucket's window is complete"


def test_a_waiting_share_is_asked_when_its_window_is_due(world: World, gateway: Gateway) -> None:
    gateway.answers["share-1"] = BUSY
    gateway.deliver_when_due()
    gateway.answers.clear()
    gateway.deliver_when_due()
    assert gateway.asked == ["share-1", "share-1"]
    waited = world.item("my-bucket/share-1")
    assert waited.window_id is None
    assert waited.refreshing_id is None


def test_a_share_that_keeps_refusing_is_asked_ever_more_rarely(world: World, gateway: Gateway) -> None:
    gateway.answers["share-1"] = BUSY
    gateway.deliver_when_due()
    waits = []
    for _ in range(6):
        waits.append(world.item("my-bucket/share-1").refresh_at - world.time)
        gateway.deliver_when_due()
    assert [wait // 1000 for wait in waits] == [60, 120, 240, 480, 900, 900]


@pytest.mark.parametrize(("attempt", "interval", "wait"), [(1, 1, 1), (4, 1, 8), (1, 3600, 3600), (9**9, 60, 900)])
def test_the_wait_doubles_from_the_interval_to_a_quarter_of_an_hour(attempt: int, interval: int, wait: int) -> None:
    assert backoff(attempt, interval * 1000) == wait * 1000


def test_an_unknown_outcome_counts_as_asked_and_is_asked_again(world: World, gateway: Gateway) -> None:
    gateway.answers["share-1"] = ReadTimeoutError(endpoint_url="test")
    gateway.deliver_when_due()
    assert world.item("my-bucket/share-1").last_asked_at == world.time
    assert world.item("my-bucket/share-1").folders == {"/photos"}


def change(world: World, key: str = "photos/b.jpg") -> None:
    """Another change of the bucket, now."""
    world.aggregator.aggregate_event(s3_event(s3_record(key, at=world.time)), TIME_LEFT)


def test_a_share_is_not_asked_twice_within_the_interval(world: World, gateway: Gateway) -> None:
    world.settings["IN_PROGRESS_TIMEOUT_SECONDS"] = "0"
    gateway.deliver_when_due()
    asked_at = world.time
    world.time += 6_000
    change(world)
    gateway.deliver_when_due()  # the bucket's next window, 36 s after the refresh
    assert gateway.asked == ["share-1"]
    assert world.item("my-bucket/share-1").refresh_at == asked_at + 60_000
    gateway.deliver_when_due()
    assert gateway.asked == ["share-1", "share-1"]
    assert world.time == asked_at + 60_000


def refreshing(world: World, gateway: Gateway) -> None:
    """The first refresh was accepted, and is in progress while a second change waits; its interval has passed."""
    gateway.deliver_when_due()
    world.time += 60_000
    change(world)
    gateway.deliver_when_due()
    assert gateway.asked == ["share-1"]


def test_a_share_is_not_asked_while_its_refresh_is_in_progress(world: World, gateway: Gateway) -> None:
    refreshing(world, gateway)
    waiting = world.item("my-bucket/share-1")
    assert waiting.folders == {"/photos"}
    assert waiting.refresh_at == START + 30_000 + 3_600_000, "until the mark lapses"


def test_a_completion_makes_what_waits_due_at_once(world: World, gateway: Gateway) -> None:
    refreshing(world, gateway)
    gateway.complete("notification-1")
    assert world.sent[-1]["DelaySeconds"] == 1
    world.time += 1_000
    gateway.deliver(world.requests()[-1])
    assert gateway.asked == ["share-1", "share-1"]


def test_a_completion_within_the_interval_makes_it_due_when_that_has_passed(world: World, gateway: Gateway) -> None:
    gateway.deliver_when_due()
    asked_at = world.time
    change(world)
    gateway.deliver_when_due()
    world.time = asked_at + 45_000
    gateway.complete("notification-1")
    assert world.item("my-bucket/share-1").refresh_at == asked_at + 60_000


def test_a_request_that_comes_at_once_after_a_completion_finds_its_window_due(world: World, gateway: Gateway) -> None:
    refreshing(world, gateway)
    deliveries = iter([lambda: gateway.deliver(world.requests()[-1])])
    world.sqs.meta.events.register("before-call.sqs.SendMessage", lambda **_: next(deliveries, lambda: None)())
    gateway.complete("notification-1")
    assert gateway.asked == ["share-1", "share-1"]


def test_a_completion_that_died_before_its_request_was_sent_sends_it_when_it_comes_again(
    world: World, gateway: Gateway
) -> None:
    refreshing(world, gateway)
    sent = len(world.sent)
    fail(world.sqs, "SendMessage")
    with pytest.raises(EndpointConnectionError):
        gateway.complete("notification-1")
    assert len(world.sent) == sent
    gateway.complete("notification-1")
    assert world.requests()[-1].window == world.item("my-bucket/share-1").window_id
    assert len(world.sent) == sent + 1


def test_a_completion_that_comes_before_the_mark_is_made_counts(world: World, gateway: Gateway) -> None:
    fail(world.dynamodb, "UpdateItem", after=2)  # close, claim; then the acceptance cannot be written
    with pytest.raises(NotRefreshedError):
        gateway.deliver_when_due()
    gateway.complete("notification-1")
    key, claimed_at = "my-bucket/share-1", world.time
    world.pace.accepted(
        key, claimed_at, world.time, notification_id="notification-1", since=START, window="w0", mark=True
    )
    assert world.item("my-bucket/share-1").in_progress_id is None


@pytest.mark.parametrize("name", ["share-1", "share-of-somebody-else"])
def test_a_completion_of_an_unknown_refresh_changes_nothing(world: World, gateway: Gateway, name: str) -> None:
    refreshing(world, gateway)
    before = world.item("my-bucket/share-1")
    gateway.complete("notification-of-somebody-else", name)
    assert replace(world.item("my-bucket/share-1"), completed=0) == before


def test_a_share_that_was_never_asked_gets_no_item_by_a_completion(world: World, gateway: Gateway) -> None:
    gateway.complete("notification-of-somebody-else")
    assert world.item("my-bucket/share-1") == Item()


def test_a_completion_that_comes_again_after_the_next_refresh_leaves_its_mark(world: World, gateway: Gateway) -> None:
    refreshing(world, gateway)
    gateway.complete("notification-1")
    world.time += 1_000
    gateway.deliver(world.requests()[-1])
    gateway.complete("notification-1")
    assert world.item("my-bucket/share-1").in_progress_id == "notification-2"


def test_a_completion_that_never_comes_is_waited_for_until_the_mark_lapses(world: World, gateway: Gateway) -> None:
    refreshing(world, gateway)
    gateway.deliver_when_due()
    assert gateway.asked == ["share-1", "share-1"]
    assert world.time == START + 30_000 + 3_600_000


def test_a_completion_between_the_refused_claim_and_the_wait_is_not_waited_for(world: World, gateway: Gateway) -> None:
    gateway.deliver_when_due()
    asked_at = world.time
    change(world)
    completed = [False]

    def complete_first(params: dict[str, object], **_: object) -> None:
        if ":mark" in str(params) and not completed[0]:
            completed[0] = True
            gateway.complete("notification-1")

    world.dynamodb.meta.events.register("provide-client-params.dynamodb.UpdateItem", complete_first)
    gateway.deliver_when_due()
    assert completed[0]
    assert world.item("my-bucket/share-1").refresh_at == asked_at + 60_000


def metrics(printed: str) -> dict[str, float]:
    """The values of every metric in the lines that were printed."""
    lines = [json.loads(line) for line in printed.splitlines() if "CloudWatchMetrics" in line]
    return {name: value[0] for line in lines for name, value in line.items() if isinstance(value, list)}


def test_the_seconds_until_accepted_and_until_visible_are_counted_from_the_first_change(
    world: World, gateway: Gateway, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.deliver_when_due()
    world.time += 10_000
    gateway.complete("notification-1")
    found = metrics(capsys.readouterr().out)
    assert found["SecondsUntilAccepted"] == 30
    assert found["SecondsUntilVisible"] == 40


def test_a_refresh_that_had_to_wait_counts_from_the_first_change_all_the_same(
    gateway: Gateway, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.answers["share-1"] = BUSY
    gateway.deliver_when_due()
    gateway.answers.clear()
    gateway.deliver_when_due()
    assert metrics(capsys.readouterr().out)["SecondsUntilAccepted"] == 90


def test_what_became_of_a_refresh_is_counted(
    world: World, gateway: Gateway, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.answers["share-1"] = BUSY
    gateway.deliver_when_due()
    assert metrics(capsys.readouterr().out) == {"RefreshesRefused": 1}
    gateway.answers.clear()
    gateway.deliver_when_due()
    accepted = metrics(capsys.readouterr().out)
    assert accepted == {"RefreshesAccepted": 1, "FoldersRefreshed": 2, "SecondsUntilAccepted": 90}
    change(world)
    gateway.deliver_when_due()
    assert metrics(capsys.readouterr().out) == {"WindowsOpened": 1, "RefreshesDeferred": 1}


def test_a_refresh_of_everything_is_counted_as_such(
    world: World, gateway: Gateway, capsys: pytest.CaptureFixture[str]
) -> None:
    world.settings = {"REFRESH_SCOPE": "share"}
    gateway.deliver_when_due()
    found = metrics(capsys.readouterr().out)
    assert found["WholeShareRefreshes"] == 1
    assert "FoldersRefreshed" not in found


def test_the_sweep_measures_how_long_a_share_has_waited(
    world: World, gateway: Gateway, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.answers["share-1"] = BUSY
    gateway.deliver_when_due()
    capsys.readouterr()
    world.time += 1_000
    gateway.deliver_body('{"sweep": true}')
    assert metrics(capsys.readouterr().out) == {"SecondsWaiting": 31}


def test_every_line_of_a_window_has_its_id_from_the_opening_to_the_completion(
    monkeypatch: pytest.MonkeyPatch, world: World, gateway: Gateway
) -> None:
    log = io.StringIO()
    [handler] = logging.getLogger(logger.service).handlers
    monkeypatch.setattr(handler, "stream", log)
    window = world.requests()[0].window
    gateway.answers["share-1"] = BUSY
    gateway.deliver_when_due()
    gateway.answers.clear()
    gateway.deliver_when_due()
    world.time += 10_000
    gateway.complete("notification-2")
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    told = [(line["message"].split(" ")[1], line["correlation_id"]) for line in lines]
    assert told == [("waits", window), ("my-bucket/share-1:", window), ("shows", window)]


def test_a_lost_request_is_sent_again_by_the_sweep_after_its_lease(world: World, gateway: Gateway) -> None:
    world.time += 30_000 + LIFETIME_MS
    gateway.deliver_body('{"sweep": true}')
    assert len(world.sent) == 1, "it may still be delivered"
    world.time += 1
    for _ in range(3):
        gateway.deliver_body('{"sweep": true}')
    assert len(world.sent) == 2, "a sweep must not breed requests"
    gateway.deliver(world.requests()[-1])
    assert gateway.asked == ["share-1"]


def test_a_request_lost_after_its_window_was_closed_is_sent_again_by_the_sweep(world: World, gateway: Gateway) -> None:
    world.time += 30_000
    world.windows.close("my-bucket", world.item(), world.time, world.time + LIFETIME_MS)
    world.time += LIFETIME_MS + 1
    gateway.deliver_body('{"sweep": true}')
    gateway.deliver(world.requests()[-1])
    assert gateway.asked == ["share-1"]


def test_a_window_whose_opener_died_before_it_sent_the_request_is_found_by_the_sweep(
    world: World, gateway: Gateway
) -> None:
    fail(world.sqs, "SendMessage")
    with pytest.raises(NotFinishedError):
        world.aggregator.aggregate_event(s3_event(s3_record(bucket="other")), TIME_LEFT)
    world.time += TIME_LEFT + 10_001
    gateway.deliver_body('{"sweep": true}')
    window = world.item("other").window_id or ""
    assert world.requests()[-1] == Request("other", window, window)


def test_a_window_that_was_moved_later_is_deferred(world: World, gateway: Gateway) -> None:
    [request] = world.requests()
    world.time += 29_000
    due = Due(world.time + 60_000, longest=900_000)
    world.windows.join("my-bucket", world.item(), frozenset({"/photos"}), world.time, due)
    world.time += 1_000
    gateway.deliver(request)
    assert gateway.asked == []
    assert world.sent[-1]["DelaySeconds"] == 59


def test_a_delay_of_12_hours_takes_48_rounds_and_one_refresh(world: World) -> None:
    world.settings["REFRESH_DELAY_SECONDS"] = "43200"
    gateway = Gateway(world)
    world.aggregator.aggregate_event(s3_event(s3_record("photos/a.jpg")), TIME_LEFT)
    while not gateway.asked:
        world.time += world.sent[-1]["DelaySeconds"] * 1000
        gateway.deliver(world.requests()[-1])
        change(world)
    assert world.time == START + 43_200_000
    assert len([request for request in world.requests() if request.key == "my-bucket"]) == 48 + 1


def test_a_share_whose_waiting_window_was_never_asked_for_gets_its_request_from_who_joins_it(
    world: World, gateway: Gateway
) -> None:
    gateway.answers["share-1"] = BUSY
    fail(world.sqs, "SendMessage")
    with pytest.raises(NotRefreshedError):
        gateway.deliver_when_due()  # and this message never comes again: the next window takes its folders over
    change(world, "videos/b.mp4")
    gateway.deliver_when_due()
    assert world.item("my-bucket/share-1").confirmed
    assert world.requests()[-1].window == world.item("my-bucket/share-1").window_id


def test_what_comes_while_a_share_waits_joins_its_window(world: World, gateway: Gateway) -> None:
    gateway.answers["share-1"] = BUSY
    gateway.deliver_when_due()
    world.aggregator.aggregate_event(s3_event(s3_record("videos/b.mp4", at=world.time)), TIME_LEFT)
    sent = len(world.sent)
    gateway.deliver_when_due()
    assert gateway.asked == ["share-1"]
    assert world.item("my-bucket/share-1").folders == {"/photos", "/videos"}
    assert len(world.sent) == sent


@pytest.mark.parametrize("status", ["CREATING", "UPDATING", "UNAVAILABLE"])
def test_a_share_that_is_not_available_waits_without_being_asked(world: World, gateway: Gateway, status: str) -> None:
    gateway.shares = [share(status=status)]
    gateway.deliver_when_due()
    assert gateway.asked == []
    assert world.item("my-bucket/share-1").folders == {"/photos"}
    gateway.shares = [share()]
    gateway.deliver_when_due()
    assert gateway.asked == ["share-1"]


def test_a_waiting_share_that_is_gone_is_forgotten(world: World, gateway: Gateway) -> None:
    gateway.answers["share-1"] = BUSY
    gateway.deliver_when_due()
    gateway.shares = []
    gateway.deliver_when_due()
    assert world.item("my-bucket/share-1") == Item()


def test_a_share_that_cannot_be_made_to_wait_fails_the_message_but_not_the_other_shares(
    world: World, gateway: Gateway
) -> None:
    gateway.shares = [share("share-1"), share("share-2")]
    gateway.answers["share-1"] = BUSY
    fail(world.sqs, "SendMessage")
    with pytest.raises(NotRefreshedError, match="File share my-bucket/share-1"):
        gateway.deliver_when_due()
    assert gateway.asked == ["share-1", "share-2"]
    gateway.deliver(world.requests()[0])  # delivered again
    assert world.requests()[-2].key == "my-bucket/share-1", "its request, which could not be sent, is sent now"
    assert world.item().refreshing_id is None


def test_shares_for_which_no_time_is_left_are_asked_in_invocations_of_their_own(world: World, gateway: Gateway) -> None:
    world.settings["IN_PROGRESS_TIMEOUT_SECONDS"] = "0"
    gateway.shares = [share(f"share-{n}") for n in range(10)]
    gateway.slowness = 8_000
    gateway.deliver_when_due()
    assert gateway.asked == ["share-0", "share-1", "share-2", "share-3"]
    assert world.item().refreshing_id is None
    for request in world.requests()[1:]:
        world.time += 1_000
        gateway.deliver(request)
    assert gateway.asked == [f"share-{n}" for n in range(10)]


def test_a_waiting_share_that_is_listed_and_cannot_be_described_is_not_forgotten(
    world: World, gateway: Gateway
) -> None:
    gateway.answers["share-1"] = BUSY
    gateway.deliver_when_due()
    gateway.shares = [FileShare(share().arn, "AVAILABLE", "", "")]
    with pytest.raises(NotRefreshedError, match="cannot be described"):
        gateway.deliver_when_due()
    assert world.item("my-bucket/share-1").folders == {"/photos"}


def test_an_event_that_the_aggregator_could_not_handle_is_aggregated(world: World, gateway: Gateway) -> None:
    gateway.deliver_body(json.dumps({"requestPayload": s3_event(s3_record(bucket="other"))}))
    assert world.requests()[-1].key == "other"


def test_an_event_that_is_none_of_s3s_fails_again(gateway: Gateway) -> None:
    with pytest.raises(NotFinishedError):
        gateway.deliver_body(json.dumps({"requestPayload": {"hello": "world"}}))


def test_a_message_of_2018_refreshes_its_bucket(gateway: Gateway) -> None:
    gateway.deliver_body("{}", "my-bucket")
    assert gateway.asked == ["share-1"]


def test_a_message_of_2018_that_comes_too_soon_makes_the_share_wait(world: World, gateway: Gateway) -> None:
    gateway.deliver_body("{}", "my-bucket")
    gateway.deliver_body("{}", "my-bucket")
    assert gateway.asked == ["share-1"]
    assert world.item("my-bucket/share-1").folders == {"*"}


def test_a_message_that_is_not_understood_fails(gateway: Gateway) -> None:
    with pytest.raises(NotUnderstoodError):
        gateway.deliver_body("hello")
