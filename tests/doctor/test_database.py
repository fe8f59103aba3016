"""What databases say of themselves, judged; and asked of real ones, which are left as they were."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from spooler.doctor.database import check_clock, check_database, check_workers
from spooler.doctor.finding import Finding, Level
from spooler.errors import ConfigError, NoInputError, SpoolerError, UnavailableError
from spooler.ident import EPOCH, IdMaker, now_us
from spooler.records import WorkerRow
from spooler.spool import sqlite_race
from spooler.spool.examination import PostgresFacts, Spool, SqliteFacts, examine
from spooler.spool.migrate import create_or_upgrade
from spooler.spool.revision import REVISION
from spooler.spool.store import Store
from tests.servers.postgres import postgres
from tests.spool.making import act, put, worker

if TYPE_CHECKING:
    from tests.servers.postgres import Postgres

HEALTHY = PostgresFacts(
    version="16.1",
    version_number=160001,
    standby=False,
    read_only=False,
    fsync=True,
    full_page_writes=True,
    synchronous_commit="on",
    max_connections=100,
    reserved=3,
    others=10,
    clock=now_us(),
    may_write=True,
    data=None,
    spool=Spool(revision=REVISION, uuid="u"),
)
NOW = now_us()


def judged(facts: PostgresFacts | SqliteFacts, *, processes: int = 4) -> list[Finding]:
    """Judge; what is well is left out."""
    url = "postgresql:///x" if isinstance(facts, PostgresFacts) else "sqlite:///x"
    found = check_database(facts, where="here", url=url, processes=processes)
    return [finding for finding in found if finding.level is not Level.OK]


def test_healthy_server() -> None:
    """Nothing is found where there is nothing."""
    assert judged(HEALTHY) == []


@pytest.mark.parametrize(
    ("change", "level", "what", "code"),
    [
        ({"standby": True}, Level.PROBLEM, "standby", 78),
        ({"read_only": True}, Level.PROBLEM, "read-only", 78),
        ({"may_write": False}, Level.PROBLEM, "may not write", 77),
        ({"fsync": False}, Level.WARNING, "fsync is off", 0),
        ({"full_page_writes": False}, Level.WARNING, "full_page_writes is off", 0),
        ({"synchronous_commit": "off"}, Level.WARNING, "synchronous_commit is off", 0),
        ({"version_number": 120022, "version": "12.22"}, Level.WARNING, "no longer looked after", 0),
        ({"others": 80}, Level.WARNING, "want 20 connections, and 17 of max_connections = 100", 0),
        ({"spool": Spool(revision=None)}, Level.PROBLEM, "no spool in it", 66),
        ({"spool": Spool(revision="9999")}, Level.PROBLEM, "newer than this program", 78),
        ({"spool": Spool(revision="0000")}, Level.PROBLEM, "older than this program", 78),
    ],
)
def test_what_may_be_wrong_with_a_server(change: dict[str, Any], level: Level, what: str, code: int) -> None:
    """Each is one finding with a mend."""
    (found,) = judged(msgspec.structs.replace(HEALTHY, **change))
    assert (found.level, found.exit_code) == (level, code)
    assert what in found.what
    assert found.mend


@pytest.mark.parametrize(
    ("version", "has_it"),
    [
        ((3, 40, 1), True),
        ((3, 44, 5), True),
        ((3, 44, 6), False),
        ((3, 45, 0), True),
        ((3, 50, 6), True),
        ((3, 50, 7), False),
        ((3, 51, 2), True),
        ((3, 51, 3), False),
        ((3, 52, 0), False),
        ((4, 0, 0), False),
    ],
)
def test_versions_with_the_race(version: tuple[int, int, int], has_it: bool) -> None:
    """Mended in 3.51.3, 3.50.7 and 3.44.6, and in nothing else before."""
    assert sqlite_race.has_race(version) is has_it


@pytest.mark.parametrize(("version", "told"), [((3, 40, 1), True), ((3, 51, 3), False)])
def test_the_race_is_told_where_it_matters(
    monkeypatch: pytest.MonkeyPatch, version: tuple[int, int, int], told: bool
) -> None:
    """It is told of SQLite with the race, with what guards against it, and never on Postgres."""
    monkeypatch.setattr(sqlite_race.has_race, "__defaults__", (version,))
    facts = SqliteFacts(path=Path("x"), version="3", spool=HEALTHY.spool, journal_mode="wal")
    found = judged(facts)
    assert bool(found) is told
    assert all("lock file keeps its own processes" in finding.what for finding in found)
    assert sqlite_race.warning("postgresql:///x") is None


def test_journal_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that somebody took out of WAL mode is told."""
    monkeypatch.setattr(sqlite_race.has_race, "__defaults__", ((3, 51, 3),))
    (found,) = judged(SqliteFacts(path=Path("x"), version="3", spool=HEALTHY.spool, journal_mode="delete"))
    assert "journal mode is delete" in found.what


