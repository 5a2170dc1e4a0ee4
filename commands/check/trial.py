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
from commands.operate.share_state import Snapshot
from commands.operate.stack import Stack, StackError, now_ms
from commands.operate.terminal import quoted
from commands.operate.words import clock
from event_aggregator.failures import AWS_ERRORS
from event_aggregator.file_shares import FileShare
from event_aggregator.folders import folder_of
from event_aggregator.ignored_keys import pattern_of
from event_aggregator.table import Key, WindowItem

NAME = "s3-event-aggregator-check-"
_BODY = b"scripts/check.sh has written this, and removes it again.\n"
# An event typically arrives within seconds (S3 user guide, EventNotifications), and a request is sent and received so.
_PATIENCE_MS = 60_000
_POLL_SECONDS = 0.5
# Clocks of AWS hosts, and of this machine, differ by less.
_CLOCKS_MS = 1_000


@dataclass(frozen=True)
class Object:
    """What is written and deleted, and the shares that show it."""

    bucket: str
    key: str
    scope: str  # the bucket's REFRESH_SCOPE
    shares: list[FileShare]

    @property
    def folder(self) -> str:
        return folder_of(self.key)


@dataclass(frozen=True)
class Walk:
    """How far a change has come; times are epoch milliseconds."""

    began: int
    before: str = ""  # the window of the change before, which is not this one's
    window: str = ""
    joined: bool = False  # the window was open before
    due: int = 0
    closed: int = 0  # the window; a refresh that was accepted since may be of it
    hops: dict[str, int] = field(default_factory=dict)  # what has happened, in this order, and when

    def at(self, hop: str, when: int) -> "Walk":
        return self if hop in self.hops else replace(self, hops={**self.hops, hop: max(when, self.began)})

    @property
    def latest(self) -> int:
        return max([self.began, *self.hops.values()])


def step(walk: Walk, table: Snapshot, of: Object) -> Walk:
    """The walk with what the table shows now."""
    item, at = table.windows.get(Key.read(of.bucket), WindowItem()), table.at
    turns = {share.share_id: table.turn(share.key) for share in of.shares}
    since = walk.began - _CLOCKS_MS
    if not walk.window and item.window_id and will_read(item.folders, of.folder, "", of.scope):
        joined = item.opened_at < since
        walk = replace(walk, window=item.window_id, joined=joined).at("event", at if joined else item.opened_at)
    if not walk.window:  # it may have been closed before the first look
        closed = {turn.last.window for turn in turns.values() if turn.last and turn.last.first_change >= since}
        closed |= {item.refreshing_id} if item.refreshing_id and item.refreshed_since >= since else set()
        was_closed = item.refresh_started_at >= walk.began and will_read(
            item.refreshed_folders, of.folder, "", of.scope
        )
        waiting = [table.waiting[share.key].changes for share in of.shares if share.key in table.waiting]
        # A share that waited already goes on under its earlier window's name.
        closed |= {changes.correlation for changes in waiting if changes and (changes.since >= since or was_closed)}
        if not (closed := closed - {walk.before}):
            return walk
        walk = replace(walk, window=closed.pop(), due=item.refresh_started_at).at("event", at)
    if item.window_id == walk.window:
        walk = replace(walk, due=item.refresh_at)  # it moves with further changes, if there is a quiet time
        return walk.at("request", at) if item.confirmed else walk
    walk = replace(walk, closed=walk.closed or item.refresh_started_at)
    walk = walk.at("request", walk.closed).at("begun", walk.closed)
    for share in of.shares:
        last, waits = turns[share.share_id].last, table.standing(share.key).waits
        is_left = item.refreshing_id == walk.window
        is_left |= waits is not None and will_read(waits.folders, of.folder, share.prefix, of.scope)
        # The refresh of a share that waited already has an earlier window's name. It counts if it was accepted after
        # this window was closed, and the folder waits no more.
        if last and (last.window == walk.window or (last.at >= walk.closed and not is_left)):
            walk = walk.at(f"{share.share_id} accepted", last.at)
            if not turns[share.share_id].in_progress_until:
                walk = walk.at(f"{share.share_id} complete", at)
    return walk


def left(walk: Walk, shares: list[FileShare]) -> list[str]:
    """The hops that are still to come."""
    hops = ["event", "request", "begun"]
    hops += [f"{share.share_id} {hop}" for hop in ("accepted", "complete") for share in shares]
    return [hop for hop in hops if hop not in walk.hops]


def limit(hop: str, walk: Walk, timeout: int) -> int:
    """When a hop should have come, if all before have; `timeout` is of a share, in ms."""
    if hop.endswith((" accepted", " complete")):
        return walk.latest + timeout
    return max(walk.due if hop == "begun" else 0, walk.latest) + _PATIENCE_MS


