"""How values look to people and to programs."""

from __future__ import annotations

import sys

import pytest

from spooler.cli import render
from spooler.envelope import Notify, Priority

SECOND = 1_000_000
DAY = 86_400 * SECOND


@pytest.mark.parametrize(
    ("us", "text"),
    [
        (-5, "0s"),
        (999_999, "0s"),
        (59 * SECOND, "59s"),
        (60 * SECOND, "1m"),
        (3661 * SECOND, "1h 1m"),
        (3601 * SECOND, "1h"),
        (5 * DAY + 1, "5d"),
        (5 * DAY + 3600 * SECOND, "5d 1h"),
    ],
)
def test_durations(us: int, text: str) -> None:
    """The two greatest units, without zeros."""
    assert render.human_duration(us) == text


@pytest.mark.parametrize("when", [2**63 - 1, -(2**63)])
def test_times_that_no_calendar_has(when: int) -> None:
    """They are shown as the nearest that there is."""
    year = "9999-12-31" if when > 0 else "0001-01-01"
    assert render.clock_time(when).startswith(year)
    assert render.rfc3339(when).startswith(year)


def test_moments() -> None:
    """Relative for people, exact in UTC for programs."""
    assert render.human_when(5 * SECOND, 0) == "in 5s"
    assert render.human_when(0, 5 * SECOND) == "5s ago"
    assert render.human_when(1, 0) == "now"
    assert render.rfc3339(1_800_000_000_000_001) == "2027-01-15T08:00:00.000001Z"
    assert render.clock_time(1_800_000_000_000_001) == "2027-01-15 08:00:00Z"


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 bytes"), (1023, "1023 bytes"), (1536, "1.5 KB"), (1 << 40, "1024.0 GB")]
)
def test_sizes(size: int, text: str) -> None:
    """In the unit that fits."""
    assert render.human_size(size) == text


def test_json_of_enums_and_names() -> None:
    """Enumerations have names; keys that look like times or ids are only read as such if they are numbers."""
    value = {"priority": Priority.BULK, "notify": Notify.SUCCESS | Notify.DELAY, "id": 0, "due": {"x": 1}}
    assert render.plain(value) == {
        "priority": "bulk",
        "notify": ["success", "delay"],
        "id": None,
        "due": {"x": 1},
    }


def test_tables_are_plain_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    """Not on a terminal: nothing wrapped, no colour; a stranger's markup and control characters are shown."""
    render.print_table(["name", "#count"], [["[red]x[/red]\x1b[0m", "1"], ["y" * 250, "10"]])
    head, first, second = capsys.readouterr().out.splitlines()
    assert head.split() == ["name", "count"]
    assert first.split() == ["[red]x[/red]\\x1b[0m", "1"]
    assert second == "y" * 250 + "     10"


@pytest.mark.parametrize("columns", ["30", "80"])
def test_nothing_is_cut_off_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: str
) -> None:
    """Where a table does not fit its cells are folded; where that helps no more, each has a line."""
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    render.print_table(
        ["id", "from", "#tries", "to"],
        [["1234", "x" * 90, "1", "y" * 90], ["5", "z", "", "z"]],
        fold=("from", "to"),
    )
    text = capsys.readouterr().out
    assert (text.count("x"), text.count("y"), text.count("z")) == (90, 90, 2)
    assert "1234" in text
    assert ("id     1234" in text) == (columns == "30")
