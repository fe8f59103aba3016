"""One worker: the nursery tree, how it starts, and how it stops.

    worker ─┬─ poller        (wakes the sessions that have something to read)
            ├─ heartbeat     (until the very end: leases live as long as it beats)
            ├─ settler       (until everything is settled)
            ├─ journal       (syncs what was written to it)
            ├─ housekeeping, and a look at which routes are paused
            └─ delivery ─┬─ claimer
                         └─ a crew per lane

Stopping goes from the top of the way to its end: claim nothing more, begin no transaction, let those
under way end (within the grace), settle, unregister. A second request cancels the sessions; what
they had begun is judged by what was sent, and settled too.
"""

from __future__ import annotations

import os
import random
from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from spooler.changes import changes
from spooler.delivery.claimer import POLL, Claimer
from spooler.delivery.crew import Gear
from spooler.delivery.fleet import Fleet
from spooler.delivery.heartbeat import Heartbeat, boot_id, boottime, whereabouts
from spooler.delivery.housekeeping import Housekeeping
from spooler.delivery.pausing import Pauses
from spooler.delivery.ports import Ground, SpoolPort
from spooler.delivery.publishing import Publisher
from spooler.delivery.recovery import Recovery
from spooler.delivery.settler import Settler
from spooler.errors import SpoolerError, StorageError, TryAgainError
from spooler.events import ConfigRead, ConfigRefused, Observe, SpoolTrouble, WorkerState
from spooler.ident import now_us
from spooler.journal.place import create
from spooler.journal.writer import Journal
from spooler.net.pool import Pool
from spooler.net.security import security_for
from spooler.net.transport import dial as dial_socket
from spooler.worker_standing import encode

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from spooler.config import Config, Route
    from spooler.delivery.drain import Drain
    from spooler.delivery.lane import Lane
    from spooler.net.transport import Dial
    from spooler.worker_standing import WorkerStanding

LAST_SETTLE = 10.0  # seconds that settling may take at the end, spool willing
POOL_CHECK = 5.0  # seconds between looks for connections that were idle too long, and at the journal


