"""Where a process is killed: the table of points, and how a process is made to die at one.

A point is a function of the product or of Python that is wrapped from outside: call number k of it kills
the process with SIGKILL, before it is called, after it returned, or (writes) when half was written.
Nothing in the product knows of this.
"""

from __future__ import annotations

import importlib
import inspect
import os
import signal
from collections import Counter
from functools import wraps
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

BEFORE, HALF, AFTER = "before", "half", "after"
WORKER, SPOOL, INTAKE, IMPORT = "worker", "spool", "intake", "import"
_BOTH = (BEFORE, AFTER)
_WRITES = (BEFORE, HALF, AFTER)


class Point(msgspec.Struct, frozen=True):
    """A place in one kind of process. `target` is "module:name" or "module:Class.name"."""

    side: str
    target: str
    moments: tuple[str, ...] = _BOTH
    recovery: bool = False
    """Whether a worker that finds a dead one's journal comes past here on its account."""
    only_recovery: bool = False
    """Whether nobody else does."""
    stops: bool = False
    """Whether only a worker that is asked to stop comes past here."""

    @property
    def name(self) -> str:
        """As it is told."""
        return f"{self.side}: {self.target.partition(':')[2]}"


POINTS = (
    # the journal: its folder, its segments, its notes, its end
    Point(WORKER, "pathlib:Path.mkdir"),
    Point(WORKER, "pathlib:Path.rename"),
    Point(WORKER, "spooler.journal.writer:Journal._begin_segment"),
    Point(WORKER, "os:posix_fallocate"),
    Point(WORKER, "os:fsync"),
    Point(WORKER, "os:fdatasync"),
    Point(WORKER, "os:pwrite", _WRITES),
    Point(WORKER, "spooler.journal.writer:Journal.intend"),
    Point(WORKER, "spooler.journal.writer:Journal.record"),
    Point(WORKER, "spooler.journal.writer:Journal.push"),
    Point(WORKER, "spooler.journal.writer:Journal.settled"),
    Point(WORKER, "spooler.journal.writer:Journal.close"),
    Point(WORKER, "spooler.journal.place:Folder.remove", recovery=True),
    Point(WORKER, "pathlib:Path.unlink", recovery=True),
    Point(WORKER, "pathlib:Path.rmdir", recovery=True),
    # the wire; `_hand_over` counts only where an end-of-data is under way
    Point(WORKER, "spooler.net.transport:SocketTransport.send", _WRITES),
    Point(WORKER, "spooler.net.transport:SocketTransport.receive"),
    Point(WORKER, "spooler.net.session:Session._hand_over"),
    # what the worker asks of the spool's process, and what that does
    *(
        Point(
            side,
            f"{where}.{method}",
            recovery=method in ("settle", "doubt", "rescue"),
            only_recovery=method in ("doubt", "rescue"),
            stops=method == "release",
        )
        for side, where in (
            (WORKER, "spooler.spool.remote:RemoteSpool"),
            (SPOOL, "spooler.spool.store:Store"),
        )
        for method in ("register", "claim", "contents", "settle", "release", "doubt", "rescue", "unregister")
    ),
    Point(SPOOL, "sqlalchemy:Connection.exec_driver_sql", recovery=True),
    Point(SPOOL, "sqlalchemy:Connection.commit", recovery=True),
    # intake, by the program's interface and from files
    *(
        Point(side, target)
        for side in (INTAKE, IMPORT)
        for target in (
            "spooler.spool.store:Store.store_chunks",
            "spooler.spool.store:Store.enqueue",
            "sqlalchemy:Connection.exec_driver_sql",
            "sqlalchemy:Connection.commit",
        )
    ),
    Point(IMPORT, "spooler.spool.store:Store.imported"),
    Point(IMPORT, "spooler.intake.importer:Importer._look_at"),
    Point(IMPORT, "spooler.intake.importer:Importer._flush"),
)


class Arm(msgspec.Struct, frozen=True):
    """Die there, at this call of it.

    `together`: the other process of the worker dies too. `stops`: the worker is asked to stop before.
    """

    point: str
    moment: str
    number: int
    together: bool = False
    stops: bool = False

    def __str__(self) -> str:
        return f"{self.moment} {self.point} {self.number}{' (both)' if self.together else ''}"


class Trigger:
    """Counts how often points are passed in this process, and kills it at the one that is armed."""

    def __init__(self, arm: Arm | None, out: int) -> None:
        self.passed: Counter[tuple[str, str]] = Counter()
        self._arm = arm
        self._out = out

    def install(self, side: str) -> None:
        """Wrap the points of this kind of process."""
        for point in POINTS:
            if point.side == side:
                _wrap(point, self)

    def passes(self, point: Point, moment: str) -> bool:
        """Count; return whether this is the call that is armed."""
        key = point.name, moment
        self.passed[key] += 1
        arm = self._arm
        return arm is not None and key == (arm.point, arm.moment) and self.passed[key] == arm.number

    def die(self) -> None:
        """Kill this process, having said that it was reached."""
        assert self._arm is not None
        os.write(self._out, b"+\n")
        os.kill(0 if self._arm.together else os.getpid(), signal.SIGKILL)
        signal.pause()


def _wrap(point: Point, trigger: Trigger) -> None:
    module, _, path = point.target.partition(":")
    owner: Any = importlib.import_module(module)
    *classes, name = path.split(".")
    for one in classes:
        owner = getattr(owner, one)
    real = getattr(owner, name)
    wrapped = (
        _async(point, real, trigger) if inspect.iscoroutinefunction(real) else _sync(point, real, trigger)
    )
    setattr(owner, name, wrapped)


def _sync(point: Point, real: Callable[..., Any], trigger: Trigger) -> Callable[..., Any]:
    counts = _ends if point.target.endswith("Session._hand_over") else _always

    @wraps(real)
    def wrapped(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  # as the function
        if not counts(*args):
            return real(*args, **kwargs)
        if trigger.passes(point, BEFORE):
            trigger.die()
        if HALF in point.moments and trigger.passes(point, HALF):
            real(*(a[: len(a) // 2] if isinstance(a, bytes | memoryview) else a for a in args), **kwargs)
            trigger.die()
        result = real(*args, **kwargs)
        if trigger.passes(point, AFTER):
            trigger.die()
        return result

    return wrapped


def _async(point: Point, real: Callable[..., Any], trigger: Trigger) -> Callable[..., Any]:
    @wraps(real)
    async def wrapped(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  # as the function
        if trigger.passes(point, BEFORE):
            trigger.die()
        result = await real(*args, **kwargs)
        if trigger.passes(point, AFTER):
            trigger.die()
        return result

    return wrapped


def _always(*_: object) -> bool:
    return True


def _ends(session: Any, _: object) -> bool:  # noqa: ANN401  # a session, looked at from inside
    return bool(session._client.ends_unsent)
