"""What wait.sh takes for shown, how it looks again, and how it ends."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from commands.operate import facts as about
from commands.operate import wait as waiting
from commands.operate.__main__ import main
from commands.operate.explain import Outcome
from commands.operate.facts import Facts, S3Object, Window
from commands.operate.refresh_log import LeftOut
from commands.operate.share_state import Cause, Standing
from commands.operate.stack import Stack, StackError
from commands.operate.wait import Wish, judge, wait
from tests.unit.test_explain import AT, BEFORE, CHANGED, MINUTE, VERSION, facts, refresh, share
from tests.unit.test_explain import waiting as waits

BEGAN = AT - MINUTE  # AT: now
LAST_CHANGE, WRITTEN_BEFORE = Wish(), Wish(before=True)
IN_PARTS = S3Object(True, CHANGED, 1024, in_parts=True)
REPLICA = S3Object(True, CHANGED, 1024, is_replica=True)
DENIED = S3Object(None, not_told=["S3 refused HeadObject"])
AFTER = refresh(CHANGED + 32_000, completed=CHANGED + 34_000)
DUE = Window(AT - 10_000, AT + 20_000, reads=True)


def shown(known: Facts, wish: Wish = LAST_CHANGE, began: int = BEGAN) -> bool:
    return all(answer.outcome in (Outcome.VISIBLE, Outcome.UNLESS) for answer in judge(known, wish, began))


# What is shown


def test_a_change_is_shown_by_a_complete_refresh_that_was_accepted_after_it() -> None:
    assert shown(facts(share(refreshes=[AFTER])))
    assert not shown(facts(share(refreshes=[refresh(CHANGED - 4_000)])))
    in_progress = Standing(AT - 20_010, AT - 20_010)
    assert not shown(facts(share(in_progress, refreshes=[refresh(AT - 20_000)])))


def test_a_version_is_shown_although_it_may_have_been_brought_back_unless_something_waits() -> None:
    assert shown(facts(share(refreshes=[AFTER]), object=VERSION))
    assert not shown(facts(share(refreshes=[AFTER], in_window=True), object=VERSION, window=DUE))


def test_every_share_must_show_it_unless_one_is_named() -> None:
    late = replace(share(), share="share-2")
    known = facts(share(refreshes=[AFTER]), late)
    assert not shown(known)
    assert shown(known, Wish("share-1"))
    assert not shown(known, Wish("share-2"))


@pytest.mark.parametrize("found", [IN_PARTS, REPLICA, DENIED])
def test_what_may_have_come_later_than_s3_tells_came_before_the_waiting_began(found: S3Object) -> None:
    since = refresh(BEGAN + 3_000, completed=BEGAN + 5_000)
    assert shown(facts(share(refreshes=[since]), object=found))
    just_before = replace(since, accepted=BEGAN + 2_999)
    assert not shown(facts(share(refreshes=[just_before]), object=found, at=BEGAN + MINUTE - 1))


def test_what_may_have_come_later_is_shown_if_nothing_waits_for_it_a_minute_after_the_waiting_began() -> None:
    known = facts(share(refreshes=[AFTER]), object=IN_PARTS)
    assert shown(known)
    assert not shown(known, began=BEGAN + 1)
    assert not shown(facts(share(), object=IN_PARTS)), "no event of it has ever arrived"


def test_a_refresh_at_about_the_time_of_the_change_is_enough_if_nothing_waits_a_minute_later() -> None:
    known = facts(share(refreshes=[refresh(CHANGED + 1_000)]))
    assert shown(known)
    assert not shown(known, began=BEGAN + 1)


def test_a_change_whose_event_never_arrived_is_not_shown() -> None:
    assert not shown(facts(share()))


def test_whatever_was_written_before_is_shown_by_a_refresh_since_or_if_nothing_waits_a_minute_later() -> None:
    assert shown(facts(share()), WRITTEN_BEFORE)
    since = refresh(BEGAN + 3_000, completed=BEGAN + 5_000)
    assert shown(facts(share(refreshes=[since]), at=BEGAN + 6_000), WRITTEN_BEFORE)
    assert not shown(facts(share(refreshes=[AFTER]), at=BEGAN + 6_000), WRITTEN_BEFORE), "of the key, not of the others"


@pytest.mark.parametrize("found", [S3Object(False), DENIED, IN_PARTS])
def test_for_whatever_was_written_before_the_key_itself_does_not_matter(found: S3Object) -> None:
    assert shown(facts(share(), object=found), WRITTEN_BEFORE)


@pytest.mark.parametrize(
    "known",
    [
        facts(share(in_window=True), window=DUE),
        facts(share(), by_gateways=DUE),
        facts(share(handed_over=AT - 1_000)),
        facts(share(waits(Cause.IN_LINE), folder_waits=True)),
        facts(share(replace(BEFORE, is_being_asked=True))),
        facts(share(replace(BEFORE, in_progress_since=AT - 90_000))),
        facts(share(region="eu-west-1"), regions={"eu-west-1": DUE}),
        facts(share(), notified=False),
        facts(share(), excluded_by=["suffix .jpg"]),
        facts(share(), unresolved=["share-9: it cannot be described"]),
    ],
    ids=["window", "gateways", "handed over", "line", "asked", "progress", "region", "no events", "filter", "unknown"],
)
def test_whatever_was_written_before_is_not_shown_while_anything_may_come_of_it(known: Facts) -> None:
    assert not shown(known, WRITTEN_BEFORE)


@pytest.mark.parametrize("already_shown", [True, False])
def test_what_a_gateway_wrote_is_shown_by_the_share_that_it_came_through_alone(*, already_shown: bool) -> None:
    left_out = [LeftOut(CHANGED + 32_000, ["/photos/2024"], already_shown)]
    assert shown(facts(share(left_out=left_out))) is already_shown


def test_a_share_that_does_not_show_the_key_cannot_be_waited_for() -> None:
    with pytest.raises(
        StackError, match=r"share-2 is not known to show my-bucket/photos/2024/a.jpg: .* below /videos/"
    ):
        judge(facts(share(), others={"share-2": "videos/"}), Wish("share-2"), BEGAN)
    with pytest.raises(StackError, match=r"share-3 is not known to show my-bucket/photos/2024/a.jpg$"):
        judge(facts(share()), Wish("share-3"), BEGAN)


def test_a_folder_can_be_waited_for_with_its_slash_and_for_what_was_written_before() -> None:
    folder = S3Object(False, is_folder=True)
    with pytest.raises(StackError, match=r"a folder: give a file in it, or --key photos/2024/ --since"):
        judge(facts(share(), object=folder, key="photos/2024"), WRITTEN_BEFORE, BEGAN)
    with pytest.raises(StackError, match="is a folder"):
        judge(facts(share(), object=folder, key="photos/2024/"), LAST_CHANGE, BEGAN)
    assert shown(facts(share(), object=folder, key="photos/2024/"), WRITTEN_BEFORE)


# Looking again


class Clock:
    """Whoever waits: each look at the facts takes a second, and what is said is kept."""

    def __init__(self, *seen: Facts | Exception) -> None:
        self.time = BEGAN
        self.pauses: list[float] = []
        self.said: list[str] = []
        self._seen: Iterator[Facts | Exception] = iter(seen)
        self._last: Facts | Exception = seen[-1]

    def look(self, began: int) -> Facts:
        assert began == BEGAN
        self.time += 1_000
        found = next(self._seen, self._last)
        if isinstance(found, Exception):
            raise found
        return replace(found, at=self.time)

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.time += round(1000 * seconds)

    def wait(self, wish: Wish = LAST_CHANGE) -> int:
        return wait(self.look, wish, self.said.append, now=lambda: self.time, sleep=self.sleep)


OPEN, SHOWN = facts(share(in_window=True), window=DUE), facts(share(refreshes=[AFTER]))
DOWN = EndpointConnectionError(endpoint_url="test")


def test_it_ends_with_0_at_the_first_look_that_finds_it_shown_everywhere() -> None:
    clock = Clock(SHOWN)
    assert (clock.wait(), clock.pauses) == (0, [])
    clock = Clock(OPEN, OPEN, SHOWN)
    assert (clock.wait(), clock.pauses) == (0, [5, 5])
    assert [line.split(" ")[1] for line in clock.said] == ["It", "Visible"], "once each"


def test_it_looks_less_often_after_a_minute_and_not_after_its_time() -> None:
    clock = Clock(OPEN)
    assert clock.wait(Wish(timeout=100)) == 1
    assert clock.pauses == [5] * 10 + [15, 15, 7]
    assert clock.time == BEGAN + 101_000


def test_at_the_end_of_its_time_it_says_the_reason_and_what_to_do() -> None:
    clock = Clock(facts(share(), notified=False))
    assert clock.wait(Wish(timeout=0)) == 1
    assert clock.said[1] == "After 0 s:"
    assert clock.said[2].startswith("share-1: No event of this change seems to have arrived")
    assert clock.said[3].startswith("    the bucket does not notify this stack")


def test_it_ends_with_2_if_at_the_end_of_its_time_it_is_not_known() -> None:
    assert Clock(facts(share(refreshes=[AFTER]), object=IN_PARTS)).wait(Wish(timeout=10)) == 2
    late = replace(share(), share="share-2")
    assert Clock(facts(share(refreshes=[AFTER]), late, object=IN_PARTS)).wait(Wish(timeout=10)) == 1


@pytest.mark.parametrize(
    "known",
    [
        facts(),
        facts(others={"share-1": "videos/"}),
        facts(share(path="/a//b.jpg")),
        facts(share(), object=S3Object(False)),
        facts(share(), ignored_by="*.jpg"),
    ],
    ids=["no share", "outside all prefixes", "a name that no share shows", "no such object", "ignored"],
)
def test_it_ends_with_2_at_once_if_waiting_does_not_help(known: Facts) -> None:
    clock = Clock(known)
    assert (clock.wait(), clock.pauses) == (2, [])
    assert len(clock.said) == 1


def test_a_look_that_fails_on_the_way_is_made_again_but_not_the_first_or_the_last() -> None:
    assert Clock(OPEN, DOWN, SHOWN).wait() == 0
    with pytest.raises(EndpointConnectionError):
        Clock(DOWN, SHOWN).wait()
    with pytest.raises(EndpointConnectionError):
        Clock(OPEN, DOWN).wait(Wish(timeout=10))


def test_what_is_denied_on_the_way_is_not_asked_for_again() -> None:
    answer: Any = {"Error": {"Code": "AccessDenied", "Message": "no"}}
    with pytest.raises(ClientError):
        Clock(OPEN, ClientError(answer, "Scan"), SHOWN).wait()


# The command


def run(monkeypatch: pytest.MonkeyPatch, look: Callable[..., Facts], *flags: str) -> int:
    monkeypatch.setattr(about, "look", look)
    command = ["wait.sh", "--region", "us-east-1", "--bucket", "my-bucket", "--key", "photos/2024/a.jpg"]
    return main([*command, "--timeout", "0", *flags])


def test_quiet_prints_nothing_whatever_it_finds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: Any) -> Facts:
        raise StackError("There is no stack")

    ends = [run(monkeypatch, lambda *_, known=known: known, "--quiet") for known in (SHOWN, OPEN, facts())]
    assert [*ends, run(monkeypatch, fails, "--quiet")] == [0, 1, 2, 2]
    assert capsys.readouterr() == ("", "")
    assert run(monkeypatch, fails) == 2
    assert "There is no stack" in capsys.readouterr().err


def test_for_whatever_was_written_before_the_log_is_read_from_then_on(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def look(_: Stack, *how: Any) -> Facts:
        asked.append(how)
        return SHOWN

    monkeypatch.setattr(waiting, "now_ms", lambda: BEGAN)
    run(monkeypatch, look)
    run(monkeypatch, look, "--since")
    assert [log_since is None for _, _, log_since in asked] == [True, False]


@pytest.mark.parametrize("timeout", ["-1", "1.5", "soon"])
def test_a_timeout_that_is_no_number_of_seconds_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], timeout: str
) -> None:
    with pytest.raises(SystemExit, match="2"):
        run(monkeypatch, lambda *_: SHOWN, f"--timeout={timeout}")
    assert "no whole number of seconds" in capsys.readouterr().err
