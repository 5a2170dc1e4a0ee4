"""Every way in which turns at one gateway can be taken, explored with the function `turns.step` as it is.

The guarantee: `Explorer.run` visits every state of a small case, whatever comes first: changes, messages, steps of the
handlers, deaths, lost and early completions, refreshes that somebody else starts. In each it checks the promises, and
at the end that from every state one can be reached in which nothing waits: the sweep is not needed.

What `step` decides is the code's; what the handlers do around it is told here, in the order of the modules asking and
gateways. A handler takes one of these steps at a time, and may die before each: it writes a window, writes the
gateway's document, queues a wake, calls RefreshCache. The document is written on condition of the version that was
read, and read again if somebody else was first. So whoever has nothing else to do between reading and writing reads and
writes in one step here: a write that is refused changes nothing. Who puts folders into a window in between does that in
a step of its own, and again if the document has changed since.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from event_aggregator.table import Key
from event_aggregator.turns import (
    Asked,
    Busy,
    Completed,
    Enqueued,
    Gateway,
    GatewayEvent,
    NothingToAsk,
    Refused,
    Rules,
    Share,
    Todo,
    Visit,
    Visited,
    Wake,
    Woken,
    step,
)

# Times are milliseconds. The clock always says NOW: when time goes on, everything else becomes older.
NOW = 1_000_000_000
UNIT = 30_000
INTERVAL = 2 * UNIT
MARK_TIMEOUT = 8 * UNIT
TIME_LEFT = 50_000  # of an invocation: a claim ends ten seconds later
TURN_TAKES, CALL_TAKES = 30_000, 24_000  # a turn is only taken, a share only asked if so much is left
VISIBILITY_TIMEOUT = 12 * UNIT
RETRY = UNIT  # after which a message that failed comes again
VOID = 60_000  # a refresh so soon after another has no effect, by an older reference page
OLD = 600_000  # ages beyond this are all the same
NO_LIMIT = 99  # of what a gateway takes, if the limit is two a share

COVERAGE, FRESHNESS, RESTRAINT, TURNS = "Coverage", "Freshness", "Restraint", "Turns"


class BrokenError(AssertionError):
    """A promise is broken; the text tells how it came to that."""

    def __init__(self, promise: str, what: str) -> None:
        super().__init__(f"{promise}: {what}")
        self.promise = promise


@dataclass(frozen=True, slots=True)
class Case:
    """What may happen. Numbers say how often, at most."""

    shares: int = 2
    changes: tuple[tuple[int, ...], ...] = ((0,), (1,))  # the shares that show each
    slots: int = 1  # REFRESHES_PER_GATEWAY
    takes: int = 1  # refreshes in progress that the gateway takes
    lengths: tuple[int, ...] = (UNIT, 3 * UNIT)  # of refreshes; each may be any of these
    told: bool = True  # events tell of completions
    processes: int = 2  # at a time
    deaths: int = 0
    lost: int = 0  # completions
    foreign: int = 0  # refreshes by somebody else, of the first share
    twice: int = 0  # messages delivered twice at once, completions told twice
    slow: int = 0  # the clock goes on although somebody is at work, or could be
    refused: int = 0  # by a share for a reason of its own
    unanswered: int = 0  # RefreshCache calls that have effect
    voids: bool = False  # the older page's rule holds
    overtaken: int | None = None  # how often a share may be, if it is not what the module turns promises
    wakes: int = 0  # that are queued; 0: they are not counted
    intervals: tuple[int, ...] = ()  # of the shares, if they are not all INTERVAL, the least

    def may_be_late(self) -> bool:
        """Whether something may go wrong that delays a refresh."""
        return bool(self.deaths or self.slow or self.twice)


class Message(NamedTuple):
    name: str  # its id
    kind: str  # change, wake, completion
    share: int = -1
    refresh: str = ""
    began: int = 0
    number: int = -1  # of the change
    token: str = ""


class Refresh(NamedTuple):
    """One that runs at the gateway."""

    share: int
    name: str
    began: int
    end: int
    ours: bool


class Process(NamedTuple):
    """A handler of a message, and where it is."""

    message: Message
    at: str
    deadline: int
    copy: int = 0
    share: int = -1  # that it has claimed
    asks: frozenset[int] = frozenset()  # changes
    direct: bool = False
    happened: int = -1  # of the events that the explorer knows
    prepared: bool = False  # what must be in a window before the document is written, is there
    wake: Wake | None = None
    put_back: int = -1  # share into whose window it has put folders again


class Window(NamedTuple):
    open: frozenset[int] = frozenset()  # changes that wait
    closed: frozenset[int] = frozenset()  # that the share is being asked for


class Truth(NamedTuple):
    """What nobody of those at work knows, for the checks."""

    accepted_at: int = 0  # the last RefreshCache call that the share accepted
    shows: frozenset[int] = frozenset()  # changes
    asked_for: frozenset[int] = frozenset()  # by the last refresh that the document knows
    foreign_at: int = 0
    waits_since: int = 0
    overtaken: int = 0


class Left(NamedTuple):
    deaths: int
    lost: int
    foreign: int
    twice: int
    slow: int
    refused: int
    unanswered: int


class State(NamedTuple):
    document: int  # of those that the explorer knows
    windows: tuple[Window, ...]
    queue: frozenset[tuple[int, Message]]  # when each may be delivered
    processes: frozenset[Process]
    refreshes: frozenset[Refresh]
    changed: int  # how many changes have come
    left: Left
    truth: tuple[Truth, ...]
    probed_at: int = 0
    refuses_until: int = 0  # the gateway is known to be full until then
    could_since: int = NOW  # that a share might have been asked, and none was
    wakes: int = 0


@dataclass(frozen=True, slots=True)
class Order:
    """In which order the handlers do things; the code's, if nothing is said."""

    directly_again: bool = False  # what a bucket's request hands over again may be asked for without a window
    window_first: bool = True  # then the shares are put into the line
    wake_first: bool = True  # it is queued, and then the document that names it is written
    wake_writes: bool = True  # a wake that changes nothing writes the document all the same
    removes_late: bool = True  # what is asked for stays in the window until the share has accepted


