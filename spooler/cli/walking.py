"""Goes through the queue with a command, in batches between which others write, until it is through or told
to stop.
"""

from __future__ import annotations

import signal
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from spooler.ident import floor_at, now_us
from spooler.spool.steering import BATCH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType

    from spooler.command import Key, Order, Passed, Steered
    from spooler.records import QueueFilter
    from spooler.spool.store import Store

LEAST_PAUSE = 0.005  # seconds in which a worker that waits for SQLite's lock surely gets it
LOOK_AGAIN = 0.25  # seconds between looks whether a worker has given something back
_BEGIN = (0, -1)


class Interrupt:
    """Whether a person has asked to stop."""

    def __init__(self) -> None:
        self._asked = False

    def asked(self) -> bool:
        """Whether that is so by now."""
        return self._asked

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Take the first SIGINT as a question to stop after this batch; the second ends at once."""
        before = signal.signal(signal.SIGINT, self._take)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _take(self, number: int, frame: FrameType | None) -> None:
        if self._asked:
            signal.default_int_handler(number, frame)
        self._asked = True


@dataclass(slots=True)
class Walk:
    """One command on its way. `gentle`: workers share SQLite's one writer, so they get their turn."""

    store: Store
    order: Order
    gentle: bool
    interrupt: Interrupt
    tell: Callable[[Walk], None]
    done: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Recipients changed, by route and by the state in which they were."""
    passed: Counter[Passed] = field(default_factory=Counter)
    active: int = 0
    over_time: int = 0
    again: list[Key] = field(default_factory=list)
    pages: int = 0
    """Pages of the queue that were looked through."""
    through: bool = True
    """Whether all was looked through."""

    def over(self, which: QueueFilter) -> None:
        """Do it with all that is selected."""
        for after in positions(which):
            if self.interrupt.asked():
                self.through = False
                return
            page = self.store.select(which, after=after.key)
            after.move(page.upto)
            for start in range(0, len(page.keys), BATCH):
                if self.interrupt.asked():
                    self.through = False
                    return
                self._batch(page.keys[start : start + BATCH])
            self.pages += 1
            self.tell(self)

    def come_back(self, patience: float) -> None:
        """Wait for what workers had in hand, at most so many seconds."""
        until = time.monotonic() + patience
        while self.again and not self.interrupt.asked() and time.monotonic() < until:
            time.sleep(LOOK_AGAIN)
            keys, self.again = self.again, []
            for start in range(0, len(keys), BATCH):
                self._batch(keys[start : start + BATCH])

    def _batch(self, keys: Sequence[Key]) -> None:
        began = time.monotonic()
        self._take(self.store.steer(self.order, keys, now=now_us()))
        self.tell(self)
        if self.gentle:
            time.sleep(max(LEAST_PAUSE, time.monotonic() - began))

    def _take(self, steered: Steered) -> None:
        for group in steered.done:
            self.done[group.route, group.state] += group.count
        self.passed.update(steered.passed)
        self.active += steered.active
        self.over_time += steered.over_time
        self.again += steered.again


@dataclass(slots=True)
class Position:
    """Behind which key a page begins; `move` says where it ended."""

    key: Key
    at_end: bool = False

    def move(self, upto: Key | None) -> None:
        """Go to the next page; None: there is none."""
        if upto is None:
            self.at_end = True
        else:
            self.key = upto


def positions(which: QueueFilter) -> Iterator[Position]:
    """Go through the part of the queue in which the selection lies, by its ids."""
    position = Position(_BEGIN)
    last: int | None = None
    if which.since is not None:
        position.key = (floor_at(which.since), -1)
    if which.before is not None:
        last = floor_at(which.before)
    if which.message_id is not None:
        position.key = (which.message_id, -1)
        last = which.message_id
    while not position.at_end and (last is None or position.key[0] <= last):
        yield position
