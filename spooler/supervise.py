"""Several processes that share the work of one command, and the keeper that starts and stops them.

They are fresh interpreters, each with one end of a socket pair: over it a process says what it did so far,
the keeper tells it to stop, and when the keeper is gone, killed or not, the stream ends and the process
stops as if it had been told. A terminal, or a service manager, signals all processes of a command at once:
so a process takes signals of its own for the first request to stop only, which the keeper makes too; the
second one, which cuts off what is under way, comes from the keeper alone.

A process that ends by itself is started again, after a growing pause if it did not last. If none has worked
yet, what keeps this one from working keeps all of them from it: that is raised. One that delivers gives signs
of life from its event loop; where they end, the loop turns no more, and it is killed, which costs no mail.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import trio
import trio.lowlevel

from spooler.errors import SpoolerError
from spooler.events import ProcessEnded
from spooler.ops.pulse import Pulse
from spooler.part import VARIABLE, Part

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from spooler.events import Observe

FIRST_PAUSE = 0.5  # seconds before a process that ended is started again
LONGEST_PAUSE = 30.0
LASTED = 30.0  # seconds: what ends after these did not fail at once
TRIES = 5  # failures in a row after which work that has an end goes on without this process
KILL_AFTER = 20.0  # seconds from the second request to stop
_STOPPED = (0, -signal.SIGTERM, -signal.SIGINT)  # by a signal: before it had begun
LIVE_EVERY = 5.0  # seconds between two signs of life
SILENT = 12  # times as long without one, after which a process hangs
_STOP, _RELOAD = b".", b"r"
_LIVES = b"!"
RECORD = 1 << 18  # bytes: more than the kernel takes in one


class Report(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a process did since it started."""

    outcomes: dict[str, int] = {}
    """Recipients by outcome."""
    down: dict[str, str] = {}
    """Routes that take no mail, and why."""
    total: int | None = None
    """How many recipients were in the spool when it began."""
    left: int | None = None
    """And how many when it was done."""
    error: str = ""
    """Why it cannot go on, for people."""
    begun: bool = False
    """Whether it has just begun to deliver."""
    pulse: Pulse | None = None
    """For metrics, where they are served."""


