"""Results and journals for the tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spooler.journal.place import create
from spooler.journal.writer import Journal
from spooler.reply import Stage
from spooler.result import Outcome, RecipientResult

if TYPE_CHECKING:
    from pathlib import Path

SPOOL = "11111111-2222-3333-4444-555555555555"
WORKER = 77
BOOT = "this boot"


def result(message_id: int, n: int = 0) -> RecipientResult:
    """Make a delivery."""
    return RecipientResult(
        message_id=message_id,
        n=n,
        address=f"r{n}@x",
        route="default",
        attempt=1,
        at=1_000_000 + message_id,
        outcome=Outcome.DELIVERED,
        stage=Stage.FINAL,
        code=250,
        enhanced="2.0.0",
        text="Saved \N{SNOWMAN}",
        took=7,
    )


def answer(journal: Journal, results: list[RecipientResult], owner: object) -> None:
    """Note the results of an attempt that had an intent."""
    journal.close_intent(owner, 0, [])
    journal.record(results)


def journal(root: Path, worker: int = WORKER, *, every: float = 0) -> Journal:
    """Begin a journal."""
    return Journal(
        create(root, spool=SPOOL, worker=worker), spool=SPOOL, boot=BOOT, every=every, broke=lambda _: None
    )
