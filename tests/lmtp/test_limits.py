"""Limits that no server announces: learnt from how sessions end, doubted, forgotten when they were none."""

from __future__ import annotations

import pytest

from spooler.lmtp.limits import NONE, Limits
from spooler.lmtp.trust import Trust
from tests.lmtp.peer import CHUNKING_HELLO, HELLO, LOCKSTEP_HELLO, Peer, chunked, envelope, trusted

ENVELOPE = ("250 2.1.0", "250 2.1.5", "354 go")
FINAL = "250 2.0.0"


def session(trust: Trust, *, limit: int, wants: int, says: str, closes: bool = True) -> Peer:
    """Play a server that takes `limit` transactions and then says so, with `wants` to be had."""
    peer = Peer(*(envelope("b@x") for _ in range(wants)), trust=trust).greet()
    taken = 0
    asked = peer.hear().count(b"MAIL")
    while taken < asked:
        if taken == limit:
            if says:
                peer.say(says, *[] if closes else ["503 5.5.1", "503 5.5.1"])
            else:
                peer.react(peer.client.eof())
            return peer
        peer.say(*ENVELOPE)
        asked += peer.hear().count(b"MAIL")
        peer.say(FINAL)
        taken += 1
        if peer.client.awaiting_silence:
            peer.silence()
        asked += peer.hear().count(b"MAIL")
    return peer


@pytest.mark.parametrize("says", ["421 4.3.2 enough", "421", ""])
def test_learnt_when_two_sessions_end_alike(says: str) -> None:
    """The third one begins no more than the server takes, and is to be quit."""
    trust = Trust()
    for _ in range(2):
        assert trust.limits.transactions == NONE
        peer = session(trust, limit=5, wants=9, says=says)
        assert peer.client.closed
    assert trust.limits.transactions == 5
    peer = session(trust, limit=5, wants=9, says=says)
    assert len(peer.finished) == 5
    assert (peer.client.idle, peer.client.worn, peer.client.can_begin) == (True, True, False)
    peer.client.quit()
    assert repr(trust.limits) == "<Limits 5 a session, any number a transaction>"


def test_a_refusal_that_leaves_the_session_open_ends_it_all_the_same() -> None:
    """452 4.4.5 at MAIL: the message is another session's, and nothing more begins on this one."""
    trust = trusted()
    peer = session(trust, limit=3, wants=9, says="452 4.4.5 enough", closes=False)
    assert peer.client.worn
    assert not peer.client.can_begin
    peer.silence()
    assert peer.hear() == b"RSET\r\n"
    peer.say("250 2.0.0")
    peer.silence()
    assert peer.client.idle
    session(trust, limit=3, wants=9, says="452 4.4.5 enough", closes=False)
    assert trust.limits.transactions == 3


def test_one_refusal_after_another_ends_a_session() -> None:
    """A server that says no more than 452 is left after the third in a row."""
    peer = Peer(*(envelope("b@x") for _ in range(9)), hello=LOCKSTEP_HELLO).greet()
    for answer in ("250", "452", "452", "250", "452", "452", "452"):
        assert b"MAIL" in peer.hear()
        assert not peer.client.worn
        peer.say(answer)
        if answer == "250":
            peer.hear()
            peer.say("550")
        peer.hear()
        peer.say("250")
        peer.silence()
    assert peer.client.worn
    assert peer.hear() == b""


@pytest.mark.parametrize("refusal", ["451 4.3.0 busy", "452 4.3.1 full", "550 5.7.1 no"])
def test_a_refusal_of_the_message_is_no_limit(refusal: str) -> None:
    """What MAIL is refused for elsewhere says nothing about the session."""
    trust = trusted()
    for _ in range(5):
        peer = session(trust, limit=3, wants=4, says=refusal, closes=False)
        assert not peer.client.worn
    assert trust.limits.transactions == NONE


def test_a_session_ends_once() -> None:
    """A server that refuses and then closes has said one thing, not two: that alone is no limit."""
    trust = trusted()
    peer = session(trust, limit=3, wants=9, says="452 4.4.5 enough", closes=False)
    peer.silence()
    peer.hear()
    peer.say("250 2.0.0", "421 4.3.2 enough")
    assert peer.client.closed
    assert trust.limits.transactions == NONE


