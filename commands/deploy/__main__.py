"""The command line of what deploys.

Exit status: 0 done; 1 it was refused, or failed, with the reason and what to do on standard error.
"""

import argparse
import os
import re
import sys
from collections.abc import Callable

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from commands.arguments import add_command
from commands.deploy.buckets import Wish
from commands.deploy.cloudformation import DeployError
from commands.deploy.create import Deployment, Order
from commands.deploy.package import pack
from commands.deploy.template import RefusedError, parameters, settings
from commands.operate.stack import Stack, StackError

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_OTHER_KINDS = {
    "--x-s3": "a directory bucket (S3 Express) tells nobody of its changes, and no file share shows one.",
    "--table-s3": "a table bucket (S3 Tables) has no files, and no file share shows one.",
    "-s3alias": "this is the alias of an access point. Give the bucket behind it.",
    "--ol-s3": "this is the alias of an access point. Give the bucket behind it.",
}
_ENDPOINT = "AWS_ENDPOINT_URL_STORAGE_GATEWAY"


def main(arguments: list[str]) -> int:
    options = parser().parse_args(arguments)
    try:
        if options.run is _zip:
            print(pack())
            return 0
        parameters()["NamePrefix"].refuse_unless_allowed(options.name_prefix)
        session = boto3.Session(region_name=options.region)
        if not session.region_name:
            raise RefusedError("Which region? Give --region, or set AWS_REGION, or run: aws configure")
        run: Callable[[Deployment, argparse.Namespace], None] = options.run
        run(Deployment(Stack(session, options.name_prefix), _say, is_dry=options.dry_run), options)
    except (RefusedError, DeployError, StackError) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except (ClientError, BotoCoreError) as error:
        print(
            f"\n{error}\nWhat was done so far stays. When the cause is gone, run this again: it goes on.",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print(
            "\nInterrupted. What CloudFormation has begun it goes on with; run this again to follow it.",
            file=sys.stderr,
        )
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
    tags = {}
    for tag in options.tag:
        key, is_there, value = tag.partition("=")
        if not (key and is_there):
            raise RefusedError(f"--tag {tag}: it must be like KEY=VALUE.")
        tags[key] = value
    buckets = _buckets(options) or list(filter(None, [os.environ.get("BUCKET", "")]))
    deployment.create(
        Order(given, tags, buckets, _wish(options), options.artifact_bucket, options.change_set, options.revert_drift)
    )


def _delete(deployment: Deployment, options: argparse.Namespace) -> None:
    stack = deployment.stack
    if not options.yes:
        if not sys.stdin.isatty():
            raise RefusedError("This removes the stack without a way back. Nobody is there to be asked: give --yes.")
        print(f"This removes {stack.aggregator} and {stack.refresh} with their roles, logs, queues, table, alarms and")
        print(f"dashboard from region {stack.region}, and their notification from these buckets:")
        print(", ".join(deployment.buckets.attached()) or "none")
        if input("Remove them? Type yes: ") != "yes":
            raise RefusedError("Nothing was removed.")
    if deployment.delete(_buckets(options)):
        _say("\nDeleted. The buckets and their objects are as they were.")
    else:
        _say(f"Nothing to delete: there is no such stack in {stack.region}.")


def _delete_2018(deployment: Deployment, options: argparse.Namespace) -> None:
    if not (options.yes or options.dry_run):
        raise RefusedError(
            "This removes what the scripts of 2018 made, without a way back: look at --dry-run, then --yes."
        )
    deployment.delete_2018()


def _attach(deployment: Deployment, options: argparse.Namespace) -> None:
    buckets, stack = _named(options), deployment.stack
    wish = _wish(options)
    _ = stack.variables  # StackError if there is no stack; who may not decrypt them needs them no further
    for bucket in buckets:
        deployment.buckets.refuse_unless_here(bucket)
        if options.as_code:
            for line in deployment.buckets.as_code(bucket, wish):
                _say(line)
        else:
            deployment.buckets.plan(bucket, wish)
    if options.as_code:
        return
    for bucket in buckets:
        deployment.buckets.attach(bucket, wish)
    _tell_what_was_done(
        deployment, f"Attached. Changes in these buckets refresh their file shares: {', '.join(buckets)}"
    )


def _detach(deployment: Deployment, options: argparse.Namespace) -> None:
    buckets = _named(options)
    for bucket in buckets:
        deployment.buckets.detach(bucket)
    _tell_what_was_done(deployment, f"Detached: {', '.join(buckets)}. Everything else is as it was.")


def _tell_what_was_done(deployment: Deployment, done: str) -> None:
    if deployment.is_dry:
        _say("\nNothing was changed.")
    elif deployment.buckets.written:
        _say(f"\n{done}")


def _zip() -> None:
    """It needs no stack: `main` does it."""


def _buckets(options: argparse.Namespace) -> list[str]:
    for bucket in options.bucket:
        if not _BUCKET.fullmatch(bucket):
            raise RefusedError(f"--bucket {bucket}: this is not a bucket name.")
        for end, why in _OTHER_KINDS.items():
            if bucket.endswith(end):
                raise RefusedError(f"--bucket {bucket}: {why}")
    return list(dict.fromkeys(options.bucket))


def _named(options: argparse.Namespace) -> list[str]:
    if not options.bucket:
        raise RefusedError("Which bucket? Give --bucket NAME. See --help.")
    return _buckets(options)


def _wish(options: argparse.Namespace) -> Wish:
    if "" in options.prefix:
        raise RefusedError("--prefix is empty. To hear of all keys give --all-keys.")
    for prefix in options.prefix:
        if prefix.startswith("/"):
            raise RefusedError(
                f"--prefix {prefix}: S3 keys begin with no slash. Leave it out, or no event would match."
            )
    if bool(options.prefix) + options.all_keys + options.prefixes_from_shares > 1:
        raise RefusedError("Give one of --prefix, --all-keys, --prefixes-from-shares: they contradict each other.")
    return Wish(
        source=options.event_source,
        prefixes=tuple(options.prefix) if options.prefix or options.all_keys else None,
        prefixes_from_shares=options.prefixes_from_shares,
        initial_refresh=not options.no_initial_refresh,
        skip_validation=options.skip_destination_validation,
    )


# Flags


def parser() -> argparse.ArgumentParser:
    """All commands; docs/commands.md is made of their help."""
    top = argparse.ArgumentParser(prog="deploy")
    commands = top.add_subparsers(required=True)
    command = _command(
        commands,
        "create-stack.sh",
        _create,
        "Deploys the stack that refreshes a bucket's file shares when its objects change. Run it again to add a bucket,"
        " to change a setting, to deploy newer code, or after it was interrupted. CloudFormation makes the stack, of"
        " template.yaml; the buckets' other notifications stay as they are. A setting that is not given keeps its"
        " value; `none` takes one away that the stack can do without.",
    )
    _add_flags_of_buckets(command, "a bucket to watch, repeatable; needed the first time (or: BUCKET=B)")
    for parameter in settings():
        command.add_argument(parameter.flag, dest=parameter.name, metavar=parameter.hint, help=parameter.help)
    add = command.add_argument
    add(
        "--tag",
        metavar="K=V",
        action="append",
        default=[],
        help="on everything that takes tags, repeatable; others stay",
    )
    add("--artifact-bucket", metavar="B", default="", help="where the code is put (default: a bucket that this makes)")
    add("--dry-run", action="store_true", help="says what would be done, and writes nothing at all")
    add("--change-set", action="store_true", help="makes a change set, shows what is in it, and does not carry it out")
    add(
        "--revert-drift", action="store_true", help="also puts back what was changed by hand (a drift-aware change set)"
    )
    command = _command(
        commands,
        "delete-stack.sh",
        _delete,
        "Removes what create-stack.sh made, and nothing else: its notification on each bucket, the stack, and its code."
        " The buckets, their objects and their other notifications stay as they are. Run it again after it was"
        " interrupted: it goes on.",
    )
    _add_bucket(command, "one more bucket to remove the notification from; those attached are found without it")
    command.add_argument("--yes", action="store_true", help="does not ask")
    command.set_defaults(dry_run=False)
    command = _command(
        commands,
        "delete-2018.sh",
        _delete_2018,
        "Removes what the scripts of the project of 2018 made, when no bucket notifies it any more: its functions,"
        " queue, table, roles and policies. It has no --name-prefix.",
    )
    command.add_argument("--dry-run", action="store_true", help="says what would be deleted, and deletes nothing")
    command.add_argument("--yes", action="store_true", help="does it")
    command = _command(
        commands,
        "attach-bucket.sh",
        _attach,
        "Attaches buckets to a stack, without a look at the rest of it. Of one that is attached it changes how it tells"
        " of its changes, or mends that. Its other notifications stay as they are.",
    )
    _add_flags_of_buckets(command, "a bucket to attach, repeatable")
    add = command.add_argument
    add(
        "--as-code",
        action="store_true",
        help="writes nothing, and prints what Terraform or CDK must hold that own the bucket",
    )
    add("--dry-run", action="store_true", help="says what would be done, and writes nothing")
    command = _command(
        commands,
        "detach-bucket.sh",
        _detach,
        "Detaches buckets from a stack: changes in them refresh nothing any more. What changed before still is.",
    )
    _add_bucket(command, "a bucket to detach, repeatable")
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


def _add_bucket(command: argparse.ArgumentParser, text: str) -> None:
    command.add_argument("--bucket", metavar="B", action="append", default=[], help=text)


def _add_flags_of_buckets(command: argparse.ArgumentParser, text: str) -> None:
    """Those about how buckets tell of their changes: of the ones that are named, or of all if none is."""
    _add_bucket(command, text)
    add = command.add_argument
    add(
        *("--event-source",),
        choices=["notification", "eventbridge"],
        default="",
        help="how it tells of its changes: its own notification, or rules of EventBridge's, which go beside any"
        " notification (default: as it does, or notification)",
    )
    add("--prefix", metavar="P", action="append", default=[], help="only keys that begin with this, repeatable")
    add(
        "--prefixes-from-shares",
        action="store_true",
        help="only keys that file shares show; run again when one is added",
    )
    add("--all-keys", action="store_true", help="takes the prefixes of an earlier run away")
    add("--no-initial-refresh", action="store_true", help="no refresh of all of it six minutes later")
    add(
        *("--skip-destination-validation",),
        action="store_true",
        help="puts ours beside others' notifications whose targets S3 cannot validate",
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
