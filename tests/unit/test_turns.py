"""Whose turn it is at a gateway: one decision after the other. tests/simulation explores how they fit together."""

import json

import pytest

from event_aggregator.table import Key
from event_aggregator.turns import (
    Accepted,
    Asked,
    Busy,
    Claim,
    Completed,
    Enqueued,
    Gateway,
    GatewayEvent,
    NothingToAsk,
    Refused,
    Rules,
    Share,
    Todo,
    Visit,
    Visited,
    Wake,
    Woken,
    backoff,
    step,
)

NOW = 1_790_000_000_000
SECOND, MINUTE = 1_000, 60_000
HOUR, DAY = 60 * MINUTE, 24 * 60 * MINUTE
A, B, C = (Key.read(f"my-bucket/share-{letter}") for letter in "ABC")


class Line:
    """A gateway, and a clock that stands until it is moved."""

    def __init__(self, slots: int = 2) -> None:
        self.gateway = Gateway()
        self.now = NOW
        self.rules = Rules(slots, MINUTE)
        self.tokens = 0

    def happens(
        self, happened: GatewayEvent, *, after: int = 0, may_claim: bool = True, queues_wake: bool = True
    ) -> Todo:
        """What is to be done when this happens `after` some time, seen by a handler that has a minute left."""
        self.now += after
        self.tokens += 1
        visit = Visit(self.now + MINUTE, may_claim, queues_wake)
        self.gateway, todo = step(
            self.gateway, happened, visit=visit, now=self.now, rules=self.rules, token=f"t{self.tokens}"
        )
        return todo

    def accepts(self, key: Key, refresh: str = "r1", *, after: int = 0, may_claim: bool = False) -> Todo:
        asked = Asked(key, refresh, self.now + after + HOUR, NOW, "w1", "NFS")
        return self.happens(asked, after=after, may_claim=may_claim)

    def asks(self, key: Key, refresh: str = "r1") -> Todo:
        """The share is put into the line, claimed, and accepts at once."""
        assert self.happens(Enqueued((key,))).take == key
        return self.accepts(key, refresh)

    def completes(
        self, key: Key, refresh: str = "r1", began: int = NOW, *, after: int = 0, may_claim: bool = True
    ) -> Todo:
        return self.happens(Completed(key.share_id, refresh, began), after=after, may_claim=may_claim)

    def share(self, key: Key) -> Share:
        return self.gateway.shares[key]


@pytest.mark.parametrize(
    ("refusals", "seconds"), [(1, 5), (2, 10), (3, 20), (7, 320), (8, 640), (9, 900), (10, 900), (1000, 900)]
)
def test_a_share_that_refuses_is_left_alone_for_5_s_doubling_to_a_quarter_of_an_hour(
    refusals: int, seconds: int
) -> None:
    assert backoff(refusals) == seconds * SECOND


# Order


def test_whoever_has_waited_longest_comes_first() -> None:
    line = Line()
    line.happens(Enqueued((B,)), may_claim=False)
    line.happens(Enqueued((A,)), after=1, may_claim=False)
    assert line.happens(Visited()).take == B


def test_of_those_that_began_to_wait_together_the_order_is_that_of_their_keys() -> None:
    assert Line().happens(Enqueued((C, A, B))).take == A


def test_a_share_that_waits_keeps_its_slot_when_more_is_put_into_its_window() -> None:
    line = Line()
    line.happens(Enqueued((B,)), may_claim=False)
    line.happens(Enqueued((A,)), after=1, may_claim=False)
    line.happens(Enqueued((B,)), after=1, may_claim=False)
    assert line.gateway.waiting() == [B, A]


def test_a_share_that_the_busy_gateway_refuses_keeps_its_slot() -> None:
    line = Line(slots=1)
    line.happens(Enqueued((B,)))
    line.happens(Enqueued((A,)), after=1)
    line.happens(Busy(B), after=1)
    assert line.gateway.waiting() == [B, A]


def test_a_share_that_waits_again_while_it_is_asked_has_the_slot_that_it_had_if_it_is_refused() -> None:
    line = Line(slots=1)
    line.happens(Enqueued((B,)))
    line.happens(Enqueued((A,)), after=1)
    line.happens(Enqueued((B,)), after=1)
    line.happens(Busy(B), after=1)
    assert line.gateway.waiting() == [B, A]


