"""The command line of scripts/plan.sh.

Exit status: 0 done; 2 it could not be done, the reason on standard error.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import as_completed
from functools import partial
from pathlib import Path

import boto3
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console

from commands.arguments import add_version, formatter
from commands.plan import report
from commands.plan.outcome import Outcome, Setting, Task, alternatives, of_setting
from commands.plan.replay import Pace, Shown
from commands.plan.report import Plan
from commands.plan.sources import Read, SourceError, processes, read_files, read_listing
from commands.plan.trace import Piece, Trace, assemble
from event_aggregator.settings import SettingError

_DELAYS = (10, 30, 60, 120, 300, 900, 3600)
_QUIETS = (30, 60, 120, 300)
_WIDTH = 120  # of what is printed to a file


def main(arguments: Sequence[str]) -> int:
    options = parser().parse_args(arguments)
    try:
        plan = make(options)
    except (SourceError, SettingError, ClientError, BotoCoreError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    if options.png or options.html:
        from commands.plan import picture  # noqa: PLC0415 - its import takes a second, in each process
    if options.png:
        picture.save(plan, options.png)
    if options.html:
        options.html.write_text(report.page(plan, picture.svg(plan)))
    if options.json:
        print(json.dumps(plan.as_json(), indent=2))
    else:
        Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH).print(report.screen(plan), crop=False)
    return 0


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="scripts/plan.sh",
        description="Finds the settings that fit your traffic. Replays the changes of a bucket under many settings with"
        " the functions' own rules. Prints for each setting how soon the file shares would have shown the changes, what"
        " the gateway would have read, and what that costs, beside the alternatives. Recommends three settings.",
        epilog="Input: S3 server access logs, CloudTrail log files with data events, an S3 Inventory in CSV (give its"
        " manifest.json), or a CSV of time and key; as files, folders or s3:// places, gzipped or not. With --bucket"
        " alone, the bucket is listed: LastModified does not show overwrites and deletions.",
        formatter_class=formatter,
    )
    add_version(made)
    add = made.add_argument
    add("places", metavar="FILE", nargs="*", help="a file, a folder, or s3://BUCKET/PREFIX")
    add("--bucket", metavar="B", help="use only changes of this bucket; without a FILE, list it")
    add("--days", metavar="N", type=float, default=30.0, help="use the last N days (default: 30)")
    add("--share", metavar="P[@G]", action="append", default=[],
        help="a file share on the prefix P at the gateway G; repeatable; / is the whole bucket (default: one share on"
        " the whole bucket)")  # fmt: skip
    add("--refresh-delay-seconds", metavar="N,N", type=_numbers, default=_DELAYS, help="fixed delays to try")
    add("--refresh-quiet-seconds", metavar="N,N", type=_numbers, default=_QUIETS, help="quiet times to try; 0: none")
    add("--refresh-max-delay-seconds", metavar="N", type=int, default=900, help="maximum delay with a quiet time")
    add("--min-refresh-interval-seconds", metavar="N", type=int, default=60, help="as for create-stack.sh")
    add("--refreshes-per-gateway", metavar="N", type=int, default=2, help="as for create-stack.sh")
    add("--refresh-seconds", metavar="N", type=float, default=Pace.seconds, help="base duration of each refresh, plus:")
    add("--lists-per-second", metavar="N", type=float, default=Pace.lists, help="LIST requests per second")
    add("--heads-per-second", metavar="N", type=float, default=Pace.heads, help="HEAD requests per second")
    add("--json", action="store_true", help="JSON output; in seconds and US dollars per month")
    add("--png", metavar="FILE", type=Path, help="write the chart of freshness against cost")
    add("--html", metavar="FILE", type=Path, help="write everything as one page that needs no network")
    return made


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(",") if part)


def make(options: argparse.Namespace) -> Plan:
    """Reads, replays and compares. Raises SourceError, SettingError, botocore's errors, OSError."""
    told = _Progress()
    notes: list[str] = []
    if options.places:
        reads = read_files(options.places, options.bucket, told.read)
    elif options.bucket:
        reads = read_listing(options.bucket, boto3.Session(), told.read)
        notes.append("The bucket's listing tells when each object was written last: not of overwrites and deletions.")
    else:
        raise SourceError("Give a FILE, or --bucket: see --help.")
    trace = assemble(_pieces(reads, notes), options.days)
    shares = [_share(text) for text in options.share] or [Shown()]
    pace = Pace(options.refresh_seconds, options.lists_per_second, options.heads_per_second)
    notes.append(
        f"A refresh takes {pace.seconds:g} s, a second more for each {pace.lists:g} LIST and each {pace.heads:g} HEAD"
        " requests: assumed, unless you measured it (--refresh-seconds, --lists-per-second, --heads-per-second)."
    )
    tasks: list[Task] = alternatives()[::-1]  # the last takes long: it comes first
    tasks += [partial(of_setting, setting, _others(options)) for setting in _settings(options)]
    outcomes = _outcomes(tasks, (trace, shares, pace), told)
    told.end()
    ours = [outcome for outcome in outcomes if outcome.setting]
    others = [outcome for outcome in outcomes[::-1] if not outcome.setting]
    return Plan(trace, options.bucket or "", ours, others, report.notes(notes))


