"""What a person sees of a dialogue: its lines, with secrets masked and contents as a summary."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum


class Direction(StrEnum):
    """Whose line it is."""

    SENT = ">"
    RECEIVED = "<"
    NOTE = "*"
    """Nobody's: something that happened, such as TLS."""


Overhear = Callable[[Direction, str], None]
"""Is called for each line, without its end and safe to print; must not raise."""
