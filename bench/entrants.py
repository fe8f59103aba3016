"""The runners: each makes its own queue and target, delivers a case once, and checks that it really did.

A run whose figure must not be reported raises BenchError. What is timed: spooler, from its worker's start
to its end by its own log, everything settled; Postfix, from the command to flush its queue until every
queue is empty; the others, from their first connection to their end.
"""

from __future__ import annotations

import json
import os
import smtplib
import subprocess
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from bench.cases import Case, Entrant, Kind
from bench.filling import fill, sample
from bench.measured import Cost, measure
from bench.places import Spools, Target, target
from spooler.errors import SpoolerError
from spooler.lmtp.mode import Mode
from spooler.records import State
from spooler.spool.store import Store
from tests.servers.postfix import hindrance as postfix_hindrance
from tests.servers.postfix import postfix
from tests.servers.process import SPOOLER, ServerError, find, folder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

_PER_TRANSACTION = 100  # recipients at most: spooler's default, and Postfix's setting here
VERIFIED = 10_000  # recipients at most that are compared one by one
VERIFIED_FAR = 200  # messages, where each may take several round trips


class BenchError(Exception):
    """A run whose figure must not be reported: it did not do what it was to measure."""


FAULTS = (BenchError, ServerError, SpoolerError, OSError, smtplib.SMTPException)
"""What may go wrong in a run, and must not end the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What a run took: times in seconds, memory in bytes (of all its processes together).

    `process` is the command's wall time, start-up included; `modes` says how many transactions went in which
    mode, `window` how many sessions it ended with, and why. Only spooler's runs know these, processor time
    and memory.
    """

    messages: int
    recipients: int
    seconds: float
    process: float | None = None
    cpu: float | None = None
    peak: int | None = None
    modes: Mapping[str, int] = field(default_factory=dict)
    window: str | None = None

    @property
    def recipients_per_s(self) -> float:
        """The rate by which runs are compared."""
        return self.recipients / self.seconds

    @property
    def messages_per_s(self) -> float:
        """Messages of any number of recipients."""
        return self.messages / self.seconds


def hindrance(entrant: Entrant) -> str | None:
    """Why an entrant cannot run here; None where it can."""
    if entrant.kind is Kind.POSTFIX:
        return postfix_hindrance()
    if entrant.kind is Kind.WIRE and find("smtp-source") is None:
        return "smtp-source is not installed (Debian: postfix)"
    return None


def run(case: Case, entrant: Entrant, spools: Spools) -> Run:
    """Let an entrant deliver a case once; raises one of FAULTS if it did not, or not exactly once."""
    return _RUNNERS[entrant.kind](case.of(entrant), entrant, spools)


