"""Envelopes from the headers that delivery wrote."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spooler.errors import DataError
from spooler.intake.envelope_from import Envelope, envelope_of


def head(*lines: str) -> bytes:
    return "\r\n".join((*lines, "", "body")).encode()


def test_sender_and_recipients() -> None:
    """Return-Path names the sender; three headers name recipients, each once, in their order."""
    data = head(
        "Return-Path: <a@example.org>",
        "X-Original-To: b@example.org",
        "Delivered-To: c@example.org",
        "delivered-to: b@example.org",
        "X-Envelope-To: <d@example.org>",
        "To: e@example.org",
    )
    assert envelope_of(data) == Envelope("a@example.org", ("b@example.org", "c@example.org", "d@example.org"))


def test_to_and_cc_only_if_asked() -> None:
    """To and Cc are read with `visible`, in all their forms."""
    data = head(
        'To: "B, b" <b@example.org>,',
        "\tc@example.org (C)",
        "Cc: undisclosed-recipients:;",
        "Cc: Team: d@example.org, e@example.org;",
        "Bcc: x@example.org",
    )
    assert envelope_of(data) == Envelope(None, ())
    named = ("b@example.org", "c@example.org", "d@example.org", "e@example.org")
    assert envelope_of(data, visible=True) == Envelope(None, named)


def test_topmost_return_path_counts() -> None:
    """The last delivery wrote the first line."""
    assert envelope_of(head("Return-Path: <>", "Return-Path: <a@example.org>")).sender == ""


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("a@example.org", "a@example.org"),
        (" <a@example.org> ", "a@example.org"),
        ("<@relay.example,@other.example:a@example.org>", "a@example.org"),
        ('<"a>b"@example.org>', '"a>b"@example.org'),
        ("<jürgen@example.org>", "jürgen@example.org"),
    ],
)
def test_forms_of_a_path(value: str, address: str) -> None:
    """Brackets and source routes are taken off."""
    assert envelope_of(head(f"Return-Path:{value}")).sender == address


def test_mailing_list_loop_marks_name_nobody() -> None:
    """ezmlm's "Delivered-To: mailing list" names a list, not a recipient."""
    assert envelope_of(head("Delivered-To: mailing list l@example.org")).recipients == ()


def test_body_is_not_read() -> None:
    """Header lines in the body, or in a message without a header, do not count."""
    assert envelope_of(head("A: b") + b"\r\nReturn-Path: <a@b.c>\r\n") == Envelope(None, ())
    assert envelope_of(b"\r\nReturn-Path: <a@b.c>\r\n") == Envelope(None, ())


def test_to_without_addresses_is_refused() -> None:
    """A To that is no list of addresses is an error that names it, not a shorter list."""
    with pytest.raises(DataError, match="header To 'everybody"):
        envelope_of(head("To: everybody, b@example.org"), visible=True)


def test_addresses_keep_bytes_that_are_not_utf8() -> None:
    """Such an address stays unusable, to be refused; it never turns into another one."""
    (address,) = envelope_of(b"Delivered-To: \xe4@example.org\r\n\r\n").recipients
    assert address.encode("utf-8", "surrogateescape") == b"\xe4@example.org"


@given(st.binary(max_size=400), st.booleans())
def test_any_bytes(data: bytes, visible: bool) -> None:
    """Nothing but DataError comes out of broken headers."""
    for prefix in (b"", b"To: ", b"Return-Path: ", b"Cc: a@b,\r\n "):
        try:
            envelope_of(prefix + data, visible=visible)
        except DataError:
            continue
