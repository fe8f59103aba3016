"""What is measured, as data: a runner takes a case, a new kind of measurement adds a runner."""

from __future__ import annotations

from dataclasses import dataclass, replace

SPOOLS = ("sqlite", "postgres")
TARGETS = ("smtp-sink", "sink")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One measurement: so many messages of `size` bytes with so many recipients each, drained once."""

    name: str
    messages: int
    recipients: int
    size: int = 4096
    spool: str = "sqlite"
    target: str = "smtp-sink"

    @property
    def total(self) -> int:
        """Recipients altogether."""
        return self.messages * self.recipients


_FIRST = (
    Case(name="20,000 x 1", messages=20_000, recipients=1),
    Case(name="2,000 x 50", messages=2_000, recipients=50),
)
_TINY = (
    Case(name="30 x 1", messages=30, recipients=1),
    Case(name="5 x 50", messages=5, recipients=50),
)


def first(
    *, spools: tuple[str, ...], target: str, tiny: bool = False, messages: int | None = None
) -> list[Case]:
    """Return the cases of the first table; `messages` replaces the number of one-recipient messages and
    scales the others with it."""
    cases = _TINY if tiny else _FIRST
    scale = 1.0 if messages is None else messages / cases[0].messages
    return [_scaled(replace(case, spool=spool, target=target), scale) for spool in spools for case in cases]


def _scaled(case: Case, scale: float) -> Case:
    if scale == 1.0:
        return case
    messages = max(1, round(case.messages * scale))
    return replace(case, messages=messages, name=f"{messages:,} x {case.recipients}")
