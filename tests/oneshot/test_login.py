"""Whom the command authenticates as, and that secrets stay out of sight."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from spooler.errors import DataError, NoInputError, NotPermittedError, SpoolerError, UsageError
from spooler.oneshot import login
from spooler.oneshot.login import find_login
from tests.cli.lmtp_command import environment

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "pencil and päper"


@pytest.fixture(autouse=True)
def _no_terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(login, "TERMINAL", tmp_path / "none")


def _file(folder: Path, text: str, mode: int = 0o400) -> str:
    path = folder / "credentials"
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return str(path)


@pytest.mark.parametrize(
    ("user", "text", "env"),
    [
        ("", f"mailer\n{SECRET}\n", {}),
        ("mailer", f"{SECRET}\n", {}),
        ("mailer", f"another\n{SECRET}", {"LMTP_USER": "third", "LMTP_PASSWORD": "other"}),
        ("", f"{SECRET}", {"LMTP_USER": "mailer"}),
        ("", "", {"LMTP_USER": "mailer", "LMTP_PASSWORD": SECRET}),
        ("mailer", "", {"LMTP_USER": "other", "LMTP_PASSWORD": SECRET}),
    ],
)
def test_options_come_first_then_the_file_then_the_environment(
    tmp_path: Path, user: str, text: str, env: dict[str, str]
) -> None:
    """A file has the secret, or both."""
    found = find_login(user, _file(tmp_path, text) if text else "", env, plain=True)
    assert (found.user, found.secret.reveal(), found.plain) == ("mailer", SECRET, True)
    assert SECRET not in repr(found)


@pytest.mark.parametrize(
    ("user", "text", "mode", "kind", "says"),
    [
        ("u", "secret", 0o440, NotPermittedError, "mode 0440"),
        ("u", "secret", 0o604, NotPermittedError, "mode 0604"),
        ("u", "", 0o400, DataError, "is not one line of text"),
        ("", "u\n\n\nsecret\n", 0o600, DataError, "is not one line of text"),
        ("a\nb", "secret", 0o600, DataError, "control character"),
        ("a\udcff", "secret", 0o600, DataError, "the user's name is not UTF-8"),
        ("u", None, 0, UsageError, "-a needs the password of u, and there is no terminal to ask on"),
        ("", None, 0, UsageError, "-a needs a user, and there is no terminal to ask on"),
    ],
)
def test_what_is_wrong_is_said(
    tmp_path: Path, user: str, text: str | None, mode: int, kind: type[SpoolerError], says: str
) -> None:
    """A secret that others may read is not used."""
    with pytest.raises(kind) as caught:
        find_login(user, "" if text is None else _file(tmp_path, text, mode), {}, plain=False)
    assert says in str(caught.value)


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    """It is not asked for on the terminal instead."""
    with pytest.raises(NoInputError, match="cannot be read"):
        find_login("u", str(tmp_path / "none"), {}, plain=False)


def test_the_terminal_is_asked_and_shows_no_secret() -> None:
    """Standard input is the message: the question goes to the controlling terminal."""
    master, slave = pty.openpty()
    program = (
        "import fcntl, os, sys, termios\n"
        "os.setsid()\n"
        f"fcntl.ioctl({slave}, termios.TIOCSCTTY, 0)\n"
        "from spooler.oneshot.login import find_login\n"
        "found = find_login('', '', {}, plain=False)\n"
        "sys.stdout.write(f'{found.user}/{found.secret.reveal()}/{sys.stdin.read()}')\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=(slave,),
    ) as process:
        os.close(slave)
        shown = b""

        def until(words: bytes) -> None:
            nonlocal shown
            while words not in shown:
                shown += os.read(master, 1000)

        until(b"User: ")
        os.write(master, b"mailer\n")
        until(b"Password of mailer: ")
        os.write(master, b"pencil\n")
        out, _ = process.communicate(b"message", timeout=20)
    os.close(master)
    assert (process.returncode, out) == (0, b"mailer/pencil/message")
    assert b"pencil" not in shown
