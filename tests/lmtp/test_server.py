"""The server's role: order, syntax, pipelining, and who owes which answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from spooler.envelope import BodyType, Notify
from spooler.lmtp.arguments import MailParameters, RcptParameters
from spooler.lmtp.errors import LocalProtocolError
from spooler.lmtp.server import Server
from spooler.lmtp.serving import (
    Content,
    DataStarted,
    EndOfContent,
    Event,
    Lhlo,
    MailFrom,
    Quit,
    RcptTo,
    Reset,
    ServerLimits,
    StartTls,
    State,
)
from spooler.reply import Stage

Answer = Callable[[Server, Event], None]


def accept(server: Server, event: Event) -> None:
    """Accept whatever is owed."""
    while server.owed is not None:
        server.accept()


def feed(server: Server, blocks: Iterable[bytes], answer: Answer = accept) -> list[Event]:
    """Give blocks to a server and answer each event; contents that follow each other are joined."""
    events: list[Event] = []
    for block in blocks:
        server.receive(block)
        while (event := server.next_event()) is not None:
            if isinstance(event, Content) and events and isinstance(events[-1], Content):
                event = Content(events.pop().data + event.data)  # type: ignore[union-attr] # checked above
            events.append(event)
            answer(server, event)
    return events


def greeted(**options: object) -> Server:
    """Return a server that greeted, and whose greeting was sent."""
    server = Server(name="mx.example", **options)  # type: ignore[arg-type] # passed through
    server.accept()
    server.data_to_send()
    return server


def ready(**options: object) -> Server:
    """Return a server that was told hello."""
    server = greeted(**options)
    feed(server, [b"EHLO c\r\n" if server.smtp else b"LHLO c\r\n"])
    server.data_to_send()
    return server


def answers(server: Server, wire: bytes, answer: Answer = accept) -> list[str]:
    """Give one block and return the replies, each line without its end."""
    feed(server, [wire], answer)
    return server.data_to_send().decode().splitlines()


def codes(server: Server, wire: bytes, answer: Answer = accept) -> list[int]:
    """Give one block and return the codes of the replies."""
    return [int(line[:3]) for line in answers(server, wire, answer) if line[3] == " "]


ENVELOPE = b"MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\nDATA\r\n"
DIALOGUE = (
    b"lhlo client.example\r\n"
    b"mail from:<> SIZE=12 body=8bitmime\r\n"
    b"RCPT TO:<One@Y.Example>\r\n"
    b"RCPT TO:<postmaster> NOTIFY=FAILURE,DELAY ORCPT=rfc822;two@y.example\r\n"
    b"NOOP\r\n"
    b"DATA\r\n"
    b"..a\r\nb\nc\r\n.\r\n"
    b"BOGUS\r\n"
    b"MAIL FROM:<a@x.example>\r\n"
    b"RSET\r\n"
    b"QUIT\r\n"
)
EVENTS: list[Event] = [
    Lhlo("client.example"),
    MailFrom("", MailParameters(size=12, body=BodyType.EIGHT_BIT)),
    RcptTo("One@Y.Example", RcptParameters()),
    RcptTo("postmaster", RcptParameters(notify=Notify.FAILURE | Notify.DELAY, orcpt="rfc822;two@y.example")),
    DataStarted(),
    Content(b".a\r\nb\nc\r\n"),
    EndOfContent(size=9, replies=2, too_big=False),
    MailFrom("a@x.example", MailParameters()),
    Reset(),
    Quit(),
]
REPLIES = [
    *(
        "250-mx.example",
        "250-PIPELINING",
        "250-CHUNKING",
        "250-8BITMIME",
        "250-SMTPUTF8",
        "250-ENHANCEDSTATUSCODES",
    ),
    *("250-DSN", "250 SIZE 0"),
    "250 2.1.0 sender ok",
    *("250 2.1.5 recipient ok", "250 2.1.5 recipient ok"),
    "250 2.0.0 ok",
    "354 end with a line that holds a dot alone",
    *("250 2.0.0 delivered", "250 2.0.0 delivered"),
    "500 5.5.1 command not recognised",
    "250 2.1.0 sender ok",
    "250 2.0.0 reset",
    "221 2.0.0 bye",
]


@pytest.mark.parametrize(
    "blocks",
    [
        [DIALOGUE],
        [bytes([byte]) for byte in DIALOGUE],
        DIALOGUE.splitlines(keepends=True),
        [DIALOGUE + b"MAIL FROM:<late@x.example>\r\n"],
    ],
    ids=["whole", "bytes", "lines", "trailing"],
)
def test_a_dialogue_gives_the_same_events_however_it_is_cut(blocks: list[bytes]) -> None:
    """A whole dialogue, read at once, by bytes, by lines or with more behind QUIT, is the same dialogue."""
    server = greeted()
    assert feed(server, blocks) == EVENTS
    assert server.data_to_send().decode().splitlines() == REPLIES
    assert server.closing


def test_the_greeting_is_owed_first() -> None:
    """Nothing is read before the connection was answered; then what came early is."""
    server = Server(name="mx.example")
    server.receive(b"LHLO c\r\n")
    assert server.owed is Stage.CONNECT
    assert server.next_event() is None
    server.accept()
    assert server.data_to_send() == b"220 mx.example LMTP\r\n"
    assert server.next_event() == Lhlo("c")


def test_a_refusing_greeting_leaves_only_quit() -> None:
    """After a 554 greeting every command but QUIT gets 503 (RFC 5321 section 3.1)."""
    server = Server(name="mx.example")
    server.reply(554, "", "no service")
    assert codes(server, b"LHLO c\r\nMAIL FROM:<>\r\nNOOP\r\nQUIT\r\n") == [554, 503, 503, 503, 221]


@pytest.mark.parametrize("stage", ["greeting", "MAIL", "RCPT", "final"])
def test_421_closes_wherever_it_stands(stage: str) -> None:
    """After 421 the server is closing and reads nothing more (RFC 5321 section 3.8)."""
    server = Server(name="mx.example")

    def answer(server: Server, event: Event) -> None:
        kinds: dict[str, type[Event]] = {"MAIL": MailFrom, "RCPT": RcptTo, "final": EndOfContent}
        if stage in kinds and isinstance(event, kinds[stage]):
            server.reply(421, "4.3.2", "going")
        else:
            accept(server, event)

    if stage == "greeting":
        server.reply(421, "", "busy")
    else:
        server.accept()
    feed(server, [b"LHLO c\r\n" + ENVELOPE + b"a\r\n.\r\n" + ENVELOPE], answer)
    assert server.closing
    assert server.owed is None
    assert server.data_to_send().decode().splitlines()[-1][:3] == "421"


@pytest.mark.parametrize(
    ("wire", "expected"),
    [
        (b"MAIL FROM:<a@x>\r\n", [503]),
        (b"RCPT TO:<a@x>\r\n", [503]),
        (b"DATA\r\n", [503]),
        (b"NOOP\r\nRSET\r\nVRFY a\r\nHELP\r\n", [250, 250, 252, 214]),
        (b"LHLO c\r\nRCPT TO:<a@x>\r\n", [250, 503]),
        (b"LHLO c\r\nDATA\r\n", [250, 503]),
        (b"LHLO c\r\nMAIL FROM:<a@x>\r\nMAIL FROM:<b@x>\r\n", [250, 250, 503]),
        (b"LHLO c\r\nMAIL FROM:<a@x>\r\nDATA\r\n", [250, 250, 503]),
        (b"LHLO c\r\nMAIL FROM:<a@x>\r\nRCPT TO:<b@x>\r\nMAIL FROM:<b@x>\r\n", [250, 250, 250, 503]),
        (b"LHLO c\r\nMAIL FROM:<a@x>\r\nRSET\r\nRCPT TO:<b@x>\r\n", [250, 250, 250, 503]),
        (b"LHLO c\r\nMAIL FROM:<a@x>\r\nLHLO c\r\nRCPT TO:<b@x>\r\n", [250, 250, 250, 503]),
        (b"LHLO c\r\nMAIL FROM:<a@x>\r\nLHLO c\r\nMAIL FROM:<b@x>\r\n", [250, 250, 250, 250]),
    ],
)
def test_commands_out_of_order_get_503(wire: bytes, expected: list[int]) -> None:
    """The order of RFC 5321 section 4.1.4 is held by the server itself."""
    assert codes(greeted(), wire) == expected


@pytest.mark.parametrize(
    ("wire", "expected"),
    [
        (b"EHLO c\r\n", "500 5.5.1"),
        (b"HELO c\r\n", "500 5.5.1"),
        (b"LHLO\r\n", "501 5.5.4"),
        (b"LHLO a b\r\n", "501 5.5.4"),
        (b"LHLO \xff\r\n", "501 5.5.4"),
        (b"XYZZY\r\n", "500 5.5.1"),
        (b"BDAT\r\n", "501 5.5.4"),
        (b"BDAT x LAST\r\n", "501 5.5.4"),
        (b"BDAT 3 LATER\r\n", "501 5.5.4"),
        (b"BDAT -3\r\n", "501 5.5.4"),
        (b"\r\n", "500 5.5.2"),
        (b"NOOP\n", "500 5.5.2"),
        (b"\n", "500 5.5.2"),
        (b"NO\rOP\r\n", "500 5.5.2"),
        (b"NO\0OP\r\n", "500 5.5.2"),
        (b"RSET now\r\n", "501 5.5.4"),
        (b"QUIT now\r\n", "501 5.5.4"),
        (b"MAIL\r\n", "501 5.5.4"),
        (b"MAIL TO:<a@x>\r\n", "501 5.5.4"),
        (b"MAIL FROM: <a@x>\r\n", "501 5.1.7"),
        (b"MAIL FROM:a@x\r\n", "501 5.1.7"),
        (b"MAIL FROM:<a@x\r\n", "501 5.1.7"),
        (b"MAIL FROM:<a b@x>\r\n", "501 5.1.7"),
        (b"MAIL FROM:<a@x>SIZE=1\r\n", "501 5.1.7"),
        (b"MAIL FROM:<a@>\r\n", "501 5.1.7"),
        (b"MAIL FROM:<@hop>\r\n", "501 5.1.7"),
        (b"MAIL FROM:<@hop:>\r\n", "501 5.1.7"),
        (b"MAIL FROM:<\xe9@x>\r\n", "501 5.1.7"),
        ("MAIL FROM:<é@x>\r\n".encode(), "553 5.6.7"),
        (b"MAIL FROM:<a@x> SIZE\r\n", "501 5.5.4"),
        (b"MAIL FROM:<a@x> SIZE=x\r\n", "501 5.5.4"),
        (b"MAIL FROM:<a@x> SIZE=" + b"1" * 21 + b"\r\n", "501 5.5.4"),
        (b"MAIL FROM:<a@x> SIZE=1 SIZE=1\r\n", "501 5.5.4"),
        (b"MAIL FROM:<a@x> BODY\r\n", "501 5.5.4"),
        (b"MAIL FROM:<a@x> BODY=BINARYMIME\r\n", "501 5.5.4"),
        (b"MAIL FROM:<a@x> SMTPUTF8=yes\r\n", "501 5.5.4"),
        (b"MAIL FROM:<a@x> RET=ALL\r\n", "501 5.5.4"),
        (b"MAIL FROM:<a@x> RET=\xff\r\n", "501 5.5.4"),
        (b"MAIL FROM:<a@x> RET\r\n", "501 5.5.4"),
        (b"MAIL FROM:<a@x> ENVID=a+b\r\n", "501 5.5.4"),
        (b"MAIL FROM:<a@x> ENVID=" + b"a" * 101 + b"\r\n", "501 5.5.4"),
        (b"MAIL FROM:<a@x> =\r\n", "501 5.5.4"),
        (b"MAIL FROM:<a@x> AUTH=<>\r\n", "555 5.5.4"),
        (b"MAIL FROM:<a@x> NOTIFY=NEVER\r\n", "555 5.5.4"),
    ],
)
def test_faults_of_syntax_are_answered(wire: bytes, expected: str) -> None:
    """What is unknown or malformed is answered by the server itself, and the dialogue goes on."""
    server = ready()
    replies = answers(server, wire + b"NOOP\r\n")
    assert [reply[: len(expected)] for reply in replies[:1]] == [expected]
    assert replies[1:] == ["250 2.0.0 ok"]


@pytest.mark.parametrize(
    ("wire", "expected"),
    [
        (b"RCPT FROM:<a@x>\r\n", "501 5.5.4"),
        (b"RCPT TO:<>\r\n", "501 5.1.3"),
        (b'RCPT TO:<"a@x>\r\n', "501 5.1.3"),
        ("RCPT TO:<é@x>\r\n".encode(), "553 5.6.7"),
        (b"RCPT TO:<a@x> NOTIFY=NEVER,DELAY\r\n", "501 5.5.4"),
        (b"RCPT TO:<a@x> NOTIFY=DELAY,NEVER\r\n", "501 5.5.4"),
        (b"RCPT TO:<a@x> NOTIFY=DEFAULT\r\n", "501 5.5.4"),
        (b"RCPT TO:<a@x> NOTIFY=\r\n", "501 5.5.4"),
        (b"RCPT TO:<a@x> NOTIFY\r\n", "501 5.5.4"),
        (b"RCPT TO:<a@x> ORCPT=a@x\r\n", "501 5.5.4"),
        (b"RCPT TO:<a@x> SIZE=1\r\n", "555 5.5.4"),
    ],
)
def test_faults_of_rcpt_are_answered(wire: bytes, expected: str) -> None:
    """A malformed RCPT is refused alone: its transaction stands."""
    server = ready()
    assert codes(server, b"MAIL FROM:<a@x>\r\n") == [250]
    assert [reply[: len(expected)] for reply in answers(server, wire)] == [expected]
    assert codes(server, b"RCPT TO:<a@x>\r\n") == [250]


@pytest.mark.parametrize(
    ("path", "address"),
    [
        (b"<postmaster>", "postmaster"),
        (b'<"a b>c<\\"@"@x.example>', '"a b>c<\\"@"@x.example'),
        (b"<a@[IPv6:::1]>", "a@[IPv6:::1]"),
        (b"<@hop.example,@hop2.example:a@x.example>", "a@x.example"),
        ("<Jürgen@müller.example>".encode(), "Jürgen@müller.example"),
    ],
)
def test_addresses_come_out_as_they_were_sent(path: bytes, address: str) -> None:
    """Quoted local parts, literals and UTF-8 are read; a source route is dropped (RFC 5321 appendix C)."""
    events = feed(ready(), [b"MAIL FROM:<> SMTPUTF8\r\nRCPT TO:" + path + b"\r\n"])
    assert events[1] == RcptTo(address, RcptParameters())


def test_parameters_of_mail_are_read() -> None:
    """Every parameter of MAIL that is announced comes out typed; ENVID keeps its xtext form."""
    wire = b"MAIL FROM:<a@x> size=0 BODY=7bit SMTPUTF8 RET=hdrs ENVID=a+2Bb\r\n"
    assert feed(ready(), [wire]) == [
        MailFrom(
            "a@x", MailParameters(size=0, body=BodyType.SEVEN_BIT, smtputf8=True, ret="HDRS", envid="a+2Bb")
        )
    ]


def test_what_is_not_announced_is_not_taken() -> None:
    """A server without capabilities says only its name, sends no enhanced codes and takes no parameter."""
    server = greeted(capabilities=())
    assert answers(server, b"LHLO c\r\n") == ["250 mx.example"]
    assert answers(server, b"MAIL FROM:<a@x> SIZE=1\r\n") == ["555 parameter not recognised"]
    assert answers(server, b"MAIL FROM:<a@x>\r\n") == ["250 sender ok"]
    assert answers(server, b"RCPT TO:<a@x> NOTIFY=NEVER\r\n") == ["555 parameter not recognised"]


def test_a_refused_mail_opens_no_transaction() -> None:
    """RCPT and DATA behind a refused MAIL get 503, as a pipelining client expects."""

    def answer(server: Server, event: Event) -> None:
        if isinstance(event, MailFrom):
            server.reply(451, "4.3.0", "later")
        else:
            accept(server, event)

    assert codes(ready(), ENVELOPE, answer) == [451, 503, 503]


def test_data_without_accepted_recipients_gets_503_and_leaves_the_transaction_open() -> None:
    """RFC 2033 section 4.2; a further MAIL is out of order until RSET."""

    def answer(server: Server, event: Event) -> None:
        if isinstance(event, RcptTo):
            server.reply(550, "5.1.1", "unknown")
        else:
            accept(server, event)

    assert codes(ready(), ENVELOPE + ENVELOPE + b"RSET\r\n" + ENVELOPE, answer) == [
        *(250, 550, 503),
        *(503, 550, 503),
        250,
        *(250, 550, 503),
    ]


def test_after_a_refused_data_commands_follow() -> None:
    """What stands behind a DATA that was refused is read as commands."""

    def answer(server: Server, event: Event) -> None:
        if isinstance(event, DataStarted):
            server.reply(451, "4.3.0", "later")
        else:
            accept(server, event)

    assert codes(ready(), ENVELOPE + b"RSET\r\nNOOP\r\n", answer) == [250, 250, 451, 250, 250]


def test_each_accepted_recipient_gets_its_own_final_reply() -> None:
    """As many finals are owed as recipients were accepted, duplicates included, and in their order."""
    refused = iter([False, True, False, False])

    def answer(server: Server, event: Event) -> None:
        if isinstance(event, RcptTo) and next(refused):
            server.reply(550, "5.1.1", "unknown")
        elif isinstance(event, EndOfContent):
            assert event.replies == 3
            server.accept()
            server.reply(452, "4.2.2", "full")
            assert server.owed is Stage.FINAL
            assert server.owed_replies == 1
            server.reply(250, "2.1.5", ["kept", "for good"])
        else:
            accept(server, event)

    wire = b"MAIL FROM:<>\r\n" + b"RCPT TO:<a@x>\r\n" * 4 + b"DATA\r\na\r\n.\r\nNOOP\r\n"
    assert answers(ready(), wire, answer)[6:] == [
        "250 2.0.0 delivered",
        "452 4.2.2 full",
        "250-2.1.5 kept",
        "250 2.1.5 for good",
        "250 2.0.0 ok",
    ]


def test_no_event_comes_before_the_answer_that_is_owed() -> None:
    """A block of commands pauses at each answer."""
    server = ready()
    server.receive(ENVELOPE + b"a\r\n.\r\n")
    for stage in (Stage.MAIL, Stage.RCPT, Stage.DATA):
        assert server.next_event() is not None
        assert server.owed is stage
        assert server.next_event() is None
        server.accept()
    assert server.next_event() == Content(b"a\r\n")
    assert server.next_event() == EndOfContent(size=3, replies=1, too_big=False)
    assert server.next_event() is None
    server.accept()
    assert server.owed is None
    assert server.state is State.READY


@pytest.mark.parametrize("end", [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r\r\n", b"\r\n\0.\r\n"])
def test_no_other_end_of_data_smuggles_a_second_message(end: bytes) -> None:
    """What looks like an end of data to a careless server is content, and so is what follows it.

    A dot that begins a line is still unstuffed.
    """
    smuggled = b"MAIL FROM:<evil@x>\r\nRCPT TO:<b@x>\r\nDATA\r\nevil\r\n"
    server = ready()
    events = feed(server, [ENVELOPE + b"a" + end + smuggled + b".\r\n"])
    assert [event.sender for event in events if isinstance(event, MailFrom)] == ["a@x.example"]
    assert [event.data for event in events if isinstance(event, Content)] == [
        b"a" + end.replace(b"\r\n.", b"\r\n") + smuggled
    ]


@pytest.mark.parametrize("cut", [1, 7, 1000, 100_000])
def test_bulk_content_is_given_out_block_by_block(cut: int) -> None:
    """A big content passes as it arrives: little is held back, and nothing is lost or added."""
    content = b"".join(b"line %d\r\n" % n for n in range(2000))
    wire = ENVELOPE + content + b".\r\n"
    server = ready()
    events = feed(server, [wire[at : at + cut] for at in range(0, len(wire), cut)])
    assert events[3:] == [Content(content), EndOfContent(size=len(content), replies=1, too_big=False)]


@pytest.mark.parametrize("cut", [1, 3, 9999])
def test_lines_end_at_the_limit(cut: int) -> None:
    """A line of exactly the limit is read, a longer one is refused once and skipped to its end."""
    longest = b"NOOP " + b"x" * (64 - 7) + b"\r\n"
    wire = longest + b"x" + longest + b"y" * 500 + b"\r\nNOOP\r\n"
    server = ready(limits=ServerLimits(line=64))
    feed(server, [wire[at : at + cut] for at in range(0, len(wire), cut)])
    assert [line[:9] for line in server.data_to_send().decode().splitlines()] == [
        "250 2.0.0",
        "500 5.5.2",
        "500 5.5.2",
        "250 2.0.0",
    ]


def test_an_endless_line_is_not_kept() -> None:
    """Of a line without end nothing is buffered beyond the limit."""
    server = ready()
    for _ in range(100):
        server.receive(b"x" * 65536)
        assert server.next_event() is None
    assert len(server._buffer) - server._at <= 2048


@pytest.mark.parametrize("wire", [b"BOGUS\r\n", b"MAIL FROM:a\r\n", b"\n", b"x" * 3000 + b"\r\n"])
def test_too_many_faults_end_the_connection(wire: bytes) -> None:
    """The last fault that is borne is answered, then 421, and nothing is read any more."""
    server = ready(limits=ServerLimits(errors=3))
    replies = [reply[:3] for reply in answers(server, wire * 9)]
    assert replies == [replies[0]] * 3 + ["421"]
    assert server.closing
    assert codes(server, b"NOOP\r\n") == []


def test_mail_that_gets_through_forgives_faults() -> None:
    """Faults are counted since the last content."""
    server = ready(limits=ServerLimits(errors=2))
    assert codes(server, (b"BOGUS\r\n" + ENVELOPE + b".\r\n") * 3) == [500, 250, 250, 354, 250] * 3


def test_order_is_no_fault_that_counts() -> None:
    """A refused MAIL with many pipelined RCPTs behind it must not cost the connection."""
    server = ready(limits=ServerLimits(errors=2))
    assert codes(server, b"RCPT TO:<a@x>\r\n" * 50 + b"NOOP\r\n") == [503] * 50 + [250]


def test_a_size_over_the_limit_is_refused_at_mail() -> None:
    """RFC 1870 section 6.1; the limit itself is announced, and still fits."""
    server = greeted(limits=ServerLimits(size=10))
    assert "250 SIZE 10" in answers(server, b"LHLO c\r\n")
    assert answers(server, b"MAIL FROM:<> SIZE=11\r\n") == ["552 5.3.4 message is over the size limit"]
    assert codes(server, b"MAIL FROM:<> SIZE=10\r\n") == [250]


@pytest.mark.parametrize("cut", [1, 4, 9999])
def test_a_content_over_the_limit_is_read_and_not_given_out(cut: int) -> None:
    """The client hears at the end that it was too big; a content of exactly the limit passes."""
    server = ready(limits=ServerLimits(size=10))
    wire = ENVELOPE + b"12345678\r\n.\r\n" + ENVELOPE + b"123456789\r\nabc\r\n.\r\nNOOP\r\n"
    events = feed(server, [wire[at : at + cut] for at in range(0, len(wire), cut)])
    assert events[3:5] == [Content(b"12345678\r\n"), EndOfContent(size=10, replies=1, too_big=False)]
    given = sum(len(event.data) for event in events[5:] if isinstance(event, Content))
    assert given <= 10
    assert events[-1] == EndOfContent(size=16, replies=1, too_big=True)


def test_as_smtp_one_reply_answers_for_all() -> None:
    """With `smtp`, EHLO and HELO are served, LHLO is not, and one final reply is owed."""
    server = Server(name="mx.example", smtp=True)
    server.accept()
    assert answers(server, b"LHLO c\r\n") == ["220 mx.example ESMTP", "500 5.5.1 this is SMTP, send EHLO"]
    assert codes(server, b"HELO c\r\n") == [250]
    assert len(answers(server, b"EHLO c\r\n")) == 8
    assert answers(server, b"HELO c\r\n") == ["250 mx.example"]
    wire = b"MAIL FROM:<>\r\n" + b"RCPT TO:<a@x>\r\n" * 3 + b"DATA\r\n.\r\n"
    assert feed(server, [wire])[-1] == EndOfContent(size=0, replies=1, too_big=False)


def test_a_refused_lhlo_is_no_hello() -> None:
    """After a refused LHLO mail is still out of order."""

    def answer(server: Server, event: Event) -> None:
        if isinstance(event, Lhlo):
            server.reply(550, "", "not you")
        else:
            accept(server, event)

    assert codes(greeted(), b"LHLO c\r\nMAIL FROM:<>\r\n", answer) == [550, 503]


def test_the_application_cannot_break_the_protocol() -> None:
    """An answer that nobody waits for, or that cannot stand there, is an error of ours and sends nothing."""
    server = ready()
    with pytest.raises(LocalProtocolError, match="no answer is owed"):
        server.accept()
    with pytest.raises(LocalProtocolError, match="no answer is owed"):
        server.reply(250, "", "ok")
    server.receive(ENVELOPE)
    server.next_event()
    for code, enhanced, text in [
        (354, "", "go"),
        (199, "", "what"),
        (600, "", "what"),
        (250, "5.1.0", "class"),
        (250, "2.1", "form"),
        (250, "", "line\r\nbreak"),
        (250, "", []),
    ]:
        with pytest.raises(LocalProtocolError):
            server.reply(code, enhanced, text)
    assert server.owed is Stage.MAIL
    accept(server, server.next_event() or Reset())
    server.next_event()
    accept(server, Reset())
    assert server.next_event() == DataStarted()
    with pytest.raises(LocalProtocolError, match="250 cannot answer data"):
        server.reply(250, "", "ok")
    assert server.data_to_send() == b"250 2.1.0 sender ok\r\n250 2.1.5 recipient ok\r\n"


def test_starttls_forgets_all_that_was_said() -> None:
    """It is answered once, nothing is read before TLS stands, and what was sent ahead is never a command."""
    server = ready(capabilities=("STARTTLS", "SIZE"))
    assert feed(server, [b"STARTTLS\r\nMAIL FROM:<a@x>\r\n", b"RSET\r\n"]) == [StartTls()]
    assert server.data_to_send() == b"220 begin TLS now\r\n"
    server.secured()
    assert codes(server, b"MAIL FROM:<a@x>\r\n") == [503]
    assert answers(server, b"LHLO c\r\n") == ["250-mx.example", "250 SIZE 0"]
    assert codes(server, b"STARTTLS\r\nMAIL FROM:<a@x>\r\n") == [502, 250]


def test_starttls_only_where_it_is_announced_and_in_order() -> None:
    """Not before LHLO, not in a transaction, and without an argument."""
    assert codes(ready(), b"STARTTLS\r\n") == [502]
    assert codes(greeted(capabilities=("STARTTLS",)), b"STARTTLS\r\n") == [503]
    server = ready(capabilities=("STARTTLS",))
    assert codes(server, b"STARTTLS now\r\nMAIL FROM:<a@x>\r\nSTARTTLS\r\n") == [501, 250, 503]
    assert codes(server, b"RCPT TO:<b@y>\r\nSTARTTLS\r\n") == [250, 503]
