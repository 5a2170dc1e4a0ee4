"""Which buckets are attached to the aggregator, and which of them do not tell it of their changes any more.

S3 has one notification configuration a bucket, and a tool that owns it (Terraform, CDK, CloudFormation) replaces all of
it at each apply: then ours is gone, and nobody is told. The guarantee: a look finds every attached bucket of which that
is so. A bucket attached by its notification is known from S3's permission to invoke the aggregator, one attached by
EventBridge from the pattern of a rule.
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

# The notifications that go to one target each, and the name of that target in them.
TARGETS = {
    "LambdaFunctionConfigurations": "LambdaFunctionArn",
    "QueueConfigurations": "QueueArn",
    "TopicConfigurations": "TopicArn",
}


def permissions(function_policy: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The buckets that may invoke the function, each with the id of the statement that says so.

    A statement made by hand may be about all buckets, or about those whose names begin alike: it names none.
    """
    return [
        (source.rpartition(":")[2], statement["Sid"])
        for statement in function_policy.get("Statement", [])
        if statement.get("Principal") == {"Service": "s3.amazonaws.com"}
        for source in [statement.get("Condition", {}).get("ArnLike", {}).get("AWS:SourceArn", "")]
        if source and not re.search("[*?]", source)
    ]


def watched(pattern: str) -> dict[str, list[str]]:
    """The buckets in the pattern of a rule of changes, each with the prefixes of its keys; none: all keys."""
    detail = json.loads(pattern or "{}").get("detail", {})
    return {
        bucket: [key["prefix"] for key in alternative.get("object", {}).get("key", [])]
        for alternative in detail.get("$or", [detail])
        for bucket in alternative.get("bucket", {}).get("name", [])
    }


def targets_of(configuration: Mapping[str, Any]) -> list[str]:
    """To whom the bucket's notifications go."""
    return sorted({entry[target] for kind, target in TARGETS.items() for entry in configuration.get(kind, [])})


def notifies(configuration: Mapping[str, Any], function: str) -> bool:
    """Whether a bucket's notification tells the function of every change."""
    entries = configuration.get("LambdaFunctionConfigurations", [])
    ours = [entry for entry in entries if entry["LambdaFunctionArn"].endswith(f":function:{function}")]
    return {*EVENTS} <= {event for entry in ours for event in entry["Events"]}


@dataclass(frozen=True, slots=True)
class LostNotification:
    """An attached bucket whose changes do not come any more, and why; `wanted` is the configuration that mends it."""

    bucket: str
    why: str
    wanted: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class AttachedBuckets:
    """Those of the function. `client` makes the client of a service; the notifications of `restored` are put back.

    `request_full_refresh` has all of a bucket refreshed, for what changed while nobody was told.
    """

    function_arn: str
    client: Callable[[str], Any]
    restored: frozenset[str]
    request_full_refresh: Callable[[str], object]

    @property
    def function(self) -> str:
        return self.function_arn.rpartition(":")[2]

    def check(self) -> None:
        """Tell, by a line of the log and a metric, of each bucket whose changes do not come any more."""
        try:
            for lost in self.lost_notifications():
                mend = f"scripts/attach-bucket.sh --bucket {lost.bucket}"
                told = f"Changes in {lost.bucket} are not told of any more: {lost.why}. Mend it: {mend}"
                logger.warning(told, bucket=lost.bucket)
                measure(lost.bucket, NotificationsLost=1)
                if lost.bucket in self.restored and lost.wanted:
                    self._restore(lost.bucket, lost.wanted)
        except AWS_ERRORS as error:
            logger.info(f"Whether the buckets' notifications are in place cannot be told: {error}")

    def _restore(self, bucket: str, wanted: dict[str, Any]) -> None:
        """Beside the entries of others, whose targets S3 has accepted before."""
        self.request_full_refresh(bucket)  # first, so that it is asked for wherever this ends
        try:
            self.client("s3").put_bucket_notification_configuration(
                Bucket=bucket, NotificationConfiguration=wanted, SkipDestinationValidation=True
            )
        except AWS_ERRORS as error:
            logger.warning(f"The notification of {bucket} could not be put back: {error}", bucket=bucket)
        else:
            logger.warning(f"The notification of {bucket} was put back, for all keys", bucket=bucket)

    def lost_notifications(self) -> Iterator[LostNotification]:
        """Each bucket whose changes do not come any more."""
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
                    bucket, f"its notification is gone or changed; it tells {others}", self._with_ours(found)
                )
            elif not by_rule.get(bucket, True):
                yield LostNotification(bucket, "the rule of EventBridge for it is disabled")
            elif bucket in by_rule and "EventBridgeConfiguration" not in found:
                wanted = {**found, "EventBridgeConfiguration": {}}
                yield LostNotification(bucket, f"it tells EventBridge no more; it tells {others}", wanted)

    def _with_ours(self, found: dict[str, Any]) -> dict[str, Any]:
        """With an entry for all keys: nobody has kept its prefixes, and so no change is missed."""
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
        """The buckets in rules, each with whether all of its rules are enabled."""
        found: dict[str, bool] = {}
        pages = self.client("events").get_paginator("list_rules").paginate(NamePrefix=f"{self.function}ObjectChanges")
        for rule in (rule for page in pages for rule in page["Rules"]):
            for bucket in watched(rule.get("EventPattern", "")):
                found[bucket] = found.get(bucket, True) and rule["State"] == "ENABLED"
        return found