class Explorer:
    def __init__(self, case: Case, order: Order | None = None) -> None:
        self.case = case
        self.order = order or Order()
        self._overtaken = case.slots + 1 if case.overtaken is None else case.overtaken
        self.keys = [Key.read(f"my-bucket/share-{number + 1}") for number in range(case.shares)]
        self._intervals = case.intervals or (INTERVAL,) * case.shares
        self._longest = max(self._intervals)
        exceptions = {
            key.share_id: own for key, own in zip(self.keys, self._intervals, strict=True) if own != self._longest
        }
        self.rules = Rules(case.slots, self._longest, exceptions)
        self.share_of = {key: number for number, key in enumerate(self.keys)}
        self._documents: list[Gateway] = []
        self._shares: list[tuple[Share | None, ...]] = []  # in each document
        self._numbers: dict[Any, int] = {}  # of documents
        self._events: list[GatewayEvent] = []
        self._event_numbers: dict[GatewayEvent, int] = {}
        self._steps: dict[Any, tuple[int, Todo]] = {}
        self._older: dict[tuple[int, int], int] = {}
        self.states: dict[State, int] = {}
        self._came: list[tuple[int, str]] = []  # from which state, and how
        self._after: list[list[int]] = []

    # The search

    def run(self) -> int:
        """The number of states. Raises BrokenError."""
        case = self.case
        left = Left(case.deaths, case.lost, case.foreign, case.twice, case.slow, case.refused, case.unanswered)
        empty = (Window(),) * case.shares, frozenset[Any](), (Truth(),) * case.shares
        start = State(self._number(Gateway()), empty[0], empty[1], empty[1], empty[1], 0, left, empty[2])
        self._add(start, -1, "start")
        todo, good = deque([start]), []
        while todo:
            state = todo.popleft()
            number = self.states[state]
            self._here = number
            if not state.queue and not state.processes and not state.refreshes:
                self._check_rest(state)
                good.append(number)
            self._check_marks(state)
            afters = self._after[number]
            for how, after in self._moves(state):
                known = self.states.get(after)
                if known is None:
                    known = self._add(after, number, how)
                    todo.append(after)
                afters.append(known)
        self._check_that_rest_is_near(good)
        return len(self.states)

    def _add(self, state: State, before: int, how: str) -> int:
        """Its number."""
        self.states[state] = number = len(self._came)
        self._came.append((before, how))
        self._after.append([])
        return number

    def _check_that_rest_is_near(self, good: list[int]) -> None:
        before: list[list[int]] = [[] for _ in self._came]
        for number, afters in enumerate(self._after):
            for after in afters:
                before[after].append(number)
        near = set(good)
        while good:
            for number in before[good.pop()]:
                if number not in near:
                    near.add(number)
                    good.append(number)
        if far := [number for number in range(len(self._came)) if number not in near]:
            self._here = far[0]
            self._broken(COVERAGE, "from here on, something waits for ever")

    def _broken(self, promise: str, what: str, how: str = "") -> None:
        steps, number = [how] if how else [], self._here
        while number >= 0:
            number, step = self._came[number]
            steps.append(step)
        state = next(state for state, number in self.states.items() if number == self._here)
        document = self._documents[state.document]
        shown = "\n".join([*reversed(steps), str(state._replace(document=-1)), str(document)])
        raise BrokenError(promise, f"{what}\n{self.case}\n{shown}")

    # Documents

    def _number(self, document: Any) -> int:
        shares = tuple(sorted((str(key), share) for key, share in document.shares.items()))
        others = tuple(sorted(document.by_others.items()))
        bare = (shares, document.wake, document.refused_at, document.probed_at, others)
        if bare not in self._numbers:
            self._numbers[bare] = len(self._documents)
            self._documents.append(Gateway.from_json(document.to_json()))
            self._shares.append(tuple(self._documents[-1].shares.get(key) for key in self.keys))
            assert self._documents[-1] == document
        return self._numbers[bare]

    def _event(self, event: GatewayEvent) -> int:
        """Its number: states are compared all the time."""
        if event not in self._event_numbers:
            self._event_numbers[event] = len(self._events)
            self._events.append(event)
        return self._event_numbers[event]

    def _step(
        self, state: State, process: Process, event: int, *, claims: bool = True, wakes: bool = True
    ) -> tuple[int, Todo]:
        """The number of the document after an event, and what to do."""
        # Which lapsed deadline a claim has makes no difference.
        visit = process.deadline, claims and process.deadline - TURN_TAKES >= NOW, wakes
        token = process.wake.token if process.wake else self._token(state)
        question = state.document, event, visit, token
        if question not in self._steps:
            document, happened = self._documents[state.document], self._events[event]
            after, todo = step(document, happened, visit=Visit(*visit), now=NOW, rules=self.rules, token=token)
            self._steps[question] = self._number(after), todo
        return self._steps[question]

    def _aged(self, number: int, by: int) -> int:
        """The document, when time has gone on; what makes no difference any more is left out."""
        if (number, by) not in self._older:
            self._older[number, by] = self._number(self._grown_older(self._documents[number], by))
        return self._older[number, by]

    def _grown_older(self, document: Any, by: int) -> Any:
        shares = document.shares.values()
        ranks = _ranks([*(share.since for share in shares), *(share.claim.since for share in shares if share.claim)])
        wake = document.wake
        return replace(
            document,
            shares={key: _older_share(share, by, ranks, self._longest) for key, share in document.shares.items()},
            wake=replace(wake, at=max(wake.at - by, NOW - OLD - UNIT)) if wake else None,
            refused_at=_older(document.refused_at, by, INTERVAL),
            probed_at=_older(document.probed_at, by, INTERVAL),
            by_others={name: max(began - by, NOW - OLD) for name, began in document.by_others.items()},
        )

    # Moves

    def _moves(self, state: State) -> Iterator[tuple[str, State]]:
        case = self.case
        if state.changed < len(case.changes) and len(state.processes) < case.processes:
            message = Message(f"change-{state.changed}", "change", number=state.changed)
            queue = state.queue | {(NOW, message)}
            yield (
                f"change {state.changed}",
                self._begun(state._replace(changed=state.changed + 1, queue=queue), NOW, message, first=True),
            )
        yield from self._elsewhere(state)
        if len(state.processes) < case.processes:
            may_come_twice = state.left.twice and not any(process.copy for process in state.processes)
            for due, message in state.queue:
                if due <= NOW:
                    yield f"{message.name} is delivered", self._begun(state, due, message)
                elif may_come_twice and any(process.message == message for process in state.processes):
                    again = state._replace(left=state.left._replace(twice=state.left.twice - 1))
                    yield f"{message.name} is delivered again", self._begun(again, due, message, copy=1)
        for process in state.processes:
            for what, after in self._handled(state, process):
                yield f"{process.message.name}{'*' * process.copy}: {what}", after
            if state.left.deaths:
                rest = state.processes - {process}
                left = state.left._replace(deaths=state.left.deaths - 1)
                dead = state._replace(processes=rest, left=left)
                yield f"{process.message.name}{'*' * process.copy} dies before: {process.at}", dead
        yield from self._later(state)

    def _begun(self, state: State, due: int, message: Message, copy: int = 0, *, first: bool = False) -> State:
        """A handler begins; its message is in flight until it is deleted or the visibility timeout ends."""
        queue = (state.queue - {(due, message)}) | {(NOW + VISIBILITY_TIMEOUT, message)}
        at = "note"
        happened: GatewayEvent
        if message.kind == "change":
            # If it comes again, an earlier delivery may have put the folders into the share's window.
            is_alone = len(self.case.changes[message.number]) == 1
            at = "directly" if is_alone and (first or self.order.directly_again) else "add"
            happened = Enqueued(tuple(self.keys[share] for share in self.case.changes[message.number]))
            at = at if at == "directly" or self.order.window_first else "enqueue"
        elif message.kind == "wake":
            happened = Woken(message.token)
        else:
            happened = Completed(self.keys[message.share].share_id, message.refresh, message.began)
        process = Process(message, at, NOW + TIME_LEFT, copy, happened=self._event(happened))
        return state._replace(queue=queue, processes=state.processes | {process})

    def _elsewhere(self, state: State) -> Iterator[tuple[str, State]]:
        """What Storage Gateway does, and somebody else there."""
        case, left = self.case, state.left
        for refresh in state.refreshes:
            if refresh.end > NOW:
                continue
            ended = state._replace(refreshes=state.refreshes - {refresh})
            if not case.told:
                yield f"{refresh.name} ends", ended
                continue
            message = Message(f"end-of-{refresh.name}", "completion", refresh.share, refresh.name, refresh.began)
            told = ended._replace(queue=ended.queue | {(NOW, message)})
            yield f"{refresh.name} ends", told
            if left.lost and refresh.ours:
                yield f"{refresh.name} ends, nobody is told", ended._replace(left=left._replace(lost=left.lost - 1))
            if left.twice:
                second = (NOW, message._replace(name=f"{message.name}-again"))
                yield (
                    f"{refresh.name} ends, told twice",
                    told._replace(queue=told.queue | {second}, left=left._replace(twice=left.twice - 1)),
                )
        if left.foreign and len(state.refreshes) < case.takes:
            for length in case.lengths:
                began = Refresh(0, f"theirs-{left.foreign}", NOW, NOW + length, ours=False)
                truth = _with(state.truth, 0, foreign_at=NOW)
                yield (
                    f"somebody else refreshes share 0 for {length // 1000} s",
                    state._replace(
                        refreshes=state.refreshes | {began}, left=left._replace(foreign=left.foreign - 1), truth=truth
                    ),
                )

    def _later(self, state: State) -> Iterator[tuple[str, State]]:
        """Time goes on to when something is due next; while somebody is at work or could be, only if it may be slow."""
        left = state.left
        if state.processes and not left.slow:
            return
        times = [due for due, _ in state.queue] + [refresh.end for refresh in state.refreshes]
        if state.changed < len(self.case.changes):
            times += self._times_of_interest(self._shares[state.document])
        if state.processes or any(time <= NOW for time in times):
            if not left.slow:
                return
            left = left._replace(slow=left.slow - 1)
            times.append(NOW + UNIT)
        until = min((time for time in times if time > NOW), default=None)
        if until is None or any(process.deadline < until for process in state.processes):
            return
        yield f"+{(until - NOW) / 1000:g} s", self._at(state._replace(left=left), until - NOW)

    def _times_of_interest(self, shares: tuple[Share | None, ...]) -> list[int]:
        """When a change may find something else than before."""
        times = []
        for share, interval in zip(shares, self._intervals, strict=True):
            if share:
                times += [share.occupied_until(), share.ready_at(interval)]
        return [time for time in times if time > NOW]

    def _at(self, state: State, by: int) -> State:
        queue = frozenset((max(due - by, NOW - 1), _older_message(message, by)) for due, message in state.queue)
        ranks = _ranks(one.waits_since for one in state.truth)
        refreshes = frozenset(
            refresh._replace(began=max(refresh.began - by, NOW - OLD), end=max(refresh.end - by, NOW - 1))
            for refresh in state.refreshes
        )
        truth = tuple(
            one._replace(
                accepted_at=_older(one.accepted_at, by, self._longest),
                foreign_at=_older(one.foreign_at, by, VOID),
                waits_since=ranks[one.waits_since],
            )
            for one in state.truth
        )
        return state._replace(
            document=self._aged(state.document, by),
            queue=queue,
            processes=frozenset(self._older_process(process, by) for process in state.processes),
            refreshes=refreshes,
            truth=truth,
            probed_at=_older(state.probed_at, by, INTERVAL),
            refuses_until=max(state.refuses_until - by, 0) if state.refuses_until > NOW else 0,
            could_since=self._could_since(state, by),
        )

    def _older_process(self, process: Process, by: int) -> Process:
        happened, wake = process.happened, process.wake
        if happened >= 0:
            event = self._events[happened]
            if isinstance(event, Asked):
                happened = self._event(replace(event, until=event.until - by))
            elif isinstance(event, Completed):
                happened = self._event(replace(event, began=event.began - by))
        if wake:
            wake = replace(wake, at=wake.at - by)
        return process._replace(
            message=_older_message(process.message, by), deadline=process.deadline - by, happened=happened, wake=wake
        )

    def _could_since(self, state: State, by: int) -> int:
        """Since when nobody was asked although somebody could be, when time has gone on."""
        may_be_asked = (self._may_be_asked(state, share) for share in range(self.case.shares))
        if self.case.may_be_late() or not any(may_be_asked):
            return NOW
        if state.could_since - by < NOW - INTERVAL - 1000:
            self._broken(FRESHNESS, "for more than an interval nobody is asked, and somebody could be", f"+{by} ms")
        return state.could_since - by

    def _may_be_asked(self, state: State, share: int) -> bool:
        known = self._shares[state.document][share]
        return known is not None and known.since > 0 and known.ready_at(self._intervals[share]) <= NOW

    # What a handler does

    def _handled(self, state: State, process: Process) -> Iterator[tuple[str, State]]:
        match process.at:
            case "directly":
                yield from self._directly(state, process)
            case "add":
                yield "adds folders", self._added(state, process)
            case "note" | "enqueue" | "line":
                yield from self._notes(state, process)
            case "look":
                yield from self._looks(state, process)
            case "call":
                yield from self._calls(state, process)
            case "refused":  # what was asked for directly must be put into the share's window
                windows = _with(state.windows, process.share, open=state.windows[process.share].open | process.asks)
                yield "adds folders", _moved(state._replace(windows=windows), process, at="note")
            case "send":
                yield from self._sends(state, process)
            case "done":
                yield "is done", _done(state, process)

    def _directly(self, state: State, process: Process) -> Iterator[tuple[str, State]]:
        """The only share that a change is for is asked at once, if nobody waits at its gateway."""
        change = process.message.number
        (share,) = self.case.changes[change]
        happened = self._event(Enqueued((self.keys[share],)))
        document, todo = self._step(state, process, happened)
        if process.deadline - TURN_TAKES >= NOW and todo.direct:
            state = self._written(state, document, todo, happened)
            yield (
                "claims directly",
                _moved(state, process, at="call", share=share, asks=frozenset({change}), direct=True),
            )
        else:
            yield "does not ask directly", _moved(state, process, at="add")

    def _added(self, state: State, process: Process) -> State:
        """Folders are put into each share's window, then the shares into the line."""
        change = process.message.number
        for share in self.case.changes[change]:
            windows = _with(state.windows, share, open=state.windows[share].open | {change})
            state = state._replace(windows=windows)
        if not self.order.window_first:
            return _moved(state, process, at="note", happened=self._event(Visited()))
        return _moved(state, process, at="enqueue" if len(self.case.changes[change]) > 1 else "note")

    def _looks(self, state: State, process: Process) -> Iterator[tuple[str, State]]:
        """Reads and closes the window of the share that is claimed."""
        key, window = self.keys[process.share], state.windows[process.share]
        changes = window.open | window.closed
        if not changes:
            yield "finds nothing to ask for", _moved(state, process, at="note", happened=self._event(NothingToAsk(key)))
            return
        if process.deadline - CALL_TAKES < NOW:
            yield "has no time to ask", _moved(state, process, at="note", happened=self._event(Refused(key)))
            return
        closed = changes if self.order.removes_late else frozenset[int]()
        windows = _with(state.windows, process.share, open=frozenset(), closed=closed)
        yield "closes the window", _moved(state._replace(windows=windows), process, at="call", asks=changes)

    def _calls(self, state: State, process: Process) -> Iterator[tuple[str, State]]:
        """Calls RefreshCache."""
        share, left = process.share, state.left
        key, refused = self.keys[share], "refused" if process.direct else "note"
        self._check_restraint(state, share)
        if len(state.refreshes) >= self.case.takes:
            yield f"share {share} is busy", _moved(state, process, at=refused, happened=self._event(Busy(key)))
        else:
            for length in self.case.lengths:
                name = self._name(state, share)
                refresh = Refresh(share, name, NOW, NOW + length, ours=True)
                accepted = self._accepted(state, process, refresh)
                until = NOW + (MARK_TIMEOUT if self.case.told else INTERVAL)
                asked = Asked(key, name, until, 1, "w", "NFS")
                text = f"share {share} accepts {name} of {length // 1000} s"
                yield text, _moved(accepted, process, at="note", happened=self._event(asked))
                if left.unanswered:
                    perhaps = self._event(Refused(key, perhaps=True))
                    unknown = accepted._replace(left=left._replace(unanswered=left.unanswered - 1))
                    yield (
                        f"{text}, unanswered",
                        _moved(unknown, process, at=refused, happened=perhaps),
                    )
        if left.refused:
            offline = state._replace(left=left._replace(refused=left.refused - 1))
            yield f"share {share} refuses", _moved(offline, process, at=refused, happened=self._event(Refused(key)))

    def _accepted(self, state: State, process: Process, refresh: Refresh) -> State:
        """The truth after the share accepted a refresh."""
        share = process.share
        truth = list(state.truth)
        mine = truth[share].waits_since or NOW
        for number in range(self.case.shares):
            if self._may_be_asked(state, number) and truth[number].waits_since < mine:
                truth[number] = truth[number]._replace(overtaken=truth[number].overtaken + 1)
                if truth[number].overtaken > self._overtaken:
                    self._broken(TURNS, f"share {number} is overtaken too often", f"share {share} accepts")
        claimed = self._shares[state.document][share]
        assert claimed
        waits_since = NOW if claimed.since else 0
        is_void = self.case.voids and truth[share].foreign_at > NOW - VOID
        shows = truth[share].shows if is_void else truth[share].shows | process.asks
        truth[share] = truth[share]._replace(accepted_at=NOW, shows=shows, waits_since=waits_since, overtaken=0)
        return state._replace(truth=tuple(truth), refreshes=state.refreshes | {refresh})

    def _notes(self, state: State, process: Process) -> Iterator[tuple[str, State]]:
        """Writes the gateway's document, as it follows from what happened; first what must be in a window before."""
        happened, at = self._events[process.happened], process.at
        document, todo = self._step(state, process, process.happened, claims=at == "note", wakes=at != "enqueue")
        if not process.prepared and (prepared := self._prepared(state, process, todo)):
            yield "writes a window first", prepared
            return
        wake = todo.wake
        if wake and not process.wake and self.order.wake_first:
            yield from self._sends(state, process._replace(wake=wake), process)
            return
        state = self._written(state, document, todo, process.happened)
        old = process if process in state.processes else process._replace(prepared=False, wake=None)
        if isinstance(happened, Asked):
            truth = _with(state.truth, process.share, asked_for=process.asks)
            state = state._replace(truth=truth)
        process = old._replace(share=-1, asks=frozenset(), direct=False, prepared=False, happened=-1, wake=None)
        if todo.repeat or at == "line":
            process = process._replace(put_back=-1)
        what = f"notes {type(happened).__name__}"
        if at == "enqueue":
            later = "note" if self.order.window_first else "add"
            yield what, _became(state, old, process._replace(at=later, happened=self._event(Visited())))
        elif todo.take:
            share = self.share_of[todo.take]
            yield f"{what}, takes share {share}", _became(state, old, process._replace(at="look", share=share))
        elif wake and not self.order.wake_first:
            yield f"{what}, needs a wake", _became(state, old, process._replace(at="send", wake=wake))
        else:
            yield what, self._ended(state, old, process)

    def _prepared(self, state: State, process: Process, todo: Any) -> State | None:
        """With windows as they must be before the document may be written; None if they are."""
        happened, windows = self._events[process.happened], state.windows
        if isinstance(happened, Asked):
            again = process.asks if todo.repeat else frozenset()
            window = windows[process.share]
            closed = window.closed if process.direct else frozenset()
            windows = _with(windows, process.share, open=window.open | again, closed=closed)
        elif todo.repeat:
            share = self.share_of[todo.repeat]
            windows = _with(windows, share, open=windows[share].open | state.truth[share].asked_for)
        if windows == state.windows:
            return None
        put_back = self.share_of[todo.repeat] if isinstance(happened, Completed) else -1
        return _moved(state._replace(windows=windows), process, prepared=True, put_back=put_back)

    def _written(self, state: State, document: int, todo: Todo, number: int) -> State:
        """The document is written; who has read it before must read it again."""
        happened = self._events[number]
        if document != state.document or (isinstance(happened, Woken) and self.order.wake_writes):
            reset: dict[str, Any] = {"prepared": False} | ({"wake": None} if self.order.wake_first else {})
            state = state._replace(
                document=document,
                processes=frozenset(
                    process._replace(**reset) if process.prepared or process.wake else process
                    for process in state.processes
                ),
                truth=tuple(self._in_line(state.truth, document)),
                queue=self._without_stale_wakes(state, document),
            )
        if isinstance(happened, Asked | Completed):
            state = state._replace(refuses_until=0)
        elif isinstance(happened, Busy):
            state = state._replace(refuses_until=NOW + INTERVAL)
        if todo.take:
            state = self._check_take(state, todo.take)
        return state

    def _without_stale_wakes(self, state: State, document: int) -> frozenset[tuple[int, Message]]:
        """The queue with one wake at most that no document names, the earliest: more of them can only help."""
        wake, at_work = self._documents[document].wake, [process.message for process in state.processes]
        named = wake.token if wake else None
        stale = [one for one in state.queue if one[1].kind == "wake" and one[1].token != named]
        stale = [one for one in stale if one[1] not in at_work]
        if not stale:
            return state.queue
        return state.queue.difference(stale) | {(min(stale)[0], Message("stale-wake", "wake"))}

    def _in_line(self, truth: tuple[Truth, ...], document: int) -> Iterator[Truth]:
        """Since when each share waits, whatever the document says of that."""
        for share, one in zip(self._shares[document], truth, strict=True):
            since = 0
            if share and (share.since or share.claim):
                since = one.waits_since or (NOW if share.since else 0)
            yield one if one.waits_since == since else one._replace(waits_since=since)

    def _sends(self, state: State, process: Process, old: Process | None = None) -> Iterator[tuple[str, State]]:
        """Queues the wake that it is going to write down; or, in another order, that it has."""
        assert process.wake
        names = {message.name for _, message in state.queue}
        name = f"wake-{process.wake.token}"
        while name in names:
            name += "+"
        due = max(process.wake.at, NOW + 1000)
        message = Message(name, "wake", token=process.wake.token)
        if self.case.wakes and state.wakes == self.case.wakes:
            self._broken(RESTRAINT, "too many wakes are queued", f"{process.message.name}: queues a wake")
        wakes = state.wakes + 1 if self.case.wakes else 0
        state = state._replace(queue=state.queue | {(due, message)}, wakes=wakes)
        what = f"queues {name} for +{(due - NOW) / 1000:g} s"
        yield what, _became(state, old, process) if old else self._ended(state, process, process)

    def _ended(self, state: State, old: Process, process: Process) -> State:
        """Nothing but the message is left; if nobody can die any more, that is deleted at once."""
        if process.put_back >= 0:  # somebody has asked the share before its turn was written
            happened = self._event(Enqueued((self.keys[process.put_back],)))
            return _became(state, old, process._replace(at="line", happened=happened, wake=None))
        if state.left.deaths:
            return _became(state, old, process._replace(at="done", happened=-1, wake=None))
        return _done(state, old)

    def _token(self, state: State) -> str:
        """One that nobody knows."""
        wake = self._documents[state.document].wake
        known = [wake.token] if wake else []
        known += [message.token for _, message in state.queue]
        for process in state.processes:
            known += [process.message.token, process.wake.token if process.wake else ""]
        return next(token for number in range(99) if (token := f"w{number}") not in known)

    def _name(self, state: State, share: int) -> str:
        """Of a refresh that begins."""
        document = self._documents[state.document]
        known = {one.last.refresh for one in document.shares.values() if one.last}
        known |= {name for one in document.shares.values() for name, _ in (*one.early_completions, *one.previous)}
        known |= {refresh.name for refresh in state.refreshes}
        known |= {message.refresh for _, message in state.queue}
        events = [self._events[process.happened] for process in state.processes if process.happened >= 0]
        known |= {event.refresh for event in events if isinstance(event, Asked)}
        return next(name for number in range(99) if (name := f"r{share}{number}") not in known)

    # Checks

    def _check_rest(self, state: State) -> None:
        for share in range(self.case.shares):
            window, shows = state.windows[share], state.truth[share].shows
            # Of two deliveries at once, one may die and the other be done: what the first has left is the sweep's.
            is_left = self.case.twice and self.case.deaths
            if window.closed or (window.open - shows if is_left else window.open):
                self._broken(COVERAGE, f"share {share} waits for ever")
            for number, shares in enumerate(self.case.changes[: state.changed]):
                if share in shares and number not in shows:
                    self._broken(COVERAGE, f"share {share} does not show change {number}")

    def _check_marks(self, state: State) -> None:
        """A share whose completion was told is not taken to be busy any more."""
        told = self.case.told and not self.case.lost
        if not told or state.processes or any(message.kind == "completion" for _, message in state.queue):
            return
        running = {refresh.share for refresh in state.refreshes}
        for share, known in enumerate(self._shares[state.document]):
            if known and known.in_progress_until > NOW and share not in running:
                self._broken(FRESHNESS, f"share {share} is taken to be busy after its completion")

    def _check_restraint(self, state: State, share: int) -> None:
        if state.truth[share].accepted_at > NOW - self._intervals[share]:
            self._broken(RESTRAINT, f"share {share} is asked within the interval", f"share {share} is asked")
        known = self._shares[state.document][share]
        if known and known.in_progress_until > NOW:
            self._broken(RESTRAINT, f"share {share} is asked while it is busy", f"share {share} is asked")

    def _check_take(self, state: State, key: Key) -> State:
        """A gateway that is full, by what is known or by what it said, is asked once an interval."""
        document, state = self._documents[state.document], state._replace(could_since=NOW)
        if state.refuses_until > NOW:
            self._broken(RESTRAINT, "the gateway has just said that it is busy", f"share {key} is taken")
        busy = sum(other != key and share.occupied_until() > NOW for other, share in document.shares.items())
        if busy < self.case.slots:
            return state
        if state.probed_at > NOW - INTERVAL:
            self._broken(RESTRAINT, "a full gateway is asked twice within an interval", f"share {key} is taken")
        return state._replace(probed_at=NOW)


