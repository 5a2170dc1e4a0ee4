"""What the stack scripts need and bash does badly: JSON documents.

Each command is a pure function over plain data, with files at its edges. An empty file is an empty document: so the
AWS CLI answers when there is nothing. Standard library only, because it runs before anything is installed.
"""

import hashlib
import json
import re
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import quote_plus, unquote_plus

from event_aggregator.settings import SettingError, Settings

Json = dict[str, Any]

# Levels that the functions of 2018 took, as Python's logging does, and what they are called here.
LEVELS_OF_2018 = {"WARN": "WARNING", "FATAL": "CRITICAL", "NOTSET": "DEBUG"}

# A value of so many characters is not told in a message.
SHORT = 100

# How long SQS may take to make a change known everywhere (a minute), and then to count its messages right (another);
# and how long it keeps one.
SQS_SETTLES_SECONDS = 300
SQS_RETENTION_SECONDS = 1209600

# How long Lambda may take to give back the network interfaces of a function that left its subnets (45 minutes).
INTERFACES_REMAIN_SECONDS = 7200

# The bucket notifications that go to one target each, and the name of that target in them.
NOTIFICATION_LISTS = {
    "LambdaFunctionConfigurations": "LambdaFunctionArn",
    "QueueConfigurations": "QueueArn",
    "TopicConfigurations": "TopicArn",
}


# Documents


def render(template: str, values: Mapping[str, str]) -> Json:
    """The JSON document with its ${Placeholders} filled in; KeyError names one that has no value.

    A text whose placeholder has several values, with commas between them, becomes a list: a text for each.
    """
    several = {f"${{{name}}}": value.split(",") for name, value in values.items() if "," in value}
    document: Json = _spread(_filled_in(template, {**values, **{name[2:-1]: name for name in several}}), several)
    return document


def _filled_in(template: str, values: Mapping[str, str]) -> Any:
    return json.loads(Template(template).substitute(values))


def _spread(part: Any, several: Mapping[str, list[str]]) -> Any:
    if isinstance(part, dict):
        return {name: _spread(value, several) for name, value in part.items()}
    if isinstance(part, list):
        return [_spread(value, several) for value in part]
    for name, values in several.items():
        if isinstance(part, str) and name in part:
            return [part.replace(name, value) for value in values]
    return part


def join_policies(policies: Iterable[Json]) -> Json:
    """One policy that allows what all of them allow."""
    statements = [statement for policy in policies for statement in policy["Statement"]]
    return {"Version": "2012-10-17", "Statement": statements}


def changes(current: Any, desired: Json) -> Iterator[str]:
    """What applying the desired settings would change, in words. What they do not name is not looked at.

    SQS keeps its redrive policy as JSON in a string, with spaces and key order of its own: such strings are compared
    by what they say. What shall be empty may as well be missing.
    """
    for name, want in desired.items():
        have = current.get(name)
        if isinstance(want, dict):
            yield from changes(have or {}, want)
        elif not _is(have, want):
            short = not isinstance(want, list) and not str(want).startswith("{") and len(str(want)) < SHORT
            yield f"{name} {'none' if have is None else have} -> {'none' if want == '' else want}" if short else name


def _is(have: Any, want: Any) -> bool:
    """Whether a value is the desired one; of a list's documents, too, only what the desired ones name is looked at."""
    if isinstance(want, list) and isinstance(have, list) and len(have) == len(want):
        return all(map(_is, have, want))
    if isinstance(want, dict) and isinstance(have, dict):
        return not any(changes(have, want))
    return bool(_decoded(have) == _decoded(want)) or (have is None and want in ("", []))


def _decoded(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) and value.startswith("{") else value


# Functions


