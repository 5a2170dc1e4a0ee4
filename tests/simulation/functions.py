"""The real Aggregator and Refresher, one AWS call at a time.

They are not run in threads: a function that has made n calls is run again from its start, with the answers to those n,
up to the call after. It has no other input, so this is the same function, and it can be copied, killed and continued at
will. What it does after the same answers is remembered (`Node`).
"""

import gc
import json
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, NamedTuple
from unittest.mock import patch

from botocore.exceptions import ClientError, ReadTimeoutError

from event_aggregator import aggregate, observability, refresh
from event_aggregator.aggregate import Aggregator, NotFinishedError
from event_aggregator.aws import AWS_ERRORS
from event_aggregator.file_shares import FileShare, FileShares
from event_aggregator.folders import Round
from event_aggregator.memo import Memo
from event_aggregator.pace import Pace
from event_aggregator.places import Places
from event_aggregator.refresh import NotRefreshedError, Refresher
from event_aggregator.request import ActionQueue
from event_aggregator.table import Item
from event_aggregator.window import Windows
from event_aggregator.writers import Roles
from tests.simulation.engine import Attributes
from tests.simulation.scenarios import HOME, SECOND, Scenario, Share

# As create-stack.sh sets them.
AGGREGATOR_TIMEOUT = 30 * SECOND
REFRESHER_TIMEOUT = 60 * SECOND


class Call(NamedTuple):
    """An AWS call that a function is about to make."""

    operation: str
    text: str  # the parameters as JSON
    parameters: Attributes


class Query(NamedTuple):
    """What a function asks of its own machine: now, or uuid."""

    what: str


class End(NamedTuple):
    """A function's end, with what its container remembers from then on."""

    failure: str | None
    memo: tuple[tuple[str, Item], ...]


class Answer(NamedTuple):
    kind: str  # ok, refused (the condition does not hold), or what the call fails with
    value: Any = None


class _BlockedError(BaseException):
    """The function has come to a call that is not answered yet."""

    def __init__(self, asks: Call | Query) -> None:
        self.asks = asks


class _Tape:
    """The answers that a function gets when it is run again."""

    def __init__(self, answers: tuple[Answer, ...]) -> None:
        self._answers = iter(answers)

    def query(self, what: str) -> Any:
        answer = next(self._answers, None)
        if answer is None:
            raise _BlockedError(Query(what))
        return answer.value

    def call(self, operation: str, parameters: Attributes) -> Any:
        answer = next(self._answers, None)
        if answer is None:
            raise _BlockedError(Call(operation, json.dumps(parameters, sort_keys=True), parameters))
        if answer.kind == "ok":
            return answer.value
        if answer.kind == "unanswered":
            raise ReadTimeoutError(endpoint_url="simulation")
        response: dict[str, Any] = {"Error": {"Code": _CODES[answer.kind], "Message": answer.kind}}
        if answer.kind == "no" and answer.value is not None:
            response["Item"] = answer.value.attributes
        raise ClientError(response, operation)  # type: ignore[arg-type]

    def now(self) -> int:
        now: int = self.query("now")
        return now


_CODES = {
    "no": "ConditionalCheckFailedException",
    "throttled": "ThrottlingException",
    "denied": "AccessDeniedException",
    "too many requests": "InvalidGatewayRequestException",
    "unknown folder": "InvalidGatewayRequestException",
}


class _Client:
    """DynamoDB and SQS as botocore's clients look."""

    def __init__(self, tape: _Tape) -> None:
        self._tape = tape

    def update_item(self, **parameters: Any) -> Any:
        row = self._tape.call("UpdateItem", parameters)
        return {"Attributes": row.attributes}

    def get_item(self, **parameters: Any) -> Any:
        row = self._tape.call("GetItem", parameters)
        return {"Item": row.attributes} if row else {}

    def delete_item(self, **parameters: Any) -> Any:
        return self._tape.call("DeleteItem", parameters) or {}

    def send_message(self, **parameters: Any) -> Any:
        return self._tape.call("SendMessage", parameters) or {}

    def get_paginator(self, operation: str) -> "_Client":
        assert operation == "scan"
        return self

    def paginate(self, **parameters: Any) -> Iterator[Any]:
        yield {"Items": self._tape.call("Scan", parameters)}


