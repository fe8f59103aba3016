"""Dialogues of the client role, by script: what it says when, and what it makes of the answers."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import pytest

from spooler.lmtp.client import Client
from spooler.lmtp.errors import LocalProtocolError, RemoteProtocolError
from spooler.lmtp.events import Finished, GoAhead, Greeting, Ready, Refused, ServerClosing
from spooler.lmtp.mode import Mode
from spooler.lmtp.slots import State
from spooler.lmtp.trust import Trust
from spooler.reply import Stage
from tests.lmtp.peer import BODY, HELLO, LOCKSTEP_HELLO, Peer, envelope, told, trusted

if TYPE_CHECKING:
    from collections.abc import Callable

RFC_2033 = """
S: 220 foo.edu LMTP server ready
C: LHLO me
S: 250-foo.edu
S: 250-PIPELINING
S: 250 SIZE
C: MAIL FROM:<chris@bar.com>
C: RCPT TO:<pat@foo.edu>
C: RCPT TO:<jones@foo.edu>
C: RCPT TO:<green@foo.edu>
C: DATA
S: 250 OK
S: 250 OK
S: 550 No such user here
S: 250 OK
S: 354 Start mail input; end with <CRLF>.<CRLF>
C: Subject: x
C:
C: ..dot
C: .
S: 250 OK
S: 452 <green@foo.edu> is temporarily over quota
C: QUIT
S: 221 foo.edu closing connection
"""

LOCKSTEP = """
S: 220 host
C: LHLO me
S: 250 host
C: MAIL FROM:<a@x>
S: 250 ok
C: RCPT TO:<b@x>
S: 550 no
C: RCPT TO:<c@x>
S: 250 ok
C: DATA
S: 354 go
C: Subject: x
C:
C: ..dot
C: .
S: 250 ok
C: QUIT
S: 221 bye
"""

LOCKSTEP_MAIL_REFUSED = """
S: 220 host
C: LHLO me
S: 250 host
C: MAIL FROM:<a@x>
S: 550 no
C: RSET
S: 250 ok
C: QUIT
S: 221 bye
"""

LOCKSTEP_ALL_REFUSED = """
S: 220 host
C: LHLO me
S: 250 host
C: MAIL FROM:<a@x>
S: 250 ok
C: RCPT TO:<b@x>
S: 550 no
C: RCPT TO:<c@x>
S: 450 not now
C: RSET
S: 250 ok
C: QUIT
S: 221 bye
"""

PIPELINED = """
S: 220 host
C: LHLO me
S: 250-host
S: 250 PIPELINING
C: MAIL FROM:<a@x>
C: RCPT TO:<b@x>
C: RCPT TO:<c@x>
C: DATA
"""

MAIL_REFUSED = (
    PIPELINED
    + """
S: 451 not now
S: 503 no MAIL
S: 503 no MAIL
S: 503 no MAIL
C: RSET
S: 250 ok
C: QUIT
S: 221 bye
"""
)

ALL_REFUSED = (
    PIPELINED
    + """
S: 250 ok
S: 550 no
S: 450 not now
S: 554 no valid recipients
C: RSET
S: 250 ok
C: QUIT
S: 221 bye
"""
)

DATA_REFUSED = (
    PIPELINED
    + """
S: 250 ok
S: 250 ok
S: 550 no
S: 452 disk full
C: RSET
S: 250 ok
C: QUIT
S: 221 bye
"""
)

GO_AHEAD_FOR_NOBODY = (
    PIPELINED
    + """
