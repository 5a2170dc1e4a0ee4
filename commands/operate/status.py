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

from commands.operate.share_state import Cause, Line, Snapshot, Standing
from commands.operate.stack import Stack
from commands.operate.terminal import add_row, one_line
from commands.operate.words import ago, clock, plural, span
from event_aggregator.file_shares import FileShare
from event_aggregator.observability import METRICS
from event_aggregator.settings import Settings
from event_aggregator.table import Key, Kind, WindowItem

# A request may be this late before something is wrong: a cold start, a busy queue, a few redeliveries.
_LATE_MS = 15 * 60_000
_LONG_WAIT_MS = 60 * 60_000
_MONTH_MS = 30 * 24 * 3_600_000

# What to do about what waits.
_BY_ITSELF = "When the cause is removed, it is refreshed by itself"

_OF_THE_AGGREGATOR = ("ChangesAbsorbed", "ChangesIgnored", "WindowsOpened")
_LONGEST = tuple(name for name in METRICS if name.startswith("Seconds"))

# The rules without which nothing is lost, but found late; that of changes is seen at its buckets.
_RULES = {
    "RefreshComplete": "that a refresh is complete is not told, and the share's next waits until it counts as lapsed",
    "Sweep": "lost requests are not found",
}


# The settings with exceptions by bucket.
_BY_BUCKET = ("refresh_delay_seconds", "refresh_quiet_seconds", "refresh_max_delay_seconds", "refresh_scope")


class Attached(StrEnum):
    """Whether a bucket's changes are known to come here."""

    YES = "attached"
    LOST = "its notification is gone"
    GONE = "there is no such bucket"
    NO = "told of by a topic or a queue, or detached"


@dataclass(frozen=True)
class Window:
    """What waits in a window that is open, or whose shares are being listed; times are epoch milliseconds."""

    since: int  # its first change
    due: int
    folders: list[str]
    latest: int | None = None  # the last change that put a folder into it
    reason: str | None = None  # why the shares of a region could not be listed, or what is done now


@dataclass(frozen=True)
class Share:
    """A file share. `status` is empty if it was not listed: it is in another account, unknown, or gone."""

    share: str  # its id, with its region, and account, before it, if that is not the stack's
    prefix: str
    status: str
    standing: Standing
    unknown: str = ""  # why it is not known what it shows


@dataclass(frozen=True)
class Bucket:
    name: str
    attached: Attached
    window: Window | None
    refreshing_since: int | None  # its window was closed then, and not all of its shares are asked or in line yet
    shares: list[Share]
    # What waits until a region's shares are listed, and what gateways wrote; by what follows the bucket in the key.
    others: dict[str, Window] = field(default_factory=dict)
    instead: str = ""  # what stands in the place of a notification that is gone


@dataclass(frozen=True)
class Concern:
    """Something that needs attention, and what to do about it."""

    what: str
    then: str
    is_known: bool = True  # False: only that it could not be told


@dataclass(frozen=True)
class Report:
    at: int
    version: str
    region: str
    prefix: str
    settings: dict[str, Any]
    buckets: list[Bucket]
    lines: list[Line]  # of the gateways with something to do
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
    settings, table = stack.settings, stack.snapshot()
    at = table.at
    queue, buckets = stack.queue_attributes(settings.queue_url), buckets_of(stack, table)
    report = Report(
        at=at,
        version=stack.variables.get("VERSION", ""),
        region=stack.region,
        prefix=stack.prefix,
        settings=_in_force(settings),
        buckets=buckets,
        lines=table.lines(),
        requests={
            "delayed": int(queue["ApproximateNumberOfMessagesDelayed"]),
            "ready": int(queue["ApproximateNumberOfMessages"]),
            "in_flight": int(queue["ApproximateNumberOfMessagesNotVisible"]),
        },
        dead_letters=dead_letters(stack),
        last_day=_last_day(stack, [bucket.name for bucket in buckets], at),
    )
    report.concerns.extend(_concerns(stack, report))
    return report


def buckets_of(stack: Stack, table: Snapshot) -> list[Bucket]:
    """Those that are attached, or of which something was refreshed lately."""
    by_script = stack.buckets()
    names = sorted({*by_script, *refreshed_lately(table)})
    listed = stack.shares_of_each(names)
    return [_bucket(stack, name, attached(stack, name, by_script), table, listed[name]) for name in names]


