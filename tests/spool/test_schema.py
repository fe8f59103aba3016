"""Migrations and the metadata say the same, and what is no spool of this version is told apart."""

from __future__ import annotations

import re
import sqlite3
import stat
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from alembic import command

from spooler.errors import CannotCreateError, ConfigError, NoInputError, SpoolerError, UsageError
from spooler.spool import migrate
from spooler.spool.place import parse_place
from spooler.spool.revision import REVISION
from spooler.spool.schema import metadata
from spooler.spool.store import Store
from tests.spool.making import act, put

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.postgres import Postgres


def engine(url: str) -> sa.Engine:
    """An engine of SQLAlchemy's own making."""
    return sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"), poolclass=sa.NullPool)


_CATALOGUES = {
    "sqlite": (
        "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE type <> 'table'",
        """SELECT t.name, t.wr, t.strict, c.* FROM pragma_table_list t JOIN pragma_table_xinfo(t.name) c
        WHERE t.type = 'table' AND t.name <> 'alembic_version'""",
    ),
    "postgresql": (
        """SELECT table_name, ordinal_position, column_name, data_type, is_nullable, column_default
        FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> 'alembic_version'""",
        "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
        """SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace""",
        """SELECT relname, relkind, reloptions, pg_get_partkeydef(oid), pg_get_expr(relpartbound, oid)
        FROM pg_class WHERE relnamespace = 'public'::regnamespace""",
        """SELECT attrelid::regclass::text, attname, attstorage FROM pg_attribute
        WHERE attrelid = 'content_chunk'::regclass""",
    ),
}


def catalogue(url: str) -> set[tuple[Any, ...]]:
    """Everything that the database knows of its schema, Alembic's own table apart."""
    one = engine(url)
    with one.connect() as conn:
        return {
            tuple(re.sub(r"[\s\"]+|!=|<>", " ", str(value)) for value in row)
            for query in _CATALOGUES[one.dialect.name]
            for row in conn.execute(sa.text(query))
            if "alembic" not in str(row)
        }


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_migrated_equals_metadata(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """What the migrations make is what the tables in the program say, to the last index."""
    if kind == "sqlite":
        made, migrated = (f"sqlite:///{tmp_path}/{name}.db" for name in ("made", "migrated"))
    else:
        server: Postgres = request.getfixturevalue("postgres_server")
        made, migrated = server.new_database(), server.new_database()
    one = engine(made)
    with one.begin() as conn:
        metadata.create_all(conn)
    migrate.create_or_upgrade(migrated)

    assert catalogue(migrated) == catalogue(made)


def test_revision_is_the_head() -> None:
    """The revision that the program demands is the newest migration."""
    assert migrate.head() == REVISION


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_upgrade(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """A spool of each older schema is refused until `init` has upgraded it, which keeps what is in it."""
    for older in ("0001",):
        if kind == "sqlite":
            url = f"sqlite:///{tmp_path}/{older}.db"
        else:
            url = request.getfixturevalue("postgres_server").new_database()
        made_by(older, url)
        with engine(url).begin() as conn:
            conn.execute(sa.text("INSERT INTO spool VALUES ('its uuid', 1)"))
            conn.execute(sa.text("INSERT INTO worker VALUES (7, 'host', 1, 2, 3, 4, NULL)"))
        assert f"has the older schema {older}" in refused(url).what

        assert migrate.create_or_upgrade(url).endswith(f"upgraded from {older} to {REVISION}")

        with Store.open(url) as store:
            assert store.uuid == "its uuid"
            assert [row.id for row in store.workers()] == [7]
            assert store.standings() == {}
            put(store)


def made_by(revision: str, url: str) -> None:
    """Make the tables as an older version of the program did."""
    config = migrate._config()
    with engine(url).begin() as conn:
        config.attributes["connection"] = conn
        command.upgrade(config, revision)


def test_create_and_again(tmp_path: Path) -> None:
    """Making a spool twice does nothing the second time, and keeps what is there."""
    url = f"sqlite:///{tmp_path}/new.db"

    assert migrate.create_or_upgrade(url).endswith("made a spool")
    with Store.open(url) as store:
        put(store)
        uuid = store.uuid
    assert migrate.create_or_upgrade(url).endswith("nothing to do")

    with Store.open(url) as store:
        assert store.uuid == uuid
        assert store.left() == 1


def test_private(tmp_path: Path) -> None:
    """All files of a spool are for their owner only."""
    url = f"sqlite:///{tmp_path}/new.db"
    migrate.create_or_upgrade(url)
    with Store.open(url) as store:
        put(store)
        names = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}

    assert names == dict.fromkeys(("new.db", "new.db-wal", "new.db-shm", "new.db.lock"), 0o600)


def test_closing_leaves_no_log(tmp_path: Path) -> None:
    """The last to close brings everything into the one file."""
    url = f"sqlite:///{tmp_path}/new.db"
    migrate.create_or_upgrade(url)
    with Store.open(url) as store:
        put(store)

    assert {path.name for path in tmp_path.iterdir()} == {"new.db", "new.db.lock"}


def test_two_spools_differ(tmp_path: Path) -> None:
    """Every spool has its own identity."""
    uuids = set()
    for name in "ab":
        migrate.create_or_upgrade(f"sqlite:///{tmp_path}/{name}.db")
        with Store.open(f"sqlite:///{tmp_path}/{name}.db") as store:
            uuids.add(store.uuid)

    assert len(uuids) == 2


def refused(url: str) -> SpoolerError:
    """The error that opening gives."""
    with pytest.raises(SpoolerError) as caught:
        Store.open(url)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("revision", "kind", "hint"),
    [
        ("9999", ConfigError, "upgrade spooler"),
        ("0000", ConfigError, "spooler init"),
        ("abc", ConfigError, ""),
    ],
)
def test_other_versions(spool_url: str, revision: str, kind: type[SpoolerError], hint: str) -> None:
    """A newer schema asks for a newer program, an older one for `spooler init`, any other is foreign."""
    with Store.open(spool_url) as store:
        act(store, "UPDATE alembic_version SET version_num = :revision", revision=revision)

    error = refused(spool_url)

    assert type(error) is kind
    assert hint in error.hint


