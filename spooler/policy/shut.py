"""Mailboxes that take no mail for now: full, disabled, or with too many deliveries at once.

What one message was told holds for the others too, so they wait untried and without an attempt, until one of
them finds out whether it still does. Times are µs UTC; what is kept is bounded.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING
from zlib import crc32

from spooler.policy import backoff
from spooler.reply import Stage
from spooler.result import Outcome

if TYPE_CHECKING:
    from spooler.result import RecipientResult

CODES = frozenset({450, 451, 452})
"""The only codes that a mailbox is shut with; see `shuts`."""
MOST = 10_000  # mailboxes that are remembered; the one that was shut first is forgotten
GRAIN = 5_000_000  # µs to which times are rounded up, so that recipients go back to the spool in few batches
_MAILBOX = frozenset({"4.2.1", "4.2.2"})  # RFC 3463 section 3.3: disabled, full
_BUSY = "4.3.0"  # Dovecot to RCPT with 451: too many concurrent deliveries for the user
_STAGES = (Stage.RCPT, Stage.FINAL)


def shuts(result: RecipientResult) -> bool:
    """Whether a result says that the mailbox, not the message or the server, is to blame for now."""
    if result.outcome is not Outcome.DEFERRED or result.code not in CODES or result.stage not in _STAGES:
        return False
    busy = result.code == 451 and result.enhanced == _BUSY and result.stage is Stage.RCPT
    return busy or result.enhanced in _MAILBOX


class _Mailbox:
    """One that is shut."""

    __slots__ = ("refusals", "tried", "until")

    def __init__(self) -> None:
        self.refusals = 0  # in a row
        self.until = 0
        self.tried = False  # by one message, at this moment


class ShutMailboxes:
    """Mutable, one per route; `first` and `maximum` are its backoff's, in µs."""

    def __init__(self, *, first: int, maximum: int, most: int = MOST) -> None:
        self._first = first
        self._maximum = maximum
        self._most = most
        self._shut: dict[str, _Mailbox] = {}

    def __len__(self) -> int:
        return len(self._shut)

    def pace(self, *, first: int, maximum: int) -> None:
        """Wait differently from the next refusal on."""
        self._first = first
        self._maximum = maximum

    def listed(self, most: int) -> list[tuple[str, int]]:
        """Name some that are shut, and until when."""
        return [(address, mailbox.until) for address, mailbox in islice(self._shut.items(), most)]

    def refused(self, address: str, now: int) -> None:
        """The mailbox told one message so."""
        mailbox = self._shut.get(address)
        if mailbox is None:
            if len(self._shut) >= self._most:
                del self._shut[next(iter(self._shut))]
            mailbox = self._shut[address] = _Mailbox()
        elif not mailbox.tried and now < mailbox.until:
            return  # it was under way already when the first was told so
        mailbox.tried = False
        mailbox.refusals += 1
        pause = backoff.delay(
            message_id=crc32(address.encode("utf-8", "surrogatepass")),
            attempt=mailbox.refusals,
            first=self._first,
            maximum=self._maximum,
        )
        mailbox.until = -(-(now + pause) // GRAIN) * GRAIN

    def took(self, address: str) -> None:
        """The mailbox took mail, or refused a message for good: it is open."""
        self._shut.pop(address, None)

    def left(self, address: str) -> None:
        """Whatever came of it: nobody tries the mailbox at this moment."""
        mailbox = self._shut.get(address)
        if mailbox is not None:
            mailbox.tried = False

    def wait(self, address: str, now: int) -> int | None:
        """Return until when a message for it is to wait; None: it may be tried, and is meant to be now."""
        mailbox = self._shut.get(address)
        if mailbox is None:
            return None
        if mailbox.tried:
            return -(-(now + 1) // GRAIN) * GRAIN
        if now < mailbox.until:
            return mailbox.until
        mailbox.tried = True
        return None
