"""Plots as SVG, written by hand: bars and lines that read well on light and on dark pages.

A plot brings its own background and follows the reader's preference for dark colours. Labels are short;
nothing is wrapped. Known limit: the width of a text is estimated.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from math import ceil, log10

WIDTH = 840
_LEFT = 190  # where bars begin
_RIGHT = 130  # room for the figure behind the longest bar
_BAR = 18
_GAP = 6
_PANEL_GAP = 30
_HEAD = 62
_MARGIN = 24

# Okabe and Ito's colours, which people with any colour vision tell apart; greys for what only sets the scale
_COLOURS = {
    "sqlite": ("#0072b2", "#56b4e9"),
    "postgres": ("#009e73", "#2fc79b"),
    "postfix": ("#d55e00", "#e69f00"),
    "other": ("#8b949e", "#8b949e"),
}
_STYLE = """
text{font-family:system-ui,-apple-system,"Segoe UI",Roboto,Helvetica,Arial,sans-serif;font-size:13px;
fill:#1f2328}
.page{fill:#ffffff;stroke:#d1d9e0}.title{font-size:16px;font-weight:600}.panel{font-weight:600}
.small{font-size:12px;fill:#59636e}.rule{stroke:#d1d9e0}.whisker{stroke:#1f2328;stroke-width:1.5;fill:none}
.line{fill:none;stroke-width:2.5}
%s
@media (prefers-color-scheme:dark){text{fill:#e6edf3}.page{fill:#0d1117;stroke:#3d444d}.small{fill:#9198a1}
.rule{stroke:#3d444d}.whisker{stroke:#e6edf3}
%s}"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One bar: its `kind` gives the colour, `low` and `high` the whisker, `note` what stands behind the
    figure."""

    label: str
    kind: str
    value: float
    low: float
    high: float
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Bars that share a scale, under a heading."""

    title: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line through points (x, y)."""

    label: str
    kind: str
    points: tuple[tuple[float, float], ...]
    dashed: bool = False


def bars(title: str, subtitle: str, panels: tuple[Panel, ...]) -> str:
    """Draw panels of horizontal bars below one another, each with a scale of its own."""
    parts = []
    y = float(_HEAD)
    for panel in panels:
        y += _PANEL_GAP
        parts.append(_text(_MARGIN, y - 10, panel.title, "panel"))
        longest = max(bar.high for bar in panel.bars)
        for bar in panel.bars:
            parts.append(_bar(bar, y, (WIDTH - _LEFT - _RIGHT) / longest))
            y += _BAR + _GAP
    return _page(title, subtitle, y + _MARGIN - _GAP, parts)


def lines(title: str, subtitle: str, all_lines: tuple[Line, ...], *, unit: str, height: int = 300) -> str:
    """Draw lines over a logarithmic scale of counts; y begins at zero."""
    left, right, top, bottom = 60, WIDTH - 300, _HEAD + 24, _HEAD + height
    xs = sorted({x for line in all_lines for x, _ in line.points})
    most = _round_up(max(y for line in all_lines for _, y in line.points))
    first, last = log10(xs[0]), log10(xs[-1])

    def place(x: float, y: float) -> tuple[float, float]:
        across = (log10(x) - first) / (last - first) if last > first else 0.5
        return left + across * (right - left), bottom - y / most * (bottom - top)

    parts = []
    for step in range(5):
        value = most * step / 4
        y = place(xs[0], value)[1]
        parts.append(f'<line class="rule" x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(_text(left - 8, y + 4, f"{value:g}", "small", anchor="end"))
    parts.append(_text(left - 8, top - 14, unit, "small", anchor="end"))
    parts += [_text(place(x, 0)[0], bottom + 20, _count(x), "small", anchor="middle") for x in xs]
    for number, line in enumerate(all_lines):
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in line.points))
        dash = ' stroke-dasharray="6 4"' if line.dashed else ""
        parts.append(f'<polyline class="line {line.kind}-line" points="{path}"{dash}/>')
        parts += [
            f'<circle class="{line.kind}" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>'
            for x, y in (place(*point) for point in line.points)
        ]
        y = top + 22 * number
        parts.append(
            f'<line class="line {line.kind}-line" x1="{right + 20}" x2="{right + 44}" y1="{y}" y2="{y}"'
            f"{dash}/>"
        )
        parts.append(_text(right + 52, y + 4, line.label, "small"))
    return _page(title, subtitle, bottom + 40, parts)


def _bar(bar: Bar, y: float, scale: float) -> str:
    width, low, high = (_LEFT + value * scale for value in (bar.value, bar.low, bar.high))
    middle = y + _BAR / 2
    whisker = ""
    if high - low > 2:
        whisker = (
            f'<path class="whisker" d="M{low:.1f} {middle:.1f}H{high:.1f}M{low:.1f} {middle - 4:.1f}v8'
            f'M{high:.1f} {middle - 4:.1f}v8"/>'
        )
    figure = f"{bar.value:,.0f}{f'  {bar.note}' if bar.note else ''}"
    return (
        _text(_LEFT - 10, middle + 4.5, bar.label, "", anchor="end")
        + f'<rect class="{bar.kind}" x="{_LEFT}" y="{y:.1f}" width="{max(width - _LEFT, 1):.1f}" '
        f'height="{_BAR}" rx="2"/>{whisker}' + _text(max(width, high) + 8, middle + 4.5, figure, "")
    )


def _page(title: str, subtitle: str, height: float, parts: list[str]) -> str:
    light, dark = (
        "".join(
            f".{kind}{{fill:{colours[shade]}}}.{kind}-line{{stroke:{colours[shade]}}}"
            for kind, colours in _COLOURS.items()
        )
        for shade in (0, 1)
    )
    body = "\n".join(parts)
    page = f'x="0.5" y="0.5" width="{WIDTH - 1}" height="{ceil(height) - 1}" rx="6"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {ceil(height)}" width="{WIDTH}" '
        f'height="{ceil(height)}" role="img" aria-label="{escape(title)}">\n<style>{_STYLE % (light, dark)}'
        f'</style>\n<rect class="page" {page}/>\n'
        f"{_text(_MARGIN, 32, title, 'title')}\n{_text(_MARGIN, 52, subtitle, 'small')}\n{body}\n</svg>\n"
    )


def _text(x: float, y: float, text: str, style: str, *, anchor: str = "start") -> str:
    where = f'x="{x:.1f}" y="{y:.1f}"'
    return f'<text {where} class="{style}" text-anchor="{anchor}">{escape(text)}</text>'


def _count(number: float) -> str:
    for unit, name in ((1_000_000, " M"), (1_000, " k")):
        if number >= unit:
            return f"{number / unit:g}{name}"
    return f"{number:g}"


def _round_up(value: float) -> float:
    """Return the next number that divides well by four."""
    size = 10 ** (ceil(log10(value)) - 1) if value > 0 else 1.0
    return float(next(size * step for step in (1, 2, 4, 6, 8, 10, 12) if size * step >= value))
