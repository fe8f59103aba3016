"""What is offered to whoever moves from Postfix."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from spooler.spool.store import Store
from tests.deploy.reading import DEPLOY
from tests.servers.fixtures import require
from tests.servers.postfix import postfix
from tests.servers.process import SPOOLER, find, free_port
from tests.spool.making import ask

if TYPE_CHECKING:
    from pathlib import Path

MESSAGES = 4


@pytest.fixture
def environment(tmp_path: Path, sqlite_url: str) -> dict[str, str]:
    """The product's command as a program, and a configuration."""
    program = tmp_path / "spooler"
    program.write_text(f'#!/bin/sh\nexec {" ".join(SPOOLER)} "$@"\n')
    program.chmod(0o755)
    config = tmp_path / "main.toml"
    config.write_text(f'spool = "{sqlite_url}"\n[routes.default]\ndestinations = ["unix:/nowhere"]\n')
    sbin = os.path.dirname(find("postsuper") or "")  # noqa: PTH120  # of a text that may be empty
    return {
        **os.environ,
        "SPOOLER": str(program),
        "SPOOLER_CONFIG": str(config),
        "PATH": f"{os.environ['PATH']}:{sbin}",
    }


def run(
    script: str, *words: str, env: dict[str, str], given: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [DEPLOY / "postfix" / script, *words], input=given, env=env, capture_output=True, check=False
    )


def queued(url: str) -> list[tuple[str, str, int]]:
    """Sender, recipient and size of all that is queued."""
    with Store.open(url) as store:
        return sorted(
            ask(
                store,
                "SELECT m.sender, r.address, m.size FROM recipient r JOIN message m ON m.id = r.message_id",
            )
        )


@pytest.mark.postfix
def test_a_deferred_queue_is_moved(postfix_runs: None, environment: dict[str, str], sqlite_url: str) -> None:
    """Each message with its sender and its recipients, once; nothing is left in Postfix's queue."""
    require("jq", "jq")
    with postfix(target=free_port()) as server:
        server.fill(messages=MESSAGES, recipients=2, size=1000)
        env = {**environment, "MAIL_CONFIG": str(server.root / "etc")}
        broken = {**env, "SPOOLER_CONFIG": "/nowhere"}
        assert run("move-queue", env=broken).returncode != 0
        before = subprocess.run(["postqueue", "-j"], env=env, capture_output=True, check=True).stdout
        assert before.count(b'"queue_name": "deferred"') == MESSAGES, "they are Postfix's again"
        done = run("move-queue", env=env)
        assert (done.returncode, done.stdout) == (0, f"{MESSAGES} of {MESSAGES} messages moved\n".encode())
        after = subprocess.run(["postqueue", "-j"], env=env, capture_output=True, check=True).stdout
    assert after == b""
    found = queued(sqlite_url)
    assert len(found) == 2 * MESSAGES
    assert all(size > 1000 for _, _, size in found)


def test_pipe_is_told_to_try_again(environment: dict[str, str], sqlite_url: str, tmp_path: Path) -> None:
    """Whatever is wrong here is no reason to bounce; mail that is safe is taken."""
    words = ("-f", "a@example.org", "--", "b@example.com", "c@example.com")
    assert run("spooler-pipe", *words, env=environment, given=b"Subject: x\n\nhi\n").returncode == 0
    assert [(sender, to) for sender, to, _ in queued(sqlite_url)] == [
        ("a@example.org", "b@example.com"),
        ("a@example.org", "c@example.com"),
    ]
    for wrong in ({"SPOOLER_CONFIG": "/nowhere"}, {"SPOOLER": "/nowhere"}):
        assert run("spooler-pipe", *words, env={**environment, **wrong}, given=b"x").returncode == 75
