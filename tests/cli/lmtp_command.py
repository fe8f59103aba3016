"""Run `lmtp` in this process, with a standard input of its own, and in one of its own."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from spooler.cli.lmtp import command
from spooler.cli.lmtp_asked import NAME
from spooler.cli.main import run
from tests.cli.running import Ended

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pytest

MESSAGE = b"Subject: Test Email\n"
ENVELOPE = ("-f", "user@example.com", "-t", "recipient@example.com")
PROGRAM = f"#!{sys.executable}\nimport sys\nfrom spooler.cli.lmtp import main\nsys.exit(main())\n"
"""What an installation makes of the entry point."""
_REPOSITORY = Path(__file__).parents[2]
_LIMIT = 60  # seconds that a command may take


@dataclass(frozen=True, slots=True)
class Lmtp:
    """Runs `lmtp ARGUMENTS`."""

    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    def __call__(self, *arguments: object, stdin: bytes = MESSAGE, expect: int = 0) -> Ended:
        """Run it; the exit code must be `expect`."""
        self.monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = run(command, [str(argument) for argument in arguments], name=NAME)
        captured = self.capsys.readouterr()
        assert code == expect, captured.err + captured.out
        return Ended(code, captured.out, captured.err)


def environment(**more: str) -> dict[str, str]:
    """What a process of its own gets: this repository's code, and nothing of the caller's set-up."""
    own = ("SPOOLER_", "LMTP_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    return inherited | {"PYTHONPATH": str(_REPOSITORY)} | more


def install(folder: Path) -> Path:
    """Make the program in a folder; return it."""
    folder.mkdir(exist_ok=True)
    program = folder / NAME
    program.write_text(PROGRAM)
    program.chmod(0o755)
    return program


def shell(
    line: str, *, path: Path, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a line as a person types it, with the programs of the folder `path` at hand."""
    paths = f"{path}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return subprocess.run(
        ["sh", "-c", line],
        env=environment(PATH=paths) | dict(env or {}),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_LIMIT,
        check=False,
    )
