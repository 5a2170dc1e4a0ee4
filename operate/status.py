"""One screen about a stack: is it working, how fresh are the shares, what is broken.

`look` asks AWS and returns a Report, plain data, whose `concerns` say what needs attention and the command to run next;
`screen` draws it. Nothing is changed.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from botocore.exceptions import ClientError
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from event_aggregator.file_shares import FileShare
from event_aggregator.observability import METRICS
from event_aggregator.settings import Settings
from event_aggregator.table import Item, read_key
from operate.stack import Stack, now_ms
from operate.words import ago, clock, plural, span

# A request may be this late before something is wrong: a cold start, a busy queue, a few redeliveries.
_LATE_MS = 15 * 60_000
_LONG_WAIT_MS = 60 * 60_000
_MONTH_MS = 30 * 24 * 3_600_000

_OF_THE_AGGREGATOR = ("ChangesAbsorbed", "WindowsOpened")
_LONGEST = tuple(name for name in METRICS if name.startswith("Seconds"))

# The rules without which nothing is lost, but found late; that of changes is seen at its buckets.
_RULES = {
    "RefreshComplete": "that a refresh is complete is not told, and the share's next waits until it counts as lapsed",
    "Sweep": "lost requests are not found",
}


class Attached(StrEnum):
    """Whether a bucket's changes are known to come here."""

    YES = "attached"
    LOST = "its notification is gone"
    GONE = "there is no such bucket"
    NO = "told of by a topic or a queue, or detached"


@dataclass(frozen=True)
class Window:
    """An open window; times are epoch milliseconds."""

    since: int  # its first change
    latest: int  # the last change that put a folder into it
    due: int
    folders: list[str]
    reason: str | None = None  # why a share waits


@dataclass(frozen=True)
class Share:
    """A file share; times are epoch milliseconds, None where it never happened."""

    share: str
    prefix: str
    status: str
    last_accepted: int | None
    in_progress_since: int | None
    waiting: Window | None


@dataclass(frozen=True)
class Bucket:
    name: str
    attached: Attached
    window: Window | None
    refreshing_since: int | None  # its window was closed then, and not all of its shares are asked or waiting yet
    shares: list[Share]
    # What else waits: for a region whose shares could not be listed, what gateways wrote, a share that is not listed.
    others: dict[str, Window] = field(default_factory=dict)


@dataclass(frozen=True)
class Concern:
    """Something that needs attention, and what to do about it."""

    what: str
    then: str
    is_known: bool = True  # False: only that it could not be told


@dataclass(frozen=True)
class Report:
    at: int
    region: str
    prefix: str
    settings: dict[str, Any]
    buckets: list[Bucket]
    requests: dict[str, int]  # on the queue: delayed, ready, in_flight
    dead_letters: int
    last_day: dict[str, dict[str, float]]  # bucket: metric: its sum, or the longest for seconds
    concerns: list[Concern] = field(default_factory=list)

    @property
    def well(self) -> bool:
        return not self.concerns

    @property
    def exit_status(self) -> int:
        """0 all is well, 1 something needs attention, 2 nothing that is known does, but not all is known."""
        if self.well:
            return 0
        return 1 if any(concern.is_known for concern in self.concerns) else 2

    def as_json(self) -> dict[str, Any]:
        return {"well": self.well, **asdict(self)}


def look(stack: Stack) -> Report:
    """Everything about the stack as it is now."""
    at, settings = now_ms(), stack.settings
    items = dict(stack.windows.everything())
    queue, dead = stack.queue_attributes(settings.queue_url), stack.queue_attributes(stack.dead_letter_url)
    by_script = stack.buckets()
    names = sorted({*by_script, *refreshed_lately(items, at)})
    buckets = [_bucket(stack, name, attached(stack, name, by_script), items, at) for name in names]
    report = Report(
        at=at,
        region=stack.region,
        prefix=stack.prefix,
        settings=_in_force(settings),
        buckets=buckets,
        requests={
            "delayed": int(queue["ApproximateNumberOfMessagesDelayed"]),
            "ready": int(queue["ApproximateNumberOfMessages"]),
            "in_flight": int(queue["ApproximateNumberOfMessagesNotVisible"]),
        },
        dead_letters=int(dead["ApproximateNumberOfMessages"]) + int(dead["ApproximateNumberOfMessagesNotVisible"]),
        last_day=_last_day(stack, names, at),
    )
    report.concerns.extend(_concerns(stack, report))
    return report


