"""The settler by itself: what it owes to the journal and to the spool, and in which order."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import trio

from spooler.delivery.ports import Ground
from spooler.delivery.settler import Settler
from spooler.errors import TryAgainError
from spooler.records import SettleReport
from tests.journal.making import result

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio.testing import MockClock

    from spooler.result import RecipientResult


class Notebook:
    """A journal and a spool that write down what is asked of them; settling is refused so many times."""

    def __init__(self, refusals: int) -> None:
        self.told: list[tuple[str, int]] = []
        self.settled_ids: list[int] = []
        self.meanwhile: list[RecipientResult] = []
        self.settler: Settler | None = None
        self._refusals = refusals

    def record(self, results: Sequence[RecipientResult], owner: object = None) -> None:
        """As a journal."""
        self.told.append(("recorded", len(results)))

    def push(self) -> bool:
        """As a journal."""
        self.told.append(("pushed", 0))
        return True

    def settled(self, count: int) -> None:
        """As a journal."""
        self.told.append(("let go", count))

    async def settle(self, worker: int, results: Sequence[RecipientResult], *, now: int) -> SettleReport:
        """As a spool."""
        if self._refusals:
            self._refusals -= 1
            self.told.append(("refused", len(results)))
            if self.settler is not None and self.meanwhile:
                self.settler.add([self.meanwhile.pop()])
            raise TryAgainError("database is locked")
        self.told.append(("committed", len(results)))
        self.settled_ids += [one.message_id for one in results]
        return SettleReport(len(results), 0)

    async def release(self, worker: int, keys: Sequence[tuple[int, int]], *, due: int) -> int:
        """As a spool."""
        if self._refusals:
            self._refusals -= 1
            self.told.append(("not acknowledged", len(keys)))
            raise TryAgainError("connection lost")
        self.told.append(("released", len(keys)))
        return len(keys)


def ground(notebook: Any) -> Ground:  # noqa: ANN401  # stands for a journal and for a spool
    """What a settler works with."""
    return Ground(
        worker=1,
        spool=notebook,
        journal=notebook,
        clock=lambda: 0,
        rng=random.Random(1),
        observe=lambda _: None,
    )


async def settle(notebook: Notebook, *results: RecipientResult) -> None:
    """Add results and wait until they are durable."""
    settler = notebook.settler = Settler(ground(notebook))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(settler.run, lambda: notebook.told.append(("eased", 0)))
        settler.add(list(results))
        await settler.flushed()
        nursery.cancel_scope.cancel()
    assert settler.backlog == 0


async def test_the_journal_lets_go_behind_the_commit(autojump_clock: MockClock) -> None:
    """Results stay in the journal until the spool has them, however often it refuses."""
    notebook = Notebook(refusals=2)
    await settle(notebook, result(1), result(2))
    assert notebook.told == [
        ("recorded", 2),
        ("pushed", 0),
        ("refused", 2),
        ("refused", 2),
        ("committed", 2),
        ("let go", 2),
        ("eased", 0),
    ]


async def test_what_is_refused_is_kept_with_what_comes_meanwhile(autojump_clock: MockClock) -> None:
    """Everything is settled once, in the order in which it came."""
    notebook = Notebook(refusals=3)
    notebook.meanwhile = [result(5), result(4), result(3)]
    await settle(notebook, result(1), result(2))
    assert notebook.settled_ids == [1, 2, 3, 4, 5]


async def test_nothing_is_claimed_before_giving_back_was_acknowledged(autojump_clock: MockClock) -> None:
    """It may have happened, and is repeated: what was claimed again in between would lose its lease."""
    notebook = Notebook(refusals=2)
    settler = Settler(ground(notebook))

    async def claim() -> None:
        await trio.sleep(0.03)  # the first try was made by then
        assert notebook.told[-1] == ("not acknowledged", 1)
        async with settler.leasing:
            notebook.told.append(("claimed", 0))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(settler.run, lambda: None)
        settler.give_back([(1, 0)], due=0)
        nursery.start_soon(claim)
        await settler.flushed()
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert [what for what, _ in notebook.told if what != "pushed"] == [
        "not acknowledged",
        "not acknowledged",
        "released",
        "claimed",
    ]


async def test_what_is_given_back_counts_until_it_was_acknowledged(autojump_clock: MockClock) -> None:
    """Whoever claims meanwhile would hold ever more: all of it is backlog."""
    notebook = Notebook(refusals=2)
    settler = Settler(ground(notebook))
    settler.give_back([(1, 0), (1, 1)], due=0)
    settler.give_back([(2, 0)], due=9)
    assert settler.backlog == 3
    seen = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(settler.run, lambda: seen.append(settler.backlog))
        await trio.sleep(0.03)
        assert notebook.told[-1][0] == "not acknowledged"
        assert settler.backlog == 3
        await settler.flushed()
        nursery.cancel_scope.cancel()
    assert (seen[-1], settler.backlog) == (0, 0)