def verify(case: Case, entrant: Entrant, spools: Spools) -> int:
    """Let spooler deliver the case, or the beginning of it, into a sink that records every final reply;
    return how many recipients got their own message exactly once, and raise BenchError if not all did."""
    case = replace(case.of(entrant), target="sink")
    most = VERIFIED // case.recipients if not case.round_trip else VERIFIED_FAR
    case = replace(case, messages=min(case.messages, most))
    server = _drain(case, entrant, spools, record=True)[0]
    got = Counter((line.recipient, line.sha256) for line in server.record if line.code // 100 == 2)
    due = Counter(
        (recipient.address, message.content.sha256)
        for message in sample(
            messages=case.messages, recipients=case.recipients, size=case.size, to=server.mailboxes
        )
        for recipient in message.recipients
    )
    if got != due:
        raise BenchError(
            f"{case.name}: {(due - got).total()} recipients did not get their message, "
            f"{(got - due).total()} got one too much, of {due.total()}"
        )
    return due.total()


def _spooler(case: Case, entrant: Entrant, spools: Spools) -> Run:
    _, cost = _drain(case, entrant, spools)
    return Run(
        messages=case.messages,
        recipients=case.total,
        seconds=_span(cost.stderr),
        process=cost.wall,
        cpu=cost.cpu,
        peak=cost.peak,
        modes=_modes(cost.stderr),
        window=_window(cost.stderr),
    )


def _drain(case: Case, entrant: Entrant, spools: Spools, *, record: bool = False) -> tuple[Target, Cost]:
    with folder() as place, spools.new(entrant.spool, place) as url:
        with _target(case, record=record) as server:
            fill(
                url,
                messages=case.messages,
                recipients=case.recipients,
                size=case.size,
                to=server.mailboxes,
            )
            spools.flush()
            argv = [*SPOOLER, "drain", *_where(entrant, url, server, place)]
            cost = measure(argv, folder=place, env=environment())
        _check_ledger(case, cost, url)
    _check_target(case, server)
    return server, cost


def environment() -> dict[str, str]:
    """The environment without what would configure spooler."""
    return {name: value for name, value in os.environ.items() if not name.startswith("SPOOLER_")}


def _where(entrant: Entrant, url: str, server: Target, place: Path) -> list[str]:
    """As a person would say it: by options where everything is as by default, else by a configuration."""
    chosen = {"sessions": entrant.sessions, "mode": entrant.mode, "adapt": entrant.adapt}
    chosen = {name: value for name, value in chosen.items() if value is not None}
    if not chosen:
        return ["--spool", url, "--target", server.destination]
    config = place / "spooler.toml"
    lines = [f"spool = {json.dumps(url)}", "[routes.default]", f'destinations = ["{server.destination}"]']
    config.write_text("\n".join([*lines, *(f"{name} = {json.dumps(v)}" for name, v in chosen.items())]))
    return ["--config", str(config)]


def last_line(log: bytes) -> str:
    """Return what a command said last, and nothing of a log line."""
    lines = [line for line in log.splitlines() if line.strip() and not line.startswith(b"{")]
    return lines[-1].decode(errors="replace") if lines else "it said nothing"


def _check_ledger(case: Case, cost: Cost, url: str) -> None:
    if cost.status:
        raise BenchError(f"{case.name}: drain ended with {cost.status}: {last_line(cost.stderr)}")
    with Store.open(url) as store:
        counts = dict.fromkeys(State, 0)
        for row in store.stats():
            counts[row.state] += row.count
        left = store.left()
    ended = {state.value: count for state, count in counts.items() if count}
    if left or ended != {State.DELIVERED.value: case.total}:
        raise BenchError(f"{case.name}: the ledger has {ended}, {left} left, of {case.total} recipients")


def _check_target(case: Case, server: Target) -> None:
    # each message in as few transactions as its recipients need, and none of them twice
    due = case.messages * -(-case.recipients // _PER_TRANSACTION)
    if server.transactions not in (None, due) or server.delivered not in (None, case.total):
        raise BenchError(
            f"{case.name}: the target counted {server.transactions} transactions, {due} were due; "
            f"{server.delivered} deliveries, {case.total} were due"
        )


def _entries(log: bytes, event: bytes) -> list[dict[str, Any]]:
    return [
        entry
        for line in log.splitlines()
        if event in line and line.startswith(b"{")
        for entry in (msgspec.json.decode(line),)
        if entry.get("event") == event.decode()
    ]


def _span(log: bytes) -> float:
    """Return the seconds between the first worker's line "started" and the last one's "stopped"."""
    times: dict[str, list[datetime]] = {"started": [], "stopped": []}
    for entry in _entries(log, b"worker"):
        if entry["state"] in times:
            times[entry["state"]].append(datetime.fromisoformat(entry["timestamp"]))
    if not all(times.values()):
        raise BenchError(f"the log does not tell when the worker ran: {log[-500:].decode(errors='replace')}")
    return (max(times["stopped"]) - min(times["started"])).total_seconds()


def _modes(log: bytes) -> dict[str, int]:
    return dict(Counter(str(entry.get("mode")) for entry in _entries(log, b"transaction")))


def _window(log: bytes) -> str | None:
    """Return how many sessions it had at the end, how deep (where that mattered), and why, in words."""
    entries = _entries(log, b"sessions")
    if not entries:
        return None
    last = entries[-1]
    deep = f", {last['depth']} deep" if Mode.CHUNKED.word in _modes(log) else ""
    return f"{last['sessions']} sessions{deep} ({last['why']})"


def _postfix(case: Case, entrant: Entrant, spools: Spools) -> Run:
    with (
        _target(case) as server,
        postfix(target=server.port, connections=entrant.connections) as queue,
    ):
        # where mailboxes are real they take turns; a sink's are not, and filling is quicker with one
        to = server.mailboxes if _real(case) else server.mailboxes[:1]
        queue.fill(messages=case.messages, recipients=case.recipients, size=case.size, to=to)
        spools.flush()
        seconds = queue.drain()
        sent = queue.sent()
    if sent != case.total:
        raise BenchError(f"{case.name}: Postfix's log has {sent} recipients sent, of {case.total}")
    _check_target(case, server)
    return Run(messages=case.messages, recipients=case.total, seconds=seconds)


def _target(case: Case, *, record: bool = False) -> AbstractContextManager[Target]:
    return target(case.target, mailboxes=case.mailboxes, round_trip=case.round_trip, record=record)


def _real(case: Case) -> bool:
    return case.target not in ("smtp-sink", "sink")


def _wire(case: Case, entrant: Entrant, spools: Spools) -> Run:
    program = find("smtp-source")
    assert program, "nothing hinders it"
    with _target(case) as server:
        spools.flush()
        argv = [program, "-L", "-d", "-s", str(entrant.connections), "-m", str(case.messages)]
        argv += ["-r", str(case.recipients), "-l", str(case.size), "-M", "origin.test"]
        argv += ["-f", "bench@origin.test", "-t", server.mailboxes[0], f"127.0.0.1:{server.port}"]
        start = time.perf_counter()
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - start
    if done.returncode:
        raise BenchError(f"{case.name}: smtp-source ended with {done.returncode}: {done.stderr}")
    _check_target(case, server)
    return Run(messages=case.messages, recipients=case.total, seconds=seconds)


def _smtplib(case: Case, entrant: Entrant, spools: Spools) -> Run:  # noqa: ARG001 - as all
    with _target(case) as server:
        letters = [
            ([recipient.address for recipient in message.recipients], message.content.data)
            for message in sample(
                messages=case.messages, recipients=case.recipients, size=case.size, to=server.mailboxes
            )
        ]
        spools.flush()
        start = time.perf_counter()
        with smtplib.LMTP("127.0.0.1", server.port) as client:
            for recipients, data in letters:
                if client.sendmail("bench@origin.test", recipients, data):
                    raise BenchError(f"{case.name}: smtplib delivered not to all")
        seconds = time.perf_counter() - start
    _check_target(case, server)
    return Run(messages=case.messages, recipients=case.total, seconds=seconds)


_RUNNERS: dict[Kind, Callable[[Case, Entrant, Spools], Run]] = {
    Kind.SPOOLER: _spooler,
    Kind.POSTFIX: _postfix,
    Kind.WIRE: _wire,
    Kind.SMTPLIB: _smtplib,
}
