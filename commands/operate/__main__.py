"""The command line of the operator's commands.

Exit status: 0 done, or all is well; 1 something needs attention; 2 it could not be done or told, the reason on
standard error.
"""

import argparse
import sys
import time
from collections.abc import Callable

import boto3
from botocore.exceptions import ClientError
from rich.console import RenderableType
from rich.live import Live

from commands.check import command as check
from commands.operate import explain, facts, redrive, refresh_now, status, wait
from commands.operate.stack import DENIED, Stack, StackError, now_ms
from commands.operate.terminal import Parser, console, one_line, tell, tell_program, utf8
from commands.operate.words import clock
from event_aggregator.failures import AWS_ERRORS

_WATCH_SECONDS = 5


def main(arguments: list[str]) -> int:
    options = parser().parse_args(arguments)
    run: Callable[[Stack, argparse.Namespace], int] = options.run
    try:
        session = boto3.Session(region_name=options.region)
        if not session.region_name:
            raise StackError("Which region? Give --region, or set AWS_REGION, or run: aws configure")
        return run(Stack(session, options.name_prefix), options)
    except (StackError, *AWS_ERRORS) as error:
        if getattr(options, "quiet", False):
            return 2
        tell(error, sys.stderr)
        if isinstance(error, ClientError) and error.response["Error"]["Code"] in DENIED:
            tell("What this needs is in iam/operator.json: docs/house-rules.md, Who operates it", sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def parser() -> argparse.ArgumentParser:
    """All commands; docs/commands.md is made of their help."""
    top = Parser(prog="operate")
    commands = top.add_subparsers(required=True)
    command = _command(
        commands,
        "status.sh",
        _status,
        "Shows in one screen: the settings in force; the queues; the gateways that have something to do, how many"
        " refreshes are in progress there and how many shares wait in line; each bucket with its open window; its file"
        " shares, when they were refreshed last, what is in progress and what waits, and why; the last day's counts.",
        "Exit status: 0 all is well, 1 something needs attention, 2 it could not tell.",
    )
    command.add_argument("--json", action="store_true", help="for programs: times in milliseconds since 1970")
    command.add_argument("--watch", action="store_true", help=f"look again every {_WATCH_SECONDS} s, until Ctrl-C")
    command = _command(
        commands,
        "explain.sh",
        _explain,
        "Why is my file not there? Says what became of the last change of one key, for each file share that shows it,"
        " and what that rests on: S3, the shares, the notification, the windows, the refresh function's log.",
        "Exit status: 0 every share that shows the key was refreshed since it changed, or there is nothing to show;"
        " 1 something is still to come or wrong; 2 it could not tell. In a bucket with versioning 2 is the best answer"
        " for what was refreshed: S3 does not tell when a version was brought back by deleting a later one, or a delete"
        " marker, for good. An NFS or SMB client may show its own old listing for up to a minute after a refresh. A"
        " share with an automated refresh (CacheStaleTimeoutInSeconds) also reads a folder again by itself, when"
        " somebody opens it so long after its last refresh, of either kind.",
    )
    command.add_argument("--bucket", metavar="B", type=utf8, required=True, help="the bucket")
    command.add_argument(
        "--key", metavar="K", type=utf8, required=True, help="as S3 has it: not encoded, no slash at the front"
    )
    command.add_argument("--json", action="store_true", help="for programs: times in milliseconds since 1970")
    command = _command(
        commands,
        "wait.sh",
        _wait,
        "Waits until every file share that shows a key shows its last change, as S3 has it: a refresh of its folder"
        " that was accepted after the change is complete. It looks every 5 s, after a minute every 15 s, with what"
        " explain.sh knows. Where it is not known which came first, the change or the refresh, as with an upload in"
        " parts or a replica, it may take a minute longer, until the event of the change must have arrived.",
        "Exit status: 0 all of them show it; 1 one did not within the time, with the reason and what to do; 2 it could"
        " not tell, no share can show it, or S3 has no such object and no delete marker (for a deletion in a bucket"
        " without versioning give --since). In a bucket with versioning a version counts as shown that was brought"
        " back, by deleting a later one, after the refresh and before its event has arrived: S3 does not tell of that."
        " So does an upload in parts whose event was lost. Of shares outside the stack's region and account nobody"
        " reports when a refresh is complete: they count as refreshed the least interval after it was accepted, and"
        " those of other accounts are not seen. An NFS or SMB client may show its own old listing for up to a minute"
        " more. This machine's clock must be right to the second.",
    )
    command.add_argument("--bucket", metavar="B", type=utf8, required=True, help="the bucket")
    command.add_argument(
        "--key", metavar="K", type=utf8, required=True, help="as S3 has it: not encoded, no slash at the front"
    )
    command.add_argument("--share", metavar="S", type=utf8, help="only this one, share-1234ABCD (default: every one)")
    command.add_argument("--timeout", metavar="N", type=_seconds, default=300, help="seconds (default: 300)")
    command.add_argument(
        "--since",
        action="store_true",
        help="for whatever was written to, or deleted from, the key's folder before now; if nothing waits for it a"
        " minute later, it is shown",
    )
    command.add_argument("--quiet", action="store_true", help="prints nothing; the exit status tells")
    command = _command(
        commands,
        "refresh-now.sh",
        _refresh_now,
        "Has the refresh function refresh a bucket's file shares: it hands the folders to them, and they are asked in"
        " their turn, no more often than they may be. Follows each until Storage Gateway reports that its refresh is"
        " complete, and says why one waits; Ctrl-C ends only the following. The shares of other accounts only the"
        " refresh function can list; of shares outside the stack's region and account nobody reports when they are"
        " complete.",
        "Exit status: 0 it has come to its end, 2 it could not be asked for, as when there is no such folder,"
        " or it is not known what some shares show.",
    )
    command.add_argument(
        "--bucket", metavar="B", type=utf8, required=True, help="the bucket whose shares are to be refreshed"
    )
    command.add_argument(
        "--folder", metavar="F", type=utf8, help="this folder of the bucket, such as a/b (default: everything)"
    )
    command.add_argument(
        "--recursive", action="store_true", help="and everything below that folder, with all of a share that lies there"
    )
    command = _command(
        commands,
        "redrive.sh",
        _redrive,
        "Says in words what lies in the dead-letter queue: requests and events that failed a hundred times. When the"
        " cause is mended, --send puts them back on the queue; interrupted, it loses none of them.",
        "Exit status: 0 it is empty, or was sent back; 1 there is something; 2 it could not tell.",
    )
    command.add_argument("--send", action="store_true", help="send them back")
    command = _command(commands, "check.sh", check.run, check.DESCRIPTION, check.EPILOG)
    check.add_arguments(command, _seconds)
    return top


def _command(
    commands: "argparse._SubParsersAction[Parser]",
    script: str,
    run: Callable[[Stack, argparse.Namespace], int],
    description: str,
    epilog: str = "",
) -> argparse.ArgumentParser:
    command = commands.add_parser(
        script,
        prog=f"scripts/{script}",
        description=description,
        epilog=epilog,
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=28, width=100),
    )
    command.set_defaults(run=run)
    command.add_argument("--region", metavar="R", help="of the stack (default: AWS_REGION, the profile's)")
    command.add_argument("--name-prefix", metavar="P", default="", help="the one that create-stack.sh was given")
    return command


