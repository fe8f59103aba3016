"""Fixtures of the tests against real servers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.targets.commands import Commands
from tests.targets.messages import write_hard

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def spooler(tmp_path: Path) -> Commands:
    """The commands in an empty folder with a fresh spool."""
    commands = Commands(tmp_path)
    commands.run("init")
    return commands


@pytest.fixture
def mail(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder of messages: of our own making, or the corpus of real ones (indirect parameter)."""
    if request.param == "corpus":
        found: Path = request.getfixturevalue("corpus")
        return found
    return write_hard(tmp_path / "hard")
