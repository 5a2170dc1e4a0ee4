"""The command line of the operator's commands.

Exit status: 0 done, or all is well; 1 something needs attention; 2 it could not be done or told, the reason on
standard error.
"""

import argparse
import sys
import time
from collections.abc import Callable

from botocore.exceptions import ClientError
from rich.console import RenderableType
from rich.live import Live

from commands.arguments import add_command, add_stack
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
        return run(Stack.of(options.region, options.name_prefix), options)
    except (StackError, *AWS_ERRORS) as error:
        if getattr(options, "quiet", False):
            return 2
        tell(error, sys.stderr)
        if isinstance(error, ClientError) and error.response["Error"]["Code"] in DENIED:
            tell("iam/operator.json allows it: see docs/security-and-network.md, Permissions for operators", sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def parser() -> argparse.ArgumentParser:
    """All commands; docs/commands.md is made of their help."""
    top = Parser(prog="operate")
    commands = top.add_subparsers(required=True)
    command = add_command(
        commands,
        "status.sh",
        _status,
        "Shows on one screen: the settings; the queues; the gateways with shares in progress or in line; each bucket"
        " with its open window; each file share with its last refresh, what is in progress, and what waits and why;"
        " the counts of the last 24 hours.",
        "Exit status: 0 all is well; 1 something needs attention; 2 the state could not be read.",
    )
    command.add_argument("--json", action="store_true", help="JSON output; times in milliseconds since 1970")
    command.add_argument("--watch", action="store_true", help=f"repeat every {_WATCH_SECONDS} s until Ctrl-C")
    command = add_command(
        commands,
        "explain.sh",
        _explain,
        "Explains why a file is not visible: what happened to the last change of one key, for each file share that"
        " shows it, and the evidence: S3, the shares, the notification, the windows, and the refresh function's log.",
        "Exit status: 0 every share that shows the key was refreshed after the change, or need not be; 1 a"
        " refresh is still to come, or something is wrong; 2 it could not be determined. In a bucket with versioning,"
        " 2 is the best possible answer for a refreshed key: S3 does not tell when somebody restores a version by"
        " deleting a later version or a delete marker permanently. An NFS or SMB client may show its own cached"
        " listing for up to a minute after a refresh. A share with automated cache refresh"
        " (CacheStaleTimeoutInSeconds) also lists a folder again when somebody opens it that long after its last"
        " refresh of either kind.",
    )
    command.add_argument("--bucket", metavar="B", type=utf8, required=True, help="the bucket")
    command.add_argument(
        "--key",
        metavar="K",
        type=utf8,
        required=True,
        help="the key as S3 has it: not URL-encoded, without a leading slash",
    )
    command.add_argument("--json", action="store_true", help="JSON output; times in milliseconds since 1970")
    command = add_command(
        commands,
        "wait.sh",
        _wait,
        "Waits until every file share that shows a key shows its last change in S3: a refresh of its folder that the"
        " share accepted after the change is complete. Checks every 5 s, and every 15 s after the first minute, with"
        " the evidence that explain.sh uses. If the order of the change and the refresh is not known, as for a"
        " multipart upload or a replica, it may wait up to a minute longer, until the event of the change must have"
        " arrived.",
        "Exit status: 0 all shares show it; 1 a share did not show it in time (the reason and what to do are"
        " printed); 2 it could not be determined, no share can show the key, or S3 has neither the object nor a delete"
        " marker (for a deletion in a bucket without versioning use --since). Limits: In a bucket with versioning, a"
        " version that somebody restored by deleting a later one, after the refresh and before its event arrived,"
        " counts as shown, because S3 does not tell of it. A multipart upload whose event was lost counts as shown"
        " too. Shares outside the stack's region and account send no completion event here: they count as refreshed"
        " after the minimum interval, and shares of other accounts are not considered. An NFS or SMB client may show"
        " its own cached listing for up to another minute. This machine's clock must be right to the second.",
    )
    command.add_argument("--bucket", metavar="B", type=utf8, required=True, help="the bucket")
    command.add_argument(
        "--key",
        metavar="K",
        type=utf8,
        required=True,
        help="the key as S3 has it: not URL-encoded, without a leading slash",
    )
    command.add_argument(
        "--share", metavar="S", type=utf8, help="wait for this share only, share-1234ABCD (default: all)"
    )
    command.add_argument(
        "--timeout", metavar="N", type=_seconds, default=300, help="give up after N seconds (default: 300)"
    )
    command.add_argument(
        "--since",
        action="store_true",
        help="wait for everything that was written to or deleted from the key's folder before now; if nothing waits for"
        " the folder a minute later, it is shown",
    )
    command.add_argument("--quiet", action="store_true", help="print nothing; the exit status is the answer")
    command = add_command(
        commands,
        "refresh-now.sh",
        _refresh_now,
        "Makes the refresh function refresh a bucket's file shares. The interval and the turns at the gateway apply as"
        " usual. Follows each share until Storage Gateway reports that its refresh is complete, and says why a share"
        " waits. Ctrl-C stops the following, not the refresh. Only the refresh function can list the shares of other"
        " accounts. Shares outside the stack's region and account send no completion event here.",
        "Exit status: 0 done; 2 the refresh could not be requested (for example, there is no such folder), or it is not"
        " known what some shares show.",
    )
    command.add_argument("--bucket", metavar="B", type=utf8, required=True, help="refresh the shares of this bucket")
    command.add_argument(
        "--folder", metavar="F", type=utf8, help="refresh this folder of the bucket, such as a/b (default: everything)"
    )
    command.add_argument("--recursive", action="store_true", help="also refresh everything below the folder")
    command = add_command(
        commands,
        "redrive.sh",
        _redrive,
        "Explains the messages in the dead-letter queue: requests and events that failed 100 times. After you have"
        " fixed the cause, --send moves them back to the action queue. If it is interrupted, no message is lost.",
        "Exit status: 0 the queue is empty, or its messages were sent back; 1 it holds messages; 2 it is unreadable.",
    )
    command.add_argument("--send", action="store_true", help="send the messages back to the action queue")
    command = add_command(commands, "check.sh", check.run, check.DESCRIPTION, check.EPILOG)
    check.add_arguments(command, _seconds)
    for command in commands.choices.values():
        add_stack(command)
    return top


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
