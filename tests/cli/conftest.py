"""Fixtures of these tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from spooler.spool.store import Store
from tests.cli.running import Runner
from tests.spools import empty_spool, spool_path, spool_url

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["empty_spool", "spool_path", "spool_url"]


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller's own set-up of spooler plays no part."""
    for name in ("SPOOLER_SPOOL", "SPOOLER_CONFIG", "SPOOLER_TARGET", "SPOOLER_TRACEBACK"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def spooler(spool_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Runner:
    """Run commands on an empty spool."""
    return Runner(spool_url, monkeypatch, capsys)


@pytest.fixture
def store(spool_url: str) -> Iterator[Store]:
    """The spool that the commands work on."""
    with Store.open(spool_url) as opened:
        yield opened
