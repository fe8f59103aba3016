"""Bad input, as a person meets it: one line that says what, where and how to mend it, and an exit code."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from spooler.records import QueueFilter
from spooler.spool.store import Store

FULL = Path("/dev/full")
MESSAGE = b"Subject: hi\n\nhello\n"
SEND = ("enqueue", "-f", "s@example.org")


@dataclass(frozen=True, slots=True)
class Case:
    """A command, what it gets, and how it ends."""

    name: str
    arguments: tuple[str, ...]
    code: int
    says: tuple[str, ...]
    stdin: bytes = MESSAGE
    spool: str | None = None


CASES = [
    Case("empty", (*SEND, "a@x"), 65, ("the message is empty",), stdin=b""),
    Case("nul", (*SEND, "a@x"), 65, ("NUL at byte offset 9", "base64"), stdin=b"Subject: \0"),
    Case("oversized", (*SEND, "--max-size", "9", "a@x"), 65, ("limit of 9 bytes", "--max-size")),
    Case("line break", (*SEND, "a@x\r\nRCPT TO:<b@x>"), 65, (r"'a@x\r\nRCPT TO:<b@x>'", "line break")),
    Case("bad sender", ("enqueue", "-f", "a b@x", "c@x"), 65, ("sender address 'a b@x'",)),
    Case("no recipient", SEND, 64, ("no recipient is named", "--recipients-file")),
    Case(
        "no recipients file",
        (*SEND, "--recipients-file", "none"),
        66,
        ("recipients file none", "No such file"),
    ),
    Case("unknown route", (*SEND, "--route", "fra", "a@x"), 64, ("route 'fra' is unknown", "known: default")),
    Case("import of nothing", ("import", "none"), 66, ("none cannot be read: No such file",)),
    Case("wrong URL", (*SEND, "a@x"), 64, ("URL",), spool="mysql://localhost/x"),
    Case("not a URL", ("queue", "list"), 64, ("URL",), spool="spool.db"),
    Case("options of a file", ("init",), 64, ("unknown option 'x.db'", "%3F"), spool="sqlite:///a?x.db"),
    Case("no URL", ("queue", "list"), 64, ("no spool is named", "SPOOLER_SPOOL"), spool=""),
    Case("missing database", (*SEND, "a@x"), 66, ("none.db", "spooler init"), spool="sqlite:///none.db"),
    Case("missing folder", ("init",), 73, ("no/where",), spool="sqlite:///no/where/spool.db"),
    Case("foreign database", ("queue", "list"), 78, ("foreign.db",), spool="sqlite:///foreign.db"),
    Case("no database", ("queue", "list"), 78, ("text.db",), spool="sqlite:///text.db"),
    Case("init of a letter", ("init",), 78, ("database (name another file",), spool="sqlite:///text.db"),
    Case(
        "no server",
        ("queue", "list"),
        69,
        ("127.0.0.1",),
        spool="postgresql://127.0.0.1:1/x?connect_timeout=2",
    ),
    Case("misspelt key", ("queue", "list", "--config", "bad.toml"), 78, ("bad.toml", "'destinations'")),
    Case("no configuration", ("queue", "list", "--config", "none.toml"), 66, ("none.toml", "No such file")),
    Case("no input", (*SEND, "a@x"), 66, ("there is no standard input", "redirect")),
    Case("wrong id", ("queue", "show", "x"), 64, ("'x' is no message id", "queue list")),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_bad_input(case: Case, spool_url: str, tmp_path: Path) -> None:
    """One line on standard error, the exit code, nothing on standard output, and nothing in the spool."""
    (tmp_path / "bad.toml").write_text('[routes.default]\ndestination = ["unix:/s"]\n')
    (tmp_path / "text.db").write_text("this is no database\n" * 100)
    with sqlite3.connect(tmp_path / "foreign.db") as foreign:
        foreign.execute("CREATE TABLE message (id INTEGER PRIMARY KEY)")
    foreign.close()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SPOOLER_")}
    url = spool_url if case.spool is None else case.spool
    if url:
        environment["SPOOLER_SPOOL"] = url
    command = [sys.executable, "-m", "spooler", *case.arguments]
    if case.name == "no input":
        command = ["sh", "-c", 'exec "$@" <&-', "sh", *command]
    done = subprocess.run(
        command, input=case.stdin, capture_output=True, cwd=tmp_path, env=environment, check=False
    )
    said = done.stderr.decode()
    assert (done.returncode, done.stdout) == (case.code, b""), said
    assert said.startswith("spooler: ")
    assert said.count("\n") == 1
    assert said.endswith("\n")
    for part in case.says:
        assert part in said
    with Store.open(spool_url) as store:
        assert store.queue(filter=QueueFilter(), limit=1, after=None) == []


@pytest.mark.skipif(not FULL.exists(), reason="the system has no /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    "arguments", [["queue", "list", "--json"], ["route", "list"], ["top", "--once"], ["init"], ["--help"]]
)
def test_full_output(spool_url: str, arguments: list[str], unbuffered: str) -> None:
    """An answer that cannot be written is an error, not a silence, and none of the spool's disk."""
    environment = {**os.environ, "SPOOLER_SPOOL": spool_url, "PYTHONUNBUFFERED": unbuffered}
    with FULL.open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "spooler", *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            env=environment,
            check=False,
        )
    assert done.returncode == 74
    assert done.stderr == b"spooler: standard output could not be written: No space left on device\n"


def test_the_current_folder_is_gone(tmp_path: Path) -> None:
    """What is missing is said, where the system does not."""
    folder = tmp_path / "gone"
    folder.mkdir()
    program = "import os, sys; os.rmdir(os.getcwd()); from spooler.cli.main import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", program, "queue", "list", "--spool", "sqlite:///spool.db"],
        cwd=folder,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (74, b"")
    assert done.stderr == b"spooler: the current folder is gone\n"


def test_init_says_what_it_did(tmp_path: Path) -> None:
    """A new spool is made once; again, it is left as it is."""
    command = [sys.executable, "-m", "spooler", "init", "--spool", f"sqlite:///{tmp_path}/spool.db"]
    first = subprocess.run(command, capture_output=True, check=True, text=True)
    second = subprocess.run(command, capture_output=True, check=True, text=True)
    assert first.stdout
    assert second.stdout
    assert first.stdout != second.stdout
    assert (first.stderr, second.stderr) == ("", "")
