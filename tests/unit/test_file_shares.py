"""Finding and asking file shares, through the SDK, of a simulated Storage Gateway."""

from collections.abc import Iterator
from typing import Any

import botocore.session
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError
from botocore.stub import Stubber

from event_aggregator import aws
from event_aggregator.access_points import AccessPoints
from event_aggregator.file_shares import FileShares, location, may_concern_folders
from event_aggregator.folders import Round
from local.gateway import StorageGateway
from tests.unit.conftest import fail


@pytest.fixture
def gateway() -> Iterator[StorageGateway]:
    with StorageGateway(None, page_size=3, refresh_seconds=0) as gateway:
        yield gateway


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def s3_control() -> Iterator[Stubber]:
    """What S3 answers when it is asked for access points; every answer must be asked for, in its order."""
    with Stubber(aws.s3_control(aws.own_session)) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


@pytest.fixture
def file_shares(gateway: StorageGateway, s3_control: Stubber, warnings: list[str]) -> FileShares:
    client: Any = botocore.session.get_session().create_client("storagegateway", endpoint_url=gateway.endpoint_url)
    return FileShares(client, client, AccessPoints(lambda _: s3_control.client), warnings.append)


def operations(gateway: StorageGateway) -> list[str]:
    return [call.operation for call in gateway.calls]


def test_every_share_of_a_bucket_is_found_on_all_pages_and_of_both_kinds(
    gateway: StorageGateway, file_shares: FileShares
) -> None:
    wanted = [gateway.add_share("mine", kind="NFS"), gateway.add_share("mine", "a/b", kind="SMB", gateway_id="sgw-2")]
    for _ in range(8):
        gateway.add_share("others")
    wanted.append(gateway.add_share("mine", kind="SMB"))
    found = file_shares.showing("mine")
    assert [share.arn for share in found] == [share.arn for share in wanted]
    assert [share.prefix for share in found] == ["", "a/b/", ""]
    assert found[0].key == f"mine/{wanted[0].share_id}"
    assert found[0].role == "arn:aws:iam::000000000000:role/StorageGatewayBucketAccessRole"


def test_eleven_shares_are_described_in_two_calls_and_only_once(
    gateway: StorageGateway, file_shares: FileShares
) -> None:
    for _ in range(11):
        gateway.add_share("mine", kind="SMB")
    assert len(file_shares.showing("mine")) == len(file_shares.showing("mine")) == 11
    assert operations(gateway).count("DescribeSMBFileShares") == 2
    assert operations(gateway).count("ListFileShares") == 2 * 4


def test_the_status_is_read_afresh(gateway: StorageGateway, file_shares: FileShares) -> None:
    share = gateway.add_share("mine", status="UPDATING")
    assert [found.available for found in file_shares.showing("mine")] == [False]
    share.status = "AVAILABLE"
    assert [found.available for found in file_shares.showing("mine")] == [True]


@pytest.mark.parametrize("status", ["DELETING", "FORCE_DELETING"])
def test_a_share_that_is_being_deleted_is_left_alone_and_gone(
    gateway: StorageGateway, file_shares: FileShares, status: str
) -> None:
    share = gateway.add_share("mine", status=status)
    assert file_shares.showing("mine") == []
    assert file_shares.is_gone(share.share_id)


def test_a_share_that_cannot_be_described_keeps_no_other_from_being_found(
    gateway: StorageGateway, file_shares: FileShares, warnings: list[str]
) -> None:
    good, bad = gateway.add_share("mine"), gateway.add_share("mine")
    bad.kind = "SMB"
    answer = gateway._list
    gateway._list = lambda *call: {  # type: ignore[method-assign]
        **answer(*call),
        "FileShareInfoList": [{**share, "FileShareType": "NFS"} for share in answer(*call)["FileShareInfoList"]],
    }  # as a share that was deleted between the two calls: its description is refused
    assert [share.arn for share in file_shares.showing("mine")] == [good.arn]
    assert f"{bad.arn} cannot be described" in " ".join(warnings)
    assert not file_shares.is_gone(bad.share_id)


def test_an_outage_is_raised_and_not_taken_for_no_shares(gateway: StorageGateway, file_shares: FileShares) -> None:
    gateway.outage = True
    with pytest.raises(ClientError):
        file_shares.showing("mine")


def test_a_region_has_its_own_shares_and_their_keys_name_it_if_it_is_away(gateway: StorageGateway) -> None:
    def at(region: str, away: str) -> FileShares:
        client: Any = botocore.session.get_session().create_client(
            "storagegateway", region, endpoint_url=gateway.endpoint_url
        )
        return FileShares(client, client, AccessPoints(pytest.fail), pytest.fail, away)

    home, away = gateway.add_share("mine"), gateway.add_share("mine", region="eu-west-1")
    assert [share.key for share in at("us-east-1", "").showing("mine")] == [f"mine/{home.share_id}"]
    assert [share.key for share in at("eu-west-1", "eu-west-1").showing("mine")] == [f"mine/eu-west-1/{away.share_id}"]
    assert at("eu-west-1", "eu-west-1").key_of(away.arn) == f"mine/eu-west-1/{away.share_id}"


