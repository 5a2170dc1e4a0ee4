"""File shares of another account, through the role there that docs/other-accounts.md prints, with IAM enforced."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from dev.local.gateway import StorageGateway
from dev.local.ministack import ACCOUNT, REGION, ROOT, MiniStack
from event_aggregator.access_points import AccessPoints
from event_aggregator.file_shares import FileShares
from event_aggregator.folders import Round
from event_aggregator.writers import Roles
from tests.e2e.conftest import FUNCTIONS, Bucket, deliver_again_soon, eventually, run_script, setting
from tests.e2e.test_commands import operate
from tests.e2e.test_least_privilege import (
    actions_of,
    denials,
    gateway_asks_iam,
    is_allowed,
    less,
    may,
    policy_of,
    put_policy,
    without,
)

AGGREGATOR, REFRESH = FUNCTIONS
OTHER = "222222222222"
NAME = "refresh-file-shares"
ROLE = f"arn:aws:iam::{OTHER}:role/{NAME}"

_doc = (ROOT / "docs/other-accounts.md").read_text().replace("111111111111", ACCOUNT)
TRUST, PERMISSIONS = re.findall(r"```json\n(.*?)```", _doc, re.DOTALL)
FUNCTION_ROLE = f"arn:aws:iam::{ACCOUNT}:role/S3GatewayRefresh-us-east-1"
# As aws:PrincipalArn of a session AWS takes the ARN of its role, the local AWS that of the session.
FUNCTION_SESSION = f"arn:aws:sts::{ACCOUNT}:assumed-role/S3GatewayRefresh-us-east-1/*"


def trust(aws: MiniStack, session: str) -> None:
    """Has the role trust as the document says, but with `session` in the function's place."""
    assert TRUST.count(FUNCTION_ROLE) == 1
    document = TRUST.replace(FUNCTION_ROLE, session)
    aws.client("iam", OTHER).update_assume_role_policy(RoleName=NAME, PolicyDocument=document)


@pytest.fixture(scope="module", autouse=True)
def role(aws: MiniStack, stack: Any) -> Iterator[None]:  # noqa: ARG001 - it must be there
    """Makes the role, and gives it to the stack as a user does; puts the stack back."""
    iam = aws.client("iam", OTHER)
    iam.create_role(RoleName=NAME, AssumeRolePolicyDocument=TRUST)
    trust(aws, FUNCTION_SESSION)
    iam.put_role_policy(RoleName=NAME, PolicyName=NAME, PolicyDocument=PERMISSIONS)
    before = policy_of(aws, REFRESH)
    with setting(aws, AGGREGATOR), setting(aws, REFRESH):
        run_script(aws, "create-stack.sh", "--gateway-role-arns", ROLE)
        deliver_again_soon(aws)
        yield
    put_policy(aws, REFRESH, before)


def test_a_change_refreshes_the_shares_at_home_and_those_of_another_account(
    aws: MiniStack, bucket: Bucket, gateway: StorageGateway
) -> None:
    home = bucket.share()
    others = [bucket.share("photos", account=OTHER, kind="NFS"), bucket.share(account=OTHER, kind="SMB")]
    before = len(gateway.calls)
    bucket.put("photos/a.jpg")
    bucket.becomes_visible(home, *others)
    # The simulated gateway knows no IAM: what was called there is evaluated by the policy of the document.
    calls = {(call.operation, arn) for call in gateway.calls[before:] for arn in call.shares or ("*",)}
    of_others = {"*", *(share.arn for share in others)}  # there may still be calls for another test's shares
    there = {(operation, arn) for operation, arn in calls if arn in of_others}
    assert {operation for operation, _ in there} == {
        *("ListFileShares", "DescribeNFSFileShares", "DescribeSMBFileShares", "RefreshCache")
    }
    assert all(may(aws, ROLE, f"storagegateway:{operation}", arn) for operation, arn in there)
    assert not may(aws, ROLE, "storagegateway:RefreshCache", home.arn)


def test_the_refresh_function_may_assume_the_role_that_it_was_given_and_no_other(aws: MiniStack) -> None:
    for resource in (ROLE, f"{ROLE}2", ROLE.replace(OTHER, ACCOUNT)):
        assert is_allowed(aws, REFRESH, "sts:AssumeRole", resource) == (resource == ROLE)


