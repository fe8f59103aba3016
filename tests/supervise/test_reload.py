"""SIGHUP to a worker, as it is run: a good configuration holds from then on, a bad one changes nothing."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from tests.servers.own_sink import own_sink
from tests.supervise.command import Command, put, running

if TYPE_CHECKING:
    from pathlib import Path


def write(path: Path, url: str, target: str, *, sessions: int = 20, more: str = "") -> None:
    """Write a configuration."""
    path.write_text(
        f'spool = "{url}"\n[routes.default]\ndestinations = ["{target}"]\nsessions = {sessions}\n{more}\n'
    )


def delivers(worker: Command, url: str, start: int) -> None:
    """What is queued now goes out."""
    put(url, 20, start=start)
    worker.until(lambda: len(worker.lines("transaction")) == start + 20)


def test_a_bad_configuration_is_refused_whole(sqlite_url: str, tmp_path: Path) -> None:
    """The old one stays in force, and the log says loudly what is wrong; mended, it is taken."""
    config = tmp_path / "spooler.toml"
    with own_sink() as old, own_sink(record=True) as new:
        write(config, sqlite_url, old.tcp)
        with running(tmp_path / "log", "worker", "--config", str(config)) as worker:
            delivers(worker, sqlite_url, 0)
            write(config, sqlite_url, new.tcp, more="colour = 1")
            worker.process.send_signal(signal.SIGHUP)
            worker.until(lambda: len(worker.lines("configuration refused")) == 1)
            (line,) = worker.lines("configuration refused")
            assert line["level"] == "error"
            assert "unknown field `colour`" in line["why"]
            assert line["now"] == "the old one stays in force"
            delivers(worker, sqlite_url, 20)
            write(config, "sqlite:///elsewhere.db", new.tcp, sessions=3)
            worker.process.send_signal(signal.SIGHUP)
            worker.until(lambda: len(worker.lines("configuration read")) == 1)
            (line,) = worker.lines("configuration read")
            assert line["changed"] == ["routes.default.destinations", "routes.default.sessions"]
            assert line["needs_restart"] == ["spool"]
            delivers(worker, sqlite_url, 40)
            worker.process.send_signal(signal.SIGTERM)
            assert worker.ends() == 0
        assert len(new.final_replies()) == 20


def test_the_keeper_passes_it_on(postgres_url: str, tmp_path: Path) -> None:
    """Of several processes each reads it again; what is wrong is said once, by the one that was started."""
    config = tmp_path / "spooler.toml"
    with own_sink() as sink:
        write(config, postgres_url, sink.tcp)
        with running(tmp_path / "log", "worker", "--config", str(config), "--processes", "2") as worker:
            worker.until(lambda: len(worker.lines("worker", state="started")) == 2)
            delivers(worker, postgres_url, 0)
            config.write_text("no toml")
            worker.process.send_signal(signal.SIGHUP)
            worker.until(lambda: len(worker.lines("configuration refused")) == 1)
            write(config, postgres_url, sink.tcp, sessions=5)
            worker.process.send_signal(signal.SIGHUP)
            worker.until(lambda: len(worker.lines("configuration read")) == 2)
            delivers(worker, postgres_url, 20)
            worker.process.send_signal(signal.SIGTERM)
            assert worker.ends() == 0
    assert len(worker.lines("configuration refused")) == 1
    changed = [line["changed"] for line in worker.lines("configuration read")]
    assert changed == [["routes.default.sessions"]] * 2


def test_nothing_to_read(sqlite_url: str, tmp_path: Path) -> None:
    """Without a file there is nothing to read again: that is said, and the worker goes on."""
    with own_sink() as sink:
        arguments = ("worker", "--spool", sqlite_url, "--target", sink.tcp)
        with running(tmp_path / "log", *arguments) as worker:
            delivers(worker, sqlite_url, 0)
            worker.process.send_signal(signal.SIGHUP)
            worker.until(lambda: len(worker.lines("configuration refused")) == 1)
            delivers(worker, sqlite_url, 20)
            worker.process.send_signal(signal.SIGTERM)
            assert worker.ends() == os.EX_OK
