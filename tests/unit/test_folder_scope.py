"""Refreshing the changed folders and their ancestors is enough: in the end every client sees what the bucket holds.

Hypothesis makes up buckets, changes, clients and refreshes in any order, for shares on a bucket and on prefixes of it.
The runs are the same each time. SCOPE_EXAMPLES=5000 in the environment tries as many others, made up anew:

    SCOPE_EXAMPLES=5000 .venv/bin/pytest tests/unit/test_folder_scope.py
"""

import os
from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any, cast
from urllib.parse import quote_plus

import pytest
from botocore.exceptions import ClientError
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from dev.local.gateway import NOT_CACHED, Refusal, RefusedError, Share, list_keys
from event_aggregator.file_shares import FileShare
from event_aggregator.folders import EVERYTHING, MAX_FOLDERS_A_CALL, Round, folder_of, next_round, shown
from event_aggregator.messages import read_message
from event_aggregator.regions import Regions
from event_aggregator.request import Request, WakeRequest
from tests.unit.conftest import World, s3_event, s3_record
from tests.unit.shares import HOME, TIME_LEFT, Region

Uncached = Refusal | None
NextRound = Callable[[Iterable[str], str], Round]

BOTH_KINDS = pytest.mark.parametrize("uncached", [None, NOT_CACHED], ids=["ignored", "refused"])

# Of one bucket: all of it, one within another, and one that nobody would choose.
PREFIXES = ("", "a/", "a/b/", "a//")

# Four calls for 200 folders, one for sub-trees; and one for everything, if a gateway refuses one of these.
MOST_CALLS = 6

A_DAY_MS = 86_400_000

# Few names, so that keys meet in folders. "a-" sorts before "a/"; "*" and "=" are marks elsewhere; an empty one makes a
# leading slash, a doubled one, or, at the end, a folder marker. No share shows that one, nor those of UNSHOWN.
UNSHOWN = [".", "..", "ü" * 128]
NAMES = st.sampled_from(["a", "b", "c", "a", "b", "", "a-", "*", "=", "ü" * 127, *UNSHOWN])
KEYS = st.lists(NAMES, min_size=1, max_size=4).map("/".join).filter(bool)
TOP_FOLDERS = st.sampled_from(["", "a/", "a/b/", "c/"])
# Folders, and their parents: more than 50 one by one, and more than 200 as sub-trees and as everything.
MANY = st.sampled_from([(60, 1), (60, 12), (150, 50), (210, 30), (210, 60)])
SHARES = st.sampled_from(range(len(PREFIXES)))
ANY = st.integers(0, 999)

DEMANDED = os.environ.get("SCOPE_EXAMPLES")
SETTINGS = settings(
    max_examples=int(DEMANDED or 50),
    stateful_step_count=25,
    derandomize=DEMANDED is None,
    database=None,
    deadline=None,
)


def run(machine: Callable[[], "Bucket"], settings: settings) -> None:
    """Hypothesis only calls the class that it is given: whatever makes a new machine does as well."""
    run_state_machine_as_test(cast(type[RuleBasedStateMachine], machine), settings=settings)


def held(keys: Iterable[str], prefix: str) -> set[str]:
    """What a share on `prefix` has to show: the paths of files, and of folders with a slash at the end.

    A path ends before its first name that has no place in a file system.
    """
    paths = set()
    for key in keys:
        if key.startswith(prefix):
            *above, name = key.removeprefix(prefix).split("/")
            depth = next((depth for depth, name in enumerate(above) if name in ["", *UNSHOWN]), len(above))
            paths |= {"/".join(above[:end]) + "/" for end in range(1, depth + 1)}
            if depth == len(above) and name not in ["", *UNSHOWN]:
                paths.add("/".join([*above, name]))
    return paths


def seen(share: Share) -> set[str]:
    """What a client sees on a walk through all folders, written as `held` does."""
    paths, folders = set(), [""]
    while folders:
        folder = folders.pop()
        listing = share.listing(folder.rstrip("/"))
        below = [f"{folder}{name}/" for name in listing.folders]
        paths |= {folder + name for name in listing.files} | set(below)
        folders += below
    return paths


