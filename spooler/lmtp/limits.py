"""What a destination allows: transactions on a session, recipients in a transaction. Neither is announced.

A server that has had enough of a session says so with 421, with a refusal of MAIL that speaks of the session
(Stalwart: 452 4.4.5), with one 452 after another, or by closing. What was in flight behind is then lost
time at best and uncertain at worst. So where sessions ended in the same way behind the same number of
transactions, none begins more than that: it says QUIT, and the next one goes on. It is not in the server's
words whether that was a limit, or a shutdown that met two sessions at the same place. So a limit is doubted:
every few sessions one goes a single transaction further, by itself, with nothing in flight that could suffer.
Is that one taken, the limit is forgotten; else the next doubt comes after twice as many.

Too many recipients (452 or 455 4.5.3, RFC 5321 section 4.5.3.1.10) is said plainly, so it is learnt at once;
it is doubted in the same way, for a bare 452 may also come of a full disk.

Nothing here does I/O, locks or waits.
"""

from __future__ import annotations

import sys
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spooler.reply import Reply

NONE = sys.maxsize
"""The limit where none is known."""
_REMEMBERED = 16  # ends of sessions that are compared
_AGREEING = 2  # of them that make a limit: each costs what was in flight, and a wrong one is soon forgotten
_FIRST_DOUBT = 4  # sessions, or full transactions, until a limit is doubted for the first time
_LAST_DOUBT = 256
_REFUSALS = 3  # of MAIL with 452, in a row, after which another session may be better off
_NO_ROOM = (
    452  # RFC 5321 section 4.2.3: what servers say for any kind of too much; 451 is trouble of their own
)


class _Doubt:
    """When to try whether a limit holds: after 4 occasions, then ever more."""

    __slots__ = ("_every", "left")

    def __init__(self) -> None:
        self._every = self.left = _FIRST_DOUBT

    def confirmed(self) -> None:
        """It held."""
        self._every = min(2 * self._every, _LAST_DOUBT)
        self.left = self._every


class Limits:
    """Mutable, one per destination; its public attributes are for reading."""

    __slots__ = ("_ends", "_recipients_doubt", "_session_doubt", "_trying", "recipients", "transactions")

    def __init__(self) -> None:
        self.transactions = NONE
        """So many may be begun on a session."""
        self.recipients = NONE
        """So many may be named in a transaction."""
        self._ends: deque[tuple[str, int]] = deque(maxlen=_REMEMBERED)
        self._session_doubt = _Doubt()
        self._recipients_doubt = _Doubt()
        self._trying = False  # some session is one transaction beyond the limit

    def __repr__(self) -> str:
        def of(limit: int) -> str:
            return "any number" if limit == NONE else str(limit)

        return f"<Limits {of(self.transactions)} a session, {of(self.recipients)} a transaction>"

    # --- transactions on a session

    @property
    def may_exceed(self) -> bool:
        """Whether a session that has reached the limit should try one more."""
        return self._session_doubt.left <= 0 and not self._trying

    def ended(self, how: str, served: int) -> None:
        """A session was ended by the server, between transactions, when it had served so many."""
        end = (how, served)
        if served < 1 or served >= self.transactions:
            return  # unready, or at the limit that is known already
        self._ends.append(end)
        if self._ends.count(end) >= _AGREEING:
            self.transactions = served
            self._session_doubt = _Doubt()
            self._ends.clear()

    def filled(self) -> None:
        """A session was left because it had reached the limit."""
        self._session_doubt.left -= 1

    def try_more(self) -> None:
        """A session begins one transaction beyond the limit."""
        self._trying = True

    def tried(self, *, taken: bool | None) -> None:
        """What came of it; None: nothing that tells."""
        self._trying = False
        if taken:
            self.transactions = NONE
            self._ends.clear()
        elif taken is False:
            self._session_doubt.confirmed()

    # --- recipients of a transaction

    def most_recipients(self) -> int | None:
        """Return how many may be named in the next transaction, None if any number."""
        if self.recipients == NONE or self._recipients_doubt.left <= 0:
            return None
        return self.recipients

    def accepted(self, recipients: int, *, more_refused: bool) -> None:
        """So many were accepted in one transaction; were more refused as too many?"""
        if more_refused:
            if recipients == self.recipients:
                self._recipients_doubt.confirmed()
            else:
                self.recipients = recipients
                self._recipients_doubt = _Doubt()
        elif recipients > self.recipients:
            self.recipients = NONE
        elif recipients == self.recipients:
            self._recipients_doubt.left -= 1


class Served:
    """How many transactions one session has had, and whether it may have another."""

    __slots__ = ("_ended", "_limits", "_refusals", "_trying", "begun", "taken")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._ended = self._trying = False
        self._refusals = 0  # of MAIL with 452, in a row
        self.begun = 0
        self.taken = 0
        """Those whose MAIL was accepted."""

    @property
    def over(self) -> bool:
        """Whether the session had all that it is allowed, and is to be left."""
        return self._ended or self.begun >= self._limits.transactions

    def may_begin(self, *, alone: bool) -> bool:
        """Whether one more may begin; `alone`: nothing else is in flight."""
        if self._trying or self._ended:
            return False
        return self.begun < self._limits.transactions or (alone and self._limits.may_exceed)

    def begin(self) -> None:
        """One more begins."""
        if self.begun >= self._limits.transactions:
            self._limits.try_more()
            self._trying = True
        self.begun += 1

    def mail(self, reply: Reply) -> None:
        """Take the reply to its MAIL."""
        if reply.positive:
            self.taken += 1
            self._refusals = 0
            if self._trying:
                self._tried(taken=True)
        elif reply.temporary:
            self._refusals = self._refusals + 1 if reply.code == _NO_ROOM else 0
            if reply.ends_session or self._trying or self._refusals == _REFUSALS:
                self.end("refused MAIL")

    def end(self, how: str) -> None:
        """Take note that the server has had enough, in words or by closing; only the first time counts."""
        if not self._ended:
            self._ended = True
            self._tried(taken=False)
            self._limits.ended(how, self.taken)

    def close(self) -> None:
        """Take note that the session is over, for whatever reason."""
        if not self._ended and self.begun == self._limits.transactions:
            self._limits.filled()
        self._tried(taken=None)
        self._ended = True

    def _tried(self, *, taken: bool | None) -> None:
        if self._trying:
            self._trying = False
            self._limits.tried(taken=taken)
