"""Buckets attached to a stack and detached from it, on moto's S3, Lambda, EventBridge and SQS."""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from moto import mock_aws

from commands.deploy import eventbridge
from commands.deploy.__main__ import main
from commands.deploy.buckets import Buckets, Wish
from commands.deploy.notification import shortest
from commands.deploy.template import DeployError, Json
from commands.operate.stack import Stack
from event_aggregator.file_shares import FileShare

ACCOUNT, BUCKET = "123456789012", "my.bucket"
BY_RULE, BY_NOTIFICATION = Wish(source="eventbridge"), Wish(source="notification")
RULE = "p-S3EventAggregator-cf4a09316b-1"  # of SHA-256 of the bucket's name
# One of version 1.0.0, and one of somebody else.
OTHER_RULES = ("p-S3EventAggregatorObjectChanges", "p-S3EventAggregatorObjectChangesToo")
MANY = [f"{number:02}-{'x' * 100}/" for number in range(40)]  # three rules
UNABLE = "Unable to validate the following destination configurations"
NO_CODE: Json = {"Runtime": "python3.13", "Handler": "a.b", "Code": {"ZipFile": b"PK\x05\x06" + 18 * b"\0"}}


class KilledError(Exception):
    pass


@dataclass
class Account:
    """An account with a stack and a bucket; time goes on only while the code waits."""

    stack: Stack
    said: list[str] = field(default_factory=list)
    seconds: float = 0.0
    replaces: str = ""
    calls: int = 0  # of AWS
    killed_at: int = 0  # the number of the call

    def count(self, **_: Any) -> None:
        self.calls += 1
        if self.calls == self.killed_at:
            raise KilledError

    def buckets(self, *, is_dry: bool = False) -> Buckets:
        def pause(seconds: float) -> None:
            self.seconds += seconds

        known = (self.stack, self.said.append, is_dry, self.replaces)
        return Buckets(*known, pause=pause, clock=lambda: self.seconds)

    def attach(self, wish: Wish | None = None, bucket: str = BUCKET) -> list[str]:
        return self.words(lambda: self.buckets().attach(bucket, wish or Wish()))

    def detach(self, bucket: str = BUCKET) -> list[str]:
        return self.words(lambda: self.buckets().detach(bucket))

    def words(self, act: Callable[[], object]) -> list[str]:
        """The first words of what is said."""
        self.said.clear()
        act()
        return [line.split()[0] for line in self.said]

    def notification(self) -> Json:
        found = self.stack.client("s3").get_bucket_notification_configuration(Bucket=BUCKET)
        return {name: value for name, value in found.items() if name != "ResponseMetadata"}

    def put(self, configuration: Json) -> None:
        self.stack.client("s3").put_bucket_notification_configuration(
            Bucket=BUCKET, NotificationConfiguration=configuration
        )

    def watched(self) -> dict[str, list[str]]:
        watched = eventbridge.watched_by(self.stack.change_rules().values())
        return {bucket: shortest(prefixes) for bucket, prefixes in watched.items()}

    def asked(self) -> int:
        """How often all of a bucket was asked for."""
        sqs, delayed = self.stack.client("sqs"), "ApproximateNumberOfMessagesDelayed"
        url = sqs.get_queue_url(QueueName="p-S3EventAggregatorActionQueue")["QueueUrl"]
        return int(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=[delayed])["Attributes"][delayed])

    def targets(self) -> list[Json]:
        return list(self.stack.client("events").list_targets_by_rule(Rule=RULE)["Targets"])

    def on_put(self, do: Callable[[Json], object], event: str = "s3.PutBucketNotificationConfiguration") -> None:
        """Has this done with what is put before each put of a notification, or other call."""

        def before(params: Json, **_: Any) -> None:
            do(params)

        events = self.stack.client(event.partition(".")[0]).meta.events
        events.register(f"before-parameter-build.{event}", before)