S: 250 ok
S: 550 no
S: 550 no
S: 354 go
C: .
C: QUIT
S: 221 bye
"""
)

GO_AHEAD_FOR_NOBODY_AND_A_REPLY_FOR_IT = GO_AHEAD_FOR_NOBODY.replace(
    "S: 221 bye", "S: 554 nobody\nS: 221 bye"
)


@pytest.mark.parametrize("chop", [0, 1, 7])
@pytest.mark.parametrize(
    ("script", "addresses", "outcome"),
    [
        (RFC_2033, ("pat@foo.edu", "jones@foo.edu", "green@foo.edu"), "250 / 250 550 250 / 354 / 250 - 452"),
        (LOCKSTEP, ("b@x", "c@x"), "250 / 550 250 / 354 / - 250"),
        (LOCKSTEP_MAIL_REFUSED, ("b@x", "c@x"), "550 / - - / - / - -"),
        (LOCKSTEP_ALL_REFUSED, ("b@x", "c@x"), "250 / 550 450 / - / - -"),
        (MAIL_REFUSED, ("b@x", "c@x"), "451 / 503 503 / 503 / - -"),
        (ALL_REFUSED, ("b@x", "c@x"), "250 / 550 450 / 554 / - -"),
        (DATA_REFUSED, ("b@x", "c@x"), "250 / 250 550 / 452 / - -"),
        (GO_AHEAD_FOR_NOBODY, ("b@x", "c@x"), "250 / 550 550 / 354 / - -"),
        (GO_AHEAD_FOR_NOBODY_AND_A_REPLY_FOR_IT, ("b@x", "c@x"), "250 / 550 550 / 354 / - -"),
    ],
)
def test_dialogue(script: str, addresses: tuple[str, ...], outcome: str, chop: int) -> None:
    """A whole session, replies whole or cut small: each command in its turn, each reply in its slot."""
    sender = "chris@bar.com" if "chris" in script else "a@x"
    peer = Peer(envelope(*addresses, sender=sender))
    peer.chop = chop
    for who, group in groupby(filter(None, script.splitlines()), key=lambda line: line[:2]):
        said = [line[3:] for line in group]
        if who == "S:":
            peer.say(*said)
            if peer.client.awaiting_silence:
                peer.silence()
            continue
        if said == ["QUIT"]:
            assert peer.idle()
            peer.client.quit()
        assert peer.hear() == "".join(f"{line}\r\n" for line in said).encode()
    assert peer.told() == [f"{outcome}: proven"]
    assert isinstance(peer.events[-1], ServerClosing)
    assert (peer.client.state, peer.due(), peer.trust.doubts) == (State.CLOSED, None, 0)


@pytest.mark.parametrize(
    ("lines", "events"),
    [
        (["220 host"], [Greeting]),
        (["220-host", "220 more"], [Greeting]),
        (["554 go away"], [Refused]),
        (["450 later"], [Refused]),
        (["421 closing"], [ServerClosing]),
        (["220 host", "500 what?"], [Greeting, Refused]),
        (["220 host", "421 closing"], [Greeting, ServerClosing]),
        (["220 host", "250 host"], [Greeting, Ready]),
    ],
)
def test_greeting(lines: list[str], events: list[type]) -> None:
    """What a server may say first; a refusal leaves nothing but QUIT, and no transaction may begin."""
    peer = Peer(envelope("b@x"))
    for line in lines:
        peer.say(line)
        if peer.client.state is State.HELLO and not isinstance(peer.events[-1], Refused):
            peer.client.sent(len(peer.client.data_to_send()))
    assert [type(event) for event in peer.events] == events
    assert peer.client.can_begin is (events[-1] is Ready)
    assert peer.client.closed is (events[-1] is ServerClosing)
    assert peer.due() is (Stage.LHLO if events[-1] is Greeting else None)
    if events[-1] is Refused:
        peer.client.quit()
        assert peer.client.data_to_send() == b"QUIT\r\n"
        assert peer.due() is Stage.QUIT


@pytest.mark.parametrize("line", ["250 host", "221 host", "354 go", "SSH-2.0", "220 host\r\n250 early"])
def test_what_is_no_lmtp_server(line: str) -> None:
    """Anything but 220 or a refusal is a fault, and no doubt about how transactions end there."""
    peer = Peer()
    with pytest.raises(RemoteProtocolError):
        peer.say(line)
    assert peer.client.closed
    assert (peer.trust.doubts, peer.trust.mode) == (0, Mode.CHUNKED)


def test_next_stage_is_the_head_of_what_is_due() -> None:
    """The caller's deadline follows the replies, one by one."""
    peer = Peer(envelope("b@x", "c@x"))
    assert peer.due() is Stage.CONNECT
    peer.say("220 host")
    assert peer.due() is Stage.LHLO
    peer.hear()
    peer.say(*HELLO)
    assert peer.due() is None
    peer.hear()
    seen = []
    for line in ["250 2.1.0", "250 2.1.5", "550 5.1.1", "354 go", "250 2.0.0"]:
        seen.append((peer.due(), peer.client.replies_read))
        peer.say(line)
        peer.hear()
    assert seen == [(Stage.MAIL, 2), (Stage.RCPT, 3), (Stage.RCPT, 4), (Stage.DATA, 5), (Stage.FINAL, 6)]
    assert peer.due() is None
    assert peer.client.awaiting_silence


