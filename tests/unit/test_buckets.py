"""attach-bucket.sh and detach-bucket.sh against a small AWS behind the CLI, which keeps what is written.

It can kill the script after any write, and lose a notification as S3 does when two put theirs at once.
"""

import json
import shutil
import subprocess
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.unit.resident import KillScript, Programs, operation_of

ROOT = Path(__file__).parents[2]

ARN = "arn:aws:lambda:us-east-1:123456789012:function:S3EventAggregator"
RULE_ARN = "arn:aws:events:us-east-1:123456789012:rule/S3EventAggregatorObjectChanges"
THEIRS = {"Id": "audit", "QueueArn": "arn:aws:sqs:us-east-1:123456789012:q", "Events": ["s3:ObjectTagging:*"]}


def statement(flags: dict[str, str]) -> dict[str, Any]:
    """Of the function's policy, as Lambda makes it."""
    condition = {"ArnLike": {"AWS:SourceArn": flags["--source-arn"]}}
    if "--source-account" in flags:
        condition["StringEquals"] = {"AWS:SourceAccount": flags["--source-account"]}
    return {"Sid": flags["--statement-id"], "Principal": {"Service": flags["--principal"]}, "Condition": condition}


def content(file: str) -> Any:
    return json.loads(Path(file.removeprefix("file://")).read_text())


