"""The demonstration works, and would tell if its figures were made up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench import demo
from tests.servers.own_sink import FinalReply, read_record

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The demonstration makes its folder in the working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.long
def test_the_demonstration_ends_well_and_can_be_repeated(
    in_empty_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """It shows the commands, a deferred and delivered recipient, the table, and that sink and ledger agree;
    a second run removes what the first one left."""
    for _ in range(2):
        assert demo.main() == 0
        shown = capfd.readouterr().out
        assert "$ spooler drain --until-empty" in shown
        assert "What became of every recipient" in shown
        assert "agrees with the ledger on all 690 recipients" in shown
        assert "mailbox is locked" in shown


def test_a_folder_of_somebody_else_is_left_alone(in_empty_folder: Path) -> None:
    """A folder named demo with other things in it is not removed."""
    precious = in_empty_folder / "demo" / "precious"
    precious.parent.mkdir()
    precious.write_text("mine")
    with pytest.raises(SystemExit, match="move it away"):
        demo.main()
    assert precious.read_text() == "mine"


def test_a_record_that_differs_from_the_ledger_is_told(
    in_empty_folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A delivery that only the ledger has, or that the sink got twice, makes the demonstration fail."""

    def tampered(path: Path) -> list[FinalReply]:
        lines = read_record(path)
        lost, twice = [line for line in lines if line.code == 250][:2]
        return [line for line in lines if line is not lost] + [twice]

    monkeypatch.setattr(demo, "read_record", tampered)
    assert demo.main() == 1
    shown = capfd.readouterr().out
    assert "the ledger has 1 final" in shown
    assert "was delivered to more than once" in shown
