"""All of it together: what a command that serves runs beside its delivery, or beside its processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from spooler.ops.app import application
from spooler.ops.serving import serve
from spooler.program import version

if TYPE_CHECKING:
    from spooler.events import Observe
    from spooler.listen import Listen
    from spooler.ops.guard import Token
    from spooler.ops.watch import Watch


async def show(watch: Watch, listen: Listen, *, token: Token | None, observe: Observe) -> None:
    """Watch and serve until cancelled."""
    app = application(watch, version=version(), token=token)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch.run)
        await serve(app, listen, observe=observe)
