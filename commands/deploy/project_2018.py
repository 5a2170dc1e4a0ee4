"""What the project of 2018 made, by the names that it gave, and its removal.

No stack of CloudFormation owns that: so its functions are told from those of a stack of this project.
"""

from collections.abc import Callable, Iterator

from botocore.exceptions import ClientError

from commands.deploy.template import DeployError
from commands.operate.stack import Stack
from event_aggregator.attached import targets_of

AGGREGATOR, REFRESH = "S3EventAggregator", "S3StorageGatewayRefresh"
_QUEUE = "S3EventAggregatorActionQueue"
_ROLES = ("S3EventAggregatorLambdaRole", "S3AggregatorActionLambdaRole")
_POLICIES = (
    *("S3EventAggregatorDynamo", "S3EventAggregatorSqsWriter", "S3EventAggregatorSqsReader"),
    "StorageGatewayRefreshPolicy",
)


def owner_of(stack: Stack, name: str) -> str | None:
    """The stack of CloudFormation that owns the function; empty: none does; None: there is no such function.

    DeployError if its tags cannot be read.
    """
    found = stack.if_there("lambda", "get_function", FunctionName=name)
    if error := found.get("TagsError"):
        raise DeployError(
            f"Which stack owns the function {name}? Its tags, which tell, cannot be read: {error['Message']}"
            "\nYour credentials need lambda:ListTags."
        )
    return str(found.get("Tags", {}).get("aws:cloudformation:stack-name", "")) if found else None


def delete(stack: Stack, say: Callable[[str], None], *, is_dry: bool) -> None:
    """Removes what the scripts of 2018 made, whose names have no prefix, as those of this stack.

    DeployError if it is not of 2018, or a bucket still needs it.
    """
    for function in (AGGREGATOR, REFRESH):
        if owner := owner_of(stack, function):
            raise DeployError(f"The function {function} is of the stack {owner}, and not of 2018.")
    if rules := ", ".join(stack.change_rules()):
        raise DeployError(f"The function {AGGREGATOR} is not of 2018, for that had no rules of EventBridge: {rules}")
    asked = ("s3", "get_bucket_notification_configuration")
    notified = {bucket: targets_of(stack.if_there(*asked, Bucket=bucket)) for bucket in stack.buckets()}
    end = f":function:{AGGREGATOR}"
    if buckets := [bucket for bucket, targets in notified.items() if any(target.endswith(end) for target in targets)]:
        raise DeployError(
            f"These buckets still notify {AGGREGATOR} of 2018: {', '.join(buckets)}. Attach each to the new stack,"
            " which then takes its place: scripts/attach-bucket.sh --name-prefix P --bucket B"
        )
    say("The roles and policies of 2018 serve all regions: its functions in another region stop without them.")
    for what, call, arguments in _calls(stack, say):
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


def _calls(stack: Stack, say: Callable[[str], None]) -> Iterator[tuple[str, Callable[..., object], dict[str, str]]]:
    """What there may be, each with the call that deletes it: who reads first, what they used last."""
    functions, logs, sqs, iam = (stack.client(service) for service in ("lambda", "logs", "sqs", "iam"))
    for name in [name for name in (REFRESH, AGGREGATOR) if owner_of(stack, name) == ""]:
        for mapping in functions.list_event_source_mappings(FunctionName=name)["EventSourceMappings"]:
            yield f"trigger of {name}", functions.delete_event_source_mapping, {"UUID": mapping["UUID"]}
        yield f"function {name}", functions.delete_function, {"FunctionName": name}
        yield f"log group /aws/lambda/{name}", logs.delete_log_group, {"logGroupName": f"/aws/lambda/{name}"}
    for url in sqs.list_queues(QueueNamePrefix=_QUEUE).get("QueueUrls", []):
        if url.endswith(f"/{_QUEUE}"):
            yield f"queue {_QUEUE}", sqs.delete_queue, {"QueueUrl": url}
    yield f"table {AGGREGATOR}", stack.client("dynamodb").delete_table, {"TableName": AGGREGATOR}
    kept, (account, partition) = list[str](), stack.caller
    for role in _ROLES:
        attached = stack.if_there("iam", "list_attached_role_policies", RoleName=role).get("AttachedPolicies", [])
        policies = [policy["PolicyArn"] for policy in attached]
        last_used = stack.if_there("iam", "get_role", RoleName=role).get("Role", {}).get("RoleLastUsed", {})
        region = last_used.get("Region", stack.region)
        if region != stack.region:
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