def test_second_envelope_waits_for_probation_then_shares_the_write_of_a_body() -> None:
    """First transaction alone; from then on body, end-of-data and the next envelope are one write."""
    peer = Peer(envelope("b@x"), envelope("c@x"), envelope("d@x"), hello=HELLO).greet()
    assert peer.hear() == b"MAIL FROM:<a@x>\r\nRCPT TO:<b@x>\r\nDATA\r\n"
    peer.say("250 2.1.0", "250 2.1.5", "354 go")
    assert peer.hear() == b"Subject: x\r\n\r\n..dot\r\n.\r\n"
    assert peer.say("250 2.0.0 first") == []
    assert peer.hear() == b""
    assert not peer.idle()
    assert [type(event) for event in peer.silence()] == [Finished]
    assert peer.idle()
    assert peer.hear() == b"MAIL FROM:<a@x>\r\nRCPT TO:<c@x>\r\nDATA\r\n"
    peer.say("250 2.1.0", "250 2.1.5", "354 go")
    shared = peer.hear()
    assert shared.startswith(b"Subject:")
    assert shared.endswith(b"\r\n.\r\nMAIL FROM:<a@x>\r\nRCPT TO:<d@x>\r\nDATA\r\n")
    events = peer.say("250 2.0.0 second", "250 2.1.0", "250 2.1.5", "354 go")
    assert [type(event) for event in events] == [Finished, GoAhead]
    peer.hear()
    peer.say("250 2.0.0 third")
    peer.silence()
    assert peer.told() == ["250 / 250 / 354 / 250: proven"] * 3
    assert [one.final[0].text for one in peer.finished if one.final[0]] == ["first", "second", "third"]


def test_one_envelope_ahead_at_most() -> None:
    """Behind an end-of-data goes one envelope, and nothing behind that until its body is given."""
    peer = Peer(envelope("b@x"), envelope("c@x"), envelope("d@x"), trust=trusted()).greet()
    peer.hear()
    peer.say("250 2.1.0", "250 2.1.5", "354 go")
    assert peer.hear().count(b"MAIL") == 1
    assert not peer.client.can_begin
    with pytest.raises(LocalProtocolError, match="no transaction may begin"):
        peer.client.begin(peer.todo[0])


def test_one_recipient_is_trusted_before_several_are() -> None:
    """One clean recipient lets envelopes follow one recipient; two are needed for more."""
    trust = trusted(several=False)
    peer = Peer(envelope("b@x", "c@x"), envelope("d@x"), trust=trust).greet()
    peer.hear()
    peer.say("250 2.1.0", "250 2.1.5", "250 2.1.5", "354 go")
    assert b"MAIL" not in peer.hear()
    peer.say("250 2.0.0", "250 2.0.0")
    peer.silence()
    assert trust.may_overlap(50)


