"""Run the product's commands in processes of their own, as a person does."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.servers.process import SPOOLER

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_LIMIT = 120  # seconds that any command here may take


@dataclass(frozen=True, slots=True)
class Commands:
    """`spooler` in a folder of its own; the spool is SQLite there unless `url` names another."""

    folder: Path
    url: str = "sqlite:///spool.db"
    env: Mapping[str, str] = field(default_factory=dict)

    def run(
        self, *args: str | Path, stdin: bytes = b"", expect: int = 0, **env: str
    ) -> subprocess.CompletedProcess[bytes]:
        """Run `spooler ARGS`; the exit code must be `expect`."""
        done = subprocess.run(
            [*SPOOLER, *map(str, args)],
            cwd=self.folder,
            env=self.environment() | env,
            input=stdin,
            capture_output=True,
            timeout=_LIMIT,
            check=False,
        )
        if done.returncode != expect:
            shown = (done.stdout[-2000:] + done.stderr[-4000:]).decode("utf-8", "replace")
            raise AssertionError(f"spooler {' '.join(map(str, args))} ended with {done.returncode}:\n{shown}")
        return done

    def json(self, *args: str | Path) -> Any:  # noqa: ANN401 - whatever the command prints
        """Run a command with `--json` and read what it prints."""
        return json.loads(self.run(*args, "--json").stdout)

    def configure(self, text: str) -> None:
        """Write the configuration that the commands take."""
        (self.folder / "spooler.toml").write_text(text)

    def environment(self) -> dict[str, str]:
        """What the commands get: nothing of the caller's own set-up of spooler."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("SPOOLER_")}
        configured = self.folder / "spooler.toml"
        own = {"SPOOLER_CONFIG": str(configured)} if configured.exists() else {}
        inherited["SPOOLER_HTTP"] = "off"
        return inherited | {"SPOOLER_SPOOL": self.url} | own | dict(self.env)
