"""What is offered to whoever moves from Postfix: scripts, and lines of OPERATIONS.md, with a real Postfix."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from spooler.spool.store import Store
from tests.deploy.reading import DEPLOY, ROOT
from tests.servers.fixtures import require
from tests.servers.postfix import Postfix, postfix
from tests.servers.process import SPOOLER, find, folder, free_port
from tests.spool.making import ask

if TYPE_CHECKING:
    from collections.abc import Iterator

MESSAGES = 4
OTHER = "nobody"  # a user that is neither root nor Postfix's, as pipe(8) wants it
TOO_LONG = f"{'x' * 70}@store.test"  # Postfix takes it
ODD = ["#hash@store.test", '"#q\\" p"@store.test', "Mixed.Case@store.test", '"dots..two"@store.test']
SECTION = (ROOT / "docs/OPERATIONS.md").read_text().partition("\n## Moving from Postfix\n")[2]


def documented(file: str) -> str:
    """The lines of a file of Postfix's, as the manual has them."""
    (found,) = re.findall(rf"^```\n# {re.escape(file)}\n(.*?)^```", SECTION, flags=re.MULTILINE | re.DOTALL)
    return str(found)


def documented_commands(program: str) -> list[list[str]]:
    """The commands of the manual that name a program."""
    scripts = re.findall(r"^```sh\n(.*?)^```", SECTION, flags=re.MULTILINE | re.DOTALL)
    return [shlex.split(line, comments=True) for line in "".join(scripts).splitlines() if program in line]


@pytest.fixture(scope="session")
def python_for_others() -> Iterator[str]:
    """An interpreter that other users can run: where ours is out of their reach, a copy."""

    def runs(python: Path) -> bool:
        with contextlib.suppress(OSError):
            argv = (python, "-c", "import spooler.cli.main, msgspec, sqlalchemy")
            env = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
            return subprocess.run(argv, env=env, user=OTHER, extra_groups=[], check=False).returncode == 0
        return False

    with folder() as home:
        python = Path(sys.executable)
        if not runs(python):
            base = Path(sys.base_prefix)
            version = f"python{sys.version_info.major}.{sys.version_info.minor}"
            skip = shutil.ignore_patterns("test", "site-packages", "config-*", "*.a")
            shutil.copytree(base / "lib", home / "lib", ignore=skip, symlinks=True)
            (home / "bin").mkdir()
            python = Path(shutil.copy(base / "bin" / version, home / "bin"))
        if not runs(python):
            pytest.skip(f"the user {OTHER} cannot reach {ROOT}")  # who runs the tests, and where, is no fault
        yield str(python)


class Setting:
    """The product's command as a program, and a configuration, in a folder of their own."""

    def __init__(self, home: Path, url: str, argv: tuple[str, ...] = SPOOLER) -> None:
        self.home, self.url = home, url
        self.program, self.config = home / "spooler", home / "main.toml"
        path = os.pathsep.join(filter(None, sys.path))
        self.run = f"PYTHONPATH={shlex.quote(path)} {shlex.join(argv)}"
        self.write(f'exec env {self.run} "$@"')
        self.config.write_text(f'spool = "{url}"\n[routes.default]\ndestinations = ["unix:/nowhere"]\n')

    def write(self, script: str) -> None:
        """Make the program another."""
        self.program.write_text(f"#!/bin/sh\n{script}\n")
        self.program.chmod(0o755)

    def fail_once(self, code: int) -> None:
        """Have the program do its work, and end with `code` the first time all the same."""
        once = self.home / "once"
        self.write(f'env {self.run} "$@" || exit\n[ -e {once} ] || {{ echo >{once}; exit {code}; }}')

    def environment(self, server: Postfix | None = None) -> dict[str, str]:
        sbin = os.path.dirname(find("postsuper") or "")  # noqa: PTH120  # of a text that may be empty
        return {
            **os.environ,
            "SPOOLER": str(self.program),
            "SPOOLER_CONFIG": str(self.config),
            "PATH": f"{os.environ['PATH']}:{sbin}",
            **({"MAIL_CONFIG": str(server.root / "etc")} if server else {}),
        }

    def queued(self) -> list[tuple[str, str]]:
        """Sender and recipient of all that is queued."""
        return sorted(
            (sender, address)
            for sender, address in self.ask(
                "SELECT m.sender, r.address FROM recipient r JOIN message m ON m.id = r.message_id"
            )
        )

    def ask(self, statement: str) -> list[tuple[Any, ...]]:
        """Look into the spool."""
        with Store.open(self.url) as store:
            return [tuple(row) for row in ask(store, statement)]


