"""What explain.sh concludes from what is known about a key, and from what it says so."""

import json
from dataclasses import replace
from typing import Any

import pytest

from commands.operate.explain import Answer, Outcome, as_json, conclude, evidence, exit_status
from commands.operate.facts import Closed, Facts, S3Object, Share, Window, excluded_by, way_to, will_read
from commands.operate.refresh_log import LeftOut, Refresh, left_out_of, read_log
from commands.operate.share_state import Cause, Standing, Waits
from event_aggregator.observability import timestamp

AT = 1_790_000_000_000
CHANGED = AT - 600_000
MINUTE = 60_000


def refresh(accepted: int, *folders: str, recursive: bool = False, completed: int | None = None) -> Refresh:
    return Refresh(accepted, list(folders or ("/", "2024")), recursive, "w1", completed)


VERSION = S3Object(True, CHANGED, 1024, versioned=True)
BEFORE = Standing(last_accepted=CHANGED - MINUTE)


def share(standing: Standing = BEFORE, **known: Any) -> Share:
    """A share on photos/, which was refreshed last before the change."""
    plain = Share("share-1", "photos/", "AVAILABLE", "/2024/a.jpg", ["/", "2024"], standing)
    return replace(plain, **known)


def waiting(cause: Cause, why: str = "", until: int | None = None, reason: str | None = None) -> Standing:
    return replace(BEFORE, waits=Waits(CHANGED, ["/photos/2024"], cause, why or cause, until, reason))


def facts(*shares: Share, **known: Any) -> Facts:
    plain = Facts(
        at=AT,
        bucket="my-bucket",
        key="photos/2024/a.jpg",
        folder="/photos/2024",
        object=S3Object(True, CHANGED, 1024),
        notified=True,
        excluded_by=[],
        ignored_by="",
        window=None,
        by_gateways=None,
        closed=None,
        regions={},
        shares=list(shares),
        others={},
        unresolved=[],
        unseen=[],
        log_since=CHANGED - 3_000,
        mend="scripts/create-stack.sh --bucket my-bucket",
        refresh="scripts/refresh-now.sh --bucket my-bucket --folder /photos/2024",
        aggregator_log="aws logs tail the aggregator's",
        refresh_log="aws logs tail the refresh function's",
    )
    return replace(plain, **known)


def the_answer(known: Facts) -> Answer:
    (answer,) = conclude(known)
    return answer


def status(known: Facts) -> int:
    return exit_status(conclude(known))


# Refreshed


def test_a_refresh_of_its_folder_after_the_change_makes_it_visible_and_says_when() -> None:
    done = refresh(CHANGED + 32_000, completed=CHANGED + 34_000)
    known = facts(share(Standing(done.accepted), refreshes=[done]))
    answer = the_answer(known)
    assert answer.outcome is Outcome.VISIBLE
    assert answer.text == (
        "Visible since the refresh that was accepted after the change, at 2026-09-21 14:03:52 UTC (9 min ago);"
        " complete at 2026-09-21 14:03:54 UTC (9 min ago)."
    )
    assert status(known) == 0


def test_a_refresh_whose_end_nothing_told_of_counts_as_well() -> None:
    answer = the_answer(facts(share(refreshes=[refresh(CHANGED + 32_000)])))
    assert answer.outcome is Outcome.VISIBLE
    assert answer.text.endswith("no event told of its end.")


def test_a_recursive_refresh_of_a_folder_above_counts() -> None:
    whole = refresh(CHANGED + 32_000, "/", recursive=True)
    assert the_answer(facts(share(refreshes=[whole]))).outcome is Outcome.VISIBLE


def test_a_refresh_in_rounds_counts_when_the_last_folder_on_the_way_was_read() -> None:
    rounds = [refresh(CHANGED + 10_000, "/"), refresh(CHANGED + 90_000, "2024", recursive=True)]
    assert the_answer(facts(share(refreshes=rounds[:1]))).outcome is Outcome.MISSED
    answer = the_answer(facts(share(refreshes=rounds)))
    assert answer.outcome is Outcome.VISIBLE
    assert "14:04:50" in answer.text


def test_a_refresh_of_another_folder_does_not_count() -> None:
    assert the_answer(facts(share(refreshes=[refresh(CHANGED + 32_000, "/", "20")]))).outcome is Outcome.MISSED