@contextmanager
def trust_in_another_function(aws: MiniStack) -> Iterator[None]:
    trust(aws, FUNCTION_SESSION.replace("Gateway", "Another"))
    try:
        yield
    finally:
        trust(aws, FUNCTION_SESSION)


def no_permission_to_assume(aws: MiniStack) -> AbstractContextManager[None]:
    return without(aws, REFRESH, "sts:AssumeRole")


@pytest.mark.parametrize(
    ("denial", "reason"),
    [
        (no_permission_to_assume, "because no identity-based policy allows the sts:AssumeRole action"),
        (trust_in_another_function, f"is not authorized to perform: sts:AssumeRole on resource: {ROLE}"),
    ],
    ids=["permission", "trust"],
)
def test_without_the_role_the_shares_at_home_are_refreshed_and_the_others_when_it_can_be_assumed(
    aws: MiniStack, bucket: Bucket, denial: Callable[[MiniStack], AbstractContextManager[None]], reason: str
) -> None:
    home, other = bucket.share(), bucket.share(account=OTHER)
    with denial(aws), setting(aws, REFRESH):
        bucket.put("photos/a.jpg")
        eventually(lambda: home.tree() == {"photos/a.jpg"})
        assert reason in eventually(lambda: waiting(bucket))[0]
        assert other.tree() == set()
    bucket.becomes_visible(home, other)


def test_a_role_that_asks_for_an_external_id_is_assumed_with_it_and_a_denial_says_what_is_missing(
    aws: MiniStack, bucket: Bucket
) -> None:
    other, condition = bucket.share(account=OTHER), '"StringEquals": {"sts:ExternalId": "of-the-house"}'
    asking = TRUST.replace(FUNCTION_ROLE, FUNCTION_SESSION).replace('"Condition": {', f'"Condition": {{{condition}, ')
    aws.client("iam", OTHER).update_assume_role_policy(RoleName=NAME, PolicyDocument=asking)
    try:
        with setting(aws, REFRESH):
            bucket.put("photos/a.jpg")
            reason = eventually(lambda: waiting(bucket))[0]
            assert f"if it requires an sts:ExternalId, set GATEWAY_EXTERNAL_IDS={OTHER}=ID" in reason
        with setting(aws, REFRESH, GATEWAY_EXTERNAL_IDS=f"{OTHER}=of-the-house"):
            bucket.becomes_visible(other)
    finally:
        trust(aws, FUNCTION_SESSION)


def waiting(bucket: Bucket) -> list[str]:
    """Why the shares of the bucket in the other account could not be listed, once the request to list them is queued.

    Before, a function that is started anew takes the request along, and the sweep alone would find the window.
    """
    key = f"{bucket.name}/{REGION}:{OTHER}/"
    items = [item for item in bucket.items() if item["BucketName"]["S"] == key and "OpenedBy" not in item]
    return [item["Reason"]["S"] for item in items if "Reason" in item]


def test_a_refresh_that_somebody_asks_for_reaches_the_shares_that_only_the_function_can_list(bucket: Bucket) -> None:
    share = bucket.share(account=OTHER)
    bucket.aws.client("s3").put_bucket_notification_configuration(Bucket=bucket.name, NotificationConfiguration={})
    bucket.put("a.txt")
    done = operate(bucket, "refresh-now.sh", "--bucket", bucket.name)
    assert done.status == 0, done.out + done.err
    assert f"{bucket.name}/{REGION}:{OTHER}/ is dealt with" in done.out
    bucket.becomes_visible(share)


def test_a_share_there_on_an_access_point_here_is_refreshed(bucket: Bucket, s3_control: Any) -> None:
    point = s3_control.create_access_point(AccountId=ACCOUNT, Name=f"of-{bucket.name}", Bucket=bucket.name)
    share = bucket.share("photos", account=OTHER, location_arn=f"{point['AccessPointArn']}/photos/")
    bucket.put("photos/a.jpg")
    bucket.becomes_visible(share)
    del bucket.gateway.shares[share.arn]


def test_what_a_gateway_there_wrote_by_the_role_of_its_share_refreshes_every_other_share(
    aws: MiniStack, bucket: Bucket
) -> None:
    roles = [f"of-{number}-{bucket.name}" for number in range(2)]
    iam = aws.client("iam", OTHER)
    ids = [iam.create_role(RoleName=role, AssumeRolePolicyDocument=TRUST)["Role"]["RoleId"] for role in roles]
    writer, *others = *(bucket.share(account=OTHER, role=role) for role in roles), bucket.share()
    bucket.put_by(ids[0], "photos/a.jpg")
    eventually(lambda: all(share.tree() == {"photos/a.jpg"} for share in others))
    eventually(bucket.is_settled)
    assert bucket.refreshes(writer) == 0


