"""How a share stands at every moment, by what the table holds: what waits for it, why, and its place in line."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from commands.operate.share_state import Cause, Line, Snapshot, Waits
from event_aggregator.file_shares import FileShare, FileShares
from event_aggregator.folders import Round
from event_aggregator.regions import Regions
from event_aggregator.table import Key
from event_aggregator.turns import Accepted, Claim, Gateway, Rules, Share
from event_aggregator.waiting import ChangedFolders, ShareItem
from tests.unit.conftest import START, World, s3_event, s3_record

AT = START
MINUTE, HOUR = 60_000, 3_600_000
RULES = Rules(slots=2, interval=MINUTE)
ARN = "arn:aws:storagegateway:us-east-1:123456789012:gateway/sgw-1"
ONE, TWO, THREE, FOUR = (Key.read(f"my-bucket/share-{number}") for number in range(1, 5))
SINCE = AT - 10 * MINUTE

WAITS = Share(since=SINCE)
REFRESHES = Share(
    asked_at=AT - 2 * MINUTE,
    last=Accepted("n", AT - 2 * MINUTE, SINCE, "w", "NFS"),
    in_progress_until=AT + HOUR,
)
BEING_ASKED = Share(claim=Claim(AT + MINUTE, SINCE))


def snapshot(shares: dict[Key, Share], *, reason: str | None = None, **known: Any) -> Snapshot:
    """For each of the shares something waits."""
    waiting = ShareItem(window_id="w", opened_at=SINCE, folders=frozenset({"/a"}), gateway=ARN, reason=reason)
    return Snapshot(AT, RULES, {}, dict.fromkeys(shares, waiting), {Key.read(ARN): Gateway(shares, **known)})


def waits(table: Snapshot, key: Key = ONE) -> Waits:
    found = table.standing(key).waits
    assert found
    return found


# Why it waits


@pytest.mark.parametrize(
    ("share", "cause", "until"),
    [
        (replace(REFRESHES, since=SINCE), Cause.IN_PROGRESS, None),
        (replace(REFRESHES, since=SINCE, in_progress_until=0, asked_at=AT - 20_000), Cause.INTERVAL, AT + 40_000),
        (Share(since=SINCE, asked_at=AT - 20_000, not_before=AT + 5_000, refusals=1), Cause.INTERVAL, AT + 40_000),
        (Share(since=SINCE, not_before=AT + 5_000, refusals=3), Cause.BACK_OFF, AT + 5_000),
        (Share(since=SINCE, asked_at=AT - 20_000, not_before=AT + MINUTE, repeats=True), Cause.REPEATED, AT + MINUTE),
        (WAITS, Cause.IN_LINE, None),
        (BEING_ASKED, Cause.BEING_ASKED, None),
        (Share(), Cause.IN_NO_LINE, None),
    ],
)
def test_why_a_share_waits_follows_from_its_gateways_document(share: Share, cause: Cause, until: int | None) -> None:
    found = waits(snapshot({ONE: share}))
    assert (found.cause, found.next, found.since, found.folders) == (cause, until, SINCE, ["/a"])


def test_a_share_that_waits_for_its_turn_has_a_place_among_those_that_may_be_asked() -> None:
    behind = replace(WAITS, since=SINCE + 1)
    backs_off = Share(since=SINCE - 1, not_before=AT + 5_000, refusals=1)
    full = {THREE: REFRESHES, FOUR: backs_off, TWO: WAITS, ONE: behind, Key.read("other/share-5"): BEING_ASKED}
    assert waits(snapshot(full)).why == "2nd in line at sgw-1, where 2 refreshes are in progress"
    assert waits(snapshot(full), TWO).why == "1st in line at sgw-1, where 2 refreshes are in progress"


def test_a_gateway_that_said_that_it_is_busy_is_why_nobody_is_asked() -> None:
    table = snapshot({ONE: WAITS}, reason="Too many requests have been sent to server.", refused_at=AT - 20_000)
    assert waits(table).why == (
        "1st in line at sgw-1, which said at 2026-09-21 14:13:00 UTC that it is busy;"
        " last time: Too many requests have been sent to server"
    )


def test_a_back_off_is_told_with_the_last_refusal() -> None:
    table = snapshot({ONE: Share(since=SINCE, not_before=AT + 5_000, refusals=3)}, reason="it is offline")
    assert (waits(table).why, waits(table).reason) == ("it could not be refreshed: it is offline", "it is offline")


def test_a_share_whose_gateway_has_no_document_yet_is_about_to_be_put_into_its_line() -> None:
    table = replace(snapshot({ONE: WAITS}), gateways={})
    assert waits(table).cause is Cause.IN_NO_LINE


# What is known of its refreshes


def test_a_refresh_is_in_progress_until_its_mark_is_gone_or_lapses() -> None:
    found = snapshot({ONE: REFRESHES}).standing(ONE)
    assert (found.last_accepted, found.in_progress_since) == (AT - 2 * MINUTE, AT - 2 * MINUTE)
    assert snapshot({ONE: replace(REFRESHES, in_progress_until=0)}).standing(ONE).in_progress_since is None
    assert snapshot({}).standing(ONE).last_accepted is None


def test_what_has_lapsed_and_was_not_noted_yet_counts_no_more(world: World) -> None:
    died = Share(claim=Claim(AT - 1, SINCE))
    lapsed = replace(REFRESHES, in_progress_until=AT)
    document = {"Turns": {"S": Gateway({ONE: died, TWO: lapsed}).to_json()}}
    waiting = {"WindowId": {"S": "w"}, "OpenedAt": {"N": str(SINCE)}, "Folders": {"SS": ["/a"]}}
    table = Snapshot.of([(Key.read(ARN), document), (ONE, waiting)], world.gateways, RULES, AT)
    assert (waits(table).cause, table.standing(ONE).is_being_asked) == (Cause.INTERVAL, False)
    assert table.standing(TWO).in_progress_since is None


def test_a_gateways_line_is_told_if_it_has_something_to_do() -> None:
    idle = replace(REFRESHES, in_progress_until=0)
    first = {ONE: WAITS, TWO: replace(WAITS, since=SINCE - 1), THREE: REFRESHES}
    table = snapshot(first, refused_at=AT - 1)
    others = {
        Key.read(ARN.replace("sgw-1", name)): Gateway({FOUR: share}) for name, share in (("a", idle), ("b", WAITS))
    }
    table = replace(table, gateways={**others, **table.gateways})
    assert table.lines() == [
        Line("sgw-1", 1, 2, 2, "my-bucket/share-2", SINCE - 1, AT - 1),
        Line("b", 0, 2, 1, "my-bucket/share-4", SINCE, None),
    ]


# As the refresh function writes it


@dataclass
class Gateways(FileShares):
    """The file shares of a region, whose refreshes do what a test says."""

    shares: list[FileShare]
    when_asked: Callable[[], None] = lambda: None
    asked: list[str] = field(default_factory=list)

    def showing_each(self, buckets: Iterable[str]) -> dict[str, list[FileShare]]:
        return dict.fromkeys(buckets, self.shares)

    def describe(self, arn: str, kind: str, gateway_arn: str, bucket: str) -> FileShare | None:  # noqa: ARG002
        return next((share for share in self.shares if share.arn == arn), None)

    def refresh(self, share: FileShare, round_: Round) -> str:  # noqa: ARG002
        self.when_asked()
        self.asked.append(share.share_id)
        return f"n{len(self.asked)}"


def file_share(name: str = "share-1", **known: Any) -> FileShare:
    arn = f"arn:aws:storagegateway:us-east-1:123456789012:share/{name}"
    return replace(FileShare(arn, "NFS", ARN, "AVAILABLE", "my-bucket"), **known)


def refused(message: str, code: str = "InvalidGatewayRequestException", inside: str = "") -> ClientError:
    answer: Any = {"Error": {"Code": code, "Message": message}, "error": {"errorCode": inside}}
    return ClientError(answer, "RefreshCache")


def table_of(world: World) -> Snapshot:
    return Snapshot.of(world.windows.everything(), world.gateways, RULES, world.time)


def test_a_share_that_is_being_retried_has_not_stopped_waiting(world: World) -> None:
    seen: list[Snapshot] = []

    def is_offline() -> None:
        seen.append(table_of(world))
        raise refused("The specified gateway is not connected.", inside="GatewayNotConnected")

    regions = Regions("us-east-1", {"us-east-1": lambda: Gateways([file_share()], is_offline)})
    world.aggregator.aggregate_event(s3_event(s3_record()), 30_000)
    world.time += 30_000
    world.refresher(regions).handle(world.sent[-1]["MessageBody"], None, "m1", 60_000)
    world.time += 2 * HOUR
    world.refresher(regions).handle(world.sent[-1]["MessageBody"], None, "m2", 60_000)

    first, again = (table.standing(ONE) for table in seen)
    assert (first.is_being_asked, first.waits) == (True, None), "its folders are in the bucket's window"
    assert again.waits
    assert (again.waits.since, again.waits.cause) == (START, Cause.BEING_ASKED)
    assert again.waits.why == "it is being asked; last time: The specified gateway is not connected"
    after = table_of(world).standing(ONE).waits
    assert after
    assert (after.since, after.cause, after.next) == (START, Cause.BACK_OFF, world.time + 10_000)


def test_a_share_that_cannot_be_described_waits_with_the_reason(world: World) -> None:
    unknown = file_share(unknown="it is on an access point that is gone")
    regions = Regions("us-east-1", {"us-east-1": lambda: Gateways([unknown])})
    world.refresher(regions).handle('{"bucket": "my-bucket", "folders": ["*"]}', None, "m1", 60_000)
    found = table_of(world).standing(ONE).waits
    assert found
    assert found.cause is Cause.BACK_OFF
    assert found.reason == "it is not known what it shows: it is on an access point that is gone"


def test_what_waits_for_a_region_that_cannot_be_listed_raises_the_alarm_of_shares_that_wait(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def denied(_: object, bucket: str) -> list[FileShare]:
        raise refused(f"you may not list what shows {bucket}", "AccessDeniedException")

    monkeypatch.setattr(Gateways, "showing", denied)
    refresher = world.refresher(Regions("us-east-1", {"us-east-1": lambda: Gateways([])}))
    refresher.handle('{"bucket": "my-bucket", "folders": ["/"]}', None, "m1", 60_000)
    world.time += 2 * HOUR
    refresher.handle('{"sweep": true}', None, "m2", 60_000)
    [metric] = [line for line in capsys.readouterr().out.splitlines() if "SecondsWaiting" in line]
    assert json.loads(metric)["SecondsWaiting"] == [7_200.0]


def test_a_share_that_nothing_waits_for_has_no_reason_to(world: World) -> None:
    world.waiting.add(ONE, file_share(), ChangedFolders(frozenset({"/a"}), AT, "w"), "1")
    item = world.waiting.close(ONE, world.waits())
    world.waiting.remove_closed(ONE, item.refreshing_id or "", keep_folders=True)
    assert table_of(world).standing(ONE).waits is None
