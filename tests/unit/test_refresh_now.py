"""A refresh that somebody asks for, and the refresh function's answer to it, over one table and one queue."""

import io
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from botocore.stub import Stubber

from commands.operate import refresh_now
from commands.operate import stack as operate_stack
from commands.operate.__main__ import main
from commands.operate.refresh_log import read_log
from commands.operate.stack import Stack, StackError
from event_aggregator.file_shares import FileShare
from event_aggregator.folders import Round
from event_aggregator.observability import logger
from event_aggregator.regions import Regions
from event_aggregator.table import Key
from event_aggregator.turns import Accepted, Gateway, Share
from event_aggregator.waiting import ChangedFolders
from tests.unit.conftest import World
from tests.unit.test_share_state import ARN, ONE, Gateways, file_share, refused

NOTE = "It is not known what share-3 shows: it is on an access point"
THERE = "us-east-1:222222222222"
IN_EACH = {"GATEWAY_REGIONS": "us-east-1,eu-west-1", "GATEWAY_ROLE_ARNS": "arn:aws:iam::222222222222:role/r"}
EVERYTHING = frozenset({"*"})


@pytest.mark.parametrize(
    ("folder", "recursive", "window_holds"),
    [
        (None, False, {"*"}),
        ("a/b/", False, {"/a/b"}),
        ("/a/b", True, {"/a/b", "*/a/b"}),
        ("/", False, {"/"}),
        ("/", True, {"*"}),
    ],
)
def test_a_folder_is_asked_for_as_windows_hold_it(folder: str | None, recursive: bool, window_holds: set[str]) -> None:
    assert refresh_now.folders(folder, recursive=recursive) == window_holds


@dataclass
class Operator:
    """Who runs the command, beside the refresh function, whose messages the test handles."""

    world: World
    monkeypatch: pytest.MonkeyPatch
    gateways: Gateways
    variables: dict[str, str] = field(default_factory=dict)
    handled: int = 0

    @property
    def stack(self) -> Stack:
        stack = Stack(boto3.Session(region_name="us-east-1"))
        stack.variables = {"TABLE_NAME": self.world.table, "QUEUE_URL": self.world.queue_url, **self.variables}
        stack.regions = self.regions("us-east-1")
        self.monkeypatch.setattr(operate_stack, "now_ms", lambda: self.world.time)
        return stack

    def regions(self, *names: str) -> Regions:
        return Regions("us-east-1", dict.fromkeys(names, lambda: self.gateways))

    def handle(self, body: str, message_id: str, *names: str) -> None:
        """The refresh function gets a message; it sees these regions, or only the one at home."""
        regions = self.regions(*names or ["us-east-1"])
        self.world.refresher(regions).handle(body, None, message_id, 60_000)

    def complete(self, refresh: str, share_id: str = "share-1") -> None:
        arn = f"arn:aws:storagegateway:us-east-1:123456789012:share/{share_id}"
        detail = {"notification-id": refresh, "completed": "2026-09-21T14:13:20Z"}
        event = {"detail-type": "Storage Gateway Refresh Cache Event", "resources": [arn, ARN], "detail": detail}
        self.handle(json.dumps(event), "completion")

    def sent(self) -> tuple[str, str]:
        """The message that the command has sent, and its id."""
        messages = self.world.sqs.receive_message(QueueUrl=self.world.queue_url)["Messages"]
        return messages[0]["Body"], messages[0]["MessageId"]

    def follow(self, asked: refresh_now.Asked, *steps: Callable[[], object]) -> list[str]:
        """What is told while the steps are taken, one between two looks."""
        left = iter(steps)
        self.monkeypatch.setattr("commands.operate.refresh_now.time.sleep", lambda _: next(left)())
        told = [line.partition(" UTC  ")[2] for line in refresh_now.follow(self.stack, asked)]
        assert next(left, None) is None, "it has ended before"
        return told