POINT = "arn:aws:s3:us-east-1:123456789012:accesspoint/point"
ALIAS = "point-ab123cdef4gehijklmn5opqrstuvuse1a-s3alias"
POINT_OF_MINE = {"Name": "point", "Bucket": "mine", "BucketAccountId": "999999999999", "Alias": ALIAS}
ORIGIN = {"NetworkOrigin": "Internet"}


def test_a_share_on_an_access_point_of_any_account_shows_the_bucket_behind_it_which_is_looked_up_once(
    gateway: StorageGateway, file_shares: FileShares, s3_control: Stubber
) -> None:
    shares = [gateway.add_share("mine", "a", location_arn=f"{POINT}/a/"), gateway.add_share("mine", location_arn=POINT)]
    s3_control.add_response("get_access_point", POINT_OF_MINE, {"AccountId": "123456789012", "Name": "point"})
    assert [(share.arn, share.prefix) for share in file_shares.showing("mine")] == [
        (shares[0].arn, "a/"),
        (shares[1].arn, ""),
    ]
    assert file_shares.key_of(shares[0].arn) == f"mine/{shares[0].share_id}"


def test_an_access_point_is_looked_up_by_the_client_for_the_account_that_owns_it(
    gateway: StorageGateway, s3_control: Stubber
) -> None:
    accounts: list[str] = []

    def client_for(account: str) -> Any:
        accounts.append(account)
        return s3_control.client

    client: Any = botocore.session.get_session().create_client("storagegateway", endpoint_url=gateway.endpoint_url)
    file_shares = FileShares(client, client, AccessPoints(client_for), pytest.fail)
    gateway.add_share("mine", location_arn=POINT)
    s3_control.add_response("get_access_point", POINT_OF_MINE)
    assert len(file_shares.showing("mine")) == 1
    gateway.add_share("mine", location_arn=ALIAS)
    s3_control.add_response("list_access_points", {"AccessPointList": [{**POINT_OF_MINE, **ORIGIN}]})
    assert len(file_shares.showing("mine")) == 2
    assert accounts == ["123456789012", "000000000000"], "an alias does not say whose it is: it is the share's"


@pytest.mark.parametrize("start", ["arn:aws:s3:::", ""])
def test_a_share_on_an_alias_shows_the_bucket_of_the_access_point_of_its_account_that_has_it(
    gateway: StorageGateway, file_shares: FileShares, s3_control: Stubber, start: str
) -> None:
    gateway.add_share("mine", location_arn=f"{start}{ALIAS}/a/")
    other = {"Name": "other", "Bucket": "others", "Alias": "other-s3alias"}
    pages = [{**other, **ORIGIN}], [{**POINT_OF_MINE, **ORIGIN}]
    account = {"AccountId": "000000000000"}
    s3_control.add_response("list_access_points", {"AccessPointList": pages[0], "NextToken": "2"}, account)
    s3_control.add_response("list_access_points", {"AccessPointList": pages[1]}, {**account, "NextToken": "2"})
    assert [share.prefix for share in file_shares.showing("mine")] == ["a/"]
    gateway.add_share("others", location_arn="other-s3alias")
    assert len(file_shares.showing("others")) == 1, "the list had it already"


def test_an_alias_that_nobody_has_is_named_in_a_warning_and_looked_for_once(
    gateway: StorageGateway, file_shares: FileShares, s3_control: Stubber, warnings: list[str]
) -> None:
    gateway.add_share("mine", location_arn=ALIAS)
    s3_control.add_response("list_access_points", {})
    assert file_shares.showing("mine") == file_shares.showing("mine") == []
    assert len(warnings) == 1
    gateway.add_share("mine", location_arn="another-s3alias")
    s3_control.add_response("list_access_points", {})
    assert file_shares.showing("mine") == []
    assert "the account 000000000000 has no such access point" in warnings[1]


@pytest.mark.parametrize("code", ["AccessDenied", "NoSuchAccessPoint"])
def test_an_access_point_that_cannot_be_looked_up_is_named_in_a_warning_and_keeps_no_other_share_from_being_found(
    gateway: StorageGateway, file_shares: FileShares, s3_control: Stubber, warnings: list[str], code: str
) -> None:
    gateway.add_share("mine", location_arn=POINT)
    good = gateway.add_share("mine")
    s3_control.add_client_error("get_access_point", code)
    for _ in range(2):
        assert [share.arn for share in file_shares.showing("mine")] == [good.arn]
    [warning] = warnings
    assert POINT in warning
    assert code in warning


