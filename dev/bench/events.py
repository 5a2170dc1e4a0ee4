"""What an S3 event costs on its way in: one that is absorbed, and a window of many."""

import importlib
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from dev.bench.systems import TIME_LEFT, Ours
from dev.bench.world import INTERVAL, START, TABLE, Meter, System, World, s3_event, simulated
from event_aggregator.changes import read_event

_FOLDER = "projects/2026/customer-{:04}/incoming"
FOLDER_BYTES = len("/" + _FOLDER.format(0))  # as the table has it


@dataclass(frozen=True)
class Window:
    """Events over so many folders and containers, from the first to the end of their refresh."""

    events: int
    folders: int
    containers: int
    aggregator: Meter  # until the window is due
    meter: Meter  # to the end
    log_bytes: int


def window(make: Callable[[World], System], events: int, folders: int, containers: int) -> Window:
    """The second of two such windows: it finds in the item what the first has left there."""

    def put(number: int) -> None:  # each container meets each folder
        world.put(f"{_FOLDER.format(number % folders)}/{number}", number // folders % containers)

    with simulated(make) as world:
        for number in range(folders * containers):
            put(number)
        world.settle()
        world.advance(world.now + INTERVAL)
        world.meter, log_before = Meter(), world.log.size
        for number in range(events):
            put(number)
        aggregator = world.meter.copy()
        world.settle()
        return Window(events, folders, containers, aggregator, world.meter, world.log.size - log_before)


@dataclass(frozen=True)
class Absorbed:
    """What events cost that fall into a window which their container knows."""

    meter: Meter
    log_bytes: int


def absorbed(make: Callable[[World], System], events: int) -> Absorbed:
    with simulated(make) as world:
        world.put("folder/first")
        world.meter, log_before = Meter(), world.log.size
        for number in range(events):
            world.put(f"folder/{number}")
        return Absorbed(world.meter, world.log.size - log_before)


@dataclass(frozen=True)
class WarmPath:
    """CPU microseconds of one absorbed event, from the outside in."""

    handler: float  # s3_aggregator.lambda_handler, with Powertools' decorator
    aggregator: float  # without it
    reading: float  # the record alone


def warm_path(rounds: int) -> WarmPath:
    """Of the module that Lambda loads; its window stays open for as long as this may take."""
    context = SimpleNamespace(
        function_name="S3EventAggregator",
        memory_limit_in_mb=256,
        invoked_function_arn="arn:aws:lambda:us-east-1:123456789012:function:S3EventAggregator",
        aws_request_id="C3D13FE58DE4C810",
        get_remaining_time_in_millis=lambda: TIME_LEFT,
    )
    with simulated(Ours) as world:
        os.environ |= {"TABLE_NAME": TABLE, "QUEUE_URL": world.queue_url, "REFRESH_DELAY_SECONDS": "900"}
        module: Any = importlib.import_module("s3_aggregator")
        module.lambda_handler(s3_event("folder/first", START), context)
        return WarmPath(
            handler=_cpu_us(lambda event: module.lambda_handler(event, context), rounds),
            aggregator=_cpu_us(lambda event: module._aggregator.aggregate_event(event, TIME_LEFT), rounds),
            reading=_cpu_us(read_event, rounds),
        )


def _cpu_us(call: Callable[[Any], Any], rounds: int) -> float:
    """The median over rounds of 1,000 different events."""
    events = [s3_event(f"folder/{number}", START + number) for number in range(1_000)]
    took = []
    for _ in range(rounds):
        begin = time.process_time()
        for event in events:
            call(event)
        took.append(time.process_time() - begin)
    return statistics.median(took) / len(events) * 1e6
