"""Whom the one-shot command authenticates as: options, environment, a file, or a question on the terminal.

A secret never comes from an argument: arguments are seen by everybody who lists processes. Standard input
is the message, so the question is put to the controlling terminal.
"""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import TYPE_CHECKING

from spooler.credentials import Credentials, Secret, parse_secret, read_login
from spooler.errors import DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

USER = "LMTP_USER"
PASSWORD = "LMTP_PASSWORD"  # noqa: S105  # the name of a variable
TERMINAL = Path("/dev/tty")
_MEND = f"set {USER} and {PASSWORD}, or name --credentials FILE"


def find_login(user: str, file: str, environment: Mapping[str, str], *, plain: bool) -> Credentials:
    """Return the user and the secret; `user` and `file` are "" where options name none.

    `plain`: AUTH also over a line that is neither encrypted nor local. Raises UsageError, and what
    `read_login` raises.
    """
    found, secret = read_login(file) if file else ("", None)
    user = user or found or environment.get(USER, "")
    if secret is None and environment.get(PASSWORD):
        secret = parse_secret(environment[PASSWORD].encode(errors="surrogateescape"), name=PASSWORD)
    if not user:
        user = _ask_user()
    if any(ord(char) < 0x20 or char == "\x7f" for char in user):
        raise DataError("the user's name has a control character in it", hint="give another")
    if any("\ud800" <= char <= "\udfff" for char in user):
        raise DataError("the user's name is not UTF-8", hint="give it in UTF-8")
    return Credentials(user=user, secret=secret or _ask_secret(user), plain=plain)


def _ask_user() -> str:
    try:
        with TERMINAL.open("r", errors="surrogateescape") as asked, TERMINAL.open("w") as terminal:
            terminal.write("User: ")
            terminal.flush()
            user = asked.readline().strip()
    except OSError:
        raise UsageError("-a needs a user, and there is no terminal to ask on", hint=_MEND) from None
    if not user:
        raise UsageError("-a needs a user", hint=_MEND)
    return user


def _ask_secret(user: str) -> Secret:
    try:
        TERMINAL.open("r").close()
        text = getpass.getpass(f"Password of {user}: ")
    except UnicodeDecodeError:
        raise DataError("the password is not in the terminal's encoding", hint="check the locale") from None
    except EOFError:
        text = ""
    except OSError:
        raise UsageError(
            f"-a needs the password of {user}, and there is no terminal to ask on", hint=_MEND
        ) from None
    if not text:
        raise UsageError(f"-a needs the password of {user}", hint=_MEND)
    return parse_secret(text.encode(errors="surrogateescape"), name="from the terminal")
