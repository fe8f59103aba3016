"""`drain --dry-run`, and what `drain` says to options that make no sense."""

from __future__ import annotations

import datetime as dt
import time
from typing import TYPE_CHECKING

import pytest

from spooler.cli.drain import _moment
from spooler.errors import UsageError
from spooler.ident import now_us
from spooler.spool.store import Store
from tests.spool.making import message

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.running import Runner

HOUR = 3_600_000_000


@pytest.fixture
def config(tmp_path: Path, spooler: Runner) -> Path:
    """Two routes, of which one has mail: of two jobs, some of it held."""
    path = tmp_path / "spooler.toml"
    path.write_text(
        '[routes.default]\ndestinations = ["unix:/store"]\nsessions = 7\n'
        '[routes.far]\ndestinations = ["unix:/far"]\n'
    )
    with Store.open(spooler.url) as store:
        june = [message(f"u{n}@x", job="june") for n in range(30)]
        store.enqueue([*june, *(message(f"v{n}@x") for n in range(12))], now=now_us())
    spooler("queue", "hold", "--to", "u3@x")
    return path


def test_a_plan(spooler: Runner, config: Path) -> None:
    """What would be delivered, where to, and how long that takes; nothing is done."""
    ended = spooler("drain", "--config", config, "--dry-run", "--max-rate", "0.5", "--deadline", "1h")
    head, default, far, *said = ended.out.splitlines()
    assert head.split() == [
        *("route", "to", "deliver", "of", "these", "deferred", "with", "workers", "held", "to", "sessions"),
        *("in", "the", "way"),
    ]
    assert default.split() == ["default", "41", "0", "0", "1", "unix:/store", "7"]
    assert far.split()[:2] == ["far", "0"]
    assert said[0] == "41 recipients would be delivered; nothing was done"
    assert said[1] == "at 0.5 a second that takes 1m 22s or more"
    assert said[2].startswith("by 20")
    assert said[2].endswith("Z it takes 0.011 a second")
    with Store.open(spooler.url) as store:
        assert store.left() == 41
        assert store.workers() == []


def test_a_plan_with_a_ramp(spooler: Runner, config: Path) -> None:
    """It takes longer, and a higher rate to be done by the deadline."""
    options = ["--max-rate", "1", "--ramp", "40s", "--deadline", "50s", "--json"]
    planned = spooler("drain", "--config", config, "--dry-run", *options).json
    assert planned["seconds"] == pytest.approx(40 + 41 - 22)  # 22 while it climbs from 0.1 to 1 a second
    assert planned["rate"] == pytest.approx(41 / (22 + 10), rel=0.05)


def test_a_deadline_is_shown_by_the_clock_it_was_read_by(
    spooler: Runner, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever types 06:00 means that of the place."""
    with monkeypatch.context() as there:
        there.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        ended = spooler("drain", "--config", config, "--dry-run", "--deadline", "06:00")
    time.tzset()
    assert " 06:00:00+09:00 it takes " in ended.out


def test_a_deadline_that_has_come(spooler: Runner, config: Path) -> None:
    """No rate would do."""
    planned = spooler("drain", "--config", config, "--dry-run", "--deadline", "0s", "--json").json
    assert planned["rate"] is None


def test_a_plan_of_a_job(spooler: Runner, config: Path) -> None:
    """Its mail alone is counted; a route that is paused, and mail of another route, are named."""
    spooler("route", "pause", "default", "--reason", "moving")
    planned = spooler("drain", "--config", config, "--dry-run", "--job", "june", "--json").json
    assert (planned["dry_run"], planned["job"], planned["recipients"]) == (True, "june", 0)
    (route,) = planned["routes"]
    assert (route["route"], route["waiting"], route["held"], route["paused"]) == ("default", 29, 1, True)
    assert route["obstacle"].startswith("paused by ")
    assert (planned["seconds"], planned["rate"]) == (None, None)
    told = spooler("drain", "--config", config, "--dry-run", "--job", "june").out.splitlines()
    assert told[-2:] == [
        "0 recipients of job june would be delivered; nothing was done",
        "29 recipients of route default would not: it is paused",
    ]
    spooler("route", "resume", "default")
    only = spooler("drain", "--config", config, "--dry-run", "--job", "june", "--route", "far")
    assert "30 recipients of route default would not: it is not drained here" in only.out


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--route", "fra"], 64, "route fra is not configured"),
        (["--job", ""], 64, "'--job': nothing is named."),
        (["--ramp", "1m"], 64, "--ramp says how --max-rate is reached"),
        (["--max-rate", "10", "--ramp", "soon"], 64, "--ramp 'soon' is no duration"),
        (["--max-rate", "0"], 64, "0.0 is not in the range x>0"),
        (["--max-rate", "nan"], 64, "nan is not a finite number"),
        (["--max-rate", "inf"], 64, "inf is not a finite number"),
        (["--deadline", "tomorrow"], 64, "--deadline 'tomorrow' is no time"),
        (["--deadline", "25:00"], 64, "--deadline '25:00' is no time"),
        (["--deadline", "2001-01-01T00:00"], 64, "--deadline 2001-01-01T00:00 is over"),
        (["--dry-run", "--report", "june.txt"], 64, "a dry run has nothing to report"),
        (["--report", "june.pdf"], 64, "--report june.pdf: what kind of report is that?"),
        (["--report", "/nowhere/june.txt"], 73, "report /nowhere/june.txt cannot be written: No such file"),
    ],
)
def test_options_that_make_no_sense(
    spooler: Runner, config: Path, options: list[str], code: int, said: str
) -> None:
    """One line that says what, and the usual code; nothing is begun."""
    ended = spooler("drain", "--config", config, *options, expect=code)
    assert said in ended.err
    assert len(ended.err.splitlines()) <= 3


def test_a_plan_of_a_job_that_is_not_there(spooler: Runner, config: Path) -> None:
    """Its name is said: it may be mistaken."""
    ended = spooler("drain", "--config", config, "--dry-run", "--job", "jnue")
    assert ended.out == "nothing is queued of job jnue; nothing was done\n"


def test_moments() -> None:
    """A duration, a time of the clock that comes next, or a date; of the local clock where none is named."""
    now = now_us()
    assert _moment("90m", now) == now + 90 * 60_000_000
    assert 0 < _moment("06:00", now) - now <= 25 * HOUR  # a day that is longer, in autumn
    local = dt.datetime.fromtimestamp(_moment("06:00", now) / 1e6).astimezone()
    assert (local.hour, local.minute) == (6, 0)
    assert _moment("2100-01-01T00:00:00+00:00", now) == 4_102_444_800_000_000
    with pytest.raises(UsageError, match="is no time"):
        _moment("2100-13-01", now)
