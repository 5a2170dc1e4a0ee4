"""A small AWS in which the real Aggregator and Refresher run under a scheduler that decides everything.

The guarantee: what happens in a run follows from its scenario and its steps alone, each step a line of text, so that a
schedule that breaks a promise can be printed, read, and run again with `replay(scenario, steps)`.

    time                     the clock goes on to when something is due next
    S3 writes c1             the change (or the changes of one event) happens, and its event is on its way
    A1 takes c1              a container starts with an event, or R1 with a message; "... and again": it comes twice
    A1                       its next AWS call is made, and its code runs on to the one after
    A1 slowly                the same, but its code runs on (and reads the clock) only with its next step
    A1 throttled             the call fails without effect
    A1 unanswered            it takes effect and fails
    A1 twice                 the SDK repeats a call whose answer was lost
    R1 refused               the gateway says that it is busy; unknown-folder: that it knows no such folder
    A1 dies                  before its next call, and so after the last one
    R1 denied                a region denies the list of its shares, this once
    eu-west-1 denies         ... from now on; answers: it gives the list again
"""

import copy
import json
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import NamedTuple

from event_aggregator.file_shares import FileShare
from event_aggregator.observability import timestamp
from event_aggregator.table import Item, key_of_place, read_key, writer_in
from tests.simulation.engine import ENGINE, Attributes, Row
from tests.simulation.functions import (
    AGGREGATOR_TIMEOUT,
    REFRESHER_TIMEOUT,
    Answer,
    Call,
    End,
    Node,
    Program,
    Query,
    role_id,
)
from tests.simulation.scenarios import SECOND, Scenario, Share

START = 1_790_000_000_000  # epoch milliseconds

# As create-stack.sh sets them.
VISIBILITY_TIMEOUT = 360 * SECOND
_MAX_RECEIVES = 100

_MAX_STEPS = 3_000

# What waits for a region that has denied the list of its shares for a quarter of an hour may be given up.
_DENIED_FOR_GOOD = 900 * SECOND


class BrokenPromiseError(AssertionError):
    """A promise does not hold: its name is the first word."""

    def __init__(self, promise: str, what: str) -> None:
        super().__init__(f"{promise}: {what}")
        self.promise = promise


class Task(NamedTuple):
    """What waits to be done: a write to S3, an event for an aggregator, or a message on the queue."""

    ready_at: int
    name: str
    kind: str  # write, event, message
    body: str
    number: int  # of the event or message
    attempt: int = 1
    origin: str = ""  # of an event: whose it is

    @property
    def function(self) -> str:
        return "A" if self.kind == "event" else "R"

    @property
    def key(self) -> str:
        """Of the window that this is a request for; empty if it is none."""
        key: str = json.loads(self.body).get("key", "") if self.kind == "message" else ""
        return key


class Process(NamedTuple):
    """A function while it runs."""

    task: Task
    node: Node
    answer: Answer | None  # to the call at `node`, if its code has not run on yet
    deadline: int
    number: int
    claims: tuple[tuple[str, int, int], ...] = ()  # share's key, when LastAskedAt was written, and what
    denied: tuple[tuple[str, int], ...] = ()  # place that denied the list of its shares, and when

    def claim(self, key: str, otherwise: int) -> tuple[int, int]:
        return next(((at, value) for name, at, value in self.claims if name == key), (otherwise, otherwise))


class Container(NamedTuple):
    name: str
    skew: int
    memo: tuple[tuple[str, Item], ...] = ()
    process: Process | None = None


class Refresh(NamedTuple):
    """A call of RefreshCache that was accepted."""

    order: int
    at: int
    share: str  # its key
    folder_list: tuple[str, ...]
    recursive: bool
    notification: str
    process: int
    since: int  # the interval runs from here, as far as the state can tell


class Mark(NamedTuple):
    notification: str
    at: int  # when it was made
    since: int  # as it says


class Written(NamedTuple):
    order: int
    at: int
    bucket: str
    key: str
    event: str
    through: str


# Of a world's attributes, those that nothing depends on.
_STORY = frozenset({"scenario", "programs", "noting", "steps", "notes"})