def test_newer_is_not_touched(spool_url: str) -> None:
    """`init` leaves a newer spool alone."""
    with Store.open(spool_url) as store:
        act(store, "UPDATE alembic_version SET version_num = '9999'")

    with pytest.raises(ConfigError, match="has schema 9999"):
        migrate.create_or_upgrade(spool_url)


def test_missing(tmp_path: Path) -> None:
    """A spool that is not there is an error that names the command that makes one."""
    error = refused(f"sqlite:///{tmp_path}/none.db")

    assert isinstance(error, NoInputError)
    assert f"spooler init --spool sqlite:///{tmp_path}/none.db" in error.hint
    assert list(tmp_path.iterdir()) == []


def test_empty_file(tmp_path: Path) -> None:
    """An empty file is a database without a spool; `init` makes one in it."""
    path = tmp_path / "empty.db"
    path.touch()
    assert isinstance(refused(f"sqlite:///{path}"), NoInputError)

    migrate.create_or_upgrade(f"sqlite:///{path}")

    Store.open(f"sqlite:///{path}").close()


def test_empty_postgres(postgres_server: Postgres) -> None:
    """An empty database is no spool."""
    error = refused(postgres_server.new_database())

    assert isinstance(error, NoInputError)
    assert "spooler init" in error.hint


