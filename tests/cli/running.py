"""Run commands in this process, as `main` does, with a spool and standard input of their own."""

from __future__ import annotations

import errno
import io
import json
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from spooler.claim import Claim, Want
from spooler.cli.main import main
from spooler.ident import now_us
from spooler.reply import Stage
from spooler.result import Outcome, RecipientResult

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from spooler.spool.store import Store

MESSAGE = b"Subject: hi\n\nhello\n"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:  # noqa: ANN401  (whatever was printed)
        """Standard output, read."""
        return json.loads(self.out)


@dataclass(frozen=True, slots=True)
class Runner:
    """Runs `spooler ARGUMENTS` on one spool."""

    url: str
    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    def __call__(self, *arguments: object, stdin: bytes = MESSAGE, expect: int = 0) -> Ended:
        """Run it; the exit code must be `expect`."""
        self.monkeypatch.setenv("SPOOLER_SPOOL", self.url)
        self.monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = main([str(argument) for argument in arguments])
        captured = self.capsys.readouterr()
        assert code == expect, captured.err
        return Ended(code, captured.out, captured.err)


def forbid(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    """Let a file be one that may not be read, even by root."""
    real_open, real_access = io.open, os.access

    def refuse(file: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  (as `open`)
        if file == path:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real_open(file, *args, **kwargs)

    def access(file: Any, mode: int, **kwargs: Any) -> bool:  # noqa: ANN401  (as `os.access`)
        return os.fspath(file) != os.fspath(path) and real_access(file, mode, **kwargs)

    monkeypatch.setattr(io, "open", refuse)
    monkeypatch.setattr(os, "access", access)


def claim_all(store: Store, *, route: str = "default") -> tuple[int, list[Claim]]:
    """Let a new worker claim what is due on a route."""
    now = now_us()
    worker = store.register(host="host.example", pid=4711, now=now)
    return worker, store.claim(worker, [Want(route=route, limit=1000)], now=now)


def result_of(
    claim: Claim,
    n: int,
    outcome: Outcome,
    *,
    code: int = 0,
    enhanced: str = "",
    text: str = "",
    stage: Stage = Stage.FINAL,
    uncertain: bool = False,
    after: int = 0,
) -> RecipientResult:
    """Make a result for recipient `n` of a claim, `after` µs from now; if deferred, due in an hour."""
    recipient = next(one for one in claim.recipients if one.n == n)
    at = now_us() + after
    return RecipientResult(
        message_id=claim.message_id,
        n=n,
        address=recipient.address,
        route=claim.route,
        attempt=recipient.attempts + 1,
        at=at,
        outcome=outcome,
        stage=stage,
        code=code,
        enhanced=enhanced,
        text=text,
        destination="inet:127.0.0.1:24",
        uncertain=uncertain,
        due=at + 3_600_000_000 if outcome is Outcome.DEFERRED else 0,
        waited=1_500_000,
        took=2500,
    )
