"""The owner's side: notes are gathered, written with one system call, and synced in groups.

`push` is called before anything is handed to the kernel that may contain an end-of-data, and when a burst
of replies was dealt with: from then on its notes survive the death of the process. A sync lets them survive
a power cut. One that failed is never repeated, because the kernel may have dropped what it was about: the
journal is `broken` then, and nothing may be sent any more.

Segments are reserved on the disk when they are begun, and the next one is begun while there is still room
for the results of what is on its way, at `RESULT` octets each: a disk that is full refuses intents, not
results. The more is on its way, the longer the next segment is. A segment goes when
all its results are settled (`settled`); an intent that waits longer than that is noted again. So the journal
is as large as what is unsettled, however long one answer takes.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from contextlib import ExitStack, suppress
from time import monotonic
from typing import TYPE_CHECKING

import trio

from spooler.errors import StorageError
from spooler.journal.record import VERSION, Head, Intent, Note, Results, Void, frame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from spooler.journal.place import Folder
    from spooler.result import RecipientResult

SEGMENT = 4 << 20  # octets reserved for a segment, at the least
RESERVE = 1 << 20  # of these, kept where no further segment can be had, for what has no intent yet
KEPT = 2  # segments, from which on none is kept for the sake of an intent alone
RESULT = 1024  # kept besides for each recipient on its way: address and reply as RFC 5321 4.5.3.1 has them
Key = tuple[int, int]  # message id, n


class _Segment:
    """A file under way; `first` is the position of its first note, `size` the octets that are reserved."""

    def __init__(self, path: Path, fd: int, first: int, size: int) -> None:
        self.path = path
        self.fd = fd
        self.first = first
        self.size = size
        self.at = 0
        self.dirty = False


class Journal:
    """One per worker; `run` is its task, which syncs.

    Raises StorageError where there is no room for it, having removed its folder.
    `every`: how long what was written may wait for that, in seconds; 0 means that nothing is synced, and
    what is written survives the death of the process but not a power cut. `broke` is told why a sync failed.
    """

    def __init__(
        self, folder: Folder, *, spool: str, boot: str, every: float, broke: Callable[[str], None]
    ) -> None:
        self._folder = folder
        self._head = Head(VERSION, spool, folder.worker, boot, 0)
        self._every = every
        self._broke = broke
        self._written = trio.Event()
        self._notes: list[Note] = []
        self._position = 0  # notes ever taken
        self._open: dict[
            object, tuple[int, Intent]
        ] = {}  # those without a result, oldest first: (position, …)
        self._owed = 0  # recipients of these
        self._unsettled: deque[tuple[int, int]] = deque()  # (position, how many results)
        self._segments: deque[_Segment] = deque()
        self._number = 0
        self.broken = ""
        """Why nothing may be sent any more; "" while all is well."""
        self.trouble = ""
        """Why it could not be written to the last time; "" if it could."""
        self.syncs = 0
        self.sync_time = 0.0
        """Seconds that all syncs took together."""
        self._unsynced_since = 0.0
        try:
            self._begin_segment()
        except OSError as error:
            folder.remove()
            raise StorageError(
                f"journal {folder.path} cannot be begun: {error.strerror}",
                hint="make room on its disk, or name another folder with worker.journal",
            ) from None

    async def run(self) -> None:
        """Sync until cancelled, or until it cannot be done."""
        while self._every > 0:
            await self._written.wait()
            await trio.sleep(self._every)
            self._written = trio.Event()
            began = monotonic()
            self._unsynced_since = 0.0
            try:
                await self._sync()
            except OSError as error:
                self.broken = f"journal {self._folder.path} cannot be synced: {error.strerror}"
                self._broke(self.broken)
                return
            self.syncs += 1
            self.sync_time += monotonic() - began

    @property
    def writable(self) -> bool:
        """Whether an intent can be written now."""
        if self.broken or (self.trouble and not self.push()):
            return False
        needed = RESERVE + self._owed * RESULT
        segment = self._segments[-1]
        if segment.at > segment.size - needed:
            try:
                self._begin_segment(2 * needed)
            except OSError as error:
                return self._troubled(error)
        return True

    @property
    def size(self) -> int:
        """Octets that were written to the last segment."""
        return self._segments[-1].at

    @property
    def octets(self) -> int:
        """Octets that were written and are still needed."""
        return sum(segment.at for segment in self._segments)

    @property
    def unsettled(self) -> int:
        """Results that are recorded and not settled."""
        return sum(count for _, count in self._unsettled)

    @property
    def unanswered(self) -> int:
        """Intents of which nothing was said yet."""
        return len(self._open)

    @property
    def lag(self) -> float:
        """For how many seconds the oldest note that no sync has begun for has waited."""
        return monotonic() - self._unsynced_since if self._unsynced_since else 0.0

    def intend(self, owner: object, message_id: int, n: Sequence[int]) -> None:
        """Note that end-of-data may be handed over for these; `owner` stands for their attempt."""
        self._owed += len(n)
        self._intend(owner, Intent(message_id, n))

    def close_intent(self, owner: object, message_id: int, n: Sequence[int]) -> None:
        """An attempt is over: its results are recorded next, and for `n` nothing was handed over."""
        intent = self._open.pop(owner, None)
        if intent is not None:
            self._owed -= len(intent[1].n)
            if n:
                self._position += 1
                self._notes.append(Void(message_id, n))

    def record(self, results: Sequence[RecipientResult]) -> None:
        """Note what became of recipients; settle results in the order in which they are recorded."""
        self._position += 1
        self._notes.append(Results(results))
        self._unsettled.append((self._position, len(results)))

    def push(self) -> bool:
        """Write what was noted; False if that could not be done, and will be tried again at the next call."""
        if self._notes:
            data = frame(self._notes)
            segment = self._segments[-1]
            try:
                written = os.pwrite(segment.fd, data, segment.at)
            except OSError as error:
                return self._troubled(error)
            if written < len(data):  # the next one is written over it
                return self._troubled(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
            self.trouble = ""
            segment.at += written
            self._notes.clear()
            if not segment.dirty:
                segment.dirty = True
                self._unsynced_since = self._unsynced_since or monotonic()
                self._written.set()
        return True

    async def _sync(self) -> None:
        """Make durable what is not yet, in a thread; raises OSError, after which the journal is broken."""
        dirty = [segment for segment in self._segments if segment.dirty]
        for segment in dirty:
            segment.dirty = False
        copies: list[int] = []  # for segments may end meanwhile
        try:
            for segment in dirty:
                copies.append(os.dup(segment.fd))  # noqa: PERF401  # some may exist when one cannot be had
        except OSError:  # too many open files: better that all waits for the disk than that it breaks
            for fd in copies:
                os.close(fd)
            for segment in dirty:
                os.fdatasync(segment.fd)
            return
        await trio.to_thread.run_sync(_sync, copies)

    def settled(self, count: int) -> None:
        """So many of the results that were recorded first are in the spool; remove what is over."""
        unsettled = self._unsettled
        while count and unsettled:
            position, results = unsettled[0]
            if results > count:
                unsettled[0] = position, results - count
                break
            count -= results
            unsettled.popleft()
        needed = unsettled[0][0] if unsettled else self._position + 1
        if len(self._segments) > KEPT and self._segments[1].first <= needed:
            self._carry_over(self._segments[-1].first)
        if self._open:
            needed = min(needed, next(iter(self._open.values()))[0])
        # what was carried over must be there before it goes here
        while len(self._segments) > 1 and self._segments[1].first <= needed and self.push():
            self._end(self._segments.popleft())

    def look(self) -> None:
        """Break it if it was removed, or moved, under us: what is written there is found by nobody."""
        there = self._folder.is_there() and all(os.fstat(segment.fd).st_nlink for segment in self._segments)
        if not there and not self.broken:
            self.broken = f"journal {self._folder.path} was removed under its worker"
            self._broke(self.broken)

    def close(self) -> None:
        """Remove the journal: everything is settled. Raises StorageError if it cannot be removed."""
        while self._segments:
            self._end(self._segments.popleft())
        try:
            self._folder.remove()
        except OSError as error:
            raise StorageError(
                f"journal {self._folder.path} cannot be removed: {error.strerror}",
                hint="nothing in it is needed any more: make its folder writable",
            ) from None

    def abandon(self) -> None:
        """Leave it to whoever finds it."""
        while self._segments:
            os.close(self._segments.popleft().fd)
        self._folder.release()

    def _troubled(self, error: OSError) -> bool:
        self.trouble = f"journal {self._folder.path} cannot be written to: {error.strerror}"
        self.look()
        return False

    def _intend(self, owner: object, intent: Intent) -> None:
        self._position += 1
        self._open[owner] = self._position, intent
        self._notes.append(intent)

    def _carry_over(self, first: int) -> None:
        """Note again the intents from before position `first`: they keep segments that nothing else needs."""
        for owner in [owner for owner, (position, _) in self._open.items() if position < first]:
            _, intent = self._open.pop(owner)
            self._intend(owner, intent)

    def _begin_segment(self, size: int = 0) -> None:
        """Begin a segment of at least `size` octets and reserve its space; raises OSError."""
        size = max(SEGMENT, size)
        number = self._number + 1
        path = self._folder.segment(number)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(fd, 0, size)
            segment = _Segment(path, fd, self._position + 1 - len(self._notes), size)
            head = frame(Head(VERSION, self._head.spool, self._head.worker, self._head.boot, number))
            segment.at = os.pwrite(fd, head, 0)
            os.fsync(fd)
            self._folder.sync()
        except BaseException:
            os.close(fd)
            path.unlink()
            raise
        self.trouble = ""
        self._number = number
        self._segments.append(segment)

    def _end(self, segment: _Segment) -> None:
        os.close(segment.fd)
        with suppress(OSError):  # what stays is settled: to read it again changes nothing
            segment.path.unlink()


def _sync(descriptors: Iterable[int]) -> None:
    """Make files durable and close the descriptors; raises OSError, after which their journal is broken."""
    with ExitStack() as closing:
        for fd in descriptors:
            closing.callback(os.close, fd)
        for fd in descriptors:
            os.fdatasync(fd)
