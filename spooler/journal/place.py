"""Where journals lie: a folder a worker, locked by it as long as it lives.

    ROOT/<uuid of the spool>/<id of the worker>/lock, 00000001, 00000002, …

The lock (flock(2)) is given up by the kernel when its holder dies, so a folder whose lock can be had belongs
to nobody any more. It does not reach other hosts: each looks after its own root.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from spooler.errors import CannotCreateError
from spooler.ident import format_id, parse_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LOCK = "lock"
_NEW = ".new"  # behind the name of a folder that is being made
_LONGEST = 3600.0  # seconds that making one may take


class Folder:
    """A worker's journal folder, locked by us."""

    def __init__(self, path: Path, worker: int, fd: int) -> None:
        self.path = path
        self.worker = worker
        self._fd = fd

    def segments(self) -> list[Path]:
        """Return its segments, oldest first."""
        return sorted(path for path in self.path.iterdir() if path.name.isdigit())

    def segment(self, number: int) -> Path:
        """Name a segment."""
        return self.path / f"{number:08}"

    def sync(self) -> None:
        """Make the names of its files durable."""
        _sync(self.path)

    def is_there(self) -> bool:
        """Whether it still has its name, as far as can be seen."""
        try:
            return os.path.samestat((self.path / _LOCK).stat(), os.fstat(self._fd))
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True

    def remove(self) -> None:
        """Remove it with all that is in it, and let go; raises OSError if it cannot be removed."""
        try:
            with suppress(FileNotFoundError):  # somebody has removed it
                for path in self.segments():
                    path.unlink(missing_ok=True)
            (self.path / _LOCK).unlink(missing_ok=True)
            with suppress(OSError):
                self.path.rmdir()
        finally:
            self.release()

    def release(self) -> None:
        """Let go of it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def root_of(url: str) -> Path:
    """Where a spool's journals lie by default: beside an SQLite file, else in this user's state folder."""
    if url.startswith("sqlite:"):
        path = unquote(url.partition("///")[2].partition("?")[0])
        return Path(f"{Path(path).resolve()}.journals")  # one place, whatever links lead to the file
    for variable, below in (("STATE_DIRECTORY", "journals"), ("XDG_STATE_HOME", "spooler/journals")):
        if folder := os.environ.get(variable):
            return Path(folder.partition(":")[0]) / below
    return Path("~/.local/state/spooler/journals").expanduser()


def create(root: Path, *, spool: str, worker: int) -> Folder:
    """Make the folder of a new worker, locked before it has its name; raises CannotCreateError."""
    path = root / spool / format_id(worker)
    making = path.with_suffix(_NEW)
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        for above in (root, path.parent):  # `parents` would leave these open to others
            if not above.is_dir():
                above.mkdir(mode=0o700, exist_ok=True)
                _sync(above.parent)
        making.mkdir(mode=0o700)
        fd = _lock(making / _LOCK, new=True)
        assert fd is not None, "nobody looks for it under this name"
        making.rename(path)
        folder = Folder(path, worker, fd)
        folder.sync()
        _sync(path.parent)
        _sweep(path.parent)
    except OSError as error:
        raise CannotCreateError(
            f"journal {path} cannot be made: {error.strerror}",
            hint="it must be a folder that this user may write to: see worker.journal in the configuration",
        ) from None
    return folder


def _sweep(spool: Path) -> None:
    """Remove what workers left that died while they made a folder; there was no note in it yet."""
    for path in spool.glob(f"*{_NEW}"):
        with suppress(OSError):  # another sweeps it too
            if time.time() - path.stat().st_mtime > _LONGEST:
                (path / _LOCK).unlink(missing_ok=True)
                path.rmdir()


def exists(root: Path, *, spool: str, worker: int) -> bool:
    """Whether a worker's folder is there, or cannot be looked for."""
    try:
        (root / spool / format_id(worker)).stat()
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return True


def orphans(
    root: Path, *, spool: str, left: Callable[[int, str], object] = lambda *_: None
) -> Iterator[Folder]:
    """Lock and give the folders that belong to nobody any more, one after the other.

    `left` is told which worker's cannot be locked, and why; 0 stands for all.
    """
    above = root / spool
    try:
        names = sorted(path.name for path in above.iterdir())
    except FileNotFoundError:
        return
    except OSError as error:
        left(0, f"{above} cannot be read: {error.strerror}")
        return
    for name in names:
        worker = parse_id(name)
        if worker is None:
            continue
        path = above / name
        try:
            fd = _lock(path / _LOCK, new=False)
        except FileNotFoundError as error:
            try:
                path.rmdir()  # who removed it died just before this
            except FileNotFoundError:
                continue
            except OSError:
                left(worker, f"{path / _LOCK} cannot be opened: {error.strerror}")
        except OSError as error:
            left(worker, f"{path / _LOCK} cannot be locked: {error.strerror}")
        else:
            if fd is not None:
                yield Folder(path, worker, fd)


def _sync(folder: Path) -> None:
    """Make the names in a folder durable; raises OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _lock(path: Path, *, new: bool) -> int | None:
    """Open and lock a file; None if another holds it, or it went away meanwhile."""
    flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT | os.O_EXCL if new else 0)
    fd = os.open(path, flags, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(fd).st_nlink:
            return fd
    except BlockingIOError:
        pass
    os.close(fd)
    return None
