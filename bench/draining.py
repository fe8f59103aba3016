"""The runner of drain cases: fill a spool, drain it with the real command, check that nothing is amiss."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from bench.filling import fill
from bench.measured import Cost, measure
from bench.places import Target, spool, target
from spooler.records import State
from spooler.spool.store import Store
from tests.servers.process import SPOOLER, folder

if TYPE_CHECKING:
    from bench.cases import Case

_PER_TRANSACTION = 100  # recipients: the product's default


class BenchError(Exception):
    """A run whose figure must not be reported: it did not do what it was to measure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The figures of one case; times in seconds, memory in bytes.

    `drain` is from the worker's start to its end by its own log, everything settled; `process` is the
    command's wall time, start-up included. `recipients_per_s` and `messages_per_s` are by `drain`.
    """

    name: str
    spool: str
    target: str
    messages: int
    recipients: int
    size: int
    drain: float
    process: float
    messages_per_s: float
    recipients_per_s: float
    cpu: float
    cpu_per_message_us: float
    peak: int

    def as_json(self) -> dict[str, Any]:
        """Return the figures for a file."""
        return asdict(self)


def run(case: Case) -> Row:
    """Measure one case; raises BenchError if a recipient was not delivered exactly once."""
    with folder() as place, spool(case.spool, place) as url:
        fill(url, messages=case.messages, recipients=case.recipients, size=case.size)
        with target(case.target) as server:
            env = {name: value for name, value in os.environ.items() if not name.startswith("SPOOLER_")}
            argv = [*SPOOLER, "drain", "--spool", url, "--target", server.destination]
            cost = measure(argv, folder=place, env=env)
        _check(case, cost, url, server)
    drain = _span(cost.stderr)
    return Row(
        name=case.name,
        spool=case.spool,
        target=case.target,
        messages=case.messages,
        recipients=case.recipients,
        size=case.size,
        drain=drain,
        process=cost.wall,
        messages_per_s=case.messages / drain,
        recipients_per_s=case.total / drain,
        cpu=cost.cpu,
        cpu_per_message_us=cost.cpu / case.messages * 1e6,
        peak=cost.peak,
    )


def _check(case: Case, cost: Cost, url: str, server: Target) -> None:
    if cost.status:
        raise BenchError(f"{case.name}: drain ended with {cost.status}: {cost.stderr[-2000:].decode()}")
    with Store.open(url) as store:
        counts = dict.fromkeys(State, 0)
        for row in store.stats():
            counts[row.state] += row.count
        left = store.left()
    ended = {state.value: count for state, count in counts.items() if count}
    if left or ended != {State.DELIVERED.value: case.total}:
        raise BenchError(f"{case.name}: the ledger has {ended}, {left} left, of {case.total} recipients")
    # each message in as few transactions as its recipients need, and none of them twice
    due = case.messages * -(-case.recipients // _PER_TRANSACTION)
    if server.transactions != due or server.delivered not in (None, case.total):
        raise BenchError(
            f"{case.name}: the target counted {server.transactions} transactions, {due} were due; "
            f"{server.delivered} deliveries, {case.total} were due"
        )


def _span(log: bytes) -> float:
    """Return the seconds from the first line "started" to the last "stopped", of all processes."""
    states: dict[str, list[datetime]] = {}
    for line in log.splitlines():
        if b'"worker"' in line and line.startswith(b"{"):
            entry = json.loads(line)
            if entry.get("event") == "worker":
                states.setdefault(entry["state"], []).append(datetime.fromisoformat(entry["timestamp"]))
    return (max(states["stopped"]) - min(states["started"])).total_seconds()
