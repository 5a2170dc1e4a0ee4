"""Why is my file not there? What became of the last change of one key, for each file share that shows it.

`conclude` and `evidence` make sentences of Facts, without AWS. A share counts as refreshed only by a refresh that was
accepted surely after the change: where the clocks do not tell which came first, the answer is that it is not known.
"""

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any
from urllib.parse import unquote_plus

from rich.console import Group, RenderableType

from commands.operate.facts import SURELY_MS, Facts, Share
from commands.operate.refresh_log import Refresh
from commands.operate.share_state import Cause, Waits
from commands.operate.terminal import one_line
from commands.operate.words import ago, clock, never_shown, plural, span

# An event normally arrives within seconds.
_RECENT_MS = 60_000
# A request may be this late before something is wrong.
_LATE_MS = 15 * 60_000

# The conclusion


class Outcome(StrEnum):
    VISIBLE = "visible"
    NOT_SHOWN = "not shown"
    ABSENT = "not in S3"
    REFRESHING = "being refreshed"
    DUE = "to be refreshed"
    WAITS = "waits"
    EXPECTED = "event expected"
    MISSED = "no event"
    NO_SHARE = "no share"
    IMPOSSIBLE = "cannot be shown"
    IGNORED = "ignored"
    UNLESS = "visible, unless it was brought back since"
    UNSURE = "not known"


_DONE = (Outcome.VISIBLE, Outcome.NOT_SHOWN, Outcome.ABSENT, Outcome.IGNORED)


@dataclass(frozen=True)
class Answer:
    """What became of the change for a share (None: for the bucket), and what to do."""

    share: str | None
    outcome: Outcome
    text: str
    then: list[str] = field(default_factory=list)


def exit_status(answers: Iterable[Answer]) -> int:
    """0 all is done, 1 something is still to come or wrong, 2 it is not known."""
    outcomes = {answer.outcome for answer in answers} - {*_DONE}
    if outcomes - {Outcome.UNLESS, Outcome.UNSURE}:
        return 1
    return 2 if outcomes else 0


def conclude(facts: Facts) -> list[Answer]:
    """An answer for each share that shows the key, and one for those of which that is not known; or for the bucket."""
    alike = [f"is another key meant? S3 has {other}" for other in facts.object.alike]
    return [replace(answer, then=[*alike, *answer.then]) for answer in _conclude(facts)]


def _conclude(facts: Facts) -> list[Answer]:
    answers = [_answer(facts, share) for share in facts.shares]
    of_nobody_known = facts.regions.keys() - {share.region for share in facts.shares}
    answers += [_of_region(facts, region, None) for region in sorted(of_nobody_known)]
    if facts.unresolved:
        text = "Of some file shares it is not known what they show."
        answers.append(Answer(None, Outcome.UNSURE, text, facts.unresolved))
    if answers:
        return answers
    if facts.unseen:
        text = f"No file share of this account shows it; those in {', '.join(facts.unseen)} are not seen from here."
        return [Answer(None, Outcome.UNSURE, text, [f"look there, or have it refreshed there too: {facts.refresh}"])]
    if facts.others:
        return [Answer(None, Outcome.NOT_SHOWN, "It lies outside the prefixes of all file shares of the bucket.")]
    text = f"No file share of this account and region shows {facts.bucket}."
    return [Answer(None, Outcome.NO_SHARE, text, ["make one in the Storage Gateway console, or look in its region"])]


def _of_region(facts: Facts, region: str, name: str | None) -> Answer:
    """Of a share of a region, or of all that there may be, while the folder waits until they are listed."""
    at, waits = facts.at, facts.regions[region]
    text = f"For the file shares in {region} its folder has waited since {_when(at, waits.since)}"
    if waits.reason:
        next_try = _when(at, waits.due) if waits.due > at else "due now"
        text += f": {waits.reason.rstrip('.')}. The next try is {next_try}."
        then = ["when the cause is removed, they are refreshed by themselves", facts.refresh_log]
        return Answer(name, Outcome.WAITS, text, then)
    return Answer(name, Outcome.WAITS, f"{text}; they are about to be listed, and asked.", _if_late(facts, waits.due))