def test_a_share_that_waits_again_while_it_is_asked_waits_from_then_on_if_it_accepts() -> None:
    line = Line(slots=1)
    line.happens(Enqueued((A,)))
    line.happens(Enqueued((A,)), after=5)
    line.accepts(A, after=5)
    assert line.share(A).since == NOW + 5


def test_a_share_that_has_folders_left_waits_again() -> None:
    line = Line()
    line.happens(Enqueued((A,)))
    line.happens(Asked(A, "r1", NOW + HOUR, NOW, "w1", "NFS", left=True), after=7, may_claim=False)
    assert line.share(A).since == NOW + 7


def test_a_share_that_has_accepted_everything_waits_no_more() -> None:
    line = Line()
    line.asks(A)
    assert line.gateway.waiting() == []


# Regions


def test_so_many_shares_are_asked_as_the_gateway_has_slots() -> None:
    line = Line(slots=2)
    line.happens(Enqueued((A, B, C)))
    assert line.happens(Visited()).take == B
    assert line.happens(Visited()).take is None


def test_whoever_was_answered_takes_the_next_turn_in_the_same_write() -> None:
    line = Line(slots=2)
    line.happens(Enqueued((A, B)))
    assert line.accepts(A, may_claim=True).take == B


def test_a_completion_frees_a_slot_and_the_next_takes_it() -> None:
    line = Line(slots=1)
    line.asks(A)
    line.happens(Enqueued((B,)))
    todo = line.completes(A, after=SECOND)
    assert todo.take == B
    assert todo.completed == (A, Accepted("r1", NOW, NOW, "w1", "NFS"))


def test_a_mark_lapses_and_the_next_takes_its_slot() -> None:
    line = Line(slots=1)
    line.asks(A)
    line.happens(Enqueued((B,)))
    assert line.happens(Visited(), after=HOUR - 1).take is None
    assert line.happens(Visited(), after=1).take == B


def test_nobody_takes_a_turn_who_has_no_time() -> None:
    todo = Line().happens(Enqueued((A,)), may_claim=False)
    assert todo.take is None
    assert todo.wake


def test_a_share_is_alone_as_long_as_no_other_refresh_is_in_progress() -> None:
    line = Line()
    assert line.happens(Enqueued((A,))).is_idle
    line.accepts(A)
    assert not line.happens(Enqueued((B,))).is_idle


# Who may be asked


def test_a_share_is_not_asked_within_the_interval() -> None:
    line = Line()
    line.asks(A)
    line.completes(A, after=SECOND)
    line.happens(Enqueued((A,)))
    assert line.happens(Visited(), after=MINUTE - SECOND - 1).take is None
    assert line.happens(Visited(), after=1).take == A


def test_a_share_is_not_asked_while_its_refresh_is_in_progress() -> None:
    line = Line()
    line.asks(A)
    line.happens(Enqueued((A,)))
    assert line.happens(Visited(), after=2 * MINUTE).take is None
    assert line.completes(A).take == A


def test_a_share_that_may_not_be_asked_is_not_in_the_way_of_the_next() -> None:
    line = Line()
    line.asks(A)
    line.happens(Enqueued((A,)), after=1)
    assert line.happens(Enqueued((B,)), after=1).take == B


def test_a_share_that_refuses_for_a_reason_of_its_own_is_passed_over_until_its_back_off_has_passed() -> None:
    line = Line()
    line.happens(Enqueued((A,)))
    line.happens(Enqueued((B,)), after=1, may_claim=False)
    assert line.happens(Refused(A)).take == B
    line.accepts(B)
    assert line.happens(Visited(), after=5 * SECOND - 1).take is None
    assert line.happens(Visited(), after=1).take == A


