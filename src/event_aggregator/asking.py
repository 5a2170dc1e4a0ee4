"""Asks a share for a refresh when it takes its turn: describe it, close its item, call RefreshCache, write the answer.

Promise: when a method returns, every share that waits at the gateway will take its turn, because it was asked, a wake
is queued, or another invocation that is asking a share there will continue with the line. Otherwise the method raises,
and SQS must deliver the message again. Folders leave a share's item only after the share has accepted them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from uuid import uuid4

from event_aggregator.failures import AWS_ERRORS, Failure, error_text, may_have_taken_effect, meaning
from event_aggregator.file_shares import FileShare
from event_aggregator.folders import EVERYTHING, WHOLE_SHARE, Round, next_round, shown
from event_aggregator.gateways import Delivery, Gateways
from event_aggregator.messages import RefreshCompleted
from event_aggregator.observability import logger, measure
from event_aggregator.regions import Regions, UnnamedRegionError
from event_aggregator.request import WakeRequest
from event_aggregator.settings import Settings
from event_aggregator.table import Key
from event_aggregator.turns import (
    Accepted,
    Asked,
    Busy,
    Completed,
    Enqueued,
    Gateway,
    GatewayEvent,
    NothingToAsk,
    Refused,
    Todo,
    Visited,
    Woken,
    previous_may_be_void,
)
from event_aggregator.visible import Visible, VisibleEvents
from event_aggregator.waiting import ChangedFolders, ShareItem, WaitingShares
from event_aggregator.window import Windows

# The time that an invocation must have left to claim a share, and to call RefreshCache for it: a call without an answer
# takes 23 s.
_ASK_MS = 30_000
_CALL_MS = 24_000

# After this many unclear failures in a row, the folders may be the cause.
_UNCLEAR = 3


@dataclass(frozen=True, slots=True)
class ShareChanges:
    """A share, and the changes that it is handed: in folders that it shows."""

    share: FileShare
    changes: ChangedFolders


@dataclass(frozen=True, slots=True)
class _Ask:
    """What a share is asked for.

    `closed` is the RefreshingId of the share's item; None if the folders are in the bucket's window only.
    """

    share: FileShare
    changes: ChangedFolders
    closed: str | None = None
    unclear: int = 0
    widen: bool = False


_Finish = Callable[[Gateway, Gateway, Todo], bool]


@dataclass(frozen=True, slots=True)
class Asker:
    regions: Regions
    windows: Windows
    waiting: WaitingShares
    gateways: Gateways
    settings: Settings
    now: Callable[[], int]  # epoch milliseconds
    events: VisibleEvents | None = None  # None: VISIBLE_EVENTS is off

    def enqueue(
        self,
        gateway: Key,
        handed: Sequence[ShareChanges],
        delivery: Delivery,
        *,
        may_claim: bool = False,
        queues_wake: bool = False,
    ) -> Todo | None:
        """Add the folders to the shares' items, and all shares to their gateway's line in one write."""
        for one in handed:
            self.waiting.add(one.share.key, one.share, one.changes, uuid4().hex, one.share.unavailable)
        unavailable = frozenset(one.share.key for one in handed if one.share.unavailable)
        enqueued = Enqueued(tuple(one.share.key for one in handed), unavailable)
        return self.gateways.apply(gateway, enqueued, delivery, may_claim=may_claim, queues_wake=queues_wake)

    def ask_or_enqueue(self, gateway: Key, handed: ShareChanges, delivery: Delivery) -> None:
        """Ask the only share of a gateway that shows the changes. If it must wait, put it in line.

        If no share waits at the gateway, one write enqueues and claims this one, and its folders stay in the bucket's
        window. A repeated delivery does not do that: the share's item may already hold the folders, and must be closed.
        """
        key, todo = handed.share.key, None
        if not handed.share.unavailable and not delivery.repeated and self._has_time(delivery):
            todo = self.gateways.apply(
                gateway, Enqueued((key,)), delivery, before_writing=lambda _, __, todo: todo.direct
            )
        if todo:
            taken = self._ask_claimed(gateway, todo, delivery, _Ask(handed.share, handed.changes))
        else:
            todo = self.enqueue(gateway, [handed], delivery, may_claim=self._has_time(delivery), queues_wake=True)
            taken = self._ask_claimed(gateway, todo, delivery)
        self._log_who_waits(gateway, [handed], taken)

    def take_turns(self, gateway: Key, delivery: Delivery, handed: Sequence[ShareChanges] = ()) -> None:
        """Ask the shares that may take their turn, one after the other, while there is time."""
        todo = self.gateways.apply(gateway, Visited(), delivery, may_claim=self._has_time(delivery))
        taken = self._ask_claimed(gateway, todo, delivery)
        self._log_who_waits(gateway, handed, taken)

    def repair_line(self, gateway: Key, keys: Sequence[Key], delivery: Delivery) -> None:
        """Put those of `keys` that are not in line back there. Queue a wake if one is needed and none is queued."""
        shares = self.gateways.known[gateway][0].shares if gateway in self.gateways.known else {}
        lost = tuple(key for key in keys if key not in shares or not (shares[key].since or shares[key].claim))
        if lost:
            logger.info(f"The sweep put shares back in line at {gateway}: {', '.join(map(str, lost))}")
        self.gateways.apply(gateway, Enqueued(lost), delivery, may_claim=False)

    def woken(self, wake: WakeRequest, delivery: Delivery) -> None:
        """A gateway's wake arrived, perhaps early, because SQS delays a message by at most 15 minutes."""
        due = self.gateways.read(wake.key).wake
        if due and due.token == wake.token and self.now() < due.at:
            self.gateways.queue_wake(wake.key, due)
            return
        todo = self.gateways.apply(wake.key, Woken(wake.token), delivery, may_claim=self._has_time(delivery))
        self._ask_claimed(wake.key, todo, delivery)

    def completed(self, event: RefreshCompleted, delivery: Delivery) -> None:
        """A completion event arrived: a slot is free, and if the refresh is ours, its changes are visible."""
        requeued: list[Key] = []
        send_event = self._event_sender(event.share_arn, event.gateway, event.folders, event.at)

        def before_writing(_: Gateway, after: Gateway, todo: Todo) -> bool:
            if (key := todo.repeat) and (last := after.shares[key].last):
                self._requeue(key, last, event, is_earlier=previous_may_be_void(after.shares[key], event.began or 0))
                requeued.append(key)
            send_event(after, todo)
            return True

        share_id = event.share_arn.rpartition("/")[2]
        completed = Completed(share_id, event.notification_id, event.began or 0)
        todo = self.gateways.apply(
            event.gateway, completed, delivery, may_claim=self._has_time(delivery), before_writing=before_writing
        )
        self._log_completion(todo, event.at)
        self._ask_claimed(event.gateway, todo, delivery)
        if requeued and not (todo and todo.repeat):
            # Another invocation has asked the share since. The folders that were added must still be asked for.
            self.gateways.apply(event.gateway, Enqueued(tuple(requeued)), delivery, may_claim=False)

    def _has_time(self, delivery: Delivery) -> bool:
        return self.now() <= delivery.deadline - _ASK_MS

    def _ask_claimed(self, gateway: Key, todo: Todo | None, delivery: Delivery, direct: _Ask | None = None) -> set[Key]:
        """Ask the claimed share, then the one that is claimed next, and so on. The answer is all that were claimed."""
        taken: set[Key] = set()
        while todo and (key := todo.take):
            taken.add(key)
            event: GatewayEvent = Refused(key)
            finish: _Finish | None = None
            try:
                ask = direct or self._what_to_ask(key)
                if not isinstance(ask, _Ask):
                    event = ask
                elif self.now() <= delivery.deadline - _CALL_MS:
                    event = Refused(key, perhaps=True)  # until the outcome of the call is known
                    event, finish = self._ask(key, ask, is_idle=todo.is_idle)
                elif direct:
                    self.waiting.add(key, ask.share, ask.changes, uuid4().hex)
                may_claim, direct = self._has_time(delivery), None
                todo = self.gateways.apply(gateway, event, delivery, may_claim=may_claim, before_writing=finish)
            except AWS_ERRORS:  # from DynamoDB or SQS: give the claim back. The message comes again and queues the wake
                self._log_completion(
                    self.gateways.apply(
                        gateway, event, delivery, may_claim=False, queues_wake=False, before_writing=finish
                    )
                )
                raise
            self._log_completion(todo)
        return taken

    def _what_to_ask(self, key: Key) -> _Ask | NothingToAsk | Refused:
        """What to ask the claimed share for, or why it is not asked."""
        item = self.waiting.read(key)
        if not item.changes:
            return NothingToAsk(key)
        logger.set_correlation_id(item.changes.correlation)
        try:
            share = self.regions.of(key).describe(item.arn, item.kind, item.gateway, key.bucket)
        except (UnnamedRegionError, *AWS_ERRORS) as error:
            return self._postpone(key, f"it cannot be described: {error_text(error)}")
        if share is None or share.bucket != key.bucket:
            why = "was deleted" if share is None else f"does not show {key.bucket}"
            logger.warning(
                f"File share {key} {why}; its waiting folders are dropped", bucket=key.bucket, share=str(key)
            )
            self.waiting.forget(key)
            return NothingToAsk(key, gone=True)
        return self._postpone(key, share.unavailable) if share.unavailable else self._close(key, item, share)

    def _close(self, key: Key, item: ShareItem, share: FileShare) -> _Ask | NothingToAsk:
        """Close the share's item. The share is asked for those of its folders that it shows."""
        item = self.waiting.close(key, item)
        if not (changes := item.changes) or not item.refreshing_id:
            return NothingToAsk(key)
        if folders := shown(changes.folders, share.prefix):
            return _Ask(share, replace(changes, folders=folders), item.refreshing_id, item.unclear, item.widen)
        self.waiting.remove_closed(key, item.refreshing_id, keep_folders=False)
        return NothingToAsk(key)

    def _postpone(self, key: Key, reason: str) -> Refused:
        self.waiting.refused(key, reason)
        self._log_refusal(key, reason)
        return Refused(key)

    def _ask(self, key: Key, ask: _Ask, *, is_idle: bool) -> tuple[GatewayEvent, _Finish | None]:
        """Call RefreshCache. The answer is the event for the gateway, and what to do before that is written."""
        folders, share = ask.changes.folders, ask.share
        logger.set_correlation_id(ask.changes.correlation)
        everything = ask.widen or self.settings.refresh_scope.of(key.bucket) == "share"
        round_ = WHOLE_SHARE if everything else next_round(folders, share.prefix)
        try:
            refresh = self.regions.of(key).refresh(share, round_)
        except AWS_ERRORS as error:
            return self._refused(key, ask, round_, error, is_idle=is_idle), None
        now = self.now()
        _log_refresh(key, ask.changes, round_, now)
        timeout = self.settings.in_progress_timeout_seconds if self.regions.reports_completions(share) else 0
        until = now + (timeout * 1000 or self.gateways.rules.least_interval)

        send_event = self._event_sender(share.arn, Key.read(share.gateway_arn), tuple(round_.folder_list), None)

        def finish(_: Gateway, after: Gateway, todo: Todo) -> bool:
            if left := round_.left | (folders if todo.repeat == key else frozenset()):
                self.waiting.add(key, share, replace(ask.changes, folders=left), uuid4().hex)
            if ask.closed:
                self.waiting.remove_closed(key, ask.closed, keep_folders=key.share_id in after.by_others)
            send_event(after, todo)
            return True

        asked = Asked(
            key,
            refresh,
            until,
            first_change=ask.changes.since,
            window=ask.changes.correlation,
            kind=share.kind,
            prefix=share.prefix,
            recursive=round_.recursive,
            left=bool(round_.left),
        )
        return asked, finish

    def _refused(self, key: Key, ask: _Ask, round_: Round, error: Exception, *, is_idle: bool) -> Busy | Refused:
        """Keep the folders, note why the share refused, and decide what to ask for next.

        `is_idle`: no other refresh is known to be in progress at the gateway, so it is probably not busy.
        """
        failure, unclear, widen = meaning(error), ask.unclear, ask.widen
        if ask.closed is None:
            self.waiting.add(key, ask.share, ask.changes, uuid4().hex)
        is_about_request = failure is Failure.REQUEST
        if failure is Failure.UNCLEAR:
            unclear += 1
            is_about_request = unclear >= _UNCLEAR and is_idle
        if is_about_request or (ask.widen and failure is Failure.UNCLEAR):
            unclear, widen = 0, round_ != WHOLE_SHARE
        self.waiting.refused(key, error_text(error), unclear=unclear, widen=widen)
        self._log_refusal(key, f"it refused: {error_text(error)}")
        if widen and not ask.widen:
            logger.warning(f"{key} refuses single folders; it is asked for everything once", bucket=key.bucket)
        if failure is Failure.BUSY or (failure is Failure.UNCLEAR and not is_about_request):
            return Busy(key)
        return Refused(key, perhaps=may_have_taken_effect(error))

    def _requeue(self, key: Key, last: Accepted, event: RefreshCompleted, *, is_earlier: bool) -> None:
        """The share's last refresh may have had no effect: add its folders to the share's item again."""
        item, of_bucket = self.waiting.read(key), self.windows.read(Key.read(key.bucket))
        folders = frozenset({EVERYTHING})
        if is_earlier:
            pass  # the folders of refreshes before the last one are not kept
        elif item.refreshed_folders and item.refreshed_for == last.window:
            folders = item.refreshed_folders
        elif of_bucket.refreshed_folders and of_bucket.refreshed_since == last.first_change:
            folders = of_bucket.refreshed_folders
        share = FileShare(event.share_arn, last.kind, str(event.gateway), "", key.bucket, region=key.region)
        self.waiting.add(key, share, ChangedFolders(folders, last.first_change, last.window), uuid4().hex)
        logger.info(
            f"The refresh of {key} is repeated: somebody else had refreshed the share less than a minute before",
            bucket=key.bucket,
            share=str(key),
            correlation_id=last.window,
        )

    def _log_who_waits(self, gateway: Key, handed: Sequence[ShareChanges], taken: set[Key]) -> None:
        """Log and count each share that was given changes and still waits for its turn."""
        shares = self.gateways.known[gateway][0].shares
        for one in handed:
            key = one.share.key
            if key in taken or key not in shares or not shares[key].since:
                continue
            logger.set_correlation_id(one.changes.correlation)
            if one.share.unavailable:
                self._log_refusal(key, one.share.unavailable)
            else:
                logger.info(f"{key} waits for its turn", bucket=key.bucket, share=str(key))
                measure(key.bucket, RefreshesDeferred=1)

    def _log_refusal(self, key: Key, reason: str) -> None:
        logger.info(f"{key} waits: {reason}", bucket=key.bucket, share=str(key))
        measure(key.bucket, RefreshesRefused=1)

    def _event_sender(
        self, share_arn: str, gateway: Key, folders: tuple[str, ...] | None, at: int | None
    ) -> Callable[[Gateway, Todo], None]:
        """A function that sends the event Changes Visible, once, if a refresh is complete.

        It sends none for a refresh that may have had no effect: the repetition sends it.
        """
        sent = False

        def send(after: Gateway, todo: Todo) -> None:
            nonlocal sent
            if self.events and todo.completed and not sent and not after.shares[todo.completed[0]].repeats:
                sent = True
                self.events.send(Visible(*todo.completed, share_arn, gateway, folders, at or self.now()))

        return send

    def _log_completion(self, todo: Todo | None, at: int | None = None) -> None:
        """Log and measure a refresh that is now known to be complete, if there is one. `at`: when it was complete."""
        if not todo or not todo.completed:
            return
        key, accepted = todo.completed
        # The completion event has whole seconds, so its time may be before the change's.
        elapsed = max(0, (at or self.now()) - accepted.first_change) / 1000
        logger.info(
            f"The refresh of {key} is complete, {elapsed:.1f} s after the first change",
            bucket=key.bucket,
            share=str(key),
            correlation_id=accepted.window,
        )
        late = self.settings.lateness(key.bucket, key.share_id, elapsed)
        measure(key.bucket, SecondsUntilVisible=elapsed, VisibleLateness=late)


def _log_refresh(key: Key, changes: ChangedFolders, round_: Round, now: int) -> None:
    """Log and count a refresh that a share accepted."""
    number = len(round_.folder_list)
    what = "everything" if round_ == WHOLE_SHARE else f"{number} folder{'s' if number > 1 else ''}"
    logger.info(
        f"{key} accepted a refresh of {what}",
        bucket=key.bucket,
        share=str(key),
        folders=round_.folder_list,
        recursive=round_.recursive,
        left=len(round_.left),
    )
    extent = {"WholeShareRefreshes": 1} if round_ == WHOLE_SHARE else {"FoldersRefreshed": number}
    measure(key.bucket, RefreshesAccepted=1, SecondsUntilAccepted=(now - changes.since) / 1000, **extent)
