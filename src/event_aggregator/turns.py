"""Taking turns at a gateway: which of its file shares is asked for a refresh next, and when.

The guarantee: every share that waits is asked, the one first that has waited longest; none that may be asked is
overtaken by more than REFRESHES_PER_GATEWAY + 1 that began to wait later. No share is asked again within the interval
of a call that was accepted, or whose outcome is unknown, nor while its refresh is known to be in progress.

AWS documents "two refreshes at a time" twice: for a gateway (API reference, RefreshCache) and for a file share
(knowledge centre). So slots only keep the order, and the gateway's answer decides: where it says that it is busy, the
share keeps its turn; where it may take more than is known, it is asked once an interval (a probe).

All of it is one pure function, `step`: (the gateway, what happened, who sees it and when) to (the gateway, what to do).
The module gateways keeps the gateway's document in the table.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from event_aggregator.settings import Settings
from event_aggregator.table import Key

# What somebody who runs a message may still do after Lambda must have ended it.
CLAIM_MARGIN_MS = 10_000

# A share that refuses for a reason of its own is asked again after this, doubled with each refusal up to the longest.
_FIRST_BACKOFF_MS = 5_000
_LONGEST_BACKOFF_MS = 900_000

# A wake that is late by more than this is taken to be lost.
_LOST_WAKE_MS = 600_000

# By an older reference page a refresh has no effect if it was requested so soon after another of the same share.
VOID_MS = 60_000
_CLOCK_MARGIN_MS = 1_000

# How long it is remembered that somebody else refreshed a share.
_OTHERS_MS = 86_400_000

# A gateway has at most so many file shares (S3 File Gateway user guide, fgw-quotas).
_MAX_SHARES = 50

_MAX_EARLY = 10
# So many refreshes of a share before its last one are known, should an event about them come late.
_MAX_EARLIER = 3


def backoff(refusals: int) -> int:
    """Milliseconds until what was refused for the `refusals`th time, from 1, is tried again."""
    return min(_FIRST_BACKOFF_MS << min(refusals - 1, 16), _LONGEST_BACKOFF_MS)


# The document. Times are epoch milliseconds; 0 and None stand for what is not there.


@dataclass(frozen=True, slots=True)
class Claim:
    """Somebody is about to ask the share; after `until` it is dead."""

    until: int
    since: int  # since when the share had waited


@dataclass(frozen=True, slots=True)
class Accepted:
    """A refresh that the share accepted; it shows the changes since `first_change` of the bucket's window."""

    refresh: str  # its notification id
    at: int
    first_change: int
    window: str
    kind: str  # of the share, NFS or SMB
    is_repeat: bool = False  # it repeats one that somebody else's refresh may have made void
    prefix: str = ""  # of the share
    recursive: bool = False
    left: bool = False  # not all folders of these changes: the share has others left to ask for


@dataclass(frozen=True, slots=True)
class Share:
    """A file share in its gateway's document."""

    since: int = 0  # it waits, in this order
    not_before: int = 0
    refusals: int = 0  # in a row, for a reason of its own
    asked_at: int = 0  # the last call that was accepted, or may have been
    claim: Claim | None = None
    last: Accepted | None = None
    in_progress_until: int = 0  # `last` is not known to be complete; it lapses then
    early_completions: tuple[tuple[str, int], ...] = ()  # during its claim: refresh id, began at
    repeats: bool = False  # its next refresh repeats one
    previous: tuple[tuple[str, int], ...] = ()  # the refreshes before `last`: notification id, and when it was accepted

    def busy_until(self) -> int:
        return self.claim.until if self.claim else self.in_progress_until

    def ready_at(self, interval: int) -> int:
        """When a share that waits may be asked, as far as it is known now."""
        passed = self.asked_at + interval if self.asked_at else 0
        return max(passed, self.not_before, self.busy_until())


@dataclass(frozen=True, slots=True)
class Wake:
    """The queued message that ends the next wait."""

    token: str
    at: int


