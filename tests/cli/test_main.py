"""The command as a whole: help, exit codes, one line for every error."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import click
import pytest

from spooler.cli import main as main_module
from spooler.cli.main import COMMANDS, EX_INTERRUPTED, EX_PIPE, main
from spooler.errors import SpoolerError, TryAgainError


def run_raising(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run a command that raises."""

    @click.command("init")
    def command() -> None:
        raise error

    monkeypatch.setattr(main_module.cli, "get_command", lambda ctx, name: command)
    return main(["init"])


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """The list of commands is complete."""
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"  {name} " in text for name in COMMANDS)


def test_help_names_every_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    """All that commands end with, but for that of a recipient, which `lmtp` alone is about."""
    main(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    kinds: list[type[SpoolerError]] = [SpoolerError, *SpoolerError.__subclasses__()]
    codes = {kind.exit_code for kind in kinds} | {EX_INTERRUPTED, EX_PIPE, 0}
    _, _, told = text.partition("Exit codes ")
    assert {int(code) for code in re.findall(r"\b\d+\b", told)} == codes


def test_help_imports_no_database() -> None:
    """Help and the package itself load neither the database nor the tables' printer."""
    program = (
        "import sys, spooler; from spooler.cli.main import main; main(['--help']);"
        "sys.exit(any(name in sys.modules for name in ('sqlalchemy', 'rich', 'trio', 'msgspec')))"
    )
    assert (
        subprocess.run([sys.executable, "-c", program], stdout=subprocess.DEVNULL, check=False).returncode
        == 0
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each command can be imported and says what it does."""
    assert main([name, "--help"]) == 0
    assert f"spooler {name}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["nonsense"], "spooler: No such command 'nonsense'. (see spooler --help)"),
        (["queue", "nonsense"], "spooler: No such command 'nonsense'. (see spooler queue --help)"),
        (["queue", "list", "--limit", "0"], "(see spooler queue list --help)"),
        (["enqueue", "a@example.org"], "(see spooler enqueue --help)"),
    ],
)
def test_usage_errors(arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong command line is one line that says where the right one is described, exit code 64."""
    assert main(arguments) == 64
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.endswith(f"{line}\n")
    assert captured.err.count("\n") == 1


def test_errors_of_ours(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """What, how to mend it, and the error's own exit code."""
    assert run_raising(TryAgainError("the database\nis locked", hint="wait"), monkeypatch) == 75
    assert capsys.readouterr().err == "spooler: the database is locked (wait)\n"


def test_bugs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Anything else is one line too, exit code 70."""
    monkeypatch.delenv("SPOOLER_TRACEBACK", raising=False)
    assert run_raising(ZeroDivisionError("division\nby zero"), monkeypatch) == 70
    assert capsys.readouterr().err == (
        "spooler: internal error: ZeroDivisionError: division "
        "(please report; SPOOLER_TRACEBACK=1 shows where)\n"
    )


def test_bugs_are_told_briefly(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A long text is cut off: it may hold what the program worked on."""
    assert run_raising(ValueError("x" * 1000), monkeypatch) == 70
    assert len(capsys.readouterr().err) < 300


def test_closed_output(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who closed standard output (`>&-`) gets the exit code only."""
    monkeypatch.setattr(sys, "stdout", None)
    code = main(["--help"])
    stand_in = sys.stdout
    assert code == 0
    assert stand_in is not None
    stand_in.close()


def test_traceback_on_request(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Who wants to see where it came from, can."""
    monkeypatch.setenv("SPOOLER_TRACEBACK", "1")
    assert run_raising(ZeroDivisionError(), monkeypatch) == 70
    assert "Traceback" in capsys.readouterr().err


def test_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends with 130."""
    assert run_raising(KeyboardInterrupt(), monkeypatch) == 130


def test_operating_system_errors(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """An error of the system that nobody foresaw has its words and exit code 74."""
    assert run_raising(OSError(28, "No space left on device"), monkeypatch) == 74
    assert capsys.readouterr().err == "spooler: No space left on device\n"
    assert run_raising(OSError(28, "No space left on device", "/a\x1b"), monkeypatch) == 74
    assert capsys.readouterr().err == "spooler: No space left on device: /a\\x1b\n"


def test_reader_that_goes_away() -> None:
    """`spooler … | head` is quiet."""
    program = "import sys; from spooler.cli.main import main; sys.exit(main(['--help']))"
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as nobody:
        done = subprocess.run(
            [sys.executable, "-c", program], stdout=nobody, stderr=subprocess.PIPE, check=False
        )
    assert (done.returncode, done.stderr) == (1, b"")
