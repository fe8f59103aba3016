"""Servers that give too few or too many final replies, and what is never believed because of them."""

from __future__ import annotations

import pytest

from spooler.lmtp.client import MAX_CARRIED
from spooler.lmtp.errors import RemoteProtocolError
from spooler.lmtp.events import Finished, GoAhead, ServerClosing
from spooler.lmtp.mode import Mode
from spooler.lmtp.trust import Trust
from spooler.reply import Stage
from tests.lmtp.peer import LOCKSTEP_HELLO, Peer, envelope, told, trusted

PLAIN_HELLO = ("250-host", "250 PIPELINING")
CODES = {"mail": "250 2.1.0", "rcpt": "250 2.1.5", "final": "250 2.0.0", "rset": "250 2.0.0", "go": "354 go"}
PLAIN = {"mail": "250 ok", "rcpt": "250 ok", "final": "250 ok", "rset": "250 ok", "go": "354 go"}


def plain_trust() -> Trust:
    """A destination past its probation that has no enhanced codes."""
    return trusted(marker=None)


def overlapped(*sizes: int, plain: bool = False) -> Peer:
    """A trusted session: the first transaction's body and the second's envelope are on their way."""
    transactions = [envelope(*(f"r{i}@x" for i in range(size))) for size in sizes]
    peer = Peer(
        *transactions,
        trust=plain_trust() if plain else trusted(),
        **({"hello": PLAIN_HELLO} if plain else {}),
    ).greet()
    says = PLAIN if plain else CODES
    peer.hear()
    peer.say(says["mail"], *[says["rcpt"]] * sizes[0], says["go"])
    assert peer.hear().endswith(b"DATA\r\n")
    return peer


def test_fewer_final_replies_with_enhanced_codes() -> None:
    """One reply for three recipients: the code of the next MAIL stands in a final slot and gives it away."""
    peer = overlapped(3, 1)
    with pytest.raises(RemoteProtocolError, match="out of step"):
        peer.say(CODES["final"], CODES["mail"], CODES["rcpt"], CODES["go"])
    assert peer.told() == [
        "250 / 250 250 250 / 354 / 250 - -: uncertain final?",
        "- / - / - / -: safe envelope?",
    ]
    assert peer.trust.single_recipient
    assert (peer.trust.mode, peer.trust.doubts, peer.trust.marker) == (Mode.LOCKSTEP, 1, None)
    assert "out of step" in peer.trust.last_doubt


def test_fewer_final_replies_without_enhanced_codes() -> None:
    """The next envelope's 250s are read as final, but its 354 comes too early, so none was believed."""
    peer = overlapped(3, 1, plain=True)
    with pytest.raises(RemoteProtocolError, match="reply to mail"):
        peer.say("250 for all", "250 mail", "250 rcpt", "354 go")
    assert peer.finished == []
    assert peer.told() == [
        "250 / 250 250 250 / 354 / 250 250 250: uncertain final?",
        "- / - / - / -: safe envelope?",
    ]
    assert peer.trust.single_recipient
    assert peer.trust.mode is Mode.LOCKSTEP


def test_fewer_final_replies_and_then_nothing() -> None:
    """Without codes and with the next recipient refused no 354 gives it away: the silence does."""
    peer = overlapped(3, 1, plain=True)
    peer.say("250 for all", "250 mail", "550 rcpt", "503 nobody")
    assert peer.due() is Stage.RCPT
    assert peer.finished == []
    assert peer.client.deadline_passed() == []
    assert peer.told() == [
        "250 / 250 250 250 / 354 / 250 250 550: uncertain final?",
        "503 / - / - / -: safe envelope?",
    ]
    assert not peer.trust.may_overlap(3)


def test_one_refusal_for_all() -> None:
    """Cyrus refuses a message over its limit once for all: overlapped it is found by the next MAIL."""
    peer = overlapped(3, 1)
    with pytest.raises(RemoteProtocolError):
        peer.say("552 5.2.3 too big", CODES["mail"])
    assert peer.told()[0] == "250 / 250 250 250 / 354 / 552 - -: uncertain final?"
    assert peer.trust.single_recipient


@pytest.mark.parametrize("ends", ["deadline", "eof"])
def test_one_refusal_for_all_in_probation(ends: str) -> None:
    """Not overlapped, the one reply is the first recipient's; a server that waits on is remembered."""
    peer = Peer(envelope("b@x", "c@x", "d@x")).greet()
    peer.hear()
    peer.say(CODES["mail"], *[CODES["rcpt"]] * 3, CODES["go"])
    peer.hear()
    peer.say("552 5.2.3 too big")
    assert peer.due() is Stage.FINAL
    assert (peer.client.deadline_passed() if ends == "deadline" else peer.client.eof()) == []
    assert peer.told() == ["250 / 250 250 250 / 354 / 552 - -: uncertain"]
    assert peer.trust.single_recipient is (ends == "deadline")
    assert peer.trust.doubts == 0


