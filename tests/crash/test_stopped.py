"""A worker stands still (SIGSTOP) beyond its lease: another takes over, and it finds out when it wakes."""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from tests.crash.oracle import faults, read_ledger
from tests.servers.own_sink import own_sink
from tests.supervise.command import put, running

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.alone

MESSAGES = 3000
HASTY = (sys.executable, "-m", "tests.crash.hasty")


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_a_worker_that_stands_still(database: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Fenced, it ends with 75; nobody is lost, and a second copy has its uncertain attempt."""
    url: str = request.getfixturevalue(f"{database}_url")
    addresses = put(url, MESSAGES)
    config = tmp_path / "spooler.toml"
    with own_sink("--delay", "final=0.05", record=True) as sink:
        config.write_text(
            f"spool = {json.dumps(url)}\n[worker]\nclaim = 200\n"
            f"journal = {json.dumps(str(tmp_path / 'journals'))}\n"
            f'[routes.default]\ndestinations = ["{sink.tcp}"]\nhold-off = 0.2\n'
            'retry = { first = "200ms", maximum = "1s" }\n'
        )
        one = ["--processes", "1"] if database == "postgres" else []
        drain = ["drain", "--config", str(config), "--until-empty", *one]
        worker = ["worker", "--config", str(config), *one]
        with (
            running(tmp_path / "first", *worker, program=HASTY) as first,
            running(tmp_path / "second", *drain, program=HASTY) as second,
        ):
            first.until(lambda: len(first.lines("transaction")) > MESSAGES // 20)
            os.kill(first.process.pid, signal.SIGSTOP)
            told = len(first.lines("transaction"))
            second.until(lambda: bool(second.lines("worker", state="rescued")))
            assert second.ends() == 0, second.spoken()
            os.kill(first.process.pid, signal.SIGCONT)
            assert first.ends() == 75, first.spoken()
            assert first.lines("worker", state="fenced")
            after = len(first.lines("transaction")) - told
        with running(tmp_path / "third", *drain, program=HASTY) as third:
            assert third.ends() == 0, third.spoken()
        copies = sink.copies()
    ledger = read_ledger(url)
    twice = copies.total() - MESSAGES
    print(f"{after} told after waking, {ledger.uncertain.total()} uncertain, {twice} copies")  # noqa: T201  # to see
    assert ledger.uncertain.total() > 0
    assert faults(url, accepted=addresses, refused=[], copies=copies) == []