def test_several_recipients_of_whom_one_is_accepted_count_as_one() -> None:
    """Only accepted recipients give final replies, so only they matter."""
    trust = trusted(several=False)
    peer = Peer(envelope("b@x", "c@x"), envelope("d@x"), trust=trust).greet()
    peer.hear()
    peer.say("250 2.1.0", "550 5.1.1", "250 2.1.5", "354 go")
    assert b"MAIL" in peer.hear()


@pytest.mark.parametrize("chop", [0, 1])
def test_421_in_a_slot_answers_it_and_ends_everything(chop: int) -> None:
    """At each stage: 421 is the reply of its slot, nothing more is due, and the rest is unfinished."""
    answers = ["250 2.1.0", "250 2.1.5", "250 2.1.5", "354 go", "250 2.0.0", "250 2.0.0"]
    expected = [
        "421 / - - / - / - -: safe",
        "250 / 421 - / - / - -: safe",
        "250 / 250 421 / - / - -: safe",
        "250 / 250 250 / 421 / - -: safe",
        "250 / 250 250 / 354 / 421 -: uncertain",
        "250 / 250 250 / 354 / 250 421: proven",
    ]
    stages = [Stage.MAIL, Stage.RCPT, Stage.RCPT, Stage.DATA, Stage.FINAL, Stage.FINAL]
    for i, stage in enumerate(stages):
        peer = Peer(envelope("b@x", "c@x")).greet()
        peer.chop = chop
        peer.hear()
        for answer in answers[:i]:
            peer.say(answer)
            peer.hear()
        peer.say("421 4.3.2 closing", "250 ignored")
        closing = peer.events[-1]
        assert isinstance(closing, ServerClosing)
        assert (closing.stage, closing.reply.code, peer.due()) == (stage, 421, None)
        assert peer.told() == [expected[i]]
        assert peer.client.receive(b"nonsense\n") == []
        assert not peer.trust.single_recipient


def test_421_where_nothing_is_due() -> None:
    """An idle session that is closed by the server says so, and harms nothing."""
    peer = Peer().greet()
    assert [type(event) for event in peer.say("421 4.4.2 idle for too long")] == [ServerClosing]
    assert peer.client.closed
    assert peer.told() == []


def test_421_behind_the_last_final_reply_proves_it() -> None:
    """The server says that it is done, so all replies to this transaction were read."""
    peer = Peer(envelope("b@x")).greet()
    peer.hear()
    peer.say("250 2.1.0", "250 2.1.5", "354 go")
    peer.hear()
    peer.say("250 2.0.0", "421 4.3.2 closing")
    assert [type(event) for event in peer.events[-2:]] == [Finished, ServerClosing]
    assert peer.told() == ["250 / 250 / 354 / 250: proven"]


def test_421_while_the_body_is_given() -> None:
    """It answers nothing; the rest of the body may be given and is dropped."""
    peer = Peer(envelope("b@x")).greet()
    peer.hear()
    client = peer.client
    client.receive(b"250 2.1.0\r\n250 2.1.5\r\n354 go\r\n")
    client.body(b"part")
    client.sent(len(client.data_to_send()))
    [closing] = client.receive(b"421 4.3.2 closing\r\n")
    assert isinstance(closing, ServerClosing)
    assert closing.stage is None
    client.body(b"more")
    client.end_body()
    assert client.data_to_send() == b""
    assert peer.told() == ["250 / 250 / 354 / -: safe"]


def test_421_before_the_body_was_taken() -> None:
    """A body that is queued is not given out any more: nothing was handed over, and nothing will be."""
    peer = Peer(envelope("b@x")).greet()
    peer.hear()
    peer.say("250 2.1.0", "250 2.1.5", "354 go")
    peer.say("421 4.3.2 closing")
    assert peer.client.data_to_send() == b""
    assert peer.told() == ["250 / 250 / 354 / -: safe"]


