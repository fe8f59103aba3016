"""How many sessions a route may have now, and how many transactions may be in flight on each: found by
trying, never above the limits.

Both start small. In turn each is doubled, and a step stays if it gained throughput; one that did not is
taken back. When neither helps any more the window stays, with a new try from time to time: soon at first, for
one measurement may mislead, then less often, because targets and mail change. In the long run every other
one is of less, which stays if nothing was lost: else steps that only seemed to help would add up for ever.
Refused connections and 421 or 451 replies shrink the number of sessions at once. A target that is full
answers later, so that more in flight brings no more throughput; one that is far away answers no later. No
more is in flight than helps, because each transaction is one more possible second copy at a crash; and no
more than is answered within some seconds, for a stop waits for all of it.

Depth only matters, and is only tried, where whole transactions follow each other (chunked mode). Times are
seconds of a monotonic clock. Throughput is measured in transactions: recipients a message vary too much.
"""

from __future__ import annotations

import math
from enum import Enum, StrEnum

START = 4  # sessions after the first that worked
SHALLOW = 4  # transactions in flight on each at first: enough for a store that answers within a millisecond
FULL = 16  # in flight where nothing adapts
DEEPEST = 32  # in flight at most
SETTLE = 0.03  # seconds after a step that are not measured: what was in flight before it ends, sessions open
SPAN = 0.15  # seconds that a measurement lasts at least; a third of it where the gain is clear
FULL_SPAN = 0.4  # that it lasts else
SAMPLE = 30  # transactions that it needs at least: tells a gain that is clear
FULL_SAMPLE = 100  # that it needs else: with fewer, chance is as great as what is looked for
PATIENCE = 5.0  # seconds after which a measurement without enough of them is judged all the same
STARVED = 0.3  # share of transactions that may end with nothing waiting, or the measurement is void
GAIN = 1.05  # more sessions are kept if throughput grows by more than measurements differ
DEEP_GAIN = 1.15  # more depth must bring more: what is in flight may come twice
KEEP = 0.97  # less of either is kept if no more is lost
CLEAR = 1.4  # a gain, or a loss, that needs no full measurement
FIRST_HOLD = 1.0  # seconds to the next try where more did not help; doubled each time up to HOLD
HOLD = 10.0
RELIEF = 0.7  # what remains of the sessions after a refusal
SLOW = 5.0  # seconds from the begin of a transaction to its end, from where on depth is halved
CALM = 5.0  # seconds after a refusal before there may be more again


class Phase(StrEnum):
    """Why the window is where it is."""

    PROBING = "proving that the route takes mail"
    GROWING = "growing"
    TRYING = "trying one step more"
    HOLDING = "holding"
    LESSENING = "trying one step less"
    LIMITED = "at the limit"
    FIXED = "fixed by configuration"
    WAITING = "answers take long"
    RELIEVING = "the target refused or asked to come later"


class _Way(Enum):
    """In which direction to step."""

    DEEPER = 1
    WIDER = 2


_CLIMBING = frozenset({Phase.GROWING, Phase.TRYING})
_MEASURING = _CLIMBING | {Phase.LESSENING}
_RESTING = frozenset({Phase.HOLDING, Phase.LIMITED, Phase.WAITING, Phase.RELIEVING})
_FIRST = 4  # tries of more before one of less