@dataclass
class Account:
    """An AWS account with a stack and two buckets, of which the first notifies somebody else already."""

    folder: Path
    env: dict[str, str] = field(default_factory=dict)
    kept: dict[str, Any] = field(
        default_factory=lambda: {
            "stack": True,
            "policy": {},
            "rule": None,
            "targets": [],
            "notifications": {"my-bucket": {"QueueConfigurations": [THEIRS]}, "other": {}},
            "messages": [],
            "variables": {},
            "shares": [],
            "denied": [],
            "access_points": {},
            "aliases": {},
            "more": None,
            "calls": [],
            "overwritten": False,
        }
    )

    @property
    def state(self) -> Any:
        return deepcopy(self.kept)

    def change(self, **changed: Any) -> None:
        self.kept |= deepcopy(changed)

    def aws(self, _retries: str, arguments: list[str]) -> str:
        """What the AWS CLI prints."""
        service_and_operation, words = operation_of(arguments)
        operation = service_and_operation.split(" ")[-1]
        region = dict(pairwise(arguments)).get("--region", "")
        if operation == "list-file-shares" and region in self.kept["denied"]:
            raise ValueError("\nAn error occurred (AccessDeniedException) when calling the operation: you may not")
        answer = self.answer(operation, words, region)
        if answer is None:
            code = "NoSuchAccessPoint" if operation == "get-access-point" else "ResourceNotFoundException"
            raise ValueError(f"\nAn error occurred ({code}) when calling the operation: not there")
        self.kept["calls"].append(arguments)
        if not operation.startswith(("get-", "list-", "describe-", "--version")):
            self.kept["writes"].append(operation)
            if len(self.kept["writes"]) == self.kept["killed_after"]:
                raise KillScript
        return f"{answer if isinstance(answer, str) else json.dumps(answer)}\n"

    def answer(self, operation: str, words: list[str], region: str) -> Any:  # noqa: PLR0911, PLR0912 - a branch an operation
        """The answer to a call, made to what is kept; None if it is about something that is not there."""
        state, flags = self.kept, dict(pairwise(words))
        match operation:
            case "--version":
                return "aws-cli/2.18.0 Python/3.12.6 Linux/6.1 exe/x86_64"
            case "get-caller-identity":
                return "123456789012\tarn:aws:iam::123456789012:user/me"
            case "get-bucket-location":
                return "None"
            case "get-function-configuration":
                return {"Environment": {"Variables": state["variables"]}} if state["stack"] else None
            case "get-queue-url":
                return "https://sqs.us-east-1.amazonaws.com/123456789012/Q" if state["stack"] else None
            case "get-policy":
                statements = [{"Sid": sid, **statement} for sid, statement in state["policy"].items()]
                return {"Statement": statements} if statements else None
            case "get-bucket-notification-configuration":
                return state["notifications"][flags["--bucket"]]
            case "describe-rule":
                return state["rule"]
            case "list-targets-by-rule":
                return (state["targets"] or ["null"])[0] if state["rule"] else None
            case "describe-alarms":
                return {"MetricAlarms": []}
            case "list-file-shares":
                there = [share for share in state["shares"] if share["FileShareARN"].split(":")[3] == region]
                return {"FileShareInfoList": there}
            case "describe-nfs-file-shares" | "describe-smb-file-shares":
                kind, arns = operation[9:12].upper(), words[words.index("--file-share-arn-list") + 1 :]
                assert len(arns) <= 10
                found = [share for share in state["shares"] if share["FileShareARN"] in arns]
                assert all(share["FileShareType"] == kind and f":{region}:" in share["FileShareARN"] for share in found)
                return {f"{kind}FileShareInfoList": found}
            case "get-access-point":
                return state["access_points"].get(f"{flags['--account-id']}/{flags['--name']}")
            case "list-access-points":
                return f"{state['more']}\t{state['aliases'].get(flags['--query'].split(chr(39))[1])}"
            case "send-message":
                assert flags["--message-body"] == "{}"
                message = {"delay": int(flags["--delay-seconds"]), "attributes": flags["--message-attributes"]}
                state["messages"].append(message)
            case "add-permission":
                state["policy"][flags["--statement-id"]] = statement(flags)
            case "remove-permission":
                del state["policy"][flags["--statement-id"]]
            case "put-rule":
                state["rule"] = content(flags["--cli-input-json"])
            case "put-targets":
                state["targets"] = content(flags["--targets"])
            case "remove-targets":
                state["targets"] = []
            case "delete-rule":
                assert not state["targets"], "EventBridge deletes no rule that has targets"
                state["rule"] = None
            case "put-bucket-notification-configuration":
                put = content(flags["--notification-configuration"])
                state["notifications"][flags["--bucket"]] = (
                    {"EventBridgeConfiguration": {}} if state["overwritten"] else put
                )
            case "describe-table" | "list-event-source-mappings" | "list-attached-role-policies":
                return None  # the rest of the stack
            case _:
                assert operation.startswith("delete-"), f"unexpected: {operation}"
                return None
        return ""

    def run(self, script: str, *arguments: str, killed_after: int = 0) -> tuple[int, str, list[str]]:
        """The script's exit code, what it prints, and the operations by which it wrote."""
        self.change(writes=[], killed_after=killed_after)
        done = subprocess.run(
            [self.folder / "scripts" / script, "--region", "us-east-1", *arguments],
            env={"PATH": f"{self.folder / 'bin'}:/usr/bin:/bin"} | self.env,
            start_new_session=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout, self.state["writes"]

    def attach(self, *arguments: str) -> list[str]:
        """Attaches my-bucket; the operations by which that wrote."""
        exit_code, output, writes = self.run("attach-bucket.sh", "--bucket", "my-bucket", *arguments)
        assert exit_code == 0, output
        return writes

    def detach(self, bucket: str = "my-bucket") -> list[str]:
        exit_code, output, writes = self.run("detach-bucket.sh", "--bucket", bucket)
        assert exit_code == 0, output
        return writes

    def attached(self) -> Any:
        """All that says that buckets are attached."""
        return {name: self.state[name] for name in ("policy", "rule", "targets", "notifications")}

    def filters(self) -> list[str]:
        entries = self.state["notifications"]["my-bucket"].get("LambdaFunctionConfigurations", [])
        return [
            rule["Value"]
            for entry in entries
            for rule in entry.get("Filter", {"Key": {"FilterRules": []}})["Key"]["FilterRules"]
        ]

    def detail(self) -> Any:
        """What the rule asks of the events it takes."""
        return json.loads(self.state["rule"]["EventPattern"])["detail"]


@pytest.fixture
def account(tmp_path: Path, programs: Programs) -> Account:
    for folder in ("scripts", "s3", "cloudwatch"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    programs.install(tmp_path / "bin")
    account = Account(tmp_path)
    programs.aws = account.aws
    return account


def share(number: int, location: str, kind: str = "NFS", region: str = "us-east-1") -> dict[str, str]:
    arn = f"arn:aws:storagegateway:{region}:123456789012:share/share-{number:08X}"
    return {"FileShareARN": arn, "FileShareType": kind, "LocationARN": location}


# By the bucket's notification


def test_a_bucket_is_attached_beside_the_notifications_of_others_and_detached_without_a_trace(account: Account) -> None:
    before = account.attached()
    assert account.attach() == ["send-message", "add-permission", "put-bucket-notification-configuration"]
    notification = account.state["notifications"]["my-bucket"]
    assert [entry["LambdaFunctionArn"] for entry in notification["LambdaFunctionConfigurations"]] == [ARN]
    assert notification["QueueConfigurations"] == [THEIRS]
    assert account.attach() == []
    assert account.detach() == ["put-bucket-notification-configuration", "remove-permission"]
    assert account.attached() == before
    assert account.detach() == []


def test_what_changes_until_s3_sends_events_is_asked_for_before_s3_is_told(account: Account) -> None:
    account.attach()
    [message] = account.state["messages"]
    assert message["attributes"] == "bucket-name={DataType=String,StringValue=my-bucket}"
    assert message["delay"] == 360


def test_without_an_initial_refresh_nothing_is_asked_for(account: Account) -> None:
    assert "send-message" not in account.attach("--no-initial-refresh")


def test_a_notification_that_somebody_else_overwrote_is_said_to_be_missing(account: Account) -> None:
    account.change(overwritten=True)
    exit_code, output, _ = account.run("attach-bucket.sh", "--bucket", "my-bucket")
    assert exit_code == 1
    assert "missing: audit" in output
    assert "missing: s3-event-aggregator" in output
    assert "EventBridge is on" in output
    assert "Then run this again." in output


def test_a_bucket_of_no_stack_is_told_how_to_make_one(account: Account) -> None:
    account.change(stack=False)
    exit_code, output, writes = account.run("attach-bucket.sh", "--bucket", "my-bucket")
    assert exit_code == 1
    assert "scripts/create-stack.sh --region us-east-1 --bucket my-bucket" in output
    assert writes == []


@pytest.mark.parametrize("source", ["notification", "eventbridge"])
def test_a_dry_run_says_what_would_be_done_and_writes_nothing(account: Account, source: str) -> None:
    arguments = ("--bucket", "my-bucket", "--event-source", source, "--dry-run")
    exit_code, output, writes = account.run("attach-bucket.sh", *arguments)
    assert exit_code == 0, output
    assert "would ask for a refresh of all of my-bucket" in output
    assert writes == []
    account.attach("--event-source", source)
    exit_code, output, writes = account.run("detach-bucket.sh", "--bucket", "my-bucket", "--dry-run")
    assert exit_code == 0, output
    assert "would delete permission for" in output
    assert writes == []


@pytest.mark.parametrize(("source", "is_refused"), [("notification", True), ("eventbridge", False)])
def test_a_dry_run_says_what_s3_would_refuse_and_eventbridge_would_not(
    account: Account, source: str, is_refused: bool
) -> None:
    account.change(notifications={"my-bucket": {"QueueConfigurations": [{**THEIRS, "Events": ["s3:ObjectCreated:*"]}]}})
    _, output, _ = account.run("attach-bucket.sh", "--bucket", "my-bucket", "--event-source", source, "--dry-run")
    assert ("which S3 would refuse" in output) == is_refused
    assert ("audit: s3:ObjectCreated:*" in output) == is_refused


# By EventBridge


def test_a_bucket_is_attached_by_a_rule_of_eventbridges(account: Account) -> None:
    writes = account.attach("--event-source", "eventbridge")
    put = "put-bucket-notification-configuration"
    assert writes == ["send-message", "add-permission", "put-rule", "put-targets", put]
    assert json.loads(account.state["rule"]["EventPattern"]) == {
        "source": ["aws.s3"],
        "detail-type": ["Object Created", "Object Deleted"],
        "detail": {"bucket": {"name": ["my-bucket"]}},
    }
    assert account.state["targets"] == [{"Id": "aggregator", "Arn": ARN}]
    assert list(account.state["policy"].values()) == [
        {
            "Sid": "events-object-changes",
            "Principal": {"Service": "events.amazonaws.com"},
            "Condition": {"ArnLike": {"AWS:SourceArn": RULE_ARN}},
        }
    ]
    notification = account.state["notifications"]["my-bucket"]
    assert notification == {"QueueConfigurations": [THEIRS], "EventBridgeConfiguration": {}}
    assert account.attach() == [], "it keeps its event source"


def test_the_rule_goes_with_its_last_bucket(account: Account) -> None:
    account.attach("--event-source", "eventbridge", "--bucket", "other")
    assert account.detail() == {"bucket": {"name": ["my-bucket", "other"]}}
    assert account.detach() == ["put-rule"]
    assert account.detail() == {"bucket": {"name": ["other"]}}
    assert account.detach("other") == ["remove-permission", "remove-targets", "delete-rule"]
    assert (account.state["policy"], account.state["rule"]) == ({}, None)
    assert account.state["notifications"]["other"] == {"EventBridgeConfiguration": {}}, "others may use it"


def test_a_rule_that_lost_its_target_is_mended_and_what_was_missed_is_asked_for(account: Account) -> None:
    account.attach("--event-source", "eventbridge")
    account.change(targets=[])
    assert account.attach() == ["send-message", "put-targets"]


def a_rule_of_cloudformations(account: Account, *buckets: str) -> None:
    """As template.yaml makes it: the permission's id is CloudFormation's, the order of the buckets the parameter's."""
    account.attach("--event-source", "eventbridge", "--bucket", "other")
    [permission] = account.state["policy"].values()
    pattern = json.loads(account.state["rule"]["EventPattern"]) | {"detail": {"bucket": {"name": buckets}}}
    account.change(
        policy={"stack-ChangesPermission-1A2B": permission | {"Sid": "stack-ChangesPermission-1A2B"}},
        rule={"State": "ENABLED", "EventPattern": json.dumps(pattern)},
        notifications={"my-bucket": {}, "other": {}},
        messages=[],
    )


def test_a_bucket_of_cloudformations_rule_is_made_to_tell_eventbridge_and_the_rule_stays(account: Account) -> None:
    a_rule_of_cloudformations(account, "other", "my-bucket")
    before = account.state["rule"]
    writes = account.attach("--event-source", "eventbridge")
    assert writes == ["send-message", "put-bucket-notification-configuration"]
    assert account.attach() == []
    exit_code, output, writes = account.run("detach-bucket.sh", "--bucket", "my-bucket")
    assert (exit_code, writes, account.state["rule"]) == (0, [], before)
    assert "take my-bucket out of the parameter EventBridgeBuckets" in output
    assert "nothing of this stack" not in output


def test_a_bucket_that_cloudformation_has_attached_in_full_is_refreshed_when_it_is_attached_by_name(
    account: Account,
) -> None:
    a_rule_of_cloudformations(account, "other", "my-bucket")
    account.change(notifications={"my-bucket": {"EventBridgeConfiguration": {}}, "other": {}})
    assert account.attach() == []
    assert account.attach("--event-source", "eventbridge", "--no-initial-refresh") == []
    assert account.attach("--event-source", "eventbridge") == ["send-message"]


@pytest.mark.parametrize(("bucket", "arguments"), [("my-bucket", ()), ("other", ("--prefix", "a/"))])
def test_cloudformations_rule_is_not_changed_but_its_parameter_named(
    account: Account, bucket: str, arguments: tuple[str, ...]
) -> None:
    a_rule_of_cloudformations(account, "other")
    by = ("--event-source", "eventbridge", *arguments)
    exit_code, output, writes = account.run("attach-bucket.sh", "--bucket", bucket, *by)
    assert (exit_code, writes) == (1, [])
    assert f"Name {bucket} in the parameter EventBridgeBuckets" in output


def test_a_bucket_changes_its_event_source_by_the_new_one_first_and_keeps_its_prefixes(account: Account) -> None:
    account.attach("--prefix", "a b/", "--prefix", "ü/")
    before = account.attached()
    put = "put-bucket-notification-configuration"
    writes = account.attach("--event-source", "eventbridge")
    assert writes == ["send-message", "add-permission", "put-rule", "put-targets", put, put, "remove-permission"]
    assert account.detail() == {
        "bucket": {"name": ["my-bucket"]},
        "object": {"key": [{"prefix": "a b/"}, {"prefix": "ü/"}]},
    }
    writes = account.attach("--event-source", "notification")
    rule_goes = ["remove-permission", "remove-targets", "delete-rule"]
    assert writes == ["send-message", "add-permission", put, *rule_goes]
    before["notifications"]["my-bucket"]["EventBridgeConfiguration"] = {}
    assert account.attached() == before


def test_a_bucket_left_between_two_event_sources_is_mended_in_both(account: Account) -> None:
    account.attach("--event-source", "eventbridge")
    by_eventbridge = account.state["policy"]
    account.attach("--event-source", "notification")
    by_notification = account.state["policy"]
    account.attach("--event-source", "eventbridge")
    account.change(policy=by_eventbridge | by_notification, notifications={"my-bucket": {}})
    put = "put-bucket-notification-configuration"
    assert account.attach() == ["send-message", put, put]
    notification = account.state["notifications"]["my-bucket"]
    assert sorted(notification) == ["EventBridgeConfiguration", "LambdaFunctionConfigurations"]


def test_a_stack_is_deleted_with_all_that_attached_its_buckets(account: Account) -> None:
    account.attach("--event-source", "eventbridge")
    account.run("attach-bucket.sh", "--bucket", "other", "--prefix", "a/")
    account.change(stack=False)  # nothing else of it is there
    exit_code, output, _ = account.run("delete-stack.sh", "--yes")
    assert exit_code == 0, output
    assert account.attached() == {
        "policy": {},
        "rule": None,
        "targets": [],
        "notifications": {
            "my-bucket": {"QueueConfigurations": [THEIRS], "EventBridgeConfiguration": {}},
            "other": {},
        },
    }


def test_a_permission_for_all_buckets_names_none_to_detach(account: Account) -> None:
    account.attach()
    [ours] = account.state["policy"].values()
    for_all = {**ours, "Condition": {"ArnLike": {"AWS:SourceArn": "arn:aws:s3:::*"}}}
    account.change(policy=account.state["policy"] | {"by-hand": for_all}, stack=False)
    exit_code, output, _ = account.run("delete-stack.sh", "--yes")
    assert exit_code == 0, output
    assert account.state["policy"] == {"by-hand": for_all}


# Killed


@pytest.mark.parametrize(("source", "writes"), [("notification", 3), ("eventbridge", 5)])
def test_killed_after_any_write_a_script_ends_right_when_it_is_run_again(
    account: Account, source: str, writes: int
) -> None:
    arguments = ("--bucket", "my-bucket", "--event-source", source)
    account.attach("--event-source", source)
    attached = account.attached()
    assert len(account.state["writes"]) == writes
    detach_writes = len(account.detach())
    detached = account.attached()
    for number in range(1, writes + 1):
        account.change(messages=[], notifications={"my-bucket": {"QueueConfigurations": [THEIRS]}, "other": {}})
        account.run("attach-bucket.sh", *arguments, killed_after=number)
        assert account.state["messages"], "asked for before anything else is written"
        again = account.attach("--event-source", source)
        assert account.attached() == attached
        assert again[:1] == (["send-message"] if number < writes else []), "and again, if anything was left to write"
        if number < detach_writes:
            account.run("detach-bucket.sh", "--bucket", "my-bucket", killed_after=number)
        account.detach()
        assert account.attached() == detached


# Attached by the 2018 scripts, or in the console


OLD_ENTRY = {"Id": "s3-event-aggregator", "LambdaFunctionArn": ARN, "Events": ["s3:ObjectCreated:*"]}
OLD_PERMISSION = {
    "Sid": "SID_my-bucket",
    "Principal": {"Service": "s3.amazonaws.com"},
    "Condition": {"ArnLike": {"AWS:SourceArn": "arn:aws:s3:::my-bucket"}},
}


@pytest.fixture(params=["s3-event-aggregator", "4f8c-made-in-the-console"])
def old(account: Account, request: pytest.FixtureRequest) -> Account:
    """An account whose first bucket was attached by other means than these scripts."""
    entries = [{**OLD_ENTRY, "Id": request.param}]
    account.change(
        policy={"SID_my-bucket": OLD_PERMISSION},
        notifications={
            "my-bucket": {"QueueConfigurations": [THEIRS], "LambdaFunctionConfigurations": entries},
            "other": {},
        },
    )
    return account


@pytest.mark.parametrize("killed_after", range(5))
def test_an_old_way_of_attaching_a_bucket_becomes_ours_and_is_not_doubled(old: Account, killed_after: int) -> None:
    if killed_after:
        old.run("attach-bucket.sh", "--bucket", "my-bucket", killed_after=killed_after)
        assert old.state["messages"], "all of the bucket is asked for before anything is written"
    old.attach()
    notification = old.state["notifications"]["my-bucket"]
    [entry] = notification["LambdaFunctionConfigurations"]
    assert (entry["Id"], len(entry["Events"])) == ("s3-event-aggregator", 3)
    assert notification["QueueConfigurations"] == [THEIRS]
    [(statement_id, permission)] = old.state["policy"].items()
    assert statement_id == "s3-my-bucket"
    assert permission["Condition"]["StringEquals"] == {"AWS:SourceAccount": "123456789012"}
    assert old.attach() == []


def test_an_old_permission_goes_only_when_s3_has_been_told_that_it_may_go_on(old: Account) -> None:
    assert old.attach() == [
        "send-message",
        "add-permission",
        "put-bucket-notification-configuration",
        "remove-permission",
    ]


def test_an_old_way_of_attaching_a_bucket_is_detached_without_a_trace(old: Account) -> None:
    old.detach()
    assert old.attached()["policy"] == {}
    assert old.state["notifications"]["my-bucket"] == {"QueueConfigurations": [THEIRS]}


# Prefixes


def test_only_the_keys_below_the_prefixes_are_told_of_until_all_are_again(account: Account) -> None:
    account.attach("--prefix", "photos/2026/", "--prefix", "a b+ü=/", "--prefix", "photos/")
    assert account.filters() == ["a+b%2B%C3%BC%3D/", "photos/"], "encoded, and without those below another"
    assert account.attach() == [], "they stay"
    put = "put-bucket-notification-configuration"
    assert account.attach("--prefix", "photos/") == ["send-message", put]
    assert account.filters() == ["photos/"]
    assert account.attach("--all-keys") == ["send-message", put]
    assert account.filters() == []
    account.detach()
    assert account.state["notifications"]["my-bucket"] == {"QueueConfigurations": [THEIRS]}


def test_buckets_with_and_without_prefixes_share_a_rule(account: Account) -> None:
    account.attach("--event-source", "eventbridge", "--prefix", "a/")
    account.run("attach-bucket.sh", "--bucket", "other", "--event-source", "eventbridge")
    ours = {"bucket": {"name": ["my-bucket"]}, "object": {"key": [{"prefix": "a/"}]}}
    assert account.detail() == {"$or": [{"bucket": {"name": ["other"]}}, ours]}
    account.attach("--all-keys")
    assert account.detail() == {"bucket": {"name": ["my-bucket", "other"]}}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--prefix", ""], "give --all-keys"),
        (["--prefix", "/photos/"], "begin with no slash"),
        (["--prefix", "a/", "--all-keys"], "contradict each other"),
        (["--event-source", "sns"], "one of notification eventbridge"),
        (["--event-source"], "needs a value"),
    ],
)
def test_a_flag_that_cannot_be_meant_is_refused(account: Account, arguments: list[str], message: str) -> None:
    exit_code, output, writes = account.run("attach-bucket.sh", "--bucket", "my-bucket", *arguments)
    assert exit_code == 1
    assert message in output
    assert writes == []