def row(**change: Any) -> WorkerRow:  # noqa: ANN401
    """A worker that has just beaten."""
    values: dict[str, Any] = {
        "id": 7,
        "host": "alpha boot ns",
        "pid": 42,
        "started": NOW,
        "beat": 1,
        "beat_at": NOW,
    }
    return WorkerRow(**(values | change))


def test_workers() -> None:
    """Workers that beat are counted; those that do not are named, with what to do."""
    spool = msgspec.structs.replace(HEALTHY.spool, workers=[row(), row(id=8, beat_at=NOW - 100_000_000)])
    alive, dead = check_workers(spool, where="here", now=NOW)
    assert alive.what == "1 at work"
    assert (dead.level, dead.what) == (Level.WARNING, "process 42 on alpha gave no sign for 100 s")
    assert list(check_workers(Spool(revision=None), where="here", now=NOW)) == []


@pytest.mark.parametrize(
    ("other", "at_work", "mend"),
    [
        ([], "none is at work", "start a worker: on that host it takes over what this held at once"),
        (
            [row(id=8, host="beta boot ns")],
            "1 at work",
            "start a worker: on that host it takes over what this held at once",
        ),
        ([row(id=8)], "1 at work", "wait: another on that host takes over what this held, within 5 s"),
    ],
    ids=["alone", "another elsewhere", "another beside it"],
)
def test_a_dead_worker_is_not_at_work(other: list[WorkerRow], at_work: str, mend: str) -> None:
    """However fresh its last beat: it is told as dead, with who takes over what it held, and by when."""
    spool = msgspec.structs.replace(HEALTHY.spool, workers=[row(beat_at=NOW - 3_000_000), *other])
    count, dead = check_workers(spool, where="here", now=NOW, dead={7})
    assert count.what == at_work
    assert (dead.level, dead.what) == (
        Level.WARNING,
        "process 42 on alpha is dead; it gave its last sign 3 s ago",
    )
    assert dead.mend.startswith(mend)


@pytest.mark.parametrize(
    ("spool", "clock", "now", "level", "what"),
    [
        ({}, 0, NOW, Level.OK, "agrees"),
        ({"newest": IdMaker().make(NOW + 3_600_000_000)}, 0, NOW, Level.WARNING, "3600 s in the future"),
        ({"workers": [row(beat_at=NOW + 60_000_000)]}, 0, NOW, Level.WARNING, "60 s in the future"),
        ({}, 30_000_000, NOW, Level.WARNING, "differs by 30 s"),
        ({}, 0, EPOCH - 1, Level.PROBLEM, "years behind"),
    ],
    ids=[
        "right",
        "behind the newest mail",
        "behind a heartbeat",
        "unlike the database's",
        "years behind",
    ],
)
def test_clock(spool: dict[str, Any], clock: int, now: int, level: Level, what: str) -> None:
    """The newest message, the workers and the database's own clock tell what time it is at least."""
    facts = msgspec.structs.replace(
        HEALTHY, clock=now + clock, spool=msgspec.structs.replace(HEALTHY.spool, **spool)
    )
    (found,) = check_clock(facts, now=now)
    assert found.level is level
    assert what in found.what


