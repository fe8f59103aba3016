"""Lets lanes begin nothing while a person has paused their route.

The spool gives nothing of a paused route to any claim; what was claimed before the pause goes back from here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from spooler.errors import SpoolerError
from spooler.events import RoutePaused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from spooler.delivery.lane import Lane
    from spooler.delivery.ports import Ground

EVERY = 1.0  # seconds between looks


class Pauses:
    """One per worker; `run` is its task. `resumed` is called when something may be claimed again."""

    def __init__(self, ground: Ground, lanes: Mapping[str, Lane], *, resumed: Callable[[], None]) -> None:
        self._ground = ground
        self._lanes = lanes
        self._resumed = resumed

    async def run(self) -> None:
        """Look regularly until cancelled; a spool that does not answer leaves all as it is."""
        while True:
            try:
                paused = {pause.route: pause for pause in await self._ground.spool.pauses()}
            except SpoolerError:
                pass  # others who need it more tell of it
            else:
                for name, lane in self._lanes.items():
                    pause = paused.get(name)
                    if (pause is not None) is not lane.paused:
                        self._ground.observe(RoutePaused(route=name, pause=pause))
                        if pause is not None:
                            lane.pause()
                        else:
                            lane.resume()
                            self._resumed()
            await trio.sleep(EVERY)
