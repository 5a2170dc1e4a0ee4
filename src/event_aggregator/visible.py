"""Puts the event Changes Visible on EventBridge's default bus when a refresh is complete (docs/events.md).

Promise: the event is sent at least once for each refresh by this stack that is known to be complete and is not to be
repeated, before the gateway's document says so. If EventBridge does not accept it in two attempts, that is logged and
counted, and delays no refresh.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from event_aggregator.failures import AWS_ERRORS, error_text
from event_aggregator.observability import logger, measure, timestamp
from event_aggregator.table import Key
from event_aggregator.turns import Accepted

# The function may send only these: iam/visible-events.json.
SOURCE, DETAIL_TYPE = "s3-event-aggregator", "Changes Visible"


@dataclass(frozen=True, slots=True)
class Visible:
    """A refresh of a share that is complete since `at`, in epoch milliseconds."""

    key: Key
    accepted: Accepted
    share_arn: str
    gateway: Key
    folders: tuple[str, ...] | None  # as in RefreshCache's FolderList; None if Storage Gateway did not say
    at: int

    def detail(self) -> dict[str, Any]:
        accepted = self.accepted
        return {
            "bucket": self.key.bucket,
            "share": self.key.share_id,
            "prefix": accepted.prefix,
            **({"folders": self.folders} if self.folders else {}),
            "recursive": accepted.recursive,
            "more-to-come": accepted.left,
            "window": accepted.window,
            "first-change": timestamp(accepted.first_change),
            "accepted": timestamp(accepted.at),
            "completed": timestamp(self.at),
            "seconds": max(0, self.at - accepted.first_change) / 1000,
            "notification-id": accepted.refresh,
        }


class VisibleEvents:
    """EventBridge's default bus in the function's account and region."""

    def __init__(self, make_client: Callable[[], Any]) -> None:
        self._make_client = make_client

    @cached_property
    def _client(self) -> Any:
        """Made when it is needed: not every container sends an event."""
        return self._make_client()

    def send(self, visible: Visible) -> None:
        """Does not raise AWS's errors: the refresh is complete even if this fails."""
        try:
            answer = self._client.put_events(
                Entries=[
                    {
                        "Source": SOURCE,
                        "DetailType": DETAIL_TYPE,
                        "Resources": [visible.share_arn, str(visible.gateway)],
                        "Detail": json.dumps(visible.detail()),
                    }
                ]
            )
        except AWS_ERRORS as error:
            _log_failure(visible, error_text(error))
            return
        # The call may succeed although EventBridge refuses the entry (API reference, PutEvents).
        for entry in answer["Entries"]:
            if "ErrorCode" in entry:
                _log_failure(visible, f"{entry['ErrorCode']}: {entry.get('ErrorMessage', '')}")


def _log_failure(visible: Visible, reason: str) -> None:
    key = visible.key
    logger.warning(
        f"EventBridge did not accept the event Changes Visible of {key}: {reason}",
        bucket=key.bucket,
        share=str(key),
        correlation_id=visible.accepted.window,
    )
    measure(key.bucket, VisibleEventsLost=1)
