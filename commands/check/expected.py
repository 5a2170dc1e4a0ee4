"""What a deployed stack should be: its own template's resources, with the stack's parameters put in.

So a stack of another version, or one that was deployed without create-stack.sh, is held against what it is made of.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from commands.deploy.template import Json

# What is in the place of `*` here: partition, region and account.
_ARNS = {
    "AWS::Lambda::Function": "arn:{0}:lambda:{1}:{2}:function:",
    "AWS::SQS::Queue": "arn:{0}:sqs:{1}:{2}:",
    "AWS::IAM::Role": "arn:{0}:iam::{2}:role/",
}


@dataclass(frozen=True)
class Resource:
    """A resource of a stack; `id` is the physical one, `properties` are as the template says, with all put in."""

    name: str
    type: str
    id: str
    properties: Json


def resources(template: Json, values: Mapping[str, Any], ids: Mapping[str, str]) -> list[Resource]:
    """Those that the template makes under these `values` of parameters and pseudo parameters; `ids` by their names."""
    home = [values[f"AWS::{name}"] for name in ("Partition", "Region", "AccountId")]
    known = dict(values)
    for name, id_ in ids.items():
        last = re.split("[/:]", id_)[-1]  # a queue's id is its URL
        known |= {name: id_, f"{name}.QueueName": last}
        if start := _ARNS.get(template["Resources"].get(name, {}).get("Type", "")):
            known[f"{name}.Arn"] = start.format(*home) + last
    return [
        Resource(name, found["Type"], ids.get(name, ""), resolved(found.get("Properties", {}), template, known))
        for name, found in template["Resources"].items()
        if "Condition" not in found or resolved(template["Conditions"][found["Condition"]], template, known)
    ]


def values_of(template: Json, parameters: Mapping[str, str]) -> Json:
    """The stack's parameters as !Ref gives them: those that are lists as lists."""
    said = template.get("Parameters", {})
    return {
        name: value.split(",") if said.get(name, {}).get("Type") == "CommaDelimitedList" else value
        for name, value in parameters.items()
    }


def resolved(value: Any, template: Json, values: Mapping[str, Any]) -> Any:  # noqa: PLR0911, PLR0912 - a return each
    """The value with CloudFormation's functions carried out; what `values` does not hold stands for itself."""

    def inside(inner: Any) -> Any:
        return resolved(inner, template, values)

    if isinstance(value, list):
        return [found for found in map(inside, value) if found is not None]
    if not isinstance(value, dict):
        return value
    match next(iter(value.items()), None):
        case "Ref", "AWS::NoValue":
            return None
        case "Ref", name:
            return values.get(name, name)
        case "Fn::GetAtt", [name, attribute]:
            return values.get(f"{name}.{attribute}", f"{attribute} of {name}")
        case "Fn::Sub", text:
            return re.sub(r"\$\{([\w:.]+)\}", lambda found: str(values.get(found[1], found[1])), text)
        case "Fn::If", [condition, yes, no]:
            return inside(yes if inside(template["Conditions"][condition]) else no)
        case "Condition", str(name) if name in template["Conditions"]:
            return inside(template["Conditions"][name])
        case "Fn::Not", [condition]:
            return not inside(condition)
        case "Fn::Or", conditions:
            return any(map(inside, conditions))
        case "Fn::Equals", [one, other]:
            return inside(one) == inside(other)
        case "Fn::EachMemberEquals", [texts, text]:
            return all(member == text for member in inside(texts))
        case "Fn::Select", [index, texts]:
            return inside(texts)[index]
        case "Fn::Join", [between, texts]:
            return between.join(inside(texts))
    return {name: found for name, inner in value.items() if (found := inside(inner)) is not None}


# How a resource differs


def differences(wanted: Json, found: Json, at: str = "") -> Iterator[str]:
    """In which properties what was found is not as wanted, in words. What only one of them tells of is left out."""
    for name in wanted.keys() & found.keys():
        path = f"{at}{name}"
        one, other = wanted[name], found[name]
        if isinstance(one, dict) and isinstance(other, dict):
            yield from differences(one, {**dict.fromkeys(one), **other}, f"{path}.")
        elif not _is_as(one, other):
            yield f"{path} is {_told(other)}, and {_told(one)} in the stack"


def _is_as(wanted: Any, found: Any) -> bool:
    """AWS answers numbers as texts, a list of one as that one, and lists in any order; others may add statements."""
    if isinstance(wanted, list) or isinstance(found, list):
        wants, has = (one if isinstance(one, list) else [one] for one in (wanted or [], found or []))
        is_whole = len(wants) == len(has) or any(isinstance(one, dict) for one in has)
        return is_whole and all(any(_is_as(want, one) for one in has) for want in wants)
    if isinstance(wanted, dict) and isinstance(found, dict):
        return not any(differences(wanted, {**dict.fromkeys(wanted), **found}))
    return _told(wanted) == _told(found)


def _told(value: Any) -> str:
    if value in (None, "", [], {}):
        return "nothing"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).lower() if isinstance(value, bool) else str(value)
