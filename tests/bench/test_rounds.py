"""Turns, ratios and their spread."""

from __future__ import annotations

import pytest

from bench import rounds
from bench.cases import Case, Entrant, Goal, Kind
from bench.entrants import BenchError, Run
from bench.figures import Spread
from bench.places import Spools
from bench.rounds import play, reach

_ONE, _OTHER, _THIRD = (Entrant(name=name, kind=Kind.WIRE) for name in ("one", "other", "third"))
_CASE = Case(name="c", title="c", messages=10, target="sink", entrants=(_ONE, _OTHER, _THIRD))
_GOAL = Goal(title="g", case="c", of="one", against=("other", "third"), at_least=1, goal=2)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Runs that take what is told here; returns who ran, in order."""
    seconds = {"one": iter((1.0, 2.0, 4.0)), "other": iter((4.0, 4.0, 4.0)), "third": iter((5.0, 3.0, 6.0))}
    turns: list[str] = []

    def run(case: Case, entrant: Entrant, spools: Spools) -> Run:
        turns.append(entrant.name)
        return Run(messages=10, recipients=10, seconds=next(seconds[entrant.name]))

    monkeypatch.setattr(rounds, "run", run)
    monkeypatch.setattr(rounds, "hindrance", lambda _: None)
    return turns


def test_entrants_take_turns(fake: list[str], spools: Spools) -> None:
    """A B C A B C: no entrant has all its runs in a row."""
    play(_CASE, spools, rounds=2, say=lambda _: None)
    assert fake == ["one", "other", "third"] * 2


def test_a_ratio_is_of_runs_of_one_round_against_the_best(fake: list[str], spools: Spools) -> None:
    """The best of the others has the greatest median; each round gives a ratio, and the median counts."""
    result = play(_CASE, spools, rounds=3, say=lambda _: None)
    reached = reach(_GOAL, [result])
    assert reached.against == "other"
    assert reached.ratio == Spread(median=2.0, low=1.0, high=4.0)


def test_what_failed_is_not_compared(
    fake: list[str], spools: Spools, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An entrant that fails has no further turn, and no ratio is made of it; the others go on."""

    def failing(case: Case, entrant: Entrant, spools: Spools) -> Run:
        if entrant is _ONE:
            raise BenchError("delivered twice")
        return Run(messages=10, recipients=10, seconds=1)

    monkeypatch.setattr(rounds, "run", failing)
    said: list[str] = []
    result = play(_CASE, spools, rounds=2, say=said.append)
    assert [len(score.runs) for score in result.scores] == [0, 2, 2]
    assert [text for text in said if "one" in text] == ["c, round 1, one: delivered twice"]
    assert reach(_GOAL, [result]).ratio is None


@pytest.fixture
def spools() -> Spools:
    """Nothing is made here."""
    return Spools()
