"""A parcel: recipients of one message for one transaction, and what became of each of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from spooler.address import needs_smtputf8
from spooler.envelope import BodyType
from spooler.lmtp.transaction import Recipient, Transaction
from spooler.policy import backoff
from spooler.policy.classify import Seen, Then, Verdict, judge
from spooler.reply import Stage
from spooler.result import Outcome, RecipientResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spooler.claim import Claim, ClaimedRecipient
    from spooler.config import Route


@dataclass(slots=True, kw_only=True, eq=False)
class Parcel:
    """One planned transaction.

    `content` is the whole message where it was read ahead, else None and it is streamed.
    `repeated`: the one immediate repetition that a claim may have is used up. `started` is when its
    transaction began, µs UTC.
    """

    claim: Claim
    recipients: Sequence[ClaimedRecipient]
    content: bytes | None
    repeated: bool = False
    started: int = 0

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
    def utf8(self) -> bool:
        """Whether it cannot travel without SMTPUTF8 (RFC 6531): one of its own addresses is not ASCII."""
        return needs_smtputf8(self.claim.sender) or any(needs_smtputf8(r.address) for r in self.recipients)

    @property
    def eight_bit(self) -> bool:
        """Whether the content needs 8BITMIME."""
        return self.claim.body is BodyType.EIGHT_BIT


@dataclass(slots=True, kw_only=True)
class Reckoning:
    """Every recipient of a parcel, in exactly one of three places."""

    results: list[RecipientResult] = field(default_factory=list)
    next_transaction: list[ClaimedRecipient] = field(default_factory=list)
    fresh_connection: list[ClaimedRecipient] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
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
    crowded = len(transaction.accepted) > 0
    for i, recipient in enumerate(parcel.recipients):
        verdict = judge(
            Seen(
                mail=transaction.mail,
                rcpt=transaction.rcpt[i],
                data=transaction.data,
                final=transaction.final[i],
                handed_over=transaction.uncertain,
                envelope_provisional=transaction.envelope_provisional,
                final_provisional=transaction.final_provisional,
                crowded=crowded,
                fault=fault,
                fault_stage=stage,
            )
        )
        if verdict.then is Then.NEXT_TRANSACTION:
            reckoning.next_transaction.append(recipient)
        elif verdict.then is Then.FRESH_CONNECTION and around.may_repeat and not parcel.repeated:
            reckoning.fresh_connection.append(recipient)
        else:
            reckoning.results.append(result_of(recipient, parcel, verdict, around))
    counted = len(reckoning.results) + len(reckoning.next_transaction) + len(reckoning.fresh_connection)
    assert counted == len(parcel.recipients), "one result per recipient per attempt"
    return reckoning


def settle_all(parcel: Parcel, verdict: Verdict, around: Circumstances) -> list[RecipientResult]:
    """Give every recipient of a parcel the same result."""
    return [result_of(recipient, parcel, verdict, around) for recipient in parcel.recipients]


def result_of(
    recipient: ClaimedRecipient, parcel: Parcel, verdict: Verdict, around: Circumstances
) -> RecipientResult:
    """Make the result of one recipient; a deferred one learns when it is due again."""
    claim = parcel.claim
    now = around.now
    started = parcel.started or now
    attempt = recipient.attempts + 1
    due = 0
    if verdict.outcome is Outcome.DEFERRED:
        retry = around.route.retry
        pause = backoff.delay(
            message_id=claim.message_id, attempt=attempt, first=retry.first.us, maximum=retry.maximum.us
        )
        # never later than its expiry, so that it ends on time
        due = max(now, min(now + pause, claim.expires))
    return RecipientResult(
        message_id=claim.message_id,
        n=recipient.n,
        address=recipient.address,
        route=claim.route,
        attempt=attempt,
        at=now,
        outcome=verdict.outcome,
        stage=verdict.stage,
        code=verdict.code,
        enhanced=verdict.enhanced,
        text=verdict.text,
        destination=around.destination,
        uncertain=verdict.uncertain,
        due=due,
        waited=max(0, started - recipient.due),
        took=max(0, now - started),
    )
