"""One task that waits for all connections of a worker, and wakes those that have something to do.

trio's own `wait_readable` costs a system call, with a deadline a cancel scope, and two task switches, each
time anybody waits: a third of a worker's time at one recipient a message. Here a connection is registered
once, edge-triggered (epoll(7)). Whoever waits may leave a function that is called at each edge, in this
task, and says whether to wait on; so a session takes its replies and sends what follows without being woken.

Edge-triggered means: who was told that something can be read is told again only after new data arrived. So
`Channel` remembers what it was told until a read or a write found the end of it. A hang-up is remembered for
good, because it may come in one edge with the last data. Limits: Linux only.
"""

from __future__ import annotations

import math
import select
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

_READ = select.EPOLLIN
_GONE = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
_WRITE = select.EPOLLOUT
_EDGES = _READ | _WRITE | select.EPOLLRDHUP | select.EPOLLET
MOST = 8  # channels told at a time: with all at once the target would idle until the last has read
ROUNDS = 8  # such times before others have their turn: a turn of trio's costs as much as a message


class Poller:
    """One per worker; `run` is its task, and nothing waits without it."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._channels: dict[int, Channel] = {}
        self._scope = trio.CancelScope()
        self._next = math.inf  # no deadline of a waiting channel is before this

    def channel(self, sock: socket.socket) -> Channel:
        """Register a non-blocking, connected socket."""
        channel = Channel(self, sock.fileno())
        self._channels[channel.number] = channel
        self._epoll.register(channel.number, _EDGES)
        return channel

    async def run(self) -> None:
        """Wake who is ready, or whose deadline has passed, until cancelled."""
        number = self._epoll.fileno()
        try:
            while True:
                self._scope = trio.CancelScope(deadline=self._next)
                with self._scope:
                    await trio.lowlevel.wait_readable(number)
                for _ in range(ROUNDS):
                    if not self._tell():
                        break
                now = trio.current_time()
                if now >= self._next:
                    self._expire(now)
        finally:
            self._epoll.close()

    def _tell(self) -> bool:
        """Tell who is ready; whether anybody was."""
        told = self._epoll.poll(0, MOST)
        turns = []
        for ready, flags in told:
            channel = self._channels.get(ready)
            if channel is not None and channel.tell(flags):  # none: it was closed since
                turns.append(channel)
        for channel in turns:
            channel.turn()
        return bool(told)

    def expect(self, deadline: float) -> None:
        """Look at deadlines no later than this."""
        if deadline < self._next:
            self._next = self._scope.deadline = deadline

    def forget(self, channel: Channel) -> None:
        """Take a channel out, before its socket is closed."""
        del self._channels[channel.number]
        if not self._epoll.closed:
            self._epoll.unregister(channel.number)

    def _expire(self, now: float) -> None:
        """Wake those whose time is over. Deadlines mostly move on, so few looks find one."""
        self._next = math.inf
        for channel in self._channels.values():
            if channel.waits:
                if channel.deadline <= now:
                    channel.late()
                else:
                    self._next = min(self._next, channel.deadline)


class Channel:
    """The readiness of one connection, and the one task that may wait for it."""

    __slots__ = (
        "_attend",
        "_late",
        "_poller",
        "_prepare",
        "_readable",
        "_task",
        "_wanted",
        "_writable",
        "deadline",
        "number",
    )

    def __init__(self, poller: Poller, number: int) -> None:
        self.number = number
        self.deadline = math.inf
        self._poller = poller
        self._task: trio.lowlevel.Task | None = None
        self._attend: Callable[[], float | None] | None = None
        self._prepare: Callable[[], None] | None = None
        self._late = False
        self._wanted = 0
        self._readable = 0  # what of _READ and _GONE was told and not seen the end of
        self._writable = 0

    @property
    def waits(self) -> bool:
        """Whether a task waits."""
        return self._task is not None

    def tell(self, flags: int) -> bool:
        """Take note of an edge; whether somebody waits for it, and is to have a turn."""
        self._readable |= flags & (_READ | _GONE)
        self._writable |= flags & _WRITE
        if self._task is None or not flags & self._wanted:
            return False
        if self._prepare is not None:
            self._prepare()
        return True

    def turn(self) -> None:
        """Let who waits go on."""
        if self._task is None:
            return  # it was closed since
        if self._attend is not None:
            deadline = self._attend()
            while deadline is not None and self._readable:
                deadline = self._attend()  # it was not read to its end, or there was a hang-up with it
            if deadline is not None:
                self.deadline = deadline
                self._poller.expect(deadline)
                return
        self._wake()

    def late(self) -> None:
        """Wake the task that waits: its deadline has passed."""
        self._late = True
        self._wake()

    def drained(self) -> None:
        """A read found less than it could have taken."""
        self._readable &= _GONE

    def filled(self) -> None:
        """A write was not taken whole."""
        self._writable = 0

    async def wait(
        self,
        *,
        write: bool,
        deadline: float,
        attend: Callable[[], float | None] | None = None,
        prepare: Callable[[], None] | None = None,
    ) -> bool:
        """Wait until something can be read, or with `write` also until something can be written.

        `deadline` is of trio's clock; returns whether there is something before it. `attend` is called
        instead when there is: it must not raise, and returns a new deadline to wait on, or None to be done.
        `prepare` is called before, for all that are ready together, and then `attend` for each: so what is
        better done once than by each can be. Neither is called where there was something at once.
        """
        if self._readable or (write and self._writable):
            await trio.lowlevel.checkpoint()
            return True
        self._wanted = _READ | _GONE | (_WRITE if write else 0)
        self.deadline = deadline
        self._poller.expect(deadline)
        self._late = False
        self._attend = attend
        self._prepare = prepare
        self._task = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._abort)
        return not self._late

    def close(self) -> None:
        """Forget the socket; whoever waits is woken, and will find it closed."""
        self._poller.forget(self)
        if self._task is not None:
            self._wake()

    def _wake(self) -> None:
        task, self._task = self._task, None
        self._attend = self._prepare = None
        assert task is not None
        trio.lowlevel.reschedule(task)

    def _abort(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        self._task = self._attend = self._prepare = None
        return trio.lowlevel.Abort.SUCCEEDED
