"""The SDK's clients: one session, botocore alone (boto3 adds nothing that is used here), bounded waiting."""

import time
from typing import TYPE_CHECKING, cast

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.loaders import Loader

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient
    from types_boto3_sqs import SQSClient
    from types_boto3_storagegateway import StorageGatewayClient

# What a call that did not succeed raises: an answer that says no, or no answer.
AWS_ERRORS = (ClientError, BotoCoreError)


class _FewServices(Loader):
    """Knows by heart which services there are: looking for them, in a folder of 400, is a tenth of a cold start."""

    def list_available_services(self, type_name: str) -> list[str]:  # noqa: ARG002 - the library's signature
        return ["dynamodb", "sqs", "storagegateway"]


_session = botocore.session.get_session()
_session.register_component("data_loader", _FewServices())
_RETRYING = Config(connect_timeout=3, read_timeout=8, retries={"mode": "standard", "total_max_attempts": 3})
_ONCE = Config(connect_timeout=3, read_timeout=20, retries={"total_max_attempts": 1})


def dynamodb() -> "DynamoDBClient":
    return cast("DynamoDBClient", _session.create_client("dynamodb", config=_RETRYING))


def sqs() -> "SQSClient":
    return cast("SQSClient", _session.create_client("sqs", config=_RETRYING))


def storage_gateway() -> "StorageGatewayClient":
    return cast("StorageGatewayClient", _session.create_client("storagegateway", config=_RETRYING))


def storage_gateway_asking_once() -> "StorageGatewayClient":
    """For RefreshCache, which must not be repeated behind our back: a repetition is a second refresh too early."""
    return cast("StorageGatewayClient", _session.create_client("storagegateway", config=_ONCE))


def epoch_ms() -> int:
    """Now, in milliseconds since the epoch: the unit of every time in the state."""
    return time.time_ns() // 1_000_000