def many_keys(folder: str, changed: int, parents: int, name: str = "file") -> list[str]:
    """A key in each of `changed` folders two levels below `folder`, which have as many parents."""
    return [f"{folder}{number % parents}/{number}/{name}" for number in range(changed)]


class Bucket(RuleBasedStateMachine):
    """A bucket, the shares that show it, and their clients. How changes come to be refreshed is left to subclasses."""

    def __init__(self, uncached: Uncached) -> None:
        super().__init__()
        self.keys: list[str] = []
        self.shares = [Share(partial(list_keys, self.keys), prefix, uncached) for prefix in PREFIXES]
        self.asked: list[list[Round]] = [[] for _ in self.shares]

    def changed(self, keys: list[str]) -> None:
        """S3 tells of changes."""
        raise NotImplementedError

    def refresh_until_nothing_is_left(self) -> None:
        raise NotImplementedError

    def ask(self, number: int, round_: Round) -> list[str]:
        """The folders that the share will list again. Raises RefusedError."""
        names = round_.folder_list
        # A gateway would refuse these, too, but then everything is refreshed and hides the mistake.
        assert 1 <= len(names) <= MAX_FOLDERS_A_CALL
        assert len(set(names)) == len(names)
        assert not [name for name in names if name != "/" and {*name.split("/")} & {"", *UNSHOWN}]
        self.asked[number].append(round_)
        return self.shares[number].accept(names)

    @rule(key=KEYS)
    def put(self, key: str) -> None:
        self.put_all([key])

    @precondition(lambda self: len(self.keys) < 200)
    @rule(folder=TOP_FOLDERS, many=MANY, name=NAMES)
    def put_into_many_folders(self, folder: str, many: tuple[int, int], name: str) -> None:
        self.put_all(many_keys(folder, *many, name))

    def put_all(self, keys: list[str]) -> None:
        for key in keys:
            position = bisect_left(self.keys, key)
            if self.keys[position : position + 1] != [key]:
                self.keys.insert(position, key)
        self.changed(keys)

    @precondition(lambda self: self.keys)
    @rule(which=ANY)
    def delete(self, which: int) -> None:
        self.delete_all([self.keys[which % len(self.keys)]])

    @precondition(lambda self: self.keys)
    @rule(which=ANY, depth=st.integers(1, 3))
    def delete_all_that_lies_beneath(self, which: int, depth: int) -> None:
        key = self.keys[which % len(self.keys)]
        start = "/".join(key.split("/")[:depth])
        self.delete_all([key for key in self.keys if key.startswith(start)])

    def delete_all(self, keys: list[str]) -> None:
        self.keys[:] = sorted(set(self.keys) - set(keys))
        self.changed(keys)

    @rule(share=SHARES, turns=st.lists(ANY, max_size=3))
    def look_into_a_folder(self, share: int, turns: list[int]) -> None:
        path: list[str] = []
        for turn in turns:
            below = sorted(self.shares[share].listing("/".join(path)).folders)
            path += below and [below[turn % len(below)]]
        self.shares[share].listing("/".join(path))

    @rule(share=SHARES)
    def walk(self, share: int) -> None:
        self.shares[share].tree()

    @rule()
    def refresh_all_and_compare(self) -> None:
        for asked in self.asked:
            asked.clear()
        self.refresh_until_nothing_is_left()
        for share in self.shares:
            assert seen(share) == held(self.keys, share.prefix), f"the share on {share.prefix!r}"

    def teardown(self) -> None:
        self.refresh_all_and_compare()


# ---- The decision