class _Shares(FileShares):
    """Storage Gateway in one place, its answers taken from the tape."""

    def __init__(self, tape: _Tape, place: str, shares: tuple[Share, ...]) -> None:
        self._tape = tape
        self._place = place
        self._shares = [share for share in shares if share.place == place]

    def showing(self, bucket: str) -> list[FileShare]:
        listed: list[FileShare] = list(self._tape.call("ListFileShares", {"Bucket": bucket, "Place": self._place}))
        return listed

    def is_gone(self, share_id: str) -> bool:
        return not any(share.name == share_id for share in self._shares)

    def key_of(self, arn: str) -> str | None:
        return next((share.key for share in self._shares if share.arn == arn), None)

    def refresh(self, share: FileShare, round_: Round) -> str:
        parameters = {"Share": share.key, "FolderList": round_.folder_list, "Recursive": round_.recursive}
        notification_id: str = self._tape.call("RefreshCache", parameters)
        return notification_id


def role_id(arn: str) -> str:
    """What IAM says of a role: another id in each account."""
    account, _, name = arn.rpartition(":role/")
    return f"AROA{account[-3:]}{name.rpartition('-')[2]}"


class _Roles(Roles):
    """IAM, which always answers: what it does not is tested with moto."""

    def __init__(self) -> None:
        pass

    def id_of(self, arn: str) -> str:
        return role_id(arn)


class Program(NamedTuple):
    """A function with everything it is given when it starts."""

    function: str  # A, the aggregator, or R, the refresh function
    scenario: Scenario
    memo: tuple[tuple[str, Item], ...]
    body: str
    message_id: str

    def _places(self, tape: _Tape) -> Places:
        makers = {name: partial(_Shares, tape, name, self.scenario.shares) for name in self.scenario.places}
        return Places(HOME, makers, {name.partition(":")[2]: _Roles() for name in self.scenario.places})

    def run(self, tape: _Tape) -> End:
        memo = Memo()
        memo._windows = OrderedDict(self.memo)
        client: Any = _Client(tape)
        aggregator = Aggregator(
            Windows(client, "windows"),
            ActionQueue(lambda: client, "queue"),
            self.scenario.read_settings,
            tape.now,
            memo,
        )
        failure = None
        try:
            if self.function == "A":
                aggregator.aggregate_event(json.loads(self.body), AGGREGATOR_TIMEOUT)
            else:
                refresher = Refresher(aggregator, self._places(tape), Pace(client, "windows"))
                refresher.handle(self.body, None, self.message_id, REFRESHER_TIMEOUT)
        except (NotFinishedError, NotRefreshedError, *AWS_ERRORS) as error:
            failure = str(error)
        return End(failure, tuple(memo._windows.items()))


class Node:
    """A function at a call, a query, or its end, after certain answers."""

    __slots__ = ("answers", "asks", "next", "program")

    def __init__(self, program: Program, answers: tuple[Answer, ...]) -> None:
        self.program = program
        self.answers = answers
        self.next: dict[Answer, Node] = {}
        self.asks: Call | Query | End
        tape = _Tape(answers)
        _machine[0] = tape
        try:
            self.asks = program.run(tape)
        except _BlockedError as blocked:
            self.asks = blocked.asks

    def after(self, answer: Answer) -> "Node":
        if answer not in self.next:
            self.next[answer] = Node(self.program, (*self.answers, answer))
        return self.next[answer]


_machine: list[_Tape] = [_Tape(())]


class _Uuid:
    @property
    def hex(self) -> str:
        name: str = _machine[0].query("uuid")
        return name


@contextmanager
def simulated() -> Iterator[None]:
    """The functions' ids are given by the world, and they neither log nor emit metrics.

    Meanwhile nobody looks for cyclic garbage among the millions of objects of a search: it makes next to none.
    """
    with ExitStack() as stack:
        if gc.isenabled():
            gc.disable()
            stack.callback(gc.enable)
        stack.enter_context(patch.object(aggregate, "uuid4", _Uuid))
        for module in (aggregate, refresh):
            stack.enter_context(patch.object(module, "logger", _Silent()))
        for module in (observability, aggregate, refresh):
            stack.enter_context(patch.object(module, "measure", _nothing))
        yield


def _nothing(*_: Any, **__: Any) -> None:
    """In the place of a metric, or a line in the log."""


class _Silent:
    """In the place of the logger."""

    debug = info = warning = set_correlation_id = staticmethod(_nothing)
