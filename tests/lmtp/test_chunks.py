"""Whole transactions by BDAT, back to back: what is said when, and what is made of the answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from spooler.lmtp.client import WINDOW, Client
from spooler.lmtp.errors import LocalProtocolError, RemoteProtocolError
from spooler.lmtp.events import Finished, ServerClosing
from spooler.lmtp.mode import Mode
from spooler.lmtp.outgoing import BURST
from spooler.lmtp.transaction import Transaction
from spooler.reply import Reply, Stage
from tests.lmtp.peer import BODY, CHUNKING_HELLO, Peer, chunked, envelope, told, trusted

if TYPE_CHECKING:
    from spooler.lmtp.trust import Trust

MAIL, RCPT, FINAL, RSET = "250 2.1.0", "250 2.1.5", "250 2.0.0 saved", "250 2.0.0 reset"
NOBODY = "503 5.5.0 no valid recipients"
NO_MAIL = "503 5.5.0 MAIL needed first"
LAST = b"BDAT %d LAST\r\n%b" % (len(BODY), BODY)


def wire(*addresses: str, last: bytes = LAST) -> bytes:
    """A transaction as it is sent, but for its RSET."""
    return b"MAIL FROM:<a@x>\r\n" + b"".join(b"RCPT TO:<%b>\r\n" % a.encode() for a in addresses) + last


def burst(*transactions: list[str], trust: Trust | None = None) -> Peer:
    """Transactions for these recipients, all sent in one burst and none answered."""
    peer = Peer(
        *(envelope(*addresses) for addresses in transactions), trust=trust or chunked(), hello=CHUNKING_HELLO
    ).greet()
    expected = b"".join(wire(*addresses) + b"RSET\r\n" for addresses in transactions)
    assert peer.hear() == expected
    return peer


def test_probation_then_back_to_back() -> None:
    """DATA first; then BDAT by itself, led by RSET and with nothing behind it; then all in one burst."""
    peer = Peer(*(envelope("b@x") for _ in range(5)), hello=CHUNKING_HELLO).greet()
    assert peer.hear().endswith(b"DATA\r\n")
    peer.say(MAIL, RCPT, "354 go")
    peer.hear()
    peer.say(FINAL)
    assert peer.hear() == b""
    peer.silence()
    assert peer.hear() == b"RSET\r\n" + wire("b@x")
    peer.say(RSET, MAIL, RCPT, FINAL)
    assert peer.hear() == b""
    peer.silence()
    assert peer.hear() == (wire("b@x") + b"RSET\r\n") * 3
    events = peer.say(*[MAIL, RCPT, FINAL, RSET] * 3)
    assert [type(event) for event in events] == [Finished, Finished]
    peer.silence()
    assert peer.idle()
    assert [one.mode for one in peer.finished] == [Mode.PIPELINED] + [Mode.CHUNKED] * 4
    assert {told(one) for one in peer.finished[1:]} == {"250 / 250 / - / 250: proven"}


def test_several_recipients_have_a_probation_of_their_own() -> None:
    """Trusted with one recipient, a transaction of two is sent with nothing behind it."""
    peer = Peer(
        *(envelope(*addresses) for addresses in (["b@x"], ["b@x", "c@x"], ["b@x"], ["b@x", "c@x"])),
        trust=chunked(several=False),
        hello=CHUNKING_HELLO,
    ).greet()
    assert peer.hear() == wire("b@x") + b"RSET\r\nRSET\r\n" + wire("b@x", "c@x")
    peer.say(MAIL, RCPT, FINAL, RSET, RSET, MAIL, RCPT, RCPT, FINAL, FINAL)
    assert peer.hear() == b""
    peer.silence()
    assert peer.hear() == wire("b@x") + b"RSET\r\n" + wire("b@x", "c@x") + b"RSET\r\n"


@pytest.mark.parametrize("missing", ["250-CHUNKING", "250-PIPELINING"])
def test_what_the_server_must_offer(missing: str) -> None:
    """Without CHUNKING it is DATA, without PIPELINING one command at a time."""
    hello = tuple(line for line in ("250-host", "250-PIPELINING", "250-CHUNKING", "250 X") if line != missing)
    peer = Peer(envelope("b@x"), trust=chunked(), hello=hello).greet()
    assert peer.hear() in (b"MAIL FROM:<a@x>\r\n", b"MAIL FROM:<a@x>\r\nRCPT TO:<b@x>\r\nDATA\r\n")


def test_without_a_marker_it_is_data() -> None:
    """A server without enhanced codes gives no sign to find the place by."""
    peer = Peer(envelope("b@x"), trust=trusted(marker=None), hello=CHUNKING_HELLO).greet()
    assert peer.hear().endswith(b"DATA\r\n")


def test_a_reset_answered_like_mail_is_the_end_of_the_marker() -> None:
    """The RSET that leads the first BDAT may take the marker away: then this one ends well, and no more."""
    trust = trusted()
    peer = Peer(envelope("b@x"), envelope("b@x"), trust=trust, hello=CHUNKING_HELLO).greet()
    peer.hear()
    peer.say("250 2.1.0 reset", MAIL, RCPT, FINAL)
    peer.silence()
    assert (trust.marker, trust.doubts) == (None, 0)
    assert peer.hear().endswith(b"DATA\r\n")
    assert peer.told()[0] == "250 / 250 / - / 250: proven"


REFUSALS = {
    "recipients, answered once": ([MAIL, "550 5.1.1", "450 4.1.1", NOBODY], "250 / 550 450 / 503 / - -"),
    "recipients, not answered": ([MAIL, "550 5.1.1", "450 4.1.1"], "250 / 550 450 / - / - -"),
    "recipients, otherwise": ([MAIL, "550 5.1.1", "550 5.1.1", "554 5.5.1"], "250 / 550 550 / 554 / - -"),
    "mail, answered once": (["451 4.3.0", NO_MAIL, NO_MAIL, NO_MAIL], "451 / 503 503 / 503 / - -"),
    "mail, not answered": (["552 5.3.4", NO_MAIL, NO_MAIL], "552 / 503 503 / - / - -"),
    "one recipient": ([MAIL, "550 5.1.1", RCPT, FINAL], "250 / 550 250 / - / - 250"),
    "one final reply": ([MAIL, RCPT, RCPT, FINAL, "452 4.2.2"], "250 / 250 250 / - / 250 452"),
    "both final replies": ([MAIL, RCPT, RCPT, "552 5.2.2", "452 4.2.2"], "250 / 250 250 / - / 552 452"),
}


@pytest.mark.parametrize("chop", [0, 1, 7])
@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("what", REFUSALS)
def test_refusals_between_others(what: str, place: int, chop: int) -> None:
    """Wherever it stands among others, each reply is its own, and a RSET is never taken for one."""
    answers, outcome = REFUSALS[what]
    peer = burst(["b@x", "c@x"], ["b@x", "c@x"], ["b@x", "c@x"])
    peer.chop = chop
    for i in range(3):
        peer.say(*(answers if i == place else [MAIL, RCPT, RCPT, FINAL, FINAL]), RSET)
    peer.silence()
    assert peer.idle()
    good = "250 / 250 250 / - / 250 250: proven"
    assert peer.told() == [f"{outcome}: proven" if i == place else good for i in range(3)]
    assert peer.trust.doubts == 0


@pytest.mark.parametrize("answered", [True, False])
@pytest.mark.parametrize("answers", [[MAIL, "550 5.1.1"], ["451 4.3.0", NO_MAIL]])
def test_refused_in_probation(answers: list[str], *, answered: bool) -> None:
    """A last chunk for nobody, with nothing behind it, is followed by a RSET that forces an answer."""
    peer = Peer(envelope("b@x"), trust=trusted(), hello=CHUNKING_HELLO).greet()
    peer.hear()
    peer.say(RSET, *answers)
    assert peer.due() is Stage.FINAL
    assert peer.hear() == b"RSET\r\n"
    if answered:
        peer.say(NOBODY)
        assert peer.due() is Stage.RSET
    peer.say(RSET)
    peer.silence()
    assert peer.idle()
    assert peer.told()[0].endswith("503 / -: proven" if answered else "/ - / -: proven")
    assert not peer.trust.may_overlap(1, Mode.CHUNKED)


def test_the_reply_for_nobody_is_not_awaited_for_ever() -> None:
    """Nothing is proven before the RSET behind it was answered."""
    peer = burst(["b@x"])
    peer.say(MAIL, "550 5.1.1")
    assert not peer.client.awaiting_silence
    assert peer.due() is Stage.FINAL
    peer.say(NOBODY)
    assert not peer.client.awaiting_silence
    peer.say(RSET)
    peer.silence()


SHIFTS = {
    "one too few": ([MAIL, RCPT, RCPT, FINAL, RSET, MAIL], True),
    "one refusal for all": ([MAIL, RCPT, RCPT, "552 5.3.4", RSET, MAIL], True),
    "one too many": ([MAIL, RCPT, RCPT, FINAL, FINAL, FINAL], False),
    "one for each RCPT": ([MAIL, RCPT, "550 5.1.1", FINAL, "550 5.1.1"], False),
    "503 as a final reply": ([MAIL, RCPT, RCPT, FINAL, NO_MAIL], True),
    "another word for a RCPT without MAIL": (["451 4.3.0", "550 5.1.1"], False),
    "a RCPT without MAIL accepted": (["451 4.3.0", RCPT], False),
    "other words for RSET": ([MAIL, RCPT, RCPT, FINAL, FINAL, "250 2.0.0 whatever"], False),
    "RSET refused": ([MAIL, RCPT, RCPT, FINAL, FINAL, "500 5.5.1"], False),
    "the marker elsewhere": ([MAIL, MAIL], False),
    "354": ([MAIL, RCPT, RCPT, "354 go"], True),
}


@pytest.mark.parametrize("what", SHIFTS)
def test_replies_out_of_step(what: str) -> None:
    """Each miscount is found, nothing was believed, and the destination falls back to DATA."""
    answers, few = SHIFTS[what]
    peer = burst(["b@x", "c@x"], ["b@x", "c@x"])
    with pytest.raises(RemoteProtocolError):
        peer.say(*answers)
    assert peer.finished == []
    for transaction in peer.client.unfinished():
        assert not transaction.proven
        assert transaction.uncertain
        assert transaction.envelope_provisional
        assert transaction.final_provisional
    assert (peer.trust.mode, peer.trust.doubts) == (Mode.PIPELINED, 1)
    if few:
        assert peer.trust.single_recipient


def test_a_whole_transaction_is_not_swallowed() -> None:
    """Final replies that lack can be made up for by all the replies of a transaction whose MAIL was
    refused, up to a marker in a MAIL slot: the 503 for its RCPT gives it away."""
    peer = burst([f"r{i}@x" for i in range(6)], ["b@x"], ["b@x"])
    with pytest.raises(RemoteProtocolError, match="out of step"):
        peer.say(MAIL, *[RCPT] * 6, FINAL, FINAL, RSET, "451 4.3.0", NO_MAIL, NO_MAIL, RSET, MAIL)
    assert peer.finished == []


def test_a_surplus_is_not_taken_for_a_transaction() -> None:
    """Final replies too many that look like a transaction whose MAIL was refused are none without 503."""
    peer = burst(["b@x"], ["b@x"], ["b@x"], trust=chunked(rset=FINAL))
    with pytest.raises(RemoteProtocolError, match="out of step"):
        peer.say(MAIL, RCPT, FINAL, FINAL, "552 5.2.2", "552 5.2.2", "552 5.2.2", FINAL, MAIL)
    assert peer.finished == []


def test_a_surplus_cut_short_is_no_proof() -> None:
    """A final reply in the place of RSET's, and then the end: it was not said in RSET's words."""
    peer = burst(["b@x", "c@x"])
    with pytest.raises(RemoteProtocolError, match="out of step"):
        peer.say(MAIL, RCPT, RCPT, "550 5.1.1", FINAL, FINAL)
    assert peer.told() == ["250 / 250 250 / - / 550 250: uncertain envelope? final?"]


def test_doubt_in_probation_costs_one_transaction() -> None:
    """A server whose BDAT is broken is found while only one message is out, and gets DATA from then on."""
    trust = trusted()
    peer = Peer(envelope("b@x"), envelope("b@x"), trust=trust, hello=CHUNKING_HELLO).greet()
    peer.hear()
    with pytest.raises(RemoteProtocolError):
        peer.say(RSET, MAIL, RCPT, "354 go")
    assert peer.told() == ["250 / 250 / - / -: uncertain envelope?"]
    again = Peer(envelope("b@x"), trust=trust, hello=CHUNKING_HELLO).greet()
    assert again.hear().endswith(b"DATA\r\n")
    assert trust.mode is Mode.PIPELINED


ANSWERS = [MAIL, RCPT, "550 5.1.1", FINAL, RSET, MAIL, RCPT, RCPT, FINAL, "552 5.2.2", RSET]
AFTER = [
    ["- / - - / - / - -: uncertain", "- / - - / - / - -: uncertain envelope?"],
    ["250 / - - / - / - -: uncertain", "- / - - / - / - -: uncertain envelope?"],
    ["250 / 250 - / - / - -: uncertain", "- / - - / - / - -: uncertain envelope?"],
    ["250 / 250 550 / - / - -: uncertain", "- / - - / - / - -: uncertain envelope?"],
    ["250 / 250 550 / - / 250 -: uncertain", "- / - - / - / - -: uncertain envelope?"],
    ["250 / 250 550 / - / 250 -: uncertain", "- / - - / - / - -: uncertain envelope?"],
    ["250 / 250 550 / - / 250 -: proven", "250 / - - / - / - -: uncertain"],
    ["250 / 250 550 / - / 250 -: proven", "250 / 250 - / - / - -: uncertain"],
    ["250 / 250 550 / - / 250 -: proven", "250 / 250 250 / - / - -: uncertain"],
    ["250 / 250 550 / - / 250 -: proven", "250 / 250 250 / - / 250 -: uncertain final?"],
    ["250 / 250 550 / - / 250 -: proven", "250 / 250 250 / - / 250 552: uncertain final?"],
    ["250 / 250 550 / - / 250 -: proven", "250 / 250 250 / - / 250 552: proven"],
]


@pytest.mark.parametrize("count", range(len(AFTER)))
def test_connection_lost_at_each_reply(count: int) -> None:
    """What the marker proved stands; positive final replies that no other command can have hold too."""
    peer = burst(["b@x", "c@x"], ["b@x", "c@x"])
    peer.say(*ANSWERS[:count])
    peer.react(peer.client.eof())
    for i, transaction in enumerate((*peer.finished, *peer.client.unfinished())):
        assert told(transaction) == AFTER[count][i]
    assert peer.trust.doubts == 0


@pytest.mark.parametrize("bland", [True, False])
def test_positive_final_replies_without_the_one_to_rset_prove_nothing(*, bland: bool) -> None:
    """The last of them may be RSET's, be it in the words that it was learnt by or in others."""
    rset = FINAL if bland else RSET
    peer = burst(["b@x", "c@x"], ["b@x"], trust=chunked(rset=rset))
    peer.say(MAIL, RCPT, RCPT, FINAL, FINAL)
    peer.client.eof()
    assert peer.told()[0] == "250 / 250 250 / - / 250 250: uncertain final?"


