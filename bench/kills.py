"""`python -m bench.kills`: workers killed with SIGKILL again and again under load, and every copy counted.

A round is some kills on a fresh spool and a fresh target, and a worker that delivers what is left
(`tests.crash.killing`). Exit code 1 if anything was lost, told that did not happen, or came twice without
its uncertain attempt.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bench import report
from bench.figures import KillFigures, Kills
from bench.machine import describe
from bench.places import Spools, hindrance, stay_on_disk
from tests.crash.killing import Tally, kill_workers
from tests.crash.targets import KINDS
from tests.servers.process import folder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROUND = 10  # kills of a spool: what workers died with again and again is taken a message at a time
SESSIONS = 20  # as many connections as Postfix had


def run(
    spool: str, kind: str, *, kills: int, seed: int, spools: Spools, say: Callable[[str], None]
) -> KillFigures:
    """Kill so many workers on spools of this kind, and sum up what became of all recipients."""
    rounds: list[Tally] = []
    while left := kills - sum(one.kills for one in rounds):
        with folder() as place, spools.new(spool, place) as url:
            some = min(left, ROUND)
            rounds.append(
                kill_workers(url, place, kills=some, seed=seed + len(rounds), kind=kind, sessions=SESSIONS)
            )
        say(f"{spool} to {kind}, {kills - left + some} kills: {rounds[-1]}")
    return KillFigures(
        spool=spool,
        target=kind,
        kills=kills,
        recipients=sum(one.recipients for one in rounds),
        lost=sum(len(one.lost) + one.queued for one in rounds),
        false_success=sum(len(one.false_success) for one in rounds),
        false_failure=sum(one.failed for one in rounds),
        duplicates=sum(one.duplicates for one in rounds),
        uncertain=sum(one.uncertain for one in rounds),
        unexplained=sum(len(one.unexplained) for one in rounds),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Kill, print and write the results."""
    parser = argparse.ArgumentParser(prog="python -m bench.kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=500, metavar="N", help="on each spool (default 500)")
    parser.add_argument("--spool", choices=report.DATABASES, action="append", help="default: each")
    parser.add_argument("--target", choices=KINDS, action="append", help="default: sink")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--results", type=Path, default=report.RESULTS, metavar="DIR")
    asked = parser.parse_args(argv)
    stay_on_disk()
    kinds = asked.target or ["sink"]
    for kind in kinds:
        if why := hindrance(kind):
            parser.error(why)
    with Spools() as spools:
        rows = [
            run(spool, kind, kills=asked.kills, seed=asked.seed, spools=spools, say=_say)
            for kind in kinds
            for spool in asked.spool or report.DATABASES
        ]
    kept = Kills(facts=describe(), sessions=SESSIONS, rows=rows)
    print(report.kills_table(kept))
    report.write_kills(kept, asked.results)
    return 0 if all(row.sound for row in rows) else 1


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
