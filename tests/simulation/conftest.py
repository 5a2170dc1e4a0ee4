"""What tests of the simulation share."""

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _seldom_collected() -> Iterator[None]:
    """Cyclic garbage is looked for among a million new objects, not 700: a search keeps nearly all that it makes."""
    before = gc.get_threshold()
    gc.set_threshold(1_000_000, *before[1:])
    yield
    gc.set_threshold(*before)
