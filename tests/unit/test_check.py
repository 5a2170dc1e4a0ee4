"""What check.sh makes of what AWS tells it; that it is told this is tested end to end."""

from dataclasses import replace
from typing import Any
from unittest.mock import MagicMock, Mock

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from commands.check import areas, expected, gateway_report, grants, network
from commands.check.areas import Area, exit_status
from commands.check.command import in_words
from commands.check.expected import Resource, differences
from commands.check.grants import Denial, Question
from commands.check.network import Network, services, unreachable
from commands.check.resources import Live, concerns, wrongs
from commands.check.trial import Object, Trial, Walk, leaving_nothing, left, limit, step
from commands.check.trial import in_words as hop_in_words
from commands.operate.__main__ import main
from commands.operate.refresh_log import Refresh
from commands.operate.share_state import Snapshot
from commands.operate.stack import Stack, StackError
from commands.operate.status import Concern
from event_aggregator.file_shares import FileShare
from event_aggregator.settings import Settings
from event_aggregator.table import Key, WindowItem
from event_aggregator.turns import Accepted, Gateway, Rules
from event_aggregator.turns import Share as Turn
from event_aggregator.waiting import ShareItem
from tests.unit.conftest import START
from tests.unit.deployed import ACCOUNT, REGION, TEMPLATE, values_of
from tests.unit.shares import BUSY

AT = START
ARN = f"arn:aws:storagegateway:{REGION}:{ACCOUNT}:"
SHARE = FileShare(
    f"{ARN}share/share-1", "NFS", f"{ARN}gateway/sgw-1", "AVAILABLE", "b", "p/", role="arn:aws:iam::1:role/r"
)


# What the stack should be, and how it differs


def test_a_value_is_as_wanted_however_aws_writes_it() -> None:
    wanted = {"Number": "30", "Flag": True, "One": ["x"], "Many": ["a", "b"], "Threshold": 0, "Inside": {"A": 1}}
    found = {
        "Number": 30,
        "Flag": "true",
        "One": "x",
        "Many": ["b", "a"],
        "Threshold": 0.0,
        "Inside": {"A": "1", "B": 2},
    }
    assert list(differences(wanted, found)) == []


@pytest.mark.parametrize(
    ("wanted", "found", "told"),
    [
        ({"A": {"B": "1"}}, {"A": {"B": "2"}}, "A.B is 2, and 1 in the stack"),
        ({"A": {"B": "1"}}, {"A": {}}, "A.B is nothing, and 1 in the stack"),
        ({"A": None}, {"A": 0}, "A is 0, and nothing in the stack"),
        ({"A": ["x"]}, {"A": ["x", "y"]}, "A is ['x', 'y'], and ['x'] in the stack"),
        ({"A": [{"B": 1}]}, {"A": []}, "A is nothing, and [{'B': 1}] in the stack"),
    ],
)
def test_what_differs_is_told_with_both_values(wanted: Any, found: Any, told: str) -> None:
    assert list(differences(wanted, found)) == [told]


def test_others_may_add_statements_and_what_only_one_of_them_tells_is_left_out() -> None:
    assert list(differences({"A": [{"B": 1}], "C": 1}, {"A": [{"D": 2}, {"B": 1}], "E": 2})) == []


def function(**properties: Any) -> Resource:
    return Resource("Refresh", "AWS::Lambda::Function", "Refresh", properties)


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ({"State": "Active", "LastUpdateStatus": "Successful"}, []),
        ({"State": "Pending", "LastUpdateStatus": "InProgress"}, []),
        ({"State": "Failed", "StateReason": "no role"}, ["State is Failed (no role)"]),
        ({"ReservedConcurrentExecutions": 5}, ["ReservedConcurrentExecutions is 5, and nothing in the stack"]),
        ({"VpcConfig": {"SubnetIds": []}}, []),
        ({"VpcConfig": {"SubnetIds": ["s"]}}, ["VpcConfig.SubnetIds is ['s'], and nothing in the stack"]),
    ],
)
def test_a_function_is_in_a_state_that_no_template_says(found: Any, told: list[str]) -> None:
    assert list(wrongs(function(), found)) == told


def test_what_a_newer_template_has_and_nobody_here_knows_is_not_passed_over() -> None:
    live = Live(Stack(boto3.Session(region_name=REGION)))
    [concern] = concerns(live, Resource("New", "AWS::New::Thing", "new", {}))
    assert not concern.is_known
    assert concern.what == "thing new: this version cannot check it"


