"""A real Prometheus that scrapes one target every second, asked by its own API."""

from __future__ import annotations

import contextlib
import json
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.servers.process import folder, free_port, running

if TYPE_CHECKING:
    from collections.abc import Iterator

_CONFIG = """
global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}
scrape_configs:
  - job_name: spooler
    static_configs: [{{targets: ["{target}"]}}]
{more}
"""


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A running server."""

    port: int

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Ask for an instant vector."""
        asked = urllib.parse.urlencode({"query": expression})
        with urllib.request.urlopen(
            f"http://127.0.0.1:{self.port}/api/v1/query?{asked}", timeout=5
        ) as answer:
            result: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return result

    def values(self, expression: str, label: str) -> dict[str, float]:
        """Ask for a vector, by one of its labels."""
        return {one["metric"][label]: float(one["value"][1]) for one in self.query(expression)}


@contextlib.contextmanager
def prometheus(program: str, target: str, *, more: str = "") -> Iterator[Prometheus]:
    """Run Prometheus for the block; `target` is "host:port", `more` further configuration."""
    with folder() as root:
        port = free_port()
        (root / "prometheus.yml").write_text(_CONFIG.format(target=target, more=more))
        argv = [
            program,
            f"--config.file={root}/prometheus.yml",
            f"--storage.tsdb.path={root}/data",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        with running(argv, ready=lambda: _ready(port), log=root / "log"):
            yield Prometheus(port)


def _ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=2):
            return True
    except (urllib.error.URLError, OSError):
        return False
