"""A machine as a command finds it: its hosts, its services and its sockets, in namespaces of its own.

Nothing of the real machine is changed or seen: /run and the like are empty but for what is asked for. Known
limits: Linux, with unshare(1) and mount(8) of util-linux; root, or a kernel that lets users have namespaces.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from tests.cli.lmtp_command import environment, install
from tests.servers.fixtures import in_ci

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_EMPTY = ("/run", "/var/spool/postfix", "/var/lib/cyrus", "/var/lib/imap", "/var/imap")
_LIMIT = 60  # seconds that a line may take
_LOCALHOST = "127.0.0.1 localhost"
_NETWORK_UP = (
    "import fcntl, socket, struct; s = socket.socket(); "
    "fcntl.ioctl(s, 0x8914, struct.pack('16sh', b'lo', 0x41))"  # SIOCSIFFLAGS: IFF_UP and IFF_RUNNING
)
_ASK = "import socket; socket.create_connection(('127.0.0.1', 24)).recv(1)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """What is there: names of hosts with their addresses, the port of `lmtp` in the services file, sockets.

    `sockets` are where a command looks for them, and where they are. `server` is a command that runs there
    on a network of its own, and is there once it accepts connections on port 24; without it the network
    is this machine's.
    """

    folder: Path
    hosts: Mapping[str, str] = field(default_factory=dict)
    port: int | None = None
    sockets: Mapping[str, Path] = field(default_factory=dict)
    server: str = ""

    def run(self, line: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a line as a person types it, in `folder`, with `lmtp` at hand."""
        install(self.folder / "bin")
        hosts = self.folder / "hosts"
        hosts.write_text("\n".join([_LOCALHOST, *(f"{ip} {name}" for name, ip in self.hosts.items())]) + "\n")
        services = self.folder / "services"
        services.write_text("" if self.port is None else f"lmtp {self.port}/tcp\n")
        script = [
            "set -e",
            *(f"if [ -d {name} ]; then mount -t tmpfs tmpfs {name}; fi" for name in _EMPTY),
            f"mount --bind {shlex.quote(str(hosts))} /etc/hosts",
            f"mount --bind {shlex.quote(str(services))} /etc/services",
        ]
        for place, real in self.sockets.items():
            script += [f"mkdir -p $(dirname {place})", f"ln -s {shlex.quote(str(real))} {place}"]
        if self.server:
            script += [
                f'"$PYTHON" -c {shlex.quote(_NETWORK_UP)}',
                f"{self.server} >server.log 2>&1 &",
                "server=$!",
                f'until "$PYTHON" -c "{_ASK}"; do kill -0 $server; sleep 0.1; done 2>/dev/null',
            ]
        script.append('sh -c "$LINE"')
        path = f"{self.folder / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}{os.pathsep}/usr/sbin"
        return subprocess.run(
            [*_unshare(network=bool(self.server)), "sh", "-c", "\n".join(script)],
            env=environment(PATH=path, LINE=line, PYTHON=sys.executable) | env,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_LIMIT,
            check=False,
        )


def _unshare(*, network: bool) -> list[str]:
    # all ends with the first process
    argv = ["unshare", "--pid", "--fork", "--kill-child", "--mount", *(["--net"] if network else [])]
    return argv if os.geteuid() == 0 else [*argv, "--map-root-user"]


def require_namespaces() -> None:
    """Skip where there can be none; in CI fail, unless it is not run by root."""
    try:
        done = subprocess.run([*_unshare(network=True), "true"], capture_output=True, text=True, check=False)
        why = done.stderr.strip() if done.returncode else ""
    except FileNotFoundError:
        why = "unshare is not installed (Debian: util-linux)"
    if why and in_ci() and os.geteuid() == 0:
        pytest.fail(f"no namespaces here: {why}", pytrace=False)
    if why:
        pytest.skip(f"no namespaces here: {why}")