@pytest.fixture
def account() -> Iterator[Account]:
    with mock_aws():
        stack = Stack(boto3.Session(region_name="us-east-1"), "p-")
        account = Account(stack)
        stack.session.events.register("before-call", account.count)
        role = stack.client("iam").create_role(RoleName="r", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
        function = {"FunctionName": "p-S3EventAggregator"}
        stack.client("lambda").create_function(**function, Role=role, **NO_CODE)
        of_rules = {"Action": "lambda:InvokeFunction", "SourceArn": "arn:aws:events:r:1:rule/p-S3EventAggregator*"}
        stack.client("lambda").add_permission(**function, Principal="e", StatementId="RulesOfChanges", **of_rules)
        stack.client("sqs").create_queue(QueueName="p-S3EventAggregatorActionQueue")
        for name in (BUCKET, "other"):
            stack.client("s3").create_bucket(Bucket=name)
        keep_eventbridge(stack.client("s3"))
        yield account


def keep_eventbridge(s3: Any) -> None:
    """Moto forgets that a bucket tells EventBridge."""
    get, telling = s3.get_bucket_notification_configuration, dict[str, Json]()

    def put(params: Json, **_: Any) -> None:
        now = params["NotificationConfiguration"].items()
        telling[params["Bucket"]] = {name: value for name, value in now if name == "EventBridgeConfiguration"}

    s3.meta.events.register_last("before-parameter-build.s3.PutBucketNotificationConfiguration", put)
    s3.get_bucket_notification_configuration = lambda **of: get(**of) | telling.get(of["Bucket"], {})


def error(code: str, message: str, **more: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message, **more}}, "PutBucketNotificationConfiguration")  # type: ignore[typeddict-item]


def fail(error: Exception) -> bool:
    raise error


def others(event: str = "s3:ObjectRestore:*") -> Json:
    return {"QueueConfigurations": [{"Id": "q", "QueueArn": f"arn:aws:sqs:us-east-1:{ACCOUNT}:q", "Events": [event]}]}


def test_a_bucket_is_attached_beside_the_notifications_of_others_and_detached_without_a_trace(account: Account) -> None:
    account.put(others())

    assert account.attach() == ["ask", "create", "set"]
    [ours] = account.notification()["LambdaFunctionConfigurations"]
    assert ours["LambdaFunctionArn"] == f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:p-S3EventAggregator"
    assert account.notification()["QueueConfigurations"] == others()["QueueConfigurations"]
    _, statement = account.stack.function_policy()["Statement"]
    assert statement["Principal"] == {"Service": "s3.amazonaws.com"}
    assert all(text in json.dumps(statement["Condition"]) for text in (f"arn:aws:s3:::{BUCKET}", ACCOUNT))
    assert account.stack.buckets() == [BUCKET]
    assert account.attach() == ["keep"], "nothing is put if nothing changes"
    assert account.asked() == 1

    assert account.detach() == ["set", "delete"]
    assert account.notification() == others()
    assert account.stack.buckets() == []
    assert account.detach() == ["skip"]


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(account: Account) -> None:
    for wish in (Wish(), BY_RULE):
        account.buckets(is_dry=True).attach(BUCKET, wish)

    verbs = ("ask", "create", "set", "ask", "set", "set", "set")
    assert [line.split()[:2] for line in account.said] == [["would", verb] for verb in verbs]
    assert account.notification() == {}
    assert account.stack.buckets() == []
    assert account.asked() == 0


def test_what_s3_would_refuse_is_refused_before_anything_is_written(account: Account) -> None:
    account.put(others("s3:ObjectCreated:*"))

    with pytest.raises(DeployError, match=r"has this already:\n  q: s3:ObjectCreated:\* to arn:aws:sqs"):
        account.attach()
    assert account.said == []
    assert account.attach(BY_RULE) == ["ask", "set", "set", "set"]