def _in_force(settings: Settings) -> dict[str, Any]:
    return {name: value for name, value in asdict(settings).items() if name not in ("table_name", "queue_url")}


def refreshed_lately(items: dict[str, Item], at: int) -> set[str]:
    """The buckets of which something is open, or was refreshed in the last month: others may have been detached."""
    lately = at - _MONTH_MS
    return {
        read_key(key)[0]
        for key, item in items.items()
        if item.window_id or item.refreshing_id or max(item.refresh_started_at, item.last_accepted_at) > lately
    }


def attached(stack: Stack, name: str, by_script: list[str]) -> Attached:
    """What has become of the bucket's notification, if it is one of those that were attached `by_script`."""
    if name not in by_script:
        return Attached.NO
    try:
        return Attached.YES if stack.notifications(name) else Attached.LOST
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchBucket":
            raise
        return Attached.GONE


def _bucket(stack: Stack, name: str, attached: Attached, items: dict[str, Item], at: int) -> Bucket:
    item, shares = items.get(name, Item()), stack.shares(name)
    of_others = {key: _window(found) for key, found in items.items() if key.startswith(f"{name}/")}
    for share in shares:
        of_others.pop(share.key, None)
    return Bucket(
        name=name,
        attached=attached,
        window=_window(item),
        refreshing_since=item.refresh_started_at if item.refreshing_id else None,
        shares=[_share(stack.settings, share, items.get(share.key, Item()), at) for share in shares],
        others={key.partition("/")[2]: window for key, window in of_others.items() if window},
    )


def _share(settings: Settings, share: FileShare, item: Item, at: int) -> Share:
    lapses = item.in_progress_since + settings.in_progress_timeout_seconds * 1000
    in_progress = item.in_progress_id is not None and at < lapses
    return Share(
        share=share.key.partition("/")[2],
        prefix=share.prefix,
        status=share.status,
        last_accepted=item.last_accepted_at or None,
        in_progress_since=item.in_progress_since if in_progress else None,
        waiting=_window(item),
    )


def _window(item: Item) -> Window | None:
    if item.window_id is None:
        return None
    return Window(item.opened_at, item.last_change_at, item.refresh_at, sorted(item.folders), item.reason)


def _last_day(stack: Stack, buckets: list[str], at: int) -> dict[str, dict[str, float]]:
    """The metrics of the last 24 hours; those without a value are left out."""
    wanted = [(bucket, metric) for bucket in buckets for metric in METRICS]
    queries = [
        {
            "Id": f"m{number}",
            "MetricStat": {
                "Metric": {
                    "Namespace": "S3EventAggregator",
                    "MetricName": metric,
                    "Dimensions": [
                        {"Name": "bucket", "Value": bucket},
                        {
                            "Name": "service",
                            "Value": stack.aggregator if metric in _OF_THE_AGGREGATOR else stack.refresh,
                        },
                    ],
                },
                "Period": 3600,
                "Stat": "Maximum" if metric in _LONGEST else "Sum",
            },
        }
        for number, (bucket, metric) in enumerate(wanted)
    ]
    end = datetime.fromtimestamp(at / 1000, UTC) + timedelta(minutes=1)
    found: dict[str, list[float]] = {}
    for start in range(0, len(queries), 500):  # GetMetricData takes no more
        pages = (
            stack.client("cloudwatch")
            .get_paginator("get_metric_data")
            .paginate(MetricDataQueries=queries[start : start + 500], StartTime=end - timedelta(days=1), EndTime=end)
        )
        for page in pages:
            for result in page["MetricDataResults"]:
                found.setdefault(result["Id"], []).extend(result["Values"])
    day: dict[str, dict[str, float]] = {bucket: {} for bucket in buckets}
    for number, (bucket, metric) in enumerate(wanted):
        if values := found.get(f"m{number}"):
            day[bucket][metric] = max(values) if metric in _LONGEST else sum(values)
    return day


# What needs attention


def _concerns(stack: Stack, report: Report) -> list[Concern]:
    found = []
    if report.dead_letters:
        found.append(
            Concern(
                f"{plural(report.dead_letters, 'message')} in the dead-letter queue: given up after nine hours",
                stack.command("redrive.sh"),
            )
        )
    if state := trigger_that_does_not_read(stack):
        found.append(
            Concern(
                f"the queue is not read: the refresh function's trigger is {state}",
                f"enable it in the Lambda console; so does {stack.command('create-stack.sh')}",
            )
        )
    found += rules_that_do_not_run(stack)
    found += [Concern(f"alarm {name}", description) for name, description in _alarms(stack)]
    for bucket in report.buckets:
        found += concerns_of_bucket(stack, bucket, report.at)
    advice = "see README, When a share stays stale"
    return found + [Concern(note, advice, is_known=False) for note in dict.fromkeys(stack.notes)]


