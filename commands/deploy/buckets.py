"""Buckets are attached to a stack and detached from it, and are known from what that leaves.

A bucket attached by its notification is known from the permission that S3 has to invoke the aggregator for it; one
attached by EventBridge from the pattern of a rule. So each of these is written before the bucket tells of its changes,
and removed after it has stopped to: killed anywhere, the next run goes on.
"""

import itertools
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from commands.deploy import eventbridge, notification
from commands.deploy.template import Json, RefusedError
from commands.operate.stack import Stack
from event_aggregator.attached import permissions, watched
from event_aggregator.request import INITIAL_REFRESH_SECONDS, ActionQueue

# A permission, or what was put, is known everywhere within some seconds.
_PATIENCE_SECONDS, _PAUSE_SECONDS = 60, 2.0
_CDK_TYPES = ("OBJECT_CREATED", "OBJECT_REMOVED", "LIFECYCLE_EXPIRATION")
# Lambda's limit of a function's resource policy.
MOST_BYTES_OF_POLICY = 20_480


@dataclass(frozen=True)
class Wish:
    """What the flags say of the buckets; of what they do not say, each bucket keeps what it has."""

    source: str = ""  # notification or eventbridge
    prefixes: tuple[str, ...] | None = None  # of keys; none: all keys
    prefixes_from_shares: bool = False
    initial_refresh: bool = True
    skip_validation: bool = False  # of the targets of a bucket's notifications, by S3


@dataclass(frozen=True)
class Plan:
    """What a bucket is to become; `rules` are all that the stack shall have, if it is attached by them."""

    bucket: str
    ours: list[Json] | None  # entries of its notification
    rules: dict[str, eventbridge.Watched] | None
    prefixes: list[str]