# Each hop as it is told when it has come, and when it has not.
_HOPS = {
    "event": ("the event was seen: {} window holds its folder", "no event of it was seen"),
    "request": ("the window's request is queued, due at {due}", "no request was queued for its window"),
    "begun": ("the request was received; the shares take turns", "the request was not received when it was due"),
    "accepted": ("accepted RefreshCache", "has accepted no refresh of it"),
    "complete": ("reported completion", "has reported no completion: it is slow, or EventBridge does not deliver it"),
}


def in_words(hop: str, walk: Walk, *, has_come: bool = True) -> str:
    share, _, name = hop.rpartition(" ")
    told = _HOPS[name][0 if has_come else 1].format("an earlier" if walk.joined else "a new", due=clock(walk.due))
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
        folder = self.prefix.strip("/")
        key = f"{folder}{'/' if folder else ''}{NAME}{uuid4().hex[:12]}"
        s3, of = self.stack.client("s3"), Object(self.bucket, key, self._scope, self._shares(key))
        of_object = {"Bucket": self.bucket, "Key": key}
        with leaving_nothing(s3, self.bucket, key):
            self.say(
                f"write   {self.bucket}/{key}, which is visible on {', '.join(share.share_id for share in of.shares)}"
            )
            if not self._follow("writing", of, lambda: s3.put_object(**of_object, Body=_BODY)):
                return False
            self.say("delete  it")
            return self._follow("deletion", of, lambda: s3.delete_object(**of_object))

    @property
    def _scope(self) -> str:
        return str(self.stack.settings.refresh_scope.of(self.bucket))

    def _shares(self, key: str) -> list[FileShare]:
        """Those that show the key; StackError if nothing can be seen of it, or it could not be removed."""
        if pattern := pattern_of(key, self.stack.settings.ignore_keys):
            raise StackError(f"{key} matches {pattern} of --ignore-keys. Give another prefix.")
        shares = [share for share in self.stack.shares(self.bucket) if not share.unknown and not share.region]
        showing = [share for share in shares if key.startswith(share.prefix)]
        if not showing:
            prefixes = ", ".join(sorted({f"/{share.prefix}" for share in shares})) or "nothing of it"
            raise StackError(f"No file share shows {self.bucket}/{key}: they show {prefixes}. Give another prefix.")
        s3 = self.stack.client("s3")
        if s3.get_bucket_versioning(Bucket=self.bucket).get("MFADelete") == "Enabled":
            raise StackError(f"{self.bucket} deletes versions only with MFA, so the object could not be removed.")
        try:
            lock = s3.get_object_lock_configuration(Bucket=self.bucket)["ObjectLockConfiguration"]
        except ClientError as error:
            if error.response["Error"]["Code"] != "ObjectLockConfigurationNotFoundError":
                raise
            lock = {}
        if lock.get("Rule"):
            raise StackError(f"{self.bucket} locks its objects, so the object could not be removed.")
        return showing

    def _follow(self, what: str, of: Object, do: Callable[[], object]) -> bool:
        """Whether the change came all the way."""
        before = next((walk.window for walk in self.walks.values()), "")
        walk, intervals = Walk(now_ms(), before), self.stack.settings.min_refresh_interval_seconds
        timeout = 1000 * (self.timeout + max(intervals.of(share.share_id) for share in of.shares))
        do()
        while True:
            told = {*walk.hops}
            self.walks[what] = walk = step(walk, self.stack.snapshot(), of)
            for hop in [hop for hop in walk.hops if hop not in told]:
                self.say(f"{(walk.hops[hop] - walk.began) / 1000:8.1f} s  {in_words(hop, walk)}")
            if not (missing := left(walk, of.shares)):
                return True
            if now_ms() > limit(missing[0], walk, timeout):
                waited = (now_ms() - walk.began) / 1000
                self.say(f"{waited:8.1f} s  FAULT  {in_words(missing[0], walk, has_come=False)}")
                self._explain(of.key)
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
def leaving_nothing(s3: Any, bucket: str, key: str) -> Iterator[None]:
    """Removes the object in the end, however that comes: an error, Ctrl-C, SIGTERM, or a terminal that is closed."""
    stops = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.default_int_handler) for number in stops}
    try:
        yield
    finally:
        for number in stops:  # whoever presses Ctrl-C again waits for this
            signal.signal(number, signal.SIG_IGN)
        try:
            _remove(s3, bucket, key)
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
        there = f"aws s3api list-object-versions --bucket {bucket} --prefix {quoted(key)}"
        told = f"{bucket}/{key} could not be removed: {error}. Remove each of its versions: {there}"
        raise StackError(told) from error
