"""Entrants take turns at a case, several rounds: A B A B, so that what else the machine does meets all alike.

Ratios are made within each round, of runs that followed one another; what counts is the median.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench import places
from bench.cases import Case, Entrant, Goal, Kind
from bench.entrants import FAULTS, BenchError, Run, hindrance, run, verify
from bench.figures import Spread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bench.places import Spools


@dataclass(slots=True)
class Score:
    """An entrant's runs in a case; `why_not` says why there are none, or no more; `failed` if by a fault.

    `verified` recipients were compared one by one in another run, and had got their own message exactly once.
    """

    entrant: Entrant
    runs: list[Run] = field(default_factory=list)
    why_not: str | None = None
    failed: bool = False
    verified: int | None = None

    @property
    def rate(self) -> Spread:
        """Recipients a second."""
        return Spread.of([run.recipients_per_s for run in self.runs])


@dataclass(slots=True)
class Result:
    """What a case gave."""

    case: Case
    scores: list[Score]

    def score(self, name: str) -> Score | None:
        """The score of the entrant of this name, if it has runs."""
        return next((score for score in self.scores if score.entrant.name == name and score.runs), None)


@dataclass(frozen=True, slots=True)
class Reached:
    """What became of a goal: the ratio, or None where one of the two did not run."""

    goal: Goal
    against: str
    ratio: Spread | None


def play(case: Case, spools: Spools, *, rounds: int, say: Callable[[str], None]) -> Result:
    """Let the entrants of a case take turns; what goes wrong is in their scores."""
    absent = places.hindrance(case.target)
    scores = [
        Score(entrant, why_not=hindrance(entrant) if absent is None else absent) for entrant in case.entrants
    ]
    for number in range(1, rounds + 1):
        for score in scores:
            if score.why_not is None:
                told = _turn(case, score, spools)
                say(f"{case.name}, round {number}, {score.entrant.name}: {told}")
    return Result(case, scores)


def check(results: Iterable[Result], spools: Spools, *, say: Callable[[str], None]) -> None:
    """Let every way in which spooler ran deliver once more into a sink that records all, and compare."""
    known: dict[tuple[object, ...], int] = {}
    for result in results:
        for score in result.scores:
            if score.entrant.kind is not Kind.SPOOLER or not score.runs or score.failed:
                continue
            who, case = score.entrant, result.case
            way = (who.spool, who.sessions, who.mode, who.adapt, case.recipients, case.size, case.round_trip)
            try:
                if way not in known:
                    known[way] = verify(case, who, spools)
                    say(f"{case.name}, {who.name}: {known[way]:,} recipients compared one by one")
                score.verified = known[way]
            except FAULTS as error:
                score.why_not, score.failed = _told(error), True
                say(f"{case.name}, {who.name}: {score.why_not}")


def reach(goal: Goal, results: Iterable[Result]) -> Reached:
    """Compare two entrants as a goal asks."""
    result = next((result for result in results if result.case.name == goal.case), None)
    if result is None:
        return Reached(goal, "", None)
    of = result.score(goal.of)
    others = [score for name in goal.against if (score := result.score(name))]
    if of is None or not others or len(others) < len(goal.against) or of.failed:
        return Reached(goal, "", None)
    best = max(others, key=lambda score: score.rate.median)
    pairs = zip(of.runs, best.runs, strict=False)
    ratios = [one.recipients_per_s / other.recipients_per_s for one, other in pairs]
    return Reached(goal, best.entrant.name, Spread.of(ratios))


def _turn(case: Case, score: Score, spools: Spools) -> str:
    """Let one run, and say how it went."""
    try:
        score.runs.append(run(case, score.entrant, spools))
    except FAULTS as error:
        score.why_not, score.failed = _told(error), True
        return score.why_not
    return f"{score.runs[-1].recipients_per_s:,.0f} recipients/s"


def _told(error: BaseException) -> str:
    return str(error) if isinstance(error, BenchError) else f"{type(error).__name__}: {error}"
