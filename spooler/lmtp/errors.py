"""Our error, theirs, and nobody's: the exceptions that this package raises on purpose.

`LocalProtocolError`: this side was about to say something that it must not, so nothing was sent.
`RemoteProtocolError`: the other side broke the protocol, so nothing it says can be trusted any more.
`OpeningError`: both kept to the protocol, and they or we do not want to go on to mail.
Whatever else comes out of this package is a bug.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spooler.reply import Reply, Stage
    from spooler.trouble import Trouble


class ProtocolError(Exception):
    """What both have in common: `str()` is one line for people, safe to print and log."""


class LocalProtocolError(ProtocolError):
    """We misused the protocol or this package.

    `recipient` is the index of the one that cannot be sent, where only one is to blame.
    """

    def __init__(self, why: str, *, recipient: int | None = None) -> None:
        super().__init__(why)
        self.recipient = recipient


class RemoteProtocolError(ProtocolError):
    """They broke the protocol: close the connection.

    `replies` are those that a reader found whole, in the same block, in front of the fault.
    """

    def __init__(self, why: str, *, replies: Sequence[Reply] = ()) -> None:
        super().__init__(why)
        self.replies = replies


class OpeningError(ProtocolError):
    """There is no way to mail here: close the connection."""

    def __init__(self, why: str, *, trouble: Trouble, stage: Stage) -> None:
        super().__init__(why)
        self.trouble = trouble
        self.stage = stage