def test_the_prefixes_are_those_that_the_buckets_shares_show(account: Account) -> None:
    nfs = [share(number, f"arn:aws:s3:::my-bucket/team {number:02}/") for number in range(12)]
    others = [share(90, "arn:aws:s3:::other/x/"), share(91, "arn:aws:s3:::my-bucket/smb/", "SMB")]
    account.change(shares=nfs + others)
    account.env["AWS_ENDPOINT_URL_STORAGE_GATEWAY"] = "http://gateway"
    account.attach("--prefixes-from-shares")
    assert account.filters() == ["smb/", *(f"team+{number:02}/" for number in range(12))]
    calls = [call for call in account.state["calls"] if "storagegateway" in call]
    assert [call[call.index("storagegateway") + 1] for call in calls] == [
        "list-file-shares",
        "describe-nfs-file-shares",
        "describe-nfs-file-shares",
        "describe-smb-file-shares",
    ]
    assert all(call[call.index("--endpoint-url") + 1] == "http://gateway" for call in calls)


def test_a_share_of_the_whole_bucket_needs_all_keys(account: Account) -> None:
    account.change(shares=[share(1, "arn:aws:s3:::my-bucket/a/"), share(2, "arn:aws:s3:::my-bucket")])
    account.attach("--prefixes-from-shares")
    assert account.filters() == []