def dead_letters(stack: Stack) -> int:
    """How many messages are in the dead-letter queue."""
    dead = stack.queue_attributes(stack.dead_letter_url)
    return int(dead["ApproximateNumberOfMessages"]) + int(dead["ApproximateNumberOfMessagesNotVisible"])


def _in_force(settings: Settings) -> dict[str, Any]:
    return {name: value for name, value in asdict(settings).items() if name not in ("table_name", "queue_url")}


def refreshed_lately(table: Snapshot) -> set[str]:
    """The buckets of which something waits, or was refreshed in the last month: others may have been detached."""
    lately = table.at - _MONTH_MS
    found = {
        key.bucket
        for key, item in table.windows.items()
        if item.window_id or item.refreshing_id or item.refresh_started_at > lately
    }
    found |= {key.bucket for key, item in table.waiting.items() if item.changes}
    documents = table.gateways.values()
    return found | {key.bucket for known in documents for key, s in known.shares.items() if s.asked_at > lately}


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


def _bucket(stack: Stack, name: str, attached: Attached, table: Snapshot, listed: list[FileShare]) -> Bucket:
    item = table.windows.get(Key.read(name), WindowItem())
    others = {key: _window(found) for key, found in table.windows.items() if key.bucket == name and str(key) != name}
    return Bucket(
        name=name,
        attached=attached,
        window=_window(item) if item.window_id else None,
        refreshing_since=item.refresh_started_at if item.refreshing_id else None,
        shares=shares_of(name, listed, table, stack.unseen_regions),
        others={str(key).partition("/")[2]: window for key, window in others.items() if window},
        instead=stack.who_may_have_changed(name) if attached is Attached.LOST else "",
    )


def shares_of(bucket: str, listed: list[FileShare], table: Snapshot, unseen: list[str]) -> list[Share]:
    """The shares that show the bucket, and what else is known to: those of `unseen` regions, and those that wait.

    Of a share that is listed as unknown it is told here only what waits for it: it may show other buckets.
    """
    found = {share.key: share for share in listed}
    shares = []
    for key in [*found, *sorted(table.shares(bucket) - found.keys(), key=str)]:
        share, standing = found.get(key, FileShare("", "", "", "", bucket, region=key.region)), table.standing(key)
        shows_it = not share.unknown if key in found else key.region in unseen
        if shows_it or standing.waits or standing.is_being_asked:
            name = str(key).partition("/")[2]
            shares.append(Share(name, share.prefix, share.status, standing, share.unknown))
    return shares


def _window(item: WindowItem) -> Window | None:
    """What waits in it; also what is being handed on just now."""
    if item.window_id:
        return Window(item.since, item.refresh_at, sorted(item.folders), item.last_change_at, item.reason)
    if item.refreshing_id:
        folders, now = sorted(item.refreshed_folders), "its file shares are being listed"
        return Window(item.since, item.refresh_started_at, folders, reason=now)
    return None


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
    found = [*what_failed(stack, report.dead_letters)]
    if state := trigger_that_does_not_read(stack):
        found.append(
            Concern(
                f"the queue is not read: the refresh function's trigger is {state}",
                f"enable it in the Lambda console; so does {stack.command('create-stack.sh', '--revert-drift')}",
            )
        )
    found += loop_that_is_cut_off(stack)
    found += rules_that_do_not_run(stack)
    found += alarms_that_are_raised(stack)
    for bucket in report.buckets:
        found += concerns_of_bucket(stack, bucket, report.at)
    return found + what_is_not_known(stack)


def what_failed(stack: Stack, dead_letters: int) -> Iterator[Concern]:
    """Requests and events in the dead-letter queue."""
    if dead_letters:
        what = f"{plural(dead_letters, 'message')} in the dead-letter queue: given up after nine hours"
        yield Concern(what, stack.command("redrive.sh"))


def what_is_not_known(stack: Stack) -> list[Concern]:
    """The shares of which it could not be told what they show."""
    advice = (
        "remove the cause: what waits there is kept, and tried again by itself; see README, When a share stays stale"
    )
    return [Concern(note, advice, is_known=False) for note in dict.fromkeys(stack.notes)]


def trigger_that_does_not_read(stack: Stack) -> str | None:
    """The state of the refresh function's trigger, if it does not read the queue."""
    answer = stack.client("lambda").list_event_source_mappings(FunctionName=stack.refresh)
    states = [mapping["State"] for mapping in answer["EventSourceMappings"]]
    reading = ("Enabled", "Enabling", "Creating", "Updating")
    return None if any(state in reading for state in states) else ", ".join(states) or "gone"


