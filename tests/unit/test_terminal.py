"""What comes from outside is shown escaped, by every command, wherever it stands."""

import ast
import json
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from commands.operate import facts, refresh_now, status
from commands.operate.__main__ import main
from commands.operate.facts import Facts, S3Object
from commands.operate.share_state import Standing
from commands.operate.stack import Stack, StackError
from commands.operate.status import Report
from commands.operate.terminal import escaped, quoted
from dev.local.ministack import ROOT
from tests.unit.test_status import SETTINGS

AT = 1_790_000_000_000
HOSTILE = (
    "a\nEVIL\r\x1b[2J\x1b]0;title\x07\x9b31m\x7f\x00\x0b\u0085\u2028\u2029\u202eexe.txt\u2066\u200b\ufeff\u00a0"
    "[red]b[/] :smile: \ud800\U000e0041"
)
IN_WORDS = (
    r"a\nEVIL\r\x1b[2J\x1b]0;title\x07\x9b31m\x7f\x00\x0b\x85\u2028\u2029\u202eexe.txt\u2066\u200b\ufeff\xa0"
    r"[red]b[/] :smile: \ud800\U000e0041"
)


def test_a_character_that_does_not_print_is_escaped_and_every_other_is_shown() -> None:
    assert escaped(HOSTILE) == IN_WORDS
    assert escaped("photos/Zoë/日本/😀 a+b%20c\\n.jpg") == "photos/Zoë/日本/😀 a+b%20c\\n.jpg"


@pytest.mark.parametrize("word", ["a b", "it's", "a\nb", "\x1b[2J'\\n", "\u202eé", "-", "", "$(reboot)`;&", "\t$x'"])
def test_a_quoted_word_means_the_same_to_a_shell_and_prints(word: str) -> None:
    assert escaped(quoted(word)) == quoted(word)
    shell = ["bash", "-c", f"printf %s {quoted(word)}"]
    assert subprocess.run(shell, capture_output=True, check=True).stdout.decode() == word


def test_nothing_else_prints() -> None:
    """What draws or prints without escaping stands in the one module that escapes."""
    found = []
    for path in sorted((ROOT / "commands/operate").glob("*.py")):
        if path.name in ("terminal.py", "help.py"):  # the latter writes a page of ours
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr in ("add_row", "write", "stdout"):
                found.append(f"{path.name}:{node.lineno} {node.attr}")
            if isinstance(node, ast.Name) and node.id in ("print", "Text", "Console"):
                found.append(f"{path.name}:{node.lineno} {node.id}")
    assert found == []


# Each command, in a world whose every name is hostile.


def hostile(kind: Any) -> Any:
    """A value of this type, all of whose texts are hostile."""
    if is_dataclass(kind) and isinstance(kind, type):
        hints = get_type_hints(kind)
        return kind(**{one.name: hostile(hints[one.name]) for one in fields(kind)})
    if isinstance(kind, type) and issubclass(kind, Enum):
        return next(iter(kind))
    if kind in (str, bool, int, float):
        return {str: HOSTILE, bool: True, int: AT, float: 1.5}[kind]
    inside = [one for one in get_args(kind) if one is not NoneType]
    if get_origin(kind) is list:
        return [hostile(inside[0])]
    if get_origin(kind) is dict:
        return {hostile(inside[0]): SETTINGS if inside[1] is Any else hostile(inside[1])}
    return hostile(inside[0])  # or None


REPORT = replace(
    hostile(Report),
    settings=SETTINGS | {"gateway_regions": (HOSTILE,), "gateway_role_arns": (HOSTILE,)},
    requests={"delayed": 0, "ready": 0, "in_flight": 0},
)
KEY = HOSTILE.replace("\ud800", "")  # no key and no argument has half of a pair
KEY_IN_WORDS = IN_WORDS.replace(r"\ud800", "")


def facts_about(known: Facts) -> Facts:
    return replace(known, key=KEY, shares=[replace(share, path=f"/{KEY}") for share in known.shares])


