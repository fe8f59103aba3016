"""The whole table of what a dialogue means for a recipient."""

from __future__ import annotations

import itertools

import pytest

from spooler.policy.classify import Seen, Then, Verdict, expired, judge, unfit, unreachable
from spooler.reply import Reply, Stage
from spooler.result import Outcome

DELIVERED, DEFERRED, FAILED = Outcome.DELIVERED, Outcome.DEFERRED, Outcome.FAILED
OK = Reply(250, "2.1.0", ("ok",))
GO = Reply(354, "", ("go ahead",))


def reply(code: int, enhanced: str = "") -> Reply:
    return Reply(code, enhanced, ("words",))


@pytest.mark.parametrize(
    ("code", "outcome", "uncertain"),
    [
        (250, DELIVERED, False),
        (251, DELIVERED, False),
        (354, DEFERRED, True),
        (421, DEFERRED, True),
        (450, DEFERRED, False),
        (452, DEFERRED, False),
        (503, DEFERRED, True),
        (530, DEFERRED, True),
        (550, FAILED, False),
        (552, FAILED, False),
        (554, FAILED, False),
    ],
)
def test_final_reply_in_a_proven_slot_decides(code: int, outcome: Outcome, *, uncertain: bool) -> None:
    """2yz delivers, 4yz defers, 5yz fails; what cannot be in place there leaves it uncertain."""
    seen = Seen(mail=OK, rcpt=OK, data=GO, final=reply(code), handed_over=True)
    verdict = judge(seen)
    assert (verdict.outcome, verdict.uncertain, verdict.stage) == (outcome, uncertain, Stage.FINAL)
    assert (verdict.code, verdict.text, verdict.then) == (code, "words", Then.SETTLE)


@pytest.mark.parametrize("stage", [Stage.MAIL, Stage.RCPT, Stage.DATA])
@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        (421, DEFERRED),
        (450, DEFERRED),
        (451, DEFERRED),
        (503, DEFERRED),
        (530, DEFERRED),
        (501, FAILED),
        (550, FAILED),
        (552, FAILED),
        (553, FAILED),
        (555, FAILED),
    ],
)
def test_refusal_of_the_envelope_decides(stage: Stage, code: int, outcome: Outcome) -> None:
    """A refusal at MAIL, RCPT or DATA decides for the recipient, but 503 and 530 fail nobody."""
    refused = reply(code)
    seen = Seen(
        mail=refused if stage is Stage.MAIL else OK,
        rcpt=refused if stage in (Stage.MAIL, Stage.RCPT) else OK,
        data=refused,
    )
    verdict = judge(seen)
    assert (verdict.outcome, verdict.stage, verdict.code) == (outcome, stage, code)
    assert verdict.then is Then.SETTLE
    assert not verdict.uncertain


@pytest.mark.parametrize(
    ("code", "enhanced", "crowded", "then"),
    [
        (452, "4.5.3", True, Then.NEXT_TRANSACTION),
        (452, "", True, Then.NEXT_TRANSACTION),
        (455, "4.5.3", True, Then.NEXT_TRANSACTION),
        (452, "4.2.2", True, Then.SETTLE),
        (452, "4.5.3", False, Then.SETTLE),
        (452, "", False, Then.SETTLE),
        (451, "", True, Then.SETTLE),
        (552, "5.5.3", True, Then.NEXT_TRANSACTION),
        (552, "", True, Then.NEXT_TRANSACTION),
        (552, "5.2.2", True, Then.SETTLE),
        (552, "5.5.3", False, Then.SETTLE),
        (552, "", False, Then.SETTLE),
        (550, "", True, Then.SETTLE),
    ],
)
def test_too_many_recipients_is_no_attempt(code: int, enhanced: str, *, crowded: bool, then: Then) -> None:
    """After others were accepted, "too many recipients" sends the rest in the next transaction; a
    full mailbox (4.2.2) does not."""
    seen = Seen(mail=OK, rcpt=reply(code, enhanced), data=GO, crowded=crowded)
    assert judge(seen).then is then


@pytest.mark.parametrize("handed_over", [False, True])
@pytest.mark.parametrize(
    ("code", "enhanced", "place", "then"),
    [
        (421, "", 7, Then.FRESH_CONNECTION),
        (421, "4.3.2", 1, Then.FRESH_CONNECTION),
        (452, "4.4.5", 10, Then.FRESH_CONNECTION),
        (421, "4.3.2", 0, Then.SETTLE),
        (452, "4.4.5", 0, Then.SETTLE),
        (452, "4.3.1", 10, Then.SETTLE),
        (452, "", 10, Then.SETTLE),
        (554, "5.4.5", 10, Then.SETTLE),
    ],
)
def test_a_session_that_had_its_share_is_no_attempt(
    code: int, enhanced: str, place: int, then: Then, *, handed_over: bool
) -> None:
    """MAIL refused for the session's sake, behind others: the message goes out on a fresh one."""
    verdict = judge(Seen(mail=reply(code, enhanced), place=place, handed_over=handed_over))
    assert (verdict.then, verdict.uncertain, verdict.stage) == (then, False, Stage.MAIL)
    assert verdict.outcome is (FAILED if code == 554 else DEFERRED)


