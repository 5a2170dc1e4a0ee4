"""Where file shares are found: on access points, and in other regions."""

import socket
from collections.abc import Iterator
from typing import Any

import botocore.session
import pytest

from local.gateway import StorageGateway
from local.ministack import NO_PROFILE, REGION, RESOLVER, MiniStack
from tests.e2e.conftest import FUNCTIONS, Bucket, eventually

ACCOUNT = "000000000000"
_, REFRESH = FUNCTIONS


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


@pytest.fixture
def away(aws: MiniStack, stack: Any) -> Iterator[str]:  # noqa: ARG001 - it must be there
    """A second region of gateways."""
    functions = aws.client("lambda")
    before = functions.get_function_configuration(FunctionName=REFRESH)["Environment"]["Variables"]

    def set_regions(regions: str) -> None:
        variables = before | {"GATEWAY_REGIONS": regions}
        functions.update_function_configuration(FunctionName=REFRESH, Environment={"Variables": variables})

    set_regions(f"{REGION},eu-west-1")
    yield "eu-west-1"
    set_regions("")


def test_shares_of_two_regions_are_refreshed_and_an_outage_in_one_delays_that_one_only(
    bucket: Bucket, gateway: StorageGateway, away: str
) -> None:
    at_home, abroad = bucket.share(), bucket.share(region=away)
    gateway.down = {away}
    try:
        bucket.put("photos/a.jpg")
        eventually(lambda: at_home.tree() == {"photos/a.jpg"})
        eventually(lambda: any(item["BucketName"]["S"] == f"{bucket.name}/{away}/" for item in bucket.items()))
        assert abroad.tree() == set()
    finally:
        gateway.down = set()
    bucket.becomes_visible(at_home, abroad)
    assert [bucket.refreshes(share) for share in (at_home, abroad)] == [1, 1]
