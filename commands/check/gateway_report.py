"""What is known of a gateway that AWS does not say in writing, as a page that can be given to anybody.

From the refresh function's log of the last weeks, from the trial, and, only if asked for, from refreshes that are
called for it. The guarantee: of what AWS says there are only words of its own API, so no name, key or id is in it.
"""

import json
import re
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from uuid import uuid4

from botocore.exceptions import ClientError
from botocore.loaders import create_loader

from commands.check.resources import Live
from commands.check.trial import NAME, Walk
from commands.operate.refresh_log import Refresh, refreshes_of
from commands.operate.stack import Stack, StackError, now_ms
from event_aggregator.failures import AWS_ERRORS
from event_aggregator.file_shares import FileShare

_DAYS = 30
MINUTE_SECONDS = 65  # longer than the minute that AWS asks for between two refreshes
WITHIN_SECONDS = 10

PROBES = (
    "--probe-limits calls RefreshCache itself, each time for one folder without its subfolders: a folder that does not"
    " exist; the root of one share, three times at once; the root of that share twice and of another share of its"
    " gateway once, at once; the root of one share, and again 10 s later. It waits a minute between these, five minutes"
    " in all. Meanwhile the stack's own refreshes may have to wait."
)


@dataclass(frozen=True)
class Answer:
    """To one question."""

    question: str
    answers: list[str] = field(default_factory=list)


# Words


@cache
def _words() -> frozenset[str]:
    """All that occur in AWS's description of Storage Gateway's API."""
    model = json.dumps(create_loader().load_service_model("storagegateway", "service-2"))
    return frozenset(word.lower() for word in re.findall("[A-Za-z]+", model))


def without_names(text: str) -> str:
    """The text with `…` in the place of everything that is not of AWS's own words: names, ids, numbers, paths."""
    told = []
    for word in text.split():
        bare = word.strip(".,:;!?()[]'\"")
        told.append(word if bare.lower() in _words() or not bare else "…")
    return re.sub("(… ?)+", "… ", " ".join(told)).strip()


def spread(milliseconds: Iterable[int]) -> str:
    """How long it took, in words."""
    found = sorted(one / 1000 for one in milliseconds)
    if not found:
        return "none"
    return f"{found[0]:.1f} s at least, {statistics.median(found):.1f} s half of them, {found[-1]:.1f} s at most"


# From the log


def of_log(refreshes: Mapping[str, list[Refresh]]) -> Iterator[Answer]:
    """How long refreshes took, from acceptance to the reported completion, by share."""
    for what, is_recursive in (("single folders", False), ("everything below a folder", True)):
        answers = []
        for share, all_of_share in refreshes.items():
            those = [refresh for refresh in all_of_share if refresh.recursive is is_recursive]
            ended = [refresh.completed - refresh.accepted for refresh in those if refresh.completed is not None]
            if those:
                counted = f"{len(those)} accepted, {len(ended)} reported complete"
                answers.append(f"{share}: {counted}; {spread(ended)}")
        yield Answer(f"From acceptance to completion, {what}", answers)


def refusals(lines: Iterable[str]) -> Answer:
    """The words by which RefreshCache was refused, in lines of the refresh function's log."""
    found = Counter(without_names(reason) for line in lines if (reason := line.partition(" waits: it refused: ")[2]))
    told = [f"{number} times: {words}" for words, number in found.most_common()]
    return Answer("By which words RefreshCache was refused", told)


def _refused(stack: Stack, since: int) -> list[str]:
    pages = (
        stack.client("logs")
        .get_paginator("filter_log_events")
        .paginate(logGroupName=f"/aws/lambda/{stack.refresh}", filterPattern='"waits: it refused"', startTime=since)
    )
    return [json.loads(event["message"])["message"] for page in pages for event in page["events"]]


# From the trial


def of_trial(walks: Mapping[str, Walk], names: Mapping[str, str]) -> Iterator[Answer]:
    for what, walk in walks.items():
        answers = []
        for hop, when in walk.hops.items():
            share, _, name = hop.rpartition(" ")
            answers.append(f"{names.get(share, '')} {name}: {(when - walk.began) / 1000:.1f} s".lstrip())
        yield Answer(f"The trial's {what}, seconds after it", answers)


# By calling it


