"""A bucket's notification configuration, as data: with our entries, without them, and what S3 would refuse.

S3 replaces the whole configuration at each put, so everybody else's entries pass through here, to the letter.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from string import Template
from typing import Any
from urllib.parse import quote_plus, unquote_plus

from commands.deploy.package import digest
from commands.deploy.template import ROOT, DeployError, Json
from event_aggregator.attached import EVENTS, entries_of


def entries(function_arn: str, name_prefix: str, prefixes: Iterable[str]) -> list[Json]:
    """What the bucket's configuration shall hold of ours: an entry for all keys, or one for each prefix."""
    text = Template((ROOT / "s3" / "notification.json").read_text())
    entry = json.loads(text.substitute(NamePrefix=name_prefix, FunctionArn=function_arn))
    return [
        {
            **entry,
            "Id": f"{entry['Id']}-{digest(value.encode())[:8]}",
            "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": value}]}},
        }
        for value in shortest(filter_value(prefix) for prefix in prefixes)
    ] or [entry]


def attached(configuration: Json, ours: Sequence[Json]) -> Json:
    """The configuration with exactly these entries of ours, and everything else as it was.

    DeployError if somebody else's entry has an Id of ours.
    """
    function_arn = ours[0]["LambdaFunctionArn"]
    for target, other in entries_of(configuration):
        if other.get("Id") in [own["Id"] for own in ours] and target != function_arn:
            raise DeployError(
                f"The bucket already has a notification with the Id {other['Id']}, and it goes to {target}."
                " Remove it if it is a leftover, or choose another --name-prefix for this stack."
            )
    if sorted(map(_essence, own_of(configuration, function_arn))) == sorted(map(_essence, ours)):
        return configuration
    others = detached(configuration, function_arn)
    return {**others, "LambdaFunctionConfigurations": [*others.get("LambdaFunctionConfigurations", []), *ours]}


def detached(configuration: Json, function_arn: str) -> Json:
    """The configuration without our entries."""
    own = own_of(configuration, function_arn)
    if not own:
        return configuration
    rest = {name: value for name, value in configuration.items() if name != "LambdaFunctionConfigurations"}
    others = [entry for entry in configuration["LambdaFunctionConfigurations"] if entry not in own]
    return {**rest, "LambdaFunctionConfigurations": others} if others else rest


def own_of(configuration: Json, function_arn: str) -> list[Json]:
    """The entries that invoke our function, whatever their Id: S3 would refuse ours beside one made in the console."""
    found = configuration.get("LambdaFunctionConfigurations", [])
    return [entry for entry in found if entry["LambdaFunctionArn"] == function_arn]


def overlaps(configuration: Json, ours: Sequence[Json]) -> list[str]:
    """The entries for which S3 would refuse ours, in words: an event type in common, and keys that both would match.

    Two prefixes match a common key if one begins with the other; any suffix matches one of ours, which have none.
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-how-to-filtering.html
    """
    found = []
    for target, other in entries_of(configuration):
        common = [event for event in other["Events"] if any(_share_a_type(event, mine) for mine in EVENTS)]
        shared = any(_share_a_key(filter_of(other), filter_of(mine)) for mine in ours)
        if target != ours[0]["LambdaFunctionArn"] and common and shared:
            found.append(f"{other.get('Id', '(no Id)')}: {', '.join(common)} to {target}")
    return found


def prefixes_of(configuration: Json, function_arn: str) -> list[str]:
    """The prefix of keys that each of our entries has; an empty one: all keys."""
    return [unquote_plus(filter_of(own).get("prefix", "")) for own in own_of(configuration, function_arn)]


def filter_value(prefix: str) -> str:
    """The prefix as a notification's filter takes it: URL-encoded, a space as `+`.

    Of some characters it is not documented whether they are encoded. There the prefix is cut off: a shorter one lets
    more events through, and none is missed.
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-how-to-filtering.html
    """
    return quote_plus(re.split("[!*'()~]", prefix, maxsplit=1)[0], safe="/")


def shortest(prefixes: Iterable[str]) -> list[str]:
    """The prefixes without those that begin with another, since S3 refuses two that overlap; none: all keys."""
    kept: list[str] = []
    for prefix in sorted(prefixes):
        if not any(prefix.startswith(other) for other in kept):
            kept.append(prefix)
    return [] if kept == [""] else kept


def filter_of(entry: Json) -> dict[str, str]:
    rules = entry.get("Filter", {}).get("Key", {}).get("FilterRules", [])
    return {rule["Name"].lower(): rule["Value"] for rule in rules}  # S3 answers "Prefix" to who put "prefix"


def _essence(entry: Json) -> tuple[Any, ...]:
    """What tells entries apart, whatever the order in which S3 answers, and can be sorted."""
    return entry.get("Id", ""), sorted(set(entry["Events"])), sorted(filter_of(entry).items())


def _share_a_type(one: str, other: str) -> bool:
    shorter, longer = sorted([one.removesuffix("*"), other.removesuffix("*")], key=len)
    return longer.startswith(shorter) if shorter.endswith(":") else longer == shorter


def _share_a_key(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    shorter, longer = sorted([one.get("prefix", ""), other.get("prefix", "")], key=len)
    return longer.startswith(shorter)