# Roles


def questions(*known: str, **given: Any) -> list[Question]:
    values = values_of(given)
    ids = {"AggregatorRole": "one", "RefreshRole": "two"}
    resources = expected.resources(TEMPLATE, values, ids)
    return list(grants.of_stack(resources, known, f"arn:aws:iam::{ACCOUNT}:role/", REGION))


def test_every_action_of_every_role_is_asked_about_on_a_real_resource_of_its_region() -> None:
    shares = [SHARE.arn, SHARE.arn.replace(REGION, "eu-west-1")]
    asked = questions(*shares, GatewayRegions=[REGION, "eu-west-1"], SubnetIds=["subnet-1"], SecurityGroupIds=["sg-1"])
    assert {question.role for question in asked} == {f"arn:aws:iam::{ACCOUNT}:role/{name}" for name in ("one", "two")}
    refreshes = [question for question in asked if "storagegateway:RefreshCache" in question.actions]
    assert [(one.resources, one.context["aws:RequestedRegion"]) for one in refreshes] == [
        ([shares[1]], "eu-west-1"),
        ([shares[0]], REGION),
    ]
    assert any("ec2:CreateNetworkInterface" in question.actions for question in asked)
    assert all("*" not in resource or resource == "*" for question in asked for resource in question.resources)


def test_a_condition_of_the_policy_is_met_as_the_calls_meet_it() -> None:
    [told] = [question for question in questions() if "events:PutEvents" in question.actions]
    assert told.asked()["ContextEntries"] == [
        {"ContextKeyName": "aws:RequestedRegion", "ContextKeyValues": [REGION], "ContextKeyType": "string"},
        {"ContextKeyName": "events:source", "ContextKeyValues": ["s3-event-aggregator"], "ContextKeyType": "string"},
    ]


POINT = f"arn:aws:s3:{REGION}:{ACCOUNT}:accesspoint/point"


@pytest.mark.parametrize(
    ("lies", "on"),
    [
        ("arn:aws:s3:::b/p/", ["arn:aws:s3:::b", "arn:aws:s3:::b/p/any"]),
        (f"{POINT}/p/", [POINT, f"{POINT}/object/p/any"]),
    ],
)
def test_a_share_lists_what_it_lies_on(lies: str, on: list[str]) -> None:
    asked = grants.of_share(SHARE, lies, "aws", REGION)
    assert [(one.actions[0], *one.resources) for one in asked] == [("s3:ListBucket", on[0]), ("s3:GetObject", on[1])]
    assert asked[0].context["s3:prefix"] == "p/"


def result(decision: str = "implicitDeny", **details: Any) -> dict[str, Any]:
    return {"EvalActionName": "s:Do", "EvalResourceName": "r", "EvalDecision": decision, **details}


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (result(), "none of its policies allows it"),
        (result("explicitDeny"), "one of its policies denies it"),
        (
            result(PermissionsBoundaryDecisionDetail={"AllowedByPermissionsBoundary": False}),
            "its permissions boundary does not allow it",
        ),
        (
            result("explicitDeny", OrganizationsDecisionDetail={"AllowedByOrganizations": False}),
            "an SCP of the organization does not allow it",
        ),
    ],
)
def test_a_denial_names_who_denies(answer: Any, why: str) -> None:
    question = Question("arn:aws:iam::1:role/r", ["s:Do"], ["r"], {})
    [denial] = grants.denials(question, [answer, result("allowed")])
    [(told, _)] = grants.in_words([denial])
    assert told == f"the role r may not s:Do on r: {why}"


def test_a_role_that_has_lost_its_policy_fills_no_screen() -> None:
    denied = [Denial("r", "why", "policy", f"s:Do{number}", "r") for number in range(20)]
    [(told, _)] = grants.in_words(denied)
    assert told.endswith("s:Do3 on r and 16 more: why")


# Network

