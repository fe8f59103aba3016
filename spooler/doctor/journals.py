"""The workers' journals: whether they are kept to their owner, and whether dead workers left any."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from spooler.doctor.files import check_file_system, check_private, check_room
from spooler.doctor.finding import About
from spooler.ident import parse_id

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spooler.doctor.finding import Finding

ABOUT = "journals"


class Journals(msgspec.Struct, frozen=True, kw_only=True):
    """Folders of workers' journals."""

    living: list[Path]
    dead: list[Path]
    unlocked: list[Path]
    """Those without a lock file, which no worker reads."""


def look(root: Path, *, spool: str) -> Journals:
    """Find the journals of a spool; raises OSError. Who is dead is told by a lock that can be had."""
    living: list[Path] = []
    dead: list[Path] = []
    unlocked: list[Path] = []
    folder = root / spool
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if parse_id(path.name) is not None:
            try:
                (living if _is_held(path / "lock") else dead).append(path)
            except FileNotFoundError:
                if path.exists():
                    unlocked.append(path)
    return Journals(living=living, dead=dead, unlocked=unlocked)


def check_journals(root: Path, *, spool: str, mounts: str) -> Iterator[Finding]:
    """Judge the folder of a host's journals, and what is in it of a spool (its UUID, "" if not known)."""
    here = About(ABOUT, str(root))
    if not root.exists():
        above = next(folder for folder in root.parents if folder.exists())
        if not os.access(above, os.W_OK | os.X_OK):
            yield here.problem(
                f"it is not there, and cannot be made in {above} by this user",
                "run as the user of the workers, or name another with worker.journal",
                os.EX_NOPERM,
            )
            return
        yield here.ok("it is not there yet: the first worker makes it")
        yield from check_file_system(above, about=ABOUT, mounts=mounts, local="locks may not hold there")
        return
    if not root.is_dir():
        yield here.problem("it is no folder", "name another with worker.journal", os.EX_CANTCREAT)
        return
    yield from check_private(root, about=ABOUT, folder=True)
    yield from check_file_system(root, about=ABOUT, mounts=mounts, local="locks may not hold there")
    yield from check_room(root, about=ABOUT)
    if not spool:
        return
    try:
        found = look(root, spool=spool)
    except OSError as error:
        yield here.problem(
            f"it cannot be read: {error.strerror}", "run as the user of the workers", os.EX_NOPERM
        )
        return
    for path in found.dead:
        yield About(ABOUT, str(path)).warning(
            "a dead worker left it: it says what was delivered and what may have been",
            "start a worker on this host, which settles what it says",
        )
    for path in found.unlocked:
        yield About(ABOUT, str(path)).warning(
            "it has lost its lock file, so no worker dares to read it",
            f"stop all workers of this host, touch {path / 'lock'}, start them again",
        )


def _is_held(lock: Path) -> bool:
    """Whether a living worker holds a lock; raises OSError. Ours is shared, and lasts for this look."""
    fd = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False
