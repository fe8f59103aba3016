"""The database is killed, stands still, is locked or cannot write while real workers deliver.

Nothing is lost, and what may be delivered twice is uncertain in the ledger.
"""

from __future__ import annotations

import fcntl
import json
import resource
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from spooler.spool.lockfile import PATIENCE as PATIENCE_OF_WRITERS
from spooler.spool.migrate import create_or_upgrade
from tests.crash.oracle import read_ledger
from tests.servers.fixtures import missing
from tests.servers.own_sink import OwnSink, own_sink
from tests.servers.postgres import Postgres, postgres
from tests.servers.process import ServerError, greets_on_port
from tests.supervise.command import Command, put, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.long

MESSAGES = 4000
GONE = 1.5  # seconds
STILL = 4.0  # seconds: longer than any statement takes, and than a drain that is ready to end
PATIENCE = 100.0


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """A server of these tests' own."""
    try:
        with postgres() as ours:
            yield ours
    except ServerError as error:
        missing("PostgreSQL", str(error))


def deliver_through(
    trouble: Callable[[Command, OwnSink], None], url: str, folder: Path, *, processes: int = 1
) -> str:
    """Deliver while `trouble` happens, and hold what became of all mail to an oracle; return the log."""
    addresses = put(url, MESSAGES)
    config = folder / "spooler.toml"
    with own_sink("--delay", "final=0.02", record=True) as sink:
        config.write_text(
            f"spool = {json.dumps(url)}\n[worker]\n"
            f"journal = {json.dumps(str(folder / 'journals'))}\n"
            f'[routes.default]\ndestinations = ["{sink.tcp}"]\nhold-off = 0.2\n'
            'retry = { first = "200ms", maximum = "1s" }\n'
        )
        where = ("drain", "--config", str(config), "--until-empty", "--processes", str(processes))
        with running(folder / "log", *where) as drain:
            drain.until(lambda: len(drain.lines("transaction")) > MESSAGES // 20)
            trouble(drain, sink)
            assert drain.process.wait(PATIENCE) == 0, drain.spoken()
        copies = Counter(reply.recipient for reply in sink.final_replies() if reply.code == 250)
    ledger = read_ledger(url)
    assert [address for address in addresses if not copies[address]] == []
    assert [a for a in addresses if copies[a] - 1 > ledger.uncertain[a]] == []
    assert ledger.delivered == Counter(addresses)
    assert (ledger.other.total(), ledger.queued) == (0, 0)
    return (folder / "log").read_text()


@pytest.fixture
def url(server: Postgres) -> str:
    """A spool on that server."""
    url = server.new_database()
    create_or_upgrade(url)
    return url


@pytest.mark.parametrize("processes", [1, 2])
def test_killed_and_started_again(server: Postgres, url: str, tmp_path: Path, processes: int) -> None:
    """Its connections break in mid-batch, some in a commit; it comes back, and the work goes on."""

    def trouble(drain: Command, sink: OwnSink) -> None:
        for _ in range(2):
            server.kill()
            time.sleep(GONE)
            server.start()
            time.sleep(0.5)

    log = deliver_through(trouble, url, tmp_path, processes=processes)
    assert '"event":"spool trouble"' in log


def test_stands_still(server: Postgres, url: str, tmp_path: Path) -> None:
    """Statements take longer than any should; when it goes on, so does the work, and nobody was robbed."""

    def trouble(drain: Command, sink: OwnSink) -> None:
        with server.stopped():
            time.sleep(STILL)

    log = deliver_through(trouble, url, tmp_path, processes=2)
    assert '"state":"rescued"' not in log
    assert '"state":"fenced"' not in log


def test_refused_for_a_while(server: Postgres, url: str, tmp_path: Path) -> None:
    """Every connection is cut again and again: each commit that was lost is settled once."""

    def trouble(drain: Command, sink: OwnSink) -> None:
        from psycopg import sql

        for _ in range(20):
            server.execute(
                sql.SQL(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE application_name = 'spooler'"
                )
            )
            time.sleep(0.1)

    deliver_through(trouble, url, tmp_path, processes=1)


def test_a_file_that_is_locked_for_long(sqlite_url: str, tmp_path: Path) -> None:
    """Longer than a writer waits: each refusal is told, and what was answered is settled afterwards."""

    def trouble(drain: Command, sink: OwnSink) -> None:
        with Path(sqlite_url.removeprefix("sqlite:///") + ".lock").open("r+b") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            time.sleep(PATIENCE_OF_WRITERS + 1)
            drain.until(lambda: bool(drain.lines("spool trouble")))

    log = deliver_through(trouble, sqlite_url, tmp_path)
    assert "locked by another process" in log


def forbid_writes(pid: int) -> tuple[int, int]:
    """Let every write of a process beyond a file's first page fail; return what was allowed before."""
    return resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))


def test_a_spool_that_cannot_be_written(sqlite_url: str, tmp_path: Path) -> None:
    """Its disk takes nothing for a while: each failure is told, what was answered is settled afterwards."""

    def trouble(drain: Command, sink: OwnSink) -> None:
        (spool,) = drain.children()
        before = forbid_writes(spool)
        time.sleep(GONE)
        drain.until(lambda: bool(drain.lines("spool trouble")))
        resource.prlimit(spool, resource.RLIMIT_FSIZE, before)

    assert "input/output error" in deliver_through(trouble, sqlite_url, tmp_path)


def rests(sink: OwnSink) -> bool:
    """Whether it gets no mail for a while, though it would take some."""
    before = len(sink.final_replies())
    time.sleep(2 * GONE)
    return greets_on_port(sink.port) and len(sink.final_replies()) == before


def test_a_journal_that_cannot_be_written(sqlite_url: str, tmp_path: Path) -> None:
    """Its disk takes nothing for a while: meanwhile no mail is handed over, for nobody could tell of it."""

    def trouble(drain: Command, sink: OwnSink) -> None:
        before = forbid_writes(drain.process.pid)
        drain.until(lambda: rests(sink))  # what was written down before goes out
        already = len(sink.final_replies())
        time.sleep(GONE)
        assert greets_on_port(sink.port)
        assert len(sink.final_replies()) == already < MESSAGES
        resource.prlimit(drain.process.pid, resource.RLIMIT_FSIZE, before)

    deliver_through(trouble, sqlite_url, tmp_path)
