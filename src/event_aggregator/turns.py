"""Taking turns at a gateway: which of its file shares is asked for a refresh next, and when.

Promise: every share that waits is asked, the one that has waited longest first. A share that may be asked is overtaken
by at most REFRESHES_PER_GATEWAY + 1 shares that began to wait later. No share is asked again within the interval after
a call that was accepted or whose outcome is unknown, nor while its refresh is known to be in progress.

AWS documents "two refreshes at a time" twice: for a gateway (API reference, RefreshCache) and for a file share
(knowledge center). So the number of slots is an assumption, and the gateway's answer decides. If the gateway is busy,
the share keeps its position in line. While the gateway seems full, one share is asked once an interval (a probe).

All rules are in one pure function: `step` takes the gateway, the event and the visit, and returns the new gateway and
what to do. The module gateways keeps the gateway's document in the table.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from event_aggregator.settings import Settings
from event_aggregator.table import Key

# A claim lapses this long after Lambda must have ended its invocation, whose last call may still be on its way.
CLAIM_MARGIN_MS = 10_000

# The backoff of a share that refuses for a reason of its own. It doubles with each refusal.
_FIRST_BACKOFF_MS = 5_000
_LONGEST_BACKOFF_MS = 900_000

# A wake that is this late counts as lost.
_LOST_WAKE_MS = 600_000

# By an older reference page, a refresh has no effect if it is requested this soon after another one of the share.
VOID_MS = 60_000
_CLOCK_MARGIN_MS = 1_000

# How long a gateway's document remembers that somebody else refreshed a share.
_OTHERS_MS = 86_400_000

# The quota of file shares per gateway (S3 File Gateway user guide, fgw-quotas).
_MAX_SHARES = 50

# How many early completions a claim remembers, and how many refreshes before the last one a share remembers, because
# their completion events may come late.
_MAX_EARLY_COMPLETIONS = 10
_MAX_PREVIOUS = 3


def backoff(refusals: int) -> int:
    """Milliseconds until the next attempt after so many refusals in a row, at least one."""
    return min(_FIRST_BACKOFF_MS << min(refusals - 1, 16), _LONGEST_BACKOFF_MS)


# The gateway's document. Times are epoch milliseconds; 0 and None mean that there is none.


@dataclass(frozen=True, slots=True)
class Claim:
    """An invocation is asking the share. The claim lapses at `until`."""

    until: int
    since: int  # when the share had begun to wait


@dataclass(frozen=True, slots=True)
class Accepted:
    """A refresh that the share accepted at `at`, for changes since `first_change` of the bucket's `window`."""

    refresh: str  # its notification id
    at: int
    first_change: int
    window: str  # its id
    kind: str  # of the share, NFS or SMB
    is_repeat: bool = False  # it repeats one that may have had no effect, because of somebody else's refresh
    prefix: str = ""  # of the share
    recursive: bool = False
    left: bool = False  # folders of these changes are left for a further round


@dataclass(frozen=True, slots=True)
class Share:
    """A file share in its gateway's document."""

    since: int = 0  # when it began to wait; 0: it does not wait
    not_before: int = 0  # end of its backoff
    refusals: int = 0  # in a row, for a reason of its own
    asked_at: int = 0  # the last call that was accepted, or may have been
    claim: Claim | None = None
    last: Accepted | None = None
    in_progress_until: int = 0  # `last` is not known to be complete, and counts as in progress until then
    early_completions: tuple[tuple[str, int], ...] = ()  # during its claims: notification id, and when it began
    repeats: bool = False  # its next refresh repeats one
    previous: tuple[tuple[str, int], ...] = ()  # the refreshes before `last`: notification id, and when it was accepted

    def occupied_until(self) -> int:
        return self.claim.until if self.claim else self.in_progress_until

    def ready_at(self, interval: int) -> int:
        """When a waiting share may be asked, unless its refresh is complete earlier."""
        passed = self.asked_at + interval if self.asked_at else 0
        return max(passed, self.not_before, self.occupied_until())


