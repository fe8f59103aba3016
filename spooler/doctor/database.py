"""Judging what a database says of itself and of its spool; pure."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from spooler.doctor.finding import About
from spooler.ident import time_of
from spooler.policy import beats
from spooler.spool.examination import PostgresFacts
from spooler.spool.sqlite_race import warning

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from spooler.doctor.finding import Finding
    from spooler.records import WorkerRow
    from spooler.spool.examination import Facts, Spool, SqliteFacts

ABOUT = "database"
CONNECTIONS = 5  # of one process, at most: three threads, its listener, and one with which that is proved
OLDEST_POSTGRES = 130000  # the oldest that is looked after by its makers at the time of this release
SILENT = 60_000_000  # µs after the last beat from which on a worker is taken for dead
AHEAD = 5_000_000  # µs by which a clock may differ
BIRTH = 1_735_689_600_000_000  # µs: 2025-01-01, before which there was no spooler


def check_database(facts: Facts, *, where: str, url: str, processes: int) -> list[Finding]:
    """Judge the database and its schema; `processes` that a command on this host would start."""
    about = About(ABOUT, where)
    judged = (
        _postgres(facts, about, processes) if isinstance(facts, PostgresFacts) else _sqlite(facts, about, url)
    )
    return [*judged, _schema(facts.spool, about)]


def check_workers(spool: Spool, *, where: str, now: int, dead: Collection[int] = ()) -> Iterator[Finding]:
    """Judge the workers that are registered, by their last beats; those in `dead` were seen to be no more."""
    about = About("workers", where)
    if spool.revision != spool.needed:
        return
    alive = [row for row in spool.workers if row.id not in dead and now - row.beat_at <= SILENT]
    yield about.ok(f"{len(alive)} at work" if alive else "none is at work")
    hosts = {_host(row) for row in alive}
    for row in spool.workers:
        if row in alive:
            continue
        silent = (now - row.beat_at) // 1_000_000
        what, when = f"gave no sign for {silent} s", ""
        if row.id in dead:
            what, when = f"is dead; it gave its last sign {silent} s ago", " at once"
        mend = f"start a worker: on that host it takes over what this held{when}, elsewhere after six minutes"
        if row.id in dead and _host(row) in hosts:
            mend = f"wait: another on that host takes over what this held, within {beats.PERIOD:g} s"
        yield about.warning(f"process {row.pid} on {_host(row)} {what}", mend)


def check_clock(facts: Facts, *, now: int) -> Iterator[Finding]:
    """Judge this host's clock by what else tells the time; all in µs UTC."""
    about = About("clock", "this host")
    told = [time_of(facts.spool.newest)] if facts.spool.newest else []
    told += [row.beat_at for row in facts.spool.workers]
    if now < BIRTH:
        yield about.problem("the clock is years behind", "set it: mail is due, and expires, by it")
    elif told and max(told) - now > AHEAD:
        yield about.warning(
            f"the spool holds what was written {(max(told) - now) // 1_000_000} s in the future",
            "let all hosts that use the spool keep time (NTP)",
        )
    elif isinstance(facts, PostgresFacts) and abs(facts.clock - now) > AHEAD:
        yield about.warning(
            f"the database's clock differs by {abs(facts.clock - now) / 1e6:.0f} s",
            "let all hosts that use the spool keep time (NTP)",
        )
    else:
        yield about.ok("it agrees with what the spool says")


def _sqlite(facts: SqliteFacts, about: About, url: str) -> Iterator[Finding]:
    race = warning(url)
    yield about.warning(*race) if race else about.ok(f"SQLite {facts.version}")
    if facts.journal_mode != "wal":
        yield about.warning(
            f"its journal mode is {facts.journal_mode}: readers and the writer wait for each other",
            "run, while no worker does: sqlite3 FILE 'PRAGMA journal_mode = WAL'",
        )


def _postgres(facts: PostgresFacts, about: About, processes: int) -> Iterator[Finding]:
    if facts.version_number < OLDEST_POSTGRES:
        yield about.warning(f"PostgreSQL {facts.version} is no longer looked after", "upgrade it")
    else:
        yield about.ok(f"PostgreSQL {facts.version}")
    if facts.standby:
        yield about.problem(
            "it is a standby: a spool cannot be written there, nor be read without mistakes",
            "name the primary in the URL",
        )
    elif facts.read_only:
        yield about.problem(
            "its transactions are read-only (default_transaction_read_only)", "set it off for this database"
        )
    elif not facts.may_write:
        yield about.problem(
            "this user may not write to the spool's tables",
            "grant the user all rights on them, or name their owner in the URL",
            os.EX_NOPERM,
        )
    for on, name in ((facts.fsync, "fsync"), (facts.full_page_writes, "full_page_writes")):
        if not on:
            yield about.warning(
                f"{name} is off: a power cut can lose mail that was accepted, or the whole database",
                f"write {name} = on into postgresql.conf",
            )
    if facts.synchronous_commit == "off":
        yield about.warning(
            "synchronous_commit is off: a crash of the server loses mail that was accepted just before",
            "set synchronous_commit = on, for this database at least",
        )
    free = facts.max_connections - facts.reserved - facts.others
    if free < processes * CONNECTIONS:
        yield about.warning(
            f"{processes} processes may want {processes * CONNECTIONS} connections, and {max(0, free)} of "
            f"max_connections = {facts.max_connections} are left for them",
            "raise max_connections, or give fewer --processes",
        )


def _schema(spool: Spool, about: About) -> Finding:
    if spool.revision is None:
        return about.problem("there is no spool in it", "make one with: spooler init", os.EX_NOINPUT)
    if spool.revision > spool.needed:
        return about.problem(
            f"its schema {spool.revision} is newer than this program, which knows {spool.needed} at most",
            "upgrade spooler, or use another spool",
        )
    if spool.revision < spool.needed:
        return about.problem(
            f"its schema {spool.revision} is older than this program, which needs {spool.needed}",
            "stop all workers and run: spooler init",
        )
    return about.ok(f"its schema {spool.revision} is this program's")


def _host(row: WorkerRow) -> str:
    return row.host.partition(" ")[0]  # behind it are its boot and its PID namespace