def _ranks(times: Iterable[int]) -> dict[int, int]:
    """Times of which only the order matters, each with its position in it; 0 stays 0."""
    return {0: 0} | {time: rank for rank, time in enumerate(sorted(set(times) - {0}), 1)}


def _older(time: int, by: int, matters: int) -> int:
    """A time, when time has gone on; 0 if it is so long ago that it does not matter."""
    return time - by if time and time - by > NOW - matters else 0


def _older_share(share: Any, by: int, ranks: dict[int, int], interval: int) -> Any:
    claim, last = share.claim, share.last
    if claim:
        claim = replace(claim, until=max(claim.until - by, NOW - OLD), since=ranks[claim.since])
    if last:
        last = replace(last, at=max(last.at - by, NOW - OLD))
    until = share.in_progress_until
    return replace(
        share,
        since=ranks[share.since],
        not_before=_older(share.not_before, by, 0),
        asked_at=_older(share.asked_at, by, interval),
        claim=claim,
        last=last,
        in_progress_until=max(until - by, NOW - 1) if until else 0,
        early_completions=tuple((name, max(began - by, NOW - OLD)) for name, began in share.early_completions),
    )


def _older_message(message: Message, by: int) -> Message:
    return message._replace(began=max(message.began - by, NOW - OLD)) if message.began else message


def _with(values: tuple[Any, ...], number: int, **changed: Any) -> Any:
    return (*values[:number], values[number]._replace(**changed), *values[number + 1 :])


def _became(state: State, old: Process, process: Process) -> State:
    return state._replace(processes=(state.processes - {old}) | {process})


def _moved(state: State, process: Process, **changed: Any) -> State:
    return _became(state, process, process._replace(**changed))


def _failed(state: State, process: Process) -> State:
    """Its message comes again, unless another delivery has deleted it."""
    queue = frozenset(
        (NOW + RETRY, message) if message == process.message else (due, message) for due, message in state.queue
    )
    return state._replace(queue=queue, processes=state.processes - {process})


def _done(state: State, process: Process) -> State:
    queue = frozenset(one for one in state.queue if one[1] != process.message)
    return state._replace(queue=queue, processes=state.processes - {process})
