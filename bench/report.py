"""Figures as tables for people, as JSON for programs, as plots for README."""

from __future__ import annotations

import re
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from bench import plot, texts
from bench.cases import Kind
from bench.figures import (
    CaseFigures,
    Claims,
    EntrantFigures,
    Figures,
    GoalFigures,
    Kills,
    Memory,
    save,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.rounds import Reached, Result, Score

RESULTS = Path(__file__).with_name("results")
_FIGURE = re.compile(r"[\d.,]+(?: to [\d.,]+| x)?|–")  # noqa: RUF001 - the dash of a table
_MIB = 1 << 20


def figures(
    results: Sequence[Result], goals: Sequence[Reached], *, rounds: int, facts: Mapping[str, str]
) -> Figures:
    """Gather what a bench gave."""
    return Figures(
        facts=dict(facts),
        settings=texts.SETTINGS,
        rounds=rounds,
        cases=[
            CaseFigures(
                name=result.case.name,
                title=result.case.title,
                messages=result.case.messages,
                recipients=result.case.recipients,
                size=result.case.size,
                target=result.case.target,
                round_trip=result.case.round_trip,
                entrants=[_entrant(result, score) for score in result.scores],
            )
            for result in results
        ],
        goals=[
            GoalFigures(
                title=one.goal.title,
                case=one.goal.case,
                of=one.goal.of,
                against=one.against,
                at_least=one.goal.at_least,
                goal=one.goal.goal,
                ratio=one.ratio,
            )
            for one in goals
        ],
    )


def _entrant(result: Result, score: Score) -> EntrantFigures:
    case = result.case.of(score.entrant)
    named = {"name": score.entrant.name, "messages": case.messages, "recipients": case.recipients}
    if not score.runs:
        return EntrantFigures(**named, why_not=score.why_not, failed=score.failed)  # type: ignore[arg-type]  # as named
    runs = score.runs
    ours = score.entrant.kind is Kind.SPOOLER
    transactions = sum(sum(run.modes.values()) for run in runs)
    modes = sorted({mode for run in runs for mode in run.modes})
    return EntrantFigures(
        name=score.entrant.name,
        messages=case.messages,
        recipients=case.recipients,
        why_not=score.why_not,
        failed=score.failed,
        rate=score.rate,
        rates=[run.recipients_per_s for run in runs],
        seconds=median(run.seconds for run in runs),
        process=median(run.process or 0 for run in runs) if ours else None,
        cpu_us=median((run.cpu or 0) / run.recipients * 1e6 for run in runs) if ours else None,
        peak=max(run.peak or 0 for run in runs) if ours else None,
        modes={mode: sum(run.modes.get(mode, 0) for run in runs) / transactions for mode in modes},
        windows=[run.window for run in runs if run.window and score.entrant.adapt is not False],
        verified=score.verified,
    )


def markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table whose columns line up; figures (of a spread too) go to the right."""
    columns = list(zip(headings, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    right = [
        number > 0 and all(_FIGURE.fullmatch(cell) for cell in column[1:])
        for number, column in enumerate(columns)
    ]
    rule = [f"{'-' * (width - 1)}{':' if far else '-'}" for width, far in zip(widths, right, strict=True)]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.rjust(width) if far else cell.ljust(width)
            for cell, width, far in zip(cells, widths, right, strict=True)
        ]
        return f"| {' | '.join(padded)} |"

    return "\n".join(line(cells) for cells in (headings, rule, *rows))


NOTHING = "–"  # noqa: RUF001 - a dash in a table


def goals_table(kept: Figures) -> str:
    """What the figures must show, and what they do."""
    return markdown(
        ("ratio", "median", "rounds", "at least", "goal", ""),
        [
            (
                one.title,
                f"{one.ratio.median:.2f} x" if one.ratio else NOTHING,
                f"{one.ratio.low:.2f} to {one.ratio.high:.2f}" if one.ratio else NOTHING,
                f"{one.at_least:g} x",
                f"{one.goal:g} x",
                _verdict(one),
            )
            for one in kept.goals
        ],
    )


def _verdict(one: GoalFigures) -> str:
    if one.ratio is None:
        return "not measured"
    if one.ratio.median >= one.goal:
        return "goal reached"
    return "reached" if one.ratio.median >= one.at_least else "short"


def case_table(case: CaseFigures) -> str:
    """How the entrants of a case did."""
    rows = []
    for one in case.entrants:
        if one.rate is None:
            rows.append((one.name, f"{one.messages:,}", *[NOTHING] * 6))
            continue
        rows.append(
            (
                one.name,
                f"{one.messages:,}",
                f"{one.rate.median / one.recipients:,.0f}",
                f"{one.rate.median:,.0f}",
                f"{one.rate.low:,.0f} to {one.rate.high:,.0f}",
                f"{one.cpu_us:,.0f}" if one.cpu_us else NOTHING,
                f"{one.peak / _MIB:.0f}" if one.peak else NOTHING,
                f"{one.verified:,}" if one.verified else NOTHING,
            )
        )
    headings = (
        "",
        "messages",
        "messages/s",
        "recipients/s",
        "rounds",
        "CPU a recipient, µs",
        "memory, MiB",
        "compared",
    )
    return markdown(headings, rows)


def _notes(case: CaseFigures) -> str:
    lines = [
        f"- {one.name}: {'failed' if one.failed else 'not run'}: {one.why_not}"
        for one in case.entrants
        if one.why_not
    ]
    lines += [
        f"- {one.name}: {', '.join(f'{share:.0%} {mode}' for mode, share in one.modes.items())}"
        for one in case.entrants
        if one.modes
    ]
    lines += [f"- {one.name}, at the end: {'; '.join(one.windows)}" for one in case.entrants if one.windows]
    return "\n".join(lines)


def document(kept: Figures) -> str:
    """The whole report."""
    parts = [
        "# Drains, side by side",
        texts.DRAINS.format(rounds=kept.rounds),
        "## What it must show",
        goals_table(kept),
    ]
    for case in kept.cases:
        parts += [f"## {case.title}", case_table(case), _notes(case)]
    parts += ["## Settings", _listed(kept.settings), "## Measured on", _listed(kept.facts)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _listed(facts: Mapping[str, str]) -> str:
    return "\n".join(f"- {name}: {fact}" for name, fact in facts.items())


def claims_table(kept: Claims) -> str:
    """How long claims take."""
    headings = ("spool", "shape", "recipients waiting", "a claim, ms", "half of them", "a settlement, ms")
    return markdown(
        headings,
        [
            (
                row.spool,
                row.shape,
                f"{row.backlog:,}",
                f"{row.claim.median:.1f}",
                f"{row.claim.low:.1f} to {row.claim.high:.1f}",
                f"{row.settle.median:.1f}",
            )
            for row in kept.rows
        ],
    )


def growth_table(kept: Claims) -> str:
    """By how much the time of a claim grows with the backlog."""
    rows = []
    for spool, shape in dict.fromkeys((row.spool, row.shape) for row in kept.rows):
        growth = kept.growth(spool, shape)
        sizes = sorted(row.backlog for row in kept.rows if (row.spool, row.shape) == (spool, shape))
        told = f"{growth:.2f} x" if growth is not None else NOTHING
        rows.append((spool, shape, f"{sizes[-1]:,} against {sizes[0]:,}", told))
    return markdown(("spool", "shape", "recipients waiting", "time of a claim"), rows)


def memory_table(kept: Memory) -> str:
    """What workers hold."""
    return markdown(
        ("spool", "load", "idle, MiB", "peak, MiB", "above idle, MiB", "drain, s"),
        [
            (
                row.spool,
                row.name,
                *(f"{size / _MIB:.1f}" for size in (row.idle, row.peak, row.above)),
                f"{row.seconds:.1f}",
            )
            for row in kept.rows
        ],
    )


def write_tuning(kept: Figures, folder: Path) -> None:
    """Write the report of what adapts against what is fixed into `folder`."""
    save(kept, folder / "tuning.json")
    (folder / "tuning.md").write_text(document(kept))


def kills_table(kept: Kills) -> str:
    """What kills came to, Postfix's beside them."""
    rows = [
        (
            f"spooler, {DATABASES[row.spool]}",
            row.target,
            f"{row.kills:,}",
            *(f"{count:,}" for count in (row.recipients, row.lost, row.false_success, row.false_failure)),
            f"{row.duplicates:,}",
            f"{row.duplicates / row.kills:.2f}",
            f"{row.uncertain:,}",
            f"{row.unexplained:,}",
        )
        for row in kept.rows
    ]
    kills, copies = texts.POSTFIX_KILLS, texts.POSTFIX_DUPLICATES
    told = (f"{kills}", f"{texts.POSTFIX_RECIPIENTS:,}", *[NOTHING] * 3, f"{copies}", f"{copies / kills:.2f}")
    rows.append(("Postfix", NOTHING, *told, NOTHING, f"{copies}"))
    headings = (
        "",
        "target",
        "kills",
        "recipients",
        "lost",
        "false successes",
        "false failures",
        "second copies",
        "a kill",
        "uncertain attempts",
        "copies without one",
    )
    return markdown(headings, rows)


def write_kills(kept: Kills, folder: Path) -> None:
    """Write the report of kills and its figures into `folder`."""
    save(kept, folder / "kills.json")
    text = texts.KILLS.format(sessions=kept.sessions)
    parts = ["# Workers killed", text, kills_table(kept), "## Measured on", _listed(kept.facts)]
    (folder / "kills.md").write_text("\n\n".join(parts) + "\n")


def write(kept: Figures, folder: Path) -> None:
    """Write the report, its figures and its plots into `folder`."""
    save(kept, folder / "bench.json")
    (folder / "bench.md").write_text(document(kept))
    for name, drawn in plots(kept).items():
        (folder / f"{name}.svg").write_text(drawn)


def write_claims(kept: Claims, folder: Path) -> None:
    """Write the report of claims, its figures and its plot into `folder`."""
    save(kept, folder / "claims.json")
    (folder / "claims.svg").write_text(_claims_plot(kept))
    text = texts.CLAIMS.format(claim=kept.claim, rounds=kept.rounds)
    parts = ["# Claims", text, growth_table(kept), claims_table(kept), "## Measured on", _listed(kept.facts)]
    (folder / "claims.md").write_text("\n\n".join(parts) + "\n")


def write_memory(kept: Memory, folder: Path) -> None:
    """Write the report of memory and its figures into `folder`."""
    save(kept, folder / "memory.json")
    parts = ["# Memory", texts.MEMORY, memory_table(kept), "## Measured on", _listed(kept.facts)]
    (folder / "memory.md").write_text("\n\n".join(parts) + "\n")


_SHORT = {"spooler, SQLite": "sqlite", "spooler, Postgres": "postgres"}
DATABASES = {"sqlite": "SQLite", "postgres": "Postgres"}
_PLOTS = {
    "drains": (
        "Recipients delivered a second",
        "spooler and Postfix from queues on disk, the wire and smtplib without; median, least, greatest",
        ("1x4k", "10x4k", "50x4k"),
    ),
    "stores": (
        "Recipients delivered a second, into real stores and far ones",
        "spooler and Postfix from queues on disk; median, least, greatest",
        ("dovecot", "cyrus", "far-chunking", "far-dovecot"),
    ),
}


def plots(kept: Figures) -> dict[str, str]:
    """Draw what there is to draw."""
    drawn = {}
    for name, (title, subtitle, cases) in _PLOTS.items():
        panels = [_panel(case) for wanted in cases if (case := kept.case(wanted))]
        panels = [panel for panel in panels if panel.bars]
        if panels:
            drawn[name] = plot.bars(title, subtitle, tuple(panels))
    return drawn


def _panel(case: CaseFigures) -> plot.Panel:
    found = [(one, one.rate) for one in case.entrants if one.rate and not one.failed]
    return plot.Panel(
        title=case.title,
        bars=tuple(
            plot.Bar(label=one.name, kind=_kind(one.name), value=rate.median, low=rate.low, high=rate.high)
            for one, rate in sorted(found, key=lambda pair: -pair[1].median)
        ),
    )


def _kind(name: str) -> str:
    if name in _SHORT:
        return _SHORT[name]
    if name.startswith("spooler"):
        return "sqlite"
    return "postfix" if name.startswith("Postfix") else "other"


def _claims_plot(kept: Claims) -> str:
    lines = []
    for spool, shape in dict.fromkeys((row.spool, row.shape) for row in kept.rows):
        rows = [row for row in kept.rows if (row.spool, row.shape) == (spool, shape)]
        lines.append(
            plot.Line(
                label=f"{DATABASES[spool]}, {shape}",
                kind=spool,
                points=tuple((float(row.backlog), row.claim.median) for row in rows),
                dashed=not shape.startswith("1 "),
            )
        )
    return plot.lines(
        f"Time of a claim of {kept.claim} recipients",
        "over the number of recipients that wait in the spool; medians",
        tuple(lines),
        unit="ms",
    )
