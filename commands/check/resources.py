"""What AWS says of a stack's resources, in the terms of CloudFormation's properties, and what is wrong with it.

Each reader returns those properties that it can see; None if there is no such resource. It writes nothing.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from botocore.exceptions import ClientError

from commands.check.expected import Resource, differences, resources, values_of
from commands.deploy.template import Json, parsed, words_of
from commands.operate.stack import DENIED, Stack, StackError
from commands.operate.status import Concern
from event_aggregator.access_points import is_access_point
from event_aggregator.failures import AWS_ERRORS
from event_aggregator.file_shares import FileShare, location

_ABSENT = ("ResourceNotFoundException", "ResourceNotFound", "NoSuchEntity", "QueueDoesNotExist", "NonExistentQueue")

# What the template does not say, and what a resource of its kind must be.
_STATES = {
    # It is inactive if it was not invoked for weeks, and pending while it is made.
    ("AWS::Lambda::Function", "State"): ("Active", "Inactive", "Pending"),
    ("AWS::Lambda::Function", "LastUpdateStatus"): ("Successful", "InProgress"),
    ("AWS::Lambda::EventSourceMapping", "State"): ("Enabled", "Enabling", "Creating", "Updating"),
    ("AWS::DynamoDB::Table", "TableStatus"): ("ACTIVE", "UPDATING"),
    ("AWS::CloudWatch::Alarm", "ActionsEnabled"): (True,),
}
# What must not be there if the template does not say it.
_UNLESS_SAID: dict[str, Json] = {
    "AWS::Lambda::Function": {"ReservedConcurrentExecutions": None, "VpcConfig": {"SubnetIds": []}}
}

# What mends properties of which the template says nothing, so that --revert-drift may leave them alone.
_BY_HAND = {
    "ReservedConcurrentExecutions": "lambda delete-function-concurrency --function-name",
    "ActionsEnabled": "cloudwatch enable-alarm-actions --alarm-names",
}


@dataclass
class Live:
    """A deployed stack and its resources."""

    stack: Stack

    def of(self, service: str) -> Any:
        return self.stack.client(service)

    @cached_property
    def function(self) -> Json:
        """The refresh function; StackError if there is none."""
        _ = self.stack.variables
        return dict(self.of("lambda").get_function_configuration(FunctionName=self.stack.refresh))

    @property
    def partition(self) -> str:
        return str(self.function["FunctionArn"].split(":")[1])

    @property
    def account(self) -> str:
        return str(self.function["FunctionArn"].split(":")[4])

    @cached_property
    def cloud(self) -> Json:
        """The stack of CloudFormation that owns the function; StackError if none does."""
        tags = self.of("lambda").list_tags(Resource=self.function["FunctionArn"])["Tags"]
        if not (owner := tags.get("aws:cloudformation:stack-name")):
            raise StackError(
                f"No stack of CloudFormation owns {self.stack.refresh}, so there is no template to compare it with."
            )
        [found] = self.of("cloudformation").describe_stacks(StackName=owner)["Stacks"]
        return dict(found)

    @cached_property
    def expected(self) -> list[Resource]:
        client, name = self.of("cloudformation"), self.cloud["StackName"]
        body = client.get_template(StackName=name, TemplateStage="Original")["TemplateBody"]
        template = body if isinstance(body, dict) else parsed(body)  # JSON comes as a dict
        pages = client.get_paginator("list_stack_resources").paginate(StackName=name)
        ids = {
            one["LogicalResourceId"]: one.get("PhysicalResourceId", "")
            for page in pages
            for one in page["StackResourceSummaries"]
        }
        given = {one["ParameterKey"]: one["ParameterValue"] for one in self.cloud.get("Parameters", [])}
        pseudo = {"Partition": self.partition, "Region": self.stack.region, "AccountId": self.account}
        values = values_of(template, given) | {f"AWS::{key}": value for key, value in pseudo.items()}
        return resources(template, values, ids)

    @property
    def looked_at(self) -> list[Resource]:
        """Without the dashboard, on which nothing depends, and the roles' policies, of which IAM's simulator tells."""
        left_out = ("AWS::CloudWatch::Dashboard", "AWS::IAM::Policy")
        return [resource for resource in self.expected if resource.type not in left_out]

    @cached_property
    def shares(self) -> list[FileShare]:
        """Those that are known to show an attached bucket."""
        listed = self.stack.shares_of_each(self.stack.buckets()).values()
        return [share for shares in listed for share in shares if not share.unknown]

    @cached_property
    def described(self) -> dict[str, Json]:
        """What Storage Gateway tells of every file share of the stack's regions, by ARN."""
        found: list[Json] = []
        for region in self.stack.regions.names:
            client = self.stack.storage_gateway(region)
            pages = client.get_paginator("list_file_shares").paginate()
            listed = [one for page in pages for one in page["FileShareInfoList"]]
            for kind, describe in {
                "NFS": client.describe_nfs_file_shares,
                "SMB": client.describe_smb_file_shares,
            }.items():
                arns = [one["FileShareARN"] for one in listed if one["FileShareType"] == kind]
                for start in range(0, len(arns), 10):  # it takes no more
                    found += describe(FileShareARNList=arns[start : start + 10])[f"{kind}FileShareInfoList"]
        return {one["FileShareARN"]: one for one in found}

    @property
    def buckets_of_shares(self) -> set[str]:
        """The buckets of all shares that are not on an access point, attached or not."""
        stores = {location(one["LocationARN"])[0] for one in self.described.values()}
        return {store for store in stores if not is_access_point(store)}

    @cached_property
    def triggers(self) -> list[Json]:
        return list(
            self.of("lambda").list_event_source_mappings(FunctionName=self.stack.refresh)["EventSourceMappings"]
        )

    @cached_property
    def alarms(self) -> dict[str, Json]:
        pages = self.of("cloudwatch").get_paginator("describe_alarms").paginate(AlarmNamePrefix=self.stack.aggregator)
        return {alarm["AlarmName"]: alarm for page in pages for alarm in page["MetricAlarms"]}