def test_lost_before_end_of_data_is_safe() -> None:
    """Nothing handed over: deferred, not uncertain, to be repeated at once on a fresh connection."""
    for rcpt, data in itertools.product([None, OK], [None, GO]):
        verdict = judge(Seen(mail=OK, rcpt=rcpt, data=data, fault="gone", fault_stage=Stage.DATA))
        expected = Verdict(DEFERRED, Stage.DATA, text="gone", then=Then.FRESH_CONNECTION)
        assert verdict == expected


def test_lost_after_end_of_data_is_uncertain() -> None:
    """Handed over and no final reply read: uncertain, and settled as such."""
    verdict = judge(Seen(mail=OK, rcpt=OK, data=GO, handed_over=True, fault="gone", fault_stage=Stage.FINAL))
    assert (verdict.outcome, verdict.uncertain, verdict.then) == (DEFERRED, True, Then.SETTLE)
    assert "gone" in verdict.text


@pytest.mark.parametrize("final", [None, reply(250), reply(450), reply(550)])
@pytest.mark.parametrize("rcpt", [OK, reply(550)])
def test_provisional_replies_never_decide(final: Reply | None, rcpt: Reply) -> None:
    """Replies of a transaction whose slots were never proven make everything uncertain."""
    seen = Seen(
        mail=OK,
        rcpt=rcpt,
        data=GO,
        final=final,
        handed_over=True,
        envelope_provisional=True,
        final_provisional=True,
    )
    verdict = judge(seen)
    assert (verdict.outcome, verdict.uncertain) == (DEFERRED, True)


@pytest.mark.parametrize("rcpt", [OK, reply(450), reply(550)])
def test_provisional_before_end_of_data_is_safe(rcpt: Reply) -> None:
    """Unproven replies fail nobody, but with nothing handed over a repetition is safe."""
    verdict = judge(Seen(mail=reply(550), rcpt=rcpt, envelope_provisional=True, fault="out of step"))
    assert (verdict.outcome, verdict.uncertain, verdict.then) == (DEFERRED, False, Then.FRESH_CONNECTION)


@pytest.mark.parametrize("final", [None, reply(250), reply(450), reply(550)])
def test_provisional_final_of_a_proven_envelope(final: Reply | None) -> None:
    """A proven envelope does not help a final reply that may be another's."""
    seen = Seen(mail=OK, rcpt=OK, data=GO, final=final, handed_over=True, final_provisional=True)
    assert judge(seen).uncertain


@pytest.mark.parametrize("mail", [None, OK])
def test_end_of_data_ahead_of_the_envelopes_replies_is_uncertain(mail: Reply | None) -> None:
    """By BDAT a message may be delivered before the reply to MAIL or RCPT is read."""
    verdict = judge(Seen(mail=mail, handed_over=True, fault="gone", fault_stage=Stage.RCPT))
    assert (verdict.outcome, verdict.uncertain, verdict.then) == (DEFERRED, True, Then.SETTLE)


@pytest.mark.parametrize("code", [451, 552])
def test_end_of_data_behind_a_refused_mail_delivers_nothing(code: int) -> None:
    """Nobody got a message whose MAIL was refused, so the refusal decides."""
    verdict = judge(Seen(mail=reply(code), handed_over=True, fault="gone", fault_stage=Stage.RCPT))
    assert (verdict.outcome, verdict.stage, verdict.uncertain) == (
        FAILED if code == 552 else DEFERRED,
        Stage.MAIL,
        False,
    )


def test_refused_recipient_stays_refused_when_the_session_is_lost_later() -> None:
    """A proven refusal at RCPT holds, although the others of the transaction became uncertain."""
    seen = Seen(mail=OK, rcpt=reply(550), data=GO, handed_over=True, crowded=True, fault="gone")
    verdict = judge(seen)
    assert (verdict.outcome, verdict.stage, verdict.uncertain) == (FAILED, Stage.RCPT, False)


@pytest.mark.parametrize(
    ("size", "eight_bit", "utf8", "limit", "enhanced"),
    [
        (10, False, False, None, None),
        (10, False, False, 0, None),
        (10, False, False, 10, None),
        (11, False, False, 10, "5.3.4"),
        (1, True, False, None, "5.6.3"),
        (1, False, True, None, "5.6.7"),
        (11, True, True, 10, "5.6.7"),
    ],
)
def test_what_the_server_cannot_take_is_refused_locally(
    size: int, eight_bit: bool, utf8: bool, limit: int | None, enhanced: str | None
) -> None:
    """SIZE, 8BITMIME and SMTPUTF8 are judged by what the server announced; nothing is rewritten."""
    verdict = unfit(
        size=size, eight_bit=eight_bit, utf8=utf8, size_limit=limit, takes_eight_bit=False, takes_utf8=False
    )
    assert (verdict and verdict.enhanced) == enhanced
    if verdict is not None:
        assert (verdict.outcome, verdict.stage) == (FAILED, Stage.LOCAL)


def test_capable_server_takes_everything() -> None:
    """With 8BITMIME and SMTPUTF8 announced nothing is refused."""
    assert (
        unfit(size=1, eight_bit=True, utf8=True, size_limit=0, takes_eight_bit=True, takes_utf8=True) is None
    )


def test_no_session_defers_and_no_time_expires() -> None:
    """No connection never fails a recipient; a passed expiry ends it."""
    assert unreachable("refused").outcome is DEFERRED
    assert expired("late").outcome is Outcome.EXPIRED
