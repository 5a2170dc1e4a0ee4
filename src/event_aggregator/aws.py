"""The clients of AWS services: one session, limited waiting, and botocore alone, because nothing here needs boto3."""

import os
import re
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import botocore.session
from botocore.config import Config
from botocore.credentials import (
    AssumeRoleCredentialFetcher,
    CredentialProvider,
    CredentialResolver,
    DeferredRefreshableCredentials,
)
from botocore.exceptions import ClientError
from botocore.loaders import Loader
from botocore.session import Session

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient
    from types_boto3_sqs import SQSClient
    from types_boto3_storagegateway import StorageGatewayClient

_SPECIAL_ENDPOINTS = {"AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT"}


class FastLoader(Loader):
    """Loads less of botocore's data than botocore's own loader. This saves a fifth of a cold start.

    It lists the services that are used, instead of searching a folder of 400. It builds a small replacement of
    endpoints.json (1.2 MB) from the partitions: the endpoint rules of each service decide its endpoint, and the file
    only must not contradict them. With FIPS or dual-stack endpoints the replacement would, so it loads the file.
    """

    def list_available_services(self, type_name: str) -> list[str]:  # noqa: ARG002 - botocore's signature
        return ["dynamodb", "events", "iam", "lambda", "s3", "s3control", "sqs", "storagegateway", "sts"]

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


def _new_session() -> Session:
    session = botocore.session.get_session()
    session.register_component("data_loader", FastLoader())
    return session


own_session = _new_session()
_RETRYING = Config(connect_timeout=3, read_timeout=8, retries={"mode": "standard", "total_max_attempts": 3})
_BRIEFLY = Config(connect_timeout=2, read_timeout=3, retries={"mode": "standard", "total_max_attempts": 2})
# Without this, botocore calls S3 in us-east-1 by its old global name, which the partitions do not hold.
REGIONAL = Config(s3={"us_east_1_regional_endpoint": "regional"})
_ONCE = Config(connect_timeout=3, read_timeout=20, retries={"total_max_attempts": 1})


def dynamodb() -> "DynamoDBClient":
    return cast("DynamoDBClient", own_session.create_client("dynamodb", config=_RETRYING))


def sqs() -> "SQSClient":
    return cast("SQSClient", own_session.create_client("sqs", config=_RETRYING))


def events() -> Any:
    """EventBridge. A refresh must not wait long for it: two attempts take at most 10 s and the pause between them."""
    return own_session.create_client("events", config=_BRIEFLY)


def region() -> str:
    """The function's own region."""
    return str(own_session.get_config_variable("region"))


class _InRole(CredentialProvider):
    """The credentials of a role. It is assumed when a call first needs them, and again before they expire."""

    METHOD = "assume-role"

    def __init__(self, role_arn: str, external_id: str) -> None:
        super().__init__()
        self._role_arn = role_arn
        self._external_id = external_id

    def load(self) -> DeferredRefreshableCredentials:
        fetcher = AssumeRoleCredentialFetcher(
            client_creator=partial(own_session.create_client, config=_RETRYING),
            source_credentials=own_session.get_credentials(),
            role_arn=self._role_arn,
            extra_args={
                "RoleSessionName": "s3-event-aggregator",
                **({"ExternalId": self._external_id} if self._external_id else {}),
            },
        )
        assume = partial(self._assume, fetcher.fetch_credentials)
        return DeferredRefreshableCredentials(refresh_using=assume, method=self.METHOD)

    def _assume(self, fetch: Callable[[], Any]) -> Any:
        try:
            return fetch()
        except ClientError as error:
            answer: Any = error.response
            advice = _with_advice(answer, self._role_arn, self._external_id)
            told: Any = {**answer, "Error": {**answer["Error"], "Message": advice}}
            raise ClientError(told, error.operation_name) from error


def _with_advice(answer: Any, role_arn: str, external_id: str) -> str:
    """STS's message. If it may be the role's trust policy that denies, also what this policy must allow.

    If another policy denies, STS's message says so (IAM user guide, troubleshoot_access-denied).
    """
    message = str(answer["Error"].get("Message", ""))
    caller = re.search(r"arn:(aws[a-z-]*):sts::([0-9]{12}):assumed-role/([^/ ]+)/", message)
    if answer["Error"]["Code"] != "AccessDenied" or "identity-based" in message or "explicit deny" in message:
        return message
    start = f"arn:{caller[1]}:iam::{caller[2]}" if caller else ""
    who = f"{start}:root if aws:PrincipalArn is {start}:role/{caller[3]}" if caller else "the refresh function's role"
    if external_id:
        secret = f" and sts:ExternalId is {external_id}"
    else:
        secret = f"; if it requires an sts:ExternalId, set GATEWAY_EXTERNAL_IDS={role_arn.split(':')[4]}=ID"
    return f"{message.rstrip('.')}. The role's trust policy must allow sts:AssumeRole to {who}{secret}"


def session_in_role(role_arn: str, external_id: str = "") -> Session:
    """A session for calls in another account. If the role cannot be assumed, each call raises STS's error."""
    session = _new_session()
    session.register_component("credential_provider", CredentialResolver([_InRole(role_arn, external_id)]))
    return session


def storage_gateway(session: Session, region: str) -> "StorageGatewayClient":
    return cast("StorageGatewayClient", session.create_client("storagegateway", region, config=_RETRYING))


def storage_gateway_without_retries(session: Session, region: str) -> "StorageGatewayClient":
    """For RefreshCache: if botocore retried the call, that would be a second refresh, too early."""
    return cast("StorageGatewayClient", session.create_client("storagegateway", region, config=_ONCE))


def s3_control(session: Session) -> Any:
    return session.create_client("s3control", config=_RETRYING)


def iam(session: Session) -> Any:
    return session.create_client("iam", config=_RETRYING)


def client_without_retries(service: str) -> Any:
    """For calls that can be left out if the service does not answer."""
    return own_session.create_client(service, config=_ONCE.merge(REGIONAL))


def epoch_ms() -> int:
    """The time now, in epoch milliseconds."""
    return time.time_ns() // 1_000_000
