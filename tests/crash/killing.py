"""A worker that is killed again and again under load, and what became of every recipient.

See `tests.crash.oracle` for who judges. The target is a process that is not killed.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spooler.ident import now_us
from spooler.spool.store import Store
from tests.crash.oracle import read_ledger
from tests.crash.targets import counting_target
from tests.spool.making import message
from tests.supervise.command import running

if TYPE_CHECKING:
    from pathlib import Path

_ENOUGH = 600.0  # seconds that the last worker may take for what is left
_LIFE = (0.05, 0.6)  # seconds from a worker's first delivery to its death
_SOME = 4000  # messages that are there for each life: more than it can deliver
_STOPPED = 0.3  # seconds that a worker stands still when it is not killed


@dataclass(slots=True)
class Tally:
    """What so many kills came to; `uncertain` recipients were, at some time, possibly delivered."""

    kills: int
    recipients: int
    lost: list[str]
    duplicates: int
    unexplained: list[str]
    """Recipients that got more copies than their uncertain attempts account for."""
    false_success: list[str]
    failed: int
    uncertain: int
    queued: int


def kill_workers(
    url: str, folder: Path, *, kills: int, seed: int, kind: str = "sink", sessions: int = 10
) -> Tally:
    """Kill so many workers on the spool at `url`, let one deliver what is left, and count.

    `kind` is the target's: see `tests.crash.targets`.
    """
    rng = random.Random(seed)
    config = folder / "spooler.toml"
    addresses: list[str] = []
    with counting_target(kind) as target:
        config.write_text(
            f"spool = {json.dumps(url)}\n"
            f"[worker]\njournal = {json.dumps(str(folder / 'journals'))}\n"
            f'[routes.default]\ndestinations = ["{target.destination}"]\nsessions = {sessions}\n'
            'hold-off = 0.2\nretry = { first = "200ms", maximum = "1s" }\n'
        )
        for life in range(kills):
            waiting = _SOME if life == 0 else rng.randrange(_SOME)
            some = [target.address(n) for n in range(len(addresses), len(addresses) + waiting)]
            with Store.open(url) as store:
                store.enqueue([message(address) for address in some], now=now_us())
            addresses += some
            _live_and_die(folder / f"log{life}", config, rng)
        with running(folder / "last", "drain", "--config", str(config), "--until-empty") as last:
            assert last.process.wait(_ENOUGH) == 0, last.spoken()
        copies = target.copies()
    ledger = read_ledger(url)
    return Tally(
        kills=kills,
        recipients=len(addresses),
        lost=[address for address in addresses if not copies[address]],
        duplicates=sum(copies[address] - 1 for address in addresses if copies[address]),
        unexplained=[a for a in addresses if copies[a] - 1 > ledger.uncertain[a]],
        false_success=[a for a in addresses if ledger.delivered[a] > min(1, copies[a])],
        failed=ledger.other.total(),
        uncertain=ledger.uncertain.total(),
        queued=ledger.queued,
    )


def _live_and_die(log: Path, config: Path, rng: random.Random) -> None:
    with running(log, "worker", "--config", str(config)) as worker:
        worker.until(lambda: bool(worker.lines("transaction")))
        time.sleep(rng.uniform(*_LIFE))
        if rng.random() < 0.15:
            os.kill(worker.process.pid, signal.SIGSTOP)
            time.sleep(_STOPPED)
            os.kill(worker.process.pid, signal.SIGCONT)
            time.sleep(rng.uniform(*_LIFE))
        victim = worker.process.pid
        if rng.random() < 0.15:
            (victim,) = worker.children()  # the spool process: its worker cannot settle any more
        os.kill(victim, signal.SIGKILL)
        worker.process.wait(60)
