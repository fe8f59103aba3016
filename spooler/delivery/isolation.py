"""Suspects are claimed alone: recipients with which workers died (see `spooler.policy.poison`).

What is claimed is looked through. A message one of whose recipients is a suspect goes back to the spool at
once and is remembered here; when nothing else is under way it is claimed, and nothing more until that is
settled. If there is always something under way it is let end for the sake of a suspect, but not for longer
than half of the time. A message with which enough workers died is held, all that is queued of it on that
route: a worker is not to die of each of its thousands of recipients.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import trio

from spooler.delivery.settler import insist
from spooler.events import Held
from spooler.policy.poison import DEADLY, SUSPECT, deaths, why_held

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spooler.claim import Claim, ClaimedRecipient
    from spooler.delivery.ports import Ground

Suspect: TypeAlias = tuple[int, str]  # message id, route

ASIDE = 5.0  # seconds that suspects are left in the spool: we come for them, or another worker does
PATIENCE = 5.0  # seconds that what is under way may take to end for a suspect's sake, doubling
LONGEST = 640.0


class Isolation:
    """One per worker. Times are of trio's clock, in seconds."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._waiting: dict[Suspect, None] = {}
        self._alone_since: float | None = None
        self._draining_since: float | None = None
        self._turn_at = 0.0
        self._patience = PATIENCE

    @property
    def count(self) -> int:
        """Messages that wait."""
        return len(self._waiting)

    @property
    def waiting(self) -> bool:
        """Whether suspects wait to be claimed."""
        return bool(self._waiting)

    @property
    def pause(self) -> float:
        """Seconds until the next turn, never quite none."""
        return max(0.001, self._turn_at - trio.current_time())

    def forbids(self, *, idle: bool) -> bool:
        """Whether nothing else may be claimed now; `idle`: nothing is under way."""
        now = trio.current_time()
        if self._alone_since is not None:
            if not idle:
                return True
            self._turn_at = now + (now - self._alone_since)
            self._alone_since = None
        if not self._waiting or now < self._turn_at:
            return False
        if idle:
            return True
        if self._draining_since is None:
            self._draining_since = now
        if now - self._draining_since < self._patience:
            return True
        self._draining_since = None
        self._turn_at = now + self._patience
        self._patience = min(self._patience * 2, LONGEST)
        return False

    def hurry(self) -> None:
        """There is nothing else to do: it is the next suspect's turn."""
        self._turn_at = trio.current_time()

    def next(self) -> Suspect:
        """Take the suspect whose turn it is: nothing is under way, and something waits."""
        suspect = next(iter(self._waiting))
        del self._waiting[suspect]
        return suspect

    async def claim(self, suspect: Suspect, *, limit: int) -> list[Claim]:
        """Claim what is queued of a suspect, alone; nothing if another worker was quicker."""
        ground = self._ground
        message_id, route = suspect
        due = ground.clock() + int(ASIDE * 1e6)
        claims = await insist(
            ground,
            "claiming alone",
            partial(
                ground.spool.claim_alone,
                ground.worker,
                message_id,
                route,
                limit=limit,
                due=due,
            ),
        )
        if claims:
            self._draining_since = None
            self._patience = PATIENCE
            self._alone_since = trio.current_time()
        return claims

    async def sort(self, claims: list[Claim]) -> list[Claim]:
        """Take the messages of suspects out of what was claimed in company."""
        if not any(_is_suspect(recipient) for claim in claims for recipient in claim.recipients):
            return claims
        left = []
        aside = []
        for claim in claims:
            most = max(deaths(claims=r.claims - 1, attempts=r.attempts) for r in claim.recipients)
            if most < SUSPECT:
                left.append(claim)
            else:
                aside.append((claim, most))
        await self._set_aside(aside)
        return left

    async def _set_aside(self, claims: Sequence[tuple[Claim, int]]) -> None:
        """Give them back, all at once: a death meanwhile would count for each that is still in hand."""
        ground = self._ground
        keys = [(claim.message_id, recipient.n) for claim, _ in claims for recipient in claim.recipients]
        due = ground.clock() + int(ASIDE * 1e6)
        await insist(ground, "setting aside", partial(ground.spool.release, ground.worker, keys, due=due))
        for claim, most in claims:
            suspect = (claim.message_id, claim.route)
            if most < DEADLY:
                self._waiting[suspect] = None
            else:
                self._waiting.pop(suspect, None)
                await self._hold(suspect, why_held(most))

    async def _hold(self, suspect: Suspect, why: str) -> None:
        ground = self._ground
        held = await insist(ground, "holding", partial(ground.spool.hold, ground.worker, *suspect, why=why))
        message_id, route = suspect
        ground.observe(Held(message_id=message_id, route=route, recipients=held, why=why))


def _is_suspect(recipient: ClaimedRecipient) -> bool:
    return recipient.claims - 1 - recipient.attempts >= SUSPECT  # `deaths`, which this is too hot to call
