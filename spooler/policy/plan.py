"""Which recipients of a claim share a transaction, and in which order destinations are tried."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")


def split(recipients: Sequence[T], most: int) -> list[Sequence[T]]:
    """Cut into as few groups of at most `most` as possible, of sizes that differ by at most one.

    Even groups end together; one of 100 and one of 1 would make the 100 wait no less.
    """
    if len(recipients) <= most:
        return [recipients]
    groups = -(-len(recipients) // most)
    return [
        recipients[len(recipients) * i // groups : len(recipients) * (i + 1) // groups] for i in range(groups)
    ]


def group(recipients: Sequence[T], most: int, *, special: Callable[[T], bool]) -> list[Sequence[T]]:
    """Split so that those that ask something special of the server travel apart from the others."""
    apart = [recipient for recipient in recipients if special(recipient)]
    if not apart or len(apart) == len(recipients):
        return split(recipients, most)
    return split([r for r in recipients if not special(r)], most) + split(apart, most)


def rotation(count: int, turn: int) -> list[int]:
    """Return the order in which `count` destinations are tried at the `turn`th connection."""
    start = turn % count
    return [*range(start, count), *range(start)]
