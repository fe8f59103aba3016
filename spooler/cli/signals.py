"""The signals that ask a command to stop."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import trio

from spooler.errors import SpoolerError
from spooler.events import ConfigRefused

if TYPE_CHECKING:
    from collections.abc import Callable

    from spooler.config import Config
    from spooler.events import Observe


async def watch_reload(
    reread: Callable[[], Config],
    take: Callable[[Config], None],
    observe: Observe,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Read the configuration again at each SIGHUP; what is not acceptable is told, and changes nothing."""
    with trio.open_signal_receiver(signal.SIGHUP) as signals:
        task_status.started()
        async for _ in signals:
            read_again(reread, take, observe)


def read_again(reread: Callable[[], Config], take: Callable[[Config], None], observe: Observe) -> None:
    """Read the configuration again and pass it on, if it is acceptable."""
    try:
        config = reread()
    except SpoolerError as error:
        observe(ConfigRefused(why=str(error)))
    else:
        take(config)


async def watch_signals(stop: Callable[[int], None], task_status: trio.TaskStatus[None]) -> None:
    """Call `stop` at each signal, with how many there were."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        count = 0
        async for _ in signals:
            count += 1
            stop(count)
