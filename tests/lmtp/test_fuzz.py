"""The client role given anything: any octets from a server, any message to encode."""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from spooler.errors import DataError
from spooler.intake.normalise import normalise
from spooler.lmtp.errors import LocalProtocolError, RemoteProtocolError
from spooler.lmtp.events import Event, Finished
from spooler.lmtp.grammar import MAX_REPLY_LINE, MAX_REPLY_LINES
from spooler.lmtp.mode import Mode
from spooler.lmtp.replies import ReplyReader
from spooler.lmtp.transaction import Recipient, Transaction
from tests.lmtp.peer import CHUNKING_HELLO, HELLO, LOCKSTEP_HELLO, Peer, chunked, envelope, told, trusted
from tests.lmtp.wire_readers import Heard, lenient, strict

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from spooler.lmtp.client import Client

_HELD_MOST = MAX_REPLY_LINE * MAX_REPLY_LINES


def cut(data: st.DataObject, octets: bytes, most: int = 12) -> list[bytes]:
    """Cut octets into pieces, some of them empty."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(octets)), max_size=most)))
    return [octets[a:b] for a, b in zip([0, *cuts], [*cuts, len(octets)], strict=True)]


# --- what a server says

LINES = st.sampled_from(
    [
        *(b"250 2.1.0 ok", b"250 2.1.5 ok", b"250 2.0.0 saved", b"250 2.0.0 reset", b"250 ok", b"250-more"),
        *(
            b"354 go",
            b"550 5.1.1 no",
            b"452 4.5.3 many",
            b"503 5.5.0 order",
            b"421 4.3.2 bye",
            b"552-5.2.2 a",
        ),
        *(b"552 5.2.2 full", b"220 hello", b"221 bye", b"199 early", b"", b"250 \xff\x00", b"nonsense"),
        b"250 " + b"x" * MAX_REPLY_LINE,
    ]
)
ENDS = st.sampled_from([b"\r\n"] * 12 + [b"\n", b"\r", b"\r\r\n", b""])
SPOKEN = st.lists(st.tuples(LINES, ENDS).map(b"".join), max_size=30).map(b"".join)
ANYTHING = st.one_of(SPOKEN, st.binary(max_size=200), st.tuples(SPOKEN, st.binary(max_size=50)).map(b"".join))


def most_held(pieces: Iterable[bytes]) -> tuple[int, str]:
    """Feed a reader until it fails: the most that it held, and the fault or ""."""
    reader = ReplyReader()
    most = 0
    try:
        for piece in pieces:
            reader.feed(piece)
            most = max(most, reader.pending)
    except RemoteProtocolError as error:
        return most, str(error)
    return most, ""


@given(octets=ANYTHING, size=st.integers(1, 40))
def test_the_reader_is_bounded_and_fails_in_one_way(octets: bytes, size: int) -> None:
    """Any octets: replies or RemoteProtocolError, and never more held than one reply may have."""
    most, fault = most_held(octets[i : i + size] for i in range(0, len(octets), size))
    assert most <= _HELD_MOST
    assert fault.isprintable()


@pytest.mark.parametrize("line", [b"250-x\r\n", b"250-" + b"x" * (MAX_REPLY_LINE - 6) + b"\r\n", b"2", b"\r"])
def test_a_server_that_never_comes_to_an_end(line: bytes) -> None:
    """It is cut off before it has filled more than a reply may have, however it goes on."""
    most, fault = most_held(repeat(line, 2 * _HELD_MOST))
    assert most <= _HELD_MOST
    assert fault


def client_with_all_said(kind: str) -> Peer:
    """A client that waits for replies alone: whatever comes, there is nothing to do in between."""
    if kind == "greeting":
        return Peer()
    if kind == "chunked":
        peer = Peer(*(envelope("b@x", "c@x") for _ in range(3)), trust=chunked(), hello=CHUNKING_HELLO)
    else:
        peer = Peer(envelope("b@x", "c@x"), trust=trusted(), hello=HELLO)
    peer.greet().hear()
    return peer


def reaction(kind: str, pieces: Sequence[bytes]) -> tuple[list[str], list[str], str]:
    """What a client makes of it: events, transactions, and its fault, "" if there was none."""
    client = client_with_all_said(kind).client
    events: list[Event] = []
    fault = ""
    try:
        for piece in pieces:
            events += client.receive(piece)
    except RemoteProtocolError as error:
        fault = str(error)
        assert fault.isprintable()
    else:
        events += client.eof()
    finished = [event.transaction for event in events if isinstance(event, Finished)]
    worth = [told(transaction) for transaction in (*finished, *client.unfinished())]
    return [repr(event) for event in events if not isinstance(event, Finished)], worth, fault


@pytest.mark.parametrize("kind", ["greeting", "pipelined", "chunked"])
@given(data=st.data(), octets=ANYTHING)
def test_any_cut_is_the_same_to_the_client(kind: str, data: st.DataObject, octets: bytes) -> None:
    """Events, what each transaction is worth and the fault do not depend on how the octets arrived."""
    events, worth, fault = reaction(kind, [octets])
    cut_events, cut_worth, cut_fault = reaction(kind, cut(data, octets))
    assert (cut_worth, bool(cut_fault)) == (worth, bool(fault))
    # what is told of a fault shows what there was to see; events in front of it are told if it came apart
    if not fault:
        assert cut_events == events


# --- what is said to a server

RAW = st.one_of(
    st.binary(max_size=120),
    st.lists(
        st.sampled_from(
            [
                *(b"\r\n", b"\n", b"\r", b".", b"..", b"a", b"\r\n.\r\n", b"\n.\n", b"\n.\r\n", b"\r.\r"),
                *(b"\r\n.\n", b"MAIL FROM:<evil@x>\r\n", b"RCPT TO:<v@x>", b"DATA\r\n", b"BDAT 5 LAST\r\n"),
                *(b"QUIT\r\n", b"\xff", b"\r\r\n", b"\n\r"),
            ]
        ),
        max_size=20,
    ).map(b"".join),
)
MAILBOX = st.one_of(
    st.sampled_from(["b@x", '"b c"@x', "postmaster", "ü@x", '".\r\n."@x', "a@[IPv6:::1]", '"b>"@x']),
    st.text('ab.@-"\\ <>\r\nü', min_size=1, max_size=10),
)
MODES = {Mode.LOCKSTEP: LOCKSTEP_HELLO, Mode.PIPELINED: HELLO, Mode.CHUNKED: CHUNKING_HELLO}


def said(mode: Mode, messages: Sequence[tuple[Transaction, Sequence[bytes]]]) -> bytes:
    """All that a client says behind LHLO for these messages, whose contents come in pieces."""
    peer = Peer(trust=chunked() if mode is Mode.CHUNKED else trusted(marker=None), hello=MODES[mode])
    client = peer.greet().client
    heard = b""
    for transaction, pieces in messages:
        client.begin(transaction)
        heard += _listen(client)
        if mode is not Mode.CHUNKED:
            for reply in ("250", *["250"] * len(transaction.recipients), "354 go"):
                client.receive(reply.encode() + b"\r\n")
                heard += _listen(client)
        for piece in pieces:
            client.body(piece)
            heard += _listen(client)
            while client.chunks_unanswered:
                _answer(client)
        client.end_body()
        heard += _listen(client)
        if mode is not Mode.CHUNKED:
            client.receive(b"250 2.0.0 ok\r\n" * len(transaction.recipients))
            client.silence_confirmed()
            continue
        _answer(client)
        client.silence_confirmed()
    return heard


def _listen(client: Client) -> bytes:
    heard = b""
    while octets := client.data_to_send():
        client.sent(len(octets))
        heard += octets
    return heard


_SAYS = {
    "rset": b"250 2.0.0 reset\r\n",
    "mail": b"250 2.1.0 ok\r\n",
    "rcpt": b"250 2.1.5 ok\r\n",
    "body": b"250 2.0.0 taken\r\n",
    "final": b"250 2.0.0 saved\r\n",
}


def _answer(client: Client) -> None:
    """Answer everything that is due."""
    while client.next_stage is not None:
        client.receive(_SAYS[str(client.next_stage)])


@pytest.mark.parametrize("mode", MODES)
@given(data=st.data(), raws=st.lists(RAW, min_size=1, max_size=3))
def test_no_smuggling(mode: Mode, data: st.DataObject, raws: list[bytes]) -> None:
    """What came in, normalised, comes out as so many messages of identical bytes, whoever reads it."""
    messages = []
    expected = []
    for i, raw in enumerate(raws):
        try:
            content, _ = normalise(raw)
        except DataError:
            assume(False)
        recipients = [f"r{i}{n}@x" for n in range(data.draw(st.integers(1, 3)))]
        messages.append((envelope(*recipients, sender=f"s{i}@x"), cut(data, content, 6)))
        expected.append(Heard(b"s%d@x" % i, [r.encode() for r in recipients], content, whole=True))
    stream = said(mode, messages)
    assert strict(stream) == expected
    assert lenient(stream) == expected


@given(data=st.data(), raw=RAW.filter(lambda raw: b"\r" not in raw.replace(b"\r\n", b"")))
def test_a_bare_line_feed_that_slipped_in_ends_nothing(data: st.DataObject, raw: bytes) -> None:
    """Were a content never normalised, both would still read one message: the dots are doubled for both."""
    stream = said(Mode.PIPELINED, [(envelope("b@x", sender="s@x"), cut(data, raw, 6))])
    for read in (strict, lenient):
        (heard,) = read(stream)
        assert (heard.sender, heard.recipients, heard.whole) == (b"s@x", [b"b@x"], True)


@given(
    sender=MAILBOX, recipients=st.lists(MAILBOX, min_size=1, max_size=4), mode=st.sampled_from(list(MODES))
)
def test_no_smuggling_by_addresses(sender: str, recipients: list[str], mode: Mode) -> None:
    """An envelope is refused before an octet exists, or both read it as it was meant."""
    transaction = Transaction(sender=sender, recipients=[Recipient(one) for one in recipients], size=5)
    try:
        stream = said(mode, [(transaction, [b"a\r\n"])])
    except LocalProtocolError:
        assert not transaction.begun
        return
    expected = [Heard(sender.encode(), [one.encode() for one in recipients], b"a\r\n", whole=True)]
    assert strict(stream) == expected
    assert lenient(stream) == expected


@pytest.mark.parametrize("end", [b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\n", b"\r\n.\r\n", b"\r.\n"])
def test_the_lenient_reader_is_that_lenient(end: bytes) -> None:
    """It takes each of these for the end of the data, so a test with it is worth something."""
    stream = b"MAIL FROM:<a@x>\r\nRCPT TO:<b@x>\r\nDATA\r\nx" + end + b"MAIL FROM:<evil@x>\r\n"
    assert [one.sender for one in lenient(stream)] == [b"a@x", b"evil@x"]
