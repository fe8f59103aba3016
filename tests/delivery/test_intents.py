"""What a worker notes in its journal while it delivers: an intent for each attempt, and what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from spooler import worker
from spooler.journal.writer import Journal
from tests.delivery.house import House, sink

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio.testing import MockClock

    from spooler.result import RecipientResult

Note = tuple[str, int, list[int]]  # what, of which message, which of its recipients


@pytest.fixture
def notes(monkeypatch: pytest.MonkeyPatch) -> list[Note]:
    """What workers note from now on."""
    told: list[Note] = []

    class Told(Journal):
        def intend(self, owner: object, message_id: int, n: Sequence[int]) -> None:
            told.append(("intent", message_id, list(n)))
            super().intend(owner, message_id, n)

        def close_intent(self, owner: object, message_id: int, n: Sequence[int]) -> None:
            if n:
                told.append(("void", message_id, list(n)))
            super().close_intent(owner, message_id, n)

        def record(self, results: Sequence[RecipientResult]) -> None:
            told.append(("result", results[0].message_id, [r.n for r in results]))
            super().record(results)

    monkeypatch.setattr(worker, "Journal", Told)
    return told


async def test_each_attempt_has_its_intent(
    house: House, notes: list[Note], autojump_clock: MockClock
) -> None:
    """Of all recipients that end-of-data is sent for, before it is, and then their results."""
    message = house.enqueue("a@x", "b@x")
    async with sink() as (running, _):
        await house.drain(running)
    assert notes == [("intent", message, [0, 1]), ("result", message, [0, 1])]


async def test_what_goes_into_the_next_transaction_is_taken_back(
    house: House, notes: list[Note], autojump_clock: MockClock
) -> None:
    """Recipients that a full transaction did not take were not handed over: their worker may die now."""
    message = house.enqueue("a@x", "b@x", "c@x")
    async with sink(max_recipients=1) as (running, inbox):
        await house.drain(running)
    assert inbox.copies == {"a@x": 1, "b@x": 1, "c@x": 1}
    assert notes[:3] == [
        ("intent", message, [0, 1, 2]),
        ("void", message, [1, 2]),
        ("result", message, [0]),
    ]
