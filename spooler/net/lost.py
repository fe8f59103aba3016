"""How a session is lost with work undone, and what an error of the system says of it."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from spooler.trouble import Trouble

if TYPE_CHECKING:
    from spooler.reply import Stage


class SessionLostError(Exception):
    """The session ended with work undone; the message says why, for people."""

    def __init__(self, why: str, stage: Stage, *, trouble: Trouble = Trouble.SILENT) -> None:
        super().__init__(why)
        self.why = why
        self.stage = stage
        self.trouble = trouble


def reason_of(error: OSError) -> str:
    """Say what it is as a part of a sentence."""
    why = error.strerror or str(error)
    return why[:1].lower() + why[1:]


def trouble_of(error: OSError) -> Trouble:
    """Tell an alert, by which a server says that it does not want our certificate, from a broken line."""
    return Trouble.NO_HANDSHAKE if error.errno == errno.EPROTO else Trouble.SILENT
