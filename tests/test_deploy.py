"""What is offered for installing is valid for this version."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from spooler.cli.worker import command
from spooler.config import load_config

_ROOT = Path(__file__).parents[1]
_DEPLOY = _ROOT / "deploy"


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


@pytest.mark.parametrize("name", ["README.md", "deploy/spooler.service"])
def test_the_steps_make_the_place_of_the_spool(name: str) -> None:
    """Who follows the steps has the user and the directory that `init` needs, in the order that works."""
    text = (_ROOT / name).read_text()
    steps = [
        "pip install .",
        "useradd -r spooler",
        "install -d -o spooler -g spooler -m 700 /var/lib/spooler",
    ]
    places = [text.index(step) for step in [*steps, "spooler init"]]
    assert places == sorted(places)
    spool = load_config(_DEPLOY / "spooler.toml").spool
    assert spool is not None
    assert spool.startswith("sqlite:////var/lib/spooler/")


@pytest.mark.skipif(
    shutil.which("doveconf") is None and os.environ.get("CI") != "true", reason="needs Dovecot's doveconf"
)
def test_the_snippet_for_dovecot_is_one(tmp_path: Path) -> None:
    """Dovecot reads what the manual shows, and lets the worker's group connect."""
    (snippet,) = re.findall(
        r"^```\n(protocols = lmtp\n.*?)^```$", (_ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE
    )
    file = tmp_path / "dovecot.conf"
    file.write_text(snippet)
    done = subprocess.run(["doveconf", "-n", "-c", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {"mode = 0660", "user = vmail", "group = spooler"} <= set(map(str.strip, done.stdout.splitlines()))