def test_a_real_spool(spool_url: str) -> None:
    """What a database says is read right, on both."""
    with Store.open(spool_url) as store:
        (ident,) = put(store, now=NOW)
        me = worker(store, now=NOW)
        spool = examine(spool_url).spool
        assert (spool.revision, spool.uuid, spool.newest) == (REVISION, store.uuid, ident)
        assert [row.id for row in spool.workers] == [me]


def test_a_real_server(postgres_url: str) -> None:
    """The tests' server says what it was started with."""
    facts = examine(postgres_url)
    assert isinstance(facts, PostgresFacts)
    assert (facts.standby, facts.read_only, facts.fsync, facts.may_write) == (False, False, False, True)
    assert facts.max_connections == 60
    assert facts.data is not None
    assert abs(facts.clock - now_us()) < 5_000_000
    assert [finding.what.partition(":")[0] for finding in judged(facts)] == [
        "fsync is off",
        "full_page_writes is off",
    ]


def test_another_users_tables(postgres_url: str, postgres_server: Postgres) -> None:
    """A user who may only read is found out before a worker is."""
    name = "reader"
    with Store.open(postgres_url) as store:
        act(store, f"CREATE ROLE {name} LOGIN")
        act(store, f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}")
    try:
        facts = examine(postgres_url.replace("spooler@", f"{name}@"))
        assert isinstance(facts, PostgresFacts)
        assert not facts.may_write
        assert facts.data is None
    finally:
        with Store.open(postgres_url) as store:
            act(store, f"DROP OWNED BY {name}")
            act(store, f"DROP ROLE {name}")


def files_of(path: Path) -> dict[str, tuple[int, int]]:
    """Everything beside a file, with sizes and times."""
    return {one.name: (one.stat().st_size, one.stat().st_mtime_ns) for one in path.parent.iterdir()}


def test_looking_at_a_file_changes_nothing(sqlite_url: str) -> None:
    """No file is made beside it, closed or open, and none is written to."""
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    before = files_of(path)
    facts = examine(sqlite_url)
    assert isinstance(facts, SqliteFacts)
    assert facts.journal_mode == "wal"
    assert files_of(path) == before
    with Store.open(sqlite_url) as store:
        put(store, now=NOW)
        before = files_of(path)
        assert examine(sqlite_url).spool.newest is not None
        assert files_of(path) == before


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda path: None, NoInputError),
        (lambda path: path.write_bytes(b"no database at all" * 100), ConfigError),
        (lambda path: sqlite3.connect(path).execute("CREATE TABLE a (b)").connection.close(), ConfigError),
    ],
)
def test_files_that_are_no_spool(tmp_path: Path, make: Any, kind: type[SpoolerError]) -> None:  # noqa: ANN401
    """They are told apart as every command tells them apart."""
    path = tmp_path / "x.db"
    make(path)
    with pytest.raises(kind):
        examine(f"sqlite:///{path}")


def test_empty_file(tmp_path: Path) -> None:
    """An empty file has no spool in it."""
    (tmp_path / "x.db").touch()
    assert examine(f"sqlite:///{tmp_path}/x.db").spool == Spool(revision=None)


def test_dead_server() -> None:
    """A server that does not answer is an error as for every command."""
    with pytest.raises(UnavailableError):
        examine("postgresql://u@127.0.0.1:1/spool")


def test_a_real_standby() -> None:
    """A spool on a standby can be looked at, and is refused."""
    with postgres() as server:
        url = server.new_database()
        create_or_upgrade(url)
        server.become_standby()
        facts = examine(url)
        assert isinstance(facts, PostgresFacts)
        assert facts.standby
        (problem,) = (finding for finding in judged(facts) if finding.level is Level.PROBLEM)
        assert problem.exit_code == 78
        assert "standby" in problem.what
