"""The figures as they are kept in `bench/results/*.json`: typed, so that what reads them can rely on them.

Times are in seconds unless their name says otherwise, rates in recipients a second, memory in bytes.
"""

from __future__ import annotations

from statistics import median, quantiles
from typing import TYPE_CHECKING, Self

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class Spread(msgspec.Struct, frozen=True):
    """The median of several figures, the least and the greatest."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, figures: Sequence[float]) -> Self:
        """Summarise figures, at least one."""
        return cls(median(figures), min(figures), max(figures))


class Quartiles(msgspec.Struct, frozen=True):
    """The median of many figures, and between what half of them lie."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, figures: Sequence[float]) -> Self:
        """Summarise figures, at least two."""
        low, middle, high = quantiles(figures, n=4, method="inclusive")
        return cls(middle, low, high)


class EntrantFigures(msgspec.Struct, frozen=True, kw_only=True):
    """How an entrant did in a case.

    `why_not` says why it has no rate, or why its rate does not count (`failed`). `cpu_us` is processor time
    a recipient, `process` includes start-up, `modes` are the shares of transactions by mode, `windows` say
    with how many sessions each round ended, how deep where that mattered, and why; these and `peak` are known
    of spooler only. `verified` recipients were compared one by one in another run.
    """

    name: str
    messages: int
    recipients: int
    why_not: str | None = None
    failed: bool = False
    rate: Spread | None = None
    rates: list[float] = []
    seconds: float | None = None
    process: float | None = None
    cpu_us: float | None = None
    peak: int | None = None
    modes: dict[str, float] = {}
    windows: list[str] = []
    verified: int | None = None


class CaseFigures(msgspec.Struct, frozen=True, kw_only=True):
    """A case and how its entrants did."""

    name: str
    title: str
    messages: int
    recipients: int
    size: int
    target: str
    round_trip: float
    entrants: list[EntrantFigures]

    def entrant(self, name: str) -> EntrantFigures | None:
        """The entrant of this name, if it has a rate that counts."""
        return next((one for one in self.entrants if one.name == name and one.rate and not one.failed), None)


class GoalFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a goal; `ratio` is None where it could not be measured."""

    title: str
    case: str
    of: str
    against: str
    at_least: float
    goal: float
    ratio: Spread | None = None


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """`bench.json`: everything that drains."""

    facts: dict[str, str]
    settings: dict[str, str]
    rounds: int
    cases: list[CaseFigures]
    goals: list[GoalFigures]

    def case(self, name: str) -> CaseFigures | None:
        """The case of this name."""
        return next((one for one in self.cases if one.name == name), None)


class ClaimFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Claims from one backlog: ms a claim and a settlement of as many."""

    spool: str
    shape: str
    backlog: int
    claim: Quartiles
    settle: Quartiles
    filled: float


class Claims(msgspec.Struct, frozen=True, kw_only=True):
    """`claims.json`."""

    facts: dict[str, str]
    claim: int
    rounds: int
    rows: list[ClaimFigures]

    def growth(self, spool: str, shape: str) -> float | None:
        """The time of a claim from the longest backlog, divided by that from the shortest."""
        rows = sorted(
            (row for row in self.rows if (row.spool, row.shape) == (spool, shape)),
            key=lambda row: row.backlog,
        )
        return rows[-1].claim.median / rows[0].claim.median if len(rows) > 1 else None


class LoadFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Memory: of an idle worker, and at most while it delivered a load; `seconds` is the drain's wall
    time."""

    name: str
    spool: str
    idle: int
    peak: int
    seconds: float

    @property
    def above(self) -> int:
        """What delivering took on top."""
        return self.peak - self.idle


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """`memory.json`."""

    facts: dict[str, str]
    rows: list[LoadFigures]


class KillFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What became of every recipient of so many kills, by the target's own count; `uncertain`: attempts
    that may have delivered, each recorded; `unexplained`: copies beyond those."""

    spool: str
    target: str
    kills: int
    recipients: int
    lost: int
    false_success: int
    false_failure: int
    duplicates: int
    uncertain: int
    unexplained: int

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.lost or self.false_success or self.false_failure or self.unexplained)


class Kills(msgspec.Struct, frozen=True, kw_only=True):
    """`kills.json`; `sessions` is the route's limit."""

    facts: dict[str, str]
    sessions: int
    rows: list[KillFigures]


Kept = Figures | Claims | Memory | Kills


def save(figures: Kept, path: Path) -> None:
    """Write figures to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(figures), indent=2) + b"\n")