def _answer(facts: Facts, share: Share) -> Answer:
    if (path := share.path[1:].removesuffix("/")) and (why := never_shown(path)):
        text = f"It cannot be shown: {why}."
        return Answer(share.share, Outcome.IMPOSSIBLE, text, ["copy the object to another key"])
    coming, after = _coming(facts, share), _after_the_change(facts, share)
    # Of a version it counts when its folder was read last: it may have been brought back after the first time.
    refresh = _covering(reversed(after) if facts.object.versioned else after, share.way)
    if coming and refresh:
        accepted = _when(facts.at, refresh.accepted)
        text = (
            f"Its folder was refreshed after the change that S3 tells of, at {accepted}, and is to be refreshed again."
        )
        return replace(coming, text=f"{text} {coming.text}")
    if refresh:
        return _refreshed(facts, share, refresh)
    if coming is None:
        return _on_purpose(facts, share) or _nothing_comes(facts, share)
    if facts.object.exists is False and facts.object.changed is None:
        return replace(coming, text=f"There is no such object; if it was deleted a moment ago: {coming.text}")
    return coming


def _after_the_change(facts: Facts, share: Share) -> list[Refresh]:
    """The refreshes that came surely after the change that S3 tells of."""
    changed = facts.object.changed
    if changed is None or facts.object.came_later:
        return []
    return [refresh for refresh in share.refreshes if refresh.accepted >= changed + SURELY_MS]


def _covering(refreshes: Iterable[Refresh], way: list[str]) -> Refresh | None:
    """The first of these by which every folder on the way had been read: they may be read in several rounds."""
    left = set(way)
    for refresh in refreshes:
        left = {folder for folder in left if not refresh.reads(folder)}
        if not left:
            return refresh
    return None


def _refreshed(facts: Facts, share: Share, refresh: Refresh) -> Answer:
    at, accepted = facts.at, _when(facts.at, refresh.accepted)
    in_progress_since = share.standing.in_progress_since
    if in_progress_since and in_progress_since <= refresh.accepted and refresh.completed is None:
        text = f"It is being refreshed now: since {accepted}, which is after the change."
        return Answer(share.share, Outcome.REFRESHING, text, ["wait: a large folder takes minutes"])
    if facts.object.versioned:
        return _unless_brought_back(facts, share, refresh)
    state = "Gone from the share" if facts.object.exists is False else "Visible"
    if refresh.completed is not None:
        end = f"complete at {_when(at, refresh.completed)}"
        text = f"{state} since the refresh that was accepted after the change, at {accepted}; {end}."
    else:
        text = f"{state} by the refresh that was accepted after the change, at {accepted}; no event told of its end."
    return Answer(share.share, Outcome.VISIBLE, text, _if_seen_otherwise(facts))


def _unless_brought_back(facts: Facts, share: Share, last: Refresh) -> Answer:
    """Nothing is left in S3 of a version, or a delete marker, that was deleted for good: ListObjectVersions does not
    tell since when what lay below it is the current one again."""
    state, what = ("gone from the share", "delete marker") if facts.object.exists is False else ("visible", "version")
    text = (
        f"Its folder was refreshed after this {what} was written, last at {_when(facts.at, last.accepted)}: it is"
        f" {state}, unless the {what} was brought back since, by deleting a later one for good. S3 does not tell of"
        " that; its event has not arrived, or was handled."
    )
    return Answer(share.share, Outcome.UNLESS, text, _if_seen_otherwise(facts))


def _if_seen_otherwise(facts: Facts) -> list[str]:
    return [
        "a client that sees it otherwise may have an old listing: NFS and SMB clients cache them for up to a minute",
        f"if that does not pass, have it refreshed again: {facts.refresh}",
    ]


def _coming(facts: Facts, share: Share) -> Answer | None:
    """What is known to come, the nearest to the share first."""
    at, name = facts.at, share.share
    if (waits := share.standing.waits) and share.folder_waits:
        text = f"It has waited since {_when(at, waits.since)}: {waits.why}."
        if waits.next:
            text += f" The next try is {_when(at, waits.next) if waits.next > at else 'due now'}."
        return Answer(name, Outcome.WAITS, text, _advice(facts, share, waits))
    if share.region in facts.regions:
        return _of_region(facts, share.region, name)
    if share.handed_over is not None:
        text = f"The refresh of its folder began at {_when(at, share.handed_over)}, and is about to ask this share."
        return Answer(name, Outcome.REFRESHING, text, _if_late(facts, share.handed_over))
    if facts.window and share.in_window:
        since, due = facts.window.since, facts.window.due
        begins = f"will be refreshed at {_when(at, due)}" if due > at else f"was due at {_when(at, due)}"
        text = (
            f"It {begins}, or as soon after that as the share may be asked: the bucket's window, open since"
            f" {_when(at, since)}, will read its folder {facts.folder}."
        )
        return Answer(name, Outcome.DUE, text, _if_late(facts, due))
    if facts.by_gateways:
        text = (
            "If the change is a gateway's, the share that it came through shows it; the others are refreshed at"
            f" {_when(at, facts.by_gateways.due)}."
        )
        return Answer(name, Outcome.EXPECTED, text, _if_late(facts, facts.by_gateways.due))
    return None