def test_as_many_positive_replies_as_are_due_with_the_one_to_rset_hold() -> None:
    """Nothing but final replies and the one to RSET can come before the marker."""
    peer = burst(["b@x", "c@x"], ["b@x"])
    peer.say(MAIL, RCPT, RCPT, FINAL, FINAL, RSET)
    peer.client.eof()
    assert peer.told()[0] == "250 / 250 250 / - / 250 250: uncertain"


@pytest.mark.parametrize("bland", [True, False])
def test_the_only_final_reply_is_no_other_commands(*, bland: bool) -> None:
    """An end-of-data gets one reply at the least; but one in RSET's words is not relied on."""
    peer = burst(["b@x"], ["b@x"], trust=chunked(rset=FINAL if bland else RSET))
    peer.say(MAIL, RCPT, FINAL)
    peer.client.eof()
    assert peer.told()[0] == "250 / 250 / - / 250: uncertain" + " final?" * bland


def test_safe_or_uncertain_at_each_octet() -> None:
    """Each turns uncertain with the last octet of its last chunk, and not before."""
    one, two = wire("b@x"), wire("c@x")
    octets = one + b"RSET\r\n" + two + b"RSET\r\n"
    ends = [len(one), len(one) + 6 + len(two)]
    for count in range(len(octets) + 1):
        peer = Peer(envelope("b@x"), envelope("c@x"), trust=chunked(), hello=CHUNKING_HELLO).greet()
        peer.go_on()
        before = peer.client._outgoing.sent
        assert peer.client.data_to_send() == octets
        for _ in range(count):
            peer.client.sent(1)
        for transaction, end in zip(peer.client.unfinished(), ends, strict=True):
            assert transaction.end_of_data_at == before + end - 1
            assert transaction.end_of_data_end == before + end
            assert transaction.uncertain is (count >= end)