@dataclass
class Buckets:
    """The buckets of a stack; `say` is told each step. With `is_dry` nothing is written."""

    stack: Stack
    account: str
    partition: str
    say: Callable[[str], None]
    is_dry: bool = False
    replaces: str = ""  # the function of 2018, in the place of whose notification ours is put
    pause: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    written: int = 0
    _asked: set[str] = field(default_factory=set)
    _planned: dict[str, dict[str, str]] = field(default_factory=dict)  # permissions, by bucket

    @property
    def function_arn(self) -> str:
        return f"arn:{self.partition}:lambda:{self.stack.region}:{self.account}:function:{self.stack.aggregator}"

    @property
    def _rule_name(self) -> str:
        return f"{self.stack.aggregator}ObjectChanges"

    # What is there

    def permissions(self) -> list[tuple[str, str]]:
        """The buckets whose notifications may invoke the aggregator, each with its statement's id."""
        return permissions(self.stack.function_policy())

    def rules(self) -> dict[str, eventbridge.Watched]:
        """What each of the stack's rules watches."""
        return {name: watched(rule.get("EventPattern", "")) for name, rule in self.stack.change_rules().items()}

    def attached(self) -> list[str]:
        return sorted({bucket for bucket, _ in self.permissions()} | eventbridge.of_all(self.rules()).keys())

    def _configuration(self, bucket: str) -> Json | None:
        """The bucket's notification configuration; None if there is no such bucket."""
        try:
            found = self.stack.client("s3").get_bucket_notification_configuration(Bucket=bucket)
        except ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchBucket":
                raise
            return None
        return {name: value for name, value in found.items() if name != "ResponseMetadata"}

    # Refusals and plans, before anything is written

    def refuse_unless_here(self, bucket: str) -> None:
        """RefusedError unless there is such a bucket, in the stack's region."""
        try:
            where = self.stack.client("s3").get_bucket_location(Bucket=bucket)["LocationConstraint"]
        except ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchBucket":
                raise
            raise RefusedError(f"There is no bucket {bucket}. Create it first, or correct --bucket.") from error
        where = {None: "us-east-1", "EU": "eu-west-1"}.get(where, where)
        if where != self.stack.region:
            raise RefusedError(
                f"The bucket {bucket} is in {where}, and the stack is in {self.stack.region}. S3 notifies functions in"
                f" its own region only: give --region {where}, and have a stack a region."
            )

    def plan(self, bucket: str, wish: Wish) -> Plan | None:
        """What the bucket is to become; None if it is gone. RefusedError for what AWS would refuse."""
        configuration = self._configuration(bucket)
        if configuration is None:
            self.say(f"skip    bucket {bucket}: it is gone")
            return None
        rules, by_rule = self.rules(), eventbridge.of_all(self.rules()).get(bucket)
        is_notifying = bucket in dict(self.permissions())
        prefixes = self._prefixes(bucket, wish)
        if prefixes is None:
            in_entries = notification.prefixes_of(configuration, self.function_arn)
            in_entries = in_entries or notification.prefixes_of(configuration, self.replaces)
            prefixes = notification.shortest([*in_entries, *([""] if by_rule == [] else by_rule or [])])
        source = wish.source or ("" if is_notifying or by_rule is not None else "notification")
        ours = planned = None
        if source == "notification" or (not source and is_notifying):
            ours = notification.entries(self.function_arn, self.stack.prefix, prefixes)
            self._refuse_what_s3_would(bucket, configuration, ours)
            self._refuse_if_policy_is_full(bucket)
        if source == "eventbridge" or (not source and by_rule is not None):
            planned = eventbridge.with_bucket(rules, self._rule_name, bucket, prefixes)
        return Plan(bucket, ours, planned, prefixes)

    def _prefixes(self, bucket: str, wish: Wish) -> list[str] | None:
        """Those that the flags say; None if they say nothing."""
        if not wish.prefixes_from_shares:
            return None if wish.prefixes is None else notification.shortest(wish.prefixes)
        if self.stack.unseen_regions:
            raise RefusedError(
                "--prefixes-from-shares: the file shares behind --gateway-role-arns are not known here."
                " Give the prefixes of all by --prefix."
            )
        shares = self.stack.shares(bucket)
        unknown = [*self.stack.notes, *(f"{share.share_id}: {share.unknown}" for share in shares if share.unknown)]
        if unknown:
            raise RefusedError(
                "\n".join(["It is not known what every file share shows. Give the prefixes by --prefix.", *unknown])
            )
        if not shares:
            raise RefusedError(
                f"No file share shows the bucket {bucket}, so there are no prefixes to take from one. Make the share"
                " first, or leave --prefixes-from-shares out."
            )
        return notification.shortest(share.prefix for share in shares)

    def _refuse_what_s3_would(self, bucket: str, configuration: Json, ours: list[Json]) -> None:
        left = notification.detached(configuration, self.replaces)
        if notification.attached(left, ours) != configuration and (taken := notification.overlaps(left, ours)):
            raise RefusedError(
                f"S3 notifies one target only of a change, and the bucket {bucket} has this already:\n  "
                + "\n  ".join(taken)
                + "\nRemove it, or limit it to other event types or keys, or give --event-source eventbridge, which"
                + " goes with it."
            )

    def _refuse_if_policy_is_full(self, bucket: str) -> None:
        """With the statements of all buckets that were planned before."""
        policy = self.stack.function_policy()
        self._planned[bucket] = self._permission_of(bucket)
        there = {statement["Sid"] for statement in policy.get("Statement", [])}
        new = [self._as_kept(one) for one in self._planned.values() if one["StatementId"] not in there]
        if (
            new
            and sum(len(json.dumps(one, separators=(",", ":"))) + 1 for one in [policy, *new]) > MOST_BYTES_OF_POLICY
        ):
            raise RefusedError(
                f"The policy of {self.stack.aggregator} has no room for {bucket}: it holds {len(self.permissions())}"
                f" buckets, and {len(new)} would be added. Attach this one by --event-source eventbridge, or to another"
                " stack (--name-prefix)."
            )

    def _as_kept(self, permission: Mapping[str, str]) -> Json:
        """The statement as Lambda keeps it in the function's policy."""
        return {
            "Sid": permission["StatementId"],
            "Effect": "Allow",
            "Principal": {"Service": permission["Principal"]},
            "Action": permission["Action"],
            "Resource": self.function_arn,
            "Condition": {
                "StringEquals": {"AWS:SourceAccount": permission["SourceAccount"]},
                "ArnLike": {"AWS:SourceArn": permission["SourceArn"]},
            },
        }

    def _permission_of(self, bucket: str) -> dict[str, str]:
        return {
            "FunctionName": self.stack.aggregator,
            "StatementId": f"s3-{bucket.replace('.', '_')}",
            "Action": "lambda:InvokeFunction",
            "Principal": "s3.amazonaws.com",
            "SourceArn": f"arn:{self.partition}:s3:::{bucket}",
            "SourceAccount": self.account,
        }

    # Attaching

    def attach(self, bucket: str, wish: Wish) -> None:
        """Has the bucket tell the stack of its changes."""
        plan = self.plan(bucket, wish)
        if plan is None:
            return
        if plan.ours is not None:
            self._attach_by_notification(bucket, plan.ours, wish)
        if plan.rules is not None:
            self._ensure_rules(bucket, plan.rules, wish)
            self._put(bucket, self._telling_eventbridge, wish, f"events of {bucket} to EventBridge")
        # Only now: a change that comes by both is one change.
        if wish.source == "eventbridge":
            self._detach_by_notification(bucket)
        if wish.source == "notification":
            self._detach_by_eventbridge(bucket)

    def _telling_eventbridge(self, now: Json) -> Json:
        return notification.telling_eventbridge(notification.detached(now, self.replaces))

    def _attach_by_notification(self, bucket: str, ours: list[Json], wish: Wish) -> None:
        permission = self._permission_of(bucket)
        if (bucket, permission["StatementId"]) not in self.permissions():
            self._ask_for_all(bucket, wish)
            self._write(
                f"create  permission for {bucket} to invoke {self.stack.aggregator}",
                self.stack.client("lambda").add_permission,
                **permission,
            )

        def merge(now: Json) -> Json:
            return notification.attached(notification.detached(now, self.replaces), ours)

        self._put(bucket, merge, wish, f"notification of {bucket}")
        self._remove_permissions(bucket, but=permission["StatementId"])

    def _remove_permissions(self, bucket: str, but: str = "") -> None:
        """Those that a trigger made in the console has as well."""
        for statement in [sid for of, sid in self.permissions() if of == bucket and sid != but]:
            self._write(
                f"delete  permission for {bucket} to invoke {self.stack.aggregator} ({statement})",
                self.stack.client("lambda").remove_permission,
                FunctionName=self.stack.aggregator,
                StatementId=statement,
            )

    def _ensure_rules(self, bucket: str, wanted: Mapping[str, eventbridge.Watched], wish: Wish) -> None:
        """The rules as wanted, the bucket first where it is new: for a moment it may be in two."""
        events, found = self.stack.client("events"), self.stack.change_rules()
        for name in sorted(wanted, key=lambda name: bucket not in wanted[name]):
            if not wanted[name]:
                self._delete_rule(name)
                continue
            rule, in_rule = found.get(name, {}), wanted[name]
            if rule.get("State") == "ENABLED" and watched(rule["EventPattern"]) == {**in_rule}:
                self.say(f"keep    rule {name}")
            else:
                self._ask_for_all(bucket, wish)
                self._put_rule(f"{name}: {', '.join(in_rule)}", name, in_rule)
            target = {"Id": "aggregator", "Arn": self.function_arn}
            if not rule or target not in events.list_targets_by_rule(Rule=name)["Targets"]:
                self._ask_for_all(bucket, wish)
                told = f"set     its target: {self.stack.aggregator}"
                self._write(told, _put_targets, events=events, Rule=name, Targets=[target])

    def _put_rule(self, what: str, name: str, of_rule: eventbridge.Watched) -> None:
        put, pattern = self.stack.client("events").put_rule, eventbridge.pattern(of_rule)
        self._write(f"set     rule {what}", put, Name=name, State="ENABLED", EventPattern=pattern)

    def _ask_for_all(self, bucket: str, wish: Wish) -> None:
        """Has all of the bucket refreshed in some minutes, for until S3 has applied a notification it sends no events.

        Before anything is written, so that it has been asked for wherever this is killed; by each run that writes.
        """
        if not wish.initial_refresh or bucket in self._asked:
            return
        self._asked.add(bucket)
        minutes = INITIAL_REFRESH_SECONDS // 60
        told = f"ask     for a refresh of all of {bucket} in {minutes} minutes, when S3 sends its events"
        self._write(told, self._send, bucket=bucket)

    def _send(self, bucket: str) -> None:
        sqs = self.stack.client("sqs")
        url = sqs.get_queue_url(QueueName=f"{self.stack.aggregator}ActionQueue")["QueueUrl"]
        ActionQueue(lambda: sqs, url).request_full_refresh(bucket)

    def _put(self, bucket: str, merge: Callable[[Json], Json], wish: Wish, what: str) -> None:
        """Merges into what S3 has, and puts that, until S3 answers with it. S3 takes no condition with a put: whoever
        writes at the same time makes it answer 409, and then what is there is read again and merged again."""
        began, is_put = self.clock(), False
        while (now := self._configuration(bucket)) is not None and (wanted := merge(now)) != now:
            if not is_put:
                self._ask_for_all(bucket, wish)
                self._write(f"set     {what}")
            if self.is_dry:
                return
            is_put = True
            self._refuse_after(began, f"Somebody else overwrites the notification of {bucket} again and again.")
            if self._put_once(bucket, wanted, wish, began):
                self._wait_until(lambda: (now := self._configuration(bucket)) is None or merge(now) == now)
        if not is_put:
            self.say(f"keep    {what}")
        elif self.clock() - began > _PATIENCE_SECONDS / 3:
            self._asked.discard(bucket)
            self._ask_for_all(bucket, wish)

    def _wait_until(self, is_so: Callable[[], bool]) -> None:
        """S3 may answer as before for a moment."""
        for _ in range(10):
            if is_so():
                return
            self.pause(_PAUSE_SECONDS)

    def _put_once(self, bucket: str, wanted: Json, wish: Wish, began: float) -> bool:
        """Whether S3 took it; False if it may take it in a moment. RefusedError if it does not."""
        try:
            self.stack.client("s3").put_bucket_notification_configuration(
                Bucket=bucket, NotificationConfiguration=wanted, SkipDestinationValidation=wish.skip_validation
            )
        except ClientError as error:
            told = error.response["Error"]
            if told["Code"] not in ("OperationAborted", "409") and "Unable to validate" not in told["Message"]:
                raise
            dead = _dead_targets(told, notification.others_targets(wanted, self.function_arn))
            if dead:
                raise RefusedError(_of_dead(bucket, dead)) from error
            others = notification.others_targets(wanted, self.function_arn)
            self._refuse_after(began, f"{_of_dead(bucket, others)}\n{error}")
            self.pause(_PAUSE_SECONDS)
            return False
        return True

    def _refuse_after(self, began: float, message: str) -> None:
        if self.clock() - began > _PATIENCE_SECONDS:
            raise RefusedError(message)

    # Detaching: the mirror

    def detach(self, bucket: str) -> None:
        """Has the bucket tell the stack of its changes no more."""
        before = self.written
        self._detach_by_notification(bucket)
        self._detach_by_eventbridge(bucket)
        if self.written == before:
            self.say(f"skip    bucket {bucket}: nothing of this stack is attached to it")

    def _detach_by_notification(self, bucket: str) -> None:
        configuration = self._configuration(bucket)
        if configuration is not None and notification.own_of(configuration, self.function_arn):
            # What is left was accepted before: it does not matter now whether its targets still exist.
            without = Wish(initial_refresh=False, skip_validation=True)
            gone = f"notification of {bucket}: without ours"
            self._put(bucket, lambda now: notification.detached(now, self.function_arn), without, gone)
        self._remove_permissions(bucket)

    def _detach_by_eventbridge(self, bucket: str) -> None:
        rules = {name: of_rule for name, of_rule in self.rules().items() if bucket in of_rule}
        for name, left in eventbridge.without(rules, bucket).items():
            if left:
                self._put_rule(f"{name}: without {bucket}", name, left)
            else:
                self._delete_rule(name)
        if rules:
            self.say(
                f"        {bucket} goes on telling EventBridge of its changes, in case others have rules for them. If"
                " nobody has, turn that off in the bucket's properties."
            )

    def _delete_rule(self, name: str) -> None:
        events = self.stack.client("events")
        self._write(f"delete  the target of rule {name}", events.remove_targets, Rule=name, Ids=["aggregator"])
        self._write(f"delete  rule {name}", events.delete_rule, Name=name)

    def _write(self, what: str, call: Callable[..., object] | None = None, **arguments: Any) -> None:
        self.say(f"{'would ' if self.is_dry else ''}{what}")
        self.written += 1
        if call and not self.is_dry:
            call(**arguments)

    # For those whose notifications another tool writes

    def as_code(self, bucket: str, wish: Wish) -> Iterator[str]:
        """What Terraform and CDK must hold if they own the bucket's notifications, for they replace all of them."""
        prefixes = notification.shortest(self._prefixes(bucket, wish) or [])
        ours = notification.entries(self.function_arn, self.stack.prefix, prefixes)
        yield "# Terraform: in the bucket's one aws_s3_bucket_notification, and the permission beside it"
        for entry in ours:
            prefix = notification.filter_of(entry).get("prefix", "")
            told = {"id": entry["Id"], "lambda_function_arn": self.function_arn, "events": entry["Events"]}
            yield from _block("lambda_function", told | ({"filter_prefix": prefix} if prefix else {}))
        statement = {
            "".join(f"_{c.lower()}" if c.isupper() else c for c in name)[1:]: value
            for name, value in self._permission_of(bucket).items()
        }
        yield from _block(f'resource "aws_lambda_permission" "{statement["statement_id"]}"', statement)
        yield "// CDK, in TypeScript, which makes the permission itself; `bucket` is the bucket's construct"
        yield "const aggregator = lambda.Function.fromFunctionAttributes(this, 'S3EventAggregator', {"
        yield f"  functionArn: '{self.function_arn}', sameEnvironment: true }});"
        for entry, type_ in itertools.product(ours, _CDK_TYPES):
            prefix = notification.filter_of(entry).get("prefix", "")
            more = f", {{ prefix: '{prefix}' }}" if prefix else ""
            yield f"bucket.addEventNotification(s3.EventType.{type_}, new s3n.LambdaDestination(aggregator){more});"


def _block(head: str, told: Mapping[str, Any]) -> list[str]:
    """A block of Terraform's, formatted as it does."""
    width = max(map(len, told))
    return [f"{head} {{", *(f"  {name:<{width}} = {json.dumps(value)}" for name, value in told.items()), "}"]


def _put_targets(events: Any, **put: Any) -> None:
    if failed := events.put_targets(**put).get("FailedEntries"):
        raise RefusedError(f"EventBridge refused the function as target: {failed[0].get('ErrorMessage')}")


def _dead_targets(error: Mapping[str, Any], others: Sequence[str]) -> list[str]:
    """Those of others that S3 names; it names them in its answer, beside the message."""
    named = re.findall(r"arn:[^\s,\]\"]+", " ".join(str(value) for name, value in error.items() if name != "Message"))
    return [target for target in others if target in named]


def _of_dead(bucket: str, dead: Sequence[str]) -> str:
    return (
        f"S3 could not validate a target of the notifications of {bucket}, which are checked all at each put:\n  "
        + "\n  ".join(dead)
        + "\nRemove the notifications whose target does not exist any more or does not let S3 in, or put ours beside"
        " them all the same by --skip-destination-validation."
    )
