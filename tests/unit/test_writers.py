"""Which share a gateway's write came through: it is left out, and never another one; with moto's IAM."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from event_aggregator import aws
from event_aggregator.file_shares import FileShare
from event_aggregator.writers import Roles
from tests.unit.conftest import World, fail, s3_event, s3_record
from tests.unit.shares import AWAY, DOWN, HOME, TIME_LEFT, Function, Region, refusal, share


@pytest.fixture
def iam(world: World) -> Any:  # noqa: ARG001 - it has moto's IAM
    """It has the roles share-1 and share-2."""
    client = aws.iam(aws.own_session)
    for name in ("share-1", "share-2"):
        client.create_role(RoleName=name, AssumeRolePolicyDocument="{}")
    return client


@pytest.fixture
def calls(iam: Any) -> list[str]:
    """The roles that IAM was asked for."""
    asked: list[str] = []
    iam.meta.events.register("provide-client-params.iam.GetRole", lambda params, **_: asked.append(params["RoleName"]))
    return asked


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def roles(iam: Any, said: list[str]) -> Roles:
    return Roles(lambda: iam, said.append)


def id_of(iam: Any, name: str) -> str:
    return str(iam.get_role(RoleName=name)["Role"]["RoleId"])


# The ids of roles


def test_the_id_of_a_role_is_asked_for_once(roles: Roles, calls: list[str], said: list[str]) -> None:
    assert roles.id_of(share("share-1").role) == roles.id_of(share("share-1").role) != ""
    assert calls == ["share-1"]
    assert said == []


def test_a_role_with_a_path_is_asked_for_by_its_name(roles: Roles, calls: list[str]) -> None:
    assert roles.id_of("arn:aws:iam::123456789012:role/service-role/share-1")
    assert calls == ["share-1"]


def test_what_iam_does_not_tell_is_said_once_and_not_asked_for_again(
    roles: Roles, calls: list[str], said: list[str]
) -> None:
    for _ in range(2):
        assert roles.id_of(share("nobody").role) == ""
    assert calls == ["nobody"]
    [told] = said
    assert told.startswith(f"Writes through the file share with the role {share('nobody').role} may refresh")


def test_an_iam_that_cannot_be_reached_is_not_asked_for_any_other_role(
    iam: Any, roles: Roles, calls: list[str], said: list[str]
) -> None:
    assert roles.id_of(share("share-1").role)
    fail(iam, "GetRole", times=9)
    assert roles.id_of(share("share-2").role) == roles.id_of(share("share-3").role) == ""
    assert roles.id_of(share("share-1").role), "what it knows, it knows"
    assert (calls, len(said)) == (["share-1"], 1)


@pytest.mark.parametrize("code", ["Throttling", "ServiceUnavailable", "InternalFailure"])
def test_a_failure_of_iam_that_passes_is_raised_and_the_next_try_finds_out(
    iam: Any, roles: Roles, said: list[str], code: str
) -> None:
    errors: list[ClientError] = [refusal(code)]

    def instead(**_: Any) -> None:
        if errors:
            raise errors.pop()

    iam.meta.events.register_first("provide-client-params.iam.GetRole", instead)
    with pytest.raises(ClientError, match=code):
        roles.id_of(share("share-1").role)
    assert roles.id_of(share("share-1").role)
    assert said == []


# What a gateway wrote


@pytest.fixture
def written(world: World, iam: Any, roles: Roles) -> Callable[..., list[str]]:
    """The shares that are asked after a gateway wrote /photos/b.jpg by the role of share-1, or another."""

    def asked(shares: list[FileShare], role_id: str = "", away: Region | None = None) -> list[str]:
        home = Region(world, shares, takes=99)
        function = Function(world, {HOME: home} | ({AWAY: away} if away else {}))
        function.roles = roles
        principal = f"AWS:{role_id or id_of(iam, 'share-1')}:StorageGateway"
        record = s3_record("photos/b.jpg", at=world.time, userIdentity={"principalId": principal})
        world.aggregator.aggregate_event(s3_event(record), TIME_LEFT)
        function.run()
        [key] = {str(request.key) for request in world.requests() if request.key.region == ""}
        assert world.item(key).window_id is None
        assert world.item(key).refreshing_id is None
        return sorted(home.asked)

    return asked


Written = Callable[..., list[str]]
FOUR = [share("share-1"), share("share-2"), share("share-3", prefix="photos/"), share("share-4", prefix="videos/")]


def test_nothing_is_asked_for_what_a_gateway_wrote_if_so_set(world: World, written: Written) -> None:
    world.settings["REFRESH_OTHER_GATEWAYS"] = "off"
    assert written(FOUR) == []


def test_what_a_gateway_wrote_and_whom_that_left_out_is_told_and_counted(
    written: Written, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level("INFO")
    assert written([share("share-1"), share("share-2")]) == ["share-2"]
    [told] = [record for record in caplog.records if record.message.startswith("Left out ")]
    assert told.message == "Left out my-bucket/share-1: the changes were written by its own role"
    assert (told.__dict__["share"], told.__dict__["folders"]) == ("my-bucket/share-1", ["/photos"])
    [line] = [line for line in capsys.readouterr().out.splitlines() if "SharesLeftOut" in line]
    assert json.loads(line)["SharesLeftOut"] == [1.0]


@pytest.mark.parametrize("mode", ["auto", "on", "off"])
def test_a_job_whose_session_is_named_like_a_gateways_refreshes_every_share(
    world: World, roles: Roles, mode: str
) -> None:
    world.settings["REFRESH_OTHER_GATEWAYS"] = mode
    for role, session in (
        ("job", "StorageGateway"),
        ("job", "StorageGatewayLoader"),
        ("nobody", "StorageGatewayLoader"),
    ):
        home = Region(world, [share(role) if role == "nobody" else share()])
        function = Function(world, {HOME: home})
        function.roles = roles
        record = s3_record(f"{session}/b.jpg", at=world.time, userIdentity={"principalId": f"AWS:AROAJOB:{session}"})
        world.aggregator.aggregate_event(s3_event(record), TIME_LEFT)
        function.run()
        assert home.asked == [home.shares[0].share_id]


@pytest.mark.parametrize("mode", ["auto", "on"])
def test_every_share_that_shows_it_is_asked_but_the_one_whose_role_wrote(
    world: World, written: Written, mode: str
) -> None:
    world.settings["REFRESH_OTHER_GATEWAYS"] = mode
    assert written(FOUR) == ["share-2", "share-3"]


def test_nothing_is_asked_if_only_the_writers_share_shows_it(
    written: Written, caplog: pytest.LogCaptureFixture
) -> None:
    assert written([share("share-1"), share("share-4", prefix="videos/")]) == []
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_both_shares_of_a_role_are_asked_for_nobody_knows_which_one_wrote(written: Written) -> None:
    assert written([share("share-1"), share("share-2", role="share-1")]) == ["share-1", "share-2"]


def test_every_share_is_asked_if_the_role_is_nobodys(written: Written) -> None:
    """The share that wrote is deleted, moved or replaced before the window is due."""
    assert written(FOUR, role_id="AROAGONE") == ["share-1", "share-2", "share-3"]


def test_the_only_share_is_asked_if_another_one_that_is_deleted_since_wrote(written: Written) -> None:
    assert written([share("share-2")]) == ["share-2"]


def test_the_only_share_is_left_out_if_iam_does_not_tell_its_roles_id(written: Written) -> None:
    assert written([share("nobody")]) == []


def test_the_only_share_is_asked_if_iam_does_not_tell_its_roles_id_and_so_it_is_set(
    world: World, written: Written
) -> None:
    world.settings["REFRESH_OTHER_GATEWAYS"] = "on"
    assert written([share("nobody")]) == ["nobody"]


def test_all_shares_are_asked_if_iam_does_not_tell_any_id_and_there_are_two(written: Written) -> None:
    assert written([share("nobody"), share("no-one")], role_id="AROAX") == ["no-one", "nobody"]


def test_a_share_is_asked_if_another_one_that_may_have_written_cannot_be_described(
    world: World, iam: Any, roles: Roles
) -> None:
    home = Region(world, [share("share-1"), share("share-9", unknown="denied")])
    function = Function(world, {HOME: home})
    function.roles = roles
    principal = f"AWS:{id_of(iam, 'share-1')}:StorageGateway"
    world.aggregator.aggregate_event(s3_event(s3_record(userIdentity={"principalId": principal})), TIME_LEFT)
    function.deliver_next()
    assert home.asked == ["share-1"]
    assert world.waits("my-bucket/share-9").folders == {"/photos"}


def test_the_writers_share_is_left_out_if_the_other_regions_have_no_share_of_its_role(
    world: World, written: Written
) -> None:
    away = Region(world, [share("share-2", region=AWAY)])
    assert written([share("share-1")], away=away) == []
    assert away.asked == ["share-2"]


def test_nobody_is_left_out_if_another_region_has_a_share_of_the_same_role(world: World, written: Written) -> None:
    away = Region(world, [share("share-9", region=AWAY, role="share-1")])
    assert written([share("share-1")], away=away) == ["share-1"]
    assert away.asked == ["share-9"]


def test_the_only_share_here_is_asked_if_iam_does_not_tell_its_roles_id_and_there_is_one_elsewhere(
    world: World, written: Written
) -> None:
    assert written([share("nobody")], away=Region(world, [share("share-9", region=AWAY)])) == ["nobody"]


def test_nobody_is_left_out_while_another_region_cannot_be_listed(world: World, iam: Any, roles: Roles) -> None:
    home, away = Region(world, [share("share-1")]), Region(world, [share("share-2", region=AWAY)], listing=DOWN)
    function = Function(world, {HOME: home, AWAY: away})
    function.roles = roles
    principal = f"AWS:{id_of(iam, 'share-1')}:StorageGateway"
    world.aggregator.aggregate_event(s3_event(s3_record(userIdentity={"principalId": principal})), TIME_LEFT)
    function.run(until=world.time + 40_000)
    assert home.asked == ["share-1"]


def test_nobody_is_left_out_while_iam_fails(iam: Any, written: Written) -> None:
    role_id = id_of(iam, "share-1")
    error = refusal("Throttling")

    def instead(**_: Any) -> None:
        raise error

    iam.meta.events.register_first("provide-client-params.iam.GetRole", instead)
    assert written([share("share-1"), share("share-2")], role_id=role_id) == ["share-1", "share-2"]
