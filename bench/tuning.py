"""`python -m bench.tuning`: does a worker need tuning? It against itself with fixed numbers of sessions.

Prints the report and writes it to bench/results/. Exit code 1 if a run had no figure.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bench import cases, report
from bench.__main__ import measure
from bench.readme import ROUNDS


def main() -> int:
    """Run as a program; return an exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.tuning", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N", help="turns of each (default 3)")
    parser.add_argument("--results", type=Path, default=report.RESULTS, metavar="DIR")
    asked = parser.parse_args()
    kept = measure(cases.TUNING, rounds=asked.rounds)
    print(report.document(kept))
    report.write_tuning(kept, asked.results)
    return 1 if any(one.failed for case in kept.cases for one in case.entrants) else 0


if __name__ == "__main__":
    sys.exit(main())