FACTS = facts_about(hostile(Facts))


def shares_less(known: Facts, **changed: Any) -> Facts:
    return replace(known, regions={}, shares=[replace(share, **changed) for share in known.shares])


EVERY_FACT = {
    "a place waits": FACTS,
    "the share waits": shares_less(FACTS, way=["/"], path="/a"),
    "nobody knows": shares_less(replace(FACTS, object=S3Object(None, not_told=[HOSTILE]))),
    "no share shows it": replace(FACTS, shares=[], regions={}, unresolved=[], unseen=[]),
    "no share": replace(FACTS, shares=[], regions={}, unresolved=[], unseen=[], others={}),
    "it is not seen from here": replace(FACTS, shares=[], regions={}, unresolved=[]),
    "no event": shares_less(
        replace(FACTS, window=None, by_gateways=None, excluded_by=[]),
        standing=Standing(),
        folder_waits=False,
        in_window=False,
        handed_over=None,
        refreshes=[],
        path="/a",
    ),
}


@pytest.fixture(params=["to a file", "to a terminal"])
def shows(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Callable[..., str]:
    """What a command shows, once it was seen that nothing in it does more than to print."""
    monkeypatch.setenv("COLUMNS", "100000")
    if request.param == "to a terminal":
        monkeypatch.setenv("FORCE_COLOR", "1")

    def shown(*arguments: str) -> str:
        try:
            main([arguments[0], "--region", "us-east-1", *arguments[1:]])
        except SystemExit as error:
            assert error.code == 2  # noqa: PT017 - of argparse
        captured = capsys.readouterr()
        text: str = captured.out + captured.err
        plain = re.sub(r"\x1b\[[0-9;]*m", "", text)  # rich's styling
        assert [char for char in plain if not char.isprintable() and char != "\n"] == []
        assert not re.search(r"^EVIL", plain, re.MULTILINE)
        return plain

    return shown


def test_status_shows_every_text_escaped(monkeypatch: pytest.MonkeyPatch, shows: Callable[..., str]) -> None:
    monkeypatch.setattr(status, "look", lambda _: REPORT)
    told = shows("status.sh")
    # Its region and its name; two of what is wrong; settings twice; a line; a bucket, a share, another window; the day.
    assert told.count(IN_WORDS) >= 14
    assert json.loads(shows("status.sh", "--json"))["buckets"][0]["name"] == HOSTILE


def test_a_watched_status_shows_what_it_could_not_tell_escaped(
    monkeypatch: pytest.MonkeyPatch, shows: Callable[..., str]
) -> None:
    def fails(_: Stack) -> None:
        raise StackError(HOSTILE)

    def sleep(_: float) -> None:
        monkeypatch.setattr(status, "look", fails)
        if not next(turns):
            raise KeyboardInterrupt

    turns = iter([True, False])
    monkeypatch.delenv("FORCE_COLOR", raising=False)  # a terminal's screen is cleared, by rich itself
    monkeypatch.setattr("commands.operate.__main__.time.sleep", sleep)
    monkeypatch.setattr(status, "look", lambda _: REPORT)
    assert f"is tried again: {IN_WORDS}" in shows("status.sh", "--watch")


@pytest.mark.parametrize("known", EVERY_FACT.values(), ids=EVERY_FACT)
def test_explain_shows_every_text_escaped(
    monkeypatch: pytest.MonkeyPatch, shows: Callable[..., str], known: Facts
) -> None:
    monkeypatch.setattr(facts, "look", lambda *_: known)
    told = shows("explain.sh", "--bucket", "b", "--key", KEY)
    assert told.startswith(f"{IN_WORDS}/{KEY_IN_WORDS}\n")
    assert told.count(IN_WORDS) >= 5
    assert json.loads(shows("explain.sh", "--bucket", "b", "--key", KEY, "--json"))["facts"]["key"] == KEY


def test_refresh_now_shows_every_text_escaped(monkeypatch: pytest.MonkeyPatch, shows: Callable[..., str]) -> None:
    def ask(stack: Stack, *_: object) -> None:
        stack.notes.append(f"a note: {HOSTILE}")

    monkeypatch.setattr(refresh_now, "ask", ask)
    monkeypatch.setattr(refresh_now, "follow", lambda *_: [f"a share {HOSTILE}", f"a place {HOSTILE}"])
    monkeypatch.setattr(refresh_now, "look_for", lambda *_: None)
    told = shows("refresh-now.sh", "--bucket", "b", "--folder", KEY)
    assert told.splitlines() == [f"a share {IN_WORDS}", f"a place {IN_WORDS}", f"a note: {IN_WORDS}"]


@pytest.fixture
def dead_letters(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One of each kind, its texts hostile."""
    text = HOSTILE
    record = {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "eventTime": "2026-09-21T14:13:20.000Z",
        "s3": {"bucket": {"name": "b"}, "object": {"key": "a%0AEVIL%1B%5B2J", "sequencer": "1"}},
    }
    bodies = [
        text,
        json.dumps({"unknown": text}),
        json.dumps({"version": 99, "key": text, "window": text}),
        json.dumps({"version": 1, "key": "b\nEVIL\x1b[2J", "window": text, "attempt": 1}),
        json.dumps({"version": 1, "gateway": text, "token": text}),
        json.dumps({"bucket": text, "folders": [f"/{text}", f"*/{text}"]}),
        json.dumps({"requestPayload": {"Records": [record, {"eventSource": text}]}}),
        json.dumps({"requestPayload": text}),
        json.dumps(
            {
                "detail-type": "Storage Gateway Refresh Cache Event",
                "resources": [f":share/{text}", f":gateway/{text}"],
                "detail": {"notification-id": text},
            }
        ),
    ]
    with mock_aws():
        sqs = boto3.client("sqs", region_name="us-east-1")
        dead = sqs.create_queue(QueueName="S3EventAggregatorActionQueueDeadLetter")["QueueUrl"]
        dynamodb = boto3.client("dynamodb", region_name="us-east-1")
        dynamodb.create_table(
            TableName="t",
            AttributeDefinitions=[{"AttributeName": "BucketName", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "BucketName", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
        )
        # SQS takes no control characters; who says that every client and server keeps to that?
        monkeypatch.setattr(
            "commands.operate.redrive._received",
            lambda _: [
                {"MessageId": str(n), "Body": body, "ReceiptHandle": "r", "Attributes": {"SentTimestamp": str(AT)}}
                for n, body in enumerate(bodies)
            ],
        )
        monkeypatch.setattr("commands.operate.redrive._release", lambda *_: None)
        monkeypatch.setattr(Stack, "variables", {"TABLE_NAME": "t", "QUEUE_URL": dead})
        yield


@pytest.mark.usefixtures("dead_letters")
def test_redrive_shows_every_text_escaped(shows: Callable[..., str]) -> None:
    told = shows("redrive.sh").splitlines()
    assert len(told) == 9 + 1, "a line for each, and what to do"
    assert [line for line in told[:9] if "EVIL" not in line] == []


@pytest.mark.parametrize(
    "error",
    [
        StackError(HOSTILE),
        ClientError({"Error": {"Code": HOSTILE, "Message": HOSTILE}}, "Scan"),
    ],
    ids=["the stack", "AWS"],
)
def test_what_went_wrong_is_shown_escaped(
    monkeypatch: pytest.MonkeyPatch, shows: Callable[..., str], error: Exception
) -> None:
    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr(status, "look", fails)
    told = shows("status.sh")
    assert IN_WORDS in told
    assert len(told.splitlines()) == 1


def test_an_argument_that_is_refused_is_quoted_escaped(shows: Callable[..., str]) -> None:
    assert IN_WORDS in shows("status.sh", HOSTILE)
    assert "invalid utf8 value" in shows("explain.sh", "--bucket", "b", "--key", "\udc80")
    assert KEY_IN_WORDS in shows("refresh-now.sh", "--bucket", "b", "--folder", f"../{KEY}")
