"""What a figure depends on besides the program: machine and versions. No names of hosts, no paths."""

from __future__ import annotations

import os
import platform
import re
import sqlite3
import subprocess
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from statistics import median

from bench.places import file_system
from tests.servers.cyrus import version as cyrus_version
from tests.servers.postgres import binaries
from tests.servers.process import ServerError, find

_FSYNCS = 50
_LIBRARIES = ("trio", "sqlalchemy", "psycopg", "msgspec", "structlog")


def describe() -> dict[str, str]:
    """Return the facts, in the order in which they are shown."""
    facts = {
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "memory": _memory(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "spooler": version("spooler"),
        **{name: version(name) for name in _LIBRARIES},
    }
    found = {
        "postgres": _postgres(),
        "postfix": _postfix(),
        "dovecot": _dovecot(),
        "cyrus": cyrus_version(),
        "file system": file_system(Path(tempfile.gettempdir())),
        "a write of 4 KB with fsync": f"{_fsync() * 1000:.2f} ms",
    }
    return facts | {name: fact for name, fact in found.items() if fact}


def _processor() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else platform.processor() or platform.machine()


def _memory() -> str:
    return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / (1 << 30):.0f} GiB"


def _fsync() -> float:
    """Return the median time of an appended and synchronised 4 KB, seconds."""
    times = []
    with tempfile.TemporaryFile(buffering=0) as file:
        for _ in range(_FSYNCS):
            start = time.perf_counter()
            file.write(bytes(4096))
            os.fsync(file.fileno())
            times.append(time.perf_counter() - start)
    return median(times)


def _dovecot() -> str:
    program = find("dovecot")
    return _printed(program, "--version").partition(" ")[0] if program else ""


def _postfix() -> str:
    postconf = find("postconf")
    return _printed(postconf, "-dh", "mail_version") if postconf else ""


def _postgres() -> str:
    try:
        programs = binaries()
    except ServerError:
        return ""
    return _printed(str(programs / "postgres"), "--version").removeprefix("postgres (PostgreSQL) ")


def _printed(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout.strip()