def _advice(facts: Facts, share: Share, waits: Waits) -> list[str]:
    if share.status != "AVAILABLE":
        return [f"the share is {share.status}: look at it in the Storage Gateway console"]
    if waits.reason:
        return ["see whether its gateway is running and connected; then it is refreshed by itself", facts.refresh_log]
    if waits.cause is Cause.IN_NO_LINE:
        return _if_late(facts, waits.since) or ["look again in a minute"]
    return ["wait: nothing is wrong"]


def _if_late(facts: Facts, due: int) -> list[str]:
    return [f"that is long ago: {facts.refresh_log}"] if due < facts.at - _LATE_MS else []


def _nothing_comes(facts: Facts, share: Share) -> Answer:
    """No refresh is known to have come surely after the change, and none is known to come."""
    at, name, changed = facts.at, share.share, facts.object.changed
    if changed is None:
        return _without_a_time(facts, share)
    near = [refresh for refresh in share.refreshes if refresh.accepted >= changed - SURELY_MS]
    if refresh := _covering(near, share.way):
        if why := facts.object.came_later:
            last = next(one for one in reversed(near) if one.reads(share.way[-1]))
            text = (
                f"Not known: {why}. Its folder was refreshed last at {_when(at, last.accepted)}: if it had come by"
                " then, it is visible."
            )
        else:
            text = (
                f"Not known: its folder was refreshed at {_when(at, refresh.accepted)}, at about the time of the"
                " change, which may be in it or not."
            )
        then = ["look on the share: nothing waits, so it is there, or its event is late (a minute) or never arrived"]
        return Answer(name, Outcome.UNSURE, text, [*then, *_what_to_check(facts)])
    if share.log_lacks and (share.standing.last_accepted or 0) >= changed - SURELY_MS:
        text = f"Not known: it was refreshed since, and the log does not say of which folders. {share.log_lacks}"
        return Answer(name, Outcome.UNSURE, text, ["look again in a minute", *_what_to_check(facts)])
    if at - changed < _RECENT_MS and facts.notified and not facts.excluded_by:
        text = "Its event has not arrived yet; it normally takes seconds."
        return Answer(name, Outcome.EXPECTED, text, ["look again in a minute"])
    text = "No event of this change seems to have arrived: no window holds its folder, and no refresh read it since."
    late = ["look again in a minute: it may have come just now"] if facts.object.came_later else []
    return Answer(name, Outcome.MISSED, text, [*late, *_what_to_check(facts)])


def _on_purpose(facts: Facts, share: Share) -> Answer | None:
    """Why no refresh is to come, if that is known: who wrote it, or what the key is like."""
    name, changed = share.share, facts.object.changed
    if changed is None:
        return None
    if left_out := [one for one in share.left_out if one.at >= changed]:
        through = "this share" if left_out[-1].already_shown else "a gateway, and such refreshes no share"
        text = (
            f"Not known: what changed in {facts.folder} was written through {through}, and so it was left out of the"
            f" refresh at {_when(facts.at, left_out[-1].at)}. If that was this change, nothing is to come of it."
        )
        return Answer(name, Outcome.UNSURE, text, ["look on the share", f"to see it now: {facts.refresh}"])
    if facts.ignored_by:
        text = (
            f"Its changes refresh nothing, as its key matches {facts.ignored_by} of IGNORE_KEYS: it is seen when"
            f" something else has {facts.folder} refreshed."
        )
        return Answer(name, Outcome.IGNORED, text, [f"to see it now: {facts.refresh}"])
    return None


