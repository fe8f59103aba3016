"""What a person may do with what is queued, and what came of it. Times are µs UTC."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

import msgspec

Key = tuple[int, int]  # message id, n

CANCELLED = "5.0.0"
"""RFC 3463 section 3.1: other undefined status, as where a person gives a message up."""
GIVEN_UP = "given up by the postmaster"


class Command(StrEnum):
    """The words by which the ledger knows it."""

    HOLD = "held"
    RELEASE = "released"
    RETRY = "retried"
    REROUTE = "rerouted"
    REMOVE = "removed"
    BOUNCE = "failed"

    @property
    def waits(self) -> bool:
        """Whether what a worker has in hand at the moment has to come back first."""
        return self in _WAITING

    @property
    def ends(self) -> bool:
        """Whether it takes a recipient out of the queue."""
        return self in _ENDING


_ENDING = frozenset({Command.REMOVE, Command.BOUNCE})
_WAITING = _ENDING | {Command.REROUTE}


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """A command, who gave it, and why.

    `route` is the new one of a rerouting. `enhanced` and `text` are what a bounce says. `lifetime` is for how
    many µs from now on what is released or retried may at least be tried.
    """

    command: Command
    who: str
    why: str = ""
    route: str = ""
    enhanced: str = CANCELLED
    text: str = GIVEN_UP
    lifetime: int = 0


class Passed(StrEnum):
    """Why a recipient that was selected stays as it is."""

    GONE = "ended meanwhile"
    ACTIVE = "being delivered now"
    ALREADY = "so already"
    HELD = "held"
    EARLY = "not to be sent before its time"


class Group(msgspec.Struct, frozen=True, gc=False):
    """So many recipients of a route in a state."""

    route: str
    state: str
    count: int


class Page(NamedTuple):
    """A part of the queue: what was selected of it, and its last key; None: the queue ends there."""

    keys: list[Key]
    upto: Key | None


class Steered(msgspec.Struct, frozen=True, kw_only=True):
    """What a command did with some recipients.

    `active`: of those done, how many a worker has in hand: they are held, or let go, once it gives them back.
    `over_time`: their time is over, so they will end as expired. `again`: those that a worker has in hand,
    or somebody else was changing, if the command has to wait for that.
    """

    done: list[Group] = []
    active: int = 0
    over_time: int = 0
    passed: dict[Passed, int] = {}
    again: list[Key] = []


class Pause(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A route from which nothing is claimed until somebody resumes it."""

    route: str
    at: int
    who: str
    why: str