@pytest.mark.parametrize("plain", [False, True])
def test_more_final_replies_than_due(plain: bool) -> None:
    """One too many: with codes it has no business in MAIL's slot, without it the 354 is late."""
    says = PLAIN if plain else CODES
    peer = overlapped(1, 2, plain=plain)
    with pytest.raises(RemoteProtocolError):
        peer.say(says["final"], says["final"], says["mail"], says["rcpt"], says["rcpt"], says["go"])
    assert peer.finished == []
    assert peer.told()[0] == "250 / 250 / 354 / 250: uncertain final?"
    assert peer.told()[1].endswith(": safe envelope?")
    assert peer.trust.mode is Mode.LOCKSTEP
    assert not peer.trust.single_recipient


def test_more_final_replies_than_due_at_the_end_of_a_burst() -> None:
    """Nothing follows, so one too many is where nothing is due; which are whose, nobody knows."""
    peer = Peer(envelope("b@x", "c@x")).greet()
    peer.hear()
    peer.say(CODES["mail"], CODES["rcpt"], CODES["rcpt"], CODES["go"])
    peer.hear()
    with pytest.raises(RemoteProtocolError, match="nothing was due"):
        peer.say("550 5.1.1", CODES["final"], CODES["final"])
    assert peer.told() == ["250 / 250 250 / 354 / 550 250: uncertain final?"]
    assert peer.trust.doubts == 1


def test_half_a_reply_too_many() -> None:
    """As long as it has not ended nothing is proven; it has a deadline, and then nothing is believed."""
    peer = Peer(envelope("b@x")).greet()
    peer.hear()
    peer.say(CODES["mail"], CODES["rcpt"], CODES["go"])
    peer.hear()
    assert peer.client.receive(b"250 2.0.0 ok\r\n25") == []
    assert not peer.client.awaiting_silence
    assert peer.client.silence_confirmed() == []
    assert peer.due() is Stage.FINAL
    assert peer.client.deadline_passed() == []
    assert peer.told() == ["250 / 250 / 354 / 250: uncertain final?"]


def test_late_reply_too_many() -> None:
    """It comes when the transaction was reported: the session is not used again, and not trusted."""
    peer = Peer(envelope("b@x")).greet()
    peer.hear()
    peer.say(CODES["mail"], CODES["rcpt"], CODES["go"])
    peer.hear()
    peer.say(CODES["final"])
    peer.silence()
    with pytest.raises(RemoteProtocolError):
        peer.say(CODES["final"])
    assert peer.told() == ["250 / 250 / 354 / 250: proven"]
    assert peer.trust.mode is Mode.LOCKSTEP


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("refusal", ["mail", "rcpt", "data"])
def test_proof_is_carried_forward_over_a_refused_transaction(refusal: str, plain: bool) -> None:
    """A transaction that is refused gives no 354, and refused at MAIL no marker: the next one proves both."""
    says = PLAIN if plain else CODES
    peer = overlapped(1, 1, 1, plain=plain)
    answers = {
        "mail": ["451 4.3.0 later", "503 5.5.1 no MAIL", "503 5.5.1 no MAIL"],
        "rcpt": [says["mail"], "550 5.1.1 no", "503 5.5.1 nobody"],
        "data": [says["mail"], says["rcpt"], "452 4.3.1 disk full"],
    }[refusal]
    peer.say(says["final"], *answers)
    assert len(peer.finished) == (0 if plain or refusal == "mail" else 1)
    if not peer.finished:
        assert peer.hear() == b""
        assert peer.silence() == []
    assert peer.hear().startswith(b"RSET\r\nMAIL FROM:")
    events = peer.say(says["rset"], says["mail"], says["rcpt"], says["go"])
    assert [type(event) for event in events[-2:]] == [Finished, GoAhead]
    middle = {"mail": "451 / 503 / 503 / -", "rcpt": "250 / 550 / 503 / -", "data": "250 / 250 / 452 / -"}
    assert [told(one) for one in peer.finished] == [
        "250 / 250 / 354 / 250: proven",
        f"{middle[refusal]}: proven",
    ]


