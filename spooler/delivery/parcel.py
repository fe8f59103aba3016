"""A parcel: recipients of one message for one transaction, and what became of each of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from spooler.address import needs_smtputf8
from spooler.claim import ClaimedRecipient
from spooler.config import Route
from spooler.delivery.judging import verdicts
from spooler.envelope import BodyType
from spooler.lmtp.transaction import Recipient, Transaction
from spooler.policy import backoff
from spooler.policy.classify import Then, Verdict
from spooler.reply import Stage
from spooler.result import Doubtful, Outcome, RecipientResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spooler.claim import Claim

# as in `spooler.lmtp.slots`: an enum's member by a name of its own
_NEXT_TRANSACTION, _FRESH_CONNECTION = Then.NEXT_TRANSACTION, Then.FRESH_CONNECTION
_DEFERRED = Outcome.DEFERRED
_CERTAIN = Doubtful(0)


@dataclass(slots=True, kw_only=True, eq=False)
class Parcel:
    """One planned transaction.

    `content` is the whole message where it was read ahead, else None and it is streamed. `utf8`: it cannot
    travel without SMTPUTF8 (RFC 6531), for one of its own addresses is not ASCII. `repeated`: the one
    immediate repetition that a claim may have is used up. `started` is when its transaction began, µs UTC.
    """

    claim: Claim
    recipients: Sequence[ClaimedRecipient]
    content: bytes | None
    repeated: bool = False
    started: int = 0
    utf8: bool = field(init=False)

    def __post_init__(self) -> None:
        self.utf8 = needs_smtputf8(self.claim.sender) or any(
            needs_smtputf8(recipient.address) for recipient in self.recipients
        )

    @property
    def held_bytes(self) -> int:
        """Bytes of content that it keeps in memory."""
        return len(self.content) if self.content is not None else 0

    def part(self, recipients: Sequence[ClaimedRecipient], *, repeated: bool) -> Parcel:
        """Make a parcel of some of the recipients."""
        return Parcel(claim=self.claim, recipients=recipients, content=self.content, repeated=repeated)

    def transaction(self) -> Transaction:
        """Make the transaction that carries it; its tag is the parcel."""
        claim = self.claim
        return Transaction(
            sender=claim.sender,
            recipients=[Recipient(r.address, r.notify, r.orcpt) for r in self.recipients],
            size=claim.size,
            body=claim.body,
            smtputf8=self.utf8,
            envid=claim.envid,
            ret=claim.ret,
            tag=self,
        )

    @property
    def eight_bit(self) -> bool:
        """Whether the content needs 8BITMIME."""
        return self.claim.body is BodyType.EIGHT_BIT


class Reckoning(msgspec.Struct):
    """Every recipient of a parcel, in exactly one of three places."""

    results: list[RecipientResult] = []
    next_transaction: list[ClaimedRecipient] = []
    fresh_connection: list[ClaimedRecipient] = []


class Circumstances(msgspec.Struct, frozen=True, kw_only=True):
    """What a result records beside the verdict: where, when, and the route's retry rules."""

    route: Route
    destination: str
    now: int
    may_repeat: bool = False


def reckon(
    transaction: Transaction,
    parcel: Parcel,
    around: Circumstances,
    *,
    fault: str = "",
    stage: Stage = Stage.CONNECT,
) -> Reckoning:
    """Judge each recipient of a transaction that is finished or, with `fault`, was lost."""
    reckoning = Reckoning()
    for verdict, recipients in verdicts(transaction, parcel.recipients, fault, stage):
        then = verdict.then
        if then is _NEXT_TRANSACTION:
            reckoning.next_transaction += recipients
        elif then is _FRESH_CONNECTION and around.may_repeat and not parcel.repeated:
            reckoning.fresh_connection += recipients
        else:
            reckoning.results += results_of(recipients, parcel, verdict, around)
    counted = len(reckoning.results) + len(reckoning.next_transaction) + len(reckoning.fresh_connection)
    assert counted == len(parcel.recipients), "one result per recipient per attempt"
    return reckoning


def results_of(
    recipients: Sequence[ClaimedRecipient], parcel: Parcel, verdict: Verdict, around: Circumstances
) -> list[RecipientResult]:
    """Give recipients of a parcel the same verdict; a deferred one learns when it is due again."""
    claim = parcel.claim
    message_id, route = claim.message_id, claim.route
    destination, now = around.destination, around.now
    started = parcel.started or now
    took = max(0, now - started)
    outcome, stage, code, enhanced = verdict.outcome, verdict.stage, verdict.code, verdict.enhanced
    text, uncertain = verdict.text, verdict.uncertain
    doubtful = around.route.doubtful(now) if uncertain else _CERTAIN
    return [
        RecipientResult(
            message_id=message_id,
            n=recipient.n,
            address=recipient.address,
            route=route,
            attempt=recipient.attempts + 1,
            at=now,
            outcome=outcome,
            stage=stage,
            code=code,
            enhanced=enhanced,
            text=text,
            destination=destination,
            uncertain=uncertain,
            due=_due_again(recipient, claim, around, doubtful.due) if outcome is _DEFERRED else 0,
            waited=max(0, started - recipient.due),
            took=took,
            hold=doubtful.hold,
        )
        for recipient in recipients
    ]


def _due_again(recipient: ClaimedRecipient, claim: Claim, around: Circumstances, earliest: int) -> int:
    retry = around.route.retry
    pause = backoff.delay(
        message_id=claim.message_id,
        attempt=recipient.attempts + 1,
        first=retry.first.us,
        maximum=retry.maximum.us,
    )
    # never later than its expiry, so that it ends on time
    return max(around.now, min(max(around.now + pause, earliest), claim.expires))
