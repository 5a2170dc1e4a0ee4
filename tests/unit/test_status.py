"""What status.sh finds worth attention, and how it says so; what it reads from AWS is in the end-to-end tests."""

import io
import json
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError
from botocore.stub import Stubber
from moto import mock_aws
from rich.console import Console

from commands.deploy import eventbridge
from commands.operate import redrive
from commands.operate.share_state import Cause, Line, Snapshot, Standing, Waits
from commands.operate.stack import Stack
from commands.operate.status import (
    Attached,
    Bucket,
    Concern,
    Report,
    Share,
    Window,
    _in_force,
    _window,
    attached,
    concerns_of_bucket,
    loop_that_is_cut_off,
    refreshed_lately,
    rules_that_do_not_run,
    screen,
    shares_of,
    trigger_that_does_not_read,
)
from event_aggregator.file_shares import FileShare
from event_aggregator.regions import Regions
from event_aggregator.settings import Settings
from event_aggregator.table import Key, WindowItem
from event_aggregator.turns import Accepted, Gateway, Rules
from event_aggregator.turns import Share as Turn
from event_aggregator.waiting import ShareItem

AT = 1_790_000_000_000
ARN = "arn:aws:storagegateway:us-east-1:1:"
MINUTE, HOUR = 60_000, 3_600_000
SHARE = Share("share-1", "", "AVAILABLE", Standing(last_accepted=AT - MINUTE))
WELL = Bucket("my-bucket", attached=Attached.YES, window=None, refreshing_since=None, shares=[SHARE])
NEEDED = {"TABLE_NAME": "t", "QUEUE_URL": "q"}
SETTINGS = _in_force(Settings.read(NEEDED | {"IGNORE_KEYS": "*.tmp,.DS_Store"}))
ROLE = "arn:aws:iam::222222222222:role/r"
REPORT = Report(
    at=AT,
    version="1.0.0",
    region="us-east-1",
    prefix="",
    settings=SETTINGS,
    buckets=[WELL],
    lines=[],
    requests={"delayed": 1, "ready": 0, "in_flight": 0},
    dead_letters=0,
    last_day={
        "my-bucket": {
            **{"ChangesAbsorbed": 990, "ChangesIgnored": 234, "WindowsOpened": 10},
            **{"SharesLeftOut": 7, "SecondsUntilVisible": 42},
        }
    },
)


def window(since: int, due: int, reason: str | None = None) -> Window:
    return Window(since=since, latest=since, due=due, folders=["/a", "/b"], reason=reason)


def waiting(since: int, cause: Cause, why: str = "", until: int | None = None, reason: str | None = None) -> Share:
    return replace(SHARE, standing=Standing(waits=Waits(since, ["/a", "/b"], cause, why or cause, until, reason)))


OFFLINE = "it could not be refreshed: it is offline"
IN_LINE = "2nd in line at sgw-1, where 2 refreshes are in progress"


@pytest.fixture
def stack() -> Stack:
    stack = Stack(boto3.Session(region_name="us-east-1"), "p-")
    stack.variables = dict(NEEDED)
    return stack


def test_the_shares_of_each_bucket_are_those_of_all_regions_but_one_that_cannot_be_listed(stack: Stack) -> None:
    def share(number: int, bucket: str) -> FileShare:
        return FileShare(f"{ARN}share/share-{number}", "NFS", "", "AVAILABLE", bucket)

    def showing_each(buckets: Iterable[str]) -> dict[str, list[FileShare]]:
        listed = next(answers)
        return {bucket: [share for share in listed if share.bucket == bucket] for bucket in buckets}

    def refuses(_: Iterable[str]) -> None:
        raise EndpointConnectionError(endpoint_url="https://gateways")

    answers = iter([[share(3, "a"), share(4, "b")], [share(1, "a")]])
    regions: dict[str, Any] = {
        name: partial(SimpleNamespace, showing_each=answer)
        for name, answer in (("us-east-1", showing_each), ("eu-west-1", showing_each), ("eu-west-2", refuses))
    }
    stack.regions = Regions("us-east-1", regions)
    assert stack.shares_of_each([]) == {}
    assert stack.shares_of_each("abc") == {"a": [share(1, "a"), share(3, "a")], "b": [share(4, "b")], "c": []}
    assert stack.unlisted == {"eu-west-2"}
    [note] = stack.notes
    assert note.startswith("The file shares in eu-west-2 cannot be listed: Could not connect")


