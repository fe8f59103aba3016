"""`python -m bench`: who drains faster, side by side; prints the report and writes it to bench/results/.

Each run is checked: a case whose recipients were not all delivered exactly once has no figure, and ends the
bench with exit code 1 when the others are through.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bench import cases, readme, report
from bench.machine import describe
from bench.places import Spools, stay_on_disk
from bench.rounds import check, play, reach

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.figures import Figures


def main(argv: Sequence[str] | None = None) -> int:
    """Run the cases, print and write the results; return an exit code."""
    parser = _options()
    asked = parser.parse_args(argv)
    chosen = {"full": cases.full, "quick": cases.quick, "tiny": cases.tiny}[asked.size]()
    unknown = set(asked.only or ()) - {case.name for case in chosen}
    if unknown:
        parser.error(f"no such case: {', '.join(sorted(unknown))} (there are {_names(chosen)})")
    if asked.only:
        chosen = [case for case in chosen if case.name in asked.only]
    kept = measure(chosen, rounds=asked.rounds)
    print(report.document(kept))
    if asked.results:
        report.write(kept, asked.results)
        if asked.results.resolve() == report.RESULTS:
            readme.renew()
    return 1 if any(one.failed for case in kept.cases for one in case.entrants) else 0


def measure(chosen: Sequence[cases.Case], *, rounds: int) -> Figures:
    """Run cases, verify what spooler did, and compare."""
    stay_on_disk()
    before = {"load of the machine before": f"{os.getloadavg()[0]:.1f}"}
    with Spools() as spools:
        results = [play(case, spools, rounds=rounds, say=_say) for case in chosen]
        check(results, spools, say=_say)
    goals = [reach(goal, results) for goal in cases.GOALS if any(goal.case == c.name for c in chosen)]
    return report.figures(results, goals, rounds=rounds, facts=describe() | before)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _names(chosen: Sequence[cases.Case]) -> str:
    return ", ".join(case.name for case in chosen)


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--size", choices=("full", "quick", "tiny"), default="full", help="tiny: does it still run?"
    )
    parser.add_argument(
        "--rounds", type=int, default=readme.ROUNDS, metavar="N", help="turns of each (default 3)"
    )
    parser.add_argument(
        "--only", type=lambda text: text.split(","), metavar="CASE,…", help=f"of {_names(cases.CASES)}"
    )
    parser.add_argument(
        "--results",
        type=lambda text: Path(text) if text else None,
        default=None,
        metavar="DIR",
        help="where the report, its figures and its plots go; default: they are only printed",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