@pytest.fixture
def setting(tmp_path: Path, sqlite_url: str) -> Setting:
    """Everything is ours."""
    return Setting(tmp_path, sqlite_url)


@pytest.fixture
def others_setting(python_for_others: str, sqlite_template: Path) -> Iterator[Setting]:
    """Everything is another user's."""
    with folder() as home:
        spool = home / "spool"
        spool.mkdir()
        shutil.copy(sqlite_template, spool / "spool.db")
        url = f"sqlite:///{spool}/spool.db"
        setting = Setting(home, url, (python_for_others, "-m", "spooler"))
        for path in (home, spool, spool / "spool.db"):
            shutil.chown(path, OTHER)
        yield setting


def run(
    script: str, *words: str, env: dict[str, str], given: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [DEPLOY / "postfix" / script, *words],
        input=given,
        env=env,
        capture_output=True,
        check=False,
        timeout=120,
    )


# spooler-pipe


@contextlib.contextmanager
def handing_over(setting: Setting) -> Iterator[Postfix]:
    """A Postfix that hands over what is for store.test, by the lines of the manual; other mail waits."""
    libexec = setting.home / "usr/local/libexec"
    for words in documented_commands("spooler-pipe"):
        subprocess.run(
            [word.replace("/usr/local/libexec", str(libexec)) for word in words], cwd=ROOT, check=True
        )
    master = documented("master.cf").replace("/usr/local/libexec", str(libexec))
    assert "user=spooler " in master
    given = f"SPOOLER={setting.program} SPOOLER_CONFIG={setting.config}"
    main = f"virtual_mailbox_domains = store.test\nexport_environment = LANG {given}\n"
    with postfix(
        target=free_port(),
        main=main + documented("main.cf"),
        master=master.replace("user=spooler ", f"user={OTHER} "),
    ) as server:
        yield server


@pytest.mark.postfix
def test_pipe_takes_addresses_as_they_are(postfix_runs: None, others_setting: Setting) -> None:
    """Of several recipients each, with quotes and case, and the null sender; the message is not added to."""
    with handing_over(others_setting) as server:
        server.send("", *ODD, "plain@STORE.test", data="Subject: x\r\n\r\n.body\r\n")
        server.send('"a b"@Origin.test', "plain@store.test")
        assert server.settle(messages=0) == {}
        assert server.sent() == len(ODD) + 2
    found = others_setting.queued()
    assert found == sorted(
        [*(("", one) for one in (*ODD, "plain@store.test")), ('"a b"@origin.test', "plain@store.test")]
    )
    contents = {bytes(data) for (data,) in others_setting.ask("SELECT data FROM content_chunk")}
    assert len(contents) == 2
    assert all(data.startswith(b"Received: ") for data in contents)
    assert not any(b"Delivered-To" in data or b"Return-Path" in data for data in contents)


@pytest.mark.postfix
def test_an_address_that_is_never_taken_bounces_alone(postfix_runs: None, others_setting: Setting) -> None:
    """The others have the message once; the sender reads which it was, and why."""
    with handing_over(others_setting) as server:
        server.send("me@origin.test", "a@store.test", TOO_LONG, "b@store.test")
        (notice,) = server.settle(messages=1)["deferred"]
        text = server.command("postcat", "-bq", notice["queue_id"])
    assert others_setting.queued() == [("me@origin.test", "a@store.test"), ("me@origin.test", "b@store.test")]
    assert [one["address"] for one in notice["recipients"]] == ["me@origin.test"]
    assert re.findall(r"^Final-Recipient: (.*)$", text, flags=re.MULTILINE) == [f"rfc822; {TOO_LONG}"]
    assert "has a local part of more than 64 octets" in " ".join(text.split())


