"""The errors that may reach a person: what, where, how to mend, and a sysexits code.

Everything else that is raised out of this package is a bug. `cli` turns these into one line on
standard error; library users catch `SpoolerError` or one of its kinds.
"""

from __future__ import annotations

import os
from typing import ClassVar


class SpoolerError(Exception):
    """What went wrong, in one line; `hint` says how to mend it; `exit_code` is from sysexits.h."""

    exit_code: ClassVar[int] = 70

    def __init__(self, what: str, *, hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.what} ({self.hint})" if self.hint else self.what


class UsageError(SpoolerError):
    """The command or call was put wrongly."""

    exit_code = os.EX_USAGE


class DataError(SpoolerError):
    """A message, an address or another input is not acceptable as it is."""

    exit_code = os.EX_DATAERR


class NoInputError(SpoolerError):
    """An input is not there or cannot be read."""

    exit_code = os.EX_NOINPUT


class HostError(SpoolerError):
    """A host name has no address."""

    exit_code = os.EX_NOHOST


class UnavailableError(SpoolerError):
    """A service that is needed (a database, a target) does not answer."""

    exit_code = os.EX_UNAVAILABLE


class CannotCreateError(SpoolerError):
    """An output cannot be created."""

    exit_code = os.EX_CANTCREAT


class StorageError(SpoolerError):
    """Reading or writing failed: disk full, read-only, I/O error."""

    exit_code = os.EX_IOERR


class TryAgainError(SpoolerError):
    """It may work later: the database is locked, recipients are left."""

    exit_code = os.EX_TEMPFAIL


class PeerError(SpoolerError):
    """The other side does not speak the protocol."""

    exit_code = os.EX_PROTOCOL


class NotPermittedError(SpoolerError):
    """The operating system or the database denies access."""

    exit_code = os.EX_NOPERM


class ConfigError(SpoolerError):
    """The configuration, or the schema of the spool, is not what this program can work with."""

    exit_code = os.EX_CONFIG
