"""When may the next step read the file? Waits until every file share that shows a key shows it as S3 has it.

`judge` decides from Facts, without AWS, by what explain concludes: a share shows a change after a refresh that was
accepted surely after it and is complete. Where it is not known which came first (S3 tells of an upload in parts only
when it began), and for whatever was written before, the change came no later than the waiting began. Then it is shown
also if a minute later nothing waits for the share: by then its event has arrived, and a refresh follows every event.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from botocore.exceptions import ClientError

from commands.operate.explain import Answer, Outcome, conclude
from commands.operate.facts import Facts, S3Object
from commands.operate.stack import DENIED, StackError, now_ms
from commands.operate.terminal import quoted
from commands.operate.words import clock
from event_aggregator.failures import AWS_ERRORS

_SHOWN = (Outcome.VISIBLE, Outcome.UNLESS)
# Of these no waiting makes anything else.
_NEVER = (Outcome.NO_SHARE, Outcome.NOT_SHOWN, Outcome.IMPOSSIBLE, Outcome.ABSENT, Outcome.IGNORED)

# An event typically arrives within seconds (S3 user guide, EventNotifications): after this it counts as arrived.
_ARRIVED_MS = 60_000

# Each look reads the table and a part of the log, and asks S3 and Storage Gateway.
_POLL_SECONDS, _SLOW_POLL_SECONDS = 5, 15
_SLOW_AFTER_MS = 60_000


@dataclass(frozen=True)
class Wish:
    """What is waited for: the last change of a key or, with `before`, whatever was written before the waiting began."""

    share: str | None = None  # None: every share that shows the key
    before: bool = False
    timeout: int = 300  # seconds


def judge(facts: Facts, wish: Wish, began: int) -> list[Answer]:
    """An answer for each share that is waited for: VISIBLE or UNLESS if it shows the change.

    `began`: the waiting. Raises StackError if it is for what cannot be waited for.
    """
    if facts.object.is_folder and not (wish.before and facts.key.endswith("/")):
        folder = f"{facts.key.removesuffix('/')}/"
        raise StackError(f"{facts.key} is a folder: give a file in it, or --key {quoted(folder)} --since")
    if wish.share and wish.share not in [share.share for share in facts.shares]:
        what = f"{wish.share} is not known to show {facts.bucket}/{facts.key}"
        prefix = facts.others.get(wish.share)
        raise StackError(what if prefix is None else f"{what}: it shows what lies below /{prefix}")
    by_then = conclude(replace(facts, object=S3Object(True, began), ignored_by=""))
    answers = []
    for answer, then in zip(by_then if wish.before else conclude(facts), by_then, strict=True):
        if wish.share in (None, answer.share):
            may_be_shown = wish.before or answer.outcome is Outcome.UNSURE
            answers.append((_shown_by_then(facts, then, began) if may_be_shown else None) or answer)
    return answers


def _shown_by_then(facts: Facts, answer: Answer, began: int) -> Answer | None:
    """That the share shows what came before the waiting began, if so; `answer`: about a change at that moment."""
    if answer.outcome is Outcome.VISIBLE:
        return answer
    shares = [share for share in facts.shares if share.share == answer.share]
    is_idle = all(not share.standing.is_being_asked and not share.standing.in_progress_since for share in shares)
    nothing_comes = is_idle and answer.outcome in (Outcome.MISSED, Outcome.UNSURE)
    # What a gateway wrote refreshes no other share, if the settings say so.
    is_told = facts.notified and not facts.excluded_by and all(one.already_shown for s in shares for one in s.left_out)
    if shares and nothing_comes and is_told and facts.at >= began + _ARRIVED_MS:
        text = f"What was written before {clock(began)} is shown: a minute later nothing waits for it."
        return Answer(answer.share, Outcome.VISIBLE, text)
    return None


def wait(
    look: Callable[[int], Facts],
    wish: Wish,
    say: Callable[[str], None],
    *,
    now: Callable[[], int] = now_ms,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Look again and again: 0 as soon as all shares show it, 1 if one does not in time, 2 if that cannot be told.

    `look` is given the time when the waiting began. `say` is told of each share whenever something else is true of it.
    Raises StackError, and botocore's errors if the first look fails, a permission is missing, or the time is over.
    """
    began, said, is_first = now(), dict[str | None, Outcome](), True
    while True:
        is_over = now() >= began + 1000 * wish.timeout
        try:
            answers = judge(look(began), wish, began)
        except AWS_ERRORS as error:
            if is_first or is_over or (isinstance(error, ClientError) and error.response["Error"]["Code"] in DENIED):
                raise
        else:
            for answer in answers:
                if said.get(answer.share) is not answer.outcome:
                    said[answer.share] = answer.outcome
                    say(_in_words(answer))
            left = [answer for answer in answers if answer.outcome not in _SHOWN]
            if not left:
                return 0
            if any(answer.outcome in _NEVER for answer in left):
                return 2
            if is_over:
                return _tell_why(left, wish, say)
        is_first = False
        pause = _POLL_SECONDS if now() < began + _SLOW_AFTER_MS else _SLOW_POLL_SECONDS
        sleep(min(pause, max(0, began / 1000 + wish.timeout - now() / 1000)))


def _tell_why(left: list[Answer], wish: Wish, say: Callable[[str], None]) -> int:
    say(f"After {wish.timeout} s:")
    for answer in left:
        say(_in_words(answer))
        for step in answer.then:
            say(f"    {step}")
    return 2 if all(answer.outcome is Outcome.UNSURE for answer in left) else 1


def _in_words(answer: Answer) -> str:
    return f"{answer.share}: {answer.text}" if answer.share else answer.text
