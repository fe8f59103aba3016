"""What a dialogue means for a recipient: every rule about success, failure and doubt is in this file.

The rules, in the order in which they are asked (RFC 2033 section 4.2, RFC 5321 section 4.2, RFC 2920):

1. A final reply in a proven slot decides: 2yz delivered, 4yz deferred, 5yz failed.
2. Any byte of the end-of-data handed over and no proven final reply: uncertain, unless MAIL or RCPT is
   known to have been refused. It may be delivered. (By BDAT it goes out before the replies to either.)
3. A refusal at MAIL, RCPT or DATA decides: 4yz deferred, 5yz failed. But where MAIL is refused because the
   session has had its share (421, 4.4.5), nothing was said about the message: safe to repeat as in 4.
4. Nothing said and nothing handed over: safe to repeat, once at once and on a fresh connection.

A reply that only a desynchronised or unready server gives never fails a recipient: 503 (bad sequence)
and 530 (authentication required) are temporary wherever they stand. They do not show that MAIL or RCPT was
refused either (rule 2), and in a final slot, where 503 can not be in place, they leave the outcome uncertain.
So does 421 there: it may come at any time (RFC 5321 section 3.8), also where the reply that was due is
missing and the server grew tired of the silence.
"""

from __future__ import annotations

from enum import Enum

import msgspec

from spooler.reply import Reply, Stage
from spooler.result import Outcome
from spooler.trouble import Trouble

_OUT_OF_PLACE = frozenset({503, 530})
_CLOSING = 421
_TOO_MANY = frozenset({"4.5.3", "5.5.3"})  # RFC 3463 section 3.6: recipients
_TOO_MUCH = frozenset({452, 552})  # of them, or of anything: RFC 5321 section 4.5.3.1.10 has both for this
_SECURITY = {
    Trouble.NO_TLS: "4.7.4",
    Trouble.NO_HANDSHAKE: "4.7.5",
    Trouble.CERTIFICATE: "4.7.5",
    Trouble.NO_MECHANISM: "4.7.4",
    Trouble.AUTHENTICATION: "4.7.8",
}
"""What stands for them in reports: RFC 3463 section 3.8, RFC 4954 section 6."""
CONTENT_GONE = "the content is missing in the spool"

# as in `spooler.lmtp.slots`: an enum's member by a name of its own
_DELIVERED, _DEFERRED, _FAILED = Outcome.DELIVERED, Outcome.DEFERRED, Outcome.FAILED
_FINAL = Stage.FINAL


class Then(Enum):
    """What to do with the recipient now."""

    SETTLE = "settle"
    NEXT_TRANSACTION = "next transaction"
    """Not an attempt: the transaction was full (RFC 5321 section 4.5.3.1.10)."""
    FRESH_CONNECTION = "fresh connection"
    """Nothing was taken: repeat at once, one time per claim, else settle."""


