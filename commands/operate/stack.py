"""A deployed stack: its names, its settings, its state, and the AWS clients to ask for them.

Reading asks as often as it must and changes nothing. Methods raise botocore's errors, and StackError for what is not as
template.yaml makes it.
"""

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from commands.deploy import eventbridge
from commands.operate.share_state import Snapshot, as_of
from commands.operate.terminal import quoted
from event_aggregator.access_points import AccessPoints
from event_aggregator.attached import change_rules, permissions, targets_of
from event_aggregator.failures import AWS_ERRORS
from event_aggregator.file_shares import FileShare, FileShares
from event_aggregator.gateways import Gateways
from event_aggregator.regions import Regions, name_of_region
from event_aggregator.request import ActionQueue
from event_aggregator.settings import SettingError, Settings
from event_aggregator.table import Key
from event_aggregator.turns import Rules
from event_aggregator.window import Windows

_CONFIG = Config(connect_timeout=5, read_timeout=20, retries={"mode": "standard", "total_max_attempts": 4})

# The codes by which AWS says that we may not.
DENIED = ("AccessDenied", "AccessDeniedException", "403", "Forbidden")
# And those by which it says that there is no such thing.
_ABSENT = ("ResourceNotFoundException", "NoSuchBucket", "NoSuchEntity", "404")


class StackError(Exception):
    """The stack is not there, or not whole; the message says what to do."""


