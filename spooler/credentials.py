"""Who we are to a server that wants AUTH (RFC 4954), and where the secret is kept.

A secret comes from a file that only its owner reads, or from systemd (systemd.exec(5), credentials).
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

import msgspec

from spooler.errors import DataError, NoInputError, NotPermittedError

MECHANISMS = ("SCRAM-SHA-256", "CRAM-MD5", "PLAIN", "LOGIN")
"""Those that we speak, the strongest first: the first two do not tell the server the secret."""
TELLING = frozenset({"PLAIN", "LOGIN"})
"""Those that tell the server the secret."""
MAX_SECRET = 4096  # bytes of a file


class Secret:
    """A password. It is shown as *** and nothing encodes it: `reveal` is the one way to it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the secret itself."""
        return self._text

    def __repr__(self) -> str:
        return "Secret('***')"


class Credentials(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A user and the secret, for one connection.

    `mechanisms` are those that may be used, in the order of `MECHANISMS`. `plain`: also over a line
    that is neither encrypted nor local.
    """

    user: str
    secret: Secret
    mechanisms: tuple[str, ...] = MECHANISMS
    plain: bool = False


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """A user, and the file where the secret is: it is read anew for each connection, so it can be changed."""

    user: str
    secret_file: str
    mechanisms: tuple[str, ...] = MECHANISMS
    plain: bool = False

    def credentials(self) -> Credentials:
        """Read the secret; raises NoInputError, NotPermittedError or DataError."""
        return Credentials(
            user=self.user,
            secret=read_secret(self.secret_file),
            mechanisms=self.mechanisms,
            plain=self.plain,
        )


def secret_path(name: str) -> tuple[Path, bool]:
    """Return where a secret is, and whether systemd keeps it.

    A name without a slash is one of systemd's credentials, where there are any.
    """
    folder = os.environ.get("CREDENTIALS_DIRECTORY", "")
    if folder and "/" not in name:
        return Path(folder) / name, True
    return Path(name), False


def read_secret(name: str) -> Secret:
    """Read a file of one line; raises NoInputError, NotPermittedError or DataError."""
    path, raw = _read_private(name, again=True)
    return parse_secret(raw, name=str(path))


def read_login(name: str) -> tuple[str, Secret]:
    """Read a file of two lines, the user and the secret, or of the secret alone: the user is "" then.

    Raises as `read_secret`.
    """
    path, raw = _read_private(name)
    user, end, rest = raw.rstrip(b"\r\n").partition(b"\n")
    if not end:
        return "", parse_secret(raw, name=str(path))
    return parse_secret(user, name=str(path)).reveal(), parse_secret(rest, name=str(path))


def _read_private(name: str, *, again: bool = False) -> tuple[Path, bytes]:
    """Read a file that must be its reader's alone; one that is read `again` and again is no pipe."""
    path, systemd = secret_path(name)
    try:
        if again and stat.S_ISFIFO(path.stat().st_mode):  # a worker would wait for who writes
            raise NoInputError(f"secret {path} is a pipe", hint="name a file: it is read for each connection")
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            raw = file.read(MAX_SECRET + 1)
    except OSError as error:
        raise NoInputError(
            f"secret {path} cannot be read: {(error.strerror or str(error)).lower()}",
            hint="name a file that this user can read",
        ) from None
    # systemd gives access by an access control list, which shows as the group's bits
    if not systemd and not _is_private(status):
        raise NotPermittedError(
            f"secret {path} is not its reader's alone: mode {stat.S_IMODE(status.st_mode):04o}, "
            f"owner {status.st_uid}",
            hint=f"chown it to the user who runs this, and chmod 400 {path}",
        )
    return path, raw


def _is_private(status: os.stat_result) -> bool:
    """Whether a file is its reader's alone, or root's who lets the reader's own group read it, and nobody
    write: so Kubernetes and many administrators hand over a secret.
    """
    if status.st_uid == 0 and os.geteuid() != 0 and status.st_gid == os.getegid():
        return not status.st_mode & 0o037
    return status.st_uid in (os.geteuid(), 0) and not status.st_mode & 0o077


def parse_secret(raw: bytes, *, name: str) -> Secret:
    """Read the content of a file called `name`; the line's end is not part of it. Raises DataError."""
    try:
        text = raw.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise DataError(f"secret {name} is not UTF-8", hint="write it in UTF-8") from None
    if not text or len(raw) > MAX_SECRET or any(char in text for char in "\0\r\n"):
        raise DataError(f"secret {name} is not one line of text", hint="write the secret alone into it")
    return Secret(text)
