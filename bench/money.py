"""US dollars from what was counted, and from list prices. Free tiers are not subtracted."""

from collections.abc import Callable
from dataclasses import dataclass

from bench.events import Window
from bench.scope import bucket
from bench.world import START, Meter, System, World, simulated

# List prices, us-east-1, noted in November 2026, in US dollars for one. They change: see aws.amazon.com/pricing.
PRICES_AS_OF = "November 2026"
PRICES = {
    "Lambda request": 0.20e-6,
    "Lambda GB-second (arm64)": 13.3334e-6,
    "DynamoDB write unit, on demand": 0.625e-6,
    "DynamoDB read unit, on demand": 0.125e-6,
    "SQS request": 0.40e-6,
    "CloudWatch Logs, GB taken in": 0.50,
    "S3 LIST": 5e-6,
    "S3 HEAD": 0.40e-6,
}

# Assumptions on what Lambda bills, in whole milliseconds at 256 MB: here is no Lambda to measure.
_MEMORY_GB = 0.25
_ABSORBED_MS, _CALL_MS, _DELIVERY_MS, _COLD_START_MS = 2, 10, 300, 500
ASSUMPTIONS = (
    f"Lambda at 256 MB bills {_ABSORBED_MS} ms an event, {_CALL_MS} ms more for each AWS call, {_DELIVERY_MS} ms for a"
    f" message on the queue, {_COLD_START_MS} ms for a cold start; a message is three SQS requests (send, receive,"
    " delete)"
)

_DAYS, _REFRESHES, _OBJECTS = 30, 50, 1_000
_DAY, _MINUTE = 86_400_000, 60_000
_CONTAINERS = 2
# Lambda waits for messages in five calls at a time, of 20 seconds each, whether there are any or not.
IDLE_POLLS = _DAYS * 86_400 // 20 * 5


@dataclass(frozen=True)
class Bill:
    """US dollars."""

    lambda_: float
    dynamodb: float
    sqs: float
    logs: float
    s3: float = 0.0

    @property
    def total(self) -> float:
        return self.lambda_ + self.dynamodb + self.sqs + self.logs + self.s3


def million_events(window: Window) -> Bill:
    """A million events in windows like this one; without what the refreshes cost on S3."""
    return _bill(window.meter, window.log_bytes, window.containers + 1, times=1e6 / window.events)


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
        bill = _bill(world.meter, world.log.size, _REFRESHES * (_CONTAINERS + 1), times=_DAYS)
        s3 = on_s3(world.share.lists, world.share.heads)
    idle = IDLE_POLLS * PRICES["SQS request"]
    return Bill(bill.lambda_, bill.dynamodb, bill.sqs + idle, bill.logs, _DAYS * s3)


def on_s3(lists: int, heads: int) -> float:
    """What the gateway's requests cost, in US dollars."""
    return lists * PRICES["S3 LIST"] + heads * PRICES["S3 HEAD"]


def _bill(meter: Meter, log_bytes: int, cold_starts: int, times: float) -> Bill:
    milliseconds = (
        meter.events * _ABSORBED_MS
        + meter.calls.total() * _CALL_MS
        + meter.deliveries * _DELIVERY_MS
        + cold_starts * _COLD_START_MS
    )
    gb_seconds = milliseconds / 1000 * _MEMORY_GB
    invocations = meter.events + meter.deliveries
    return Bill(
        lambda_=times * (invocations * PRICES["Lambda request"] + gb_seconds * PRICES["Lambda GB-second (arm64)"]),
        dynamodb=times
        * (
            meter.write_units * PRICES["DynamoDB write unit, on demand"]
            + meter.read_units * PRICES["DynamoDB read unit, on demand"]
        ),
        sqs=times * 3 * meter.deliveries * PRICES["SQS request"],
        logs=times * log_bytes / 1e9 * PRICES["CloudWatch Logs, GB taken in"],
    )
