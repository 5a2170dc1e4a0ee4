"""Logs and metrics: one JSON log line for each step of a window, and metrics per bucket.

An absorbed change is logged only at DEBUG, so the cost of the log depends on the number of windows, not of events.
Every line about a window has the field `correlation_id`: the id of the bucket's window, in both functions.
"""

import logging
from datetime import UTC, datetime

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

from event_aggregator import __version__
from event_aggregator.table import Key

# Lambda's log-level filter treats a line as INFO, whatever its level, if its timestamp is not RFC 3339 (Lambda guide,
# monitoring-cloudwatchlogs-log-level).
logger = Logger(use_rfc3339=True)

_metrics = Metrics()

# All metrics. Each has the dimensions `bucket` and `service` (the function that emits it).
METRICS = {
    "ChangesAbsorbed": MetricUnit.Count,  # changes that needed no request of their own
    "ChangesIgnored": MetricUnit.Count,  # changes whose keys match IGNORE_KEYS
    "WindowsOpened": MetricUnit.Count,  # windows that a change opened; each has one request
    "RefreshesAccepted": MetricUnit.Count,  # refreshes that a share accepted
    "RefreshesRefused": MetricUnit.Count,  # a share refused, did not answer or is not AVAILABLE; it is asked again
    "RefreshesDeferred": MetricUnit.Count,  # a share got folders, but could not be asked at once
    "SharesLeftOut": MetricUnit.Count,  # shares that were not asked for what a gateway wrote
    "FoldersRefreshed": MetricUnit.Count,  # folders in accepted refreshes
    "WholeShareRefreshes": MetricUnit.Count,  # accepted refreshes of a whole share
    "SecondsWaiting": MetricUnit.Seconds,  # how long a share or region has waited; every 15 minutes
    "SecondsUntilAccepted": MetricUnit.Seconds,  # from the first change to the accepted refresh
    "SecondsUntilVisible": MetricUnit.Seconds,  # from the first change until the refresh is complete
    "NotificationsLost": MetricUnit.Count,  # attached buckets that no longer report their changes; every 15 minutes
    "WaitingLateness": MetricUnit.Count,  # SecondsWaiting divided by the time of a window, at least 20 minutes
    "VisibleLateness": MetricUnit.Count,  # SecondsUntilVisible divided by the time of a window
    "VisibleEventsLost": MetricUnit.Count,  # events that EventBridge did not accept
}


def start_log(level: str) -> None:
    """Log only lines of `level` and above, the first of which says which version starts.

    This sets the level of the standard library's logger with the same name, because Powertools' own setLevel yields to
    the function's application log level. That must stay at INFO or below: metrics are lines without a level, which
    Lambda treats as INFO.
    """
    logging.getLogger(logger.service).setLevel(level)
    logging.getLogger("botocore").setLevel(logging.WARNING)
    logger.info(f"s3-event-aggregator {__version__} starts")


def measure(bucket: str, **values: float) -> None:
    """Emit metrics (name = value) of `bucket` as one line in CloudWatch's embedded metric format."""
    _metrics.add_dimension("bucket", bucket)
    for name, value in values.items():
        _metrics.add_metric(name, METRICS[name], value)
    _metrics.flush_metrics()


class Tally:
    """Counts changes without a log line for each.

    A count is emitted when it has grown by a quarter, and when the key's next window begins: thirty lines for a
    thousand changes. When a container ends, at most a fifth of the count of its last window is lost.
    """

    def __init__(self, metric: str = "ChangesAbsorbed") -> None:
        self._metric = metric
        self._counts: dict[Key, tuple[str | None, int, int]] = {}  # key: window, changes counted, changes emitted

    def add(self, key: Key, window: str | None, changes: int) -> None:
        """Add `changes` to the count of `window`, a window of `key`."""
        seen, counted, emitted = self._counts.get(key, (window, 0, 0))
        counted += changes
        if counted > emitted and (seen != window or counted >= emitted + emitted // 4):
            measure(key.bucket, **{self._metric: counted - emitted})
            emitted = counted
        self._counts[key] = (window, counted, emitted) if seen == window else (window, 0, 0)


def timestamp(epoch_ms: int) -> str:
    """`epoch_ms` as in 2026-01-31T12:00:00.000Z."""
    return datetime.fromtimestamp(epoch_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
