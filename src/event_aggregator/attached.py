"""Finds attached buckets that no longer report their changes to the aggregator.

A bucket has one notification configuration. A tool that owns it (Terraform, CDK, CloudFormation) replaces all of it at
each apply: then our entry is gone, without an error. Promise: a check finds every attached bucket whose entry is gone.
S3's permission to invoke the aggregator names the buckets that are attached by their notification. The patterns of the
EventBridge rules name the others.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from event_aggregator.failures import AWS_ERRORS
from event_aggregator.observability import logger, measure

EVENTS = ["s3:ObjectCreated:*", "s3:ObjectRemoved:*", "s3:LifecycleExpiration:*"]

# The lists of entries with a target in a notification configuration, and the name of the target's field.
TARGETS = {
    "LambdaFunctionConfigurations": "LambdaFunctionArn",
    "QueueConfigurations": "QueueArn",
    "TopicConfigurations": "TopicArn",
}


def permissions(function_policy: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The buckets that may invoke the function, each with the id of its statement.

    A statement with a wildcard, which somebody made by hand, names no bucket.
    """
    return [
        (source.rpartition(":")[2], statement["Sid"])
        for statement in function_policy.get("Statement", [])
        if statement.get("Principal") == {"Service": "s3.amazonaws.com"}
        for source in [statement.get("Condition", {}).get("ArnLike", {}).get("AWS:SourceArn", "")]
        if source and not re.search("[*?]", source)
    ]


def watched(pattern: str) -> dict[str, list[str]]:
    """The buckets in an EventBridge rule's pattern, each with its prefixes; none means all keys."""
    detail = json.loads(pattern or "{}").get("detail", {})
    return {
        bucket: [key["prefix"] for key in alternative.get("object", {}).get("key", [])]
        for alternative in detail.get("$or", [detail])
        for bucket in alternative.get("bucket", {}).get("name", [])
    }


def change_rules(events: Any, function: str) -> dict[str, dict[str, Any]]:
    """The EventBridge rules that report changes to the function, by name. A bucket has as many as its prefixes need.

    A rule's name has a hash of its bucket's name and a number. Rules of version 1.0.0 have only a number.
    """
    pages = events.get_paginator("list_rules").paginate(NamePrefix=function)
    rules = [rule for page in pages for rule in page["Rules"]]
    ours = re.compile(f"{function}(-[0-9a-f]{{10}}-|ObjectChanges)[0-9]*")
    return {rule["Name"]: rule for rule in rules if ours.fullmatch(rule["Name"])}


