"""Disks that are full or broken, and contents of every size: results are kept, nothing is lost or doubled."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

import pytest
import trio

from spooler.errors import StorageError
from spooler.events import SpoolTrouble
from spooler.journal import writer
from tests.delivery.house import CONTENT, House, sink
from tests.spool.making import act

if TYPE_CHECKING:
    from trio.testing import MockClock


def pragma(house: House, text: str) -> Any:  # noqa: ANN401
    """Run a PRAGMA on the store's own connection."""
    return house.store._db.read(lambda conn: conn.exec_driver_sql(f"PRAGMA {text}").fetchall())


def troubles(house: House) -> set[str]:
    """What the spool's troubles were about."""
    return {event.doing for event in house.events if isinstance(event, SpoolTrouble)}


async def test_the_spools_disk_is_full_for_a_while(house: House, autojump_clock: MockClock) -> None:
    """What was answered waits in memory and journal until there is room; nothing is sent again for it."""
    for i in range(300):
        house.enqueue(f"a-rather-long-name-of-recipient-{i}@some.domain.example")

    async def make_room() -> None:
        await trio.sleep(120)
        pragma(house, "max_page_count = 1000000")

    async with sink() as (running, inbox), trio.open_nursery() as nursery:
        ((pages,),) = pragma(house, "page_count")
        pragma(house, f"max_page_count = {pages}")
        nursery.start_soon(make_room)
        await house.drain(running)
    assert troubles(house) & {"settling results", "claiming"}
    assert any("disk full" in event.why for event in house.events if isinstance(event, SpoolTrouble))
    assert inbox.copies.total() == 300
    assert set(inbox.copies.values()) == {1}
    assert house.outcomes() == {"delivered": 300}


async def test_the_journals_disk_is_full_for_a_while(
    house: House, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No end-of-data goes out without its intent, results go into what was reserved, and then all goes on."""
    monkeypatch.setattr(writer, "SEGMENT", 8192)
    monkeypatch.setattr(writer, "RESERVE", 6000)
    real = os.posix_fallocate
    full_until = 300.0
    begun = refused = 0

    def allocate(fd: int, start: int, size: int) -> None:
        nonlocal begun, refused
        begun += 1
        if begun > 1 and trio.current_time() < began + full_until:
            refused += 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(fd, start, size)

    began = trio.current_time()
    monkeypatch.setattr(os, "posix_fallocate", allocate)
    for i in range(300):
        house.enqueue(f"r{i}@x")
    async with sink() as (running, inbox):
        await house.drain(running)
    assert refused > 0
    assert trio.current_time() >= began + full_until
    assert inbox.copies.total() == 300
    assert set(inbox.copies.values()) == {1}
    assert house.outcomes() == {"delivered": 300}


async def test_a_journal_that_cannot_be_begun(
    house: House, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker without room for its journal does not start, says where to make room, and leaves nothing."""

    def full(fd: int, start: int, size: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    house.enqueue("r@x")
    async with sink() as (running, inbox):
        with monkeypatch.context() as patch:
            patch.setattr(os, "posix_fallocate", full)
            with pytest.raises(StorageError, match="No space left on device") as caught:
                await house.drain(running)
        assert str(house.journals) in caught.value.what
        assert "make room" in caught.value.hint
        assert house.store.workers() == []
        assert list((house.journals / house.store.uuid).iterdir()) == []
        await house.drain(running)
    assert inbox.copies == {"r@x": 1}


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
async def test_the_journal_cannot_be_written_for_a_while(
    house: House, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """A write that fails keeps end-of-data back; when it works again all that was noted is written first."""
    real = os.pwrite
    failed = 0

    def write(fd: int, data: bytes, at: int) -> int:
        nonlocal failed
        if at > 0 and trio.current_time() < 100.0 + began:
            failed += 1
            raise OSError(number, os.strerror(number))
        return real(fd, data, at)

    began = trio.current_time()
    monkeypatch.setattr(os, "pwrite", write)
    for i in range(20):
        house.enqueue(f"r{i}@x")
    async with sink() as (running, inbox):
        await house.drain(running)
    assert failed > 0
    assert inbox.copies.total() == 20
    assert set(inbox.copies.values()) == {1}
    assert house.outcomes()["delivered"] == 20


class Broken:
    """A spool that answers every other call with an error of its disk, before or after it worked."""

    def __init__(self, house: House, *, after: bool) -> None:
        self._spool = house.spool
        self._after = after
        self._calls = 0

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # stands for any method
        method = getattr(self._spool, name)
        if name not in ("claim", "settle", "contents", "chunk", "release", "beat"):
            return method

        async def call(*args: object, **named: object) -> object:
            self._calls += 1
            if self._calls % 2:
                if self._after and name == "settle":
                    await method(*args, **named)
                raise StorageError("input/output error")
            return await method(*args, **named)

        return call


@pytest.mark.parametrize("after", [False, True])
async def test_the_spools_disk_is_broken_now_and_then(
    house: House, autojump_clock: MockClock, after: bool
) -> None:
    """Each call is made again until it works, also one whose commit happened and was not acknowledged."""
    for i in range(50):
        house.enqueue(f"r{i}@x", f"s{i}@x")
    house.spool = Broken(house, after=after)
    async with sink() as (running, inbox):
        await house.drain(running)
    assert set(inbox.copies.values()) == {1}
    assert inbox.copies.total() == 100
    assert house.outcomes() == {"delivered": 100}


@pytest.mark.parametrize("mode", ["lockstep", "pipelined", "chunked"])
async def test_nothing_at_all(house: House, autojump_clock: MockClock, mode: str) -> None:
    """A message of 0 bytes is mail like any other, in every mode and beside others."""
    for i in range(6):
        house.enqueue(f"r{i}@x", f"s{i}@x", content=b"" if i % 2 else CONTENT)
    async with sink() as (running, inbox):
        await house.drain(running, mode=mode)
    assert set(inbox.copies.values()) == {1}
    assert inbox.copies.total() == 12
    assert len(inbox.digests) == 2


@pytest.mark.parametrize("missing", [0, 1, 2])
async def test_a_chunk_of_the_content_is_gone(house: House, autojump_clock: MockClock, missing: int) -> None:
    """Whichever it is: the end of the message is never sent, and its recipients are deferred for it."""
    content = b"Subject: x\r\n\r\n" + (b"x" * 70 + b"\r\n") * 9000
    message = house.enqueue("a@x", content=content)
    other = house.enqueue("b@x")
    act(house.store, "DELETE FROM content_chunk WHERE content <> :o AND sequence = :s", o=other, s=missing)
    async with sink() as (running, inbox):
        await house.drain(running, until_empty=False)
    assert inbox.copies == {"b@x": 1}
    (entry,) = house.store.ledger_of(message)
    assert (entry.outcome, entry.uncertain) == ("deferred", False)
    assert "content is missing" in entry.text


async def test_a_message_to_thousands(house: House, autojump_clock: MockClock) -> None:
    """Recipients are claimed a page at a time and travel in transactions of as many as the route allows."""
    message = house.enqueue(*(f"r{i}@x" for i in range(3000)))
    async with sink() as (running, inbox):
        await house.drain(running)
    assert inbox.copies.total() == len(inbox.copies) == 3000
    assert running.counters.transactions == 30
    assert len(house.store.ledger_of(message)) == 3000