@pytest.fixture
def operator(world: World, monkeypatch: pytest.MonkeyPatch) -> Operator:
    return Operator(world, monkeypatch, Gateways([file_share()]))


def test_a_refresh_is_followed_until_it_is_complete(operator: Operator) -> None:
    asked = refresh_now.ask(operator.stack, "my-bucket", frozenset({"/a/b"}))
    body, message_id = operator.sent()
    assert json.loads(body) == {"bucket": "my-bucket", "folders": ["/a/b"]}
    assert message_id == asked.message_id
    told = operator.follow(asked, lambda: operator.handle(body, message_id), lambda: operator.complete("n1"))
    assert told == [
        "my-bucket/share-1 waits for the refresh function to take it up",
        "my-bucket/share-1 refreshes since 2026-09-21 14:13:20 UTC",
        "my-bucket/share-1 shows everything now",
    ]


def test_a_share_that_refuses_is_named_with_its_reason_and_the_time_of_the_next_try(operator: Operator) -> None:
    def is_offline() -> None:
        raise refused("The specified gateway is not connected.", inside="GatewayNotConnected")

    asked = refresh_now.ask(operator.stack, "my-bucket", EVERYTHING)
    body, message_id = operator.sent()
    operator.gateways.when_asked = is_offline

    def online() -> None:
        operator.gateways.when_asked = lambda: None
        operator.world.time += 10_000
        operator.handle(operator.world.wakes()[-1], "wake")

    operator.variables = {"IN_PROGRESS_TIMEOUT_SECONDS": "0"}
    operator.world.settings = operator.variables
    told = operator.follow(asked, lambda: operator.handle(body, message_id), online)
    assert told[1:] == [
        "my-bucket/share-1 waits, to be asked at 2026-09-21 14:13:25 UTC: it could not be refreshed: The specified"
        " gateway is not connected",
        "my-bucket/share-1 was asked; when it is complete, nobody tells",
    ]


def test_a_refresh_that_the_share_accepts_of_other_changes_in_between_is_not_taken_for_it(operator: Operator) -> None:
    asked = refresh_now.ask(operator.stack, "my-bucket", frozenset({"/a"}))
    body, message_id = operator.sent()
    others = '{"bucket": "my-bucket", "folders": ["/b"]}'

    def handled_later() -> None:
        operator.world.time += 60_000
        operator.handle(body, message_id)

    told = operator.follow(
        asked,
        lambda: operator.handle(others, "m0"),
        lambda: operator.complete("n1"),
        handled_later,
        lambda: operator.complete("n2"),
    )
    assert told == [
        "my-bucket/share-1 waits for the refresh function to take it up",
        "my-bucket/share-1 refreshes since 2026-09-21 14:14:20 UTC",
        "my-bucket/share-1 shows everything now",
    ]


def test_what_joins_folders_that_wait_already_is_followed_too(operator: Operator) -> None:
    operator.handle('{"bucket": "my-bucket", "folders": ["/b"]}', "m0")
    operator.handle('{"bucket": "my-bucket", "folders": ["/c"]}', "m1")
    asked = refresh_now.ask(operator.stack, "my-bucket", frozenset({"/a"}))
    body, message_id = operator.sent()
    while "folders" not in body:  # the wake of the other changes lies there too
        body, message_id = operator.sent()

    def turn_comes() -> None:
        operator.world.time += 60_000
        operator.complete("n1")

    told = operator.follow(
        asked, lambda: operator.handle(body, message_id), turn_comes, lambda: operator.complete("n2")
    )
    assert told == [
        "my-bucket/share-1 waits for the refresh function to take it up",
        "my-bucket/share-1 waits: its last refresh is in progress",
        "my-bucket/share-1 refreshes since 2026-09-21 14:14:20 UTC",
        "my-bucket/share-1 shows everything now",
    ]