def test_a_share_that_refuses_again_waits_twice_as_long_and_not_longer_once_it_has_accepted() -> None:
    line = Line()
    line.happens(Enqueued((A,)))
    line.happens(Refused(A))
    line.happens(Visited(), after=5 * SECOND)
    line.happens(Refused(A))
    assert line.share(A).not_before == line.now + 10 * SECOND
    line.happens(Visited(), after=10 * SECOND)
    line.accepts(A)
    assert (line.share(A).refusals, line.share(A).not_before) == (0, 0)


def test_a_refusal_does_not_count_for_the_interval_but_a_call_without_an_answer_does() -> None:
    line = Line()
    line.happens(Enqueued((A,)))
    line.happens(Refused(A))
    assert line.share(A).asked_at == 0
    line.happens(Visited(), after=5 * SECOND)
    line.happens(Refused(A, perhaps=True), after=SECOND)
    assert line.happens(Visited(), after=MINUTE - 1).take is None
    assert line.happens(Visited(), after=1).take == A


def test_a_share_that_is_handed_over_as_unavailable_is_not_asked_at_once() -> None:
    line = Line()
    assert line.happens(Enqueued((A, B), frozenset({A}))).take == B
    assert line.share(A).not_before == NOW + 5 * SECOND


def test_a_share_that_has_a_back_off_keeps_it_when_it_is_handed_over_as_unavailable_again() -> None:
    line = Line()
    line.happens(Enqueued((A,), frozenset({A})))
    line.happens(Enqueued((A,), frozenset({A})), after=SECOND)
    assert (line.share(A).refusals, line.share(A).not_before) == (1, NOW + 5 * SECOND)


def test_a_share_for_which_nothing_waits_is_released() -> None:
    line = Line()
    line.happens(Enqueued((A,)))
    line.happens(NothingToAsk(A))
    assert line.share(A) == Share()


def test_a_share_that_is_gone_is_forgotten() -> None:
    line = Line()
    line.happens(Enqueued((A,)))
    line.happens(NothingToAsk(A, gone=True))
    assert line.gateway.shares == {}


def test_an_answer_that_comes_without_a_claim_changes_nothing() -> None:
    line = Line()
    line.asks(A)
    before = line.gateway
    line.happens(Busy(A))
    assert line.gateway == before


# Without a window


def test_the_only_share_that_waits_needs_no_window() -> None:
    assert Line().happens(Enqueued((A,))).direct


def test_a_share_needs_a_window_if_it_waited_before() -> None:
    line = Line()
    line.happens(Enqueued((A,)), may_claim=False)
    todo = line.happens(Enqueued((A,)))
    assert (todo.take, todo.direct) == (A, False)


def test_a_share_needs_a_window_if_the_one_who_was_to_ask_it_died() -> None:
    line = Line()
    line.happens(Enqueued((A,)))
    todo = line.happens(Enqueued((A,)), after=HOUR)
    assert (todo.take, todo.direct) == (A, False)


def test_a_share_needs_a_window_if_somebody_else_refreshes_it_too() -> None:
    line = Line()
    line.completes(A, "theirs", began=NOW - SECOND)
    todo = line.happens(Enqueued((A,)))
    assert (todo.take, todo.direct) == (A, False)


# A gateway that is full


def full() -> Line:
    """B waits at a gateway with one slot, which A has; the wake `t4` is due after an interval."""
    line = Line(slots=1)
    line.asks(A)
    todo = line.happens(Enqueued((B,)))
    assert todo.wake == Wake("t3", NOW + MINUTE)
    return line


def test_a_full_gateway_is_asked_for_more_by_the_wake_after_an_interval() -> None:
    line = full()
    assert line.happens(Woken("t3"), after=MINUTE).take == B


def test_a_full_gateway_is_asked_for_more_by_nobody_but_the_wake() -> None:
    line = full()
    assert line.happens(Visited(), after=MINUTE).take is None
    assert line.happens(Woken("another")).take is None


def test_a_full_gateway_is_asked_for_more_once_an_interval() -> None:
    line = full()
    line.happens(Woken("t3"), after=MINUTE)
    line.happens(Enqueued((C,)))
    line.accepts(B, "r2")
    wake = line.gateway.wake
    assert wake
    assert wake.at == line.now + MINUTE
    assert line.happens(Woken(wake.token), after=MINUTE - 1).take is None
    assert line.gateway.wake
    assert line.happens(Woken(line.gateway.wake.token), after=1).take == C