@pytest.mark.postfix
def test_a_repeated_hand_over_queues_nothing(postfix_runs: None, others_setting: Setting) -> None:
    """Postfix tries again what was queued here where it did not hear of it: then it does."""
    others_setting.fail_once(74)
    with handing_over(others_setting) as server:
        server.send("me@origin.test", "a@store.test")
        assert list(server.settle(messages=1)) == ["deferred"]
        assert others_setting.queued() == [("me@origin.test", "a@store.test")]
        server.command("postqueue", "-f")
        assert server.settle(messages=0) == {}
        assert server.sent() == 1
    assert others_setting.queued() == [("me@origin.test", "a@store.test")]


@pytest.mark.postfix
def test_a_hand_over_is_not_called_delivery(postfix_runs: None, others_setting: Setting) -> None:
    """Who asked to be told of success is told that the message went on."""
    with handing_over(others_setting) as server:
        server.send("me@origin.test", "a@store.test", words=" NOTIFY=SUCCESS")
        (notice,) = server.settle(messages=1)["deferred"]
        text = server.command("postcat", "-bq", notice["queue_id"])
    assert re.findall(r"^Action: (\w+)", text, flags=re.MULTILINE) == ["relayed"]


def test_pipe_is_told_to_try_again(setting: Setting) -> None:
    """Whatever is wrong here is no reason to bounce; mail that is safe is taken."""
    env = setting.environment()
    words = ("4X0", "-f", "a@example.org", "--", "b@example.com", "c@example.com")
    assert run("spooler-pipe", *words, env=env, given=b"Subject: x\n\nhi\n").returncode == 0
    assert setting.queued() == [("a@example.org", "b@example.com"), ("a@example.org", "c@example.com")]
    for wrong in ({"SPOOLER_CONFIG": "/nowhere"}, {"SPOOLER": "/nowhere"}, {"TMPDIR": "/nowhere"}):
        assert run("spooler-pipe", *words, env={**env, **wrong}, given=b"x").returncode == 75


def test_pipe_bounces_what_is_malformed(setting: Setting) -> None:
    """But not several recipients for the sake of one."""
    env = setting.environment()
    sent = ("4X0", "-f", "", "--")
    assert run("spooler-pipe", *sent, "a@example.com", env=env, given=b"a\0b").returncode == 65
    assert run("spooler-pipe", *sent, TOO_LONG, env=env, given=b"x").returncode == 65
    several = run("spooler-pipe", *sent, "a@example.com", TOO_LONG, env=env, given=b"x")
    assert several.returncode == 75
    assert b"spooler_destination_recipient_limit = 1" in several.stdout


def test_a_queue_id_may_recur(setting: Setting) -> None:
    """Another message, or another recipient, with the id of an earlier one is queued; the same is not."""
    env = setting.environment()
    for recipient, data in (("a", b"1"), ("a", b"2"), ("b", b"1"), ("a", b"1")):
        words = ("4X0", "-f", "me@example.org", "--", f"{recipient}@example.com")
        assert run("spooler-pipe", *words, env=env, given=data).returncode == 0
    assert len(setting.queued()) == 3


def test_pipe_is_sound_sh() -> None:
    """Whatever shell /bin/sh is."""
    program = require("shellcheck", "shellcheck")
    subprocess.run([program, DEPLOY / "postfix/spooler-pipe"], check=True)


# move-queue


@contextlib.contextmanager
def deferring() -> Iterator[Postfix]:
    """A Postfix that delivers nothing."""
    with postfix(target=free_port(), main="defer_transports = lmtp\n") as server:
        yield server


def ids(server: Postfix) -> dict[str, list[str]]:
    """The ids of what is in its queues."""
    return {name: sorted(one["queue_id"] for one in found) for name, found in server.queue().items()}


