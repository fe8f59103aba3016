"""Prometheus's rules and Grafana's dashboard: they are understood, tested, and about metrics that exist."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from tests.deploy.reading import DEPLOY, ROOT, document, expressions

if TYPE_CHECKING:
    from pathlib import Path

RULES = DEPLOY / "prometheus/rules.yml"
CASES = DEPLOY / "prometheus/rules-test.yml"
DASHBOARD = DEPLOY / "grafana/spooler.json"
_OF_PROMETHEUS = {"job", "instance", "le"}  # labels that it adds


def promtool_says(promtool: str, *words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [promtool, *map(str, words)], capture_output=True, text=True, check=False, cwd=RULES.parent
    )


def metrics() -> dict[str, set[str]]:
    """Read the labels of every metric from the manual, which a test holds to what is exposed."""
    text = (ROOT / "docs/METRICS.md").read_text()
    found = {}
    for name, kind, labels in re.findall(r"^\| `(spooler_\w+)` \| (\w+) \| ([^|]*) \|", text, re.MULTILINE):
        for end in ("_bucket", "_count", "_sum") if kind == "histogram" else ("",):
            found[name + end] = set(filter(None, re.split(r",\s*", labels.strip())))
    return found


def alerts() -> list[dict[str, Any]]:
    return [rule for group in document(RULES)["groups"] for rule in group["rules"] if "alert" in rule]


@pytest.mark.prometheus
def test_promtool_accepts_the_rules(promtool: str) -> None:
    """And their cases pass."""
    for words in (("check", "rules", RULES), ("test", "rules", CASES)):
        done = promtool_says(promtool, *words)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.prometheus
def test_the_cases_notice_alerts_that_never_go_off(promtool: str, tmp_path: Path) -> None:
    """With every alert silenced, each is missed."""
    rules = document(RULES)
    for group in rules["groups"]:
        for rule in group["rules"]:
            if "alert" in rule:
                rule["expr"] = f"({rule['expr']}) and vector(0) > 1"
    (tmp_path / RULES.name).write_bytes(msgspec.json.encode(rules))  # JSON is YAML, too
    shutil.copy(CASES, tmp_path)
    done = promtool_says(promtool, "test", "rules", tmp_path / CASES.name)
    assert done.returncode != 0
    missed = set(re.findall(r"alertname: (\w+)", done.stdout + done.stderr))
    assert missed == {alert["alert"] for alert in alerts()}


def test_each_alert_goes_off_in_a_case() -> None:
    """With the labels and the words that people will see."""
    tried = {
        case["alertname"]
        for test in document(CASES)["tests"]
        for case in test.get("alert_rule_test", ())
        if case["exp_alerts"]
    }
    assert tried == {alert["alert"] for alert in alerts()}


def test_each_alert_has_a_runbook() -> None:
    """Its URL leads to a heading of the manual, and the manual has none that nothing leads to."""
    text = (ROOT / "docs/OPERATIONS.md").read_text()
    headings = {
        f"docs/OPERATIONS.md#{name.lower()}" for name in re.findall(r"^### (Spooler\w+)$", text, re.MULTILINE)
    }
    assert {alert["annotations"]["runbook_url"] for alert in alerts()} == headings
    for alert in alerts():
        assert alert["annotations"]["runbook_url"].endswith(f"#{alert['alert'].lower()}")
        assert alert["labels"]["severity"] in {"page", "ticket"}


def test_all_that_is_asked_for_exists() -> None:
    """Metrics and labels of the manual, and recordings of these rules; nothing is misspelt."""
    known = metrics()
    recorded = {
        rule["record"] for group in document(RULES)["groups"] for rule in group["rules"] if "record" in rule
    }
    for where, expression in expressions():
        assert set(re.findall(r"\b\w+:spooler_\w+:\w+", expression)) <= recorded, where
        names = re.findall(r"(?<!:)\b(spooler_\w+)\b(?!:)(?:\{([^}]*)\})?", expression)
        for name, selector in names:
            assert name in known, where
            asked = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector))
            assert asked <= known[name] | _OF_PROMETHEUS, where
        grouped = {
            label
            for labels in re.findall(r"\b(?:by|on) \(([^)]*)\)", expression)
            for label in re.split(r",\s*", labels)
        }
        there = {label for name, _ in names for label in known[name]}
        assert grouped <= there | _OF_PROMETHEUS, where


def test_the_dashboard_is_sound() -> None:
    """Every panel has its place, its source and something to show; none lies upon another."""
    dashboard = msgspec.json.decode(DASHBOARD.read_bytes())
    assert {one["name"] for one in dashboard["templating"]["list"]} == {"datasource", "job", "route"}
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: Counter[tuple[int, int]] = Counter()
    for panel in panels:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        taken.update(
            (x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])
        )
        if panel["type"] != "row":
            assert panel["targets"]
            assert all(one["datasource"]["uid"] == "${datasource}" for one in panel["targets"])
    assert max(taken.values()) == 1