def _pieces(reads: Iterable[Read], notes: list[str]) -> Iterator[Piece]:
    """What was read; what was not is noted. Raises SourceError if that is all."""
    changes = by_gateways = unread = 0
    example = ""
    for read in reads:
        changes, by_gateways = changes + len(read.piece.times), by_gateways + read.by_gateways
        unread, example = unread + read.unread, example or read.example
        if len(read.piece.times):
            yield read.piece
    if by_gateways:
        notes.append(f"{by_gateways:,} changes by gateways are left out: the share that they came through knows them.")
    if unread:
        notes.append(f"{unread:,} lines could not be read as changes, the first of them: {example}")
    if not changes:
        raise SourceError(f"There is no change in what was given. {' '.join(notes)}".strip())


def _share(text: str) -> Shown:
    prefix, _, gateway = text.partition("@")
    prefix = prefix.strip("/")
    return Shown(f"{prefix}/" if prefix else "", gateway or Shown.gateway)


def _settings(options: argparse.Namespace) -> list[Setting]:
    longest = options.refresh_max_delay_seconds
    fixed = [Setting(f"delay {delay} s", delay=delay) for delay in options.refresh_delay_seconds]
    quiet = [
        Setting(f"quiet {quiet} s, at most {longest} s", quiet=quiet, longest=longest)
        for quiet in options.refresh_quiet_seconds
        if quiet
    ]
    return fixed + quiet


def _others(options: argparse.Namespace) -> dict[str, str]:
    return {
        "MIN_REFRESH_INTERVAL_SECONDS": str(options.min_refresh_interval_seconds),
        "REFRESHES_PER_GATEWAY": str(options.refreshes_per_gateway),
    }


_Given = tuple[Trace, Sequence[Shown], Pace]
_given: list[_Given] = []  # of a process that replays


def _outcomes(tasks: Sequence[Task], given: _Given, told: "_Progress") -> list[Outcome]:
    """As many at a time as there are processors."""
    given[0].prepare()
    with processes(initializer=_given.append, initargs=(given,)) as pool:
        running = [pool.submit(_outcome, task) for task in tasks]
        for number, _ in enumerate(as_completed(running), start=1):
            told.replayed(number, len(tasks))
        return [each.result() for each in running]


def _outcome(task: Task) -> Outcome:
    return task(*_given[0])


class _Progress:
    """On standard error: in a terminal one line that changes, elsewhere a line every ten seconds."""

    def __init__(self) -> None:
        self._is_terminal = sys.stderr.isatty()
        self._next = time.monotonic() + (0 if self._is_terminal else 10)

    def read(self, part: float, changes: int) -> None:
        self._tell(f"Reading: {f'{part:.0%}, ' if part else ''}{changes:,} changes")

    def replayed(self, number: int, of: int) -> None:
        self._tell(f"Replaying: {number} of {of} done")

    def end(self) -> None:
        if self._is_terminal:
            print("\r\033[K", end="", file=sys.stderr)

    def _tell(self, text: str) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + (0.2 if self._is_terminal else 10)
            print(f"\r\033[K{text}" if self._is_terminal else text, end="" if self._is_terminal else "\n",
                  file=sys.stderr, flush=True)  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
