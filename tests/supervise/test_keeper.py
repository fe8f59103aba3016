"""The keeper and small programs: what it starts, starts again, stops, and gives up."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from spooler import supervise
from spooler.errors import NoInputError, SpoolerError
from spooler.events import Event, ProcessEnded
from spooler.part import Part
from spooler.supervise import Keeper

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

_PROGRAM = Path(__file__).with_name("program.py")
_PATIENCE = 30.0  # seconds for what takes a tenth of one on a quiet machine


class Watched:
    """A keeper of `program.py HOW`; waits for what it hears and observes."""

    def __init__(self, how: str, *, count: int, endless: bool) -> None:
        self.events: list[Event] = []
        self.error: SpoolerError | None = None
        """What the keeper raised."""
        self._news = trio.Event()
        self.keeper = Keeper(
            [sys.executable, str(_PROGRAM), how],
            count=count,
            env=os.environ,
            endless=endless,
            observe=self._observe,
            heard=self._tell,
        )

    async def run(self) -> None:
        """Run the keeper."""
        try:
            await self.keeper.run()
        except SpoolerError as error:
            self.error = error

    def _observe(self, event: Event) -> None:
        self.events.append(event)
        self._tell()

    def _tell(self, *_: object) -> None:
        self._news.set()
        self._news = trio.Event()

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait until something is so, looking whenever there is news."""
        with trio.fail_after(_PATIENCE):
            while not true():
                await self._news.wait()

    def stops(self) -> list[int]:
        """How many requests to stop each process has reported."""
        return [report.outcomes["stops"] for report in self.keeper.reports if report.outcomes]


@asynccontextmanager
async def watched(how: str, *, count: int = 2, endless: bool = True) -> AsyncIterator[Watched]:
    """Run a keeper; the block ends when it does."""
    kept = Watched(how, count=count, endless=endless)
    with trio.fail_after(_PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(kept.run)
            yield kept


async def test_requests_to_stop_reach_every_process() -> None:
    """The first request arrives as one at each, the second as a second; then all have ended, in order."""
    async with watched("work", count=3) as kept:
        await kept.until(lambda: kept.stops() == [0, 0, 0])
        assert sorted(report.total or 0 for report in kept.keeper.reports) == [0, 1, 2]
        kept.keeper.stop()
        await kept.until(lambda: kept.stops() == [1, 1, 1])
        kept.keeper.stop()
    assert kept.stops() == [2, 2, 2]
    assert kept.events == []
    assert kept.error is None


async def test_a_process_that_is_killed_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another takes its place and its part; the other process is left alone; the log is told."""
    monkeypatch.setattr(supervise, "FIRST_PAUSE", 0.05)
    async with watched("work") as kept:
        await kept.until(lambda: len(kept.stops()) == 2)
        victim, other = kept.keeper.pids
        os.kill(victim, signal.SIGKILL)
        await kept.until(lambda: len(kept.stops()) == 3)
        assert other in kept.keeper.pids
        assert victim not in kept.keeper.pids
        kept.keeper.stop()
        kept.keeper.stop()
    assert kept.events == [ProcessEnded(pid=victim, why="it was ended by SIGKILL", restart_in=0.05)]
    assert {report.total for report in kept.keeper.reports} == {0, 1}


async def test_a_process_that_hangs_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its signs of life end: it is killed, and told as what it was; who never gave any is let be."""
    monkeypatch.setattr(supervise, "FIRST_PAUSE", 0.05)
    monkeypatch.setattr(supervise, "LIVE_EVERY", 0.2)
    monkeypatch.setattr(supervise, "SILENT", 3)
    async with watched("hang", count=1) as kept:
        await kept.until(lambda: len(kept.stops()) == 1)
        (victim,) = kept.keeper.pids
        await kept.until(lambda: bool(kept.events))
        kept.keeper.stop()
        kept.keeper.stop()
        for pid in kept.keeper.pids:
            os.kill(pid, signal.SIGKILL)
    (event,) = kept.events
    why = "it gave no sign of life for 60 s, and was killed"
    assert event == ProcessEnded(pid=victim, why=why, restart_in=0.05)
    async with watched("deaf", count=1) as kept:
        await kept.until(lambda: len(kept.stops()) == 1)
        await trio.sleep(1.5)
        assert kept.events == []
        os.kill(kept.keeper.pids[0], signal.SIGKILL)
        kept.keeper.stop()


async def test_work_that_has_an_end_ends() -> None:
    """Processes that are done are not replaced."""
    async with watched("end", endless=False) as kept:
        pass
    assert kept.stops() == [0, 0]
    assert kept.events == []


async def test_work_without_end_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no end, a process that ends in order is replaced too, later each time."""
    monkeypatch.setattr(supervise, "FIRST_PAUSE", 0.01)
    async with watched("end", count=1) as kept:
        await kept.until(lambda: len(kept.events) == 3)
        kept.keeper.stop()
    assert [event.restart_in for event in kept.events if isinstance(event, ProcessEnded)] == [
        0.01,
        0.02,
        0.04,
    ]


async def test_a_process_that_keeps_failing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the work has an end, it does not wait for a process that cannot do it for ever."""
    monkeypatch.setattr(supervise, "FIRST_PAUSE", 0.01)
    async with watched("fail", count=1, endless=False) as kept:
        pass
    assert len(kept.events) == supervise.TRIES
    last = kept.events[-1]
    assert isinstance(last, ProcessEnded)
    assert (last.why, last.restart_in) == ("it ended with exit code 3", None)


async def test_what_keeps_the_first_from_working_is_raised_once() -> None:
    """No process ever began: all are stopped, and the error is the one that they met."""
    async with watched("refuse", count=3) as kept:
        pass
    assert isinstance(kept.error, NoInputError)
    assert str(kept.error) == "no spool here"


async def test_who_does_not_stop_is_killed_after_the_second_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that hangs does not keep the command from ending, when asked twice."""
    monkeypatch.setattr(supervise, "KILL_AFTER", 0.1)
    async with watched("deaf", count=1) as kept:
        await kept.until(lambda: len(kept.stops()) == 1)
        kept.keeper.stop()
        kept.keeper.stop()
    assert str(kept.error) == "it was ended by SIGKILL"


@pytest.mark.parametrize("whole", [1, 2, 3, 10, 17])
@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_shares_are_the_whole_together(whole: int, count: int) -> None:
    """Nothing is lost and nothing made up in dividing, and shares differ by one at most."""
    shares = [Part(index, count).share(whole) for index in range(count)]
    assert sum(shares) == whole
    assert max(shares) - min(shares) <= 1
