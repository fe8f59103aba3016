"""`python -m bench`: drain prepared spools with the real command and print what it took.

Logs are on (into a file), commits are durable, everything else is as by default. Each run is checked: every
recipient delivered once by the ledger, and as many transactions counted by the target as were due.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bench import draining, report
from bench.cases import SPOOLS, first
from bench.machine import describe
from bench.places import choose_target
from spooler.errors import SpoolerError
from tests.servers.process import ServerError

if TYPE_CHECKING:
    from collections.abc import Sequence

_RESULTS = Path(__file__).with_name("results")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the cases, print and write the results; return an exit code."""
    asked = _options().parse_args(argv)
    spools = SPOOLS if asked.spool == "both" else (asked.spool,)
    target = choose_target(asked.target)
    rows = []
    try:
        for case in first(spools=spools, target=target, tiny=asked.tiny, messages=asked.messages):
            print(f"{case.name} from {case.spool} into {case.target} …", file=sys.stderr, flush=True)
            rounds = [draining.run(case) for _ in range(asked.rounds)]
            rows.append(sorted(rounds, key=lambda row: row.drain)[len(rounds) // 2])
    except (SpoolerError, ServerError, draining.BenchError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return error.exit_code if isinstance(error, SpoolerError) else 1
    table = report.drains(rows)
    print(table)
    if asked.results:
        report.write(
            asked.results,
            "first",
            title="First figures",
            text=f"A spool of 4 KB messages is drained by one worker into {_NAMES[target]} on loopback: logs "
            "on, commits durable, defaults otherwise; spool, worker and target share the machine. The time "
            "of a drain is from the worker's start until everything is settled; each line is the round with "
            f"the median time of {asked.rounds}.\n\n{table}",
            facts=describe(),
            data=[row.as_json() for row in rows],
        )
    return 0


_NAMES = {"smtp-sink": "`smtp-sink -L` of Postfix", "sink": "`spooler sink`"}


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--messages", type=int, metavar="N", help="one-recipient messages (default 20000)")
    parser.add_argument("--tiny", action="store_true", help="a few messages a case: does it still run?")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="the median counts (default 3)")
    parser.add_argument("--spool", choices=(*SPOOLS, "both"), default="both")
    parser.add_argument("--target", choices=("auto", "smtp-sink", "sink"), default="auto")
    parser.add_argument(
        "--results",
        type=lambda text: Path(text) if text else None,
        default=_RESULTS,
        metavar="DIR",
        help='where the tables go; "" writes none',
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
