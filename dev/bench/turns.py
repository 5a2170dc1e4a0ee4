"""How long the file shares of one gateway wait for a refresh, against perfect turns."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import product

from dev.bench.systems import Gateway, Ours, Scope
from dev.bench.traffic import arrivals
from dev.bench.world import START, Meter, World, simulated

TAKES = 60_000  # a refresh, in milliseconds
_SLOTS = 2  # REFRESHES_PER_GATEWAY, as it is by default
# Changes go on for so many turns of all shares, at random times, on average so many of them in one.
_TURNS, _CHANGES_A_TURN = 2, 4
_AT_LEAST = 20  # lengths of a refresh; and a change comes no more often than one in such a length


@dataclass(frozen=True)
class Line:
    """What happened at a gateway. Times are milliseconds."""

    two_accepted_per: Scope
    shares: int
    refreshes: int
    refused: int
    meter: Meter
    longest: int  # wait of a share, from being handed a change to the end of the refresh that shows it
    perfect: int  # the same with perfect turns


def lines(shares: Sequence[int], *, goes_on: bool) -> list[Line]:
    """Each with a process of its own, as many at a time as there are processors."""
    scopes: tuple[Scope, ...] = ("gateway", "share")
    with ProcessPoolExecutor() as processes:
        return list(processes.map(partial(run, goes_on=goes_on), *zip(*product(scopes, shares), strict=True)))


def run(scope: Scope, shares: int, *, goes_on: bool) -> Line:
    """One change, or changes that go on.

    The window's delay and the interval are as long as a refresh, so that neither hides how long shares wait in line.
    """
    made: list[Gateway] = []

    def system(world: World) -> Ours:
        made.append(Gateway(world, shares=shares, takes=TAKES, two_accepted_per=scope))
        seconds = TAKES // 1000
        return Ours(world, gateway=made[0], refresh_delay_seconds=seconds, min_refresh_interval_seconds=seconds)

    turn = -(-shares // _SLOTS) * TAKES
    times = arrivals(max(turn / _CHANGES_A_TURN, TAKES), max(_TURNS * turn, _AT_LEAST * TAKES)) if goes_on else [0]
    with simulated(system) as world:
        for number, at in enumerate(times):
            world.advance(START + at)
            world.put(f"folder/{number}")
        world.settle()
        meter, [gateway] = world.meter, made
    handed = [at for at, share in gateway.story if not share]
    return Line(
        scope,
        shares,
        refreshes=len(gateway.story) - len(handed),
        refused=gateway.refused,
        meter=meter,
        longest=max(_waits(gateway)) + TAKES,
        perfect=max(_perfect_waits(handed, shares)) + TAKES,
    )


def _waits(gateway: Gateway) -> Iterator[int]:
    """How long each refresh was waited for by its share."""
    since: dict[str, int] = {}
    for at, share in gateway.story:
        if share:
            yield at - since.pop(share)  # fails for a refresh that nothing waited for
        else:
            since = dict.fromkeys(gateway.shares, at) | since
    if since:
        raise AssertionError(f"Never refreshed: {sorted(since)}")


def _perfect_waits(handed: Sequence[int], shares: int) -> Iterator[int]:
    """The same if each place that is free is taken at once, by the share that has waited longest and may be asked.

    That is one whose last refresh is complete: the interval is as long as a refresh.
    """
    places = [0] * _SLOTS  # when each is free
    since, ready = dict.fromkeys(range(shares), handed[0]), dict.fromkeys(range(shares), 0)
    while since:
        now = max(min(places), min(max(since[share], ready[share]) for share in since))
        share = min((share for share in since if max(since[share], ready[share]) <= now), key=since.__getitem__)
        yield now - since.pop(share)
        places[places.index(min(places))] = ready[share] = now + TAKES
        if later := next((at for at in handed if at > now), 0):
            since[share] = later
