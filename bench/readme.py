"""`python -m bench.readme`: README's section on speed, made from the figures that are kept.

The section stands between two comments; a test holds it equal to what this makes of `bench/results/`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from bench.cases import POSTFIX, POSTFIX_5, POSTFIX_20, POSTGRES, SQLITE, WIRE
from bench.figures import CaseFigures, Claims, EntrantFigures, Figures, Memory
from bench.report import NOTHING, RESULTS, markdown

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- made by `python -m bench.readme` -->\n", "<!-- end -->\n"
_ROWS = {
    "1x4k": "1 recipient",
    "10x4k": "10 recipients",
    "50x4k": "50 recipients",
    "list": "the same 50 recipients in every message",
    "1x100k": "1 recipient, 100 KB",
    "dovecot": "into Dovecot, 100 mailboxes",
    "cyrus": "into Cyrus, 300 mailboxes",
    "far-sink": "20 ms away, smtp-sink: no CHUNKING",
    "far-chunking": "20 ms away, spooler sink: CHUNKING",
    "far-dovecot": "20 ms away, Dovecot: CHUNKING",
}
ROUNDS = 3  # of a whole bench
_MIB = 1 << 20


def section(folder: Path = RESULTS) -> str:
    """Make the section from the results in `folder`."""
    kept = msgspec.json.decode((folder / "bench.json").read_bytes(), type=Figures)
    facts = kept.facts
    text = (
        "![Recipients delivered a second](bench/results/drains.svg)\n\nRecipients a "
        "second; 4 KB messages into `smtp-sink -L` unless said otherwise, everything as by default. "
        "Postfix drains its deferred queue, at the better of 5 and 20 connections where both were tried; "
        "*the wire* is `smtp-source` with 10 connections, which has no queue. Everything shares "
        f"{facts['cores']} cores ({facts['processor']}, {facts['memory']}).\n\n"
    )
    parts = [_rehearsal(kept), text + _table(kept), _more(folder)]
    parts.append(
        "Measure it yourself: `make bench-quick` (a few minutes) or `make bench`. Medians and spreads, all "
        "settings and versions: [bench/results](bench/results/bench.md)."
    )
    return "\n\n".join(part for part in parts if part) + "\n"


def _rehearsal(kept: Figures) -> str:
    """Say it where the figures are not those of a whole bench."""
    if kept.rounds >= ROUNDS:
        return ""
    return f"*These figures are of a rehearsal with {kept.rounds} round instead of {ROUNDS}.*"


def _table(kept: Figures) -> str:
    rows = []
    for name, title in _ROWS.items():
        case = kept.case(name)
        if case is None:
            continue
        postfix = _best(case, POSTFIX.name, POSTFIX_5.name, POSTFIX_20.name)
        cells = [case.entrant(SQLITE.name), case.entrant(POSTGRES.name), postfix, case.entrant(WIRE.name)]
        rows.append((title, *(_rate(cell) for cell in cells), _times(cells[0], postfix)))
    headings = ("", "spooler, SQLite", "spooler, Postgres", "Postfix", "the wire", "SQLite : Postfix")
    return markdown(headings, rows)


def _best(case: CaseFigures, *names: str) -> EntrantFigures | None:
    found = [one for name in names if (one := case.entrant(name))]
    return max(found, key=lambda one: one.rate.median if one.rate else 0.0, default=None)


def _rate(one: EntrantFigures | None) -> str:
    return f"{one.rate.median:,.0f}" if one and one.rate else NOTHING


def _times(one: EntrantFigures | None, other: EntrantFigures | None) -> str:
    if one is None or other is None or one.rate is None or other.rate is None:
        return NOTHING
    return f"{one.rate.median / other.rate.median:.1f} x"


def _more(folder: Path) -> str:
    """What is known of claims and of memory."""
    parts = []
    if (folder / "claims.json").exists():
        claims = msgspec.json.decode((folder / "claims.json").read_bytes(), type=Claims)
        sizes = sorted({row.backlog for row in claims.rows})
        pairs = dict.fromkeys((row.spool, row.shape) for row in claims.rows)
        growths = [growth for pair in pairs if (growth := claims.growth(*pair)) is not None]
        parts.append(
            f"A claim from a backlog of {sizes[-1]:,} recipients takes at most {max(growths):.2f} times as "
            f"long as one from {sizes[0]:,}."
        )
    if (folder / "memory.json").exists():
        memory = msgspec.json.decode((folder / "memory.json").read_bytes(), type=Memory)
        peak = max(row.peak for row in memory.rows) / _MIB
        parts.append(
            f"A worker's processes together held at most {peak:.0f} MiB, be it with "
            f"{' or '.join(dict.fromkeys(row.name for row in memory.rows))}."
        )
    return " ".join(parts)


def splice(readme: str, made: str) -> str:
    """Return README with its section replaced; raises ValueError where its comments are not there."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError("README has no section on speed")
    return f"{before}{begin}\n{made}\n{end}{after}"


def renew() -> None:
    """Write the section into README."""
    README.write_text(splice(README.read_text(), section()))


def main() -> int:
    """Run as a program."""
    renew()
    return 0


if __name__ == "__main__":
    sys.exit(main())
