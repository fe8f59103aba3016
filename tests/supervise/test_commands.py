"""`worker` and `drain` in several processes on Postgres, as they are run: signals, deaths, results."""

from __future__ import annotations

import os
import signal
import subprocess
from collections import Counter
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio

from spooler import supervise
from spooler.events import Event, ProcessEnded
from spooler.records import QueueFilter, State
from spooler.spool.store import Store
from spooler.supervise import Keeper
from tests.servers.own_sink import own_sink
from tests.servers.process import SPOOLER
from tests.supervise.command import children_of, is_there, put, running

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.own_sink import OwnSink


def test_a_drain_of_two_delivers_each_once(postgres_url: str, tmp_path: Path) -> None:
    """Two processes share the recipients: each is delivered once, one summary counts all; what is refused for
    now is left, and the exit code says so."""
    addresses = put(postgres_url, 3000)
    with own_sink("--defer", "user7@*", record=True) as sink:
        where = ("drain", "--spool", postgres_url, "--target", sink.tcp, "--processes", "2")
        with running(tmp_path / "log", *where) as drain:
            assert drain.ends() == 75
        took = Counter(reply.recipient for reply in sink.final_replies() if reply.code == 250)
    assert took == Counter(set(addresses) - {"user7@example.org"})
    workers = {line["worker"] for line in drain.lines("worker", state="started")}
    assert len(workers) == 2
    summary, times, reason = drain.spoken()
    assert summary.startswith("2999 delivered, 1 deferred in ")
    assert " recipients/s; 1 left: deferred, " in summary
    assert times.startswith("half within: from enqueued to delivered ")
    assert reason.startswith("1 deferred: 451 4.3.0 try later (inet:127.0.0.1:")
    with Store.open(postgres_url) as store:
        assert store.workers() == []


async def test_a_worker_gives_signs_of_life(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """While its event loop turns, and no longer: one that stands still is killed, and another takes over."""
    monkeypatch.setattr(supervise, "SILENT", 2)
    events: list[Event] = []
    ended = trio.Event()

    def observe(event: Event) -> None:
        events.append(event)
        ended.set()

    argv = [*SPOOLER, "worker", "--spool", postgres_url, "--target", "inet:127.0.0.1:9", "--http", "off"]
    keeper = Keeper(argv, count=1, env=os.environ, endless=True, observe=observe)
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keeper.run)
            await trio.sleep(3 * supervise.LIVE_EVERY)
            assert events == []
            (pid,) = keeper.pids
            os.kill(pid, signal.SIGSTOP)
            await ended.wait()
            keeper.stop()
    (event,) = events
    assert isinstance(event, ProcessEnded)
    assert event.pid == pid
    assert event.why.startswith("it gave no sign of life")


def test_a_drain_that_cannot_begin_says_so_once(postgres_url: str, tmp_path: Path) -> None:
    """What keeps every process from working is one line, and the exit code that one process would have."""
    url = postgres_url.replace("@/spool_", "@/nothing_")
    with running(
        tmp_path / "log", "drain", "--spool", url, "--target", "inet:127.0.0.1:9", "--processes", "3"
    ) as drain:
        assert drain.ends() == os.EX_CONFIG
    (line,) = drain.spoken()
    assert "does not exist" in line


def test_a_worker_of_two_outlives_its_processes(postgres_url: str, tmp_path: Path) -> None:
    """A killed process is replaced and the work goes on; SIGTERM to all, as a service manager sends it, is
    one request: everything ends in order, and nothing of the living is left leased."""
    with own_sink(record=True) as sink:
        where = ("worker", "--spool", postgres_url, "--target", sink.tcp, "--processes", "2")
        with running(tmp_path / "log", *where) as worker:
            worker.until(lambda: len(worker.lines("worker", state="started")) == 2)
            victim, _ = worker.children()
            os.kill(victim, signal.SIGKILL)
            worker.until(lambda: len(worker.lines("worker", state="started")) == 3)
            (ended,) = worker.lines("process ended")
            assert (ended["pid"], ended["why"]) == (victim, "it was ended by SIGKILL")
            addresses = put(postgres_url, 200)
            worker.until(lambda: len(worker.lines("transaction")) == 200)
            for pid in (worker.process.pid, *worker.children()):
                with suppress(ProcessLookupError):  # the first one passes it on
                    os.kill(pid, signal.SIGTERM)
            assert worker.ends() == 0
        took = Counter(reply.recipient for reply in sink.final_replies())
    assert took == Counter(addresses)
    assert len(worker.lines("worker", state="stopped", detail="")) == 2
    with Store.open(postgres_url) as store:
        assert {row.pid for row in store.workers()} <= {victim}, "until somebody takes over what it held"