@pytest.mark.parametrize("pieces", [[], [b""], [BODY]])
def test_an_empty_last_chunk_counts_from_its_command(pieces: list[bytes]) -> None:
    """`BDAT 0 LAST` has no octets: any part of its line may let the server deliver."""
    client = streaming("b@x")
    for piece in pieces:
        client.body(piece)
    start = client._outgoing.queued
    client.end_body()
    [transaction] = client.unfinished()
    line = b"BDAT 0 LAST\r\n" if BODY not in pieces else LAST
    assert transaction.end_of_data_end == start + len(line)
    assert transaction.end_of_data_at == start + (0 if BODY not in pieces else len(LAST) - 1)


def streaming(*addresses: str, trust: Trust | None = None) -> Client:
    """A transaction that is begun, and whose body is due."""
    peer = Peer(trust=trust or chunked(), hello=CHUNKING_HELLO).greet()
    transaction = envelope(*addresses)
    peer.client.begin(transaction)
    assert peer.client.body_due is transaction
    return peer.client


def flush(client: Client) -> bytes:
    """Send what is queued."""
    data = client.data_to_send()
    client.sent(len(data))
    return data


def replies(*lines: str) -> bytes:
    """As the server sends them."""
    return "".join(f"{line}\r\n" for line in lines).encode()


