"""The end of a drain in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spooler.cli.progress import Summary
from spooler.supervise import Report

if TYPE_CHECKING:
    import pytest


def test_what_is_left_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever sees that mail is left reads why that may be, and where to look."""
    Summary().show(Report(outcomes={"delivered": 2, "deferred": 1}, left=1))
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("2 delivered, 1 deferred in ")
    assert "; 1 left: deferred, held by another worker" in line
    assert line.endswith("see spooler queue stats")


def test_nothing_left_needs_no_words(capsys: pytest.CaptureFixture[str]) -> None:
    """An empty spool is told in short, and so is one that could not be asked."""
    Summary().show(Report(left=0))
    Summary().show(Report(left=None))
    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith("; 0 left")
    assert second.endswith("; unknown left")


def test_a_servers_words_are_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    """Why a route is down may be a stranger's text: it moves no cursor and makes no line."""
    Summary().show(Report(down={"r": "no\n\x1b[2Jforged"}, left=0))
    assert capsys.readouterr().err.splitlines()[1:] == ["route r is down: no\\n\\x1b[2Jforged"]
