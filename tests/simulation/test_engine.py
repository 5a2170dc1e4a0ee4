"""The simulation's table answers as moto does, though it asks moto seldom, and by other names."""

import json
from typing import Any

import pytest
from moto.dynamodb.exceptions import ConditionalCheckFailed

from tests.simulation import engine, scenarios
from tests.simulation.engine import Attributes, Engine, Row
from tests.simulation.schedules import Search

HANDLER = engine._Handler()


def by_moto(item: Attributes | None, parameters: Attributes) -> tuple[bool, Attributes | None]:
    """What moto answers if it is asked for exactly this, with nothing remembered."""
    try:
        answer = HANDLER.ask("update_item", parameters, [item] if item is not None else [])
    except ConditionalCheckFailed as failed:
        return False, json.loads(failed.description).get("Item")
    return True, json.loads(json.dumps(answer["Attributes"]))


def sorted_sets(item: Attributes | None) -> Attributes | None:
    return item and {
        name: {kind: sorted(value) if kind == "SS" else value for kind, value in typed.items()}
        for name, typed in item.items()
    }


@pytest.mark.parametrize("name", ["TWO_WINDOWS", "QUIET_AT_THE_CLOSE"])
def test_every_third_answer_is_that_of_moto(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    asked: dict[tuple[str, str], tuple[bool, Attributes | None]] = {}
    update = Engine.update

    def noted(self: Engine, row: Row | None, text: str, parameters: Any) -> tuple[bool, Row | None]:
        ok, after = update(self, row, text, parameters)
        asked[row.text if row else "", text] = ok, after.attributes if after else None
        return ok, after

    monkeypatch.setattr(Engine, "update", noted)
    Search(getattr(scenarios, name), deaths=1, preemptions=0, faults=True).run()
    assert len(asked) > 500
    for (row, text), (ok, after) in [*asked.items()][::3]:
        parameters = json.loads(text)
        item = json.loads(row) | parameters["Key"] if row else None
        expected_ok, expected = by_moto(item, parameters)
        assert (ok, after) == (expected_ok, sorted_sets(expected)), text