def _status(stack: Stack, options: argparse.Namespace) -> int:
    report = status.look(stack)
    terminal = console(wraps=True)
    if options.json:
        tell_program(report.as_json())
    elif options.watch:
        with Live(status.screen(report), console=terminal, screen=terminal.is_terminal, auto_refresh=False) as live:
            while True:
                time.sleep(_WATCH_SECONDS)
                live.update(look_again(Stack(stack.session, stack.prefix)), refresh=True)
    else:
        terminal.print(status.screen(report))
    return report.exit_status


def look_again(stack: Stack) -> RenderableType:
    """The screen, or why there is none: who watches goes on."""
    try:
        return status.screen(status.look(stack))
    except (StackError, *AWS_ERRORS) as error:
        return one_line(f"It could not be told at {clock(now_ms())}, and is tried again: {error}")


def _refresh_now(stack: Stack, options: argparse.Namespace) -> int:
    folders = refresh_now.folders(options.folder, recursive=options.recursive)
    refresh_now.look_for(stack, options.bucket, options.folder)
    asked = refresh_now.ask(stack, options.bucket, folders)
    for note in stack.notes:
        tell(note, sys.stderr)
    for change in refresh_now.follow(stack, asked):
        tell(change)
    return 2 if stack.notes else 0


def _redrive(stack: Stack, options: argparse.Namespace) -> int:
    number = 0
    for message in redrive.send_back(stack) if options.send else redrive.show(stack):
        number += 1
        tell(message)
    if not number:
        tell("The dead-letter queue is empty.")
    elif not options.send:
        tell("When the cause is mended, send them back: " + stack.command("redrive.sh", "--send"))
    return 0 if options.send or not number else 1


def _explain(stack: Stack, options: argparse.Namespace) -> int:
    found = facts.look(stack, options.bucket, options.key)
    if options.json:
        tell_program(explain.as_json(found))
    else:
        console(wraps=False).print(explain.screen(found))
    return explain.exit_status(explain.conclude(found))


def _wait(stack: Stack, options: argparse.Namespace) -> int:
    wish = wait.Wish(options.share, options.since, options.timeout)

    def look(began: int) -> facts.Facts:
        log_since = began - facts.SURELY_MS if wish.before else None
        return facts.look(Stack(stack.session, stack.prefix), options.bucket, options.key, log_since)

    return wait.wait(look, wish, _nothing if options.quiet else tell)


def _seconds(argument: str) -> int:
    """For argparse: not below 0."""
    if not (argument.isascii() and argument.isdigit()):
        raise argparse.ArgumentTypeError(f"{argument!r} is no whole number of seconds")
    return int(argument)


def _nothing(text: object) -> None:
    """Tells nobody."""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
