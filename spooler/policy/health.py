"""Whether a destination or a route takes mail, and when to look again if not.

Down means that connecting, or what comes before mail, failed. While down it is probed with growing, jittered
pauses; the first success opens it at once. Times are seconds of a monotonic clock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

FIRST_PAUSE = 1.0  # seconds before the first probe of what just failed
LONGEST_PAUSE = 60.0  # seconds; a store that is back is found within a minute
FORGOTTEN = 30.0  # seconds after the time for a probe; mail that is due comes first
STUBBORN_PAUSE = 600.0  # seconds at most, where the same is refused until a person mends it
STUBBORN = 3  # failures that one such counts for


class Health:
    """Counts failures in a row; mutable, one per destination or route."""

    def __init__(self) -> None:
        self.failures = 0
        self.proven = False
        """Whether it worked since it last failed."""
        self.retry_at = 0.0
        self.since = 0.0
        """When the first of these failures was."""
        self.why = ""
        """What the last one said."""
        self.stubborn = False
        """Whether it refused a secret when it last failed."""
        self._known_at = float("-inf")  # when the last failure that counted was known

    def __repr__(self) -> str:
        state = "proven" if self.proven else f"down after {self.failures}" if self.failures else "unknown"
        return f"<Health {state}>"

    @property
    def down(self) -> bool:
        """Whether the last thing known of it is a failure."""
        return self.failures > 0

    def may_try(self, now: float) -> bool:
        """Whether it is not down, or due for a probe."""
        return self.failures == 0 or now >= self.retry_at

    def forgotten(self, now: float) -> bool:
        """Whether it is down and nobody looked when it was time: there was no mail that would have."""
        return self.failures > 0 and now >= self.retry_at + FORGOTTEN

    def probing(self, now: float) -> None:
        """Somebody looks whether it works again: the others need not."""
        self.retry_at = now + LONGEST_PAUSE

    def is_news(self, *, began: float) -> bool:
        """Whether a try that failed says more than that: several lose their sessions in one outage, and what
        began before the first failure was known is no further probe."""
        return not self.down or began > self._known_at

    def failed(
        self, now: float, rng: random.Random, why: str = "", *, began: float, stubborn: bool = False
    ) -> float:
        """Note that a try failed which began at `began`; return the pause until the next probe, in seconds.

        `stubborn`: a secret was refused. Who asks again and again is locked out, so each time counts.
        """
        self.proven = False
        if not (stubborn or self.is_news(began=began)):
            return max(0.0, self.retry_at - now)
        self._known_at = now
        self.why = why
        if not self.failures:
            self.since = now
        self.stubborn = stubborn
        self.failures += STUBBORN if stubborn else 1
        longest = min(
            FIRST_PAUSE * 2 ** min(self.failures - 1, 16), STUBBORN_PAUSE if stubborn else LONGEST_PAUSE
        )
        pause = rng.uniform(longest / 2, longest)
        self.retry_at = now + pause
        return pause

    def worked(self) -> bool:
        """Note a success; return whether it was down before."""
        was_down = self.down
        self.failures = 0
        self.stubborn = False
        self.proven = True
        return was_down
