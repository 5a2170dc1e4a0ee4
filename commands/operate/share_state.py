"""How a file share stands: when it was refreshed last, what waits for it, and why it has not been asked for that yet.

It is derived from two items of the table: the share's own, which holds what waits, and its gateway's document, which
holds whose turn it is. While a share is asked, or refuses, what waits for it goes on waiting.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from commands.operate.words import clock, ordinal, plural
from event_aggregator.gateways import Gateways
from event_aggregator.table import Key, Kind, WindowItem
from event_aggregator.turns import Gateway, Rules, Share, Visit, Visited, step
from event_aggregator.waiting import ShareItem


class Cause(StrEnum):
    """Why a share that waits has not been asked yet."""

    BEING_ASKED = "it is being asked"
    IN_PROGRESS = "its last refresh is in progress"
    INTERVAL = "it was asked a moment ago"
    BACK_OFF = "it could not be refreshed"
    REPEATED = "its last refresh is repeated: somebody else had refreshed it less than a minute before"
    IN_LINE = "in its gateway's line"
    IN_NO_LINE = "it is about to be put into its gateway's line; if that was lost, the sweep does it within 15 minutes"


@dataclass(frozen=True)
class Waits:
    """What waits for a share; times are epoch milliseconds."""

    since: int  # the first change
    folders: list[str]
    cause: Cause
    why: str  # the cause, with what there is to know about it
    next: int | None = None  # it is asked then, or when its turn comes after that; None: nobody knows when
    reason: str | None = None  # why it was refused last


@dataclass(frozen=True)
class Standing:
    """A share as the table knows it; times are epoch milliseconds, None where it never happened, as far as is known."""

    last_accepted: int | None = None
    in_progress_since: int | None = None
    is_being_asked: bool = False
    waits: Waits | None = None


@dataclass(frozen=True)
class Line:
    """A gateway at which a refresh is in progress, or a share waits; times are epoch milliseconds."""

    gateway: str
    in_progress: int  # with those that are being asked
    takes: int  # REFRESHES_PER_GATEWAY
    waiting: int  # shares
    first: str | None  # the share that has been in the line longest
    since: int | None  # since when
    busy_at: int | None  # it said that it is busy, and no refresh there is known to be complete since


@dataclass(frozen=True)
class Snapshot:
    """All that the table holds, read at `at`."""

    at: int
    rules: Rules
    windows: Mapping[Key, WindowItem]  # of buckets, writers and regions
    waiting: Mapping[Key, ShareItem]
    gateways: Mapping[Key, Gateway]

    @classmethod
    def of(
        cls, items: Iterable[tuple[Key, Mapping[str, Any]]], gateways: Gateways, rules: Rules, at: int
    ) -> "Snapshot":
        windows, waiting, documents = {}, {}, {}
        for key, attributes in items:
            if key.kind is Kind.GATEWAY:
                documents[key] = as_of(gateways.remember(key, attributes), rules, at)
            elif key.kind is Kind.SHARE:
                waiting[key] = ShareItem.of(attributes)
            else:
                windows[key] = WindowItem.of(attributes)
        return cls(at, rules, windows, waiting, documents)

    def shares(self, bucket: str) -> set[Key]:
        """The bucket's shares of which the table knows; some may be gone."""
        known = {*self.waiting, *(key for gateway in self.gateways.values() for key in gateway.shares)}
        return {key for key in known if key.bucket == bucket}

    def turn(self, key: Key) -> Share:
        """What its gateway's document says of a share."""
        return self._at_gateway(key)[1].shares.get(key, Share())

    def standing(self, key: Key) -> Standing:
        item, share, waits = self.waiting.get(key, ShareItem()), self.turn(key), None
        if changes := item.changes:
            cause, why, next_ = self._cause(key, share)
            if item.reason:  # it goes with an acceptance
                why += f"{': ' if cause is Cause.BACK_OFF else '; last time: '}{item.reason.rstrip('.')}"
            waits = Waits(changes.since, sorted(changes.folders), cause, why, next_, item.reason)
        return Standing(
            last_accepted=share.last.at if share.last else None,
            in_progress_since=share.last.at if share.last and share.in_progress_until else None,
            is_being_asked=share.claim is not None,
            waits=waits,
        )

    def _cause(self, key: Key, share: Share) -> tuple[Cause, str, int | None]:
        """Why a share waits, also in words, and until when at least."""
        gateway, document = self._at_gateway(key)
        until, may_be_asked = share.ready_at(self.rules.interval_of(key)), _may_be_asked(document, self.rules, self.at)
        if share.claim:
            cause, until = Cause.BEING_ASKED, 0
        elif not share.since:
            cause, until = Cause.IN_NO_LINE, 0
        elif key in may_be_asked:
            region = ordinal(may_be_asked.index(key) + 1)
            return Cause.IN_LINE, f"{region} in line at {_id(gateway)}{_why_it_stands(document, self.rules)}", None
        elif share.in_progress_until:
            cause, until = Cause.IN_PROGRESS, 0  # who knows when it is complete?
        elif until > share.not_before:
            cause = Cause.INTERVAL
        else:
            cause = Cause.REPEATED if share.repeats and not share.refusals else Cause.BACK_OFF
        return cause, cause, until or None

    def _at_gateway(self, key: Key) -> tuple[str, Gateway]:
        """The ARN and the document of the share's gateway."""
        for gateway, document in self.gateways.items():
            if key in document.shares:
                return str(gateway), document
        return self.waiting.get(key, ShareItem()).gateway, Gateway()

    def lines(self) -> list[Line]:
        """The gateways with something to do, first the one whose shares wait longest."""
        found = [_line(str(key), gateway, self.rules) for key, gateway in self.gateways.items()]
        busy = [line for line in found if line.in_progress or line.waiting]
        return sorted(busy, key=lambda line: (line.since or self.at, line.gateway))


def as_of(gateway: Gateway, rules: Rules, at: int) -> Gateway:
    """The document without claims and refreshes that are over since, which nobody has noted yet."""
    nobody = Visit(at, may_claim=False, queues_wake=False)
    return step(gateway, Visited(), visit=nobody, now=at, rules=rules, token="")[0]


def _may_be_asked(document: Gateway, rules: Rules, at: int) -> list[Key]:
    """The shares that only wait for their turn, in the order in which that comes."""
    return [key for key in document.waiting() if document.shares[key].ready_at(rules.interval_of(key)) <= at]


def _why_it_stands(document: Gateway, rules: Rules) -> str:
    """Why nobody is asked at the gateway just now, if there is a reason."""
    if (taken := document.taken_slots()) >= rules.slots:
        return f", where {plural(taken, 'refresh')} {'is' if taken == 1 else 'are'} in progress"
    return f", which said at {clock(document.refused_at)} that it is busy" if document.refused_at else ""


def _line(gateway: str, document: Gateway, rules: Rules) -> Line:
    waiting = document.waiting()
    return Line(
        gateway=_id(gateway),
        in_progress=document.taken_slots(),
        takes=rules.slots,
        waiting=len(waiting),
        first=str(waiting[0]) if waiting else None,
        since=document.shares[waiting[0]].since if waiting else None,
        busy_at=document.refused_at or None,
    )


def _id(arn: str) -> str:
    return arn.rpartition("/")[2]
