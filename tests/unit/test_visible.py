"""The event that tells others that a share shows what changed, as EventBridge gets it."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError
from moto.events.models import EventPattern

from event_aggregator.file_shares import FileShare
from event_aggregator.observability import timestamp
from event_aggregator.visible import DETAIL_TYPE, SOURCE
from tests.unit.conftest import START, Bus, World, fail
from tests.unit.deployed import statements
from tests.unit.shares import HOME, MINUTE, Function, Region, change, completion, share

DUE = START + 30_000


@pytest.fixture
def region(world: World) -> Region:
    return Region(world, [share(prefix="photos/")])


@pytest.fixture
def function(world: World, region: Region) -> Function:
    """A change of /photos/2026/a.jpg has opened a window, whose request is queued."""
    function = Function(world, {HOME: region})
    change(world, "photos/2026/a.jpg")
    return function


def details(world: World) -> list[dict[str, Any]]:
    return [json.loads(entry["Detail"]) for entry in world.bus.sent]


def test_a_complete_refresh_is_told_of_with_what_it_shows_and_since_when(
    world: World, region: Region, function: Function
) -> None:
    window = function.last_request().window
    function.deliver_request()
    world.time += 5_000
    function.complete(region.refreshes[0])
    [entry] = world.bus.sent
    assert (entry["Source"], entry["DetailType"]) == (SOURCE, DETAIL_TYPE)
    assert entry["Resources"] == [region.shares[0].arn, region.shares[0].gateway_arn]
    assert json.loads(entry["Detail"]) == {
        "bucket": "my-bucket",
        "share": "share-1",
        "prefix": "photos/",
        "folders": ["/", "2026"],
        "recursive": False,
        "more-to-come": False,
        "window": window,
        "first-change": timestamp(START),
        "accepted": timestamp(DUE),
        "completed": timestamp(DUE + 5_000),
        "seconds": 35.0,
        "notification-id": "n1",
    }


def test_a_refresh_of_everything_is_one_of_the_root_and_all_that_is_below(
    world: World, region: Region, function: Function
) -> None:
    world.settings["REFRESH_SCOPE"] = "share"
    function.deliver_request()
    function.complete(region.refreshes[0])
    [detail] = details(world)
    assert (detail["folders"], detail["recursive"]) == (["/"], True)


@pytest.mark.parametrize("listed", [None, "/", [], [1]])
def test_folders_that_storage_gateway_does_not_name_are_left_out(
    world: World, region: Region, function: Function, listed: Any
) -> None:
    function.deliver_request()
    event = region.refreshes[0].event(world.time)
    event["detail"]["folderList"] = listed
    function.handle(event)
    [detail] = details(world)
    assert "folders" not in detail


def test_of_folders_that_take_several_refreshes_each_but_the_last_says_that_more_is_to_come(
    world: World, region: Region
) -> None:
    function = Function(world, {HOME: region})
    change(world, *(f"photos/{number}/a.jpg" for number in range(60)))
    function.run()
    assert [(len(detail["folders"]), detail["more-to-come"]) for detail in details(world)] == [(50, True), (11, False)]
    assert len({detail["window"] for detail in details(world)}) == 1


def test_a_completion_that_came_before_the_acceptance_was_noted_is_told_of_by_that(
    world: World, region: Region, function: Function
) -> None:
    def complete_at_once(_: FileShare) -> None:
        function.complete(region.refreshes[0])
        assert world.bus.sent == [], "it is not known yet whose it is"

    region.afterwards = complete_at_once
    function.deliver_request()
    [detail] = details(world)
    assert (detail["folders"], detail["prefix"]) == (["/", "2026"], "photos/")
    assert detail["completed"] == timestamp(DUE)


def test_a_completion_that_is_delivered_again_is_not_told_of_again(
    world: World, region: Region, function: Function
) -> None:
    function.deliver_request()
    function.complete(region.refreshes[0])
    function.complete(region.refreshes[0])
    assert len(world.bus.sent) == 1


def test_a_refresh_of_somebody_elses_is_not_told_of(world: World, region: Region, function: Function) -> None:
    function.deliver_request()
    function.complete(region.refreshed_by_somebody_else(region.shares[0]))
    assert world.bus.calls == 0


def test_a_refresh_that_may_have_had_no_effect_is_told_of_when_its_repeat_is_complete(
    world: World, region: Region, function: Function
) -> None:
    theirs = region.refreshed_by_somebody_else(region.shares[0])
    world.time += 20_000
    function.handle(completion(region.shares[0], theirs.id, world.time, world.time))
    theirs.is_complete = True
    function.deliver_request()
    function.complete(region.refreshes[-1])
    assert world.bus.calls == 0
    function.run()
    [detail] = details(world)
    assert detail["first-change"] == timestamp(START)
    assert detail["accepted"] == timestamp(region.refreshes[-1].at) >= timestamp(START + 20_000 + MINUTE)


def test_who_dies_before_the_completion_is_noted_is_followed_by_one_who_tells_again(
    world: World, region: Region, function: Function
) -> None:
    function.deliver_request()
    fail(world.dynamodb, "UpdateItem")
    with pytest.raises(EndpointConnectionError):
        function.complete(region.refreshes[0])
    function.complete(region.refreshes[0])
    assert len(world.bus.sent) == 2
    assert function.gateway().taken_slots() == 0


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Bus(error=EndpointConnectionError(endpoint_url="test")), "Could not connect to the endpoint URL"),
        (Bus(refusal={"ErrorCode": "ThrottlingException", "ErrorMessage": "Slowly"}), "ThrottlingException: Slowly"),
    ],
    ids=["no answer", "a refusal in an answer"],
)
def test_what_eventbridge_does_not_take_is_logged_and_counted_and_the_place_is_free(
    function: Function,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    answer: Bus,
    reason: str,
) -> None:
    function.deliver_request()
    function.world.bus = answer
    function.complete(function.regions[HOME].refreshes[0])
    assert function.gateway().taken_slots() == 0
    assert answer.calls == 1
    [warning] = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warning.startswith(f"EventBridge did not accept the event Changes Visible of my-bucket/share-1: {reason}")
    assert capsys.readouterr().out.count('"VisibleEventsLost":[1.0]') == 1


def test_nobody_is_told_if_the_setting_is_off(world: World, region: Region, function: Function) -> None:
    world.settings["VISIBLE_EVENTS"] = "off"
    function.deliver_request()
    function.complete(region.refreshes[0])
    assert world.bus.calls == 0


def test_the_role_may_send_events_of_this_source_to_the_default_bus_alone_and_with_the_setting_off_none() -> None:
    sid = "TellThatAShareShowsWhatChanged"
    statement = statements("RefreshRole")[sid]
    assert statement["Action"] == "events:PutEvents"
    assert statement["Resource"] == "arn:aws:events:us-east-1:123456789012:event-bus/default"
    assert statement["Condition"] == {"StringEquals": {"events:source": SOURCE}}
    assert sid not in statements("RefreshRole", VisibleEvents="off")
    assert sid not in statements("AggregatorRole")


# The page about it


PAGE = (Path(__file__).parents[2] / "docs/events.md").read_text()
BLOCKS = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)]
TYPES = {"string": str, "string, UTC": str, "list of strings, or missing": list, "boolean": bool, "number": float}


def test_the_page_tells_of_every_field_and_of_its_type(world: World, region: Region, function: Function) -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| ([^|]+) \|", PAGE, re.MULTILINE)
    function.deliver_request()
    function.complete(region.refreshes[0])
    for detail in (*details(world), BLOCKS[0]["detail"]):
        assert [(name, type(value)) for name, value in detail.items()] == [(name, TYPES[kind]) for name, kind in rows]
    assert (BLOCKS[0]["source"], BLOCKS[0]["detail-type"]) == (SOURCE, DETAIL_TYPE)


def test_the_rule_of_the_page_matches_its_event_and_not_one_of_another_share() -> None:
    event, pattern = BLOCKS[0], EventPattern.load(json.dumps(BLOCKS[1]))
    assert pattern.matches_event(event)
    assert not pattern.matches_event(event | {"detail": event["detail"] | {"share": "share-2"}})