class Seen(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the dialogue showed about one recipient.

    Replies are None where none was read. `handed_over`: any byte of the end-of-data was given to the
    kernel. `envelope_provisional`, `final_provisional`: the replies in front of the content, or the final
    ones, could be another command's (the stream was never proven to be in step).
    `crowded`: other recipients of the transaction were accepted. `place`: how many transactions the
    session had begun before. `fault` says how the session ended,
    "" if it goes on, and `fault_stage` where.
    """

    mail: Reply | None = None
    rcpt: Reply | None = None
    data: Reply | None = None
    final: Reply | None = None
    handed_over: bool = False
    envelope_provisional: bool = False
    final_provisional: bool = False
    crowded: bool = False
    place: int = 0
    fault: str = ""
    fault_stage: Stage = Stage.CONNECT


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """The decision: an outcome with its reason, and what comes next."""

    outcome: Outcome
    stage: Stage
    code: int = 0
    enhanced: str = ""
    text: str = ""
    uncertain: bool = False
    then: Then = Then.SETTLE


def judge(seen: Seen) -> Verdict:
    """Decide what became of one recipient."""
    if seen.final is not None and not seen.final_provisional:
        return of_final(seen.final)
    if seen.handed_over and (seen.envelope_provisional or not _refused(seen)):
        return _uncertain(seen)
    if not seen.envelope_provisional:
        if seen.mail is not None and not seen.mail.positive:
            return _of_mail(seen.mail, first=seen.place == 0)
        if seen.rcpt is not None and not seen.rcpt.positive:
            return _of_rcpt(seen.rcpt, crowded=seen.crowded)
        if seen.data is not None and not seen.data.go_ahead:
            return _of_refusal(Stage.DATA, seen.data)
    return Verdict(_DEFERRED, seen.fault_stage, text=seen.fault or "no reply", then=Then.FRESH_CONNECTION)


def unfit(
    *,
    size: int,
    eight_bit: bool,
    utf8: bool,
    size_limit: int | None,
    takes_eight_bit: bool,
    takes_utf8: bool,
) -> Verdict | None:
    """Refuse what the server announced it cannot take; nothing is rewritten to fit.

    `size_limit` in bytes, None or 0 where none was announced (RFC 1870 section 4). Codes: RFC 3463
    section 3.4 and 3.7, RFC 6531 section 3.5.
    """
    if utf8 and not takes_utf8:
        return _local("5.6.7", "the server does not take SMTPUTF8, which the addresses need")
    if eight_bit and not takes_eight_bit:
        return _local("5.6.3", "the server does not take 8BITMIME, which the content needs")
    if size_limit and size > size_limit:
        return _local("5.3.4", f"the message of {size} bytes is over the server's limit of {size_limit}")
    return None


def unreachable(why: str, trouble: Trouble = Trouble.UNREACHABLE, stage: Stage = Stage.CONNECT) -> Verdict:
    """Defer because no session could be had: never a failure of the recipient."""
    return Verdict(_DEFERRED, stage, enhanced=_SECURITY.get(trouble, ""), text=why)


def expired(why: str) -> Verdict:
    """Give up a recipient whose time is over (RFC 3463: 4.4.7, delivery time expired)."""
    return Verdict(Outcome.EXPIRED, Stage.LOCAL, enhanced="4.4.7", text=why)


def _refused(seen: Seen) -> bool:
    return any(
        reply is not None and (reply.temporary or reply.permanent) and reply.code not in _OUT_OF_PLACE
        for reply in (seen.mail, seen.rcpt)
    )


def of_final(reply: Reply) -> Verdict:
    """Decide by a final reply in its own proven slot: rule 1, which asks for nothing else."""
    if reply.positive:
        return Verdict(_DELIVERED, _FINAL, reply.code, reply.enhanced, reply.text)
    if reply.permanent and reply.code not in _OUT_OF_PLACE:
        return Verdict(_FAILED, _FINAL, reply.code, reply.enhanced, reply.text)
    doubtful = not reply.temporary or reply.code == _CLOSING
    return Verdict(_DEFERRED, _FINAL, reply.code, reply.enhanced, reply.text, doubtful)


def _uncertain(seen: Seen) -> Verdict:
    why = seen.fault or "the replies could not be matched to the recipients"
    return Verdict(
        _DEFERRED,
        _FINAL,
        text=f"{why}; end of data was sent, so it may be delivered already",
        uncertain=True,
    )


def _of_mail(reply: Reply, *, first: bool) -> Verdict:
    verdict = _of_refusal(Stage.MAIL, reply)
    if reply.ends_session and not first:
        return msgspec.structs.replace(verdict, then=Then.FRESH_CONNECTION)
    return verdict


def _of_rcpt(reply: Reply, *, crowded: bool) -> Verdict:
    too_many = reply.enhanced in _TOO_MANY or (not reply.enhanced and reply.code in _TOO_MUCH)
    verdict = _of_refusal(Stage.RCPT, reply)
    if crowded and too_many:
        return msgspec.structs.replace(verdict, then=Then.NEXT_TRANSACTION)
    return verdict


def _of_refusal(stage: Stage, reply: Reply) -> Verdict:
    fails = reply.permanent and reply.code not in _OUT_OF_PLACE
    outcome = _FAILED if fails else _DEFERRED
    return Verdict(outcome, stage, reply.code, reply.enhanced, reply.text)


def _local(enhanced: str, text: str) -> Verdict:
    return Verdict(_FAILED, Stage.LOCAL, enhanced=enhanced, text=text)
