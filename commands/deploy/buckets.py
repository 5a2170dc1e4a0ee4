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
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from commands.deploy import eventbridge, notification
from commands.deploy.package import digest, region_of
from commands.deploy.template import DeployError, Json, words_of
from commands.operate.stack import Stack
from event_aggregator.attached import permissions, targets_of, watched
from event_aggregator.request import INITIAL_REFRESH_SECONDS, ActionQueue

# A permission, or what was put, is known everywhere within some seconds.
_PATIENCE_SECONDS, _PAUSE_SECONDS = 60, 2.0
_CDK_TYPES = ("OBJECT_CREATED", "OBJECT_REMOVED", "LIFECYCLE_EXPIRATION")
# Lambda's limit of a function's resource policy; and what S3's permission takes of it, without the names in it.
MOST_BYTES_OF_POLICY, _BYTES_OF_PERMISSION = 20_480, 260


@dataclass(frozen=True)
class Wish:
    """What the flags say of the buckets; of what they do not say, each bucket keeps what it has."""

    source: str = ""  # notification or eventbridge
    prefixes: Sequence[str] | None = None  # of keys; none: all keys
    prefixes_from_shares: bool = False
    initial_refresh: bool = True
    skip_validation: bool = False  # of the targets of a bucket's notifications, by S3


