"""From a transaction to a verdict for each of its recipients."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from spooler.policy.classify import Seen, Verdict, judge, of_final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spooler.lmtp.transaction import Transaction
    from spooler.reply import Reply, Stage

T = TypeVar("T")


def verdicts(
    transaction: Transaction, recipients: Sequence[T], fault: str, stage: Stage
) -> list[tuple[Verdict, list[T]]]:
    """Judge the recipients that a transaction was made for, in its order, each of whatever kind.

    `fault` says why it was lost and `stage` where, "" if it is finished. Neighbours with the same proven
    final reply are judged together: it alone decides then.
    """
    judged: list[tuple[Verdict, list[T]]] = []
    crowded = len(transaction.accepted) > 0
    proven = not transaction.final_provisional
    same: Reply | None = None
    for recipient, rcpt, final in zip(recipients, transaction.rcpt, transaction.final, strict=True):
        if final is not None and final is same:
            judged[-1][1].append(recipient)
            continue
        if final is not None and proven:
            same = final
            judged.append((of_final(final), [recipient]))
            continue
        same = None
        seen = Seen(
            mail=transaction.mail,
            rcpt=rcpt,
            data=transaction.data,
            final=final,
            handed_over=transaction.uncertain,
            envelope_provisional=transaction.envelope_provisional,
            final_provisional=transaction.final_provisional,
            crowded=crowded,
            place=transaction.place,
            fault=fault,
            fault_stage=stage,
        )
        judged.append((judge(seen), [recipient]))
    return judged