def test_a_full_policy_is_refused_before_anything_is_written_with_the_way_out(account: Account) -> None:
    account.attach(Wish(initial_refresh=False))
    account.said.clear()
    buckets, add = account.buckets(), account.stack.client("lambda").add_permission
    with pytest.raises(DeployError, match=r"it holds 6[0-9] buckets.*--event-source eventbridge"):  # noqa: PT012
        for number in range(80):
            add(**buckets._permission_of(f"bucket-{number}"))
            _ = number < 50 or buckets.plan("other", Wish())

    assert account.said == []
    assert 20_000 < len(json.dumps(account.stack.function_policy(), separators=(",", ":"))) <= 20_480
    assert account.attach() == ["keep"], "which has its statement"


def test_a_bucket_that_is_not_here_is_refused(account: Account) -> None:
    with pytest.raises(DeployError, match=r"There is no bucket not-there\. Create it first"):
        account.buckets().refuse_unless_here("not-there")
    account.stack = Stack(boto3.Session(region_name="eu-west-1"), "p-")
    with pytest.raises(DeployError, match=f"The bucket {BUCKET} is in us-east-1, and the stack is in eu-west-1."):
        account.buckets().refuse_unless_here(BUCKET)


# Somebody else writes at the same time


@pytest.mark.parametrize("is_attached", [False, True])
def test_an_entry_that_comes_in_between_is_merged_when_s3_answers_409(account: Account, *, is_attached: bool) -> None:
    puts: list[Json] = []
    if is_attached:
        account.attach()

    def somebody_writes(params: Json) -> None:
        puts.append(params)
        if len(puts) == 1:
            account.put({**account.notification(), **others()})  # which is the second of the puts
            raise error("OperationAborted", "A conflicting conditional operation is currently in progress")

    account.on_put(somebody_writes)
    assert (account.detach() if is_attached else account.attach())[-1] == ("delete" if is_attached else "set")
    assert len(puts) == 3
    assert account.notification()["QueueConfigurations"] == others()["QueueConfigurations"]
    assert ("LambdaFunctionConfigurations" in account.notification()) is not is_attached


def test_who_is_overwritten_again_and_again_is_told(account: Account) -> None:
    s3, nothing = boto3.client("s3", region_name="us-east-1"), dict[str, Any]()
    account.stack.client("s3").meta.events.register(
        "after-call.s3.PutBucketNotificationConfiguration",
        lambda **_: s3.put_bucket_notification_configuration(Bucket=BUCKET, NotificationConfiguration=nothing),
    )

    with pytest.raises(DeployError, match="Somebody else overwrites the notification"):
        account.attach()


def test_a_dead_target_of_somebody_else_is_named_at_once(account: Account) -> None:
    account.put(others())
    dead = others()["QueueConfigurations"][0]["QueueArn"]
    told = {"ArgumentName": f"{dead}, null", "ArgumentValue": "The destination queue does not exist"}
    refusal = error("InvalidArgument", UNABLE, **told)
    account.on_put(lambda params: params["SkipDestinationValidation"] or fail(refusal))

    with pytest.raises(DeployError, match=rf"(?s)S3 validates at each put.*{dead}.*--skip-destination-validation"):
        account.attach()
    assert account.seconds == 0
    assert account.attach(Wish(skip_validation=True)) == ["ask", "set"]
    assert account.notification()["LambdaFunctionConfigurations"]


def test_a_permission_that_is_not_known_yet_is_waited_for_and_all_is_asked_for_again_if_that_took_long(
    account: Account,
) -> None:
    tries: list[Json] = []

    def refuse(params: Json) -> None:
        tries.append(params)
        if len(tries) < 12:
            raise error("InvalidArgument", UNABLE)
        account.seconds += 39

    account.on_put(refuse)
    assert account.attach() == ["ask", "create", "set", "ask"]
    assert account.seconds == 22 + 39
    assert account.asked() == 2


# By EventBridge


