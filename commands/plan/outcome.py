"""What somebody sees and pays: of each pace of this project, and of what else there is, on the same traffic."""

from array import array
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from commands.plan.prices import DAYS, SECONDS_A_DAY, SWEEPS_A_DAY, Bill, Counted, bill, idle, on_s3
from commands.plan.replay import Pace, Refresh, Shown, replay
from commands.plan.trace import Ints, Requests, Trace
from event_aggregator.folders import WHOLE_SHARE
from event_aggregator.settings import Settings


@dataclass(frozen=True)
class Setting:
    """A pace of this project: as it is called, and as the functions' environment has it."""

    name: str
    delay: int = 30
    quiet: int = 0
    longest: int = 900

    @property
    def environment(self) -> dict[str, str]:
        if not self.quiet:
            return {"REFRESH_DELAY_SECONDS": str(self.delay)}
        return {"REFRESH_QUIET_SECONDS": str(self.quiet), "REFRESH_MAX_DELAY_SECONDS": str(self.longest)}


@dataclass(frozen=True)
class Outcome:
    """Times are seconds, from a change until all shares that show its folder show it; None: some never do."""

    name: str
    refreshes_a_day: float  # of all shares
    lists_a_day: float
    heads_a_day: float
    median: float
    most: float | None  # 95 % of the changes wait no longer
    longest: float | None
    seen_half: float  # share of the uploads during which a refresh began
    bill: Bill  # of a month
    setting: Setting | None = None  # None: it is not this project

    def as_json(self) -> dict[str, Any]:
        content = asdict(self) | {"dollars_a_month": self.bill.total}
        return content | {"setting": self.setting.environment if self.setting else None}


Task = Callable[[Trace, Sequence[Shown], Pace], Outcome]


def of_setting(setting: Setting, others: dict[str, str], trace: Trace, shares: Sequence[Shown], pace: Pace) -> Outcome:
    """Of this project; `others` are settings that are the same for every pace."""
    settings = Settings.read({"TABLE_NAME": "table", "QUEUE_URL": "queue"} | others | setting.environment)
    done = replay(trace, shares, settings, pace)
    done.counted.deliveries += round(SWEEPS_A_DAY * trace.days)
    done.counted.calls += round(SWEEPS_A_DAY * trace.days)
    done.counted.read_units += SWEEPS_A_DAY * trace.days
    outcome = _outcome(setting.name, trace, shares, [_Made.of(trace, made) for made in done.refreshes])
    a_month = bill(done.counted, times=DAYS / trace.days, s3=outcome.bill.s3 * trace.days / DAYS)
    return replace(outcome, bill=replace(a_month, sqs=a_month.sqs + idle()), setting=setting)


def alternatives() -> list[Task]:
    """What else there is."""
    return [*(partial(_automated, minutes) for minutes in (5, 30, 120)), partial(_scheduled, 10), _one_an_event]


