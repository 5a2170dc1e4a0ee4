"""How the functions explain themselves: one JSON log line for each step of a window, and metrics per bucket.

An absorbed change writes nothing above DEBUG, so that the log costs what the windows cost, not what the events cost.
"""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

# Lambda's log-level filter takes a line whose timestamp is not RFC 3339 for INFO, whatever its level (Lambda guide,
# monitoring-cloudwatchlogs-log-level).
logger = Logger(use_rfc3339=True)

_metrics = Metrics()


def set_log_level(level: str) -> None:
    """Let only lines of `level` and above through; done on the standard library's logger of the same name.

    Powertools' own setLevel yields to the function's application log level, which has to stay at INFO or below:
    metrics are lines without a level, which Lambda counts as INFO.
    """
    logging.getLogger(logger.service).setLevel(level)
    logging.getLogger("botocore").setLevel(logging.WARNING)


def count(bucket: str, **counts: int) -> None:
    """Emit `counts` (metric name = number) for `bucket`."""
    _emit(bucket, MetricUnit.Count, counts)


def seconds(bucket: str, **durations: float) -> None:
    """Emit `durations` (metric name = seconds) for `bucket`."""
    _emit(bucket, MetricUnit.Seconds, durations)


def _emit(bucket: str, unit: MetricUnit, values: Mapping[str, float]) -> None:
    """One line in CloudWatch's embedded metric format."""
    _metrics.add_dimension("bucket", bucket)
    for name, value in values.items():
        _metrics.add_metric(name, unit, value)
    _metrics.flush_metrics()


def timestamp(epoch_ms: int) -> str:
    """A time of the state's, as people read it: 2026-01-31T12:00:00.000Z."""
    return datetime.fromtimestamp(epoch_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