@pytest.mark.parametrize("ends", ["", "eof", "421"])
def test_surplus_that_looks_like_a_refusal(ends: str) -> None:
    """Nothing follows a refusal behind unproven replies before a read found nothing: there may be a 354."""
    peer = overlapped(1, 1, 1, plain=True)
    peer.say("250 final", "250 more", "552 more", "552 more")
    assert peer.hear() == b""
    if ends == "eof":
        peer.react(peer.client.eof())
    elif ends == "421":
        peer.say("421 closing")
    else:
        with pytest.raises(RemoteProtocolError, match="nothing was due"):
            peer.say("250 mail", "250 rcpt", "354 go")
    assert peer.client.data_to_send() == b""
    assert len(peer.finished) == (2 if ends else 0)


@pytest.mark.parametrize("lost", [False, True])
def test_carried_proof_at_the_end_of_a_burst(lost: bool) -> None:
    """Refused last, all of it is proven by the reply to RSET and silence, or not at all."""
    peer = overlapped(1, 1, plain=True)
    peer.say("250 final", "451 later", "503 no MAIL", "503 no MAIL")
    peer.silence()
    peer.hear()
    assert peer.due() is Stage.RSET
    if lost:
        assert peer.client.eof() == []
        assert peer.told() == [
            "250 / 250 / 354 / 250: uncertain final?",
            "451 / 503 / 503 / -: safe envelope?",
        ]
    else:
        peer.say("250 reset")
        peer.silence()
        assert peer.idle()
        assert peer.told() == ["250 / 250 / 354 / 250: proven", "451 / 503 / 503 / -: proven"]


def test_carried_proof_is_bounded() -> None:
    """After eight transactions without proof the client waits for silence before it goes on."""
    peer = overlapped(*[1] * 20)
    peer.say(CODES["final"])
    rounds = 0
    while not peer.client.awaiting_silence:
        rounds += 1
        peer.say("451 4.3.0 later", "503 5.5.1 no MAIL", "503 5.5.1 no MAIL")
        assert peer.silence() == []
        peer.hear()
        peer.say(CODES["rset"])
    assert rounds == MAX_CARRIED - 1
    assert peer.finished == []
    assert not peer.client.can_begin
    peer.silence()
    assert len(peer.finished) == MAX_CARRIED
    assert peer.client.can_begin


def test_connection_lost_at_each_reply_of_an_overlapped_pair() -> None:
    """Final replies with commands behind them count from the marker on, and no sooner."""
    answers = [CODES["final"], "550 5.1.1 no", CODES["mail"], CODES["rcpt"], "550 5.1.1 no", CODES["go"]]
    first = "250 / 250 250 / 354 /"
    expected = [
        [f"{first} - -: uncertain final?", "- / - - / - / - -: safe envelope?"],
        [f"{first} 250 -: uncertain final?", "- / - - / - / - -: safe envelope?"],
        [f"{first} 250 550: uncertain final?", "- / - - / - / - -: safe envelope?"],
        [f"{first} 250 550: proven", "250 / - - / - / - -: safe"],
        [f"{first} 250 550: proven", "250 / 250 - / - / - -: safe"],
        [f"{first} 250 550: proven", "250 / 250 550 / - / - -: safe"],
        [f"{first} 250 550: proven", "250 / 250 550 / 354 / - -: safe"],
    ]
    for i in range(len(expected)):
        peer = overlapped(2, 2)
        peer.say(*answers[:i])
        peer.client.eof()
        assert peer.told() == expected[i]
        assert peer.trust.doubts == 0
        assert peer.trust.mode is Mode.CHUNKED


@pytest.mark.parametrize(("behind", "worth"), [(0, "uncertain"), (1, "uncertain final?")])
def test_connection_lost_while_the_next_envelope_was_leaving(behind: int, worth: str) -> None:
    """Final replies are provisional from the first octet handed over behind the end-of-data."""
    peer = Peer(envelope("b@x", "c@x"), envelope("d@x"), trust=trusted()).greet()
    peer.hear()
    peer.say(CODES["mail"], CODES["rcpt"], CODES["rcpt"], CODES["go"])
    peer.go_on()
    peer.client.sent(peer.client.data_to_send().index(b"MAIL") + behind)
    peer.say(CODES["final"])
    peer.client.eof()
    assert peer.told()[0] == f"250 / 250 250 / 354 / 250 -: {worth}"


def test_what_was_proven_before_a_fault_in_the_same_block_is_not_lost() -> None:
    """An error reports nothing, so what the block proved is among the unfinished, proven."""
    peer = overlapped(1, 2)
    with pytest.raises(RemoteProtocolError):
        peer.say(CODES["final"], CODES["mail"], CODES["rcpt"], "nonsense")
    assert peer.finished == []
    assert peer.told() == ["250 / 250 / 354 / 250: proven", "250 / 250 - / - / - -: safe envelope?"]


