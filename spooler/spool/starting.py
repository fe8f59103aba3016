"""Starting the spool process (see `spooler.spool.process`), before the rest of the program is even loaded.

It loads the database's library meanwhile, which takes longer than anything else at the start. So nothing
heavy is imported here. The spool's URL goes over the stream and not into the arguments, for it may hold a
password, and everybody on the machine can read arguments.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

LENGTH = 4  # bytes in front of everything that travels on the stream


class Started(NamedTuple):
    """A process that may still be starting, and our end of its stream."""

    process: subprocess.Popen[bytes]
    stream: socket.socket


def start(url: str) -> Started:
    """Start the process for a spool."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(  # noqa: S603  # ourselves
            [*interpreter(), "-m", "spooler.spool.process", str(theirs.fileno())],
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
        )
    encoded = url.encode("utf-8", "surrogateescape")
    ours.sendall(len(encoded).to_bytes(LENGTH, "big") + encoded)
    return Started(process, ours)


def interpreter() -> list[str]:
    """Return the words that run Python as this process was run.

    Modules are looked for in the current folder only if this process looks for them there.
    """
    return [sys.executable] if sys.path[0] in ("", str(Path.cwd())) else [sys.executable, "-P"]