class Rounds(Bucket):
    """Refreshes by `next_round`. As on AWS, a refresh reads when it begins, and shows what it read when it completes;
    in between and between two rounds, everything else may happen. Two refreshes of a share never overlap."""

    def __init__(self, uncached: Uncached, decide: NextRound = next_round) -> None:
        super().__init__(uncached)
        self.decide = decide
        self.window: set[str] = set()
        self.waiting: list[frozenset[str]] = [frozenset() for _ in self.shares]
        self.show: list[Callable[[], None]] = [lambda: None for _ in self.shares]

    def changed(self, keys: list[str]) -> None:
        self.window |= {folder_of(key) for key in keys}

    @rule()
    def hand_over(self) -> None:
        """The bucket's window closes: its folders join what is left of each share's earlier rounds."""
        for number, share in enumerate(self.shares):
            self.waiting[number] |= shown(self.window, share.prefix)
        self.window.clear()

    @rule(number=SHARES)
    def begin(self, number: int) -> None:
        if folders := self.waiting[number]:
            self.complete(number)
            share = self.shares[number]
            round_ = self.decide(folders, share.prefix)
            try:
                accepted = self.ask(number, round_)
            except RefusedError:
                self.waiting[number] = frozenset({EVERYTHING})
            else:
                self.waiting[number] = round_.left
                self.show[number] = partial(share.publish, share.read(accepted, recursive=round_.recursive))

    @rule(number=SHARES)
    def complete(self, number: int) -> None:
        self.show[number]()
        self.show[number] = lambda: None

    def refresh_until_nothing_is_left(self) -> None:
        self.hand_over()
        for number, asked in enumerate(self.asked):
            while self.waiting[number]:
                self.begin(number)
                assert len(asked) <= MOST_CALLS, f"still left: {sorted(self.waiting[number])}"
            self.complete(number)


@BOTH_KINDS
def test_after_the_last_round_every_client_sees_what_the_bucket_holds(uncached: Uncached) -> None:
    run(lambda: Rounds(uncached), SETTINGS)


@BOTH_KINDS
def test_without_the_ancestors_some_client_does_not(uncached: Uncached) -> None:
    def without_ancestors(folders: Iterable[str], prefix: str) -> Round:
        return next_round({f"={folder}" if folder[0] == "/" else folder for folder in folders}, prefix)

    with pytest.raises(AssertionError, match="the share on"):
        run(lambda: Rounds(uncached, without_ancestors), settings(SETTINGS, phases=[Phase.generate]))


def sizes(asked: list[Round]) -> list[tuple[int, str]]:
    return [(len(round_.folder_list), "trees" if round_.recursive else "folders") for round_ in asked]


@BOTH_KINDS
@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize(
    ("keys", "calls"),
    [
        (many_keys("", 60, 1), [(50, "folders"), (12, "folders")]),
        (many_keys("", 180, 12), [(50, "folders"), (50, "folders"), (50, "folders"), (43, "folders")]),
        (many_keys("", 150, 50), [(1, "folders"), (50, "trees")]),
        (many_keys("a/", 210, 30), [(2, "folders"), (30, "trees")]),
        (many_keys("", 210, 60), [(1, "trees")]),
        (["d/" * 120 + "file"], [(50, "folders"), (50, "folders"), (21, "folders")]),
    ],
    ids=["62 folders", "193 folders", "201 folders", "242 folders", "271 folders", "120 deep"],
)
def test_many_folders_in_one_window_are_new_then_change_then_vanish(
    uncached: Uncached, prefix: str, keys: list[str], calls: list[tuple[int, str]]
) -> None:
    rounds = Rounds(uncached)
    rounds.put_all([f"{prefix}top", "a/b/c/file"])
    rounds.refresh_all_and_compare()
    for suffix in ("new", "changed"):
        rounds.put_all([f"{prefix}{key}-{suffix}" for key in keys])
        rounds.refresh_all_and_compare()
    assert sizes(rounds.asked[PREFIXES.index(prefix)]) == calls
    rounds.delete_all([f"{prefix}{key}-{suffix}" for key in keys for suffix in ("new", "changed")])
    rounds.refresh_all_and_compare()


@pytest.mark.parametrize("keys", [many_keys("", 180, 12), ["d/" * 120 + "file"]], ids=["193 folders", "120 deep"])
def test_new_folders_can_be_seen_after_the_first_of_several_rounds(keys: list[str]) -> None:
    rounds = Rounds(None)
    rounds.walk(0)
    rounds.put_all(keys)
    rounds.hand_over()
    rounds.begin(0)
    rounds.complete(0)
    assert rounds.waiting[0]
    assert seen(rounds.shares[0]) == held(keys, "")


# ---- The refresh Lambda, with what it keeps in the table