def test_a_refresh_before_the_change_does_not_count() -> None:
    assert the_answer(facts(share(refreshes=[refresh(CHANGED - 3_001)]))).outcome is Outcome.MISSED


@pytest.mark.parametrize("later", [-3_000, 0, 2_999])
def test_a_refresh_at_about_the_time_of_the_change_may_have_missed_it(later: int) -> None:
    known = facts(share(refreshes=[refresh(CHANGED + later)]))
    answer = the_answer(known)
    assert answer.outcome is Outcome.UNSURE
    assert "at about the time of the change" in answer.text
    assert status(known) == 2


def test_of_an_upload_in_parts_it_is_not_known_when_it_ended() -> None:
    in_parts = S3Object(True, CHANGED, 1024, in_parts=True)
    refreshes = [refresh(CHANGED + 32_000), refresh(CHANGED + 92_000)]
    answer = the_answer(facts(share(refreshes=refreshes), object=in_parts))
    assert answer.outcome is Outcome.UNSURE
    assert "refreshed last at 2026-09-21 14:04:52 UTC" in answer.text
    none = the_answer(facts(share(), object=in_parts))
    assert none.outcome is Outcome.MISSED
    assert none.then[0] == "look again in a minute: it may have come just now"


def test_a_refresh_that_is_not_complete_is_waited_for() -> None:
    known = facts(share(Standing(AT - 20_010, AT - 20_010), refreshes=[refresh(AT - 20_000)]))
    answer = the_answer(known)
    assert answer.outcome is Outcome.REFRESHING
    assert status(known) == 1


def test_a_refresh_in_progress_that_began_after_the_covering_one_does_not_take_its_place() -> None:
    known = facts(share(Standing(AT - 20_000, AT - 20_000), refreshes=[refresh(CHANGED + 32_000)]))
    assert the_answer(known).outcome is Outcome.VISIBLE


def test_what_was_deleted_is_gone_since_the_refresh_after_it() -> None:
    known = facts(share(refreshes=[refresh(CHANGED + 32_000)]), object=S3Object(False, CHANGED))
    assert the_answer(known).text.startswith("Gone from the share by the refresh")


# To come


def test_a_share_that_waits_says_why_and_what_to_do() -> None:
    refused = "it could not be refreshed: the gateway is not connected"
    standing = waiting(Cause.BACK_OFF, refused, AT + MINUTE, "the gateway is not connected")
    known = facts(share(standing, folder_waits=True))
    answer = the_answer(known)
    assert answer.outcome is Outcome.WAITS
    assert answer.text == (
        "It has waited since 2026-09-21 14:03:20 UTC (10 min ago): it could not be refreshed: the gateway is not"
        " connected. The next try is 2026-09-21 14:14:20 UTC (in 60 s)."
    )
    assert answer.then[0].startswith("see whether its gateway is running")
    assert status(known) == 1


def test_a_share_that_is_not_available_is_to_be_looked_at() -> None:
    standing = waiting(Cause.BACK_OFF, until=AT - 1, reason="it is UNAVAILABLE")
    answer = the_answer(facts(share(standing, folder_waits=True, status="UNAVAILABLE")))
    assert "The next try is due now." in answer.text
    assert answer.then == ["the share is UNAVAILABLE: look at it in the Storage Gateway console"]


def test_a_share_that_waits_for_its_turn_is_well_unless_it_is_in_no_line_for_long() -> None:
    in_line = waiting(Cause.IN_LINE, "2nd in line at sgw-1, where 2 refreshes are in progress")
    answer = the_answer(facts(share(in_line, folder_waits=True)))
    assert answer.text.endswith("(10 min ago): 2nd in line at sgw-1, where 2 refreshes are in progress.")
    assert answer.then == ["wait: nothing is wrong"]
    lost = waiting(Cause.IN_NO_LINE)
    assert the_answer(facts(share(lost, folder_waits=True))).then == ["look again in a minute"]
    assert lost.waits
    late = replace(lost, waits=replace(lost.waits, since=AT - 16 * MINUTE))
    expected = ["that is long ago: aws logs tail the refresh function's"]
    assert the_answer(facts(share(late, folder_waits=True))).then == expected


def test_what_waits_of_other_folders_is_not_this_change() -> None:
    assert the_answer(facts(share(waiting(Cause.INTERVAL)))).outcome is Outcome.MISSED


