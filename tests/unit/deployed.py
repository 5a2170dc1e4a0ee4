"""What CloudFormation makes of template.yaml, without CloudFormation: the properties of its resources."""

import re
from typing import Any

from commands.deploy.template import TEMPLATE as FILE
from commands.deploy.template import parsed

TEMPLATE = parsed(FILE.read_text())
PARAMETERS: dict[str, dict[str, Any]] = TEMPLATE["Parameters"]
REGION, ACCOUNT = "us-east-1", "123456789012"


def resolved(value: Any, values: dict[str, Any]) -> Any:  # noqa: PLR0911, PLR0912 - a return for each function
    """The value with CloudFormation's functions carried out; `values` are those of parameters."""
    if isinstance(value, list):
        return [inner for inner in (resolved(inner, values) for inner in value) if inner is not None]
    if not isinstance(value, dict):
        return value
    match next(iter(value.items()), None):
        case "Ref", "AWS::NoValue":
            return None
        case "Ref", ("Aggregator" | "Refresh") as name:
            return resolved(TEMPLATE["Resources"][name]["Properties"]["FunctionName"], values)
        case "Ref", name:
            return values.get(name, name)
        case "Fn::GetAtt", [name, "QueueName"]:
            return resolved(TEMPLATE["Resources"][name]["Properties"]["QueueName"], values)
        case "Fn::GetAtt", [name, "Arn"]:
            return f"arn of {name}"
        case "Fn::Sub", text:
            return re.sub(r"\$\{([\w:]+)\}", lambda found: str(values.get(found[1], found[1])), text)
        case "Fn::If", [condition, yes, no]:
            return resolved(yes if resolved(TEMPLATE["Conditions"][condition], values) else no, values)
        case "Condition", name if name in TEMPLATE["Conditions"]:
            return resolved(TEMPLATE["Conditions"][name], values)
        case "Fn::Not", [condition]:
            return not resolved(condition, values)
        case "Fn::Or", conditions:
            return any(resolved(condition, values) for condition in conditions)
        case "Fn::Equals", [one, other]:
            return resolved(one, values) == resolved(other, values)
        case "Fn::EachMemberEquals", [texts, text]:
            return all(member == text for member in resolved(texts, values))
        case "Fn::Select", [index, texts]:
            return resolved(texts, values)[index]
        case "Fn::Join", [between, texts]:
            return between.join(resolved(texts, values))
    return {name: found for name, inner in value.items() if (found := resolved(inner, values)) is not None}


def values_of(given: dict[str, Any]) -> dict[str, Any]:
    """These parameters, and the others at their defaults."""
    values = {name: parameter.get("Default", name) for name, parameter in PARAMETERS.items()}
    lists = {name for name, parameter in PARAMETERS.items() if parameter["Type"] == "CommaDelimitedList"}
    own = {"AWS::Partition": "aws", "AWS::Region": REGION, "AWS::AccountId": ACCOUNT, "NamePrefix": "dev-"}
    return values | {name: [""] for name in lists} | own | given


def resources(kind: str, **given: Any) -> dict[str, dict[str, Any]]:
    """The properties of each resource of this kind, by its name, with these parameters."""
    values = values_of(given)
    return {
        name: resolved(resource["Properties"], values)
        for name, resource in TEMPLATE["Resources"].items()
        if resource["Type"] == kind
        and ("Condition" not in resource or resolved(TEMPLATE["Conditions"][resource["Condition"]], values))
    }


def statements(role: str, **given: Any) -> dict[str, dict[str, Any]]:
    """What a role may do, by Sid."""
    [policy] = resources("AWS::IAM::Role", **given)[role]["Policies"]
    return {statement["Sid"]: statement for statement in policy["PolicyDocument"]["Statement"]}
