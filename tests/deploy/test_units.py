"""The unit for systemd, the first configuration, and the steps that install them."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections import defaultdict
from typing import TYPE_CHECKING

import pytest

from spooler.config import load_config
from spooler.worker import LAST_SETTLE
from tests.deploy.reading import DEPLOY, ROOT, understood
from tests.servers.fixtures import require

if TYPE_CHECKING:
    from pathlib import Path

UNIT = DEPLOY / "systemd/spooler@.service"
EXPOSED = "20"  # tenths: the most that `systemd-analyze security` may find


def settings() -> dict[str, list[str]]:
    """Read the unit; a key may come several times."""
    found = defaultdict(list)
    for line in UNIT.read_text().splitlines():
        if not line.startswith(("#", "[")) and line:
            key, _, value = line.partition("=")
            found[key].append(value)
    return found


@pytest.fixture(scope="session")
def systemd_analyze() -> str:
    """Path of systemd's tool, which needs no systemd that runs."""
    return require("systemd-analyze", "systemd")


def test_the_example_configuration_is_accepted() -> None:
    """The file can be taken as it is: no misspelt key, a spool, a default route."""
    config = load_config(DEPLOY / "spooler.toml")
    assert config.spool
    assert list(config.routes) == ["default"]


def test_the_unit_runs_a_worker() -> None:
    """An instance is a configuration; systemd is told when it is ready, and waits longer than it may take."""
    unit = settings()
    (start,) = unit["ExecStart"]
    program, *words = shlex.split(start)
    assert program == "/opt/spooler/bin/spooler"
    assert str(understood(words)["config"]) == "/etc/spooler/%i.toml"
    assert unit["Type"] == ["notify"]
    grace = load_config(DEPLOY / "spooler.toml").worker.grace
    assert int(unit["TimeoutStopSec"][0]) > grace + LAST_SETTLE
    assert int(unit["WatchdogSec"][0]) > LAST_SETTLE


def test_the_sandbox_leaves_open_what_a_worker_needs() -> None:
    """Its state, its boot's id, UNIX sockets and IP."""
    unit = settings()
    assert "ProcSubset" not in unit, "without /proc/sys every journal would be of another boot"
    spool = load_config(DEPLOY / "spooler.toml").spool or ""
    assert spool.startswith(f"sqlite:////var/lib/{unit['StateDirectory'][0]}/")
    assert set(unit["RestrictAddressFamilies"][0].split()) == {"AF_UNIX", "AF_INET", "AF_INET6"}


def test_systemd_finds_it_well_confined(systemd_analyze: str, tmp_path: Path) -> None:
    """Its own figure is 2.0 at most, and it understands every line."""
    argv = [systemd_analyze, "security", "--offline=true", f"--threshold={EXPOSED}", str(UNIT)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-200:] + done.stderr
    assert "Overall exposure level" in done.stdout
    unit = tmp_path / "spooler@.service"
    unit.write_text(UNIT.read_text().replace("/opt/spooler/bin/spooler worker", "/bin/true"))
    done = subprocess.run(
        [systemd_analyze, "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("name", ["README.md", "deploy/systemd/spooler@.service"])
def test_the_steps_make_the_place_of_the_spool(name: str) -> None:
    """Who follows the steps has the user and the directory that `init` needs, in the order that works."""
    text = (ROOT / name).read_text()
    steps = [
        "pip install --require-hashes -r requirements/run.lock",
        "pip install --no-deps .",
        "useradd -r -d /var/lib/spooler spooler",
        "install -d -o spooler -g spooler -m 700 /var/lib/spooler",
    ]
    places = [text.index(step) for step in [*steps, "spooler init"]]
    assert places == sorted(places)
    spool = load_config(DEPLOY / "spooler.toml").spool
    assert spool is not None
    assert spool.startswith("sqlite:////var/lib/spooler/")


@pytest.mark.skipif(
    shutil.which("doveconf") is None and os.environ.get("CI") != "true", reason="needs Dovecot's doveconf"
)
def test_the_snippet_for_dovecot_is_one(tmp_path: Path) -> None:
    """Dovecot reads what the manual shows, and lets the worker's group connect."""
    (snippet,) = re.findall(
        r"^```\n(service lmtp {\n.*?)^```$", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE
    )
    file = tmp_path / "dovecot.conf"
    file.write_text(snippet)
    done = subprocess.run(["doveconf", "-n", "-c", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {"mode = 0660", "user = vmail", "group = spooler"} <= set(map(str.strip, done.stdout.splitlines()))