OUT = {"IpProtocol": "-1"}
FROM_FUNCTION = {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "UserIdGroupPairs": [{"GroupId": "sg-f"}]}
SQS = {
    "VpcEndpointId": "vpce-1",
    "VpcEndpointType": "Interface",
    "ServiceName": f"com.amazonaws.{REGION}.sqs",
    "State": "available",
    "PrivateDnsEnabled": True,
    "Groups": [{"GroupId": "sg-e"}],
}
TABLE = {
    "RouteTableId": "rtb-1",
    "Associations": [{"Main": True}],
    "Routes": [{"DestinationCidrBlock": "10.0.0.0/16", "GatewayId": "local", "State": "active"}],
}
VPC = Network(
    subnets=[{"SubnetId": "subnet-1", "CidrBlock": "10.0.1.0/24"}],
    groups=["sg-f"],
    of_vpc={"sg-f": {"IpPermissionsEgress": [OUT]}, "sg-e": {"IpPermissions": [FROM_FUNCTION]}},
    routes=[TABLE],
    endpoints=[SQS],
)


def way_out(**target: str) -> dict[str, Any]:
    return {**TABLE, "Routes": [{"DestinationCidrBlock": "0.0.0.0/0", "State": "active", **target}]}


def cut_off(known: Network, service: str = "sqs") -> list[str]:
    return [concern.what.rpartition("subnet-1: ")[2] for concern in unreachable(known, [(service, REGION)])]


def test_a_service_is_reached_through_its_endpoint_or_a_nat() -> None:
    assert cut_off(VPC) == []
    assert cut_off(replace(VPC, endpoints=[], routes=[way_out(NatGatewayId="nat-1")])) == []
    of_table = {**SQS, "VpcEndpointType": "Gateway", "RouteTableIds": ["rtb-1"]}
    assert cut_off(replace(VPC, endpoints=[of_table])) == []
    by_address = {**FROM_FUNCTION, "UserIdGroupPairs": [], "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}
    assert cut_off(replace(VPC, of_vpc={**VPC.of_vpc, "sg-e": {"IpPermissions": [by_address]}})) == []
    own_table = {**way_out(NatGatewayId="nat-1"), "Associations": [{"SubnetId": "subnet-1"}]}
    assert cut_off(replace(VPC, endpoints=[], routes=[TABLE, own_table])) == []


NOBODY = {**VPC.of_vpc, "sg-e": {"IpPermissions": []}}
REFUSES = "no security group of its endpoint vpce-1 admits the function"


@pytest.mark.parametrize(
    ("known", "why"),
    [
        (replace(VPC, endpoints=[]), "there is no endpoint, and no default route"),
        (
            replace(VPC, endpoints=[], routes=[way_out(GatewayId="igw-1")]),
            "its default route is an internet gateway; a function needs a NAT gateway",
        ),
        (replace(VPC, of_vpc=NOBODY), REFUSES),
        (replace(VPC, of_vpc=NOBODY, routes=[way_out(NatGatewayId="nat-1")]), REFUSES),
        (replace(VPC, endpoints=[{**SQS, "PrivateDnsEnabled": False}]), "vpce-1 has no private DNS"),
        (replace(VPC, endpoints=[{**SQS, "State": "pending"}]), "its endpoint vpce-1 is pending"),
        (
            replace(VPC, endpoints=[{**SQS, "VpcEndpointType": "Gateway", "RouteTableIds": ["rtb-2"]}]),
            "its endpoint vpce-1 is not in the subnet's route table",
        ),
        (
            replace(VPC, of_vpc={**VPC.of_vpc, "sg-f": {"IpPermissionsEgress": []}}),
            "the function's security groups sg-f allow no outbound HTTPS",
        ),
    ],
)
def test_a_service_that_is_not_reached_is_named_with_the_reason(known: Network, why: str) -> None:
    assert cut_off(known) == [why]


def test_what_the_function_reaches_depends_on_its_settings() -> None:
    least = {"VISIBLE_EVENTS": "off", "AWS_ENDPOINT_URL_STORAGE_GATEWAY": "https://vpce"}
    assert [service for service, _ in services(least, [], REGION)] == ["dynamodb", "sqs"]
    most = list(services({"GATEWAY_ROLE_ARNS": "arn"}, ["a", "b"], REGION))
    assert most[2:] == [("storagegateway", "a"), ("storagegateway", "b"), ("sts", REGION), ("events", REGION)]


def test_the_vpc_is_asked_for_by_the_functions_own() -> None:
    ec2 = boto3.client("ec2", REGION, aws_access_key_id="x", aws_secret_access_key="x")  # noqa: S106
    in_vpc = {"Filters": [{"Name": "vpc-id", "Values": ["vpc-1"]}]}
    with Stubber(ec2) as aws:
        aws.add_response("describe_security_groups", {"SecurityGroups": [{"GroupId": "sg-f"}]}, in_vpc)
        aws.add_response("describe_subnets", {"Subnets": [{"SubnetId": "subnet-1"}]}, {"SubnetIds": ["subnet-1"]})
        aws.add_response("describe_route_tables", {"RouteTables": []}, in_vpc)
        aws.add_response("describe_vpc_endpoints", {"VpcEndpoints": []}, in_vpc)
        of_function = {"VpcId": "vpc-1", "SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-f"]}
        known = network.look(ec2, {"VpcConfig": of_function})
    assert (known.groups, known.of_vpc) == (["sg-f"], {"sg-f": {"GroupId": "sg-f"}})


