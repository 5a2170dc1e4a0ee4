"""The real Aggregator and Refresher, one AWS call at a time.

They are not run in threads: a function that has made n calls is run again from its start, with the answers to those n,
and goes on up to the call that its machine does not answer at once. It has no other input, so this is the same
function, and it can be copied, killed and continued at will. What it does after the same answers is remembered
(`Node`).
"""

import json
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, NamedTuple
from unittest.mock import patch

from botocore.exceptions import ClientError, ReadTimeoutError

from event_aggregator import aggregate, asking, gateways, observability, refresh
from event_aggregator.access_points import AccessPoints
from event_aggregator.aggregate import Aggregator, NotFinishedError
from event_aggregator.asking import Asker
from event_aggregator.failures import AWS_ERRORS
from event_aggregator.file_shares import FileShares, _Location
from event_aggregator.gateways import Gateways
from event_aggregator.memo import Memo
from event_aggregator.refresh import NotRefreshedError, Refresher
from event_aggregator.regions import Regions
from event_aggregator.request import ActionQueue
from event_aggregator.table import Key, WindowItem
from event_aggregator.turns import Gateway, GatewayEvent, Rules, Todo, Wake, step
from event_aggregator.waiting import WaitingShares
from event_aggregator.window import Windows
from event_aggregator.writers import Roles
from tests.simulation.engine import Attributes, text_of
from tests.simulation.scenarios import HOME, SECOND, Refusal, Scenario

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


@dataclass(frozen=True, eq=False)
class Memory:
    """What a container remembers from one invocation to the next; there is one for each content: see Row."""

    windows: tuple[tuple[Key, WindowItem], ...]
    gateways: tuple[tuple[Key, str, str], ...]  # with the document and its version
    locations: tuple[tuple[str, tuple[tuple[str, _Location], ...]], ...]  # in each region, by the share's ARN


_memory_of = cache(Memory)
NOTHING = _memory_of((), (), ())


class End(NamedTuple):
    """A function's end, with what its container remembers from then on."""

    failure: str | None
    memory: Memory


class Answer(NamedTuple):
    kind: str  # ok, no (the condition does not hold), unanswered, or refused, and then the value says how
    value: Any = None


# What a function's machine answers at once: every Query, and no End.
Machine = Callable[[Call | Query | End], Answer | None]


class _BlockedError(BaseException):
    """The function has come to a call that is not answered yet."""


class _Tape:
    """The answers that a function gets when it is run again, and then those of its machine, which are remembered."""

    def __init__(self, node: "Node", machine: Machine) -> None:
        self._answers = iter(node.answers)
        self._machine = machine
        self.node = node

    def _ask(self, asks: Call | Query) -> Answer:
        self.node.asks = asks
        answer = self._machine(asks)
        if answer is None:
            raise _BlockedError
        self.node = self.node.then(answer)
        return answer

    def query(self, what: str) -> Any:
        return (next(self._answers, None) or self._ask(Query(what))).value

    def call(self, operation: str, parameters: Attributes) -> Any:
        answer = next(self._answers, None) or self._ask(Call(operation, text_of(parameters), parameters))
        if answer.kind == "ok":
            return answer.value
        if answer.kind == "unanswered":
            raise ReadTimeoutError(endpoint_url="simulation")
        response: dict[str, Any]
        if answer.kind == "no":
            response = {"Error": {"Code": "ConditionalCheckFailedException", "Message": "no"}}
            if answer.value is not None:
                response["Item"] = answer.value.attributes
        else:
            refusal: Refusal = answer.value
            response = {"Error": {"Code": refusal.code, "Message": refusal.text}}
            if refusal.inside:
                response["error"] = {"errorCode": refusal.inside}
        raise ClientError(response, operation)  # type: ignore[arg-type]

    def now(self) -> int:
        now: int = self.query("now")
        return now


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
        yield {"Items": [row.attributes for row in self._tape.call("Scan", parameters)]}


class _StorageGateway:
    """Storage Gateway in one place. Its answers are on the tape as JSON."""

    def __init__(self, tape: _Tape, region: str) -> None:
        self._tape = tape
        self._region = region

    def get_paginator(self, operation: str) -> "_StorageGateway":
        assert operation == "list_file_shares"
        return self

    def paginate(self) -> Iterator[Any]:
        yield {"FileShareInfoList": self._ask("ListFileShares", {})}

    def describe_nfs_file_shares(self, **parameters: Any) -> Any:
        return {"NFSFileShareInfoList": self._ask("DescribeNFSFileShares", parameters)}

    def describe_smb_file_shares(self, **parameters: Any) -> Any:
        return {"SMBFileShareInfoList": self._ask("DescribeSMBFileShares", parameters)}

    def refresh_cache(self, **parameters: Any) -> Any:
        return {"NotificationId": self._ask("RefreshCache", parameters)}

    def _ask(self, operation: str, parameters: Attributes) -> Any:
        return json.loads(self._tape.call(operation, {"Place": self._region, **parameters}))


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
    memory: Memory
    body: str
    message_id: str

    def run(self, tape: _Tape) -> End:
        settings, client, memo = self.scenario.read_settings, _Client(tape), Memo()
        memo._windows = OrderedDict(self.memory.windows)
        table: Any = client
        queue, windows = ActionQueue(lambda: table, "queue"), Windows(table, "windows")
        documents = Gateways(table, "windows", queue, Rules.of(settings), tape.now)
        documents.known = {key: (_document(text), version) for key, text, version in self.memory.gateways}
        regions = self._regions(tape)
        aggregator = Aggregator(windows, queue, settings, tape.now, memo)
        failure = None
        try:
            if self.function == "A":
                aggregator.aggregate_event(json.loads(self.body), AGGREGATOR_TIMEOUT)
            else:
                asker = Asker(regions, windows, WaitingShares(table, "windows"), documents, settings, tape.now)
                Refresher(aggregator, asker).handle(self.body, None, self.message_id, REFRESHER_TIMEOUT)
        except (NotFinishedError, NotRefreshedError, *AWS_ERRORS) as error:
            failure = str(error)
        return End(failure, _remembered(memo, documents, regions))

    def _regions(self, tape: _Tape) -> Regions:
        known = dict(self.memory.locations)
        makers = {name: partial(self._shares, tape, name, known.get(name, ())) for name in self.scenario.regions}
        return Regions(HOME, makers, {name.partition(":")[2]: _Roles() for name in self.scenario.regions})

    @staticmethod
    def _shares(tape: _Tape, region: str, known: tuple[tuple[str, _Location], ...]) -> FileShares:
        client: Any = _StorageGateway(tape, region)
        nowhere = AccessPoints(lambda account: _not_there(f"no share is on an access point of {account}"))
        shares = FileShares(client, client, nowhere, _nothing, "" if region == HOME else region)
        shares._locations = dict(known)
        return shares