def trigger_that_does_not_read(stack: Stack) -> str | None:
    """The state of the refresh function's trigger, if it does not read the queue."""
    answer = stack.client("lambda").list_event_source_mappings(FunctionName=stack.refresh)
    states = [mapping["State"] for mapping in answer["EventSourceMappings"]]
    reading = ("Enabled", "Enabling", "Creating", "Updating")
    return None if any(state in reading for state in states) else ", ".join(states) or "gone"


def rules_that_do_not_run(stack: Stack) -> Iterator[Concern]:
    """The stack's rules that are disabled, or not there, and what that means."""
    for rule, what in _RULES.items():
        if (state := stack.rule(rule).get("State", "gone")) in ("DISABLED", "gone"):
            name = f"the rule {stack.aggregator}{rule} is {state.lower()}: {what}"
            yield Concern(name, f"enable it in the EventBridge console; so does {stack.command('create-stack.sh')}")


def _alarms(stack: Stack) -> list[tuple[str, str]]:
    """Name and description of this stack's alarms that are raised."""
    pages = stack.client("cloudwatch").get_paginator("describe_alarms")
    found = pages.paginate(AlarmNamePrefix=stack.aggregator, StateValue="ALARM", AlarmTypes=["MetricAlarm"])
    return [(alarm["AlarmName"], alarm.get("AlarmDescription", "")) for page in found for alarm in page["MetricAlarms"]]


def concerns_of_bucket(stack: Stack, bucket: Bucket, at: int) -> list[Concern]:
    """What is wrong with a bucket and its shares, `at` epoch milliseconds."""
    found = []
    logs = f"aws logs tail /aws/lambda/{stack.refresh} --since 1h --region {stack.region}"
    if bucket.attached is Attached.LOST:
        mend = stack.command("attach-bucket.sh", "--bucket", bucket.name)
        found.append(Concern(f"{bucket.name} does not notify this stack of its changes", mend))
    if bucket.attached is Attached.GONE:
        mend = stack.command("detach-bucket.sh", "--bucket", bucket.name)
        found.append(Concern(f"there is no bucket {bucket.name} any more", mend))
    if bucket.attached is Attached.YES and not bucket.shares and not stack.notes and not stack.unseen_places:
        found.append(Concern(f"no file share shows {bucket.name}", "nothing is refreshed for it; see README"))
    if bucket.window and bucket.window.due < at - _LATE_MS:
        late = f"the refresh of {bucket.name} was due {ago(at, bucket.window.due)}, and has not begun"
        found.append(Concern(late, logs))
    if bucket.refreshing_since and bucket.refreshing_since < at - _LATE_MS:
        late = f"the refresh of {bucket.name} began {ago(at, bucket.refreshing_since)}, and has not reached every share"
        found.append(Concern(late, logs))
    for key, window in bucket.others.items():
        if window.since < at - _LONG_WAIT_MS and window.due < at:
            waits = f"{bucket.name}/{key} has waited for {span((at - window.since) / 1000)}"
            found.append(Concern(f"{waits}: {window.reason or 'its request is late'}", logs))
    for share in bucket.shares:
        name = f"{bucket.name}/{share.share}"
        if share.waiting and share.waiting.since < at - _LONG_WAIT_MS:
            waits = f"{name} has waited for {span((at - share.waiting.since) / 1000)}"
            because = share.waiting.reason or "see the refresh function's log"
            found.append(
                Concern(f"{waits}: {because}", "is its gateway online? Once it is, the share is refreshed by itself")
            )
        elif share.status != "AVAILABLE":
            found.append(Concern(f"{name} is {share.status}", "look at it in the Storage Gateway console"))
    return found


# The screen


def screen(report: Report) -> RenderableType:
    """The report as a terminal shows it."""
    name = f"{report.prefix}S3EventAggregator"
    title = Text.assemble((name, "bold"), f"  {report.region}  {clock(report.at)}")
    # What may be long comes last: a watched screen ends where the terminal does.
    parts: list[RenderableType] = [title, _verdict(report), "", _settings(report), _queues(report)]
    parts += [_buckets(report), _day(report)] if report.buckets else ["No bucket is attached."]
    return Group(*parts)