# The walk of an object

OBJECT = Object("b", "p/a/object", "folders", [SHARE])
WALK = Walk(AT)
OPEN = WindowItem(
    window_id="w", confirmed=True, opened_at=AT + 800, refresh_at=AT + 30_800, folders=frozenset({"/p/a"})
)
CLOSED = WindowItem(refresh_started_at=AT + 31_000)


def table(
    item: WindowItem = CLOSED, turn: Turn | None = None, waiting: ShareItem | None = None, at: int = AT + 40_000
) -> Snapshot:
    gateway = Gateway({SHARE.key: turn}) if turn else Gateway()
    waits = {SHARE.key: waiting} if waiting else {}
    return Snapshot(at, Rules(2, 60_000), {Key.read("b"): item}, waits, {Key.read(SHARE.gateway_arn): gateway})


def accepted(at: int, window: str = "w", in_progress_until: int = 0, first_change: int = AT) -> Turn:
    return Turn(last=Accepted("n", at, first_change, window, "NFS"), in_progress_until=in_progress_until)


def test_an_object_comes_hop_by_hop() -> None:
    walk = step(WALK, table(WindowItem(), at=AT + 400), OBJECT)
    assert left(walk, [SHARE])[0] == "event"
    walk = step(walk, table(replace(OPEN, confirmed=False), at=AT + 900), OBJECT)
    assert walk.hops == {"event": AT + 800}
    walk = step(walk, table(OPEN, at=AT + 1_400), OBJECT)
    assert walk.hops["request"] == AT + 1_400
    walk = step(walk, table(replace(CLOSED, refreshing_id="w"), at=AT + 31_200), OBJECT)
    assert walk.hops["begun"] == AT + 31_000
    walk = step(walk, table(turn=accepted(AT + 31_500, in_progress_until=AT + 99_000)), OBJECT)
    assert left(walk, [SHARE]) == ["share-1 complete"]
    walk = step(walk, table(turn=accepted(AT + 31_500), at=AT + 42_000), OBJECT)
    assert left(walk, [SHARE]) == []
    assert list(walk.hops.values()) == [AT + 800, AT + 1_400, AT + 31_000, AT + 31_500, AT + 42_000]


def test_an_object_joins_a_window_that_was_open_already() -> None:
    walk = step(WALK, table(replace(OPEN, opened_at=AT - 9_000), at=AT + 300), OBJECT)
    assert (walk.joined, walk.hops["event"]) == (True, AT + 300)
    assert "an earlier window" in hop_in_words("event", walk)


def test_a_window_of_other_folders_tells_nothing() -> None:
    assert step(WALK, table(replace(OPEN, folders=frozenset({"/q"}))), OBJECT) == WALK


def test_a_window_that_was_closed_before_the_first_look_is_known_by_its_refresh_or_by_who_waits_for_it() -> None:
    assert left(step(WALK, table(turn=accepted(AT + 900)), OBJECT), [SHARE]) == []
    of_the_writing = replace(WALK, before="w")
    assert step(of_the_writing, table(turn=accepted(AT - 100)), OBJECT) == of_the_writing
    being_handed = replace(CLOSED, refreshing_id="w", refreshed_since=AT + 100)
    assert left(step(WALK, table(being_handed), OBJECT), [SHARE]) == ["share-1 accepted", "share-1 complete"]
    waiting = ShareItem("x", AT + 800, frozenset({"/p/a"}), correlation="w", gateway=SHARE.gateway_arn)
    assert left(step(WALK, table(waiting=waiting), OBJECT), [SHARE]) == ["share-1 accepted", "share-1 complete"]
    earlier, joined = accepted(AT - 9_000, "v", first_change=AT - 20_000), replace(waiting, opened_at=AT - 9_000)
    assert step(WALK, table(turn=earlier, waiting=joined), OBJECT) == WALK
    of_this = replace(CLOSED, refreshed_folders=frozenset({"/p/a"}))
    assert left(step(WALK, table(of_this, earlier, joined), OBJECT), [SHARE])[0] == "share-1 accepted"