def entries_of(configuration: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The entries of a notification configuration, each with the ARN of its function, queue or topic."""
    return [(entry[target], entry) for kind, target in TARGETS.items() for entry in configuration.get(kind, [])]


def targets_of(configuration: Mapping[str, Any]) -> list[str]:
    """The ARNs of the functions, queues and topics that a notification configuration names."""
    return sorted({target for target, _ in entries_of(configuration)})


def notifies(configuration: Mapping[str, Any], function: str) -> bool:
    """Whether a notification configuration sends the function every kind of change."""
    entries = configuration.get("LambdaFunctionConfigurations", [])
    ours = [entry for entry in entries if entry["LambdaFunctionArn"].endswith(f":function:{function}")]
    return {*EVENTS} <= {event for entry in ours for event in entry["Events"]}


@dataclass(frozen=True, slots=True)
class LostNotification:
    """An attached bucket that no longer reports its changes, and why. `wanted` is the configuration that fixes it."""

    bucket: str
    why: str
    wanted: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class AttachedBuckets:
    """The buckets that are attached to the function. `client` makes the client of a service.

    The lost notification of a bucket in `to_restore` is put back. `request_full_refresh` is called before that, for
    the changes that were not reported.
    """

    function_arn: str
    client: Callable[[str], Any]
    to_restore: frozenset[str]
    request_full_refresh: Callable[[str], object]

    @property
    def function(self) -> str:
        return self.function_arn.rpartition(":")[2]

    def check(self) -> None:
        """Log and count each bucket that no longer reports its changes. AWS's errors are logged, not raised."""
        try:
            for lost in self.lost_notifications():
                fix = f"To fix it, run scripts/attach-bucket.sh --bucket {lost.bucket}"
                logger.warning(f"{lost.bucket} no longer reports its changes: {lost.why}. {fix}", bucket=lost.bucket)
                measure(lost.bucket, NotificationsLost=1)
                if lost.bucket in self.to_restore and lost.wanted:
                    self._restore(lost.bucket, lost.wanted)
        except AWS_ERRORS as error:
            logger.info(f"The buckets' notifications could not be checked: {error}")

    def _restore(self, bucket: str, wanted: dict[str, Any]) -> None:
        """Put back the bucket's notification beside the entries of others, whose targets S3 has validated before."""
        self.request_full_refresh(bucket)  # first, so that it is requested even if this invocation ends before the put
        try:
            self.client("s3").put_bucket_notification_configuration(
                Bucket=bucket, NotificationConfiguration=wanted, SkipDestinationValidation=True
            )
        except AWS_ERRORS as error:
            logger.warning(f"The notification of {bucket} could not be put back: {error}", bucket=bucket)
        else:
            logger.warning(f"The notification of {bucket} was put back, for all keys", bucket=bucket)

    def lost_notifications(self) -> Iterator[LostNotification]:
        """Each bucket that no longer reports its changes."""
        s3, notifying, by_rule = self.client("s3"), self._notifying(), self._by_rule()
        for bucket in sorted(notifying | by_rule.keys()):
            try:
                answer = s3.get_bucket_notification_configuration(Bucket=bucket)
            except ClientError as error:
                if error.response["Error"]["Code"] == "NoSuchBucket":
                    continue
                raise
            found = {name: value for name, value in answer.items() if name != "ResponseMetadata"}
            others = ", ".join(targets_of(found)) or "nobody"
            if bucket in notifying and not notifies(found, self.function):
                yield LostNotification(
                    bucket,
                    f"its notification to the aggregator is gone or changed; it notifies {others}",
                    self._with_ours(found),
                )
            elif not by_rule.get(bucket, True):
                yield LostNotification(bucket, "its EventBridge rule is disabled")
            elif bucket in by_rule and "EventBridgeConfiguration" not in found:
                wanted = {**found, "EventBridgeConfiguration": {}}
                yield LostNotification(
                    bucket, f"it no longer sends events to EventBridge; it notifies {others}", wanted
                )

    def _with_ours(self, found: dict[str, Any]) -> dict[str, Any]:
        """The configuration with our entry, for all keys: the lost entry's prefixes are not known."""
        own_id = f"{self.function.removesuffix('S3EventAggregator')}s3-event-aggregator"
        ours = {"Id": own_id, "LambdaFunctionArn": self.function_arn, "Events": EVENTS}
        entries = found.get("LambdaFunctionConfigurations", [])
        others = [entry for entry in entries if entry["LambdaFunctionArn"] != self.function_arn]
        return {**found, "LambdaFunctionConfigurations": [*others, ours]}

    def _notifying(self) -> set[str]:
        try:
            policy = self.client("lambda").get_policy(FunctionName=self.function)["Policy"]
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceNotFoundException":
                raise
            return set()
        return {bucket for bucket, _ in permissions(json.loads(policy))}

    def _by_rule(self) -> dict[str, bool]:
        """The buckets in EventBridge rules, each with whether all its rules are enabled."""
        found: dict[str, bool] = {}
        for rule in change_rules(self.client("events"), self.function).values():
            for bucket in watched(rule.get("EventPattern", "")):
                found[bucket] = found.get(bucket, True) and rule["State"] == "ENABLED"
        return found
