"""The errors that are met most, in the servers' words: counted by what they say, a bounded number of them.

The recipient's own address is taken out of a text, for it would make every error one of its own. What is met
seldom gives way to what is new, so a flood of texts that all differ costs no memory; counts of what came back
after that start again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from spooler.ops.counts import ErrorCount, ErrorKey

if TYPE_CHECKING:
    from collections.abc import Iterable

    from spooler.result import RecipientResult

MOST = 200
"""Errors that are kept."""
TEXT = 300
"""Characters of each."""


class Errors:
    """Mutable; one per process, and one for all processes of a command."""

    def __init__(self) -> None:
        self._found: dict[ErrorKey, ErrorCount] = {}

    def count(self, result: RecipientResult) -> None:
        """Count a result that was no delivery."""
        text = result.text.replace(result.address, "…")[:TEXT]
        key = ErrorKey(
            result.route, result.destination, result.stage.value, result.code, result.enhanced, text
        )
        self._add(ErrorCount(key, result.outcome.value, 1, result.at, result.at, result.message_id))

    def add(self, others: Iterable[ErrorCount]) -> None:
        """Count what another process counted."""
        for other in others:
            self._add(other)

    def take(self) -> list[ErrorCount]:
        """Return all, and begin anew."""
        found, self._found = self._found, {}
        return list(found.values())

    def top(self, most: int) -> list[ErrorCount]:
        """Return the most frequent ones."""
        return sorted(self._found.values(), key=lambda one: (-one.count, -one.last))[:most]

    def _add(self, more: ErrorCount) -> None:
        known = self._found.get(more.key)
        if known is None:
            if len(self._found) >= MOST:
                self._make_room()
            self._found[more.key] = more
            return
        known.count += more.count
        known.first = min(known.first, more.first)
        if more.last >= known.last:
            known.last, known.message_id, known.outcome = more.last, more.message_id, more.outcome

    def _make_room(self) -> None:
        """Forget the half that matters least."""
        kept = self.top(MOST // 2)
        self._found = {one.key: one for one in kept}


class ErrorView(msgspec.Struct, frozen=True, kw_only=True):
    """An error as it is shown, in the server's words: when it was met first and last (µs UTC), by which
    message last.
    """

    route: str
    destination: str
    stage: str
    code: int
    enhanced: str
    text: str
    outcome: str
    count: int
    first_at: int
    last_at: int
    message_id: int

    @classmethod
    def of(cls, error: ErrorCount) -> ErrorView:
        """Show what was counted."""
        key = error.key
        return cls(
            route=key.route,
            destination=key.destination,
            stage=key.stage,
            code=key.code,
            enhanced=key.enhanced,
            text=key.text,
            outcome=error.outcome,
            count=error.count,
            first_at=error.first,
            last_at=error.last,
            message_id=error.message_id,
        )
