"""Asking a destination who it is, as delivery does: connect, TLS, AUTH, QUIT. No transaction is begun.

It waits for seconds where delivery waits for minutes: somebody looks on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import trio

from spooler.config import Duration, Timeouts
from spooler.lmtp.capabilities import Capabilities
from spooler.lmtp.opening import NO_LMTP
from spooler.lmtp.trust import Trust
from spooler.net.opening import open_session
from spooler.net.poller import Poller
from spooler.net.tls import Protection
from spooler.net.transport import ConnectError, Transport, dial
from spooler.trouble import Trouble

if TYPE_CHECKING:
    from spooler.destination import Destination
    from spooler.net.security import Security

PATIENCE = 5.0  # seconds for the connection, and for each reply


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What a destination said; `trouble` is None and `capabilities` is there, or the other way round.

    `detail` is what the server or the system said; `took` in seconds, from connecting until mail could be
    sent; `protection` is None in plain text; `mechanism` is that of AUTH.
    """

    trouble: Trouble | None = None
    detail: str = ""
    capabilities: Capabilities | None = None
    took: float = 0.0
    protection: Protection | None = None
    mechanism: str = ""


async def probe(
    destination: Destination, *, lhlo: str, security: Security | None = None, patience: float = PATIENCE
) -> Answer:
    """Ask; never raises for what the destination does."""
    poller = Poller()

    async def connect(destination: Destination) -> Transport:
        return await dial(destination, poller)

    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(poller.run)
        try:
            session = await open_session(
                destination=destination,
                trust=Trust(),
                lhlo=lhlo,
                timeouts=_timeouts(patience),
                dial=connect,
                security=security,
            )
        except ConnectError as error:
            answer = Answer(trouble=error.trouble, detail=str(error).removesuffix(NO_LMTP))
        else:
            answer = Answer(
                capabilities=session.capabilities,
                took=trio.current_time() - began,
                protection=session.protection,
                mechanism=session.mechanism,
            )
            await session.quit()
        nursery.cancel_scope.cancel()
    return answer


def _timeouts(patience: float) -> Timeouts:
    limit = Duration(patience)
    return Timeouts(connect=limit, greeting=limit, command=limit, quit=min(limit, Timeouts().quit))
