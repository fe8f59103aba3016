"""`spooler import`: its report, its exit code, its bar."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from typing import TYPE_CHECKING

from spooler.records import QueueFilter
from tests.cli.running import forbid

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from spooler.spool.store import Store
    from tests.cli.running import Runner

MAIL = "Return-Path: <s@example.org>\nDelivered-To: r@example.org\nTo: t@example.org\n\nhello\n"


def test_report(spooler: Runner, store: Store, tmp_path: Path) -> None:
    """It ends with what was imported, what was there already, what was refused and why; exit code 65."""
    folder = tmp_path / "mail"
    folder.mkdir()
    (folder / "1").write_text(MAIL)
    assert spooler("import", folder).out == "imported 1 message for 1 recipient (82 bytes read)\n"
    (folder / "2").write_text("")
    (folder / "\x1b]3").write_text("A: b\n\nx\n")
    (folder / ".hidden").write_text("A: b\n\nx\n")
    done = spooler("import", folder, expect=65)
    assert done.out == (
        "imported 0 messages for 0 recipients (90 bytes read); "
        "1 imported before; 2 refused; 1 file passed over\n"
    )
    assert done.err.splitlines()[:3] == [
        f"refused: {folder}/\\x1b]3: has no sender: no Return-Path and no mbox From line (name one with -f)",
        f"refused: {folder}/2: the message is empty (a message has at least one byte)",
        f"passed over: {folder}/.hidden: is hidden",
    ]
    assert [row.address for row in store.queue(filter=QueueFilter(), limit=9, after=None)] == [
        "r@example.org"
    ]


def test_nothing_new(spooler: Runner, tmp_path: Path) -> None:
    """Who imports the same once more is told how to mean it."""
    (tmp_path / "1").write_text(MAIL)
    spooler("import", tmp_path / "1")
    assert "--again" in spooler("import", tmp_path / "1").err
    assert spooler("import", "--again", tmp_path / "1").out.startswith("imported 1 message")


def test_options_come_before_headers(spooler: Runner, store: Store, tmp_path: Path) -> None:
    """-f and -t replace what the header says; --recipients-from to adds To and Cc."""
    (tmp_path / "1").write_text(MAIL)
    spooler("import", "--again", "-f", "<>", "-t", "a@x", "-t", "b@x", "--job", "j", tmp_path / "1")
    spooler("import", "--again", "--recipients-from", "to", tmp_path / "1")
    assert [
        (row.sender, row.address, row.job) for row in store.queue(filter=QueueFilter(), limit=9, after=None)
    ] == [
        ("", "a@x", "j"),
        ("", "b@x", "j"),
        ("s@example.org", "r@example.org", ""),
        ("s@example.org", "t@example.org", ""),
    ]


def test_json(spooler: Runner, tmp_path: Path) -> None:
    """Programs get the report as it is."""
    (tmp_path / "1").write_text("")
    report = spooler("import", "--json", tmp_path / "1", expect=65).json
    assert report["refused"] == 1
    assert report["refusals"] == [
        {
            "path": str(tmp_path / "1"),
            "offset": 0,
            "why": "the message is empty (a message has at least one byte)",
        }
    ]
    assert {"imported", "already", "passed", "recipients", "read"} <= set(report)


def test_bad_recipient_option(spooler: Runner, tmp_path: Path) -> None:
    """An address that is none is found out before anything is read."""
    (tmp_path / "1").write_text(MAIL)
    assert "recipient address 'a b'" in spooler("import", "-t", "a b", tmp_path / "1", expect=65).err
    assert "sender address 'a b'" in spooler("import", "-f", "a b", tmp_path / "1", expect=65).err


def test_bar_on_a_terminal_only(spool_url: str, tmp_path: Path) -> None:
    """On a terminal a bar is drawn; standard output has the report and nothing else."""
    (tmp_path / "1").write_text(MAIL)
    ours, theirs = pty.openpty()
    environment = {**os.environ, "SPOOLER_SPOOL": spool_url, "TERM": "xterm"}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "spooler", "import", "--json", tmp_path / "1"],
            stdout=subprocess.PIPE,
            stderr=theirs,
            env=environment,
            check=True,
        )
        drawn = os.read(ours, 65536)
    finally:
        os.close(theirs)
        os.close(ours)
    assert json.loads(done.stdout)["imported"] == 1
    assert b"importing" in drawn


def test_file_that_may_not_be_read(spooler: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is named and cannot be read is said at once, exit code 66."""
    path = tmp_path / "mbox"
    path.touch()
    forbid(monkeypatch, path)
    done = spooler("import", path, expect=66)
    assert done.err == f"spooler: {path} cannot be read: Permission denied (check its permissions)\n"
