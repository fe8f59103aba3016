"""`drain` as a job: which mail, how fast, until when, and what is said of it, by real processes."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import subprocess
import termios
import time
from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from spooler.envelope import NewRecipient
from spooler.ident import now_us
from spooler.spool.store import Store
from tests.servers.own_sink import own_sink
from tests.servers.process import SPOOLER, children
from tests.spool.making import message
from tests.supervise.command import running

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.own_sink import OwnSink


TRIES = 3  # for what holds unless the machine stands still meanwhile


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str:
    """An empty spool; on Postgres two processes drain it."""
    found: str = request.getfixturevalue(f"{request.param}_url")
    return found


def _put(url: str, count: int, *, job: str = "", defer: int = 0) -> list[str]:
    """Put messages in; returns their recipients, of which the sink is to defer `defer`."""
    addresses = [f"{'later' if n < defer else 'user'}{n}.{job or 'none'}@example.org" for n in range(count)]
    with Store.open(url) as store:
        store.enqueue([message(address, job=job) for address in addresses], now=now_us())
    return addresses


def _drain(url: str, sink: OwnSink, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(*SPOOLER, "drain", "--spool", url, "--target", sink.tcp, "--log-level", "error"),
            *(["--processes", "2"] if url.startswith("postgres") else []),
            *more,
        ],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_job_alone(url: str, tmp_path: Path) -> None:
    """Its mail is delivered once, all other stays; three reports say so, to the recipient."""
    june = _put(url, 500, job="june", defer=7)
    _put(url, 300, job="july")
    _put(url, 300)
    files = [tmp_path / f"june.{kind}" for kind in ("txt", "json", "html")]
    with own_sink("--defer", "later*", record=True) as sink:
        options = [word for file in files for word in ("--report", str(file))]
        ended = _drain(url, sink, "--job", "june", "--json", *options)
        assert ended.returncode == 75, ended.stderr
        assert sink.copies() == Counter(june[7:])
    said = json.loads(files[1].read_text())
    assert json.loads(ended.stdout) == said
    assert (said["job"], said["total"], said["left"]) == ("june", 500, 7)
    assert said["outcomes"] == {"delivered": 493, "failed": 0, "expired": 0, "deferred": 7}
    assert said["why"] == "nothing was due any more"
    assert said["delivery"]["count"] == said["course"][-1]["ended"] == 493
    ((reason),) = said["reasons"]
    assert (reason["outcome"], reason["count"], reason["code"]) == ("deferred", 7, 451)
    assert ended.stderr.splitlines()[-3:] == files[0].read_text().splitlines()
    assert "493 delivered, 7 deferred" in files[0].read_text()
    assert ">493</div>" in files[2].read_text()
    with Store.open(url) as store:
        assert store.job_left(["default"], "july")["default"].count == 300
        assert store.left() == 607


def test_until_a_job_is_empty(url: str) -> None:
    """What is deferred is waited for; mail of others that comes due meanwhile is left alone."""
    june = _put(url, 40, job="june", defer=5)
    _put(url, 40)
    with own_sink("--defer", "later*", "--times", "1", record=True) as sink:
        ended = _drain(url, sink, "--job", "june")
        assert ended.returncode == 75
        retried = subprocess.run(
            [*SPOOLER, "queue", "retry", "--spool", url, "--job", "june"], check=True, capture_output=True
        )
        assert b"5 recipients" in retried.stdout
        assert _drain(url, sink, "--job", "june", "--until-empty").returncode == 0
        assert sink.copies() == Counter(june)
    with Store.open(url) as store:
        assert store.left() == 40


def test_mail_of_a_job_on_a_route_that_is_not_served(url: str) -> None:
    """It is told that not all of it is done, however long it waits; with --route it was not asked for."""
    _put(url, 20, job="june")
    with Store.open(url) as store:
        store.enqueue([message(NewRecipient(address="far@x", route="far"), job="june")], now=now_us())
    with own_sink(record=True) as sink:
        ended = _drain(url, sink, "--job", "june", "--until-empty", "--json")
        assert ended.returncode == 75, ended.stderr
        said = json.loads(ended.stdout)
        assert (said["total"], said["left"], said["why"]) == (21, 1, "nothing was due any more")
        assert "on a route that is paused, down or not configured here" in ended.stderr
        assert _drain(url, sink, "--job", "june", "--route", "default").returncode == 0


@pytest.mark.parametrize("signals", [[signal.SIGTERM] * 2, [signal.SIGHUP]])
def test_asked_to_stop_once(url: str, tmp_path: Path, signals: list[signal.Signals]) -> None:
    """timeout(1) signals a child, and then its group: one request; so is a terminal that is gone."""
    _put(url, 300)
    report = tmp_path / "report.json"
    with own_sink("--delay", "final=1", record=True) as sink:
        where = ("drain", "--spool", url, "--target", sink.tcp, "--report", str(report))
        more = ("--processes", "2") if url.startswith("postgres") else ()
        with running(tmp_path / "log", *where, *more) as drain:
            drain.until(lambda: sink.copies().total() > 0)
            for number in signals:
                drain.process.send_signal(number)
            assert drain.ends() == 75
    said = json.loads(report.read_text())
    assert (said["why"], said["uncertain"]) == ("it was stopped", 0)
    with Store.open(url) as store:
        assert store.workers() == []


@pytest.mark.parametrize("more", [(), ("--log-level", "info"), ("--json",)])
def test_a_terminal_that_is_gone(sqlite_url: str, tmp_path: Path, more: tuple[str, ...]) -> None:
    """It ends in order, with its report, though nobody can be told any more."""
    _put(sqlite_url, 300)
    report = tmp_path / "report.json"
    ours, theirs = pty.openpty()
    with own_sink("--delay", "final=0.5", record=True) as sink:
        argv = [*SPOOLER, "drain", "--spool", sqlite_url, "--target", sink.tcp, "--report", str(report)]
        with subprocess.Popen(
            [*argv, *more],
            stdin=theirs,
            stdout=subprocess.DEVNULL,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # of one thread
        ) as drain:
            os.close(theirs)
            deadline = time.monotonic() + 30
            while not sink.copies() and time.monotonic() < deadline:
                time.sleep(0.02)
            os.close(ours)
            assert drain.wait(30) == 75
    assert json.loads(report.read_text())["why"] == "it was stopped"


def test_a_process_that_died_is_told(postgres_url: str) -> None:
    """What it did last is missing in the report, which says so; the ledger has all."""
    _put(postgres_url, 3000)
    with own_sink("--delay", "final=0.05", record=True) as sink:
        where = ("--spool", postgres_url, "--target", sink.tcp, "--processes", "2", "--json")
        argv = [*SPOOLER, "drain", *where]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as drain:
            while sink.copies().total() < 50:
                time.sleep(0.02)
            os.kill(children(drain.pid)[0], signal.SIGKILL)
            out, err = drain.communicate(timeout=90)
    assert json.loads(out)["deaths"] == 1
    assert "1 process died while it drained" in err


def _paced(log: Path, url: str, sink: OwnSink, *more: str) -> tuple[list[tuple[float, int]], float]:
    """Drain all, 200 recipients a second at most; returns when claims were made, in seconds from when the
    first process stood, with their recipients, and how long they took."""
    words = ("drain", "--spool", url, "--target", sink.tcp, "--max-rate", "200", "--log-level", "debug")
    with running(log, *words, *(["--processes", "2"] if url.startswith("postgres") else []), *more) as drain:
        assert drain.ends() == 0
    began = min(_when(line) for line in drain.lines("worker", state="started"))
    claims = sorted((_when(line) - began, line["recipients"]) for line in drain.lines("claimed"))
    return claims, claims[-1][0] - claims[0][0]


def _when(line: dict[str, Any]) -> float:
    return datetime.fromisoformat(line["timestamp"]).timestamp()


def test_no_faster_than_asked(url: str, tmp_path: Path) -> None:
    """Over all processes together; and hardly slower, unless the machine stands still."""
    with own_sink() as sink:
        for attempt in range(TRIES):
            _put(url, 400)
            report = tmp_path / f"{attempt}.json"
            claims, took = _paced(tmp_path / f"{attempt}.log", url, sink, "--report", str(report))
            assert sum(count for _, count in claims) == 400
            assert took >= 1.4  # 2 s; each process may claim a fifth of a second's worth at once
            for start, _ in claims:
                within = sum(count for at, count in claims if start <= at < start + 1)
                assert within <= 200 + 2 * 40, "of a second and two bursts"
            said = json.loads(report.read_text())
            assert said["max_rate"] == 200
            if took <= 5.0 and said["best"] <= 200 * 1.5:
                break
        else:
            pytest.fail(f"slower than asked, or in bursts, {TRIES} times: {took} s, {said['best']} a second")


def test_the_rate_climbs(sqlite_url: str, tmp_path: Path) -> None:
    """With --ramp the beginning is gentle, and more follows."""
    with own_sink() as sink:
        for attempt in range(TRIES):
            _put(sqlite_url, 300)
            claims, took = _paced(tmp_path / f"{attempt}.log", sqlite_url, sink, "--ramp", "2s")
            claimed = 0
            for at, count in claims:
                claimed += count
                climbing = min(at, 2)  # from a tenth of the rate to all of it
                most = 200 * (0.1 * climbing + 0.9 * climbing**2 / 4 + at - climbing)
                assert claimed <= most + 40, f"and a burst, at {at} s"
            assert claimed == 300
            seconds = Counter[int]()
            for at, count in claims:
                seconds[int(at - claims[0][0])] += count
            if seconds[0] < 120 < seconds[1] + 20:
                break
        else:
            pytest.fail(f"it did not climb, {TRIES} times: {seconds} in {took} s")


def test_until_a_deadline(url: str) -> None:
    """When its time has come it ends in order, says so, and what is left is nobody's."""
    _put(url, 1000)
    with own_sink(record=True) as sink:
        began = time.monotonic()
        ended = _drain(url, sink, "--max-rate", "60", "--deadline", "10s", "--json")
        took = time.monotonic() - began
        copies = sink.copies().total()
    assert ended.returncode == 75, ended.stderr
    assert took < 22
    said = json.loads(ended.stdout)
    assert said["why"] == "its deadline came"
    assert said["left"] == 1000 - copies
    assert 0 < copies <= 60 * 10 + 40
    with Store.open(url) as store:
        assert store.workers() == []
        assert {row.state.value: row.count for row in store.stats()} == {
            "waiting": 1000 - copies,
            "delivered": copies,
        }