def test_a_bucket_is_attached_by_a_rule_of_its_own_which_goes_with_it(account: Account) -> None:
    account.attach(BY_RULE)
    account.attach(BY_RULE, bucket="other")
    assert account.watched() == {BUCKET: [], "other": []}
    of_bucket, of_other = account.stack.change_rules()
    assert {of_bucket[-12:], of_other[-12:]} == {RULE[-12:], "d9298a10d1-1"}, "runs for two buckets take two names"
    assert len(f"{32 * 'p'}{RULE}") <= 64, "EventBridge's limit"
    assert account.notification() == {"EventBridgeConfiguration": {}}
    assert [target["Arn"] for target in account.targets()] == [account.buckets().function_arn]
    assert account.attach(BY_RULE) == ["keep", "keep"]

    account.detach()
    assert account.watched() == {"other": []}
    assert account.notification() == {"EventBridgeConfiguration": {}}, "others may have rules for it"
    of_two = eventbridge.pattern("other", []).replace('["other"]', f'["other","{BUCKET}"]')
    account.stack.client("events").put_rule(Name=RULE, EventPattern=of_two)
    account.detach("other")
    assert account.stack.change_rules().keys() == {RULE}, "which is not of this bucket alone"


def test_there_are_as_many_rules_as_the_prefixes_need_and_those_of_version_1_0_0_are_used_on(account: Account) -> None:
    old, theirs = OTHER_RULES
    for name in (old, theirs):
        account.stack.client("events").put_rule(Name=name, EventPattern=eventbridge.pattern(BUCKET, ["a/"]))

    account.attach(Wish(source="eventbridge", prefixes=MANY))

    assert account.stack.change_rules().keys() == {old, RULE, f"{RULE[:-1]}2"}
    assert sorted(account.watched()[BUCKET]) == sorted(MANY)
    account.attach(Wish(prefixes=["a/"]))
    assert account.stack.change_rules().keys() == {RULE}
    assert account.watched() == {BUCKET: ["a/"]}


def test_a_stack_of_version_1_0_0_whose_rules_have_other_names_is_to_be_deployed_first(account: Account) -> None:
    functions, events = account.stack.client("lambda"), account.stack.client("events")
    functions.remove_permission(FunctionName="p-S3EventAggregator", StatementId="RulesOfChanges")
    with pytest.raises(DeployError, match=r"(?s)version 1\.0\.0.*scripts/create-stack\.sh .*--name-prefix p-"):
        account.attach(BY_RULE)
    assert account.said == []
    assert account.seconds == 60, "it may have been deployed a moment ago"

    events.put_rule(Name=OTHER_RULES[0], EventPattern=eventbridge.pattern(BUCKET, []))
    with pytest.raises(DeployError, match=r"version 1\.0\.0"):
        account.attach(Wish(source="eventbridge", prefixes=MANY))
    assert account.watched() == {BUCKET: []}, "all of it, as before"
    assert account.attach(BY_RULE) == ["keep", "ask", "set", "set"]


def test_a_permission_of_the_rules_that_is_not_known_yet_is_waited_for(account: Account) -> None:
    functions, buckets = account.stack.client("lambda"), account.buckets()
    permission = {"Action": "lambda:InvokeFunction", "Principal": "e", "StatementId": "RulesOfChanges"}
    permission |= {"FunctionName": "p-S3EventAggregator", "SourceArn": "arn:aws:events:r:1:rule/p-S3EventAggregator*"}
    functions.remove_permission(FunctionName="p-S3EventAggregator", StatementId="RulesOfChanges")
    buckets.pause = lambda _: functions.add_permission(**permission)
    buckets.attach(BUCKET, BY_RULE)
    assert account.watched() == {BUCKET: []}


def test_a_rule_with_the_buckets_name_that_watches_another_one_too_is_left_alone(account: Account) -> None:
    of_two = eventbridge.pattern("other", []).replace('["other"]', f'["other","{BUCKET}"]')
    account.stack.client("events").put_rule(Name=RULE, EventPattern=of_two)
    account.attach(BY_RULE)
    assert account.stack.change_rules().keys() == {RULE, f"{RULE[:-1]}2"}
    assert account.watched() == {BUCKET: [], "other": []}