def test_the_shares_of_all_regions_of_gateways_count_and_of_no_other(account: Account) -> None:
    account.change(
        variables={"GATEWAY_REGIONS": "us-east-1,eu-west-1"},
        shares=[
            share(1, "arn:aws:s3:::my-bucket/home/"),
            share(1, "arn:aws:s3:::my-bucket/away/", "SMB", "eu-west-1"),
            share(1, "arn:aws:s3:::my-bucket/", "NFS", "eu-north-1"),
        ],
    )
    account.attach("--prefixes-from-shares")
    assert account.filters() == ["away/", "home/"]


POINT = "arn:aws:s3:us-east-1:123456789012:accesspoint"


def test_a_share_on_an_access_point_counts_if_that_leads_to_the_bucket(account: Account) -> None:
    account.change(
        shares=[
            share(1, "arn:aws:s3:::my-bucket/direct/"),
            share(2, f"{POINT}/mine/by arn/"),
            share(3, f"{POINT}/of-another-bucket/x/"),
            share(4, f"{POINT.replace('1234', '9999')}/of-another-account/theirs/"),
            share(5, f"{POINT.replace('east', 'west')}/in-another-region/x/"),
            share(6, "mine-1a-s3alias/by alias/"),
            share(7, "arn:aws:s3:::not-mine-2b-s3alias/x/"),
        ],
        access_points={
            "123456789012/mine": "my-bucket",
            "123456789012/of-another-bucket": "other",
            "999956789012/of-another-account": "my-bucket",
        },
        aliases={"mine-1a-s3alias": "my-bucket"},
    )
    account.attach("--prefixes-from-shares")
    assert account.filters() == ["by+alias/", "by+arn/", "direct/", "theirs/"]


