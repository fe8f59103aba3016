"""Addresses, destinations and ids: what is accepted, and in which form it is kept."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spooler.address import check_recipient, check_sender, needs_smtputf8, show, split
from spooler.destination import InetDestination, UnixDestination, is_local, parse_destination
from spooler.errors import DataError, UsageError
from spooler.ident import EPOCH, IdMaker, floor_at, format_id, parse_id, time_of
from spooler.lmtp.capabilities import Capabilities
from spooler.lmtp.commands import envelope
from spooler.lmtp.transaction import Recipient, Transaction


@pytest.mark.parametrize(
    ("given_", "kept"),
    [
        ("Bob.Smith@Example.ORG", "Bob.Smith@example.org"),
        ("<bob@example.org>", "bob@example.org"),
        ("postmaster", "postmaster"),
        ('"a b\\"c"@example.org', '"a b\\"c"@example.org'),
        ("bob@[127.0.0.1]", "bob@[127.0.0.1]"),
        ("bob@[IPv6:::1]", "bob@[ipv6:::1]"),
        ("bob+tag=x@example.org", "bob+tag=x@example.org"),
        ("δοκιμή@παράδειγμα.δοκιμή", "δοκιμή@παράδειγμα.δοκιμή"),
        ("a..b@example.org", "a..b@example.org"),
        ("under_score@my_host", "under_score@my_host"),
    ],
)
def test_address_is_kept(given_: str, kept: str) -> None:
    """The local part keeps its case, the domain is lowered, quotes and literals stay."""
    assert check_recipient(given_) == kept
    assert check_sender(given_) == kept


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ("", "empty"),
        ("a\r\nRCPT TO:<b@c>", "line break"),
        ("a\0@b", "control"),
        ("a b@example.org", "quoted"),
        ("a>b@example.org", "quoted"),
        ('"unclosed@example.org', "quoted local part"),
        ("@example.org", "no local part"),
        ("bob@", "no domain"),
        ("bob@exa mple", "domain"),
        ("bob@-x.org", "domain"),
        ('"a>b"@example.org', "contains a '>'"),
        ("bob@[x>y]", "contains a '>'"),
        ("x" * 65 + "@example.org", "64"),
        ("x@" + "d" * 260, "254"),
        ("a\u2028b@example.org", "control"),
    ],
)
def test_bad_address_is_refused_with_its_reason(bad: str, why: str) -> None:
    """What cannot travel in an envelope is refused, in words."""
    with pytest.raises(DataError, match=why):
        check_recipient(bad)


_PIECES = st.sampled_from(
    [
        "a",
        "B",
        ".",
        "-",
        "_",
        "@",
        "@x",
        "@[1.2.3.4]",
        '"',
        "\\",
        ">",
        "<",
        " ",
        ",",
        "ü",
        "\x7f",
        "!",
        "[",
        "]",
        "8",
    ]
)


@given(st.lists(_PIECES, min_size=1, max_size=8).map("".join))
def test_what_is_accepted_can_be_sent(text: str) -> None:
    """The protocol, which has checks of its own, refuses nothing that was taken in."""
    try:
        address = check_recipient(text)
    except DataError:
        return
    transaction = Transaction(sender="", recipients=[Recipient(address)], smtputf8=needs_smtputf8(address))
    assert f"RCPT TO:<{address}>".encode() in envelope(transaction, Capabilities(smtputf8=True))


def test_null_sender() -> None:
    """`<>` and nothing are the null sender, for senders only."""
    assert check_sender("<>") == check_sender("") == ""
    with pytest.raises(DataError):
        check_recipient("<>")


def test_small_things_of_addresses() -> None:
    """Splitting, SMTPUTF8 and showing a stranger's text."""
    assert split("a@b@c") == ("a@b", "c")
    assert split("a") == ("a", "")
    assert needs_smtputf8("ä@b")
    assert not needs_smtputf8("a@b")
    assert show("a\x1b[31m\nb") == "a\\x1b[31m\\nb"
    assert show("a\u202eb\u2066c\u200f") == "a\\u202eb\\u2066c\\u200f"
    assert show("x" * 100, 10) == "x" * 9 + "…"


@pytest.mark.parametrize(
    ("text", "parsed", "shown"),
    [
        ("unix:/run/lmtp", UnixDestination("/run/lmtp"), None),
        ("inet:host", InetDestination("host", 24), "inet:host:24"),
        ("inet:host:2424", InetDestination("host", 2424), None),
        ("inet:[127.0.0.1]:24", InetDestination("127.0.0.1", 24), "inet:127.0.0.1:24"),
        ("inet:[ipv6:::1]:24", InetDestination("::1", 24), None),
        ("inet:[::1]:24", InetDestination("::1", 24), "inet:[ipv6:::1]:24"),
        ("inet:[mail.example.org]:24", InetDestination("mail.example.org", 24), "inet:mail.example.org:24"),
    ],
)
def test_destination(text: str, parsed: object, shown: str | None) -> None:
    """Postfix's notation, and its form when shown parses to the same."""
    destination = parse_destination(text)
    assert destination == parsed
    assert str(destination) == (shown or text)
    assert parse_destination(str(destination)) == destination


@pytest.mark.parametrize(
    "bad",
    ["", "host", "unix:relative", "unix:", "inet:", "inet::24", "inet:host:0", "inet:host:x",
     "inet:host:70000", "inet:[ipv6:zz]:24", "inet:a b", "smtp:host", "inet:host:24:25", "inet:host:"],
)  # fmt: skip
def test_bad_destination(bad: str) -> None:
    """What is not in the notation is refused with the notation as the mend."""
    with pytest.raises(UsageError):
        parse_destination(bad)


@pytest.mark.parametrize(
    ("text", "local"),
    [("unix:/x", True), ("inet:localhost", True), ("inet:127.1.2.3", True), ("inet:[ipv6:::1]", True),
     ("inet:mail", False), ("inet:192.0.2.1", False), ("inet:[ipv6:2001:db8::1]:24", False)],
)  # fmt: skip
def test_local_destinations(text: str, *, local: bool) -> None:
    """UNIX sockets and loopback stay on the machine; a name other than localhost may not."""
    assert is_local(parse_destination(text)) is local


def test_ids_grow_even_when_the_clock_steps_back() -> None:
    """One maker never repeats itself; ids sort as they were made."""
    maker = IdMaker()
    times = [EPOCH + 10**12, EPOCH + 10**12, EPOCH + 10**12 - 50, EPOCH + 10**12 + 7]
    made = [maker.make(now) for now in times]
    assert made == sorted(set(made))
    assert time_of(made[0]) == times[0]
    assert floor_at(times[0]) <= made[0] < floor_at(times[0] + 1)


def test_redraw_changes_the_tag() -> None:
    """After a clash the next ids differ in their tag."""
    maker = IdMaker()
    before = maker.make(EPOCH + 1) & 0xFFF
    maker.redraw()
    assert maker.make(EPOCH + 5) & 0xFFF != before


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1))
def test_id_forms_round_trip_and_sort(a: int, b: int) -> None:
    """What people see parses back, in either case, and sorts as the numbers do."""
    assert parse_id(format_id(a)) == a == parse_id(format_id(a).upper())
    assert (format_id(a) < format_id(b)) == (a < b)


@pytest.mark.parametrize("text", ["", "abc", "u" * 13, "z" * 13, "0" * 14, "bob@example.or"])
def test_what_is_no_id(text: str) -> None:
    """Anything else is not taken for an id."""
    assert parse_id(text) is None
