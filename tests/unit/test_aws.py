"""The shortcuts on the way to a client lead to the same endpoints as botocore's own data."""

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
from event_aggregator.failures import Failure, meaning


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
        ("s3control", "list_access_points", {"AccountId": "123456789012"}),
        ("sqs", "list_queues", {}),
        ("storagegateway", "list_tapes", {}),
        ("sts", "get_caller_identity", {}),
    ]
    for service, operation, parameters in calls:
        client = session.create_client(service, region_name=region)
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
    ["us-east-1", "eu-central-1", "ap-southeast-5", "cn-north-1", "us-gov-west-1", "us-iso-east-1", "xx-new-1"],
)
def test_every_service_is_called_where_botocore_would_call_it(region: str) -> None:
    assert endpoints(fast(), region) == endpoints(plain(), region) != []


@pytest.mark.parametrize("variable", ["AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT"])
def test_special_endpoints_are_botocores_own(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "true")
    assert endpoints(fast(), "us-east-1") == endpoints(plain(), "us-east-1")


@mock_aws
def test_a_session_in_a_role_calls_as_that_role_which_is_assumed_once() -> None:
    session = aws.session_in_role("arn:aws:iam::210987654321:role/gateways")
    sts: Any = session.create_client("sts")
    callers = [sts.get_caller_identity()["Arn"] for _ in range(2)]
    assert callers == ["arn:aws:sts::210987654321:assumed-role/gateways/s3-event-aggregator"] * 2
    credentials = session.get_credentials()
    assert credentials
    assert credentials.get_frozen_credentials() == credentials.get_frozen_credentials()


@mock_aws
def test_a_role_that_cannot_be_assumed_fails_the_call_by_what_sts_answered() -> None:
    denial = b"<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>"

    def deny(**_: Any) -> Any:
        return AWSResponse("test", 403, HTTPHeaders(), MockRawResponse(denial))

    client = aws.storage_gateway(aws.session_in_role("arn:aws:iam::210987654321:role/gateways"), "eu-west-1")
    aws.own_session.register("before-send.sts.AssumeRole", deny)
    with pytest.raises(ClientError, match=r"AccessDenied.* when calling the AssumeRole operation") as raised:
        client.list_file_shares()
    aws.own_session.unregister("before-send.sts.AssumeRole", deny)
    assert meaning(raised.value) is Failure.DENIED
