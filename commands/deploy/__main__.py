"""The command line of what deploys.

Exit status: 0 done; 1 it was refused, or failed, with the reason and what to do on standard error; 2 a flag is wrong.
"""

import argparse
import os
import re
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from commands.arguments import add_command
from commands.deploy import of_2018
from commands.deploy.buckets import Wish
from commands.deploy.cloudformation import DeployError
from commands.deploy.create import Deployment, Order
from commands.deploy.package import BUILD, pack
from commands.deploy.template import RefusedError, parameters, settings
from commands.operate.stack import Stack, StackError

# Of a general purpose bucket: no directory bucket, table bucket, nor alias of an access point.
_BUCKET = re.compile(r"(?!.*(--x-s3|--table-s3|-s3alias|--ol-s3)$)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_ENDPOINT = "AWS_ENDPOINT_URL_STORAGE_GATEWAY"


def main(arguments: list[str]) -> int:
    options = parser().parse_args(arguments)
    try:
        if options.run is _zip:
            print(_zip())
            return 0
        parameters()["NamePrefix"].refuse_unless_allowed(options.name_prefix)
        session = boto3.Session(region_name=options.region)
        if not session.region_name:
            raise RefusedError("Which region? Give --region, or set AWS_REGION, or run: aws configure")
        run: Callable[[Deployment, argparse.Namespace], None] = options.run
        run(Deployment(Stack(session, options.name_prefix), _say, is_dry=getattr(options, "dry_run", False)), options)
    except (RefusedError, DeployError, StackError) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except (ClientError, BotoCoreError) as error:
        hint = "What was done so far stays. When the cause is gone, run this again: it goes on."
        print(f"\n{error}\n{hint}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        hint = "What CloudFormation has begun it goes on with; run this again to follow it."
        print(f"\nInterrupted. {hint}", file=sys.stderr)
        return 130
    return 0


def _say(line: str) -> None:
    print(line, flush=True)


# The commands


def _create(deployment: Deployment, options: argparse.Namespace) -> None:
    given = {name: value for name in parameters() if (value := getattr(options, name, None)) is not None}
    if _ENDPOINT in os.environ:
        given.setdefault("StorageGatewayEndpointUrl", os.environ[_ENDPOINT])
    given = {name: "" if value == "none" and not parameters()[name].default else value for name, value in given.items()}
    if given.get("SubnetIds") == "":
        given.setdefault("SecurityGroupIds", "")
    if names := given.get("ReattachBucketArns"):
        arns = [name if ":" in name else f"arn:{deployment.caller[1]}:s3:::{name}" for name in names.split(",")]
        given["ReattachBucketArns"] = ",".join(arns)
    buckets = options.bucket or list(filter(None, [os.environ.get("BUCKET", "")]))
    flags = (options.artifact_bucket, options.change_set, options.revert_drift)
    deployment.create(Order(given, dict(options.tag), buckets, _wish(options), *flags))


def _delete(deployment: Deployment, options: argparse.Namespace) -> None:
    stack = deployment.stack
    if not options.yes:
        attached = ", ".join(deployment.stack.buckets()) or "none"
        print(f"This removes the stack {deployment.cloud.name} in {stack.region}, with its logs, queue and table, and")
        print(f"its notification from these buckets: {attached}")
        if not sys.stdin.isatty() or input("Remove them? Type yes: ") != "yes":
            raise RefusedError("Nothing was removed. Where nobody can be asked, give --yes.")
    if deployment.delete(options.bucket):
        _say("\nDeleted. The buckets and their objects are as they were.")
    else:
        _say(f"Nothing to delete: there is no stack {deployment.cloud.name} in {stack.region}.")


def _delete_2018(deployment: Deployment, options: argparse.Namespace) -> None:
    of_2018.delete(deployment.stack, *deployment.caller, _say, is_dry=not options.yes)


def _attach(deployment: Deployment, options: argparse.Namespace) -> None:
    wish, buckets = _wish(options), deployment.buckets
    _ = deployment.stack.variables  # StackError if there is no stack; who may not decrypt them needs them no further
    for bucket in options.bucket:
        buckets.refuse_unless_here(bucket)
        if options.as_code:
            print(*buckets.as_code(bucket, wish), sep="\n")
        else:
            buckets.plan(bucket, wish)
    if not options.as_code:
        for bucket in options.bucket:
            buckets.attach(bucket, wish)
        _say("\nNothing was changed." if buckets.is_dry else "\nAttached. Changes refresh the buckets' file shares.")


def _detach(deployment: Deployment, options: argparse.Namespace) -> None:
    for bucket in options.bucket:
        deployment.buckets.detach(bucket)
    _say("\nNothing was changed." if deployment.is_dry else "\nDetached. Everything else is as it was.")


def _zip() -> Path:
    """It needs no stack: `main` prints where it is."""
    name, content = pack()
    path = BUILD / name
    path.write_bytes(content)
    return path


def _wish(options: argparse.Namespace) -> Wish:
    return Wish(**{field.name: getattr(options, field.name) for field in fields(Wish)})


# Flags


def parser() -> argparse.ArgumentParser:
    """All commands."""
    top = argparse.ArgumentParser(prog="deploy")
    commands = top.add_subparsers(required=True)
    command = _command(
        commands,
        "create-stack.sh",
        _create,
        "Deploys the stack that refreshes a bucket's file shares when its objects change. Run it again to add a bucket,"
        " to change a setting, to deploy newer code, or after it was interrupted. A setting that is not given keeps its"
        " value; `none` takes one away that the stack can do without.",
    )
    command.usage = "%(prog)s --bucket B [flag]..."  # beside a wrong flag: all of them would hide what is wrong
    add = command.add_argument
    _add_bucket(command, "a bucket to watch, repeatable; needed the first time (or: BUCKET=B)")
    _add_flags_of_buckets(command)
    for parameter in settings():
        add(parameter.flag, dest=parameter.name, metavar=parameter.hint, help=parameter.help)
    text = "on everything that takes tags, repeatable; others stay"
    add("--tag", metavar="K=V", action="append", default=[], type=_tag, help=text)
    add("--artifact-bucket", metavar="B", default="", help="where the code is put (default: a bucket that this makes)")
    add("--dry-run", action="store_true", help="says what would be done, and writes nothing at all")
    add("--change-set", action="store_true", help="makes a change set, shows what is in it, and does not carry it out")
    add("--revert-drift", action="store_true", help="also puts back what was changed by hand (drift-aware change set)")
    command = _command(
        commands,
        "delete-stack.sh",
        _delete,
        "Removes what create-stack.sh made, and nothing else: its notification on each bucket, the stack, and its code."
        " Run it again after it was interrupted: it goes on.",
    )
    _add_bucket(command, "one more bucket to remove the notification from; those attached are found without it")
    command.add_argument("--yes", action="store_true", help="does not ask")
    command = _command(
        commands,
        "delete-2018.sh",
        _delete_2018,
        "Removes what the scripts of the project of 2018 made, when no bucket notifies it any more: its functions,"
        " queue, table, roles and policies. It has no --name-prefix.",
    )
    command.add_argument("--yes", action="store_true", help="does it; without, it says what it would delete")
    command = _command(
        commands,
        "attach-bucket.sh",
        _attach,
        "Attaches buckets to a stack, without a look at the rest of it. Of one that is attached it changes how it tells"
        " of its changes, or mends that. Its other notifications stay as they are.",
    )
    _add_bucket(command, "a bucket to attach, repeatable", required=True)
    _add_flags_of_buckets(command)
    add = command.add_argument
    add("--as-code", action="store_true", help="prints what Terraform or CDK must hold that own the bucket; no more")
    add("--dry-run", action="store_true", help="says what would be done, and writes nothing")
    command = _command(
        commands,
        "detach-bucket.sh",
        _detach,
        "Detaches buckets from a stack: changes in them refresh nothing any more. What changed before still is.",
    )
    _add_bucket(command, "a bucket to detach, repeatable", required=True)
    command.add_argument("--dry-run", action="store_true", help="says what would be done, and writes nothing")
    command = _command(
        commands,
        "zip.sh",
        _zip,
        "Packs the code of both functions, for template.yaml, and prints where it is. create-stack.sh does so itself.",
    )
    return top


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", script: str, run: Callable[..., object], text: str
) -> argparse.ArgumentParser:
    command = add_command(commands, script, run, text)
    if run is not _zip:
        command.add_argument("--region", metavar="R", help="of the stack (default: AWS_REGION, the profile's)")
        command.add_argument(
            "--name-prefix", metavar="P", default="", help=parameters()["NamePrefix"].said["Description"]
        )
    return command


def _add_bucket(command: argparse.ArgumentParser, text: str, *, required: bool = False) -> None:
    command.add_argument(
        "--bucket", metavar="B", action="append", default=[], required=required, type=_bucket, help=text
    )


def _add_flags_of_buckets(command: argparse.ArgumentParser) -> None:
    """Those about how buckets tell of their changes, the fields of Wish: of those named, or of all if none is."""
    add, keys = command.add_argument, command.add_mutually_exclusive_group().add_argument
    text = "how it tells of changes: its own notification, or rules of EventBridge, which go beside any notification"
    text += " (default: as it does, or notification)"
    add("--event-source", dest="source", default="", choices=["notification", "eventbridge"], help=text)
    text = "only keys that begin with this, repeatable"
    keys("--prefix", dest="prefixes", metavar="P", action="append", type=_prefix, help=text)
    text = "only keys that file shares show; run again when one is added"
    keys("--prefixes-from-shares", action="store_true", help=text)
    text = "takes the prefixes of an earlier run away"
    keys("--all-keys", dest="prefixes", action="store_const", const=[], help=text)
    text = "no refresh of all of it six minutes later"
    add("--no-initial-refresh", dest="initial_refresh", action="store_false", help=text)
    text = "puts ours beside others' notifications whose targets S3 cannot validate"
    add("--skip-destination-validation", dest="skip_validation", action="store_true", help=text)


def _bucket(name: str) -> str:
    if not _BUCKET.fullmatch(name):
        raise argparse.ArgumentTypeError(
            f"{name} is not the name of a general purpose bucket. Directory and table buckets tell nobody of their"
            " changes; of an access point give the bucket behind it"
        )
    return name


def _prefix(prefix: str) -> str:
    if not prefix or prefix.startswith("/"):
        raise argparse.ArgumentTypeError(f"{prefix!r}: keys begin with no slash. For all keys give --all-keys")
    return prefix


def _tag(tag: str) -> tuple[str, str]:
    key, is_there, value = tag.partition("=")
    if not (key and is_there):
        raise argparse.ArgumentTypeError(f"{tag} must be like KEY=VALUE")
    return key, value


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
