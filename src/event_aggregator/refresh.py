"""From a request to refreshed file shares: what the refresh Lambda does with each message on the queue.

The guarantee: when `handle` returns, what the message asked for is done, or is in a window whose request is queued, or
was done before. Otherwise it raises, and the queue must deliver the message again. Every repetition is harmless.
"""

from dataclasses import dataclass
from typing import assert_never

from botocore.exceptions import ClientError

from event_aggregator.aggregate import Aggregator, in_words
from event_aggregator.aws import AWS_ERRORS
from event_aggregator.file_shares import FileShare, may_concern_folders
from event_aggregator.folders import EVERYTHING, WHOLE_SHARE, Round, next_round, shown, shown_by_several
from event_aggregator.messages import BucketRequest, FailedEvent, RefreshCompleted, Sweep, read_message
from event_aggregator.observability import logger, measure, timestamp
from event_aggregator.pace import Pace
from event_aggregator.places import Listing, Places, is_denial
from event_aggregator.request import LIFETIME_MS, Request
from event_aggregator.table import Item, key_of_place, read_key, writer_in
from event_aggregator.window import Due, overdue

# Between two tries of a share that refuses: the interval, doubled with each refusal up to this (or the interval, if
# that is longer), so that a gateway that is offline for a week costs some 96 calls a day.
_MAX_BACKOFF_MS = 900_000

# Lambda takes a message that goes round without a delay for a runaway loop.
_MIN_DELAY_MS = 1_000

# Of why a share waits, as the table keeps it; an error's text may be long.
_MAX_REASON = 300

# A RefreshCache call may take 23 s without an answer, and a listing longer. When less than this is left of an
# invocation, the shares and places not asked yet are asked in others.
_ASK_MS = 30_000

# A place that denies us its list so often in a row, over a quarter of an hour, is given up with what waits for it: what
# was permitted a moment ago is not yet known everywhere.
_DENIED_TRIES = 5


class NotRefreshedError(Exception):
    """Some shares could neither be asked nor be made to wait: the message must be delivered again."""


@dataclass(frozen=True, slots=True)
class HandOver:
    """Folders on their way from a closed window to its shares; `owner` is the same over every delivery.

    `waiting` is the window's key, if it is that of what the folders were waiting for: a place, or a share.
    """

    bucket: str
    waiting: str
    folders: frozenset[str]
    owner: str
    correlation: str  # the bucket's window, whose changes they are
    since: int  # when the first change in them came, epoch milliseconds
    attempt: int
    deadline: int  # when Lambda ends this process, epoch milliseconds
    knows: str = ""  # the key of the share through which a gateway wrote what changed
    denials: int = 0  # before this one, in a row: of the list of a place's shares