def test_quiet_it_counts_for_a_report_all_the_same(url: str, tmp_path: Path) -> None:
    """--quiet says nothing on standard error, and --report has everything."""
    _put(url, 50)
    path = tmp_path / "report.json"
    with own_sink(record=True) as sink:
        ended = _drain(url, sink, "--quiet", "--report", str(path))
    assert (ended.returncode, ended.stderr) == (0, "")
    said = json.loads(path.read_text())
    assert said["outcomes"]["delivered"] == said["delivery"]["count"] == 50


def test_stopped_by_a_signal_it_reports_all_the_same(sqlite_url: str, tmp_path: Path) -> None:
    """Whoever interrupts a drain wants to know how far it came."""
    _put(sqlite_url, 1000)
    path = tmp_path / "report.json"
    with own_sink(record=True) as sink:
        words = ("drain", "--spool", sqlite_url, "--target", sink.tcp, "--max-rate", "50")
        with running(tmp_path / "log", *words, "--report", str(path)) as drain:
            drain.until(lambda: len(drain.lines("transaction")) > 20)
            os.kill(drain.process.pid, signal.SIGINT)
            assert drain.ends() == 75
        copies = sink.copies().total()
    said = json.loads(path.read_text())
    assert said["why"] == "it was stopped"
    assert said["outcomes"]["delivered"] == copies == 1000 - said["left"]


def test_only_one_route(url: str, tmp_path: Path) -> None:
    """The other is not touched, and what is left of it does not count."""
    config = tmp_path / "spooler.toml"
    with own_sink(record=True) as sink:
        config.write_text(
            f'spool = {json.dumps(url)}\n[routes.one]\ndestinations = ["{sink.tcp}"]\n'
            f'[routes.two]\ndestinations = ["{sink.tcp}"]\n[domains]\n"two.example" = "two"\n'
            '"one.example" = "one"\n'
        )
        for domain in ("one.example", "two.example"):
            subprocess.run(
                [*SPOOLER, "enqueue", "--config", str(config), "-f", "a@example.org", f"b@{domain}"],
                input=b"Subject: x\n\nx\n",
                check=True,
            )
        done = subprocess.run(
            [*SPOOLER, "drain", "--config", str(config), "--route", "two", "--json"],
            check=False,
            capture_output=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        assert sink.copies() == Counter(["b@two.example"])
    assert [route["name"] for route in json.loads(done.stdout)["routes"]] == ["two"]
