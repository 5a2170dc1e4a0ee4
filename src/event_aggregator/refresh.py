"""What the refresh function does with each message on the action queue.

Promise: when `handle` returns, shares have accepted a refresh of the message's folders, or the folders wait under the
key of a share, or of a region whose request is queued. Otherwise `handle` raises, and SQS must deliver the message
again. Every repetition is harmless.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import assert_never

from event_aggregator.aggregate import Aggregator
from event_aggregator.asking import Asker, ShareChanges
from event_aggregator.failures import AWS_ERRORS, all_messages, error_text
from event_aggregator.file_shares import FileShare
from event_aggregator.folders import shown
from event_aggregator.gateways import Delivery
from event_aggregator.messages import BucketRequest, FailedEvent, OtherEvent, RefreshCompleted, Sweep, read_message
from event_aggregator.observability import logger, measure, timestamp
from event_aggregator.regions import UnnamedRegionError
from event_aggregator.request import LIFETIME_MS, MIN_DELAY_MS, Request, WakeRequest
from event_aggregator.table import Key, Kind, WindowItem
from event_aggregator.turns import backoff
from event_aggregator.waiting import ChangedFolders, ShareItem
from event_aggregator.window import Due, lost_request

# How long folders wait for a region that the settings do not name: during a rollout some functions have old settings.
_UNNAMED_MS = 86_400_000


class NotRefreshedError(Exception):
    """Some shares could neither be asked nor be put in line: SQS must deliver the message again."""


@dataclass(frozen=True, slots=True)
class Refresher:
    aggregator: Aggregator
    asker: Asker
    check_notifications: Callable[[], object] = bool  # of the attached buckets; the default does nothing

    def handle(self, body: str, bucket_attribute: str | None, message_id: str, time_left: int) -> None:
        """Do what a message asks for. `time_left`: milliseconds until Lambda ends this invocation."""
        message, now = read_message(body, bucket_attribute), self.aggregator.now()
        delivery = Delivery(message_id, now + time_left)
        match message:
            case Request():
                logger.set_correlation_id(message.correlation)
                self._request_arrived(message, delivery)
            case WakeRequest():
                self.asker.woken(message, delivery)
            case FailedEvent():
                logger.warning("Handling an S3 event on which the aggregator failed", message_id=message_id)
                self.aggregator.aggregate_event(message.event, time_left)
            case BucketRequest(bucket, folders):
                logger.set_correlation_id(message_id)
                # This may be a repeated delivery: no window records the first one.
                changes = ChangedFolders(folders, now, message_id)
                self._distribute(Key.read(bucket), changes, replace(delivery, repeated=True))
            case RefreshCompleted():
                self.asker.completed(message, delivery)
            case Sweep():
                self._sweep(delivery)
                self.check_notifications()  # last: from a VPC its calls may have no answer
            case OtherEvent(kind):
                self.aggregator.warn_once(
                    f"The queue receives events that need no action: {kind}."
                    " Make the rule match completion events only."
                )
            case _:
                assert_never(message)

    def _request_arrived(self, request: Request, delivery: Delivery) -> None:
        windows, now = self.aggregator.windows, self.aggregator.now
        item = windows.read(request.key)
        if item.window_id == request.window and item.refresh_at > now():
            self._defer(request, item)
        elif request.window in (item.window_id, item.refreshing_id):
            self._close_and_distribute(request, item, delivery)
        else:
            logger.debug(f"The window of {request.key} has already been refreshed or taken over", window=request.window)

    def _defer(self, request: Request, item: WindowItem) -> None:
        """The request came before its window is due: send it again for the remaining time."""
        now = self.aggregator.now()
        due = max(item.refresh_at, now + MIN_DELAY_MS)
        self.aggregator.windows.confirm(request.key, request.window, due + LIFETIME_MS)
        self.aggregator.queue.send(request, now=now, due=due)
        logger.debug(
            f"The window of {request.key} is due at {timestamp(due)}: its request is sent again", window=request.window
        )

    def _close_and_distribute(self, request: Request, item: WindowItem, delivery: Delivery) -> None:
        """Close the window, or continue the fan-out of an invocation that died, and give its folders to the shares."""
        windows = self.aggregator.windows
        if item.window_id == request.window:
            now = self.aggregator.now()
            closed = windows.close(request.key, item, now, now + LIFETIME_MS)
            if closed is None:  # another delivery closed it, or it was taken over, or it is due later now
                self._request_arrived(request, delivery)
                return
            item = closed
        else:
            delivery = replace(delivery, repeated=True)
        changes = ChangedFolders(item.refreshed_folders, item.refreshed_since, request.correlation)
        self._distribute(request.key, changes, delivery, request.attempt)
        windows.mark_distributed(request.key, request.window)

    def _distribute(self, key: Key, changes: ChangedFolders, delivery: Delivery, attempt: int = 1) -> None:
        """Give the folders to the shares that show them. With several regions, each gets its own request first."""
        regions = self.asker.regions
        if not key.region and len(regions.names) > 1:
            for name in regions.names:
                self._wait_for_region(Key.of_region(key.bucket, name, key.writer), changes, delivery)
            return
        name = key.region or regions.names[0]
        try:
            shares = regions.at(name).showing(key.bucket)
        except (UnnamedRegionError, *AWS_ERRORS) as error:
            key = Key.of_region(key.bucket, name, key.writer)
            self._wait_for_region(
                key, changes, delivery, attempt, f"its file shares could not be listed: {error_text(error)}"
            )
            return
        if not shares and len(regions.names) == 1:
            logger.warning(f"No file share shows the bucket {key.bucket}: nothing is refreshed", bucket=key.bucket)
        if key.writer is not None:
            others = self.aggregator.settings.refresh_other_gateways
            left_out = regions.left_out(shares, name, key.writer, others)
            _log_left_out(left_out, changes, others)
            shares = [share for share in shares if share not in left_out]
        self._distribute_to(shares, changes, delivery)

    def _wait_for_region(
        self, key: Key, changes: ChangedFolders, delivery: Delivery, attempt: int = 0, reason: str = ""
    ) -> None:
        """Put the folders into the region's window. When it is due, the region's shares are listed."""
        now = self.aggregator.now()
        due = now + (backoff(attempt) if reason else 0)
        self.aggregator.open_or_join(
            key,
            changes.folders,
            owners=[delivery.message_id],
            due=Due(due),
            since=changes.since,
            deadline=delivery.deadline,
            attempt=attempt + 1,
            correlation=changes.correlation,
            reason=reason,
        )
        if reason:
            logger.warning(f"{key} waits until {timestamp(due)}: {reason}", bucket=key.bucket)

    def _distribute_to(self, shares: Sequence[FileShare], changes: ChangedFolders, delivery: Delivery) -> None:
        """Let each share that shows a folder take its turn. A gateway that fails does not stop the others.

        All shares are put in line before any is asked, so that a slow gateway delays no other gateway's line.
        """
        at: dict[Key, list[ShareChanges]] = {}
        for share in shares:
            folders = changes.folders if share.unknown else shown(changes.folders, share.prefix)
            if folders:
                handed = ShareChanges(share, replace(changes, folders=folders))
                at.setdefault(Key.read(share.gateway_arn), []).append(handed)
        failures: list[Exception] = []

        def each(do: Callable[[Key, list[ShareChanges]], object]) -> None:
            for gateway, handed in at.items():
                try:
                    do(gateway, handed)
                except AWS_ERRORS as error:
                    error.add_note(f"File shares of {gateway}")
                    failures.append(error)

        each(lambda gateway, handed: len(handed) > 1 and self.asker.enqueue(gateway, handed, delivery))
        each(
            lambda gateway, handed: (
                self.asker.take_turns(gateway, delivery, handed)
                if len(handed) > 1
                else self.asker.ask_or_enqueue(gateway, handed[0], delivery)
            )
        )
        if failures:
            raise NotRefreshedError(all_messages(failures)) from failures[0]

    def _sweep(self, delivery: Delivery) -> None:
        """Measure how long folders wait, send lost requests again, and put lost shares back in line."""
        now = self.aggregator.now()
        lines: dict[Key, list[Key]] = {}  # by gateway, the shares that have waiting folders
        for key, attributes in self.aggregator.windows.everything():
            if key.kind is Kind.GATEWAY:
                self.asker.gateways.remember(key, attributes)
                lines.setdefault(key, [])
            elif key.kind is Kind.SHARE and (item := ShareItem.of(attributes)).gateway:
                if item.changes and not self._is_given_up(key, item.changes.since, now):
                    self._measure_wait(key, now - item.changes.since)
                    lines.setdefault(Key.read(item.gateway), []).append(key)
            else:  # a window. Only an earlier release opened one for a share, with a request of its own
                window = WindowItem.of(attributes)
                if key.kind in (Kind.REGION, Kind.SHARE) and window.since:
                    self._measure_wait(key, now - window.since)
                self._resend_lost_request(key, window, now)
        for gateway, keys in lines.items():
            self.asker.repair_line(gateway, keys, delivery)

    def _measure_wait(self, key: Key, waited_ms: int) -> None:
        """The wait began with the first change of the bucket's window. Below 20 minutes it is never late."""
        late = self.aggregator.settings.lateness(key.bucket, key.share_id, waited_ms / 1000, least=1200)
        measure(key.bucket, SecondsWaiting=waited_ms / 1000, WaitingLateness=late)

    def _resend_lost_request(self, key: Key, item: WindowItem, now: int) -> None:
        """Send the window's request again if it must be lost."""
        if item.since and self._is_given_up(key, item.since, now):
            return
        if window := lost_request(item, now):
            logger.warning(f"The request of {key} was lost; it is sent again", correlation_id=window)
            self.aggregator.queue.send(Request(key, window, correlation=window), now=now, due=now)
            self.aggregator.windows.confirm(key, window, now + LIFETIME_MS)

    def _is_given_up(self, key: Key, since: int, now: int) -> bool:
        """Drop folders that have waited a day for a region that the settings do not name. True if they were dropped."""
        if not key.region or key.region in self.asker.regions.names or now - since < _UNNAMED_MS:
            return False
        logger.warning(f"The settings name no gateways in {key.region}: the folders that waited for {key} are dropped")
        self.asker.waiting.forget(key)
        return True


def _log_left_out(left_out: Sequence[FileShare], changes: ChangedFolders, others: str) -> None:
    """Log and count the shares that are not asked, because a gateway wrote what changed."""
    why = "through a gateway, and REFRESH_OTHER_GATEWAYS is off" if others == "off" else "by its own role"
    for share in left_out:
        if folders := shown(changes.folders, share.prefix):
            logger.info(
                f"Left out {share.key}: the changes were written {why}",
                bucket=share.bucket,
                share=str(share.key),
                folders=sorted(folders),
                already_shown=others != "off",
            )
            measure(share.bucket, SharesLeftOut=1)
