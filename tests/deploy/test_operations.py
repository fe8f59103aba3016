"""The manual for operators: its commands are commands of this version."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from spooler.cli.main import COMMANDS
from spooler.records import State
from spooler.spool.store import Store
from tests.deploy.reading import ROOT, understood
from tests.servers.own_sink import own_sink
from tests.supervise.command import put, running


def test_its_commands_are_understood() -> None:
    """Whoever is woken at night can type them as they stand."""
    text = (ROOT / "docs/OPERATIONS.md").read_text()
    inline = [" ".join(code.split()) for code in re.findall(r"(?<!`)`(spooler\s[^`]+)`(?!`)", text)]
    scripts = re.findall(r"^```sh\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    lines = re.findall(r"^(spooler .*)$", "".join(scripts), flags=re.MULTILINE)
    commands = [*inline, *lines]
    assert len(commands) > 15
    for one in commands:
        words = shlex.split(one, comments=True)[1:]
        assert words[0] in COMMANDS, one
        if len(words) > 1:  # else it is only named
            understood(words)


def test_a_backup_while_workers_write_and_its_restore(tmp_path: Path, sqlite_url: str) -> None:
    """As it is written: the copy is whole, and what is left of the file that was there does not change it."""
    if shutil.which("sqlite3") is None:
        assert os.environ.get("CI") != "true", "needs sqlite3"
        pytest.skip("needs sqlite3")
    text = (ROOT / "docs/OPERATIONS.md").read_text()
    backup = re.search(r"^sqlite3 /var/lib/spooler/spool.db .*?(?= *#)", text, re.MULTILINE)
    restore = re.search(r"^cd /var/lib/spooler\n(?:.*\n)+?(?=```)", text, re.MULTILINE)
    assert backup
    assert restore
    place = Path(sqlite_url.removeprefix("sqlite:///")).parent
    kept = tmp_path / "backup"
    kept.mkdir()

    def run(script: str) -> None:
        script = script.replace("/var/lib/spooler", str(place)).replace("/backup", str(kept))
        script = re.sub(r"spool-(\d{4}-\d\d-\d\d|\$\(date \+%F\))\.db", "spool-then.db", script)
        subprocess.run(["sh", "-euc", script], check=True, capture_output=True, text=True, timeout=60)

    put(sqlite_url, 300)
    (place / "spool.db.journals").mkdir(exist_ok=True)
    with (
        own_sink() as sink,
        running(tmp_path / "log", "worker", "--spool", sqlite_url, "--target", sink.tcp) as worker,
    ):
        run(backup.group())
        put(sqlite_url, 200, start=300)
        worker.until(lambda: len(worker.lines("transaction")) == 500)
        for pid in (*worker.children(), worker.process.pid):  # without it the others end in order
            os.kill(pid, signal.SIGKILL)
        worker.process.wait()
    assert (place / "spool.db-wal").stat().st_size, "the log of the old file is left, as after a power cut"
    run(restore.group())
    with Store.open(sqlite_url) as store:
        stories = store.left() + sum(row.count for row in store.stats() if row.state is State.DELIVERED)
        assert stories == 300
    assert (place / "spool.db").stat().st_mode & 0o777 == 0o600