def test_421_before_the_next_command_was_taken_answers_nothing() -> None:
    """In lock-step, what comes behind a reply in one block cannot be for the command that it released."""
    peer = Peer(envelope("b@x"), hello=LOCKSTEP_HELLO).greet()
    peer.hear()
    peer.say("250 ok", "421 closing")
    assert peer.told() == ["250 / - / - / -: safe"]


OUT_OF_PLACE = {
    "MAIL": (0, ["354 go", "221 bye", "220 hi", "334 x"]),
    "RCPT": (1, ["354 go", "221 bye", "220 hi"]),
    "DATA": (2, ["250 2.0.0 ok", "334 x", "300 x", "221 bye"]),
    "body": (3, ["250 2.0.0 early", "552 5.3.4 too big", "354 again"]),
    "FINAL": (4, ["354 go", "221 bye", "220 hi"]),
    "idle": (6, ["250 2.0.0 more", "354 go", "451 4.3.0 x"]),
}


@pytest.mark.parametrize(
    ("count", "line"), [(count, line) for count, lines in OUT_OF_PLACE.values() for line in lines]
)
def test_reply_out_of_place_is_a_fault(count: int, line: str) -> None:
    """A reply of a class that its slot does not know, or where none is due, ends the session in doubt."""
    peer = Peer(envelope("b@x")).greet()
    peer.hear()
    client = peer.client
    for i, answer in enumerate(["250 2.1.0", "250 2.1.5", "354 go", "", "250 2.0.0", ""][:count]):
        if i == 3:
            client.body(BODY)
            client.end_body()
            client.sent(len(client.data_to_send()))
        elif i == 5:
            assert len(client.silence_confirmed()) == 1
        else:
            client.receive(f"{answer}\r\n".encode())
    with pytest.raises(RemoteProtocolError, match="the server sent"):
        client.receive(f"{line}\r\n".encode())
    assert (peer.trust.doubts, peer.trust.mode) == (1, Mode.LOCKSTEP)
    assert client.closed
    for transaction in client.unfinished():
        assert transaction.final == [None]
        assert transaction.uncertain is (count == 4)
        assert transaction.envelope_provisional is (count < 3)


def test_recipient_accepted_although_mail_was_refused() -> None:
    """It belongs to a transaction that the server still holds open, so it must not get our message."""
    peer = Peer(envelope("b@x")).greet()
    peer.hear()
    with pytest.raises(RemoteProtocolError, match="refused MAIL"):
        peer.say("503 5.5.1 nested MAIL", "250 2.1.5")
    assert peer.told() == ["503 / 250 / - / -: safe envelope?"]


def test_several_recipients_accepted_although_mail_was_refused() -> None:
    """The same where their replies come in one block and look alike."""
    peer = Peer(envelope("b@x", "c@x", "d@x")).greet()
    peer.hear()
    with pytest.raises(RemoteProtocolError, match="refused MAIL"):
        peer.say("503 5.5.1 nested MAIL", "250 2.1.5", "250 2.1.5", "250 2.1.5")
    assert peer.told() == ["503 / 250 - - / - / - - -: safe envelope?"]


def test_go_ahead_although_mail_was_refused() -> None:
    """No dot is sent: it might end a message that is not ours."""
    peer = Peer(envelope("b@x")).greet()
    peer.hear()
    with pytest.raises(RemoteProtocolError, match="refused MAIL"):
        peer.say("503 5.5.1 nested MAIL", "503 5.5.1 no MAIL", "354 go")
    assert peer.client.data_to_send() == b""


def test_rset_that_is_refused() -> None:
    """Nobody knows what the server holds then."""
    peer = Peer(envelope("b@x")).greet()
    peer.hear()
    peer.say("250 2.1.0", "550 5.1.1", "554 5.5.1")
    assert peer.hear() == b"RSET\r\n"
    with pytest.raises(RemoteProtocolError):
        peer.say("500 what?")


