"""Freshness against cost: a point a setting, the best ones joined, and beside them what else there is."""

import io
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from commands.operate.words import span
from commands.plan.report import Plan

_TIMES = (1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 12 * 3600)  # seconds, at the axis


def save(plan: Plan, to: Path) -> None:
    _draw(plan).savefig(to, dpi=110)


def svg(plan: Plan) -> str:
    written = io.StringIO()
    _draw(plan).savefig(written, format="svg", metadata={"Date": None})
    return written.getvalue()


def _draw(plan: Plan) -> Figure:
    figure = Figure(figsize=(9, 5))
    axes = figure.subplots()
    best, chosen = plan.best, plan.recommended
    for label, outcomes, color, marker in (
        ("a fixed delay", [one for one in plan.ours if one.setting and not one.setting.quiet], "tab:blue", "o"),
        ("a quiet time", [one for one in plan.ours if one.setting and one.setting.quiet], "tab:green", "s"),
        ("what else there is", plan.others, "tab:gray", "x"),
    ):
        seen = [(one.bill.total, one.most) for one in outcomes if one.most is not None]
        axes.scatter([total for total, _ in seen], [most for _, most in seen], color=color, marker=marker,
                     label=label, zorder=3)  # fmt: skip
    axes.plot([one.bill.total for one in best], [one.most or 0 for one in best], color="tab:blue", alpha=0.4, zorder=2)
    for outcome in plan.others:
        if outcome.most is not None:
            axes.annotate(outcome.name, (outcome.bill.total, outcome.most), xytext=(0, -12),
                          textcoords="offset points", fontsize=8, color="gray", ha="center")  # fmt: skip
    names: dict[str, list[str]] = {}
    for why, outcome in chosen.items():
        names.setdefault(outcome.name, []).append(why)
    for name, whys in names.items():
        outcome = chosen[whys[0]]
        axes.annotate(f"{', '.join(whys)}: {name}", (outcome.bill.total, outcome.most or 0), xytext=(9, 7),
                      textcoords="offset points", fontsize=9, fontweight="bold")  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"${value:,.2f}" if value < 10 else f"${value:,.0f}"))
    axes.yaxis.set_major_locator(FixedLocator(_TIMES))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: span(value)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("US dollars a month")
    axes.set_ylabel("95 % of the changes are visible within")
    axes.margins(0.2, 0.15)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    figure.tight_layout()
    return figure