@dataclass
class Stack:
    """The stack of `prefix` (create-stack.sh's --name-prefix) in the session's account and region.

    `notes` collects why it is not known of some shares what they show; `unlisted` the regions that could not be listed.
    """

    session: boto3.Session
    prefix: str = ""
    notes: list[str] = field(default_factory=list)
    unlisted: set[str] = field(default_factory=set)
    _clients: dict[str, Any] = field(default_factory=dict)
    _rules: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, region: str | None, prefix: str) -> "Stack":
        """In this region, or the one that the user has set."""
        session = boto3.Session(region_name=region)
        if not session.region_name:
            raise StackError("Which region? Give --region, or set AWS_REGION, or run: aws configure")
        return cls(session, prefix)

    @property
    def region(self) -> str:
        return self.session.region_name

    @property
    def aggregator(self) -> str:
        return f"{self.prefix}S3EventAggregator"

    @property
    def refresh(self) -> str:
        return f"{self.prefix}S3StorageGatewayRefresh"

    @property
    def dead_letter_queue(self) -> str:
        return f"{self.prefix}S3EventAggregatorActionQueueDeadLetter"

    @cached_property
    def caller(self) -> tuple[str, str]:
        """The account and the partition."""
        identity = self.client("sts").get_caller_identity()
        return identity["Account"], identity["Arn"].split(":")[1]

    def client(self, service: str) -> Any:
        if service not in self._clients:
            make: Any = self.session.client
            self._clients[service] = make(service, config=_CONFIG)
        return self._clients[service]

    def command(self, script: str, *arguments: str) -> str:
        """A command line for the user to run next, about this stack."""
        prefix = ("--name-prefix", self.prefix) if self.prefix else ()
        return " ".join([f"scripts/{script}", *map(quoted, (*arguments, "--region", self.region, *prefix))])

    @cached_property
    def variables(self) -> dict[str, str]:
        """The environment variables of the refresh function, which has all settings."""
        try:
            answer = self.client("lambda").get_function_configuration(FunctionName=self.refresh)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceNotFoundException":
                raise
            which = f" with the prefix {self.prefix}" if self.prefix else ""
            raise StackError(
                f"There is no stack{which} in {self.region}: no function {self.refresh}."
                " Give --region or --name-prefix, or make it with scripts/create-stack.sh."
            ) from error
        return dict(answer.get("Environment", {}).get("Variables", {}))

    @cached_property
    def settings(self) -> Settings:
        try:
            return Settings.read(self.variables)
        except SettingError as error:
            raise StackError(f"The environment of {self.refresh}, which does not start with it: {error}") from error

    @cached_property
    def windows(self) -> Windows:
        return Windows(self.client("dynamodb"), self.settings.table_name)

    @cached_property
    def gateways(self) -> Gateways:
        """Their documents, to be read."""
        queue = ActionQueue(lambda: self.client("sqs"), self.settings.queue_url)
        return Gateways(self.client("dynamodb"), self.settings.table_name, queue, Rules.of(self.settings), now_ms)

    def snapshot(self) -> Snapshot:
        """All that the table holds now."""
        items = list(self.windows.everything())
        return Snapshot.of(items, self.gateways, Rules.of(self.settings), now_ms())

    def with_latest(self, table: Snapshot, gateways: Iterable[Key]) -> Snapshot:
        """`table` with the documents of these gateways as they are now."""
        latest = {key: as_of(self.gateways.read(key), table.rules, now_ms()) for key in gateways}
        return replace(table, gateways={**table.gateways, **latest})

    @property
    def _regions(self) -> tuple[str, ...]:
        return self.settings.gateway_regions or (self.region,)

    @cached_property
    def regions(self) -> Regions:
        """The regions of gateways in this account."""
        access_points = AccessPoints(lambda _: self.client("s3control"))
        makers = {region: partial(self._file_shares, region, access_points) for region in self._regions}
        return Regions(self.region, makers)

    @property
    def unseen_regions(self) -> list[str]:
        """Those of other accounts, whose roles let nobody in but the refresh function."""
        accounts = [role.split(":")[4] for role in self.settings.gateway_role_arns]
        return [name_of_region(region, account) for account in accounts for region in self._regions]

    def _file_shares(self, region: str, access_points: AccessPoints) -> FileShares:
        client = self.storage_gateway(region)
        return FileShares(client, client, access_points, self.notes.append, "" if region == self.region else region)

    def shares(self, bucket: str) -> list[FileShare]:
        """The file shares that show the bucket, or may; a region that does not say is noted."""
        return self.shares_of_each([bucket])[bucket]

    def shares_of_each(self, buckets: Iterable[str]) -> dict[str, list[FileShare]]:
        """The same of several buckets; each region is listed once."""
        found: dict[str, list[FileShare]] = {bucket: [] for bucket in buckets}
        for name in self.regions.names if found else ():
            try:
                showing = self.regions.at(name).showing_each(found)
            except AWS_ERRORS as error:
                self.notes.append(f"The file shares in {name} cannot be listed: {error}")
                self.unlisted.add(name)
            else:
                found = {bucket: [*shares, *showing[bucket]] for bucket, shares in found.items()}
        return {bucket: sorted(shares, key=lambda share: share.share_id) for bucket, shares in found.items()}

    def stale_seconds(self, share: FileShare) -> int:
        """How long after a folder was read the share reads it again by itself, if somebody opens it; 0: it does not."""
        client = self.storage_gateway(share.region)
        describe = client.describe_smb_file_shares if share.kind == "SMB" else client.describe_nfs_file_shares
        described = describe(FileShareARNList=[share.arn])[f"{share.kind}FileShareInfoList"]
        return sum(one.get("CacheAttributes", {}).get("CacheStaleTimeoutInSeconds", 0) for one in described)

    def storage_gateway(self, region: str) -> Any:
        """The client for a region of this account; empty: the stack's own."""
        make: Any = self.session.client
        return make("storagegateway", region_name=region or self.region, config=_CONFIG)

    def buckets(self) -> list[str]:
        """The buckets that were attached: those that may invoke the aggregator, and those that the rules name."""
        notifying = {bucket for bucket, _ in self.permissions()}
        return sorted(notifying | eventbridge.watched_by(self.change_rules().values()).keys())

    def permissions(self) -> list[tuple[str, str]]:
        """The buckets whose notifications may invoke the aggregator, each with its statement's id."""
        return permissions(self.function_policy())

    def function_policy(self) -> dict[str, Any]:
        """The aggregator's resource policy; empty if there is none."""
        answer = self.if_there("lambda", "get_policy", FunctionName=self.aggregator)
        return dict(json.loads(answer.get("Policy", "{}")))

    @cached_property
    def _enabled_on_eventbridge(self) -> dict[str, list[str]]:
        return eventbridge.watched_by(rule for rule in self.change_rules().values() if rule["State"] != "DISABLED")

    def change_rules(self) -> dict[str, dict[str, Any]]:
        """The rules of EventBridge that tell the aggregator of changes, by name."""
        return change_rules(self.client("events"), self.aggregator)

    def rule(self, of: str) -> dict[str, Any]:
        """The stack's rule of EventBridge, as DescribeRule tells of it; empty if there is none."""
        if of not in self._rules:
            self._rules[of] = self.if_there("events", "describe_rule", Name=f"{self.aggregator}{of}")
        return self._rules[of]

    def if_there(self, service: str, operation: str, **parameters: str) -> dict[str, Any]:
        """What AWS answers; nothing if there is no such thing."""
        try:
            return dict(getattr(self.client(service), operation)(**parameters))
        except ClientError as error:
            if error.response["Error"]["Code"] not in _ABSENT:
                raise
            return {}

    def notifications(self, bucket: str) -> list[dict[str, Any]]:
        """The entries of the bucket's notification that invoke this stack, one for each prefix; none if it was removed.

        A bucket that tells EventBridge has the same, of its rules' prefixes, unless a rule is disabled.
        """
        configuration = self.client("s3").get_bucket_notification_configuration(Bucket=bucket)
        entries = [
            entry
            for entry in configuration.get("LambdaFunctionConfigurations", [])
            if entry["LambdaFunctionArn"].endswith(f":function:{self.aggregator}")
        ]
        by_rule = self._enabled_on_eventbridge.get(bucket)
        if by_rule is not None and "EventBridgeConfiguration" in configuration:
            entries += [{"Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": p}]}}} for p in by_rule]
        return entries

    def who_may_have_changed(self, bucket: str) -> str:
        """What tells who may have replaced the bucket's notification: whom it tells now, and the bucket's tags."""
        told = targets_of(self.client("s3").get_bucket_notification_configuration(Bucket=bucket))
        try:
            tags = self.client("s3").get_bucket_tagging(Bucket=bucket)["TagSet"]
        except ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchTagSet":
                raise
            tags = []
        tagged = ", ".join(f"{tag['Key']}={tag['Value']}" for tag in tags)
        return f"it tells {', '.join(told) or 'nobody'}; its tags: {tagged or 'none'}"

    def queue_attributes(self, url: str) -> dict[str, str]:
        return dict(self.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"])

    @cached_property
    def dead_letter_url(self) -> str:
        return str(self.client("sqs").get_queue_url(QueueName=self.dead_letter_queue)["QueueUrl"])


def now_ms() -> int:
    """Now, in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000