def not_told(what: str, error: Exception) -> Concern:
    """That something could not be looked at."""
    is_denied = isinstance(error, ClientError) and error.response["Error"]["Code"] in (*DENIED, "UnauthorizedOperation")
    then = "what this needs is in iam/operator.json: docs/security-and-network.md, Permissions for operators"
    return Concern(f"{what}: {error}", then if is_denied else "run this again", is_known=False)


def _kind(resource: Resource) -> str:
    """AWS::Lambda::EventSourceMapping: event source mapping."""
    return " ".join(words_of(resource.type.rpartition("::")[2])).lower()


def concerns(live: Live, resource: Resource) -> Iterator[Concern]:
    """What is wrong with a resource of the stack."""
    mend, what = live.stack.command("create-stack.sh", "--revert-drift"), f"{_kind(resource)} {_name(resource)}"
    if not (reader := _READERS.get(resource.type)):
        yield Concern(f"{what}: this version cannot check it", "compare it with the template", is_known=False)
        return
    try:
        found = reader(live, resource)
    except (StackError, *AWS_ERRORS) as error:
        if not isinstance(error, ClientError) or not error.response["Error"]["Code"].endswith(_ABSENT):
            yield not_told(what, error)
            return
        found = None
    if found is None:
        yield Concern(f"the {what} is gone", mend)
    for wrong in wrongs(resource, found or {}):
        command = _BY_HAND.get(wrong.partition(" ")[0])
        by_hand = f"aws {command} {resource.id} --region {live.stack.region}" if command else mend
        yield Concern(f"the {what}: {wrong}", by_hand)


def wrongs(resource: Resource, found: Json) -> Iterator[str]:
    """What is wrong with what was found of a resource, in words."""
    for (type_, name), right in _STATES.items():
        if type_ == resource.type and name in found and found[name] not in right:
            reason = f" ({found[f'{name}Reason']})" if found.get(f"{name}Reason") else ""
            yield f"{name} is {found[name]}{reason}"
    yield from differences({**_UNLESS_SAID.get(resource.type, {}), **resource.properties}, found)


def _name(resource: Resource) -> str:
    if resource.type in ("AWS::SQS::QueuePolicy", "AWS::Lambda::Permission", "AWS::Lambda::EventSourceMapping"):
        return resource.name
    return resource.id.rpartition("/")[2] or resource.name


# The readers


def _function(live: Live, resource: Resource) -> Json | None:
    functions, name = live.of("lambda"), {"FunctionName": resource.id}
    found = functions.get_function_configuration(**name)
    if error := found.get("Environment", {}).get("Error"):  # who looks may not use the key
        raise StackError(f"its environment is not told: {error.get('Message')}")
    return {
        **found,
        "KmsKeyArn": found.get("KMSKeyArn"),
        "VpcConfig": found.get("VpcConfig", {}),
        "Environment": found.get("Environment", {}),
        "RecursiveLoop": functions.get_function_recursion_config(**name)["RecursiveLoop"],
        "ReservedConcurrentExecutions": functions.get_function_concurrency(**name).get("ReservedConcurrentExecutions"),
    }


