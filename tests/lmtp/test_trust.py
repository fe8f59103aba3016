"""What a destination is trusted with, and how it loses that."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from spooler.lmtp.mode import Mode
from spooler.lmtp.trust import Trust
from spooler.reply import Reply
from tests.lmtp.peer import envelope

if TYPE_CHECKING:
    from spooler.lmtp.transaction import Transaction


def clean(mail: str = "2.1.0", rcpt: str = "2.1.5", *finals: str, delivered: bool = True) -> Transaction:
    """A transaction for as many recipients as it got final replies, all accepted."""
    codes = finals or ("2.0.0",)
    transaction = envelope(*["b@x"] * len(codes))
    transaction.mail = Reply(250, mail, ())
    transaction.rcpt = [Reply(250, rcpt, ()) for _ in codes]
    transaction.final = [Reply(250 if delivered else 452, code, ()) for code in codes]
    transaction.accepted = list(range(len(codes)))
    return transaction


@pytest.mark.parametrize(
    ("seen", "marker"),
    [
        ([clean()], "2.1.0"),
        ([clean("2.1.0", "2.1.5", "2.2.0"), clean("2.1.0", "2.1.5", "2.6.0")], "2.1.0"),
        ([clean("", "", "")], None),
        ([clean("2.1.0", "2.1.0")], None),
        ([clean("2.0.0", "2.1.5", "2.0.0")], None),
        ([clean("2.1.0"), clean("2.5.0", "2.1.5", "2.6.0")], None),
        ([clean("2.1.0"), clean("2.1.0", "2.1.5", "2.1.0")], None),
        ([clean("2.0.0", "2.1.5", "5.2.2", delivered=False)], None),
    ],
)
def test_marker(seen: list[Transaction], marker: str | None) -> None:
    """It is the one code that MAIL, and nothing else, was answered with, once a success was seen."""
    trust = Trust()
    for transaction in seen:
        trust.learn(transaction)
    assert trust.marker == marker


def test_marker_that_rset_shares_is_none() -> None:
    """RSET's code counts when it becomes known."""
    trust = Trust()
    trust.learn(clean())
    trust.learn_rset(Reply(250, "2.0.0", ()))
    assert trust.marker == "2.1.0"
    trust.learn_rset(Reply(250, "2.1.0", ()))
    assert trust.marker is None


def test_marker_that_failed_is_never_used_again() -> None:
    """However many clean transactions follow."""
    trust = Trust()
    trust.learn(clean())
    trust.forget_marker()
    assert trust.marker is None
    trust.learn(clean())
    assert trust.marker is None


def test_a_limit_is_never_passed() -> None:
    """It goes no further than the most careful limit; a doubt may take it below."""
    trust = Trust()
    trust.limit(Mode.PIPELINED)
    trust.limit(Mode.CHUNKED)
    assert trust.mode is Mode.of("pipelined")
    trust.learn(clean())
    assert trust.may_overlap(1)
    assert not trust.may_chunk
    trust.doubt("why", Mode.PIPELINED)
    assert trust.mode is Mode.LOCKSTEP


def test_probation() -> None:
    """One clean recipient allows one, two of a transaction allow any number; a refusal shows nothing."""
    trust = Trust()
    trust.learn(clean("2.1.0", "2.1.5", "4.2.2", delivered=False))
    assert not trust.may_overlap(0)
    assert not trust.may_overlap(1)
    trust.learn(clean())
    assert trust.may_overlap(0)
    assert trust.may_overlap(1)
    assert not trust.may_overlap(2)
    trust.learn(clean("2.1.0", "2.1.5", "2.0.0", "2.0.0"))
    assert trust.may_overlap(2)
    assert trust.may_overlap(100)


def test_doubt_falls_back_to_the_next_simpler_mode() -> None:
    """From chunked to pipelined, which starts with probation, to lock-step, which never overlaps."""
    trust = Trust()
    two = clean("2.1.0", "2.1.5", "2.0.0", "2.0.0")
    trust.learn(two)
    assert trust.may_overlap(2)
    trust.doubt("first", Mode.CHUNKED)
    assert (trust.mode, trust.may_overlap(1), trust.last_doubt) == (Mode.PIPELINED, False, "first")
    trust.learn(two)
    assert trust.may_overlap(2)
    trust.doubt("second", Mode.PIPELINED)
    trust.learn(two)
    assert (trust.mode, trust.may_overlap(1), trust.doubts) == (Mode.LOCKSTEP, False, 2)
    trust.doubt("third", Mode.LOCKSTEP)
    assert (trust.mode, trust.doubts, trust.last_doubt) == (Mode.LOCKSTEP, 3, "third")


def test_setback_doubles_probation() -> None:
    """Each one asks for twice as many clean transactions, within a limit; many at once are one."""
    trust = Trust()
    trust.learn(clean())
    for needed in (2, 4, 8):
        trust.setback()
        trust.setback()
        for _ in range(needed):
            assert not trust.may_overlap(1)
            trust.learn(clean())
        assert trust.may_overlap(1)
        assert not trust.may_overlap(2)
    for _ in range(20):
        trust.setback()
        for _ in range(1024):
            trust.learn(clean())
        assert trust.may_overlap(1)