def function_configuration(
    fixed: Json, current: Json, sibling: Json, given: Mapping[str, str], defaults: Mapping[str, str]
) -> Json:
    """The configuration a function shall have.

    Variables that the user added stay.
    """
    variables = {**settings(current, sibling, given, defaults), **_variables(fixed)}
    # Lambda's own filter must let metrics through, which carry no level and count as INFO; the logger filters the rest.
    level = "DEBUG" if variables["LOG_LEVEL"] == "DEBUG" else "INFO"
    return {
        **fixed,
        "Environment": {"Variables": variables},
        "LoggingConfig": {**fixed["LoggingConfig"], "ApplicationLogLevel": level},
    }


def settings(current: Json, sibling: Json, given: Mapping[str, str], defaults: Mapping[str, str]) -> dict[str, str]:
    """The function's variables, but for the fixed ones. Raises ValueError for what the function would not start with.

    A setting is what was given now, or else what is in force on the function, or on its sibling (which was made just
    before it, if the script was killed between the two), or else the default.
    """
    of_sibling = {name: value for name, value in _variables(sibling).items() if name in defaults}
    merged = {**defaults, **of_sibling, **_variables(current), **given}
    if merged.get("LOG_LEVEL") in LEVELS_OF_2018:
        merged["LOG_LEVEL"] = LEVELS_OF_2018[merged["LOG_LEVEL"]]
    try:
        as_read(merged)
    except SettingError as error:
        raise ValueError(re.sub(r"[A-Z]+(_[A-Z]+)+", lambda name: _flag(name[0], defaults), str(error))) from error
    return merged


def as_read(variables: Mapping[str, str]) -> Settings:
    """The settings as a function reads them that has these variables and those that are fixed."""
    return Settings.read({"TABLE_NAME": "any", "QUEUE_URL": "any", **variables})


def _flag(name: str, settings: Mapping[str, str]) -> str:
    return f"--{name.lower().replace('_', '-')}" if name in settings else name


def _variables(configuration: Json) -> dict[str, str]:
    variables: dict[str, str] = configuration.get("Environment", {}).get("Variables", {})
    return variables


def window_seconds(variables: Mapping[str, str]) -> int:
    """The longest that a window of any bucket is open with nothing failing, or that a share is left alone."""
    settings = as_read(variables)
    return max(settings.longest_delay_of_all(), *settings.min_refresh_interval_seconds.values())


def permitted_buckets(function_policy: Json) -> list[str]:
    """The buckets that may invoke the function, by its resource policy."""
    return [bucket for bucket, _ in permissions(function_policy)]


def permissions(function_policy: Json) -> list[tuple[str, str]]:
    """The buckets that may invoke the function, each with the id of the statement that says so.

    A statement made by hand may be about all buckets, or about those whose names begin alike: it names none.
    """
    return [
        (source.rpartition(":")[2], statement["Sid"])
        for statement in function_policy.get("Statement", [])
        if statement.get("Principal") == {"Service": "s3.amazonaws.com"}
        for source in [statement.get("Condition", {}).get("ArnLike", {}).get("AWS:SourceArn", "")]
        if source and not re.search("[*?]", source)
    ]


# Settings that are in force elsewhere than in variables


def kms_key(aggregator: Json, refresh: Json) -> str:
    """The key with which the functions' settings, and so all of the stack, are encrypted; empty: none of the user's."""
    key: str = aggregator.get("KMSKeyArn") or refresh.get("KMSKeyArn") or ""
    return key


def usable_keys(wanted: str, functions: Iterable[Json], policy: Json, queue: Json, now: float) -> list[str]:
    """The keys that the roles may use: the stack's, and earlier ones for as long as something may need them.

    The functions' settings need theirs until they have another, and a message is received with the key that it was
    sent with: so an earlier key stays in the policy until the queue shows empty after it was changed, or for as long as
    it keeps a message.
    """
    of_functions = [function.get("KMSKeyArn", "") for function in functions]
    counts = [int(value) for name, value in queue.items() if name.startswith("ApproximateNumberOfMessages")]
    age = now - int(queue.get("LastModifiedTimestamp", 0))
    shows_empty = age > SQS_SETTLES_SECONDS and not any(counts)
    of_messages = [] if shows_empty or age > SQS_RETENTION_SECONDS else _resources(policy, "kms:Decrypt")
    return list(dict.fromkeys(filter(None, [wanted, *of_functions, *of_messages])))


