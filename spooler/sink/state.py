"""What the connections of one running sink share: its options, script, store, record and counters."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from spooler.destination import Destination, InetDestination
from spooler.errors import StorageError
from spooler.sink.script import Play, Script

if TYPE_CHECKING:
    import ssl
    from collections.abc import Sequence

    from spooler.sink.store import Line, Record, Store


class SinkOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a sink is to do; a port of 0 is any free one."""

    listen: tuple[Destination, ...] = (InetDestination("127.0.0.1", 0),)
    script: Script = Script()
    maildir: Path | None = None
    trace_headers: bool = False
    record: Path | None = None
    tls_cert: Path | None = None
    """PEM file of a certificate and, where `tls_key` names no other, its key: STARTTLS is offered then."""
    tls_key: Path | None = None
    tls_implicit: bool = False
    """TLS from the first octet on, instead of STARTTLS."""
    name: str = "sink.localhost"


@dataclass(slots=True)
class Counters:
    """Totals since the start. `accepted` counts RCPTs; `refused` (5xx) and `deferred` (4xx) count RCPTs and
    final replies; `delivered` counts copies and `bytes` theirs; `faults` those of the script by kind."""

    connections: int = 0
    transactions: int = 0
    accepted: int = 0
    refused: int = 0
    deferred: int = 0
    delivered: int = 0
    bytes: int = 0
    faults: Counter[str] = field(default_factory=Counter)

    def refuse(self, code: int) -> None:
        """Count a recipient that was refused with this code."""
        if code < 500:
            self.deferred += 1
        else:
            self.refused += 1


class Sink:
    """A running sink: what its connections share."""

    def __init__(
        self,
        options: SinkOptions,
        store: Store,
        record: Record | None,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self.options = options
        self.context = context
        self.play = Play(options.script)
        self.store = store
        self.counters = Counters()
        self.bound: tuple[Destination, ...] = ()
        self.open_connections = 0
        self._record = record

    @property
    def records(self) -> bool:
        """Whether final replies are recorded."""
        return self._record is not None

    def note(self, lines: Sequence[Line]) -> None:
        """Append to the record; raises StorageError."""
        if self._record is not None:
            try:
                self._record.write(lines)
            except OSError as error:
                raise StorageError(
                    f"cannot append to {self.options.record}: {why(error)}", hint="make room for the record"
                ) from None

    def fault(self, kind: str) -> None:
        """Count a fault that the script commits."""
        self.counters.faults[kind] += 1


def why(error: OSError) -> str:
    """Name the reason alone."""
    return (os.strerror(error.errno) if error.errno else str(error)).lower()