def _without_a_time(facts: Facts, share: Share) -> Answer:
    if facts.object.is_folder:
        text = "Not known: it is a folder without an object of its own, and so has no time; ask for a file in it."
        return Answer(share.share, Outcome.UNSURE, text)
    if facts.object.exists is False and not facts.object.not_told:
        text = "There is no such object, and so nothing to be shown; S3 does not tell when it was deleted, if ever."
        then = [f"if the share still shows it, it was deleted after the last refresh of {facts.folder} (see below)"]
        return Answer(share.share, Outcome.ABSENT, text, then)
    text = "Not known: S3 does not say when it was changed, or deleted."
    return Answer(share.share, Outcome.UNSURE, text, facts.object.not_told)


def _what_to_check(facts: Facts) -> list[str]:
    if not facts.notified:
        return [f"the bucket does not notify this stack: {facts.mend}"]
    if facts.excluded_by:
        return [f"the notification's filter leaves it out: {', '.join(facts.excluded_by)}"]
    return [
        f"whether the aggregator opened a window then, or failed: {facts.aggregator_log}",
        "whether the notification is newer than the change",
    ]


# The evidence


def evidence(facts: Facts) -> list[str]:
    """What the conclusion rests on, a sentence each, with where it comes from."""
    lines = [*_of_s3(facts), *_of_shares(facts), *_of_notification(facts), *_of_windows(facts)]
    for share in facts.shares:
        lines += _of_refreshes(facts, share)
    return lines


def _of_s3(facts: Facts) -> list[str]:
    found, at = facts.object, facts.at
    if found.exists:
        lines = [f"S3 has it, {plural(found.size or 0, 'byte')}, changed last at {_when(at, found.changed or 0)}."]
    elif found.exists is None:
        lines = ["S3 does not let us see whether it has it."]
    elif found.changed is not None:
        lines = [f"It was deleted at {_when(at, found.changed)}: S3 has its delete marker."]
    elif found.not_told:
        lines = ["S3 has no object with this key."]
    else:
        lines = ["S3 has no object with this key, and no delete marker that tells when it was deleted."]
    if found.in_parts:
        lines.append("It was uploaded in parts: that time is when the upload began, and it may have ended much later.")
    if found.versioned and found.exists:
        lines.append("The bucket keeps versions: that time is when this one was written; it may be back since later.")
    if found.is_replica:
        lines.append(
            "It is a replica: that time is when its original was written. If that is deleted, the replica stays in S3."
            " A deletion is replicated only if the rule replicates delete markers, and never if it was of a version."
        )
    if found.is_folder:
        lines.append("There are objects below it: it is a folder.")
    lines += [f"S3 has {other}" for other in found.alike]
    if not found.all_compared:
        lines.append("Whether S3 has a key that is like it is not known: there are too many to compare.")
    return [*lines, *found.not_told, *_of_key(facts)]


def _of_key(facts: Facts) -> list[str]:
    """What the key is taken for, where it may be meant otherwise."""
    key, lines = facts.key, []
    if odd := sorted({f"U+{ord(char):04X}" for char in key if not char.isprintable()}):
        lines.append(f"The key holds characters that do not print, and are shown escaped: {', '.join(odd)}.")
    if key.startswith("/"):
        lines.append(f"The key is taken as it is, with its slash at the front; S3's keys have none: {key.lstrip('/')}?")
    if facts.object.exists is not True and unquote_plus(key) != key and re.search(r"%[0-9A-Fa-f]{2}|\+", key):
        lines.append(f"The key is taken as it is, not as encoded in a URL or an event; decoded: {unquote_plus(key)}")
    if key.endswith("/"):
        lines.append(f"The key names a folder: its marker, an object that belongs to the folder {facts.folder} itself.")
    return lines


def _of_shares(facts: Facts) -> list[str]:
    lines = []
    for share in facts.shares:
        status = "" if share.status == "AVAILABLE" else f"; the share is {share.status}"
        lines.append(f"{share.share} shows /{share.prefix} of the bucket, and the file as {share.path}{status}.")
        if share.stale_seconds:
            lines.append(
                f"{share.share} also refreshes by itself: when somebody opens a folder more than"
                f" {span(share.stale_seconds)} after its last refresh, of whichever kind, it reads it again"
                " (CacheStaleTimeoutInSeconds). So a file whose event was lost is seen then; what this stack refreshes,"
                " before."
            )
    for share_id, prefix in facts.others.items():
        lines.append(f"{share_id} does not show it: it shows only what lies below /{prefix}.")
    if not facts.shares and not facts.others:
        lines.append(f"No file share is known to show {facts.bucket}.")
    if facts.unseen:
        lines.append(f"Only the refresh function sees the file shares in {', '.join(facts.unseen)}: not known here.")
    return [*lines, *facts.unresolved]


