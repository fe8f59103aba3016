"""Fixtures over the server starters, and what a missing server means.

On a developer's machine a test whose server is not installed is skipped and says which package has it; in
CI (`CI=true`) it fails, because there a skip would hide that nothing was tested.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

from tests.servers.cyrus import hindrance as cyrus_hindrance
from tests.servers.dovecot import Dovecot, dovecot
from tests.servers.postfix import hindrance as postfix_hindrance
from tests.servers.process import find
from tests.servers.smtp_sink import SmtpSink, smtp_sink

if TYPE_CHECKING:
    from collections.abc import Iterator

_REPOSITORY = Path(__file__).parents[2]
_SHARED_CORPUS = _REPOSITORY.parent / "shared" / "corpus"


def in_ci() -> bool:
    """Whether everything must be there."""
    return os.environ.get("CI", "").lower() in ("true", "1")


def missing(what: str, how: str) -> NoReturn:
    """Skip the test for want of `what`, or fail it in CI; `how` tells how to get it."""
    text = f"{what} is missing: {how}"
    if in_ci():
        pytest.fail(text, pytrace=False)
    pytest.skip(text)


def require(program: str, package: str) -> str:
    """Return the path of `program`; where it is not installed, skip (in CI: fail)."""
    path = find(program)
    return path or missing(program, f"install {package} (Debian's name)")


@pytest.fixture(scope="session")
def dovecot_program() -> str:
    """Path of Dovecot, LMTP included."""
    path = require("dovecot", "dovecot-core")
    if not Path("/usr/lib/dovecot/lmtp").exists() and not Path("/usr/libexec/dovecot/lmtp").exists():
        missing("Dovecot's lmtp", "install dovecot-lmtpd (Debian's name)")
    return path


@pytest.fixture(scope="session")
def smtp_sink_program() -> str:
    """Path of Postfix's smtp-sink."""
    return require("smtp-sink", "postfix")


@pytest.fixture(scope="session")
def prometheus_program() -> str:
    """Path of Prometheus."""
    return require("prometheus", "prometheus")


@pytest.fixture(scope="session")
def promtool() -> str:
    """Path of the tool that checks what Prometheus reads."""
    return require("promtool", "prometheus")


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of Chromium."""
    return require("chromium", "chromium")


@pytest.fixture(scope="session")
def postfix_runs() -> None:
    """Postfix can be started."""
    require("postfix", "postfix")
    _root_for("Postfix", postfix_hindrance())


@pytest.fixture(scope="session")
def cyrus_runs() -> None:
    """Cyrus can be started."""
    if not Path("/usr/lib/cyrus/bin/lmtpd").exists():
        missing("Cyrus", "install cyrus-imapd (Debian's name)")
    _root_for("Cyrus", cyrus_hindrance())


def _root_for(server: str, why: str | None) -> None:
    """Skip where only root is wanting, in CI too: who runs the tests is no server that could be installed."""
    if why is not None and os.geteuid() != 0:
        pytest.skip(why)
    assert why is None, f"{server} is there, but: {why}"


@pytest.fixture
def dovecot_server(dovecot_program: str) -> Iterator[Dovecot]:
    """A running Dovecot without users: `allow` them."""
    with dovecot(dovecot_program) as server:
        yield server


@pytest.fixture
def dumping_sink(smtp_sink_program: str) -> Iterator[SmtpSink]:
    """A running `smtp-sink -L` that keeps every transaction."""
    with smtp_sink(smtp_sink_program, dump=True) as server:
        yield server


@pytest.fixture(scope="session")
def corpus() -> Path:
    """Folder of real messages: SPOOLER_CORPUS, or `../shared/corpus` beside the repository.

    They are other people's mail and not part of the repository, so nobody is failed for not having them;
    the same tests run on messages of our own making everywhere.
    """
    folder = Path(os.environ.get("SPOOLER_CORPUS") or _SHARED_CORPUS)
    if not folder.is_dir():
        pytest.skip("no corpus of real messages here: name a folder of them in SPOOLER_CORPUS")
    return folder
