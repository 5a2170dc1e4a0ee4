"""What plan.sh says: a table, three recommendations with the line to run, JSON, and a page that needs no network."""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from commands.operate.words import plural, span
from commands.plan.outcome import Outcome, Setting
from commands.plan.prices import ASSUMPTIONS, PRICES_AS_OF
from commands.plan.trace import Trace

_HEADS = ("", "median", "95 %", "longest", "seen half", "refreshes a day", "LIST a day", "HEAD a day")
_PARTS = ("S3", "Lambda", "DynamoDB", "SQS", "logs", "$ a month")

_FIRST = "Median, 95 % and longest: from a change until all shares that show its folder show it."


@dataclass(frozen=True)
class Plan:
    """The outcomes on one trace, and what to say of where they come from."""

    trace: Trace
    bucket: str  # empty: not known
    ours: Sequence[Outcome]
    others: Sequence[Outcome]
    notes: Sequence[str]

    @property
    def best(self) -> list[Outcome]:
        """Those of ours than which none is both sooner and cheaper, the cheapest last."""
        found: list[Outcome] = []
        for outcome in sorted(self.ours, key=lambda one: (one.bill.total, _most(one))):
            if not found or _most(outcome) < _most(found[-1]):
                found.append(outcome)
        return found[::-1]

    @property
    def recommended(self) -> dict[str, Outcome]:
        """The soonest and the cheapest of the best; and of all, what is nearest to both, as factors of each."""
        best = self.best
        soonest, cheapest = best[0], best[-1]

        def distance(outcome: Outcome) -> float:
            times = math.log(_most(outcome) / _most(soonest)), math.log(outcome.bill.total / cheapest.bill.total)
            whole = math.log(_most(cheapest) / _most(soonest)), math.log(soonest.bill.total / cheapest.bill.total)
            return math.hypot(*(part / (all_ or 1) for part, all_ in zip(times, whole, strict=True)))

        return {"soonest": soonest, "balanced": min(best, key=distance), "cheapest": cheapest}

    def summary(self) -> str:
        trace = self.trace
        return (
            f"{plural(len(trace.times), 'change')} in {span(trace.days * 86_400)}, in"
            f" {plural(int(sum(trace.starts[1:] > trace.starts[:-1])), 'folder')}; the bucket holds"
            f" {plural(trace.objects, 'object')} that were named"
        )

    def as_json(self) -> dict[str, Any]:
        return {
            "changes": len(self.trace.times),
            "days": self.trace.days,
            "objects": self.trace.objects,
            "settings": [one.as_json() for one in self.ours],
            "alternatives": [one.as_json() for one in self.others],
            "recommended": {
                why: {"name": one.name, "run": command(one, self.bucket)} for why, one in self.recommended.items()
            },
            "notes": list(self.notes),
        }


def _most(outcome: Outcome) -> float:
    return math.inf if outcome.most is None else max(outcome.most, 0.001)


def command(outcome: Outcome, bucket: str) -> str:
    """The line that gives the bucket this pace: an exception, if it is known by name; others keep the defaults."""
    assert outcome.setting
    flags = [
        f"--{name.lower().replace('_', '-')} {value}" for name, value in environment(outcome.setting, bucket).items()
    ]
    return " ".join(["scripts/create-stack.sh", f"--bucket {bucket or 'BUCKET'}", *flags])


def environment(setting: Setting, bucket: str) -> dict[str, str]:
    """The settings of a stack in which this bucket has that pace, or all have it, if its name is not known."""
    own, default = setting.environment, Setting("")
    if not bucket:
        return own if setting.quiet else own | {"REFRESH_QUIET_SECONDS": "0"}
    defaults = default.environment | {
        "REFRESH_QUIET_SECONDS": str(default.quiet),
        "REFRESH_MAX_DELAY_SECONDS": str(default.longest),
    }
    return {
        name: value if value == defaults[name] else f"{defaults[name]},{bucket}={value}" for name, value in own.items()
    }


def notes(assumed: Sequence[str]) -> list[str]:
    """What the numbers rest on."""
    return [
        *assumed,
        "An upload: changes of one folder without a pause of a minute. Seen half: a refresh of it began within.",
        "Events, messages and calls are taken to need no time: on AWS all of it comes about a second later.",
        f"List prices of us-east-1, {PRICES_AS_OF}, no free tier; without CloudWatch's metrics, dashboard and"
        f" alarms, and the event of each completed refresh ($1 a million)."
        f" {ASSUMPTIONS}.",
        "Automated refresh: somebody opens each changed folder as soon as its TTL has passed; if not, it costs less and"
        " whoever opens the folder first waits. One refresh an event: a gateway takes two at a time, what it refuses"
        " is not repeated; if a refresh within a minute of another does nothing, as AWS once wrote, it shows less.",
    ]