@pytest.mark.parametrize("alone", [True, False])
def test_a_content_in_pieces(*, alone: bool) -> None:
    """Each is a chunk; the last is held until the others were taken, and nothing is stuffed."""
    client = streaming("b@x", "c@x", trust=trusted() if alone else None)
    client.body(b".a\r\n")
    client.body(b"")
    client.body(b".\r\n")
    client.body(b"\r\n.\r\n")
    head = (b"RSET\r\n" if alone else b"") + wire("b@x", "c@x", last=b"")
    assert flush(client) == head + b"BDAT 4\r\n.a\r\nBDAT 3\r\n.\r\n"
    assert client.chunks_unanswered
    assert not client.can_begin
    with pytest.raises(LocalProtocolError):
        client.end_body()
    client.receive(replies(*[RSET] * alone, MAIL, RCPT, "550 5.1.1", "250 2.0.0 4 octets"))
    assert client.next_stage is Stage.BODY
    assert client.chunks_unanswered
    client.receive(replies("250 2.0.0 3 octets"))
    client.end_body()
    assert flush(client) == b"BDAT 5 LAST\r\n\r\n.\r\n" + (b"" if alone else b"RSET\r\n")
    client.receive(replies(FINAL, *([] if alone else [RSET])))
    [finished] = client.silence_confirmed()
    assert isinstance(finished, Finished)
    assert told(finished.transaction) == "250 / 250 550 / - / 250 -: proven"


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize(
    ("answers", "outcome"),
    [
        ([MAIL, RCPT, "452 4.3.1 full", "503 5.5.0"], "250 / 250 / 452 / -"),
        ([MAIL, RCPT, "250 2.0.0 taken", "552 5.3.4"], "250 / 250 / 552 / -"),
        ([MAIL, "550 5.1.1", NOBODY, NOBODY], "250 / 550 / 503 / -"),
        ([MAIL, "550 5.1.1", "250 2.0.0 taken", "250 2.0.0 taken"], "250 / 550 / - / -"),
        (["451 4.3.0", NO_MAIL, NO_MAIL, NO_MAIL], "451 / 503 / 503 / -"),
    ],
)
def test_chunks_that_are_not_wanted(answers: list[str], outcome: str, *, alone: bool) -> None:
    """A refused chunk, or nobody to take it: the rest is not sent, the last one least of all."""
    client = streaming("b@x", trust=trusted() if alone else None)
    for piece in (b"one", b"two", b"three"):
        client.body(piece)
    flush(client)
    events = client.receive(replies(*[RSET] * alone, *answers))
    assert client.body_due is None
    assert flush(client) == b"RSET\r\n"
    events = client.receive(replies(RSET)) + client.silence_confirmed()
    [finished] = events
    assert isinstance(finished, Finished)
    assert told(finished.transaction) == f"{outcome}: proven"
    assert not finished.transaction.uncertain
    assert client.idle
    with pytest.raises(LocalProtocolError):
        client.body(b"four")


