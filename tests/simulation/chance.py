"""Everything that is left to chance in one run, what has come of it, and a trace of it all.

Not every fault is possible in every run: each seed draws which are, and how likely each is then. A run with
all of them would hardly get past the greeting, and would hide the faults that take two to show.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")

STAGES = ("connect", "lhlo", "mail", "rcpt", "data", "body", "final")
REPLIES = ("late reply", "malformed reply", "oversized reply", "dripping reply", "misplaced code")
TARGET = (
    *(f"{kind} at {stage}" for stage in STAGES for kind in ("421", "4xx", "5xx", "lost")),
    *REPLIES,
    "fewer replies",
    "more replies",
    "early reply",
    "354 for nobody",
    "too many recipients",
    "session limit",
    "idle connection closed",
    "stops reading",
    "no greeting",
    "no LMTP",
    "no connection",
)
"""What servers do; rates are per opportunity."""
HOUSE = (
    "spool refuses",
    "commit lost",
    "acknowledgement lost",
    "journal not writable",
    "crash at a spool call",
    "crash while sending",
    "crash while journalling",
)
"""What happens to workers; rates are per call."""
_TARGET_RATES = (0.01, 0.03, 0.1, 0.3)
_HOUSE_RATES = (0.002, 0.01, 0.04)
_RARE = {"354 for nobody": (0.3, 1.0), "fewer replies": (0.1, 0.5), "crash while journalling": (0.01, 0.1)}
"""Rates of what has an opportunity but seldom, and is possible twice as often."""
_TIGHT = 8  # one seed in so many
_POSSIBLE = 0.25  # of the faults, in one run


class Chance:
    """One run's luck; `hits` counts what was struck and which ways were taken."""

    def __init__(self, seed: int, *, tell: Callable[[str], None] | None = None) -> None:
        self.rng = random.Random(seed)
        self.tight = seed % _TIGHT == _TIGHT // 2
        """Whether there is more mail than a worker may hold."""
        self.hits: Counter[str] = Counter()
        self._hash = hashlib.sha256()
        self._tell = tell
        self._rates: dict[str, float] = {}
        share = self.rng.choice((0.0, _POSSIBLE / 2, _POSSIBLE, 2 * _POSSIBLE))
        for names, rates in ((TARGET, _TARGET_RATES), (HOUSE, _HOUSE_RATES)):
            for name in names:
                if self.rng.random() < (2 * share if name in _RARE else share):
                    self._rates[name] = self.rng.choice(_RARE.get(name, rates))

    @property
    def trace(self) -> str:
        """A hash of all that was told."""
        return self._hash.hexdigest()

    def strikes(self, fault: str) -> bool:
        """Whether a fault happens now; counted if so."""
        rate = self._rates.get(fault)
        if rate is None or self.rng.random() >= rate:
            return False
        self.hit(fault)
        return True

    def may(self, probability: float) -> bool:
        """Draw."""
        return self.rng.random() < probability

    def pick(self, some: Sequence[T]) -> T:
        """Draw one of some."""
        return self.rng.choice(some)

    def between(self, low: float, high: float) -> float:
        """Draw a number."""
        return self.rng.uniform(low, high)

    def heal(self) -> None:
        """Let nothing go wrong from now on."""
        self._rates.clear()

    def hit(self, what: str, times: int = 1) -> None:
        """Count what was struck."""
        self.hits[what] += times

    def note(self, when: float, *what: object) -> None:
        """Put into the trace."""
        line = f"{when:14.6f} {' '.join(map(str, what))}"
        self._hash.update(line.encode() + b"\n")
        if self._tell is not None:
            self._tell(line)