def loop_that_is_cut_off(stack: Stack) -> Iterator[Concern]:
    """Lambda takes a request that is sent again and again for a runaway loop, unless it is told not to."""
    answer = stack.client("lambda").get_function_recursion_config(FunctionName=stack.refresh)
    if (found := answer["RecursiveLoop"]) != "Allow":
        what = (
            f"the recursive loop of {stack.refresh} is {found}: a request that waits long ends in the dead-letter queue"
        )
        allow = f"aws lambda put-function-recursion-config --function-name {stack.refresh} --recursive-loop Allow"
        mend = f"{allow} --region {stack.region}; so does {stack.command('create-stack.sh', '--revert-drift')}"
        yield Concern(what, mend)


def rules_that_do_not_run(stack: Stack) -> Iterator[Concern]:
    """The stack's rules that are disabled, or not there, and what that means."""
    for rule, what in _RULES.items():
        if (state := stack.rule(rule).get("State", "gone")) in ("DISABLED", "gone"):
            name = f"the rule {stack.aggregator}{rule} is {state.lower()}: {what}"
            mend = stack.command("create-stack.sh", "--revert-drift")
            yield Concern(name, f"enable it in the EventBridge console; so does {mend}")


def alarms_that_are_raised(stack: Stack) -> list[Concern]:
    """This stack's, each with what it says is to be done."""
    pages = stack.client("cloudwatch").get_paginator("describe_alarms")
    found = pages.paginate(AlarmNamePrefix=stack.aggregator, StateValue="ALARM", AlarmTypes=["MetricAlarm"])
    raised = [alarm for page in found for alarm in page["MetricAlarms"]]
    return [Concern(f"alarm {alarm['AlarmName']}", alarm.get("AlarmDescription", "")) for alarm in raised]


def concerns_of_bucket(stack: Stack, bucket: Bucket, at: int) -> list[Concern]:
    """What is wrong with a bucket and its shares, `at` epoch milliseconds."""
    found, logs = [], _logs(stack)
    if bucket.attached is Attached.LOST:
        mend = stack.command("attach-bucket.sh", "--bucket", bucket.name)
        instead = f": {bucket.instead}" if bucket.instead else ""
        found.append(Concern(f"{bucket.name} does not notify this stack of its changes{instead}", mend))
    if bucket.attached is Attached.GONE:
        mend = stack.command("detach-bucket.sh", "--bucket", bucket.name)
        found.append(Concern(f"there is no bucket {bucket.name} any more", mend))
    if bucket.attached is Attached.YES and not bucket.shares and not stack.notes and not stack.unseen_regions:
        found.append(Concern(f"no file share shows {bucket.name}", "nothing is refreshed for it; see README"))
    if bucket.window and bucket.window.due < at - _LATE_MS:
        late = f"the refresh of {bucket.name} was due {ago(at, bucket.window.due)}, and has not begun"
        found.append(Concern(late, logs))
    if bucket.refreshing_since and bucket.refreshing_since < at - _LATE_MS:
        late = f"the refresh of {bucket.name} began {ago(at, bucket.refreshing_since)}, and has not reached every share"
        found.append(Concern(late, logs))
    for name, window in bucket.others.items():
        found += _of_window(stack, Key.read(f"{bucket.name}/{name}"), window, at)
    for share in bucket.shares:
        found += _of_share(stack, Key.read(f"{bucket.name}/{share.share}"), share, at)
    return found


def _logs(stack: Stack) -> str:
    return f"aws logs tail /aws/lambda/{stack.refresh} --since 1h --region {stack.region}"


def _long_wait(settings: Settings, key: Key) -> int:
    """Milliseconds after a first change from which on its wait is a concern: as long as the alarms' for long delays."""
    longest = max(settings.longest_delay(key.bucket), settings.min_refresh_interval_seconds.of(key.share_id))
    return max(_LONG_WAIT_MS, 3 * longest * 1000)


