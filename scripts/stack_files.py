"""What the stack scripts need and bash does badly: JSON documents and the functions' zip.

Each command is a pure function over plain data, with files at its edges. An empty file is an empty document: so the
AWS CLI answers when there is nothing. Standard library only, because it runs before anything is installed.
"""

import base64
import hashlib
import importlib.util
import io
import json
import marshal
import sys
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

Json = dict[str, Any]

# The Lambda runtime's version: code that this interpreter compiles is valid there only if it is of the same one.
RUNTIME = (3, 13)

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
    document: Json = _fill(json.loads(template), values)
    return document


def _fill(part: Any, values: Mapping[str, str]) -> Any:
    if isinstance(part, dict):
        return {name: _fill(value, values) for name, value in part.items()}
    if isinstance(part, list):
        return [_fill(value, values) for value in part]
    if not isinstance(part, str):
        return part
    text = Template(part)
    for name in text.get_identifiers():
        if "," in values.get(name, ""):
            return [text.substitute({**values, name: value}) for value in values[name].split(",")]
    return text.substitute(values)


def join_policies(policies: Iterable[Json]) -> Json:
    """One policy that allows what all of them allow."""
    statements = [statement for policy in policies for statement in policy["Statement"]]
    return {"Version": "2012-10-17", "Statement": statements}


def changes(current: Any, desired: Json) -> Iterator[str]:
    """What applying the desired settings would change, in words. What they do not name is not looked at.

    SQS keeps its redrive policy as JSON in a string, with spaces and key order of its own: such strings are compared
    by what they say.
    """
    for name, want in desired.items():
        have = current.get(name)
        if isinstance(want, dict):
            yield from changes(have or {}, want)
        elif _decoded(have) != _decoded(want):
            short = not isinstance(want, list) and not str(want).startswith("{")
            yield f"{name} {'none' if have is None else have} -> {want}" if short else name


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
    """The function's variables, but for the fixed ones. Raises ValueError for settings that contradict each other.

    A setting is what was given now, or else what is in force on the function, or on its sibling (which was made just
    before it, if the script was killed between the two), or else the default.
    """
    of_sibling = {name: value for name, value in _variables(sibling).items() if name in defaults}
    merged = {**defaults, **of_sibling, **_variables(current), **given}
    quiet, longest = merged.get("REFRESH_QUIET_SECONDS", "0"), merged.get("REFRESH_MAX_DELAY_SECONDS", "0")
    if int(quiet) > int(longest):
        raise ValueError(
            f"--refresh-quiet-seconds would be {quiet} and --refresh-max-delay-seconds {longest}: no window is open"
            " long enough to be quiet for so long. Lower the quiet time or raise the maximum."
        )
    return merged


def _variables(configuration: Json) -> dict[str, str]:
    variables: dict[str, str] = configuration.get("Environment", {}).get("Variables", {})
    return variables


def permitted_buckets(function_policy: Json) -> list[str]:
    """The buckets that may invoke the function, by its resource policy."""
    return [
        source.rpartition(":")[2]
        for statement in function_policy.get("Statement", [])
        if statement.get("Principal") == {"Service": "s3.amazonaws.com"}
        for source in [statement.get("Condition", {}).get("ArnLike", {}).get("AWS:SourceArn", "")]
        if source
    ]


# Bucket notifications. S3 replaces the whole configuration at each put, so everybody else's entries pass through here.


def attach(configuration: Json, entry: Json) -> Json:
    """The bucket's notification configuration with our entry in it, and everything else as it was.

    Raises ValueError if somebody else's entry has our Id.
    """
    ours = configuration.get("LambdaFunctionConfigurations", [])
    for kind, target in NOTIFICATION_LISTS.items():
        for other in configuration.get(kind, []):
            if other.get("Id") == entry["Id"] and other[target] != entry["LambdaFunctionArn"]:
                raise ValueError(
                    f"The bucket already has a notification with the Id {entry['Id']}, and it goes to {other[target]}."
                    " Remove it if it is a leftover, or choose another --name-prefix for this stack."
                )
    if any(_same_entry(other, entry) for other in ours):
        return configuration
    others = [other for other in ours if other.get("Id") != entry["Id"]]
    return {**configuration, "LambdaFunctionConfigurations": [*others, entry]}


def detach(configuration: Json, entry: Json) -> Json:
    """The bucket's notification configuration without our entry: ours by its Id and by the function it invokes."""
    ours = configuration.get("LambdaFunctionConfigurations", [])
    others = [
        other
        for other in ours
        if (other.get("Id"), other["LambdaFunctionArn"]) != (entry["Id"], entry["LambdaFunctionArn"])
    ]
    if others == ours:
        return configuration
    rest = {name: value for name, value in configuration.items() if name != "LambdaFunctionConfigurations"}
    return {**rest, "LambdaFunctionConfigurations": others} if others else rest


