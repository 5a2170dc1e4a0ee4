"""docs/performance.md, section by section: each figure beside its baseline, with what it assumes."""

import platform
from collections.abc import Sequence

from commands.plan.prices import ASSUMPTIONS, IDLE_POLLS, PRICES, PRICES_AS_OF, Bill, on_s3
from dev.bench.cold_start import ColdStart
from dev.bench.events import FOLDER_BYTES, Absorbed, WarmPath, Window
from dev.bench.money import million_events
from dev.bench.report import dollars, machine, number, ratio, table, today
from dev.bench.scope import DEPTH, OBJECTS_A_FOLDER, Cost, Scope, Spread
from dev.bench.traffic import Outcome
from dev.bench.turns import TAKES, Line

SCOPE_CHART, TRAFFIC_CHART, UPLOAD_CHART = "refresh-cost.png", "refreshes.png", "quiet-window.png"


def head() -> str:
    return f"""\
# What it costs

Made whole by `dev/bench.sh` on {today()} ({machine()}). Run that again to repeat every figure; it needs no AWS
account. Counts are exact and the same on every machine; times are this machine's.

The functions' own code runs in one process, with simulated AWS services, a file share in memory and a clock that the
run moves. The **baseline**, in the same run, is what the 2018 aggregator did: one conditional UpdateItem an event, and
refreshes of the whole share."""


def event_side(windows: Sequence[Window], plain: Window, absorbed: Absorbed, plain_absorbed: Absorbed) -> str:
    both = (absorbed, plain_absorbed)
    one = table(
        ["an absorbed event", "this project", "baseline"],
        [
            ["AWS calls", *(number(one.meter.calls.total() / one.meter.events) for one in both)],
            ["DynamoDB write units", *(number(one.meter.write_units / one.meter.events) for one in both)],
            ["bytes logged at INFO", number(absorbed.log_bytes / absorbed.meter.events), "not counted"],
            ["CPU, µs", *(number(one.meter.cpu_seconds / one.meter.events * 1e6) for one in both)],
        ],
    )
    many = table(
        [
            "a window of",
            "folders",
            "containers",
            "writes until due",
            "writes in all",
            "write units",
            "SendMessage",
            "bytes logged",
            "CPU, ms",
            "baseline: writes",
        ],
        [
            [
                number(window.events),
                str(window.folders),
                str(window.containers),
                number(window.aggregator.calls["UpdateItem"]),
                number(window.meter.calls["UpdateItem"]),
                number(window.meter.write_units),
                number(window.meter.calls["SendMessage"]),
                number(window.log_bytes),
                number(window.meter.cpu_seconds * 1000),
                number(window.events + 1),
            ]
            for window in windows
        ],
    )
    more = windows[0].meter.calls["UpdateItem"] - windows[0].folders - windows[0].containers
    return f"""\
## An event on its way in

A warm container that knows the open window absorbs an event without any call. (The CPU time of a call holds moto's
answer, which is made in the same process.)

{one}

A window costs a write for each folder and for each container and {more} more, however many events it takes: _until due_
is the aggregator's part, _in all_ is with the refresh of one share and the report of its completion, and with the next
rounds where the folders are more than one RefreshCache call takes. Write units grow with the names of the folders, here
of {FOLDER_BYTES} bytes each: those of this window, and in its first two writes those of the one before. The baseline
writes once for each event and once to close: counted {number(plain.meter.calls["UpdateItem"])} times for
{number(plain.events)} events. The event that tells others of a completed refresh (`--visible-events`) is one call of
PutEvents more, at $1 a million, and no write: it is in no table here.

{many}"""


