"""The refreshes that a share accepted, and those it was left out of, as the refresh function's log tells of them.

The table knows only when the last one was accepted; the log also knows the folders, and those before it.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any

from botocore.exceptions import ClientError

from commands.operate.stack import DENIED, Stack, StackError
from commands.operate.words import clock, plural
from event_aggregator.changes import epoch_ms_of
from event_aggregator.file_shares import FileShare

_DAY_MS = 24 * 3_600_000
_MAX_EVENTS = 5_000
_MAX_PAGES = 200  # most pages of a long time are empty


@dataclass(frozen=True)
class Refresh:
    """A refresh that a share accepted, by the log; folders as in FolderList."""

    accepted: int
    folders: list[str]
    recursive: bool
    correlation: str
    completed: int | None = None

    def reads(self, folder: str) -> bool:
        if self.recursive:
            return any(top in ("/", folder) or folder.startswith(f"{top}/") for top in self.folders)
        return folder in self.folders


@dataclass(frozen=True)
class LeftOut:
    """A share was not asked for what a gateway wrote; folders as windows hold them."""

    at: int
    folders: list[str]
    already_shown: bool  # it was written through this share


def refreshes_of(
    stack: Stack, share: FileShare, since: int, until: int, last_accepted: int
) -> tuple[list[Refresh], list[LeftOut], str | None]:
    """The refreshes that the log tells of, those that it was left out of, oldest first, and why there may be others.

    `last_accepted`, from the table, tells whether the log is behind: it takes seconds to show a line.
    """
    logs, group = stack.client("logs"), f"/aws/lambda/{stack.refresh}"
    lines: list[str] = []
    lacks, events = None, 0
    try:
        oldest = _oldest(logs, group, until)
        if since < oldest:
            since, lacks = oldest, f"The log {group} goes back to {clock(oldest)} only."
        pages = logs.get_paginator("filter_log_events").paginate(
            logGroupName=group, filterPattern=f'"{share.share_id}"', startTime=since, endTime=until + 60_000
        )
        for number, page in enumerate(pages, start=1):
            events += len(page["events"])
            lines += [line for event in page["events"] for line in event["message"].splitlines()]
            if page.get("nextToken") and (events >= _MAX_EVENTS or number >= _MAX_PAGES):
                lacks = f"Of the log {group} only the first {plural(events, 'line')} about {share.share_id} were read."
                break
    except ClientError as error:
        if error.response["Error"]["Code"] not in DENIED:
            raise
        lacks = f"The log {group} could not be read: {error}"
    refreshes = read_log(lines, str(share.key))
    if not lacks and last_accepted > since and not any(one.accepted > last_accepted - 1_000 for one in refreshes):
        lacks = f"The log has no line yet of the refresh that {share.share_id} accepted at {clock(last_accepted)}."
    return refreshes, left_out_of(lines, str(share.key)), lacks


def _oldest(logs: Any, group: str, at: int) -> int:
    """The time from which on the log group holds everything."""
    groups = logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]
    found = [one for one in groups if one["logGroupName"] == group]
    if not found:
        raise StackError(f"There is no log group {group}: run create-stack.sh --revert-drift.")
    created: int = found[0]["creationTime"]
    days: int = found[0].get("retentionInDays", 3_650)
    return max(created, at - days * _DAY_MS)


def read_log(lines: Iterable[str], share_key: str) -> list[Refresh]:
    """The refreshes of a share in lines of the refresh function's log, each with its completion if there is one."""
    refreshes: list[Refresh] = []
    ends: list[tuple[int, str]] = []
    for line in lines:
        fields = _fields(line)
        if fields.get("share") != share_key:
            continue
        at, correlation = epoch_ms_of(fields["timestamp"]), str(fields.get("correlation_id"))
        if " accepted a refresh of " in fields["message"]:
            refreshes.append(Refresh(at, fields["folders"], fields["recursive"], correlation))
        elif " is complete, " in fields["message"]:
            ends.append((at, correlation))
    refreshes.sort(key=lambda refresh: refresh.accepted)
    return [
        replace(refresh, completed=_end_of(refresh, following, ends))
        for refresh, following in zip_longest(refreshes, refreshes[1:])
    ]


def left_out_of(lines: Iterable[str], share_key: str) -> list[LeftOut]:
    """The refreshes that a share was left out of, in lines of the refresh function's log."""
    about = [fields for line in lines if (fields := _fields(line)).get("share") == share_key]
    return [
        LeftOut(epoch_ms_of(fields["timestamp"]), fields["folders"], fields["already_shown"])
        for fields in about
        if fields["message"].startswith("Left out ")
    ]


def _end_of(refresh: Refresh, following: Refresh | None, ends: list[tuple[int, str]]) -> int | None:
    """When it was complete: of a share only one is in progress, so before the following one was accepted."""
    return min(
        (
            end
            for end, correlation in ends
            if correlation == refresh.correlation
            and refresh.accepted <= end
            and (following is None or end <= following.accepted)
        ),
        default=None,
    )


def _fields(line: str) -> dict[str, Any]:
    """What a line of JSON says; of others, such as a traceback, nothing."""
    try:
        fields = json.loads(line)
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}