def test_a_refresh_that_no_look_has_seen_waiting_ends_after_a_minute(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = refresh_now.ask(operator.stack, "my-bucket", EVERYTHING)
    last = Accepted("n9", operator.world.time, operator.world.time, "another window", "NFS")
    document = Gateway({ONE: Share(asked_at=last.at, last=last)})
    attributes = {"BucketName": {"S": ARN}, "Turns": {"S": document.to_json()}, "Version": {"S": "v"}}
    operator.world.dynamodb.put_item(TableName=operator.world.table, Item=attributes)
    told = operator.follow(asked, lambda: monkeypatch.setattr(asked, "sent_at", asked.sent_at - 61))
    assert told[1:] == ["my-bucket/share-1 shows everything now"]


def test_a_share_that_was_deleted_meanwhile_is_gone(operator: Operator) -> None:
    def deleted() -> None:
        operator.gateways.shares.clear()
        operator.handle(operator.world.wakes()[-1], "wake")

    operator.gateways.shares[0] = file_share(status="UPDATING")
    asked = refresh_now.ask(operator.stack, "my-bucket", EVERYTHING)
    body, message_id = operator.sent()

    def gone() -> None:
        operator.world.time += 5_000
        deleted()

    told = operator.follow(asked, lambda: operator.handle(body, message_id), gone)
    assert told[1:] == [
        "my-bucket/share-1 waits, to be asked at 2026-09-21 14:13:25 UTC: it could not be refreshed: it is UPDATING",
        "my-bucket/share-1 is gone",
    ]


def test_what_only_the_refresh_function_can_list_is_followed_through_it(operator: Operator) -> None:
    operator.variables = {"GATEWAY_ROLE_ARNS": IN_EACH["GATEWAY_ROLE_ARNS"]}
    asked = refresh_now.ask(operator.stack, "my-bucket", EVERYTHING)
    assert asked.regions == {Key.read(f"my-bucket/{THERE}/")}
    body, message_id = operator.sent()
    at_home = operator.gateways

    def requests() -> None:
        [there] = [message for message in operator.world.sent if THERE in message["MessageBody"]]
        operator.gateways = Gateways([file_share("share-2", region=THERE, gateway_arn=ARN.replace("sgw-1", "sgw-2"))])
        operator.handle(there["MessageBody"], "m2", "us-east-1", THERE)
        operator.gateways = at_home
        [here] = [message for message in operator.world.sent if "my-bucket/us-east-1/" in message["MessageBody"]]
        operator.handle(here["MessageBody"], "m3", "us-east-1", THERE)

    told = operator.follow(
        asked,
        lambda: operator.handle(body, message_id, "us-east-1", THERE),
        requests,
        lambda: operator.complete("n1"),
    )
    assert told == [
        "my-bucket/share-1 waits for the refresh function to take it up",
        f"my-bucket/{THERE}/ waits for the refresh function to take it up",
        f"my-bucket/{THERE}/ waits, to be listed now",
        "my-bucket/share-1 refreshes since 2026-09-21 14:13:20 UTC",
        f"my-bucket/{THERE}/ is dealt with: its shares are asked in their turn",
        f"my-bucket/{THERE}/share-2 was asked; when it is complete, nobody tells",
        "my-bucket/share-1 shows everything now",
    ]


def test_a_region_that_the_refresh_function_cannot_list_is_named_with_the_reason(operator: Operator) -> None:
    asked = refresh_now.ask(operator.stack, "my-bucket", EVERYTHING)
    body, message_id = operator.sent()

    def nobody_answers(_: str) -> list[FileShare]:
        raise EndpointConnectionError(endpoint_url="https://gateways")

    operator.monkeypatch.setattr(operator.gateways, "showing_each", nobody_answers)

    def answers() -> None:
        operator.monkeypatch.delattr(operator.gateways, "showing_each")
        operator.world.time += 5_000
        operator.handle(operator.world.sent[-1]["MessageBody"], "m2")

    steps = [lambda: operator.handle(body, message_id), answers, lambda: operator.complete("n1")]
    told = operator.follow(asked, *steps)
    assert told[1] == (
        "my-bucket/us-east-1/ waits, to be listed at 2026-09-21 14:13:25 UTC: its file shares could not be listed:"
        ' Could not connect to the endpoint URL: "https://gateways"'
    )


# What cannot be asked for


def test_a_bucket_that_no_share_shows_is_no_bucket_to_refresh(operator: Operator) -> None:
    operator.gateways.shares.clear()
    stack = operator.stack
    stack.notes.append(NOTE)
    with pytest.raises(StackError, match=NOTE):
        refresh_now.ask(stack, "my-bucket", EVERYTHING)
    operator.gateways.shares.append(file_share(prefix="b/"))
    with pytest.raises(
        StackError, match=r"No file share of my-bucket shows /a: they show what lies below /b/\. With --recursive"
    ):
        refresh_now.ask(operator.stack, "my-bucket", frozenset({"/a"}))


def test_a_share_of_which_it_is_not_known_what_it_shows_may_show_it(operator: Operator) -> None:
    operator.gateways.shares = [file_share(prefix="b/"), file_share("share-3", unknown="it cannot be described")]
    assert refresh_now.ask(operator.stack, "my-bucket", frozenset({"/a"})).shares == {}


def test_a_region_that_cannot_be_listed_is_left_to_the_refresh_function(operator: Operator) -> None:
    def nobody_answers(_: str) -> list[FileShare]:
        raise EndpointConnectionError(endpoint_url="https://gateways")

    several = operator.stack
    several.regions = operator.regions("us-east-1", "eu-west-1")
    operator.monkeypatch.setattr(operator.gateways, "showing_each", nobody_answers)
    regions = {Key.read("my-bucket/us-east-1/"), Key.read("my-bucket/eu-west-1/")}
    assert refresh_now.ask(several, "my-bucket", EVERYTHING).regions == regions
    assert several.notes[0].startswith("The file shares in us-east-1 cannot be listed: Could not connect")


def test_the_shares_of_the_only_region_are_followed_as_the_refresh_function_finds_them(operator: Operator) -> None:
    def nobody_answers(_: str) -> list[FileShare]:
        raise EndpointConnectionError(endpoint_url="https://gateways")

    with operator.monkeypatch.context() as failing:
        failing.setattr(operator.gateways, "showing_each", nobody_answers)
        asked = refresh_now.ask(operator.stack, "my-bucket", EVERYTHING)
    body, message_id = operator.sent()
    told = operator.follow(asked, lambda: operator.handle(body, message_id), lambda: operator.complete("n1"))
    assert told[-1] == "my-bucket/share-1 shows everything now"


def test_where_nobody_is_known_and_nobody_is_found_it_ends_after_a_minute(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator.gateways.shares = [file_share("share-3", unknown="it cannot be described")]
    asked = refresh_now.ask(operator.stack, "my-bucket", EVERYTHING)
    assert operator.follow(asked, lambda: monkeypatch.setattr(asked, "sent_at", asked.sent_at - 61)) == []


def test_a_refresh_ends_with_what_is_not_known_of_other_shares(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def ask(stack: Stack, *_: object) -> None:
        stack.notes.append(NOTE)

    monkeypatch.setattr(refresh_now, "ask", ask)
    monkeypatch.setattr(refresh_now, "follow", lambda *_: [])
    assert main(["refresh-now.sh", "--bucket", "my-bucket", "--region", "us-east-1"]) == 2
    assert NOTE in capsys.readouterr().err


# A folder that is none, and those that lie deeper


def test_shares_that_lie_below_a_folder_are_meant_by_everything_below_it(operator: Operator) -> None:
    prefixes = ["teams/red/", "teams/blue/", "", "teamsters/"]
    shares = [file_share(f"share-{number}", prefix=prefix) for number, prefix in enumerate(prefixes)]
    operator.gateways.shares = shares
    asked = refresh_now.ask(operator.stack, "my-bucket", refresh_now.folders("teams", recursive=True))
    everything, below = frozenset({"*"}), frozenset({"/teams", "*/teams"})
    assert asked.shares == {shares[0].key: everything, shares[1].key: everything, shares[2].key: below}
    body, message_id = operator.sent()
    asked_for: list[tuple[str, list[str], bool]] = []

    def refresh(share: FileShare, round_: Round) -> str:
        asked_for.append((share.prefix, round_.folder_list, round_.recursive))
        return share.share_id

    operator.monkeypatch.setattr(operator.gateways, "refresh", refresh)
    operator.handle(body, message_id)
    operator.complete("share-0", "share-0")
    operator.complete("share-1", "share-1")
    assert sorted(asked_for) == [
        ("", ["/", "teams"], False),
        ("teams/blue/", ["/"], True),
        ("teams/red/", ["/"], True),
    ]


@pytest.fixture
def bucket(operator: Operator) -> Operator:
    s3 = boto3.client("s3", region_name="us-east-1")
    s3.create_bucket(Bucket="my-bucket")
    for key in ("a/b/c.txt", "a.txt", "Photos/2024/x.jpg", "empty/"):
        s3.put_object(Bucket="my-bucket", Key=key)
    return operator


REFRESH = "scripts/refresh-now.sh --bucket my-bucket --folder"


@pytest.mark.parametrize("folder", [None, "", "/", "a", "a/", "/a/b", "empty"])
def test_a_folder_that_is_there_is_refreshed(bucket: Operator, folder: str | None) -> None:
    stack = bucket.stack
    refresh_now.look_for(stack, "my-bucket", folder)
    assert stack.notes == []


def test_a_hostile_folder_and_a_gateways_hostile_words_are_shown_on_one_line_each(
    bucket: Operator, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuses() -> None:
        raise refused("not\nEVIL\x1b[2J[red]connected[/]", inside="GatewayNotConnected")

    def handled(_: float) -> None:
        bucket.handle(*bucket.sent())
        bucket.monkeypatch.setattr("commands.operate.refresh_now.time.sleep", seen)

    def seen(_: float) -> None:
        raise KeyboardInterrupt

    hostile = "a/\n\x1b]0;title\x07\u202e[b]"
    boto3.client("s3", region_name="us-east-1").put_object(Bucket="my-bucket", Key=f"{hostile}/c.txt")
    bucket.gateways.when_asked = refuses
    bucket.monkeypatch.setattr("commands.operate.__main__.Stack.of", lambda *_: bucket.stack)
    bucket.monkeypatch.setattr("commands.operate.refresh_now.time.sleep", handled)
    command = ["refresh-now.sh", "--region", "us-east-1", "--bucket", "my-bucket", "--folder"]
    assert main([*command, hostile]) == 130
    told = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("{")]  # the function's
    assert len(told) == 2
    assert told[1].endswith(r"it could not be refreshed: not\nEVIL\x1b[2J[red]connected[/]")
    assert main([*command, f"{hostile}/d"]) == 2
    assert capsys.readouterr().err == (
        r"There is no folder a/\n\x1b]0;title\x07\u202e[b]/d in my-bucket. If it was deleted, refresh the folder above,"
        rf" which may still show it: {REFRESH.replace(' --folder', ' --folder ')}"
        r"$'/a/\x0a\x1b]0;title\x07\xe2\x80\xae[b]' --region us-east-1"
        "\n"
    )


def test_a_folder_in_which_nothing_is_left_is_there_if_it_is_a_shares_own(bucket: Operator) -> None:
    bucket.gateways.shares = [file_share(prefix="gone/red/")]
    refresh_now.look_for(bucket.stack, "my-bucket", "gone/red")
    with pytest.raises(StackError, match=f"{REFRESH} /gone/red --region"):
        refresh_now.look_for(bucket.stack, "my-bucket", "gone/red/x/y")


@pytest.mark.parametrize(
    ("folder", "said"),
    [
        (
            "a/b/c.txt",
            f"a/b/c.txt is no folder of my-bucket but a file. Refresh the folder that it lies in: {REFRESH} /a/b",
        ),
        ("/a.txt", f"a.txt is no folder of my-bucket but a file. Refresh the folder that it lies in: {REFRESH} /"),
        (
            "a/x y/z",
            "There is no folder a/x y/z in my-bucket. If it was deleted, refresh the folder above, which may still show"
            f" it: {REFRESH} /a",
        ),
        (
            "photos/2024",
            "There is no folder photos/2024 in my-bucket. There is 'Photos/2024/', which differs only in upper and"
            f" lower case. If it was deleted, refresh the folder above, which may still show it: {REFRESH} /",
        ),
    ],
)
def test_a_file_or_a_folder_that_is_not_there_is_not_asked_for_and_said(
    bucket: Operator, folder: str, said: str
) -> None:
    with pytest.raises(StackError) as raised:
        refresh_now.look_for(bucket.stack, "my-bucket", folder)
    assert str(raised.value) == f"{said} --region us-east-1"


@pytest.mark.parametrize(
    ("folder", "why"),
    [
        ("a/b/../b", "a name in it is .."),
        ("./a", "a name in it is ."),
        ("a//b", "a name between its slashes is empty"),
        ("n" * 256, "a name in it is longer than 255 bytes"),
    ],
)
def test_a_folder_that_no_share_can_show_is_not_asked_for_and_said(folder: str, why: str) -> None:
    with pytest.raises(StackError) as raised:
        refresh_now.folders(folder, recursive=False)
    assert str(raised.value) == f"No file share can show the folder {folder}: {why}."


def test_who_may_not_list_the_bucket_has_the_folder_refreshed_and_is_told_what_is_not_known() -> None:
    stack = Stack(boto3.Session(region_name="us-east-1"))
    with Stubber(stack.client("s3")) as s3:
        s3.add_client_error("list_objects_v2", "AccessDenied", "no s3:ListBucket", http_status_code=403)
        refresh_now.look_for(stack, "my-bucket", "a")
        assert stack.notes[0].startswith("Whether my-bucket has a folder a is not known: ")
        s3.add_client_error("list_objects_v2", "NoSuchBucket", http_status_code=404)
        with pytest.raises(ClientError):
            refresh_now.look_for(stack, "my-bucket", "a")


# In the log


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What the refresh function logs, as CloudWatch gets it."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logger.registered_formatter)
    logger.addHandler(handler)
    yield stream
    logger._logger.removeHandler(handler)


def test_the_log_tells_of_it_under_the_messages_id_from_the_first_line_to_the_last(
    operator: Operator, log: io.StringIO
) -> None:
    second, earlier = file_share("share-2"), ChangedFolders(frozenset({"/b"}), operator.world.time, "an earlier window")
    operator.gateways.shares.append(second)
    operator.world.waiting.add(second.key, second, earlier, "1")
    operator.gateways.shares.append(file_share("share-3", gateway_arn=ARN.replace("sgw-1", "sgw-3")))
    operator.handle('{"bucket": "my-bucket", "folders": ["/a"]}', "m1")
    operator.complete("n1")
    operator.complete("n2", "share-2")
    correlations = {
        name: [(one.correlation, one.completed is not None) for one in read_log(log.getvalue().splitlines(), name)]
        for name in ("my-bucket/share-1", "my-bucket/share-2", "my-bucket/share-3")
    }
    assert correlations == {
        "my-bucket/share-1": [("m1", True)],
        "my-bucket/share-2": [("an earlier window", True)],
        "my-bucket/share-3": [("m1", False)],
    }
