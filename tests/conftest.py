"""Fixtures of the whole suite: a spool to work on, on each of the databases.

A folder of tests that needs only one of them overrides `spool_url`.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from spooler.spool.migrate import create_or_upgrade
from tests.certificates import Files, write_files
from tests.servers.fixtures import missing
from tests.servers.postgres import Postgres, postgres
from tests.servers.process import ServerError, folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_TEMPLATE = "spool_template"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Spread what takes long over the first half, so that none of it begins when the rest is nearly through
    and the other processes have nothing left to do."""
    long = [item for item in items if item.get_closest_marker("long")]
    others = [item for item in items if not item.get_closest_marker("long")]
    step = len(others) // (2 * len(long) or 1)
    for place, item in enumerate(long):
        others.insert(place * (step + 1), item)
    items[:] = others


@pytest.fixture(autouse=True)
def state_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Journals of workers on Postgres go to a folder of the test's own: spools here are copies of one, with
    its UUID, so a worker would take up what the dead of another test left."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))


@pytest.fixture(scope="session")
def certificates() -> Iterator[Files]:
    """Certificates of an authority of our own, as files."""
    with folder() as path:
        yield write_files(path)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """A PostgreSQL of our own for the session."""
    with postgres() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_template(postgres_server: Postgres) -> str:
    """Name of a database that holds an empty spool, to copy."""
    url = postgres_server.new_database(name=_TEMPLATE)
    create_or_upgrade(url)
    return _TEMPLATE


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that holds an empty spool, to copy."""
    path = tmp_path_factory.mktemp("template") / "spool.db"
    create_or_upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """An empty spool on SQLite."""
    path = tmp_path / "spool.db"
    shutil.copy(sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture
def postgres_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty spool on PostgreSQL."""
    try:
        server: Postgres = request.getfixturevalue("postgres_server")
    except ServerError as error:
        missing("PostgreSQL", str(error))
    url = server.new_database(template=request.getfixturevalue("postgres_template"))
    yield url
    server.drop_database(url)


@pytest.fixture(params=["sqlite", "postgres"])
def spool_url(request: pytest.FixtureRequest) -> str:
    """An empty spool, on either database."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url