def screen(plan: Plan) -> Group:
    """For a terminal."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for number, name in enumerate((*_HEADS, _PARTS[-1])):
        longest = max(len(word) for word in ["", *name.split()])
        table.add_column(name, justify="right" if number else "left", no_wrap=not number, min_width=longest)
    table.add_column(min_width=len("balanced"))
    chosen = {one.name: why for why, one in reversed(plan.recommended.items())}
    for outcome in (*plan.ours, *plan.others):
        why = chosen.get(outcome.name, "")
        style = "bold green" if why else "dim" if outcome.setting is None else ""
        table.add_row(outcome.name, *cells(outcome), dollars(outcome.bill.total), why, style=style)
    lines = [
        Text(f"{why:9} {command(one, plan.bucket)}", no_wrap=True, overflow="ignore")
        for why, one in plan.recommended.items()
    ]
    said = [Text(f"- {note}", style="dim") for note in plan.notes]
    return Group(Text(plan.summary(), style="bold"), Text(_FIRST), Text(), table, Text(), *lines, Text(), *said)


def cells(outcome: Outcome) -> list[str]:
    """All but the name and the dollars."""
    return [
        span(outcome.median),
        "never" if outcome.most is None else span(outcome.most),
        "never" if outcome.longest is None else span(outcome.longest),
        f"{outcome.seen_half:.0%}",
        *(_short(number) for number in (outcome.refreshes_a_day, outcome.lists_a_day, outcome.heads_a_day)),
    ]


def _short(number: float) -> str:
    return f"{number / 1e6:,.1f} M" if number >= 1e6 else f"{number:,.0f}"


def dollars(amount: float) -> str:
    return f"{amount:,.2f}" if amount < 1000 else f"{amount:,.0f}"


def page(plan: Plan, picture: str) -> str:
    """One HTML file with the picture (SVG) in it."""
    chosen = {one.name: why for why, one in reversed(plan.recommended.items())}
    rows = []
    for outcome in (*plan.ours, *plan.others):
        bill, why = outcome.bill, chosen.get(outcome.name, "")
        parts = [dollars(part) for part in (bill.s3, bill.lambda_, bill.dynamodb, bill.sqs, bill.logs, bill.total)]
        kind = "chosen" if why else "ours" if outcome.setting else "other"
        name = html.escape(outcome.name) + (f" <b>{why}</b>" if why else "")
        rows.append(f"<tr class={kind}><th>{name}{''.join(f'<td>{cell}' for cell in [*cells(outcome), *parts])}")
    lines = "".join(
        f"<dt>{why}<dd><code>{html.escape(command(one, plan.bucket))}</code>" for why, one in plan.recommended.items()
    )
    return _PAGE.format(
        title=f"Which window for {html.escape(plan.bucket) or 'this traffic'}?",
        summary=html.escape(plan.summary()),
        first=_FIRST,
        picture=picture[picture.index("<svg") :],
        lines=lines,
        heads="".join(f"<th>{head}" for head in (*_HEADS, *_PARTS)),
        rows="\n".join(rows),
        notes="".join(f"<li>{html.escape(note)}" for note in plan.notes),
    )


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width">
<style>
body {{ font: 15px/1.45 system-ui, sans-serif; color: #222; max-width: 1180px; margin: 2em auto; padding: 0 1em }}
svg {{ width: 100%; height: auto }}
dt {{ font-weight: 600; margin-top: .6em }} dd {{ margin: .2em 0 }}
code {{ background: #f2f2f2; padding: .25em .5em; border-radius: 4px; overflow-wrap: anywhere }}
.wide {{ overflow-x: auto }}
table {{ border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums }}
th, td {{ padding: .3em .6em; text-align: right; border-bottom: 1px solid #e4e4e4; white-space: nowrap }}
tbody th {{ text-align: left; font-weight: normal }}
thead th {{ color: #666; font-weight: 600; white-space: normal; vertical-align: bottom }}
.chosen {{ background: #e9f5ea }} .chosen b {{ color: #1b7a2b }} .other {{ color: #777 }}
li {{ color: #555 }}
</style>
<h1>{title}</h1>
<p>{summary}. {first}
{picture}
<h2>What to run</h2>
<dl>{lines}</dl>
<h2>All of it</h2>
<div class=wide><table><thead><tr>{heads}</thead><tbody>
{rows}
</tbody></table></div>
<h2>What this rests on</h2>
<ul>{notes}</ul>
</html>
"""