def _of_window(stack: Stack, key: Key, window: Window, at: int) -> Iterator[Concern]:
    """What is wrong with what waits for a region, or with a window of what gateways wrote."""
    logs = _logs(stack)
    if concern := _unnamed(stack, key, window.since, at):
        yield concern
    elif key.kind is Kind.WRITER and window.due < at - _LATE_MS:
        yield Concern(f"the refresh of {key} was due {ago(at, window.due)}, and has not come to its end", logs)
    elif key.kind is Kind.REGION and window.since < at - _long_wait(stack.settings, key):
        waits = f"{key} has waited for {span((at - window.since) / 1000)}"
        yield Concern(f"{waits}: {window.reason or 'its request is late'}", f"{_BY_ITSELF}: {logs}")


def _of_share(stack: Stack, key: Key, share: Share, at: int) -> Iterator[Concern]:
    waits = share.standing.waits
    if waits and (concern := _unnamed(stack, key, waits.since, at)):
        yield concern
    elif waits and waits.since < at - _long_wait(stack.settings, key):
        what = f"{key} has waited for {span((at - waits.since) / 1000)}: {waits.why}"
        if waits.cause is Cause.IN_NO_LINE:
            then = _logs(stack)
        elif waits.reason:
            then = f"is its gateway online? {_BY_ITSELF}"
        else:
            then = "its gateway's shares take turns, and large folders take long: see README, When a share stays stale"
        yield Concern(what, then)
    elif share.status not in ("", "AVAILABLE"):
        yield Concern(f"{key} is {share.status}", "look at it in the Storage Gateway console")


def _unnamed(stack: Stack, key: Key, since: int, at: int) -> Concern | None:
    """Something waits for a region that the settings do not name. While settings are rolled out that is nothing."""
    if not key.region or key.region in (*stack.regions.names, *stack.unseen_regions) or since > at - _LATE_MS:
        return None
    what = f"{key} has waited for {span((at - since) / 1000)}, and the settings name no gateways in {key.region}"
    return Concern(what, "a day after its first change it is forgotten; if it should not be, name the region again")


# The screen


def screen(report: Report) -> RenderableType:
    """The report as a terminal shows it."""
    name = f"{report.prefix}S3EventAggregator"
    title = one_line(name, "bold") + one_line(f"  {report.version}  {report.region}  {clock(report.at)}")
    # What may be long comes last: a watched screen ends where the terminal does.
    parts: list[RenderableType] = [title, _verdict(report), "", _settings(report), _queues(report)]
    if report.lines:
        parts.append(_lines(report))
    parts += [_buckets(report), _day(report)] if report.buckets else ["No bucket is attached."]
    return Group(*parts)


def _verdict(report: Report) -> RenderableType:
    if report.well:
        return one_line("All is well.", "bold green")
    count = len(report.concerns)
    lines = [one_line(f"{count} {'thing needs' if count == 1 else 'things need'} attention:", "bold red")]
    for concern in report.concerns:
        lines += [one_line(f"  {concern.what}", "red"), one_line(f"      {concern.then}", "dim")]
    return Group(*lines)


def _settings(report: Report) -> RenderableType:
    settings = report.settings
    intervals = settings["min_refresh_interval_seconds"]
    timeout = settings["in_progress_timeout_seconds"]
    unless = f", and not while it still refreshes ({span(timeout)} at most)" if timeout else ""
    asks = f"Refreshes {_pace(settings)}. Asks a share at most every {span(intervals['default'])}{unless}."
    asks += f" Refreshes at one gateway at a time: {settings['refreshes_per_gateway']} at most."
    regions = ", ".join(settings["gateway_regions"]) or report.region
    gateways = f"Gateways in {regions}; what one wrote refreshes the others: {settings['refresh_other_gateways']}."
    gateways += f" Events Changes Visible: {settings['visible_events']}. Log level {settings['log_level']}."
    lines = [asks, gateways]
    if patterns := settings["ignore_keys"]:
        lines.append(f"Changes of keys like these refresh nothing: {', '.join(patterns)}.")
    if roles := settings["gateway_role_arns"]:
        lines.append(
            f"Of the file shares that it reaches through {', '.join(roles)} only those are shown that it has asked."
        )
    buckets = {name for each in _BY_BUCKET for name in settings[each]["exceptions"]}
    exceptions = {name: _pace(settings, name) for name in sorted(buckets)}
    exceptions |= {name: f"asked at most every {span(own)}" for name, own in sorted(intervals["exceptions"].items())}
    seen = {bucket.name for bucket in report.buckets}
    seen |= {share.share.rpartition("/")[2] for bucket in report.buckets for share in bucket.shares}
    for name, what in exceptions.items():
        lines.append(f"  {name}: {what}{'' if name in seen else ' (none of this name is seen here)'}")
    return Group(*map(one_line, lines))


