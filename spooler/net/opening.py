"""From a destination to a session that mail can be sent on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from spooler.lmtp.client import Client
from spooler.net.security import Security
from spooler.net.session import Session
from spooler.net.transport import ConnectError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from spooler.config import Timeouts
    from spooler.destination import Destination
    from spooler.dialogue import Overhear
    from spooler.lmtp.trust import Trust
    from spooler.net.transport import Transport


async def open_session(
    *,
    destination: Destination,
    trust: Trust,
    lhlo: str,
    timeouts: Timeouts,
    dial: Callable[[Destination], Awaitable[Transport]],
    security: Security | None = None,
    overhear: Overhear | None = None,
) -> Session:
    """Connect, and do all that comes before mail; raises ConnectError.

    `security` is what has to be done about TLS and AUTH (None: nothing); `overhear` is told the dialogue.
    """
    with trio.move_on_after(timeouts.connect) as scope:
        transport = await dial(destination)
    if scope.cancelled_caught:
        raise ConnectError(f"no connection within {timeouts.connect:g} s")
    overhearing = None
    if overhear is not None:
        from spooler.lmtp.overhearing import Overhearing  # few look on

        overhearing = Overhearing(overhear)
    session = Session(
        transport=transport,
        client=Client(trust=trust),
        destination=destination,
        timeouts=timeouts,
        overhearing=overhearing,
    )
    try:
        await session.greet(lhlo, security or Security(destination))
    except BaseException:
        session.close()
        raise
    return session