@pytest.mark.parametrize("ends", ["421", "eof", "deadline"])
@pytest.mark.parametrize(
    ("plain", "answers", "worth"),
    [
        (False, ["250 2.0.0", "250 2.0.0"], "250 250: uncertain"),
        (False, ["250 2.0.0", "550 5.2.2"], "250 550: uncertain final?"),
        (False, ["250 2.0.0"], "250 -: uncertain final?"),
        (True, ["250 ok", "250 ok"], "250 250: uncertain final?"),
    ],
)
def test_session_that_ends_in_the_next_mail_slot(
    ends: str, *, plain: bool, answers: list[str], worth: str
) -> None:
    """With a marker, as many positive replies as are due, none with it, are no other command's: they hold.

    A refusal among them could be the reply to MAIL, a missing one shifts them, and without a marker
    they could be anybody's.
    """
    peer = overlapped(2, 1, plain=plain)
    peer.say(*answers)
    if ends == "421" and len(answers) == 2:
        [closing] = peer.say("421 4.3.2 enough for one session")
        assert isinstance(closing, ServerClosing)
    elif ends == "deadline":
        assert peer.client.deadline_passed() == []
    else:
        assert peer.client.eof() == []
    assert peer.told()[0] == f"250 / 250 250 / 354 / {worth}"


def test_fault_of_the_server_proves_nothing() -> None:
    """Where replies did not fit, not even positive ones without the marker hold."""
    peer = overlapped(1, 1)
    with pytest.raises(RemoteProtocolError):
        peer.say(CODES["final"], "354 what?")
    assert peer.told()[0] == "250 / 250 / 354 / 250: uncertain final?"


def test_server_that_hangs_up_after_each_message_costs_ever_fewer_second_copies() -> None:
    """Each loss with unproven replies doubles the probation, so they do not go on for ever."""
    trust = Trust()
    doubtful = clean = 0
    for _ in range(200):
        peer = Peer(envelope("b@x"), envelope("c@x"), trust=trust, hello=PLAIN_HELLO).greet()
        peer.hear()
        peer.say(PLAIN["mail"], PLAIN["rcpt"], PLAIN["go"])
        peer.hear()
        peer.say(PLAIN["final"])
        peer.react(peer.client.eof())
        outcomes = peer.told()
        doubtful += outcomes[0].endswith("uncertain final?")
        clean += outcomes[0].endswith("proven")
    assert doubtful + clean == 200
    assert doubtful <= 7


def test_overlapped_transactions_do_not_count_for_probation() -> None:
    """After another session's setback, what is still under way shows nothing; what follows nothing does."""
    peer = overlapped(1, 1)
    peer.trust.setback()
    peer.say(CODES["final"], CODES["mail"], CODES["rcpt"], CODES["go"])
    peer.hear()
    peer.say(CODES["final"])
    peer.silence()
    assert len(peer.finished) == 2
    assert not peer.trust.may_overlap(1)


def test_lockstep_after_doubt_reads_what_is_there() -> None:
    """In the simplest mode, too many replies are found before the next command is sent."""
    trust = Trust(Mode.LOCKSTEP)
    peer = Peer(envelope("b@x"), envelope("c@x"), trust=trust, hello=LOCKSTEP_HELLO).greet()
    for answer in ("250 ok", "250 ok", "354 go"):
        peer.hear()
        peer.say(answer)
    peer.hear()
    peer.say("250 one")
    assert peer.hear() == b""
    with pytest.raises(RemoteProtocolError):
        peer.say("250 two")


def test_first_reply_to_rset_teaches() -> None:
    """RSET is seldom sent: a code that it shares with MAIL is no marker any more, and no fault."""
    peer = overlapped(1, 1, 1)
    peer.say(CODES["final"], CODES["mail"], "550 5.1.1", "554 5.5.1")
    peer.hear()
    peer.say("250 2.1.0 reset")
    assert peer.trust.marker is None
    peer.say(CODES["mail"], CODES["rcpt"])
    assert len(peer.finished) == 1
    peer.say(CODES["go"])
    assert len(peer.finished) == 2
    assert peer.trust.doubts == 0


def test_rset_known_to_have_another_code_is_held_to_it() -> None:
    """Once learnt, MAIL's code in RSET's slot means that the replies are out of step."""
    peer = overlapped(1, 1, 1, 1)
    peer.say(CODES["final"], CODES["mail"], "550 5.1.1", "554 5.5.1")
    peer.hear()
    peer.say(CODES["rset"], CODES["mail"], "550 5.1.1", "554 5.5.1")
    peer.hear()
    with pytest.raises(RemoteProtocolError, match="out of step"):
        peer.say(CODES["mail"])
