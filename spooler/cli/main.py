"""The command `spooler`: finds the sub-command; and for every command, turns errors into one line and a code.

Sub-commands are imported when they are used, so that help and errors come at once. Whatever is raised ends
here: a person sees what, where and how to mend it, never a traceback.
"""

from __future__ import annotations

import errno
import importlib
import os
import sys
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

import click

from spooler.address import show
from spooler.cli import standard_output
from spooler.errors import SpoolerError, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

EX_INTERRUPTED = 130  # 128 + SIGINT, as shells have it
MAX_BUG = 200  # characters of an internal error
EX_PIPE = 1  # what click, too, ends with when nobody reads the output any more

COMMANDS = {
    "init": ("spooler.cli.init", "Create a spool, or bring one up to date."),
    "enqueue": ("spooler.cli.enqueue", "Queue a message from standard input."),
    "import": ("spooler.cli.importing", "Queue messages from mbox files, Maildirs and folders."),
    "worker": ("spooler.cli.worker", "Deliver until told to stop."),
    "drain": ("spooler.cli.drain", "Deliver until nothing is due, then stop."),
    "queue": (
        "spooler.cli.queue",
        "Look at what is queued; hold, release, retry, reroute, remove, bounce it.",
    ),
    "route": ("spooler.cli.route", "Look at routes; pause and resume them."),
    "trace": ("spooler.cli.trace", "Tell what happened to an address or a message."),
    "why": ("spooler.cli.why", "Say what a message or an address waits for, and until when."),
    "top": ("spooler.cli.top", "Show live how the spool stands and moves."),
    "doctor": ("spooler.cli.doctor", "Look at everything that delivery needs; say what to mend."),
    "sink": ("spooler.cli.sink", "Run an LMTP server that takes mail for tests."),
}


class LazyGroup(click.Group):
    """Knows its commands by name and help, and imports one only to run it."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  (click's signature)
        """Name the commands, in the order in which they are used."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  (as above)
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(COMMANDS[cmd_name][0]).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  (as above)
        """Write the list without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes are those of sysexits.h: 0 done, 64 usage, 65 bad data, 66 no input, 68 no such host, "
    "69 unavailable, 70 a bug, 73 cannot create, 74 input or output, 75 try again, 76 protocol, 77 not "
    "permitted, 78 configuration; and 130 interrupted, 1 nobody reads the output any more. See 'spooler "
    "COMMAND --help'.",
)
@click.version_option(package_name="spooler", message="%(prog)s %(version)s")
def cli() -> None:
    """A durable spool of mail, drained over LMTP, with a result for every recipient."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `spooler`; return its exit code."""
    return run(cli, arguments, name="spooler")


def run(command: click.Command, arguments: Sequence[str] | None, *, name: str) -> int:
    """Run a command under its name; return its exit code."""
    for output in ("stdout", "stderr"):
        if getattr(sys, output) is None:  # closed by the caller, who wants to see nothing
            setattr(sys, output, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123  (open to the end)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:  # a character that the terminal's encoding lacks is no reason to fail
            reconfigure(errors="backslashreplace")
    try:
        with standard_output.named():
            code = _run(command, arguments, name)
            sys.stdout.flush()
    except BrokenPipeError:
        let_go_of_output()
        return EX_PIPE
    except OSError as error:
        let_go_of_output()
        return _complain(name, _unforeseen(error), os.EX_IOERR)
    finally:
        try:
            sys.stderr.flush()
        except OSError:  # a terminal that is gone is nobody's failure
            let_go_of(sys.stderr)
    return code


def _run(command: click.Command, arguments: Sequence[str] | None, name: str) -> int:
    try:
        code = command.main(args=arguments, prog_name=name, standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return os.EX_USAGE
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else name
        return _complain(name, f"{_one_line(error.format_message())} (see {path} --help)", os.EX_USAGE)
    except click.ClickException as error:
        return _complain(name, _one_line(error.format_message()), os.EX_USAGE)
    except (click.Abort, KeyboardInterrupt):
        return EX_INTERRUPTED
    except SpoolerError as error:
        _explain_to_developer()
        return _complain(name, str(error), error.exit_code)
    except OSError as error:
        if error.errno == errno.EPIPE:
            raise BrokenPipeError from None
        raise
    except Exception as error:  # noqa: BLE001  (the last resort: no traceback reaches a user)
        _explain_to_developer()
        said = str(error).strip().partition("\n")[0]  # statements and their parameters come below it
        what = show(f"{type(error).__name__}: {said}", MAX_BUG)
        return _complain(
            name, f"internal error: {what} (please report; SPOOLER_TRACEBACK=1 shows where)", os.EX_SOFTWARE
        )
    return code if isinstance(code, int) else os.EX_OK


def _unforeseen(error: OSError) -> str:
    """Say what the system refused, and where."""
    said = error.strerror or str(error)
    if error.filename == standard_output.NAME:
        return f"{standard_output.NAME} could not be written: {said}"
    if error.filename:
        return f"{said}: {show(str(error.filename), 300)}"
    if error.errno == errno.ENOENT and not _is_somewhere():
        return "the current folder is gone"
    return said


def _is_somewhere() -> bool:
    try:
        os.getcwd()  # noqa: PTH109  (Path.cwd is the same, and loads more)
    except OSError:
        return False
    return True


def _complain(name: str, text: str, code: int) -> int:
    from spooler.ops.journald import prefixes

    tell(f"{prefixes(sys.stderr)['error']}{name}: {_one_line(text)}")
    return code


def tell(text: str) -> None:
    """Tell a person, on standard error; that it cannot be written there keeps from nothing."""
    try:
        click.echo(text, err=True)
    except OSError:
        let_go_of(sys.stderr)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _explain_to_developer() -> None:
    if os.environ.get("SPOOLER_TRACEBACK"):
        traceback.print_exc()


@contextmanager
def telling(what: str) -> Iterator[None]:
    """Print within this what was done and must not be done again, for want of an answer.

    Where that cannot be written, StorageError is raised, which says that `what` could not be.
    """
    try:
        yield
        sys.stdout.flush()
    except OSError as error:
        let_go_of_output()
        raise StorageError(
            f"{what} could not be written: {error.strerror or error}", hint="do not repeat it"
        ) from None


def let_go_of_output() -> None:
    """Nobody reads our output any more: what is still buffered must not fail again when Python ends."""
    let_go_of(sys.stdout)


def let_go_of(stream: TextIO) -> None:
    """Lead a stream to nowhere."""
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
    except (OSError, ValueError):
        return
