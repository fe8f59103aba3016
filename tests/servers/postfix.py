"""A Postfix of our own: what a user would deliver with instead, and how long it takes to drain its queue.

Its queue is filled by `smtp-source` while LMTP delivery is put off, and drained by the command that an
administrator would give. Configuration, queue and data live in a temporary folder; nothing of the machine's
own Postfix is touched. Logging goes to a file, by Postfix's own log service. Known limits: Postfix's master
must be started by root; Linux only (its processes are found in /proc); seen to work with Postfix 3.7.
"""

from __future__ import annotations

import contextlib
import grp
import json
import os
import pwd
import re
import signal
import smtplib
import subprocess
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.servers.process import (
    STOP_WITHIN,
    ServerError,
    children,
    find,
    folder,
    free_port,
    greets_on_port,
    program_of,
    running,
    tail,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DEFAULT_CONNECTIONS = 20
_LOOK_EVERY = 0.02  # seconds
_QUEUES = ("deferred", "incoming", "active")  # in the order in which a message passes them in a drain
_LIMIT = 1800.0  # seconds: a drain that takes longer does not end
_RELOAD_WITHIN = 20.0  # seconds
_SETTLED_WITHIN = 30.0  # seconds
# what `postfix start` makes where it does not skip its checks
_OWN_FOLDERS = (
    *("active", "bounce", "corrupt", "defer", "deferred", "flush"),
    *("hold", "incoming", "private", "saved", "trace"),
)
_GROUP_FOLDERS = {"maildrop": 0o730, "public": 0o710}
_SENT = re.compile(rb"^.* status=sent ", re.MULTILINE)
_MAIN = """\
compatibility_level = 3.6
queue_directory = {root}/queue
data_directory = {root}/data
maillog_file = {root}/log/mail.log
maillog_file_prefixes = {root}
myhostname = bench.test
myorigin = bench.test
mydestination =
local_recipient_maps =
alias_maps =
alias_database =
mynetworks = 127.0.0.0/8
inet_interfaces = loopback-only
inet_protocols = ipv4
disable_dns_lookups = yes
smtpd_relay_restrictions = permit_mynetworks, reject
default_transport = lmtp:inet:127.0.0.1:{target}
initial_destination_concurrency = {connections}
lmtp_destination_concurrency_limit = {connections}
lmtp_destination_recipient_limit = 100
"""
# no chroot anywhere; the services that taking mail in by SMTP and delivering it by LMTP need
_MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


@dataclass(frozen=True, slots=True)
class Postfix:
    """A running Postfix whose mail all goes to one LMTP server."""

    root: Path
    pid: int
    """Of its master."""
    port: int
    """Where its SMTP server listens on 127.0.0.1."""

    def fill(
        self, *, messages: int, recipients: int, size: int, to: Sequence[str] = ("user@store.test",)
    ) -> None:
        """Put messages into its queue by smtp-source, and wait until all are put off.

        They go to each address of `to` in turn; where there are several recipients, smtp-source makes them of
        the address.
        """
        self._defer("lmtp")
        shares = [messages // len(to) + (n < messages % len(to)) for n in range(len(to))]
        for address, share in zip(to, shares, strict=True):
            if share:
                _run(
                    *(_program("smtp-source"), "-s", "20", "-m", str(share), "-r", str(recipients)),
                    *("-l", str(size), "-M", "origin.test", "-f", "bench@origin.test", "-t", address),
                    f"127.0.0.1:{self.port}",
                )
        deadline = time.monotonic() + _LIMIT
        while self._any("incoming", "active"):
            self._wait(deadline, "taking mail in")
        if (found := self._count()) != messages:
            raise ServerError(f"Postfix has {found} messages in its queue, of {messages}: {self._log()}")

    def drain(self) -> float:
        """Deliver all that was put off; return the seconds from the command until every queue is empty."""
        self._defer("")
        start = time.perf_counter()
        self.command("postqueue", "-f")
        deadline = time.monotonic() + _LIMIT
        while self._any(*_QUEUES):
            self._wait(deadline, "draining")
        return time.perf_counter() - start

    def send(
        self, sender: str, *recipients: str, data: str = "Subject: x\r\n\r\nx\r\n", words: str = ""
    ) -> None:
        """Give it a message, with addresses as they stand in SMTP, and `words` behind each recipient's."""
        with smtplib.SMTP("127.0.0.1", self.port) as client:
            client.ehlo()
            for line in (f"MAIL FROM:<{sender}>", *(f"RCPT TO:<{one}>{words}" for one in recipients)):
                code, text = client.docmd(line)
                if code != 250:
                    raise ServerError(f"Postfix answers {code} to {line}: {text!r}")
            client.data(data)

    def queue(self) -> dict[str, list[dict[str, Any]]]:
        """Return what is in its queue, as `postqueue -j` tells it, by the names of its queues."""
        done = self.command("postqueue", "-j")
        found: dict[str, list[dict[str, Any]]] = {}
        for line in done.splitlines():
            entry = json.loads(line)
            found.setdefault(entry["queue_name"], []).append(entry)
        return found

    def settle(self, *, messages: int) -> dict[str, list[dict[str, Any]]]:
        """Wait until nothing is being delivered and it has so many messages; return its queue."""
        deadline = time.monotonic() + _SETTLED_WITHIN
        while True:
            busy = self._any("maildrop", "incoming", "active")  # in the order in which a message passes them
            found = self.queue()
            if not busy and sum(map(len, found.values())) == messages:
                return found
            if time.monotonic() > deadline:
                raise ServerError(f"Postfix does not come to have {messages} messages: {found} {self._log()}")
            time.sleep(_LOOK_EVERY)

    def command(self, *words: str) -> str:
        """Run a command of Postfix's on it; return what that writes."""
        return _run(_program(words[0]), "-c", str(self.root / "etc"), *words[1:])

    def sent(self) -> int:
        """Return how many recipients its log says were delivered.

        A queue may be empty while what was written about it still waits in the socket of the log service.
        That takes lines in the order in which they came, so one of our own, behind all, is awaited.
        """
        mark = f"read up to here {uuid.uuid4()}"
        self.command("postlog", mark)
        deadline = time.monotonic() + _SETTLED_WITHIN
        while mark.encode() not in (log := (self.root / "log/mail.log").read_bytes()):
            self._wait(deadline, "writing its log")
        return len(_SENT.findall(log))

    def _defer(self, transports: str) -> None:
        """Set `defer_transports`, and wait until the queue manager goes by it: one that goes by what it was
        would put everything off again, for minutes."""
        main = self.root / "etc/main.cf"
        kept = re.sub(r"^defer_transports.*\n", "", main.read_text(), flags=re.MULTILINE)
        _write_settled(main, f"{kept}defer_transports = {transports}\n")
        before = self._queue_managers()
        os.kill(self.pid, signal.SIGHUP)  # which is what `postfix reload` does
        asked = time.monotonic()
        deadline = asked + _RELOAD_WITHIN
        while not (now := self._queue_managers()) or now & before:
            if time.monotonic() > deadline:
                raise ServerError(f"Postfix did not reload within {_RELOAD_WITHIN:.0f} s: {self._log()}")
            if time.monotonic() > asked + _RELOAD_WITHIN / 4:  # one that was just starting did not hear of it
                os.kill(self.pid, signal.SIGHUP)
                asked = time.monotonic()
            time.sleep(_LOOK_EVERY)

    def _queue_managers(self) -> set[int]:
        return {pid for pid in children(self.pid) if program_of(pid) == "qmgr"}

    def _any(self, *queues: str) -> bool:
        """Whether a message is in one of these queues: looked at in the order in which it passes them."""
        return any(_holds(self.root / "queue" / queue) for queue in queues)

    def _count(self) -> int:
        return sum(len(files) for queue in _QUEUES for _, _, files in os.walk(self.root / "queue" / queue))

    def _wait(self, deadline: float, what: str) -> None:
        if time.monotonic() > deadline:
            raise ServerError(f"Postfix did not end {what} in time: {self._log()}")
        time.sleep(_LOOK_EVERY)

    def _log(self) -> str:
        return tail(self.root / "log/mail.log")


def _holds(queue: Path) -> bool:
    with os.scandir(queue) as entries:
        return any(_holds(Path(entry)) if entry.is_dir(follow_symlinks=False) else True for entry in entries)


def hindrance() -> str | None:
    """Why Postfix cannot be run here; None where it can."""
    for program in ("postfix", "postqueue", "postconf", "smtp-source"):
        if find(program) is None:
            return f"{program} is not installed (Debian: postfix)"
    return None if os.geteuid() == 0 else "Postfix's master must be started by root"


@contextlib.contextmanager
def postfix(
    *, target: int, connections: int = DEFAULT_CONNECTIONS, main: str = "", master: str = ""
) -> Iterator[Postfix]:
    """Run Postfix for the block, delivering to port `target` of 127.0.0.1 over at most so many
    connections; `main` and `master` are more lines of main.cf and master.cf."""
    if why := hindrance():
        raise ServerError(why)
    with folder() as root:
        root.chmod(0o755)
        port = free_port()
        _make_folders(root)
        values = {"root": root, "target": target, "connections": connections, "port": port}
        _write_settled(root / "etc/main.cf", _MAIN.format_map(values) + main)
        _write_settled(root / "etc/master.cf", _MASTER.format_map(values) + master)
        # without the checks of the installation, which take it two seconds
        (root / "queue/quick-start").touch()
        argv = [_program("postfix"), "-c", root / "etc", "start-fg"]
        with running(argv, ready=lambda: greets_on_port(port), log=root / "log/start") as shell:
            # a shell stands between its master and us, and ends when its master does
            pid = int((root / "queue/pid/master.pid").read_text())
            try:
                yield Postfix(root=root, pid=pid, port=port)
            finally:
                os.kill(pid, signal.SIGTERM)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    shell.wait(STOP_WITHIN)


def _write_settled(path: Path, text: str) -> None:
    """Write a configuration file as if a while ago: Postfix's programs wait two seconds when it is
    fresh."""
    path.write_text(text)
    past = time.time() - 60
    os.utime(path, (past, past))


def _make_folders(root: Path) -> None:
    owner = pwd.getpwnam(_setting("mail_owner")).pw_uid
    group = grp.getgrnam(_setting("setgid_group")).gr_gid
    for name in ("etc", "log", "data", "queue", "queue/pid"):
        (root / name).mkdir()
    os.chown(root / "data", owner, -1)
    for name in _OWN_FOLDERS:
        (root / "queue" / name).mkdir(mode=0o700)
        os.chown(root / "queue" / name, owner, -1)
    for name, mode in _GROUP_FOLDERS.items():
        (root / "queue" / name).mkdir()
        os.chown(root / "queue" / name, owner, group)
        (root / "queue" / name).chmod(mode)


def _setting(name: str) -> str:
    """Return a setting as this Postfix was built with it."""
    done = subprocess.run([_program("postconf"), "-dh", name], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _program(name: str) -> str:
    path = find(name)
    if path is None:
        raise ServerError(f"{name} is not installed (Debian: postfix)")
    return path


def _run(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ServerError(f"{Path(argv[0]).name} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout
