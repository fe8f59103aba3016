"""New spools for tests of what stands above the store: made once, then copied."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from spooler.spool.migrate import create_or_upgrade

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def empty_spool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A spool that nobody opens."""
    path = tmp_path_factory.mktemp("empty") / "spool.db"
    create_or_upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture
def spool_path(empty_spool: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty SQLite spool."""
    folder = tmp_path_factory.mktemp("spool")
    for file in empty_spool.parent.iterdir():
        shutil.copy(file, folder)
    return folder / empty_spool.name


@pytest.fixture
def spool_url(spool_path: Path) -> str:
    """The URL of an empty SQLite spool."""
    return f"sqlite:///{spool_path}"
