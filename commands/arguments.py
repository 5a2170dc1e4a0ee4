"""What the command lines of all scripts have in common."""

import argparse
from collections.abc import Callable
from typing import Any

from event_aggregator import __version__


def formatter(prog: str) -> argparse.HelpFormatter:
    return argparse.HelpFormatter(prog, max_help_position=28, width=100)


def add_command(
    commands: "argparse._SubParsersAction[Any]",
    script: str,
    run: Callable[..., object],
    description: str,
    epilog: str = "",
) -> argparse.ArgumentParser:
    """A script of scripts/, which `run` carries out."""
    command: argparse.ArgumentParser = commands.add_parser(
        script,
        prog=f"scripts/{script}",
        description=description,
        epilog=epilog,
        allow_abbrev=False,
        formatter_class=formatter,
    )
    command.set_defaults(run=run)
    add_version(command)
    return command


def add_stack(command: argparse.ArgumentParser) -> None:
    """The flags that select a stack."""
    command.add_argument("--region", metavar="R", help="region of the stack (default: AWS_REGION or the profile's)")
    text = "prefix of all names of the stack; unique per stack in the account and region"
    command.add_argument("--name-prefix", metavar="P", default="", help=text)


def add_version(command: argparse.ArgumentParser) -> None:
    command.add_argument("--version", action="version", version=f"s3-event-aggregator {__version__}")
