"""The crew of a lane: tasks with a session each that take its parcels to the route's destinations.

Sessions are staffed as parcels wait, up to the lane's window (see `spooler.policy.window`); until a
route has proved that it takes mail there is only one, so a dead route costs one connection and one
attempt. What waits behind a dead route goes back to the spool untouched.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from spooler.delivery.feed import Feed, parcel_of
from spooler.delivery.lane import Ending, Lane
from spooler.delivery.parcel import results_of
from spooler.events import (
    Connected,
    Doubt,
    NotConnected,
    RouteDown,
    RouteUp,
    SecurityTrouble,
    SessionEnded,
)
from spooler.lmtp.mode import Mode
from spooler.net.lost import SessionLostError
from spooler.net.opening import open_session
from spooler.net.transport import ConnectError
from spooler.policy import classify
from spooler.policy.plan import rotation
from spooler.reply import Stage
from spooler.trouble import Trouble

if TYPE_CHECKING:
    from collections.abc import Callable

    from spooler.delivery.ports import Ground
    from spooler.net.pool import Pool, Target
    from spooler.net.session import Session


ELSEWHERE = 20.0  # seconds for a session, where another destination may give one sooner
LOOK = 5.0  # seconds between looks for what nobody has probed
NO_LEAVE = 0.5  # seconds between looks whether end-of-data may be sent again


@dataclass(frozen=True, slots=True, kw_only=True)
class Gear:
    """What crews work with."""

    ground: Ground
    pool: Pool
    lhlo: str
    may_end: Callable[[], bool]
    """Whether end-of-data may be sent: the worker's heartbeat is fresh, and its journal can be written."""


@dataclass(slots=True)
class _Place:
    """A task's place in the crew."""

    given_up: bool = False


