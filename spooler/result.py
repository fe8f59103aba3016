"""The result of one recipient in one attempt: the first-class value that everything else serves."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from spooler.reply import Stage

if TYPE_CHECKING:
    from collections.abc import Mapping


class Outcome(StrEnum):
    """What became of a recipient in an attempt; all but DEFERRED are endings."""

    DELIVERED = "delivered"
    DEFERRED = "deferred"
    FAILED = "failed"
    EXPIRED = "expired"


HOLD_UNCERTAIN = "the last attempt is uncertain"


class Doubtful(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What is done with a recipient after an uncertain attempt.

    It is not tried before `due` (µs UTC) or, if `hold` says why, not until a person releases it.
    """

    due: int
    hold: str = ""


NO_ROUTES: Mapping[str, Doubtful] = {}
"""Nothing is said of any route."""


class RecipientResult(msgspec.Struct, frozen=True, kw_only=True, gc=False, array_like=True):
    """One recipient, one attempt, one outcome.

    `attempt` counts from 1. `at` is when it was decided and `due`, for a deferred one, when it is to
    be tried again (both µs UTC). `uncertain` goes with DEFERRED: end of data may have been handed
    over and no final reply was recorded, so the mail may be delivered already. `code` is 0 and
    `enhanced` "" where the server said nothing; `text` is then ours. `waited` is the time from being
    due to the start of the transaction and `took` the transaction's, both in µs. `hold`, with
    DEFERRED: why it is not to be tried again before a person releases it, "" if it is.
    """

    message_id: int
    n: int
    address: str
    route: str
    attempt: int
    at: int
    outcome: Outcome
    stage: Stage
    code: int = 0
    enhanced: str = ""
    text: str = ""
    destination: str = ""
    uncertain: bool = False
    due: int = 0
    waited: int = 0
    took: int = 0
    hold: str = ""
