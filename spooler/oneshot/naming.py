"""What the words of the command line name: recipients, a key for TLS, or the message.

`-t` names recipients, in lists with commas too, or, as `lmtptest` has it, the PEM file of a key. Further
arguments name recipients as well; what has a slash, or a dot and no @, is the message's file.
"""

from __future__ import annotations

import errno
import re
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from spooler.address import check_recipient, show
from spooler.errors import DataError, NoInputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

_PEM = b"-----BEGIN "
_LOOK = 65536  # bytes of a file in which its first PEM block begins
# an item of a list: commas in a quoted local part do not part it
_ITEM = re.compile(r'(?:"(?:\\.|[^"\\])*"|[^,"]|")+')


class Named(msgspec.Struct, frozen=True):
    """`repeated` of the recipients named were there already; `key` and `message` are "" for none."""

    recipients: tuple[str, ...]
    repeated: int
    key: str
    message: str


def read_names(told: Iterable[str], arguments: Iterable[str]) -> Named:
    """Read the values of `-t`, and the further arguments.

    Raises UsageError, DataError for an address that is none, NoInputError for a file that cannot be read.
    """
    lists: list[str] = []
    keys: list[str] = []
    messages: list[str] = []
    for value in told:
        (keys if _is_key(value) else lists).append(value)
    for argument in arguments:
        (messages if _is_message(argument) else lists).append(argument)
    for found, what in ((keys, "key files"), (messages, "messages")):
        if len(found) > 1:
            raise UsageError(f"there are {len(found)} {what}: {show(', '.join(found))}", hint="name one")
    recipients: dict[str, None] = {}
    count = 0
    for text in lists:
        for item in split_list(text):
            recipients[check_recipient(item)] = None
            count += 1
    return Named(
        tuple(recipients), count - len(recipients), keys[0] if keys else "", messages[0] if messages else ""
    )


def split_list(text: str) -> list[str]:
    """Split at the commas that are not in a quoted local part; raises DataError for a list of nobody."""
    items = [item.strip() for item in _ITEM.findall(text)]
    named = [item for item in items if item]
    if not named:
        raise DataError(f"recipient list '{show(text)}' names nobody", hint="give it as local-part@domain")
    return named


def _is_key(value: str) -> bool:
    """Whether a value of `-t` names a PEM file; what can only be meant for one has to be one."""
    if "@" in value or not value or "\0" in value:
        return False
    meant = "/" in value or value.endswith(".pem")
    try:
        if Path(value).is_fifo():
            raise OSError(errno.EINVAL, "is a pipe")
        with Path(value).open("rb") as file:
            pem = _PEM in file.read(_LOOK)
    except OSError as error:
        if not (meant or isinstance(error, PermissionError)):
            return False
        raise NoInputError(
            f"key file {show(value, 300)} cannot be read: {(error.strerror or str(error)).lower()}",
            hint="-t takes a recipient, or the PEM file of a key and certificate",
        ) from None
    if not pem and meant:
        raise DataError(f"{show(value, 300)} is not a PEM file", hint="-t takes a recipient, or such a file")
    return pem


def _is_message(argument: str) -> bool:
    """Whether a further argument is the message's file, be it there or not."""
    if "@" in argument or "\0" in argument:
        return False
    if "/" in argument or "." in argument:
        return True
    if Path(argument).is_file():
        raise UsageError(
            f"'{show(argument)}' is a file, and may be a recipient",
            hint=f"say -t {show(argument)}, or ./{show(argument)} for the message",
        )
    return False
