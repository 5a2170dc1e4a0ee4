"""The shortcuts on the way to a client lead to the same endpoints as botocore's own data."""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import botocore.session
import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import ClientError
from botocore.session import Session
from moto import mock_aws
from moto.core.botocore_stubber import MockRawResponse

from event_aggregator import aws
from event_aggregator.aws import FastLoader
from event_aggregator.failures import Failure, error_text, meaning


class NotSentError(Exception):
    """In the place of a call over the network."""


def endpoints(session: Session, region: str) -> list[tuple[str, ...]]:
    """Where, and signed for what, each of the services is called in a region."""
    found: list[tuple[str, ...]] = []

    def stop(request: Any, signing_name: str, region_name: str, **_: Any) -> None:
        found.append((request.url, signing_name, region_name))
        raise NotSentError

    calls: list[tuple[Any, str, dict[str, str]]] = [
        ("dynamodb", "list_tables", {}),
        ("events", "list_rules", {}),
        ("lambda", "list_functions", {}),
        ("s3", "get_bucket_notification_configuration", {"Bucket": "my-bucket"}),
        ("s3control", "list_access_points", {"AccountId": "123456789012"}),
        ("sqs", "list_queues", {}),
        ("storagegateway", "list_tapes", {}),
        ("sts", "get_caller_identity", {}),
    ]
    for service, operation, parameters in calls:
        config = deepcopy(aws.REGIONAL)  # create_client writes into it
        client = session.create_client(service, region_name=region, config=config)
        client.meta.events.register("before-sign", stop)
        with pytest.raises(NotSentError):
            getattr(client, operation)(**parameters)
    return found


def fast() -> Session:
    session = botocore.session.get_session()
    session.register_component("data_loader", FastLoader())
    return session


def plain() -> Session:
    return botocore.session.get_session()


@pytest.mark.parametrize(
    "region",
    [
        "us-east-1",
        "eu-central-1",
        "ap-southeast-5",
        "cn-north-1",
        "us-gov-west-1",
        "eusc-de-east-1",
        "us-iso-east-1",
        "xx-new-1",
    ],
)
def test_every_service_is_called_where_botocore_would_call_it(region: str) -> None:
    assert endpoints(fast(), region) == endpoints(plain(), region) != []


@pytest.mark.parametrize("variable", ["AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT"])
def test_special_endpoints_are_botocores_own(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "true")
    assert endpoints(fast(), "us-east-1") == endpoints(plain(), "us-east-1")


def test_a_refresh_waits_for_eventbridge_for_two_short_attempts_at_most() -> None:
    config = aws.events().meta.config
    assert (config.connect_timeout, config.read_timeout, config.retries["total_max_attempts"]) == (2, 3, 2)


@pytest.fixture
def moto() -> Iterator[None]:
    with mock_aws():
        yield


@pytest.mark.usefixtures("moto")
def test_a_session_in_a_role_calls_as_that_role_which_is_assumed_once() -> None:
    session = aws.session_in_role("arn:aws:iam::210987654321:role/gateways")
    sts: Any = session.create_client("sts")
    callers = [sts.get_caller_identity()["Arn"] for _ in range(2)]
    assert callers == ["arn:aws:sts::210987654321:assumed-role/gateways/s3-event-aggregator"] * 2
    credentials = session.get_credentials()
    assert credentials
    assert credentials.get_frozen_credentials() == credentials.get_frozen_credentials()


GATEWAYS = "arn:aws:iam::210987654321:role/gateways"
SESSION = "arn:aws:sts::123456789012:assumed-role/S3AggregatorActionLambdaRole/S3StorageGatewayRefresh"
NOT_TRUSTED = f"User: {SESSION} is not authorized to perform: sts:AssumeRole on resource: {GATEWAYS}"


def denied(message: str, external_id: str = "", code: str = "AccessDenied") -> ClientError:
    """How a call in the role GATEWAYS fails, if STS answers this."""
    body = f"<ErrorResponse><Error><Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"

    def deny(**_: Any) -> Any:
        return AWSResponse("test", 403, HTTPHeaders(), MockRawResponse(body.encode()))

    client = aws.storage_gateway(aws.session_in_role(GATEWAYS, external_id), "eu-west-1")
    aws.own_session.register("before-send.sts.AssumeRole", deny)
    try:
        with pytest.raises(ClientError, match=rf"{code}.* when calling the AssumeRole operation") as raised:
            client.list_file_shares()
    finally:
        aws.own_session.unregister("before-send.sts.AssumeRole", deny)
    return raised.value


@pytest.mark.usefixtures("moto")
@pytest.mark.parametrize("external_id", ["", "secret"])
def test_an_external_id_is_given_when_the_role_is_assumed(external_id: str) -> None:
    asked: list[dict[str, Any]] = []

    def see(**call: Any) -> None:
        asked.append(call["params"])

    aws.own_session.register("provide-client-params.sts.AssumeRole", see)
    client: Any = aws.session_in_role(GATEWAYS, external_id).create_client("sts")
    client.get_caller_identity()
    aws.own_session.unregister("provide-client-params.sts.AssumeRole", see)
    assert [params.get("ExternalId", "") for params in asked] == [external_id]


@pytest.mark.usefixtures("moto")
def test_a_role_that_cannot_be_assumed_fails_the_call_by_what_sts_answered() -> None:
    error = denied("no")
    assert meaning(error) is Failure.DENIED
    assert error_text(error).startswith(
        "no. The role's trust policy must allow sts:AssumeRole to the refresh function's role;"
    )


IF_ASKED = "; if it requires an sts:ExternalId, set GATEWAY_EXTERNAL_IDS=210987654321=ID"


@pytest.mark.usefixtures("moto")
@pytest.mark.parametrize(("external_id", "condition"), [("secret", " and sts:ExternalId is secret"), ("", IF_ASKED)])
def test_a_denial_says_what_the_trust_policy_must_hold(external_id: str, condition: str) -> None:
    assert error_text(denied(NOT_TRUSTED, external_id)) == (
        f"{NOT_TRUSTED}. The role's trust policy must allow sts:AssumeRole to arn:aws:iam::123456789012:root if"
        f" aws:PrincipalArn is arn:aws:iam::123456789012:role/S3AggregatorActionLambdaRole{condition}"
    )


@pytest.mark.usefixtures("moto")
@pytest.mark.parametrize(
    ("message", "code"),
    [
        (f"{NOT_TRUSTED} because no identity-based policy allows the sts:AssumeRole action", "AccessDenied"),
        (f"{NOT_TRUSTED} with an explicit deny in a service control policy", "AccessDenied"),
        ("The security token included in the request is expired", "ExpiredToken"),
    ],
)
def test_what_is_not_the_trust_policys_doing_is_told_as_sts_says_it(message: str, code: str) -> None:
    assert error_text(denied(message, code=code)) == message