def test_an_access_point_of_another_region_is_not_looked_up_since_its_bucket_is_there_too(
    gateway: StorageGateway, file_shares: FileShares, warnings: list[str]
) -> None:
    gateway.add_share("mine", location_arn=POINT.replace("us-east-1", "eu-west-1"))
    assert file_shares.showing("mine") == []
    assert "it is in eu-west-1, and so is its bucket, which is not watched from us-east-1" in warnings[0]


def test_a_failure_to_look_an_access_point_up_that_passes_is_raised_and_the_next_try_finds_it(
    gateway: StorageGateway, file_shares: FileShares, s3_control: Stubber, warnings: list[str]
) -> None:
    gateway.add_share("mine", location_arn=POINT)
    s3_control.add_client_error("get_access_point", "SlowDown", http_status_code=503)
    with pytest.raises(ClientError, match="SlowDown"):
        file_shares.showing("mine")
    fail(s3_control.client, "GetAccessPoint")
    with pytest.raises(EndpointConnectionError):
        file_shares.showing("mine")
    s3_control.add_response("get_access_point", POINT_OF_MINE)
    assert len(file_shares.showing("mine")) == 1
    assert warnings == []


def test_without_access_points_no_client_is_made_for_them(gateway: StorageGateway) -> None:
    client: Any = botocore.session.get_session().create_client("storagegateway", endpoint_url=gateway.endpoint_url)
    gateway.add_share("mine")
    assert FileShares(client, client, AccessPoints(pytest.fail), pytest.fail).showing("mine")


@pytest.mark.parametrize(
    ("arn", "bucket_and_prefix"),
    [
        ("arn:aws:s3:::my-bucket", ("my-bucket", "")),
        ("arn:aws:s3:::my-bucket/", ("my-bucket", "")),
        ("arn:aws-cn:s3:::my-bucket/a/b/", ("my-bucket", "a/b/")),
        ("arn:aws-us-gov:s3:::my.bucket/a b/ü/", ("my.bucket", "a b/ü/")),
        (POINT, (POINT, "")),
        (f"{POINT}/", (POINT, "")),
        (f"{POINT}/a/b/", (POINT, "a/b/")),
        (ALIAS, (ALIAS, "")),
        (f"{ALIAS}/a/b/", (ALIAS, "a/b/")),
        (f"arn:aws:s3:::{ALIAS}/a/b/", (ALIAS, "a/b/")),
    ],
)
def test_a_location_names_its_bucket_or_access_point_and_prefix_in_every_partition(
    arn: str, bucket_and_prefix: tuple[str, str]
) -> None:
    assert location(arn) == bucket_and_prefix


def test_a_refresh_names_its_folders_and_whether_what_is_beneath_them(
    gateway: StorageGateway, file_shares: FileShares
) -> None:
    gateway.add_share("mine").list_objects = lambda _: ([], [])
    [share] = file_shares.showing("mine")
    notification = file_shares.refresh(share, Round(["/", "a b"], recursive=False))
    assert notification == gateway.refreshes[0].notification_id
    assert (gateway.calls[-1].folders, gateway.calls[-1].recursive) == (("/", "a b"), False)


def test_the_key_of_a_share_is_found_by_its_arn(gateway: StorageGateway, file_shares: FileShares) -> None:
    share = gateway.add_share("mine")
    assert file_shares.key_of(share.arn) == f"mine/{share.share_id}"
    assert file_shares.key_of(f"{share.arn}X") is None
    listings = operations(gateway).count("ListFileShares")
    file_shares.key_of(share.arn)
    assert operations(gateway).count("ListFileShares") == listings, "what is known is not looked up again"


def refusal(code: str, message: str = "no", error_code: str = "") -> ClientError:
    answer: Any = {"Error": {"Code": code, "Message": message}, "error": {"errorCode": error_code}}
    return ClientError(answer, "RefreshCache")


@pytest.mark.parametrize(
    ("error", "may"),
    [
        (refusal("InvalidGatewayRequestException", "Too many requests have been sent to server."), False),
        (refusal("InvalidGatewayRequestException", error_code="GatewayNotConnected"), False),
        (refusal("ThrottlingException"), False),
        (refusal("AccessDeniedException"), False),
        (ReadTimeoutError(endpoint_url="x"), False),
        (refusal("InvalidGatewayRequestException", error_code="InvalidParameters"), True),
        (refusal("InvalidGatewayRequestException", "something new"), True),
        (refusal("InternalServerError"), True),
        (refusal("ValidationException"), True),
    ],
)
def test_only_a_refusal_that_is_known_to_have_another_cause_does_not_widen(error: Exception, may: bool) -> None:
    assert may_concern_folders(error) == may