class Window:
    """Mutable; one per route."""

    def __init__(self, limit: int, *, adapt: bool = True) -> None:
        self.limit = limit
        self.adapt = adapt
        self.size = 1
        """Sessions."""
        self.depth = SHALLOW if adapt else FULL
        """Transactions in flight on each."""
        self.phase = Phase.PROBING
        self._since = 0.0
        self._done = self._starved = self._chunked = 0
        self._deep = False  # whether depth matters, by the last measurement
        self._took = 0.0  # by the last transaction that ended, from its begin
        self._rate = 0.0  # throughput where it is, as last measured
        self._before = 0.0  # and before this step
        self._measured = ""
        self._back = (1, self.depth)  # size and depth then
        self._untried: list[_Way] = []  # where a step has not just failed
        self._last = _Way.WIDER
        self._tries = 0  # since a step up last helped
        self._again_at = 0.0

    def __repr__(self) -> str:
        return f"<Window {self.size} of {self.limit}, depth {self.depth}: {self.phase}>"

    @property
    def why(self) -> str:
        """Why it is where it is, with what was measured, for people."""
        return self.phase.value + self._measured

    def change(self, limit: int, *, adapt: bool, now: float) -> None:
        """Take other limits; what is being measured is measured anew."""
        was_full = self.size == self.limit
        self.limit = limit
        self.size = min(self.size, limit)
        if adapt is not self.adapt:
            self.adapt = adapt
            self.depth = SHALLOW if adapt else FULL
            if self.phase is not Phase.PROBING:
                self.proven(now)
        elif self.phase is Phase.FIXED:
            self.size = limit
        elif self.phase in _MEASURING or (self.phase is Phase.LIMITED and was_full):
            self.phase = Phase.HOLDING
            self._tries = 0
            self._again_at = now
            self._measure(now)

    def proven(self, now: float) -> None:
        """The route took mail after it had not, or never: begin to grow."""
        self._before = self._rate = 0.0
        self._measured = ""
        if not self.adapt:
            self.size = self.limit
            self.phase = Phase.FIXED
            return
        self.size = min(START, self.limit)
        self.depth = SHALLOW
        self.phase = Phase.GROWING if self.size < self.limit else Phase.LIMITED
        self._untried = list(_Way)
        self._tries = 0
        self._again_at = 0.0
        self._measure(now)

    def lost(self) -> None:
        """The route takes no mail: back to a single session."""
        self.size = 1
        self.phase = Phase.PROBING
        self._measured = ""

    def refused(self, now: float) -> bool:
        """The target refused a connection or asked to come later. Return whether the size changed."""
        if self.phase is Phase.PROBING:
            return False
        size = self.size
        if self.phase is not Phase.RELIEVING or now >= self._again_at - CALM / 2:
            self.size = max(1, math.floor(self.size * RELIEF))
        self.phase = Phase.RELIEVING
        self._measured = ""
        self._again_at = now + CALM
        self._before = 0.0
        self._tries = 0
        return self.size != size

    def finished(self, now: float, *, saturated: bool, chunked: bool = False, took: float = 0.0) -> bool:
        """A transaction ended well; `saturated`: all sessions had work. Return whether anything changed.

        `chunked`: whole ones may follow each other. `took` seconds from its begin. Without enough work
        nothing can be learnt, so nothing changes.
        """
        phase = self.phase
        if phase is Phase.PROBING or phase is Phase.FIXED:
            return False
        self._took = took
        if took > SLOW and chunked and self.adapt and self.depth > 1:
            return self._wait(now)
        if phase in _RESTING:
            if now < self._again_at - (FULL_SPAN if self.adapt else 0.0):
                self._since = now
                return False
            if not self.adapt:
                self.proven(now)
                return True
        self._done += 1
        self._starved += not saturated
        self._chunked += chunked
        span = now - self._since
        if span < SPAN / 3 or (self._done < SAMPLE and span < PATIENCE):
            if span <= 0:
                self._measure(self._since)
            return False
        return self._weigh(span, now)

    def _wait(self, now: float) -> bool:
        """Have less in flight: it takes too long until all of it is answered."""
        self.depth //= 2
        self.phase = Phase.WAITING
        self._measured = ""
        self._before = 0.0
        self._again_at = now + HOLD
        self._measure(now)
        return True

    def _weigh(self, span: float, now: float) -> bool:
        """Judge what was measured so far, if it tells enough; return whether anything changed."""
        rate = self._done / span
        measuring = self.phase in _MEASURING
        if measuring and not self._before:
            enough = span >= SPAN
        else:
            enough = span >= FULL_SPAN and (self._done >= FULL_SAMPLE or span >= PATIENCE)
            if measuring:
                gain = rate / self._before
                enough = enough or gain >= CLEAR or (gain <= 1 / CLEAR and span >= SPAN)
        if not enough:
            return False
        if self._starved > self._done * STARVED:
            self._measure(now)
            return False
        self._rate = rate
        self._deep = self._chunked * 2 > self._done
        before = (self.size, self.depth, self.phase)
        if measuring:
            self._judge(now)
        else:
            self._try_again(now)
        moved = before != (self.size, self.depth, self.phase)
        self._measure(now + SETTLE if moved else now)
        return moved

    def _judge(self, now: float) -> None:
        """Keep the last step or take it back; then go on with another, or stay for a while."""
        climbing = self.phase in _CLIMBING
        least = KEEP if not climbing else GAIN if self._last is _Way.WIDER else DEEP_GAIN
        if self._rate >= self._before * least:
            self._untried = list(_Way)
            self._tries = 0 if climbing else self._tries
            self._measured = f": {self._rate:,.0f} transactions/s"
        else:
            what = "more" if climbing else "less"
            self._measured = (
                f": {what} brought {self._rate:,.0f} instead of {self._before:,.0f} transactions/s"
            )
            self.size, self.depth = self._back
            self._rate = self._before
            self._untried.remove(self._last)
        if not self._step(self.phase):
            self._rest(now)

    def _try_again(self, now: float) -> None:
        """Try more, or every other time less."""
        self._untried = list(_Way)
        less = self._tries > _FIRST and self._tries % 2 == 1
        phases = (Phase.LESSENING, Phase.TRYING) if less else (Phase.TRYING, Phase.LESSENING)
        if not any(self._step(phase) for phase in phases):
            self._rest(now)

    def _rest(self, now: float) -> None:
        """Stay for a while."""
        self.phase = Phase.HOLDING
        if not any(self._next(way, Phase.TRYING) for way in _Way):
            self.phase = Phase.LIMITED
            self._tries = max(self._tries, _FIRST)  # there is no more to try
        self._again_at = now + min(FIRST_HOLD * 2 ** min(self._tries, _FIRST), HOLD)
        self._tries += 1

    def _step(self, phase: Phase) -> bool:
        """Go one step, the other way than last time if that is possible; return whether there was one."""
        ways = [way for way in self._untried if self._next(way, phase)]
        if not ways:
            return False
        self._last = next((way for way in ways if way is not self._last), self._last)
        there = self._next(self._last, phase)
        assert there is not None
        self._back = (self.size, self.depth)
        self._before = self._rate
        self.size, self.depth = there
        self.phase = phase
        return True

    def _next(self, way: _Way, phase: Phase) -> tuple[int, int] | None:
        """Return size and depth one step further, None if there is no further."""
        more = phase in _CLIMBING
        size, depth = self.size, self.depth
        if way is _Way.WIDER:
            size = min(self.limit, size * 2) if more else max(min(START, size), size // 2)
        elif self._deep and not (more and self._took * 2 > SLOW):
            depth = min(DEEPEST, depth * 2) if more else max(min(SHALLOW, depth), depth // 2)
        return (size, depth) if (size, depth) != (self.size, self.depth) else None

    def _measure(self, since: float) -> None:
        self._since = since
        self._done = self._starved = self._chunked = 0