# Intervals of the shares' own


@pytest.mark.parametrize(("default", "exceptions"), [(MINUTE, {"share-A": HOUR}), (HOUR, {"share-B": MINUTE})])
def test_each_share_keeps_its_own_interval(default: int, exceptions: dict[str, int]) -> None:
    line = Line()
    line.rules = Rules(2, default, exceptions)
    for key, refresh in ((A, "r1"), (B, "r2")):
        line.asks(key, refresh)
        line.completes(key, refresh)
    assert line.happens(Enqueued((A, B)), after=MINUTE - 1).take is None
    assert line.gateway.wake
    assert line.gateway.wake.at == NOW + MINUTE
    assert line.happens(Woken(line.gateway.wake.token), after=1).take == B
    wake = line.accepts(B, "r3").wake
    assert wake
    assert wake.at == NOW + HOUR
    assert line.happens(Visited(), after=HOUR - MINUTE - 1).take is None
    assert line.happens(Visited(), after=1).take == A


@pytest.mark.parametrize(("default", "exceptions"), [(MINUTE, {"share-A": HOUR}), (HOUR, {"share-C": MINUTE})])
def test_a_full_gateway_is_asked_for_more_after_the_least_interval_whoever_waits_there(
    default: int, exceptions: dict[str, int]
) -> None:
    line = Line(slots=1)
    line.rules = Rules(1, default, exceptions)
    line.asks(A)
    wake = line.happens(Enqueued((B,))).wake
    assert wake
    assert wake.at == NOW + MINUTE
    assert line.happens(Woken(wake.token), after=MINUTE).take == B
    assert line.happens(Busy(B), may_claim=False).wake
    line.completes(C, "somebody else's", may_claim=False)
    assert line.gateway.refused_at == 0


def test_a_gateway_that_says_that_it_is_busy_is_asked_again_after_an_interval() -> None:
    line = Line()
    line.happens(Enqueued((A,)))
    wake = line.happens(Busy(A)).wake
    assert wake
    assert wake.at == NOW + MINUTE
    assert line.happens(Visited(), after=MINUTE - 1).take is None
    assert line.happens(Visited(), after=1).take == A


def test_a_gateway_that_said_that_it_is_busy_is_asked_at_once_when_a_refresh_has_ended_there() -> None:
    line = Line()
    line.happens(Enqueued((A,)))
    line.happens(Busy(A))
    assert line.completes(B, "theirs", after=SECOND).take == A


def test_a_gateway_that_said_that_it_is_busy_is_asked_again_when_it_has_accepted_a_refresh() -> None:
    line = Line()
    line.happens(Enqueued((A, B, C)))
    line.happens(Visited())
    line.happens(Busy(A))
    assert line.accepts(B, may_claim=True).take == A


# Wakes


def test_nobody_waits_and_no_wake_is_needed() -> None:
    line = Line()
    assert line.asks(A).wake is None
    assert line.happens(Visited()).wake is None


def test_whoever_only_puts_shares_into_the_line_leaves_the_wake_to_what_follows() -> None:
    line = Line()
    assert line.happens(Enqueued((A,)), may_claim=False, queues_wake=False).wake is None
    assert line.gateway.wake is None


def test_a_share_that_waits_alone_for_its_own_refresh_is_woken_for_when_the_mark_ends() -> None:
    line = Line()
    line.asks(A)
    wake = line.happens(Enqueued((A,))).wake
    assert wake
    assert wake.at == NOW + HOUR


@pytest.mark.parametrize(
    ("share", "at"),
    [
        (Share(since=1, asked_at=NOW - 10 * SECOND), NOW + 50 * SECOND),
        (Share(since=1, not_before=NOW + 5 * SECOND), NOW + 5 * SECOND),
        (Share(since=1, claim=Claim(NOW + 20 * SECOND, 1)), NOW + 20 * SECOND),
        (Share(since=1, in_progress_until=NOW + 2 * HOUR), NOW + 2 * HOUR),
    ],
    ids=["its interval", "its back-off", "its claim", "its mark"],
)
def test_a_wake_is_for_the_earliest_moment_at_which_somebody_may_be_asked(share: Share, at: int) -> None:
    line = Line()
    line.gateway = Gateway({A: share, B: Share(since=1, not_before=NOW + DAY)})
    wake = line.happens(Visited()).wake
    assert wake
    assert wake.at == at