def network(wanted: str, refresh: Json, policy: Json, now: float) -> str:
    """What the refresh function has network interfaces for: "subnets", wanted now ("none": not) or before; or nothing.

    Or "left": Lambda, which deletes them with the function's role, may not have done that yet.
    """
    is_in_subnets = bool(refresh.get("VpcConfig", {}).get("SubnetIds"))
    if wanted not in {"", "none"} or (is_in_subnets and not wanted):
        return "subnets"
    age = now - datetime.fromisoformat(refresh.get("LastModified", "1970-01-01T00:00Z")).timestamp()
    may_remain = _resources(policy, "ec2:DeleteNetworkInterface") and age < INTERFACES_REMAIN_SECONDS
    return "left" if is_in_subnets or may_remain else ""


def _resources(role_policy: Json, action: str) -> list[str]:
    """What a role's policy allows this action on."""
    statements = role_policy.get("PolicyDocument", {}).get("Statement", [])
    found = [statement["Resource"] for statement in statements if action in statement["Action"]]
    return [resource for one in found for resource in ([one] if isinstance(one, str) else one)]


def missing_tags(found: Json, wanted: Mapping[str, str]) -> Iterator[str]:
    """The tags, as K=V, that a thing has not; AWS's services tell them in two forms."""
    tags = found.get("Tags") or found.get("tags") or {}
    having = tags if isinstance(tags, dict) else {tag["Key"]: tag["Value"] for tag in tags}
    return (f"{key}={value}" for key, value in wanted.items() if having.get(key) != value)


# Alarms


def alarms(
    template: str, values: Mapping[str, str], window: int, described: Sequence[Json], topic: str
) -> Iterator[tuple[str, str, Json]]:
    """What to do with each alarm: a verb (create, change or keep), about what, in words, and the alarm it shall be.

    `topic` is an ARN, "none", or empty: then an alarm keeps whom it tells, and a new one tells whom its siblings do.
    `window` is the stack's, in seconds: a change is late after three of them. A share's wait counts from the first
    change of its bucket's window: where windows are longer than 20 minutes, so is what it may wait than an hour.
    """
    late = 3 * window
    thresholds = {"VisibleThreshold": str(late), "WaitThreshold": str(max(3600, late)), "Flags": _flags(values)}
    existing = {alarm["AlarmName"]: alarm for alarm in described}
    desired = _filled_in(template, {**values, **thresholds})
    of_siblings = next((existing[alarm["AlarmName"]] for alarm in desired if alarm["AlarmName"] in existing), {})
    for alarm in desired:
        current = existing.get(alarm["AlarmName"], {})
        for actions in ("AlarmActions", "OKActions"):
            kept = (current or of_siblings).get(actions, [])
            alarm[actions] = {"": kept, "none": []}.get(topic, [topic])
        what = f"alarm {alarm['AlarmName']}"
        if not current:
            yield "create", what, alarm
        elif difference := ", ".join(changes(current, _comparable(alarm, current))):
            yield "change", f"{what}: {difference}", alarm
        else:
            yield "keep", what, alarm


def alarm_names(template: str, values: Mapping[str, str], described: Sequence[Json]) -> list[str]:
    """Those of the described alarms that are the stack's."""
    ours = {alarm["AlarmName"] for _, _, alarm in alarms(template, values, 0, [], "")}
    return [alarm["AlarmName"] for alarm in described if alarm["AlarmName"] in ours]


