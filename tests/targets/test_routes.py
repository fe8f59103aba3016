"""A route whose destination is dead costs the others nothing."""

from __future__ import annotations

import contextlib
import json
from datetime import datetime
from typing import TYPE_CHECKING

import pytest

from tests.servers.own_sink import own_sink
from tests.servers.process import free_port
from tests.targets.commands import Commands

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers.own_sink import OwnSink

pytestmark = pytest.mark.alone

_MESSAGES = 1_000
_TRIES = 3  # for what holds unless the machine stands still meanwhile
_MBOX = "".join(
    f"From a@origin.test Thu Jan  1 00:00:00 2026\nSubject: {n}\n\nbody\n\n" for n in range(_MESSAGES)
)
_CONFIG = """\
[routes.default]
destinations = ["{living}"]

[routes.dead]
destinations = ["{dead}"]
timeouts = {{ connect = "1s", greeting = "1s" }}

[domains]
"dead.test" = "dead"
"""


@contextlib.contextmanager
def _dead(kind: str) -> Iterator[str]:
    """A destination where nobody listens, or one that never says a word."""
    if kind == "closed":
        yield f"inet:127.0.0.1:{free_port()}"
        return
    with own_sink("--mute") as mute:
        yield mute.tcp


def _seconds_to_deliver(commands: Commands, sink: OwnSink, *, expect: int) -> float:
    """Drain; return the time from the worker's start until the last of the living route's final replies."""
    before = len(sink.final_replies())
    log = commands.run("drain", expect=expect).stderr
    first = next(json.loads(line) for line in log.splitlines() if b'"started"' in line)
    started = datetime.fromisoformat(first["timestamp"]).timestamp()
    replies = sink.final_replies()[before:]
    assert [reply.code // 100 for reply in replies] == [2] * _MESSAGES
    return max(reply.time for reply in replies) / 1e6 - started


@pytest.mark.parametrize("kind", ["closed", "mute"])
def test_a_dead_route_does_not_slow_a_living_one(tmp_path: Path, kind: str) -> None:
    """1,000 messages for a dead and a living route are delivered on the living one as fast as without the
    dead one, and none of the others is given up."""
    (tmp_path / "mail").write_text(_MBOX)
    with own_sink(record=True) as sink, _dead(kind) as dead:
        config = _CONFIG.format(living=sink.tcp, dead=dead)
        for attempt in range(_TRIES):
            alone, _ = _drained(tmp_path, f"alone{attempt}", config, sink, to=["a@living.test"], expect=0)
            beside, commands = _drained(
                tmp_path, f"beside{attempt}", config, sink, to=["a@living.test", "b@dead.test"], expect=75
            )
            left = commands.json("queue", "list", "--limit", str(2 * _MESSAGES))["recipients"]
            assert {row["address"] for row in left} == {"b@dead.test"}
            assert len(left) == _MESSAGES
            # twice and a second: two processes on a busy machine differ by so much without any dead route
            if beside < 2 * alone + 1:
                break
        else:
            pytest.fail(f"slower {_TRIES} times: {beside} s beside a dead route, {alone} s alone")


def _drained(
    folder: Path, name: str, config: str, sink: OwnSink, *, to: list[str], expect: int
) -> tuple[float, Commands]:
    """Import the mail for these into a spool of its own and drain that; return how long it took."""
    commands = Commands(folder, url=f"sqlite:///{name}.db")
    commands.configure(config)
    commands.run("init")
    commands.run("import", "-f", "a@origin.test", *(word for one in to for word in ("-t", one)), "mail")
    return _seconds_to_deliver(commands, sink, expect=expect), commands
