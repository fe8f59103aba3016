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


AT_ONCE = 0.5  # seconds: timeout(1) signals its child and then all of the group, and means one request


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


async def watch_signals(
    stop: Callable[[int], None],
    *,
    hangup: bool = False,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Call `stop` at each signal, with how many there were; several at once are one.

    `hangup`: SIGHUP is such a signal, too, unless it is ignored (nohup): the terminal is gone.
    """
    asked = [signal.SIGTERM, signal.SIGINT]
    if hangup and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        asked.append(signal.SIGHUP)
    with trio.open_signal_receiver(*asked) as signals:
        task_status.started()
        count = 0
        last = -AT_ONCE
        async for _ in signals:
            now = trio.current_time()
            if now - last >= AT_ONCE:
                last = now
                count += 1
                stop(count)
