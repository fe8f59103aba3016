"""The way to Postgres is cut for longer than any time-out: packets are dropped, nothing is refused."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from spooler.spool.migrate import create_or_upgrade
from tests.crash.oracle import faults, read_ledger
from tests.servers.fixtures import missing
from tests.servers.network import Network, network
from tests.servers.own_sink import own_sink
from tests.servers.postgres import Postgres, postgres
from tests.servers.process import SPOOLER, ServerError
from tests.supervise.command import put, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.long
MESSAGES = 4000
_CUT = 8.0  # seconds
_TIMEOUTS = (
    "connect_timeout=2&tcp_user_timeout=2000&keepalives_idle=1&keepalives_interval=1&keepalives_count=2"
)
_PATIENCE = 100.0


@pytest.fixture(scope="module")
def line() -> Iterator[Network]:
    """A network of these tests' own."""
    try:
        with network() as ours:
            yield ours
    except ServerError as error:
        missing("A network namespace", str(error))


@pytest.fixture(scope="module")
def server(line: Network) -> Iterator[Postgres]:
    """A server at the near end of it."""
    try:
        with postgres(listen=line.near) as ours:
            yield ours
    except ServerError as error:
        missing("PostgreSQL", str(error))


@pytest.mark.parametrize("times", [1, 3])
def test_nothing_is_lost(times: int, line: Network, server: Postgres, tmp_path: Path) -> None:
    """What was answered meanwhile is settled once, nobody is robbed, and what was claimed goes on."""
    near = server.new_database()
    create_or_upgrade(near)
    addresses = put(near, MESSAGES)
    far = near.partition("?")[0].replace("@/", f"@{line.near}:{server.port}/")
    config = tmp_path / "spooler.toml"
    with own_sink("--listen", f"unix:{tmp_path}/sink", "--delay", "final=0.02", record=True) as sink:
        config.write_text(
            f"spool = {json.dumps(f'{far}?{_TIMEOUTS}')}\n"
            f"[worker]\njournal = {json.dumps(str(tmp_path / 'journals'))}\n"
            f'[routes.default]\ndestinations = ["unix:{tmp_path}/sink"]\nhold-off = 0.2\n'
            'retry = { first = "200ms", maximum = "1s" }\n'
        )
        where = ("drain", "--config", str(config), "--until-empty")
        with running(tmp_path / "log", *where, program=(*line.inside, *SPOOLER)) as drain:
            drain.until(lambda: len(drain.lines("transaction")) > MESSAGES // 20)
            for _ in range(times):
                with line.cut():
                    time.sleep(_CUT / times)
                time.sleep(0.5)
            assert drain.process.wait(_PATIENCE) == 0, drain.spoken()
            troubles = drain.lines("spool trouble")
            states = {one["state"] for one in drain.lines("worker")}
        copies = sink.copies()
    ledger = read_ledger(near)
    twice = copies.total() - MESSAGES
    print(f"{len(troubles)} troubles, {ledger.uncertain.total()} uncertain, {twice} copies")  # noqa: T201  # to see
    assert faults(near, accepted=addresses, refused=[], copies=copies) == []
    assert states.isdisjoint({"rescued", "fenced"})
    assert ledger.uncertain.total() == 0  # it was the spool that was gone, not the target
    if times == 1:
        assert troubles
