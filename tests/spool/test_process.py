"""The spool in a process of its own: the same answers, the same errors, and an end that is noticed."""

from __future__ import annotations

import inspect
import os
import select
import signal
from typing import TYPE_CHECKING, get_args

import pytest
import trio

from spooler.claim import Want
from spooler.delivery.ports import SpoolPort
from spooler.errors import NoInputError, SpoolerError, UnavailableError, UsageError
from spooler.spool import wire
from spooler.spool.remote import RemoteSpool, spool_process
from spooler.spool.starting import start
from spooler.spool.store import Store
from tests.spool.making import DUE, NOW, message, results

if TYPE_CHECKING:
    from pathlib import Path


def test_every_method_of_the_port_crosses_with_its_arguments() -> None:
    """Delivery's protocol, the remote end, the wire's table and the store agree."""
    names = [name for name in vars(SpoolPort) if not name.startswith("_") and name != "uuid"]
    assert sorted(names) == sorted(set(wire.METHODS) - {"uuid"})
    for name in names:
        parameters = list(inspect.signature(getattr(Store, name)).parameters.values())[1:]
        arguments = get_args(wire.METHODS[name][0])
        assert len(arguments) == len(parameters), name
        theirs = inspect.signature(getattr(RemoteSpool, name))
        assert [(p.name, p.kind) for p in list(theirs.parameters.values())[1:]] == [
            (p.name, p.kind) for p in parameters
        ], name


async def test_a_round_of_work(store: Store, spool_url: str) -> None:
    """Claims, contents and results cross whole; calls at once each get their own answer."""
    for _ in range(5):
        store.enqueue([message()], now=NOW)
    async with spool_process(spool_url) as spool:
        assert spool.uuid == store.uuid
        worker = await spool.register(host="h", pid=1, now=NOW)
        claims = await spool.claim(worker, [Want("default", 100)], now=DUE)
        answers: dict[int, int] = {}

        async def count(i: int) -> None:
            answers[i] = await spool.left(["default"] if i % 2 else None)

        async with trio.open_nursery() as nursery:
            for i in range(20):
                nursery.start_soon(count, i)
        contents = await spool.contents([claim.content for claim in claims])
        report = await spool.settle(worker, results(claims), now=DUE)
        total = sum(len(claim.recipients) for claim in claims)
        assert set(answers.values()) == {total}
        assert len(contents) == 5
        assert (report.settled, report.late) == (total, 0)
        assert await spool.next_due(["default"], now=DUE) is None
        assert await spool.chunk(claims[0].content, 0) == contents[claims[0].content]
        assert await spool.chunk(claims[0].content, 1) is None
        await spool.unregister(worker, now=DUE)
        assert await spool.workers() == []
    assert store.left() == 0


async def test_a_spool_that_cannot_be_opened(tmp_path: Path) -> None:
    """The error is the store's own, with its kind and its mend."""
    for url, kind in ((f"sqlite:///{tmp_path}/none.db", NoInputError), ("nonsense", UsageError)):
        with pytest.raises(SpoolerError) as direct:
            Store.open(url)
        with pytest.raises(type(direct.value)) as crossed:
            async with spool_process(url):
                raise AssertionError("opened")
        assert str(crossed.value) == str(direct.value)
        assert isinstance(crossed.value, SpoolerError), kind


async def test_an_error_of_a_call_is_that_calls(sqlite_url: str) -> None:
    """A refused call raises its SpoolerError at its caller; the next call works."""
    async with spool_process(sqlite_url) as spool:
        with pytest.raises(SpoolerError, match="declared dead"):
            await spool.claim(123, [Want("default", 1)], now=NOW)
        assert await spool.left() == 0


async def test_the_death_of_the_process_is_told(sqlite_url: str) -> None:
    """Whoever waits for an answer, and whoever asks afterwards, learns that the process ended."""
    told = []

    async def ask(spool: RemoteSpool) -> None:
        try:
            await spool.left()
        except UnavailableError as error:
            told.append(error.what)

    async def work() -> None:
        async with spool_process(sqlite_url) as spool:
            os.kill(spool.pid, signal.SIGKILL)
            await ask(spool)
            await ask(spool)
            await trio.sleep_forever()

    with pytest.raises(UnavailableError, match="spool process ended"):
        await work()
    assert told == ["the spool process ended"] * 2


async def test_signals_that_stop_workers_do_not_stop_it(sqlite_url: str) -> None:
    """It goes on answering until its worker is done, whatever the terminal sends to all."""
    async with spool_process(sqlite_url) as spool:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(spool.pid, number)
        assert await spool.left() == 0


def test_a_worker_that_is_killed_with_answers_unread(
    sqlite_url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """The stream then ends in a reset: the process closes the spool all the same, and says nothing."""
    process, stream = start(sqlite_url)
    with stream:
        assert select.select([stream], [], [], 20)[0]  # its first answer is there, and stays unread
    assert process.wait(20) == 0
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("url", ["", "sqlite:///none.db", None])
def test_a_worker_that_goes_while_the_spool_opens(
    url: str | None, spool_url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """It ends without a word: nobody is there to be answered."""
    started = start(spool_url if url is None else url)
    started.stream.close()
    assert started.process.wait(30) == 0
    assert capfd.readouterr() == ("", "")
