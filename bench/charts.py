"""The two curves that say more than their table."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.scope import Scope
from bench.traffic import Outcome

mpl.use("agg")  # needs no screen
from matplotlib import pyplot as plt


def draw_scope(scopes: Sequence[Scope], to: Path) -> None:
    """LIST and HEAD requests of one refresh over the bucket's size."""
    sizes = [scope.objects for scope in scopes]
    figure, axes = plt.subplots(figsize=(6.4, 3.6))
    for label, color, costs in (
        ("the whole share", "tab:orange", [scope.share for scope in scopes]),
        ("the changed folder", "tab:blue", [scope.changed for scope in scopes]),
    ):
        axes.loglog(sizes, [cost.heads for cost in costs], "o-", color=color, label=f"{label}: HEAD")
        axes.loglog(sizes, [cost.lists for cost in costs], "o--", color=color, label=f"{label}: LIST")
    axes.set_xlabel("objects in the bucket")
    axes.set_ylabel("requests of one refresh")
    _save(axes, figure, to)


def draw_traffic(outcomes: Sequence[Outcome], to: Path) -> None:
    """Refreshes in an hour over the number of events in it."""
    events = [outcome.events for outcome in outcomes]
    figure, axes = plt.subplots(figsize=(6.4, 3.6))
    axes.loglog(events, events, "--", color="tab:orange", label="one for each event")
    axes.loglog(events, [outcome.refreshes for outcome in outcomes], "o-", color="tab:blue", label="this project")
    fewest = [outcome.fewest_with_interval for outcome in outcomes]
    axes.loglog(events, fewest, ":", color="black", label="fewest possible, 60 s apart")
    axes.set_xlabel("events in an hour, at random times")
    axes.set_ylabel("refreshes of the share")
    _save(axes, figure, to)


def _save(axes: Axes, figure: Figure, to: Path) -> None:
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    figure.tight_layout()
    figure.savefig(to, dpi=110)
    plt.close(figure)
