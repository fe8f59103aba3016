"""Journals: kept to their owner, and what dead workers left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spooler.doctor.finding import Level
from spooler.doctor.journals import check_journals, look
from spooler.ident import format_id
from spooler.journal.place import create

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_dead_and_living(tmp_path: Path) -> None:
    """A lock that a worker holds tells that it lives, and looking does not take it away."""
    root = tmp_path / "journals"
    living, dead = (create(root, spool="s", worker=worker) for worker in (5, 6))
    dead.release()
    (root / "s" / "notes").mkdir()
    (root / "s" / format_id(7)).mkdir()  # it lost its lock file
    for _ in range(2):
        found = look(root, spool="s")
        assert found.living == [living.path]
        assert found.dead == [dead.path]
        assert found.unlocked == [root / "s" / format_id(7)]
    warnings = [f for f in check_journals(root, spool="s", mounts="") if f.level is not Level.OK]
    assert [finding.where for finding in warnings] == [str(path) for path in found.dead + found.unlocked]
    assert {finding.level for finding in warnings} == {Level.WARNING}
    assert f"touch {found.unlocked[0]}/lock" in warnings[1].mend
    living.remove()


def test_what_workers_make_is_private(tmp_path: Path) -> None:
    """The folders above a journal are their owner's alone, too."""
    root = tmp_path / "state" / "journals"
    create(root, spool="s", worker=5).release()
    assert [path.stat().st_mode & 0o777 for path in (root, root / "s", root / "s" / format_id(5))] == [
        0o700
    ] * 3


def test_no_folder_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that is not there is no fault, unless it cannot be made."""
    root = tmp_path / "a" / "journals"
    assert [f.level for f in check_journals(root, spool="s", mounts="")] == [Level.OK]
    monkeypatch.setattr("os.access", lambda path, mode: False)
    (found,) = check_journals(root, spool="s", mounts="")
    assert (found.level, found.exit_code) == (Level.PROBLEM, 77)
    assert str(tmp_path) in found.what


def test_other_things_in_its_place(tmp_path: Path) -> None:
    """A file is told, and a folder that others can read."""
    (tmp_path / "file").touch()
    (found,) = check_journals(tmp_path / "file", spool="s", mounts="")
    assert found.exit_code == 73
    root = tmp_path / "open"
    root.mkdir()
    root.chmod(0o755)
    assert next(check_journals(root, spool="", mounts="")).exit_code == 77
