"""Lets chance judge the tests: changes one thing in src at random, again and again, and tells whether a test notices.

    python -m tests.chance --count 100 --seed 7
    python -m tests.chance --only window.py:150      every change of that line; --only window.py:150:2 makes one

It takes a minute or three to run the tests on the code as it is: they must pass, and those that are quickest come first
from then on. A change that no test notices, which SURVIVED, costs as much. A test that takes much longer than it did is
ended, and counts as one that noticed, after its time. What survives is either equivalent, or a test that is missing.
"""

import argparse
import multiprocessing
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
from collections import Counter, defaultdict
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import moto.dynamodb
import moto.sqs  # noqa: F401 - what is loaded before the tests are forked is loaded once
import pytest

from tests.chance.mutations import Mutant, mutants_of

_ROOT = Path(__file__).parents[2]
_SOURCE = _ROOT / "src"

# Tests that cannot notice what is changed in a copy of src: of other programs, and of the tests themselves.
_NOT_CONCERNED = (
    "chance",
    "cloudformation",
    "contributing",
    "deploy",
    "dropped_safeguards",
    "engine",
    "gateway",
    "lock",
    "project_2018",
    "operate",
    "package",
    "plan",
    "policies",
    "release",
    "replay",
)

_MEMORY = 4 << 30  # bytes, that a change which never ends may take

Durations = dict[str, float]  # seconds that a test takes, by its id


class Judge:
    """A plugin of pytest's: orders the tests, ends those that take too long, and keeps what became of them."""

    def __init__(self, module: str, durations: Durations, answer: Connection) -> None:
        self._module = module
        self._durations = durations
        self._answer = answer
        self._took: defaultdict[str, float] = defaultdict(float)
        self._noticed: str | None = None

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """The tests of the changed module first, then the quickest."""

        def order(item: pytest.Item) -> tuple[bool, float]:
            return item.path.stem != f"test_{self._module}", self._durations.get(item.nodeid, 0)

        items.sort(key=order)

    def pytest_collection(self) -> None:
        self._limit("collecting the tests", 60)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._limit(nodeid, 10 + round(5 * self._durations.get(nodeid, 20)))

    def _limit(self, what: str, seconds: int) -> None:
        def end(*_: Any) -> None:
            self.tell(f"{what}: it took longer than {seconds} s")
            os._exit(1)

        signal.signal(signal.SIGPROF, end)
        signal.setitimer(signal.ITIMER_PROF, seconds)  # of CPU: the machine may be busy with something else
        signal.signal(signal.SIGALRM, end)
        signal.alarm(10 * seconds)  # and for what waits for ever

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._took[report.nodeid] += report.duration
        self._look_at(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._look_at(report)

    def _look_at(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if report.failed and not self._noticed:
            crash = getattr(report.longrepr, "reprcrash", None)
            said = crash.message if crash else report.longreprtext.strip().rpartition("\n")[2]
            self._noticed = f"{report.nodeid}: {said.partition(chr(10))[0][:120]}"

    def tell(self, otherwise: str | None) -> None:
        self._answer.send((self._noticed or otherwise, dict(self._took)))


def judged(mutant: Mutant | None, durations: Durations, *, aloud: bool) -> tuple[str | None, Durations]:
    """Which test noticed that src is changed so, and why, or None; and how long the tests took that were run."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "src"
        shutil.copytree(_SOURCE, source, ignore=shutil.ignore_patterns("__pycache__"))
        if mutant:
            (source / mutant.file).write_text(mutant.mutated)
        receiver, sender = multiprocessing.Pipe(duplex=False)
        arguments = mutant, source, durations, aloud, sender
        process = multiprocessing.get_context("fork").Process(target=_run_tests, args=arguments)
        process.start()
        sender.close()
        try:
            noticed, took = receiver.recv()
        except EOFError:
            noticed, took = "the process of the tests ended", {}
        process.join()
        return noticed, took


def _run_tests(mutant: Mutant | None, source: Path, durations: Durations, aloud: bool, answer: Connection) -> None:
    """In a process of its own: its modules are the changed ones."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    os.environ["PYTHONPATH"] = f"{source}{os.pathsep}{_ROOT}"  # of the processes that tests start
    judge = Judge(Path(mutant.file).stem if mutant else "", durations, answer)
    ignored = [f"--ignore-glob=*test_*{name}*" for name in _NOT_CONCERNED]
    changed_once = "tests/simulation/test_every_turn.py::test_without_a_safeguard_of_the_rules_a_promise_is_broken"
    options = ["-x", "-p", "no:cacheprovider", "--tb=short", "-o", f"pythonpath={source} {_ROOT}", *ignored]
    options += ["--deselect", changed_once]  # which look for a text that the change may have replaced
    if not aloud:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.dup2(nowhere, sys.stderr.fileno())
    code = pytest.main([*options, str(_ROOT / "tests/unit"), str(_ROOT / "tests/simulation")], plugins=[judge])
    judge.tell(None if code == pytest.ExitCode.OK else f"pytest, which could not run the tests (exit code {code:d})")


def all_mutants() -> list[Mutant]:
    files = sorted(_SOURCE.rglob("*.py"))
    return [mutant for file in files for mutant in mutants_of(str(file.relative_to(_SOURCE)), file.read_text())]


def drawn(mutants: list[Mutant], seed: int) -> list[Mutant]:
    """In random order: one of each place in the code before any place's second, so that no kind outweighs another."""
    shuffled = random.Random(seed).sample(mutants, len(mutants))  # noqa: S311
    places: Counter[tuple[str, int, int]] = Counter()
    turns = []
    for mutant in shuffled:
        place = mutant.file, mutant.start, mutant.end
        turns.append(places[place])
        places[place] += 1
    return [mutant for _, mutant in sorted(zip(turns, shuffled, strict=True), key=lambda pair: pair[0])]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.chance", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=40, metavar="N", help="how many changes to try (40)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="others are drawn with another seed (0)")
    parser.add_argument("--only", metavar="FILE:LINE[:NUMBER]", help="try these, and show what pytest says")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        sys.pycache_prefix, sys.dont_write_bytecode = cache, False  # the tests are compiled once
        _try(chosen.count, chosen.seed, chosen.only)


def _try(count: int, seed: int, only: str | None) -> None:
    durations: Durations = {}
    if only:
        wanted = [mutant for mutant in all_mutants() if f"/{only}:" in f"/{mutant.id}:"]
        if not wanted:
            sys.exit(f"There is nothing to change at {only}")
    else:
        failed, durations = judged(None, {}, aloud=False)
        if failed:
            sys.exit(f"The tests fail on the code as it is: {failed}")
        print(f"{len(durations)} tests pass on the code as it is, in {sum(durations.values()):.0f} s", flush=True)
        wanted = drawn(all_mutants(), seed)
    tried, survived, begin = 0, 0, _cpu_seconds()
    for mutant in wanted:
        if tried == count:
            break
        if not mutant.compiles():
            continue
        noticed, _ = judged(mutant, durations, aloud=bool(only))
        tried, survived = tried + 1, survived + (noticed is None)
        print(f"{mutant.id}  {mutant.change}\n    {f'caught by {noticed}' if noticed else 'SURVIVED'}", flush=True)
    seconds = (_cpu_seconds() - begin) / max(tried, 1)
    print(f"{tried} changes, {tried - survived} caught, {survived} survived; {seconds:.0f} s of CPU each")


def _cpu_seconds() -> float:
    return sum(os.times()[:4])  # with those of processes that have ended


if __name__ == "__main__":
    main()
