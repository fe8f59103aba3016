"""What a worker takes from the spool: recipients of one message, under its lease."""

from __future__ import annotations

import msgspec

from spooler.envelope import BodyType, Notify


class ClaimedRecipient(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One leased recipient. `attempts` counts those already made, `claims` includes this one.

    Claims that became no attempt ended with the death of their worker: see `spooler.policy.poison`.
    """

    n: int
    address: str
    attempts: int
    claims: int
    due: int
    notify: Notify
    orcpt: str | None


class Claim(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Recipients of one message on one route, claimed together.

    `content` is the content's id and `size` its bytes; `created`, `expires` are µs UTC.
    """

    message_id: int
    route: str
    sender: str
    content: int
    size: int
    body: BodyType
    smtputf8: bool
    envid: str | None
    ret: str | None
    created: int
    expires: int
    recipients: tuple[ClaimedRecipient, ...]


class Want(msgspec.Struct, frozen=True, gc=False):
    """How many due recipients of a route a worker can take now; with `job`, of this job alone."""

    route: str
    limit: int
    job: str = ""
