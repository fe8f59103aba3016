"""docs/FAULTS.md names tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (ROOT / "docs/FAULTS.md").read_text())))


@pytest.mark.parametrize(("file", "name"), NAMED, ids=[name for _, name in NAMED])
def test_each_is_there(file: str, name: str) -> None:
    """Whoever follows the table finds a test."""
    assert re.search(rf"^(async )?def {name}\(", (ROOT / file).read_text(), flags=re.MULTILINE)


def test_the_table_names_some() -> None:
    """It is read as it is meant."""
    assert len(NAMED) > 25
