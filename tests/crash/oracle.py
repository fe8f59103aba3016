"""What became of every recipient, judged by what cannot share a mistake with the product.

The spool's tables are read with the databases' own drivers, and copies are counted by the target's record.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psycopg

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(slots=True)
class Ledger:
    """What the spool says in the end."""

    delivered: Counter[str] = field(default_factory=Counter)
    uncertain: Counter[str] = field(default_factory=Counter)
    other: Counter[str] = field(default_factory=Counter)
    """Failed or expired."""
    queued: int = 0


def ask(url: str, sql: str) -> list[tuple[Any, ...]]:
    """Run a query with the database's own driver."""
    if url.startswith("sqlite"):
        database = sqlite3.connect(url.partition("///")[2])
        try:
            return database.execute(sql).fetchall()
        finally:
            database.close()
    with psycopg.connect(url.replace("postgresql+psycopg", "postgresql")) as connection:
        return connection.execute(sql.encode()).fetchall()


def read_ledger(url: str) -> Ledger:
    """Read what the spool says of each address."""
    rows = ask(
        url, "SELECT address, outcome, uncertain, count(*) FROM attempt WHERE NOT late GROUP BY 1, 2, 3"
    )
    ledger = Ledger(queued=ask(url, "SELECT count(*) FROM recipient")[0][0])
    for address, outcome, uncertain, count in rows:
        if uncertain:
            ledger.uncertain[address] += count
        elif outcome == "delivered":
            ledger.delivered[address] += count
        elif outcome != "deferred":
            ledger.other[address] += count
    return ledger


def faults(
    url: str, *, accepted: Iterable[str], refused: Iterable[str], copies: Mapping[str, int]
) -> list[str]:
    """Say what is wrong where everything must have ended; `refused` are those that the target never takes."""
    ledger = read_ledger(url)
    wrong = [f"{ledger.queued} are still queued"] if ledger.queued else []
    for address in accepted:
        got = copies.get(address, 0)
        ends = ledger.delivered[address], ledger.other[address]
        if not got:
            wrong.append(f"{address} is lost ({ends} ended)")
        elif ends != (1, 0):
            wrong.append(f"{address} ended {ends} times (delivered, failed)")
        if got - 1 > ledger.uncertain[address]:
            wrong.append(f"{address} came {got} times, uncertain {ledger.uncertain[address]} times")
    for address in refused:
        ends = ledger.delivered[address], ledger.other[address]
        if ends != (0, 1) or copies.get(address, 0):
            wrong.append(f"{address}, which is refused, ended {ends} times (delivered, failed)")
    return wrong + _left_over(url) + _miscounted(url)


def _left_over(url: str) -> list[str]:
    """Nobody works any more: whoever died was taken over."""
    (workers,) = ask(url, "SELECT count(*) FROM worker")[0]
    return [f"{workers} workers are still registered"] if workers else []


def _miscounted(url: str) -> list[str]:
    """Hold the tallies against the rows."""
    told = Counter({state: int(n) for state, n in ask(url, "SELECT state, sum(count) FROM tally GROUP BY 1")})
    counted: Counter[str] = Counter(waiting=ask(url, "SELECT count(*) FROM recipient")[0][0])
    what = "outcome, late, uncertain, count(*)"
    rows = ask(url, f"SELECT {what} FROM attempt WHERE who IS NULL GROUP BY 1, 2, 3")
    for outcome, late, uncertain, count in rows:
        counted["late" if late else "deferrals" if outcome == "deferred" else outcome] += count
        counted["uncertain"] += count if uncertain and not late else 0
    return [] if +told == +counted and -told == Counter() else [f"tallies say {told}, the rows {counted}"]
