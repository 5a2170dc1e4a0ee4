"""Runs every measurement and writes docs/performance.md, which nobody edits by hand."""

import argparse
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from dev.bench import charts, cold_start, document, events, money, scope, traffic, turns
from dev.bench.report import wrapped
from dev.bench.systems import Ours, Plain

_DOCS = Path(__file__).parents[2] / "docs"


def main() -> None:
    parser = argparse.ArgumentParser(prog="dev/bench.sh")
    parser.add_argument("--quick", action="store_true", help="fewer events and repetitions; writes nothing")
    quick = parser.parse_args().quick
    begin = time.monotonic()
    sections = []
    for section in map(wrapped, _sections(quick)):
        print(section, end="\n\n", flush=True)
        sections.append(section)
    if not quick:
        (_DOCS / "performance.md").write_text("\n\n".join(sections) + "\n")
    print(f"{time.monotonic() - begin:.0f} s", file=sys.stderr)


def _sections(quick: bool) -> Iterator[str]:
    ours = partial(Ours, containers=4)
    objects = 10_000 if quick else 100_000
    yield document.head()

    windows = [events.window(Ours, 1, 1, 1)]
    windows += [events.window(ours, number, 10, 4) for number in (1_000, 10_000 if quick else 100_000)]
    windows.append(events.window(ours, 1_000, 100, 4))
    plain = [events.window(Plain, 1, 1, 1), events.window(Plain, 1_000, 10, 4)]
    yield document.event_side(windows, plain[-1], events.absorbed(Ours, 10_000), events.absorbed(Plain, 300))

    yield document.times(events.warm_path(5 if quick else 25), cold_start.measure(3 if quick else 21))

    scopes = list(scope.by_size([1_000, 10_000, 100_000] if quick else [1_000, 10_000, 100_000, 1_000_000]))
    spreads = list(scope.by_spread(objects, [1, 10, 30, 100] if quick else [1, 10, 50, 200, 1_000]))
    if not quick:
        charts.draw_scope(scopes, _DOCS / document.SCOPE_CHART)
    yield document.refresh_side(scopes, spreads, chart=not quick)

    shapes = [traffic.run(shape, times) for shape, times in traffic.shapes(0.1 if quick else 1).items()]
    if not quick:
        charts.draw_traffic(list(traffic.by_rate([10, 30, 100, 300, 1_000, 3_000])), _DOCS / document.TRAFFIC_CHART)
        fixed, quiet = traffic.upload(), traffic.upload(refresh_quiet_seconds=30)
        charts.draw_upload({"fixed delay of 30 s": fixed, "quiet time of 30 s": quiet}, _DOCS / document.UPLOAD_CHART)
    yield document.traffic(shapes, chart=not quick)

    one_change = turns.lines([1, 2, 5] if quick else [1, 2, 5, 10, 20, 50], goes_on=False)
    yield document.turns(one_change, turns.lines([1, 5] if quick else [1, 10], goes_on=True))

    example = money.worked_example(ours, objects, sweeps=True)
    yield document.money(windows, plain, example, money.worked_example(Plain, objects, sweeps=False), objects)


if __name__ == "__main__":
    main()