@dataclass(frozen=True, slots=True)
class Wake:
    """The gateway's queued wake: the message with this token, due at `at`."""

    token: str
    at: int


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway's document."""

    shares: Mapping[Key, Share] = field(default_factory=dict)
    wake: Wake | None = None
    refused_at: int = 0  # it was busy then, and no refresh was accepted or completed there since
    probed_at: int = 0
    by_others: Mapping[str, int] = field(default_factory=dict)  # by share id, when somebody else's last refresh began

    def waiting(self) -> list[Key]:
        """The line: the waiting shares, in the order in which they began to wait."""
        waiting = ((share.since, str(key), key) for key, share in self.shares.items() if share.since)
        return [key for _, _, key in sorted(waiting)]

    def taken_slots(self) -> int:
        return sum(bool(share.occupied_until()) for share in self.shares.values())

    def with_share(self, key: Key, share: Share) -> "Gateway":
        return replace(self, shares={**self.shares, key: share})

    def to_json(self) -> str:
        content = _nonempty_fields(self) | {"shares": {str(key): share for key, share in self.shares.items()}}
        return json.dumps(content, default=_nonempty_fields, separators=(",", ":"), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "Gateway":
        content = json.loads(text)
        shares = {Key.read(key): _share(given) for key, given in content.pop("shares", {}).items()}
        wake = Wake(**_known_fields(Wake, given)) if (given := content.pop("wake", None)) else None
        return cls(shares=shares, wake=wake, **_known_fields(cls, content))


def _share(given: dict[str, Any]) -> Share:
    claim = Claim(**_known_fields(Claim, found)) if (found := given.pop("claim", None)) else None
    last = Accepted(**_known_fields(Accepted, found)) if (found := given.pop("last", None)) else None
    early = tuple((refresh, began) for refresh, began in given.pop("early_completions", ()))
    previous = tuple((refresh, at) for refresh, at in given.pop("previous", ()))
    return Share(claim=claim, last=last, early_completions=early, previous=previous, **_known_fields(Share, given))


def _known_fields(kind: type, given: dict[str, Any]) -> dict[str, Any]:
    """Without the fields of another release: both read the document during a rollout, and after a rollback."""
    return {name: value for name, value in given.items() if name in kind.__slots__}  # type: ignore[attr-defined]


def _nonempty_fields(given: Gateway | Share | Claim | Accepted | Wake) -> dict[str, Any]:
    """The fields that have a value."""
    return {name: value for name in given.__slots__ if (value := getattr(given, name))}


# The events at a gateway


@dataclass(frozen=True, slots=True)
class Enqueued:
    """Folders were added for these shares, which enter the line. The `unavailable` ones get a backoff."""

    keys: tuple[Key, ...]
    unavailable: frozenset[Key] = frozenset()


@dataclass(frozen=True, slots=True)
class Asked:
    """The share accepted a refresh, which counts as in progress until `until`. The rest: see Accepted."""

    key: Key
    refresh: str
    until: int
    first_change: int
    window: str
    kind: str
    prefix: str = ""
    recursive: bool = False
    left: bool = False


@dataclass(frozen=True, slots=True)
class Busy:
    """The gateway refused, because it is busy or with an unknown error."""

    key: Key


@dataclass(frozen=True, slots=True)
class Refused:
    """The share refused for a reason of its own, or was not asked. `perhaps`: the call may have had effect."""

    key: Key
    perhaps: bool = False


@dataclass(frozen=True, slots=True)
class NothingToAsk:
    """No folder waits for the share. `gone`: its folders were dropped; it may have been deleted."""

    key: Key
    gone: bool = False


@dataclass(frozen=True, slots=True)
class Completed:
    """A completion event came, of our refresh or somebody else's."""

    share_id: str
    refresh: str
    began: int


@dataclass(frozen=True, slots=True)
class Woken:
    """The wake with this token arrived."""

    token: str


@dataclass(frozen=True, slots=True)
class Visited:
    """Nothing happened: an invocation looks whether a share may be asked."""


GatewayEvent = Enqueued | Asked | Busy | Refused | NothingToAsk | Completed | Woken | Visited


@dataclass(frozen=True, slots=True)
class Visit:
    """The invocation that sees the event. Lambda ends it at `until`.

    If it `may_claim`, it claims a share that may be asked. If it claims none and `queues_wake`, it queues the wake that
    is needed.
    """

    until: int
    may_claim: bool = True
    queues_wake: bool = True


@dataclass(frozen=True, slots=True)
class Rules:
    slots: int  # REFRESHES_PER_GATEWAY
    interval: int  # MIN_REFRESH_INTERVAL_SECONDS, in milliseconds
    exceptions: Mapping[str, int] = field(default_factory=dict)  # by share id, its own interval

    @classmethod
    def of(cls, settings: Settings) -> "Rules":
        seconds = settings.min_refresh_interval_seconds
        exceptions = {name: own * 1000 for name, own in seconds.exceptions.items()}
        return cls(settings.refreshes_per_gateway, seconds.default * 1000, exceptions)

    def interval_of(self, key: Key) -> int:
        return self.exceptions.get(key.share_id, self.interval)

    @property
    def least_interval(self) -> int:
        """The pause between probes: no share waits longer because another one has a longer interval."""
        return min(self.interval, *self.exceptions.values()) if self.exceptions else self.interval


@dataclass(frozen=True, slots=True)
class Todo:
    """What to do: `wake`, `repeat` and the event of `completed` before the document is written, the rest after."""

    take: Key | None = None  # ask this share, which is claimed
    is_idle: bool = False  # no other refresh is known to be in progress at the gateway
    direct: bool = False  # no share waited: the folders of the enqueued one can stay in the bucket's window
    wake: Wake | None = None  # queue it
    completed: tuple[Key, Accepted] | None = None  # this refresh is now known to be complete
    repeat: Key | None = None  # this share's last refresh is to be repeated: add its folders to the share's item


def step(  # noqa: PLR0913 - one call for all rules
    gateway: Gateway, event: GatewayEvent, *, visit: Visit, now: int, rules: Rules, token: str
) -> tuple[Gateway, Todo]:
    """The gateway after the event, and what to do. `token`: a new one for the wake, if one is needed."""
    gateway = _without_lapsed(gateway, now)
    nobody_waited = not gateway.waiting()
    gateway, todo = _after(gateway, event, now)
    woken = isinstance(event, Woken) and gateway.wake is not None and gateway.wake.token == event.token
    if woken:
        gateway = replace(gateway, wake=None)
    take, probe = _next(gateway, now, rules, woken=woken) if visit.may_claim else (None, False)
    if take:
        share = gateway.shares[take]
        claim = Claim(visit.until + CLAIM_MARGIN_MS, share.since)
        gateway = gateway.with_share(take, replace(share, since=0, claim=claim))
        gateway = replace(gateway, probed_at=now) if probe else gateway
        is_idle = not any(share.in_progress_until for share in gateway.shares.values())
        # Not if somebody else refreshes the share too: its folders must be kept, because they may be asked for again.
        direct = isinstance(event, Enqueued) and nobody_waited and take.share_id not in gateway.by_others
        return gateway, replace(todo, take=take, is_idle=is_idle, direct=direct)
    if visit.queues_wake and (wake := _new_wake(gateway, token, now, rules)):
        gateway, todo = replace(gateway, wake=wake), replace(todo, wake=wake)
    return gateway, todo


def next_wake(gateway: Gateway, now: int, rules: Rules) -> int | None:
    """The earliest time at which a waiting or claimed share may be asked, if no event comes before that."""
    ready = [gateway.shares[key].ready_at(rules.interval_of(key)) for key in gateway.waiting()]
    times = [at for at in ready if at > now]
    if len(times) < len(ready):
        times += _next_slot(gateway, now, rules)
    # The invocation that claimed a share may have died, and its message may find nothing to do when it comes again.
    times += [share.claim.until + 1 for share in gateway.shares.values() if share.claim]
    return min(times, default=None)


def _next_slot(gateway: Gateway, now: int, rules: Rules) -> list[int]:
    """When a share that is ready may find a free slot."""
    if _has_free_slot(gateway, now, rules):
        return [now]
    if gateway.taken_slots() < rules.slots:
        return [gateway.refused_at + rules.least_interval]
    return [now + rules.least_interval, *(end for share in gateway.shares.values() if (end := share.occupied_until()))]


def _without_lapsed(gateway: Gateway, now: int) -> Gateway:
    """Remove what has lapsed. If a claim has lapsed, the share counts as asked, and waits in its old position."""
    shares = {key: _share_without_lapsed(share, now) for key, share in gateway.shares.items()}
    others = {name: began for name, began in gateway.by_others.items() if began > now - _OTHERS_MS}
    return replace(gateway, shares=_without_forgotten(shares), by_others=others)


def _share_without_lapsed(share: Share, now: int) -> Share:
    if share.claim and share.claim.until <= now:
        asked_at = max(share.asked_at, share.claim.until - CLAIM_MARGIN_MS)  # the latest possible time
        share = replace(_back(share), asked_at=asked_at)
    if share.in_progress_until and share.in_progress_until <= now:
        share = replace(share, in_progress_until=0)
    return share


def _without_forgotten(shares: dict[Key, Share]) -> dict[Key, Share]:
    """Forget the idle shares that were asked longest ago, if there are more shares than a gateway can have."""
    idle = [key for key, share in shares.items() if not share.since and not share.occupied_until()]
    for key in sorted(idle, key=lambda k: shares[k].asked_at)[: max(0, len(shares) - _MAX_SHARES)]:
        del shares[key]
    return shares


def _back(share: Share) -> Share:
    """Remove the claim: the share waits again in its old position."""
    assert share.claim
    since = min(share.since or share.claim.since, share.claim.since)
    return replace(share, claim=None, since=since)


def _after(gateway: Gateway, event: GatewayEvent, now: int) -> tuple[Gateway, Todo]:
    """The gateway after the event, and what the event alone requires, before a share takes its turn."""
    match event:
        case Enqueued(keys, unavailable):
            for key in keys:
                share = gateway.shares.get(key, Share())
                if key in unavailable and share.not_before <= now:
                    refusals = share.refusals + 1
                    share = replace(share, refusals=refusals, not_before=now + backoff(refusals))
                gateway = gateway.with_share(key, replace(share, since=share.since or now))
        case Completed():
            return _completed(gateway, event, now)
        case Woken() | Visited():
            pass
        case _ if (share := gateway.shares.get(event.key, Share())).claim:
            return _answered(gateway, share, event, now)
    return gateway, Todo()


def _answered(
    gateway: Gateway, share: Share, event: Asked | Busy | Refused | NothingToAsk, now: int
) -> tuple[Gateway, Todo]:
    """The gateway after a claimed share was asked, or was found to need no asking."""
    key, todo = event.key, Todo()
    match event:
        case Asked():
            share = _accepted(gateway, share, event, now)
            gateway = replace(gateway, refused_at=0)
            complete = (key, share.last) if share.last and not share.in_progress_until else None
            todo = Todo(repeat=key if share.repeats else None, completed=complete)
        case Busy():
            share, gateway = _back(share), replace(gateway, refused_at=now)
        case Refused(perhaps=perhaps):
            refusals = share.refusals + 1
            not_before, asked_at = now + backoff(refusals), now if perhaps else share.asked_at
            share = replace(_back(share), refusals=refusals, not_before=not_before, asked_at=asked_at)
        case NothingToAsk(gone=True):
            return replace(gateway, shares={k: s for k, s in gateway.shares.items() if k != key}), todo
        case NothingToAsk():
            share = replace(share, claim=None)
    return gateway.with_share(key, share), todo


def _accepted(gateway: Gateway, share: Share, asked: Asked, now: int) -> Share:
    """The share after it accepted a refresh. If that may have had no effect, the share waits to repeat it."""
    complete = any(refresh == asked.refresh for refresh, _ in share.early_completions)
    others = [began for refresh, began in share.early_completions if refresh != asked.refresh]
    began = max([*others, gateway.by_others.get(asked.key.share_id, 0)])
    last = Accepted(
        refresh=asked.refresh,
        at=now,
        first_change=asked.first_change,
        window=asked.window,
        kind=asked.kind,
        is_repeat=share.repeats,
        prefix=asked.prefix,
        recursive=asked.recursive,
        left=asked.left,
    )
    # 0 for a repetition, because a repetition is never repeated.
    before = ((share.last.refresh, 0 if share.last.is_repeat else share.last.at),) if share.last else ()
    share = replace(
        share,
        since=share.since or (now if asked.left else 0),
        claim=None,
        asked_at=now,
        last=last,
        in_progress_until=0 if complete else asked.until,
        refusals=0,
        not_before=0,
        early_completions=(),
        repeats=False,
        previous=(*share.previous, *before)[-_MAX_PREVIOUS:],
    )
    return _repeated(share, last, now) if _may_be_void(last, began) else share


def _may_be_void(last: Accepted, began: int) -> bool:
    """Whether `last` may have had no effect, because somebody else's refresh began at `began`."""
    return not last.is_repeat and _is_soon_after(began, last.at)


def previous_may_be_void(share: Share, began: int) -> bool:
    """The same for refreshes before the last one: somebody else's long refresh may be reported after our next one."""
    return any(_is_soon_after(began, at) for _, at in share.previous)


def _is_soon_after(began: int, at: int) -> bool:
    return began - _CLOCK_MARGIN_MS <= at < began + VOID_MS + _CLOCK_MARGIN_MS


def _repeated(share: Share, last: Accepted, now: int) -> Share:
    """The share waits again, until neither somebody else's refresh nor `last` can make the next one void."""
    not_before = max(share.not_before, last.at + VOID_MS + _CLOCK_MARGIN_MS)
    return replace(share, repeats=True, since=share.since or now, not_before=not_before)


def _completed(gateway: Gateway, event: Completed, now: int) -> tuple[Gateway, Todo]:
    """A slot is free. If the refresh was somebody else's, it is noted, because it may have made ours void."""
    gateway = replace(gateway, refused_at=0)
    keys = [key for key in gateway.shares if key.share_id == event.share_id]
    for key in keys:
        share = gateway.shares[key]
        if share.last and share.last.refresh == event.refresh:
            completed = (key, share.last) if share.in_progress_until else None
            return gateway.with_share(key, replace(share, in_progress_until=0)), Todo(completed=completed)
        if any(refresh == event.refresh for refresh, _ in share.previous):
            return gateway, Todo()  # ours too, reported late or again
    is_known, is_recent = bool(keys), event.began + VOID_MS + _CLOCK_MARGIN_MS > now
    if event.began and (is_known or is_recent) and all(gateway.shares[key].claim is None for key in keys):
        others = {**gateway.by_others, event.share_id: max(event.began, gateway.by_others.get(event.share_id, 0))}
        gateway = replace(gateway, by_others=others)
    todo = Todo()
    for key in keys:
        share = gateway.shares[key]
        if share.claim:  # perhaps our refresh, whose acceptance is not yet written
            early = (*share.early_completions, (event.refresh, event.began))[-_MAX_EARLY_COMPLETIONS:]
            gateway = gateway.with_share(key, replace(share, early_completions=early))
        elif (
            share.last
            and not share.repeats
            and (_may_be_void(share.last, event.began) or previous_may_be_void(share, event.began))
        ):
            gateway, todo = gateway.with_share(key, _repeated(share, share.last, now)), Todo(repeat=key)
    return gateway, todo


def _has_free_slot(gateway: Gateway, now: int, rules: Rules) -> bool:
    full_until = gateway.refused_at + rules.least_interval if gateway.refused_at else 0
    return gateway.taken_slots() < rules.slots and now >= full_until


def _next(gateway: Gateway, now: int, rules: Rules, *, woken: bool) -> tuple[Key | None, bool]:
    """The share that takes its turn now, if one may be asked, and whether that is a probe."""
    eligible = (key for key in gateway.waiting() if gateway.shares[key].ready_at(rules.interval_of(key)) <= now)
    if _has_free_slot(gateway, now, rules):
        return next(eligible, None), False
    probed_at = max(gateway.refused_at, gateway.probed_at)
    if woken and now >= probed_at + rules.least_interval:
        return next(eligible, None), True
    return None, False


def _new_wake(gateway: Gateway, token: str, now: int, rules: Rules) -> Wake | None:
    """A wake for the time at which one is needed, unless one is queued for that time or an earlier one."""
    at, wake = next_wake(gateway, now, rules), gateway.wake
    if at is None or (wake and wake.at <= at and now < wake.at + _LOST_WAKE_MS):
        return None
    return Wake(token, at)
