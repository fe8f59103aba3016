"""What a run of many seeds must have hit to count, and the report of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.simulation.chance import HOUSE, TARGET

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator

MEMORY = ("memory: nearly full of contents", "memory: nearly all claimed that may be")
GROUPS: dict[str, tuple[str, ...]] = {
    "faults of the target": (*TARGET, "SIZE too small", "no 8BITMIME", "no SMTPUTF8"),
    "kinds of servers": tuple(
        f"{word} {keyword}"
        for keyword in ("PIPELINING", "CHUNKING", "ENHANCEDSTATUSCODES")
        for word in ("with", "without")
    ),
    "faults of the house": (
        *HOUSE,
        "outage",
        "crash",
        "clock jumps on",
        "clock jumps back",
        "stop",
        "second stop",
        "ended by an error",
    ),
    "ways taken": (
        "mode: lockstep",
        "mode: pipelined",
        "mode: chunked",
        "safe: repeated at once",
        "safe: put off",
        "uncertain: by the wire",
        "uncertain: by a death",
        "worker recovered",
        "journal: results replayed",
        "journal: intents in doubt",
        "journal: given back",
        "worker rescued",
        "worker fenced",
        "late result",
        "content in pieces",
        *MEMORY,
    ),
    "outcomes": ("outcome: delivered", "outcome: deferred", "outcome: failed", "outcome: expired"),
}


def missing(hits: Counter[str]) -> list[str]:
    """Return what was not hit: a run that lacks anything says nothing about it."""
    return [name for names in GROUPS.values() for name in names if not hits[name]]


def report(hits: Counter[str]) -> Iterator[str]:
    """Give lines that say how often each was hit."""
    for group, names in GROUPS.items():
        yield f"{group}:"
        for name in names:
            yield f"  {hits[name]:8,}  {name}"