ROLE = "arn:aws:iam::210987654321:role/gateways"


@pytest.mark.parametrize(
    ("location", "there", "message"),
    [
        ("arn:aws:s3:::other/a/", {}, "No file share of this account in us-east-1 shows the bucket my-bucket"),
        (f"{POINT}/gone/a/", {}, f"The bucket behind {POINT}/gone, which a file share is on, cannot be looked up:"),
        ("far-1a-s3alias/a/", {"more": "token"}, "The bucket behind far-1a-s3alias"),
        ("arn:aws:s3:::my-bucket/a/", {"variables": {"GATEWAY_ROLE_ARNS": ROLE}}, "Give the prefixes of all by --pref"),
        (
            "arn:aws:s3:::my-bucket/a/",
            {"variables": {"GATEWAY_REGIONS": "us-east-1,eu-west-1"}, "denied": ["eu-west-1"]},
            "aws --region eu-west-1 storagegateway list-file-shares failed",
        ),
    ],
)
def test_shares_that_do_not_tell_all_prefixes_stop_the_script_before_it_writes(
    account: Account, location: str, there: dict[str, Any], message: str
) -> None:
    account.change(shares=[share(1, location)], **there)
    exit_code, output, writes = account.run("attach-bucket.sh", "--bucket", "my-bucket", "--prefixes-from-shares")
    assert exit_code == 1
    assert message in output
    assert writes == []