@dataclass
class World:
    """The state of a run. What is not scenario or table is there for the promises to be checked."""

    scenario: Scenario
    time: int = 0
    order: int = 0  # of what is noted below
    table: dict[str, Row] = field(default_factory=dict)
    tasks: tuple[Task, ...] = ()
    containers: dict[str, Container] = field(default_factory=dict)
    in_progress: tuple[tuple[str, int], ...] = ()  # share's key, until: what the gateway does
    windows: int = 0
    notifications: int = 0
    numbers: int = 0
    denying: dict[str, int] = field(default_factory=dict)  # place: since when
    noting: bool = False
    programs: dict[tuple[str, tuple[tuple[str, Item], ...], str, str], Node] = field(default_factory=dict)  # started
    # History.
    steps: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    written: tuple[Written, ...] = ()
    arrived: dict[str, int] = field(default_factory=dict)
    refreshes: tuple[Refresh, ...] = ()
    opened: tuple[tuple[str, str], ...] = ()  # key, window
    first_requests: tuple[str, ...] = ()  # windows
    marks: dict[str, Mark] = field(default_factory=dict)
    completed: dict[str, int] = field(default_factory=dict)  # notification: when its event came
    refused: dict[str, int] = field(default_factory=dict)  # share's key: when its gateway refused last, by itself
    denied: dict[str, int] = field(default_factory=dict)  # key of what waits: since when it is denied the list
    given_up: dict[str, int] = field(default_factory=dict)  # the same: up to which step that may be forgotten
    troubled: frozenset[str] = frozenset()  # places, of several, whose shares could not be listed
    failed: bool = False  # something else failed, died, or was delivered twice
    delayed: bool = False  # something was left waiting, or took its time

    @classmethod
    def of(cls, scenario: Scenario) -> "World":
        world = cls(scenario)
        world.containers = {
            f"{function}{number}": Container(f"{function}{number}", skew)
            for function, skews in (("A", scenario.aggregators), ("R", scenario.refreshers))
            for number, skew in enumerate(skews, start=1)
        }
        world.tasks = tuple(
            Task(event.at, f"c{number}", "write", "", number) for number, event in enumerate(scenario.events, start=1)
        )
        return world

    def copy(self) -> "World":
        new = copy.copy(self)
        new.table = self.table.copy()
        new.containers = self.containers.copy()
        new.arrived = self.arrived.copy()
        new.marks = self.marks.copy()
        new.completed = self.completed.copy()
        new.denying = self.denying.copy()
        new.refused = self.refused.copy()
        new.denied = self.denied.copy()
        new.given_up = self.given_up.copy()
        return new

    def state(self) -> Hashable:
        """Everything on which it depends what can happen next, and whether that breaks a promise."""
        return tuple(
            tuple(sorted(value.items())) if isinstance(value, dict) else value
            for name, value in vars(self).items()
            if name not in _STORY
        )

    # What can be done next

    def running(self) -> list[str]:
        return [name for name, container in self.containers.items() if container.process]

    def startable(self) -> list[str]:
        """The steps by which something that waits can begin now."""
        steps = []
        idle: dict[str, list[str]] = {"A": [], "R": []}
        alike = set()
        for name, container in self.containers.items():
            if not container.process and (name[0], container.skew, container.memo) not in alike:
                alike.add((name[0], container.skew, container.memo))
                idle[name[0]].append(name)
        for task in self.tasks:
            if task.ready_at > self.time:
                continue
            if task.kind == "write":
                steps.append(f"S3 writes {task.name}")
            else:
                steps += [f"{name} takes {task.name}" for name in idle[task.function]]
        return list(dict.fromkeys(steps))

    def next_time(self) -> int | None:
        return min((task.ready_at for task in self.tasks if task.ready_at > self.time), default=None)

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

    def environment(self) -> list[str]:
        """The steps by which a place of several begins or ceases to deny the list of its shares."""
        places = self.scenario.places if len(self.scenario.places) > 1 else ()
        return [
            f"{place} {'answers' if place in self.denying else 'denies'}"
            for place in places
            if self.denying.get(place, -1) < self.time
        ]

    # Steps

    def do(self, step: str) -> None:
        """Take `step`. BrokenPromiseError if that breaks a promise."""
        self.steps += (step,)
        if len(self.steps) > _MAX_STEPS:
            raise BrokenPromiseError("Coverage", "this run comes to no end")
        who, *what = step.split()
        note = ""
        if step == "time":
            self._go_on()
        elif who == "S3":
            self._write(what[1])
        elif what[:1] == ["takes"]:
            self._start(who, what[1], again=what[2:] == ["and", "again"])
        elif what == ["dies"]:
            self._die(who)
        elif what == ["denies"]:
            self.denying[who] = self.time
        elif what == ["answers"]:
            del self.denying[who]
        else:
            note = self._call(who, what[0] if what else "")
        if self.noting:
            self.notes += (f"{self.time / 1000:8.3f} s  {note}",)

    def _go_on(self) -> None:
        then = self.next_time()
        assert then is not None
        for name in self.outlived():
            self._die(name)
        self.delayed = self.delayed or bool(self.running() or self.startable())
        self.time = then
        self.in_progress = tuple(entry for entry in self.in_progress if entry[1] > then)

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

    def _start(self, who: str, name: str, *, again: bool) -> None:
        task, container = self._task(name), self.containers[who]
        assert not container.process
        self.tasks = self._without(task)
        if again:
            self.failed = True
            self._add(task._replace(ready_at=self.time + 7 * SECOND))
        if task.origin:
            self.arrived.setdefault(task.origin, self.time)
        if task.kind == "message" and any(made.notification == name for made in self.refreshes):
            self.completed.setdefault(name, self.time)
            self.marks = {key: mark for key, mark in self.marks.items() if mark.notification != name}
        given = who[0], container.memo, task.body, f"message-{task.number}"
        if given not in self.programs:
            self.programs[given] = Node(Program(given[0], self.scenario, *given[1:]), ())
        timeout = AGGREGATOR_TIMEOUT if who[0] == "A" else REFRESHER_TIMEOUT
        self.order += 1
        process = Process(task, self.programs[given], None, self.time + timeout, self.order)
        self._run_on(container, process, None)

    def _run_on(self, container: Container, process: Process, answer: Answer | None) -> None:
        """The function's code runs up to its next call; `answer` is that to the last one."""
        node = process.node.after(answer) if answer else process.node
        while type(node.asks) is Query:
            if node.asks.what == "now":
                answer = Answer("ok", START + self.time + container.skew)
            else:
                self.windows += 1
                answer = Answer("ok", f"w{self.windows}")
            node = node.after(answer)
        running = Process(process.task, node, None, process.deadline, process.number, process.claims, process.denied)
        self.containers[container.name] = Container(container.name, container.skew, container.memo, running)

    def _die(self, who: str) -> None:
        container = self.containers[who]
        assert container.process
        self.failed = True
        self.containers[who] = container._replace(process=None, memo=())
        self._comes_again(container.process)

    def _comes_again(self, process: Process) -> None:
        task = process.task
        if task.kind == "event":
            if task.attempt <= len(self.scenario.retries):
                ready_at = self.time + self.scenario.retries[task.attempt - 1]
                self._add(task._replace(ready_at=ready_at, attempt=task.attempt + 1))
            else:
                body = json.dumps({"requestPayload": json.loads(task.body)})
                self._add(Task(self.time + SECOND, f"failed-{task.name}", "message", body, 0))
        else:
            if task.attempt == _MAX_RECEIVES:
                raise BrokenPromiseError("Coverage", f"the message {task.name} ends in the dead-letter queue")
            began = process.deadline - REFRESHER_TIMEOUT
            self.tasks += (task._replace(ready_at=began + VISIBILITY_TIMEOUT, attempt=task.attempt + 1),)

    def _call(self, who: str, how: str) -> str:
        """A running function makes its next call, or ends. What it was, for people to read."""
        container = self.containers[who]
        assert container.process
        if container.process.answer:
            self._run_on(container, container.process, container.process.answer)
            container = self.containers[who]
        process = container.process
        assert process
        asks = process.node.asks
        if isinstance(asks, End):
            self.containers[who] = container._replace(process=None, memo=asks.memo)
            if asks.failure is not None:
                self._comes_again(process)
            return f"{who} ends: {asks.failure or 'done'}"
        assert isinstance(asks, Call)
        of_one_place = asks.operation == "ListFileShares" and len(self.scenario.places) > 1
        self.failed = self.failed or (how not in ("", "slowly") and not of_one_place)
        answer = self._answer(container, asks, how)
        if of_one_place:
            self._listed(container, asks.parameters["Place"], answer)
        container = self.containers[who]  # as the call may have noted something
        assert container.process
        if how != "slowly":
            self._run_on(container, container.process, answer)
        else:
            self.containers[who] = container._replace(process=container.process._replace(answer=answer))
            self.delayed = True
        return _described(who, asks, answer) if self.noting else ""

    def _answer(self, container: Container, call: Call, how: str) -> Answer:
        if how in ("throttled", "denied"):
            return Answer(how)
        answer = getattr(self, f"_{call.operation}")(container, call, how)
        if how == "twice":
            answer = getattr(self, f"_{call.operation}")(container, call, how)
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
        self._note(container, call, key, before, after)
        return Answer("ok", after)

    def _GetItem(self, _: Container, call: Call, __: str) -> Answer:  # noqa: N802
        return Answer("ok", self.table.get(call.parameters["Key"]["BucketName"]["S"]))

    def _DeleteItem(self, _: Container, call: Call, __: str) -> Answer:  # noqa: N802
        self.table.pop(call.parameters["Key"]["BucketName"]["S"], None)
        return Answer("ok")

    def _SendMessage(self, container: Container, call: Call, _: str) -> Answer:  # noqa: N802
        body: str = call.parameters["MessageBody"]
        window = json.loads(body)["window"]
        self._add(Task(self.time + call.parameters["DelaySeconds"] * SECOND, window, "message", body, 0))
        if container.name[0] == "A":
            if window in self.first_requests and not self.failed:
                raise BrokenPromiseError("Aggregation", f"the window {window} sends a second request")
            self.first_requests += (window,)
        return Answer("ok")

    def _ListFileShares(self, _: Container, call: Call, __: str) -> Answer:  # noqa: N802
        bucket, place = call.parameters["Bucket"], call.parameters["Place"]
        if place in self.denying:
            return Answer("denied")
        listed = []
        for share in self.scenario.shares:
            begin, end = share.unavailable
            status = "UNAVAILABLE" if begin <= self.time < end else "AVAILABLE"
            if share.bucket == bucket and share.place == place:
                listed.append(FileShare(share.arn, status, bucket, share.prefix, share.away, share.role))
        return Answer("ok", tuple(listed))

    def _RefreshCache(self, container: Container, call: Call, how: str) -> Answer:  # noqa: N802
        key: str = call.parameters["Share"]
        process = container.process
        assert process
        self._restrained(key, process)
        share = next(share for share in self.scenario.shares if share.key == key)
        if how == "refused" or sum(busy == key for busy, _ in self.in_progress) >= 2:
            self.refused[key] = self.time
            return Answer("too many requests")
        if how == "unknown-folder" or share.uncached in call.parameters["FolderList"]:
            self.refused[key] = self.time
            return Answer("unknown folder")
        self.order += 1
        self.notifications += 1
        notification = f"n{self.notifications}"
        self.refreshes += (
            Refresh(
                self.order,
                self.time,
                key,
                tuple(call.parameters["FolderList"]),
                call.parameters["Recursive"],
                notification,
                process.number,
                process.claim(key, self.time)[1],
            ),
        )
        done = self.time + share.refresh_takes
        self.in_progress += ((key, done),)
        if self.scenario.completion_events and not share.away:
            body = {
                "detail-type": "Storage Gateway Refresh Cache Event",
                "resources": [share.arn],
                "detail": {"notification-id": notification, "completed": timestamp(START + done)},
            }
            self._add(Task(done, notification, "message", json.dumps(body), 0))
        return Answer("ok", notification)

    # The promises

    def _listed(self, container: Container, place: str, answer: Answer) -> None:
        """One of several places was asked for its shares: a failure there excuses nothing in another."""
        process = container.process
        assert process
        key = process.task.key
        if answer.kind == "ok":
            self.denied.pop(key, None)
            return
        self.troubled |= {place}
        if answer.kind == "denied":
            noted = process._replace(denied=(*process.denied, (place, self.time)))
            self.containers[container.name] = container._replace(process=noted)
            since = self.denied.setdefault(key, self.time)
            if self.time - since >= _DENIED_FOR_GOOD - self.scenario.max_skew:
                self.given_up[key] = self.order

    def _note(self, container: Container, call: Call, key: str, before: Row | None, after: Row) -> None:
        """Keep what the promises are about."""
        old, new = (before.attributes if before else {}), after.attributes
        if "WindowId" in new and new["WindowId"] != old.get("WindowId"):
            if "WindowId" in old and not self.failed and not self.delayed:
                raise BrokenPromiseError("Aggregation", f"a second window of {key} is opened while one is open")
            self.opened += ((key, new["WindowId"]["S"]),)
            self._waits_for(key, container.process)
        if "LastAskedAt" in call.parameters["UpdateExpression"]:
            process = container.process
            assert process
            at = int(new["LastAskedAt"]["N"]) - START
            mine = [n for n, made in enumerate(self.refreshes) if made.share == key and made.process == process.number]
            if mine:  # the second time: it was accepted
                again = self.refreshes[mine[-1]]._replace(since=at)
                self.refreshes = (*self.refreshes[: mine[-1]], again, *self.refreshes[mine[-1] + 1 :])
            others = tuple(claim for claim in process.claims if claim[0] != key)
            noted = process._replace(claims=(*others, (key, self.time, at)))
            self.containers[container.name] = container._replace(process=noted)
        if "InProgressId" in new and new["InProgressId"] != old.get("InProgressId"):
            notification = new["InProgressId"]["S"]
            if notification not in self.completed:
                self.marks[key] = Mark(notification, self.time, int(new["InProgressSince"]["N"]) - START)

    def _waits_for(self, key: str, process: Process | None) -> None:
        """A window was opened by the request of another: what has denied that one the list may have done so since."""
        if process and process.task.key != key:
            self.denied.pop(key, None)
            bucket, _, _ = read_key(key)
            for place, denied_at in process.denied:
                if key == key_of_place(bucket, place):
                    self.denied[key] = denied_at

    def _restrained(self, key: str, process: Process) -> None:
        """Promise: a share is not asked within the interval, nor while its last refresh is known to be in progress."""
        skew = self.scenario.max_skew
        last = next((made for made in reversed(self.refreshes) if made.share == key), None)
        if last and self.time - last.since < self.scenario.interval - skew:
            passed = (self.time - last.since) / SECOND
            raise BrokenPromiseError("Restraint", f"{key} is asked again after {passed} s")
        mark = self.marks.get(key)
        timeout = self.scenario.read_settings.in_progress_timeout_seconds * SECOND
        claimed_at, _ = process.claim(key, self.time)
        if mark and mark.at < claimed_at < mark.since + timeout - skew:
            raise BrokenPromiseError("Restraint", f"{key} is asked while {mark.notification} is in progress")

    def check(self) -> None:
        """Every promise, when all is quiet."""
        for change in self.written:
            for share in self.scenario.shares:
                if (
                    share.bucket == change.bucket
                    and change.key.startswith(share.prefix)
                    and share.name != change.through
                    and not self._may_be_forgotten(change, share)
                ):
                    self._covered(change, share)
        for key, row in self.table.items():
            # A hand-over that died here, and whose folders the bucket's next window had taken over and refreshed, or
            # that found the place answering when it was repeated: so all that this window holds is covered (above),
            # and its lease is short: the sweep finds it.
            left = not _is_of_changes(key) and "OpenedBy" in row.attributes
            for name in ("RefreshingId",) if left else ("WindowId", "RefreshingId"):
                if name in row.attributes:
                    what = f"{name} of {key} is {row.attributes[name]['S']}, and no message will come for it"
                    raise BrokenPromiseError("Coverage", what)
        if not self.failed and not self.delayed:
            self._aggregated()

    def _may_be_forgotten(self, change: Written, share: Share) -> bool:
        """Not promised: that a change is waited for whose share's place has denied us for a quarter of an hour."""
        return any(
            change.order <= self.given_up.get(key, 0) for key in (share.key, key_of_place(share.bucket, share.place))
        )

    def _covered(self, change: Written, share: Share) -> None:
        """Promise: after every change a refresh of its folder, and of those above it, was accepted."""
        names = change.key[len(share.prefix) :].split("/")[:-1]
        made = [call for call in self.refreshes if call.share == share.key]
        for depth in range(len(names), -1, -1):
            path = names[:depth]
            after = [call for call in made if call.order > change.order and _covers(call, path)]
            if not after:
                what = f"no refresh of /{'/'.join(path)} on {share.name} was accepted after {change.event}"
                raise BrokenPromiseError("Coverage", f"{what} wrote {change.key}")
            if depth == len(names) and not self.failed and not self.delayed and share.place not in self.troubled:
                self._fresh(change, share, made, after[0])

    def _fresh(self, change: Written, share: Share, made: list[Refresh], first: Refresh) -> None:
        """Promise: with nothing failing the refresh starts within the delay and a second, or as Restraint allows."""
        latest = self.arrived[change.event] + self.scenario.longest_delay + SECOND
        before = [call for call in made if call.order < first.order]
        if before:
            known = self.completed.get(before[-1].notification, 0)
            timeout = self.scenario.read_settings.in_progress_timeout_seconds * SECOND
            if timeout and not share.away and not self.scenario.completion_events:
                known = before[-1].at + timeout
            latest = max(latest, before[-1].at + self.scenario.interval + SECOND, known + 2 * SECOND)
        for refused in (share.unavailable[1], self.refused.get(share.key)):
            if refused:  # until then at the latest: then it is asked again within the longest backoff
                latest = max(latest, refused + self.scenario.interval * 17)
        if first.at > latest + self.scenario.max_skew:
            late = (first.at - latest) / SECOND
            raise BrokenPromiseError("Freshness", f"{share.name} is refreshed {late} s late for {change.event}")

    def _aggregated(self) -> None:
        """Promise: any number of changes in a window, one request, and one refresh a share."""
        for share in self.scenario.shares:
            made = sum(call.share == share.key for call in self.refreshes)
            windows = sum(self._is_for(share, opened) for opened, _ in self.opened)
            if made > windows and not any(len(call.folder_list) >= 50 for call in self.refreshes):
                raise BrokenPromiseError("Aggregation", f"{made} refreshes of {share.key} for {windows} windows")
        opened = [window for key, window in self.opened if _is_of_changes(key)]
        if sorted(opened) != sorted(self.first_requests):
            raise BrokenPromiseError("Aggregation", f"windows {opened}, requests {list(self.first_requests)}")

    def _is_for(self, share: Share, key: str) -> bool:
        """Whether the window is for changes in the share's bucket that were not written through this share alone."""
        bucket, place, _ = read_key(key)
        if bucket != share.bucket or not _is_of_changes(key):
            return False
        alike = [other for other in self.scenario.shares if other.bucket == bucket and other.role == share.role]
        # While a place does not list its shares, nobody is known to be the one that was written through.
        return writer_in(place) != role_id(share.role) or len(alike) > 1 or bool(self.troubled)


