"""Commands that serve, asked by HTTP as anybody would."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from tests.supervise.command import Command


def address_of(command: Command) -> str:
    """Wait until it serves; return its URL, without a slash at the end."""
    command.until(lambda: bool(command.lines("serving")))
    url: str = command.lines("serving")[0]["at"]
    return url.rstrip("/")


def get(url: str, **headers: str) -> tuple[int, bytes]:
    """Ask; return status and body."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def get_json(url: str) -> Any:  # noqa: ANN401  # whatever JSON holds
    """Ask for JSON."""
    return json.loads(get(url)[1])


def scraped(text: bytes) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Read metrics: by name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }
