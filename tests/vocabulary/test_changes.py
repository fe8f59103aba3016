"""What is different in a configuration that was read again, and what needs a restart."""

from __future__ import annotations

from spooler.changes import changes
from spooler.config import parse_config

OLD = """
spool = "sqlite:///a.db"
[worker]
claim = 100
journal = "/a"
[routes.default]
destinations = ["unix:/a"]
mode = "pipelined"
[routes.gone]
destinations = ["unix:/g"]
"""
NEW = """
spool = "sqlite:///b.db"
lhlo = "mail.example.org"
[worker]
claim = 200
journal = "/b"
journal-sync = 0
grace = "5s"
[routes.default]
destinations = ["unix:/b"]
sessions = 3
mode = "chunked"
retry = { first = "5s" }
[routes.new]
destinations = ["unix:/n"]
"""


def test_changes() -> None:
    """Limits and routes change at once; what a worker is made with stays as it was."""
    old, new = parse_config(OLD.encode(), name="old"), parse_config(NEW.encode(), name="new")

    found = changes(old, new)

    assert found.now == [
        "worker.claim",
        "worker.grace",
        "routes.default.destinations",
        "routes.default.sessions",
        "routes.default.retry",
        "routes.gone removed",
        "routes.new added",
        "lhlo",
    ]
    assert found.restart == ["worker.journal", "worker.journal-sync", "routes.default.mode", "spool"]
    assert (found.config.spool, found.config.worker.journal) == ("sqlite:///a.db", "/a")
    assert found.config.worker.journal_sync == old.worker.journal_sync
    assert (found.config.worker.claim, found.config.routes) == (200, new.routes)


def test_no_change() -> None:
    """The same again is no change; a more careful mode needs no restart."""
    old = parse_config(OLD.encode(), name="old")
    found = changes(old, old)
    assert (found.config, found.now, found.restart) == (old, [], [])
    careful = parse_config(OLD.replace("pipelined", "lockstep").encode(), name="new")
    assert changes(old, careful).now == ["routes.default.mode"]
