"""Hearing of new mail: words and commits of others, and what is said when nothing can be heard."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooLongError
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing
from psycopg import sql

from spooler.claim import Want
from spooler.result import Outcome
from spooler.spool import wake
from spooler.spool.remote import spool_process
from spooler.spool.store import Store
from tests.spool.making import DUE, MINUTE, NOW, message, results, worker

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from tests.servers.postgres import Postgres

PATIENCE = 10.0  # seconds for what should take some 10 ms
NOTHING = 0.2  # seconds without a word that count as silence


class Ear:
    """A thread that waits for changes of a spool."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._threads = ThreadPoolExecutor(1)
        self._next: Future[float | None] | None = None

    def hears(self) -> float | None:
        """Wait for the next change."""
        waiting = self._next or self._threads.submit(self._store.changed)
        self._next = None
        return waiting.result(PATIENCE)

    def quiet(self) -> bool:
        """Whether nothing is heard for a while."""
        self._next = self._next or self._threads.submit(self._store.changed)
        try:
            self._next.result(NOTHING)
        except TooLongError:
            return True
        self._next = None
        return False

    def settle_down(self) -> None:
        """Hear everything that there is to hear."""
        while not self.quiet():
            pass

    def close(self) -> None:
        """End the thread; the store must be closed."""
        self._threads.shutdown()


@pytest.fixture
def ear(spool_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ear]:
    """An ear to a spool in which nothing happens, which trusts in words however late they come."""
    monkeypatch.setattr(wake, "PROOF", PATIENCE)
    with Store.open(spool_url) as store:
        ear = Ear(store)
        assert ear.hears() == wake.SURE
        ear.settle_down()
        yield ear
    ear.close()


@pytest.fixture
def other(spool_url: str) -> Iterator[Store]:
    """The same spool, as another process has it open."""
    with Store.open(spool_url) as opened:
        yield opened


def test_what_another_does_is_heard(ear: Ear, other: Store) -> None:
    """New mail, recipients given back, retries and rescues are heard, whoever causes them."""
    for _ in range(3):
        other.enqueue([message()], now=NOW)
        assert ear.hears() == wake.SURE
        ear.settle_down()
    me = worker(other)
    claims = other.claim(me, [Want("default", 2)], now=DUE)
    ear.settle_down()
    other.release(me, [(claims[0].message_id, 0)], due=DUE)
    assert ear.hears() == wake.SURE
    ear.settle_down()
    other.settle(me, results(claims[1:], Outcome.DEFERRED), now=DUE)
    assert ear.hears() == wake.SURE
    claims = other.claim(me, [Want("default", 1)], now=DUE)
    ear.settle_down()
    assert other.rescue(me, now=DUE, due=DUE + MINUTE, uncertain=True) == 1
    assert ear.hears() == wake.SURE


def test_a_burst_is_few_words(ear: Ear, other: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commits in quick succession are heard a few times, the last one included."""
    for slower in ("LOOK", "GATHER"):  # or commits are not quick where the disk is slow
        monkeypatch.setattr(wake, slower, NOTHING / 2)
    heard = 0
    done = threading.Event()

    def put() -> None:
        for _ in range(100):
            other.enqueue([message()], now=NOW)
        done.set()

    putting = threading.Thread(target=put)
    putting.start()
    while not (ear.quiet() and done.is_set()):
        heard += 1
    putting.join()
    assert 1 <= heard < 60


def test_nothing_is_missed_between_two_waits(ear: Ear, other: Store) -> None:
    """What was committed while nobody waited is heard by who waits next."""
    ear.settle_down()
    other.enqueue([message()], now=NOW)
    assert ear.hears() == wake.SURE


def test_closing_lets_go_whoever_waits(spool_url: str) -> None:
    """A thread that waits for changes does not keep a spool open."""
    store = Store.open(spool_url)
    ear = Ear(store)
    ear.hears()
    assert ear.quiet()
    store.close()
    ear.hears()
    ear.close()


async def test_it_crosses_to_the_worker_and_may_be_abandoned(spool_url: str, other: Store) -> None:
    """In a worker: other calls go on while one waits for changes, and the wait can be cancelled."""
    async with spool_process(spool_url) as spool:
        with trio.fail_after(PATIENCE):
            while await spool.changed() != wake.SURE:  # on a busy machine its own word may come late
                pass
        async with trio.open_nursery() as nursery:
            heard = trio.Event()

            async def listen() -> None:
                while True:
                    await spool.changed()
                    heard.set()

            nursery.start_soon(listen)
            await trio.testing.wait_all_tasks_blocked(NOTHING)
            heard = trio.Event()
            assert await spool.left() == 0
            other.enqueue([message()], now=NOW)
            with trio.fail_after(PATIENCE):
                await heard.wait()
            assert await spool.left() == 1
            nursery.cancel_scope.cancel()
        assert await spool.left() == 1


def test_a_lost_listener_says_so_and_comes_back(
    postgres_url: str, postgres_server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server ends our connection: silence means nothing any more, until words arrive again."""
    monkeypatch.setattr(wake, "AGAIN", (0.01, 0.1))
    monkeypatch.setattr(wake, "PROOF", PATIENCE)
    with Store.open(postgres_url) as store, Store.open(postgres_url) as other:
        ear = Ear(store)
        assert ear.hears() == wake.SURE
        ear.settle_down()
        postgres_server.execute(
            sql.SQL(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE query LIKE 'LISTEN %' AND datname = {}"
            ).format(sql.Literal(postgres_url.partition("@/")[2].partition("?")[0]))
        )
        assert ear.hears() is None
        assert ear.hears() == wake.SURE
        ear.settle_down()
        other.enqueue([message()], now=NOW)
        assert ear.hears() == wake.SURE
    ear.close()


def test_a_connection_on_which_no_words_arrive_is_not_relied_on(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As behind a pgbouncer that pools transactions: LISTEN works, no word is heard, silence says nothing."""

    def deaf(self: wake._Words) -> psycopg.Connection:  # which does not say LISTEN
        return self._db.second()

    monkeypatch.setattr(wake, "AGAIN", (0.01, 0.01))
    monkeypatch.setattr(wake, "PROOF", 0.1)
    monkeypatch.setattr(wake._Words, "_listen", deaf)
    with Store.open(postgres_url) as store:
        assert [store.changed() for _ in range(3)] == [None] * 3


def test_a_word_that_cannot_be_said_fails_no_enqueue(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commit has happened: what goes wrong behind it is nobody's error."""
    monkeypatch.setattr(wake, "channel", lambda uuid: "x" * 64)  # longer than Postgres takes
    with Store.open(postgres_url) as store:
        assert len(store.enqueue([message()], now=NOW)) == 1
        assert store.left() == 1
