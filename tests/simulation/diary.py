"""The product's journal, kept by somebody who may die over a note, or find that nothing can be written."""

from __future__ import annotations

import os
from contextvars import ContextVar
from typing import TYPE_CHECKING

from spooler.journal.record import frame
from spooler.journal.writer import Journal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from tests.simulation.life import Life

KEEPER: ContextVar[Life] = ContextVar("KEEPER")
"""Whose journals are made in this task."""


class Diary(Journal):
    """Stands in for the product's own class: the dead write nothing, and the dying half of it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  # as the journal has them
        super().__init__(*args, **kwargs)
        self._life = KEEPER.get()
        self._life.diary = self

    def push(self) -> bool:
        """See Journal."""
        life = self._life
        if life.dead:
            return False
        if self._notes and life.may_die("crash while journalling", before=self._tear):
            return False
        if self._notes and life.world.chance.strikes("journal not writable"):
            return False
        return super().push()

    def _tear(self) -> None:
        """Write none of it, or a part, or all."""
        data = frame(self._notes)
        size = self._life.world.chance.rng.randint(0, len(data))
        segment = self._segments[-1]
        os.pwrite(segment.fd, data[:size], segment.at)

    @property
    def writable(self) -> bool:
        """See Journal."""
        return not self._life.dead and super().writable

    def close_intent(self, owner: object, message_id: int, n: Sequence[int]) -> None:
        """See Journal."""
        if n and not self._life.dead:
            self._life.world.chance.hit("safe: repeated at once")
        super().close_intent(owner, message_id, n)

    def settled(self, count: int) -> None:
        """See Journal."""
        if not self._life.dead:
            super().settled(count)

    def close(self) -> None:
        """See Journal."""
        if not self._life.dead:
            super().close()

    def abandon(self) -> None:
        """See Journal."""
        if not self._life.dead:
            super().abandon()

    def die(self) -> None:
        """Let go of everything, as the kernel does for the dead."""
        super().abandon()