def test_a_rule_that_was_disabled_or_lost_its_target_is_mended_and_what_was_missed_is_asked_for(
    account: Account,
) -> None:
    account.attach(BY_RULE)
    events = account.stack.client("events")
    events.disable_rule(Name=RULE)
    events.remove_targets(Rule=RULE, Ids=["aggregator"])

    assert account.attach() == ["ask", "set", "set", "keep"]
    assert account.stack.change_rules()[RULE]["State"] == "ENABLED"
    assert account.attach() == ["keep", "keep"]


def test_what_somebody_set_at_our_target_stays_and_so_does_a_rule_with_a_target_of_theirs(account: Account) -> None:
    account.attach(BY_RULE)
    events, [target] = account.stack.client("events"), account.targets()
    theirs = {"Id": "theirs", "Arn": f"arn:aws:sqs:us-east-1:{ACCOUNT}:q"}
    events.put_targets(Rule=RULE, Targets=[target | {"RetryPolicy": {"MaximumRetryAttempts": 3}}, theirs])

    assert account.attach() == ["keep", "keep"]
    account.attach(Wish(prefixes=["a/"]))
    assert account.targets()[0]["RetryPolicy"]
    with pytest.raises(DeployError, match=rf"{RULE} has targets of somebody else: {theirs['Arn']}"):
        account.detach()
    assert len(account.targets()) == 2
    events.remove_targets(Rule=RULE, Ids=["theirs"])
    assert account.detach() == ["delete", "delete", BUCKET]


def test_a_bucket_changes_its_way_by_the_new_one_first_and_keeps_its_prefixes(account: Account) -> None:
    account.attach(Wish(prefixes=["a b/"]))

    assert account.attach(BY_RULE)[-2:] == ["set", "delete"]
    assert account.watched() == {BUCKET: ["a b/"]}
    assert account.notification() == {"EventBridgeConfiguration": {}}

    account.attach(BY_NOTIFICATION)
    [ours] = account.notification()["LambdaFunctionConfigurations"]
    assert ours["Filter"]["Key"]["FilterRules"][0]["Value"] == "a+b/"
    assert account.watched() == {}

    account.attach(Wish(prefixes=[]))
    assert "Filter" not in account.notification()["LambdaFunctionConfigurations"][0]

    account.stack.client("events").put_rule(Name=RULE, EventPattern=eventbridge.pattern(BUCKET, []))
    assert account.attach(BY_NOTIFICATION)[:2] == ["keep", "delete"], "nothing was missed, so nothing is asked for"


def test_a_bucket_that_is_gone_or_another_accounts_by_now_is_left_out_and_can_be_detached(account: Account) -> None:
    account.attach()
    account.attach(bucket="other")
    account.stack.client("s3").delete_bucket(Bucket=BUCKET)
    denied = error("AccessDenied", "Access Denied")  # as by another account
    account.on_put(lambda params: params["Bucket"] != "other" or fail(denied), "s3")

    assert account.attach() == ["skip"]
    assert account.detach() == ["delete"]
    assert account.detach("other") == ["skip", "delete"]
    assert "could not be seen or removed" in account.said[0]
    assert account.stack.buckets() == []


def test_what_is_refused_of_one_bucket_stops_no_other_and_is_told_at_the_end(account: Account) -> None:
    errors = {"denied": error("AccessDenied", "no"), "cut-off": EndpointConnectionError(endpoint_url="s3")}
    for bucket in (*errors, "third"):
        account.stack.client("s3").create_bucket(Bucket=bucket)
    account.put(others("s3:ObjectCreated:*"))
    account.on_put(lambda params: params["Bucket"] not in errors or fail(errors[params["Bucket"]]))

    told = rf"(?s)denied not everything .*AccessDenied.*detach-bucket.sh .*denied.*{BUCKET} not.*has this already"
    with pytest.raises(DeployError, match=told):
        account.buckets().attach_all(dict.fromkeys(["other", "denied", BUCKET, "cut-off", "third"], Wish()))
    assert account.stack.buckets() == ["cut-off", "denied", "other", "third"]
    assert account.notification() == others("s3:ObjectCreated:*")
    assert account.seconds == 0, "no other refusal is taken for a passing one"


