"""A drain's report as one page of HTML with nothing outside of it: for whoever was not there."""

from __future__ import annotations

from html import escape
from importlib.resources import files
from itertools import pairwise
from typing import TYPE_CHECKING

from spooler.address import show
from spooler.ident import format_id
from spooler.plain import moment

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from spooler.ops.course import Point
    from spooler.ops.report import DrainReport, Times

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 560, 176, 56, 20, 8  # of a chart, as the status page has them
_STEPS = (1, 2, 5)
_TEXT = 300  # characters of a server's words


def page(report: DrainReport) -> str:
    """Write the page."""
    title = f"drain of job {show(report.job)}" if report.job else "drain"
    began = moment(report.began).strftime("%Y-%m-%d %H:%M:%S UTC")
    sections = [
        _section("Course", _charts(report.course)),
        _section("Times", _times(report)),
        _section("Routes", _routes(report)),
        _section("Why not delivered, in the servers' words", _reasons(report)),
    ]
    style = files("spooler.ops.page").joinpath("status.css").read_text("utf-8")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="color-scheme" content="light dark"><title>spooler: {escape(title)}</title>'
        f"<style>{style}</style></head><body>\n"
        f"<header><h1>spooler</h1>{_verdict(report)}</header>\n<main>\n"
        f"<section><h2>{escape(title)}, {began}</h2>"
        f"<p>It ended after {_seconds(report.took)} because {report.why.value}.</p>"
        f"{_notes(report)}</section>\n"
        f'<section id="tiles">{"".join(_tiles(report))}</section>\n{"".join(sections)}</main>\n'
        f"<footer>spooler {escape(report.version)}</footer>\n</body></html>\n"
    )


def _notes(report: DrainReport) -> str:
    """Say what the figures do not."""
    said = []
    if report.held:
        said.append(f"{report.held:,} of the deferred are held until a person decides.")
    if report.deaths:
        said.append(
            f"Processes died ({report.deaths}): what they did last is in the ledger, not in these figures."
        )
    return f"<p>{' '.join(said)}</p>" if said else ""


def _verdict(report: DrainReport) -> str:
    failed = report.outcomes["failed"] + report.outcomes["expired"]
    kind = "warn" if report.left or report.left is None else "bad" if failed else "good"
    left = "unknown" if report.left is None else f"{report.left:,}"
    return f'<p class="pill {kind}">{left} left</p>'


def _tiles(report: DrainReport) -> Iterable[str]:
    of = "" if report.total is None else f"of {report.total:,} that were there"
    limit = "" if report.max_rate is None else f", at most {report.max_rate:g} allowed"
    yield _tile("delivered", f"{report.outcomes['delivered']:,}", of)
    yield _tile("failed", f"{report.outcomes['failed']:,}", f"{report.outcomes['expired']:,} expired")
    yield _tile("deferrals", f"{report.outcomes['deferred']:,}", f"{report.uncertain:,} uncertain")
    yield _tile("a second", f"{report.rate:,.0f}", f"{report.best:,.0f} at its best{limit}")


def _tile(name: str, value: str, more: str) -> str:
    return (
        f'<div class="tile"><div class="name">{name}</div><div class="value">{value}</div>'
        f'<div class="more">{more}</div></div>'
    )


