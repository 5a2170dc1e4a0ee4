"""The two Lambda modules as Lambda loads and calls them."""

import importlib
import json
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from dev.local.gateway import StorageGateway
from event_aggregator import __version__, aws
from event_aggregator.settings import SettingError
from tests.unit.conftest import World, s3_event, s3_record

CONTEXT = SimpleNamespace(
    function_name="test",
    memory_limit_in_mb=256,
    invoked_function_arn="arn:aws:lambda:us-east-1:123456789012:function:test",
    aws_request_id="request-1",
    get_remaining_time_in_millis=lambda: 60_000,
)


def load(module: str, monkeypatch: pytest.MonkeyPatch, **environment: str) -> Any:
    for name, value in {"AGGREGATOR_ARN": "a", **environment}.items():
        monkeypatch.setenv(name, value)
    sys.modules.pop(module, None)
    return importlib.import_module(module)


def message(message_id: str, body: Any, receives: int = 1) -> dict[str, Any]:
    """An SQS record as Lambda's poller hands it over, having received it so often."""
    return {
        "messageId": message_id,
        "receiptHandle": f"handle of {message_id}",
        "attributes": {"ApproximateReceiveCount": str(receives)},
        "body": body if isinstance(body, str) else json.dumps(body),
        "messageAttributes": {},
    }