def _flags(values: Mapping[str, str]) -> str:
    """What tells the other scripts which stack is meant."""
    prefix = values["NamePrefix"]
    return f"--region {values['Region']}" + (f" --name-prefix {prefix}" if prefix else "")


def _comparable(alarm: Json, current: Json) -> Json:
    """What to compare: all, but for an alarm of the local AWS that has a query, which it does not keep."""
    tells = "Metrics" in current or "MetricName" in current
    return alarm if tells else {name: value for name, value in alarm.items() if name != "Metrics"}


# Bucket notifications. S3 replaces the whole configuration at each put, so everybody else's entries pass through here.


def attach(configuration: Json, entry: Json, prefixes: Sequence[str] = ()) -> Json:
    """The bucket's notification configuration with our entries in it, and everything else as it was.

    One entry for each prefix, or one for all keys. Raises ValueError if somebody else's entry has an Id of ours.
    """
    wanted = own_entries(entry, prefixes)
    for kind, target in NOTIFICATION_LISTS.items():
        for other in configuration.get(kind, []):
            if other.get("Id") in [own["Id"] for own in wanted] and other[target] != entry["LambdaFunctionArn"]:
                raise ValueError(
                    f"The bucket already has a notification with the Id {other['Id']}, and it goes to {other[target]}."
                    " Remove it if it is a leftover, or choose another --name-prefix for this stack."
                )
    ours, others = _ours_and_others(configuration, entry)
    if sorted(map(_essence, ours)) == sorted(map(_essence, wanted)):
        return configuration
    return {**configuration, "LambdaFunctionConfigurations": [*others, *wanted]}


def detach(configuration: Json, entry: Json) -> Json:
    """The bucket's notification configuration without our entries."""
    ours, others = _ours_and_others(configuration, entry)
    if not ours:
        return configuration
    rest = {name: value for name, value in configuration.items() if name != "LambdaFunctionConfigurations"}
    return {**rest, "LambdaFunctionConfigurations": others} if others else rest


def own_entries(entry: Json, prefixes: Sequence[str]) -> list[Json]:
    """What the bucket's configuration shall hold of ours: the entry for all keys, or one for each prefix."""
    filters = shortest([filter_value(prefix) for prefix in prefixes])
    if not filters:
        return [entry]
    return [
        {
            **entry,
            "Id": f"{entry['Id']}-{hashlib.sha256(value.encode()).hexdigest()[:8]}",
            "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": value}]}},
        }
        for value in filters
    ]


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


def overlaps(configuration: Json, entry: Json, prefixes: Sequence[str] = ()) -> list[str]:
    """The entries for which S3 would refuse ours, in words: an event type in common, and keys that both would match.

    Two prefixes match a common key if one begins with the other; so do two suffixes, from their end.
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-how-to-filtering.html
    """
    found = []
    ours, _ = _ours_and_others(configuration, entry)
    filters = [filter_of(own) for own in own_entries(entry, prefixes)]
    for kind, target in NOTIFICATION_LISTS.items():
        for other in configuration.get(kind, []):
            if other in ours:
                continue
            common = [event for event in other["Events"] if any(_share_a_type(event, own) for own in entry["Events"])]
            if common and any(_share_a_key(filter_of(other), own) for own in filters):
                found.append(f"{other.get('Id', '(no Id)')}: {', '.join(common)} to {other[target]}")
    return found


def differences(expected: Json, found: Json) -> Iterator[str]:
    """What a bucket's notification configuration is not as it was put, in words; order does not count."""
    for kind in NOTIFICATION_LISTS:
        wanted, there = (sorted(map(_essence, one.get(kind, []))) for one in (expected, found))
        yield from (f"missing: {entry[0] or entry[1]}" for entry in wanted if entry not in there)
        yield from (f"unexpected: {entry[0] or entry[1]}" for entry in there if entry not in wanted)
    if ("EventBridgeConfiguration" in expected) != ("EventBridgeConfiguration" in found):
        yield "EventBridge is off" if "EventBridgeConfiguration" in expected else "EventBridge is on"


