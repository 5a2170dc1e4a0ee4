"""The curves that say more than a table."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dev.bench.scope import Scope
from dev.bench.traffic import Outcome, Times

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


def draw_upload(uploads: Mapping[str, tuple[Times, Times]], to: Path) -> None:
    """The same upload over time: what is in the bucket, and what the share shows under each setting."""
    figure, axes = plt.subplots(figsize=(8, 3.4))
    written, _ = next(iter(uploads.values()))
    end = max(refreshes[-1] for _, refreshes in uploads.values()) + 15_000
    axes.step([at / 1000 for at in (*written, end)], [*range(1, len(written) + 1), len(written)], where="post",
              color="tab:blue", label="files in the bucket")  # fmt: skip
    for (name, (_, refreshes)), color in zip(uploads.items(), ("tab:red", "tab:green"), strict=True):
        shown = [sum(at <= refresh for at in written) for refresh in refreshes]
        number = f"{len(refreshes)} refresh{'es' if len(refreshes) > 1 else ''}"
        axes.step([0, *(at / 1000 for at in refreshes), end / 1000], [0, *shown, shown[-1]], where="post",
                  color=color, label=f"on the share, {name}: {number}")  # fmt: skip
    axes.set_xlabel("seconds since the first file")
    axes.set_ylabel("files")
    _save(axes, figure, to)


def _save(axes: Axes, figure: Figure, to: Path) -> None:
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    figure.tight_layout()
    figure.savefig(to, dpi=110)
    plt.close(figure)
