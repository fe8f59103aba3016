"""The manual for operators: its commands are commands of this version."""

from __future__ import annotations

import re
import shlex

from spooler.cli.main import COMMANDS
from tests.deploy.reading import ROOT, understood


def test_its_commands_are_understood() -> None:
    """Whoever is woken at night can type them as they stand."""
    text = (ROOT / "docs/OPERATIONS.md").read_text()
    inline = [" ".join(code.split()) for code in re.findall(r"(?<!`)`(spooler\s[^`]+)`(?!`)", text)]
    scripts = re.findall(r"^```sh\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    lines = re.findall(r"^(spooler .*)$", "".join(scripts), flags=re.MULTILINE)
    commands = [*inline, *lines]
    assert len(commands) > 15
    for one in commands:
        words = shlex.split(one, comments=True)[1:]
        assert words[0] in COMMANDS, one
        if len(words) > 1:  # else it is only named
            understood(words)
