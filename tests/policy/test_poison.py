"""Who is suspected of killing workers."""

from __future__ import annotations

from spooler.policy.poison import DEADLY, SUSPECT, deaths, why_held


def test_deaths() -> None:
    """Claims that became no attempt are deaths."""
    assert deaths(claims=5, attempts=2) == 3
    assert 1 < SUSPECT < DEADLY - 1  # killed alone more than once, whatever happened in company


def test_the_reason_says_how_many() -> None:
    """It is for people."""
    assert why_held(6) == "6 workers died with it, the last 3 with nothing else in hand"
