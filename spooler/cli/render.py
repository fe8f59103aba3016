"""How values look: tables for people, JSON for programs.

Tables are plain text where output is no terminal: no colour, nothing wrapped or cut off. Text from strangers
is escaped and never read as markup. JSON has ids in the form that people see, RFC 3339 times in UTC,
durations in seconds.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import IntEnum, IntFlag
from io import StringIO
from shutil import get_terminal_size
from typing import Any

import click
import msgspec

from spooler.address import show
from spooler.ident import format_id

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_IDS = frozenset({"id", "message_id", "content", "lease", "worker"})
_TIMES = frozenset(
    {"at", "due", "created", "not_before", "expires", "started", "beat_at", "oldest", "since", "until"}
    | {"probe_at", "clears"}
)
_DURATIONS = frozenset({"waited", "took"})
_UNITS = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))
_NARROW = 80  # columns below which a table of ours is no table any more
_PIPE_WIDTH = 4000  # columns where output is no terminal: so wide that nothing is wrapped


def rfc3339(when: int) -> str:
    """Write a time (µs UTC) to the microsecond."""
    return _moment(when).isoformat(timespec="microseconds").replace("+00:00", "Z")


def clock_time(when: int | None) -> str:
    """Write a time (µs UTC) to the second, for people; "" for None."""
    if when is None:
        return ""
    return _moment(when).replace(tzinfo=None).isoformat(sep=" ", timespec="seconds") + "Z"


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


def plain(value: Any) -> Any:  # noqa: ANN401  (any record in, JSON's types out)
    """Turn a record into what JSON can say, with stable keys."""
    if isinstance(value, msgspec.Struct):
        return {key: _field(key, getattr(value, key)) for key in value.__struct_fields__}
    if isinstance(value, Mapping):
        return {key: _field(key, one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, IntFlag):
        return [flag.name.lower() for flag in value if flag.name]
    if isinstance(value, IntEnum):
        return value.name.lower()
    return value


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


def _moment(when: int) -> datetime:
    """The nearest time that there is: one strange row must not hide the others."""
    try:
        return _EPOCH + timedelta(microseconds=when)
    except OverflowError:
        return datetime.min.replace(tzinfo=UTC) if when < 0 else datetime.max.replace(tzinfo=UTC)


def _field(key: str, value: Any) -> Any:  # noqa: ANN401  (as `plain`)
    if not isinstance(value, int) or isinstance(value, bool):
        return plain(value)
    if key in _IDS:
        return format_id(value) if value else None
    if key in _TIMES:
        return rfc3339(value)
    return value / 1_000_000 if key in _DURATIONS else plain(value)
