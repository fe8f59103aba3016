"""The command encoder: what it writes, what it refuses, and that nothing can be smuggled through it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spooler.envelope import BodyType, Notify
from spooler.lmtp import commands
from spooler.lmtp.capabilities import Capabilities
from spooler.lmtp.errors import LocalProtocolError
from spooler.lmtp.grammar import MAX_COMMAND_LINE, xtext_decode, xtext_encode
from spooler.lmtp.transaction import Recipient, Transaction

ALL = Capabilities(size=0, eightbitmime=True, smtputf8=True, dsn=True, pipelining=True)
NONE = Capabilities()


def lines(capabilities: Capabilities, **fields: Any) -> list[bytes]:  # noqa: ANN401 - any field
    """The commands of an envelope from a@x to b@x but for these fields, without their ends."""
    values = {"sender": "a@x", "recipients": [Recipient("b@x")]} | fields
    group = commands.envelope(Transaction(**values), capabilities)
    assert group.endswith(b"\r\n")
    return group.split(b"\r\n")[:-1]


@pytest.mark.parametrize(
    ("fields", "capabilities", "expected"),
    [
        ({}, NONE, b"MAIL FROM:<a@x>"),
        ({"sender": ""}, NONE, b"MAIL FROM:<>"),
        ({"sender": '"a b"@x'}, NONE, b'MAIL FROM:<"a b"@x>'),
        ({"size": 10}, NONE, b"MAIL FROM:<a@x>"),
        ({"size": 10}, ALL, b"MAIL FROM:<a@x> SIZE=10"),
        ({"size": 0}, ALL, b"MAIL FROM:<a@x> SIZE=0"),
        ({"body": BodyType.EIGHT_BIT}, NONE, b"MAIL FROM:<a@x>"),
        ({"body": BodyType.EIGHT_BIT}, ALL, b"MAIL FROM:<a@x> BODY=8BITMIME"),
        ({"smtputf8": True}, ALL, b"MAIL FROM:<a@x> SMTPUTF8"),
        ({"smtputf8": True, "sender": "ä@ö"}, ALL, "MAIL FROM:<ä@ö> SMTPUTF8".encode()),
        ({"ret": "FULL", "envid": "x"}, NONE, b"MAIL FROM:<a@x>"),
        ({"ret": "hdrs", "envid": "a b+c=d"}, ALL, b"MAIL FROM:<a@x> RET=HDRS ENVID=a+20b+2Bc+3Dd"),
        ({"ret": "", "envid": ""}, ALL, b"MAIL FROM:<a@x>"),
        (
            {"size": 9, "body": BodyType.EIGHT_BIT, "smtputf8": True, "ret": "FULL", "envid": "e"},
            ALL,
            b"MAIL FROM:<a@x> SIZE=9 BODY=8BITMIME SMTPUTF8 RET=FULL ENVID=e",
        ),
    ],
)
def test_mail(fields: dict[str, Any], capabilities: Capabilities, expected: bytes) -> None:
    """Parameters appear if they are needed and their extension is offered."""
    assert lines(capabilities, **fields)[0] == expected


@pytest.mark.parametrize(
    ("recipient", "capabilities", "expected"),
    [
        (Recipient("postmaster"), NONE, b"RCPT TO:<postmaster>"),
        (Recipient("b@[IPv6:::1]"), NONE, b"RCPT TO:<b@[IPv6:::1]>"),
        (Recipient('"b\\" c"@x'), NONE, b'RCPT TO:<"b\\" c"@x>'),
        (Recipient('"b<c"@x'), NONE, b'RCPT TO:<"b<c"@x>'),
        (Recipient("b@x", Notify.NEVER, "c@x"), NONE, b"RCPT TO:<b@x>"),
        (Recipient("b@x", Notify.NEVER), ALL, b"RCPT TO:<b@x> NOTIFY=NEVER"),
        (Recipient("b@x", Notify.SUCCESS | Notify.DELAY), ALL, b"RCPT TO:<b@x> NOTIFY=SUCCESS,DELAY"),
        (
            Recipient("b@x", Notify.FAILURE, "rfc822;C+c@x"),
            ALL,
            b"RCPT TO:<b@x> NOTIFY=FAILURE ORCPT=rfc822;C+2Bc@x",
        ),
        (Recipient("b@x", orcpt="c@x"), ALL, b"RCPT TO:<b@x> ORCPT=rfc822;c@x"),
        (Recipient("b@x", orcpt="rfc822;ü@x"), ALL, b"RCPT TO:<b@x> ORCPT=utf-8;\\x{FC}@x"),
        (Recipient("b@x", orcpt="UTF-8;a+b\\@x"), ALL, b"RCPT TO:<b@x> ORCPT=utf-8;a\\x{2B}b\\x{5C}@x"),
    ],
)
def test_rcpt(recipient: Recipient, capabilities: Capabilities, expected: bytes) -> None:
    """Quoted local parts, literals and bare names pass as they are; DSN parameters are encoded."""
    assert lines(capabilities, recipients=[recipient])[1] == expected


def test_group_for_many() -> None:
    """A hundred recipients are a hundred commands in one piece, in order, with or without parameters."""
    plain = [Recipient(f"user{i}@x") for i in range(100)]
    expected = [b"RCPT TO:<user%d@x>" % i for i in range(100)]
    for recipients in (plain, [*plain[:99], Recipient("user99@x", Notify.NEVER)]):
        group = commands.envelope(Transaction(sender="a@x", recipients=recipients), ALL)
        found = group.split(b"\r\n")
        assert found[0] == b"MAIL FROM:<a@x>"
        assert [line.removesuffix(b" NOTIFY=NEVER") for line in found[1:101]] == expected
        assert found[101:] == [b""]


@pytest.mark.parametrize(
    "address",
    [
        "b@x\r\nRCPT TO:<evil@x>",
        "b@x\r",
        "b\n@x",
        "b\0@x",
        "b@x>",
        "b@x> NOTIFY=NEVER",
        '"b>c"@x',
        "b\x7f@x",
        "b\x1b@x",
        "b\x85@x",
        "b\u2028@x",
        "b\ud800@x",
        "b c@x",
        " b@x",
        "<b@x",
        'b"@x',
        '"b\\',
        "b" * 513,
    ],
)
@pytest.mark.parametrize("utf8", [False, True])
def test_addresses_that_are_never_sent(address: str, utf8: bool) -> None:
    """What could end a command, or is no mailbox, is refused as sender and as recipient, which is named."""
    good = Recipient("good@x")
    for recipients in ([good, Recipient(address), good], [good, Recipient(address, Notify.NEVER)]):
        with pytest.raises(LocalProtocolError) as caught:
            commands.envelope(Transaction(sender="a@x", recipients=recipients, smtputf8=utf8), ALL)
        assert caught.value.recipient == 1
        assert str(caught.value).isprintable()
    with pytest.raises(LocalProtocolError) as caught:
        commands.envelope(Transaction(sender=address, recipients=[good], smtputf8=utf8), ALL)
    assert caught.value.recipient is None


@pytest.mark.parametrize(
    ("fields", "recipient"),
    [
        ({"recipients": []}, None),
        ({"recipients": [Recipient("b@x"), Recipient("")]}, 1),
        ({"recipients": [Recipient("b@x"), Recipient("ü@x")]}, 1),
        ({"sender": "ü@x"}, None),
        ({"ret": "SOME"}, None),
        ({"ret": "FULL\r\n"}, None),
        ({"envid": "a\r\nb"}, None),
        ({"envid": "a>b"}, None),
        ({"envid": "ü"}, None),
        ({"envid": "+" * 400}, None),
        ({"recipients": [Recipient("b@x", orcpt="rfc822;a\nb")]}, 0),
        ({"recipients": [Recipient("b@x", orcpt="rfc822;ü\n")]}, 0),
        ({"recipients": [Recipient("b@x", orcpt="rfc 822;a")]}, 0),
        ({"recipients": [Recipient("b@x", orcpt="rfc822;" + "ü" * 400)]}, 0),
    ],
)
def test_envelopes_that_are_never_sent(fields: dict[str, Any], recipient: int | None) -> None:
    """Parameters are held to the same rule; what is not ASCII needs SMTPUTF8 to be asked for."""
    with pytest.raises(LocalProtocolError) as caught:
        lines(ALL, **fields)
    assert caught.value.recipient == recipient


def test_smtputf8_is_not_left_out_silently() -> None:
    """A message that needs SMTPUTF8 never goes to a server without it."""
    with pytest.raises(LocalProtocolError, match="SMTPUTF8"):
        lines(Capabilities(dsn=True), smtputf8=True)


@pytest.mark.parametrize("name", ["host.example", "localhost", "my_host", "[127.0.0.1]", "[IPv6:::1]"])
def test_lhlo(name: str) -> None:
    """Names and address literals greet."""
    assert commands.lhlo(name) == b"LHLO " + name.encode() + b"\r\n"


@pytest.mark.parametrize("name", ["", "a b", "a\r\nQUIT", "a\n", "ü", "[]", "x" * 600, "a\ud800"])
def test_names_that_do_not_greet(name: str) -> None:
    """Anything else is refused before it is sent."""
    with pytest.raises(LocalProtocolError):
        commands.lhlo(name)


def strict(octets: bytes) -> list[bytes]:
    """Commands as a strict server reads them: CRLF ends a line."""
    return octets.split(b"\r\n")[:-1]


def lenient(octets: bytes) -> list[bytes]:
    """Commands as the most lenient server reads them: CR, LF and NUL end a line, however they come."""
    return [line for line in re.split(rb"[\r\n\0]+", octets) if line]


def path(line: bytes) -> bytes:
    """The path as a lenient server finds it: from the first < to the next >."""
    return line.partition(b"<")[2].partition(b">")[0]


ANYTHING = st.text(st.one_of(st.characters(), st.sampled_from(list('\r\n\0<>" \\@.a'))), max_size=12)
ADDRESS = st.one_of(st.text("ab.@-ü", min_size=1, max_size=12), ANYTHING)
MAYBE = st.one_of(st.none(), ANYTHING)


@given(
    sender=ADDRESS,
    recipients=st.lists(st.builds(Recipient, ADDRESS, st.sampled_from(Notify), MAYBE), max_size=4),
    smtputf8=st.booleans(),
    ret=st.one_of(st.sampled_from([None, "FULL"]), ANYTHING),
    envid=MAYBE,
    capabilities=st.sampled_from([ALL, NONE]),
)
def test_no_smuggling(
    sender: str,
    recipients: list[Recipient],
    smtputf8: bool,
    ret: str | None,
    envid: str | None,
    capabilities: Capabilities,
) -> None:
    """Whatever the envelope, a strict and a lenient server read the same commands, and only ours."""
    transaction = Transaction(
        sender=sender, recipients=recipients, size=5, smtputf8=smtputf8, ret=ret, envid=envid
    )
    try:
        octets = commands.envelope(transaction, capabilities)
    except LocalProtocolError:
        return
    assert strict(octets) == lenient(octets)
    mail, *rcpts = strict(octets)
    assert (mail[:10], path(mail)) == (b"MAIL FROM:", sender.encode())
    assert [path(rcpt) for rcpt in rcpts] == [one.address.encode() for one in recipients]
    assert all(rcpt.startswith(b"RCPT TO:<") for rcpt in rcpts)
    assert all(len(line) + 2 <= MAX_COMMAND_LINE for line in strict(octets))


@given(text=st.text(st.characters(max_codepoint=127)))
def test_xtext_round_trip(text: str) -> None:
    """Any ASCII survives, and what is on the wire is printable without blanks, = or stray +."""
    encoded = xtext_encode(text)
    assert xtext_decode(encoded) == text
    assert re.fullmatch(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*", encoded)


@pytest.mark.parametrize("text", ["+", "+2", "+2b", "a b", "=", "ü", "a\n"])
def test_xtext_that_is_none(text: str) -> None:
    """What is no xtext is not decoded to something."""
    with pytest.raises(ValueError, match="xtext"):
        xtext_decode(text)


def test_xtext_is_for_ascii() -> None:
    """What xtext cannot carry is refused."""
    with pytest.raises(ValueError, match="ASCII"):
        xtext_encode("ü")
