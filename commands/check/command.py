"""scripts/check.sh: its flags, and what it says."""

import argparse
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from commands.check import areas, gateway_report
from commands.check.areas import Area
from commands.check.gateway_report import Answer, Probe
from commands.check.trial import Trial
from commands.operate.stack import Stack, StackError
from commands.operate.terminal import tell, tell_program, utf8

DESCRIPTION = (
    "Checks whether the stack works in your account. First it only reads: each resource against the stack's own"
    " template; whether IAM allows what the functions need, permissions boundary and SCPs included; each bucket's"
    " notification; each gateway and file share, and whether the share's role may list the bucket; what the refresh"
    " function reaches from a VPC; quotas; failed messages and alarms. With --write it then writes a small object,"
    " follows it step by step to the shares, deletes it, and follows the deletion."
)
EPILOG = (
    "Exit status: 0 it works; 1 something is wrong, with the command or step that fixes it; 2 something could not be"
    " checked, and is named. The reads do not cover the policies of buckets, keys and VPC endpoints, SCPs with"
    " conditions, and network ACLs; an object of --write is subject to them. It is removed in any case except kill -9,"
    " with all its versions and delete markers, but not a replica of it in another bucket. " + gateway_report.PROBES
)


def add_arguments(command: argparse.ArgumentParser, seconds: Callable[[str], int]) -> None:
    add = command.add_argument
    add("--bucket", metavar="B", type=utf8, help="for --write and --probe-limits (default: the only attached bucket)")
    add("--write", metavar="PREFIX", type=utf8, help="write an object directly below this prefix (/ for the root)")
    patience = "seconds for a share to accept the refresh, and again to complete it (default: 300)"
    add("--timeout", metavar="N", type=seconds, default=300, help=patience)
    add("--report", metavar="FILE", type=Path, help="write what the check learned about the gateways, without names")
    add("--probe-limits", action="store_true", help="with --report: test the gateway's limits (see below)")
    add("--yes", action="store_true", help="start --probe-limits without a question")
    add("--json", action="store_true", help="JSON output; times in milliseconds since 1970")


def run(stack: Stack, options: argparse.Namespace) -> int:
    say: Callable[[str], None] = _nothing if options.json else tell
    if options.probe_limits and not options.report:
        raise StackError("--probe-limits needs --report FILE.")
    found = []
    for area in areas.look(stack):
        found.append(area)
        for line in in_words(area):
            say(line)
    status, trial = areas.exit_status(found), None
    if options.write is not None:
        trial = Trial(stack, _bucket(stack, options.bucket), options.write, options.timeout, say)
        if trial.run():
            say("ok      Trial    the object and its deletion reached every share")
        else:
            status = 1
    if options.report:
        probes = list(_probe(stack, options, say)) if options.probe_limits else []
        options.report.write_text(gateway_report.page(stack, trial.walks if trial else {}, probes))
        say(f"report  {options.report}: read it before you share it (docs/real-gateways.md)")
    if options.json:
        walks = {what: asdict(walk) for what, walk in trial.walks.items()} if trial else {}
        tell_program({"status": status, "areas": [asdict(area) for area in found], "trial": walks})
    return status


def in_words(area: Area) -> list[str]:
    """A line if all is well, and else two for each concern."""
    if not area.concerns:
        return [f"ok      {area.name:<8} {area.told}"]
    lines = []
    for concern in area.concerns:
        lines.append(f"{'FAULT' if concern.is_known else '?':<7} {area.name:<8} {concern.what}")
        lines += [f"{'':<16} {concern.then}"] if concern.then else []
    return lines


def _bucket(stack: Stack, given: str | None) -> str:
    attached = stack.buckets()
    if given is None and len(attached) != 1:
        raise StackError(f"Which bucket? Give --bucket: {', '.join(attached) or 'none is attached'}")
    return given or attached[0]


def _probe(stack: Stack, options: argparse.Namespace, say: Callable[[str], None]) -> list[Answer]:
    bucket = _bucket(stack, options.bucket)
    shares = gateway_report.shares_to_probe(stack, bucket)
    tell(gateway_report.PROBES, sys.stderr)
    if not options.yes:
        if not sys.stdin.isatty():
            raise StackError("There is no terminal to ask on. Give --yes.")
        if input("Do it? Type yes: ") != "yes":
            raise StackError("No limit was tested.")
    return list(Probe(stack, shares, say).run())


def _nothing(text: object) -> None:
    """Tells nobody."""
