"""A scraper as Prometheus is one, only more eager: it reads the metrics of a command every second."""

from __future__ import annotations

import threading
import urllib.request
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

EVERY = 1.0  # seconds


@contextmanager
def scraping(port: int) -> Iterator[None]:
    """Scrape 127.0.0.1 for the block, whenever something answers there."""
    done = threading.Event()

    def scrape() -> None:
        while not done.wait(EVERY):
            with (
                suppress(OSError),
                urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer,
            ):
                answer.read()

    thread = threading.Thread(target=scrape)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
