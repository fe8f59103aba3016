"""`spooler sink` in a process of its own: the target whose faults are scripted and whose record tells all."""

from __future__ import annotations

import contextlib
import json
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.servers.process import SPOOLER, folder, running, tail

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

_LISTENS = re.compile(r"^listening on (inet:\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class FinalReply:
    """One line of the record: a recipient that got a final reply."""

    sender: str
    recipient: str
    code: int
    time: int
    size: int
    sha256: str
    test: str | None
    """The X-Spooler-Test header of the message."""


@dataclass(frozen=True, slots=True)
class OwnSink:
    """A running server."""

    tcp: str
    """Destination by TCP."""
    root: Path
    process: subprocess.Popen[bytes]

    @property
    def port(self) -> int:
        """Where it listens on 127.0.0.1."""
        return int(self.tcp.rpartition(":")[2])

    def copies(self) -> Counter[str]:
        """Count what it took by recipient (with `record=True`)."""
        return Counter(reply.recipient for reply in self.final_replies() if reply.code == 250)

    def final_replies(self) -> list[FinalReply]:
        """Return what the record holds (with `record=True`)."""
        return read_record(self.root / "record.jsonl")


def read_record(path: Path) -> list[FinalReply]:
    """Read a file that `spooler sink --record` wrote."""
    fields = FinalReply.__dataclass_fields__
    whole, _, _being_written = path.read_text().rpartition("\n")
    entries = map(json.loads, filter(None, whole.split("\n")))
    return [FinalReply(**{name: entry[name] for name in fields}) for entry in entries]


@contextlib.contextmanager
def own_sink(*options: str, record: bool = False) -> Iterator[OwnSink]:
    """Run `spooler sink` for the block on a free port; `options` are more of its own."""
    with folder() as root:
        log = root / "log"
        argv = [*SPOOLER, "sink", "--listen", "inet:127.0.0.1:0", *options]
        if record:
            argv += ["--record", str(root / "record.jsonl")]
        with running(argv, ready=lambda: bool(_LISTENS.search(tail(log))), log=log) as process:
            announced = _LISTENS.search(tail(log))
            assert announced, "it was ready because it announced this"
            yield OwnSink(tcp=announced[1], root=root, process=process)
