"""What is offered for installing is valid for this version."""

from __future__ import annotations

import configparser
import shlex
from pathlib import Path

from click.testing import CliRunner

from spooler.cli.worker import command
from spooler.config import load_config

_DEPLOY = Path(__file__).parents[1] / "deploy"


def test_the_example_configuration_is_accepted() -> None:
    """The file can be taken as it is: no misspelt key, a spool, a default route."""
    config = load_config(_DEPLOY / "spooler.toml")
    assert config.spool
    assert list(config.routes) == ["default"]


def test_the_unit_gives_a_worker_the_time_that_it_may_take() -> None:
    """systemd runs `spooler worker` with the example's place, and waits longer than its grace to stop."""
    unit = configparser.ConfigParser(interpolation=None, strict=True)
    unit.optionxform = str  # type: ignore[assignment]  # the way the library offers to keep case
    unit.read(_DEPLOY / "spooler.service")
    program, *words = shlex.split(unit["Service"]["ExecStart"])
    assert program.endswith("/spooler")
    assert words == ["worker", "--config", "/etc/spooler.toml"]
    assert "--config" in CliRunner().invoke(command, ["--help"]).output
    grace = load_config(_DEPLOY / "spooler.toml").worker.grace
    assert int(unit["Service"]["TimeoutStopSec"]) > grace + 10
