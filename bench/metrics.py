"""`python -m bench.metrics`: what metrics cost, as a share of throughput.

Drains with metrics, scraped every second, and without take turns; the cost is made within a round, and the
median counts. Exit code 1 if that is above the limit in one of the cases.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING

from bench.cases import CASES, POSTGRES, SQLITE
from bench.entrants import run
from bench.places import Spools, hindrance, stay_on_disk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.cases import Case, Entrant

LIMIT = 0.03
MESSAGES = {"1x4k": 60_000, "50x4k": 8_000}
"""By case: some seconds of work, of which the start of a server is little."""
ROUNDS = 7


def cost(case: Case, entrant: Entrant, spools: Spools, *, rounds: int) -> list[float]:
    """Return, for each round, how much throughput metrics took, as a share."""
    found = []
    for number in range(rounds):
        pair = [replace(entrant, quiet=True), replace(entrant, http=True)]  # quiet, it counts nothing
        order = pair if number % 2 else pair[::-1]
        rates = {one.http: run(case, one, spools).recipients_per_s for one in order}
        found.append(1 - rates[True] / rates[False])
        print(
            f"{case.name}, {entrant.name}: {rates[False]:,.0f} recipients/s, "
            f"with metrics {rates[True]:,.0f}: {found[-1]:+.1%}",
            file=sys.stderr,
            flush=True,
        )
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; return an exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.metrics", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N", help=f"default {ROUNDS}")
    parser.add_argument("--messages", type=int, default=None, metavar="N", help="instead of 60,000 and 8,000")
    asked = parser.parse_args(argv)
    stay_on_disk()
    kind = "sink" if hindrance("smtp-sink") else "smtp-sink"
    worst = 0.0
    with Spools() as spools:
        for case in CASES:
            if case.name not in MESSAGES:
                continue
            of = replace(case, messages=asked.messages or MESSAGES[case.name], target=kind)
            for entrant in (SQLITE, POSTGRES):
                share = median(found := cost(of, entrant, spools, rounds=asked.rounds))
                print(
                    f"{case.title}, {entrant.name}: metrics cost {share:.1%} "
                    f"({min(found):+.1%} to {max(found):+.1%}, {asked.rounds} rounds)"
                )
                worst = max(worst, share)
    return 1 if worst > LIMIT else 0


if __name__ == "__main__":
    sys.exit(main())