def times(warm: WarmPath, cold: ColdStart) -> str:
    which = "the Lambda runtime's version" if cold.is_runtime else "the Lambda runtime's is not on this machine"
    rows = [
        ["absorbed event, `s3_aggregator.lambda_handler`", f"{number(warm.handler, 1)} µs", "60 µs"],
        ["without Powertools' decorator", f"{number(warm.aggregator, 1)} µs", ""],
        ["reading its record alone", f"{number(warm.reading, 1)} µs", ""],
        ["cold start: import and make ready", f"{number(cold.ours_ms)} ms", ""],
        ["`import boto3` and two clients", f"{number(cold.boto3_ms)} ms", ""],
        ["cold start against boto3", ratio(cold.ratio), "1.10"],
    ]
    return f"""\
## CPU time

Medians. Cold starts: {cold.rounds} fresh interpreters each, in turn, of Python {cold.python} ({which}), without the
interpreter's own start; of code that is not compiled, as in the functions' zip, which is the same from every Python.
Everything else: Python {platform.python_version()}.

{table(["", "here", "at most"], rows)}"""


def refresh_side(scopes: Sequence[Scope], spreads: Sequence[Spread], *, chart: bool) -> str:
    def thousand(cost: Cost) -> str:
        return dollars(1000 * on_s3(cost.lists, cost.heads))

    sizes = table(
        [
            "objects",
            "changed folder: LIST",
            "HEAD",
            "1,000 refreshes",
            "whole share: LIST",
            "HEAD",
            "1,000 refreshes",
        ],
        [
            [
                number(scope.objects),
                *(number(scope.changed.lists), number(scope.changed.heads), thousand(scope.changed)),
                *(number(scope.share.lists), number(scope.share.heads), thousand(scope.share)),
            ]
            for scope in scopes
        ],
    )
    objects = spreads[0].objects
    rows = [(number(spread.folders), spread.changed) for spread in spreads]
    rows += [("the whole share", scope.share) for scope in scopes if scope.objects == objects]
    spread = table(
        ["changed folders", "RefreshCache calls", "LIST", "HEAD"],
        [[name, number(cost.calls), number(cost.lists), number(cost.heads)] for name, cost in rows],
    )
    picture = f"![LIST and HEAD requests of one refresh over the bucket's size]({SCOPE_CHART})\n\n" if chart else ""
    return f"""\
## What a refresh makes the gateway do

One object changes, {DEPTH} folders deep, {OBJECTS_A_FOLDER} objects a folder. The folder and its {DEPTH} ancestors are
listed again, which does not move when the bucket grows elsewhere. Baseline: the whole share.

{sizes}

{picture}Many changed folders, in a bucket of {number(objects)} objects, as far from each other as can be. Past 200
folders, ancestors included, a refresh takes whole sub-trees, and these hold everything here.

{spread}"""


def traffic(shapes: Sequence[Outcome], *, chart: bool) -> str:
    rows = table(
        [
            "traffic",
            "one for each event",
            "this project",
            "fewest, 60 s apart",
            "ratio",
            "fewest, any time",
            "longest wait",
        ],
        [
            [
                shape.shape,
                number(shape.events),
                number(shape.refreshes),
                number(shape.fewest_with_interval),
                ratio(shape.refreshes / shape.fewest_with_interval),
                number(shape.fewest),
                f"{number(shape.longest_wait / 1000)} s",
            ]
            for shape in shapes
        ],
    )
    picture = f"\n\n![Refreshes over the number of events in an hour]({TRAFFIC_CHART})" if chart else ""
    return f"""\
## Refreshes against the fewest possible

With a delay of 30 s, 60 s between two refreshes, and 5 s that a refresh takes. The fewest are those of the greedy rule,
which waits with each refresh as long as its first change may wait: 30 s (_any time_; no rule has fewer), or until 60 s
after the refresh before. The longest wait is from a change to the start of the refresh that shows it.

{rows}{picture}"""


