"""The server's role with BDAT (RFC 3030): whose octets are whose, and who is answered."""

from __future__ import annotations

import pytest

from spooler.lmtp.server import Server
from spooler.lmtp.serving import ChunkStarted, Content, EndOfContent, Event, MailFrom, ServerLimits, State
from tests.lmtp.test_server import accept, answers, codes, feed, greeted, ready

OPEN = b"MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\nRCPT TO:<c@y.example>\r\n"
EMPTY = b"MAIL FROM:<a@x.example>\r\n"
DOTS = b".\r\n\r\n.\r\nRSET\r\n"


@pytest.mark.parametrize("step", [1, 3, 1000])
def test_chunks_are_one_content(step: int) -> None:
    """However they are cut: octets as they are, a reply to each chunk, one to each recipient for the last."""
    server = ready()
    wire = OPEN + b"BDAT %d\r\n%b" % (len(DOTS), DOTS) + b"bdat 3 last\r\nend" + b"RSET\r\n"
    events = feed(server, [wire[i : i + step] for i in range(0, len(wire), step)])
    contents = b"".join(event.data for event in events if isinstance(event, Content))
    assert contents == DOTS + b"end"
    assert [event for event in events if isinstance(event, (ChunkStarted, EndOfContent))] == [
        ChunkStarted(len(DOTS), last=False),
        ChunkStarted(3, last=True),
        EndOfContent(size=len(DOTS) + 3, replies=2, too_big=False),
    ]
    assert server.data_to_send().decode().splitlines()[3:] == [
        f"250 2.0.0 {len(DOTS)} octets taken",
        "250 2.0.0 delivered",
        "250 2.0.0 delivered",
        "250 2.0.0 reset",
    ]


def test_whole_transactions_back_to_back() -> None:
    """One block may hold many; each is answered in its turn."""
    server = ready()
    assert codes(server, (OPEN + b"BDAT 2 LAST\r\nhiRSET\r\n") * 3) == [250, 250, 250, 250, 250, 250] * 3


def test_an_empty_last_chunk() -> None:
    """It ends the content."""
    server = ready()
    wire = OPEN + b"BDAT 2\r\nhiBDAT 0 LAST\r\n"
    assert feed(server, [wire])[-1] == EndOfContent(size=2, replies=2, too_big=False)
    assert feed(server, [OPEN + b"BDAT 0 LAST\r\n"])[-1] == EndOfContent(size=0, replies=2, too_big=False)


def test_nobody_to_take_it_is_answered_once_and_the_transaction_stays_open() -> None:
    """As Dovecot 2.3: 503, and the next MAIL is nested unless RSET comes first."""
    server = ready()
    assert codes(server, EMPTY + b"BDAT 2 LAST\r\nhi" + EMPTY + b"RSET\r\n" + EMPTY) == [
        *(250, 503, 503, 250),
        250,
    ]


def test_nobody_to_take_it_is_not_answered_where_asked() -> None:
    """RFC 2033 section 4.3: as many replies as accepted recipients, and the transaction is over."""
    server = ready(silent_for_nobody=True)
    assert codes(server, EMPTY + b"BDAT 2\r\nhiBDAT 2 LAST\r\nhi" + EMPTY) == [250, 503, 250]


@pytest.mark.parametrize("silent", [True, False])
def test_without_mail_it_is_out_of_order(*, silent: bool) -> None:
    """And its octets are no commands."""
    server = ready(silent_for_nobody=silent)
    assert answers(server, b"BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n") == [
        "503 5.5.1 MAIL comes first",
        "250 2.0.0 ok",
    ]
    assert codes(greeted(), b"BDAT 6\r\nQUIT\r\n") == [503]


def test_over_the_size_limit_the_octets_are_read_and_dropped() -> None:
    """The chunk that passes the limit is refused, and all that follow until RSET; the last one for each."""
    server = ready(limits=ServerLimits(size=4))
    wire = OPEN + b"BDAT 3\r\nabcBDAT 3\r\ndefBDAT 1 LAST\r\ng"
    assert codes(server, wire + b"RSET\r\n" + OPEN) == [250] * 3 + [250, 552, 503] + [250] * 4
    [end] = [event for event in feed(server, [b"BDAT 5 LAST\r\nabcde"]) if isinstance(event, EndOfContent)]
    assert end == EndOfContent(size=5, replies=2, too_big=True)


def test_data_cannot_follow_bdat() -> None:
    """RFC 3030 section 2: one transaction, one of them."""
    server = ready()
    assert codes(server, OPEN + b"BDAT 2\r\nhiDATA\r\nBDAT 2 LAST\r\nhi") == [250] * 4 + [503] + [250] * 2
    assert codes(server, OPEN + b"DATA\r\n.\r\n") == [250] * 3 + [354] + [250] * 2


def test_where_it_is_not_offered_it_is_unknown() -> None:
    """As any other word."""
    server = Server(name="mx.example", capabilities=("PIPELINING",))
    server.accept()
    assert codes(server, b"LHLO c\r\nBDAT 0 LAST\r\n") == [220, 250, 500]


def test_as_smtp_one_reply_answers_for_all() -> None:
    """As behind DATA."""
    server = ready(smtp=True)
    assert feed(server, [OPEN + b"BDAT 0 LAST\r\n"])[-1] == EndOfContent(size=0, replies=1, too_big=False)


def test_refused_recipients_take_no_chunk() -> None:
    """Only the accepted count."""

    def answer(server: Server, event: Event) -> None:
        if isinstance(event, MailFrom):
            server.accept()
        elif server.owed is not None:
            server.reply(550, "5.1.1", "no")

    server = ready()
    assert codes(server, OPEN + b"BDAT 2 LAST\r\nhi", answer) == [250, 550, 550, 503]
    assert server.state is State.MAIL
    accept(server, MailFrom("", None))  # type: ignore[arg-type] # nothing is owed, so it is not looked at
