"""Lines for systemd's journal, which reads their level from a prefix (sd-daemon(3): `<3>` for an error)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Mapping

_LEVELS = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}  # syslog(3)


def prefixes(file: TextIO) -> Mapping[str, str]:
    """Return what lines of each level begin with: nothing, unless `file` is connected to the journal.

    $JOURNAL_STREAM names it as "device:inode" (systemd.exec(5)).
    """
    connected = _connected(file)
    return {level: f"<{number}>" if connected else "" for level, number in _LEVELS.items()}


def _connected(file: TextIO) -> bool:
    named = os.environ.get("JOURNAL_STREAM")
    if not named:
        return False
    try:
        found = os.fstat(file.fileno())
    except (OSError, ValueError):
        return False
    return named == f"{found.st_dev}:{found.st_ino}"
