"""The demo's picture: what happened when, from the first change on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl

from dev.local.gateway import Refresh

mpl.use("agg")  # needs no screen
from matplotlib import pyplot as plt


@dataclass(frozen=True)
class Sample:
    """How things stood at a moment; times in seconds since the epoch."""

    at: float
    keys: set[str]  # in the bucket
    files: set[str]  # on the share, as its clients see it
    window_id: str | None
    refresh_at: float
    queued: int  # delayed messages on the queue: requests, and wakes of the gateway


def draw(samples: Sequence[Sample], changed_at: Sequence[float], refreshes: Sequence[Refresh], to: Path) -> None:
    """Draw the bucket and the share over time and, below, changes, windows, requests and refreshes; save it as `to`."""
    zero = changed_at[0]
    at = [sample.at - zero for sample in samples]
    figure, (above, below) = plt.subplots(2, 1, sharex=True, figsize=(11, 5.5), height_ratios=(3, 2))

    above.step(
        at, [len(sample.keys) for sample in samples], where="post", color="tab:blue", label="objects in the bucket"
    )
    above.step(
        at, [len(sample.files) for sample in samples], where="post", color="tab:orange", label="files on the share"
    )
    above.set_ylabel("number")
    above.set_ylim(bottom=0)
    above.yaxis.get_major_locator().set_params(integer=True)
    above.legend(loc="lower right")
    above.set_title("An upload of 20 objects, a deletion of 2, and a trickle of 8: a refresh each, when it is quiet")

    lanes = ("RefreshCache", "request queued", "window open", "S3 changes")
    below.plot([change - zero for change in changed_at], [3] * len(changed_at), "|", color="tab:blue", markersize=14)
    for begin, end in _spans([(sample.at, sample.window_id is not None) for sample in samples]):
        below.barh(2, end - begin, left=begin - zero, height=0.5, color="tab:green")
    for begin, end in _spans([(sample.at, sample.queued > 0) for sample in samples]):
        below.barh(1, end - begin, left=begin - zero, height=0.5, color="tab:purple")
    for refresh in refreshes:
        begin, end = refresh.accepted_at / 1000, (refresh.completed_at or refresh.accepted_at) / 1000
        below.barh(0, end - begin, left=begin - zero, height=0.5, color="tab:orange")
    below.set_yticks(range(4), lanes)
    below.set_ylim(-0.5, 3.5)
    below.set_xlabel("seconds since the first upload")
    below.grid(axis="x", alpha=0.3)
    above.grid(alpha=0.3)

    figure.tight_layout()
    to.parent.mkdir(exist_ok=True)
    figure.savefig(to, dpi=130)
    plt.close(figure)


def _spans(states: Sequence[tuple[float, bool]]) -> Iterator[tuple[float, float]]:
    """From when to when a state held, given its samples in order of time."""
    begin = None
    for at, holds in states:
        if holds and begin is None:
            begin = at
        elif not holds and begin is not None:
            yield begin, at
            begin = None
    if begin is not None:
        yield begin, states[-1][0]
