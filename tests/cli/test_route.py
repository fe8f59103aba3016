"""`spooler route`: what is shown of routes; pausing and resuming."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from spooler.ident import now_us
from spooler.worker_standing import DestinationStanding, Outage, RouteStanding, WorkerStanding, encode

if TYPE_CHECKING:
    from pathlib import Path

    from spooler.spool.store import Store
    from tests.cli.running import Runner


def serve(store: Store, *, outage: Outage | None = None, transactions: int = 0) -> int:
    """Let a worker say that it serves the route "default", and what a session takes."""
    now = now_us()
    worker = store.register(host="host.example", pid=4711, now=now)
    route = RouteStanding(
        destinations=["unix:/lmtp"],
        claimed=0,
        ready=0,
        parked=0,
        sessions=0,
        window=1,
        limit=20,
        depth=4,
        phase="",
        outage=outage,
    )
    store.beat(
        worker,
        now=now,
        standing=encode(
            WorkerStanding(
                at=now,
                version="1",
                routes={"default": route},
                destinations={
                    "unix:/lmtp": DestinationStanding(
                        mode="chunked", idle=0, outage=outage, transactions=transactions
                    )
                },
            )
        ),
    )
    return worker


def states(spooler: Runner, *arguments: object) -> dict[str, str]:
    """The state of each route."""
    lines = spooler("route", "list", "--json", *arguments).json["routes"]
    return {line["route"]: line["state"] for line in lines}


def test_states(spooler: Runner, store: Store, tmp_path: Path) -> None:
    """A route without worker, an open one, one that is down for all its workers, a paused one."""
    assert "No route is known" in spooler("route", "list").out
    config = tmp_path / "c.toml"
    config.write_text('[routes.spare]\ndestinations = ["unix:/spare"]\n')
    assert states(spooler, "--config", config) == {"spare": "no worker"}
    spooler("enqueue", "-f", "s@example.org", "a@x.example")
    assert states(spooler) == {"default": "no worker"}
    down = Outage(since=now_us() - 90_000_000, failures=3, why="refused", probe_at=now_us() + 20_000_000)
    worker = serve(store, outage=down)
    line = spooler("route", "list").out.splitlines()[1]
    assert line.startswith("default  down        1        1  unix:/lmtp    down since ")
    assert re.search(r"\(1m 3\ds ago\), tried again in ", line)
    assert line.endswith(": refused")
    serve(store)  # which gets through
    assert states(spooler) == {"default": "open"}
    store.unregister(worker, now=now_us())


def test_pause_and_resume(spooler: Runner) -> None:
    """It is said once, shown wherever one looks, and taken back."""
    spooler("enqueue", "-f", "s@example.org", "a@x.example")
    ended = spooler("route", "pause", "default", "--reason", "disk full")
    assert ended.out == "route default is paused; spooler route resume default lets it go on\n"
    assert ended.err == ""
    again = spooler("route", "pause", "default", "--reason", "other").out
    assert again.startswith("route default was paused by ")
    assert again.endswith(": disk full\n")
    assert states(spooler) == {"default": "paused"}
    assert "disk full" in spooler("route", "list").out
    assert "route default is paused by " in spooler("queue", "stats").out
    (pause,) = spooler("queue", "stats", "--json").json["paused"]
    assert (pause["route"], pause["why"]) == ("default", "disk full")
    assert spooler("route", "resume", "default").out == "route default goes on\n"
    assert spooler("route", "resume", "default").out == "route default was not paused\n"
    assert states(spooler) == {"default": "no worker"}


def test_an_unknown_route(spooler: Runner) -> None:
    """It can be paused before there is any mail for it, but that is said."""
    ended = spooler("route", "pause", "defualt")
    assert "no worker serves it" in ended.err


@pytest.mark.parametrize("name", ["a\nb", "\x1b[2J", "a" * 101])
def test_a_name_that_no_route_can_have(spooler: Runner, name: str) -> None:
    """The configuration would refuse it, so nothing could ever be on such a route."""
    ended = spooler("route", "pause", name, expect=64)
    assert "has no name that can be shown in a line" in ended.err
    assert states(spooler) == {}


def test_what_is_proposed_can_be_typed(spooler: Runner) -> None:
    """A name with a space is quoted for a shell, and a long one is whole."""
    name = "far away" + "y" * 92
    assert f"; spooler route resume '{name}' lets it go on" in spooler("route", "pause", name).out


def test_a_reason_is_a_line(spooler: Runner) -> None:
    """It is shown to all who look."""
    said = spooler("route", "pause", "default", "--reason", "a\x1b[2J", expect=64).err
    assert "'--reason': 'a\\x1b[2J' has control characters" in said
