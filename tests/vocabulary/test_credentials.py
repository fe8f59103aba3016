"""Secrets come from files that nobody else reads, and never show."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec
import pytest
from rich.pretty import pretty_repr

from spooler.credentials import MAX_SECRET, Account, Credentials, Secret, parse_secret, read_secret
from spooler.errors import DataError, NoInputError, NotPermittedError

if TYPE_CHECKING:
    from pathlib import Path


def keep(path: Path, raw: bytes = b"s3cret\n", mode: int = 0o400) -> str:
    """Write a secret's file."""
    path.write_bytes(raw)
    path.chmod(mode)
    return str(path)


def test_a_secret_does_not_show() -> None:
    """In no representation, no text, and no encoding."""
    credentials = Credentials(user="me", secret=Secret("s3cret"))
    for text in (repr(credentials), str(credentials), f"{credentials}", pretty_repr(credentials)):
        assert "me" in text
        assert "s3cret" not in text
    assert "s3cret" not in f"{credentials.secret} {credentials.secret!r} {[credentials.secret]}"
    with pytest.raises(TypeError):
        msgspec.json.encode(credentials)
    assert credentials.secret.reveal() == "s3cret"


@pytest.mark.parametrize(
    ("raw", "secret"),
    [(b"s3cret", "s3cret"), (b"s3cret\n", "s3cret"), (b"a b \r\n", "a b "), ("ü".encode(), "ü")],
)
def test_the_line_is_the_secret(tmp_path: Path, raw: bytes, secret: str) -> None:
    """Without its end, and with all its blanks."""
    account = Account(user="me", secret_file=keep(tmp_path / "x", raw), mechanisms=("PLAIN",), plain=True)
    credentials = account.credentials()
    assert credentials.secret.reveal() == secret
    assert (credentials.user, credentials.mechanisms, credentials.plain) == ("me", ("PLAIN",), True)


def test_a_secret_is_read_anew(tmp_path: Path) -> None:
    """It is changed under a running worker."""
    path = tmp_path / "x"
    account = Account(user="me", secret_file=keep(path, mode=0o600))
    assert account.credentials().secret.reveal() == "s3cret"
    path.write_bytes(b"other")
    assert account.credentials().secret.reveal() == "other"


@pytest.mark.parametrize("mode", [0o440, 0o604, 0o644, 0o420, 0o401])
def test_a_secret_that_others_can_get_at(tmp_path: Path, mode: int) -> None:
    """It is refused, and the error says how to mend that."""
    with pytest.raises(NotPermittedError, match=f"mode {mode:04o}") as caught:
        read_secret(keep(tmp_path / "x", mode=mode))
    assert "chmod 400" in caught.value.hint
    assert "s3cret" not in str(caught.value)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_secret_of_another_user(tmp_path: Path) -> None:
    """Who owns it can change whom we are."""
    path = keep(tmp_path / "x")
    os.chown(path, 65534, 65534)
    with pytest.raises(NotPermittedError, match="owner 65534"):
        read_secret(path)


@pytest.mark.parametrize(
    ("mode", "group", "taken"),
    [
        (0o440, 4000, True),
        (0o640, 4000, True),
        (0o400, 4000, True),
        (0o440, 4001, False),
        (0o460, 4000, False),
        (0o444, 4000, False),
    ],
)
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to a group")
def test_a_secret_that_root_lets_a_group_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, group: int, taken: bool
) -> None:
    """Our own group may, as Kubernetes has it; no other, and nobody may write."""
    path = keep(tmp_path / "x", mode=mode)
    os.chown(path, 0, group)
    monkeypatch.setattr(os, "geteuid", lambda: 4000)
    monkeypatch.setattr(os, "getegid", lambda: 4000)
    if taken:
        assert read_secret(path).reveal() == "s3cret"
    else:
        with pytest.raises(NotPermittedError, match="not its reader's alone"):
            read_secret(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_a_secret_in_a_folder_that_is_closed(tmp_path: Path) -> None:
    """What keeps it from being read is said, as for the file itself."""
    path = keep(tmp_path / "x", mode=0o444)
    for folder in (tmp_path, *list(tmp_path.parents)[:2]):
        folder.chmod(0o700)
    os.seteuid(4000)
    try:
        with pytest.raises(NoInputError, match="cannot be read: permission denied"):
            read_secret(path)
    finally:
        os.seteuid(0)


def test_a_pipe_is_no_secret(tmp_path: Path) -> None:
    """Nobody waits for what might be written to it."""
    os.mkfifo(tmp_path / "pipe", 0o400)
    with pytest.raises(NoInputError, match="is a pipe"):
        read_secret(str(tmp_path / "pipe"))


def test_no_such_secret(tmp_path: Path) -> None:
    """The error names the file and the reason."""
    with pytest.raises(NoInputError, match=r"none cannot be read: no such file"):
        read_secret(str(tmp_path / "none"))


@pytest.mark.parametrize("raw", [b"", b"\n", b"a\nb\n", b"a\0b", b"\xff", b"x" * (MAX_SECRET + 1)])
def test_what_is_no_secret(raw: bytes) -> None:
    """Nothing, several lines, and what is no text."""
    with pytest.raises(DataError, match="secret x is not"):
        parse_secret(raw, name="x")


def test_a_secret_of_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name without a slash is one of its credentials; how they are protected is its own affair."""
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    keep(tmp_path / "lmtp", mode=0o440)
    assert read_secret("lmtp").reveal() == "s3cret"
    with pytest.raises(NotPermittedError):
        read_secret(str(tmp_path / "lmtp"))
    with pytest.raises(NoInputError):
        read_secret("other")