def _ours_and_others(configuration: Json, entry: Json) -> tuple[list[Json], list[Json]]:
    """The bucket's notifications of functions: ours are those that invoke our function.

    Whatever their Id: S3 would refuse ours beside one that was made in the console or by the 2018 scripts.
    """
    ours: list[Json] = []
    others: list[Json] = []
    for other in configuration.get("LambdaFunctionConfigurations", []):
        (ours if other["LambdaFunctionArn"] == entry["LambdaFunctionArn"] else others).append(other)
    return ours, others


def _essence(entry: Json) -> tuple[Any, ...]:
    """What tells entries apart, whatever the order in which S3 answers, and can be sorted."""
    [target] = [entry[name] for name in NOTIFICATION_LISTS.values() if name in entry]
    return entry.get("Id", ""), target, sorted(set(entry["Events"])), sorted(filter_of(entry).items())


def filter_of(entry: Json) -> dict[str, str]:
    rules = entry.get("Filter", {}).get("Key", {}).get("FilterRules", [])
    return {rule["Name"].lower(): rule["Value"] for rule in rules}  # S3 answers "Prefix" to who put "prefix"


def _share_a_type(one: str, other: str) -> bool:
    shorter, longer = sorted([one.removesuffix("*"), other.removesuffix("*")], key=len)
    return longer.startswith(shorter) if shorter.endswith(":") else longer == shorter