def _trigger(live: Live, resource: Resource) -> Json | None:
    found = next((one for one in live.triggers if one["UUID"] == resource.id), None)
    if found is None:
        return None
    return {"ScalingConfig": {}, **{name: value for name, value in found.items() if name != "FunctionArn"}}


def _on_failure(live: Live, resource: Resource) -> Json | None:
    of = {name: resource.properties[name] for name in ("FunctionName", "Qualifier")}
    return dict(live.of("lambda").get_function_event_invoke_config(**of))


def _permission(live: Live, resource: Resource) -> Json | None:
    for statement in live.stack.function_policy().get("Statement", []):
        source = statement.get("Condition", {}).get("ArnLike", {}).get("AWS:SourceArn")
        if source == resource.properties["SourceArn"]:
            return {"Action": statement["Action"], "Principal": statement.get("Principal", {}).get("Service")}
    return None


def _log_group(live: Live, resource: Resource) -> Json | None:
    groups = live.of("logs").describe_log_groups(logGroupNamePrefix=resource.id)["logGroups"]
    found = [one for one in groups if one["logGroupName"] == resource.id]
    return {"RetentionInDays": found[0].get("retentionInDays"), "KmsKeyId": found[0].get("kmsKeyId")} if found else None


def _role(live: Live, resource: Resource) -> Json | None:
    """What it may do is asked of IAM's simulator."""
    found = live.of("iam").get_role(RoleName=resource.id)["Role"]
    boundary = found.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn")
    return {"AssumeRolePolicyDocument": found["AssumeRolePolicyDocument"], "PermissionsBoundary": boundary}


def _table(live: Live, resource: Resource) -> Json | None:
    found = live.of("dynamodb").describe_table(TableName=resource.id)["Table"]
    encryption = found.get("SSEDescription", {})
    return {
        **found,
        "BillingMode": found.get("BillingModeSummary", {}).get("BillingMode", "PROVISIONED"),
        "SSESpecification": {
            "SSEEnabled": encryption.get("Status") in ("ENABLING", "ENABLED", "UPDATING"),
            "SSEType": encryption.get("SSEType"),
            "KMSMasterKeyId": encryption.get("KMSMasterKeyArn"),
        },
    }


def _queue(live: Live, resource: Resource) -> Json | None:
    found: Json = live.stack.queue_attributes(resource.id)
    return {
        **{"KmsMasterKeyId": None, "SqsManagedSseEnabled": "false"},
        **{name: value for name, value in found.items() if name != "RedriveAllowPolicy"},
        "RedrivePolicy": json.loads(found.get("RedrivePolicy", "{}")),
    }


def _queue_policy(live: Live, resource: Resource) -> Json | None:
    [url] = resource.properties["Queues"]
    policy = json.loads(live.stack.queue_attributes(url).get("Policy") or "{}")
    return {"PolicyDocument": policy} if policy.get("Statement") else None


def _rule(live: Live, resource: Resource) -> Json | None:
    events = live.of("events")
    found = events.describe_rule(Name=resource.id)
    pattern = json.loads(found.get("EventPattern") or "{}")
    return {**found, "EventPattern": pattern, "Targets": events.list_targets_by_rule(Rule=resource.id)["Targets"]}


def _alarm(live: Live, resource: Resource) -> Json | None:
    found = live.alarms.get(resource.id)
    if not found:
        return None
    told = {name: value for name, value in found.items() if name != "AlarmDescription"}
    return {"AlarmActions": [], "OKActions": [], **told}


_READERS: dict[str, Callable[[Live, Resource], Json | None]] = {
    "AWS::CloudWatch::Alarm": _alarm,
    "AWS::DynamoDB::Table": _table,
    "AWS::Events::Rule": _rule,
    "AWS::IAM::Role": _role,
    "AWS::Lambda::EventInvokeConfig": _on_failure,
    "AWS::Lambda::EventSourceMapping": _trigger,
    "AWS::Lambda::Function": _function,
    "AWS::Lambda::Permission": _permission,
    "AWS::Logs::LogGroup": _log_group,
    "AWS::SQS::Queue": _queue,
    "AWS::SQS::QueuePolicy": _queue_policy,
}
