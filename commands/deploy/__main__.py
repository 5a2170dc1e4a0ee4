"""The command line of what deploys.

Exit status: 0 done; 1 it was refused, or failed, with the reason and what to do on standard error; 2 a flag is wrong.
"""

import argparse
import os
import re
import sys
from dataclasses import fields, replace
from functools import partial

from botocore.exceptions import BotoCoreError, ClientError

from commands.arguments import add_command, add_stack
from commands.deploy import project_2018
from commands.deploy.buckets import Wish
from commands.deploy.create import Deployment, Order
from commands.deploy.package import BUILD, pack
from commands.deploy.template import DeployError, parameters, settings
from commands.operate.stack import Stack, StackError

# Of a general purpose bucket: no directory bucket, table bucket, nor alias of an access point.
_BUCKET = re.compile(r"(?!.*(--x-s3|--table-s3|-s3alias|--ol-s3)$)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_ENDPOINT = "AWS_ENDPOINT_URL_STORAGE_GATEWAY"


def main(arguments: list[str]) -> int:
    options = parser().parse_args(arguments)
    try:
        options.run(options)
    except (DeployError, StackError) as error:
        told, status = str(error), 1
    except (ClientError, BotoCoreError) as error:
        told, status = f"{error}\nWhat was done so far stays. When the cause is gone, run this again: it goes on.", 1
    except KeyboardInterrupt:
        told = "Interrupted. What CloudFormation has begun it goes on with; run this again to follow it."
        status = 130
    else:
        return 0
    print(f"\n{told}", file=sys.stderr)
    return status


# The commands, each with its help


def _deployment(options: argparse.Namespace) -> Deployment:
    parameters()["NamePrefix"].refuse_unless_allowed(options.name_prefix)
    say = partial(print, flush=True)
    return Deployment(Stack.of(options.region, options.name_prefix), say, is_dry=getattr(options, "dry_run", False))


def _create(options: argparse.Namespace) -> None:
    """Deploys the stack that refreshes a bucket's file shares when its objects change. Run it again to add a bucket, to
    change a setting, to deploy newer code, or after it was interrupted. A setting that is not given keeps its value;
    `none` takes one away that the stack can do without.
    """
    deployment = _deployment(options)
    given = {name: value for name in parameters() if (value := getattr(options, name, None)) is not None}
    if _ENDPOINT in os.environ:
        given.setdefault("StorageGatewayEndpointUrl", os.environ[_ENDPOINT])
    given = {name: "" if value == "none" and not parameters()[name].default else value for name, value in given.items()}
    if given.get("SubnetIds") == "":
        given.setdefault("SecurityGroupIds", "")
    if names := given.get("ReattachBucketArns"):
        arns = [name if ":" in name else f"arn:{deployment.stack.caller[1]}:s3:::{name}" for name in names.split(",")]
        given["ReattachBucketArns"] = ",".join(arns)
    buckets = options.bucket or list(filter(None, [os.environ.get("BUCKET", "")]))
    flags = (options.artifact_bucket, options.change_set, options.revert_drift)
    deployment.create(Order(given, dict(options.tag), buckets, _wish(options), *flags))


def _delete(options: argparse.Namespace) -> None:
    """Removes what create-stack.sh made, and nothing else: its notification on each bucket, the stack, and its code.
    Run it again after it was interrupted: it goes on.
    """
    deployment = _deployment(options)
    stack, name = deployment.stack, deployment.cloud.name
    if not options.yes:
        print(f"This removes the stack {name} in {stack.region}, with its logs, queue and table, and")
        print(f"its notification from these buckets: {', '.join(stack.buckets()) or 'none'}")
        if not sys.stdin.isatty() or input("Remove them? Type yes: ") != "yes":
            raise DeployError("Nothing was removed. Where nobody can be asked, give --yes.")
    if deployment.delete(options.bucket):
        deployment.say("\nDeleted. The buckets and their objects are as they were.")
    else:
        deployment.say(f"Nothing to delete: there is no stack {name} in {stack.region}.")


def _delete_2018(options: argparse.Namespace) -> None:
    """Removes what the scripts of the project of 2018 made, when no bucket notifies it any more: its functions, queue,
    table, roles and policies. It has no --name-prefix.
    """
    deployment = _deployment(options)
    stack = replace(deployment.stack, prefix="")
    project_2018.delete(stack, deployment.say, is_dry=not options.yes)


def _attach(options: argparse.Namespace) -> None:
    """Attaches buckets to a stack, without a look at the rest of it. Of one that is attached it changes how it tells of
    its changes, or mends that. Its other notifications stay as they are.
    """
    wish, buckets = _wish(options), _deployment(options).buckets
    _ = buckets.stack.variables  # StackError if there is no stack; who may not decrypt them needs them no further
    for bucket in options.bucket:
        buckets.refuse_unless_here(bucket)
        if options.as_code:
            print(*buckets.as_code(bucket, wish), sep="\n")
    if not options.as_code:
        buckets.attach_all(dict.fromkeys(options.bucket, wish))
        buckets.say_done("Attached. Changes refresh the buckets' file shares.")


def _detach(options: argparse.Namespace) -> None:
    """Detaches buckets from a stack: changes in them refresh nothing any more. What changed before still is."""
    buckets = _deployment(options).buckets
    for bucket in options.bucket:
        buckets.detach(bucket)
    buckets.say_done("Detached. Everything else is as it was.")


def _zip(_: argparse.Namespace) -> None:
    """Packs the code of both functions, for template.yaml, and prints where it is. create-stack.sh does so itself."""
    name, content = pack()
    (BUILD / name).write_bytes(content)
    print(BUILD / name)


def _wish(options: argparse.Namespace) -> Wish:
    return Wish(**{field.name: getattr(options, field.name) for field in fields(Wish)})


# Flags


def parser() -> argparse.ArgumentParser:
    """All commands."""
    top = argparse.ArgumentParser(prog="deploy")
    commands = top.add_subparsers(required=True)
    create, delete, delete_2018, attach, detach, _ = (
        add_command(commands, script, run, run.__doc__ or "")
        for script, run in {
            "create-stack.sh": _create,
            "delete-stack.sh": _delete,
            "delete-2018.sh": _delete_2018,
            "attach-bucket.sh": _attach,
            "detach-bucket.sh": _detach,
            "zip.sh": _zip,
        }.items()
    )
    create.usage = "%(prog)s --bucket B [flag]..."  # beside a wrong flag: all of them would hide what is wrong
    for command, is_needed, text in (
        (create, False, "a bucket to watch, repeatable; needed the first time (or: BUCKET=B)"),
        (delete, False, "one more bucket to remove the notification from; those attached are found without it"),
        (attach, True, "a bucket to attach, repeatable"),
        (detach, True, "a bucket to detach, repeatable"),
    ):
        add = command.add_argument
        add("--bucket", metavar="B", action="append", default=[], type=_bucket, required=is_needed, help=text)
    for command in (create, attach):
        _add_flags_of_buckets(command)
    text = "prints what Terraform or CDK must hold that own the bucket; no more"
    attach.add_argument("--as-code", action="store_true", help=text)
    add = create.add_argument
    for parameter in settings():
        add(parameter.flag, dest=parameter.name, metavar=parameter.hint, help=parameter.help)
    text = "on everything that takes tags, repeatable; others stay"
    add("--tag", metavar="K=V", action="append", default=[], type=_tag, help=text)
    add("--artifact-bucket", metavar="B", default="", help="where the code is put (default: a bucket that this makes)")
    add("--change-set", action="store_true", help="makes a change set, shows what is in it, and does not carry it out")
    add("--revert-drift", action="store_true", help="also puts back what was changed by hand (drift-aware change set)")
    for command in (create, attach, detach):
        command.add_argument("--dry-run", action="store_true", help="says what would be done, and writes nothing")
    delete.add_argument("--yes", action="store_true", help="does not ask")
    delete_2018.add_argument("--yes", action="store_true", help="does it; without, it says what it would delete")
    for command in (create, delete, delete_2018, attach, detach):
        add_stack(command)
    return top


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