@pytest.mark.postfix
def test_a_deferred_queue_is_moved(postfix_runs: None, setting: Setting) -> None:
    """Each message with its sender and its recipients, once; nothing is left in Postfix's queue."""
    with deferring() as server:
        server.fill(messages=MESSAGES, recipients=2, size=1000)
        env = setting.environment(server)
        words = ("--domain", "Store.test", "--user", "root")
        before = server.queue()
        broken = run("move-queue", *words, env={**env, "SPOOLER_CONFIG": "/nowhere"})
        assert broken.returncode == 75
        assert b"/nowhere" in broken.stderr
        assert list(server.queue()) == ["deferred"], "they are Postfix's again"
        dry = run("move-queue", *words, "--dry-run", env=env)
        assert dry.stdout.count(b"would be moved, from bench@origin.test to 2 recipients\n") == MESSAGES
        assert setting.queued() == []
        done = run("move-queue", *words, "--", "--job", "moved", env=env)
        assert (done.returncode, done.stdout.decode()) == (
            0,
            f"{MESSAGES} of {MESSAGES} messages moved, with {2 * MESSAGES} recipients\n",
        )
        assert server.queue() == {}
    assert len(setting.queued()) == 2 * MESSAGES
    rows = setting.ask("SELECT job, idempotency_key FROM message")
    host = socket.gethostname()
    assert sorted(rows) == sorted(
        ("moved", f"postfix-{host}-{one['queue_id']}-{one['arrival_time']}") for one in before["deferred"]
    )


@pytest.mark.postfix
def test_addresses_are_moved_as_they_are(postfix_runs: None, setting: Setting) -> None:
    """None is taken for a comment or loses its quotes, case or count; the null sender stays one."""
    with deferring() as server:
        server.send("", *ODD, "plain@STORE.test")
        server.send('"a b"@origin.test', "#hash@store.test")
        server.settle(messages=2)
        done = run("move-queue", "--domain", "store.test", "--user", "root", env=setting.environment(server))
        assert (done.returncode, done.stderr) == (0, b"")
        assert server.queue() == {}
    assert setting.queued() == sorted(
        [*(("", one) for one in (*ODD, "plain@store.test")), ('"a b"@origin.test', "#hash@store.test")]
    )


@pytest.mark.postfix
def test_only_what_was_asked_for_is_moved(postfix_runs: None, setting: Setting) -> None:
    """Other mail is left and counted; what is partly for others is left and named."""
    with deferring() as server:
        env = setting.environment(server)
        server.send("me@origin.test", "a@store.test")
        server.send("me@origin.test", "b@shop.test", "c@store.test")
        server.send("", "remote@far.test")
        server.send("me@origin.test", "d@store.test", "e@far.test")
        server.settle(messages=4)
        before = ids(server)
        nothing = run("move-queue", env=env)
        assert (nothing.returncode, nothing.stdout) == (64, b"")
        assert b"usage:" in nothing.stderr
        assert (
            run("move-queue", "--user", "root", "--domain", "store.test", "shop.test", env=env).returncode
            == 64
        )
        words = ("--user", "root", "--domain", "store.test", "--domain", "shop.test")
        assert run("move-queue", "--dry-run", *words, env=env).stdout.endswith(
            b"2 of 2 messages would be moved, with 3 recipients\n"
        )
        assert ids(server) == before
        done = run("move-queue", *words, env=env)
        assert done.returncode == 65
        assert done.stdout.decode() == (
            "not asked for, messages by domain: far.test 1\n2 of 2 messages moved, with 3 recipients\n"
        )
        assert done.stderr.decode().endswith(": not moved, it has recipients at far.test too\n")
        assert [len(found) for found in ids(server).values()] == [2]
        everything = run("move-queue", "--user", "root", "--all", env=env)
        assert (everything.returncode, server.queue()) == (0, {})
    assert [to for _, to in setting.queued()] == [
        *("remote@far.test", "a@store.test", "b@shop.test", "c@store.test", "d@store.test", "e@far.test")
    ]


@pytest.mark.postfix
def test_what_is_refused_stops_no_other(postfix_runs: None, setting: Setting) -> None:
    """It is named, and stays as it was; and so does what is on hold."""
    with deferring() as server:
        server.send("me@origin.test", "held@store.test")
        (held,) = server.settle(messages=1)["deferred"]
        server.command("postsuper", "-h", held["queue_id"])
        server.send("me@origin.test", "a@store.test", TOO_LONG)
        bad = server.settle(messages=2)["deferred"][0]["queue_id"]
        for name in "bc":
            server.send("me@origin.test", f"{name}@store.test")
        server.settle(messages=4)
        words, env = ("--user", "root", "--domain", "store.test"), setting.environment(server)
        done = run("move-queue", *words, env=env)
        assert (done.returncode, done.stdout) == (65, b"2 of 3 messages moved, with 2 recipients\n")
        assert done.stderr.startswith(f"move-queue: {bad}: not moved: spooler: ".encode())
        assert b"more than 64 octets" in done.stderr
        assert ids(server) == {"deferred": [bad], "hold": [held["queue_id"]]}
        assert [to for _, to in setting.queued()] == ["b@store.test", "c@store.test"]
        assert run("move-queue", *words, "--held", env=env).returncode == 65
        assert ids(server) == {"deferred": [bad]}
    assert len(setting.queued()) == 3


