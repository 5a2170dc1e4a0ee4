"""Is everything as it should be? An area of a stack after the other; nothing is written.

What could not be looked at is a concern that is not known: it is named, and the other areas are looked at all the same.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from botocore.exceptions import ClientError

from commands.check import grants, network, resources
from commands.check.grants import Question
from commands.check.resources import Live, not_told
from commands.deploy.buckets import MOST_BYTES_OF_POLICY
from commands.operate import status
from commands.operate.stack import Stack, StackError
from commands.operate.status import Attached, Concern
from commands.operate.words import plural
from event_aggregator.access_points import is_alias
from event_aggregator.attached import notifies, permissions
from event_aggregator.failures import AWS_ERRORS
from event_aggregator.file_shares import location

# EventBridge's limit of rules on a bus, unless it was raised (EventBridge user guide, quotas).
_MOST_RULES, _MOST_RULES_IN = 300, {"af-south-1": 100, "eu-south-1": 100}
_STEADY = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "IMPORT_COMPLETE")
_WHOSE = {
    "boundary": "allow it in the permissions boundary: docs/security-and-network.md",
    "organization": "allow it in the organization's SCPs",
}


@dataclass(frozen=True)
class Area:
    """What was looked at, in a word and in a sentence, and what is wrong there."""

    name: str
    told: str
    concerns: list[Concern]


def look(stack: Stack) -> Iterator[Area]:
    """Each area, as soon as it was looked at. Raises StackError if there is no such stack."""
    found = Live(stack)
    _ = found.function
    for name, look_at in _AREAS.items():
        concerns: list[Concern] = []
        try:
            told = look_at(found, concerns)
        except (StackError, *AWS_ERRORS) as error:
            told = "could only be checked in part"
            concerns.append(not_told(name, error))
        yield Area(name, told, concerns)


def exit_status(areas: list[Area]) -> int:
    """0 all is well, 1 something is wrong, 2 nothing that is known is, but not all is known."""
    concerns = [concern for area in areas for concern in area.concerns]
    if any(concern.is_known for concern in concerns):
        return 1
    return 2 if concerns else 0


def _stack(found: Live, concerns: list[Concern]) -> str:
    name, state = found.cloud["StackName"], found.cloud["StackStatus"]
    if state not in _STEADY:
        is_known = not state.endswith("_IN_PROGRESS")
        concerns.append(Concern(f"the stack {name} is {state}", found.stack.command("create-stack.sh"), is_known))
    for resource in found.looked_at:
        concerns += resources.concerns(found, resource)
    return f"{name} is {state}; {len(found.looked_at)} resources match its template"


def _roles(found: Live, concerns: list[Concern]) -> str:
    buckets = [f"arn:{found.partition}:s3:::{name}" for name in found.stack.buckets()]
    shares = found.shares
    known = [*buckets, *(share.arn for share in shares), *{share.role for share in shares if share.role}]
    start = f"arn:{found.partition}:iam::{found.account}:role/"
    questions = list(grants.of_stack(found.expected, known, start, found.stack.region))
    concerns += _asked(found, questions, found.stack.command("create-stack.sh", "--revert-drift"))
    number = sum(len(question.actions) for question in questions)
    roles = plural(len({question.role for question in questions}), "role")
    return f"{roles} are allowed all {number} actions (policies, boundary, SCPs without conditions)"


def _asked(found: Live, questions: list[Question], mend: str) -> Iterator[Concern]:
    """What IAM's simulator denies of these; `mend`: what gives the role its policy."""
    simulate, denied = found.stack.client("iam").get_paginator("simulate_principal_policy"), []
    for question in questions:
        try:
            pages = list(simulate.paginate(**question.asked()))
        except ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchEntity":
                raise
            denied.append(grants.no_such_role(question))
        else:
            denied += [one for page in pages for one in grants.denials(question, page["EvaluationResults"])]
    for what, whose in grants.in_words(denied):
        yield Concern(what, _WHOSE.get(whose, mend))


def _buckets(found: Live, concerns: list[Concern]) -> str:
    stack, table = found.stack, found.stack.snapshot()
    buckets = [bucket for bucket in status.buckets_of(stack, table) if bucket.attached is not Attached.NO]
    for bucket in buckets:
        concerns += status.concerns_of_bucket(stack, bucket, table.at)
    names = {bucket.name for bucket in buckets}
    for name in sorted({*names, *status.refreshed_lately(table), *found.buckets_of_shares}):
        concerns += _of_notification(found, name)
    concerns += _rules_of_changes(found)
    if not names and not concerns:
        concerns.append(Concern("no bucket is attached", stack.command("attach-bucket.sh", "--bucket", "B")))
    concerns += status.what_is_not_known(stack)
    return f"{plural(len(names), 'bucket')} attached: {', '.join(sorted(names))}; each tells of its changes"


def _of_notification(found: Live, bucket: str) -> Iterator[Concern]:
    """What is wrong with a notification that the bucket has."""
    try:
        configuration = found.stack.client("s3").get_bucket_notification_configuration(Bucket=bucket)
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchBucket":
            yield not_told(bucket, error)
        return
    aggregator, mend = found.stack.aggregator, found.stack.command("attach-bucket.sh", "--bucket", bucket)
    entries = configuration.get("LambdaFunctionConfigurations", [])
    if not any(entry["LambdaFunctionArn"].endswith(f":function:{aggregator}") for entry in entries):
        return
    if bucket not in dict(permissions(found.stack.function_policy())):
        yield Concern(f"{bucket} notifies {aggregator}, and S3 has no permission to invoke it for that bucket", mend)
    if not notifies(configuration, aggregator):
        yield Concern(f"{bucket} does not notify {aggregator} of all changes, such as deletions", mend)