@pytest.mark.parametrize(
    "bucket",
    [
        WELL,
        replace(WELL, window=window(AT - MINUTE, AT + MINUTE)),
        replace(WELL, window=window(AT - MINUTE, AT - 1_000)),
        replace(WELL, refreshing_since=AT - 1_000),
        replace(WELL, shares=[waiting(AT - MINUTE, Cause.INTERVAL)]),
        replace(WELL, attached=Attached.NO),
        replace(WELL, attached=Attached.NO, shares=[]),
        replace(WELL, others={"eu-west-1/": window(AT - MINUTE, AT + MINUTE, "throttled")}),
        replace(WELL, others={"gateways:AROA/": window(AT - 2 * HOUR, AT + MINUTE)}),
    ],
    ids=[
        *("nothing to do", "a window is open", "it is due", "it is refreshed", "a share waits for its turn"),
        *("SNS tells of it", "it was detached, and has no shares any more"),
        *("a region cannot be listed now, or is not named by these settings yet", "a long delay"),
    ],
)
def test_what_goes_its_way_is_no_concern(stack: Stack, bucket: Bucket) -> None:
    assert concerns_of_bucket(stack, bucket, AT) == []


@pytest.mark.parametrize(
    ("bucket", "what"),
    [
        (replace(WELL, attached=Attached.LOST), "my-bucket does not notify this stack of its changes"),
        (
            replace(WELL, attached=Attached.LOST, instead="it tells nobody; its tags: none"),
            "my-bucket does not notify this stack of its changes: it tells nobody; its tags: none",
        ),
        (replace(WELL, attached=Attached.GONE), "there is no bucket my-bucket any more"),
        (replace(WELL, shares=[]), "no file share shows my-bucket"),
        (
            replace(WELL, window=window(AT - HOUR, AT - 20 * MINUTE)),
            "the refresh of my-bucket was due 20 min ago, and has not begun",
        ),
        (
            replace(WELL, refreshing_since=AT - 20 * MINUTE),
            "the refresh of my-bucket began 20 min ago, and has not reached every share",
        ),
        (
            replace(WELL, shares=[waiting(AT - 2 * HOUR, Cause.BACK_OFF, OFFLINE, AT + MINUTE, "it is offline")]),
            "my-bucket/share-1 has waited for 2 h: it could not be refreshed: it is offline",
        ),
        (
            replace(WELL, shares=[waiting(AT - 2 * HOUR, Cause.BEING_ASKED)]),
            "my-bucket/share-1 has waited for 2 h: it is being asked",
        ),
        (
            replace(WELL, shares=[waiting(AT - 2 * HOUR, Cause.IN_LINE, IN_LINE)]),
            f"my-bucket/share-1 has waited for 2 h: {IN_LINE}",
        ),
        (
            replace(WELL, shares=[waiting(AT - 2 * HOUR, Cause.IN_NO_LINE)]),
            f"my-bucket/share-1 has waited for 2 h: {Cause.IN_NO_LINE}",
        ),
        (replace(WELL, shares=[replace(SHARE, status="UPDATING")]), "my-bucket/share-1 is UPDATING"),
        (
            replace(WELL, others={"us-east-1/": window(AT - 2 * HOUR, AT + MINUTE, "throttled")}),
            "my-bucket/us-east-1/ has waited for 2 h: throttled",
        ),
        (
            replace(WELL, others={"us-east-1/": window(AT - 2 * HOUR, AT + MINUTE)}),
            "my-bucket/us-east-1/ has waited for 2 h: its request is late",
        ),
        (
            replace(WELL, others={"gateways:AROA/": window(AT - 2 * HOUR, AT - 20 * MINUTE)}),
            "the refresh of my-bucket/gateways:AROA/ was due 20 min ago, and has not come to its end",
        ),
        (
            replace(WELL, others={"eu-west-1/": window(AT - 20 * MINUTE, AT + MINUTE, "it is not named")}),
            "my-bucket/eu-west-1/ has waited for 20 min, and the settings name no gateways in eu-west-1",
        ),
        (
            replace(
                WELL,
                shares=[replace(waiting(AT - 2 * HOUR, Cause.BACK_OFF), share="eu-west-1/share-1", status="")],
            ),
            "my-bucket/eu-west-1/share-1 has waited for 2 h, and the settings name no gateways in eu-west-1",
        ),
    ],
)
def test_what_is_stuck_is_named_once_with_what_to_do(stack: Stack, bucket: Bucket, what: str) -> None:
    [concern] = concerns_of_bucket(stack, bucket, AT)
    assert concern.what == what
    assert concern.then


