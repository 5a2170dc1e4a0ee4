"""Which file shares are refreshed: those on access points, in other regions, and beside the one that wrote a file."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dev.local.gateway import StorageGateway
from dev.local.ministack import ACCOUNT, REGION, ROOT, MiniStack
from tests.e2e.conftest import FUNCTIONS, Bucket, eventually, setting

TRUST = json.loads((ROOT / "iam" / "lambda-trust.json").read_text())
AGGREGATOR, REFRESH = FUNCTIONS


def test_shares_on_an_access_point_and_on_its_alias_are_refreshed(bucket: Bucket, s3_control: Any) -> None:
    point = s3_control.create_access_point(AccountId=ACCOUNT, Name=f"of-{bucket.name}", Bucket=bucket.name)
    shares = [
        bucket.share("photos", location_arn=f"{point['AccessPointArn']}/photos/"),
        bucket.share("photos", location_arn=f"{point['Alias']}/photos/"),
    ]
    bucket.put("photos/a.jpg")
    bucket.becomes_visible(*shares)
    for share in shares:
        del bucket.gateway.shares[share.arn]


@pytest.fixture
def away(aws: MiniStack, stack: Any) -> Iterator[str]:  # noqa: ARG001 - it must be there
    """A second region of gateways."""
    with setting(aws, REFRESH, GATEWAY_REGIONS=f"{REGION},eu-west-1"):
        yield "eu-west-1"


def test_shares_of_two_regions_are_refreshed_and_an_outage_in_one_delays_that_one_only(
    bucket: Bucket, gateway: StorageGateway, away: str
) -> None:
    at_home, abroad = bucket.share(), bucket.share(region=away)
    gateway.down = {away}
    try:
        bucket.put("photos/a.jpg")
        eventually(lambda: at_home.tree() == {"photos/a.jpg"})
        region = f"{bucket.name}/{away}/"
        eventually(lambda: any(item["BucketName"]["S"] == region and "Reason" in item for item in bucket.items()))
        assert abroad.tree() == set()
    finally:
        gateway.down = set()
    bucket.becomes_visible(at_home, abroad)


def test_what_a_gateway_wrote_by_the_role_of_a_share_refreshes_every_other_share(
    bucket: Bucket, aws: MiniStack
) -> None:
    iam, roles = aws.client("iam"), [f"of-{number}-{bucket.name}" for number in range(3)]
    ids = [
        iam.create_role(RoleName=role, AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]["RoleId"] for role in roles
    ]
    writers, *others = (bucket.share(role=role) for role in roles)
    bucket.put_by(ids[0], "photos/a.jpg")
    eventually(lambda: all(share.tree() == {"photos/a.jpg"} for share in others))
    eventually(bucket.is_settled)
    assert bucket.refreshes(writers) == 0


def test_what_may_have_come_through_each_of_two_shares_refreshes_both_and_nothing_if_there_is_one(
    make_bucket: Callable[[], Bucket],
) -> None:
    """IAM does not tell the ids of their roles, which are not there."""
    shown_twice, shown_once = make_bucket(), make_bucket()
    shares = [shown_twice.share(gateway_id="sgw-1"), shown_twice.share(gateway_id="sgw-2")]
    only = shown_once.share()
    shown_once.put_by("AROAX", "a.txt")
    shown_twice.put_by("AROAX", "a.txt")
    shown_twice.becomes_visible(*shares)
    eventually(shown_once.is_settled)
    assert shown_once.refreshes(only) == 0
