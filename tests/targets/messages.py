"""What is sent in these tests, and what must arrive: written down without the product's help.

The expectation of a file: every LF that has no CR before it becomes CRLF, a CR that no LF follows becomes a
space, and a last line without an end gets one. A first line "From " is the mbox's, not the message's, and
so is the empty line that ends the last message of an mbox (RFC 4155).
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_HEADER = b"From: a@sender.test\nSubject: "

HARD = {
    "plain": _HEADER + b"plain\n\nbody\n",
    "crlf": _HEADER.replace(b"\n", b"\r\n") + b"crlf\r\n\r\nbody\r\n",
    "mixed-ends": _HEADER + b"mixed\r\n\nline\r\nline\nline\r\n",
    "no-last-end": _HEADER + b"no last end\n\nends here",
    "bare-cr": _HEADER + b"bare cr\n\none\rtwo\r\rthree\n\r",
    "headers-only": _HEADER + b"headers only\n",
    "no-header": b"\nno header at all\n",
    "one-dot": _HEADER + b"one dot\n\n.\n",
    "dots": _HEADER + b"dots\n\n.\n..\n...\n.leading\n..leading\nend.\n.\n",
    "first-byte-dot": b".first: line\n\nbody\n",
    "last-line-dot": _HEADER + b"last line is a dot without an end\n\n.",
    "smuggling": _HEADER + b"smuggling\n\na\r\n.\nMAIL FROM:<x@y>\n.\r\nb\r.\rc\n\r\n.\r\r\n",
    "eight-bit": _HEADER + b"eight bit\n\n" + bytes(range(14, 256)) + b"\n",
    "utf8-header": _HEADER + "grüße\n\nkörper\n".encode(),
    "long-line": _HEADER + b"long line\n\n" + b"x" * 20_000 + b"\n",
    "long-dots": _HEADER + b"long dots\n\n" + b".\n" * 5_000,
    "from-line-inside": _HEADER + b"from line inside\n\nFrom here on\n\nFrom there\n>From quoted\n",
    "empty-lines": _HEADER + b"empty lines\n\n\n\n\n\n",
    "several-chunks": _HEADER + b"several chunks\n\n" + b"0123456789abcdef\n.dot\n" * 40_000,
}
"""Messages of our own making that clients and servers have stumbled over."""


def expected(path: Path) -> bytes:
    """Return what a store must hold of a message file."""
    raw = path.read_bytes()
    if raw.startswith(b"From "):
        raw = raw.split(b"\n", 1)[1]
        if path.suffix != ".eml" and raw.endswith(b"\n\n"):
            raw = raw[:-1]
    lines = raw.replace(b"\r\n", b"\n").replace(b"\r", b" ").split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    return b"".join(line + b"\r\n" for line in lines)


def write_hard(folder: Path) -> Path:
    """Write `HARD` as .eml files; a folder to import."""
    folder.mkdir()
    for name, raw in HARD.items():
        (folder / f"{name}.eml").write_bytes(raw)
    return folder


def files_of(folder: Path) -> list[Path]:
    """Return all files of a tree, one message each."""
    return [path for path in sorted(folder.rglob("*")) if path.is_file()]


def expected_of(folder: Path) -> Counter[bytes]:
    """Return what a mailbox must hold after all files of a tree were delivered to it once."""
    return Counter(map(expected, files_of(folder)))


def differences(wanted: Counter[bytes], found: Counter[bytes]) -> str:
    """Say for people how two mailboxes differ; "" where they do not."""
    lacking, surplus = wanted - found, found - wanted
    lines = [
        f"lacks {count} x {mail[:300]!r}… {len(mail)} bytes" for mail, count in list(lacking.items())[:3]
    ]
    lines += [f"has {count} x {mail[:300]!r}… {len(mail)} bytes" for mail, count in list(surplus.items())[:3]]
    if not lines:
        return ""
    return f"{lacking.total()} lacking, {surplus.total()} too many; " + "; ".join(lines)
