"""A spool for what is shown of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from spooler.spool.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def store(sqlite_url: str) -> Iterator[Store]:
    """An open spool."""
    with Store.open(sqlite_url) as opened:
        yield opened
