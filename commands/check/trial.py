"""A small object is written below a prefix, followed hop by hop, and deleted again, which is followed the same way.

The hops are read from the table: the window that holds the object's folder, its request, and each share's refresh.
Whatever happens, the object, and all its versions and delete markers, are removed in the end.
"""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import uuid4

from botocore.exceptions import ClientError

from commands.operate import explain, facts
from commands.operate.facts import will_read
from commands.operate.stack import Stack, StackError, now_ms
from commands.operate.standing import Snapshot
from commands.operate.terminal import quoted
from commands.operate.words import clock
from event_aggregator.failures import AWS_ERRORS
from event_aggregator.file_shares import FileShare
from event_aggregator.folders import folder_of
from event_aggregator.ignored_keys import pattern_of
from event_aggregator.table import Item, Key

NAME = "s3-event-aggregator-check-"
_BODY = b"scripts/check.sh has written this, and removes it again.\n"
# An event typically arrives within seconds (S3 user guide, EventNotifications), and a request is sent and received so.
_PATIENCE_MS = 60_000
_POLL_SECONDS = 0.5
# Clocks of AWS hosts, and of this machine, differ by less.
_CLOCKS_MS = 1_000


@dataclass(frozen=True)
class Walk:
    """How far a change has come; times are epoch milliseconds, by this machine's clock where it has looked."""

    began: int
    window: str = ""
    joined: bool = False  # the window was open before
    due: int = 0
    closed: int = 0  # the window; a refresh that was accepted since may be of it
    hops: dict[str, int] = field(default_factory=dict)  # what has happened, in this order, and when that was seen

    def at(self, hop: str, when: int) -> "Walk":
        return self if hop in self.hops else replace(self, hops={**self.hops, hop: when})


def step(walk: Walk, table: Snapshot, bucket: str, folder: str, shares: list[FileShare], scope: str) -> Walk:
    """The walk with what the table shows now."""
    item, at = table.windows.get(Key.read(bucket), Item()), table.at
    if not walk.window and item.window_id and will_read(item.folders, folder, "", scope):
        joined = item.opened_at < walk.began - _CLOCKS_MS
        walk = replace(walk, window=item.window_id, joined=joined, due=item.refresh_at).at("event", at)
    turns = {share.share_id: table.turn(share.key) for share in shares}
    if not walk.window:  # it was closed before the first look
        since = walk.began - _CLOCKS_MS
        windows = [turn.last.window for turn in turns.values() if turn.last and turn.last.first_change >= since]
        if item.refreshing_id and item.refreshed_since >= since:
            windows.append(item.refreshing_id)
        if not windows:
            return walk
        walk = replace(walk, window=windows[0], due=item.refresh_started_at).at("event", at)
    if item.window_id == walk.window:
        walk = replace(walk, due=item.refresh_at)  # it moves with further changes, if there is a quiet time
        return walk.at("request", at) if item.confirmed else walk
    walk = replace(walk, closed=walk.closed or item.refresh_started_at).at("request", at).at("begun", at)
    for share in shares:
        last, waits = turns[share.share_id].last, table.standing(share.key).waits
        is_left = item.refreshing_id == walk.window or (waits and will_read(waits.folders, folder, share.prefix, scope))
        # What waited for the share already has gone on under its own window's name.
        if last and (last.window == walk.window or (last.at >= walk.closed and not is_left)):
            walk = walk.at(f"{share.share_id} accepted", last.at)
            if not turns[share.share_id].in_progress_until:
                walk = walk.at(f"{share.share_id} complete", at)
    return walk


def late(walk: Walk, at: int, timeout: int, shares: list[FileShare]) -> str:
    """The hop that should have come by now; empty if none, or if all have. `timeout`: ms, of a share's refresh."""
    for hop, limit in {
        "event": walk.began + _PATIENCE_MS,
        "request": walk.hops.get("event", at) + _PATIENCE_MS,
        "begun": max(walk.due, walk.hops.get("request", at)) + _PATIENCE_MS,
    }.items():
        if hop not in walk.hops:
            return hop if at > limit else ""
    for share in shares:
        accepted = f"{share.share_id} accepted"
        if accepted not in walk.hops:
            return accepted if at > walk.hops["begun"] + timeout else ""
        if f"{share.share_id} complete" not in walk.hops and at > walk.hops[accepted] + timeout:
            return f"{share.share_id} complete"
    return ""


def is_over(walk: Walk, shares: list[FileShare]) -> bool:
    return all(f"{share.share_id} complete" in walk.hops for share in shares)


# Each hop as it is told when it has come, and when it has not.
_HOPS = {
    "event": ("the event was seen: {} window holds its folder, and is due at {}", "no event of it was seen"),
    "request": ("the window's request is queued", "no request was queued for its window"),
    "begun": ("the request was received, and the shares are asked in their turn", "its request was not received in time"),
    "accepted": ("accepted RefreshCache", "has accepted no refresh of it"),
    "complete": ("reported completion", "has reported no completion"),
}


def in_words(hop: str, walk: Walk, *, has_come: bool = True) -> str:
    share, _, name = hop.rpartition(" ")
    told = _HOPS[name][0 if has_come else 1].format("an earlier" if walk.joined else "a new", clock(walk.due))
    return f"{share} {told}".lstrip()


