"""A lane: the parcels of one route in one worker, waiting and under way, and their accounting.

Everything claimed for the route is counted here until it is resolved (its result is with the
settler) or given back. The crew (see `crew`) takes parcels from here; nothing here does I/O.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from spooler.delivery.mailboxes import Mailboxes
from spooler.delivery.parcel import Circumstances, Parcel, reckon
from spooler.events import TransactionEnded, WindowMoved
from spooler.lmtp.mode import Mode
from spooler.policy.health import Health
from spooler.policy.shut import CODES as SHUT_CODES
from spooler.policy.shut import GRAIN, ShutMailboxes, shuts
from spooler.policy.window import Window
from spooler.reply import Stage
from spooler.result import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from spooler.claim import ClaimedRecipient
    from spooler.config import Route
    from spooler.delivery.ports import Ground
    from spooler.delivery.settler import Settler
    from spooler.lmtp.transaction import Transaction
    from spooler.net.pool import Target
    from spooler.result import RecipientResult

MAILBOX_SHARE = 4  # one mailbox may have a quarter of the sessions, and always one
STUCK = 1.0  # seconds without anything begun or done for a mailbox
POSTPONED = 5.0  # seconds that its mail then waits in the spool
BUSY_ANSWERS = 3  # transactions in a row that got nothing but "later" are the target's, not a mailbox's
_CHUNKED = Mode.CHUNKED  # as in `spooler.lmtp.slots`: an enum's member by a name of its own
_BUSY = frozenset({451})
_OPEN = (Outcome.DELIVERED, Outcome.FAILED)


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
        self.window = Window(route.sessions, adapt=route.adapt)
        self.held = 0
        """Recipients claimed and not resolved."""
        self.held_bytes = 0
        self.stopping = False
        self.paused = False
        """Whether a person wants nothing to be begun for now."""
        self.arrived = trio.Event()
        """Set when parcels came; whoever waits for it puts a new one in its place."""
        self.nudge = nudge
        """Tells the claimer that there may be room."""
        self._ground = ground
        self._settler = settler
        self._ready: deque[Parcel] = deque()
        self._waiting = 0
        self._mailboxes = Mailboxes()
        self._shut = ShutMailboxes(first=route.retry.first.us, maximum=route.retry.maximum.us)
        self._busy_answers = 0
        self.postponed_to = 0
        """When the last mail that we put off ourselves is due again, µs UTC."""
        self._looked = 0.0
        self._stuck_from = 0.0

    def __repr__(self) -> str:
        return f"<Lane {self.name} {self.health!r} waiting={self._waiting} held={self.held}>"

    @property
    def closed(self) -> bool:
        """Whether nothing is begun, for good or for now."""
        return self.stopping or self.paused

    @property
    def ready(self) -> int:
        """Parcels waiting for a session."""
        return len(self._ready)

    @property
    def parked(self) -> int:
        """Recipients that wait for a mailbox to which others are delivered."""
        return self._mailboxes.parked

    def under_way(self) -> Iterable[Parcel]:
        """Name the parcels that sessions have begun, or are about to."""
        return self._mailboxes.under_way()

    def shut(self, most: int) -> tuple[list[tuple[str, int]], int]:
        """Name some mailboxes that take no mail for now, and until when (µs UTC); and how many there are."""
        return self._shut.listed(most), len(self._shut)

    def room(self, *, batch: int, now: float) -> int:
        """How many recipients to claim now; `now` in seconds of trio's clock."""
        if self.closed:
            return 0
        if self.health.proven:
            if now - self._looked > 2 * STUCK:
                self._stuck_from = now  # it was this worker that stood still, perhaps
            self._looked = now
            if self._mailboxes.parked > batch // 2 and now >= self._stuck_from + STUCK:
                self._postpone_stuck(now)
            return batch if self._waiting + self._mailboxes.parked <= batch else 0
        if self.held or not self.health.may_try(now):
            return 0
        return 1 if self.health.down else min(batch, self.route.recipients)

    def add(self, parcels: Iterable[Parcel]) -> None:
        """Take parcels that were claimed for this route; where nothing is begun they go back at once."""
        for parcel in parcels:
            self.held += len(parcel.recipients)
            self.held_bytes += parcel.held_bytes
            if self.closed:
                self._release(parcel)
            else:
                self._ready.append(parcel)
                self._waiting += len(parcel.recipients)
        self.arrived.set()

    def pop(self, holder: object, *, most: int | None = None) -> Parcel | None:
        """Take the next parcel for a session (`holder`), with `most` recipients at the most.

        None is taken for a mailbox that has its share of sessions already, or takes no mail for now.
        """
        now = trio.current_time()
        share = max(1, self.window.size // MAILBOX_SHARE)
        while self._ready and not self.closed:
            parcel = self._ready.popleft()
            if most is not None and len(parcel.recipients) > most:
                rest = parcel.part(parcel.recipients[most:], repeated=parcel.repeated)
                parcel = parcel.part(parcel.recipients[:most], repeated=parcel.repeated)
                self._ready.appendleft(rest)
                self.held_bytes += parcel.held_bytes
            self._waiting -= len(parcel.recipients)
            open_part = self._without_shut(parcel) if self._shut else parcel
            if open_part and self._mailboxes.enter(open_part, holder, share=share, now=now):
                return open_part
        return None

    def _without_shut(self, parcel: Parcel) -> Parcel | None:
        """Give back, without an attempt, what is for shut mailboxes; return the rest, if there is any."""
        now = self._ground.clock()
        message_id = parcel.claim.message_id
        rest = []
        for recipient in parcel.recipients:
            until = self._shut.wait(recipient.address, now)
            if until is None:
                rest.append(recipient)
            else:
                if until - now <= GRAIN:
                    self.postponed_to = max(self.postponed_to, until)  # soon: a drain stays for it
                due = min(until, parcel.claim.expires)
                self._settler.give_back([(message_id, recipient.n)], due=due)
        gone = len(parcel.recipients) - len(rest)
        if not gone:
            return parcel
        self.held -= gone
        self.nudge()
        if rest:
            return parcel.part(rest, repeated=parcel.repeated)
        self.held_bytes -= parcel.held_bytes
        return None

    def push_back(self, parcel: Parcel) -> None:
        """Put a parcel, or a part of one that was popped, at the head of the line."""
        if self.closed:
            self._release(parcel)
            return
        self._ready.appendleft(parcel)
        self._waiting += len(parcel.recipients)

    def _leave(self, parcel: Parcel, now: float) -> None:
        """A popped parcel is under way no more: others for its mailboxes may be."""
        if self._shut:
            for recipient in parcel.recipients:
                self._shut.left(recipient.address)
        for freed in self._mailboxes.leave(parcel, now=now):
            self._ready.appendleft(freed)
            self._waiting += len(freed.recipients)
            self.arrived.set()

    def _postpone_stuck(self, now: float) -> None:
        """Memory is full of mail for mailboxes that do not move: let others come forward for a while."""
        parcels = self._mailboxes.stuck(since=now - STUCK)
        if parcels:
            clock = self._ground.clock()
            self.postponed_to = clock - clock % 1_000_000 + int(POSTPONED * 1e6)
            for parcel in parcels:
                self._release(parcel, due=self.postponed_to)

    def resolve(self, parcel: Parcel, results: list[RecipientResult]) -> None:
        """Hand the results of all recipients of a popped parcel to the settler."""
        self._leave(parcel, trio.current_time())
        self.held_bytes -= parcel.held_bytes
        self.held -= len(results)
        self.record(parcel, results)

    def record(self, parcel: Parcel, results: list[RecipientResult]) -> None:
        """Settle and tell results that no dialogue gave."""
        self._end(parcel, results, destination=results[0].destination, mode="none", took=0, answer=0)

    def conclude(
        self, transaction: Transaction, parcel: Parcel, *, target: Target, mode: str, ending: Ending
    ) -> None:
        """Judge a transaction that is over: results go to the settler, the rest back in line."""
        around = self.around(target, may_repeat=ending.may_repeat and not self.stopping)
        reckoning = reckon(transaction, parcel, around, fault=ending.fault, stage=ending.stage)
        if transaction.accepted:
            full = bool(reckoning.next_transaction)
            target.trust.limits.accepted(len(transaction.accepted), more_refused=full)
        now = trio.current_time()
        codes = {result.code for result in reckoning.results}
        if self._shut or not codes.isdisjoint(SHUT_CODES):
            self._look_for_shut(reckoning.results)
        self._leave(parcel, now)
        self.held_bytes -= parcel.held_bytes
        again = reckoning.fresh_connection + reckoning.next_transaction
        self._ground.journal.close_intent(transaction, parcel.claim.message_id, [r.n for r in again])
        if again:
            self._once_more(parcel, reckoning.fresh_connection, repeated=True)
            self._once_more(parcel, reckoning.next_transaction, repeated=parcel.repeated)
        if reckoning.results:
            took = around.now - parcel.started
            chunked = transaction.mode is _CHUNKED
            self._adapt(codes, now, chunked=chunked, took=took / 1_000_000)
            self.held -= len(reckoning.results)
            answer = around.now - parcel.ended if parcel.ended and not ending.fault else 0
            self._end(parcel, reckoning.results, destination=target.name, mode=mode, took=took, answer=answer)

    def _once_more(self, parcel: Parcel, recipients: list[ClaimedRecipient], *, repeated: bool) -> None:
        """Put recipients of a parcel back in line."""
        if recipients:
            part = parcel.part(recipients, repeated=repeated)
            self.held_bytes += part.held_bytes
            self.push_back(part)

    def _look_for_shut(self, results: list[RecipientResult]) -> None:
        """Learn which mailboxes take no mail for now, and which do again."""
        for result in results:
            if result.outcome in _OPEN:
                self._shut.took(result.address)
            elif shuts(result):
                self._shut.refused(result.address, result.at)

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
        waiting = [*self._ready, *self._mailboxes.stuck(since=math.inf)]
        self._ready.clear()
        self._waiting = 0
        for parcel in waiting:
            self._release(parcel)

    def change(self, route: Route) -> None:
        """Serve the route by another configuration, also if it was stopped before."""
        now = trio.current_time()
        if (route.sessions, route.adapt) != (self.route.sessions, self.route.adapt):
            self.window.change(route.sessions, adapt=route.adapt, now=now)
            self.window_moved()
        self._shut.pace(first=route.retry.first.us, maximum=route.retry.maximum.us)
        self.route = route
        self.stopping = False
        self.arrived.set()
        self.nudge()

    def pause(self) -> None:
        """Begin nothing more until resumed; what has begun comes to its end."""
        self.paused = True
        self.give_back()

    def resume(self) -> None:
        """Begin again."""
        self.paused = False
        self.nudge()

    def stop(self) -> None:
        """Begin nothing more."""
        self.stopping = True
        self.give_back()
        self.arrived.set()

    def _adapt(self, codes: set[int], now: float, *, chunked: bool, took: float) -> None:
        """Tell the window what the target gave."""
        window = self.window
        moved = False
        if 421 in codes:
            moved = window.refused(now)
        elif codes <= _BUSY:
            self._busy_answers += 1
            if self._busy_answers >= BUSY_ANSWERS:
                moved = window.refused(now)
        else:
            self._busy_answers = 0
            moved = window.finished(now, saturated=bool(self._ready), chunked=chunked, took=took)
        if moved:
            self.window_moved()

    def window_moved(self) -> None:
        """Tell of a change of the window, and let the crew look at it."""
        window = self.window
        self.arrived.set()
        self._ground.observe(
            WindowMoved(
                route=self.name,
                sessions=window.size,
                limit=window.limit,
                depth=window.depth,
                why=window.why,
            )
        )

    def _end(
        self,
        parcel: Parcel,
        results: list[RecipientResult],
        *,
        destination: str,
        mode: str,
        took: int,
        answer: int,
    ) -> None:
        """Hand results to the settler and tell them, in one go: both know them in the same order."""
        claim = parcel.claim
        self._settler.add(results)
        self._ground.observe(
            TransactionEnded(
                message_id=claim.message_id,
                sender=claim.sender,
                size=claim.size,
                route=self.name,
                destination=destination,
                mode=mode,
                took=took,
                answer=answer,
                results=results,
            )
        )
        self.nudge()

    def _release(self, parcel: Parcel, *, due: int = 0) -> None:
        self.held -= len(parcel.recipients)
        self.held_bytes -= parcel.held_bytes
        self._settler.give_back([(parcel.claim.message_id, r.n) for r in parcel.recipients], due=due)
        self.nudge()