def test_a_region_whose_shares_could_not_be_listed_may_show_it_and_waits() -> None:
    denied = Window(CHANGED, AT + MINUTE, reads=True, reason="its file shares could not be listed: access denied")
    known = facts(share(refreshes=[refresh(CHANGED + 32_000)]), regions={"eu-west-1": denied})
    visible, there = conclude(known)
    assert (visible.outcome, there.share, there.outcome) == (Outcome.VISIBLE, None, Outcome.WAITS)
    assert there.text == (
        "For the file shares in eu-west-1 its folder has waited since 2026-09-21 14:03:20 UTC (10 min ago): its file"
        " shares could not be listed: access denied. The next try is 2026-09-21 14:14:20 UTC (in 60 s)."
    )
    assert status(known) == 1
    said = "/photos/2024 waits for the file shares in eu-west-1: its file shares could not be listed: access denied"
    assert f"{said} (the table)." in evidence(known)
    (of_share,) = conclude(facts(share(region="eu-west-1"), regions={"eu-west-1": denied}))
    assert (of_share.share, of_share.text) == ("share-1", there.text)
    (alone,) = conclude(facts(regions={"eu-west-1": replace(denied, reason=None, due=AT - 1)}, unseen=["eu-west-1:2"]))
    assert alone.text.endswith("; they are about to be listed, and asked.")


def test_a_refresh_that_has_not_reached_the_share_is_on_its_way() -> None:
    answer = the_answer(facts(share(handed_over=AT - 2_000)))
    assert answer.outcome is Outcome.REFRESHING
    assert answer.then == []


def test_a_window_that_holds_its_folder_says_when_it_is_due() -> None:
    window = Window(AT - 10_000, AT + 20_000, reads=True)
    known = facts(share(in_window=True), window=window)
    answer = the_answer(known)
    assert answer.outcome is Outcome.DUE
    assert "will be refreshed at 2026-09-21 14:13:40 UTC (in 20 s)" in answer.text
    assert status(known) == 1
    late = the_answer(facts(share(in_window=True), window=replace(window, due=AT - 16 * MINUTE)))
    assert "It was due at" in late.text
    assert late.then == ["that is long ago: aws logs tail the refresh function's"]


AFTER = refresh(CHANGED + 32_000)
OPEN = Window(AT, AT + 30_000, reads=True)


@pytest.mark.parametrize(
    ("known", "outcome"),
    [
        (facts(share(refreshes=[AFTER], in_window=True), window=OPEN), Outcome.DUE),
        (facts(share(waiting(Cause.IN_LINE, "1st in line"), refreshes=[AFTER], folder_waits=True)), Outcome.WAITS),
        (facts(share(refreshes=[AFTER], region="eu-west-1"), regions={"eu-west-1": OPEN}), Outcome.WAITS),
        (facts(share(refreshes=[AFTER], handed_over=AT - 2_000)), Outcome.REFRESHING),
        (facts(share(refreshes=[AFTER]), by_gateways=OPEN), Outcome.EXPECTED),
    ],
    ids=["its window is open", "it waits", "its region waits", "it is handed over", "a gateway's window is open"],
)
def test_nothing_is_visible_while_its_folder_is_to_be_refreshed(known: Facts, outcome: Outcome) -> None:
    for of in (known, replace(known, object=S3Object(False, CHANGED)), replace(known, object=VERSION)):
        answer = the_answer(of)
        assert answer.outcome is outcome
        assert answer.text.startswith(
            "Its folder was refreshed after the change that S3 tells of, at 2026-09-21 14:03:52 UTC (9 min ago), and is"
            " to be refreshed again. "
        )
        assert status(of) == 1


def test_what_other_folders_wait_for_leaves_it_visible() -> None:
    known = facts(share(waiting(Cause.IN_LINE), refreshes=[AFTER]), window=replace(OPEN, reads=False))
    assert the_answer(known).outcome is Outcome.VISIBLE


