"""The commands and options of `spooler` in its manual page: `python -m tests.cli.manual` writes them.

What stands around them in the page is written by hand; so is all of the page of `lmtp`.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from spooler.cli.main import cli

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(__file__).parents[2] / "deploy" / "man"
PAGE = FOLDER / "spooler.1"
BEGIN = '.\\" made by "make man"\n'
END = '.\\" end\n'
OPTION = re.compile(r"\\f[BR](\\-(?:\\-)?[A-Za-z](?:[a-z0-9]|\\-)*)")


def listed() -> str:
    """Write all commands with their options."""
    context = click.Context(cli, info_name="spooler")
    return "".join(
        _command(command, path) for name in cli.list_commands(context) for command, path in _leaves(name)
    )


def rewritten(page: str) -> str:
    """Return the page with what is listed now."""
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    assert begin, "the page has a mark where the list begins"
    assert end, "and one where it ends"
    return head + begin + listed() + end + tail


def options_of(page: str) -> set[str]:
    """Return the options that a page lists."""
    return {
        option.replace("\\-", "-")
        for line in page.splitlines()
        if line.startswith("\\fB\\-")
        for option in OPTION.findall(line)
    }


def options_known(command: click.Command) -> set[str]:
    """Return the options that a command has, the ones for help included."""
    context = click.Context(command, **command.context_settings)
    names = {name for param in command.get_params(context) for name in param.opts}
    return {name for name in names if name.startswith("-")}


def _leaves(name: str) -> Iterator[tuple[click.Command, str]]:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    yield command, name
    if isinstance(command, click.Group):
        for each in command.commands:
            yield command.commands[each], f"{name} {each}"


def _command(command: click.Command, path: str) -> str:
    context = click.Context(command)
    arguments = [param.make_metavar(context) for param in command.params if isinstance(param, click.Argument)]
    lines = [f'.SS "{_text(" ".join(["spooler", path, *arguments]))}"']
    for number, part in enumerate((command.help or "").split("\n\n")):
        shown = [_text(line.strip()) for line in part.replace("\b", "").splitlines() if line.strip()]
        lines += [".PP"] if number else []
        lines += [".nf", *shown, ".fi"] if "\b" in part else shown
    for param in command.params:
        if isinstance(param, click.Option):
            record = param.get_help_record(context)
            said = " ".join(record[1].split()) if record else ""  # with its default
            lines += [".TP", _names(param), *([_text(said)] if said else [])]
    return "\n".join(lines) + "\n"


def _names(option: click.Option) -> str:
    names = ", ".join(f"\\fB{_text(name)}\\fR" for name in option.opts)
    if option.is_flag:
        return names
    return f"{names} \\fI{_text(option.make_metavar(click.Context(cli)))}\\fR"


def _text(text: str) -> str:
    """Escape what roff would read as its own."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace('"', "\\(dq")
    return "\\&" + text if text.startswith((".", "'")) else text


def main() -> int:
    """Write the page."""
    PAGE.write_text(rewritten(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