def test_the_second_signal_ends_at_once(postgres_url: str, tmp_path: Path) -> None:
    """After the first, transactions may end; the second, to the keeper alone, cuts them off, as uncertain."""
    messages = 1
    put(postgres_url, messages)
    with own_sink("--delay", "final=300", record=True) as sink:
        where = ("worker", "--spool", postgres_url, "--target", sink.tcp, "--processes", "2")
        with running(tmp_path / "log", *where) as worker:
            with Store.open(postgres_url) as store:
                worker.until(lambda: _active(store) == 1)
                worker.until(lambda: len(worker.lines("worker", state="started")) == 2)
                while len(_holders(store)) < 2:  # who takes one is who is quicker
                    assert messages < 50
                    put(postgres_url, 1, start=messages)
                    messages += 1
                    worker.until(partial(_active_is, store, messages))
                holders = _holders(store)
                worker.until(lambda: _unanswered(store, sink) == holders)
            worker.process.send_signal(signal.SIGINT)
            worker.until(lambda: len(worker.lines("worker", state="stopping")) == 2)
            with pytest.raises(subprocess.TimeoutExpired):
                worker.process.wait(0.5)
            worker.process.send_signal(signal.SIGINT)
            assert worker.ends() == 0
    # what waited behind another's answer was given back
    assert len(holders) == 2 <= len(worker.lines("uncertain")) <= messages
    with Store.open(postgres_url) as store:
        assert (_active(store), _holders(store)) == (0, set())


def _unanswered(store: Store, sink: OwnSink) -> set[int | None]:
    """The workers whose end-of-data stands in the record: it is written before the answer is put off."""
    rows = store.queue(filter=QueueFilter(), limit=100)
    return {row.lease for row in rows if row.state is State.ACTIVE and row.address in sink.copies()}


def _holders(store: Store) -> set[int | None]:
    return {row.lease for row in store.queue(filter=QueueFilter(), limit=100) if row.state is State.ACTIVE}


def _active_is(store: Store, count: int) -> bool:
    return _active(store) == count


def _active(store: Store) -> int:
    return sum(row.count for row in store.stats() if row.state is State.ACTIVE)


def test_processes_without_a_keeper_end(postgres_url: str, tmp_path: Path) -> None:
    """The keeper is killed: its processes end in order by themselves, and their spool processes with them."""
    with own_sink() as sink:
        where = ("worker", "--spool", postgres_url, "--target", sink.tcp, "--processes", "2")
        with running(tmp_path / "log", *where) as worker:
            worker.until(lambda: len(worker.lines("worker", state="started")) == 2)
            orphans = worker.children()
            family = orphans + [pid for orphan in orphans for pid in children_of(orphan)]
            assert len(family) == 4
            worker.process.kill()
            worker.process.wait()
            worker.until(lambda: not any(map(is_there, family)))
    assert len(worker.lines("worker", state="orphaned")) == 2
    assert len(worker.lines("worker", state="stopped", detail="")) == 2
    with Store.open(postgres_url) as store:
        assert store.workers() == []


def test_sqlite_stays_at_one(sqlite_url: str, tmp_path: Path) -> None:
    """On SQLite more processes are refused in one line, and the work is done all the same."""
    put(sqlite_url, 3)
    with own_sink() as sink:
        where = ("drain", "--spool", sqlite_url, "--target", sink.tcp, "--processes", "4")
        with running(tmp_path / "log", *where) as drain:
            assert drain.ends() == 0
    refusal, summary, times = drain.spoken()
    assert refusal == "spooler: SQLite has one writer at a time: one process does the work"
    assert summary.startswith("3 delivered in ")
    assert times.startswith("half within: ")
    assert len(drain.lines("worker", state="started")) == 1
