"""The command that makes mistakes fits the tree, and tells a mistake from none.

Reduced size: two of the mistakes are made here; `python -m tests.mutations` makes all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from tests.mutations.dialogue import POLICY
from tests.mutations.table import MUTATIONS
from tests.mutations.trying import TREE, TableError, check_unmutated, copy_of, is_noticed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SOME = POLICY[:2]


@pytest.fixture(scope="module")
def copy() -> Iterator[Path]:
    """A tree to make mistakes in."""
    with copy_of() as root:
        yield root


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda one: one.name)
def test_each_can_be_made(mutation: object) -> None:
    """Its text stands once where it is looked for, and its tests are there."""
    assert isinstance(mutation, type(MUTATIONS[0]))
    assert (TREE / mutation.path).read_text().count(mutation.old) == 1
    for test in mutation.tests:
        path, _, name = test.partition("::")
        text = (TREE / path).read_text()
        assert all(part in text for part in name.removesuffix("]").split("["))


def test_there_are_enough_of_them() -> None:
    """No two are the same, and no floor is left out."""
    assert len({one.name for one in MUTATIONS}) == len(MUTATIONS) > 50
    floors = {one.path.split("/")[1] for one in MUTATIONS}
    assert floors == {"lmtp", "net", "policy", "delivery", "journal", "spool", "intake"}


@pytest.mark.parametrize("mutation", _SOME, ids=lambda one: one.name)
def test_a_mistake_is_noticed(mutation: object, copy: Path) -> None:
    """And the tree is afterwards as it was."""
    assert isinstance(mutation, type(MUTATIONS[0]))
    before = (copy / mutation.path).read_text()
    assert is_noticed(mutation, copy)
    assert (copy / mutation.path).read_text() == before


def test_without_a_mistake_all_is_well(copy: Path) -> None:
    """The tests pass as the tree is; a change that changes nothing survives."""
    check_unmutated(_SOME, copy)
    nothing = msgspec.structs.replace(_SOME[0], new=_SOME[0].old)
    assert not is_noticed(nothing, copy)


def test_what_cannot_be_told_is_an_error(copy: Path) -> None:
    """A text that is gone, a test that is gone, a tree that cannot be loaded: none counts as noticed."""
    gone = msgspec.structs.replace(_SOME[0], old="what never stood there")
    elsewhere = msgspec.structs.replace(_SOME[0], tests=("tests/policy/test_none.py",))
    broken = msgspec.structs.replace(_SOME[0], new="def (")
    for mutation in (gone, elsewhere, broken):
        with pytest.raises(TableError):
            is_noticed(mutation, copy)