class Crew:
    """The sessions of one lane; `run` is its task."""

    def __init__(self, lane: Lane, gear: Gear) -> None:
        self.lane = lane
        self.gear = gear
        self.targets: list[Target] = []
        self.retarget()
        self.busy = 0
        """Sessions at work, or being opened."""
        self._leaving = 0
        self._open: set[Session] = set()
        self._turn = 0

    def __repr__(self) -> str:
        return f"<Crew of {self.lane!r} busy={self.busy}>"

    def retarget(self) -> None:
        """Take the route's destinations as they are configured now; sessions to others begin nothing more."""
        pool, route = self.gear.pool, self.lane.route
        mode = Mode.of(route.mode)
        tls, account = route.protection(), route.account()
        self.targets = [
            pool.target(destination, mode=mode, tls=tls, account=account) for destination in route.parsed()
        ]

    async def run(self) -> None:
        """Staff the lane until it is stopped and its sessions have ended."""
        lane = self.lane
        async with trio.open_nursery() as nursery:
            looking = trio.CancelScope()
            nursery.start_soon(self._look_again, looking)
            while not lane.stopping:
                self._set_depth()
                self._staff(nursery)
                await lane.arrived.wait()
                lane.arrived = trio.Event()
            looking.cancel()

    def _set_depth(self) -> None:
        for session in self._open:
            session.depth = self.lane.window.depth

    def _staff(self, nursery: trio.Nursery) -> None:
        lane = self.lane
        if lane.stopping:
            return
        for _ in range(min(lane.window.size - self.busy, lane.ready)):
            self.busy += 1
            nursery.start_soon(self._serve, nursery)

    async def _serve(self, nursery: trio.Nursery) -> None:
        lane = self.lane
        place = _Place()
        try:
            while lane.ready and not lane.stopping and self._keeps(place):
                if not self.gear.may_end():
                    await trio.sleep(NO_LEAVE)
                    continue
                found = await self._session()
                if found is None:
                    return
                self._proved()
                self._staff(nursery)
                lane.nudge()
                await self._work(*found, place)
                del found  # a session that was lost still has the contents of what was under way
        finally:
            self.busy -= 1
            self._leaving -= place.given_up
            if not self.busy and lane.ready:
                # one gave its place up to another, and that one got no connection: somebody must stay
                lane.arrived.set()
            lane.nudge()

    def _proved(self) -> None:
        """Open the route: a destination of it gave a session."""
        lane = self.lane
        if not lane.health.proven:
            lane.window.proven(trio.current_time())
            lane.window_moved()
        if lane.health.worked():
            self.gear.ground.observe(RouteUp(route=lane.name))

    async def _look_again(self, scope: trio.CancelScope) -> None:
        """Probe without mail what mail does not: what is back is to be seen though nothing is due, and to be
        used though the sessions that there are go elsewhere."""
        lane = self.lane
        with scope:
            while True:
                await trio.sleep(LOOK)
                now = trio.current_time()
                if lane.paused:
                    continue
                if not lane.health.down:
                    for target in self.targets:
                        if target.health.forgotten(now):
                            await self._probe(target)
                elif not self.busy and (lane.health.forgotten(now) or self._found_by_others()):
                    await self._look()

    def _found_by_others(self) -> bool:
        """Whether another route's mail or look found that a destination of this one, too, takes mail."""
        return not all(target.health.down for target in self.targets)

    async def _probe(self, target: Target) -> None:
        """Look whether one destination of several takes mail again."""
        session = await self._try(target, patient=False)
        if not isinstance(session, ConnectError):
            target.health.worked()
            self.gear.pool.put(target, session, now=trio.current_time())

    async def _look(self) -> None:
        """Look whether a route that is down takes mail again."""
        lane = self.lane
        self.busy += 1
        try:
            found = await self._session(looking=True)
            if found is not None:
                self._proved()
                target, session = found
                self.gear.pool.put(target, session, now=trio.current_time())
        finally:
            self.busy -= 1
            lane.arrived.set()  # for mail that came meanwhile
            lane.nudge()

    def _keeps(self, place: _Place) -> bool:
        """Whether a task may begin another transaction: it gives its place up where the window has shrunk."""
        if not place.given_up and self.busy - self._leaving > self.lane.window.size:
            place.given_up = True
            self._leaving += 1
        return not place.given_up

    async def _work(self, target: Target, session: Session, place: _Place) -> None:
        """Run a session until the lane is empty or the session is lost."""
        gear = self.gear
        doubts = target.trust.doubts
        feed = Feed(
            lane=self.lane,
            target=target,
            ground=gear.ground,
            may_end=gear.may_end,
            may_begin=lambda: gear.may_end() and target in self.targets and self._keeps(place),
        )
        self._open.add(session)
        target.busy += 1
        session.depth = self.lane.window.depth
        try:
            await session.run(feed)
        except SessionLostError as lost:
            session.close()
            gear.ground.observe(SessionEnded(route=self.lane.name, destination=target.name, why=lost.why))
            self._conclude(session, target, Ending(fault=lost.why, stage=lost.stage, may_repeat=True))
        except BaseException:
            # cancelled at shutdown, or a bug: what was begun is judged all the same, by what was sent
            session.close()
            self._conclude(session, target, Ending(fault="the worker stopped", stage=Stage.LOCAL))
            raise
        else:
            if session.worn:
                await session.quit()
            else:
                gear.pool.put(target, session, now=trio.current_time())
        finally:
            self._open.remove(session)
            target.busy -= 1
        if target.trust.doubts > doubts:
            gear.ground.observe(Doubt(destination=target.name, why=target.trust.last_doubt, mode=target.mode))

    def _conclude(self, session: Session, target: Target, ending: Ending) -> None:
        for transaction in session.unfinished():
            self.lane.conclude(
                transaction, parcel_of(transaction), target=target, mode=transaction.mode.word, ending=ending
            )

    async def _session(self, *, looking: bool = False) -> tuple[Target, Session] | None:
        """Get a session, pooled or fresh, from the first destination that gives one.

        Who is only `looking` keeps to the destinations' own pauses, and holds up nobody for long.
        """
        gear = self.gear
        lane = self.lane
        route = lane.route
        now = trio.current_time()
        turn = self._turn if route.balance == "round-robin" else 0
        self._turn += 1
        order = [self.targets[i] for i in rotation(len(self.targets), turn)]
        # those that are down and not yet due for a probe come last, but they do come
        order.sort(key=lambda target: not target.health.may_try(now))
        if looking:
            order = [target for target in order if target.health.may_try(now)]
        failures: list[tuple[Target, ConnectError]] = []
        for target in order:
            session = gear.pool.take(target)
            if session is None:
                if self._open and target.health.stubborn and not target.health.may_try(now):
                    continue  # sessions from before the secret was refused go on; for more it is not offered
                opened = await self._try(target, patient=target is order[-1] and not looking)
                if isinstance(opened, ConnectError):
                    failures.append((target, opened))
                    continue
                session = opened
            target.health.worked()
            return target, session
        if self._open:
            # others are served: it wants no more connections than it has
            if lane.window.refused(trio.current_time()):
                lane.window_moved()
        elif failures:
            self._down(failures, began=now)
        else:
            lane.health.retry_at = min(target.health.retry_at for target in self.targets)
        return None

    async def _try(self, target: Target, *, patient: bool) -> Session | ConnectError:
        """Make a session, or say why there is none; either is told."""
        trying = trio.current_time()
        if target.health.down:
            target.health.probing(trying)
        try:
            session = await self._open_session(target, patient=patient)
        except ConnectError as error:
            self._failed(target, error, began=trying)
            return error
        took = int((trio.current_time() - trying) * 1e6)
        tls = session.protection.version if session.protection else ""
        self.gear.ground.observe(Connected(destination=target.name, took=took, protection=tls))
        return session

    async def _open_session(self, target: Target, *, patient: bool) -> Session:
        """Make a session; raises ConnectError.

        Who is not patient does not wait for a silent server as long as the time-outs say.
        """
        gear = self.gear
        with trio.move_on_after(math.inf if patient else ELSEWHERE):
            return await open_session(
                destination=target.destination,
                trust=target.trust,
                lhlo=gear.lhlo,
                timeouts=self.lane.route.timeouts,
                dial=gear.pool.dial,
                security=target.security,
            )
        others = ", and there are other destinations" if len(self.targets) > 1 else ""
        why = f"silent for {ELSEWHERE:g} s{others}"
        raise ConnectError(why, trouble=Trouble.SILENT)

    def _failed(self, target: Target, error: ConnectError, *, began: float) -> None:
        """Let a destination rest, and say so where it will not come back by itself."""
        ground = self.gear.ground
        pause = target.health.failed(
            trio.current_time(), ground.rng, str(error), began=began, stubborn=_is_stubborn(error)
        )
        ground.observe(NotConnected(destination=target.name, why=str(error)))
        if error.trouble.of_security:
            ground.observe(
                SecurityTrouble(
                    route=self.lane.name,
                    destination=target.name,
                    kind=error.trouble.name,
                    why=str(error),
                    retry_in=pause,
                )
            )

    def _down(self, failures: list[tuple[Target, ConnectError]], *, began: float) -> None:
        """Charge one parcel with the attempt, give back what waits behind it, and probe later."""
        lane = self.lane
        if not lane.health.is_news(began=began):
            lane.give_back()
            return
        ground = self.gear.ground
        why = "; ".join(f"{target.name}: {error}" for target, error in failures)
        stubborn = all(_is_stubborn(error) for _, error in failures)
        pause = lane.health.failed(trio.current_time(), ground.rng, why, began=began, stubborn=stubborn)
        lane.window.lost()
        ground.observe(RouteDown(route=lane.name, why=why, retry_in=pause))
        parcel = lane.pop(self)
        if parcel is not None:
            _, last = failures[-1]
            verdict = classify.unreachable(why, last.trouble, last.stage)
            lane.resolve(parcel, results_of(parcel.recipients, parcel, verdict, lane.around(None)))
        lane.give_back()


def _is_stubborn(error: ConnectError) -> bool:
    return error.trouble is Trouble.AUTHENTICATION