def test_a_version_may_have_been_brought_back_since_the_last_refresh_of_its_folder() -> None:
    again = refresh(CHANGED + 92_000)
    known = facts(share(refreshes=[AFTER, again, refresh(CHANGED + 99_000, "2023")]), object=VERSION)
    answer = the_answer(known)
    assert answer.outcome is Outcome.UNLESS
    assert answer.text == (
        "Its folder was refreshed after this version was written, last at 2026-09-21 14:04:52 UTC (8 min ago): it is"
        " visible, unless the version was brought back since, by deleting a later one for good. S3 does not tell of"
        " that; its event has not arrived, or was handled."
    )
    assert status(known) == 2
    assert any("it may be back since later" in line for line in evidence(known))
    gone = replace(known, object=S3Object(False, CHANGED, versioned=True))
    assert "it is gone from the share, unless the delete marker was brought back since" in the_answer(gone).text
    assert status(gone) == 2
    assert the_answer(replace(known, shares=[share()])).outcome is Outcome.MISSED, "it was not refreshed at all"
    in_progress = Standing(again.accepted, again.accepted)
    now = facts(share(in_progress, refreshes=[AFTER, again]), object=VERSION)
    assert the_answer(now).outcome is Outcome.REFRESHING, "the last one has not read it yet"


def test_what_is_refreshed_and_not_seen_may_be_hidden_by_a_clients_own_cache() -> None:
    for found in (S3Object(True, CHANGED), VERSION):
        first, then = the_answer(facts(share(refreshes=[AFTER]), object=found)).then
        assert first.endswith("NFS and SMB clients cache them for up to a minute")
        assert "scripts/refresh-now.sh --bucket my-bucket --folder /photos/2024" in then


# Nothing


def test_no_refresh_and_no_window_means_that_no_event_arrived_and_says_what_to_check() -> None:
    known = facts(share())
    answer = the_answer(known)
    assert answer.outcome is Outcome.MISSED
    assert [step.split(" ")[0] for step in answer.then] == ["whether", "whether"]
    assert status(known) == 1


def test_a_key_whose_changes_are_ignored_is_said_so_with_the_pattern_unless_a_refresh_read_it_all_the_same() -> None:
    known = facts(share(), ignored_by="*.jpg")
    answer = the_answer(known)
    assert answer.outcome is Outcome.IGNORED
    assert "matches *.jpg of IGNORE_KEYS" in answer.text
    assert status(known) == 0
    assert any("keys like *.jpg are ignored" in line for line in evidence(known))
    since = [refresh(CHANGED + MINUTE, "/", "2024")]
    assert the_answer(facts(share(refreshes=since), ignored_by="*.jpg")).outcome is Outcome.VISIBLE


@pytest.mark.parametrize(
    ("already_shown", "through"), [(True, "through this share"), (False, "and such refreshes no share")]
)
def test_a_share_that_was_left_out_as_a_gateway_wrote_in_the_folder_may_show_it_or_not(
    already_shown: bool, through: str
) -> None:
    left_out = LeftOut(CHANGED + MINUTE, ["/photos/2024"], already_shown)
    known = facts(share(left_out=[left_out]))
    assert the_answer(known).outcome is Outcome.UNSURE
    assert through in the_answer(known).text
    assert status(known) == 2
    assert any("was left out" in line for line in evidence(known))
    earlier = replace(left_out, at=CHANGED - MINUTE)
    assert the_answer(facts(share(left_out=[earlier]))).outcome is Outcome.MISSED


def test_what_a_gateway_may_have_written_is_refreshed_on_the_others() -> None:
    known = facts(share(), by_gateways=Window(CHANGED, AT + MINUTE, reads=True, reason=None))
    assert the_answer(known).outcome is Outcome.EXPECTED


def test_the_event_of_a_change_of_the_last_minute_is_expected() -> None:
    fresh = S3Object(True, AT - 59_000, 1)
    assert the_answer(facts(share(), object=fresh)).outcome is Outcome.EXPECTED
    assert the_answer(facts(share(), object=fresh, notified=False)).outcome is Outcome.MISSED
    assert the_answer(facts(share(), object=fresh, excluded_by=["suffix .csv"])).outcome is Outcome.MISSED


def test_a_bucket_that_does_not_notify_the_stack_is_to_be_attached() -> None:
    (step,) = the_answer(facts(share(), notified=False)).then
    assert step.endswith("scripts/create-stack.sh --bucket my-bucket")


def test_a_filter_that_leaves_the_key_out_is_named() -> None:
    known = facts(share(), excluded_by=["suffix .csv"])
    assert the_answer(known).then == ["the notification's filter leaves it out: suffix .csv"]
    assert "my-bucket notifies this stack, but not of this key: its filter is suffix .csv." in evidence(known)


