"""Reading what is in `deploy/`."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from spooler.cli.main import cli
from tests.servers.fixtures import missing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
_SIZES = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}


def documents(path: Path) -> list[Any]:
    """Read the documents of a YAML file."""
    if importlib.util.find_spec("yaml") is None:
        missing("PyYAML", "install the group `test` of pyproject.toml")
    return [msgspec.yaml.decode(text) for text in re.split(r"^---$", path.read_text(), flags=re.MULTILINE)]


def document(path: Path) -> Any:  # noqa: ANN401  # whatever YAML holds
    """Read the one document of a YAML file."""
    (found,) = documents(path)
    return found


def understood(words: Sequence[str]) -> dict[str, Any]:
    """Have `spooler WORDS` read by its own command line; returns the options' values."""
    parent, name, rest = click.Context(cli), "spooler", list(words)
    command: click.Command = cli
    while isinstance(command, click.Group):
        name, *rest = rest
        found = command.get_command(parent, name)
        assert found is not None, words
        command = found
    with command.make_context(name, rest, parent=parent) as context:
        return context.params


def octets(text: str) -> int:
    """Read a size as Kubernetes writes it."""
    return int(text[:-2]) * _SIZES[text[-2:]]


def expressions() -> Iterator[tuple[str, str]]:
    """Give all PromQL that is offered, and where it is; a dashboard's variables are filled in."""
    for group in document(DEPLOY / "prometheus/rules.yml")["groups"]:
        for rule in group["rules"]:
            yield rule.get("alert") or rule["record"], rule["expr"]
    dashboard = msgspec.json.decode((DEPLOY / "grafana/spooler.json").read_bytes())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], filled_in(target["expr"])


def filled_in(expression: str) -> str:
    """Put values where a dashboard has variables."""
    values = {"$job": "spooler", "$route": ".*", "$__rate_interval": "1m"}
    for name, value in values.items():
        expression = expression.replace(name, value)
    assert "$" not in expression, expression
    return expression