class WorkerRun:
    """A worker on a spool; `run` does the work, `stop` may be called from a signal's task."""

    def __init__(
        self,
        *,
        spool: SpoolPort,
        config: Config,
        journals: Path,
        observe: Observe,
        drain: Drain | None = None,
        poll: float = POLL,
        clock: Callable[[], int] = now_us,
        uptime: Callable[[], float] = boottime,
        rng: random.Random | None = None,
        dial: Dial = dial_socket,
        spool_pid: int | None = None,
    ) -> None:
        self._spool = spool
        self._config = config
        self._journals = journals
        self._observe = observe
        self._drain = drain
        self._poll = poll
        self._clock = clock
        self._uptime = uptime
        self._rng = rng or random.Random()  # noqa: S311  # jitter, not secrets
        self._dial = dial
        self._spool_pid = spool_pid
        self._stops = 0
        self._asked = trio.Event()
        self._asked_again = trio.Event()
        self._lanes: dict[str, Lane] = {}
        self._publisher: Publisher | None = None
        self._heartbeat: Heartbeat | None = None
        self._journal: Journal | None = None
        self.worker = 0
        """Its id on the spool, 0 before it has one."""
        self._routes: dict[str, Route] = dict(config.routes)
        self._take: Callable[[Config], None] = lambda _: None
        self.begun = trio.Event()
        """Set once it is on the spool and delivers."""
        self.failure: SpoolerError | None = None
        """Why it stopped by itself, where it could not go on."""

    @property
    def lanes(self) -> dict[str, Lane]:
        """The lanes by route, for whoever shows their state."""
        return self._lanes

    @property
    def fresh(self) -> bool:
        """Whether its leases are surely respected by others: it has begun, and its heartbeat is in time."""
        return self._heartbeat is not None and self._heartbeat.fresh

    @property
    def trouble(self) -> str:
        """Why the spool did not take its last heartbeat, "" if it did, or was given none yet."""
        return "" if self._heartbeat is None else self._heartbeat.trouble

    @property
    def syncs(self) -> tuple[int, float]:
        """How often the journal was synced, and how many seconds that took together."""
        return (0, 0.0) if self._journal is None else (self._journal.syncs, self._journal.sync_time)

    def own_standing(self) -> tuple[int, WorkerStanding] | None:
        """Say under which id it works and how everything stands now; None before it has begun."""
        return None if self._publisher is None else (self.worker, self._publisher.standing())

    @property
    def asked_to_stop(self) -> bool:
        """Whether somebody asked it to stop."""
        return self._stops > 0

    def stop(self) -> None:
        """Ask to stop: gracefully the first time, at once the second."""
        self._stops += 1
        (self._asked if self._stops == 1 else self._asked_again).set()

    def reload(self, config: Config) -> None:
        """Go on by another configuration; what it cannot change in a running worker is told.

        One whose certificates or secrets cannot be read is refused whole.
        """
        if self._stops:
            return
        try:
            _check_security(config)
        except SpoolerError as error:
            self._observe(ConfigRefused(why=str(error)))
            return
        found = changes(self._config, config)
        self._config = found.config
        self._routes.clear()
        self._routes.update(found.config.routes)
        self._take(found.config)
        self._observe(ConfigRead(changed=found.now, restart=found.restart))

    async def run(self) -> bool:
        """Work until stopped or, for a drain, done; return whether everything was settled."""
        _check_security(self._config)
        worker = await self._spool.register(host=whereabouts(), pid=os.getpid(), now=self._clock())
        boot = boot_id()
        try:
            journal = Journal(
                create(self._journals, spool=self._spool.uuid, worker=worker),
                spool=self._spool.uuid,
                boot=boot,
                every=self._config.worker.journal_sync,
                broke=self._broke,
            )
        except SpoolerError:
            with suppress(SpoolerError):
                await self._spool.unregister(worker, now=self._clock())
            raise
        ground = Ground(
            worker=worker,
            spool=self._spool,
            journal=journal,
            clock=self._clock,
            rng=self._rng,
            observe=self._observe,
        )
        self._observe(WorkerState(worker=worker, state="started", detail=", ".join(self._config.routes)))
        settler = Settler(ground)
        recovery = Recovery(ground, root=self._journals, boot=boot, routes=self._routes)
        heartbeat = Heartbeat(
            ground,
            recovery,
            lost=self._fenced,
            standing=lambda: encode(publisher.standing()),
            clock=self._uptime,
        )
        await heartbeat.first_look()
        pool = Pool(self._dial)
        gear = Gear(
            ground=ground,
            pool=pool,
            lhlo=self._config.lhlo_name,
            may_end=lambda: heartbeat.fresh and journal.writable,
        )
        claimer = Claimer(
            ground=ground,
            settler=settler,
            lanes=self._lanes,
            limits=self._config.worker,
            drain=self._drain,
            poll=self._poll,
        )
        fleet = Fleet(gear=gear, settler=settler, lanes=self._lanes, nudge=claimer.nudge)
        processes = {"worker": os.getpid()}
        if self._spool_pid is not None:
            processes["spool"] = self._spool_pid
        publisher = Publisher(
            crews=fleet.crews,
            claimer=claimer,
            settler=settler,
            journal=journal,
            processes=processes,
            clock=self._clock,
        )
        self.worker, self._publisher = worker, publisher
        self._heartbeat, self._journal = heartbeat, journal
        chores = Housekeeping(ground=ground, retention=self._config.worker.retention.us)

        def take(config: Config) -> None:
            claimer.limits = config.worker
            chores.retention = config.worker.retention.us
            fleet.take(config.routes, lhlo=config.lhlo_name)
            claimer.look()

        take(self._config)
        self._take = take
        self.begun.set()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pool.poller.run)
            nursery.start_soon(heartbeat.run)
            nursery.start_soon(settler.run, claimer.nudge)
            nursery.start_soon(journal.run)
            nursery.start_soon(chores.run)
            nursery.start_soon(self._tidy, pool, journal)
            nursery.start_soon(Pauses(ground, self._lanes, resumed=claimer.look).run)
            if self._drain is None:  # a drain has no use for mail that comes later
                nursery.start_soon(claimer.listen)
            await self._deliver(worker, claimer, fleet)
            settled = await self._finish(settler)
            async with trio.open_nursery() as leaving:
                for session in pool.expire(now=trio.current_time(), idle=0.0):
                    leaving.start_soon(session.quit)
            nursery.cancel_scope.cancel()
        assert not (settled and journal.unanswered), "an intent that was neither answered nor taken back"
        if settled and not heartbeat.fenced:
            try:
                await self._spool.unregister(worker, now=self._clock())
                journal.close()
            except SpoolerError as error:
                # all is settled; the row that is left is taken for a dead worker's, which held nothing
                self._observe(SpoolTrouble(doing="leaving", why=str(error), retry_in=0.0))
        journal.abandon()
        self._observe(
            WorkerState(worker=worker, state="stopped", detail="" if settled else "unsettled results")
        )
        return settled

    async def _deliver(self, worker: int, claimer: Claimer, fleet: Fleet) -> None:
        """Claim and transact until the claimer is done or we are asked to stop."""
        with trio.CancelScope() as sessions:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch, worker, claimer, fleet, sessions)
                async with trio.open_nursery() as crew_nursery:
                    fleet.staff(crew_nursery)
                    await claimer.run()
                    self._take = lambda _: None
                    fleet.stop()
                nursery.cancel_scope.cancel()

    async def _watch(self, worker: int, claimer: Claimer, fleet: Fleet, sessions: trio.CancelScope) -> None:
        await self._asked.wait()
        claimer.stop()
        fleet.stop()
        self._observe(
            WorkerState(worker=worker, state="stopping", detail=f"{self._config.worker.grace:g} s at most")
        )
        with trio.move_on_after(self._config.worker.grace):
            await self._asked_again.wait()
        sessions.cancel()

    async def _finish(self, settler: Settler) -> bool:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + LAST_SETTLE) as scope:
            await settler.flushed()
        return not scope.cancelled_caught

    def _broke(self, why: str) -> None:
        """Stop: without a journal that is durable nothing may be sent."""
        self._observe(SpoolTrouble(doing="journalling", why=why, retry_in=0.0))
        self.failure = StorageError(why, hint="look at its disk, then start again: what was sent is known")
        self.stop()

    def _fenced(self) -> None:
        self.failure = TryAgainError(
            "another worker declared this one dead: it stood still for longer than its leases live",
            hint="its recipients were taken over; start it again",
        )
        self.stop()

    async def _tidy(self, pool: Pool, journal: Journal) -> None:
        while True:
            await trio.sleep(POOL_CHECK)
            journal.look()
            idle = min((route.idle for route in self._config.routes.values()), default=30.0)
            if journal.trouble:
                self._observe(SpoolTrouble(doing="journalling", why=journal.trouble, retry_in=POOL_CHECK))
            for session in pool.expire(now=trio.current_time(), idle=idle):
                await session.quit()


def _check_security(config: Config) -> None:
    """Find at the start, and not with the first mail, that a certificate or a secret cannot be read."""
    for route in config.routes.values():
        for destination in route.parsed():
            security_for(destination, route.protection(), route.account()).check()