def _pace(settings: dict[str, Any], bucket: str = "") -> str:
    """What is refreshed when of a bucket; if none is named, of all that are no exceptions."""
    delay, quiet, longest, scope = (
        settings[name]["exceptions"].get(bucket, settings[name]["default"]) for name in _BY_BUCKET
    )
    what = "the folders that changed" if scope == "folders" else "the whole share"
    if quiet:
        return f"{what}, {span(quiet)} after the last change, {span(longest)} after the first at most"
    return f"{what}, {span(delay)} after the first change"


def _buckets(report: Report) -> Table:
    table = _table("Bucket, share", "State", "Last refresh", "Waits for it")
    for bucket in report.buckets:
        add_row(
            table,
            one_line(bucket.name, "bold"),
            _state(bucket, report.at),
            "",
            _held(bucket.window.folders if bucket.window else []),
        )
        for share in bucket.shares:
            shown = f"  {share.share}" + (f" (/{share.prefix})" if share.prefix else "")
            standing = share.standing
            last = ago(report.at, standing.last_accepted) if standing.last_accepted else "none known"
            waits = standing.waits
            add_row(table, shown, _state_of_share(share, report.at), last, _held(waits.folders if waits else []))
        for name, window in bucket.others.items():
            add_row(table, f"  {name}", _waits(window, report.at), "", _held(window.folders))
    return table


def _lines(report: Report) -> Table:
    table = _table("Gateway", "In progress", "In line", "First in line")
    for line in report.lines:
        busy = f", refused as busy {ago(report.at, line.busy_at)}" if line.busy_at else ""
        first = f"{line.first}, for {span((report.at - line.since) / 1000)}" if line.first and line.since else ""
        regions = f"{line.in_progress} of {line.takes}{busy}"
        add_row(table, line.gateway, regions, plural(line.waiting, "share"), first)
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
    states = [] if share.status in ("", "AVAILABLE") else [share.status]
    if share.unknown:
        states.append("it is not known what it shows")
    standing = share.standing
    if standing.in_progress_since:
        states.append(f"in progress for {span((at - standing.in_progress_since) / 1000)}")
    if waits := standing.waits:
        again = f", next try {ago(at, waits.next)}" if waits.next else ""
        states.append(f"waits for {span((at - waits.since) / 1000)}{again}: {waits.why}")
    elif standing.is_being_asked:
        states.append("is being asked")
    return "; ".join(states) or "up to date"


def _waits(window: Window, at: int) -> str:
    due = ago(at, window.due) if window.due > at else "now"
    return f"waits, next try {due}" + (f": {window.reason}" if window.reason else "")


def _held(folders: list[str]) -> str:
    if not folders:
        return ""
    return "everything" if "*" in folders else plural(len(folders), "folder")


def _day(report: Report) -> Table:
    columns = ("Changes", "Ignored", "Windows", "Refreshes", "Left out", "Refused", "Deferred", "Visible within")
    table = _table("Last 24 hours", *columns)
    table.padding = (0, 1, 0, 0)  # it has the most columns
    for bucket, day in report.last_day.items():
        count = Counter(day)
        visible = span(day["SecondsUntilVisible"]) if "SecondsUntilVisible" in day else "not known"
        count["Changes"] = count["ChangesAbsorbed"] + count["ChangesIgnored"] + count["WindowsOpened"]
        refreshes = ("RefreshesAccepted", "SharesLeftOut", "RefreshesRefused", "RefreshesDeferred")
        shown = ("Changes", "ChangesIgnored", "WindowsOpened", *refreshes)
        add_row(table, bucket, *(f"{count[name]:,.0f}" for name in shown), visible)
    return table


def _queues(report: Report) -> RenderableType:
    requests = report.requests
    return one_line(
        f"Queue: {plural(requests['delayed'], 'request')} delayed, {requests['ready']} ready,"
        f" {requests['in_flight']} being handled. Dead-letter queue: {report.dead_letters or 'empty'}."
    )


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for number, column in enumerate(columns):
        whole = max((len(word) for word in column.split()), default=0)
        table.add_column(column, overflow="fold", no_wrap=number == 0, min_width=whole)
    return table