def test_a_bucket_that_lost_its_notification_is_mended_by_a_command_for_this_stack(stack: Stack) -> None:
    [concern] = concerns_of_bucket(stack, replace(WELL, attached=Attached.LOST), AT)
    assert concern.then == "scripts/attach-bucket.sh --bucket my-bucket --region us-east-1 --name-prefix p-"


@pytest.mark.parametrize(("states", "found"), [(["Enabled"], None), (["Disabled"], "Disabled"), ([], "gone")])
def test_a_queue_that_nobody_reads_is_found(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, states: list[str], found: str | None
) -> None:
    class Lambda:
        def list_event_source_mappings(self, **_: Any) -> Any:
            return {"EventSourceMappings": [{"State": state} for state in states]}

    monkeypatch.setitem(stack._clients, "lambda", Lambda())
    assert trigger_that_does_not_read(stack) == found


@pytest.mark.parametrize("found", ["Allow", "Terminate"])
def test_a_recursive_loop_that_somebody_has_set_back_is_found_with_the_command_that_mends_it(
    stack: Stack, found: str
) -> None:
    with Stubber(stack.client("lambda")) as stub:
        asked = {"FunctionName": "p-S3StorageGatewayRefresh"}
        stub.add_response("get_function_recursion_config", {"RecursiveLoop": found}, asked)
        concerns = list(loop_that_is_cut_off(stack))
    assert bool(concerns) == (found == "Terminate")
    for concern in concerns:
        assert concern.what.startswith("the recursive loop of p-S3StorageGatewayRefresh is Terminate")
        assert "--function-name p-S3StorageGatewayRefresh --recursive-loop Allow --region us-east-1" in concern.then


def test_a_bucket_is_not_said_to_be_without_shares_if_some_are_not_known(stack: Stack) -> None:
    stack.notes.append("The file shares in eu-west-1 cannot be listed")
    assert concerns_of_bucket(stack, replace(WELL, shares=[]), AT) == []


def test_a_bucket_may_have_all_its_shares_in_other_accounts(stack: Stack) -> None:
    stack.variables["GATEWAY_ROLE_ARNS"] = ROLE
    assert concerns_of_bucket(stack, replace(WELL, shares=[]), AT) == []


def table(
    windows: dict[str, WindowItem] | None = None,
    waiting: dict[str, ShareItem] | None = None,
    turns: dict[str, Turn] | None = None,
) -> Snapshot:
    gateway = Gateway({Key.read(key): turn for key, turn in (turns or {}).items()})
    return Snapshot(
        AT,
        Rules(2, MINUTE),
        {Key.read(key): item for key, item in (windows or {}).items()},
        {Key.read(key): item for key, item in (waiting or {}).items()},
        {Key.read(f"{ARN}gateway/sgw-1"): gateway},
    )


def test_a_bucket_that_is_not_attached_is_looked_at_for_a_month_after_its_last_refresh() -> None:
    days = 24 * HOUR
    found = refreshed_lately(
        table(
            {
                "sns-bucket": WindowItem(refresh_started_at=AT - 29 * days),
                "detached": WindowItem(refresh_started_at=AT - 31 * days),
                "listed/eu-west-1/": WindowItem(refreshing_id="w", refresh_started_at=AT - 31 * days),
                "opened": WindowItem(window_id="w"),
            },
            {
                "waiting/share-1": ShareItem(window_id="w", folders=frozenset({"/"})),
                "detached/share-1": ShareItem(refreshed_folders=frozenset({"/"})),
            },
            {
                "detached/share-1": Turn(asked_at=AT - 31 * days),
                "asked/eu-west-1/share-1": Turn(asked_at=AT - 29 * days),
            },
        )
    )
    assert found == {"sns-bucket", "listed", "opened", "waiting", "asked"}


