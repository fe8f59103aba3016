"""docs/RELIABILITY.md names tests: they must be there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent


def test_every_test_that_is_named_exists() -> None:
    """A test that was renamed or removed takes its row in the table with it, or the table lies."""
    text = (ROOT.parent / "docs" / "RELIABILITY.md").read_text(encoding="utf-8")
    named = re.findall(r"`(?:tests/)?(\w+/test_\w+\.py|…)(?:::(\w+))?`", text)
    assert len(named) > 40
    file = ""
    for path, test in named:
        file = file if path == "…" else path
        source = (ROOT / file).read_text(encoding="utf-8")
        assert not test or f"def {test}(" in source, f"{file}::{test}"