def _automated(minutes: int, trace: Trace, shares: Sequence[Shown], pace: Pace) -> Outcome:  # noqa: ARG001
    """Automated cache refresh (S3 File Gateway user guide): who opens a folder after its TTL has it read again.

    Here somebody does so at once, in each folder that the trace names: it costs less if nobody does, and is later.
    """
    ttl, begin = minutes * 60_000, int(trace.times[0])
    asked, requests = 0, Requests()
    for share in shares:
        for folder in np.flatnonzero(trace.shown(share.prefix)).tolist():
            requests, asked = requests + trace.contents.alone(trace.names[folder]), asked + 1
    rounds = SECONDS_A_DAY * 1000 / ttl
    _, first, last = trace.uploads
    half = -(-(first - begin) // ttl) < -(-(last - begin) // ttl)
    return Outcome(
        f"automated refresh, TTL {minutes} min",
        asked * rounds,
        requests.lists * rounds,
        requests.heads * rounds,
        *_quantiles((begin - trace.times) % ttl, trace.span),
        seen_half=float(half.mean()) if len(half) else 0.0,
        bill=Bill(s3=DAYS * rounds * on_s3(requests.lists, requests.heads)),
    )


def _scheduled(minutes: int, trace: Trace, shares: Sequence[Shown], pace: Pace) -> Outcome:
    """A refresh of each whole share, by the clock; one that would begin while the last is in progress is left out."""
    end, made = int(trace.times[-1] - trace.times[0]), []
    for share in shares:
        requests = trace.contents.of(WHOLE_SHARE, share.prefix)
        takes = pace.milliseconds(requests)
        every = minutes * 60_000 * -(-takes // (minutes * 60_000))
        began = every * np.arange(1, end // every + 3)
        made.append(
            _Made(began, began + takes, _times(requests, len(began)), np.empty(0, np.int64), np.zeros_like(began))
        )
    return _outcome(f"whole share every {minutes} min", trace, shares, made)


def _one_an_event(trace: Trace, shares: Sequence[Shown], pace: Pace) -> Outcome:
    """RefreshCache of the changed folder for each event. The gateway takes two at a time; what it refuses is lost."""
    each = [trace.contents.alone(name) for name in trace.names]
    times = trace.times - trace.times[0]
    ends = times + np.array([pace.milliseconds(requests) for requests in each])[trace.folders]
    accepted, earlier, later = array("q"), 0, 0  # ends of the two in progress
    for at, (now, end) in enumerate(zip(memoryview(times), memoryview(ends), strict=True)):
        if earlier <= now:
            accepted.append(at)
            earlier, later = sorted((later, end))
    places = np.array(accepted)
    folders = trace.folders[places].astype(np.int64)
    asked = np.bincount(folders, minlength=len(each)).tolist()
    requests = sum((_times(one, number) for one, number in zip(each, asked, strict=True)), Requests())
    made = _Made(times[places], ends[places], requests, folders, np.ones_like(folders))
    del times, ends, accepted, places
    outcome = _outcome("one refresh an event", trace, shares, [made] * len(shares))
    counted = Counted(events=len(trace.times), calls=len(trace.times))
    return replace(outcome, bill=bill(counted, times=DAYS / trace.days, s3=outcome.bill.s3 * trace.days / DAYS))


def _times(requests: Requests, number: int) -> Requests:
    return Requests(requests.lists * number, requests.heads * number)


@dataclass(frozen=True)
class _Made:
    """The refreshes of a share; times are milliseconds since the trace's begin."""

    began: Ints
    ended: Ints
    requests: Requests  # of all
    folders: Ints  # those that the refreshes list, one refresh after the other
    sizes: Ints  # how many folders each lists; 0: all of the share

    @classmethod
    def of(cls, trace: Trace, refreshes: Sequence[Refresh]) -> "_Made":
        begin = int(trace.times[0])
        lists = [np.empty(0, np.int64), *(one.folders for one in refreshes if one.folders is not None)]
        return cls(
            np.array([one.began - begin for one in refreshes], np.int64),
            np.array([one.ended - begin for one in refreshes], np.int64),
            sum((one.requests for one in refreshes), Requests()),
            np.concatenate(lists).astype(np.int64),
            np.array([0 if one.folders is None else len(one.folders) for one in refreshes], np.int64),
        )

    def of_folders(self, trace: Trace) -> tuple[Ints, Ints]:
        """When each folder's refreshes began and ended, like Trace.in_folders. An end after each folder's last is one
        that is never reached."""
        ends = np.arange(1, len(trace.names) + 1, dtype=np.int64) * trace.span
        began = np.concatenate([self.folders * trace.span + np.repeat(self.began, self.sizes), ends - 1])
        ended = np.concatenate([self.folders * trace.span + np.repeat(self.ended, self.sizes), ends + 2 * trace.span])
        order = np.argsort(began, kind="stable")
        return began[order], ended[order]

    def of_all(self) -> tuple[Ints, Ints]:
        return self.began[self.sizes == 0], self.ended[self.sizes == 0]


def _outcome(name: str, trace: Trace, shares: Sequence[Shown], made: Sequence[_Made]) -> Outcome:
    """What the refreshes of all shares show, and cost on S3."""
    requests = sum((one.requests for one in made), Requests())
    return Outcome(
        name,
        sum(len(one.began) for one in made) / trace.days,
        requests.lists / trace.days,
        requests.heads / trace.days,
        *_quantiles(_waits(trace, shares, made), trace.span),
        seen_half=_seen_half(trace, shares, made),
        bill=Bill(s3=on_s3(requests.lists, requests.heads) * DAYS / trace.days),
    )


def _waits(trace: Trace, shares: Sequence[Shown], made: Sequence[_Made]) -> Ints:
    """Milliseconds from each change until the last share that shows its folder shows it, folder after folder.

    That is the end of the first refresh of the folder which began no earlier than the change; Trace.span and more:
    there is none.
    """
    changes, begin = trace.in_folders, int(trace.times[0])
    result = np.empty(0, np.int64)
    for share, one in zip(shares, made, strict=True):
        began, ended = one.of_folders(trace)
        # Every change is seen by the refresh before whose begin it lies, after the one before.
        waited = np.repeat(ended, np.diff(np.searchsorted(changes, began, "right"), prepend=0))
        waited -= changes
        began, ended = one.of_all()
        if len(began):
            places = np.searchsorted(trace.times, began + begin, "right")
            seen = np.repeat(np.append(ended, 3 * trace.span) + begin, np.diff(places, prepend=0, append=len(changes)))
            seen -= trace.times
            np.minimum(waited, seen[trace.by_folder], out=waited)
        if share.prefix:
            waited[np.repeat(~trace.shown(share.prefix), np.diff(trace.starts))] = -1
        result = np.maximum(result, waited) if len(result) else waited
    return result[result >= 0] if all(share.prefix for share in shares) else result


def _seen_half(trace: Trace, shares: Sequence[Shown], made: Sequence[_Made]) -> float:
    """The share of uploads during which a refresh of their folder began, at any share that shows it."""
    folders, first, last = trace.uploads
    first, last = first - trace.times[0], last - trace.times[0]
    half, key = np.zeros(len(first), bool), folders * trace.span
    for share, one in zip(shares, made, strict=True):
        began, _ = one.of_folders(trace)
        during = np.searchsorted(began, key + first) < np.searchsorted(began, key + last)
        began, _ = one.of_all()
        during |= np.searchsorted(began, first) < np.searchsorted(began, last)
        half |= during & trace.shown(share.prefix)[folders]
    return float(half.mean()) if len(half) else 0.0


def _quantiles(waited: Ints, never: int) -> tuple[float, float | None, float | None]:
    """The median, what 95 % do not exceed, and the longest, in seconds. Changes the order of what it is given."""
    if not len(waited):
        return 0.0, 0.0, 0.0
    places = [len(waited) // 2, min(len(waited) - 1, int(len(waited) * 0.95)), len(waited) - 1]
    waited.partition(places)
    median, most, longest = (None if waited[place] >= never else float(waited[place]) / 1000 for place in places)
    return median or 0.0, most, longest
