"""The real spool on SQLite, called inline, with the faults that a database and the way to it have.

A call may be refused before anything was done; a commit may be lost; or it may have happened, and its
acknowledgement be lost. The last two happen where they do in life, below the store, for it has to know.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

import trio

from spooler.errors import TryAgainError
from spooler.spool.connect import SqliteDatabase
from spooler.spool.store import Store

if TYPE_CHECKING:
    from spooler.ident import IdMaker
    from spooler.spool.place import SqlitePlace
    from tests.simulation.life import Life


class _Locked(sqlite3.OperationalError):
    sqlite_errorcode = sqlite3.SQLITE_BUSY


class ShakyDatabase(SqliteDatabase):
    """One worker's connection."""

    def __init__(self, place: SqlitePlace, life: Life) -> None:
        super().__init__(place)
        chance = life.world.chance
        commit = self._conn.commit

        def shaky() -> None:
            if chance.strikes("commit lost"):
                raise _Locked("database is locked")
            commit()
            if chance.strikes("acknowledgement lost"):
                raise _Locked("database is locked, they say")

        self._conn.commit = shaky  # type: ignore[method-assign]  # one connection, for as long as it lives


class Inline:
    """A worker's spool: see `spooler.delivery.ports.SpoolPort`."""

    def __init__(self, life: Life, place: SqlitePlace, *, uuid: str, ids: IdMaker) -> None:
        self._life = life
        self._store = Store(ShakyDatabase(place, life), uuid=uuid, id_maker=ids)

    @property
    def uuid(self) -> str:
        """See Store."""
        return self._store.uuid

    def close(self) -> None:
        """Close the database."""
        self._store.close()

    async def changed(self) -> float | None:
        """Nothing is heard where time is made up: the spool is polled."""
        return await trio.sleep_forever()

    async def beat(self, worker: int, *, now: int) -> bool:
        """See Store; a good one is remembered."""
        began = trio.current_time()
        good: bool = await self._call("beat", worker, now=now)
        if good:
            self._life.beaten_at = began
        return good

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # stands for any method
        async def call(*args: object, **kwargs: object) -> object:
            return await self._call(name, *args, **kwargs)

        return call

    async def _call(self, name: str, *args: object, **kwargs: object) -> Any:  # noqa: ANN401
        life = self._life
        chance = life.world.chance
        await self._pass()
        chance.note(trio.current_time(), life, name, len(args))
        if life.cut_off:
            chance.hit("outage")
            raise TryAgainError("the database does not answer")
        if chance.strikes("spool refuses"):
            raise TryAgainError("the database is busy")
        if name == "chunk":
            chance.hit("content in pieces")
        result = self._weighed(name, args, getattr(self._store, name)(*args, **kwargs))
        if chance.may(0.3):
            await self._pass()
        return result

    def _weighed(self, name: str, args: tuple[object, ...], result: Any) -> Any:  # noqa: ANN401
        """Count what the worker holds with this answer."""
        life = self._life
        scales = life.scales
        if scales is None or life.dead:
            return result
        match name:
            case "claim":
                assert isinstance(args[0], int)
                scales.claimed(life.world.oracle.leased(args[0]))
            case "contents":
                return {key: scales.put_on(octets, "contents") for key, octets in result.items()}
            case "chunk" if result is not None:
                return scales.put_on(result, "pieces")
        return result

    async def _pass(self) -> None:
        """Time goes by, and with it perhaps a life."""
        life = self._life
        life.may_die("crash at a spool call")
        await trio.sleep(life.world.chance.between(0.00002, life.world.spool_pause))
        if life.dead:
            await trio.sleep_forever()
