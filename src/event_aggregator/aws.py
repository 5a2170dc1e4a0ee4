"""The SDK's clients: one session, botocore alone (boto3 adds nothing that is used here), bounded waiting."""

import os
import time
from typing import TYPE_CHECKING, Any, cast

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.loaders import Loader

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient
    from types_boto3_sqs import SQSClient
    from types_boto3_storagegateway import StorageGatewayClient

_SPECIAL_ENDPOINTS = {"AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT"}


class UnreadableAnswerError(Exception):
    """AWS answered that a call succeeded, without what that answer must hold: whether it did is unknown."""


# What a call that did not succeed raises: an answer that says no, no answer, or one that says nothing.
AWS_ERRORS = (ClientError, BotoCoreError, UnreadableAnswerError)


class FastLoader(Loader):
    """Loads less of botocore's data than it would itself: a fifth of a cold start.

    It knows by heart which services there are, instead of looking through a folder of 400. And in the place of
    endpoints.json (1.2 MB, for SDKs without endpoint rules) it makes the same form out of the partitions: the rules of
    each service decide its endpoint, and that file only has to agree. With FIPS or dual-stack endpoints it does not, so
    that these read the file.
    """

    def list_available_services(self, type_name: str) -> list[str]:  # noqa: ARG002 - the library's signature
        return ["dynamodb", "s3control", "sqs", "storagegateway"]

    def load_data_with_path(self, name: str) -> tuple[Any, str]:
        if name != "endpoints" or _SPECIAL_ENDPOINTS & os.environ.keys():
            found: tuple[Any, str] = super().load_data_with_path(name)
            return found
        hostname = {"hostname": "{service}.{region}.{dnsSuffix}", "protocols": ["https"], "signatureVersions": ["v4"]}
        partitions = [
            {
                "partition": partition["id"],
                "dnsSuffix": partition["outputs"]["dnsSuffix"],
                "regionRegex": partition["regionRegex"],
                "regions": partition["regions"],
                "defaults": hostname,
                "services": {},
            }
            for partition in self.load_data("partitions")["partitions"]
        ]
        return {"version": 3, "partitions": partitions}, ""


_session = botocore.session.get_session()
_session.register_component("data_loader", FastLoader())
_RETRYING = Config(connect_timeout=3, read_timeout=8, retries={"mode": "standard", "total_max_attempts": 3})
_ONCE = Config(connect_timeout=3, read_timeout=20, retries={"total_max_attempts": 1})


def dynamodb() -> "DynamoDBClient":
    return cast("DynamoDBClient", _session.create_client("dynamodb", config=_RETRYING))


def sqs() -> "SQSClient":
    return cast("SQSClient", _session.create_client("sqs", config=_RETRYING))


def region() -> str:
    """The function's own region."""
    return str(_session.get_config_variable("region"))


def storage_gateway(region: str) -> "StorageGatewayClient":
    return cast("StorageGatewayClient", _session.create_client("storagegateway", region, config=_RETRYING))


def storage_gateway_asking_once(region: str) -> "StorageGatewayClient":
    """For RefreshCache, which must not be repeated behind our back: a repetition is a second refresh too early."""
    return cast("StorageGatewayClient", _session.create_client("storagegateway", region, config=_ONCE))


def s3_control() -> Any:
    return _session.create_client("s3control", config=_RETRYING)


def epoch_ms() -> int:
    """Now, in milliseconds since the epoch: the unit of every time in the state."""
    return time.time_ns() // 1_000_000