@pytest.mark.usefixtures("s3_control")
def test_the_role_looks_up_the_access_points_of_its_account(aws: MiniStack, gateway: StorageGateway) -> None:
    # The bucket is there too: an access point of another account than the bucket's is nothing the local AWS has.
    aws.client("s3", OTHER).create_bucket(Bucket="bucket-there")
    points = aws.client("s3control", OTHER)
    point = points.create_access_point(AccountId=OTHER, Name="there", Bucket="bucket-there")
    shares = [
        gateway.add_share("bucket-there", account=OTHER, location_arn=location)
        for location in (point["AccessPointArn"], point["Alias"])
    ]
    for share in shares:
        share.list_objects = lambda _: ([], [])
    queue = aws.client("sqs").get_queue_url(QueueName="S3EventAggregatorActionQueue")["QueueUrl"]
    name = {"StringValue": "bucket-there", "DataType": "String"}
    aws.client("sqs").send_message(QueueUrl=queue, MessageBody="{}", MessageAttributes={"bucket-name": name})
    eventually(lambda: all(share in (refresh.share for refresh in gateway.refreshes) for share in shares))
    for share in shares:
        del gateway.shares[share.arn]


# Each action of the policy is needed: by what the refresh function does in the role, done here as a user who has it.

ALLOWED = [action for statement in json.loads(PERMISSIONS)["Statement"] for action in actions_of(statement)]
USER = f"arn:aws:iam::{OTHER}:user/{NAME}"


@pytest.fixture(scope="module")
def user_there(aws: MiniStack, gateway: StorageGateway, s3_control: Any) -> Iterator[boto3.Session]:  # noqa: ARG001
    """What signs the calls of the user; the account has shares of both kinds, on a bucket and on its access point."""
    aws.client("s3", OTHER).create_bucket(Bucket="another-there")
    point = aws.client("s3control", OTHER).create_access_point(AccountId=OTHER, Name="user", Bucket="another-there")
    where: list[dict[str, Any]] = [
        *({"kind": kind} for kind in ("NFS", "SMB")),
        *({"location_arn": point[name]} for name in ("AccessPointArn", "Alias")),
    ]
    shares = [gateway.add_share("another-there", account=OTHER, role=NAME, **how) for how in where]
    for share in shares:
        share.list_objects = lambda _: ([], [])
    iam = aws.client("iam", OTHER)
    iam.create_user(UserName=NAME)
    key = iam.create_access_key(UserName=NAME)["AccessKey"]
    with pytest.MonkeyPatch.context() as patch:
        gateway_asks_iam(patch, aws, gateway, USER, ALLOWED)
        yield boto3.Session(key["AccessKeyId"], key["SecretAccessKey"], region_name=REGION)
    for share in shares:
        del gateway.shares[share.arn]


@pytest.mark.parametrize("action", ["", *ALLOWED], ids=lambda action: action.replace(":", "-") or "none")
def test_what_is_done_in_the_role_takes_each_of_its_actions(
    aws: MiniStack, gateway: StorageGateway, user_there: boto3.Session, action: str
) -> None:
    policy = json.dumps(less(json.loads(PERMISSIONS), action))
    aws.client("iam", OTHER).put_user_policy(UserName=NAME, PolicyName=NAME, PolicyDocument=policy)
    make: Any = user_there.client
    client = make("storagegateway", endpoint_url=gateway.endpoint_url)
    said: list[str] = []
    points = AccessPoints(lambda _: make("s3control", endpoint_url=aws.endpoint_url))
    file_shares = FileShares(client, client, points, said.append)
    try:
        known = next(share for share in file_shares.showing("another-there") if not share.unknown)
        file_shares.refresh(known, Round(["/"], recursive=False))
        Roles(lambda: make("iam", endpoint_url=aws.endpoint_url), said.append).id_of(known.role)
        eventually(lambda: gateway.refreshes[-1].completed_at)  # a share has two in progress at most
    except ClientError as error:
        said.append(str(error))
    assert denials(" ".join(said)) == ({action} if action else set())
    assert all(denials(text) for text in said), "nothing else was said"