def _rules_of_changes(found: Live) -> Iterator[Concern]:
    events, mend = found.stack.client("events"), found.stack.command("attach-bucket.sh", "--bucket", "B")
    for name, rule in found.stack.change_rules().items():
        if rule["State"] != "ENABLED":
            yield Concern(f"the rule {name} is {rule['State'].lower()}", "enable it in the EventBridge console")
        targets = [target["Arn"] for target in events.list_targets_by_rule(Rule=name)["Targets"]]
        if not any(arn.endswith(f":function:{found.stack.aggregator}") for arn in targets):
            yield Concern(f"the rule {name} does not invoke {found.stack.aggregator}", f"{mend}, one of its buckets")


def _shares(found: Live, concerns: list[Concern]) -> str:
    shares, questions = found.shares, list[Question]()
    gateways = {(share.region, share.gateway_arn) for share in shares}
    for region, gateway in sorted(gateways):
        concerns += _of_gateway(found, region, gateway)
    for share in shares:
        lies = found.described.get(share.arn, {}).get("LocationARN", "")
        if is_alias(location(lies)[0]):
            what = f"{share.share_id} is on an access point's alias: whether its role may list there was not checked"
            concerns.append(Concern(what, "compare the role with the access point's policy", is_known=False))
        elif share.role:
            asked = grants.of_share(share, lies, found.partition, share.region or found.stack.region)
            questions += [question for question in asked if question not in questions]  # shares have roles in common
    concerns += _asked(found, questions, "allow it in the role's policy")
    unseen = found.stack.unseen_regions
    others = f"; only the refresh function sees those in {', '.join(unseen)}" if unseen else ""
    counted = f"{plural(len(shares), 'share')} at {plural(len(gateways), 'gateway')}"
    return f"{counted}: connected, AVAILABLE, and their roles may list the buckets{others}"


def _of_gateway(found: Live, region: str, gateway: str) -> Iterator[Concern]:
    name, then = (
        gateway.rpartition("/")[2],
        "start it, or restore its connection to AWS: see the Storage Gateway console",
    )
    try:
        answer = found.stack.storage_gateway(region).describe_gateway_information(GatewayARN=gateway)
    except ClientError as error:
        is_refused = error.response["Error"]["Code"] == "InvalidGatewayRequestException"
        yield Concern(f"the gateway {name}: {error}", then) if is_refused else not_told(f"the gateway {name}", error)
        return
    if not (state := answer.get("GatewayState", "RUNNING")).endswith("RUNNING"):
        yield Concern(f"the gateway {name} is {state}", then)


def _network(found: Live, concerns: list[Concern]) -> str:
    if not found.function.get("VpcConfig", {}).get("SubnetIds"):
        return "the refresh function is in no VPC"
    known = network.look(found.stack.client("ec2"), found.function)
    settings = found.stack.settings
    needed = list(network.services(found.stack.variables, settings.gateway_regions, found.stack.region))
    concerns += network.unreachable(known, needed)
    return f"the refresh function can reach {', '.join(dict.fromkeys(service for service, _ in needed))}"


def _quotas(found: Live, concerns: list[Concern]) -> str:
    limits = found.stack.client("lambda").get_account_settings()["AccountLimit"]
    free = limits["UnreservedConcurrentExecutions"]
    takes = sum(trigger.get("ScalingConfig", {}).get("MaximumConcurrency", 0) for trigger in found.triggers)
    if free <= takes:
        what = f"this account has {free} concurrent executions of Lambda, and the refresh function takes up to {takes}"
        concerns.append(Concern(what, "ask for more in Service Quotas: Lambda, Concurrent executions"))
    size = len(json.dumps(found.stack.function_policy(), separators=(",", ":")))
    if size > 0.95 * MOST_BYTES_OF_POLICY:
        what = f"the policy of {found.stack.aggregator} has {size:,} of {MOST_BYTES_OF_POLICY:,} bytes"
        concerns.append(Concern(what, "attach the next bucket by --event-source eventbridge"))
    pages = found.stack.client("events").get_paginator("list_rules").paginate()
    rules, most = sum(len(page["Rules"]) for page in pages), _MOST_RULES_IN.get(found.stack.region, _MOST_RULES)
    if rules >= most:
        what = f"{rules} rules are on the bus, and {most} is the quota, unless it was raised"
        concerns.append(Concern(what, "see Service Quotas: EventBridge, Rules", is_known=False))
    return (
        f"{free:,} concurrent executions of Lambda; a function policy of {size:,} of {MOST_BYTES_OF_POLICY:,} bytes;"
        f" {rules} rules on the bus"
    )


def _work(found: Live, concerns: list[Concern]) -> str:
    concerns += status.what_failed(found.stack, status.dead_letters(found.stack))
    concerns += status.alarms_that_are_raised(found.stack)
    return "the dead-letter queue is empty, and no alarm is raised"


_AREAS: dict[str, Callable[[Live, list[Concern]], str]] = {
    "Stack": _stack,
    "Roles": _roles,
    "Buckets": _buckets,
    "Shares": _shares,
    "Network": _network,
    "Quotas": _quotas,
    "Work": _work,
}
