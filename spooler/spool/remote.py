"""The worker's end of the spool process (see `spooler.spool.process`): the spool's methods, awaited."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio

from spooler.errors import UnavailableError
from spooler.result import NO_ROUTES
from spooler.spool import wire
from spooler.spool.starting import LENGTH, Started, start

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from spooler.claim import Claim, Want
    from spooler.command import Pause
    from spooler.records import JobLeft, QueuedRecipient, QueueFilter, SettleReport, WorkerRow
    from spooler.result import Doubtful, RecipientResult
    from spooler.sample import Sample, Traced
    from spooler.vitals import SpoolVitals

BLOCK = 1 << 18  # bytes asked for in one read


class RemoteSpool:
    """A spool in a process of its own; `uuid` is the spool's identity, `pid` the process's."""

    def __init__(self, stream: trio.SocketStream, pid: int) -> None:
        self.uuid = ""
        self.pid = pid
        self._stream = stream
        self._sending = trio.Lock()
        self._number = 0
        self._waiting: dict[int, trio.Event] = {}
        self._answers: dict[int, wire.Answer] = {}
        self._buffer = bytearray()
        self.ended = False
        """Whether the process is gone."""

    async def register(self, *, host: str, pid: int, now: int) -> int:
        """See `Store`, here and below."""
        return int(await self._call("register", host, pid, now))

    async def beat(self, worker: int, *, now: int, standing: str | None = None) -> bool:
        return bool(await self._call("beat", worker, now, standing))

    async def workers(self) -> list[WorkerRow]:
        rows: list[WorkerRow] = await self._call("workers")
        return rows

    async def unregister(self, worker: int, *, now: int) -> None:
        await self._call("unregister", worker, now)

    async def rescue(
        self,
        worker: int,
        *,
        now: int,
        due: int,
        uncertain: bool,
        doubtful: Mapping[str, Doubtful] = NO_ROUTES,
    ) -> int:
        return int(await self._call("rescue", worker, now, due, uncertain, doubtful))

    async def doubt(
        self,
        worker: int,
        keys: Sequence[tuple[int, int]],
        *,
        now: int,
        due: int,
        doubtful: Mapping[str, Doubtful] = NO_ROUTES,
    ) -> int:
        return int(await self._call("doubt", worker, keys, now, due, doubtful))

    async def claim(self, worker: int, wants: Sequence[Want], *, now: int) -> list[Claim]:
        claims: list[Claim] = await self._call("claim", worker, wants, now)
        return claims

    async def claim_alone(
        self, worker: int, message_id: int, route: str, *, limit: int, due: int
    ) -> list[Claim]:
        claims: list[Claim] = await self._call("claim_alone", worker, message_id, route, limit, due)
        return claims

    async def hold(self, worker: int, message_id: int, route: str, *, why: str) -> int:
        return int(await self._call("hold", worker, message_id, route, why))

    async def contents(self, content_ids: Sequence[int]) -> dict[int, bytes]:
        found: dict[int, bytes] = await self._call("contents", content_ids)
        return found

    async def chunk(self, content: int, sequence: int) -> bytes | None:
        found: bytes | None = await self._call("chunk", content, sequence)
        return found

    async def settle(self, worker: int, results: Sequence[RecipientResult], *, now: int) -> SettleReport:
        report: SettleReport = await self._call("settle", worker, results, now)
        return report

    async def release(self, worker: int, keys: Sequence[tuple[int, int]], *, due: int) -> int:
        return int(await self._call("release", worker, keys, due))

    async def next_due(self, routes: Sequence[str], *, now: int) -> int | None:
        due: int | None = await self._call("next_due", routes, now)
        return due

    async def changed(self) -> float | None:
        """See `Store`. It can be cancelled, at a worker's end: the next change is then nobody's."""
        silence: float | None = await self._call("changed", abandon=True)
        return silence

    async def pauses(self) -> list[Pause]:
        found: list[Pause] = await self._call("pauses")
        return found

    async def left(self, routes: Sequence[str] | None = None) -> int:
        return int(await self._call("left", routes))

    async def job_left(self, routes: Sequence[str] | None, job: str) -> dict[str, JobLeft]:
        found: dict[str, JobLeft] = await self._call("job_left", routes, job)
        return found

    async def expire(self, *, routes: Sequence[str] | None, now: int, limit: int) -> int:
        return int(await self._call("expire", routes, now, limit))

    async def sweep(self, *, now: int, limit: int) -> int:
        return int(await self._call("sweep", now, limit))

    async def retire(self, *, before: int, limit: int) -> int:
        return int(await self._call("retire", before, limit))

    async def maintain(self, *, now: int) -> None:
        await self._call("maintain", now)

    # looks: nobody waits for the end of one that nobody waits for any more

    async def sample(self, *, now: int) -> Sample:
        found: Sample = await self._call("sample", now, abandon=True)
        return found

    async def trace(self, what: str, *, limit: int) -> Traced:
        found: Traced = await self._call("trace", what, limit, abandon=True)
        return found

    async def queue(
        self,
        *,
        filter: QueueFilter,  # noqa: A002  # as the store's
        limit: int,
        after: tuple[int, int] | None = None,
    ) -> list[QueuedRecipient]:
        found: list[QueuedRecipient] = await self._call("queue", filter, limit, after, abandon=True)
        return found

    async def vitals(self) -> SpoolVitals:
        """Return what the spool process knows of itself; calls are those since this was last asked."""
        found: SpoolVitals = await self._call("vitals", abandon=True)
        return found

    async def opened(self) -> None:
        """Wait for the process to have opened the store; raises what it met."""
        while 0 not in self._answers:
            if not await self._receive():
                raise _gone()
        self.uuid = wire.result_of("uuid", self._answers.pop(0))

    async def run(self, lost: trio.CancelScope) -> None:
        """Read answers until the stream ends, as it does with the process; then cancel `lost`."""
        while await self._receive():
            pass
        self.ended = True
        for event in self._waiting.values():
            event.set()
        lost.cancel()

    async def _receive(self) -> bool:
        try:
            data = await self._stream.receive_some(BLOCK)
        except trio.BrokenResourceError:
            return False
        self._buffer += data
        self._take()
        return bool(data)

    def _take(self) -> None:
        buffer = self._buffer
        start = 0
        while len(buffer) - start >= LENGTH:
            end = start + LENGTH + int.from_bytes(buffer[start : start + LENGTH], "big")
            if len(buffer) < end:
                break
            body = memoryview(buffer)[start + LENGTH : end]
            if end == len(buffer):  # the answer keeps the buffer: what may be megabytes is not copied
                answer = wire.unpack_answer(body)
                buffer = self._buffer = bytearray()
                end = 0
            else:
                answer = wire.unpack_answer(bytes(body))
                body.release()
            event = self._waiting.get(answer.number)
            if event is not None:
                event.set()
            if event is not None or answer.number == 0:  # else its caller has abandoned it
                self._answers[answer.number] = answer
            start = end
        del buffer[:start]

    async def _call(self, method: str, *arguments: object, abandon: bool = False) -> Any:  # noqa: ANN401  # its type is in wire.METHODS
        self._number += 1
        number = self._number
        frame = wire.pack_request(number, method, arguments)
        # what has begun is not abandoned when the caller is cancelled, for a commit must be known of
        with trio.CancelScope(shield=True) as shield:
            answered = self._waiting[number] = trio.Event()
            try:
                if self.ended:
                    raise _gone()
                async with self._sending:
                    await self._stream.send_all(frame)
                shield.shield = not abandon
                await answered.wait()
            except trio.BrokenResourceError:
                raise _gone() from None
            finally:
                del self._waiting[number]
        answer = self._answers.pop(number, None)
        if answer is None:
            raise _gone()
        return wire.result_of(method, answer)


@asynccontextmanager
async def spool_process(which: Started | str) -> AsyncIterator[RemoteSpool]:
    """Start the process, unless that was done, and end it; raises what keeps the spool from opening."""
    process, ours = start(which) if isinstance(which, str) else which
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(ours))
    spool = RemoteSpool(stream, process.pid)
    try:
        await spool.opened()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(spool.run, nursery.cancel_scope)
            yield spool
            nursery.cancel_scope.cancel()
        if spool.ended:
            raise _gone()
    finally:
        with trio.CancelScope(shield=True):
            await stream.aclose()
            await trio.to_thread.run_sync(process.wait)


def _gone() -> UnavailableError:
    return UnavailableError(
        "the spool process ended", hint="its last words are on standard error; start again"
    )
