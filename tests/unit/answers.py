"""moto, asked directly: what it answers to the functions' most frequent calls, without HTTP; and clients made once.

The functions' own session asks here, every other session asks moto by HTTP, and both meet the same tables and queues.
An expression of DynamoDB is evaluated once for all items that differ in names only (tests/simulation/engine.py).
"""

import copy
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from typing import Any
from unittest.mock import patch

from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from moto.core.exceptions import ServiceException
from moto.core.models import botocore_stubber
from moto.dynamodb.models import DynamoDBBackend, dynamodb_backends
from moto.dynamodb.models.dynamo_type import DynamoType
from moto.sqs.models import SQSBackend, sqs_backends
from werkzeug.exceptions import HTTPException

from event_aggregator import aws
from tests.simulation.engine import Engine, create_table

Json = dict[str, Any]
Answered = tuple[AWSResponse, Json]

_engine = Engine()


def _dynamodb() -> DynamoDBBackend:
    return dynamodb_backends["123456789012"]["us-east-1"]


def _sqs() -> SQSBackend:
    return sqs_backends["123456789012"]["us-east-1"]


def make_table(name: str) -> None:
    create_table(_dynamodb(), name)


def make_queue(name: str) -> str:
    """Its URL."""
    _sqs().create_queue(name)
    return f"https://sqs.us-east-1.amazonaws.com/123456789012/{name}"


def _answered(answer: Json, status: int = 200) -> Answered:
    return AWSResponse("", status, HTTPHeaders(), None), answer | {"ResponseMetadata": {"HTTPStatusCode": status}}


def _get_item(asked: Json) -> Answered:
    item = _item(asked)
    return _answered({"Item": copy.deepcopy(item)} if item else {})


def _update_item(asked: Json) -> Answered | None:
    if asked.get("ReturnValues") != "ALL_NEW":
        return None
    ok, item = _engine.evaluate(_item(asked), asked)
    if item and ok:
        _dynamodb().get_table(asked["TableName"]).put_item(copy.deepcopy(item))
        return _answered({"Attributes": item})
    error = {"Code": "ConditionalCheckFailedException", "Message": "The conditional request failed"}
    return _answered({"Error": error} | ({"Item": item} if item else {}), 400)


def _item(asked: Json) -> Json | None:
    table = _dynamodb().get_table(asked["TableName"])
    item = table.get_item(DynamoType(asked["Key"][table.hash_key_attr]))
    return item.to_json()["Attributes"] if item else None


def _send_message(asked: Json) -> Answered:
    name, delay = asked["QueueUrl"].rpartition("/")[2], asked.get("DelaySeconds")
    message = _sqs().send_message(name, asked["MessageBody"], delay_seconds=delay)
    return _answered({"MessageId": message.id, "MD5OfMessageBody": message.body_md5})


_ANSWERS = {"GetItem": _get_item, "UpdateItem": _update_item, "SendMessage": _send_message}


def _answer(model: Any, params: Json, request_signer: Any, **_: Any) -> Answered | None:
    """None for other calls, and for those that moto refuses: then moto answers by HTTP."""
    answer = _ANSWERS.get(model.name)
    if not answer or not botocore_stubber.enabled or request_signer.region_name != "us-east-1":
        return None
    try:
        return answer(json.loads(params["body"]))
    except (HTTPException, ServiceException):
        return None


# Last, so that a test can count the calls or fail them.
aws.own_session.get_component("event_emitter").register_last("before-call", _answer)

_client = cache(lambda make: make())


@contextmanager
def client(make: Callable[[], Any]) -> Iterator[Any]:
    """The client that `make` makes, which tests share; what is registered with it meanwhile is taken back."""
    made = _client(make)
    events = made.meta.events
    with ExitStack() as undo:

        def noted(register: Callable[..., None], event: str, handler: Any, **more: Any) -> None:
            register(event, handler, **more)
            undo.callback(events.unregister, event, handler)

        for name in ("register", "register_first", "register_last"):
            undo.enter_context(patch.object(events, name, partial(noted, getattr(events, name))))
        yield made
