"""A Cyrus LMTP server of our own: a real store without CHUNKING, whose mailboxes come into being with their
mail.

Everything lives in a temporary folder; nothing of the machine's own Cyrus is touched. Known limits: Cyrus
must be started by root, who hands over to its user; seen to work with Cyrus 3.6 as Debian packages it.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.servers.process import ServerError, find, folder, free_port, greets_on_port, running

if TYPE_CHECKING:
    from collections.abc import Iterator

_PROGRAMS = Path("/usr/lib/cyrus/bin")  # where Debian puts them
_USER = "cyrus"
_MAIL = re.compile(r"[1-9][0-9]*\.")  # the name of a file that is a mail
_IMAPD = """\
configdirectory: {root}/conf
defaultpartition: default
partition-default: {root}/mail
proc_path: {root}/run/proc
mboxname_lockpath: {root}/run/lock
sievedir: {root}/sieve
lmtpsocket: {root}/run/lmtp
idlesocket: {root}/run/idle
notifysocket: {root}/run/notify
servername: cyrus.test
defaultdomain: store.test
lmtp_downcase_rcpt: yes
unixhierarchysep: yes
autocreate_post: yes
autocreate_quota: 0
duplicatesuppression: no
syslog_prefix: cyrus-test
"""
_TLS = """\
tls_server_cert: {root}/conf/server.pem
tls_server_key: {root}/conf/server.pem
"""
_AUTH = """\
sasl_pwcheck_method: auxprop
sasl_auxprop_plugin: sasldb
sasl_sasldb_path: {root}/conf/sasldb2
sasl_mech_list: {mechanisms}
lmtp_admins: {user}
allowplaintext: {plain}
"""
_SERVICES = """\
START {{
  recover cmd="{programs}/ctl_cyrusdb -C {root}/imapd.conf -r"
}}
SERVICES {{
  lmtp cmd="{programs}/lmtpd -C {root}/imapd.conf{trust}" listen="127.0.0.1:{port}" prefork=0 maxchild=100
}}
EVENTS {{
}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """Whom a server wants to see authenticated; `plain`: in plain text too."""

    user: str
    secret: str
    mechanisms: str = "SCRAM-SHA-256 CRAM-MD5 PLAIN LOGIN"
    plain: bool = False


@dataclass(frozen=True, slots=True)
class Cyrus:
    """A running server, which takes mail for any user of store.test."""

    port: int
    root: Path

    @property
    def tcp(self) -> str:
        """Destination by TCP."""
        return f"inet:127.0.0.1:{self.port}"

    def count(self) -> int:
        """Return how many mails all mailboxes hold together."""
        return sum(
            _MAIL.fullmatch(name) is not None for _, _, files in os.walk(self.root / "mail") for name in files
        )


def hindrance() -> str | None:
    """Why Cyrus cannot be run here; None where it can."""
    if not all((_PROGRAMS / name).exists() for name in ("master", "lmtpd", "ctl_cyrusdb")):
        return "Cyrus is not installed (Debian: cyrus-imapd)"
    return None if os.geteuid() == 0 else "Cyrus must be started by root"


@contextlib.contextmanager
def cyrus(*, certificate: Path | None = None, login: Login | None = None) -> Iterator[Cyrus]:
    """Run a server for the block, without mailboxes: each is made when its first mail comes.

    With a `certificate`, a PEM file that holds its key too, STARTTLS is offered; with a `login` AUTH is
    wanted.
    """
    if why := hindrance():
        raise ServerError(why)
    with folder() as root:
        port = free_port()
        owner = pwd.getpwnam(_USER)
        for name in ("conf", "mail", "run", "sieve"):
            (root / name).mkdir()
            os.chown(root / name, owner.pw_uid, owner.pw_gid)
        values = {"root": root, "port": port, "programs": _PROGRAMS, "trust": " -a"}
        settings = _IMAPD
        if certificate is not None:
            settings += _TLS
            shutil.copy(certificate, root / "conf/server.pem")
            os.chown(root / "conf/server.pem", owner.pw_uid, owner.pw_gid)
        if login is not None:
            settings += _AUTH
            values |= {"user": login.user, "mechanisms": login.mechanisms, "trust": ""}
            values["plain"] = "yes" if login.plain else "no"
            _add(login, root / "conf/sasldb2", owner)
        (root / "imapd.conf").write_text(settings.format_map(values))
        (root / "cyrus.conf").write_text(_SERVICES.format_map(values))
        argv = [_PROGRAMS / "master", "-C", root / "imapd.conf", "-M", root / "cyrus.conf"]
        argv += ["-p", root / "run/pid", "-L", root / "log"]
        with running(argv, ready=lambda: greets_on_port(port), log=root / "start"):
            yield Cyrus(port=port, root=root)


def _add(login: Login, database: Path, owner: pwd.struct_passwd) -> None:
    """Make SASL's database with the one user in it."""
    program = find("saslpasswd2")
    if program is None:
        raise ServerError("saslpasswd2 is not installed (Debian: sasl2-bin)")
    argv = [program, "-p", "-c", "-f", str(database), "-u", "cyrus.test", login.user]
    subprocess.run(argv, input=login.secret.encode(), check=True)
    os.chown(database, owner.pw_uid, owner.pw_gid)


def version() -> str:
    """Return the version of the installed Cyrus, "" where there is none or it does not tell."""
    program = _PROGRAMS / "cyr_info"
    if not program.exists():
        return ""
    done = subprocess.run([program, "version"], capture_output=True, text=True, check=False)
    found = re.match(r"cyrus-imapd ([0-9.]+)", done.stdout)
    return found[1] if found else ""
