"""The signals that ask a command to stop."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable


async def watch_signals(stop: Callable[[int], None], task_status: trio.TaskStatus[None]) -> None:
    """Call `stop` at each signal, with how many there were."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        count = 0
        async for _ in signals:
            count += 1
            stop(count)