def test_a_share_that_waited_already_is_asked_under_its_earlier_windows_name() -> None:
    walk = replace(WALK, window="w").at("event", AT)
    of_another = accepted(AT + 60_000, "v")
    waiting = ShareItem(window_id="x", opened_at=AT, folders=frozenset({"/p/a"}), gateway=SHARE.gateway_arn)
    assert "share-1 accepted" not in step(walk, table(turn=of_another, waiting=waiting), OBJECT).hops
    assert "share-1 accepted" not in step(walk, table(turn=accepted(AT + 30_000, "v")), OBJECT).hops
    assert "share-1 accepted" in step(walk, table(turn=of_another), OBJECT).hops


def test_a_hop_has_a_minute_a_window_until_it_is_due_and_a_share_what_is_given() -> None:
    walk = replace(WALK, due=AT + 30_000).at("event", AT + 1_000)
    assert limit("event", WALK, 1) == AT + 60_000
    assert limit("request", walk, 1) == AT + 61_000
    assert limit("begun", walk.at("request", AT + 2_000), 1) == AT + 90_000
    assert limit("share-1 accepted", walk.at("begun", AT + 31_000), 5_000) == AT + 36_000
    assert hop_in_words("begun", walk, has_come=False) == "the request was not received when it was due"


class S3:
    """Holds versions, and may refuse to remove them."""

    def __init__(self, refuses: Exception | None = None) -> None:
        self.removed: list[str] = []
        self.refuses = refuses

    def list_object_versions(self, **_: str) -> Any:
        return {"Versions": [{"Key": "k", "VersionId": "1"}], "DeleteMarkers": [{"Key": "k", "VersionId": "2"}]}

    def delete_object(self, VersionId: str, **_: str) -> None:  # noqa: N803
        if self.refuses:
            raise self.refuses
        self.removed.append(VersionId)


class OfTrial:
    """A stack with a share of a bucket, in the place of Stack."""

    settings = Settings.read({"TABLE_NAME": "t", "QUEUE_URL": "q", "IGNORE_KEYS": "tmp/*"})

    def __init__(self, s3: Any) -> None:
        self.s3 = s3

    def client(self, _: str) -> Any:
        return self.s3

    def shares(self, _: str) -> list[FileShare]:
        return [SHARE]


def refused(prefix: str, versioning: dict[str, str], lock: dict[str, Any] | None) -> str:
    s3: Any = boto3.client("s3", REGION, aws_access_key_id="x", aws_secret_access_key="x")  # noqa: S106
    with Stubber(s3) as aws:
        aws.add_response("get_bucket_versioning", versioning)
        if lock is None:
            aws.add_client_error("get_object_lock_configuration", "ObjectLockConfigurationNotFoundError")
            aws.add_client_error("put_object", "AccessDenied")
            aws.add_response("list_object_versions", {})
        else:
            aws.add_response("get_object_lock_configuration", {"ObjectLockConfiguration": lock})
        stack: Any = OfTrial(s3)
        with pytest.raises((StackError, ClientError)) as error:
            Trial(stack, "b", prefix, 1, print).run()
    return str(error.value)


def test_nothing_is_written_that_tells_nothing_or_could_not_be_removed_again() -> None:
    rule = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 1}}}
    assert "matches tmp/* of --ignore-keys" in refused("tmp", {}, None)
    assert "No file share shows b/other/s3-event" in refused("other", {}, None)
    assert "deletes versions only with MFA" in refused("p", {"Status": "Enabled", "MFADelete": "Enabled"}, None)
    assert "locks its objects" in refused("p", {"Status": "Enabled"}, rule)
    assert "PutObject" in refused("/p/", {"Status": "Enabled"}, None)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_whatever_happens_every_version_and_marker_is_removed(error: type[BaseException]) -> None:
    s3 = S3()
    with pytest.raises(error), leaving_nothing(s3, "b", "k"):
        raise error
    assert s3.removed == ["1", "2"]


