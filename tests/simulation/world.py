"""A small AWS in which the real Aggregator and Refresher run under a scheduler that decides everything.

The guarantee: what happens in a run follows from its scenario and its steps alone, each step a line of text, so that a
schedule that breaks a promise can be printed, read, and run again with `replay(scenario, steps)`.

    time                     the clock goes on to when something is due next
    S3 writes c1             the change (or the changes of one event) happens, and its event is on its way
    somebody refreshes o1    another than the functions asks a share for a refresh
    A1 takes c1              a container starts with an event, or R1 with a message; "... and again": it comes twice
    A1                       its next AWS call is made, and its code runs on to the one after
    A1 slowly                the same, but its code runs on (and reads the clock) only with its next step
    A1 throttled             the call fails without effect; so it does when it is denied
    A1 unanswered            it takes effect and fails
    A1 twice                 the SDK repeats a call whose answer was lost
    R1 busy                  the gateway says that it is busy; or another of REFUSALS
    A1 dies                  before its next call, and so after the last one
    n1 is lost               the event that a refresh is complete
    eu-west-1 denies         ... the list of its shares from now on; answers: it gives the list again
    sweep                    the schedule of the sweep sends its message
"""

import json
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache, lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

from event_aggregator.observability import timestamp
from event_aggregator.request import MAX_RECEIVES, VISIBILITY_TIMEOUT_SECONDS, seconds_until_retry
from event_aggregator.table import Key, Kind
from tests.simulation import scenarios
from tests.simulation.engine import ENGINE, Attributes, Row
from tests.simulation.functions import (
    AGGREGATOR_TIMEOUT,
    NOTHING,
    REFRESHER_TIMEOUT,
    Answer,
    Call,
    End,
    Memory,
    Node,
    Program,
    Query,
    role_id,
)
from tests.simulation.scenarios import HOUR, MINUTE, SECOND, Refusal, Scenario, Share

START = 1_790_000_000_000  # epoch milliseconds

_MAX_STEPS = 4_000

# What a schedule may have RefreshCache answer.
REFUSALS = {
    "busy": scenarios.BUSY,
    "unknown-folder": scenarios.UNKNOWN_FOLDER,
    "unclear": scenarios.UNKNOWN_WORDS,
    "internal": scenarios.INTERNAL,
}
_WITHOUT_EFFECT = {"throttled": scenarios.THROTTLED, "denied": scenarios.DENIED}

_READS = ("ListFileShares", "DescribeNFSFileShares", "DescribeSMBFileShares")

# A schedule denies a list or a description for so long at most.
_DENIED_FOR = HOUR

# A refresh has no effect if it comes so soon after another of the same share, by the older rule.
_VOID = 60 * SECOND
# The code adds as much again for the clocks: a repeat comes so long after somebody else's.
_REPEATED_AFTER = 61 * SECOND

# Back-offs begin with so much and are doubled up to so much: an outage delays by itself and this, or at most by that.
_FIRST_BACKOFF, _LONGEST_BACKOFF = 5 * SECOND, 15 * MINUTE


# So many refusals in a row in words that nobody knows are taken to be about the folders.
_ABOUT_THE_REQUEST = 3


class BrokenPromiseError(AssertionError):
    """A promise does not hold: its name is the first word."""

    def __init__(self, promise: str, what: str) -> None:
        super().__init__(f"{promise}: {what}")
        self.promise = promise


class Task(NamedTuple):
    """What waits to be done: a write to S3, somebody else's refresh, an event for an aggregator, a message."""

    ready_at: int
    name: str
    kind: str  # write, other, event, message
    body: str
    number: int  # of the event or message
    attempt: int = 1
    copy: int = 1  # of what is delivered twice
    origin: str = ""  # of an event: whose it is

    @property
    def function(self) -> str:
        return "A" if self.kind == "event" else "R"


class Claim(NamedTuple):
    """A process has claimed a share, to ask it."""

    key: str
    order: int
    at: int
    passed: tuple[str, ...]  # who might have been asked, and has waited for longer
    asked: bool = False


class Process(NamedTuple):
    """A function while it runs."""

    task: Task
    node: Node
    answer: Answer | None  # to the call at `node`, if its code has not run on yet
    deadline: int
    number: int
    ids: int = 0  # how many it has made
    claims: tuple[Claim, ...] = ()

    def claim(self, key: str) -> Claim | None:
        return next((claim for claim in self.claims if claim.key == key), None)


class Container(NamedTuple):
    name: str
    skew: int
    memory: Memory = NOTHING
    process: Process | None = None


class Refresh(NamedTuple):
    """A call of RefreshCache that was accepted; without a notification: whose outcome its caller does not know."""

    order: int
    at: int
    share: str  # its key
    folder_list: tuple[str, ...]
    recursive: bool
    notification: str
    process: int
    since: int  # the interval runs from here, as far as the state can tell
    has_effect: bool


class Others(NamedTuple):
    """A refresh that somebody else began."""

    at: int
    share: str
    notification: str


class Mark(NamedTuple):
    """A refresh is known to be in progress."""

    notification: str
    order: int
    until: int


class Written(NamedTuple):
    order: int
    at: int
    bucket: str
    key: str
    event: str
    through: str


class Setback(NamedTuple):
    """Who may not be asked from when until when, for a refusal or a claim whose process is dead."""

    who: str  # a share's key, or a region
    at: int
    until: int


class Sign(NamedTuple):
    """What a gateway showed of its slots: it was busy, or accepted a refresh, or told that one is complete."""

    gateway: str
    order: int
    at: int
    busy: bool


# Of a world's attributes, those that nothing depends on.
_STORY = frozenset({"scenario", "programs", "noting", "uninterrupted", "steps", "notes", "calls"})

# And those of them that count only as long as nothing has failed or waited, or that are told in another way then.
_OF_WHAT_IS_UNDISTURBED = frozenset(
    {"order", "containers", "written", "arrived", "refreshes", "opened", "first_requests", "marks", "completed"}
    | {"setbacks", "signs", "waits"}
)


