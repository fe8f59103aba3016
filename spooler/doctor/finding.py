"""A finding: one line of a diagnosis."""

from __future__ import annotations

import os
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from spooler.errors import SpoolerError


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    """It works, but something may be lost, seen by others, slow, or other than it was meant."""
    PROBLEM = "problem"
    """It does not work, or it must not be worked with."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What was found, where, and how to mend it; `exit_code` (sysexits) is 0 unless it is a problem."""

    level: Level
    about: str
    where: str
    what: str
    mend: str = ""
    exit_code: int = 0


class About:
    """Makes findings about one thing."""

    def __init__(self, about: str, where: str) -> None:
        self._about = about
        self._where = where

    def ok(self, what: str) -> Finding:
        """It is as it should be."""
        return Finding(level=Level.OK, about=self._about, where=self._where, what=what)

    def warning(self, what: str, mend: str) -> Finding:
        """It may do harm."""
        return Finding(level=Level.WARNING, about=self._about, where=self._where, what=what, mend=mend)

    def problem(self, what: str, mend: str, code: int = os.EX_CONFIG) -> Finding:
        """It keeps spooler from working, or mail from being safe; `code` is of sysexits.h."""
        return Finding(
            level=Level.PROBLEM, about=self._about, where=self._where, what=what, mend=mend, exit_code=code
        )

    def error(self, error: SpoolerError) -> Finding:
        """A command would end with this error."""
        return self.problem(error.what.removeprefix(f"{self._where}: "), error.hint, error.exit_code)


def exit_code_of(findings: Iterable[Finding]) -> int:
    """Return the first problem's code, 0 without any."""
    return next((finding.exit_code for finding in findings if finding.level is Level.PROBLEM), os.EX_OK)