@dataclass
class Trial:
    """Of one bucket; `say` is told each hop as it comes. `walks` are the writing's and the deletion's, when done."""

    stack: Stack
    bucket: str
    prefix: str
    timeout: int  # seconds for a share to accept, and to complete
    say: Callable[[str], None]
    pause: Callable[[float], None] = time.sleep
    walks: dict[str, Walk] = field(default_factory=dict)

    def run(self) -> bool:
        """Whether every hop came. Raises StackError for what cannot be tried, and botocore's errors."""
        s3 = self.stack.client("s3")
        folder = self.prefix.strip("/")
        key = f"{folder}/{NAME}{uuid4().hex[:12]}" if folder else f"{NAME}{uuid4().hex[:12]}"
        shares = self._shares(key)
        of_object = {"Bucket": self.bucket, "Key": key}
        with leaving_nothing(s3, **of_object):
            self.say(f"write   {self.bucket}/{key}, for {', '.join(share.share_id for share in shares)} to show")
            put = s3.put_object
            if not self._follow("writing", key, shares, lambda: put(**of_object, Body=_BODY)):
                return False
            self.say("delete  it")
            return self._follow("deletion", key, shares, lambda: s3.delete_object(**of_object))

    def _shares(self, key: str) -> list[FileShare]:
        """Those that show the key; StackError if nothing can be seen of it, or it could not be removed."""
        if pattern := pattern_of(key, self.stack.settings.ignore_keys):
            raise StackError(f"{key} would be ignored, as it matches {pattern} of --ignore-keys: give another prefix")
        shares = [share for share in self.stack.shares(self.bucket) if not share.unknown and not share.place]
        showing = [share for share in shares if key.startswith(share.prefix)]
        if not showing:
            prefixes = ", ".join(sorted({f"/{share.prefix}" for share in shares})) or "nothing of it"
            raise StackError(f"No file share shows {self.bucket}/{key}: they show {prefixes}. Give another prefix.")
        s3 = self.stack.client("s3")
        if s3.get_bucket_versioning(Bucket=self.bucket).get("MFADelete") == "Enabled":
            raise StackError(f"{self.bucket} removes versions only with MFA: an object could not be removed again")
        try:
            lock = s3.get_object_lock_configuration(Bucket=self.bucket)["ObjectLockConfiguration"]
        except ClientError as error:
            if error.response["Error"]["Code"] != "ObjectLockConfigurationNotFoundError":
                raise
        else:
            if lock.get("Rule"):
                raise StackError(f"{self.bucket} locks its objects: one could not be removed again")
        return showing

    def _follow(self, what: str, key: str, shares: list[FileShare], do: Callable[[], object]) -> bool:
        """Whether the change came all the way."""
        settings, walk = self.stack.settings, Walk(now_ms())
        scope, intervals = settings.refresh_scope.of(self.bucket), settings.min_refresh_interval_seconds
        timeout = 1000 * (self.timeout + max(intervals.of(share.share_id) for share in shares))
        do()
        while True:
            told = {*walk.hops}
            walk = step(walk, self.stack.snapshot(), self.bucket, folder_of(key), shares, scope)
            self.walks[what] = walk
            for hop in [hop for hop in walk.hops if hop not in told]:
                self.say(f"{max(0, walk.hops[hop] - walk.began) / 1000:8.1f} s  {in_words(hop, walk)}")
            if is_over(walk, shares):
                return True
            if hop := late(walk, now_ms(), timeout, shares):
                self.say(f"{(now_ms() - walk.began) / 1000:8.1f} s  FAULT  {in_words(hop, walk, has_come=False)}")
                self._explain(key)
                return False
            self.pause(_POLL_SECONDS)

    def _explain(self, key: str) -> None:
        try:
            known = facts.look(Stack(self.stack.session, self.stack.prefix), self.bucket, key)
        except (StackError, *AWS_ERRORS) as error:
            self.say(f"            why: could not be told: {error}")
            return
        for answer in explain.conclude(known):
            self.say(f"            {answer.share or self.bucket}: {answer.text}")
            for then in answer.then:
                self.say(f"                {then}")


@contextmanager
def leaving_nothing(s3: Any, Bucket: str, Key: str) -> Iterator[None]:  # noqa: N803 - as S3 calls them
    """Removes the object in the end, however that comes: an error, Ctrl-C, SIGTERM, or a terminal that is closed."""
    stops = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.default_int_handler) for number in stops}
    try:
        yield
    finally:
        for number in stops:  # whoever presses Ctrl-C again waits for this
            signal.signal(number, signal.SIG_IGN)
        try:
            _remove(s3, Bucket, Key)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _remove(s3: Any, bucket: str, key: str) -> None:
    """The object, with every version and delete marker of it. StackError: it is still there, and how to remove it."""
    try:
        found = s3.list_object_versions(Bucket=bucket, Prefix=key)
        for one in [*found.get("Versions", []), *found.get("DeleteMarkers", [])]:
            s3.delete_object(Bucket=bucket, Key=one["Key"], VersionId=one["VersionId"])
    except AWS_ERRORS as error:
        by_hand = f"aws s3api list-object-versions --bucket {bucket} --prefix {quoted(key)}"
        raise StackError(f"{bucket}/{key} could not be removed: {error}. Remove each of its versions: {by_hand}") from error