def test_the_shares_of_a_bucket_are_those_that_are_listed_and_those_that_only_the_table_knows() -> None:
    listed = [
        FileShare(f"{ARN}share/share-1", "NFS", "", "AVAILABLE", "my-bucket", "a/"),
        FileShare(f"{ARN}share/share-2", "NFS", "", "AVAILABLE", "my-bucket", unknown="it cannot be described"),
        FileShare(f"{ARN}share/share-3", "NFS", "", "AVAILABLE", "my-bucket", unknown="it cannot be described"),
    ]
    accepted = Turn(asked_at=AT - HOUR, last=Accepted("n", AT - HOUR, AT - HOUR, "w", "NFS"))
    waits = ShareItem(window_id="w", opened_at=AT - MINUTE, folders=frozenset({"/"}))
    known = table(
        waiting={"my-bucket/share-2": waits, "my-bucket/share-4": waits, "another/share-5": waits},
        turns={
            "my-bucket/share-1": accepted,
            "my-bucket/share-6": accepted,
            "my-bucket/eu-west-1:2/share-7": accepted,
        },
    )
    found = shares_of("my-bucket", listed, known, ["eu-west-1:2"])
    assert [(share.share, share.prefix, share.status, share.unknown) for share in found] == [
        ("share-1", "a/", "AVAILABLE", ""),
        ("share-2", "", "AVAILABLE", "it cannot be described"),
        ("eu-west-1:2/share-7", "", "", ""),
        ("share-4", "", "", ""),
    ]
    assert found[0].standing.last_accepted == found[2].standing.last_accepted == AT - HOUR


def test_what_is_being_handed_on_has_not_stopped_waiting() -> None:
    opened = WindowItem("w", opened_at=AT - 9, last_change_at=AT - 3, refresh_at=AT + 9, folders=frozenset({"/a"}))
    being_listed = WindowItem(
        refreshing_id="v", refreshed_since=AT - 99, refresh_started_at=AT - 1, refreshed_folders=frozenset({"/b"})
    )
    assert _window(WindowItem(refreshed_since=AT - 99)) is None
    assert _window(opened) == Window(AT - 9, AT + 9, ["/a"], AT - 3)
    assert _window(being_listed) == Window(AT - 99, AT - 1, ["/b"], reason="its file shares are being listed")
    both = _window(replace(opened, refreshing_id="v", refreshed_since=AT - 99))
    assert both
    assert both.since == AT - 99


def test_a_bucket_that_was_deleted_does_not_keep_the_others_from_being_seen(stack: Stack) -> None:
    s3 = stack.client("s3")
    with Stubber(s3) as stub:
        stub.add_client_error("get_bucket_notification_configuration", "NoSuchBucket", http_status_code=404)
        assert attached(stack, "my-bucket", ["my-bucket"]) is Attached.GONE
        assert attached(stack, "my-bucket", []) is Attached.NO


@pytest.mark.parametrize(("state", "found"), [("ENABLED", Attached.YES), ("DISABLED", Attached.LOST)])
def test_a_rule_that_is_disabled_tells_nothing(stack: Stack, state: str, found: Attached) -> None:
    rule = {"Name": f"{stack.aggregator}ObjectChanges", "EventPattern": eventbridge.pattern("my-bucket", [])}
    with Stubber(stack.client("s3")) as stub, Stubber(stack.client("events")) as events:
        events.add_response("list_rules", {"Rules": [{**rule, "State": state}]})
        stub.add_response("get_bucket_notification_configuration", {"EventBridgeConfiguration": {}})
        assert attached(stack, "my-bucket", ["my-bucket"]) is found