def test_a_log_that_lacks_refreshes_leaves_it_open_only_if_the_table_knows_of_one() -> None:
    lacks = "The log could not be read."
    known = facts(share(Standing(CHANGED + MINUTE), log_lacks=lacks))
    assert the_answer(known).outcome is Outcome.UNSURE
    assert status(known) == 2
    assert lacks in evidence(known)
    assert the_answer(facts(share(log_lacks=lacks))).outcome is Outcome.MISSED, "it was refreshed before the change"
    assert the_answer(facts(share(Standing(), log_lacks=lacks))).outcome is Outcome.MISSED


# What S3 does not have, or does not tell


def test_a_key_that_is_not_in_s3_is_not_to_be_shown() -> None:
    known = facts(share(), object=S3Object(False))
    assert the_answer(known).outcome is Outcome.ABSENT
    assert status(known) == 0


def test_a_key_that_was_deleted_a_moment_ago_is_still_to_come() -> None:
    window = Window(AT - 10_000, AT + 20_000, reads=True)
    known = facts(share(in_window=True), object=S3Object(False), window=window)
    assert the_answer(known).text.startswith("There is no such object; if it was deleted a moment ago: It will be")
    assert status(known) == 1


def test_of_a_folder_without_an_object_nothing_can_be_told() -> None:
    known = facts(share(), object=S3Object(False, is_folder=True))
    assert "ask for a file in it" in the_answer(known).text
    assert "There are objects below it: it is a folder." in evidence(known)
    assert status(known) == 2


def test_what_s3_does_not_tell_is_said() -> None:
    known = facts(share(), object=S3Object(None, not_told=["S3 refused HeadObject"]))
    assert the_answer(known).then == ["S3 refused HeadObject"]
    assert evidence(known)[:2] == ["S3 does not let us see whether it has it.", "S3 refused HeadObject"]
    assert status(known) == 2


def test_an_object_that_is_not_there_may_have_been_deleted_if_s3_does_not_tell_of_that() -> None:
    known = facts(share(), object=S3Object(False, not_told=["Whether it has a delete marker is not known"]))
    assert the_answer(known).then == ["Whether it has a delete marker is not known"]
    assert evidence(known)[:2] == [
        "S3 has no object with this key.",
        "Whether it has a delete marker is not known",
    ]
    assert status(known) == 2


def test_a_key_that_people_take_for_the_one_that_is_not_there_is_named_whatever_the_answer_is() -> None:
    other = "'Photos/2024/a.jpg', which differs only in upper and lower case."
    absent = S3Object(False, alike=[other])
    for known in (facts(share(), object=absent), facts(others={"share-2": "Photos/"}, object=absent)):
        assert the_answer(known).then[0] == f"is another key meant? S3 has {other}"
        assert f"S3 has {other}" in evidence(known)
        assert status(known) == 0
    many = facts(share(), object=replace(absent, all_compared=False))
    assert any("too many to compare" in line for line in evidence(many))


def test_a_replica_may_come_long_after_its_original_was_written_and_outlive_it() -> None:
    known = facts(share(refreshes=[AFTER]), object=S3Object(True, CHANGED, 1024, versioned=True, is_replica=True))
    answer = the_answer(known)
    assert answer.outcome is Outcome.UNSURE
    assert answer.text == (
        "Not known: it is a replica, and S3 tells only when its original was written. Its folder was refreshed last at"
        " 2026-09-21 14:03:52 UTC (9 min ago): if it had come by then, it is visible."
    )
    assert any("If that is deleted, the replica stays in S3" in line for line in evidence(known))
    assert not any("replica" in line for line in evidence(facts(share())))


# Shares


def test_a_share_that_refreshes_by_itself_says_how_that_adds_up_with_what_is_asked_of_it() -> None:
    known = facts(share(stale_seconds=300))
    assert (
        "share-1 also refreshes by itself: when somebody opens a folder more than 5 min after its last refresh, of"
        " whichever kind, it reads it again (CacheStaleTimeoutInSeconds). So a file whose event was lost is seen then;"
        " what this stack refreshes, before."
    ) in evidence(known)
    assert not any("by itself" in line for line in evidence(facts(share())))


def test_each_share_has_an_answer_and_the_worst_one_is_the_exit_status() -> None:
    visible = share(refreshes=[refresh(CHANGED + 32_000)])
    unsure = share(share="share-2", refreshes=[refresh(CHANGED)])
    missed = share(share="share-3")
    assert [answer.share for answer in conclude(facts(visible, unsure, missed))] == ["share-1", "share-2", "share-3"]
    assert status(facts(visible, unsure, missed)) == 1
    assert status(facts(visible, unsure)) == 2
    assert status(facts(visible)) == 0


