"""spooler: a durable spool drained over LMTP, with a result for every recipient.

The public API is loaded when it is used: importing `spooler` alone loads no database.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spooler.api import Receipt, Spool, TrioSpool, open_spool, open_spool_async
    from spooler.errors import SpoolerError
    from spooler.standing import Standing

_PUBLIC = {
    "Receipt": "spooler.api",
    "Spool": "spooler.api",
    "SpoolerError": "spooler.errors",
    "Standing": "spooler.standing",
    "TrioSpool": "spooler.api",
    "open_spool": "spooler.api",
    "open_spool_async": "spooler.api",
}

__all__ = ["Receipt", "Spool", "SpoolerError", "Standing", "TrioSpool", "open_spool", "open_spool_async"]


def __getattr__(name: str) -> object:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'spooler' has no attribute '{name}'")
    import importlib

    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *_PUBLIC]
