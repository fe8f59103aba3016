"""Splitting mbox files: where messages begin and end, quoting, senders."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spooler.intake import mbox
from spooler.intake.files import FoundMessage, find_messages
from spooler.intake.mbox import sender_of, unquote

if TYPE_CHECKING:
    from pathlib import Path

FROM = b"From a@example.org Mon Jan  5 10:00:00 2026\n"


def messages_of(path: Path) -> list[tuple[int, str | None, bytes]]:
    return [
        (found.offset, found.sender, b"".join(found.blocks()))
        for found in find_messages(path)
        if isinstance(found, FoundMessage)
    ]


def split(tmp_path: Path, data: bytes, *, name: str = "box") -> list[bytes]:
    path = tmp_path / name
    path.write_bytes(data)
    return [message for _, _, message in messages_of(path)]


def test_messages_between_from_lines(tmp_path: Path) -> None:
    """From_ lines, where offsets point, and the empty line before each belong to no message."""
    path = tmp_path / "box"
    first = FROM + b"Subject: 1\n\none\n"
    path.write_bytes(first + b"\n" + FROM.replace(b"a@", b"b@") + b"Subject: 2\n\ntwo\n\n")
    assert messages_of(path) == [
        (0, "a@example.org", b"Subject: 1\n\none\n"),
        (len(first) + 1, "b@example.org", b"Subject: 2\n\ntwo\n"),
    ]


def test_crlf_mbox(tmp_path: Path) -> None:
    """CRLF line ends are understood."""
    data = (FROM + b"Subject: 1\n\none\n\n" + FROM + b"Subject: 2\n\ntwo\n\n").replace(b"\n", b"\r\n")
    assert split(tmp_path, data) == [b"Subject: 1\r\n\r\none\r\n", b"Subject: 2\r\n\r\ntwo\r\n"]


def test_from_in_a_paragraph_does_not_split(tmp_path: Path) -> None:
    """Without an empty line before it, or without a date, "From " is text."""
    body = b"Subject: 1\n\nhello\n" + FROM + b"\nFrom here on it is text\n"
    assert split(tmp_path, FROM + body) == [body]


def test_dateless_from_lines_split_where_the_first_has_none(tmp_path: Path) -> None:
    """A writer that leaves dates out is taken at its word."""
    assert split(tmp_path, b"From a\nA: 1\n\none\n\nFrom b\nB: 2\n\ntwo\n") == [
        b"A: 1\n\none\n",
        b"B: 2\n\ntwo\n",
    ]


def test_attached_patch_does_not_split(tmp_path: Path) -> None:
    """Git's fixed date separates only where the file begins with it."""
    patch = b"From fc88cba7 Mon Sep 17 00:00:00 2001\nFrom: A <a@example.org>\n\ndiff\n"
    body = b"Subject: 1\n\nsee:\n\n" + patch
    assert split(tmp_path, FROM + body) == [body]
    assert len(split(tmp_path, patch + b"\n" + patch)) == 2


def test_eml_is_one_message(tmp_path: Path) -> None:
    """A file called .eml holds one message, of which a From_ line is no part, and nothing is unquoted."""
    body = b"Subject: 1\n\n>From x\n\n" + FROM + b"two\n\n"
    assert split(tmp_path, FROM + body, name="a.eml") == [body]


def test_quoting_is_taken_off_once(tmp_path: Path) -> None:
    """mboxrd: one ">" less before "From "; other ">" stay."""
    data = FROM + b"Subject: 1\n\n>From x\n>>From y\n> From z\na >From b\n>Fromage\n"
    assert split(tmp_path, data) == [b"Subject: 1\n\nFrom x\n>From y\n> From z\na >From b\n>Fromage\n"]


def test_empty_messages_are_found(tmp_path: Path) -> None:
    """A From_ line with nothing behind it is a message without a byte, which is refused later."""
    assert split(tmp_path, FROM + b"\n" + FROM + b"A: 1\n\nx\n\n" + FROM) == [b"", b"A: 1\n\nx\n", b""]


@pytest.mark.parametrize("window", [64, 100, 1000])
def test_windows_do_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, window: int) -> None:
    """Wherever the windows of the search end, the messages are the same."""
    monkeypatch.setattr(mbox, "_WINDOW", window)
    bodies = [b"Subject: %d\n\n%s\n" % (n, b"x" * n) for n in range(150)]
    data = b"\n".join(FROM + body for body in bodies)
    assert split(tmp_path, data) == bodies


@given(
    st.lists(
        st.sampled_from([b">", b">From ", b"From ", b"\n", b"Fro", b"m ", b"x", b">>From y\n"]), max_size=20
    ),
    st.lists(st.integers(0, 9), max_size=12),
)
def test_unquoting_does_not_depend_on_blocks(parts: list[bytes], sizes: list[int]) -> None:
    """Any cut into blocks gives the same bytes."""
    data = b"".join(parts)
    pieces, at = [], 0
    for size in sizes:
        pieces.append(data[at : at + size])
        at += size
    pieces.append(data[at:])
    lines = [
        line[1:] if line.lstrip(b">").startswith(b"From ") and line[:1] == b">" else line
        for line in data.split(b"\n")
    ]
    assert b"".join(unquote(pieces)) == b"\n".join(lines)


@pytest.mark.parametrize(
    ("line", "sender"),
    [
        (b"From a@example.org Mon Jan  5 10:00:00 2026", "a@example.org"),
        (b"From MAILER-DAEMON Mon Jan  5 10:00:00 2026", ""),
        (b"From - Mon Jan  5 10:00:00 2026", None),
        (b"From someone at example.com  Mon Jan  5 10:00:00 2026", "someone@example.com"),
        (b"From ", None),
    ],
)
def test_sender_of_from_line(line: bytes, sender: str | None) -> None:
    """The From_ line gives an address, the null sender, or nothing."""
    assert sender_of(line) == sender
