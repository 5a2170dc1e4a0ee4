"""What the functions' roles, and the shares', need, asked of IAM's policy simulator: nothing is done.

The simulator reads a role's policies, its permissions boundary, and those SCPs of the organization that have no
condition. It does not know the policies of buckets, keys and VPC endpoints.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import groupby
from typing import Any

from commands.check.expected import Resource
from commands.deploy.template import Json
from event_aggregator.file_shares import FileShare, location

# So many denials of one kind are named; a role without its policy has dozens.
_MOST_NAMED = 4


@dataclass(frozen=True)
class Question:
    """May the role do all of these actions on all of these resources?"""

    role: str  # ARN
    actions: list[str]
    resources: list[str]
    context: Json  # condition keys of the policy, each with the value that the calls have

    def asked(self) -> Json:
        """As SimulatePrincipalPolicy takes it."""
        entries = [
            {"ContextKeyName": key, "ContextKeyValues": [value], "ContextKeyType": "string"}
            for key, value in self.context.items()
        ]
        return {
            "PolicySourceArn": self.role,
            "ActionNames": self.actions,
            "ResourceArns": self.resources,
            "ContextEntries": entries,
        }


@dataclass(frozen=True)
class Denial:
    role: str
    why: str
    mend: str  # whose policy is to be changed: policy, boundary or organization
    action: str
    resource: str


def of_stack(expected: Iterable[Resource], known: Iterable[str], start: str, region: str) -> Iterator[Question]:
    """Each statement that the template gives a role, on what there is of its resources among the `known` ARNs.

    `start`: what comes before a role's name in its ARN.
    """
    arns = list(known)
    for resource in expected:
        said = resource.properties
        roles = {"AWS::IAM::Role": [resource.id], "AWS::IAM::Policy": said.get("Roles")}.get(resource.type) or []
        documents = [
            policy["PolicyDocument"] for policy in (*said.get("Policies", []), said) if "PolicyDocument" in policy
        ]
        for statement in [one for document in documents for one in document.get("Statement", []) if roles]:
            patterns = _listed(statement["Resource"])
            found = [arn for arn in arns if any(fnmatchcase(arn, one) for one in patterns if one != "*")]
            concrete = found or [_concrete(one, region) for one in patterns]
            for where, those in _by_region(concrete, region):
                context = {"aws:RequestedRegion": where, **_context(statement)}
                for role in roles:
                    yield Question(f"{start}{role}", _listed(statement["Action"]), those, context)


def of_share(share: FileShare, location_arn: str, partition: str, region: str) -> list[Question]:
    """What a gateway does to list a folder: a LIST of the bucket, and a HEAD of each object."""
    store, prefix = location(location_arn)
    if store.startswith("arn:"):
        root, objects = store, f"{store}/object/{prefix}any"
    else:
        root, objects = f"arn:{partition}:s3:::{share.bucket}", f"arn:{partition}:s3:::{share.bucket}/{prefix}any"
    context = {"aws:RequestedRegion": region}
    below = {"s3:prefix": prefix, "s3:delimiter": "/"} if prefix else {}
    return [
        Question(share.role, ["s3:ListBucket"], [root], {**context, **below}),
        Question(share.role, ["s3:GetObject"], [objects], context),
    ]


def _concrete(pattern: str, region: str) -> str:
    """A resource that the pattern means."""
    if pattern == "*":
        return pattern
    parts = pattern.split(":")
    return ":".join([*parts[:3], region if parts[3] == "*" else parts[3], *parts[4:]]).replace("*", "any")


def _by_region(arns: Iterable[str], home: str) -> Iterator[tuple[str, list[str]]]:
    """A call has one region."""

    def region(arn: str) -> str:
        return (arn.split(":")[3] if arn != "*" else "") or home

    for where, those in groupby(sorted(arns, key=region), key=region):
        yield where, list(those)


def _context(statement: Json) -> Json:
    """A value of each condition key that the statement asks for."""
    return {
        key: _listed(values)[0]
        for of_operator in statement.get("Condition", {}).values()
        for key, values in of_operator.items()
        if key != "aws:RequestedRegion"
    }


def _listed(value: Any) -> list[str]:
    return list(value) if isinstance(value, list) else [value]


def denials(question: Question, results: Iterable[Json]) -> Iterator[Denial]:
    """Those among the simulator's answers."""
    for result in results:
        if result["EvalDecision"] != "allowed":
            role = question.role.rpartition("/")[2]
            yield Denial(role, *_why(result), result["EvalActionName"], result["EvalResourceName"])


def no_such_role(question: Question) -> Denial:
    name = question.role.rpartition("/")[2]
    return Denial(name, "there is no such role", "policy", question.actions[0], question.resources[0])


def _why(result: Json) -> tuple[str, str]:
    if result.get("OrganizationsDecisionDetail", {}).get("AllowedByOrganizations") is False:
        return "an SCP of the organization does not allow it", "organization"
    if result.get("PermissionsBoundaryDecisionDetail", {}).get("AllowedByPermissionsBoundary") is False:
        return "its permissions boundary does not allow it", "boundary"
    if result["EvalDecision"] == "explicitDeny":
        return "one of its policies denies it", "policy"
    return "none of its policies allows it", "policy"


def in_words(denied: Iterable[Denial]) -> Iterator[tuple[str, str]]:
    """What each role may not do, a sentence for each cause, and what is to be changed."""
    for (role, why, mend), those in groupby(sorted(denied, key=_cause), key=_cause):
        named = [f"{one.action} on {one.resource}" for one in those]
        more = f" and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
        yield f"the role {role} may not {', '.join(named[:_MOST_NAMED])}{more}: {why}", mend


def _cause(denied: Denial) -> tuple[str, str, str]:
    return denied.role, denied.why, denied.mend
