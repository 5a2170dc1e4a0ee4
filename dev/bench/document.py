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

`dev/bench.sh` wrote this page on {today()} ({machine()}). It needs no AWS account: run it again to repeat every
figure. Counts are exact, and the same on every machine. Times are this machine's.

The functions' own code runs in one process with simulated AWS services, a file share in memory, and a simulated
clock. The **baseline**, in the same run, is what the 2018 aggregator did: one conditional UpdateItem per event, and
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
## Receiving events

A warm container that knows the open window absorbs an event without an AWS call. (The CPU time of a call includes
moto, which answers it in the same process.)

{one}

A window costs one write for each folder and each container, plus {more}, whatever the number of events. _Until due_
is the aggregator's part. _In all_ includes the refresh of one share, its completion, and further rounds if one
RefreshCache call cannot take all folders. Write units grow with the folders' names (here {FOLDER_BYTES} bytes each):
those of this window and, in its first two writes, those of the previous one. The baseline writes once for each event
and once to close: {number(plain.meter.calls["UpdateItem"])} writes were counted for {number(plain.events)} events.
The tables do not include the event for each completed refresh (`--visible-events`), which is one PutEvents call at $1
per million, and no write.

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

Medians. Cold starts: {cold.rounds} fresh interpreters each, alternating, of Python {cold.python} ({which}), without
the interpreter's own start. The code is not precompiled, as in the functions' zip file. Everything else: Python
{platform.python_version()}.

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

One object changes, {DEPTH} folders deep, with {OBJECTS_A_FOLDER} objects per folder. The folder and the {DEPTH}
folders above it are listed again, at a cost that does not depend on the rest of the bucket. Baseline: the whole
share.

{sizes}

{picture}Many changed folders, as far from each other as possible, in a bucket of {number(objects)} objects. With more
than 200 folders, those above the changed ones included, a refresh takes whole subtrees, which here contain
everything.

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

The delay is 30 s, the interval between two refreshes 60 s, and a refresh takes 5 s. The fewest possible refreshes are
those of a greedy rule, which delays each refresh as long as its first change may wait: 30 s (_any time_; no rule
needs fewer), or until 60 s after the previous refresh. The longest wait is from a change to the start of the refresh
that shows it.

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
## Shares on one gateway, compared with perfect turns

AWS documents a limit of two refreshes at a time, in one place per gateway and in another per file share. The tables
show both. All shares show the bucket. This project refreshes two of them at a time (`REFRESHES_PER_GATEWAY`), and
probes with one more once per interval, which a full gateway refuses.

With **perfect turns**, the share that has waited longest takes a free slot at once. After one change, the last share
is done after shares ÷ 2, rounded up, times the duration of a refresh. While changes go on, a change may come just
after a share's refresh began. Then it waits until all shares had another turn, or for the interval if that is longer.
The longest wait of a share is from the end of the window's delay to the end of the refresh that shows the change. At
a gateway that takes more than two, the ratio is below 1.

A refresh takes {TAKES // 1000} s. `REFRESH_DELAY_SECONDS` and `MIN_REFRESH_INTERVAL_SECONDS` are the same. Calls take
no time, and messages arrive when they are due. Write units grow faster than the number of shares, because a gateway's
item holds all of them.

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

Computed from the counted calls and the list prices of {PRICES_AS_OF} (current prices: aws.amazon.com/pricing). Free
tiers are not subtracted. Assumed: {ASSUMPTIONS}; each window starts its containers anew.

{prices}

{million}

The example has a bucket of {number(objects)} objects; one day was run and counted. Nearly all of the SQS cost is
Lambda's polling, {number(IDLE_POLLS)} requests in 30 days, which the free tier covers in an account that uses SQS for
nothing else. The figures of the article are its own.

{month}"""


def _million(window: Window, logs: str, mark: str = "") -> list[str]:
    bill, folders = million_events(window), f" in {window.folders} folders" if window.folders > 1 else ""
    name = f"windows of {number(window.events)}{folders}{mark}"
    return [name, dollars(bill.lambda_), dollars(bill.dynamodb), dollars(bill.sqs), logs, dollars(bill.total)]