def test_connection_lost_between_chunks_is_safe() -> None:
    """Nothing may be delivered before the last chunk."""
    client = streaming("b@x")
    client.body(b"one")
    client.body(b"two")
    flush(client)
    client.receive(replies(MAIL, RCPT, "250 2.0.0 taken"))
    client.eof()
    client.body(b"three")
    client.end_body()
    [transaction] = client.unfinished()
    assert told(transaction) == "250 / 250 / - / -: safe"


def test_in_flight_is_bounded_by_transactions() -> None:
    """As many as `depth` says, which may change; one at least."""
    peer = Peer(*(envelope("b@x") for _ in range(50)), trust=chunked(), hello=CHUNKING_HELLO).greet()
    assert peer.client.depth == 16
    assert peer.hear().count(b"MAIL") == 16
    peer.client.depth = 3
    peer.say(*[MAIL, RCPT, FINAL, RSET] * 14)
    assert peer.client.open == 3
    assert peer.hear() == b""
    peer.say(*[MAIL, RCPT, FINAL, RSET] * 2)
    peer.client.depth = 1
    peer.silence()
    assert peer.hear().count(b"MAIL") == 1


def test_in_flight_is_bounded_by_octets() -> None:
    """Beyond the window nothing begins until what is out is proven."""
    trust = chunked()
    client = Peer(trust=trust, hello=CHUNKING_HELLO).greet().client
    piece = bytes(200 * 1024)
    begun = 0
    while client.can_begin:
        client.begin(envelope("b@x"))
        client.body(piece)
        client.end_body()
        begun += 1
    assert begun == 6
    assert client.ends_unsent
    assert WINDOW <= client.in_flight < WINDOW + len(piece) + 100


