"""Rows of figures as a table for people and as JSON for programs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from bench.draining import Row

_MIB = 1 << 20


def markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table whose columns line up; figures (what begins with a digit) go to the right."""
    columns = list(zip(headings, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    right = [all(cell[:1].isdigit() for cell in column[1:]) for column in columns]
    rule = [f"{'-' * (width - 1)}{':' if far else '-'}" for width, far in zip(widths, right, strict=True)]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.rjust(width) if far else cell.ljust(width)
            for cell, width, far in zip(cells, widths, right, strict=True)
        ]
        return f"| {' | '.join(padded)} |"

    return "\n".join(line(cells) for cells in (headings, rule, *rows))


def drains(rows: Sequence[Row]) -> str:
    """Return the table of drain cases."""
    headings = (
        "messages x recipients",
        "spool",
        "messages/s",
        "recipients/s",
        "drain, s",
        "with start-up, s",
        "CPU a message, µs",
        "peak memory, MiB",
    )
    return markdown(
        headings,
        [
            (
                row.name,
                row.spool,
                f"{row.messages_per_s:,.0f}",
                f"{row.recipients_per_s:,.0f}",
                f"{row.drain:.2f}",
                f"{row.process:.2f}",
                f"{row.cpu_per_message_us:,.0f}",
                f"{row.peak / _MIB:.0f}",
            )
            for row in rows
        ],
    )


def write(folder: Path, name: str, *, title: str, text: str, facts: Mapping[str, str], data: Any) -> None:  # noqa: ANN401 - whatever is JSON
    """Write `name`.md and `name`.json into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    listed = "\n".join(f"- {fact}: {value}" for fact, value in facts.items())
    (folder / f"{name}.md").write_text(f"# {title}\n\n{text}\n\n## Measured on\n\n{listed}\n")
    (folder / f"{name}.json").write_text(json.dumps({"facts": dict(facts), "rows": data}, indent=2) + "\n")
