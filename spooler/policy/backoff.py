"""When to try again: exponential, jittered, the same for all recipients of a message and attempt.

The spread is a function of message and attempt rather than of a generator's state: recipients of one
message that are deferred in several transactions draw the same, so they come back together and share
a transaction again; and after an outage the messages do not all return at once.
"""

from __future__ import annotations

_MASK = (1 << 64) - 1


def delay(*, message_id: int, attempt: int, first: int, maximum: int) -> int:
    """Return the time until the next attempt, in the unit of `first` and `maximum`.

    With d = `first` doubled for every attempt after the first, at most `maximum`, the result lies in
    [d/2, d]. `attempt` is the number of the one that was just deferred, from 1.
    """
    longest = maximum if attempt > 62 else min(first << (attempt - 1), maximum)
    return longest - int(longest / 2 * _spread(message_id, attempt))


def _spread(message_id: int, attempt: int) -> float:
    """Mix both into [0, 1): the finalizer of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014)."""
    z = (message_id * 0x9E3779B97F4A7C15 + attempt * 0xD1B54A32D192ED03) & _MASK
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    z = (z ^ z >> 27) * 0x94D049BB133111EB & _MASK
    return (z ^ z >> 31) / (1 << 64)
