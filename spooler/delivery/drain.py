"""What a drain is asked: which mail, how fast, and until when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spooler.policy.pace import Pace


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """Until nothing is due, or with `until_empty` until nothing is left at all; what is held does not count.

    `job`: its mail alone, "" is all. `pace`: no faster than this.
    """

    until_empty: bool
    job: str = ""
    pace: Pace | None = None