def test_a_key_outside_every_prefix_is_shown_by_nobody_and_that_is_well() -> None:
    known = facts(others={"share-2": "videos/"})
    assert the_answer(known).outcome is Outcome.NOT_SHOWN
    assert status(known) == 0
    assert "share-2 does not show it: it shows only what lies below /videos/." in evidence(known)


def test_a_bucket_without_a_share_is_wrong() -> None:
    assert the_answer(facts()).outcome is Outcome.NO_SHARE
    assert status(facts()) == 1
    assert "No file share is known to show my-bucket." in evidence(facts())


def test_without_a_share_here_it_is_not_known_of_the_shares_in_other_accounts() -> None:
    for known in (facts(unseen=["us-east-1:2"]), facts(unseen=["us-east-1:2"], others={"share-2": "videos/"})):
        answer = the_answer(known)
        assert answer.outcome is Outcome.UNSURE
        assert "us-east-1:2 are not seen from here" in answer.text
        assert "refresh-now.sh --bucket my-bucket --folder /photos/2024" in answer.then[0]
    said = "Only the refresh function sees the file shares in us-east-1:2: not known here."
    assert said in evidence(facts(share(), unseen=["us-east-1:2"]))


def test_a_share_of_which_it_is_not_known_what_it_shows_may_be_the_one() -> None:
    known = facts(others={"share-2": "videos/"}, unresolved=["share-3 shows an access point"])
    assert the_answer(known).then == ["share-3 shows an access point"]
    assert status(known) == 2
    known = facts(share(refreshes=[refresh(CHANGED + 32_000)]), unresolved=["share-3 shows an access point"])
    visible, unsure = conclude(known)
    assert (visible.outcome, unsure.then) == (Outcome.VISIBLE, ["share-3 shows an access point"])
    assert status(known) == 2


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/2024/../a.jpg", "a name in it is .."),
        ("/./a.jpg", "a name in it is ."),
        ("/2024/..", "a name in it is .."),
        (f"/{'ü' * 128}", "a name in it is longer than 255 bytes"),
    ],
)
def test_a_key_with_a_name_that_no_file_system_has_cannot_be_shown_and_says_why(path: str, why: str) -> None:
    known = facts(share(path=path, refreshes=[refresh(CHANGED + 32_000)]))
    assert the_answer(known).text == f"It cannot be shown: {why}."
    assert status(known) == 1


def test_a_key_with_an_empty_name_cannot_be_shown() -> None:
    assert the_answer(facts(share(path="/2024//a.jpg"))).outcome is Outcome.IMPOSSIBLE
    assert the_answer(facts(share(path="//a.jpg"))).outcome is Outcome.IMPOSSIBLE
    assert the_answer(facts(share(path="/2024//"))).outcome is Outcome.IMPOSSIBLE
    assert the_answer(facts(share(path="/2024/"))).outcome is Outcome.MISSED, "a folder's marker"
    assert the_answer(facts(share(path="/"))).outcome is Outcome.MISSED, "the marker of the share's own root"


# The evidence


def test_the_evidence_tells_of_s3_the_shares_the_notification_the_windows_and_the_log() -> None:
    known = facts(
        share(
            replace(waiting(Cause.INTERVAL), last_accepted=CHANGED + 3 * MINUTE, in_progress_since=AT - 5_000),
            status="UPDATING",
            refreshes=[refresh(CHANGED + n * MINUTE, completed=CHANGED + n * MINUTE + 2_000) for n in (1, 2, 3)],
        ),
        window=Window(AT - 10_000, AT + 20_000, reads=False),
        closed=Closed(CHANGED, CHANGED + 30_000, reads=True, unfinished=True),
    )
    assert evidence(known) == [
        "S3 has it, 1,024 bytes, changed last at 2026-09-21 14:03:20 UTC (10 min ago).",
        "share-1 shows /photos/ of the bucket, and the file as /2024/a.jpg; the share is UPDATING.",
        "my-bucket notifies this stack of changes of this key (its notification configuration).",
        "The bucket's window is open since 2026-09-21 14:13:10 UTC (10 s ago), due 2026-09-21 14:13:40 UTC (in 20 s),"
        " and will not read /photos/2024.",
        "The refresh of its last window began at 2026-09-21 14:03:50 UTC (10 min ago), for changes since"
        " 2026-09-21 14:03:20 UTC; it read /photos/2024; not every share is asked yet (the table).",
        "share-1 accepted a refresh last: at 2026-09-21 14:06:20 UTC (7 min ago) (the table).",
        "share-1 is refreshing since 2026-09-21 14:13:15 UTC (5 s ago) (the table).",
        "For share-1 only other folders wait: it was asked a moment ago (the table).",
        "share-1 accepted 3 times since 2026-09-21 14:03:17 UTC to read /photos/2024: the first and the last"
        " at 2026-09-21 14:04:20 UTC (9 min ago), complete at 2026-09-21 14:04:22 UTC;"
        " at 2026-09-21 14:06:20 UTC (7 min ago), complete at 2026-09-21 14:06:22 UTC (the log).",
    ]