@dataclass(frozen=True, slots=True)
class Refresher:
    aggregator: Aggregator
    places: Places
    pace: Pace

    def handle(self, body: str, bucket_attribute: str | None, message_id: str, time_left: int) -> None:
        """Do what a message on the queue asks for. `time_left`: milliseconds until Lambda ends this."""
        message, now = read_message(body, bucket_attribute), self.aggregator.now()
        match message:
            case Request():
                logger.set_correlation_id(message.correlation)
                self._request_arrived(message, now + time_left)
            case FailedEvent():
                logger.warning("Handling an S3 event that the aggregator could not handle", message_id=message_id)
                self.aggregator.aggregate_event(message.event, time_left)
            case BucketRequest(bucket):
                everything, deadline = frozenset({EVERYTHING}), now + time_left
                listing = self._listing(bucket, "", deadline)
                self._hand_over(HandOver(bucket, "", everything, message_id, message_id, now, 1, deadline), listing)
            case RefreshCompleted():
                self._completed(message)
            case Sweep():
                self._sweep()
            case _:
                assert_never(message)

    def _request_arrived(self, request: Request, deadline: int) -> None:
        windows, now = self.aggregator.windows, self.aggregator.now
        item = windows.read(request.key)
        if item.window_id == request.window and item.refresh_at > now():
            self._defer(request, item)
        elif request.window in (item.window_id, item.refreshing_id):
            self._refresh(request, item, deadline)
        else:
            logger.debug(f"The window of {request.key} was refreshed or taken over already", window=request.window)

    def _defer(self, request: Request, item: Item) -> None:
        """The request came before its window is due: send it again for what is left."""
        now = self.aggregator.now()
        due = max(item.refresh_at, now + _MIN_DELAY_MS)
        self.aggregator.windows.confirm(request.key, request.window, due + LIFETIME_MS)
        self.aggregator.queue.send(request, now=now, due=due)
        logger.debug(f"The refresh of {request.key} is due at {timestamp(due)}: deferred", window=request.window)

    def _refresh(self, request: Request, item: Item, deadline: int) -> None:
        """Close the window, or take up a refresh that died half-way, and hand its folders to the shares."""
        bucket, place, share_id = read_key(request.key)
        writer = writer_in(place)
        place = "" if writer is not None else place or (self.places.home if share_id else "")
        if place and place not in self.places:
            logger.warning(
                f"{place} has no gateways any more, by the settings: what waited for {request.key} is dropped"
            )
            self.pace.drop(request.key)
            return
        listing = self._listing(bucket, place, deadline)  # before the window is closed: a failure here leaves it open
        if share_id and not listing.unlisted:
            listing = Listing([share for share in listing.shares if share.share_id == share_id])
            if not listing.shares and self.places.is_gone(place, share_id):
                logger.warning(f"The file share of {request.key} is gone, and with it what waited for it")
                self.pace.drop(request.key)
                return
            if not listing.shares:
                raise NotRefreshedError(f"The file share of {request.key} cannot be described, or shows another bucket")
        if item.window_id == request.window:
            now = self.aggregator.now()
            closed = self.aggregator.windows.close(request.key, item, now, now + LIFETIME_MS)
            if closed is None:  # by another delivery of this request, or taken over, or moved later
                self._request_arrived(request, deadline)
                return
            item = closed
        # The refusals that are counted are those of what this window waited for: a share, or a place.
        attempt = request.attempt if share_id or listing.unlisted else 1
        folders, knows = item.refreshed_folders, ""
        if writer is not None and not listing.unlisted:
            folders, knows = self._news(folders, listing.shares, writer)
        hand_over = HandOver(
            bucket,
            request.key if place else "",
            folders,
            request.window,
            request.correlation,
            item.refreshed_since,
            attempt,
            deadline,
            knows,
            request.denials,
        )
        self._hand_over(hand_over, listing)
        self.aggregator.windows.complete(request.key, request.window)

    def _news(self, folders: frozenset[str], shares: list[FileShare], role_id: str) -> tuple[frozenset[str], str]:
        """What a gateway wrote by a role: the folders that are news for a share, and the key of the share that knows.

        If that cannot be told, one that shows a folder alone must be the one, but if the user says otherwise.
        """
        if self.aggregator.settings.refresh_other_gateways == "auto":
            several = shown_by_several(folders, [share.prefix for share in shares])
            if not several:
                return several, ""
        else:
            several = folders
        if share := self.places.written_through(shares, role_id):
            return folders, share.key
        return several, ""

    def _listing(self, bucket: str, place: str, deadline: int) -> Listing:
        return self.places.showing(bucket, place, lambda: self.aggregator.now() > deadline - _ASK_MS)

    def _hand_over(self, hand_over: HandOver, listing: Listing) -> None:
        """Have each share that shows a folder refreshed, or make it wait; one that fails does not stop the others.

        What is for the shares of a place that could not be asked for them waits as well.
        """
        if not listing.shares and not listing.unlisted:
            logger.warning(
                f"No file share shows the bucket {hand_over.bucket}: nothing to refresh", bucket=hand_over.bucket
            )
        failures: list[Exception] = []
        for name, failure in listing.unlisted.items():
            try:
                self._wait_for_place(hand_over, name, failure)
            except AWS_ERRORS as error:
                error.add_note(f"File shares of {hand_over.bucket} in {name}")
                failures.append(error)
        for share in listing.shares:
            folders = shown(hand_over.folders, share.prefix)
            try:
                if folders and share.key != hand_over.knows:
                    self._ask_or_wait(hand_over, share, folders)
            except AWS_ERRORS as error:
                error.add_note(f"File share {share.key}")
                failures.append(error)
        if failures:
            raise NotRefreshedError(in_words(failures)) from failures[0]

    def _ask_or_wait(self, hand_over: HandOver, share: FileShare, folders: frozenset[str]) -> None:
        """Have the share refreshed; what it does not accept now waits in a window of its own."""
        settings, now = self.aggregator.settings, self.aggregator.now()
        interval, timeout = settings.min_refresh_interval_seconds * 1000, settings.in_progress_timeout_seconds * 1000
        again = backoff(hand_over.attempt, interval)
        if now > hand_over.deadline - _ASK_MS:
            self._wait(hand_over, share, folders, due=now, reason="there was no time left to ask it")
            return
        if not share.available:
            self._wait(hand_over, share, folders, due=now + again, reason=f"it is {share.status}", refused=True)
            return
        forbids = self.pace.claim(share.key, now, interval=interval, in_progress_timeout=timeout)
        if forbids:
            self._wait_for_turn(hand_over, share, folders, forbids)
            return
        round_ = self._next_round(folders, share)
        try:
            notification_id = self.places.refresh(share, round_)
        except AWS_ERRORS as error:  # an unknown outcome, too, counts as refused, and the share as asked
            if round_ != WHOLE_SHARE and may_concern_folders(error):
                logger.warning(
                    f"{share.key} refused a refresh of single folders; it will be asked for all: {error}",
                    bucket=share.bucket,
                )
                folders = frozenset({EVERYTHING})
            due = self.aggregator.now() + again
            self._wait(
                hand_over,
                share,
                folders,
                due=due,
                reason=f"try {hand_over.attempt} was refused: {_said(error)}",
                refused=True,
            )
            return
        claimed_at, now = now, self.aggregator.now()
        item = self.pace.accepted(
            share.key,
            claimed_at,
            now,
            notification_id=notification_id,
            since=hand_over.since,
            window=hand_over.correlation,
            mark=timeout > 0 and not share.away,
        )
        _tell_of_refresh(hand_over, share, round_, now)
        if round_.left:
            self._wait_for_turn(hand_over, share, round_.left, item)

    def _next_round(self, folders: frozenset[str], share: FileShare) -> Round:
        if self.aggregator.settings.refresh_scope == "share":
            return WHOLE_SHARE
        return next_round(folders, share.prefix)

    def _wait_for_turn(self, hand_over: HandOver, share: FileShare, folders: frozenset[str], item: Item) -> None:
        """Wait until the share that `item` shows may be asked: its interval has passed, its refresh is complete."""
        settings = self.aggregator.settings
        due = item.last_asked_at + settings.min_refresh_interval_seconds * 1000
        if item.in_progress_id:
            lapses = item.in_progress_since + settings.in_progress_timeout_seconds * 1000
            reason = "a refresh of it is in progress, and its completion will end the wait"
            if self._wait(
                hand_over, share, folders, due=max(due, lapses), reason=reason, while_in_progress=item.in_progress_id
            ):
                return
        self._wait(hand_over, share, folders, due=due, reason="it was asked a moment ago")

    def _wait(  # noqa: PLR0913 - what a waiting share's window is made of
        self,
        hand_over: HandOver,
        share: FileShare,
        folders: frozenset[str],
        *,
        due: int,
        reason: str,
        refused: bool = False,
        while_in_progress: str | None = None,
    ) -> bool:
        """Put `folders` into the share's own window; if there is none, open one, due at `due`.

        False if that was to be done `while_in_progress`, and this refresh has been completed meanwhile.
        """
        due = max(due, self.aggregator.now() + _MIN_DELAY_MS)
        item, window = self.aggregator.gather(
            share.key,
            folders,
            owners=[hand_over.owner],
            due=Due(due),
            since=hand_over.since,
            deadline=hand_over.deadline,
            attempt=hand_over.attempt + refused,
            correlation=hand_over.correlation,
            while_in_progress=while_in_progress,
            reason=reason[:_MAX_REASON],
        )
        if not window and while_in_progress and item.in_progress_id != while_in_progress:
            return False
        measure(share.bucket, **{"RefreshesRefused" if refused else "RefreshesDeferred": 1})
        words = f"waits until {timestamp(due)}: {reason}" if window else "waits already"
        logger.info(
            f"{share.key} {words}",
            bucket=share.bucket,
            share=share.key,
            folders=sorted(folders),
            window=item.window_id,
        )
        return True

    def _wait_for_place(self, hand_over: HandOver, name: str, failure: Exception | None) -> None:
        """Put all folders into a window of the place, or of the one share that is asked; it is asked again when due."""
        key = hand_over.waiting or key_of_place(hand_over.bucket, name)
        denials = hand_over.denials + 1 if failure and is_denial(failure) else 0
        if denials >= _DENIED_TRIES:
            logger.warning(
                f"What waited for {key} is given up, since its file shares must not be listed: {failure}",
                bucket=hand_over.bucket,
            )
            return
        now, interval = self.aggregator.now(), self.aggregator.settings.min_refresh_interval_seconds * 1000
        due = now + (backoff(hand_over.attempt, interval) if failure else _MIN_DELAY_MS)
        reason = f"its file shares could not be listed: {_said(failure) if failure else 'there was no time left'}"
        self.aggregator.gather(
            key,
            hand_over.folders,
            owners=[hand_over.owner],
            due=Due(due),
            since=hand_over.since,
            deadline=hand_over.deadline,
            attempt=hand_over.attempt + (failure is not None),
            denials=denials,
            correlation=hand_over.correlation,
            reason=reason[:_MAX_REASON],
        )
        logger.warning(f"{key} waits until {timestamp(due)}: {reason}", bucket=hand_over.bucket)

    def _completed(self, event: RefreshCompleted) -> None:
        """Clear the share's mark, and have what waits for it due as soon as the share may be asked again."""
        key = self.places.key_of(event.share_arn)
        found = self.pace.completed(key, event.notification_id) if key else None
        if not key or not found:
            logger.debug(f"A refresh of {event.share_arn} is complete that was not asked for here")
            return
        cleared, item = found
        if cleared:
            # Not below 0: the event has whole seconds.
            elapsed = max(0, (event.at or self.aggregator.now()) - item.in_progress_for) / 1000
            bucket = key.partition("/")[0]
            logger.info(
                f"{key} shows what changed, {elapsed:.1f} s after the first change",
                bucket=bucket,
                share=key,
                correlation_id=item.in_progress_window,
            )
            measure(bucket, SecondsUntilVisible=elapsed)
        self.hasten(key, item, again=not cleared)

    def hasten(self, key: str, item: Item, *, again: bool) -> None:
        """Have what waits for the share that `item` shows due as soon as it may be asked, if nothing is in progress.

        `again`: this may have died before, when it was due and its request not yet sent.
        """
        now = self.aggregator.now()
        due = max(now, item.last_asked_at + self.aggregator.settings.min_refresh_interval_seconds * 1000)
        if item.window_id and not item.in_progress_id and (again or item.refresh_at > due):
            # The time first: a request that came before it would be put off until the mark lapses.
            self.pace.make_due(key, item.window_id, due)
            request = Request(key, item.window_id, correlation=item.window_id)
            self.aggregator.queue.send(request, now=now, due=max(due, now + _MIN_DELAY_MS))

    def _sweep(self) -> None:
        """Look at every unfinished window: how long shares wait, and which one nobody asks for any more."""
        now = self.aggregator.now()
        for key, item in self.aggregator.windows.unfinished():
            bucket, place, share_id = read_key(key)
            if (share_id or (place and writer_in(place) is None)) and item.window_id:
                measure(bucket, SecondsWaiting=(now - item.opened_at) / 1000)
            if window := overdue(item, now):
                logger.warning(f"The request of {key} was lost; sending it again", correlation_id=window)
                self.aggregator.queue.send(Request(key, window, correlation=window), now=now, due=now)
                self.aggregator.windows.confirm(key, window, now + LIFETIME_MS)


def _said(error: Exception) -> str:
    """What AWS answered, without the SDK's words around it."""
    return error.response["Error"]["Message"] if isinstance(error, ClientError) else str(error)


def _tell_of_refresh(hand_over: HandOver, share: FileShare, round_: Round, now: int) -> None:
    """One line and the metrics of a refresh that a share accepted."""
    number = len(round_.folder_list)
    what = "everything" if round_ == WHOLE_SHARE else f"{number} folder{'s' if number > 1 else ''}"
    logger.info(
        f"Refreshed {share.key}: {what}",
        bucket=share.bucket,
        share=share.key,
        folders=round_.folder_list,
        recursive=round_.recursive,
        left=len(round_.left),
    )
    extent = {"WholeShareRefreshes": 1} if round_ == WHOLE_SHARE else {"FoldersRefreshed": len(round_.folder_list)}
    accepted_after = (now - hand_over.since) / 1000
    measure(hand_over.bucket, RefreshesAccepted=1, SecondsUntilAccepted=accepted_after, **extent)


def backoff(attempt: int, interval: int) -> int:
    """Milliseconds until a share that refused for the `attempt`th time, from 1, is asked again."""
    return min(interval << min(attempt - 1, 16), max(_MAX_BACKOFF_MS, interval))
