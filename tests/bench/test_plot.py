"""Plots are valid, say what they show, and are made for light and dark pages."""

from __future__ import annotations

from xml.etree import ElementTree

from bench import plot

_SVG = "{http://www.w3.org/2000/svg}"


def _texts(drawn: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(drawn).iter(f"{_SVG}text")]


def test_bars_have_labels_and_figures() -> None:
    """Each bar has its name and its figure, is as long as its value, and a spread has a whisker."""
    bars = (
        plot.Bar(label="a & b", kind="sqlite", value=2_000, low=1_500, high=2_500),
        plot.Bar(label="c", kind="postfix", value=1_000, low=1_000, high=1_000),
    )
    drawn = plot.bars("Title", "subtitle", (plot.Panel(title="panel", bars=bars),))
    assert _texts(drawn) == ["Title", "subtitle", "panel", "a & b", "2,000", "c", "1,000"]
    root = ElementTree.fromstring(drawn)
    first, second = (
        float(rect.get("width", "0")) for rect in root.iter(f"{_SVG}rect") if rect.get("class") != "page"
    )
    assert round(first / second, 2) == 2
    assert len(list(root.iter(f"{_SVG}path"))) == 1
    assert "prefers-color-scheme:dark" in drawn


def test_lines_have_axes_and_a_legend() -> None:
    """Points lie over a logarithmic scale of counts, above a zero."""
    line = plot.Line(label="flat", kind="postgres", points=((10_000, 3), (100_000, 3), (1_000_000, 3.5)))
    drawn = plot.lines("Title", "subtitle", (line,), unit="ms")
    texts = _texts(drawn)
    assert {"10 k", "100 k", "1 M", "0", "4", "ms", "flat"} <= set(texts)
    points = [point.get("cx") for point in ElementTree.fromstring(drawn).iter(f"{_SVG}circle")]
    low, middle, high = (float(x or 0) for x in points)
    assert round(middle - low) == round(high - middle)
