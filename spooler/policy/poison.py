"""Mail that a worker dies of: when it is suspected, and when it is enough.

Of a recipient the spool counts claims and attempts. What is given back untried takes its claim back, so
claims that became no attempt are those that ended with the death of their worker. Most such mail is innocent,
for a worker holds hundreds when it dies. So a suspect is claimed alone, with nothing else under way that its
worker could die of, and an attempt that comes to an end clears it. A worker that dies with suspects in
company, which it was about to give back, is no further death of theirs. Only if its worker dies again, and
again, the mail is held for a person.
"""

from __future__ import annotations

SUSPECT = 3
"""Deaths in company after which it is claimed alone."""
DEADLY = 6
"""Deaths after which it is held: the last three were its own."""


def deaths(*, claims: int, attempts: int) -> int:
    """Count the workers that died with a recipient; `claims` and `attempts` that are over."""
    return claims - attempts


def why_held(count: int) -> str:
    """Say it for people."""
    return f"{count} workers died with it, the last {DEADLY - SUSPECT} with nothing else in hand"