def test_no_database(tmp_path: Path) -> None:
    """A file of something else is refused, and stays as it is."""
    path = tmp_path / "letter.txt"
    path.write_text("Dear Sir or Madam, " * 100)

    error = refused(f"sqlite:///{path}")

    assert isinstance(error, ConfigError)
    assert "is not an SQLite database" in error.what
    with pytest.raises(ConfigError) as caught:
        migrate.create_or_upgrade(f"sqlite:///{path}")
    assert "init" not in caught.value.hint  # which mends it neither here nor there
    assert path.read_text() == "Dear Sir or Madam, " * 100
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("table", ["bookmarks", "message", "alembic_version"])
def test_foreign_sqlite(tmp_path: Path, table: str) -> None:
    """A database of something else is refused by everything, and stays as it is."""
    path = tmp_path / "foreign.db"
    with sqlite3.connect(path) as conn:
        conn.execute(f"CREATE TABLE {table} (version_num TEXT)")
    conn.close()
    before = path.read_bytes()

    assert "belongs to something else" in refused(f"sqlite:///{path}").what
    with pytest.raises(ConfigError, match="belongs to something else"):
        migrate.create_or_upgrade(f"sqlite:///{path}")
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_foreign_postgres(postgres_server: Postgres) -> None:
    """Tables of others may stand beside ours, but not under our names."""
    url = postgres_server.new_database()
    with engine(url).begin() as conn:
        conn.execute(sa.text("CREATE TABLE bookmarks (id int)"))
    migrate.create_or_upgrade(url)
    Store.open(url).close()

    url = postgres_server.new_database()
    with engine(url).begin() as conn:
        conn.execute(sa.text("CREATE TABLE message (id int)"))
    with pytest.raises(ConfigError, match="belongs to something else"):
        migrate.create_or_upgrade(url)


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("", "not understood"),
        ("spool.db", "not understood"),
        ("mysql://u:geheim@h/d", "unsupported scheme 'mysql'"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("sqlite://host/file", "names no file"),
        ("postgresql://u:geheim@h", "names no database"),
        ("postgresql://u:geheim@h:port/d", "not understood"),
    ],
)
def test_wrong_urls(url: str, what: str) -> None:
    """A wrong URL is told, with the forms that are right and without its password."""
    with pytest.raises(UsageError, match=what) as caught:
        Store.open(url)

    assert "sqlite:///relative.db" in caught.value.hint
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize("url", ["postgres://u:geheim@h/d", "postgresql+psycopg://u:geheim@h/d"])
def test_password_is_not_shown(url: str) -> None:
    """A place can be printed."""
    assert str(parse_place(url)) == "postgresql://u:***@h/d"


def test_password_among_the_options_is_not_shown() -> None:
    """It is masked there too."""
    shown = str(parse_place("postgresql://u@h/d?password=geheim&sslmode=require&sslpassword=geheim"))
    assert "geheim" not in shown
    assert "password=***" in shown
    assert "sslmode=require" in shown


@pytest.mark.parametrize("query", ["colour=red", "connect_timeout=soon"])
def test_unknown_options_of_a_server(query: str) -> None:
    """An option that the driver would choke on is a wrong URL."""
    with pytest.raises(UsageError, match=r"option 'colour'|connect_timeout"):
        parse_place(f"postgresql://u@h/d?{query}")


@pytest.mark.parametrize(
    ("query", "option"), [("mode=ro", "mode"), ("x.db", "x.db"), ("", ""), ("password=geheim", "password")]
)
def test_options_of_a_file(tmp_path: Path, query: str, option: str) -> None:
    """There are none: what is behind a ? is not dropped, as if it were no part of the name."""
    url = f"sqlite:///{tmp_path}/a?{query}"
    with pytest.raises(UsageError, match=f"unknown option '{option}'") as caught:
        migrate.create_or_upgrade(url)
    assert "%3F" in caught.value.hint
    assert "geheim" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_folder_in_the_way(tmp_path: Path) -> None:
    """A folder is no spool."""
    assert "is not a file" in refused(f"sqlite:///{tmp_path}").what


def test_cannot_be_created(tmp_path: Path) -> None:
    """Where no file can be made, that is said."""
    with pytest.raises(CannotCreateError, match="No such file or directory"):
        migrate.create_or_upgrade(f"sqlite:///{tmp_path}/none/spool.db")


def test_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path is of the folder that one is in when opening, and stays that."""
    monkeypatch.chdir(tmp_path)
    migrate.create_or_upgrade("sqlite:///here.db")
    with Store.open("sqlite:///here.db") as store:
        monkeypatch.chdir("/")
        put(store)

    assert (tmp_path / "here.db").exists()


def test_strange_path(tmp_path: Path) -> None:
    """A path may have any characters; those that mean something in URLs are escaped there, and when shown."""
    folder = tmp_path / "a b#c%20d?e"
    folder.mkdir()
    url = f"sqlite:///{tmp_path}/a b#c%2520d%3Fe/spöol.db"
    migrate.create_or_upgrade(url)

    assert (folder / "spöol.db").exists()
    assert str(parse_place(url)) == url
