"""The spool for trio."""

from __future__ import annotations

import inspect
import threading
from typing import TYPE_CHECKING, TypeVar

import pytest
import trio
import trio.from_thread
from msgspec.structs import replace

from spooler.claim import Want
from spooler.errors import DataError
from spooler.spool.store import Store
from spooler.spool.threads import AsyncSpool, inline
from tests.spool.making import DUE, NOW, message, results, worker

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def test_same_methods() -> None:
    """Whatever the store can do is there to await, with the same arguments."""
    skipped = {"open", "close", "is_postgres"}
    wanted = {name: f for name, f in vars(Store).items() if not name.startswith("_") and name not in skipped}
    for name, function in wanted.items():
        mine = getattr(AsyncSpool, name)
        assert inspect.iscoroutinefunction(mine), name
        assert str(inspect.signature(mine)) == str(inspect.signature(function)), name


async def test_in_threads(store: Store) -> None:
    """Calls run in threads, and so do not hold up others."""
    spool = AsyncSpool(store)
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(lambda: spool.enqueue([message()], now=NOW))
    me = await spool.register(host="h", pid=1, now=NOW)
    claims = await spool.claim(me, [Want("default", 10)], now=DUE)
    contents = await spool.contents([c.content for c in claims])
    report = await spool.settle(me, results(claims), now=DUE)

    assert spool.uuid == store.uuid
    assert (len(claims), len(contents), report.settled) == (5, 5, 5)
    assert await spool.left() == 0
    with pytest.raises(DataError):
        await spool.enqueue([replace(message(), recipients=())], now=NOW)


async def test_inline(store: Store) -> None:
    """A simulation runs everything in its own thread."""
    threads = []

    async def runner(function: Callable[[], T], /) -> T:
        threads.append(threading.current_thread())
        return await inline(function)

    spool = AsyncSpool(store, runner)

    assert await spool.left() == 0
    assert threads == [threading.current_thread()]
    worker(store)


async def test_cancelled_call_is_finished(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has begun is done to its end, and the caller gets its result, cancelled or not."""
    spool = AsyncSpool(store)
    begun, go_on = trio.Event(), threading.Event()
    answers: list[int] = []

    def slow(routes: object) -> int:
        trio.from_thread.run_sync(begun.set)
        go_on.wait(10)
        return 7

    async def ask() -> None:
        answers.append(await spool.left())

    monkeypatch.setattr(store, "left", slow)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await begun.wait()
        nursery.cancel_scope.cancel()
        go_on.set()

    assert answers == [7]
