"""Fixtures of these tests: an open spool on either database."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from spooler.spool.store import Store
from tests.spool.making import check_tallies

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def store(spool_url: str) -> Iterator[Store]:
    """An open spool; whatever a test does with it, the tallies are right in the end."""
    with Store.open(spool_url) as opened:
        yield opened
        check_tallies(opened)


@pytest.fixture
def other(spool_url: str) -> Iterator[Store]:
    """The same spool, as another process has it open."""
    with Store.open(spool_url) as opened:
        yield opened
