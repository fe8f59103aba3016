"""Headless Chromium: what a page looks like, and what stands in it, once its script has run for a while."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from tests.servers.process import folder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_PATIENCE = 60.0  # seconds for what takes three on a quiet machine
_RUN_FOR = 6000  # ms of the page's own time


def text_of(program: str, url: str, *options: str) -> str:
    """Return the document as it stands then."""
    return _run(program, url, ["--dump-dom", *options])


def picture_of(program: str, url: str, file: Path, *, width: int, height: int, dark: bool = False) -> None:
    """Write a PNG of it."""
    _run(
        program,
        url,
        [
            f"--screenshot={file}",
            f"--window-size={width},{height}",
            "--hide-scrollbars",
            f"--blink-settings=preferredColorScheme={0 if dark else 1}",
        ],
    )


def _run(program: str, url: str, options: Sequence[str]) -> str:
    with folder() as root:
        argv = [
            program,
            "--headless",
            "--no-sandbox",  # tests may be root's, and the page is ours
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            f"--user-data-dir={root}",
            f"--virtual-time-budget={_RUN_FOR}",
            *options,
            url,
        ]
        done = subprocess.run(argv, capture_output=True, timeout=_PATIENCE, check=True)
    return done.stdout.decode()
