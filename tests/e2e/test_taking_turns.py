"""Several file shares on one gateway take turns, whatever the gateway takes and whoever else refreshes there."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any, Literal

import pytest

from dev.local.gateway import FileShare, StorageGateway
from tests.e2e.conftest import Bucket, eventually

_numbers = itertools.count(1)


@pytest.fixture
def gateway_as_before(gateway: StorageGateway) -> Iterator[StorageGateway]:
    """The simulated gateway, to be changed; it is as it was after the test."""
    names = ("refresh_seconds", "two_accepted_per", "one_running_per", "deliveries", "void_within_seconds")
    before = {name: getattr(gateway, name) for name in names}
    yield gateway
    for name, value in before.items():
        setattr(gateway, name, value)


def shares_on_one_gateway(bucket: Bucket, number: int) -> list[FileShare]:
    gateway_id = f"sgw-turns-{next(_numbers)}"
    return [bucket.share(gateway_id=gateway_id) for _ in range(number)]


def change_until(bucket: Bucket, condition: Callable[[], Any]) -> None:
    number = itertools.count()

    def write() -> Any:
        bucket.put(f"changes/{next(number):04}.dat")
        return condition()

    eventually(write)


@pytest.mark.parametrize("reading", ["gateway", "share"])
def test_four_shares_are_refreshed_in_turn_while_changes_go_on(
    bucket: Bucket, gateway_as_before: StorageGateway, reading: Literal["gateway", "share"]
) -> None:
    gateway = gateway_as_before
    gateway.refresh_seconds, gateway.two_accepted_per, gateway.one_running_per = 1.5, reading, "share"
    shares = shares_on_one_gateway(bucket, 4)

    def counts() -> list[int]:
        return [bucket.refreshes(share) for share in shares]

    change_until(bucket, lambda: min(counts()) >= 3)
    assert max(counts()) - min(counts()) <= 3, "no share is overtaken by more than three"
    bucket.becomes_visible(*shares)


def test_without_any_completion_event_every_share_of_a_gateway_has_its_turn(
    bucket: Bucket, gateway_as_before: StorageGateway
) -> None:
    gateway_as_before.deliveries = lambda _: 0
    shares = shares_on_one_gateway(bucket, 5)
    bucket.put("a.txt")
    bucket.becomes_visible(*shares)


def test_a_gateway_that_others_keep_busy_refreshes_the_share_when_a_place_is_free(
    make_bucket: Callable[[], Bucket], gateway_as_before: StorageGateway
) -> None:
    gateway, bucket, another = gateway_as_before, make_bucket(), make_bucket()
    gateway.two_accepted_per, gateway.one_running_per = "gateway", "share"
    [ours] = shares_on_one_gateway(bucket, 1)
    gateway_id = ours.gateway_arn.rpartition("/")[2]
    for _ in range(2):
        gateway.refresh_by_somebody_else(another.share(gateway_id=gateway_id), ["/"], seconds=6)
    bucket.put("a.txt")
    bucket.becomes_visible(ours)


def test_a_refresh_that_somebody_elses_left_without_effect_is_repeated_once(
    bucket: Bucket, gateway_as_before: StorageGateway
) -> None:
    gateway_as_before.void_within_seconds = 60
    share = bucket.share(gateway_id=f"sgw-turns-{next(_numbers)}")
    gateway_as_before.refresh_by_somebody_else(share, ["/"])
    bucket.put("a.txt")
    bucket.becomes_visible(share)
    ours = [refresh for refresh in gateway_as_before.refreshes if refresh.share is share and refresh.ours]
    assert [refresh.folder_list for refresh in ours] == [["/"], ["/"]]
