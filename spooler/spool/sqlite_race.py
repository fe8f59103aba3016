"""Which versions of SQLite have the race in WAL mode that can lose commits.

When two connections write or checkpoint at the same moment, the checkpoint of the last close included, a
commit can, rarely, be lost. SQLite 3.51.3 mended it, and 3.50.7 and 3.44.6 within their series. Our lock file
(see `spooler.spool.lockfile`) keeps our own processes from ever meeting so; a program that writes to the file
and knows nothing of it, the `sqlite3` shell for one, can still meet with them.
"""

from __future__ import annotations

import sqlite3

MENDED = (3, 51, 3)
_MENDED_IN_SERIES = {(3, 50): 7, (3, 44): 6}  # (major, minor) -> first patch without it


def has_race(version: tuple[int, int, int] = sqlite3.sqlite_version_info) -> bool:
    """Whether a version of SQLite, by default the one in use, has it."""
    patch = _MENDED_IN_SERIES.get(version[:2])
    if patch is not None:
        return version[2] < patch
    return version < MENDED


def warning(url: str) -> tuple[str, str] | None:
    """What is wrong and how to mend it, where it matters: a spool that is an SQLite file; else None."""
    if not url.startswith("sqlite:") or not has_race():
        return None
    what = (
        f"SQLite {sqlite3.sqlite_version} can, rarely, lose commits when two connections write at once; "
        "spooler's lock file keeps its own processes from that"
    )
    return what, "let no other program write to the spool, or run Python with SQLite 3.51.3 or newer"