def test_what_never_happened_is_evidence_too() -> None:
    lines = evidence(facts(share(Standing()), notified=False))
    assert "my-bucket does not notify this stack of its changes (its notification configuration)." in lines
    assert "No window of the bucket is open (the table)." in lines
    assert "share-1 accepted a refresh last: none that is known of (the table)." in lines
    assert "The log tells of no refresh of share-1 since 2026-09-21 14:03:17 UTC that read /photos/2024." in lines


def test_the_folders_of_the_last_window_may_be_forgotten_and_a_share_be_asked_just_now() -> None:
    closed = Closed(CHANGED, CHANGED + 30_000, reads=None, unfinished=False)
    lines = evidence(facts(share(Standing(is_being_asked=True)), closed=closed))
    assert any(line.endswith("14:03:20 UTC; its folders are not kept any more (the table).") for line in lines)
    assert "share-1 is being asked now (the table)." in lines


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("/photos/a.jpg", "with its slash at the front; S3's keys have none: photos/a.jpg?"),
        ("photos/a%20b.jpg", "decoded: photos/a b.jpg"),
        ("photos/a+b.jpg", "decoded: photos/a b.jpg"),
        ("photos/2024/", "The key names a folder: its marker"),
        ("a\nb\x1b\n", "holds characters that do not print, and are shown escaped: U+000A, U+001B."),
    ],
)
def test_a_key_that_may_be_meant_otherwise_is_said_to_be_taken_as_it_is(key: str, said: str) -> None:
    assert any(said in line for line in evidence(facts(share(), key=key, object=S3Object(False))))


def test_a_key_that_exists_is_not_taken_for_an_encoded_one() -> None:
    assert not any("decoded" in line for line in evidence(facts(share(), key="photos/a%20b.jpg")))


def test_deletion_and_an_upload_in_parts_are_evidence() -> None:
    assert evidence(facts(object=S3Object(False, CHANGED)))[0].startswith("It was deleted at 2026-09-21 14:03:20 UTC")
    assert "It was uploaded in parts" in evidence(facts(object=S3Object(True, CHANGED, 1, in_parts=True)))[1]


def test_programs_get_the_exit_status_the_answers_and_the_facts() -> None:
    report = json.loads(json.dumps(as_json(facts(share()))))
    assert (report["status"], report["conclusion"][0]["outcome"]) == (1, "no event")
    assert report["facts"]["object"]["changed"] == CHANGED


# From what AWS answers to facts


@pytest.mark.parametrize(
    ("held", "reads"),
    [
        ("*", True),
        ("/a/b", True),
        ("/a/b/c", True),  # those above it are read with it
        ("/a", False),
        ("/a/bc", False),
        ("=/a/b", True),
        ("=/a/b/c", False),
        ("*/a", True),
        ("*/", True),
        ("*/a/b", True),
        ("*/a/b/c", False),
    ],
)
def test_a_folder_is_read_with_those_above_it(held: str, reads: bool) -> None:
    assert will_read({held}, "/a/b", "", "folders") is reads


def test_what_a_share_does_not_show_makes_it_read_nothing_and_what_it_shows_everything_if_that_is_the_scope() -> None:
    assert not will_read({"/x"}, "/a/b", "a/", "share")
    assert will_read({"/a/x"}, "/a/b", "a/", "share")
    assert not will_read({"/a/x"}, "/a/b", "a/", "folders")
    assert will_read({"/x"}, "/", "", "folders")