def test_a_full_gateway_is_woken_when_a_mark_ends_within_the_interval() -> None:
    line = Line(slots=1)
    line.gateway = Gateway({A: Share(in_progress_until=NOW + 9 * SECOND), B: Share(since=1)})
    wake = line.happens(Visited()).wake
    assert wake
    assert wake.at == NOW + 9 * SECOND


def test_a_wake_for_no_later_time_is_kept() -> None:
    line = full()
    assert line.happens(Enqueued((C,)), after=SECOND).wake is None
    assert line.gateway.wake == Wake("t3", NOW + MINUTE)


def test_a_wake_for_an_earlier_time_replaces_a_later_one() -> None:
    line = Line(slots=2)
    line.asks(A)
    line.happens(Enqueued((A,)))
    todo = line.happens(Enqueued((B,), frozenset({B})))
    assert todo.wake
    assert todo.wake.at == NOW + 5 * SECOND
    assert line.gateway.wake == todo.wake


def test_a_wake_that_was_replaced_only_looks() -> None:
    line = Line(slots=1)
    line.asks(A)
    line.happens(Enqueued((A,)))
    line.happens(Enqueued((B,)))
    wake = line.gateway.wake
    assert line.happens(Woken("t3"), after=SECOND).take is None
    assert line.gateway.wake == wake


def test_a_wake_that_has_come_is_none_any_more() -> None:
    line = full()
    line.happens(Woken("t3"), after=MINUTE)
    assert line.gateway.wake is None


def test_a_wake_that_is_ten_minutes_late_is_lost() -> None:
    line = full()
    assert line.happens(Visited(), after=11 * MINUTE - 1).wake is None
    wake = line.happens(Visited(), after=1).wake
    assert wake
    assert wake.at == line.now + MINUTE


# Claims that lapse


def test_who_comes_by_while_a_claim_lasts_is_woken_when_it_has_lapsed() -> None:
    line = Line()
    line.happens(Enqueued((A,)))
    todo = line.happens(Enqueued((A,)), after=SECOND)
    assert todo.take is None
    assert todo.wake
    assert todo.wake.at == NOW + 70 * SECOND


def test_a_share_whose_claimer_died_waits_again_in_its_old_slot() -> None:
    line = Line(slots=1)
    line.happens(Enqueued((B,)))
    line.happens(Enqueued((A,)), after=1)
    line.happens(Visited(), after=70 * SECOND, may_claim=False)
    assert line.gateway.waiting() == [B, A]


def test_a_share_whose_claimer_died_may_have_been_asked_until_its_end() -> None:
    line = Line()
    line.happens(Enqueued((A,)))
    assert line.happens(Visited(), after=2 * MINUTE - 1).take is None
    assert line.happens(Visited(), after=1).take == A


def test_a_claim_and_its_share_are_free_at_the_same_moment() -> None:
    line = Line(slots=1)
    line.happens(Enqueued((A,)))
    assert line.happens(Enqueued((B,)), after=70 * SECOND - 1).take is None
    assert line.happens(Visited(), after=1).take == B
    assert line.share(A).claim is None


# Completions


def test_a_completion_that_comes_before_the_acceptance_is_noted_leaves_no_mark() -> None:
    line = Line(slots=1)
    line.happens(Enqueued((A,)))
    line.completes(A, "r1", began=NOW)
    line.happens(Enqueued((B,)))
    assert line.accepts(A, "r1", after=SECOND, may_claim=True).take == B
    assert line.share(A).early_completions == ()


def test_a_completion_of_another_refresh_that_comes_early_ends_no_mark() -> None:
    line = Line(slots=1)
    line.happens(Enqueued((A,)))
    line.completes(A, "theirs", began=NOW - HOUR)
    line.accepts(A, "r1")
    assert line.share(A).in_progress_until == NOW + HOUR


