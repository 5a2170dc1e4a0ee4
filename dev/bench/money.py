"""US dollars from what was counted here, at the list prices of commands.plan.prices."""

from collections.abc import Callable
from dataclasses import replace

from commands.plan.prices import DAYS, Bill, Counted, bill, idle, on_s3
from dev.bench.events import Window
from dev.bench.scope import bucket
from dev.bench.world import START, Meter, System, World, simulated

_REFRESHES, _OBJECTS = 50, 1_000
_DAY, _MINUTE = 86_400_000, 60_000
_CONTAINERS = 2


def million_events(window: Window) -> Bill:
    """A million events in windows like this one; without what the refreshes cost on S3."""
    return bill(counted(window.meter, window.log_bytes, window.containers + 1), times=1e6 / window.events)


def worked_example(make: Callable[[World], System], objects: int, *, sweeps: bool) -> Bill:
    """1,000 objects a day in 50 refreshes, for 30 days, in a bucket that holds `objects` already.

    One day is run and counted: every 29 minutes, 20 objects in ten seconds in one folder; with `sweeps`, also a
    message every 15 minutes that looks for lost requests.
    """
    keys = bucket(objects)
    with simulated(make, keys) as world:
        world.share.tree()  # clients have seen all of it
        for at in range(0, _DAY if sweeps else 0, 15 * _MINUTE):
            world.queue('{"sweep": true}', START + at)
        for refresh in range(_REFRESHES):
            folder = keys[refresh * len(keys) // _REFRESHES].rpartition("/")[0]
            for number in range(_OBJECTS // _REFRESHES):
                world.advance(START + refresh * _DAY // _REFRESHES + number * 500)
                world.put(f"{folder}/new-{number}", number % _CONTAINERS)
        world.settle()
        s3 = on_s3(world.share.lists, world.share.heads)
        a_month = bill(counted(world.meter, world.log.size, _REFRESHES * (_CONTAINERS + 1)), times=DAYS, s3=s3)
    return replace(a_month, sqs=a_month.sqs + idle())


def counted(meter: Meter, log_bytes: int, cold_starts: int) -> Counted:
    calls = meter.calls.total()
    return Counted(meter.events, meter.deliveries, calls, meter.write_units, meter.read_units, log_bytes, cold_starts)
