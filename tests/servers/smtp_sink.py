"""Postfix's `smtp-sink -L`: an LMTP server in C that throws mail away or dumps it to files.

Known limits: a dump has LF line ends, so it cannot tell CRLF from LF; smtp-sink is an unsupported test
program whose dump format may change between versions (seen: Postfix 3.7).
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.servers.process import folder, free_port, greets_on_port, running, tail

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_BACKLOG = "1024"
# its own headers end with a Received of three lines
_HEAD = re.compile(rb"((?:X-[A-Za-z-]+: [^\n]*\n)+)Received: from [^\n]*\n\tby [^\n]*\n\t[^\n]*\n")
_RECIPIENT = re.compile(rb"^X-Rcpt-Args: <([^>]*)>", re.MULTILINE)
_SENDER = re.compile(rb"^X-Mail-Args: <([^>]*)>", re.MULTILINE)
_COUNTERS = re.compile(r"sess=(\d+) quit=(\d+) mesg=(\d+)")


@dataclass(frozen=True, slots=True)
class Dumped:
    """One transaction as smtp-sink received it; `data` with LF line ends."""

    sender: str
    recipients: tuple[str, ...]
    data: bytes


@dataclass(frozen=True, slots=True)
class SmtpSink:
    """A running server."""

    port: int
    root: Path

    @property
    def tcp(self) -> str:
        """Destination by TCP."""
        return f"inet:127.0.0.1:{self.port}"

    def dumped(self) -> list[Dumped]:
        """Return every transaction that was dumped (with `dump=True`)."""
        return [_parse(path.read_bytes()) for path in sorted((self.root / "dump").iterdir())]

    def messages(self) -> int:
        """Return how many messages it took, by its own counters (with `count=True`)."""
        counters = _COUNTERS.findall(tail(self.root / "log", 200))
        return int(counters[-1][2]) if counters else 0


def _parse(raw: bytes) -> Dumped:
    head = _HEAD.match(raw)
    if head is None or not raw.endswith(b"\n\n"):
        raise AssertionError(f"not a dump of smtp-sink: {raw[:200]!r}")
    sender = _SENDER.search(head[1])
    return Dumped(
        sender=sender[1].decode() if sender else "",
        recipients=tuple(match.decode() for match in _RECIPIENT.findall(head[1])),
        data=raw[head.end() : -1],  # it ends a dump with an empty line
    )


@contextlib.contextmanager
def smtp_sink(program: str, *options: str, dump: bool = False, count: bool = False) -> Iterator[SmtpSink]:
    """Run a server for the block; `options` are more of its own."""
    with folder() as root:
        port = free_port()
        argv = [program, "-L", "-4", *options]
        if dump:
            (root / "dump").mkdir()
            argv += ["-d", f"{root}/dump/m."]
        if count:
            argv += ["-c"]
        if os.geteuid() == 0:
            argv += ["-u", "postfix"]  # it refuses to serve as root
            owner = pwd.getpwnam("postfix")
            for path in root.iterdir():
                os.chown(path, owner.pw_uid, owner.pw_gid)
        argv += [f"127.0.0.1:{port}", _BACKLOG]
        with running(argv, ready=lambda: greets_on_port(port), log=root / "log"):
            yield SmtpSink(port=port, root=root)
