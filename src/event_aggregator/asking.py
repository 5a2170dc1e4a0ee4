"""How a share is asked when it is its turn: look at it, close its window, call RefreshCache, note the answer.

The guarantee: when a method returns, everything that waits at the gateway has its turn to come: it is asked, or a wake
is queued, or whoever asks now comes by again. Otherwise the method raises, and the message must come again. Folders
leave a share's window only after the share has accepted them.
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
from event_aggregator.waiting import Changes, ShareItem, WaitingShares
from event_aggregator.window import Windows

# When less than this is left of an invocation, no turn is taken any more; nor is a share that took long to describe
# asked, if a RefreshCache call without an answer (23 s) would outlive the invocation.
_ASK_MS = 30_000
_CALL_MS = 24_000

# A gateway has refused so often in a row in words that nobody knows: perhaps because of the folders.
_UNCLEAR = 3


@dataclass(frozen=True, slots=True)
class ShareChanges:
    """Changes that a share shows, on their way to it."""

    share: FileShare
    changes: Changes


@dataclass(frozen=True, slots=True)
class _Ask:
    """What a share is asked for. `closed`: what was closed in its window; None: its bucket's window has the folders."""

    share: FileShare
    changes: Changes
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
    events: VisibleEvents | None = None  # None: nobody is told of what is visible

    def enqueue(
        self,
        gateway: Key,
        handed: Sequence[ShareChanges],
        delivery: Delivery,
        *,
        takes: bool = False,
        leaves: bool = False,
    ) -> Todo | None:
        """Put the folders into the shares' windows, and the shares into their gateway's line, in one write."""
        for one in handed:
            self.waiting.add(one.share.key, one.share, one.changes, uuid4().hex, one.share.unavailable)
        unavailable = frozenset(one.share.key for one in handed if one.share.unavailable)
        enqueued = Enqueued(tuple(one.share.key for one in handed), unavailable)
        return self.gateways.apply(gateway, enqueued, delivery, takes=takes, leaves=leaves)

    def ask_or_enqueue(self, gateway: Key, handed: ShareChanges, delivery: Delivery) -> None:
        """Ask the only share at a gateway that the changes are for; if it must wait, put it into the line.

        If nobody waits there, one write enqueues and claims it, and its folders stay in the bucket's window. Not when
        they are handed over again: then the share's own window may hold them, and must be closed.
        """
        key, todo = handed.share.key, None
        if not handed.share.unavailable and not delivery.repeated and self._has_time(delivery):
            todo = self.gateways.apply(
                gateway, Enqueued((key,)), delivery, before_writing=lambda _, __, todo: todo.direct
            )
        if todo:
            taken = self._take_turns(gateway, todo, delivery, _Ask(handed.share, handed.changes))
        else:
            todo = self.enqueue(gateway, [handed], delivery, takes=self._has_time(delivery), leaves=True)
            taken = self._take_turns(gateway, todo, delivery)
        self._log_who_waits(gateway, [handed], taken)

    def take_turns(self, gateway: Key, delivery: Delivery, handed: Sequence[ShareChanges] = ()) -> None:
        """Ask whose turn it is, one after the other, while there is time."""
        todo = self.gateways.apply(gateway, Visited(), delivery, takes=self._has_time(delivery))
        taken = self._take_turns(gateway, todo, delivery)
        self._log_who_waits(gateway, handed, taken)

    def repair_line(self, gateway: Key, keys: Sequence[Key], delivery: Delivery) -> None:
        """Put those of `keys` into the line that are not in it; queue a wake if one is needed and none comes."""
        shares = self.gateways.known[gateway][0].shares if gateway in self.gateways.known else {}
        lost = tuple(key for key in keys if key not in shares or not (shares[key].since or shares[key].claim))
        if lost:
            logger.info(f"Shares of {gateway} were in no line; they are now: {', '.join(map(str, lost))}")
        self.gateways.apply(gateway, Enqueued(lost), delivery, takes=False)

    def woken(self, wake: WakeRequest, delivery: Delivery) -> None:
        """The wake of a gateway has come; perhaps early, since SQS delays no message long enough."""
        due = self.gateways.read(wake.key).wake
        if due and due.token == wake.token and self.now() < due.at:
            self.gateways.queue_wake(wake.key, due)
            return
        todo = self.gateways.apply(wake.key, Woken(wake.token), delivery, takes=self._has_time(delivery))
        self._take_turns(wake.key, todo, delivery)

    def completed(self, event: RefreshCompleted, delivery: Delivery) -> None:
        """A place is free at the gateway; and what our refresh has shown is known to be visible."""
        requeued: list[Key] = []
        events = self._events_of(event.share_arn, event.gateway, event.folders, event.at)

        def before_writing(_: Gateway, after: Gateway, todo: Todo) -> bool:
            if (key := todo.repeat) and (last := after.shares[key].last):
                self._requeue(key, last, event, is_earlier=previous_may_be_void(after.shares[key], event.began or 0))
                requeued.append(key)
            events(after, todo)
            return True

        share_id = event.share_arn.rpartition("/")[2]
        completed = Completed(share_id, event.notification_id, event.began or 0)
        todo = self.gateways.apply(
            event.gateway, completed, delivery, takes=self._has_time(delivery), before_writing=before_writing
        )
        if todo and todo.completed:
            self._log_completion(*todo.completed, event.at)
        self._take_turns(event.gateway, todo, delivery)
        if requeued and not (todo and todo.repeat):
            # Somebody has asked the share since: what was put back must be asked for all the same.
            self.gateways.apply(event.gateway, Enqueued(tuple(requeued)), delivery, takes=False)

    def _has_time(self, delivery: Delivery) -> bool:
        return self.now() <= delivery.deadline - _ASK_MS

    def _take_turns(self, gateway: Key, todo: Todo | None, delivery: Delivery, direct: _Ask | None = None) -> set[Key]:
        """Ask the share that was claimed, and whose turn it is then, and so on: all that had a turn."""
        taken: set[Key] = set()
        while todo and (key := todo.take):
            taken.add(key)
            event: GatewayEvent = Refused(key)
            finish: _Finish | None = None
            try:
                ask = direct or self._look(key)
                if not isinstance(ask, _Ask):
                    event = ask
                elif self.now() <= delivery.deadline - _CALL_MS:
                    event = Refused(key, perhaps=True)  # until it is known how the call went
                    event, finish = self._ask(key, ask, is_idle=todo.is_idle)
                elif direct:
                    self.waiting.add(key, ask.share, ask.changes, uuid4().hex)
            except AWS_ERRORS:  # of the table: the share has its turn back
                self.gateways.apply(gateway, event, delivery, takes=False)
                raise
            takes, direct = self._has_time(delivery), None
            todo = self.gateways.apply(gateway, event, delivery, takes=takes, before_writing=finish)
            if todo and todo.completed:
                self._log_completion(*todo.completed, None)
        return taken

    def _look(self, key: Key) -> _Ask | NothingToAsk | Refused:
        """What to ask the share for; or why it is not asked."""
        item = self.waiting.read(key)
        if not item.changes:
            return NothingToAsk(key)
        logger.set_correlation_id(item.changes.correlation)
        try:
            share = self.regions.of(key).describe(item.arn, item.kind, item.gateway, key.bucket)
        except (UnnamedRegionError, *AWS_ERRORS) as error:
            return self._postpone(key, f"it cannot be described: {error_text(error)}")
        if share is None or share.bucket != key.bucket:
            logger.warning(f"{key} is gone, and with it what waited for it", bucket=key.bucket, share=str(key))
            self.waiting.forget(key)
            return NothingToAsk(key, gone=True)
        return self._postpone(key, share.unavailable) if share.unavailable else self._close(key, item, share)

    def _close(self, key: Key, item: ShareItem, share: FileShare) -> _Ask | NothingToAsk:
        """Close the share's window: what it is asked for, of what it shows."""
        item = self.waiting.close(key, item)
        if not (changes := item.changes) or not item.refreshing_id:
            return NothingToAsk(key)
        if folders := shown(changes.folders, share.prefix):
            return _Ask(share, replace(changes, folders=folders), item.refreshing_id, item.unclear, item.widen)
        self.waiting.complete(key, item.refreshing_id, keep=False)
        return NothingToAsk(key)

    def _postpone(self, key: Key, reason: str) -> Refused:
        self.waiting.refused(key, reason)
        self._log_refusal(key, reason)
        return Refused(key)

    def _ask(self, key: Key, ask: _Ask, *, is_idle: bool) -> tuple[GatewayEvent, _Finish | None]:
        """Call RefreshCache: what happened then, and what to do before that is noted at the gateway."""
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

        events = self._events_of(share.arn, Key.read(share.gateway_arn), tuple(round_.folder_list), None)

        def finish(_: Gateway, after: Gateway, todo: Todo) -> bool:
            if left := round_.left | (folders if todo.repeat == key else frozenset()):
                self.waiting.add(key, share, replace(ask.changes, folders=left), uuid4().hex)
            if ask.closed:
                self.waiting.complete(key, ask.closed, keep=key.share_id in after.others)
            events(after, todo)
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
        """Keep the folders, note why, and decide what is asked for next.

        `is_idle`: no other refresh is known to be in progress at the gateway, so that it is hardly busy.
        """
        failure, unclear, widen = meaning(error), ask.unclear, ask.widen
        if ask.closed is None:
            self.waiting.add(key, ask.share, ask.changes, uuid4().hex)
        if failure is Failure.UNCLEAR:
            unclear += 1
        is_about_request = failure is Failure.REQUEST or (unclear >= _UNCLEAR and is_idle)
        if is_about_request or (ask.widen and failure is Failure.UNCLEAR):
            unclear, widen = 0, round_ != WHOLE_SHARE
        self.waiting.refused(key, error_text(error), unclear=unclear, widen=widen)
        self._log_refusal(key, f"it refused: {error_text(error)}")
        if widen and not ask.widen:
            logger.warning(f"{key} refuses single folders; it will be asked for everything once", bucket=key.bucket)
        if failure is Failure.BUSY or (failure is Failure.UNCLEAR and not is_about_request):
            return Busy(key)
        return Refused(key, perhaps=may_have_taken_effect(error))

    def _requeue(self, key: Key, last: Accepted, event: RefreshCompleted, *, is_earlier: bool) -> None:
        """The share's last refresh may have had no effect: put its folders into the share's window again."""
        item, of_bucket = self.waiting.read(key), self.windows.read(Key.read(key.bucket))
        folders = frozenset({EVERYTHING})
        if is_earlier:
            pass  # nobody knows the folders of those before the last
        elif item.refreshed_folders and item.refreshed_for == last.window:
            folders = item.refreshed_folders
        elif of_bucket.refreshed_folders and of_bucket.refreshed_since == last.first_change:
            folders = of_bucket.refreshed_folders
        share = FileShare(event.share_arn, last.kind, str(event.gateway), "", key.bucket, region=key.region)
        self.waiting.add(key, share, Changes(folders, last.first_change, last.window), uuid4().hex)
        logger.info(
            f"{key} is refreshed again: somebody else had refreshed it less than a minute before",
            bucket=key.bucket,
            share=str(key),
            correlation_id=last.window,
        )

    def _log_who_waits(self, gateway: Key, handed: Sequence[ShareChanges], taken: set[Key]) -> None:
        """One line and a metric for each share that was handed changes, and had no turn yet."""
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

    def _events_of(
        self, share_arn: str, gateway: Key, folders: tuple[str, ...] | None, at: int | None
    ) -> Callable[[Gateway, Todo], None]:
        """What tells others that the share shows what changed, if it follows that a refresh is complete; once.

        Not of a refresh that may have had no effect: its repeat does.
        """
        sent = False

        def send(after: Gateway, todo: Todo) -> None:
            nonlocal sent
            if self.events and todo.completed and not sent and not after.shares[todo.completed[0]].repeats:
                sent = True
                self.events.send(Visible(*todo.completed, share_arn, gateway, folders, at or self.now()))

        return send

    def _log_completion(self, key: Key, shown: Accepted, at: int | None) -> None:
        elapsed = max(0, (at or self.now()) - shown.first_change) / 1000  # not below 0: the event has whole seconds
        logger.info(
            f"{key} shows what changed, {elapsed:.1f} s after the first change",
            bucket=key.bucket,
            share=str(key),
            correlation_id=shown.window,
        )
        late = self.settings.lateness(key.bucket, key.share_id, elapsed)
        measure(key.bucket, SecondsUntilVisible=elapsed, VisibleLateness=late)


def _log_refresh(key: Key, changes: Changes, round_: Round, now: int) -> None:
    """One line and the metrics of a refresh that a share accepted."""
    number = len(round_.folder_list)
    what = "everything" if round_ == WHOLE_SHARE else f"{number} folder{'s' if number > 1 else ''}"
    logger.info(
        f"Refreshed {key}: {what}",
        bucket=key.bucket,
        share=str(key),
        folders=round_.folder_list,
        recursive=round_.recursive,
        left=len(round_.left),
    )
    extent = {"WholeShareRefreshes": 1} if round_ == WHOLE_SHARE else {"FoldersRefreshed": number}
    measure(key.bucket, RefreshesAccepted=1, SecondsUntilAccepted=(now - changes.since) / 1000, **extent)
