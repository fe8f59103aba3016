"""One writer at a time: a lock file beside an SQLite database, for all processes of this machine.

SQLite before 3.51.3 (3.50.7 and 3.44.6 apart) can, rarely, lose commits in WAL mode when two connections
write or checkpoint at the same moment, the checkpoint of the last close included. So whatever writes,
checkpoints or closes holds this lock. It is given up by the kernel when its holder dies. Locks of flock(2)
do not reach other machines: neither does SQLite's WAL.
"""

from __future__ import annotations

import fcntl
import os
import random
import time

from spooler.errors import TryAgainError

PATIENCE = 10.0  # seconds that a writer waits for the others
_SHORTEST, _LONGEST = 0.000_2, 0.005  # seconds between tries


class LockFile:
    """An exclusive lock; not for sharing between threads."""

    def __init__(self, path: str, *, place: str, patience: float = PATIENCE) -> None:
        self._place = place
        self._patience = patience
        self._path = path
        self._fd = -1  # opened when first needed: who only looks at a file leaves nothing beside it

    def acquire(self) -> None:
        """Wait for the lock; raises TryAgainError after `patience` seconds."""
        if self.try_acquire():
            return
        until = time.monotonic() + self._patience
        pause = _SHORTEST
        while time.monotonic() < until:
            # without chance in it two that wait could keep meeting a third, which is busy in step with them
            time.sleep(pause * random.uniform(0.5, 1))  # noqa: S311  # nothing secret about it
            if self.try_acquire():
                return
            pause = min(pause * 2, _LONGEST)
        raise TryAgainError(
            f"{self._place}: database is locked by another process",
            hint="another one is writing, or stopped while it was: try again",
        )

    def try_acquire(self) -> bool:
        """Take the lock if it is free."""
        if self._fd < 0:
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def release(self) -> None:
        """Give the lock back."""
        fcntl.flock(self._fd, fcntl.LOCK_UN)

    def close(self) -> None:
        """Give up the file; the lock with it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
