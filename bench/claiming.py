"""`python -m bench.claiming`: does the time of a claim grow with what waits in the spool?

Spools with backlogs of different lengths stand side by side, and claims of 500 go to them in turn, each
settled as delivered before the next: as in production, a claim finds in front of it the traces of what is
done. On SQLite and on Postgres; with one recipient a message, and with many.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bench import report
from bench.figures import ClaimFigures, Claims, Quartiles
from bench.filling import fill
from bench.machine import describe
from bench.places import Spools, addresses, stay_on_disk
from spooler.claim import Claim, Want
from spooler.envelope import DEFAULT_ROUTE
from spooler.ident import now_us
from spooler.reply import Stage
from spooler.result import Outcome, RecipientResult
from spooler.spool.store import Store
from tests.servers.process import folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

CLAIM = 500  # recipients
WARMING = 2  # claims of each spool that do not count
ROUNDS = 16  # claims of each spool that count; with the warming ones they leave something of 10,000
SIZES = (10_000, 100_000, 1_000_000)
FULL = (*SIZES, 5_000_000)
_CONTENT = 400  # bytes: a claim does not read contents, but their rows lie in the same database
_MANY = 10_000  # recipients of a message
_SHAPES = {"1 recipient a message": 1, f"{_MANY:,} recipients a message": _MANY}


@dataclass(slots=True)
class _Backlog:
    """A spool with so many recipients in it, and what claiming from it took (ms)."""

    size: int
    store: Store
    worker: int
    filled: float
    claims: list[float] = field(default_factory=list)
    settlements: list[float] = field(default_factory=list)

    def turn(self, *, counts: bool) -> None:
        """Claim once, and settle what was claimed."""
        now = now_us()
        start = time.perf_counter()
        claims = self.store.claim(self.worker, [Want(DEFAULT_ROUTE, CLAIM)], now=now)
        claimed = time.perf_counter()
        results = _delivered(claims, now)
        if len(results) != min(CLAIM, self.size):
            raise RuntimeError(f"a claim of {CLAIM} gave {len(results)}")
        before = time.perf_counter()
        self.store.settle(self.worker, results, now=now)
        end = time.perf_counter()
        self.store.maintain(now=now)
        if counts:
            self.claims.append((claimed - start) * 1000)
            self.settlements.append((end - before) * 1000)


def measure(
    *,
    sizes: Sequence[int],
    spools: Spools,
    kind: str,
    recipients: int,
    rounds: int = ROUNDS,
    say: Callable[[str], None] = lambda _: None,
) -> list[ClaimFigures]:
    """Measure claims from backlogs of these sizes, on one kind of spool, with messages of so many
    recipients."""
    with contextlib.ExitStack() as stack:
        backlogs = []
        for size in sizes:
            backlogs.append(stack.enter_context(_backlog(spools, kind, size, recipients)))
            say(f"{kind}: {size:,} recipients filled in {backlogs[-1].filled:.0f} s")
        spools.flush()
        for number in range(WARMING + rounds):
            for backlog in backlogs:
                backlog.turn(counts=number >= WARMING)
        shape = next(name for name, number in _SHAPES.items() if number == recipients)
        return [
            ClaimFigures(
                spool=kind,
                shape=shape,
                backlog=backlog.size,
                claim=Quartiles.of(backlog.claims),
                settle=Quartiles.of(backlog.settlements),
                filled=backlog.filled,
            )
            for backlog in backlogs
        ]


@contextlib.contextmanager
def _backlog(spools: Spools, kind: str, size: int, recipients: int) -> Iterator[_Backlog]:
    with folder() as place, spools.new(kind, place) as url:
        each = min(recipients, size)
        start = time.perf_counter()
        fill(
            url,
            messages=size // each,
            recipients=each,
            size=_CONTENT,
            to=addresses(each if each > 1 else 1_000),
        )
        filled = time.perf_counter() - start
        with Store.open(url) as store:
            worker = store.register(host="bench", pid=os.getpid(), now=now_us())
            yield _Backlog(size, store, worker, filled)


def _delivered(claims: Sequence[Claim], now: int) -> list[RecipientResult]:
    return [
        RecipientResult(
            message_id=claim.message_id,
            n=recipient.n,
            address=recipient.address,
            route=claim.route,
            attempt=1,
            at=now,
            outcome=Outcome.DELIVERED,
            stage=Stage.FINAL,
            code=250,
        )
        for claim in claims
        for recipient in claim.recipients
    ]


def measure_all(sizes: Sequence[int], *, say: Callable[[str], None]) -> Claims:
    """Measure every kind of spool and shape."""
    rows = []
    with Spools() as spools:
        for kind in ("sqlite", "postgres"):
            for recipients in _SHAPES.values():
                rows += measure(sizes=sizes, spools=spools, kind=kind, recipients=recipients, say=say)
    return Claims(facts=describe(), claim=CLAIM, rounds=ROUNDS, rows=rows)


def read_size(text: str) -> int:
    """Read "10k", "5m" or a number."""
    units = {"k": 1_000, "m": 1_000_000}
    unit = units.get(text[-1:].lower())
    return int(text[:-1]) * unit if unit else int(text)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print and write the results."""
    parser = argparse.ArgumentParser(prog="python -m bench.claiming", description=__doc__)
    parser.add_argument(
        "--sizes",
        type=lambda text: tuple(read_size(word) for word in text.split(",")),
        default=FULL,
        metavar="N,N,…",
        help="backlogs, ascending (default 10k,100k,1m,5m: takes half an hour and 20 GB of disk)",
    )
    parser.add_argument("--results", type=Path, default=report.RESULTS, metavar="DIR")
    asked = parser.parse_args(argv)
    stay_on_disk()
    claims = measure_all(asked.sizes, say=lambda text: print(text, file=sys.stderr, flush=True))
    print(report.claims_table(claims))
    report.write_claims(claims, asked.results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
