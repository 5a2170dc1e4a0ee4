"""The event that tells others on EventBridge's default bus that a file share shows what changed (docs/events.md).

The guarantee: it is sent at least once for each refresh of ours that is known to be complete, before the completion is
noted. What EventBridge does not take, in two attempts, is logged and counted, and holds up no refresh.
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

# The function may send no others: iam/visible-events.json.
SOURCE, DETAIL_TYPE = "s3-event-aggregator", "Changes Visible"


@dataclass(frozen=True, slots=True)
class Visible:
    """A refresh of a share that is complete; epoch milliseconds."""

    key: Key
    accepted: Accepted
    share_arn: str
    gateway: Key
    folders: tuple[str, ...] | None  # as RefreshCache's FolderList names them; None: Storage Gateway did not say
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
        """Made when it is needed: not every container sees a refresh complete."""
        return self._make_client()

    def send(self, visible: Visible) -> None:
        """Raises nothing: where this fails, the refresh is complete all the same."""
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
        # An entry may be refused in an answer that says 200 (API reference, PutEvents).
        for entry in answer["Entries"]:
            if "ErrorCode" in entry:
                _log_failure(visible, f"{entry['ErrorCode']}: {entry.get('ErrorMessage', '')}")


def _log_failure(visible: Visible, reason: str) -> None:
    key = visible.key
    logger.warning(
        f"No event tells that {key} shows what changed: {reason}",
        bucket=key.bucket,
        share=str(key),
        correlation_id=visible.accepted.window,
    )
    measure(key.bucket, VisibleEventsLost=1)
