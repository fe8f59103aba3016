"""A lane: the parcels of one route in one worker, waiting and under way, and their accounting.

Everything claimed for the route is counted here until it is resolved (its result is with the
settler) or given back. The crew (see `crew`) takes parcels from here; nothing here does I/O.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from spooler.delivery.parcel import Circumstances, Parcel, reckon
from spooler.events import TransactionEnded
from spooler.policy.health import Health
from spooler.reply import Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from spooler.config import Route
    from spooler.delivery.ports import Ground
    from spooler.delivery.settler import Settler
    from spooler.lmtp.transaction import Transaction
    from spooler.net.pool import Target
    from spooler.result import RecipientResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a transaction ended: "" is a dialogue that was complete; else the fault and its stage."""

    fault: str = ""
    stage: Stage = Stage.CONNECT
    may_repeat: bool = False


class Lane:
    """The waiting parcels of one route."""

    def __init__(
        self, *, name: str, route: Route, ground: Ground, settler: Settler, nudge: Callable[[], None]
    ) -> None:
        self.name = name
        self.route = route
        self.health = Health()
        self.held = 0
        """Recipients claimed and not resolved."""
        self.held_bytes = 0
        self.stopping = False
        self.arrived = trio.Event()
        """Set when parcels came; whoever waits for it puts a new one in its place."""
        self.nudge = nudge
        """Tells the claimer that there may be room."""
        self._ground = ground
        self._settler = settler
        self._ready: deque[Parcel] = deque()
        self._waiting = 0

    def __repr__(self) -> str:
        return f"<Lane {self.name} {self.health!r} waiting={self._waiting} held={self.held}>"

    @property
    def ready(self) -> int:
        """Parcels waiting for a session."""
        return len(self._ready)

    def room(self, *, batch: int, now: float) -> int:
        """How many recipients to claim now; `now` in seconds of trio's clock."""
        if self.stopping:
            return 0
        if self.health.proven:
            return batch if self._waiting <= batch // 2 else 0
        if self.held or not self.health.may_try(now):
            return 0
        return 1 if self.health.down else min(batch, self.route.recipients)

    def add(self, parcels: Iterable[Parcel]) -> None:
        """Take parcels that were claimed for this route."""
        for parcel in parcels:
            self._ready.append(parcel)
            self._waiting += len(parcel.recipients)
            self.held += len(parcel.recipients)
            self.held_bytes += parcel.held_bytes
        self.arrived.set()

    def pop(self) -> Parcel | None:
        """Take the next parcel to transact."""
        if not self._ready or self.stopping:
            return None
        parcel = self._ready.popleft()
        self._waiting -= len(parcel.recipients)
        return parcel

    def push_back(self, parcel: Parcel) -> None:
        """Put a parcel, or a part of one that was popped, at the head of the line."""
        if self.stopping:
            self._release(parcel)
            return
        self._ready.appendleft(parcel)
        self._waiting += len(parcel.recipients)

    def split_off(self, parcel: Parcel, count: int) -> Parcel:
        """Keep the first `count` recipients of a popped parcel; the rest returns to the line."""
        kept = parcel.part(parcel.recipients[:count], repeated=parcel.repeated)
        self.held_bytes += kept.held_bytes
        self.push_back(parcel.part(parcel.recipients[count:], repeated=parcel.repeated))
        return kept

    def resolve(self, parcel: Parcel, results: list[RecipientResult]) -> None:
        """Hand the results of all recipients of a popped parcel to the settler."""
        self.held_bytes -= parcel.held_bytes
        self._settle(results)

    def conclude(
        self, transaction: Transaction, parcel: Parcel, *, target: Target, mode: str, ending: Ending
    ) -> None:
        """Judge a transaction that is over: results go to the settler, the rest back in line."""
        around = self.around(target, may_repeat=ending.may_repeat and not self.stopping)
        reckoning = reckon(transaction, parcel, around, fault=ending.fault, stage=ending.stage)
        self.held_bytes -= parcel.held_bytes
        for again, repeated in (
            (reckoning.fresh_connection, True),
            (reckoning.next_transaction, parcel.repeated),
        ):
            if again:
                part = parcel.part(again, repeated=repeated)
                self.held_bytes += part.held_bytes
                self.push_back(part)
        if reckoning.results:
            self._settle(reckoning.results)
            self._ground.observe(
                TransactionEnded(
                    message_id=parcel.claim.message_id,
                    sender=parcel.claim.sender,
                    size=parcel.claim.size,
                    route=self.name,
                    destination=target.name,
                    mode=mode,
                    took=around.now - parcel.started,
                    results=reckoning.results,
                )
            )

    def around(self, target: Target | None, *, may_repeat: bool = False) -> Circumstances:
        """Return what results record now."""
        return Circumstances(
            route=self.route,
            destination=target.name if target else "",
            now=self._ground.clock(),
            may_repeat=may_repeat,
        )

    def give_back(self) -> None:
        """Let everything that waits go back to the spool, untried."""
        waiting = list(self._ready)
        self._ready.clear()
        self._waiting = 0
        for parcel in waiting:
            self._release(parcel)

    def stop(self) -> None:
        """Begin nothing more."""
        self.stopping = True
        self.give_back()
        self.arrived.set()

    def _settle(self, results: list[RecipientResult]) -> None:
        self.held -= len(results)
        self._settler.add(results)
        self.nudge()

    def _release(self, parcel: Parcel) -> None:
        self.held -= len(parcel.recipients)
        self.held_bytes -= parcel.held_bytes
        self._settler.give_back([(parcel.claim.message_id, r.n) for r in parcel.recipients])
        self.nudge()
