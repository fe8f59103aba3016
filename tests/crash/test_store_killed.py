"""A real store is killed in mid-batch and started again, and its mailboxes say what it had of each mail."""

from __future__ import annotations

import json
import random
import time
from typing import TYPE_CHECKING

import pytest

from spooler.ident import now_us
from spooler.spool.store import Store
from tests.crash.oracle import faults, read_ledger
from tests.crash.targets import in_dboxes
from tests.servers.dovecot import Dovecot, dovecot
from tests.spool.making import message
from tests.supervise.command import running

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MESSAGES = 4000
_MAILBOXES = 100
_GONE = 1.0  # seconds
_PATIENCE = 100.0


def _kill_sessions(store: Dovecot) -> None:
    rng = random.Random(5)
    killed = 0
    for _ in range(5):  # it starts the next ones after a while only
        killed += store.kill_sessions()
        time.sleep(rng.uniform(0.05, 0.3))
    assert killed > 0


def _kill_it(store: Dovecot) -> None:
    for _ in range(2):
        store.kill()
        time.sleep(_GONE)
        store.start()
        time.sleep(0.3)


@pytest.mark.long
@pytest.mark.dovecot
@pytest.mark.parametrize("trouble", [_kill_sessions, _kill_it])
def test_nothing_is_lost(
    trouble: Callable[[Dovecot], None], dovecot_program: str, sqlite_url: str, tmp_path: Path
) -> None:
    """All mail arrives, and a second copy only where an attempt was recorded as uncertain."""
    addresses = [f"user{n % _MAILBOXES}+{n}@store.test" for n in range(MESSAGES)]
    with Store.open(sqlite_url) as spool:
        spool.enqueue([message(address) for address in addresses], now=now_us())
    config = tmp_path / "spooler.toml"
    users = [f"user{n}@store.test" for n in range(_MAILBOXES)]
    with dovecot(dovecot_program, users=users, storage="sdbox") as store:
        # this makes the mailboxes, as those of a real store stand; one that dies at it leaves lock files, for
        # which Dovecot waits for minutes
        assert store.count() == 0
        config.write_text(
            f"spool = {json.dumps(sqlite_url)}\n[worker]\n"
            f"journal = {json.dumps(str(tmp_path / 'journals'))}\n"
            f'[routes.default]\ndestinations = ["{store.tcp}"]\nhold-off = 0.2\n'
            'retry = { first = "200ms", maximum = "1s" }\n'
        )
        with running(tmp_path / "log", "drain", "--config", str(config), "--until-empty") as drain:
            drain.until(lambda: len(drain.lines("transaction")) > MESSAGES // 20)
            trouble(store)
            before = sum(in_dboxes(store.root / "mail").values())
            assert drain.process.wait(_PATIENCE) == 0, drain.spoken()
            lost = len(drain.lines("session lost"))
        copies = in_dboxes(store.root / "mail")
    ledger = read_ledger(sqlite_url)
    twice = copies.total() - MESSAGES
    print(f"{lost} sessions lost, {ledger.uncertain.total()} uncertain, {twice} copies")  # noqa: T201  # to see
    assert before < MESSAGES  # it was in mid-batch
    assert lost > 0
    assert faults(sqlite_url, accepted=addresses, refused=[], copies=copies) == []
