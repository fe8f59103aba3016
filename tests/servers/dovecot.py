"""A Dovecot LMTP server of the tests' own: a store whose mailboxes are read back byte for byte.

Runs as root (mail belongs to an unprivileged user that every system has) and as anybody else (everything
belongs to the caller). Known limit: the configuration is for Dovecot 2.3; 2.4 has another syntax.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import re
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tests.servers.process import (
    ServerError,
    children,
    find,
    folder,
    free_port,
    greets_on_port,
    program_of,
    running,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

_LOGGED_WITHIN = 30.0  # seconds
_TEMPLATE = Path(__file__).with_name("dovecot.conf")
Storage = Literal["maildir", "sdbox", "mdbox"]
"""How mail is kept: byte for byte in a file each; so that a killed process leaves nothing locked (a lock
file of Maildir's stays, and Dovecot waits two minutes for whoever made it); as in production."""
_STORING = {
    "maildir": {"FORMAT": "maildir", "FSYNC": "never"},
    "sdbox": {"FORMAT": "sdbox", "FSYNC": "never"},
    "mdbox": {"FORMAT": "mdbox", "FSYNC": "optimized"},  # Dovecot's own default
}
# What Dovecot puts in front of each mail it stores: Return-Path, Delivered-To (where there was more than
# one recipient or it is configured so) and one Received with its folded lines.
_ADDED = re.compile(
    rb"(?:(?:Return-Path|Delivered-To): [^\r\n]*\r\n)*Received: [^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*"
)


@dataclass(frozen=True, slots=True)
class Dovecot:
    """A running server; `port` and `socket` lead to the same mailboxes."""

    port: int
    socket: Path
    root: Path
    _start: Callable[[], subprocess.Popen[bytes]]
    tls_port: int = 0
    """Where TLS stands from the first octet on; 0 where there is no certificate."""
    _started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def tcp(self) -> str:
        """Destination by TCP."""
        return f"inet:127.0.0.1:{self.port}"

    @property
    def tls(self) -> str:
        """Destination by TCP with implicit TLS."""
        return f"inet:127.0.0.1:{self.tls_port}"

    @property
    def unix(self) -> str:
        """Destination by UNIX socket."""
        return f"unix:{self.socket}"

    def start(self) -> None:
        """Start it, or start it again on what is on its disk; it answers when this returns."""
        self._started.append(self._start())

    def kill_sessions(self) -> int:
        """Kill the processes that speak LMTP, whatever they are at; return how many there were."""
        some = [pid for pid in children(self._started[-1].pid) if program_of(pid) == "lmtp"]
        for pid in some:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return len(some)

    def kill(self) -> None:
        """Kill it with all its processes, at one blow: those too that it is just starting."""
        master = self._started[-1]
        os.killpg(master.pid, signal.SIGKILL)
        master.wait()
        with contextlib.suppress(ProcessLookupError):
            while True:
                os.killpg(master.pid, 0)
                time.sleep(0.01)

    def allow(self, users: Iterable[str], *, full: Iterable[str] = ()) -> None:
        """Replace the list of users that exist; the mailboxes of `full` take nothing more."""
        refusing = set(full)
        lines = [f"{user}:::::/nonexistent::{_quota(user in refusing)}\n" for user in users]
        # beside and renamed: the server reads the list whenever it changes
        new = self.root / "users.new"
        new.write_text("".join(lines))
        new.chmod(0o644)
        new.replace(self.root / "users")

    def mails(self, user: str) -> list[bytes]:
        """Return what a Maildir holds, byte for byte, without the headers that Dovecot added."""
        found = []
        for name in sorted((self.root / "mail" / user / "new").glob("*")):
            raw = name.read_bytes()
            added = _ADDED.match(raw)
            if added is None:
                raise AssertionError(f"no headers of Dovecot's in {raw[:200]!r}")
            found.append(raw[added.end() :])
        return found

    def log(self, *, saved: int) -> str:
        """Return its log once that tells of so many mails that were saved: a process of its own writes it."""
        deadline = time.monotonic() + _LOGGED_WITHIN
        while (text := (self.root / "log").read_text()).count("saved mail") < saved:
            if time.monotonic() > deadline:
                raise ServerError(f"Dovecot does not log {saved} mails: {text}")
            time.sleep(0.02)
        return text

    def count(self) -> int:
        """Return how many mails the inboxes of all users hold together."""
        doveadm = find("doveadm")
        if doveadm is None:
            raise ServerError("doveadm is not installed (Debian: dovecot-core)")
        argv = [doveadm, "-c", str(self.root / "dovecot.conf"), "-f", "tab"]
        argv += ["mailbox", "status", "-A", "messages", "INBOX"]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ServerError(f"doveadm ended with {done.returncode}: {done.stderr}")
        return sum(int(line.rpartition("\t")[2]) for line in done.stdout.splitlines()[1:])


def _quota(full: bool) -> str:
    return "userdb_quota_rule=*:bytes=1" if full else ""


@contextlib.contextmanager
def dovecot(
    program: str,
    *,
    users: Iterable[str] = (),
    storage: Storage = "maildir",
    certificate: Path | None = None,
) -> Iterator[Dovecot]:
    """Run a server for the block, with empty mailboxes for `users`.

    Only mdbox is written through to the disk; else what is tested is the client. With a `certificate`, a PEM
    file that holds its key too, STARTTLS is offered, and another port has implicit TLS.
    """
    with folder() as root, contextlib.ExitStack() as stack:
        port, tls_port = free_port(), free_port() if certificate else 0
        config = root / "dovecot.conf"
        argv = [program, "-F", "-c", str(config)]
        server = Dovecot(
            port=port,
            socket=root / "lmtp.sock",
            root=root,
            tls_port=tls_port,
            _start=lambda: stack.enter_context(
                running(argv, ready=lambda: greets_on_port(port), log=root / "log")
            ),
        )
        server.allow(users)
        identity = _identity()
        (root / "mail").mkdir()
        if os.geteuid() == 0:
            os.chown(root / "mail", int(identity["UID"]), int(identity["GID"]))
        values = {"DIR": str(root), "PORT": str(port), **_STORING[storage], **identity}
        values |= {"TLS": _tls(certificate), "TLS_PORT": str(tls_port)}
        config.write_text(_fill(_TEMPLATE.read_text(), values))
        server.start()
        yield server


def _tls(certificate: Path | None) -> str:
    if certificate is None:
        return "ssl = no"
    return f"ssl = yes\nssl_cert = <{certificate}\nssl_key = <{certificate}"


def _identity() -> dict[str, str]:
    """As whom Dovecot runs its services and whose the mail is."""
    if os.geteuid() != 0:
        user, group = pwd.getpwuid(os.geteuid()).pw_name, grp.getgrgid(os.getegid()).gr_name
        names = {"INTERNAL_USER": user, "INTERNAL_GROUP": group, "LOGIN_USER": user}
        return names | {"UID": str(os.geteuid()), "GID": str(os.getegid())}
    nobody = pwd.getpwnam("nobody")
    # these two users come with Dovecot's packages
    names = {"INTERNAL_USER": "dovecot", "INTERNAL_GROUP": "dovecot", "LOGIN_USER": "dovenull"}
    return names | {"UID": str(nobody.pw_uid), "GID": str(nobody.pw_gid)}


def _fill(template: str, values: Mapping[str, str]) -> str:
    return re.sub(r"@([A-Z_]+)@", lambda match: values[match[1]], template)