def test_bursts_are_joined_up_to_a_bound() -> None:
    """Small parts share one block, a large one goes out by itself, and all octets go out in order."""
    client = Peer(trust=chunked(), hello=CHUNKING_HELLO).greet().client
    sizes = [1000] * 5 + [200 * 1024] + [1000] * 5
    for i, size in enumerate(sizes):
        client.begin(envelope(f"r{i}@x"))
        client.body(b"%d" % (i % 10) * size)
        client.end_body()
    blocks = []
    while block := client.data_to_send():
        blocks.append(block)
        client.sent(len(block))
    assert [len(block) > BURST for block in blocks] == [False, True, False]
    expected = b"".join(
        wire(f"r{i}@x", last=b"BDAT %d LAST\r\n" % size) + b"%d" % (i % 10) * size + b"RSET\r\n"
        for i, size in enumerate(sizes)
    )
    assert b"".join(blocks) == expected


def test_what_is_in_flight_keeps_its_marker() -> None:
    """Another session's fault takes the marker away from the destination, not from what relies on it."""
    peer = burst(["b@x"], ["b@x"])
    peer.trust.forget_marker()
    peer.trust.doubt("elsewhere", Mode.CHUNKED)
    peer.say(MAIL, RCPT, FINAL, RSET, MAIL)
    assert len(peer.finished) == 1
    with pytest.raises(RemoteProtocolError, match="out of step"):
        peer.say(MAIL)


