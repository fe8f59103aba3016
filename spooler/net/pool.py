"""Targets and their idle sessions.

Every change of the pool's state is one synchronous function that says what is to be closed; I/O
stays outside. A session that has unread or unproven replies is never put back (it is not idle).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, TypeAlias

from spooler.credentials import Account
from spooler.destination import Destination
from spooler.lmtp.mode import Mode
from spooler.lmtp.trust import Trust
from spooler.net.poller import Poller
from spooler.net.security import Security, security_for
from spooler.net.transport import dial as dial_socket
from spooler.policy.health import Health
from spooler.tls import PLAIN, Tls

if TYPE_CHECKING:
    from spooler.net.session import Session
    from spooler.net.transport import Dial, Transport


_Way: TypeAlias = tuple[Destination, Tls, Account | None]


class Target:
    """What is known of one destination, shared by all routes that lead there in the same way.

    Those with other TLS or another account have a target of their own: no session is used for both.
    """

    def __init__(self, destination: Destination, security: Security) -> None:
        self.destination = destination
        self.security = security
        self.name = str(destination)
        self.trust = Trust()
        self.health = Health()
        self.busy = 0
        """Sessions at work."""
        self.idle: deque[Session] = deque()

    @property
    def mode(self) -> str:
        """How transactions are sent there at best, for logs."""
        return self.trust.mode.word

    def __repr__(self) -> str:
        return f"<Target {self.name} {self.health!r} idle={len(self.idle)}>"


class Pool:
    """All targets of a worker, with an idle deque each."""

    def __init__(self, dial: Dial = dial_socket) -> None:
        self.poller = Poller()
        """Waits for all sessions; its task must run while any is used."""
        self._dial = dial
        self._targets: dict[_Way, Target] = {}

    def __repr__(self) -> str:
        return f"<Pool {list(self._targets.values())}>"

    def target(
        self,
        destination: Destination,
        *,
        mode: Mode = Mode.CHUNKED,
        tls: Tls = PLAIN,
        account: Account | None = None,
    ) -> Target:
        """Return the one target of a destination; of several modes asked for the most careful one holds."""
        target = self._targets.get((destination, tls, account))
        if target is None:
            target = Target(destination, security_for(destination, tls, account))
            self._targets[destination, tls, account] = target
        target.trust.limit(mode)
        return target

    async def dial(self, destination: Destination) -> Transport:
        """Make a connection that the poller waits for; raises ConnectError."""
        return await self._dial(destination, self.poller)

    def take(self, target: Target) -> Session | None:
        """Take the session that was used last and is still good; what is not good is closed."""
        while target.idle:
            session = target.idle.pop()
            if session.alive():
                return session
            session.close()
        return None

    def put(self, target: Target, session: Session, *, now: float) -> None:
        """Keep a session for reuse; `now` in seconds of a monotonic clock."""
        session.idle_since = now
        target.idle.append(session)

    def expire(self, *, now: float, idle: float) -> list[Session]:
        """Remove and return the sessions that were idle for `idle` seconds or more."""
        stale = []
        for target in self._targets.values():
            while target.idle and now - target.idle[0].idle_since >= idle:
                stale.append(target.idle.popleft())
        return stale
