"""README's figures are those of the results that are kept, and the reports beside them too."""

from __future__ import annotations

import msgspec
import pytest

from bench import report
from bench.figures import Claims, Figures, Memory
from bench.readme import BEGIN, END, README, section, splice


def test_readme_says_what_was_measured() -> None:
    """Its section is made from bench/results/, to the letter; `python -m bench.readme` renews it."""
    text = README.read_text()
    assert splice(text, section()) == text


def test_reports_are_of_the_same_figures() -> None:
    """Tables and plots say what the JSON beside them says."""
    folder = report.RESULTS
    kept = msgspec.json.decode((folder / "bench.json").read_bytes(), type=Figures)
    assert (folder / "bench.md").read_text() == report.document(kept)
    for name, drawn in report.plots(kept).items():
        assert (folder / f"{name}.svg").read_text() == drawn
    claims = msgspec.json.decode((folder / "claims.json").read_bytes(), type=Claims)
    assert report.claims_table(claims) in (folder / "claims.md").read_text()
    memory = msgspec.json.decode((folder / "memory.json").read_bytes(), type=Memory)
    assert report.memory_table(memory) in (folder / "memory.md").read_text()


def test_a_section_is_replaced_and_nothing_else() -> None:
    """What stands before and behind stays; without its comments nothing is written."""
    assert splice(f"a\n{BEGIN}old\n{END}b\n", "new\n") == f"a\n{BEGIN}\nnew\n\n{END}b\n"
    with pytest.raises(ValueError, match="no section"):
        splice("a\n", "new\n")
