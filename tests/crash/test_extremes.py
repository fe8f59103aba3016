"""The largest mail that there is, through real processes: streamed, paged, and in bounded memory.

Reduced sizes here; `SPOOLER_EXTREMES=1 python -m pytest tests/crash/test_extremes.py` takes 1 GB and 100,000
recipients, some minutes and 4 GB of disk.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from spooler.spool.store import Store
from tests.servers.own_sink import own_sink
from tests.servers.process import SPOOLER

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

WHOLE = bool(os.environ.get("SPOOLER_EXTREMES"))
SIZE = 10**9 if WHOLE else 40 * 10**6
RECIPIENTS = 100_000 if WHOLE else 10_000
MEMORY = 100 << 20  # bytes that a command's process may hold, the program itself included
HEADER = b"Subject: large\r\n\r\n"
LINE = b"0123456789abcdef" * 4 + b"\r\n"


def large(size: int) -> Iterator[bytes]:
    """A message of about so many bytes, in pieces."""
    yield HEADER
    piece = LINE * 4000
    for _ in range(size // len(piece)):
        yield piece


def run(*arguments: str, stdin: Iterable[bytes] = ()) -> tuple[str, int]:
    """Run a command, which must succeed; return what it printed, and the most memory that it held."""
    with subprocess.Popen(
        [*SPOOLER, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        noise: list[bytes] = []
        peak = 0

        def watch() -> None:
            # not getrusage, which counts what this process held when it forked
            nonlocal peak
            with suppress(OSError, TypeError):
                while True:
                    status = Path(f"/proc/{process.pid}/status").read_text()
                    peak = max(peak, int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024)  # type: ignore[index]
                    time.sleep(0.01)

        watching = threading.Thread(target=watch)
        watching.start()
        reading = threading.Thread(target=lambda: noise.append(process.stderr.read()))  # type: ignore[union-attr]
        reading.start()
        for piece in stdin:
            process.stdin.write(piece)
        process.stdin.close()
        said = process.stdout.read().decode()
        process.wait()
        reading.join()
        watching.join()
    assert process.returncode == 0, noise
    assert peak
    return said, peak


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_a_huge_message(database: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """It goes in and out as it came, and no process ever holds it."""
    url: str = request.getfixturevalue(f"{database}_url")
    digest = hashlib.sha256()
    for piece in large(SIZE):
        digest.update(piece)
    with own_sink(record=True) as sink:
        enqueue = ("enqueue", "--spool", url, "-f", "<>", "--max-size", str(2 * 10**9), "a@example.org")
        _, held = run(*enqueue, stdin=large(SIZE))
        assert held < MEMORY
        _, held = run("drain", "--spool", url, "--target", sink.tcp, "--processes", "1", "--quiet")
        assert held < MEMORY
        (reply,) = sink.final_replies()
    assert (reply.code, reply.recipient, reply.sha256) == (250, "a@example.org", digest.hexdigest())


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_very_many_recipients(database: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Each gets it once, page by page."""
    url: str = request.getfixturevalue(f"{database}_url")
    addresses = [f"user{i}@example.org" for i in range(RECIPIENTS)]
    (tmp_path / "list").write_text("\n".join(addresses))
    with own_sink(record=True) as sink:
        enqueue = ("enqueue", "--spool", url, "-f", "a@example.org", "--recipients-file")
        run(*enqueue, str(tmp_path / "list"), stdin=iter([HEADER, LINE]))
        run("drain", "--spool", url, "--target", sink.tcp, "--quiet", "--log-level", "warning")
        took = sorted(reply.recipient for reply in sink.final_replies() if reply.code == 250)
    assert took == sorted(addresses)
    with Store.open(url) as store:
        assert {row.state.value: row.count for row in store.stats() if row.count} == {"delivered": RECIPIENTS}