def _is_of_changes(key: str) -> bool:
    """Whether changes open the window of this key, and not what waits for a share or a place."""
    _, place, share_id = read_key(key)
    return not share_id and (not place or writer_in(place) is not None)


def _covers(call: Refresh, path: list[str]) -> bool:
    name = "/".join(path) or "/"
    if not call.recursive:
        return name in call.folder_list
    return any(tree == "/" or f"{name}/".startswith(f"{tree}/") for tree in call.folder_list)


def _described(who: str, call: Call, answer: Answer) -> str:
    what = call.parameters
    match call.operation:
        case "UpdateItem":
            values = ", ".join(
                f"{name[1:]} {_short(value)}" for name, value in what.get("ExpressionAttributeValues", {}).items()
            )
            text = f"{what['Key']['BucketName']['S']}: {what['UpdateExpression'][:60]} ({values})"
        case "RefreshCache":
            text = f"{what['Share']} {what['FolderList']}{' and all below' if what['Recursive'] else ''}"
        case "SendMessage":
            text = f"{what['MessageBody']} in {what['DelaySeconds']} s"
        case "ListFileShares":
            text = what["Place"]
        case "GetItem" | "DeleteItem":
            text = what["Key"]["BucketName"]["S"]
        case _:
            text = ""
    return f"{who} {call.operation} {text} -> {answer.kind if not isinstance(answer.value, str) else answer.value}"


def _short(value: Attributes) -> str:
    (kind, content), *_ = value.items()
    if kind == "N" and int(content) >= START:
        return f"{(int(content) - START) / 1000:g}"
    return ",".join(content) if kind == "SS" else str(content)
