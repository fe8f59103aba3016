"""Options that commands share: where the spool is, and where the default route leads."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from spooler.cli.options import Settings, how_many, load
from spooler.config import Config, Route
from spooler.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration with a spool and two routes."""
    path = tmp_path / "spooler.toml"
    path.write_text(
        'spool = "sqlite:///a.db"\n'
        '[routes.default]\ndestinations = ["unix:/a"]\nsessions = 3\n'
        '[routes.far]\ndestinations = ["inet:mx.example.org"]\ntls = "none"\n'
    )
    return path


def test_the_option_comes_before_the_configuration(config: Path) -> None:
    """--spool, else the configuration's; without both it is an error."""
    assert load("sqlite:///b.db", config).url == "sqlite:///b.db"
    assert load(None, config).url == "sqlite:///a.db"
    with pytest.raises(UsageError, match="no spool is named"):
        load(None, None)


def test_target_leads_the_default_route(config: Path) -> None:
    """--target replaces the destinations of "default" and leaves all else as configured."""
    routes = load(None, config, "inet:127.0.0.1:24").config.routes
    assert (routes["default"].destinations, routes["default"].sessions) == (["inet:127.0.0.1:24"], 3)
    assert routes["far"].destinations == ["inet:mx.example.org"]
    assert load("sqlite:///b.db", None, "unix:/s").config.routes["default"].destinations == ["unix:/s"]


def test_target_off_this_machine_must_be_configured(config: Path) -> None:
    """Plain text never leaves the machine by a command line; the error says what to write."""
    with pytest.raises(UsageError, match=r"inet:mx\.example\.org is off this machine") as caught:
        load(None, config, "inet:mx.example.org")
    assert 'tls = "secure"' in caught.value.hint
    with pytest.raises(UsageError, match="not understood"):
        load(None, config, "mx.example.org:24")


def test_processes_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """One per two cores, as many as routes have sessions and eight at most, for the database's sake."""
    config = Config(routes={"default": Route(destinations=["unix:/s"], sessions=20)})
    settings = Settings("postgresql://h/d", config)
    counts = []
    for cores in (1, 6, 64):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, cores=cores: set(range(cores)))
        counts.append(how_many(settings, None))
    assert counts == [1, 3, 8]
    assert how_many(settings, 12) == 12