def test_the_aggregator_opens_a_window_for_an_s3_event(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    module = load("s3_aggregator", monkeypatch, TABLE_NAME=world.table, QUEUE_URL=world.queue_url)
    module.lambda_handler(s3_event(s3_record()), CONTEXT)
    assert world.item().window_id


@pytest.mark.parametrize("module", ["s3_aggregator", "s3_sgw_refresh"])
def test_a_bad_setting_stops_the_function_at_its_start(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingError, match="REFRESH_DELAY_SECONDS"):
        load(module, monkeypatch, TABLE_NAME="t", QUEUE_URL="q", REFRESH_DELAY_SECONDS="soon")


@pytest.mark.parametrize("module", ["s3_aggregator", "s3_sgw_refresh"])
def test_the_first_line_of_a_function_says_its_version(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, module: str
) -> None:
    load(module, monkeypatch, TABLE_NAME=world.table, QUEUE_URL=world.queue_url, MIN_REFRESH_INTERVAL_SECONDS="1")
    assert caplog.records[0].levelname == "INFO"
    assert caplog.records[0].getMessage() == f"s3-event-aggregator {__version__} starts"


@pytest.mark.parametrize(("seconds", "warnings"), [("59", 1), ("60", 0), ("90,share-1=59", 1), ("59,share-1=90", 1)])
def test_the_refresh_function_warns_once_of_an_interval_that_is_shorter_than_aws_asks_for(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, seconds: str, warnings: int
) -> None:
    variables = {"TABLE_NAME": world.table, "QUEUE_URL": world.queue_url, "MIN_REFRESH_INTERVAL_SECONDS": seconds}
    module = load("s3_sgw_refresh", monkeypatch, **variables)
    for number in "12":
        module.lambda_handler({"Records": [message(number, {"sweep": True})]}, CONTEXT)
    told = [record for record in caplog.records if record.levelname == "WARNING"]
    assert len(told) == warnings
    assert all("MIN_REFRESH_INTERVAL_SECONDS is 59: AWS asks for 60 s" in record.getMessage() for record in told)


def test_a_failed_message_is_reported_and_does_not_stop_the_others(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    module = load("s3_sgw_refresh", monkeypatch, TABLE_NAME=world.table, QUEUE_URL=world.queue_url)
    records = [message("bad", "hello"), message("good", {"requestPayload": s3_event(s3_record())})]
    assert module.lambda_handler({"Records": records}, CONTEXT) == {"batchItemFailures": [{"itemIdentifier": "bad"}]}
    assert world.item().window_id
    assert "The message is not JSON" in caplog.text


def test_a_batch_that_fails_whole_is_reported_message_by_message(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    module = load("s3_sgw_refresh", monkeypatch, TABLE_NAME=world.table, QUEUE_URL=world.queue_url)
    answer = module.lambda_handler({"Records": [message("1", "hello"), message("2", "[]")]}, CONTEXT)
    assert [failure["itemIdentifier"] for failure in answer["batchItemFailures"]] == ["1", "2"]


@pytest.mark.parametrize(("receives", "seconds"), [(1, 5), (2, 10), (7, 320), (8, 360)])
def test_a_message_that_failed_comes_again_after_seconds_and_the_more_it_failed_the_later(
    world: World, monkeypatch: pytest.MonkeyPatch, receives: int, seconds: int
) -> None:
    world.sqs.send_message(QueueUrl=world.queue_url, MessageBody="hello")
    [received] = world.sqs.receive_message(QueueUrl=world.queue_url)["Messages"]
    asked: list[dict[str, Any]] = []
    world.sqs.meta.events.register(
        "provide-client-params.sqs.ChangeMessageVisibility", lambda params, **_: asked.append(params)
    )
    monkeypatch.setattr(aws, "sqs", lambda: world.sqs)
    module = load("s3_sgw_refresh", monkeypatch, TABLE_NAME=world.table, QUEUE_URL=world.queue_url)

    handle = {"receiptHandle": received["ReceiptHandle"]}
    answer = module.lambda_handler({"Records": [message("1", "hello", receives) | handle]}, CONTEXT)

    assert answer == {"batchItemFailures": [{"itemIdentifier": "1"}]}
    assert asked == [
        {"QueueUrl": world.queue_url, "ReceiptHandle": received["ReceiptHandle"], "VisibilityTimeout": seconds}
    ]


def test_a_message_that_cannot_be_had_earlier_is_still_reported_for_what_failed_first(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    module = load("s3_sgw_refresh", monkeypatch, TABLE_NAME=world.table, QUEUE_URL=world.queue_url)

    answer = module.lambda_handler({"Records": [message("1", "hello")]}, CONTEXT)  # which nobody received

    assert answer == {"batchItemFailures": [{"itemIdentifier": "1"}]}
    _starts, failed, not_earlier = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert failed == ("ERROR", "The message failed; SQS will deliver it again")
    assert not_earlier[0] == "WARNING"
    assert "only after its visibility timeout: An error occurred (ReceiptHandleIsInvalid)" in not_earlier[1]


def test_a_message_that_succeeds_makes_no_client_of_the_queue(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    monkeypatch.setattr(aws, "sqs", lambda: made.append("sqs"))
    module = load("s3_sgw_refresh", monkeypatch, TABLE_NAME=world.table, QUEUE_URL=world.queue_url)
    assert module.lambda_handler({"Records": [message("1", {"sweep": True})]}, CONTEXT) == {"batchItemFailures": []}
    assert made == []


def test_the_refresh_function_asks_every_region_of_the_settings_and_goes_by_its_own_to_know_its_home(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with StorageGateway(None, refresh_seconds=0) as gateway:
        shares = [gateway.add_share("my-bucket", region=region) for region in ("us-east-1", "eu-west-1", "eu-west-2")]
        for share in shares:
            share.list_objects = lambda _: ([], [])
        module = load(
            "s3_sgw_refresh",
            monkeypatch,
            TABLE_NAME=world.table,
            QUEUE_URL=world.queue_url,
            GATEWAY_REGIONS="us-east-1,eu-west-1",
            AWS_ENDPOINT_URL_STORAGE_GATEWAY=gateway.endpoint_url,
        )
        refresh_all = message("1", "{}") | {
            "messageAttributes": {"bucket-name": {"stringValue": "my-bucket", "dataType": "String"}}
        }
        assert module.lambda_handler({"Records": [refresh_all]}, CONTEXT) == {"batchItemFailures": []}
        for _ in range(2):  # a request for each region
            [request] = world.sqs.receive_message(QueueUrl=world.queue_url)["Messages"]
            module.lambda_handler({"Records": [message("2", request["Body"])]}, CONTEXT)
    assert [refresh.share for refresh in gateway.refreshes] == shares[:2]
    for share in shares[:2]:
        [known] = world.gateway(share.gateway_arn).shares.values()
        assert known.last is not None


def test_an_absorbed_change_writes_no_line_of_its_own(
    world: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    module = load("s3_aggregator", monkeypatch, TABLE_NAME=world.table, QUEUE_URL=world.queue_url)
    for number in range(9):
        module.lambda_handler(s3_event(s3_record(f"a{number}")), CONTEXT)
    capfd.readouterr()
    caplog.clear()
    module.lambda_handler(s3_event(s3_record("b")), CONTEXT)
    assert capfd.readouterr() == ("", "")
    assert caplog.text == ""