@dataclass
class Probe:
    """Calls RefreshCache as `PROBES` says."""

    stack: Stack
    shares: list[FileShare]
    say: Callable[[str], None]
    pause: Callable[[float], None] = time.sleep

    def run(self) -> Iterator[Answer]:
        first = self.shares[0]
        absent = f"{NAME}{uuid4().hex[:12]}"
        yield Answer("A folder that it has not cached", [self._call(first, absent)])
        self._wait()
        yield Answer("Three refreshes of one share at once", [self._call(first) for _ in range(3)])
        self._wait()
        others = [share for share in self.shares if share.gateway_arn == first.gateway_arn and share != first]
        question = "Two refreshes of one share, and at once one of another share of its gateway"
        calls = [first, first, *others[:1]] if others else []
        yield Answer(question, [self._call(share) for share in calls] or ["not tried: no other share of it is known"])
        self._wait()
        yield Answer("A second refresh within a minute", [self._call(first), *self._again(first)])

    def _again(self, share: FileShare) -> Iterator[str]:
        """AWS's older reference says that it evicts nothing; whether its completion is reported is in the table."""
        self.pause(WITHIN_SECONDS)
        asked = now_ms()
        yield f"ten seconds later: {self._call(share)}"
        while now_ms() < asked + MINUTE_SECONDS * 1000:
            gateways = self.stack.snapshot().gateways.values()
            if any(known.by_others.get(share.share_id, 0) >= asked - 1_000 for known in gateways):
                yield f"complete, it was told {(now_ms() - asked) / 1000:.1f} s later; what it read only a client sees"
                return
            self.pause(1)
        yield "no completion of it was reported within a minute"

    def _call(self, share: FileShare, folder: str = "/") -> str:
        began = now_ms()
        try:
            client = self.stack.storage_gateway(share.region)
            client.refresh_cache(FileShareARN=share.arn, FolderList=[folder], Recursive=False)
        except ClientError as error:
            inside = (error.response.get("error") or {}).get("errorCode", "none inside")  # type: ignore[attr-defined]
            said = without_names(f"{error.response['Error']['Code']} ({inside}): {error.response['Error']['Message']}")
            return f"refused: {said}"
        return f"accepted in {(now_ms() - began) / 1000:.1f} s"

    def _wait(self) -> None:
        self.say(f"probe   waits {MINUTE_SECONDS} s, because a refresh within a minute of another may do nothing")
        self.pause(MINUTE_SECONDS)


# The page


def page(stack: Stack, walks: Mapping[str, Walk], probes: Iterable[Answer]) -> str:
    """All of it, in Markdown."""
    shares = Live(stack).shares
    gateways = dict.fromkeys((share.region, share.gateway_arn) for share in shares)
    numbers = {known: f"gateway {number}" for number, known in enumerate(gateways, start=1)}
    names = {
        share.share_id: f"share {number} ({share.kind}, {numbers[share.region, share.gateway_arn]})"
        for number, share in enumerate(shares, start=1)
    }
    now, settings = now_ms(), stack.settings
    since = now - _DAYS * 24 * 3_600_000
    interval, takes = settings.min_refresh_interval_seconds.default, settings.refreshes_per_gateway
    told = f"{takes} refreshes at a gateway at a time, {interval} s between two of a share"
    answers = [
        Answer("The gateways", [f"{name}: {_kind(stack, *known)}" for known, name in numbers.items()]),
        Answer("The stack asks for", [told]),
        *of_log({names[one.share_id]: refreshes_of(stack, one, since, now, 0)[0] for one in shares}),
        refusals(_refused(stack, since)),
        *of_trial(walks, names),
        *probes,
    ]
    parts = [f"## {one.question}\n\n" + "\n".join(f"- {told}" for told in one.answers or ["none"]) for one in answers]
    head = "# What scripts/check.sh has learned of a gateway\n\nFrom the refresh function's log of the last"
    return "\n\n".join([f"{head} {_DAYS} days. No name is in it.", *parts]) + "\n"


def _kind(stack: Stack, region: str, gateway: str) -> str:
    try:
        told: Mapping[str, Any] = stack.storage_gateway(region).describe_gateway_information(GatewayARN=gateway)
    except AWS_ERRORS as error:
        return f"not told: {without_names(str(error))}"
    named = ("GatewayType", "HostEnvironment", "GatewayCapacity", "SoftwareVersion", "EndpointType")
    return ", ".join(f"{name} {told[name]}" for name in named if told.get(name))


def shares_to_probe(stack: Stack, bucket: str) -> list[FileShare]:
    """Those that can be refreshed now; StackError if there is none."""
    found = [share for share in stack.shares(bucket) if not share.unavailable and not share.region]
    if not found:
        raise StackError(f"No file share that shows {bucket} can be refreshed now")
    by_gateway = Counter(share.gateway_arn for share in found)
    return sorted(found, key=lambda share: -by_gateway[share.gateway_arn])
