"""Mailboxes that take no mail for now: who shuts one, how long, who looks whether it is open again."""

from __future__ import annotations

import pytest

from spooler.policy.shut import GRAIN, ShutMailboxes, shuts
from spooler.reply import Stage
from spooler.result import Outcome, RecipientResult

NOW = 1_800_000_000_000_000
SECOND = 1_000_000


def result(code: int, enhanced: str, stage: Stage, outcome: Outcome = Outcome.DEFERRED) -> RecipientResult:
    return RecipientResult(
        message_id=1,
        n=0,
        address="a@x",
        route="r",
        attempt=1,
        at=NOW,
        outcome=outcome,
        stage=stage,
        code=code,
        enhanced=enhanced,
    )


@pytest.mark.parametrize(
    ("code", "enhanced", "stage", "shut"),
    [
        (452, "4.2.2", Stage.RCPT, True),
        (452, "4.2.2", Stage.FINAL, True),
        (450, "4.2.1", Stage.RCPT, True),
        (451, "4.2.1", Stage.FINAL, True),
        (451, "4.3.0", Stage.RCPT, True),
        (451, "4.3.0", Stage.FINAL, False),  # the store's trouble, not the mailbox's
        (452, "4.3.0", Stage.RCPT, False),
        (452, "4.3.1", Stage.FINAL, False),
        (452, "4.5.3", Stage.RCPT, False),
        (451, "4.7.1", Stage.RCPT, False),
        (452, "", Stage.RCPT, False),
        (421, "4.2.1", Stage.RCPT, False),
        (452, "4.2.2", Stage.MAIL, False),
    ],
)
def test_what_shuts_a_mailbox(code: int, enhanced: str, stage: Stage, *, shut: bool) -> None:
    """What a server says of the mailbox, not of the message, the session or itself."""
    assert shuts(result(code, enhanced, stage)) is shut
    assert not shuts(result(552, "5.2.2", stage, Outcome.FAILED))


def test_one_looks_while_the_others_wait() -> None:
    """The pause grows with each refusal; behind it one message is tried, and the rest waits a moment."""
    shut = ShutMailboxes(first=60 * SECOND, maximum=240 * SECOND)
    assert shut.wait("a@x", NOW) is None
    now = NOW
    for longest in (60, 120, 240, 240):
        shut.refused("a@x", now)
        shut.refused("a@x", now + 1)  # was under way
        until = shut.wait("a@x", now)
        assert until is not None
        assert longest * SECOND / 2 <= until - now <= longest * SECOND + GRAIN
        assert until % GRAIN == 0
        assert shut.wait("b@x", now) is None
        assert shut.wait("a@x", until - 1) == until
        now = until
        assert shut.wait("a@x", now) is None
        soon = shut.wait("a@x", now)
        assert soon is not None
        assert now < soon <= now + GRAIN


def test_the_first_success_opens_it() -> None:
    """Nothing is remembered of a mailbox that took mail; one attempt that told nothing lets another look."""
    shut = ShutMailboxes(first=60 * SECOND, maximum=240 * SECOND)
    shut.refused("a@x", NOW)
    until = shut.wait("a@x", NOW)
    assert until is not None
    assert shut.wait("a@x", until) is None
    shut.left("a@x")
    shut.left("b@x")
    assert shut.wait("a@x", until) is None
    shut.took("a@x")
    shut.took("b@x")
    assert len(shut) == 0
    assert shut.wait("a@x", until) is None
    assert shut.wait("a@x", until) is None


def test_memory_is_bounded() -> None:
    """Of more mailboxes than are remembered, the one that was shut first is forgotten."""
    shut = ShutMailboxes(first=60 * SECOND, maximum=240 * SECOND, most=3)
    for i in range(5):
        shut.refused(f"r{i}@x", NOW)
    assert len(shut) == 3
    assert [shut.wait(f"r{i}@x", NOW) is None for i in range(5)] == [True, True, False, False, False]