def _of_notification(facts: Facts) -> list[str]:
    if not facts.notified:
        return [f"{facts.bucket} does not notify this stack of its changes (its notification configuration)."]
    if facts.excluded_by:
        return [
            f"{facts.bucket} notifies this stack, but not of this key: its filter is {', '.join(facts.excluded_by)}."
        ]
    lines = [f"{facts.bucket} notifies this stack of changes of this key (its notification configuration)."]
    if facts.ignored_by:
        lines.append(f"Changes of keys like {facts.ignored_by} are ignored (IGNORE_KEYS).")
    return lines


def _of_windows(facts: Facts) -> list[str]:
    at, window, closed = facts.at, facts.window, facts.closed
    if window:
        holds = f"will read {facts.folder}" if window.reads else f"will not read {facts.folder}"
        lines = [
            f"The bucket's window is open since {_when(at, window.since)}, due {_when(at, window.due)}, and {holds}."
        ]
    else:
        lines = ["No window of the bucket is open (the table)."]
    if facts.by_gateways:
        due = _when(at, facts.by_gateways.due)
        lines.append(f"A window of what a gateway wrote holds {facts.folder} too, due {due} (the table).")
    if closed:
        known = {True: f"it read {facts.folder}", False: f"it did not read {facts.folder}"}
        read = known[closed.reads] if closed.reads is not None else "its folders are not kept any more"
        state = "; not every share is asked yet" if closed.unfinished else ""
        lines.append(
            f"The refresh of its last window began at {_when(at, closed.began)}, for changes since"
            f" {clock(closed.since)}; {read}{state} (the table)."
        )
    for region, waits in facts.regions.items():
        why = waits.reason or "they are about to be listed"
        lines.append(f"{facts.folder} waits for the file shares in {region}: {why} (the table).")
    return lines


def _of_refreshes(facts: Facts, share: Share) -> list[str]:
    at, name, standing = facts.at, share.share, share.standing
    last = f"at {_when(at, standing.last_accepted)}" if standing.last_accepted else "none that is known of"
    lines = [f"{name} accepted a refresh last: {last} (the table)."]
    if standing.in_progress_since:
        lines.append(f"{name} is refreshing since {_when(at, standing.in_progress_since)} (the table).")
    if standing.is_being_asked and not standing.waits:
        lines.append(f"{name} is being asked now (the table).")
    if standing.waits:
        what = "its folder waits" if share.folder_waits else "only other folders wait"
        lines.append(f"For {name} {what}: {standing.waits.why} (the table).")
    readers = [refresh for refresh in share.refreshes if refresh.reads(share.way[-1])]
    since = f"since {clock(facts.log_since)}"
    if not readers:
        lines.append(f"The log tells of no refresh of {name} {since} that read {facts.folder}.")
    else:
        which = readers if len(readers) < 3 else [readers[0], readers[-1]]
        each = "; ".join(
            f"at {_when(at, refresh.accepted)}"
            + (f", complete at {clock(refresh.completed)}" if refresh.completed is not None else "")
            for refresh in which
        )
        shortened = "the first and the last " if len(readers) > 2 else ""
        times = f"{plural(len(readers), 'time')} {since}"
        lines.append(f"{name} accepted {times} to read {facts.folder}: {shortened}{each} (the log).")
    for one in share.left_out:
        lines.append(f"{name} was left out at {_when(at, one.at)}, as a gateway wrote what changed (the log).")
    return [*lines, share.log_lacks] if share.log_lacks else lines


def _when(at: int, then: int) -> str:
    return f"{clock(then)} ({ago(at, then)})"


# The answer as people and programs read it


def as_json(facts: Facts) -> dict[str, Any]:
    answers = conclude(facts)
    return {
        "status": exit_status(answers),
        "conclusion": [asdict(answer) for answer in answers],
        "evidence": evidence(facts),
        "facts": asdict(facts),
    }


def screen(facts: Facts) -> RenderableType:
    """The conclusion, in bold, and what it rests on."""
    lines = [one_line(f"{facts.bucket}/{facts.key}")]
    for answer in conclude(facts):
        share = f"{answer.share}: " if answer.share else ""
        lines.append(one_line(f"{share}{answer.text}", "bold"))
        lines += [one_line(f"    {step}", "dim") for step in answer.then]
    return Group(*lines, one_line(""), *(one_line(f"- {fact}") for fact in evidence(facts)))
