"""Who sends what to whom by the command `lmtp`, and what the message gets where it lacks it."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from spooler.address import check_sender, show
from spooler.cli.lmtp_asked import NAME, Asked
from spooler.cli.main import tell
from spooler.cli.standard_input import message_file, standard_input
from spooler.errors import UsageError
from spooler.ident import IdMaker, format_id, now_us
from spooler.intake.supplying import Supplies, author
from spooler.oneshot.naming import Named, read_names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spooler.config import Config

_FILE = "name a file that this user can read; -t names a recipient that has no @"


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """Who sends what to whom; `message` None is standard input."""

    sender: str
    named: Named
    message: Path | None

    def blocks(self) -> Iterator[bytes]:
        """Read the message."""
        return standard_input(NAME) if self.message is None else message_file(self.message, mend=_FILE)


def envelope_of(asked: Asked) -> Envelope:
    """Read who sends what to whom; raises SpoolerError."""
    if asked.sender is None:
        raise UsageError("no sender is named", hint="name one with -f; -f '' is the null sender")
    sender = check_sender(asked.sender)
    named = read_names(asked.told, asked.arguments)
    if not named.recipients:
        raise UsageError("no recipient is named", hint="name one with -t, or as an argument")
    if named.repeated:
        say(f"recipients named more than once: {named.repeated} left out")
    if asked.message is not None and named.message:
        raise UsageError(
            f"{show(named.message)} is a second message", hint="a recipient has an @, or is named with -t"
        )
    file = Path(named.message) if named.message else None
    return Envelope(sender=sender, named=named, message=asked.message or file)


def supplies(asked: Asked, sender: str, config: Config) -> Supplies | None:
    """Return what is put into a header that lacks it; None with --raw."""
    if asked.raw:
        return None
    host, now = config.lhlo_name, now_us()
    return Supplies(
        sender=author(sender, host),
        date=time.strftime("%a, %d %b %Y %H:%M:%S %z", time.localtime(now / 1_000_000)),
        message_id=f"<{format_id(IdMaker().make(now))}.{os.getpid()}@{host}>",
    )


def say(text: str) -> None:
    """Tell a person, on standard error."""
    tell(f"{NAME}: {text}")
