"""What options and arguments take, of all commands alike: files that have a name, numbers, lines of text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import pytest

from spooler.cli.lmtp import command as lmtp
from spooler.cli.main import cli, main
from spooler.cli.values import LINE

if TYPE_CHECKING:
    from collections.abc import Iterator


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command, and how it is called."""
    context = click.Context(cli)
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None
        yield f"spooler {name}", command
        if isinstance(command, click.Group):
            yield from ((f"spooler {name} {each}", one) for each, one in command.commands.items())
    yield "lmtp", lmtp


def places(kind: type[click.ParamType[object]]) -> list[object]:
    """Of each command the options and arguments that take a value of this kind."""
    return [
        pytest.param(command, param, id=f"{name} {param.opts[0]}")
        for name, command in commands()
        for param in command.params
        if isinstance(param.type, kind)
    ]


def refusal(command: click.Command, param: click.Parameter, value: str) -> str:
    """Read a command line with this value, and run nothing; return what is wrong with it."""
    words = [param.opts[0], value] if isinstance(param, click.Option) else [value]
    with pytest.raises(click.BadParameter) as caught:
        command.make_context("x", words)
    assert caught.value.param is param
    return caught.value.message


@pytest.mark.parametrize(("command", "param"), places(click.Path))
def test_a_file_has_a_name(command: click.Command, param: click.Parameter) -> None:
    """An empty one is a variable that was not set, and not the current folder."""
    assert refusal(command, param, "") == "nothing is named."


def test_an_empty_path_is_no_folder_to_import(capsys: pytest.CaptureFixture[str]) -> None:
    """Least of all where it would be taken for all that lies here."""
    assert main(["import", "-f", "a@example.org", "-t", "b@example.org", ""]) == 64
    assert capsys.readouterr() == (
        "",
        "spooler: Invalid value for 'PATH...': nothing is named. (see spooler import --help)\n",
    )


def test_a_spool_that_is_named_has_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is not the configuration's."""
    assert main(["queue", "list", "--spool", ""]) == 64
    assert "nothing is named." in capsys.readouterr().err


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "0", "-1"])
@pytest.mark.parametrize(("command", "param"), places(click.FloatRange))
def test_a_number_can_be_reckoned_with(command: click.Command, param: click.Parameter, number: str) -> None:
    """What is no number is in no range: a pause of "nan" seconds is none."""
    assert number.lstrip("-") in refusal(command, param, number)


@pytest.mark.parametrize("text", ["a\nb", "a\rb", "a\x1b[2Jb", "a\x7fb", "a\x85b"])
def test_a_line_has_no_control_characters(text: str) -> None:
    """They would act on the terminals of all who look, or end the line; how long it is does not matter."""
    with pytest.raises(click.BadParameter, match="has control characters"):
        LINE.convert(text, None, None)
    assert LINE.convert("", None, None) == ""
    assert LINE.convert("ö" * 1000, None, None) == "ö" * 1000
