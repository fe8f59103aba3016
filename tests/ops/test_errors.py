"""The errors that are met most."""

from __future__ import annotations

from spooler.ops.errors import MOST, Errors
from spooler.result import Outcome
from tests.ops.test_metrics import NOW, result


def test_the_same_words_for_several_recipients_are_one_error() -> None:
    """The recipient's address does not count, the place and the stage do."""
    errors = Errors()
    for n in range(3):
        errors.count(
            result(n, Outcome.FAILED, code=550, text=f"no such user <r{n}@x>", at=NOW + n, enhanced="5.1.1")
        )
    errors.count(result(9, Outcome.FAILED, code=550, text="no such user <r9@x>", destination="unix:/y"))
    first, second = errors.top(10)
    assert (first.count, first.key.text, first.first, first.last) == (3, "no such user <…>", NOW, NOW + 2)
    assert (second.count, second.key.destination) == (1, "unix:/y")


def test_they_add_up() -> None:
    """Of several processes, and with what was counted since."""
    errors, other = Errors(), Errors()
    for one in (errors, other):
        one.count(result(0, Outcome.DEFERRED, text="busy", at=NOW))
    other.count(result(0, Outcome.DEFERRED, text="busy", at=NOW + 5))
    errors.add(other.take())
    (only,) = errors.top(10)
    assert (only.count, only.last) == (3, NOW + 5)
    assert other.top(10) == []


def test_a_flood_of_texts_costs_no_memory() -> None:
    """There are never more than some hundred; the frequent ones stay."""
    errors = Errors()
    for n in range(10):
        errors.count(result(0, Outcome.FAILED, text="often", at=NOW + n))
    for n in range(10 * MOST):
        errors.count(result(0, Outcome.FAILED, text=f"id {n}", at=NOW + n))
    assert len(errors.top(10 * MOST)) <= MOST
    assert errors.top(1)[0].key.text == "often"