@dataclass
class Buckets:
    """The buckets of a stack; `say` is told each step. With `is_dry` nothing is written."""

    stack: Stack
    say: Callable[[str], None]
    is_dry: bool = False
    replaces: str = ""  # the function of 2018, in the place of whose notification ours is put
    pause: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    written: int = 0
    _unasked: str = ""  # the bucket whose refresh is asked for before the next write

    @property
    def function_arn(self) -> str:
        account, partition = self.stack.caller
        return f"arn:{partition}:lambda:{self.stack.region}:{account}:function:{self.stack.aggregator}"

    def _configuration(self, bucket: str) -> Json | None:
        """The bucket's notification configuration; None if there is no such bucket."""
        found = self.stack.if_there("s3", "get_bucket_notification_configuration", Bucket=bucket)
        return {name: value for name, value in found.items() if name != "ResponseMetadata"} if found else None

    # Refusals and plans, before anything is written

    def refuse_unless_here(self, bucket: str) -> None:
        """DeployError unless there is such a bucket, in the stack's region."""
        where, region = region_of(self.stack, bucket), self.stack.region
        if not where:
            raise DeployError(f"There is no bucket {bucket}. Create it first, or correct --bucket.")
        if where != region:
            raise DeployError(
                f"The bucket {bucket} is in {where}, and the stack is in {region}. S3 notifies functions in its own"
                f" region only: give --region {where}, and have a stack a region."
            )

    def plan(self, bucket: str, wish: Wish) -> tuple[list[Json], list[str]]:
        """The entries of its notification by which the bucket is to tell of its changes, and the patterns of its rules;
        none if it is gone. DeployError for what AWS would refuse."""
        configuration = self._configuration(bucket)
        if configuration is None:
            self.say(f"skip    bucket {bucket}: it is gone")
            return [], []
        policy = self.stack.function_policy()
        by_rule = eventbridge.watched_by(self.stack.change_rules().values()).get(bucket, [])
        has = {"notification": bucket in dict(permissions(policy)), "eventbridge": bool(by_rule)}
        ways = [wish.source] if wish.source else [way for way in has if has[way]] or ["notification"]
        prefixes = self._prefixes(bucket, wish)
        if prefixes is None:
            told = [notification.prefixes_of(configuration, arn) for arn in (self.function_arn, self.replaces)]
            prefixes = notification.shortest([*(told[0] or told[1]), *by_rule])
        patterns = eventbridge.patterns(bucket, prefixes) if "eventbridge" in ways else []
        if "notification" not in ways:
            return [], patterns
        entries = notification.entries(self.function_arn, self.stack.prefix, prefixes)
        self._refuse_what_s3_would(bucket, configuration, entries)
        self._refuse_if_policy_is_full(bucket, policy)
        return entries, patterns

    def _prefixes(self, bucket: str, wish: Wish) -> list[str] | None:
        """Those that the flags say; None if they say nothing."""
        if not wish.prefixes_from_shares:
            return None if wish.prefixes is None else notification.shortest(wish.prefixes)
        shares = self.stack.shares(bucket)
        unknown = [
            *(f"The file shares in {region} are not known here." for region in self.stack.unseen_regions),
            *self.stack.notes,
            *(f"{share.share_id}: {share.unknown}" for share in shares if share.unknown),
            *([] if shares else [f"No file share shows the bucket {bucket}."]),
        ]
        if unknown:
            told = "--prefixes-from-shares: it is not known what every file share shows. Give the prefixes by --prefix."
            raise DeployError("\n".join([told, *unknown]))
        return notification.shortest(share.prefix for share in shares)

    def _refuse_what_s3_would(self, bucket: str, configuration: Json, ours: list[Json]) -> None:
        left = notification.detached(configuration, self.replaces)
        if notification.attached(left, ours) != configuration and (taken := notification.overlaps(left, ours)):
            told = f"S3 notifies one target only of a change, and the bucket {bucket} has this already:"
            way = "Remove it, limit it to other event types or keys, or give --event-source eventbridge."
            raise DeployError("\n  ".join([told, *taken]) + f"\n{way}")

    def _refuse_if_policy_is_full(self, bucket: str, policy: Json) -> None:
        there = [sid for _, sid in permissions(policy)]
        size = len(json.dumps(policy, separators=(",", ":")))
        more = _BYTES_OF_PERMISSION + len(self.function_arn) + 2 * len(bucket)
        if self._permission_of(bucket)["StatementId"] not in there and size + more > MOST_BYTES_OF_POLICY:
            raise DeployError(
                f"The policy of {self.stack.aggregator} has no room for {bucket}: it holds {len(there)} buckets. Attach"
                " this one by --event-source eventbridge, or to another stack (--name-prefix)."
            )

    def _permission_of(self, bucket: str) -> dict[str, str]:
        account, partition = self.stack.caller
        return {
            "FunctionName": self.stack.aggregator,
            "StatementId": f"s3-{bucket.replace('.', '_')}",
            "Action": "lambda:InvokeFunction",
            "Principal": "s3.amazonaws.com",
            "SourceArn": f"arn:{partition}:s3:::{bucket}",
            "SourceAccount": account,
        }

    # Attaching

    def attach_all(self, wishes: Mapping[str, Wish]) -> None:
        """Attaches each of these buckets, whatever is refused of another. DeployError tells of all refusals."""
        refused = []
        for bucket, wish in wishes.items():
            try:
                self.attach(bucket, wish)
            except (DeployError, ClientError, BotoCoreError) as error:
                way = self.stack.command("detach-bucket.sh", "--bucket", bucket)
                refused.append(f"Of the bucket {bucket} not everything was done: {error}")
                refused.append(f"When the cause is gone, run this again. If it shall not be attached: {way}")
        if refused:
            raise DeployError("\n".join(refused))

    def attach(self, bucket: str, wish: Wish) -> None:
        """Has the bucket tell the stack of its changes.

        Until S3 has applied a notification it sends no events: so all of the bucket is refreshed in some minutes. That
        is asked for before the first write, wherever this is killed then, and again if the writing took long.
        """
        entries, patterns = self.plan(bucket, wish)
        if not (entries or patterns):
            return
        began, before = self.clock(), self.written
        self._unasked = bucket if wish.initial_refresh else ""
        if entries:
            self._permit(bucket)
        if patterns:
            self._set_rules(bucket, patterns)

        def merge(now: Json) -> Json:
            others = notification.detached(now, self.replaces)
            others = {"EventBridgeConfiguration": {}, **others} if patterns else others
            return notification.attached(others, entries) if entries else others

        what = f"notification of {bucket}" if entries else f"events of {bucket} to EventBridge"
        self._put(bucket, merge, what, skip_validation=wish.skip_validation)
        self._unasked = ""
        # Only now: a change that comes by both is one change.
        if wish.source and patterns:
            self._remove_notification(bucket)
        if wish.source and entries:
            self._set_rules(bucket, [])
        if wish.initial_refresh and self.written > before and self.clock() - began > _PATIENCE_SECONDS:
            self._ask_for_all(bucket)

    def _permit(self, bucket: str) -> None:
        permission = self._permission_of(bucket)
        if (bucket, permission["StatementId"]) not in self.stack.permissions():
            told = f"create  permission for {bucket} to invoke {self.stack.aggregator}"
            self._write(told, self.stack.client("lambda").add_permission, **permission)

    def _set_rules(self, bucket: str, patterns: Sequence[str]) -> None:
        """Gives the bucket rules of its own with these patterns: those that it has, new ones, which are named after it,
        and no more."""
        found = self.stack.change_rules()
        own = sorted(name for name, rule in found.items() if [*watched(rule.get("EventPattern", ""))] == [bucket])
        begin = f"{self.stack.aggregator}-{digest(bucket.encode())[:10]}-"
        free = (name for number in itertools.count(1) if (name := f"{begin}{number}") not in found)
        new = list(itertools.islice(free, max(0, len(patterns) - len(own))))
        if new and not self.is_dry:
            self._refuse_unless_it_may_invoke(new[0])
        for name, pattern in zip([*own, *new], patterns, strict=False):
            self._set_rule(name, found.get(name), pattern)
        for name in own[len(patterns) :]:
            self._delete_rule(name)
        if own and not patterns:
            self.say(f"        {bucket} goes on telling EventBridge of its changes: others may have rules for them.")

    def _set_rule(self, name: str, now: Json | None, pattern: str) -> None:
        events = self.stack.client("events")
        is_told = now is not None and self.function_arn in self._targets(name).values()
        if now and now["State"] == "ENABLED" and watched(now["EventPattern"]) == watched(pattern):
            self.say(f"keep    rule {name}")
        else:
            self._write(f"set     rule {name}", events.put_rule, Name=name, State="ENABLED", EventPattern=pattern)
        if not is_told:  # a target that is there may have settings of somebody else
            told, target = f"set     the target of rule {name}: {self.stack.aggregator}", self.function_arn
            answer = self._write(told, events.put_targets, Rule=name, Targets=[{"Id": "aggregator", "Arn": target}])
            if failed := answer.get("FailedEntries"):
                raise DeployError(f"EventBridge refused the function as target: {failed[0].get('ErrorMessage')}")

    def _refuse_unless_it_may_invoke(self, rule: str) -> None:
        began = self.clock()
        while f":rule/{self.stack.aggregator}*" not in json.dumps(self.stack.function_policy()):
            if self.clock() - began >= _PATIENCE_SECONDS:  # it may have been deployed a moment ago
                raise DeployError(
                    f"The stack, which is of version 1.0.0, lets no rule {rule} invoke {self.stack.aggregator}. Deploy"
                    f" this version first, as by {self.stack.command('create-stack.sh')}"
                )
            self.pause(_PAUSE_SECONDS)

    def _targets(self, rule: str) -> dict[str, str]:
        """The ARNs of the rule's targets, by their Ids."""
        found = self.stack.client("events").list_targets_by_rule(Rule=rule)["Targets"]
        return {target["Id"]: target["Arn"] for target in found}

    def _put(self, bucket: str, merge: Callable[[Json], Json], what: str, *, skip_validation: bool) -> None:
        """Merges into what S3 has, and puts that, until S3 answers with it. S3 takes no condition with a put: whoever
        writes at the same time makes it answer 409, and then what is there is read again and merged again."""
        began, problem = self.clock(), ""
        while (now := self._configuration(bucket)) is not None and (wanted := merge(now)) != now:
            if not problem:
                self._write(f"set     {what}")
            if self.is_dry:
                return
            if self.clock() - began > _PATIENCE_SECONDS:
                raise DeployError(problem)
            problem = self._put_once(bucket, wanted, skip_validation=skip_validation)
            again = self._configuration(bucket) or {}
            if merge(again) != again:  # S3 may answer as before for a moment
                self.pause(_PAUSE_SECONDS)
        if not problem:
            self.say(f"keep    {what}")

    def _put_once(self, bucket: str, wanted: Json, *, skip_validation: bool) -> str:
        """Puts it; what is the matter if S3 does not have it a moment later. DeployError if it will not."""
        try:
            self.stack.client("s3").put_bucket_notification_configuration(
                Bucket=bucket, NotificationConfiguration=wanted, SkipDestinationValidation=skip_validation
            )
        except ClientError as error:
            told = error.response["Error"]
            if told["Code"] in ("OperationAborted", "409"):
                return f"Somebody else writes the notification of {bucket} again and again: {error}"
            if "Unable to validate" not in told["Message"]:
                raise
            others = [target for target in targets_of(wanted) if target != self.function_arn]
            # S3 names those that it could not validate in its answer, beside the message.
            dead = [target for target in others if re.search(rf"{re.escape(target)}(?![\w-])", str(told))]
            problem = "\n  ".join([f"{error}\nS3 validates at each put all that {bucket} notifies:", *(dead or others)])
            problem += "\nRemove the notifications of targets that are gone or do not let S3 in, or put ours beside"
            problem += " them by --skip-destination-validation."
            if dead:
                raise DeployError(problem) from error
            return problem
        return f"Somebody else overwrites the notification of {bucket} again and again."

    # Detaching: the mirror

    def detach(self, bucket: str) -> None:
        """Has the bucket tell the stack of its changes no more."""
        before = self.written
        self._remove_notification(bucket)
        self._set_rules(bucket, [])
        if self.written == before:
            self.say(f"skip    bucket {bucket}: nothing of this stack is attached to it")

    def _remove_notification(self, bucket: str) -> None:
        try:
            if notification.own_of(self._configuration(bucket) or {}, self.function_arn):
                what = f"notification of {bucket}: without ours"
                # What is left was accepted before: it does not matter now whether its targets still exist.
                self._put(bucket, lambda now: notification.detached(now, self.function_arn), what, skip_validation=True)
        except ClientError as error:
            if error.response["Error"]["Code"] != "AccessDenied":
                raise
            # The bucket may be another account's by now, which took the name after it was deleted.
            self.say(f"skip    notification of {bucket}: it could not be seen or removed: {error}")
        name, remove = self.stack.aggregator, self.stack.client("lambda").remove_permission
        for statement in [sid for of, sid in self.stack.permissions() if of == bucket]:
            told = f"delete  permission for {bucket} to invoke {name} ({statement})"
            self._write(told, remove, FunctionName=name, StatementId=statement)

    def _delete_rule(self, name: str) -> None:
        events, targets = self.stack.client("events"), self._targets(name)
        if others := [arn for arn in targets.values() if arn != self.function_arn]:
            raise DeployError(
                f"The rule {name} has targets of somebody else: {', '.join(others)}. Move them to a rule of their own,"
                " and run this again."
            )
        if targets:
            self._write(f"delete  the target of rule {name}", events.remove_targets, Rule=name, Ids=[*targets])
        self._write(f"delete  rule {name}", events.delete_rule, Name=name)

    # Writing

    def _ask_for_all(self, bucket: str) -> None:
        self._unasked = ""
        minutes = INITIAL_REFRESH_SECONDS // 60
        told = f"ask     for a refresh of all of {bucket} in {minutes} minutes, when S3 sends its events"
        self._write(told, self._send, bucket=bucket)

    def _send(self, bucket: str) -> None:
        sqs = self.stack.client("sqs")
        url = sqs.get_queue_url(QueueName=f"{self.stack.aggregator}ActionQueue")["QueueUrl"]
        ActionQueue(lambda: sqs, url).request_full_refresh(bucket)

    def _write(self, what: str, call: Callable[..., Any] | None = None, **arguments: Any) -> Json:
        """Says it and does it; what AWS answers."""
        if self._unasked:
            self._ask_for_all(self._unasked)
        self.say(f"{'would ' if self.is_dry else ''}{what}")
        self.written += 1
        return call(**arguments) or {} if call and not self.is_dry else {}

    def say_done(self, what: str) -> None:
        self.say("\nNothing was changed." if self.is_dry else f"\n{what}")

    # For those whose notifications another tool writes

    def as_code(self, bucket: str, wish: Wish) -> Iterator[str]:
        """What Terraform and CDK must hold if they own the bucket's notifications, for they replace all of them."""
        entries = notification.entries(self.function_arn, self.stack.prefix, self._prefixes(bucket, wish) or [])
        prefixes = [notification.filter_of(entry).get("prefix", "") for entry in entries]
        permission = {"_".join(words_of(name)).lower(): text for name, text in self._permission_of(bucket).items()}
        yield "# Terraform: in the bucket's one aws_s3_bucket_notification, and the permission beside it"
        for entry, prefix in zip(entries, prefixes, strict=True):
            told = {"id": entry["Id"], "lambda_function_arn": self.function_arn, "events": entry["Events"]}
            yield from _block("lambda_function", told | ({"filter_prefix": prefix} if prefix else {}))
        yield from _block(f'resource "aws_lambda_permission" "{permission["statement_id"]}"', permission)
        yield "// CDK, in TypeScript, which makes the permission itself; `bucket` is the bucket's construct"
        yield "const aggregator = lambda.Function.fromFunctionAttributes(this, 'S3EventAggregator', {"
        yield f"  functionArn: '{self.function_arn}', sameEnvironment: true }});"
        for prefix, type_ in itertools.product(prefixes, _CDK_TYPES):
            more = f", {{ prefix: '{prefix}' }}" if prefix else ""
            yield f"bucket.addEventNotification(s3.EventType.{type_}, new s3n.LambdaDestination(aggregator){more});"


def _block(head: str, told: Mapping[str, Any]) -> list[str]:
    """A block of Terraform's, formatted as it does."""
    width = max(map(len, told))
    return [f"{head} {{", *(f"  {name:<{width}} = {json.dumps(value)}" for name, value in told.items()), "}"]