@dataclass(frozen=True, slots=True)
class Gateway:
    """All that is known of a gateway."""

    shares: Mapping[Key, Share] = field(default_factory=dict)
    wake: Wake | None = None
    refused_at: int = 0  # it said that it is busy, and nothing has ended there since
    probed_at: int = 0
    others: Mapping[str, int] = field(default_factory=dict)  # share id: when somebody else's refresh began last

    def waiting(self) -> list[Key]:
        """The shares that wait, in the order in which they began to."""
        waiting = ((share.since, str(key), key) for key, share in self.shares.items() if share.since)
        return [key for _, _, key in sorted(waiting)]

    def busy(self) -> int:
        """How many slots are taken, by all that is known."""
        return sum(bool(share.busy_until()) for share in self.shares.values())

    def with_share(self, key: Key, share: Share) -> "Gateway":
        return replace(self, shares={**self.shares, key: share})

    def to_json(self) -> str:
        content = _bare(self) | {"shares": {str(key): share for key, share in self.shares.items()}}
        return json.dumps(content, default=_bare, separators=(",", ":"), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "Gateway":
        content = json.loads(text)
        shares = {Key.read(key): _share(given) for key, given in content.pop("shares", {}).items()}
        wake = Wake(**given) if (given := content.pop("wake", None)) else None
        return cls(shares=shares, wake=wake, **content)


def _share(given: dict[str, Any]) -> Share:
    claim = Claim(**found) if (found := given.pop("claim", None)) else None
    last = Accepted(**found) if (found := given.pop("last", None)) else None
    early = tuple((refresh, began) for refresh, began in given.pop("early_completions", ()))
    earlier = tuple((refresh, at) for refresh, at in given.pop("previous", ()))
    return Share(claim=claim, last=last, early_completions=early, previous=earlier, **given)


def _bare(given: Gateway | Share | Claim | Accepted | Wake) -> dict[str, Any]:
    """Its fields, without what is not there."""
    return {name: value for name in given.__slots__ if (value := getattr(given, name))}


# What happens to it


@dataclass(frozen=True, slots=True)
class Enqueued:
    """Folders were put into the windows of these shares. Those that cannot be asked now have a back-off."""

    keys: tuple[Key, ...]
    unavailable: frozenset[Key] = frozenset()


@dataclass(frozen=True, slots=True)
class Asked:
    """The share accepted a refresh. `until`: its completion, at the latest; `left`: it has folders left to ask for."""

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
    """The gateway refused, since it has as many refreshes in progress as it takes, or in words that nobody knows."""

    key: Key


@dataclass(frozen=True, slots=True)
class Refused:
    """The share was not refreshed for a reason of its own. `perhaps`: it may be refreshed all the same."""

    key: Key
    perhaps: bool = False


@dataclass(frozen=True, slots=True)
class NothingToAsk:
    """Nothing waited for the share; or it is gone, and with it all that did."""

    key: Key
    gone: bool = False


@dataclass(frozen=True, slots=True)
class Completed:
    """Storage Gateway says that a refresh is complete, ours or somebody else's."""

    share_id: str
    refresh: str
    began: int


@dataclass(frozen=True, slots=True)
class Woken:
    """The wake with this token has come."""

    token: str


@dataclass(frozen=True, slots=True)
class Visited:
    """Nothing new: somebody comes by."""


GatewayEvent = Enqueued | Asked | Busy | Refused | NothingToAsk | Completed | Woken | Visited


@dataclass(frozen=True, slots=True)
class Visit:
    """Who sees what happened: a process that Lambda ends at `until`.

    It `takes` a turn if there is one, and when it `leaves` while a share waits, it queues a wake.
    """

    until: int
    takes: bool = True
    leaves: bool = True


@dataclass(frozen=True, slots=True)
class Rules:
    slots: int  # REFRESHES_PER_GATEWAY
    interval: int  # MIN_REFRESH_INTERVAL_SECONDS, in milliseconds
    exceptions: Mapping[str, int] = field(default_factory=dict)  # share id: its own interval

    @classmethod
    def of(cls, settings: Settings) -> "Rules":
        seconds = settings.min_refresh_interval_seconds
        exceptions = {name: own * 1000 for name, own in seconds.exceptions.items()}
        return cls(settings.refreshes_per_gateway, seconds.default * 1000, exceptions)

    def interval_of(self, key: Key) -> int:
        return self.exceptions.get(key.share_id, self.interval)

    @property
    def least_interval(self) -> int:
        """How often a full gateway is asked: no share waits longer because another may be asked less often."""
        return min(self.interval, *self.exceptions.values()) if self.exceptions else self.interval


@dataclass(frozen=True, slots=True)
class Todo:
    """What to do: `again` and `wake` before the gateway's document is written, the rest once it is."""

    take: Key | None = None  # ask this share, which is claimed
    is_idle: bool = False  # no other refresh is known to be in progress at the gateway
    direct: bool = False  # nobody waited: the share that was enqueued needs no window of its own
    wake: Wake | None = None  # queue this one first
    completed: tuple[Key, Accepted] | None = None  # a share's refresh that is known, since now, to be complete
    repeat: Key | None = None  # this share's last refresh is to be repeated: its folders must be in its window first


def step(  # noqa: PLR0913 - one call for all rules
    gateway: Gateway, event: GatewayEvent, *, visit: Visit, now: int, rules: Rules, token: str
) -> tuple[Gateway, Todo]:
    """The gateway after what happened, and what to do. `token`: a new one, should a wake be needed."""
    gateway = _lapsed(gateway, now)
    nobody_waited = not gateway.waiting()
    gateway, todo = _after(gateway, event, now)
    woken = isinstance(event, Woken) and gateway.wake is not None and gateway.wake.token == event.token
    if woken:
        gateway = replace(gateway, wake=None)
    take, probe = _next(gateway, now, rules, woken=woken) if visit.takes else (None, False)
    if take:
        share = gateway.shares[take]
        claim = Claim(visit.until + CLAIM_MARGIN_MS, share.since)
        gateway = gateway.with_share(take, replace(share, since=0, claim=claim))
        gateway = replace(gateway, probed_at=now) if probe else gateway
        is_idle = not any(share.in_progress_until for share in gateway.shares.values())
        # Not if somebody else refreshes it too: its folders must be kept, should its refresh have to be repeated.
        direct = isinstance(event, Enqueued) and nobody_waited and take.share_id not in gateway.others
        return gateway, replace(todo, take=take, is_idle=is_idle, direct=direct)
    if visit.leaves and (wake := _new_wake(gateway, token, now, rules)):
        gateway, todo = replace(gateway, wake=wake), replace(todo, wake=wake)
    return gateway, todo


def next_wake(gateway: Gateway, now: int, rules: Rules) -> int | None:
    """The earliest time at which a share that waits, or was claimed, may be asked, if nothing happens until then."""
    has_free_slot, times = _has_free_slot(gateway, now, rules), []
    for key in gateway.waiting():
        ready = gateway.shares[key].ready_at(rules.interval_of(key))
        if ready > now:
            times.append(ready)
        elif has_free_slot:
            times.append(now)
        elif gateway.busy() < rules.slots:
            times.append(gateway.refused_at + rules.least_interval)
        else:
            times += [now + rules.least_interval, *(end for s in gateway.shares.values() if (end := s.busy_until()))]
    # Whoever has claimed a share may be dead, and the message have nothing to do when it comes again.
    times += [share.claim.until + 1 for share in gateway.shares.values() if share.claim]
    return min(times, default=None)


def _lapsed(gateway: Gateway, now: int) -> Gateway:
    """Without what has ended by itself. A share whose claimer is dead counts as asked, and has its turn back."""
    shares = {key: _share_now(share, now) for key, share in gateway.shares.items()}
    others = {name: began for name, began in gateway.others.items() if began > now - _OTHERS_MS}
    return replace(gateway, shares=_remembered(shares), others=others)


def _share_now(share: Share, now: int) -> Share:
    if share.claim and share.claim.until <= now:
        asked_at = max(share.asked_at, share.claim.until - CLAIM_MARGIN_MS)  # at the latest
        share = replace(_back(share), asked_at=asked_at)
    if share.in_progress_until and share.in_progress_until <= now:
        share = replace(share, in_progress_until=0)
    return share


def _remembered(shares: dict[Key, Share]) -> dict[Key, Share]:
    """Without those that are idle and were asked longest ago, if there are more than a gateway can have."""
    idle = [key for key, share in shares.items() if not share.since and not share.busy_until()]
    for key in sorted(idle, key=lambda k: shares[k].asked_at)[: max(0, len(shares) - _MAX_SHARES)]:
        del shares[key]
    return shares


def _back(share: Share) -> Share:
    """Its claim is gone, and it waits again as if it had never been taken."""
    assert share.claim
    since = min(share.since or share.claim.since, share.claim.since)
    return replace(share, claim=None, since=since)


def _after(gateway: Gateway, event: GatewayEvent, now: int) -> tuple[Gateway, Todo]:
    """The gateway after what happened, and what that alone makes necessary, before anybody takes a turn."""
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
    """After a share that was claimed was asked."""
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
    """The share after it accepted a refresh, which is to be repeated if somebody else's may make it void."""
    complete = any(refresh == asked.refresh for refresh, _ in share.early_completions)
    others = [began for refresh, began in share.early_completions if refresh != asked.refresh]
    began = max([*others, gateway.others.get(asked.key.share_id, 0)])
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
    # When a repeat was accepted does not matter: it is not repeated.
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
        previous=(*share.previous, *before)[-_MAX_EARLIER:],
    )
    return _repeated(share, last, now) if _may_be_void(last, began) else share


