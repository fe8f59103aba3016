"""What the command `lmtp` was asked for: its options, as they were given."""

from __future__ import annotations

from pathlib import Path

import msgspec

from spooler.errors import UsageError

NAME = "lmtp"
NO_VALUE = "\0"
"""Of -d: no argument can be so, and one that is empty is a mistake."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """The options as they were given; `None`, False or empty where they were not.

    `destination`: each value of `-d`, `NO_VALUE` where it had none. `spool`: "" where it had no value.
    """

    sender: str | None
    told: tuple[str, ...]
    arguments: tuple[str, ...]
    destination: tuple[str, ...]
    server: str | None
    port: int | None
    target: str | None
    lhlo: str | None
    config: Path | None
    message: Path | None
    raw: bool
    authenticate: bool
    user: str | None
    credentials: Path | None
    auth_plain: bool
    tls: bool
    tls_level: str | None
    tls_implicit: bool
    tls_ca: Path | None
    tls_cert: Path | None
    tls_key: Path | None
    tls_fingerprint: tuple[str, ...]
    tls_name: tuple[str, ...]
    verbose: bool
    as_json: bool
    spool: str | None

    @property
    def debug(self) -> bool:
        """Whether the dialogue is shown."""
        return self.verbose or NO_VALUE in self.destination

    @property
    def place(self) -> str | None:
        """The destination that `-d` names."""
        named = [value for value in self.destination if value != NO_VALUE]
        if len(named) > 1:
            raise UsageError("-d names several destinations", hint="give one; messages go to one at a time")
        return named[0] if named else None
