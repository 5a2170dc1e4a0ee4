"""What a key of the table says, and what the table answers."""

from dataclasses import replace

import pytest
from botocore.exceptions import ClientError

from event_aggregator.table import Attributes, Key, Kind, WindowItem
from event_aggregator.window import Windows
from tests.unit.conftest import START, World

GATEWAY = "arn:aws-us-gov:storagegateway:us-gov-west-1:123456789012:gateway/sgw-1"


@pytest.mark.parametrize(
    ("text", "kind", "parts"),
    [
        ("my.bucket-1", Kind.BUCKET, ("my.bucket-1", "", None, "")),
        ("b/gateways:AROAX/", Kind.WRITER, ("b", "", "AROAX", "")),
        ("b/gateways/", Kind.WRITER, ("b", "", "", "")),
        ("b/eu-west-1/", Kind.REGION, ("b", "eu-west-1", None, "")),
        ("b/eu-west-1:123456789012/", Kind.REGION, ("b", "eu-west-1:123456789012", None, "")),
        ("b/eu-west-1/gateways:AROAX/", Kind.REGION, ("b", "eu-west-1", "AROAX", "")),
        ("b/eu-west-1/gateways/", Kind.REGION, ("b", "eu-west-1", "", "")),
        ("b/share-1", Kind.SHARE, ("b", "", None, "share-1")),
        ("b/eu-west-1/share-1", Kind.SHARE, ("b", "eu-west-1", None, "share-1")),
        ("b/eu-west-1:123456789012/share-1", Kind.SHARE, ("b", "eu-west-1:123456789012", None, "share-1")),
        (GATEWAY, Kind.GATEWAY, ("", "", None, "")),
    ],
)
def test_a_key_says_what_its_item_is_about(text: str, kind: Kind, parts: tuple[str, str, str | None, str]) -> None:
    key = Key.read(text)
    assert key.kind is kind
    assert (key.bucket, key.region, key.writer, key.share_id) == parts
    assert str(key) == text


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (Key.of_writer("b", "AROAX"), "b/gateways:AROAX/"),
        (Key.of_writer("b", ""), "b/gateways/"),
        (Key.of_region("b", "eu-west-1", None), "b/eu-west-1/"),
        (Key.of_region("b", "eu-west-1", "AROAX"), "b/eu-west-1/gateways:AROAX/"),
        (Key.of_region("b", "eu-west-1", ""), "b/eu-west-1/gateways/"),
        (Key.of_share("b", "", "share-1"), "b/share-1"),
        (Key.of_share("b", "eu-west-1", "share-1"), "b/eu-west-1/share-1"),
    ],
)
def test_a_key_that_is_made_of_its_parts_is_the_one_that_is_read(key: Key, text: str) -> None:
    assert str(key) == text
    assert key == Key.read(text)
    assert {key: 1}[Key.read(text)] == 1


def test_an_item_that_is_not_there_holds_nothing(world: World) -> None:
    assert world.windows.read(Key.read("my-bucket")) == WindowItem()
    assert WindowItem().since == 0
    assert not WindowItem().holds(frozenset({"/a"}))


OPEN = WindowItem(window_id="w1", opened_at=START, refreshed_since=START - 9)


@pytest.mark.parametrize(
    ("item", "since"),
    [
        (OPEN, START),
        (replace(OPEN, refreshing_id="w0"), START - 9),
        (replace(OPEN, window_id=None, refreshing_id="w0"), START - 9),
        (replace(OPEN, window_id=None), 0),
    ],
)
def test_a_window_waits_since_its_first_change_or_that_of_a_refresh_that_is_not_finished(
    item: WindowItem, since: int
) -> None:
    assert item.since == since


def test_attributes_that_are_not_there_are_none_zero_and_empty() -> None:
    values = Attributes({"Text": {"S": "a"}, "Number": {"N": "3"}, "Texts": {"SS": ["a", "b"]}})
    assert (values.text("Text"), values.number("Number"), values.texts("Texts")) == ("a", 3, frozenset("ab"))
    assert (values.text("No"), values.number("No"), values.texts("No")) == (None, 0, frozenset())


def test_all_keys_are_found_on_all_pages(world: World) -> None:
    for number in range(5):
        for key in (f"bucket-{number}", f"bucket-{number}/share-1", f"{GATEWAY}{number}"):
            world.dynamodb.put_item(TableName=world.table, Item={"BucketName": {"S": key}})
    pages: list[int] = []
    world.dynamodb.meta.events.register(
        "provide-client-params.dynamodb.Scan", lambda params, **_: pages.append(params.setdefault("Limit", 4))
    )
    found = [str(key) for key, _ in world.windows.everything()]
    assert len(found) == len(set(found)) == 15
    assert len(pages) > 1


def test_an_error_of_the_table_is_raised(world: World) -> None:
    windows = Windows(world.dynamodb, "no-such-table")
    with pytest.raises(ClientError, match="ResourceNotFound"):
        windows.read(Key.read("my-bucket"))
    with pytest.raises(ClientError, match="ResourceNotFound"):
        windows.mark_distributed(Key.read("my-bucket"), "w1")
