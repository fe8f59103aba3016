"""python -m tests.simulation --seeds N [--from K] [--jobs J], or --seed K [--verbose]: as many as one likes.

Exit code 1: a seed failed; 2: none did, but something was never hit, so the run says nothing about that.
"""

from __future__ import annotations

import argparse
import sys
from time import perf_counter

from tests.simulation.coverage import missing, report
from tests.simulation.many import Total, run_many, run_one
from tests.simulation.world import run_seed

_EVERY = 500  # seeds between lines of progress


def main(arguments: list[str]) -> int:
    """Run and report."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seeds", type=int, default=300, help="how many")
    parser.add_argument("--from", dest="first", type=int, default=0, help="the first")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--seed", type=int, help="this one alone")
    parser.add_argument("--verbose", action="store_true", help="with --seed: print its trace")
    given = parser.parse_args(arguments)
    if given.seed is not None:
        if given.verbose:
            _say(str(run_seed(given.seed, tell=_say)))
            return 0
        one = run_one(given.seed)
        _tell_failures(one)
        return 1 if one.failed else 0
    began = perf_counter()
    total = run_many(range(given.first, given.first + given.seeds), jobs=given.jobs, progress=_progress)
    for line in report(total.hits):
        _say(line)
    _say(
        f"{total.seeds} seeds from {given.first}, {total.days:.0f} days of their time in"
        f" {perf_counter() - began:.0f} s"
    )
    if total.failed:
        _tell_failures(total)
        _say(f"{len(total.failed)} FAILED: {sorted(total.failed)}")
        return 1
    never = missing(total.hits)
    if never:
        _say(f"the run does not count, for these were never hit: {', '.join(never)}")
        return 2
    _say("all of it was hit, and nothing was wrong")
    return 0


def _progress(total: Total) -> None:
    if total.seeds % _EVERY == 0:
        _say(f"{total.seeds} seeds, {len(total.failed)} failed {sorted(total.failed)}")


def _tell_failures(total: Total) -> None:
    for seed, story in sorted(total.failed.items()):
        _say(f"seed {seed}: {story}")


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201  # it is a command


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
