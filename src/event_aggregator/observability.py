"""How the functions explain themselves: one JSON log line for each step of a window, and metrics per bucket.

An absorbed change writes nothing above DEBUG, so that the log costs what the windows cost, not what the events cost.
Every line about a window has the field `correlation_id`: the id of the bucket's window, in both functions.
"""

import logging
from datetime import UTC, datetime

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

from event_aggregator.table import Key

# Lambda's log-level filter takes a line whose timestamp is not RFC 3339 for INFO, whatever its level (Lambda guide,
# monitoring-cloudwatchlogs-log-level).
logger = Logger(use_rfc3339=True)

_metrics = Metrics()

# All metrics there are, each with the dimensions `bucket` and `service`, the function that emits it.
METRICS = {
    "ChangesAbsorbed": MetricUnit.Count,  # that needed no request of their own
    "ChangesIgnored": MetricUnit.Count,  # whose key matches IGNORE_KEYS
    "WindowsOpened": MetricUnit.Count,  # by a change; each sends one request
    "RefreshesAccepted": MetricUnit.Count,  # by a share
    "RefreshesRefused": MetricUnit.Count,  # by a share, or it did not answer or is not AVAILABLE; tried again
    "RefreshesDeferred": MetricUnit.Count,  # by us: a share got changes, and could not be asked at once
    "SharesLeftOut": MetricUnit.Count,  # not asked, as their own gateway wrote what a window holds
    "FoldersRefreshed": MetricUnit.Count,  # named in an accepted refresh
    "WholeShareRefreshes": MetricUnit.Count,  # accepted refreshes of everything that a share shows
    "SecondsWaiting": MetricUnit.Seconds,  # every 15 minutes, for each share or region that waits: for how long
    "SecondsUntilAccepted": MetricUnit.Seconds,  # from the first change to the accepted refresh
    "SecondsUntilVisible": MetricUnit.Seconds,  # from the first change to the end of the refresh
    "NotificationsLost": MetricUnit.Count,  # every 15 minutes, of a bucket that should tell of its changes and does not
    "WaitingLateness": MetricUnit.Count,  # SecondsWaiting in windows, or in 20 minutes if a window takes less
    "VisibleLateness": MetricUnit.Count,  # SecondsUntilVisible in windows
    "VisibleEventsLost": MetricUnit.Count,  # that EventBridge did not take
}


def set_log_level(level: str) -> None:
    """Let only lines of `level` and above through; done on the standard library's logger of the same name.

    Powertools' own setLevel yields to the function's application log level, which has to stay at INFO or below:
    metrics are lines without a level, which Lambda counts as INFO.
    """
    logging.getLogger(logger.service).setLevel(level)
    logging.getLogger("botocore").setLevel(logging.WARNING)


def measure(bucket: str, **values: float) -> None:
    """Emit metrics (name = value) of `bucket`, as one line in CloudWatch's embedded metric format."""
    _metrics.add_dimension("bucket", bucket)
    for name, value in values.items():
        _metrics.add_metric(name, METRICS[name], value)
    _metrics.flush_metrics()


class Tally:
    """Counts changes, those that a window absorbed if no other metric is named, without a line each.

    A count is emitted when it has grown by a quarter, and with the bucket's next window: thirty lines for a thousand
    changes. What a container has counted since then goes with it: a fifth of its last window at most.
    """

    def __init__(self, metric: str = "ChangesAbsorbed") -> None:
        self._metric = metric
        self._counts: dict[Key, tuple[str | None, int, int]] = {}  # key: window, changes counted, changes emitted

    def add(self, key: Key, window: str | None, changes: int) -> None:
        """Count `changes` in a window of `key`, a bucket's or another of the bucket's."""
        seen, counted, emitted = self._counts.get(key, (window, 0, 0))
        counted += changes
        if counted > emitted and (seen != window or counted >= emitted + emitted // 4):
            measure(key.bucket, **{self._metric: counted - emitted})
            emitted = counted
        self._counts[key] = (window, counted, emitted) if seen == window else (window, 0, 0)


def timestamp(epoch_ms: int) -> str:
    """A time of the state's, as people read it: 2026-01-31T12:00:00.000Z."""
    return datetime.fromtimestamp(epoch_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
