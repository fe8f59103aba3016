"""docs/CONFIGURATION.md says what spooler.config holds."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from spooler.config import Config, Duration, Retry, Route, Section, Timeouts, Worker, parse_config

TEXT = (Path(__file__).parents[2] / "docs/CONFIGURATION.md").read_text()
HEADINGS: dict[type[Section], str] = {
    Config: "## At the top",
    Route: "## `[routes.NAME]`",
    Retry: "### `[routes.NAME.retry]`",
    Timeouts: "### `[routes.NAME.timeouts]`",
    Worker: "## `[worker]`",
}


def rows_under(heading: str) -> dict[str, str]:
    """Keys and defaults in the table under a heading."""
    section = re.split(r"^#+ ", TEXT.split(f"{heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    return dict(re.findall(r"^\| `([a-z-]+)` \| (.*?) \|", section, flags=re.MULTILINE))


@pytest.mark.parametrize("section", HEADINGS, ids=lambda section: section.__name__)
def test_every_key_is_described(section: type[Section]) -> None:
    """The table of a section has exactly the keys of its struct."""
    keys = [field.encode_name for field in msgspec.structs.fields(section)]
    assert list(rows_under(HEADINGS[section])) == keys


@pytest.mark.parametrize("section", HEADINGS, ids=lambda section: section.__name__)
def test_defaults_are_true(section: type[Section]) -> None:
    """The defaults in the tables are those of the program."""
    rows = rows_under(HEADINGS[section])
    for field in msgspec.structs.fields(section):
        told = re.match(r'`"?([^"`]+)"?`', rows[field.encode_name])
        if told is None:  # "none", "must be given", "as below"
            assert not isinstance(field.default, int | float)
        elif isinstance(field.default, Duration):
            assert (
                parse_config(
                    f'[routes.x]\ndestinations = ["unix:/s"]\nidle = "{told[1]}"'.encode(), name="doc"
                )
                .routes["x"]
                .idle
                == field.default
            )
        elif isinstance(field.default, bool):
            assert told[1] == str(field.default).lower()  # as TOML writes it
        else:
            assert told[1] == str(field.default)


def test_example_uses_every_key() -> None:
    """The whole example is valid, and leaves no key out."""
    example = TEXT.split("```toml\n", 1)[1].split("```", 1)[0]
    config = parse_config(example.encode(), name="example")
    assert set(config.routes) == {"default", "archive", "pinned"}
    for section in HEADINGS:
        for field in msgspec.structs.fields(section):
            assert re.search(rf"(?:^|\[|\.){field.encode_name}\b", example, flags=re.MULTILINE), field.name