def _not_there(why: str) -> Any:
    raise AssertionError(why)


def _remembered(memo: Memo, documents: Gateways, regions: Regions) -> Memory:
    return _memory_of(
        tuple(memo._windows.items()),
        tuple(sorted(((key, known.to_json(), version) for key, (known, version) in documents.known.items()), key=str)),
        tuple(sorted((name, tuple(sorted(made._locations.items()))) for name, made in regions._made.items())),
    )


_document = cache(Gateway.from_json)
_steps: dict[Hashable, tuple[Gateway, Todo]] = {}


def _step(gateway: Gateway, event: GatewayEvent, *, rules: Rules, **rest: Any) -> tuple[Gateway, Todo]:
    """turns.step, which is pure, once for each gateway; `_document` keeps every one, so that its id is its own."""
    asked = (id(gateway), event, *rest.values(), rules.slots, rules.interval, *rules.exceptions.items())
    if asked not in _steps:
        _steps[asked] = step(gateway, event, rules=rules, **rest)
    return _steps[asked]


_to_json = Gateway.to_json


def _text(document: Gateway) -> str:
    shares, others = tuple(document.shares.items()), tuple(document.by_others.items())
    return _text_of(shares, document.wake, document.refused_at, document.probed_at, others)


@cache
def _text_of(shares: Any, wake: Wake | None, refused_at: int, probed_at: int, others: Any) -> str:
    return _to_json(Gateway(dict(shares), wake, refused_at, probed_at, dict(others)))


def forget() -> None:
    """All that the functions' code answered once, as it is going to be other code."""
    _steps.clear()
    for remembered in (_document, _text_of, Key.read):
        remembered.cache_clear()


class Node:
    """A function at a call, a query, or its end, after certain answers. `asks` is None before it has run so far."""

    __slots__ = ("answers", "asks", "next", "program")

    def __init__(self, program: Program, answers: tuple[Answer, ...] = ()) -> None:
        self.program = program
        self.answers = answers
        self.next: dict[Answer, Node] = {}
        self.asks: Call | Query | End | None = None

    def then(self, answer: Answer) -> "Node":
        if answer not in self.next:
            self.next[answer] = Node(self.program, (*self.answers, answer))
        return self.next[answer]

    def ready(self, machine: Machine) -> "Node":
        """The function at its end, or at the next call that `machine` does not answer."""
        node = self
        while node.asks is not None and (answer := machine(node.asks)):
            node = node.then(answer)
        return node if node.asks is not None else node._run(machine)

    def _run(self, machine: Machine) -> "Node":
        tape = _Tape(self, machine)
        _machine[:] = [tape]
        try:
            end = self.program.run(tape)
            tape.node.asks = end
        except _BlockedError:
            pass  # tape.node is at the call
        return tape.node


_machine: list[_Tape] = []


class _Uuid:
    @property
    def hex(self) -> str:
        name: str = _machine[0].query("uuid")
        return name


@contextmanager
def simulated() -> Iterator[None]:
    """The functions' ids are given by the world, and they neither log nor emit metrics.

    A gateway's document is written once, read once from each text, and takes each step once; nothing changes one in its
    place.
    """
    with ExitStack() as stack:
        for module in (aggregate, asking, gateways):
            stack.enter_context(patch.object(module, "uuid4", _Uuid))
        for module in (aggregate, asking, refresh):
            stack.enter_context(patch.object(module, "logger", _Silent()))
        for module in (observability, aggregate, asking, refresh):
            stack.enter_context(patch.object(module, "measure", _nothing))
        stack.enter_context(patch.object(Gateway, "from_json", _document))
        stack.enter_context(patch.object(Gateway, "to_json", _text))
        stack.enter_context(patch.object(gateways, "step", _step))
        yield


def _nothing(*_: Any, **__: Any) -> None:
    """In the place of a metric, or a line in the log."""


class _Silent:
    """In the place of the logger."""

    debug = info = warning = set_correlation_id = staticmethod(_nothing)