def test_the_way_to_a_folder_ends_at_an_empty_name() -> None:
    assert way_to("/a/b", "") == ["/", "a", "a/b"]
    assert way_to("/a/b", "a/") == ["/", "b"]
    assert way_to("/a", "a/") == ["/"]
    assert way_to("/", "") == ["/"]
    assert way_to("/a//b", "") == ["/", "a"]
    assert way_to("/a/../b", "") == ["/", "a"]


def test_a_notification_filter_may_be_encoded() -> None:
    def entry(**rules: str) -> dict[str, Any]:
        each = [{"Name": name, "Value": value} for name, value in rules.items()]
        return {"Filter": {"Key": {"FilterRules": each}}}

    assert excluded_by([{}], "a b/c.csv") == []
    assert excluded_by([entry(Prefix="a+b/", Suffix=".csv")], "a b/c.csv") == []
    assert excluded_by([entry(prefix="a b/")], "a b/c.csv") == []
    assert excluded_by([entry(prefix="b")], "a b/c.csv") == ["prefix b"]
    txt = entry(prefix="a b/", suffix=".txt")
    assert excluded_by([txt], "a b/c.csv") == ["prefix a b/ and suffix .txt"]
    assert excluded_by([txt, entry(suffix=".csv")], "a b/c.csv") == [], "the other entry lets it through"
    assert excluded_by([], "a b/c.csv") == []


@pytest.mark.parametrize(
    ("folders", "recursive", "reads"),
    [
        (["/"], True, True),
        (["a"], True, True),
        (["a/b"], True, True),
        (["a/b/c"], True, False),
        (["ab", "b", "a/bc"], True, False),
        (["/", "a"], False, False),
        (["a/b"], False, True),
    ],
)
def test_a_recursive_refresh_reads_what_is_below_its_folders(folders: list[str], recursive: bool, reads: bool) -> None:
    assert refresh(AT, *folders, recursive=recursive).reads("a/b") is reads
    assert not refresh(AT, "a", recursive=True).reads("ab")


def line(message: str, at: int, *, share: str = "my-bucket/share-1", correlation: str = "w1", **more: Any) -> str:
    fields = {"message": message, "timestamp": timestamp(at), "share": share, "correlation_id": correlation}
    return json.dumps(fields | more)


def test_refreshes_are_read_from_the_log_in_order_each_with_its_own_completion() -> None:
    folders: dict[str, Any] = {"folders": ["/"], "recursive": True}
    lines = [
        "START RequestId: 1",
        '{"_aws": {}}',
        "null",
        line("my-bucket/share-1 accepted a refresh of everything", AT + 9_000, **folders),
        line("my-bucket/share-1 accepted a refresh of everything", AT, **folders),
        line("The refresh of my-bucket/share-1 is complete, 3.0 s after the first change", AT + 2_000),
        line(
            "The refresh of my-bucket/share-1 is complete, 3.0 s after the first change", AT + 10_000, correlation="w2"
        ),
        line("my-bucket/share-1 waits already", AT + 11_000),
        line("my-bucket/share-10 accepted a refresh of everything", AT, share="my-bucket/share-10", **folders),
    ]
    assert read_log([], "my-bucket/share-1") == []
    assert read_log(lines, "my-bucket/share-1") == [
        refresh(AT, "/", recursive=True, completed=AT + 2_000),
        refresh(AT + 9_000, "/", recursive=True),
    ]


def test_of_two_rounds_of_one_window_the_end_of_the_second_is_not_that_of_the_first() -> None:
    folders: dict[str, Any] = {"folders": ["/"], "recursive": True}
    lines = [
        line("my-bucket/share-1 accepted a refresh of everything", AT, **folders),
        line("my-bucket/share-1 accepted a refresh of everything", AT + 60_000, **folders),
        line("The refresh of my-bucket/share-1 is complete, 63.0 s after the first change", AT + 62_000),
    ]
    assert [one.completed for one in read_log(lines, "my-bucket/share-1")] == [None, AT + 62_000]


def test_what_a_share_was_left_out_of_is_read_from_the_log() -> None:
    told: dict[str, Any] = {"folders": ["/photos"], "already_shown": True}
    lines = [
        line("Left out my-bucket/share-1: the changes were written by its own role", AT, **told),
        line("Left out my-bucket/share-10: the changes were written by its own role", AT, share="my-bucket/share-10"),
        line("my-bucket/share-1 accepted a refresh of everything", AT, folders=["/"], recursive=True),
    ]
    assert left_out_of(lines, "my-bucket/share-1") == [LeftOut(AT, ["/photos"], already_shown=True)]
