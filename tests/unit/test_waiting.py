"""What waits for a file share, in the real table over moto."""

import pytest

from event_aggregator.file_shares import FileShare
from event_aggregator.table import Key
from event_aggregator.waiting import Changes
from tests.unit.conftest import START, World

KEY = Key.read("my-bucket/share-1")
SHARE = FileShare("arn:aws:storagegateway:us-east-1:1:share/share-1", "NFS", "arn:gateway", "AVAILABLE", "my-bucket")


@pytest.mark.parametrize("widen", [False, True])
def test_it_is_kept_what_is_tried_after_a_refusal(world: World, widen: bool) -> None:
    world.waiting.add(KEY, SHARE, Changes(frozenset({"/a"}), START, "window"), "addition")

    world.waiting.refused(KEY, "busy", unclear=1, widen=widen)

    waits = world.waiting.read(KEY)
    assert (waits.reason, waits.unclear, waits.widen) == ("busy", 1, widen)