def test_next_envelope_follows_rset_at_once() -> None:
    """Once trusted, a refused transaction costs no round trip of its own."""
    peer = Peer(envelope("b@x"), envelope("c@x"), trust=trusted()).greet()
    peer.hear()
    peer.say("250 2.1.0", "550 5.1.1", "554 5.5.1")
    assert peer.hear() == b"RSET\r\nMAIL FROM:<a@x>\r\nRCPT TO:<c@x>\r\nDATA\r\n"
    events = peer.say("250 2.0.0 reset", "250 2.1.0", "250 2.1.5", "354 go")
    assert [type(event) for event in events] == [Finished, GoAhead]
    assert told(peer.finished[0]) == "250 / 550 / 554 / -: proven"


def test_command_queued_by_a_reply_is_not_answered_by_the_one_behind_it() -> None:
    """Without PIPELINING, two replies to one command are one too many."""
    for answers in (["250 ok", "250 one more"], ["250 ok", "250 ok|250 one more"], ["550 no", "250 rset?"]):
        peer = Peer(envelope("b@x", "c@x"), hello=LOCKSTEP_HELLO).greet()
        peer.hear()
        if "|" in answers[1]:
            peer.say(answers[0])
            peer.hear()
            answers = answers[1].split("|")
        with pytest.raises(RemoteProtocolError, match="nothing was due"):
            peer.say(*answers)


def test_trust_in_lockstep_overrules_the_offer() -> None:
    """A destination in doubt gets one command at a time although it offers PIPELINING."""
    peer = Peer(envelope("b@x"), trust=Trust(Mode.LOCKSTEP)).greet()
    assert peer.hear() == b"MAIL FROM:<a@x>\r\n"
    assert peer.client.mode is Mode.LOCKSTEP


def test_final_reply_before_the_end_of_data_was_taken() -> None:
    """What was not even given out to send cannot have been answered."""
    peer = Peer(envelope("b@x")).greet()
    peer.hear()
    peer.say("250 2.1.0", "250 2.1.5", "354 go")  # the body is queued now, and nobody took it
    with pytest.raises(RemoteProtocolError, match="nothing was due"):
        peer.say("250 2.0.0 already?")
    assert peer.told() == ["250 / 250 / 354 / -: safe"]


def test_final_reply_while_the_end_of_data_is_still_being_sent() -> None:
    """An early reply settles nothing as long as its end-of-data was not handed over whole."""
    body_and_dot = len(b"Subject: x\r\n\r\n..dot\r\n.\r\n")
    for short, word in ((4, "safe"), (3, "safe"), (2, "uncertain final?"), (1, "uncertain final?"), (0, "")):
        peer = Peer(envelope("b@x")).greet()
        peer.hear()
        peer.say("250 2.1.0", "250 2.1.5", "354 go")
        peer.client.data_to_send()
        peer.client.sent(body_and_dot - short)
        peer.say("552 5.3.4 too big")
        assert peer.client.awaiting_silence is (short == 0)
        assert peer.client.silence_confirmed() == [] or short == 0
        if short:
            assert peer.told() == [f"250 / 250 / 354 / 552: {word}"]


def test_safe_or_uncertain_at_each_octet() -> None:
    """A transaction is uncertain from the first octet of its end-of-data that was handed over, not before."""
    wire = b"Subject: x\r\n\r\n..dot\r\n.\r\n"
    for count in range(len(wire) + 1):
        peer = Peer(envelope("b@x")).greet()
        peer.hear()
        peer.say("250 2.1.0", "250 2.1.5", "354 go")
        assert peer.client.data_to_send() == wire
        for _ in range(count):
            peer.client.sent(1)
        peer.client.eof()
        [transaction] = peer.client.unfinished()
        assert transaction.end_of_data_at is not None
        assert transaction.end_of_data_end is not None
        assert transaction.end_of_data_end - transaction.end_of_data_at == 3
        assert transaction.uncertain is (count > len(wire) - 3)


