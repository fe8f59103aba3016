"""Where a one-shot delivery goes, and what is told of it."""

from __future__ import annotations

import msgspec

from spooler.config import Timeouts
from spooler.destination import Destination
from spooler.lmtp.mode import Mode
from spooler.net.security import Security
from spooler.policy.classify import Verdict
from spooler.result import Outcome
from spooler.trouble import Trouble

# members of enums, for readers of `Told`
_DELIVERED, _DEFERRED = Outcome.DELIVERED, Outcome.DEFERRED


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """A destination, and how connections there are protected."""

    destination: Destination
    security: Security


class Leg(msgspec.Struct, frozen=True, kw_only=True):
    """Recipients for the first of several ways that gives a session; `most` of them in a transaction.

    `mode` is the boldest way for transactions to follow one another. By default contents wait for
    their 354: nobody drains a queue here, so what is in doubt when a session is lost counts more than speed.
    """

    ways: tuple[Way, ...]
    recipients: tuple[str, ...]
    timeouts: Timeouts = Timeouts()
    most: int = 100
    mode: Mode = Mode.PIPELINED


class Told(msgspec.Struct, frozen=True):
    """What became of one recipient; `destination` is "" where none was reached."""

    address: str
    verdict: Verdict
    destination: str = ""

    @property
    def delivered(self) -> bool:
        """Whether the server has it."""
        return self.verdict.outcome is _DELIVERED

    @property
    def deferred(self) -> bool:
        """Whether trying again may help; with `uncertain`, the server may have it already."""
        return self.verdict.outcome is _DEFERRED


class Obstacle(msgspec.Struct, frozen=True):
    """Why one way gave no session."""

    destination: Destination
    trouble: Trouble
    why: str
