"""A gateway's document in the table: who writes it at the same time, with an old memory, or twice; and its wakes."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from event_aggregator.gateways import Delivery
from event_aggregator.request import WakeRequest
from event_aggregator.table import Key
from event_aggregator.turns import Asked, Completed, Enqueued, Gateway, Visited, Wake, Woken
from tests.unit.conftest import START, World, fail
from tests.unit.shares import GATEWAY

KEY = Key.read(GATEWAY)
ONE, TWO, THREE, FOUR = (Key.read(f"my-bucket/share-{number}") for number in (1, 2, 3, 4))
MINUTE = 60_000


def delivery(message_id: str = "message-1") -> Delivery:
    return Delivery(message_id, START + MINUTE)


def asked(key: Key, refresh: str = "n1") -> Asked:
    return Asked(key, refresh, until=START + 3_600_000, first_change=START, window="w1", kind="NFS")


def tokens(world: World) -> list[str]:
    """Of the wakes that were sent, in their order."""
    return [json.loads(body)["token"] for body in world.wakes()]


def before_write(world: World, number: int, do: Callable[[], object]) -> None:
    """Do something when the write with this number, from 1, is about to be made."""
    writes = 0

    def count_write(**_: Any) -> None:
        nonlocal writes
        writes += 1
        if writes == number:
            do()

    world.dynamodb.meta.events.register("provide-client-params.dynamodb.UpdateItem", count_write)


def test_a_gateway_that_nobody_has_written_is_empty(world: World) -> None:
    assert world.gateways.read(KEY) == Gateway()


def test_what_is_written_is_read_back_by_a_container_that_starts(world: World) -> None:
    gateways = world.gateways
    gateways.apply(KEY, Enqueued((ONE, TWO, THREE)), delivery())
    gateways.apply(KEY, asked(ONE), delivery())
    gateways.apply(KEY, Completed("share-9", "theirs", START - 1_000), delivery("message-2"), may_claim=False)
    assert world.gateway(GATEWAY) == gateways.known[KEY][0]
    assert world.gateway(GATEWAY).shares[ONE].last


def test_two_that_write_at_the_same_time_see_each_other(world: World) -> None:
    first, second = world.gateways, world.gateways
    first.read(KEY)
    before_write(world, 1, lambda: second.apply(KEY, Enqueued((TWO,)), delivery("message-2")))
    todo = first.apply(KEY, Enqueued((ONE, THREE)), delivery())
    assert todo
    assert todo.take == ONE
    assert {key for key, share in world.gateway(GATEWAY).shares.items() if share.claim} == {ONE, TWO}
    assert world.gateway(GATEWAY).waiting() == [THREE]


def test_a_write_that_the_sdk_repeats_since_its_answer_was_lost_counts_once(world: World) -> None:
    """The repeated write finds the version that it has written itself, and the condition does not hold."""
    gateways = world.gateways
    repeats: list[dict[str, Any]] = []

    def write_first(params: dict[str, Any], **_: Any) -> None:
        if not repeats:
            repeats.append(params)
            world.dynamodb.update_item(**params)

    world.dynamodb.meta.events.register("provide-client-params.dynamodb.UpdateItem", write_first)
    todo = gateways.apply(KEY, Enqueued((ONE,)), delivery())
    assert len(repeats) == 1
    assert todo
    assert todo.take == ONE, "it is claimed for this very delivery, which goes on"
    assert world.gateway(GATEWAY) == gateways.known[KEY][0]


def test_a_container_whose_memory_is_right_writes_without_a_read(world: World) -> None:
    gateways = world.gateways
    gateways.apply(KEY, Enqueued((ONE,)), delivery())
    reads: list[str] = []
    world.dynamodb.meta.events.register("before-call.dynamodb.GetItem", lambda **_: reads.append("read"))
    gateways.apply(KEY, asked(ONE), delivery())
    gateways.apply(KEY, Completed("share-1", "n1", START), delivery("message-2"))
    assert reads == []


def test_a_container_that_remembers_a_share_as_waiting_puts_it_into_the_line_all_the_same(world: World) -> None:
    old = world.gateways
    old.apply(KEY, Enqueued((ONE, TWO, THREE)), delivery(), may_claim=False)
    for number, key in enumerate((ONE, TWO, THREE)):
        world.gateways.apply(KEY, Visited(), delivery(f"other-{number}"), queues_wake=False)
        world.gateways.apply(
            KEY, asked(key, f"n{number}"), delivery(f"other-{number}"), may_claim=False, queues_wake=False
        )
        world.gateways.apply(KEY, Completed(key.share_id, f"n{number}", START), delivery("c"), may_claim=False)
    assert world.gateway(GATEWAY).waiting() == []
    old.apply(KEY, Enqueued((THREE,)), delivery("message-9"), may_claim=False)
    assert world.gateway(GATEWAY).waiting() == [THREE]


def test_a_completion_without_a_time_frees_the_place_though_the_container_remembers_no_refresh(world: World) -> None:
    old = world.gateways
    old.apply(KEY, Enqueued((ONE, TWO)), delivery(), may_claim=False)
    other = world.gateways
    other.apply(KEY, Visited(), delivery("other"))
    other.apply(KEY, asked(ONE), delivery("other"), may_claim=False)
    todo = old.apply(KEY, Completed("share-1", "n1", 0), delivery("message-2"), may_claim=False)
    assert todo
    assert todo.completed
    assert world.gateway(GATEWAY).taken_slots() == 0


def test_a_container_that_remembers_a_claim_which_is_over_takes_the_next_turn(world: World) -> None:
    old = world.gateways
    old.apply(KEY, Enqueued((ONE,)), delivery())
    other = world.gateways
    other.apply(KEY, asked(ONE), delivery(), may_claim=False)
    todo = old.apply(KEY, Enqueued((TWO,)), delivery())
    assert todo
    assert todo.take == TWO


def test_nothing_is_written_if_that_is_so_decided_from_what_follows(world: World) -> None:
    gateways = world.gateways
    seen: list[tuple[list[Key], Key | None]] = []

    def decide(before: Gateway, after: Gateway, todo: Any) -> bool:
        seen.append((before.waiting(), todo.take))
        return after == before

    assert gateways.apply(KEY, Enqueued((ONE,)), delivery(), before_writing=decide) is None
    assert seen == [([], ONE)]
    assert world.gateway(GATEWAY) == Gateway()


def test_what_must_be_done_before_the_write_is_done_again_for_the_document_that_is_met(world: World) -> None:
    first, second = world.gateways, world.gateways
    first.read(KEY)
    seen: list[list[Key]] = []

    def note(before: Gateway, *_: Any) -> bool:
        seen.append(list(before.shares))
        return True

    before_write(world, 1, lambda: second.apply(KEY, Enqueued((TWO,)), delivery("message-2")))
    first.apply(KEY, Enqueued((ONE,)), delivery(), before_writing=note)
    assert seen == [[], [TWO]]


# Wakes


def test_a_wake_is_sent_once_however_much_happens_until_it_comes(world: World) -> None:
    gateways = world.gateways
    gateways.apply(KEY, Enqueued((ONE, TWO, THREE, FOUR)), delivery(), may_claim=False)
    wake = world.gateway(GATEWAY).wake
    assert wake
    for number in range(5):
        world.time += 100
        gateways.apply(KEY, Visited(), delivery(f"message-{number}"), may_claim=False)
    assert tokens(world) == [wake.token]
    assert wake.at == START


def test_a_wake_goes_round_with_a_delay_of_a_second_at_least(world: World) -> None:
    world.gateways.apply(KEY, Enqueued((ONE,)), delivery(), may_claim=False)
    assert world.sent[-1]["DelaySeconds"] == 1


def test_a_wake_is_queued_before_the_document_names_it(world: World) -> None:
    fail(world.sqs, "SendMessage")
    with pytest.raises(EndpointConnectionError):
        world.gateways.apply(KEY, Enqueued((ONE,)), delivery(), may_claim=False)
    assert world.gateway(GATEWAY).wake is None
    world.gateways.apply(KEY, Enqueued((ONE,)), delivery(), may_claim=False)
    wake = world.gateway(GATEWAY).wake
    assert wake
    assert tokens(world) == [wake.token]


def test_who_dies_after_it_has_queued_a_wake_and_comes_again_queues_one_that_the_document_names(world: World) -> None:
    fail(world.dynamodb, "UpdateItem")
    with pytest.raises(EndpointConnectionError):
        world.gateways.apply(KEY, Enqueued((ONE,)), delivery(), may_claim=False)
    world.gateways.apply(KEY, Enqueued((ONE,)), delivery(), may_claim=False)
    wake = world.gateway(GATEWAY).wake
    assert wake
    assert len(tokens(world)) == 2
    assert tokens(world)[-1] == wake.token


def test_a_wake_that_was_replaced_takes_a_turn_and_leaves_the_one_that_is_named(world: World) -> None:
    gateways = world.gateways
    gateways.apply(KEY, Enqueued((ONE,)), delivery(), may_claim=False)
    named = world.gateway(GATEWAY).wake
    todo = gateways.apply(KEY, Woken("another"), delivery("message-2"))
    assert todo
    assert todo.take == ONE
    assert world.gateway(GATEWAY).wake == named


def test_a_wake_that_comes_before_it_is_named_has_whoever_names_it_look_again(world: World) -> None:
    first = world.gateways
    first.read(KEY)

    def come_at_once() -> None:
        world.gateways.apply(KEY, Woken(tokens(world)[0]), delivery("message-2"))

    before_write(world, 1, come_at_once)
    first.apply(KEY, Enqueued((ONE,)), delivery(), may_claim=False)
    wake = world.gateway(GATEWAY).wake
    assert wake
    assert tokens(world).index(wake.token) == 1, "not the one that has come"


def test_a_wake_is_read_back_as_it_was_named(world: World) -> None:
    wake = Wake("t1", START + 5_000)
    world.gateways.queue_wake(KEY, wake)
    [body] = world.wakes()
    assert json.loads(body) == {"version": 1, **WakeRequest(KEY, "t1").content()}
    assert world.sent[-1]["DelaySeconds"] == 5
