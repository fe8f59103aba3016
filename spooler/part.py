"""Which part of the work is a process's, where several share it (see `spooler.supervise`)."""

from __future__ import annotations

from dataclasses import dataclass

VARIABLE = "SPOOLER_PART"  # tells a process what it is: its end of the keeper's stream, index, count


@dataclass(frozen=True, slots=True)
class Part:
    """The part `index` of `count`."""

    index: int
    count: int

    def share(self, whole: int) -> int:
        """How many of `whole` are this part's; all parts' shares together are `whole`."""
        return whole // self.count + (self.index < whole % self.count)
