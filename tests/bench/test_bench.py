"""The bench runs every case, checks itself and writes its tables."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from bench import draining
from bench.__main__ import main
from bench.cases import SPOOLS, TARGETS, Case, first
from bench.filling import fill

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def target_installed(request: pytest.FixtureRequest) -> str:
    """A target by its name, if it is here."""
    name: str = request.param
    if name == "smtp-sink":
        request.getfixturevalue("smtp_sink_program")
    return name


@pytest.mark.parametrize("spool", SPOOLS)
@pytest.mark.parametrize("target_installed", TARGETS, indirect=True)
def test_each_case_delivers_everything_and_gives_figures(spool: str, target_installed: str) -> None:
    """Tiny runs of all cases end with every recipient delivered once and with figures above zero."""
    for case in first(spools=(spool,), target=target_installed, tiny=True):
        row = draining.run(case)
        assert row.recipients_per_s > 0
        assert row.cpu > 0
        assert row.peak > 1 << 20


def test_a_run_that_did_not_deliver_everything_has_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the ledger or the target's count is not what the case asks for, the run is an error."""

    def short(url: str, *, messages: int, recipients: int, size: int) -> None:
        fill(url, messages=messages - 1, recipients=recipients, size=size)

    monkeypatch.setattr(draining, "fill", short)
    case = replace(first(spools=("sqlite",), target="sink", tiny=True)[0], messages=3)
    with pytest.raises(draining.BenchError, match="of 3 recipients"):
        draining.run(case)


def test_it_writes_its_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command prints a Markdown table and writes it, and the same figures as JSON, with the machine."""
    assert (
        main(["--tiny", "--rounds", "2", "--spool", "sqlite", "--target", "sink", "--results", str(tmp_path)])
        == 0
    )
    printed = capsys.readouterr().out
    assert printed.strip() in (tmp_path / "first.md").read_text()
    written = json.loads((tmp_path / "first.json").read_text())
    assert [row["spool"] for row in written["rows"]] == ["sqlite", "sqlite"]
    assert {"processor", "cores", "sqlite", "python"} <= set(written["facts"])


def test_sizes_scale_together() -> None:
    """`--messages` sets the number of one-recipient messages, and the other cases keep their proportion."""
    singles, fifties = first(spools=("sqlite",), target="sink", messages=1000)
    assert (singles.messages, fifties.messages) == (1000, 100)
    assert isinstance(singles, Case)