def _verdict(report: Report) -> RenderableType:
    if report.well:
        return Text("All is well.", style="bold green")
    count = len(report.concerns)
    lines = [Text(f"{count} {'thing needs' if count == 1 else 'things need'} attention:", style="bold red")]
    for concern in report.concerns:
        lines += [Text(f"  {concern.what}", style="red"), Text(f"      {concern.then}", style="dim")]
    return Group(*lines)


def _settings(report: Report) -> Text:
    settings = report.settings
    quiet = settings["refresh_quiet_seconds"]
    delay = (
        f"{span(quiet)} after the last change, {span(settings['refresh_max_delay_seconds'])} after the first at most"
        if quiet
        else f"{span(settings['refresh_delay_seconds'])} after the first change"
    )
    what = "the folders that changed" if settings["refresh_scope"] == "folders" else "the whole share"
    interval = span(settings["min_refresh_interval_seconds"])
    timeout = settings["in_progress_timeout_seconds"]
    unless = f", and not while it still refreshes ({span(timeout)} at most)" if timeout else ""
    text = f"Refreshes {what}, {delay}. Asks a share at most every {interval}{unless}."
    text += f" Refreshes at one gateway at a time: {settings['refreshes_per_gateway']} at most."
    regions = ", ".join(settings["gateway_regions"]) or report.region
    text += f"\nGateways in {regions}; what one wrote refreshes the others: {settings['refresh_other_gateways']}."
    text += f" Log level {settings['log_level']}."
    if roles := settings["gateway_role_arns"]:
        text += f"\nNot shown here: the file shares that it reaches through {', '.join(roles)}."
    return Text(text)


def _buckets(report: Report) -> Table:
    table = _table("Bucket, share", "State", "Last refresh", "Waits for it")
    for bucket in report.buckets:
        table.add_row(Text(bucket.name, style="bold"), _state(bucket, report.at), "", _held(bucket.window))
        for share in bucket.shares:
            shown = f"  {share.share}" + (f" (/{share.prefix})" if share.prefix else "")
            last = ago(report.at, share.last_accepted) if share.last_accepted else "never"
            table.add_row(shown, _state_of_share(share, report.at), last, _held(share.waiting))
        for name, window in bucket.others.items():
            table.add_row(f"  {name}", _waits(window, report.at), "", _held(window))
    return table


def _state(bucket: Bucket, at: int) -> str:
    if bucket.window:
        due = ago(at, bucket.window.due) if bucket.window.due > at else "now"
        state = f"window open, changes since {span((at - bucket.window.since) / 1000)}, due {due}"
    elif bucket.refreshing_since:
        state = f"refreshing since {ago(at, bucket.refreshing_since)}"
    else:
        state = "nothing to do"
    return state if bucket.attached is Attached.YES else f"{state} ({bucket.attached})"


def _state_of_share(share: Share, at: int) -> str:
    states = [] if share.status == "AVAILABLE" else [share.status]
    if share.in_progress_since:
        states.append(f"in progress since {span((at - share.in_progress_since) / 1000)}")
    if share.waiting:
        states.append(_waits(share.waiting, at))
    return "; ".join(states) or "up to date"


def _waits(window: Window, at: int) -> str:
    due = ago(at, window.due) if window.due > at else "now"
    return f"waits, next try {due}" + (f": {window.reason}" if window.reason else "")


def _held(window: Window | None) -> str:
    if window is None:
        return ""
    return "everything" if "*" in window.folders else plural(len(window.folders), "folder")


def _day(report: Report) -> Table:
    table = _table("Last 24 hours", "Changes", "Windows", "Refreshes", "Refused", "Deferred", "Longest until visible")
    for bucket, day in report.last_day.items():
        count = Counter(day)
        visible = span(day["SecondsUntilVisible"]) if "SecondsUntilVisible" in day else "not known"
        changes = count["ChangesAbsorbed"] + count["WindowsOpened"]
        others = ("WindowsOpened", "RefreshesAccepted", "RefreshesRefused", "RefreshesDeferred")
        table.add_row(bucket, f"{changes:,.0f}", *(f"{count[name]:,.0f}" for name in others), visible)
    return table


def _queues(report: Report) -> Text:
    requests = report.requests
    return Text(
        f"Queue: {plural(requests['delayed'], 'request')} delayed, {requests['ready']} ready,"
        f" {requests['in_flight']} being handled. Dead-letter queue: {report.dead_letters or 'empty'}."
    )


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for number, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=number == 0)
    return table
