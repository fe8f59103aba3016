"""`spooler doctor` as it is run: with every way to name a spool, its table, its JSON, its exit codes."""

from __future__ import annotations

import io
import json
import os
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from spooler.cli.main import main
from spooler.delivery.heartbeat import whereabouts
from spooler.ident import now_us
from spooler.journal.place import create, root_of
from spooler.spool import sqlite_race
from spooler.worker import WorkerRun
from tests.servers.own_sink import own_sink
from tests.servers.process import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from spooler.spool.store import Store
    from tests.cli.running import Runner


class Terminal(io.StringIO):
    """A text file that says it is a terminal."""

    def isatty(self) -> bool:
        """See TextIO."""
        return True


@pytest.fixture(autouse=True)
def _sound_sqlite(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which SQLite runs the tests plays no part."""
    monkeypatch.setattr(sqlite_race.has_race, "__defaults__", ((3, 51, 3),))


@pytest.fixture(scope="module")
def target() -> Iterator[str]:
    """An LMTP server."""
    with own_sink() as sink:
        yield sink.tcp


def findings(answer: Any, level: str) -> list[str]:  # noqa: ANN401
    """What was found at a level."""
    return [one["what"] for one in answer["findings"] if one["level"] == level]


def test_all_is_well(spooler: Runner, target: str, spool_path: Path) -> None:
    """A new spool and a server that answers: no problem, exit code 0, and nothing was changed."""
    before = sorted(path.name for path in spool_path.parent.iterdir())
    answer = spooler("doctor", "--target", target, "--json").json
    assert answer["problems"] == 0
    assert findings(answer, "problem") == []
    assert {one["about"] for one in answer["findings"]} >= {
        "database",
        "files",
        "workers",
        "journals",
        "clock",
    }
    assert any("CHUNKING" in what for what in findings(answer, "ok"))
    assert sorted(path.name for path in spool_path.parent.iterdir()) == before


def test_a_line_a_finding(spooler: Runner, target: str) -> None:
    """For people it is a table, a line a finding, and how many are not well."""
    ended = spooler("doctor", "--target", target)
    head, *lines = ended.out.splitlines()
    assert head.split() == ["what", "where", "how", "to", "mend"]
    assert {line.split()[0] for line in lines} <= {"ok", "warning"}
    assert ended.err.startswith("spooler: 0 problems, ")


def test_on_a_terminal(spooler: Runner, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is folded into the width of a terminal, also a narrow one."""
    for columns in (100, 60):
        monkeypatch.setenv("COLUMNS", str(columns))
        terminal = Terminal()
        monkeypatch.setattr(sys, "stdout", terminal)
        assert main(["doctor", "--spool", spooler.url, "--target", target]) == 0
        lines = terminal.getvalue().splitlines()
        assert max(map(len, lines[1:])) <= columns or columns < 80  # the head is in bold
        assert any(line.endswith("ok") if columns < 80 else line.startswith("ok") for line in lines)


def test_no_spool_and_no_route(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Without any option it says what to give, exit code 78."""
    assert main(["doctor"]) == os.EX_CONFIG
    out = capsys.readouterr().out
    assert "no route is configured" in out
    assert "no spool is named" in out


def test_a_configuration_that_is_refused(spooler: Runner, tmp_path: Path) -> None:
    """It is the first problem, and the spool is looked at all the same."""
    (tmp_path / "c.toml").write_text('[routes.default]\ndestination = ["unix:/x"]\n')
    answer = spooler("doctor", "--config", tmp_path / "c.toml", "--json", expect=78).json
    assert "did you mean 'destinations'?" in answer["findings"][0]["mend"]
    assert any("its schema" in what for what in findings(answer, "ok"))


def test_a_configuration_that_holds_a_password(spooler: Runner, tmp_path: Path) -> None:
    """Others may not read it."""
    file = tmp_path / "c.toml"
    file.write_text(
        'spool = "postgresql://u:geheim@127.0.0.1:1/x"\n[routes.default]\ndestinations = ["unix:/x"]\n'
    )
    file.chmod(0o644)
    ended = spooler("doctor", "--config", file, "--json", expect=77)
    assert "geheim" not in ended.out
    file.chmod(0o600)
    spooler("doctor", "--config", file, "--json", expect=69)


def test_a_bad_target(spooler: Runner) -> None:
    """So is a target that is not understood."""
    answer = spooler("doctor", "--target", "nonsense", "--json", expect=64).json
    assert answer["findings"][0]["about"] == "configuration"


def test_a_dead_target(spooler: Runner) -> None:
    """A destination that does not answer: exit code 69, and what to do."""
    answer = spooler("doctor", "--target", f"inet:127.0.0.1:{free_port()}", "--json", expect=69).json
    (problem,) = (one for one in answer["findings"] if one["level"] == "problem")
    assert problem["exit_code"] == 69
    assert problem["mend"]


def test_mail_that_everybody_may_read(spooler: Runner, target: str, spool_path: Path) -> None:
    """A spool for all eyes: exit code 77."""
    spool_path.chmod(0o644)
    answer = spooler("doctor", "--target", target, "--json", expect=77).json
    assert findings(answer, "problem") == ["everybody on this host may get at it: its mode is 0644"]


def test_a_folder_that_everybody_may_write_to(spooler: Runner, target: str, spool_path: Path) -> None:
    """Who may put another file in the spool's place is told."""
    spool_path.parent.chmod(0o777)
    answer = spooler("doctor", "--target", target, "--json", expect=77).json
    assert "in the spool's place" in findings(answer, "problem")[0]


def test_spools_that_are_not_there(spooler: Runner, target: str, tmp_path: Path) -> None:
    """None, a wrong URL, and one of another version have their own codes."""
    spooler("doctor", "--spool", f"sqlite:///{tmp_path}/none.db", "--target", target, expect=66)
    spooler("doctor", "--spool", "mysql://x", "--target", target, expect=64)
    with sqlite3.connect(spooler.url.removeprefix("sqlite:///")) as conn:
        conn.execute("UPDATE alembic_version SET version_num = '9999'")
    conn.close()
    answer = spooler("doctor", "--target", target, "--json", expect=78).json
    assert "newer than this program" in findings(answer, "problem")[0]


def test_what_dead_workers_left(spooler: Runner, target: str, store: Store) -> None:
    """A worker that gives no sign is told, with what to do."""
    store.register(host="alpha boot ns", pid=42, now=now_us() - 3_600_000_000)
    answer = spooler("doctor", "--target", target, "--json").json
    assert any(what.startswith("process 42 on alpha") for what in findings(answer, "warning"))


def test_a_worker_that_was_just_killed(spooler: Runner, target: str, store: Store) -> None:
    """It is dead at once, by its process or by its journal that nobody holds, and not counted as at work."""
    with subprocess.Popen(["true"]) as process:
        process.wait()
    now = now_us()
    store.register(host=whereabouts(), pid=process.pid, now=now)
    unseen = store.register(host="of another container", pid=1, now=now)
    create(root_of(spooler.url), spool=store.uuid, worker=unseen).release()
    store.register(host=whereabouts(), pid=os.getpid(), now=now)
    answer = spooler("doctor", "--target", target, "--json").json
    assert "1 at work" in findings(answer, "ok")
    dead = [what.partition(" is dead;")[0] for what in findings(answer, "warning") if " is dead;" in what]
    host = whereabouts().partition(" ")[0]
    assert sorted(dead) == sorted([f"process {process.pid} on {host}", "process 1 on of"])


@pytest.mark.parametrize(
    ("kind", "code", "what"),
    [
        ("missing", os.EX_NOINPUT, "No such file"),
        ("empty", os.EX_CONFIG, "is empty"),
        ("a folder", os.EX_NOINPUT, "Is a directory"),
    ],
)
def test_a_token_without_which_no_worker_starts(
    spooler: Runner, target: str, tmp_path: Path, kind: str, code: int, what: str
) -> None:
    """What a worker refuses is told with the same exit code; a token that is not served is not asked for."""
    token, file = tmp_path / "token", tmp_path / "c.toml"
    if kind == "empty":
        token.write_text("\n")
    elif kind == "a folder":
        token.mkdir()
    file.write_text(f'[http]\nlisten = "127.0.0.1:0"\ntoken-file = "{token}"\n')
    where = ("--config", file, "--target", target)
    assert what in spooler("worker", *where, "--http", "127.0.0.1:0", expect=code).err
    answer = spooler("doctor", *where, "--json", expect=code).json
    (problem,) = (one for one in answer["findings"] if one["level"] == "problem")
    assert what in problem["what"]
    assert problem["mend"]
    assert problem["where"] == f"{file}, [http]"
    file.write_text(f'[http]\nlisten = ""\ntoken-file = "{token}"\n')
    spooler("doctor", *where, "--json")


@pytest.mark.parametrize(("mode", "told"), [(0o666, True), (0o604, True), (0o640, False), (0o400, False)])
def test_a_token_that_everybody_may_read(
    spooler: Runner, target: str, tmp_path: Path, mode: int, told: bool
) -> None:
    """It guards nothing; whoever asks by it may share it in a group. It is not shown."""
    token, file = tmp_path / "token", tmp_path / "c.toml"
    token.write_text("geheim")
    token.chmod(mode)
    file.write_text(f'[http]\ntoken-file = "{token}"\n')
    ended = spooler("doctor", "--config", file, "--target", target, "--json")
    assert "geheim" not in ended.out
    assert any(f"its mode is {mode:04o}" in what for what in findings(ended.json, "warning")) == told


def test_on_postgres(spooler: Runner, target: str, postgres_url: str) -> None:
    """The database's own settings are told."""
    answer = spooler("doctor", "--spool", postgres_url, "--target", target, "--json").json
    assert any(what.startswith("fsync is off") for what in findings(answer, "warning"))


def test_a_database_set_read_only(spooler: Runner, target: str, postgres_url: str) -> None:
    """It is refused."""
    url = postgres_url + "&options=-c%20default_transaction_read_only%3Don"
    answer = spooler("doctor", "--spool", url, "--target", target, "--json", expect=78).json
    assert "read-only" in findings(answer, "problem")[0]


@pytest.mark.parametrize("command", ["drain", "worker"])
@pytest.mark.parametrize(("version", "told"), [((3, 40, 1), True), ((3, 51, 3), False)])
def test_start_up_tells_of_the_race(
    command: str,
    version: tuple[int, int, int],
    told: bool,
    spooler: Runner,
    target: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`worker` and `drain` log one warning line where SQLite has the race, and none where it has not."""
    monkeypatch.setattr(sqlite_race.has_race, "__defaults__", (version,))
    if command == "worker":

        async def at_once(self: WorkerRun) -> bool:
            return True

        monkeypatch.setattr(WorkerRun, "run", at_once)
    ended = spooler(command, "--target", target)
    lines = [json.loads(line) for line in ended.err.splitlines() if line.startswith("{")]
    risks = [line for line in lines if line["event"] == "risk"]
    assert [line["level"] for line in risks] == ["warning"] * told
    assert all("SQLite" in line["what"] and "3.51.3" in line["mend"] for line in risks)


def test_start_up_on_postgres_has_no_such_risk(
    spooler: Runner, target: str, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the spool is no file nothing is told of SQLite."""
    monkeypatch.setattr(sqlite_race.has_race, "__defaults__", ((3, 40, 1),))
    ended = spooler("drain", "--spool", postgres_url, "--target", target, "--processes", "1")
    assert '"risk"' not in ended.err
