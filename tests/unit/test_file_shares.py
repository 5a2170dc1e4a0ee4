"""Finding and asking file shares, through the SDK, of a simulated Storage Gateway."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import repeat
from typing import Any

import botocore.session
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from dev.local.gateway import DOWN, NOT_FOUND, Refusal, StorageGateway
from event_aggregator import aws
from event_aggregator.access_points import AccessPoints
from event_aggregator.failures import UnreadableAnswerError
from event_aggregator.file_shares import FileShares, location
from event_aggregator.folders import Round
from tests.unit.conftest import fail

DENIED = Refusal("You may not do this.", code="AccessDeniedException")


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
    assert str(found[0].key) == f"mine/{wanted[0].share_id}"
    assert found[0].role == "arn:aws:iam::000000000000:role/StorageGatewayBucketAccessRole"


def test_eleven_shares_are_described_in_two_calls_and_only_once(
    gateway: StorageGateway, file_shares: FileShares
) -> None:
    for _ in range(11):
        gateway.add_share("mine", kind="SMB")
    assert len(file_shares.showing("mine")) == len(file_shares.showing("mine")) == 11
    assert operations(gateway).count("DescribeSMBFileShares") == 2
    assert operations(gateway).count("ListFileShares") == 2 * 4


def test_those_of_several_buckets_are_found_by_one_listing(gateway: StorageGateway, file_shares: FileShares) -> None:
    arns = {name: gateway.add_share(name).arn for name in ("mine", "others", "nobodys")}
    found = file_shares.showing_each(["mine", "others", "none"])
    assert {name: [share.arn for share in shares] for name, shares in found.items()} == {
        "mine": [arns["mine"]],
        "others": [arns["others"]],
        "none": [],
    }
    assert operations(gateway).count("ListFileShares") == 1


def test_the_status_is_read_afresh(gateway: StorageGateway, file_shares: FileShares) -> None:
    share = gateway.add_share("mine", status="UPDATING")
    assert [found.unavailable for found in file_shares.showing("mine")] == ["it is UPDATING"]
    share.status = "AVAILABLE"
    assert [found.unavailable for found in file_shares.showing("mine")] == [""]


@pytest.mark.parametrize("status", ["DELETING", "FORCE_DELETING"])
def test_a_share_that_is_being_deleted_is_left_alone_and_gone(
    gateway: StorageGateway, file_shares: FileShares, status: str
) -> None:
    share = gateway.add_share("mine", status=status)
    assert file_shares.showing("mine") == []
    assert file_shares.describe(share.arn, "NFS", share.gateway_arn, "mine") is None


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
    known, unknown = file_shares.showing("mine")
    assert (known.arn, known.unknown) == (good.arn, "")
    assert unknown.arn == bad.arn
    assert "The specified file share was not found" in unknown.unavailable
    assert f"It is not known what {bad.arn} shows" in " ".join(warnings)


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
    assert [str(share.key) for share in at("us-east-1", "").showing("mine")] == [f"mine/{home.share_id}"]
    assert [str(share.key) for share in at("eu-west-1", "eu-west-1").showing("mine")] == [
        f"mine/eu-west-1/{away.share_id}"
    ]


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


def test_an_alias_that_nobody_has_is_unknown_named_in_one_warning_and_looked_for_again(
    gateway: StorageGateway, file_shares: FileShares, s3_control: Stubber, warnings: list[str]
) -> None:
    gateway.add_share("mine", location_arn=ALIAS)
    for _ in range(2):
        s3_control.add_response("list_access_points", {})
        assert ["has no such access point" in share.unavailable for share in file_shares.showing("mine")] == [True]
    assert len(warnings) == 1


@pytest.mark.parametrize("code", ["AccessDenied", "NoSuchAccessPoint", "SlowDown"])
def test_an_access_point_that_cannot_be_looked_up_keeps_no_other_share_from_being_found_and_is_looked_up_again(
    gateway: StorageGateway, file_shares: FileShares, s3_control: Stubber, warnings: list[str], code: str
) -> None:
    unknown, good = gateway.add_share("mine", location_arn=POINT), gateway.add_share("mine")
    for _ in range(2):
        s3_control.add_client_error("get_access_point", code)
        found = {share.arn: share.unavailable for share in file_shares.showing("mine")}
        assert found[good.arn] == ""
        assert code in found[unknown.arn]
    [warning] = warnings
    assert POINT in warning
    s3_control.add_response("get_access_point", POINT_OF_MINE)
    assert [share.unavailable for share in file_shares.showing("mine")] == ["", ""]


def test_an_access_point_that_leads_to_no_bucket_is_looked_up_again(
    gateway: StorageGateway, file_shares: FileShares, s3_control: Stubber, warnings: list[str]
) -> None:
    gateway.add_share("mine", location_arn=POINT)
    for _ in range(2):
        s3_control.add_response("get_access_point", {"Name": "point"})
        [found] = file_shares.showing("mine")
        assert "AWS does not tell its bucket" in found.unavailable
    assert len(warnings) == 1
    s3_control.add_response("get_access_point", POINT_OF_MINE)
    assert [share.unavailable for share in file_shares.showing("mine")] == [""]


def test_an_access_point_of_another_region_is_not_looked_up_since_its_bucket_is_there_too(
    gateway: StorageGateway, file_shares: FileShares, warnings: list[str]
) -> None:
    gateway.add_share("mine", location_arn=POINT.replace("us-east-1", "eu-west-1"))
    assert file_shares.showing("mine") == []
    assert "it and its bucket are in eu-west-1, whose S3 events do not arrive in us-east-1" in warnings[0]


def test_a_share_is_looked_at_by_one_call_and_its_access_point_only_until_it_is_known(
    gateway: StorageGateway, file_shares: FileShares, s3_control: Stubber
) -> None:
    share = gateway.add_share("mine", location_arn=POINT)
    fail(s3_control.client, "GetAccessPoint")
    found = file_shares.describe(share.arn, "NFS", share.gateway_arn, "mine")
    assert found
    assert "Could not connect" in found.unavailable
    s3_control.add_response("get_access_point", POINT_OF_MINE)
    for _ in range(2):
        found = file_shares.describe(share.arn, "NFS", share.gateway_arn, "mine")
        assert found
        assert (found.bucket, found.unavailable) == ("mine", "")
    assert operations(gateway) == ["DescribeNFSFileShares"] * 3
    del gateway.shares[share.arn]
    assert file_shares.describe(share.arn, "NFS", share.gateway_arn, "mine") is None


def test_without_access_points_no_client_is_made_for_them(gateway: StorageGateway) -> None:
    client: Any = botocore.session.get_session().create_client("storagegateway", endpoint_url=gateway.endpoint_url)
    gateway.add_share("mine")
    assert FileShares(client, client, AccessPoints(pytest.fail), pytest.fail).showing("mine")


def test_a_share_that_is_unknown_may_show_any_bucket_and_is_told_of_once(
    gateway: StorageGateway, file_shares: FileShares, s3_control: Stubber, warnings: list[str]
) -> None:
    share = gateway.add_share("mine", location_arn=POINT)
    for bucket in ("mine", "others"):
        s3_control.add_client_error("get_access_point", "AccessDenied")
        [found] = file_shares.showing(bucket)
        assert (found.arn, found.bucket, found.prefix) == (share.arn, bucket, "")
        assert found.unknown
    assert len(warnings) == 1
    s3_control.add_response("get_access_point", POINT_OF_MINE)
    assert file_shares.showing("others") == []
    assert [found.unknown for found in file_shares.showing("mine")] == [""]


@pytest.mark.parametrize("refusal", [NOT_FOUND, DENIED], ids=["gone", "denied"])
def test_shares_are_described_one_by_one_if_they_cannot_be_described_together(
    gateway: StorageGateway, file_shares: FileShares, refusal: Refusal
) -> None:
    shares = [gateway.add_share("mine") for _ in range(4)]
    gateway.refuse(repeat(refusal), of=shares[1], operation="Describe")
    found = {share.arn: bool(share.unknown) for share in file_shares.showing("mine")}
    assert found == {share.arn: share is shares[1] for share in shares}
    assert operations(gateway).count("DescribeNFSFileShares") == 1 + 4
    gateway.refuse((), of=shares[1], operation="Describe")
    assert [share.unknown for share in file_shares.showing("mine")] == [""] * 4
    assert operations(gateway).count("DescribeNFSFileShares") == 1 + 4 + 1


def test_an_outage_of_describing_alone_is_raised_if_nothing_is_known_yet_and_delays_only_what_is_unknown_later(
    gateway: StorageGateway, file_shares: FileShares
) -> None:
    gateway.add_share("mine")
    gateway.refuse(repeat(DOWN), operation="Describe")
    with pytest.raises(ClientError, match="InternalServerError"):
        file_shares.showing("mine")
    gateway.refuse((), operation="Describe")
    assert [share.unknown for share in file_shares.showing("mine")] == [""]
    gateway.add_share("mine")
    gateway.refuse(repeat(DOWN), operation="Describe")
    assert [bool(share.unknown) for share in file_shares.showing("mine")] == [False, True]


def test_a_share_of_which_nobody_may_know_what_it_shows_stops_no_other_though_none_is_known(
    gateway: StorageGateway, file_shares: FileShares
) -> None:
    gateway.add_share("mine")
    gateway.refuse(repeat(DENIED), operation="Describe")
    [share] = file_shares.showing("mine")
    assert "it is not known what it shows" in share.unavailable


def test_shares_of_which_none_may_be_described_are_asked_about_singly_only_until_that_is_known(
    gateway: StorageGateway, file_shares: FileShares
) -> None:
    shares = [gateway.add_share("mine") for _ in range(35)]
    gateway.refuse(repeat(DENIED), operation="Describe")
    assert [bool(share.unknown) for share in file_shares.showing("mine")] == [True] * len(shares)
    assert operations(gateway).count("DescribeNFSFileShares") == 4 + 10


def test_a_share_that_is_left_out_of_its_description_after_a_refusal_is_unknown(
    gateway: StorageGateway, file_shares: FileShares, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway.add_share("mine")
    gateway.refuse([DENIED], operation="Describe")
    monkeypatch.setattr(gateway, "_describe", lambda *_: {"NFSFileShareInfoList": []})
    [found] = file_shares.showing("mine")
    assert "Storage Gateway does not describe it" in found.unavailable


@pytest.mark.parametrize("status", ["CREATING", "UPDATING", "UNAVAILABLE"])
def test_a_share_is_looked_at_as_it_is_now(gateway: StorageGateway, file_shares: FileShares, status: str) -> None:
    share = gateway.add_share("mine", "a/b", kind="SMB")
    [listed] = file_shares.showing("mine")
    share.status = status
    found = file_shares.describe(share.arn, "SMB", share.gateway_arn, "mine")
    assert found == replace(listed, status=status)
    assert found.unavailable == f"it is {status}"


def test_a_share_whose_look_fails_is_not_taken_for_gone(gateway: StorageGateway, file_shares: FileShares) -> None:
    share = gateway.add_share("mine")
    gateway.refuse([DOWN] * 3, operation="Describe")
    with pytest.raises(ClientError, match="InternalServerError"):
        file_shares.describe(share.arn, "NFS", share.gateway_arn, "mine")
    gateway.refuse([DENIED], operation="Describe")
    with pytest.raises(ClientError, match="AccessDenied"):
        file_shares.describe(share.arn, "NFS", share.gateway_arn, "mine")


@pytest.mark.parametrize(
    ("arn", "bucket_and_prefix"),
    [
        ("arn:aws:s3:::my-bucket", ("my-bucket", "")),
        ("arn:aws:s3:::my-bucket/", ("my-bucket", "")),
        ("arn:aws-cn:s3:::my-bucket/a/b", ("my-bucket", "a/b/")),
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


def test_a_refresh_that_was_accepted_under_no_id_is_an_answer_that_cannot_be_read(
    gateway: StorageGateway, file_shares: FileShares, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway.add_share("mine")
    [share] = file_shares.showing("mine")
    monkeypatch.setattr(gateway, "answer", lambda *_: {})
    with pytest.raises(UnreadableAnswerError, match=share.arn):
        file_shares.refresh(share, Round(["/"], recursive=False))
