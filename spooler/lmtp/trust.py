"""What is known of one destination, shared by all its sessions: may replies run behind one another?

In LMTP the number of replies to an end-of-data is the number of accepted recipients (RFC 2033 section
4.2), and servers get it wrong. A client that has sent the next command already would then read that
command's "250" as a recipient's, and lose mail. So a destination starts on probation: nothing is
sent behind an end-of-data before it has answered one recipient's worth of final replies (then one
recipient is trusted), and two (then any number is).

Probation also learns the *marker*: the enhanced code of the reply to MAIL ("2.1.0" nearly
everywhere), if that code was seen in no other slot. From then on it must stand in every positive
reply to MAIL and in no other, and each MAIL slot proves that all replies before it were where they
belong. Without such a code, the 354 in its own slot proves the same.

With a marker, BDAT is on probation next: by itself, with nothing behind it, led by a RSET whose reply
is learnt whole. Then transactions by BDAT go back to back, many at a time. There a reply too few could
be made up for by all the replies of a later transaction whose MAIL was refused, so two more signs are
asked for, without which the server is no place for this mode: behind a refused MAIL every RCPT gets 503
(RFC 5321 section 3.3) and no final reply is 503; and RSET is answered in the words that were learnt.

On any doubt the destination falls back to the next simpler mode and stays there as long as this
object lives. A session that is lost, by nobody's fault, while replies of it wait for their proof, or
while more is in flight than the server had begun to answer, is a setback: those recipients are
uncertain, so the next probation is twice as long. A server that hangs up after each message would
else cost a second copy of every other one. Sessions lost together are one setback.

Nothing here does I/O, locks or waits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from spooler.lmtp.limits import Limits
from spooler.lmtp.mode import Mode
from spooler.reply import Reply, Stage

if TYPE_CHECKING:
    from spooler.lmtp.transaction import Transaction

_MARKED = {Stage.MAIL: True, Stage.RCPT: False, Stage.FINAL: False, Stage.RSET: False}
"""Whether the marker must, or must not, stand in a positive reply; stages left out do not matter."""
_LONGEST_PROBATION = 1 << 10  # transactions


class Trust:
    """Mutable; its public attributes are for reading."""

    __slots__ = (
        "_elsewhere",
        "_mail",
        "_marker_failed",
        "_probation",
        "_several",
        "_some",
        "doubts",
        "last_doubt",
        "limits",
        "marker",
        "mode",
        "rset",
        "single_recipient",
    )

    def __init__(self, mode: Mode = Mode.CHUNKED) -> None:
        self.mode = mode
        self.marker: str | None = None
        self.single_recipient = False  # it gave too few final replies: one recipient a transaction
        self.doubts = 0
        self.last_doubt = ""
        self.limits = Limits()
        self.rset: Reply | None = None  # the last positive reply to RSET; learnt when it first comes
        self._probation = 1  # clean transactions that it takes, of each kind
        self._some = _none_yet()  # clean transactions with a recipient to whom it was delivered
        self._several = _none_yet()  # the same, with two accepted or more
        self._mail: set[str] = set()  # enhanced codes of positive replies to MAIL
        self._elsewhere: set[str] = set()  # and to anything else
        self._marker_failed = False

    @property
    def may_chunk(self) -> bool:
        """Whether BDAT may be tried, by itself at least."""
        return self.mode is Mode.CHUNKED and self.marker is not None and self.may_overlap(1)

    def may_overlap(self, recipients: int, kind: Mode = Mode.PIPELINED) -> bool:
        """Whether commands may follow the end-of-data of a transaction with so many accepted ones.

        `kind` is CHUNKED for a transaction by BDAT, else PIPELINED.
        """
        if self.mode < kind:
            return False
        return (self._several if recipients > 1 else self._some)[kind] >= self._probation

    def most_recipients(self) -> int | None:
        """How many recipients the next transaction may have, None if any number."""
        return 1 if self.single_recipient else self.limits.most_recipients()

    @property
    def recipients(self) -> int:
        """How many recipients a transaction takes, also while that is doubted; `NONE` if any number."""
        return 1 if self.single_recipient else self.limits.recipients

    def fits(self, stage: Stage, reply: Reply, marker: str | None) -> bool:
        """Whether a reply may stand in a slot of this stage, by the marker."""
        if marker is None or not reply.positive or stage not in _MARKED:
            return True
        if (reply.enhanced == marker) is _MARKED[stage]:
            return True
        return stage is Stage.RSET and self.rset is None

    def learn(self, transaction: Transaction) -> None:
        """Take a proven transaction whose end-of-data was followed by nothing before it was proven."""
        if transaction.mail is None or not any(r is not None and r.positive for r in transaction.final):
            return  # it does not show how success looks in every slot
        kind = max(transaction.mode, Mode.PIPELINED)
        self._some[kind] += 1
        self._several[kind] += len(transaction.accepted) > 1
        self._mail.add(transaction.mail.enhanced)
        for reply in (*transaction.rcpt, *transaction.final):
            if reply is not None and reply.positive:
                self._elsewhere.add(reply.enhanced)
        self._choose()

    def learn_rset(self, reply: Reply) -> None:
        """Take a positive reply to RSET."""
        if reply != self.rset:
            self.rset = reply
            self._elsewhere.add(reply.enhanced)
            self._choose()

    def limit(self, mode: Mode) -> None:
        """Go no further than this mode."""
        self.mode = min(self.mode, mode)

    def doubt(self, why: str, mode: Mode) -> None:
        """Fall back from this mode, and into probation again: replies could not be matched to commands."""
        self.doubts += 1
        self.last_doubt = why
        self.mode = min(self.mode, Mode(max(mode - 1, Mode.LOCKSTEP)))
        self._some, self._several = _none_yet(), _none_yet()

    def setback(self) -> None:
        """Begin a longer probation: a session was lost with replies that were not proven."""
        if self.may_overlap(1):
            self._probation = min(2 * self._probation, _LONGEST_PROBATION)
        self._some, self._several = _none_yet(), _none_yet()

    def forget_marker(self) -> None:
        """Never use it again: it stood in a foreign slot, so it may be no sign of MAIL after all."""
        self._marker_failed = True
        self.marker = None

    def too_few(self) -> None:
        """Remember that final replies were missing where several were due."""
        self.single_recipient = True

    def _choose(self) -> None:
        """Find the marker: the one code that MAIL, and only MAIL, is answered with."""
        only = next(iter(self._mail)) if len(self._mail) == 1 else ""
        usable = only and only not in self._elsewhere and not self._marker_failed
        self.marker = only if usable else None


def _none_yet() -> dict[Mode, int]:
    return {Mode.PIPELINED: 0, Mode.CHUNKED: 0}
