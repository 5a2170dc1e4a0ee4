"""template.yaml as the command line sees it: each of its parameters is a flag, checked as CloudFormation would.

CloudFormation refuses a bad value after minutes, a function at its start: here it is refused at once, in words.
"""

import re
from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from event_aggregator.settings import SettingError, Settings

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "template.yaml"
Json = dict[str, Any]

# Those that the program gives itself.
OWN = ("CodeBucket", "CodeKey", "NamePrefix")
_LIST = "CommaDelimitedList"


class DeployError(Exception):
    """What was ordered cannot be done, or failed; the message says why, and what to do."""


class _Loader(yaml.CSafeLoader):
    """Reads CloudFormation's short forms too: !Ref Table is {"Ref": "Table"}."""


def _function(loader: yaml.CSafeLoader, name: str, node: yaml.Node) -> Json:
    plain = copy(node)
    plain.tag = loader.resolve(type(node), node.value, (True, False))  # type: ignore[no-untyped-call]
    value = loader.construct_object(plain, deep=True)
    if name == "GetAtt":
        value = value.split(".", 1)
    return {name if name in ("Ref", "Condition") else f"Fn::{name}": value}


_Loader.add_multi_constructor("!", _function)


def parsed(text: str) -> Json:
    """The template as JSON would say it."""
    template: Json = yaml.load(text, _Loader)  # noqa: S506 - a safe loader
    return template


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of the template, which is a flag as well."""

    name: str
    said: Mapping[str, Any]

    @property
    def flag(self) -> str:
        """RefreshDelaySeconds: --refresh-delay-seconds. (ReattachBucketArns: --reattach, which takes names as well.)"""
        return "--" + "-".join(words_of(self.name.removesuffix("BucketArns"))).lower()

    @property
    def default(self) -> str:
        return str(self.said.get("Default", ""))

    @property
    def hint(self) -> str:
        """What stands for a value in the help."""
        if allowed := self.said.get("AllowedValues"):
            return "N" if len(allowed) > 9 else "|".join(map(str, allowed))
        return "N" if self.said["Type"] == "Number" else "A,B" if self.said["Type"] == _LIST else "V"

    @property
    def help(self) -> str:
        default = f"default: {self.default or 'none'}"
        limits = f"{self.said['MinValue']} to {self.said['MaxValue']}; " if "MinValue" in self.said else ""
        return f"{self.said['Description']} ({limits}{default})".replace("%", "%%")

    def refuse_unless_allowed(self, value: str) -> None:
        """DeployError for what CloudFormation would refuse. (A number, Settings.read does.)"""
        allowed, pattern = [str(one) for one in self.said.get("AllowedValues", [])], self.said.get("AllowedPattern", "")
        if allowed and value not in allowed:
            raise DeployError(f"{self.flag} {value}: it must be one of {', '.join(allowed)}.")
        for one in value.split(",") if self.said["Type"] == _LIST else [value]:
            if pattern and not re.fullmatch(pattern, one):
                none = ", or none" if re.fullmatch(pattern, "") else ""
                raise DeployError(f"{self.flag} {one}: it must match {pattern}{none}.")


def words_of(name: str) -> list[str]:
    """The words of a name: EventSourceMapping is Event, Source, Mapping."""
    return re.findall("[A-Z]+(?![a-z])|[A-Z][a-z0-9]*", name)


@cache
def parameters() -> dict[str, Parameter]:
    """All of the template's, by name."""
    return {name: Parameter(name, said) for name, said in parsed(TEMPLATE.read_text())["Parameters"].items()}


def settings() -> Iterable[Parameter]:
    """The parameters that are flags."""
    return (parameter for name, parameter in parameters().items() if name not in OWN)


def environment(values: Mapping[str, str], account: str) -> dict[str, str]:
    """The functions' variables under these parameters; RefreshDelaySeconds is REFRESH_DELAY_SECONDS, and so on."""
    own = {"TABLE_NAME": "-", "QUEUE_URL": f"https://sqs/{account}/-"}
    return own | {"_".join(words_of(name)).upper(): value for name, value in values.items()}


def refuse_unless_consistent(values: Mapping[str, str], region: str, account: str) -> None:
    """DeployError for values, each of a parameter, with which the stack would fail or its functions not start."""
    try:
        Settings.read(environment(values, account))
    except SettingError as error:
        flags = re.sub("[A-Z]+(_[A-Z]+)+", lambda name: "--" + name[0].replace("_", "-").lower(), str(error))
        raise DeployError(flags) from error
    for name, value in values.items():
        parameters()[name].refuse_unless_allowed(value)
    if values["StorageGatewayEndpointUrl"] and "," in values["GatewayRegions"]:
        raise DeployError(
            "--storage-gateway-endpoint-url serves one region: give one by --gateway-regions, or no endpoint."
        )
    if bool(values["SubnetIds"]) != bool(values["SecurityGroupIds"]):
        raise DeployError("Give --subnet-ids and --security-group-ids together, or none for both.")
    for name in ("AlarmTopicArn", "KmsKey", "EarlierKmsKey"):
        if values[name] and values[name].split(":")[3] != region:
            raise DeployError(f"{parameters()[name].flag} {values[name]}: it must be in {region}, as the stack is.")
