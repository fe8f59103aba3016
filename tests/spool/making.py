"""What the tests of the spool are written with: messages, results, and a look behind the store."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from spooler.claim import Claim, Want
from spooler.envelope import BodyType, Content, NewMessage, NewRecipient
from spooler.reply import Stage
from spooler.result import Outcome, RecipientResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spooler.spool.store import Store

NOW = 1_800_000_000_000_000
SECOND = 1_000_000
MINUTE = 60 * SECOND
DAY = 86_400 * SECOND
DUE = NOW + MINUTE

HEADERS = b"From: <a@example.org>\r\nSubject: test\r\n"
DATA = HEADERS + b"\r\nbody \xff\r\n"


def content(data: bytes = DATA) -> Content:
    """A content as intake makes it."""
    return Content(
        size=len(data), sha256=hashlib.sha256(data).hexdigest(), body=BodyType.EIGHT_BIT, data=data
    )


def message(*recipients: str | NewRecipient, **options: Any) -> NewMessage:  # noqa: ANN401  # NewMessage's fields
    """A message to some addresses."""
    options.setdefault("sender", "sender@example.org")
    options.setdefault("content", content())
    return NewMessage(
        recipients=tuple(
            NewRecipient(address=r) if isinstance(r, str) else r for r in recipients or ("user@example.org",)
        ),
        **options,
    )


def put(store: Store, *messages: NewMessage, now: int = NOW) -> list[int]:
    """Enqueue; returns the ids."""
    return [enqueued.id for enqueued in store.enqueue(messages or (message(),), now=now)]


def worker(store: Store, now: int = NOW) -> int:
    """Register a worker."""
    return store.register(host="host", pid=1, now=now)


def claim(store: Store, by: int, *, limit: int = 100, now: int = DUE, route: str = "default") -> list[Claim]:
    """Claim from one route."""
    return store.claim(by, [Want(route, limit)], now=now)


def keys(claims: Sequence[Claim]) -> list[tuple[int, int]]:
    """What was claimed."""
    return [(c.message_id, r.n) for c in claims for r in c.recipients]


def results(
    claims: Sequence[Claim],
    outcome: Outcome = Outcome.DELIVERED,
    *,
    at: int = DUE,
    **more: Any,  # noqa: ANN401
) -> list[RecipientResult]:
    """One result for each recipient that was claimed."""
    fixed: dict[str, Any] = {"stage": Stage.FINAL, "code": 250, "enhanced": "2.0.0", "text": "Saved"} | more
    if outcome is Outcome.DEFERRED:
        fixed.setdefault("due", at + MINUTE)
    return [
        RecipientResult(
            message_id=c.message_id,
            n=r.n,
            address=r.address,
            route=c.route,
            attempt=r.attempts + 1,
            at=at,
            outcome=outcome,
            destination="unix:/lmtp",
            **fixed,
        )
        for c in claims
        for r in c.recipients
    ]


def ask(store: Store, text: str, **parameters: object) -> list[tuple[Any, ...]]:
    """Run a query behind the store's back."""
    return store._db.read(lambda conn: [tuple(row) for row in conn.execute(sa.text(text), parameters)])


def act(store: Store, text: str, **parameters: object) -> None:
    """Run a statement behind the store's back, as another program or a person's command would."""
    store._db.write(lambda conn: conn.execute(sa.text(text), parameters))


def counts(store: Store) -> dict[str, int]:
    """The tallies of all routes, by state."""
    found: Counter[str] = Counter()
    for row in store.stats():
        found[row.state.value] += row.count
    return dict(found)


def recount(store: Store) -> dict[tuple[str, str], int]:
    """What the tallies ought to be, counted from the rows themselves."""
    found: Counter[tuple[str, str]] = Counter()
    for route, lease, hold, attempts in ask(store, "SELECT route, lease, hold, attempts FROM recipient"):
        state = "active" if lease is not None else "held" if hold is not None else "waiting"
        found[route, "deferred" if state == "waiting" and attempts else state] += 1
    # of a person's commands those that end something
    counted = "who IS NULL OR outcome IN ('removed', 'failed')"
    ledger = f"SELECT route, outcome, late, uncertain FROM attempt WHERE {counted}"
    for route, outcome, late, uncertain in ask(store, ledger):
        found[route, "uncertain"] += bool(uncertain and not late)
        found[route, "late" if late else "deferrals" if outcome == "deferred" else outcome] += 1
    return {key: count for key, count in found.items() if count}


def check_tallies(store: Store) -> None:
    """Hold the tallies against the rows."""
    counted = {(row.route, row.state.value): row.count for row in store.stats()}
    assert counted == recount(store)
