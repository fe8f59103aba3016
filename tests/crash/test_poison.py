"""A message that kills its worker each time it is sent, while another worker is started each time."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from spooler.ident import now_us
from spooler.policy.poison import DEADLY, why_held
from spooler.spool.store import Store
from tests.servers.own_sink import own_sink
from tests.servers.process import SPOOLER
from tests.spool.making import message
from tests.supervise.command import put

pytestmark = pytest.mark.long
PROGRAM = [sys.executable, str(Path(__file__).with_name("poisoned.py"))]


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
@pytest.mark.parametrize("poison", ["deadly", "late"])
def test_a_poison_message_is_held(
    database: str, poison: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """After a bounded number of deaths it is held with its reason, all other mail is delivered once, and each
    second copy has its uncertain attempt."""
    url: str = request.getfixturevalue(f"{database}_url")
    config = tmp_path / "spooler.toml"
    before = put(url, 40)
    with Store.open(url) as store:
        to = [f"{poison}@example.org", "companion@example.org"]
        (bad,) = store.enqueue([message(*to)], now=now_us())
    after = put(url, 40, start=40)
    deaths = 0
    with own_sink(record=True) as sink:
        config.write_text(
            f"spool = {json.dumps(url)}\n"
            f"[worker]\njournal = {json.dumps(str(tmp_path / 'journals'))}\n"
            f'[routes.default]\ndestinations = ["{sink.tcp}"]\nhold-off = 0\n'
            'retry = { first = "200ms", maximum = "1s" }\n'
        )
        while deaths <= DEADLY:
            argv = [*PROGRAM, "drain", "--config", str(config), "--until-empty", "--processes", "1"]
            done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=60)
            if done.returncode == 0:
                break
            assert done.returncode == -9, done.stderr
            deaths += 1
        copies = Counter(reply.recipient for reply in sink.final_replies() if reply.code == 250)
    assert deaths == DEADLY
    assert '"event":"held"' in done.stderr
    with Store.open(url) as store:
        rows = store.queued_of(bad.id)
        assert [(row.address, row.hold) for row in rows] == [(address, why_held(DEADLY)) for address in to]
        assert store.left() == 0
        doubts = Counter(e.address for a in copies for e in store.ledger_for(a, limit=99) if e.uncertain)
    innocent = set(before + after)
    assert innocent <= set(copies)
    assert all(copies[address] - 1 <= doubts[address] for address in innocent)
    assert copies[to[0]] <= doubts[to[0]]
    shown = subprocess.run(
        [*SPOOLER, "queue", "list", "--spool", url], check=True, capture_output=True, text=True
    ).stdout
    assert f"held: {why_held(DEADLY)}" in shown