def test_who_may_have_replaced_a_notification_is_told_by_its_targets_and_the_buckets_tags(stack: Stack) -> None:
    topic = {"TopicArn": "arn:aws:sns:us-east-1:1:t", "Events": ["s3:ObjectCreated:*"]}
    for tags, told in (([{"Key": "managed-by", "Value": "terraform"}], "managed-by=terraform"), (None, "none")):
        with Stubber(stack.client("s3")) as stub:
            stub.add_response("get_bucket_notification_configuration", {"TopicConfigurations": [topic]})
            if tags:
                stub.add_response("get_bucket_tagging", {"TagSet": tags})
            else:
                stub.add_client_error("get_bucket_tagging", "NoSuchTagSet")
            assert stack.who_may_have_changed("b") == f"it tells arn:aws:sns:us-east-1:1:t; its tags: {told}"


def test_a_rule_that_is_disabled_or_gone_is_named_with_what_enables_it(stack: Stack) -> None:
    stack._rules |= {"RefreshComplete": {"State": "DISABLED"}, "Sweep": {}}
    disabled, gone = rules_that_do_not_run(stack)
    assert disabled.what.startswith("the rule p-S3EventAggregatorRefreshComplete is disabled: ")
    assert gone.what == "the rule p-S3EventAggregatorSweep is gone: lost requests are not found"
    assert disabled.then.endswith("scripts/create-stack.sh --revert-drift --region us-east-1 --name-prefix p-")
    stack._rules |= {"RefreshComplete": {"State": "ENABLED"}, "Sweep": {"State": "ENABLED"}}
    assert list(rules_that_do_not_run(stack)) == []


def test_what_is_not_known_is_neither_well_nor_known_to_be_wrong() -> None:
    wrong, unknown = Concern("it is broken", "mend it"), Concern("it is not known", "see to it", is_known=False)
    statuses = [replace(REPORT, concerns=concerns).exit_status for concerns in ([], [unknown], [unknown, wrong])]
    assert statuses == [0, 2, 1]
    assert "All is well" not in drawn(replace(REPORT, concerns=[unknown]))


def drawn(report: Report) -> str:
    console = Console(width=140, file=io.StringIO(), record=True)
    console.print(screen(report))
    return console.export_text()


def test_the_screen_tells_of_windows_waits_and_the_last_day() -> None:
    bucket = replace(
        WELL,
        window=window(AT - 10_000, AT + 20_000),
        shares=[
            waiting(AT - 2 * MINUTE, Cause.BACK_OFF, OFFLINE, AT + MINUTE, "it is offline"),
            replace(waiting(AT - 3 * MINUTE, Cause.IN_LINE, IN_LINE), share="share-2", unknown="it is gone"),
            replace(SHARE, share="share-3", standing=Standing(is_being_asked=True)),
            replace(SHARE, share="share-4", standing=Standing(AT - 40_000, AT - 40_000)),
        ],
        others={"eu-west-1/": window(AT - 10_000, AT + 20_000)},
    )
    report = replace(REPORT, buckets=[bucket])
    text = drawn(report)
    assert "All is well." in text
    assert (
        "Refreshes the folders that changed, 30 s after the first change. Asks a share at most every 60 s, and" in text
    )
    assert "Refreshes at one gateway at a time: 2 at most." in " ".join(text.split())
    in_one_line = " ".join(text.split())
    assert "Gateways in us-east-1; what one wrote refreshes the others: auto." in in_one_line
    assert "Events Changes Visible: on. Log level INFO." in in_one_line
    assert "window open, changes since 10 s, due in 20 s" in text
    words = " ".join(text.split())
    assert "waits for 2 min, next try in 60 s: it could not be refreshed: it is offline" in words
    assert "it is not known what it shows; waits for 3 min: 2nd in line at sgw-1" in words
    assert "share-3 is being asked none known" in words
    assert "share-4 in progress for 40 s 40 s ago" in words
    assert "2 folders" in text
    assert "eu-west-1/ waits, next try in 20 s" in " ".join(text.split())
    assert "Changes of keys like these refresh nothing: *.tmp, .DS_Store." in text
    assert "my-bucket 1,234 234 10 0 7 0 0 42 s" in words
    assert "1 request delayed" in text
    assert "Dead-letter queue: empty." in text
    sick = replace(report, concerns=[Concern("it is broken", "mend it")])
    assert "1 thing needs attention:" in drawn(sick)
    quiet = replace(report, settings=_in_force(Settings.read(NEEDED | {"REFRESH_QUIET_SECONDS": "60"})))
    elsewhere = replace(report, settings={**SETTINGS, "gateway_role_arns": (ROLE,)})
    assert f"Of the file shares that it reaches through {ROLE} only those are shown that it has" in drawn(elsewhere)
    otherwise = replace(report, buckets=[replace(WELL, attached=Attached.NO)])
    assert "nothing to do (told of by a topic or a queue, or detached)" in " ".join(drawn(otherwise).split())
    assert "60 s after the last change, 15 min after the first at most" in drawn(quiet)


