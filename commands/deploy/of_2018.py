"""What the project of 2018 made, by the names that it gave, and its removal.

No stack of CloudFormation owns that: so its functions are told from those of a stack of this project.
"""

from collections.abc import Callable, Iterator
from typing import Any

from botocore.exceptions import ClientError

from commands.deploy.template import RefusedError
from commands.operate.stack import Stack
from event_aggregator.attached import permissions, targets_of

AGGREGATOR, REFRESH = "S3EventAggregator", "S3StorageGatewayRefresh"
_QUEUE = "S3EventAggregatorActionQueue"
_ROLES = ("S3EventAggregatorLambdaRole", "S3AggregatorActionLambdaRole")
_POLICIES = (
    *("S3EventAggregatorDynamo", "S3EventAggregatorSqsWriter", "S3EventAggregatorSqsReader"),
    "StorageGatewayRefreshPolicy",
)


def owner_of(functions: Any, name: str) -> str | None:
    """The stack of CloudFormation that owns the function; empty: none does; None: there is no such function.

    RefusedError if its tags cannot be read.
    """
    try:
        found = functions.get_function(FunctionName=name)
    except functions.exceptions.ResourceNotFoundException:
        return None
    if error := found.get("TagsError"):
        raise RefusedError(
            f"Which stack owns the function {name}? Its tags, which tell, cannot be read: {error['Message']}"
            "\nYour credentials need lambda:ListTags."
        )
    return str(found.get("Tags", {}).get("aws:cloudformation:stack-name", ""))


def delete(stack: Stack, account: str, partition: str, say: Callable[[str], None], *, is_dry: bool) -> None:
    """Removes what the scripts of 2018 made. RefusedError if it is not of 2018, or a bucket still needs it."""
    for function in (AGGREGATOR, REFRESH):
        if owner := owner_of(stack.client("lambda"), function):
            raise RefusedError(f"The function {function} is of the stack {owner}, and not of 2018.")
    if rules := ", ".join(Stack(stack.session, "", _clients=stack._clients).change_rules()):
        raise RefusedError(f"The function {AGGREGATOR} is not of 2018, for that had no rules of EventBridge: {rules}")
    if buckets := list(_notifying(stack)):
        raise RefusedError(
            f"These buckets still notify {AGGREGATOR} of 2018: {', '.join(buckets)}. Attach each to the new stack,"
            " which then takes its place: scripts/attach-bucket.sh --name-prefix P --bucket B"
        )
    say("The roles and policies of 2018 serve all regions: its functions in another region stop without them.")
    for what, call, arguments in _calls(stack, account, partition, say):
        if is_dry:
            say(f"would delete  {what}, if it is there")
            continue
        try:
            call(**arguments)
            say(f"delete  {what}")
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code == "DeleteConflict":
                say(f"keep    {what}, which somebody else uses")
            elif not code.endswith(("ResourceNotFoundException", "NoSuchEntity", "QueueDoesNotExist")):
                raise
    if not is_dry:
        say("\nNothing else of 2018 is there.")


def _notifying(stack: Stack) -> Iterator[str]:
    """The buckets whose notification goes to the aggregator of 2018."""
    s3 = stack.client("s3")
    for bucket, _ in permissions(Stack(stack.session, "", _clients=stack._clients).function_policy()):
        try:
            found = s3.get_bucket_notification_configuration(Bucket=bucket)
        except s3.exceptions.NoSuchBucket:
            continue
        if any(target.endswith(f":function:{AGGREGATOR}") for target in targets_of(found)):
            yield bucket


def _calls(
    stack: Stack, account: str, partition: str, say: Callable[[str], None]
) -> Iterator[tuple[str, Callable[..., object], dict[str, str]]]:
    """What there may be, each with the call that deletes it: who reads first, what they used last."""
    functions, logs, sqs, iam = (stack.client(service) for service in ("lambda", "logs", "sqs", "iam"))
    for name in [name for name in (REFRESH, AGGREGATOR) if owner_of(functions, name) == ""]:
        for mapping in functions.list_event_source_mappings(FunctionName=name)["EventSourceMappings"]:
            yield f"trigger of {name}", functions.delete_event_source_mapping, {"UUID": mapping["UUID"]}
        yield f"function {name}", functions.delete_function, {"FunctionName": name}
        yield f"log group /aws/lambda/{name}", logs.delete_log_group, {"logGroupName": f"/aws/lambda/{name}"}
    for url in sqs.list_queues(QueueNamePrefix=_QUEUE).get("QueueUrls", []):
        if url.endswith(f"/{_QUEUE}"):
            yield f"queue {_QUEUE}", sqs.delete_queue, {"QueueUrl": url}
    yield f"table {AGGREGATOR}", stack.client("dynamodb").delete_table, {"TableName": AGGREGATOR}
    kept: list[str] = []
    for role in _ROLES:
        policies, region = _attached(iam, role), _last_used_in(iam, role)
        if region not in ("", stack.region):
            say(f"keep    role {role} and its policies, last used in {region}: --region {region} deletes them")
            kept += policies
            continue
        for arn in policies:
            detach = {"RoleName": role, "PolicyArn": arn}
            yield f"policy {arn.rpartition('/')[2]} from role {role}", iam.detach_role_policy, detach
        yield f"role {role}", iam.delete_role, {"RoleName": role}
    for policy in _POLICIES:
        arn = f"arn:{partition}:iam::{account}:policy/{policy}"
        if arn not in kept:
            yield f"policy {policy}", iam.delete_policy, {"PolicyArn": arn}


def _last_used_in(iam: Any, role: str) -> str:
    """The region in which the role was used last; empty: none is known, or there is no such role."""
    try:
        return str(iam.get_role(RoleName=role)["Role"].get("RoleLastUsed", {}).get("Region", ""))
    except iam.exceptions.NoSuchEntityException:
        return ""


def _attached(iam: Any, role: str) -> list[str]:
    try:
        return [policy["PolicyArn"] for policy in iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]]
    except iam.exceptions.NoSuchEntityException:
        return []