def test_a_completion_that_comes_twice_is_told_of_once() -> None:
    line = Line()
    line.asks(A)
    assert line.completes(A).completed
    before = line.gateway
    todo = line.completes(A)
    assert (todo.completed, todo.repeat) == (None, None)
    assert line.gateway == before


# Somebody else's refreshes


def test_a_refresh_accepted_less_than_a_minute_after_somebody_elses_is_repeated_a_minute_after_theirs() -> None:
    line = Line()
    line.asks(A)
    line.completes(A, after=SECOND)
    todo = line.completes(A, "theirs", began=NOW - 20 * SECOND, after=SECOND)
    assert (todo.repeat, todo.take) == (A, None)
    assert line.share(A).not_before >= NOW - 20 * SECOND + MINUTE
    assert line.happens(Visited(), after=MINUTE).take == A


def test_a_refresh_is_repeated_if_somebody_elses_is_known_when_it_is_accepted() -> None:
    line = Line()
    line.completes(A, "theirs", began=NOW - 20 * SECOND)
    line.happens(Enqueued((A,)))
    assert line.accepts(A).repeat == A


@pytest.mark.parametrize("answer", [Busy(A), Refused(A), NothingToAsk(A)], ids=["busy", "refused", "nothing"])
def test_somebody_elses_refresh_that_ends_while_a_share_is_claimed_counts_when_it_is_asked_later(
    answer: GatewayEvent,
) -> None:
    line = Line()
    line.happens(Enqueued((A,)))
    line.completes(A, "theirs", began=NOW - 20 * SECOND)
    line.happens(answer, may_claim=False)
    line.completes(B, "another", began=NOW, after=10 * SECOND, may_claim=False)
    line.happens(Enqueued((A,)))
    assert line.accepts(A).repeat == A


def test_somebody_elses_refresh_that_ends_while_a_share_is_asked_has_it_repeated() -> None:
    line = Line()
    line.happens(Enqueued((A,)))
    line.completes(A, "theirs", began=NOW - 20 * SECOND)
    assert line.accepts(A).repeat == A


@pytest.mark.parametrize("began", [NOW - MINUTE - SECOND + 1, NOW + SECOND], ids=["just before", "just after"])
def test_a_refresh_that_somebody_elses_may_have_made_void_by_clocks_that_differ_is_repeated(began: int) -> None:
    line = Line()
    line.asks(A)
    assert line.completes(A, "theirs", began=began, after=5 * SECOND).repeat == A


@pytest.mark.parametrize("began", [NOW - MINUTE - SECOND, NOW + SECOND + 1], ids=["long before", "after"])
def test_a_refresh_that_somebody_elses_cannot_have_made_void_is_not_repeated(began: int) -> None:
    line = Line()
    line.asks(A)
    assert line.completes(A, "theirs", began=began, after=5 * SECOND).repeat is None
    assert line.gateway.waiting() == []


def test_a_repetition_is_not_repeated() -> None:
    line = Line()
    line.asks(A)
    line.completes(A, "theirs", began=NOW)
    line.completes(A, after=2 * MINUTE, may_claim=False)
    assert line.happens(Visited()).take == A
    line.accepts(A, "r2")
    assert line.share(A).last == Accepted("r2", line.now, NOW, "w1", "NFS", is_repeat=True)
    assert line.completes(A, "theirs again", began=line.now, after=SECOND).repeat is None


def test_a_refresh_is_repeated_once_if_somebody_elses_completion_comes_twice() -> None:
    line = Line()
    line.asks(A)
    assert line.completes(A, "theirs", began=NOW).repeat == A
    assert line.completes(A, "theirs", began=NOW).repeat is None


def test_the_refresh_after_a_repetition_may_be_repeated_again() -> None:
    line = Line()
    line.asks(A)
    line.completes(A, "theirs", began=NOW)
    line.completes(A, after=2 * MINUTE, may_claim=False)
    line.happens(Visited())
    line.accepts(A, "r2")
    line.completes(A, "r2", began=line.now, after=2 * MINUTE)
    line.asks(A, "r3")
    assert line.completes(A, "theirs again", began=line.now).repeat == A