def overlaps(configuration: Json, entry: Json) -> list[str]:
    """The entries for which S3 would refuse ours, in words: an event type in common, and keys that both would match.

    Two prefixes match a common key if one begins with the other; so do two suffixes, from their end.
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-how-to-filtering.html
    """
    found = []
    for kind, target in NOTIFICATION_LISTS.items():
        for other in configuration.get(kind, []):
            if other.get("Id") == entry["Id"]:
                continue
            common = [event for event in other["Events"] if any(_share_a_type(event, own) for own in entry["Events"])]
            if common and _share_a_key(_filter(other), _filter(entry)):
                found.append(f"{other.get('Id', '(no Id)')}: {', '.join(common)} to {other[target]}")
    return found


def _same_entry(one: Json, other: Json) -> bool:
    def essence(entry: Json) -> tuple[Any, ...]:
        return entry.get("Id"), entry["LambdaFunctionArn"], set(entry["Events"]), _filter(entry)

    return essence(one) == essence(other)


def _filter(entry: Json) -> dict[str, str]:
    rules = entry.get("Filter", {}).get("Key", {}).get("FilterRules", [])
    return {rule["Name"].lower(): rule["Value"] for rule in rules}  # S3 answers "Prefix" to who put "prefix"


def _share_a_type(one: str, other: str) -> bool:
    shorter, longer = sorted([one.removesuffix("*"), other.removesuffix("*")], key=len)
    return longer.startswith(shorter) if shorter.endswith(":") else longer == shorter


def _share_a_key(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    prefixes = sorted([one.get("prefix", ""), other.get("prefix", "")], key=len)
    suffixes = sorted([one.get("suffix", ""), other.get("suffix", "")], key=len)
    return prefixes[1].startswith(prefixes[0]) and suffixes[1].endswith(suffixes[0])


# The zip


def build_zip(folders: Sequence[Path], interpreter: tuple[int, int]) -> bytes:
    """A zip of the folders' files, the same to the byte for the same files: so its hash tells whether the code differs.

    If the interpreter is the runtime's, compiled code goes in as well: /var/task is read-only, so every cold start
    would compile again. It is of the kind that is used without a look at its source, whose time a zip does not keep.
    """
    members: dict[str, bytes] = {}
    for folder in folders:
        for path in folder.rglob("*"):
            name = path.relative_to(folder)
            if path.is_file() and not any(part == "__pycache__" or part.startswith(".") for part in name.parts):
                members[name.as_posix()] = path.read_bytes()
    if interpreter == RUNTIME:
        members |= {_compiled_name(name): _compiled(name, members[name]) for name in members if name.endswith(".py")}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for member, content in sorted(members.items()):
            info = zipfile.ZipInfo(member)  # of 1980, whenever the file was written
            info.create_system = 3  # Unix, whose modes these are
            info.external_attr = 0o100644 << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return buffer.getvalue()


def _compiled_name(name: str) -> str:
    path = Path(name)
    return f"{path.parent}/__pycache__/{path.stem}.cpython-{RUNTIME[0]}{RUNTIME[1]}.pyc".removeprefix("./")


def _compiled(name: str, source: bytes) -> bytes:
    """A hash-based pyc, unchecked (PEP 552): magic number, flags 0b01, hash, code."""
    code = compile(source, f"/var/task/{name}", "exec", dont_inherit=True, optimize=0)
    flags = (0b01).to_bytes(4, "little")
    return importlib.util.MAGIC_NUMBER + flags + importlib.util.source_hash(source) + marshal.dumps(code)


# Command line


def main(command: str, *arguments: str) -> None:  # noqa: PLR0912 - a branch a command
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
        case "quoted", [values, file]:
            print(json.dumps(json.dumps(render(Path(file).read_text(), _pairs(values)))))
        case "value", [file, name]:
            print(_read(file)[name])
        case "buckets", [policy]:
            print("\n".join(permitted_buckets(_read(policy))))
        case "attach" | "detach", [configuration, entry]:
            before = _read(configuration)
            after = (attach if command == "attach" else detach)(before, _read(entry))
            if after != before:  # else it prints nothing: there is nothing to put
                _print(after)
        case "overlaps", [configuration, entry]:
            print("\n".join(overlaps(_read(configuration), _read(entry))))
        case "zip", [target, *folders]:
            content = build_zip([Path(folder) for folder in folders], sys.version_info[:2])
            Path(target).write_bytes(content)
            print(base64.b64encode(hashlib.sha256(content).digest()).decode())
        case _:
            raise ValueError(f"No such command: {command} {' '.join(arguments)}")


def _read(file: str) -> Json:
    return json.loads(Path(file).read_text().strip() or "{}") or {}


def _pairs(text: str) -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in text.split())


def _print(document: Json) -> None:
    print(json.dumps(document, indent=2))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except ValueError as error:
        sys.exit(str(error))
