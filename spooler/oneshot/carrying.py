"""Carry one message to recipients on one leg: sessions, transactions, and one verdict for each recipient.

What repeats is what repeats in the worker, and no more: recipients that did not fit into a transaction have
the next one, and what was surely not handed over when a session was lost has one fresh connection.
"""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec
import trio

from spooler.address import needs_smtputf8
from spooler.delivery.judging import verdicts
from spooler.dialogue import Direction, Overhear
from spooler.lmtp.transaction import Recipient, Transaction
from spooler.lmtp.trust import Trust
from spooler.net.lost import SessionLostError
from spooler.net.opening import open_session
from spooler.net.poller import Poller
from spooler.net.session import Session
from spooler.net.transport import ConnectError, Transport, dial
from spooler.oneshot.letter import Letter
from spooler.oneshot.way import Leg, Obstacle, Told, Way
from spooler.policy import classify
from spooler.policy.classify import Then
from spooler.policy.plan import group
from spooler.reply import Stage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from spooler.destination import Destination
    from spooler.policy.classify import Verdict

_STOPPED = "the command was stopped"


class Errand(msgspec.Struct, frozen=True, kw_only=True):
    """What is carried, in whose name, and who looks on.

    `sender` "" is the null sender. `opened` is told of each session before mail is sent on it.
    """

    sender: str
    letter: Letter
    lhlo: str
    overhear: Overhear | None = None
    opened: Callable[[Way, Session], None] = lambda _way, _session: None