def test_somebody_elses_refresh_of_a_share_that_is_not_known_is_remembered_as_long_as_it_matters() -> None:
    line = Line()
    line.completes(A, "old", began=NOW - HOUR)
    assert line.gateway == Gateway()
    line.completes(A, "new", began=NOW - SECOND)
    assert line.gateway.by_others == {A.share_id: NOW - SECOND}


def test_that_somebody_else_refreshes_a_share_is_remembered_for_a_day() -> None:
    line = Line()
    line.completes(A, "theirs", began=NOW - SECOND)
    line.happens(Visited(), after=DAY - SECOND - 1)
    assert line.gateway.by_others
    line.happens(Visited(), after=1)
    assert not line.gateway.by_others


def test_a_completion_that_does_not_tell_when_it_began_makes_nothing_void() -> None:
    line = Line()
    line.asks(A)
    assert line.completes(A, "theirs", began=0).repeat is None
    assert line.gateway.by_others == {}


# The document


def test_more_than_50_shares_are_remembered_only_if_they_wait_or_are_busy() -> None:
    line = Line(slots=60)
    idle = {Key.read(f"my-bucket/share-{number:02}"): Share(asked_at=NOW - number) for number in range(49)}
    waiting = {Key.read("my-bucket/share-w"): Share(since=1), Key.read("my-bucket/share-b"): Share(since=2)}
    line.gateway = Gateway(idle | waiting)
    line.happens(Visited(), may_claim=False)
    oldest = Key.read("my-bucket/share-48")
    assert line.gateway.shares == {key: share for key, share in (idle | waiting).items() if key != oldest}


def test_50_shares_are_remembered_although_they_are_idle() -> None:
    line = Line()
    line.gateway = Gateway({Key.read(f"my-bucket/share-{number}"): Share(asked_at=number + 1) for number in range(50)})
    line.happens(Visited())
    assert len(line.gateway.shares) == 50


def test_the_document_is_read_as_it_was_written() -> None:
    share = Share(
        since=1,
        not_before=2,
        refusals=3,
        asked_at=4,
        claim=Claim(6, 7),
        last=Accepted("r1", 8, 9, "w1", "SMB", is_repeat=True),
        in_progress_until=10,
        early_completions=(("r2", 11), ("r3", 0)),
        repeats=True,
    )
    everything = Gateway({A: share, B: Share()}, Wake("t1", 12), 13, 14, {"share-9": 15})
    assert Gateway.from_json(everything.to_json()) == everything


def test_the_document_of_a_gateway_that_nobody_has_written_is_empty() -> None:
    assert Gateway.from_json("{}") == Gateway()
    assert Gateway().to_json() == '{"shares":{}}'


def test_the_document_holds_nothing_that_is_not_there() -> None:
    gateway = Gateway({A: Share(since=5)})
    assert gateway.to_json() == '{"shares":{"my-bucket/share-A":{"since":5}}}'


def test_completions_that_come_early_do_not_make_the_document_grow() -> None:
    line = Line()
    line.happens(Enqueued((A,)))
    for number in range(12):
        line.completes(A, f"theirs-{number}", began=NOW - HOUR)
    assert [refresh for refresh, _ in line.share(A).early_completions] == [
        f"theirs-{number}" for number in range(2, 12)
    ]


def test_a_step_leaves_the_document_that_it_is_given_as_it_is() -> None:
    line = Line()
    line.gateway = before = Gateway({A: Share(since=1)})
    line.happens(Visited())
    assert before == Gateway({A: Share(since=1)})


def test_fields_of_another_release_are_not_read() -> None:
    share = {"since": 1, "new": 1, "claim": {"until": 5, "since": 1, "new": 1}}
    share["last"] = {"refresh": "r1", "at": 8, "first_change": 9, "window": "w1", "kind": "NFS", "new": 1}
    text = json.dumps({"shares": {str(A): share}, "wake": {"token": "t", "at": 7, "new": 1}, "new": {}})
    read = Gateway.from_json(text)
    assert read == Gateway(
        {A: Share(since=1, claim=Claim(5, 1), last=Accepted("r1", 8, 9, "w1", "NFS"))}, wake=Wake("t", 7)
    )
