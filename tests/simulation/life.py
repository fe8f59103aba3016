"""A worker's life: it starts, works, and ends in order, or by `kill -9`.

Killed means: from that moment on nothing it does has any effect. Its journal keeps what was written, its
lock is free, its connections are closed, what the kernel took of it is still delivered, and its database
connection is gone with what was not committed. Only then is the task cancelled, which it may take as long
to notice as it likes.
"""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING

import trio

from spooler.errors import SpoolerError
from spooler.events import Event, SessionEnded, Settled, TransactionEnded, WorkerState
from spooler.result import Outcome
from spooler.worker import WorkerRun
from tests.simulation.diary import KEEPER
from tests.simulation.memory import Scales
from tests.simulation.shaky import Inline

if TYPE_CHECKING:
    from collections.abc import Callable

    from spooler.config import Config
    from spooler.delivery.drain import Drain
    from spooler.destination import Destination
    from spooler.net.poller import Poller
    from tests.simulation.diary import Diary
    from tests.simulation.wire import SimTransport
    from tests.simulation.world import Host, World


class Life:
    """One process."""

    def __init__(self, world: World, host: Host, *, number: int) -> None:
        self.world = world
        self.host = host
        self.dead = False
        self.beaten_at = 0.0
        self.answered_at = 0.0
        """When it last heard what became of a transaction."""
        self.cut_off = False
        """Whether the database does not answer this one."""
        self.diary: Diary | None = None
        self.scales: Scales | None = None
        """What weighs all that it holds."""
        self._number = number
        self._wires: list[SimTransport] = []
        self._scope = trio.CancelScope()
        self._worker: WorkerRun | None = None

    def __str__(self) -> str:
        return f"life {self._number}"

    async def run(self, config: Config, *, drain: Drain | None, killed_after: float | None = None) -> None:
        """Live to the end; `killed_after` seconds at the latest it is killed, where that is given."""
        world = self.world
        self.scales = Scales(config, world.chance)
        spool = Inline(self, world.place, uuid=world.uuid, ids=world.ids)
        self.beaten_at = trio.current_time()
        KEEPER.set(self)
        try:
            worker = self._worker = WorkerRun(
                spool=spool,
                config=config,
                journals=self.host.root,
                observe=self._observe,
                drain=drain,
                poll=world.poll,
                clock=self.host.clock,
                uptime=trio.current_time,
                rng=random.Random(world.chance.rng.random()),
                dial=self._dial,
            )
            with self._scope:
                async with trio.open_nursery() as nursery:
                    if killed_after is not None:
                        nursery.start_soon(self._doom, killed_after)
                    await self._work(worker)
                    nursery.cancel_scope.cancel()
        finally:
            self.kill("")
            spool.close()

    def stop(self) -> None:
        """Ask it to stop."""
        if self._worker is not None and not self.dead:
            self.world.note(self, "asked to stop")
            self._worker.stop()

    async def _work(self, worker: WorkerRun) -> None:
        """Work; a spool that refuses at the start ends the process. Later nothing may get out of a worker."""
        try:
            await worker.run()
        except SpoolerError as error:
            self.world.note(self, "ends with", type(error).__name__)
            self.world.chance.hit("ended by an error")

    async def _doom(self, after: float) -> None:
        await trio.sleep(after)
        self.kill("crash")

    def may_die(self, how: str, *, before: Callable[[], None] | None = None) -> bool:
        """Die by chance; `before` is done with the last breath."""
        if self.dead or not self.world.chance.strikes(how):
            return False
        if before is not None:
            before()
        self.kill(how)
        return True

    def kill(self, how: str) -> None:
        """End it at once; without a reason: it has ended by itself."""
        if self.dead:
            return
        if how:
            self.world.note(self, "killed:", how)
            self.world.chance.hit("crash")
        self.dead = True
        if self.diary is not None:
            self.diary.die()
        for transport in self._wires:
            transport.close()
        self._scope.cancel()

    def beat_age(self) -> float:
        """See Holder."""
        return trio.current_time() - self.beaten_at

    async def _dial(self, destination: Destination, _poller: Poller) -> SimTransport:
        world = self.world
        transport = await world.sites[str(destination)].dial(self, number=world.count())
        if self.dead:
            transport.close()
        self._wires.append(transport)
        return transport

    def _observe(self, event: Event) -> None:
        if self.dead:
            return
        world = self.world
        hit = world.chance.hit
        world.note(self, type(event).__name__)
        match event:
            case TransactionEnded(mode=mode, results=results):
                self.answered_at = trio.current_time()
                world.answered()
                if mode != "none":
                    hit(f"mode: {mode}")
                for result in results:
                    if result.uncertain:
                        hit("uncertain: by the wire")
                    elif result.outcome is Outcome.DEFERRED and not result.code and mode != "none":
                        hit("safe: put off")
            case SessionEnded():
                hit("session lost")
            case Settled(late=late):
                if late:
                    hit("late result", late)
            case WorkerState(state=state, detail=detail):
                if state in ("recovered", "rescued", "fenced", "unrecovered"):
                    hit(f"worker {state}")
                if state == "recovered":
                    counts = map(int, re.findall(r"\d+", detail))
                    for what, count in zip(
                        ("results replayed", "intents in doubt", "given back"), counts, strict=False
                    ):
                        hit(f"journal: {what}", count)
            case _:
                pass