def _share_a_key(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    prefixes = sorted([one.get("prefix", ""), other.get("prefix", "")], key=len)
    suffixes = sorted([one.get("suffix", ""), other.get("suffix", "")], key=len)
    return prefixes[1].startswith(prefixes[0]) and suffixes[1].endswith(suffixes[0])


# Buckets that tell EventBridge. Which these are, and which of their keys count, is in the pattern of one rule.


def match_pattern(watched: Mapping[str, Sequence[str]]) -> Json:
    """The rule's pattern for these buckets, each with the prefixes of its keys; none: all keys."""
    wide = sorted(bucket for bucket, prefixes in watched.items() if not prefixes)
    alternatives: list[Json] = [{"bucket": {"name": wide}}] if wide else []
    for bucket, prefixes in sorted(watched.items()):
        if prefixes:
            keys = [{"prefix": prefix} for prefix in sorted(prefixes)]
            alternatives.append({"bucket": {"name": [bucket]}, "object": {"key": keys}})
    detail = alternatives[0] if len(alternatives) == 1 else {"$or": alternatives}
    return {"source": ["aws.s3"], "detail-type": ["Object Created", "Object Deleted"], "detail": detail}


def matched(rule: Json) -> dict[str, list[str]]:
    """The buckets in the rule's pattern, each with its prefixes: match_pattern the other way round."""
    detail = json.loads(rule.get("EventPattern", "{}")).get("detail", {})
    return {
        bucket: [key["prefix"] for key in alternative.get("object", {}).get("key", [])]
        for alternative in detail.get("$or", [detail])
        for bucket in alternative.get("bucket", {}).get("name", [])
    }


def rule_for(watched: Mapping[str, Sequence[str]]) -> Json:
    return {"State": "ENABLED", "EventPattern": json.dumps(match_pattern(watched), ensure_ascii=False)}


def rule_with(rule: Json, bucket: str, prefixes: Sequence[str]) -> Json:
    """The rule that tells of this bucket too. CloudFormation's has its buckets in its own order: that stays."""
    watched = {**matched(rule), bucket: prefixes}
    wanted, pattern = rule_for(watched), json.loads(rule.get("EventPattern", "{}"))
    if matched(rule) == watched and {**match_pattern(watched), "detail": pattern["detail"]} == pattern:
        return {**wanted, "EventPattern": rule["EventPattern"]}
    return wanted


# Prefixes of keys


def prefixes_in_force(configuration: Json, entry: Json, rule: Json, bucket: str) -> list[str]:
    """The prefixes of the bucket's keys that it was attached with, by either way; none: all keys."""
    in_entries = [unquote_plus(filter_of(own).get("prefix", "")) for own in _ours_and_others(configuration, entry)[0]]
    in_rule = matched(rule).get(bucket)
    return shortest([*in_entries, *([""] if in_rule == [] else in_rule or [])])


def prefixes_of_shares(regions: str, stores: Sequence[str], described: Iterable[Json]) -> list[str]:
    """What of a bucket's keys its file shares show; none: all. Raises ValueError if no share shows it.

    `stores` are the bucket and the access points that lead to it. A change in a folder above a share's prefix shows
    nothing there.
    """
    prefixes = [prefix for store, prefix in locations(described) if store in stores]
    if not prefixes:
        raise ValueError(
            f"No file share of this account in {regions} shows the bucket {stores[0]}, so there are no prefixes to take"
            " from one. Make the share first, or leave --prefixes-from-shares out."
        )
    return shortest(prefixes)


def access_points(region: str, described: Iterable[Json]) -> list[str]:
    """The access points, by ARN or alias, that shares are on; those of another region lead to no bucket of this one."""
    stores = {store for store, _ in locations(described)}
    return sorted(s for s in stores if s.endswith("-s3alias") or (":accesspoint/" in s and s.split(":")[3] == region))


def locations(described: Iterable[Json]) -> Iterator[tuple[str, str]]:
    """The bucket or access point that each share is on, and its prefix, empty or with a slash at its end: as the
    functions read them, who need botocore."""
    for answer in described:
        for share in [*answer.get("NFSFileShareInfoList", []), *answer.get("SMBFileShareInfoList", [])]:
            start, access_point, rest = share["LocationARN"].partition(":accesspoint/")
            if not access_point:
                start, rest = "", share["LocationARN"].rpartition(":s3:::")[2]
            name, _, prefix = rest.partition("/")
            yield f"{start}{access_point}{name}", f"{prefix.rstrip('/')}/" if prefix else ""


def tens(listed: Json, kind: str) -> Iterator[str]:
    """The ARNs of the shares of this kind, as many to a line as one Describe call takes."""
    arns = [share["FileShareARN"] for share in listed["FileShareInfoList"] if share.get("FileShareType") == kind]
    for start in range(0, len(arns), 10):
        yield " ".join(arns[start : start + 10])


# Command line


def main(command: str, *arguments: str) -> None:  # noqa: PLR0912, PLR0915 - a branch a command
    match command, arguments:
        case "policy", [values, *files]:
            _print(join_policies(render(Path(file).read_text(), _pairs(values)) for file in files))
        case "render", [values, file]:
            _print(render(Path(file).read_text(), _pairs(values)))
        case "changes", [current, desired]:
            print(", ".join(changes(_read(current), _read(desired))))
        case "function", [fixed, current, sibling, given, defaults]:
            _print(
                function_configuration(_read(fixed), _read(current), _read(sibling), _pairs(given), _pairs(defaults))
            )
        case "settings", [current, sibling, given, defaults]:
            _print(settings(_read(current), _read(sibling), _pairs(given), _pairs(defaults)))
        case "alarms", [values, template, described, topic, current, sibling, given, defaults]:
            window = window_seconds(settings(_read(current), _read(sibling), _pairs(given), _pairs(defaults)))
            text, found = Path(template).read_text(), _read(described).get("MetricAlarms", [])
            for verb, what, alarm in alarms(text, _pairs(values), window, found, topic):
                print(verb, what, json.dumps(alarm), sep="\t")
        case "alarm-names", [values, template, described]:
            found = _read(described).get("MetricAlarms", [])
            print("\n".join(alarm_names(Path(template).read_text(), _pairs(values), found)))
        case "quoted", [values, file]:
            print(json.dumps(json.dumps(render(Path(file).read_text(), _pairs(values)))))
        case "kms-key", [aggregator, refresh]:
            print(kms_key(_read(aggregator), _read(refresh)))
        case "keys", [wanted, aggregator, refresh, policy, queue]:
            functions = [_read(aggregator), _read(refresh)]
            print(",".join(usable_keys(wanted, functions, _read(policy), _read(queue), time.time())))
        case "network", [wanted, refresh, policy]:
            print(network(wanted, _read(refresh), _read(policy), time.time()))
        case "boundary", [role]:
            print(_read(role).get("PermissionsBoundary", {}).get("PermissionsBoundaryArn", ""))
        case "tags-map", given:
            _print(dict(tag.split("=", 1) for tag in given))
        case "tags-list", given:
            tags = dict(tag.split("=", 1) for tag in given)
            print(json.dumps([{"Key": key, "Value": value} for key, value in tags.items()]))
        case "missing-tags", [found_tags, wanted]:
            print(", ".join(missing_tags(_read(found_tags), _read(wanted))))
        case "filled", [file]:
            _print({name: value for name, value in _read(file).items() if value != ""})
        case "value", [file, name]:
            print(_read(file)[name])
        case "least-interval", [file]:
            print(min(as_read(_read(file)).min_refresh_interval_seconds.values()))
        case "buckets", [policy]:
            print("\n".join(permitted_buckets(_read(policy))))
        case "permissions", [policy]:
            print("\n".join(map(" ".join, permissions(_read(policy)))))
        case "attach", [configuration, entry, prefixes]:
            _print_new(_read(configuration), attach(_read(configuration), _read(entry), _read_list(prefixes)))
        case "detach", [configuration, entry]:
            _print_new(_read(configuration), detach(_read(configuration), _read(entry)))
        case "eventbridge", [configuration]:
            _print_new(_read(configuration), {"EventBridgeConfiguration": {}, **_read(configuration)})
        case "overlaps", [configuration, entry, prefixes]:
            print("\n".join(overlaps(_read(configuration), _read(entry), _read_list(prefixes))))
        case "differences", [expected, found]:
            print("\n".join(differences(_read(expected), _read(found))))
        case "matched", [rule]:
            print("\n".join(matched(_read(rule))))
        case "match", [rule, bucket, prefixes]:
            _print(rule_with(_read(rule), bucket, _read_list(prefixes)))
        case "unmatch", [rule, bucket]:
            left = {other: prefixes for other, prefixes in matched(_read(rule)).items() if other != bucket}
            if left:  # else it prints nothing: the rule has nothing left to do
                _print(rule_for(left))
        case "prefixes", given:
            _print(shortest(given))
        case "prefixes-in-force", [configuration, entry, rule, bucket]:
            _print(prefixes_in_force(_read(configuration), _read(entry), _read(rule), bucket))
        case "access-points", [region, *described]:
            print("\n".join(access_points(region, map(_read, described))))
        case "prefixes-of-shares", [regions, stores, *described]:
            _print(prefixes_of_shares(regions, Path(stores).read_text().split(), map(_read, described)))
        case "tens", [listed, kind]:
            print("\n".join(tens(_read(listed), kind)))
        case _:
            raise ValueError(f"No such command: {command} {' '.join(arguments)}")


def _read(file: str) -> Json:
    return json.loads(Path(file).read_text().strip() or "{}") or {}


def _read_list(file: str) -> list[str]:
    values: list[str] = json.loads(Path(file).read_text())
    return values


def _pairs(text: str) -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in text.split())


def _print(document: Json | list[str]) -> None:
    print(json.dumps(document, indent=2))


def _print_new(before: Json, after: Json) -> None:
    """Prints nothing if nothing changes: there is nothing to put then."""
    if after != before:
        _print(after)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except ValueError as error:
        sys.exit(str(error))