class Tether:
    """A process's end of the stream."""

    def __init__(self, stream: socket.socket, part: Part) -> None:
        self.part = part
        self._stream = stream

    @classmethod
    def of_environment(cls) -> Tether | None:
        """Return the tether of a process that has a keeper."""
        text = os.environ.pop(VARIABLE, None)  # what this process starts is not the keeper's
        if text is None:
            return None
        descriptor, index, count = map(int, text.split())
        os.set_inheritable(descriptor, False)  # noqa: FBT003  # as the library has it
        return cls(socket.socket(fileno=descriptor), Part(index, count))

    def report(self, report: Report, *, wait: bool = True) -> bool:
        """Say what was done so far; without `wait` a keeper that does not listen just now is not told.

        Returns whether it was, or is gone for good.
        """
        try:
            self._stream.send(msgspec.json.encode(report), 0 if wait else socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            pass
        return True

    async def live(self) -> None:
        """Give signs of life until cancelled."""
        while True:
            with suppress(OSError):  # the keeper is busy, or gone, which `obey` finds out
                self._stream.send(_LIVES, socket.MSG_DONTWAIT)
            await trio.sleep(LIVE_EVERY)

    async def obey(
        self,
        stop: Callable[[int], None],
        *,
        orphaned: Callable[[], None],
        reload: Callable[[], None] = lambda: None,
    ) -> None:
        """Call `stop` with the number of requests so far at each, `orphaned` when the keeper is gone.

        `reload` is called when the keeper asks for the configuration to be read again.
        """
        requests = 0
        while word := await _receive(self._stream):
            if word == _RELOAD:
                reload()
            else:
                requests += 1
                stop(requests)
        orphaned()


@dataclass(eq=False, slots=True)
class _Process:
    process: trio.Process
    stream: socket.socket
    last: Report = Report()  # noqa: RUF009  # frozen
    hangs: bool = False

    def tell(self, word: bytes) -> None:
        with suppress(OSError):  # it has ended
            self.stream.send(word, socket.MSG_DONTWAIT)


class Keeper:
    """Runs `count` processes of one command; `run` does, `stop` may be called from a signal's task.

    `heard` is told each report, and the number of the part that made it.

    `endless`: the command ends only when it is told to; otherwise a process that ends in order is done.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        count: int,
        env: Mapping[str, str],
        endless: bool,
        observe: Observe,
        heard: Callable[[int, Report], None] = lambda _part, _report: None,
    ) -> None:
        self._argv = argv
        self._count = count
        self._env = env
        self._endless = endless
        self._observe = observe
        self._heard = heard
        self._running: list[_Process] = []
        self._ended: list[Report] = []
        self._worked = False
        self._error: SpoolerError | None = None
        self._stops = 0
        self._asked = trio.Event()
        self._asked_again = trio.Event()

    @property
    def reports(self) -> list[Report]:
        """The last report of each process, those that ended included."""
        return self._ended + [process.last for process in self._running]

    @property
    def pids(self) -> list[int]:
        """The processes that run now."""
        return [running.process.pid for running in self._running]

    @property
    def asked_to_stop(self) -> bool:
        """Whether somebody asked it to stop."""
        return self._stops > 0

    def stop(self) -> None:
        """Ask all to stop: gracefully the first time, at once the second."""
        self._stops += 1
        (self._asked if self._stops == 1 else self._asked_again).set()
        for running in self._running:
            running.tell(_STOP)

    def reload(self) -> None:
        """Ask all to read their configuration again."""
        for running in self._running:
            running.tell(_RELOAD)

    async def run(self) -> None:
        """Keep the processes until all are done; raises the error that ended them, if one did."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._lose_patience)
            async with trio.open_nursery() as keeping:
                for index in range(self._count):
                    keeping.start_soon(self._keep, Part(index, self._count))
            nursery.cancel_scope.cancel()
        if self._error is not None:
            raise self._error

    async def _keep(self, part: Part) -> None:
        failures = 0
        while not self._asked.is_set():
            began = trio.current_time()
            pid, status, last, hung = await self._run_one(part)
            why = last.error or (_HANGS if hung else _describe(status))
            if self._asked.is_set():
                if status not in _STOPPED:
                    self._error = self._error or _error_of(status, why)
                return
            if status == 0 and not self._endless:
                return
            if status > 0 and not self._worked:
                self._error = _error_of(status, why)
                self.stop()
                return
            failures = 1 if trio.current_time() - began >= LASTED else failures + 1
            if failures == TRIES and not self._endless:
                self._observe(ProcessEnded(pid=pid, why=why, restart_in=None))
                return
            pause = min(FIRST_PAUSE * 2 ** (failures - 1), LONGEST_PAUSE)
            self._observe(ProcessEnded(pid=pid, why=why, restart_in=pause))
            with trio.move_on_after(pause):
                await self._asked.wait()

    async def _run_one(self, part: Part) -> tuple[int, int, Report, bool]:
        """Run a process to its end; returns its id, its status, its last report, and whether it hung."""
        running = await self._start(part)
        self._running.append(running)
        for _ in range(self._stops):  # asked for while it was started
            running.tell(_STOP)
        with running.stream:
            await self._listen(part, running)
            status = await running.process.wait()
        self._running.remove(running)
        self._ended.append(running.last)
        return running.process.pid, status, running.last, running.hangs

    async def _listen(self, part: Part, running: _Process) -> None:
        """Hear what a process says until it ends; one that gave signs of life and gives no more is killed."""
        lives = False
        silent = 0
        # waiting is cut into pieces, because a keeper that itself stood still for long has missed one at most
        while True:
            record = None
            with trio.move_on_after(LIVE_EVERY):
                record = await _receive(running.stream)
            if record is None:
                silent += 1
                if lives and silent >= SILENT:
                    running.hangs = True
                    running.process.kill()
                continue
            silent = 0
            if not record:
                return
            if record == _LIVES:
                lives = True
                continue
            running.last = msgspec.json.decode(record, type=Report)
            self._worked = self._worked or not running.last.error
            self._heard(part.index, running.last)

    async def _start(self, part: Part) -> _Process:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            number = theirs.fileno()
            process = await trio.lowlevel.open_process(
                self._argv,
                stdin=subprocess.DEVNULL,
                pass_fds=[number],
                env={**self._env, VARIABLE: f"{number} {part.index} {part.count}"},
                process_group=0,  # Ctrl-C on a terminal is for the keeper
            )
        return _Process(process, ours)

    async def _lose_patience(self) -> None:
        await self._asked_again.wait()
        await trio.sleep(KILL_AFTER)
        for running in self._running:
            running.process.kill()


async def _receive(stream: socket.socket) -> bytes:
    """Wait for a record; b"" when the other end is closed."""
    while True:
        await trio.lowlevel.wait_readable(stream)
        try:
            return stream.recv(RECORD, socket.MSG_DONTWAIT)
        except BlockingIOError:
            continue
        except OSError:
            return b""


_HANGS = f"it gave no sign of life for {LIVE_EVERY * SILENT:.0f} s, and was killed"


def _describe(status: int) -> str:
    if status >= 0:
        return f"it ended with exit code {status}"
    with suppress(ValueError):
        return f"it was ended by {signal.Signals(-status).name}"
    return f"it was ended by signal {-status}"


def _error_of(status: int, why: str) -> SpoolerError:
    """Make the error that stands for a process's exit code."""
    kinds = {kind.exit_code: kind for kind in SpoolerError.__subclasses__()}
    return kinds.get(status, SpoolerError)(why)