def test_what_cannot_be_removed_is_named_with_the_command_that_finds_it() -> None:
    with (
        pytest.raises(StackError, match=r"b/k could not be removed: .*--bucket b --prefix k"),
        leaving_nothing(S3(BUSY), "b", "k"),
    ):
        pass


# What was learned


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("Too many requests have been sent to server.", "Too many requests have been sent to server."),
        ("The folder Geheimnis/x7 is not in the cache.", "The folder … is not in the cache."),
        (f"No such share: {SHARE.arn} of 123456789012", "No such share: … of …"),
        (
            "InvalidGatewayRequestException (GatewayNotConnected): 17",
            "InvalidGatewayRequestException (GatewayNotConnected): …",
        ),
    ],
)
def test_of_what_aws_says_only_its_own_words_are_told(said: str, told: str) -> None:
    assert gateway_report.without_names(said) == told


def test_refusals_are_counted_by_their_words() -> None:
    lines = [f"b/share-{number} waits: it refused: Too many requests for zweiundvierzig" for number in range(3)]
    answer = gateway_report.refusals(
        [*lines, "b/share-1 waits: it is UNAVAILABLE", "b/share-1 waits: it refused: Not found."]
    )
    assert answer.answers == ["3 times: Too many requests for …", "1 times: Not found."]


def test_the_times_of_refreshes_are_told_by_share_and_kind() -> None:
    refreshes = [Refresh(AT, ["/"], recursive=False, correlation="w", completed=AT + ms) for ms in (500, 1_500, 9_000)]
    lost = Refresh(AT, ["/"], recursive=False, correlation="w")
    folders, everything = gateway_report.of_log({"share 1": [*refreshes, lost]})
    told = "share 1: 4 accepted, 3 reported complete; 0.5 s at least, 1.5 s half of them, 9.0 s at most"
    assert (folders.answers, everything.answers) == ([told], [])


def test_the_trials_hops_are_told_without_the_shares_name() -> None:
    walk = WALK.at("event", AT + 500).at("share-1 accepted", AT + 1_500)
    [answer] = gateway_report.of_trial({"writing": walk}, {"share-1": "share 1"})
    assert answer.answers == ["event: 0.5 s", "share 1 accepted: 1.5 s"]


# The whole


@pytest.mark.parametrize(
    ("flags", "why"),
    [(["--probe-limits"], "needs --report FILE"), (["--timeout", "soon"], "'soon' is no whole number")],
)
def test_flags_that_make_no_sense_are_refused_before_anything_is_asked(
    flags: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        status: object = main(["check.sh", "--region", REGION, *flags])
    except SystemExit as error:
        status = error.code
    assert status == 2
    assert why in capsys.readouterr().err


WELL = Area("Work", "all is done", [])
FAULT, UNTOLD = Concern("it is wrong", "mend it"), Concern("denied", "allow it", is_known=False)


@pytest.mark.parametrize(("concerns", "status"), [([], 0), ([FAULT], 1), ([FAULT, UNTOLD], 1), ([UNTOLD], 2)])
def test_a_fault_counts_more_than_what_could_not_be_told(concerns: list[Concern], status: int) -> None:
    assert exit_status([WELL, replace(WELL, concerns=concerns)]) == status


@pytest.mark.parametrize(("region", "most"), [("us-east-1", 300), ("af-south-1", 100), ("eu-south-1", 100)])
def test_a_full_bus_is_told_by_its_regions_quota(region: str, most: int) -> None:
    def told(rules: int) -> list[str]:
        client = MagicMock()
        client.get_account_settings.return_value = {"AccountLimit": {"UnreservedConcurrentExecutions": 1_000}}
        client.get_paginator.return_value.paginate.return_value = [{"Rules": [{}] * rules}]
        stack = Mock(region=region, client=lambda _: client, function_policy=dict)
        found: list[Concern] = []
        areas._quotas(Mock(stack=stack, triggers=[]), found)
        return [concern.what for concern in found]

    assert told(most - 1) == []
    assert told(most) == [f"{most} rules are on the bus, and {most} is the quota, unless it was raised"]


def test_an_area_has_a_line_if_all_is_well_and_else_each_concern_with_what_mends_it() -> None:
    assert in_words(WELL) == ["ok      Work     all is done"]
    told = in_words(replace(WELL, concerns=[FAULT, UNTOLD]))
    assert [line.split(maxsplit=1)[0] for line in told] == ["FAULT", "mend", "?", "allow"]