def test_sessions_that_end_differently_teach_nothing() -> None:
    """A shutdown meets sessions where they happen to be; at once is not ready; in a transaction is a loss."""
    trust = Trust()
    for limit in (9, 5, 7, 2, 3, 0, 0, 0):
        session(trust, limit=limit, wants=limit + 1, says="421 4.3.2 going down")
    for _ in range(3):
        peer = Peer(envelope("b@x"), trust=trust).greet()
        peer.hear()
        peer.say("250 2.1.0", "421 4.3.2 going down")
    assert trust.limits.transactions == NONE


def test_a_lower_limit_is_learnt_too() -> None:
    """What was learnt is no floor."""
    limits = Limits()
    for served in (9, 9, 9, 4, 4):
        limits.ended("said so", served)
    assert limits.transactions == 4


def test_a_limit_that_is_none_is_forgotten_within_some_sessions() -> None:
    """Every few sessions one tries a single transaction more, by itself; is it taken, the limit was none."""
    trust = chunked()
    for _ in range(2):
        trust.limits.ended("said so", 2)
    for _ in range(4):
        peer = session(trust, limit=9, wants=9, says="")
        assert len(peer.finished) == 2
        peer.client.quit()
    peer = Peer(*(envelope("b@x") for _ in range(9)), trust=trust, hello=CHUNKING_HELLO).greet()
    assert peer.hear().count(b"MAIL") == 2
    one = ["250 2.0.0 reset", "250 2.1.0", "250 2.1.5", FINAL]
    peer.say(*one[1:], *one, one[0])
    peer.silence()
    assert peer.hear().count(b"MAIL") == 1  # nothing is in flight with the one that may be too many
    other = Peer(*(envelope("b@x") for _ in range(9)), trust=trust, hello=CHUNKING_HELLO).greet()
    other.hear()
    other.say(*one[1:], *one, one[0])
    other.silence()
    assert other.hear() == b""  # one session tries at a time
    assert not peer.client.can_begin
    peer.say(one[1])
    assert trust.limits.transactions == NONE
    assert peer.hear().count(b"MAIL") == 6


def test_a_limit_that_holds_is_doubted_ever_less() -> None:
    """Each trial costs a transaction that is repeated, so the next comes after twice as many sessions."""
    trust = trusted()
    trials, sessions = 0, 400
    for _ in range(sessions):
        peer = session(trust, limit=2, wants=9, says="421 4.3.2 enough")
        trials += peer.client.closed
        if peer.client.closed:
            assert not any(one.final_provisional for one in peer.client.unfinished() if one.uncertain)
        else:
            peer.client.quit()
    assert 2 < trials <= 2 + 7 + 2


def test_a_trial_that_tells_nothing_is_made_again() -> None:
    """A session lost for another reason neither confirms a limit nor refutes it."""
    trust = trusted()
    for _ in range(2):
        trust.limits.ended("said so", 1)
    for _ in range(4):
        session(trust, limit=9, wants=1, says="").client.quit()
    for _ in range(2):
        peer = Peer(envelope("b@x"), envelope("c@x"), trust=trust, hello=HELLO).greet()
        peer.hear()
        peer.say(*ENVELOPE)
        peer.hear()
        peer.say(FINAL)
        peer.silence()
        assert b"MAIL" in peer.hear()
        peer.client.unfinished()
    assert trust.limits.transactions == 1


def test_recipients_of_a_transaction() -> None:
    """The number accepted is the limit; it is doubted after some full transactions, then less often."""
    limits = Limits()
    assert limits.most_recipients() is None
    limits.accepted(3, more_refused=False)
    assert limits.most_recipients() is None
    limits.accepted(100, more_refused=True)
    assert limits.most_recipients() == 100
    limits.accepted(10, more_refused=True)
    assert limits.most_recipients() == 10
    for full in (4, 8, 16):
        for _ in range(full):
            assert limits.most_recipients() == 10
            limits.accepted(2, more_refused=False)
            limits.accepted(10, more_refused=False)
        assert limits.most_recipients() is None
        limits.accepted(10, more_refused=True)
    for _ in range(32):
        limits.accepted(10, more_refused=False)
    limits.accepted(11, more_refused=False)
    assert limits.most_recipients() is None
    assert repr(limits) == "<Limits any number a session, any number a transaction>"