class Carried(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a leg: one `told` for each recipient, in their order, unless no session could be had.

    Then it is empty, and `obstacles` has one for each way. `stopped` is the number of a signal that ended
    it early, else 0.
    """

    told: tuple[Told, ...] = ()
    obstacles: tuple[Obstacle, ...] = ()
    stopped: int = 0


def carry(errand: Errand, leg: Leg) -> Carried:
    """Deliver, and stop in order at SIGINT and SIGTERM: what is known by then is told."""
    return trio.run(_Carrier(errand, leg).carry)


class _Group(msgspec.Struct):
    """Recipients for one transaction; `repeated`: they have had their fresh connection."""

    recipients: list[str]
    repeated: bool = False


class _Carrier:
    """A session's source (see `spooler.net.session.Source`), and who opens the sessions."""

    def __init__(self, errand: Errand, leg: Leg) -> None:
        self._errand = errand
        self._leg = leg
        groups = group(leg.recipients, leg.most, special=needs_smtputf8)
        self._waiting = deque(_Group(list(recipients)) for recipients in groups)
        self._told: dict[str, Told] = {}
        self._trusts = {way.destination: Trust(leg.mode) for way in leg.ways}
        self._obstacles: list[Obstacle] = []
        self._reached = ""  # the destination of the last session
        self._trust: Trust | None = None  # and what is known of it
        self._begun = False  # a transaction, on this session
        self._stopped = 0

    async def carry(self) -> Carried:
        """Work off all groups."""
        poller = Poller()
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async with trio.open_nursery() as nursery:

                async def heed() -> None:
                    async for number in signals:
                        self._stopped = number
                        nursery.cancel_scope.cancel()

                nursery.start_soon(heed)
                nursery.start_soon(poller.run)
                await self._work(poller)
                nursery.cancel_scope.cancel()
        if self._stopped:
            self._give_up(_STOPPED)
        told = tuple(self._told[address] for address in self._leg.recipients if address in self._told)
        assert len(told) in (0, len(self._leg.recipients)), "one result per recipient"
        return Carried(told=told, obstacles=tuple(self._obstacles), stopped=self._stopped)

    async def _work(self, poller: Poller) -> None:
        while self._waiting:
            session = await self._open(poller)
            if session is None:
                if self._reached:
                    self._give_up(self._obstacles[-1].why)
                return
            self._reached, self._begun = str(session.destination), False
            self._trust = self._trusts[session.destination]
            why = "the server takes no transaction"
            try:
                await session.run(self)
            except SessionLostError as lost:
                session.close()
                why = lost.why
                self._conclude_all(session, why, lost.stage)
            except BaseException:
                session.close()
                self._conclude_all(session, _STOPPED, Stage.LOCAL)
                raise
            else:
                await session.quit()
            if not self._begun:
                self._not_even_begun(why)

    async def _open(self, poller: Poller) -> Session | None:
        """Get a session from the first way that gives one; else note what was in each one's way."""
        errand = self._errand

        async def connect(destination: Destination) -> Transport:
            return await dial(destination, poller)

        self._obstacles = []
        for way in self._leg.ways:
            self._note(f"connecting to {way.destination}")
            try:
                session = await open_session(
                    destination=way.destination,
                    trust=self._trusts[way.destination],
                    lhlo=errand.lhlo,
                    timeouts=self._leg.timeouts,
                    dial=connect,
                    security=way.security,
                    overhear=errand.overhear,
                )
            except ConnectError as error:
                self._note(str(error))
                self._obstacles.append(Obstacle(way.destination, error.trouble, str(error)))
                continue
            errand.opened(way, session)
            return session
        return None

    def _note(self, text: str) -> None:
        if self._errand.overhear is not None:
            self._errand.overhear(Direction.NOTE, text)

    # --- a session's source

    def next(self, session: Session) -> Transaction | None:
        """Return a transaction for the next group; what the server announced not to take is told at once."""
        offered, errand = session.capabilities, self._errand
        most = self._trusts[session.destination].most_recipients()
        while self._waiting:
            next_group = self._waiting.popleft()
            addresses = next_group.recipients
            if most is not None and len(addresses) > most:
                next_group.recipients, rest = addresses[:most], addresses[most:]
                self._waiting.appendleft(_Group(rest, next_group.repeated))
            utf8 = any(map(needs_smtputf8, (errand.sender, *next_group.recipients)))
            unfit = classify.unfit(
                size=errand.letter.content.size,
                eight_bit=errand.letter.eight_bit,
                utf8=utf8,
                size_limit=offered.size,
                takes_eight_bit=offered.eightbitmime,
                takes_utf8=offered.smtputf8,
            )
            self._begun = True
            if unfit is None:
                return Transaction(
                    sender=errand.sender,
                    recipients=[Recipient(address) for address in next_group.recipients],
                    size=errand.letter.content.size,
                    body=errand.letter.content.body,
                    smtputf8=utf8,
                    tag=next_group,
                )
            self._tell(next_group.recipients, unfit)
        return None

    def content(self, transaction: Transaction) -> bytes | AsyncGenerator[bytes, None]:  # noqa: ARG002  # one for all
        """Return the message."""
        return self._errand.letter.read()

    def may_end(self) -> bool:
        """Nobody else has this mail."""
        return True

    def ending(self, transaction: Transaction) -> bool:  # noqa: ARG002  # see Source
        """What is uncertain is told at the end: there is no journal."""
        return True

    def commit(self) -> bool:
        """There is no journal."""
        return True

    def finished(self, transaction: Transaction) -> None:
        """Judge a transaction whose replies were all read and proven."""
        self._conclude(transaction, "", Stage.CONNECT)

    # --- what becomes of the recipients

    def _conclude_all(self, session: Session, fault: str, stage: Stage) -> None:
        for transaction in session.unfinished():
            self._conclude(transaction, fault, stage)

    def _conclude(self, transaction: Transaction, fault: str, stage: Stage) -> None:
        """Judge each recipient: it is told, or put in line again."""
        done = transaction.tag
        assert isinstance(done, _Group)
        fresh: list[str] = []
        further: list[str] = []
        for verdict, addresses in verdicts(transaction, done.recipients, fault, stage):
            if verdict.then is Then.NEXT_TRANSACTION:
                further += addresses
            elif verdict.then is Then.FRESH_CONNECTION and not done.repeated:
                fresh += addresses
            else:
                self._tell(addresses, verdict)
        if transaction.accepted:
            assert self._trust is not None, "it was begun on a session"
            self._trust.limits.accepted(len(transaction.accepted), more_refused=bool(further))
        if further:
            self._waiting.append(_Group(further, done.repeated))
        if fresh:
            self._waiting.append(_Group(fresh, repeated=True))

    def _not_even_begun(self, why: str) -> None:
        """Nothing was begun on a session: once more, and then no more."""
        first = self._waiting.popleft()
        if first.repeated:
            self._tell(first.recipients, classify.unreachable(why))
        else:
            self._waiting.appendleft(_Group(first.recipients, repeated=True))

    def _give_up(self, why: str) -> None:
        for each in self._waiting:
            self._tell(each.recipients, classify.unreachable(why))
        self._waiting.clear()

    def _tell(self, addresses: Sequence[str], verdict: Verdict) -> None:
        for address in addresses:
            assert address not in self._told, "one result per recipient"
            self._told[address] = Told(address, verdict, self._reached)