def _section(name: str, inside: str) -> str:
    return f"<section><h2>{name}</h2>{inside}</section>\n"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; a column whose name begins with # has numbers."""
    names = [column.removeprefix("#") for column in columns]
    kinds = [' class="number"' if column.startswith("#") else ' class="wrap"' for column in columns]
    if not columns[0].startswith("#"):
        kinds[0] = ""  # a name: others give it room
    head = "".join(f"<th{kind}>{name}</th>" for name, kind in zip(names, kinds, strict=True))
    body = "".join(
        "<tr>"
        + "".join(
            f'<td{kind} data-name="{name}">{escape(cell)}</td>'
            for cell, kind, name in zip(row, kinds, names, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _times(report: DrainReport) -> str:
    def row(name: str, times: Times) -> list[str]:
        values = (times.mean, times.p50, times.p90, times.p95, times.p99)
        return [name, f"{times.count:,}", *(_seconds(value) if times.count else "" for value in values)]

    columns = ("", "#of", "#mean", "#50 %", "#90 %", "#95 %", "#99 %")
    rows = [
        row("from being due to its transaction", report.waited),
        row("from enqueued to delivered", report.delivery),
        row("the store's answer, behind end-of-data", report.answer),
    ]
    return _table(columns, rows)


def _routes(report: DrainReport) -> str:
    columns = ("route", "#delivered", "#deferrals", "#failed", "#expired", "#MB sent", "by", "down")
    rows = [
        [
            show(route.name),
            *(f"{route.outcomes.get(name, 0):,}" for name in ("delivered", "deferred", "failed", "expired")),
            f"{route.octets / 1e6:,.1f}",
            "; ".join(
                f"{show(place)} ({', '.join(f'{count:,} {mode}' for mode, count in modes.items())})"
                for place, modes in route.transactions.items()
            ),
            show(route.down, _TEXT),
        ]
        for route in report.routes
    ]
    return _table(columns, rows)


def _reasons(report: DrainReport) -> str:
    if not report.reasons:
        return '<p class="empty">Everything that was tried was delivered.</p>'
    columns = ("#recipients", "outcome", "what was said", "stage", "by", "for instance")
    rows = [
        [
            f"{reason.count:,}",
            reason.outcome,
            " ".join(
                part for part in (str(reason.code or ""), reason.enhanced, show(reason.text, _TEXT)) if part
            ),
            reason.stage,
            show(reason.destination),
            format_id(reason.message_id),
        ]
        for reason in report.reasons
    ]
    return _table(columns, rows)


def _charts(course: Sequence[Point]) -> str:
    if len(course) < 2:
        return '<p class="empty">It was over at once.</p>'
    times = [point.at for point in course]
    speeds = [0.0] + [
        (after.ended - before.ended) / max(after.at - before.at, 1e-3) for before, after in pairwise(course)
    ]
    ended = _chart("recipients that came to their end", times, [float(point.ended) for point in course])
    return f'<div class="pair">{_chart("recipients a second", times, speeds)}{ended}</div>'


def _chart(name: str, times: Sequence[float], values: Sequence[float]) -> str:
    """Draw an area with an edge."""
    top = _round_up(max(values))
    long = times[-1] or 1.0

    def x(at: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - 2) * at / long

    def y(value: float) -> float:
        return _HEIGHT - _BOTTOM - (_HEIGHT - _BOTTOM - _TOP) * value / top

    edge = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in zip(times, values, strict=True))
    lines = "".join(
        f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH}" y1="{y(part):.1f}" y2="{y(part):.1f}"/>'
        f'<text x="{_LEFT - 6}" y="{y(part) + 4:.1f}" text-anchor="end">{part:,.0f}</text>'
        for part in (0, top / 2, top)
    )
    floor = _HEIGHT - _BOTTOM
    return (
        f"<figure><figcaption>{name}</figcaption>"
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{name}, at most {max(values):,.0f}">'
        f'{lines}<polygon class="speed" points="{_LEFT},{floor} {edge} {x(long):.1f},{floor}"/>'
        f'<polyline class="edge" points="{edge}"/>'
        f'<text x="{_LEFT}" y="{_HEIGHT - 5}">0 s</text>'
        f'<text x="{_WIDTH - 2}" y="{_HEIGHT - 5}" text-anchor="end">{_seconds(int(long * 1e6))}</text>'
        "</svg></figure>"
    )


def _round_up(value: float) -> float:
    """Return the next 1, 2 or 5 with zeros: a round top for an axis."""
    power = 1.0
    while True:
        for step in _STEPS:
            if value <= step * power:
                return step * power
        power *= 10


def _seconds(us: int) -> str:
    """Write a time with the digits that it is known by: "4 ms", "1.3 s", "2 h 05 min"."""
    if us < 1_000_000:
        return f"{us / 1000:.3g} ms"
    seconds = us / 1e6
    if seconds < 120:
        return f"{seconds:.3g} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02} min"
