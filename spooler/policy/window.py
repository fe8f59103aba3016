"""How many sessions a route may have now: found by trying, never above the configured limit.

The window starts small and doubles as long as that gains throughput. A step that does not
is taken back, and the window then stays, with a new try from time to time, because targets and mail
change. Refused connections and 421 or 451 replies shrink it at once. Latency needs no rule of its own:
a target that is full answers later, so that more sessions bring no more throughput.

Times are seconds of a monotonic clock. Throughput is measured in transactions: recipients a message
vary too much.
"""

from __future__ import annotations

import math
from enum import StrEnum

START = 4  # sessions after the first that worked
SPAN = 0.15  # seconds that a measurement lasts at least
SAMPLE = 30  # transactions that it needs at least
PATIENCE = 5.0  # seconds after which a measurement without enough of them is judged all the same
STARVED = 0.3  # share of transactions that may end with nothing waiting, or the measurement is void
GAIN = 1.05  # a step up is kept if throughput grows by more than measurements differ
HOLD = 10.0  # seconds between tries where more did not help
RELIEF = 0.7  # what remains of the window after a refusal
CALM = 5.0  # seconds after a refusal before it may grow again


class Phase(StrEnum):
    """Why the window is where it is."""

    PROBING = "proving that the route takes mail"
    GROWING = "growing"
    TRYING = "trying one step more"
    HOLDING = "more sessions brought no more throughput"
    LIMITED = "at the configured limit"
    RELIEVING = "the target refused or asked to come later"


class Window:
    """Mutable; one per route."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.size = 1
        self.phase = Phase.PROBING
        self._since = 0.0
        self._done = 0
        self._starved = 0
        self._before = 0.0  # throughput at the size before this step
        self._smaller = 1  # that size
        self._again_at = 0.0

    def __repr__(self) -> str:
        return f"<Window {self.size} of {self.limit}: {self.phase}>"

    def proven(self, now: float) -> None:
        """The route took mail after it had not, or never: begin to grow."""
        self.size = min(START, self.limit)
        self.phase = Phase.GROWING if self.size < self.limit else Phase.LIMITED
        self._before = 0.0
        self._measure(now)

    def lost(self) -> None:
        """The route takes no mail: back to a single session."""
        self.size = 1
        self.phase = Phase.PROBING

    def refused(self, now: float) -> None:
        """The target refused a connection or asked to come later."""
        if self.phase is Phase.PROBING:
            return
        if self.phase is not Phase.RELIEVING or now >= self._again_at - CALM / 2:
            self.size = max(1, math.floor(self.size * RELIEF))
        self.phase = Phase.RELIEVING
        self._again_at = now + CALM
        self._before = 0.0

    def finished(self, now: float, *, saturated: bool) -> bool:
        """A transaction ended well; `saturated`: all sessions had work. Return whether the size changed.

        Without enough work nothing can be learnt, so nothing changes.
        """
        if self.phase in (Phase.PROBING, Phase.LIMITED):
            return False
        self._done += 1
        self._starved += not saturated
        if self.phase in (Phase.HOLDING, Phase.RELIEVING) and now < self._again_at:
            self._measure_if_stale(now)
            return False
        span = now - self._since
        if span < SPAN or (self._done < SAMPLE and span < PATIENCE):
            return False
        if self._starved > self._done * STARVED:
            self._measure(now)
            return False
        rate = self._done / span
        before = self.size
        if self.phase is Phase.GROWING or self.phase is Phase.TRYING:
            self._judge(rate, now)
        else:
            self._step_up(rate, Phase.TRYING)
        self._measure(now)
        return self.size != before

    def _judge(self, rate: float, now: float) -> None:
        if rate >= self._before * GAIN:
            self._step_up(rate, Phase.GROWING)
            return
        self.size = self._smaller
        self.phase = Phase.HOLDING
        self._again_at = now + HOLD

    def _step_up(self, rate: float, phase: Phase) -> None:
        self._before = rate
        self._smaller = self.size
        if self.size >= self.limit:
            self.phase = Phase.LIMITED
            return
        self.size = min(self.limit, self.size * 2)
        self.phase = phase

    def _measure(self, now: float) -> None:
        self._since = now
        self._done = self._starved = 0

    def _measure_if_stale(self, now: float) -> None:
        """While holding, keep the measurement short, so that it tells of now."""
        if now - self._since > 4 * SPAN and self._done > 4 * SAMPLE:
            self._measure(now)
