"""What plan.sh foretells of a trace, and what happens when the same trace is replayed in real time."""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from dev.local.gateway import FileShare, StorageGateway
from dev.local.ministack import ROOT, MiniStack
from tests.e2e.conftest import FUNCTIONS, Bucket, setting

DELAY, INTERVAL = 8, 12
# Uploads that begin at these seconds: the first two are refreshed after the delay, the others after the interval.
BURSTS, CHANGES, LASTS = (0, 18, 28, 41), 60, 5


def a_trace() -> list[tuple[float, str]]:
    """When, in seconds, which key is written."""
    chance = random.Random(14)  # noqa: S311 - the same at each run
    return sorted(
        (begin + chance.random() * LASTS, f"shot-{number % 3}/frame-{begin}-{number}.exr")
        for begin in BURSTS
        for number in range(CHANGES)
    )


@pytest.fixture
def paced(aws: MiniStack, stack: object) -> Iterator[None]:  # noqa: ARG001 - it must be there
    pace = {"REFRESH_DELAY_SECONDS": str(DELAY), "MIN_REFRESH_INTERVAL_SECONDS": str(INTERVAL)}
    with ExitStack() as both:
        for function in FUNCTIONS:
            both.enter_context(setting(aws, function, **pace))
        yield


@pytest.mark.skipif(not os.environ.get("REAL_TIME"), reason="it compares seconds: REAL_TIME=1, on an idle machine")
def test_a_trace_in_real_time_has_the_refreshes_and_the_waits_that_were_foretold(
    bucket: Bucket,
    gateway: StorageGateway,
    paced: None,  # noqa: ARG001
    tmp_path: Path,
) -> None:
    share = bucket.share()
    bucket.put("shot-0/first", "shot-1/first", "shot-2/first")  # the functions are warm, and the folders cached
    bucket.becomes_visible(share)
    time.sleep(INTERVAL)  # the trace begins when the share may be asked
    before = bucket.refreshes(share)
    begin, written = time.time(), []
    for at, key in a_trace():
        time.sleep(max(0.0, begin + at - time.time()))  # the trace's own pace
        bucket.put(key)
        written.append((time.time(), key))
    bucket.becomes_visible(share)
    foretold = plan(written, tmp_path / "trace.csv", gateway.refresh_seconds)  # of when a slow machine wrote them
    waits = sorted(wait(gateway, share, at, key) for at, key in written)
    refreshes = foretold["refreshes_a_day"] / 24  # what is shorter than an hour counts as one
    assert bucket.refreshes(share) - before == pytest.approx(refreshes, rel=0.1)
    assert waits[len(waits) // 2] == pytest.approx(foretold["median"], rel=0.1)
    assert waits[int(len(waits) * 0.95)] == pytest.approx(foretold["most"], rel=0.1)
    assert waits[-1] == pytest.approx(foretold["longest"], rel=0.1)


def plan(trace: list[tuple[float, str]], file: Path, refresh_seconds: float) -> dict[str, float]:
    """What scripts/plan.sh runs, with the packages that are here already."""
    file.write_text("".join(f"{round(at * 1000)},{key}\n" for at, key in trace))
    arguments = {
        "--refresh-delay-seconds": DELAY,
        "--refresh-quiet-seconds": 0,
        "--min-refresh-interval-seconds": INTERVAL,
        "--refresh-seconds": refresh_seconds,
        "--lists-per-second": 1e9,
        "--heads-per-second": 1e9,
    }
    flags = [str(part) for pair in arguments.items() for part in pair]
    done = subprocess.run(
        [sys.executable, "-m", "commands.plan", str(file), "--json", *flags],
        env={"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}, stdout=subprocess.PIPE, check=True, text=True,
    )  # fmt: skip
    [ours] = json.loads(done.stdout)["settings"]
    return dict(ours)


def wait(gateway: StorageGateway, share: FileShare, at: float, key: str) -> float:
    """Seconds from when it was written until the share had it: the end of the first refresh that can have read it."""
    folder = key.rpartition("/")[0]
    ended = min(
        refresh.completed_at or 0
        for refresh in gateway.refreshes
        if refresh.share is share and folder in refresh.folders and (refresh.started_at or 0) >= at * 1000
    )
    return ended / 1000 - at