def turns(one_change: Sequence[Line], going_on: Sequence[Line]) -> str:
    def rows(lines: Sequence[Line]) -> str:
        return table(
            [
                *("two at a time", "shares", "refreshes", "refused calls", "SendMessage"),
                *("writes", "write units", "longest wait", "perfect turns", "ratio"),
            ],
            [
                [
                    *(f"a {line.two_accepted_per}", str(line.shares)),
                    *(number(line.refreshes), number(line.refused), number(line.meter.calls["SendMessage"])),
                    *(number(line.meter.calls["UpdateItem"]), number(line.meter.write_units)),
                    *(f"{number(line.longest / 1000)} s", f"{number(line.perfect / 1000)} s"),
                    ratio(line.longest / line.perfect),
                ]
                for line in lines
            ],
        )

    return f"""\
## Shares on one gateway, against taking turns

AWS documents that two refreshes are in progress at a time, and says it of a gateway in one place and of a file share in
another. Here are both. All shares show the bucket. This project has two of them refreshed at a time
(`REFRESHES_PER_GATEWAY`), and asks one more once an interval: a gateway that is full refuses it.

With **perfect turns**, each of the two places that is free is taken at once, by the share that has waited longest.
After one change the last share is done after shares ÷ 2, rounded up, times the length of a refresh. While changes go
on, one may come just after a share's refresh began: then it waits for one more turn of all, or for the interval if that
is longer. The longest wait is that of a share, from the end of the window's delay to the end of the refresh that shows
the change. A gateway that takes more than two is faster: its ratio is below 1.

A refresh takes {TAKES // 1000} s; `REFRESH_DELAY_SECONDS` and `MIN_REFRESH_INTERVAL_SECONDS` are as long. Calls take no
time, and messages come when they are due. Write units grow faster than the number of shares, since a gateway's item
holds all of them.

One change:

{rows(one_change)}

Changes that go on at random times, for two turns of all or longer:

{rows(going_on)}"""


def money(windows: Sequence[Window], plain: Sequence[Window], ours: Bill, baseline: Bill, objects: int) -> str:
    prices = table(
        ["list price, us-east-1", "US dollars"],
        [[name, f"{price:g}" if price > 0.01 else f"{price * 1e6:g} a million"] for name, price in PRICES.items()],
    )
    million = table(
        ["a million events in", "Lambda", "DynamoDB", "SQS", "logs", "total"],
        [
            *(_million(window, dollars(million_events(window).logs)) for window in windows),
            *(_million(window, "not counted", " (baseline)") for window in plain),
        ],
    )
    month = table(
        ["30 days of 1,000 objects in 50 refreshes", "this project", "baseline", "the article of 2018"],
        [
            ["Lambda", dollars(ours.lambda_), dollars(baseline.lambda_), "$0.21"],
            ["DynamoDB", dollars(ours.dynamodb), dollars(baseline.dynamodb), "$2.75"],
            ["SQS", dollars(ours.sqs), dollars(baseline.sqs), "$0.40"],
            ["logs", dollars(ours.logs), "not counted", "not given"],
            ["S3 LIST and HEAD of the refreshes", dollars(ours.s3), dollars(baseline.s3), "not given"],
            ["total", dollars(ours.total), dollars(baseline.total), "$3.36"],
        ],
    )
    return f"""\
## US dollars

From the counted calls, and list prices noted in {PRICES_AS_OF}, which change: see aws.amazon.com/pricing. Free tiers
are not subtracted. Assumed: {ASSUMPTIONS}; each window starts its containers anew.

{prices}

{million}

The worked example has a bucket of {number(objects)} objects; a day of it is run and counted. SQS is nearly all
Lambda's own asking for messages, {number(IDLE_POLLS)} times in 30 days, which the free tier covers in an account that
uses SQS for nothing else. The article's figures are as it gave them.

{month}"""


def _million(window: Window, logs: str, mark: str = "") -> list[str]:
    bill, folders = million_events(window), f" in {window.folders} folders" if window.folders > 1 else ""
    name = f"windows of {number(window.events)}{folders}{mark}"
    return [name, dollars(bill.lambda_), dollars(bill.dynamodb), dollars(bill.sqs), logs, dollars(bill.total)]