def test_data_behind_chunks() -> None:
    """After another session's doubt the next transaction goes by DATA, and its MAIL proves as well."""
    peer = burst(["b@x"], ["b@x"])
    peer.trust.doubt("elsewhere", Mode.CHUNKED)
    peer.todo.append(envelope("c@x"))
    assert peer.hear().endswith(b"RCPT TO:<c@x>\r\nDATA\r\n")
    peer.say(*[MAIL, RCPT, FINAL, RSET] * 2, MAIL, RCPT, "354 go")
    assert len(peer.finished) == 2
    peer.hear()
    peer.say(FINAL)
    peer.silence()
    assert [one.mode for one in peer.finished] == [Mode.CHUNKED, Mode.CHUNKED, Mode.PIPELINED]


def test_lockstep_waits_for_chunks_in_flight() -> None:
    """In the simplest mode nothing follows what is not proven."""
    peer = burst(["b@x"])
    peer.trust.doubt("elsewhere", Mode.PIPELINED)
    peer.todo.append(envelope("c@x"))
    assert peer.hear() == b""
    peer.say(MAIL, RCPT, FINAL, RSET)
    assert peer.hear() == b""
    peer.silence()
    assert peer.hear() == b"MAIL FROM:<a@x>\r\n"


CLOSING = "421 4.3.2 closing"


@pytest.mark.parametrize(
    ("answers", "stage", "first"),
    [
        ([], Stage.MAIL, "421 / - / - / -: uncertain"),
        ([MAIL], Stage.RCPT, "250 / 421 / - / -: uncertain"),
        ([MAIL, RCPT], Stage.FINAL, "250 / 250 / - / 421: uncertain final?"),
        ([MAIL, RCPT, FINAL], Stage.RSET, "250 / 250 / - / 250: uncertain"),
        ([MAIL, "550 5.1.1"], Stage.RSET, "250 / 550 / - / -: uncertain"),
        ([MAIL, "550 5.1.1", NOBODY], Stage.RSET, "250 / 550 / 503 / -: uncertain"),
    ],
)
def test_server_that_closes_in_the_middle(answers: list[str], stage: Stage, first: str) -> None:
    """421 answers its slot; what was read before holds where nothing else can have said it."""
    peer = burst(["b@x"], ["c@x"])
    peer.say(*answers, CLOSING)
    closing = peer.events[-1]
    assert isinstance(closing, ServerClosing)
    assert closing.stage is stage
    one, two = peer.client.unfinished()
    assert told(one) == first
    assert told(two) == "- / - / - / -: uncertain envelope?"


def test_server_that_closes_behind_the_last_reset() -> None:
    """It said all it had to say."""
    peer = burst(["b@x"])
    events = peer.say(MAIL, RCPT, FINAL, RSET, CLOSING)
    assert [type(event) for event in events] == [Finished, ServerClosing]


def test_server_that_hangs_up_after_each_message_costs_ever_fewer_second_copies() -> None:
    """What was in flight behind it is uncertain, so each time the probation is twice as long."""
    trust = chunked()
    uncertain = 0
    for _ in range(400):
        peer = Peer(*(envelope("b@x") for _ in range(4)), trust=trust, hello=CHUNKING_HELLO).greet()
        if b"DATA" in peer.hear():
            peer.say(MAIL, RCPT, "354 go")
            peer.hear()
            peer.say(FINAL)
        else:
            peer.say(*[RSET] * (trust.rset is not None and peer.due() is Stage.RSET), MAIL, RCPT, FINAL)
        peer.react(peer.client.eof())
        uncertain += sum(
            one.uncertain and not one.proven and not one.complete for one in peer.client.unfinished()
        )
    assert uncertain <= 3 * 8
    assert trust.doubts == 0


def test_learnt_reset_is_the_whole_reply() -> None:
    """Code and words: a final reply of the same code is not mistaken for it."""
    assert chunked().rset == Reply(250, "2.0.0", ("reset",))


def test_a_mode_is_told_with_each_transaction() -> None:
    """For logs."""
    assert [mode.word for mode in Mode] == ["lockstep", "pipelined", "chunked"]
    assert Transaction(sender="", recipients=[]).mode is Mode.LOCKSTEP
