"""Where file shares are found: on access points."""

import socket
from typing import Any

import botocore.session
import pytest

from local.ministack import NO_PROFILE, REGION, RESOLVER, MiniStack
from tests.e2e.conftest import Bucket

ACCOUNT = "000000000000"


@pytest.fixture
def s3_control(aws: MiniStack, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(socket, "getaddrinfo", socket.getaddrinfo)  # to put it back at the end
    exec(RESOLVER, {})  # noqa: S102
    session = botocore.session.Session(session_vars=NO_PROFILE)
    session.set_credentials("test", "test")
    return session.create_client("s3control", region_name=REGION, endpoint_url=aws.endpoint_url)


def test_shares_on_an_access_point_and_on_its_alias_are_refreshed(bucket: Bucket, s3_control: Any) -> None:
    point = s3_control.create_access_point(AccountId=ACCOUNT, Name=f"of-{bucket.name}", Bucket=bucket.name)
    shares = [
        bucket.share("photos", location_arn=f"{point['AccessPointArn']}/photos/"),
        bucket.share("photos", location_arn=f"{point['Alias']}/photos/"),
    ]
    bucket.put("photos/a.jpg")
    bucket.becomes_visible(*shares)
    assert [bucket.refreshes(share) for share in shares] == [1, 1]
    for share in shares:
        del bucket.gateway.shares[share.arn]