@pytest.mark.postfix
def test_a_second_run_queues_none_twice(postfix_runs: None, setting: Setting) -> None:
    """Where the first did not hear that it was queued."""
    setting.fail_once(70)
    with deferring() as server:
        server.send("me@origin.test", "a@store.test")
        server.settle(messages=1)
        words, env = ("--user", "root", "--domain", "store.test"), setting.environment(server)
        assert run("move-queue", *words, env=env).returncode == 65
        assert list(ids(server)) == ["deferred"]
        assert run("move-queue", *words, env=env).returncode == 0
        assert server.queue() == {}
    assert setting.queued() == [("me@origin.test", "a@store.test")]


@pytest.mark.postfix
def test_nothing_is_deleted_unless_all_recipients_are_safe(postfix_runs: None, setting: Setting) -> None:
    """An answer that counts fewer leaves the message on hold, and the run ends."""
    setting.write("""echo '{"id": "1", "duplicate": false, "recipients": 1, "repeated": 0, "size": 9}'""")
    with deferring() as server:
        for _ in range(2):
            server.send("me@origin.test", "a@store.test", "b@store.test")
        server.settle(messages=2)
        done = run("move-queue", "--user", "root", "--all", env=setting.environment(server))
        assert (done.returncode, done.stdout) == (75, b"0 of 2 messages moved, with 0 recipients\n")
        assert b"queued here as 1 with 1 recipients, but it has 2 in Postfix" in done.stderr
        assert {name: len(found) for name, found in ids(server).items()} == {"deferred": 1, "hold": 1}


@pytest.mark.postfix
def test_who_is_asked_to_end_finishes_a_message(postfix_runs: None, setting: Setting) -> None:
    """The others are Postfix's as before, and none is on hold."""
    setting.write(f'kill -TERM "$PPID"; exec env {setting.run} "$@"')
    with deferring() as server:
        for name in "ab":
            server.send("me@origin.test", f"{name}@store.test")
        server.settle(messages=2)
        done = run("move-queue", "--user", "root", "--all", env=setting.environment(server))
        assert (done.returncode, done.stdout) == (75, b"1 of 2 messages moved, with 1 recipients\n")
        assert {name: len(found) for name, found in ids(server).items()} == {"deferred": 1}
    assert len(setting.queued()) == 1


@pytest.mark.postfix
def test_mail_is_queued_as_the_spools_user(
    postfix_runs: None, others_setting: Setting, tmp_path: Path
) -> None:
    """Who alone may write to it: with no right of root's left, even where root's TMPDIR is closed."""
    seen = others_setting.home / "seen"
    others_setting.write(f'{{ id; echo "$HOME"; }} >{seen}; exec env {others_setting.run} "$@"')
    (tmp_path / "closed").mkdir(mode=0o700)
    with deferring() as server:
        server.send("me@origin.test", *ODD)
        server.settle(messages=1)
        env = {**others_setting.environment(server), "TMPDIR": str(tmp_path / "closed")}
        assert run("move-queue", "--user", "no-such-user", "--all", env=env).returncode == 64
        done = run("move-queue", "--user", OTHER, "--all", env=env)
        assert (done.returncode, done.stderr) == (0, b"")
    account = pwd.getpwnam(OTHER)
    who, home = seen.read_text().splitlines()
    assert who.startswith(f"uid={account.pw_uid}({OTHER}) gid={account.pw_gid}(")
    assert "root" not in who
    assert home == account.pw_dir
    assert [to for _, to in others_setting.queued()] == sorted(ODD)


def test_the_manual_moves_a_queue_by_commands_that_there_are(setting: Setting) -> None:
    """Whoever types them is understood."""
    env = {**setting.environment(), "PATH": os.defpath}
    for program, *words in documented_commands("move-queue"):
        assert (ROOT / program).exists()
        done = run("move-queue", "--user", "root", *words, env=env)
        assert done.returncode != 64, done.stderr