def test_the_screen_says_what_is_in_force_for_each_bucket_and_share_that_is_an_exception() -> None:
    variables = {
        "REFRESH_DELAY_SECONDS": "30,my-bucket=600",
        "REFRESH_QUIET_SECONDS": "0,rendres=60",
        "REFRESH_SCOPE": "folders,my-bucket=share",
        "MIN_REFRESH_INTERVAL_SECONDS": "60,share-1=3600,share-9=120",
    }
    text = drawn(replace(REPORT, settings=_in_force(Settings.read(NEEDED | variables))))
    lines = [line.rstrip() for line in text.splitlines()]
    assert "Refreshes the folders that changed, 30 s after the first change. Asks a share at most every 60 s" in text
    start = lines.index("  my-bucket: the whole share, 10 min after the first change")
    rest = " ".join(" ".join(lines[start + 1 : start + 6]).split())
    assert rest.startswith(
        "rendres: the folders that changed, 60 s after the last change, 15 min after the first at most"
        " (none of this name is seen here) share-1: asked at most every 60 min"
        " share-9: asked at most every 2 min (none of this name is seen here)"
    )


@pytest.mark.parametrize(
    ("variables", "hours"),
    [
        ({}, 1),
        ({"REFRESH_DELAY_SECONDS": "30,my-bucket=3600"}, 3),
        ({"REFRESH_DELAY_SECONDS": "30,another=3600"}, 1),
        ({"MIN_REFRESH_INTERVAL_SECONDS": "60,share-1=3600"}, 3),
    ],
)
def test_a_share_with_a_long_delay_or_interval_of_its_own_may_wait_three_times_that(
    stack: Stack, variables: dict[str, str], hours: int
) -> None:
    stack.variables = NEEDED | variables
    patient = replace(WELL, shares=[waiting(AT - hours * HOUR, Cause.INTERVAL)])
    assert concerns_of_bucket(stack, patient, AT) == []
    late = replace(WELL, shares=[waiting(AT - hours * HOUR - 1, Cause.INTERVAL)])
    assert [concern.what for concern in concerns_of_bucket(stack, late, AT)] != []


def test_the_screen_has_one_line_for_each_gateway_with_something_to_do() -> None:
    lines = [
        Line("sgw-1", 2, 2, 14, "my-bucket/share-7", AT - 12 * MINUTE, AT - 20_000),
        Line("sgw-2", 1, 2, 0, None, None, None),
    ]
    words = " ".join(drawn(replace(REPORT, lines=lines)).split())
    assert "Gateway In progress In line First in line" in words
    assert "sgw-1 2 of 2, refused as busy 20 s ago 14 shares my-bucket/share-7, for 12 min" in words
    assert "sgw-2 1 of 2 0 shares" in words
    assert "Gateway In progress" not in drawn(REPORT)


def test_programs_get_the_same_facts() -> None:
    bucket = replace(WELL, shares=[waiting(AT - MINUTE, Cause.IN_LINE, IN_LINE)])
    report = replace(REPORT, buckets=[bucket], lines=[Line("sgw-1", 2, 2, 1, "my-bucket/share-1", AT, None)])
    known = json.loads(json.dumps(report.as_json()))
    waits = known["buckets"][0]["shares"][0]["standing"]["waits"]
    assert (waits["cause"], waits["why"], waits["since"]) == ("in its gateway's line", IN_LINE, AT - MINUTE)
    assert known["lines"][0]["waiting"] == 1