@dataclass
class World:
    """The state of a run. What is not scenario or table is there for the promises to be checked."""

    scenario: Scenario
    time: int = 0
    order: int = 0  # of what is noted below
    table: dict[str, Row] = field(default_factory=dict)
    tasks: tuple[Task, ...] = ()
    containers: dict[str, Container] = field(default_factory=dict)
    in_progress: tuple[tuple[str, int], ...] = ()  # share's key, until: what the gateways do
    refusals: dict[str, int] = field(default_factory=dict)  # share's key: how often the scenario had it refuse
    notifications: int = 0
    numbers: int = 0
    denying: dict[str, int] = field(default_factory=dict)  # region: since when it does not give the list of its shares
    denied: frozenset[str] = frozenset()  # those that did so at any time: each does it once
    noting: bool = False
    uninterrupted: bool = False  # a function that runs makes all its calls in one go
    programs: dict[tuple[str, Memory, str, str], Node] = field(default_factory=dict)  # started
    # History.
    steps: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    calls: tuple[str, ...] = ()
    written: tuple[Written, ...] = ()
    arrived: dict[str, int] = field(default_factory=dict)
    refreshes: tuple[Refresh, ...] = ()
    others: tuple[Others, ...] = ()
    opened: tuple[tuple[str, str], ...] = ()  # key, window
    first_requests: tuple[str, ...] = ()  # windows
    marks: dict[str, Mark] = field(default_factory=dict)
    completed: dict[str, int] = field(default_factory=dict)  # notification: when its event came
    setbacks: tuple[Setback, ...] = ()
    troubles: dict[str, int] = field(default_factory=dict)  # share's key or region: since when it refuses or fails
    unclear: dict[str, int] = field(default_factory=dict)  # share's key: refusals that may be about what it was asked
    signs: tuple[Sign, ...] = ()
    waits: dict[str, tuple[int, int]] = field(default_factory=dict)  # share's key: when it began, and began again
    overtaken: dict[str, int] = field(default_factory=dict)  # share's key: so often since
    is_strange: bool = False  # a refresh is complete of which its gateway's document knows nothing
    failed: bool = False  # something failed, died, or was delivered twice
    delayed: bool = False  # something was left waiting, or took its time

    @classmethod
    def of(cls, scenario: Scenario) -> "World":
        world = cls(scenario)
        world.containers = {
            f"{function}{number}": Container(f"{function}{number}", skew)
            for function, skews in (("A", scenario.aggregators), ("R", scenario.refreshers))
            for number, skew in enumerate(skews, start=1)
        }
        world.tasks = (
            *(Task(event.at, f"c{number}", "write", "", number) for number, event in enumerate(scenario.events, 1)),
            *(Task(other.at, f"o{number}", "other", "", number) for number, other in enumerate(scenario.others, 1)),
        )
        for at in scenario.sweeps:
            world._add(Task(at, f"sweep{at // SECOND}", "message", json.dumps({"sweep": True}), 0))
        return world

    def copy(self) -> "World":
        new = World.__new__(World)
        for name, value in vars(self).items():
            new.__dict__[name] = value.copy() if type(value) is dict and name != "programs" else value
        return new

    def state(self) -> Hashable:
        """Everything on which it depends what can happen next, and whether that breaks a promise.

        Once something has failed or waited, Freshness and Aggregation are not promised: of the history the rest needs
        what is not covered yet, and what still keeps a share from being asked.
        """
        is_disturbed = self.failed or self.delayed
        left_out = _STORY | _OF_WHAT_IS_UNDISTURBED if is_disturbed else _STORY
        state: list[Hashable] = [
            tuple(sorted(value.items())) if isinstance(value, dict) else value
            for name, value in vars(self).items()
            if name not in left_out
        ]
        return (*state, *self._what_matters()) if is_disturbed else tuple(state)

    def _what_matters(self) -> Iterator[Hashable]:
        yield _uncovered(self.scenario, self.written, self.refreshes)
        last = {made.share: made.order for made in self.refreshes}
        for made in self.refreshes:
            if made.order == last[made.share] or self.time < self._taken_until(made):
                yield made._replace(order=0), self.completed.get(made.notification)
        yield tuple(setback for setback in self.setbacks if setback.until > self.time)
        # Of orders, which is before which.
        processes = [container.process for container in self.containers.values() if container.process]
        orders: list[int] = []
        for process in processes:
            orders += [process.number, *(claim.order for claim in process.claims)]
        orders += [mark.order for _, mark in sorted(self.marks.items())]
        ranks = {order: rank for rank, order in enumerate(sorted({0, *orders}))}
        yield tuple(ranks[order] for order in orders)
        for container in self.containers.values():
            if container.process:
                claims = tuple(claim._replace(order=0) for claim in container.process.claims)
                yield container._replace(process=container.process._replace(number=0, claims=claims))
            else:
                yield container
        yield tuple(sorted(self.waits.items())), tuple(mark._replace(order=0) for _, mark in sorted(self.marks.items()))

    # What can be done next

    def running(self) -> list[str]:
        return [name for name, container in self.containers.items() if container.process]

    def startable(self) -> list[str]:
        """The steps by which something that waits can begin now."""
        steps = []
        idle: dict[str, list[str]] = {"A": [], "R": []}
        alike = set()
        for name, container in self.containers.items():
            if not container.process and (name[0], container.skew, container.memory) not in alike:
                alike.add((name[0], container.skew, container.memory))
                idle[name[0]].append(name)
        for task in self.tasks:
            if task.ready_at > self.time:
                continue
            if task.kind == "write":
                steps.append(f"S3 writes {task.name}")
            elif task.kind == "other":
                steps.append(f"somebody refreshes {task.name}")
            else:
                steps += [f"{name} takes {task.name}" for name in idle[task.function]]
        return list(dict.fromkeys(steps))

    def next_time(self) -> int | None:
        due = [task.ready_at for task in self.tasks if task.ready_at > self.time]
        return min(due, default=None)

    def quiet(self) -> bool:
        return not self.tasks and not self.running()

    def outlived(self) -> list[str]:
        """The running containers that Lambda ends before the clock can go on."""
        then = self.next_time()
        assert then is not None
        return [
            name
            for name, container in self.containers.items()
            if container.process and container.process.deadline <= then
        ]

    def losses(self) -> list[str]:
        """The steps by which the event of a complete refresh is lost."""
        lost = (task.name for task in self.tasks if task.ready_at <= self.time and task.name in self._notified())
        return [f"{name} is lost" for name in dict.fromkeys(lost)]

    def _notified(self) -> set[str]:
        return {made.notification for made in self.refreshes} | {other.notification for other in self.others}

    def environment(self) -> list[str]:
        """The steps by which a region begins or ceases to deny the list of its shares."""
        steps = [f"{who} answers" for who, since in self.denying.items() if since < self.time]
        return steps + [f"{region} denies" for region in self.scenario.regions if region not in self.denied]

    # Steps

    def do(self, step: str) -> None:
        """Take `step`. BrokenPromiseError if that breaks a promise."""
        self._begin(step)
        who, *what = step.split()
        note = ""
        if step == "time":
            self._go_on()
        elif step == "sweep":
            self._add(Task(self.time + 15 * MINUTE, "sweep", "message", json.dumps({"sweep": True}), 0))
        elif who == "S3":
            self._write(what[1])
        elif who == "somebody":
            note = self._refresh_by_others(what[1])
        elif what[:1] == ["takes"]:
            self._start(who, what[1], again=what[2:] == ["and", "again"])
        elif what == ["dies"]:
            self._die(who)
        elif what == ["is", "lost"]:
            self.failed = True
            self.tasks = self._without(self._task(who))
        elif what == ["denies"]:
            self.denying[who] = self.time
            self.denied |= {who}
        elif what == ["answers"]:
            del self.denying[who]
        else:
            note = self._call(who, what[0] if what else "")
        if self.noting:
            self.notes += (f"{self.time / 1000:8.3f} s  {note}",)

    def _begin(self, step: str) -> None:
        self.steps += (step,)
        if len(self.steps) > _MAX_STEPS:
            raise BrokenPromiseError("Coverage", "this run comes to no end")

    def _go_on(self) -> None:
        then = self.next_time()
        assert then is not None
        for name in self.outlived():
            self._die(name)
        self.delayed = self.delayed or bool(self.running() or self.startable())
        self.time = then
        self.in_progress = tuple(entry for entry in self.in_progress if entry[1] > then)
        self.denying = {who: since for who, since in self.denying.items() if then - since < _DENIED_FOR}

    def _task(self, name: str) -> Task:
        return next(task for task in self.tasks if task.name == name and task.ready_at <= self.time)

    def _without(self, task: Task) -> tuple[Task, ...]:
        position = self.tasks.index(task)
        return self.tasks[:position] + self.tasks[position + 1 :]

    def _add(self, task: Task) -> None:
        self.numbers += 1
        self.tasks += (task._replace(number=self.numbers),)

    def _write(self, name: str) -> None:
        task = self._task(name)
        event = self.scenario.events[task.number - 1]
        self.tasks = self._without(task)
        self.order += 1
        self.written += tuple(
            Written(self.order, self.time, event.bucket, key, name, event.through) for key in event.keys
        )
        records = [
            {
                "eventVersion": "2.1",
                "eventSource": "aws:s3",
                "eventTime": timestamp(START + self.time),
                "userIdentity": {"principalId": self._principal(event.through)},
                "s3": {"bucket": {"name": event.bucket}, "object": {"key": key, "sequencer": f"{name}-{number}"}},
            }
            for number, key in enumerate(event.keys)
        ]
        body = json.dumps({"Records": records})
        for after in event.after:
            self._add(Task(self.time + after, name, "event", body, 0, origin=name))
        self.failed = self.failed or len(event.after) > 1

    def _principal(self, through: str) -> str:
        """As S3 names who wrote: a gateway, by the role of one of its shares, or somebody."""
        role = next((role_id(share.role) for share in self.scenario.shares if share.name == through), "")
        return f"AWS:{role}:StorageGateway" if role else "AWS:AIDAEXAMPLE"

    def _refresh_by_others(self, name: str) -> str:
        task = self._task(name)
        other = self.scenario.others[task.number - 1]
        self.tasks = self._without(task)
        share = next(share for share in self.scenario.shares if share.name == other.share)
        if self._is_full(share):
            return "refused"
        self.notifications += 1
        self.others += (Others(self.time, share.key, f"n{self.notifications}"),)
        self._in_progress(share, f"n{self.notifications}", other.takes)
        return f"n{self.notifications}"

    def _is_full(self, share: Share) -> bool:
        by_key, alike = self.scenario.by_key, {share.key}
        if self.scenario.limit == "gateway":
            alike = {key for key, other in by_key.items() if other.gateway_arn == share.gateway_arn}
        return sum(key in alike for key, _ in self.in_progress) >= 2

    def _in_progress(self, share: Share, notification: str, takes: int) -> None:
        done = self.time + takes
        self.in_progress += ((share.key, done),)
        if self.scenario.completion_events and not share.away:
            detail = {
                "event-type": "refresh-complete",
                "notification-id": notification,
                "started": _in_whole_seconds(self.time),
                "completed": _in_whole_seconds(done),
            }
            body = {
                "detail-type": "Storage Gateway Refresh Cache Event",
                "resources": [share.arn, share.gateway_arn],
                "detail": detail,
            }
            self._add(Task(done, notification, "message", json.dumps(body), 0))

    def _start(self, who: str, name: str, *, again: bool) -> None:
        task, container = self._task(name), self.containers[who]
        assert not container.process
        self.tasks = self._without(task)
        if again:
            self.failed = True
            self.tasks += (task._replace(ready_at=self.time + 7 * SECOND, copy=task.copy + 1),)
        if task.origin:
            self.arrived.setdefault(task.origin, self.time)
        self.order += 1
        if name in self._notified():
            self._is_complete(name)
        given = who[0], container.memory, task.body, f"message-{task.number}"
        if given not in self.programs:
            self.programs[given] = Node(Program(given[0], self.scenario, *given[1:]))
        timeout = AGGREGATOR_TIMEOUT if who[0] == "A" else REFRESHER_TIMEOUT
        process = Process(task, self.programs[given], None, self.time + timeout, self.order)
        self._run_on(who, process)

    def _is_complete(self, notification: str) -> None:
        """The event arrives that says so."""
        every: list[Refresh | Others] = [*self.refreshes, *self.others]
        made = next(made for made in every if made.notification == notification)
        self.completed.setdefault(notification, self.time)
        document = self.table.get(self.scenario.by_key[made.share].gateway_arn)
        self.is_strange = self.is_strange or not document or f'"{notification}' not in document.text.replace("\\", "")
        self.marks = {key: mark for key, mark in self.marks.items() if mark.notification != notification}
        self.signs += (Sign(self.scenario.by_key[made.share].gateway_arn, self.order, self.time, busy=False),)

    def _run_on(self, who: str, process: Process) -> None:
        """The function's code runs up to its next call, or on to its end if it is uninterrupted."""
        node = process.node.then(process.answer) if process.answer else process.node
        self.containers[who] = container = self.containers[who]._replace(process=process)
        machine = _Machine(self, container, process)
        node = node.ready(machine)
        container = self.containers[who]  # as calls may have noted something
        assert container.process
        running = container.process._replace(node=node, answer=None, ids=machine.ids)
        self.containers[who] = container._replace(process=running)

    def at_once(self, who: str, call: Call) -> Answer | None:
        """The answer to a call before which nothing else can happen, or need not."""
        # What always answers the same, and has no effect, is answered at once, for a death or a preemption right before
        # it is one right after it. So none is lost that would be another.
        if call.operation in _READS and not self.scenario.reads_are_steps:
            return self._read(call)
        if not self.uninterrupted:
            return None
        self._begin(who)
        return self._made(who, call, "")

    def _die(self, who: str) -> None:
        container = self.containers[who]
        assert container.process
        self.failed = True
        self.containers[who] = container._replace(process=None, memory=NOTHING)
        self._comes_again(container.process, killed=True)

    def _comes_again(self, process: Process, *, killed: bool = False) -> None:
        task = process.task
        if task.kind == "event":
            if task.attempt <= len(self.scenario.retries):
                ready_at = self.time + self.scenario.retries[task.attempt - 1]
                self.tasks += (task._replace(ready_at=ready_at, attempt=task.attempt + 1),)
            else:
                body = json.dumps({"requestPayload": json.loads(task.body)})
                self._add(Task(self.time + SECOND, f"failed-{task.name}", "message", body, 0))
            return
        self.completed.pop(task.name, None)  # so nobody knows yet that this refresh is complete
        if task.attempt == MAX_RECEIVES:
            raise BrokenPromiseError("Coverage", f"the message {task.name} ends in the dead-letter queue")
        ready_at = self.time + seconds_until_retry(task.attempt) * SECOND
        if killed:
            ready_at = process.deadline - REFRESHER_TIMEOUT + VISIBILITY_TIMEOUT_SECONDS * SECOND
        self.tasks += (task._replace(ready_at=ready_at, attempt=task.attempt + 1),)

    def _call(self, who: str, how: str) -> str:
        """A running function makes its next call, or ends. What it was, for people to read."""
        process = self._process(who)
        if process.answer:
            self._run_on(who, process)
            process = self._process(who)
        asks = process.node.asks
        if isinstance(asks, End):
            self.containers[who] = self.containers[who]._replace(process=None, memory=asks.memory)
            if asks.failure is not None:
                self.failed = True
                self._comes_again(process)
            return f"{who} ends: {asks.failure or 'done'}"
        assert isinstance(asks, Call)
        answer = self._made(who, asks, how)
        process = self._process(who)._replace(answer=answer)  # as the call may have noted something
        if how != "slowly":
            self._run_on(who, process)
        else:
            self.containers[who] = self.containers[who]._replace(process=process)
            self.delayed = True
        return _described(who, asks, answer) if self.noting else ""

    def _process(self, who: str) -> Process:
        process = self.containers[who].process
        assert process
        return process

    def _made(self, who: str, call: Call, how: str) -> Answer:
        self.calls += (call.operation,)
        self.failed = self.failed or (how not in ("", "slowly") and call.operation not in _READS)
        return self._answer(self.containers[who], call, how)

    def _answer(self, container: Container, call: Call, how: str) -> Answer:
        if call.operation in _READS:
            return self._noted_read(call, self._read(call, how))
        if how in _WITHOUT_EFFECT:
            return Answer("refused", _WITHOUT_EFFECT[how])
        answer = getattr(self, f"_{call.operation}")(container, call, how)
        if how == "twice":
            answer = getattr(self, f"_{call.operation}")(self.containers[container.name], call, how)
        if how == "unanswered":
            return Answer("unanswered")
        assert isinstance(answer, Answer)
        return answer

    # The services; each answers a call and takes its effect

    def _UpdateItem(self, container: Container, call: Call, _: str) -> Answer:  # noqa: N802 - the operation's name
        key: str = call.parameters["Key"]["BucketName"]["S"]
        before = self.table.get(key)
        ok, after = ENGINE.update(before, call.text, call.parameters)
        if not ok:
            return Answer("no", after)
        assert after
        self.table[key] = after
        if Key.read(key).kind is Kind.GATEWAY:
            self._note_turns(container, _shares_in(before), _shares_in(after))
        else:
            self._note_window(key, before, after)
        return Answer("ok", after)

    def _GetItem(self, _: Container, call: Call, __: str) -> Answer:  # noqa: N802
        return Answer("ok", self.table.get(call.parameters["Key"]["BucketName"]["S"]))

    def _DeleteItem(self, _: Container, call: Call, __: str) -> Answer:  # noqa: N802
        self.table.pop(call.parameters["Key"]["BucketName"]["S"], None)
        return Answer("ok")

    def _Scan(self, _: Container, __: Call, ___: str) -> Answer:  # noqa: N802
        return Answer("ok", tuple(row for _, row in sorted(self.table.items())))

    def _SendMessage(self, container: Container, call: Call, _: str) -> Answer:  # noqa: N802
        body: str = call.parameters["MessageBody"]
        content = json.loads(body)
        name: str = content.get("window") or content["token"]
        self._add(Task(self.time + call.parameters["DelaySeconds"] * SECOND, name, "message", body, 0))
        if container.name[0] == "A":
            if name in self.first_requests and not self.failed:
                raise BrokenPromiseError("Aggregation", f"the window {name} sends a second request")
            self.first_requests += (name,)
        return Answer("ok")

    def _read(self, call: Call, how: str = "") -> Answer:
        """What a list of shares, or a description of some, answers."""
        region: str = call.parameters["Place"]
        if how in _WITHOUT_EFFECT:
            return Answer("refused", _WITHOUT_EFFECT[how])
        there = [s for s in self.scenario.shares if s.region == region and self.time < s.deleted_at]
        if call.operation == "ListFileShares":
            scripted = any(name == region and begin <= self.time < end for name, begin, end in self.scenario.unlisted)
            if scripted or region in self.denying:
                return Answer("refused", scenarios.DENIED)
            return Answer("ok", json.dumps([self._listed(share) for share in there]))
        arns = call.parameters["FileShareARNList"]
        asked = [share for share in there if share.arn in arns]
        if len(asked) < len(arns):
            return Answer("refused", scenarios.NO_SUCH_SHARE)
        for share in asked:
            if share.undescribed[0] <= self.time < share.undescribed[1]:
                return Answer("refused", scenarios.DENIED)
        return Answer("ok", json.dumps([self._described(share) for share in asked]))

    def _status(self, share: Share) -> str:
        begin, end = share.unavailable
        return "UNAVAILABLE" if begin <= self.time < end else "AVAILABLE"

    def _listed(self, share: Share) -> Attributes:
        return {
            "FileShareARN": share.arn,
            "FileShareId": share.name,
            "FileShareStatus": self._status(share),
            "FileShareType": share.kind,
            "GatewayARN": share.gateway_arn,
        }

    def _described(self, share: Share) -> Attributes:
        return {
            "FileShareARN": share.arn,
            "FileShareStatus": self._status(share),
            "GatewayARN": share.gateway_arn,
            "LocationARN": f"arn:aws:s3:::{share.bucket}/{share.prefix}",
            "Role": share.role,
        }

    def _RefreshCache(self, container: Container, call: Call, how: str) -> Answer:  # noqa: N802
        share = self.scenario.by_arn[call.parameters["FileShareARN"]]
        process = container.process
        assert process
        claim = self._restrained(share, process)
        self.order += 1
        refusal = REFUSALS.get(how) or self._refusal(share, call.parameters["FolderList"])
        folders, recursive = tuple(call.parameters["FolderList"]), call.parameters["Recursive"]
        since = claim.at if claim else self.time
        made = Refresh(
            self.order, self.time, share.key, folders, recursive, "", process.number, since, has_effect=False
        )
        claims = tuple(c._replace(asked=True) if c == claim else c for c in process.claims)
        self.containers[container.name] = container._replace(process=process._replace(claims=claims))
        if recursive and not self._may_be_asked_for_everything(share):
            raise BrokenPromiseError("Restraint", f"{share.key} is asked for everything, and not for what changed")
        if refusal:
            self._note_refusal(share, made, refusal)
            return Answer("refused", refusal)
        self.notifications += 1
        notification = f"n{self.notifications}"
        every: list[Refresh | Others] = [*self.refreshes, *self.others]
        is_soon = any(one.share == share.key and one.notification and self.time - one.at < _VOID for one in every)
        is_void = self.scenario.older_rule and is_soon
        self.refreshes += (made._replace(notification=notification, has_effect=not is_void),)
        self._in_progress(share, notification, share.refresh_takes)
        self.signs += (Sign(share.gateway_arn, self.order, self.time, busy=False),)
        self.troubles.pop(share.key, None)
        self._overtakes(claim)
        return Answer("ok", json.dumps(notification))

    def _refusal(self, share: Share, folders: list[str]) -> Refusal | None:
        """How the gateway refuses, if it does."""
        begin, end = share.refuses
        if self.time >= share.deleted_at:
            return scenarios.NO_SUCH_SHARE
        if begin <= self.time < end and self.refusals.get(share.key, 0) < share.times:
            self.refusals[share.key] = self.refusals.get(share.key, 0) + 1
            return share.refusal
        if self._is_full(share):
            return scenarios.BUSY
        return share.refusal if share.uncached and share.uncached in folders else None

    # What the promises are about is noted

    def _note_refusal(self, share: Share, made: Refresh, refusal: Refusal) -> None:
        """Until when it need not be asked again, and whether it may be asked for everything then."""
        if refusal == scenarios.UNKNOWN_FOLDER:
            self.unclear[share.key] = _ABOUT_THE_REQUEST
        elif refusal in _BUSY_AT_FIRST and refusal != scenarios.BUSY:
            now = self.time
            gateways = {self.scenario.by_key[key].gateway_arn for key, mark in self.marks.items() if mark.until > now}
            row = self.unclear.get(share.key, 0)
            # The third in a row counts, if no refresh is known to be in progress there; or else one that comes later.
            if row < _ABOUT_THE_REQUEST - 1 or share.gateway_arn not in gateways:
                self.unclear[share.key] = row + 1
        if refusal in _BUSY_AT_FIRST:
            self.signs += (Sign(share.gateway_arn, self.order, self.time, busy=True),)
        if refusal not in _BUSY_AT_FIRST or self.unclear.get(share.key, 0) >= _ABOUT_THE_REQUEST:
            self._set_back(share.key)
        if refusal == scenarios.INTERNAL:
            self.refreshes += (made,)

    def _may_be_asked_for_everything(self, share: Share) -> bool:
        """Only if it refused for the folders, or there are too many; or if a refresh is repeated whose folders nobody
        knows: one that somebody else's may have made void, or one of ours that was never noted to be accepted.
        """
        many = sum(len(event.keys) for event in self.scenario.events) > 50
        return many or self.is_strange or self.unclear.get(share.key, 0) >= _ABOUT_THE_REQUEST

    def _set_back(self, who: str, until: int = 0) -> None:
        """A refusal, or a failure: an outage delays by itself and the first back-off, or by the longest."""
        since = self.troubles.setdefault(who, self.time)
        patience = min(self.time - since + _FIRST_BACKOFF, _LONGEST_BACKOFF)
        self.setbacks += (Setback(who, self.time, max(until, self.time + patience)),)

    def _noted_read(self, call: Call, answer: Answer) -> Answer:
        """A region or a share that cannot be looked at, or is not AVAILABLE, is waited for."""
        region: str = call.parameters["Place"]
        if answer.kind != "ok":
            arns = call.parameters.get("FileShareARNList", [])
            if len(arns) < 2:  # of several each is looked at then
                self._set_back(self.scenario.by_arn[arns[0]].key if arns else region)
            return answer
        found = json.loads(answer.value)
        if call.operation == "ListFileShares":
            self.troubles.pop(region, None)
        for listed in found:
            if listed["FileShareStatus"] != "AVAILABLE":
                self._set_back(self.scenario.by_arn[listed["FileShareARN"]].key)
        return answer

    def _note_window(self, key: str, before: Row | None, after: Row) -> None:
        old, new = (before.attributes if before else {}), after.attributes
        if Key.read(key).kind is not Kind.SHARE and "WindowId" in new and new["WindowId"] != old.get("WindowId"):
            if "WindowId" in old and not self.failed and not self.delayed:
                raise BrokenPromiseError("Aggregation", f"a second window of {key} is opened while one is open")
            self.opened += ((key, new["WindowId"]["S"]),)

    def _note_turns(self, container: Container, before: dict[str, Any], after: dict[str, Any]) -> None:
        """Who waits in a gateway's line, and who has claimed whom."""
        process = container.process
        assert process
        self.order += 1
        claims = process.claims
        for key in sorted({*before, *after}):
            was, now = before.get(key, {}), after.get(key, {})
            if was.get("claim") and was["claim"] != now.get("claim"):
                self._note_answer(key, process)
            self._note_wait(key, was, now, process.claim(key))
            if was.get("claim") != now.get("claim"):
                claims = tuple(claim for claim in claims if claim.key != key)
        for key, now in after.items():
            if now.get("claim") and now["claim"] != before.get(key, {}).get("claim"):
                claims = (*claims, Claim(key, self.order, self.time, tuple(self._passed(key, after))))
            last = now.get("last")
            if last and now.get("in_progress_until") and last["refresh"] not in self.completed:
                known = self.marks.get(key)
                if not known or known.notification != last["refresh"]:
                    made = next(made for made in self.refreshes if made.notification == last["refresh"])
                    self.marks[key] = Mark(last["refresh"], self.order, self._taken_until(made))
        self.containers[container.name] = container._replace(process=process._replace(claims=claims))

    def _note_answer(self, key: str, process: Process) -> None:
        """A share is not claimed any more: what became of it is known; or whoever had claimed it is dead."""
        if process.claim(key):
            if any((made.process, made.share) == (process.number, key) and made.has_effect for made in self.refreshes):
                self.unclear.pop(key, None)
            self.refreshes = tuple(
                made._replace(since=made.at) if (made.process, made.share) == (process.number, key) else made
                for made in self.refreshes
            )
        else:  # it counts as asked
            self.setbacks += (Setback(key, self.time, self.time + self.scenario.interval_of(key)),)

    def _note_wait(self, key: str, was: dict[str, Any], now: dict[str, Any], claim: Claim | None) -> None:
        """Since when a share waits: since it is in the line, whatever the line says of it."""
        was_there, is_there = bool(was.get("since") or was.get("claim")), bool(now.get("since") or now.get("claim"))
        began, again = self.waits.get(key, (0, 0))
        if not is_there:
            self.waits.pop(key, None)
            self.overtaken.pop(key, None)
        elif not was_there:
            self.waits[key] = (START + self.time, 0)
        elif was.get("claim") and now.get("claim"):
            self.waits[key] = (began, again or (START + self.time if now.get("since") else 0))
        elif was.get("claim"):  # nothing was asked, or it was refused and waits as before
            self.waits[key] = (again if again and claim and not claim.asked else began, 0)

    def _passed(self, key: str, after: dict[str, Any]) -> Iterator[str]:
        """Who waits at the same gateway for longer than `key`, and may be asked now."""
        began, _ = self.waits[key]
        for other, share in after.items():
            if (
                other != key
                and other in self.scenario.by_key  # otherwise it was not known what it shows
                and share.get("since")
                and not share.get("claim")
                and self.waits[other][0] < began - self.scenario.max_skew
                and all(self.time >= until for _, until in self._own_waits(other))
            ):
                yield other

    def _overtakes(self, claim: Claim | None) -> None:
        """Promise: nobody who may be asked is overtaken by more than so many that began to wait later."""
        most = self.scenario.read_settings.refreshes_per_gateway + 1
        for other in claim.passed if claim else ():
            if other in self.waits:
                self.overtaken[other] = self.overtaken.get(other, 0) + 1
                if self.overtaken[other] > most:
                    raise BrokenPromiseError("Turns", f"{other} is overtaken {self.overtaken[other]} times")
        if claim:
            self.overtaken.pop(claim.key, None)
            _, again = self.waits.get(claim.key, (0, 0))
            self.waits[claim.key] = (again or START + self.time, 0)

    # The promises

    def _own_waits(self, key: str) -> Iterator[tuple[int, int]]:
        """From when until when a share may not be asked for a reason of its own, so far."""
        for made in self.refreshes:
            if made.share == key:
                yield made.at, made.at + self.scenario.interval_of(key)
                if made.notification:
                    yield made.at, self.completed.get(made.notification, self._taken_until(made))
                if not made.has_effect and made.notification:
                    for other in self.others:
                        if other.share == key and other.at <= made.at < other.at + _VOID:
                            until = max(other.at + _REPEATED_AFTER, self.completed.get(other.notification, 0))
                            yield made.at, until
        for who, at, until in self.setbacks:
            if who == key:
                yield at, until

    def _waits_of_gateway(self, share: Share) -> Iterator[tuple[int, int]]:
        """From when until when its gateway has no place, as far as is known."""
        signs = [sign for sign in self.signs if sign.gateway == share.gateway_arn]
        for number, sign in enumerate(signs):
            if sign.busy:
                ends = [sign.at + self.scenario.least_interval, *(s.at for s in signs[number + 1 :] if not s.busy)]
                yield sign.at, min(ends)
        taken = [
            (made.at, self.completed.get(made.notification, self._taken_until(made)))
            for made in self.refreshes
            if made.notification and self.scenario.by_key[made.share].gateway_arn == share.gateway_arn
        ]
        times = sorted({time for begin_and_end in taken for time in begin_and_end})
        slots = self.scenario.read_settings.refreshes_per_gateway
        for begin, end in pairwise(times):
            if sum(at <= begin and until >= end for at, until in taken) >= slots:
                yield begin, end

    def _taken_until(self, made: Refresh) -> int:
        """When a refresh is no longer taken to be in progress, if nobody tells of its end."""
        timeout = 0 if self.scenario.by_key[made.share].away else self.scenario.timeout
        return made.at + (timeout or self.scenario.least_interval)

    def _restrained(self, share: Share, process: Process) -> Claim | None:
        """Promise: a share is not asked within the interval, nor while its last refresh is known to be in progress."""
        key, skew = share.key, self.scenario.max_skew
        last = next((made for made in reversed(self.refreshes) if made.share == key), None)
        if last and self.time - last.since < self.scenario.interval_of(key) - skew:
            passed = (self.time - last.since) / SECOND
            raise BrokenPromiseError("Restraint", f"{key} is asked again after {passed} s")
        mark, claim = self.marks.get(key), process.claim(key)
        if mark and (not claim or (mark.order < claim.order and claim.at < mark.until - skew)):
            raise BrokenPromiseError("Restraint", f"{key} is asked while {mark.notification} is in progress")
        return claim

    def check(self) -> None:
        """Every promise, when all is quiet."""
        for share_key, change, path in _uncovered(self.scenario, self.written, self.refreshes):
            if self.scenario.by_key[share_key].deleted_at > self.time:
                what = f"no refresh of /{path} on {share_key} was accepted after {change.event} wrote {change.key}"
                raise BrokenPromiseError("Coverage", what)
        if not self.failed and not self.delayed:
            self._aggregated()
            for change in self.written:
                for share in self.scenario.shares:
                    if _shows(share, change):
                        self._fresh(change, share)

    def line_is_left(self) -> bool:
        """Whether shares wait for their turn, no message will come, and the sweep may have to find them.

        A hand-over failed or died after it had been at a gateway. When it is repeated, it has nothing for a share
        there: the one that it had is deleted; or it is known now to show another bucket, or to be the one that was
        written through.
        """
        may_be = any(share.undescribed[1] or share.deleted_at <= self.time for share in self.scenario.shares)
        may_be = may_be or any(change.through for change in self.written)
        return self.failed and may_be and bool(self._who_waits())

    def _who_waits(self) -> list[str]:
        rows = [row for name, row in self.table.items() if Key.read(name).kind is Kind.GATEWAY]
        shares = [one for row in rows for one in _shares_in(row).items()]
        return [share for share, content in shares if content.get("since") or content.get("claim")]

    def unfinished(self) -> list[str]:
        """What else is left for the sweep when all is quiet, and may be: BrokenPromiseError for everything else.

        A hand-over died between putting folders into a share's window and putting the share into its gateway's line,
        or between opening a region's window and sending its request; and the bucket's next window took its folders over
        and had them refreshed. So all that these windows hold is covered.
        """
        left = []
        if waiting := self._who_waits():
            raise BrokenPromiseError("Coverage", f"{waiting[0]} waits for its turn, and no message will come")
        for name, row in self.table.items():
            key = Key.read(name)
            for attribute in ("WindowId", "RefreshingId"):
                if attribute in row.attributes:
                    what = f"{attribute} of {key} is {row.attributes[attribute]['S']}, and no message will come for it"
                    may_be = key.kind is Kind.SHARE or (key.kind is Kind.REGION and "OpenedBy" in row.attributes)
                    if not (self.failed and may_be and attribute == "WindowId"):
                        raise BrokenPromiseError("Coverage", what)
                    left.append(what)
        return left

    def _fresh(self, change: Written, share: Share) -> None:
        """Promise: with nothing failing the refresh starts within the delay and a second, or as Restraint and Turns
        allow: without a time longer than a second, at any moment, in which the share might be asked and has a place."""
        path = _folders_below(share, change)[-1]
        covering = [made for made in self.refreshes if made.share == share.key and _covers(made, change, path)]
        if not covering:  # it was deleted
            return
        first = covering[0]
        delay = self.scenario.longest_delay(share.bucket)
        latest = self.arrived[change.event] + delay + SECOND + self.scenario.max_skew
        waits = [
            *(wait for wait in self._own_waits(share.key) if wait[0] < first.at),
            *self._waits_of_gateway(share),
            *((at, until) for who, at, until in self.setbacks if who == share.region),
        ]
        for begin, end in sorted(waits):
            if begin <= latest:
                latest = max(latest, end + SECOND + self.scenario.max_skew)
        if first.at > latest:
            late = (first.at - latest) / SECOND
            raise BrokenPromiseError("Freshness", f"{share.name} is refreshed {late} s late for {change.event}")

    def _aggregated(self) -> None:
        """Promise: any number of changes in a window, one request, and one refresh a share."""
        for share in self.scenario.shares:
            made = sum(call.share == share.key and bool(call.notification) for call in self.refreshes)
            windows = sum(self._is_for(share, opened) for opened, _ in self.opened)
            repeats = sum(other.share == share.key for other in self.others)
            if made > windows + repeats and not any(len(call.folder_list) >= 50 for call in self.refreshes):
                raise BrokenPromiseError("Aggregation", f"{made} refreshes of {share.key} for {windows} windows")
        opened = [window for key, window in self.opened if _is_of_changes(key)]
        if sorted(opened) != sorted(self.first_requests):
            raise BrokenPromiseError("Aggregation", f"windows {opened}, requests {list(self.first_requests)}")

    def _is_for(self, share: Share, text: str) -> bool:
        """Whether the window is for changes in the share's bucket that were not written through this share alone."""
        key = Key.read(text)
        if key.bucket != share.bucket or not _is_of_changes(text):
            return False
        alike = [other for other in self.scenario.shares if other.bucket == key.bucket and other.role == share.role]
        # While a region does not list its shares, nobody is known to be the one that was written through.
        return key.writer != role_id(share.role) or len(alike) > 1 or bool(self.setbacks)