def test_missing_line_end_is_not_part_of_the_end_of_data() -> None:
    """What completes the last line may be handed over without doubt."""
    peer = Peer(envelope("b@x")).greet()
    peer.hear()
    client = peer.client
    client.receive(b"250 2.1.0\r\n250 2.1.5\r\n354 go\r\n")
    client.body(b"no end")
    client.end_body()
    assert client.data_to_send() == b"no end\r\n.\r\n"
    client.sent(8)
    assert peer.told() == ["250 / 250 / 354 / -: safe"]


@pytest.mark.parametrize("count", [-1, 1])
def test_octets_that_cannot_have_been_sent(count: int) -> None:
    """More than was taken, or less than nothing, is the caller's error."""
    client = Client(trust=Trust())
    with pytest.raises(LocalProtocolError, match="cannot have been sent"):
        client.sent(count)


def test_misuse_is_ours() -> None:
    """What the caller must not do is told apart from what the server must not do, and queues nothing."""
    peer = Peer()
    client = peer.client
    misuses: list[Callable[[], None]] = [
        lambda: client.lhlo("me"),
        lambda: client.begin(envelope("b@x")),
        lambda: client.body(b""),
        client.end_body,
        client.quit,
    ]
    for misuse in misuses:
        with pytest.raises(LocalProtocolError):
            misuse()
    peer.greet()
    with pytest.raises(LocalProtocolError):
        client.lhlo("me")
    with pytest.raises(LocalProtocolError):
        client.begin(envelope("b@x\r\nRSET"))
    assert client.idle
    transaction = envelope("b@x")
    client.begin(transaction)
    with pytest.raises(LocalProtocolError):
        client.quit()
    client.unfinished()
    with pytest.raises(LocalProtocolError):
        Peer().greet().client.begin(transaction)
    with pytest.raises(LocalProtocolError):
        client.quit()


def test_eof_at_each_stage() -> None:
    """The end of the stream leaves what was answered, and tells what may have been delivered."""
    answers = ["250 2.1.0", "550 5.1.1", "250 2.1.5", "250 2.1.5", "354 go", "250 2.0.0", "250 2.0.0"]
    expected = [
        "- / - - - / - / - - -: safe",
        "250 / - - - / - / - - -: safe",
        "250 / 550 - - / - / - - -: safe",
        "250 / 550 250 - / - / - - -: safe",
        "250 / 550 250 250 / - / - - -: safe",
        "250 / 550 250 250 / 354 / - - -: uncertain",
        "250 / 550 250 250 / 354 / - 250 -: uncertain",
        "250 / 550 250 250 / 354 / - 250 250: proven",
    ]
    for i in range(len(expected)):
        peer = Peer(envelope("b@x", "c@x", "d@x")).greet()
        peer.hear()
        for answer in answers[:i]:
            peer.say(answer)
            peer.hear()
        peer.react(peer.client.eof())
        assert peer.client.eof() == []
        assert peer.told() == [expected[i]]
        assert not peer.trust.single_recipient  # a broken connection is no miscount
        assert peer.trust.doubts == 0


def test_half_a_reply_is_unread() -> None:
    """An idle session that has half a reply is not idle, and nothing may begin on it."""
    peer = Peer(envelope("b@x")).greet()
    peer.client.receive(b"42")
    assert not peer.idle()
    assert not peer.client.can_begin
    assert peer.due() is None


def test_session_as_people_see_it() -> None:
    """The representation tells what is due."""
    peer = Peer(envelope("b@x")).greet()
    assert repr(peer.client) == "<Client ready: nothing due, 0 open, 0 unproven>"
    peer.hear()
    assert repr(peer.client) == "<Client ready: mail rcpt data due, 1 open, 0 unproven>"