@pytest.mark.parametrize("code", ["MessageNotInflight", "AWS.SimpleQueueService.MessageNotInflight"])
def test_a_message_that_is_seen_again_before_the_others_were_read_is_no_failure(code: str) -> None:
    stack = Stack(boto3.Session(region_name="us-east-1"))
    stack.dead_letter_url = "https://dead"
    message = {
        "MessageId": "1",
        "ReceiptHandle": "r",
        "Body": '{"sweep": true}',
        "Attributes": {"SentTimestamp": str(AT)},
    }
    with Stubber(stack.client("sqs")) as stub:
        stub.add_response("receive_message", {"Messages": [message]})
        stub.add_response("receive_message", {})
        stub.add_client_error("change_message_visibility", code)
        assert len(list(redrive.show(stack))) == 1


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('{"bucket": "my-bucket", "folders": ["/b", "*/a"]}', "a request to refresh all below /a, /b in my-bucket"),
        ('{"bucket": "my-bucket", "folders": ["*"]}', "a request to refresh everything in my-bucket"),
        (
            f'{{"version": 1, "gateway": "{ARN}gateway/sgw-1", "token": "t"}}',
            f"a reminder that shares of {ARN}gateway/sgw-1 wait; the sweep sees to them as well: harmless",
        ),
    ],
)
def test_what_failed_for_good_is_told_in_words(stack: Stack, body: str, words: str) -> None:
    stack.dead_letter_url = "https://dead"
    message = {"MessageId": "1", "ReceiptHandle": "r", "Body": body, "Attributes": {"SentTimestamp": str(AT)}}
    with Stubber(stack.client("sqs")) as stub:
        stub.add_response("receive_message", {"Messages": [message]})
        stub.add_response("receive_message", {})
        stub.add_response("change_message_visibility", {})
        assert list(redrive.show(stack)) == [f"2026-09-21 14:13:20 UTC  {words}"]


def test_a_request_whose_key_no_table_can_have_hides_no_other_message(stack: Stack) -> None:
    def request(key: str) -> dict[str, Any]:
        body = json.dumps({"version": 1, "key": key, "window": "w", "attempt": 1})
        return {"MessageId": key, "ReceiptHandle": "r", "Body": body, "Attributes": {"SentTimestamp": str(AT)}}

    stack.dead_letter_url = "https://dead"
    with mock_aws(), Stubber(stack.client("sqs")) as stub:
        stack.client("dynamodb").create_table(
            TableName="t",
            AttributeDefinitions=[{"AttributeName": "BucketName", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "BucketName", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
        )
        stub.add_response("receive_message", {"Messages": [request(""), request("my-bucket")]})
        stub.add_response("receive_message", {})
        for _ in range(2):
            stub.add_response("change_message_visibility", {})
        assert [line.partition("UTC  ")[2] for line in redrive.show(stack)] == [
            "the request to refresh ; its window has been refreshed since: harmless",
            "the request to refresh my-bucket; its window has been refreshed since: harmless",
        ]


def test_a_command_to_run_next_can_be_pasted_whatever_is_in_it(stack: Stack) -> None:
    assert stack.command("refresh-now.sh", "--folder", "/it's\n$(reboot)") == (
        r"scripts/refresh-now.sh --folder $'/it\'s\x0a$(reboot)' --region us-east-1 --name-prefix p-"
    )


class KilledError(BaseException):
    """The process ends here."""


def dies(**_: Any) -> None:
    raise KilledError


@pytest.mark.parametrize("at", ["send_message", "delete_message"])
def test_a_message_of_the_dead_letter_queue_survives_that_its_redrive_is_killed(
    monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    with mock_aws():
        stack = Stack(boto3.Session(region_name="us-east-1"))
        sqs = stack.client("sqs")
        queue = sqs.create_queue(QueueName="S3EventAggregatorActionQueue")["QueueUrl"]
        dead = sqs.create_queue(QueueName=stack.dead_letter_queue)["QueueUrl"]
        stack.variables = {"TABLE_NAME": "t", "QUEUE_URL": queue}
        sqs.send_message(QueueUrl=dead, MessageBody='{"sweep": true}')
        with monkeypatch.context() as killed:
            killed.setattr(sqs, at, dies)
            with pytest.raises(KilledError):
                list(redrive.send_back(stack))
        assert stack.queue_attributes(dead)["ApproximateNumberOfMessagesNotVisible"] == "1", "it comes back"
        assert stack.queue_attributes(queue)["ApproximateNumberOfMessages"] == ("1" if at == "delete_message" else "0")
