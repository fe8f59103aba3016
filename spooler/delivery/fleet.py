"""The lanes and crews of a worker's routes, which may change while it runs.

A route that is taken out of the configuration begins nothing more and gives back what waits; its lane stays,
for what is under way on it, and for when it comes back.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from spooler.delivery.crew import Crew, Gear
from spooler.delivery.lane import Lane

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import trio

    from spooler.config import Route
    from spooler.delivery.settler import Settler


class Fleet:
    """One per worker; `lanes` is shared with whoever claims."""

    def __init__(
        self, *, gear: Gear, settler: Settler, lanes: dict[str, Lane], nudge: Callable[[], None]
    ) -> None:
        self.lanes = lanes
        self.crews: dict[str, Crew] = {}
        self._gear = gear
        self._settler = settler
        self._nudge = nudge
        self._nursery: trio.Nursery | None = None

    def take(self, routes: Mapping[str, Route], *, lhlo: str) -> None:
        """Serve these routes from now on, and no others."""
        self._gear = replace(self._gear, lhlo=lhlo)
        for name, lane in self.lanes.items():
            self.crews[name].gear = self._gear
            if name not in routes:
                lane.stop()
        for name, route in routes.items():
            lane_there = self.lanes.get(name)
            if lane_there is None:
                self._add(name, route)
            elif lane_there.route != route or lane_there.stopping:
                was_stopped = lane_there.stopping
                lane_there.change(route)
                self.crews[name].retarget()
                if was_stopped:
                    self._start(name)

    def staff(self, nursery: trio.Nursery) -> None:
        """Set all crews to work, and from now on each that joins."""
        self._nursery = nursery
        for name in self.crews:
            self._start(name)

    def stop(self) -> None:
        """Begin nothing more."""
        for lane in self.lanes.values():
            lane.stop()

    def _add(self, name: str, route: Route) -> None:
        ground = self._gear.ground
        lane = Lane(name=name, route=route, ground=ground, settler=self._settler, nudge=self._nudge)
        self.lanes[name] = lane
        self.crews[name] = Crew(lane, self._gear)
        self._start(name)
        self._nudge()

    def _start(self, name: str) -> None:
        if self._nursery is not None:
            self._nursery.start_soon(self.crews[name].run)
