"""How many refreshes there are, against the fewest possible for the same delay, on traffic of different shapes."""

import random
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from dev.bench.systems import Ours
from dev.bench.world import DELAY, INTERVAL, START, simulated

_SECOND, _MINUTE, _HOUR = 1_000, 60_000, 3_600_000
_SEED = 2018

# When objects are written: milliseconds since the start, in order.
Times = list[int]


@dataclass(frozen=True)
class Outcome:
    shape: str
    events: int
    refreshes: int
    fewest: int
    fewest_with_interval: int
    longest_wait: int  # from a change to the start of the refresh that shows it, in milliseconds


def shapes(scale: float = 1) -> dict[str, Times]:
    """Four shapes of traffic; `scale` shortens them."""
    hours = max(1, round(6 * scale))
    nights = max(1, round(3 * scale))
    minutes = max(2, round(10 * scale))
    night = _every(_SECOND / 5, minutes * _MINUTE)
    return {
        f"a burst: {round(5000 * scale):,} in 10 s": _every(10 * _SECOND / (5000 * scale), 10 * _SECOND),
        f"a steady stream: one a second for {3 * minutes} min": _every(_SECOND, 3 * minutes * _MINUTE),
        f"a nightly batch: five a second for {minutes} min, {nights} nights": [
            day * 24 * _HOUR + at for day in range(nights) for at in night
        ],
        f"random arrivals: one in 45 s on average, {hours} h": arrivals(45 * _SECOND, hours * _HOUR),
    }


def arrivals(mean: float, until: int) -> Times:
    """A Poisson process: exponential times between two, of `mean` milliseconds."""
    chance, times, at = random.Random(_SEED), [], 0.0  # noqa: S311 - the same at each run
    while (at := at + chance.expovariate(1 / mean)) < until:
        times.append(round(at))
    return times


def run(shape: str, times: Times) -> Outcome:
    """Two containers in turn, five folders; the queue delivers on time."""
    with simulated(lambda world: Ours(world, containers=2)) as world:
        for number, at in enumerate(times):
            world.advance(START + at)
            world.put(f"folder-{number % 5}/{number % 1000}", container=number % 2)
        world.settle()
        refreshes = [at - START for at in world.refreshed_at]
    waits = (refreshes[bisect_left(refreshes, at)] - at for at in times)
    return Outcome(shape, len(times), len(refreshes), len(fewest(times, 0)), len(fewest(times, INTERVAL)), max(waits))


def upload(**settings: int) -> tuple[Times, Times]:
    """When the files of an upload are written (a pause of 2 to 18 s between two), and when the share is refreshed."""
    chance = random.Random(_SEED)  # noqa: S311 - the same at each run
    times = [0]
    for _ in range(24):
        times.append(times[-1] + chance.randrange(2, 19) * _SECOND)
    with simulated(lambda world: Ours(world, 1, None, **settings)) as world:
        for number, at in enumerate(times):
            world.advance(START + at)
            world.put(f"upload/{number}")
        world.settle()
        return times, [at - START for at in world.refreshed_at]


def by_rate(rates: Iterable[int]) -> Iterator[Outcome]:
    """An hour of random arrivals, so many in it on average."""
    for rate in rates:
        yield run(f"{rate} an hour", arrivals(_HOUR / rate, _HOUR))


def fewest(times: Sequence[int], interval: int) -> Times:
    """The refreshes of the greedy rule: as late as the first change that waits allows, DELAY or the interval's end.

    Without an interval no other rule has fewer: the changes that it begins to wait for lie more than DELAY apart, so
    that no two of them can share a refresh.
    """
    refreshes: Times = []
    for at in times:
        if not refreshes or at > refreshes[-1]:
            refreshes.append(max(at + DELAY, refreshes[-1] + interval) if refreshes else at + DELAY)
    return refreshes


def _every(step: float, until: int) -> Times:
    return [round(number * step) for number in range(int(until / step))]