def _may_be_void(last: Accepted, began: int) -> bool:
    """Whether somebody else's refresh that began at `began` may have left this one without effect."""
    return not last.is_repeat and _is_soon_after(began, last.at)


def previous_may_be_void(share: Share, began: int) -> bool:
    """The same of those before its last: a long one of somebody else's is told of when we have asked it again."""
    return any(_is_soon_after(began, at) for _, at in share.previous)


def _is_soon_after(began: int, at: int) -> bool:
    return began - _CLOCK_MARGIN_MS <= at < began + VOID_MS + _CLOCK_MARGIN_MS


def _repeated(share: Share, last: Accepted, now: int) -> Share:
    """It waits again, until neither somebody else's refresh nor the void one can leave the next without effect."""
    not_before = max(share.not_before, last.at + VOID_MS + _CLOCK_MARGIN_MS)
    return replace(share, repeats=True, since=share.since or now, not_before=not_before)


def _completed(gateway: Gateway, event: Completed, now: int) -> tuple[Gateway, Todo]:
    """A slot is free. The mark of our refresh is cleared; somebody else's is noted, for it may have made ours void."""
    gateway = replace(gateway, refused_at=0)
    keys = [key for key in gateway.shares if key.share_id == event.share_id]
    for key in keys:
        share = gateway.shares[key]
        if share.last and share.last.refresh == event.refresh:
            completed = (key, share.last) if share.in_progress_until else None
            return gateway.with_share(key, replace(share, in_progress_until=0)), Todo(completed=completed)
        if any(refresh == event.refresh for refresh, _ in share.previous):
            return gateway, Todo()  # ours too, told of late or again
    is_known, is_recent = bool(keys), event.began + VOID_MS + _CLOCK_MARGIN_MS > now
    if event.began and (is_known or is_recent) and all(gateway.shares[key].claim is None for key in keys):
        others = {**gateway.others, event.share_id: max(event.began, gateway.others.get(event.share_id, 0))}
        gateway = replace(gateway, others=others)
    todo = Todo()
    for key in keys:
        share = gateway.shares[key]
        if share.claim:  # ours perhaps, and not yet known to be accepted
            early = (*share.early_completions, (event.refresh, event.began))[-_MAX_EARLY:]
            gateway = gateway.with_share(key, replace(share, early_completions=early))
        elif (
            share.last
            and not share.repeats
            and (_may_be_void(share.last, event.began) or previous_may_be_void(share, event.began))
        ):
            gateway, todo = gateway.with_share(key, _repeated(share, share.last, now)), Todo(repeat=key)
    return gateway, todo


def _has_free_slot(gateway: Gateway, now: int, rules: Rules) -> bool:
    return gateway.busy() < rules.slots and now >= gateway.refused_at + rules.least_interval * bool(gateway.refused_at)


def _next(gateway: Gateway, now: int, rules: Rules, *, woken: bool) -> tuple[Key | None, bool]:
    """The share whose turn it is, if it may be asked now; whether that is a probe."""
    eligible = (key for key in gateway.waiting() if gateway.shares[key].ready_at(rules.interval_of(key)) <= now)
    if _has_free_slot(gateway, now, rules):
        return next(eligible, None), False
    probed_at = max(gateway.refused_at, gateway.probed_at)
    if woken and now >= probed_at + rules.least_interval:
        return next(eligible, None), True
    return None, False


def _new_wake(gateway: Gateway, token: str, now: int, rules: Rules) -> Wake | None:
    """A wake for the earliest time that one is needed, if none is queued for that time or an earlier one."""
    at, wake = next_wake(gateway, now, rules), gateway.wake
    if at is None or (wake and wake.at <= at and now < wake.at + _LOST_WAKE_MS):
        return None
    return Wake(token, at)