# What a gateway says when it is busy, or when nobody knows what it says: it is asked again after an interval.
_BUSY_AT_FIRST = (scenarios.BUSY, scenarios.UNKNOWN_WORDS, scenarios.UNKNOWN_FOLDER_IN_UNKNOWN_WORDS)


class _Machine:
    """The machine of a process: the time, ids that no other process makes, and what AWS answers at once."""

    def __init__(self, world: World, container: Container, process: Process) -> None:
        self._world = world
        self._who = container.name
        self._now = Answer("ok", START + world.time + container.skew)
        self._task = process.task
        self.ids = process.ids

    def __call__(self, asks: Call | Query | End) -> Answer | None:
        if isinstance(asks, Call):
            return self._world.at_once(self._who, asks)
        if isinstance(asks, End):
            return None
        if asks.what == "now":
            return self._now
        self.ids += 1
        task = self._task
        name = f"{task.function.lower()}{task.number}{'.' * (task.copy - 1)}{_letter(task.attempt)}"
        return Answer("ok", f"{name}{self.ids}")


def _letter(attempt: int) -> str:
    return "abcdefghijklmnopqrstuvwxyz"[(attempt - 1) % 26] * (1 + (attempt - 1) // 26)


@cache
def _shares_in(row: Row | None) -> dict[str, Any]:
    """The shares in a gateway's document."""
    shares: dict[str, Any] = json.loads(row.attributes["Turns"]["S"]).get("shares", {}) if row else {}
    return shares


@cache
def _is_of_changes(key: str) -> bool:
    """Whether changes open the window of this key, and not what waits for a place."""
    return Key.read(key).kind in (Kind.BUCKET, Kind.WRITER)


def _shows(share: Share, change: Written) -> bool:
    """Whether a change is news for a share."""
    shown = share.bucket == change.bucket and change.key.startswith(share.prefix)
    return shown and share.name != change.through


def _folders_below(share: Share, change: Written) -> list[tuple[str, ...]]:
    """The folder of the change, as the share shows it, after all those above."""
    names = tuple(change.key[len(share.prefix) :].split("/")[:-1])
    return [names[:depth] for depth in range(len(names) + 1)]


def _covers(made: Refresh, change: Written, path: tuple[str, ...]) -> bool:
    """Whether a refresh was accepted after the change, and shows the folder."""
    if made.order < change.order or not made.has_effect:
        return False
    name = "/".join(path) or "/"
    if not made.recursive:
        return name in made.folder_list
    return any(tree == "/" or f"{name}/".startswith(f"{tree}/") for tree in made.folder_list)


@lru_cache(maxsize=100_000)
def _uncovered(
    scenario: Scenario, written: tuple[Written, ...], refreshes: tuple[Refresh, ...]
) -> tuple[tuple[str, Written, str], ...]:
    """Promise: after every change a refresh of its folder, and of those above it, was accepted. What lacks one."""
    return tuple(
        (share.key, change._replace(order=0), "/".join(path))
        for change in written
        for share in scenario.shares
        if _shows(share, change)
        for path in _folders_below(share, change)
        if not any(made.share == share.key and _covers(made, change, path) for made in refreshes)
    )


@cache
def _in_whole_seconds(time: int) -> str:
    """As Storage Gateway writes it."""
    return datetime.fromtimestamp((START + time) // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _described(who: str, call: Call, answer: Answer) -> str:
    what = call.parameters
    match call.operation:
        case "UpdateItem":
            values = ", ".join(
                f"{name[1:]} {_short(value)}" for name, value in what.get("ExpressionAttributeValues", {}).items()
            )
            text = f"{what['Key']['BucketName']['S']}: {what['UpdateExpression'][:60]} ({values})"
        case "RefreshCache":
            text = f"{what['FileShareARN']} {what['FolderList']}{' and all below' if what['Recursive'] else ''}"
        case "SendMessage":
            text = f"{what['MessageBody']} in {what['DelaySeconds']} s"
        case "GetItem" | "DeleteItem":
            text = what["Key"]["BucketName"]["S"]
        case _:
            text = f"{what.get('Place', '')} {what.get('FileShareARNList', '')}"
    told = answer.value if isinstance(answer.value, (str, Refusal)) else answer.kind
    return f"{who} {call.operation} {text} -> {told}".replace(str(START // 10_000_000), "")


def _short(value: Attributes) -> str:
    (kind, content), *_ = value.items()
    if kind == "N" and int(content) >= START:
        return f"{(int(content) - START) / 1000:g}"
    return ",".join(content) if kind == "SS" else str(content)
