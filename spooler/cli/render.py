"""How values look: tables for people, JSON for programs.

Tables are plain text where output is no terminal: no colour, nothing wrapped or cut off. Text from strangers
is escaped and never read as markup. How records look in JSON is in `spooler.plain`.
"""

from __future__ import annotations

import shlex
import sys
from io import StringIO
from shutil import get_terminal_size
from typing import TYPE_CHECKING

import click
import msgspec

from spooler.address import show
from spooler.plain import moment
from spooler.plain import plain as plain  # whoever prints takes it from here
from spooler.plain import rfc3339 as rfc3339  # as above

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

_UNITS = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))
_NARROW = 80  # columns below which a table of ours is no table any more
_WORD = 1000  # characters: more than escaped addresses and names of routes have
_PIPE_WIDTH = 4000  # columns where output is no terminal: so wide that nothing is wrapped


def clock_time(when: int | None) -> str:
    """Write a time (µs UTC) to the second, for people; "" for None."""
    if when is None:
        return ""
    return moment(when).replace(tzinfo=None).isoformat(sep=" ", timespec="seconds") + "Z"


def local_time(when: int) -> str:
    """Write a time (µs UTC) to the second by the clock of this place, as it is read from the command line."""
    said = moment(when).astimezone().isoformat(sep=" ", timespec="seconds")
    return said.removesuffix("+00:00") + "Z" if said.endswith("+00:00") else said


def human_duration(us: int) -> str:
    """Write a duration (µs) with its two greatest units: "2h 5m"; below a second "0s"."""
    left = max(0, us) // 1_000_000
    parts: list[str] = []
    for seconds, unit in _UNITS:
        count, left = divmod(left, seconds)
        if count or parts:
            parts.append(f"{count}{unit}")
    return " ".join(part for part in parts[:2] if not part.startswith("0")) or "0s"


def human_when(when: int, now: int) -> str:
    """Write a time (µs UTC) relative to now: "in 5m", "3h ago", "now"."""
    if abs(when - now) < 1_000_000:
        return "now"
    return f"in {human_duration(when - now)}" if when > now else f"{human_duration(now - when)} ago"


def human_size(size: float) -> str:
    """Write a number of bytes: "4.1 KB"; a KB is 1024 bytes."""
    for unit in ("bytes", "KB", "MB", "GB"):
        if size < 1024 or unit == "GB":
            break
        size /= 1024
    return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"


def plural(count: int, noun: str) -> str:
    """Write a count with its noun: "1 message", "1,000 messages"."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def reply_of(code: int, enhanced: str, text: str) -> str:
    """Write what the server said, or what we say where it said nothing."""
    return " ".join(part for part in (str(code) if code else "", enhanced, text) if part)


def shell_word(text: str) -> str:
    """Write it whole as a word of a command that is proposed, for a shell."""
    return shlex.quote(show(text, _WORD))


def print_json(value: object) -> None:
    """Print a record, or a mapping of them, as one line of JSON."""
    click.echo(msgspec.json.encode(plain(value)).decode())


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, fold: Collection[str] | None = None
) -> None:
    """Print a table; a column whose name begins with "#" is of numbers.

    On a terminal where it does not fit, the columns named by `fold` (None: all) are folded; on one of less
    than 80 columns a row is a block of lines.
    """
    terminal = sys.stdout.isatty()
    if terminal and get_terminal_size().columns < _NARROW:
        _print_blocks([name.removeprefix("#") for name in columns], rows)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_edge=False, header_style="bold")
    for name in columns:
        table.add_column(
            Text(name.removeprefix("#")),
            justify="right" if name.startswith("#") else "left",
            overflow="fold",
            no_wrap=fold is not None and name not in fold,
        )
    for row in rows:
        table.add_row(*(Text(show(cell, 300)) for cell in row))
    text = StringIO()
    Console(
        file=sys.stdout if terminal else text,
        width=None if terminal else _PIPE_WIDTH,
        no_color=None if terminal else True,
        highlight=False,
        markup=False,
        emoji=False,
    ).print(table)
    for line in text.getvalue().splitlines():
        click.echo(line.rstrip())


def _print_blocks(names: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    width = max(len(name) for name in names) + 2
    for number, row in enumerate(rows):
        if number:
            click.echo()
        for name, cell in zip(names, row, strict=True):
            if cell:
                click.echo(f"{name:<{width}}{show(cell, 300)}")
