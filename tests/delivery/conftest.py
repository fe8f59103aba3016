"""The house, for every test of delivery."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.delivery.house import House, make_spool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A spool and its worker."""
    with make_spool(tmp_path) as store:
        yield House(store, tmp_path / "journals")