# Prefixes of shares


def share(prefix: str, unknown: str = "") -> FileShare:
    arn = f"arn:aws:storagegateway:us-east-1:1:share/{prefix}"
    return FileShare(arn, "NFS", "g", "AVAILABLE", BUCKET, prefix, unknown=unknown)


def test_the_prefixes_are_those_of_the_shares_if_all_are_known(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    account.stack.variables = {"TABLE_NAME": "t", "QUEUE_URL": "q"}
    shares, wish = [share("a/"), share("b/", unknown="it is gone")], Wish("eventbridge", prefixes_from_shares=True)
    monkeypatch.setattr(Stack, "shares", lambda *_: shares)

    with pytest.raises(DeployError, match=r"(?s)Give the prefixes by --prefix\..*it is gone"):
        account.attach(wish)
    shares.clear()
    with pytest.raises(DeployError, match=f"No file share shows the bucket {BUCKET}"):
        account.attach(wish)
    assert account.said == []
    shares += [share("a/"), share("a/b/"), share("c/")]
    account.attach(wish)
    assert account.watched() == {BUCKET: ["a/", "c/"]}


# Killed


@pytest.mark.parametrize("wish", [Wish(), BY_RULE], ids=["notification", "eventbridge"])
def test_killed_at_any_call_it_ends_right_when_it_is_run_again(account: Account, wish: Wish) -> None:
    def is_killed(act: Callable[[], object]) -> bool:
        account.calls, account.killed_at = 0, call
        with suppress(KilledError):
            act()
        was_killed, account.killed_at = account.calls >= call, 0
        return was_killed

    call, was_killed = 0, True
    while was_killed:
        call += 1
        was_killed = is_killed(lambda: account.attach(wish))
        account.attach(wish)
        assert {*account.attach(wish)} == {"keep"}
        assert account.stack.buckets() == [BUCKET]
        was_killed |= is_killed(account.detach)
        account.detach()
        assert account.stack.buckets() == []
        assert "LambdaFunctionConfigurations" not in account.notification()
    assert call > 10


def test_killed_in_a_change_of_way_to_all_keys_the_next_run_keeps_all_keys(account: Account) -> None:
    account.attach(Wish(source="eventbridge", prefixes=["a/"]))
    account.on_put(lambda _: fail(KilledError()), "events.DeleteRule")
    with pytest.raises(KilledError):
        account.attach(Wish(source="notification", prefixes=[]))

    account.attach()
    assert "Filter" not in account.notification()["LambdaFunctionConfigurations"][0]
    assert account.watched() == {BUCKET: []}


@pytest.mark.usefixtures("account")
def test_without_a_stack_there_is_nothing_to_attach_a_bucket_to(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["attach-bucket.sh", "--bucket", "other", "--name-prefix", "q-"]) == 1
    assert "There is no stack with the prefix q- in us-east-1" in capsys.readouterr().err
    assert main(["detach-bucket.sh", "--bucket", "other", "--name-prefix", "p-", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "bucket other: nothing of this stack is attached to it" in said
    assert said.endswith("\nNothing was changed.\n")


def test_terraform_and_cdk_get_the_lines_that_they_need(account: Account) -> None:
    lines = "\n".join(account.buckets().as_code(BUCKET, Wish(prefixes=["a/", "b/"])))

    assert lines.count("lambda_function {") == 2
    assert '  filter_prefix       = "b/"' in lines
    assert 'resource "aws_lambda_permission" "s3-my_bucket" {' in lines
    assert f'  source_arn     = "arn:aws:s3:::{BUCKET}"' in lines
    assert lines.count("bucket.addEventNotification(") == 2 * 3
    assert account.notification() == {}