class RefreshLambda(Bucket):
    """Changes go through a warm aggregator into the table, requests through a queue to the refresh Lambda."""

    numbers = count()  # one table has a bucket for each example

    def __init__(self, world: World, uncached: Uncached) -> None:
        super().__init__(uncached)
        self.world = world
        self.aggregator = world.aggregator
        self.name = f"bucket-{next(self.numbers)}"
        self.gateway = SimulatedGateway(world, bucket=self)
        self.queue = world.sent
        self.queue.clear()

    def changed(self, keys: list[str]) -> None:
        self.world.time += 1
        encoded = [quote_plus(key, safe="/") for key in keys]
        event = s3_event(*(s3_record(key, self.name, self.world.time) for key in encoded))
        self.aggregator.aggregate_event(event, TIME_LEFT)

    @precondition(lambda self: self.queue)
    @rule(which=ANY)
    def deliver(self, which: int) -> None:
        """A request, whichever it is, when it is due."""
        body = self.queue.pop(which % len(self.queue))["MessageBody"]
        message = read_message(body, None)
        if isinstance(message, Request):
            due = self.world.windows.read(message.key).refresh_at
        else:
            assert isinstance(message, WakeRequest)
            wake = self.world.gateway(str(message.key)).wake
            due = wake.at if wake else 0
        self.world.time = max(self.world.time, due)
        regions = Regions(HOME, {HOME: lambda: self.gateway})
        self.world.refresher(regions).handle(body, None, f"message-{next(self.numbers)}", TIME_LEFT)

    def refresh_until_nothing_is_left(self) -> None:
        while self.queue:
            self.deliver(0)
            assert max(map(len, self.asked)) <= MOST_CALLS

    def waiting(self, number: int) -> frozenset[str]:
        return self.world.waits(f"{self.name}/share-{number}").folders


@dataclass
class SimulatedGateway(Region):
    """Its shares are the bucket's simulated ones, in their order."""

    bucket: RefreshLambda = field(kw_only=True)

    def __post_init__(self) -> None:
        start = "arn:aws:storagegateway:us-east-1:123456789012"
        self.shares = [
            FileShare(
                f"{start}:share/share-{number}",
                "NFS",
                f"{start}:gateway/sgw-{self.bucket.name}-{number}",
                "AVAILABLE",
                self.bucket.name,
                prefix,
            )
            for number, prefix in enumerate(PREFIXES)
        ]

    def refresh(self, share: FileShare, round_: Round) -> str:
        number = self.shares.index(share)
        simulated = self.bucket.shares[number]
        try:
            folders = self.bucket.ask(number, round_)
        except RefusedError as refused:
            error: Any = {"Error": {"Code": refused.refusal.code, "Message": str(refused)}}
            raise ClientError(error, "RefreshCache") from refused
        simulated.publish(simulated.read(folders, recursive=round_.recursive))
        return f"refresh {number}.{len(self.bucket.asked[number])} at {self.world.time}"


@BOTH_KINDS
def test_when_no_request_is_left_every_client_sees_what_the_bucket_holds(world: World, uncached: Uncached) -> None:
    fewer = settings(SETTINGS, max_examples=SETTINGS.max_examples // 10, stateful_step_count=10)
    run(lambda: RefreshLambda(world, uncached), fewer)


@BOTH_KINDS
@pytest.mark.parametrize(
    ("keys", "left"),
    [
        (many_keys("a/b/", 60, 1), "="),
        (many_keys("a/b/", 150, 50), "*/"),
        (many_keys("a/b/", 151, 50), ""),
    ],
    ids=["63 folders", "203 folders", "more than a window keeps"],
)
def test_what_is_left_for_the_next_round_waits_in_the_table(
    world: World, uncached: Uncached, keys: list[str], left: str
) -> None:
    bucket = RefreshLambda(world, uncached)
    bucket.put_all(keys)
    bucket.refresh_all_and_compare()
    world.time += A_DAY_MS  # no share was asked a moment ago
    bucket.put_all([f"{key}-changed" for key in keys])
    bucket.deliver(0)  # the bucket's window
    for number in range(3):
        assert all(folder.startswith(left) for folder in bucket.waiting(number))
        assert bool(bucket.waiting(number)) == bool(left)
    bucket.refresh_all_and_compare()
