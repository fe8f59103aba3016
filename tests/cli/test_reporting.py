"""The end of a drain: in words, as a record, as a page; and its course."""

from __future__ import annotations

import errno
import os
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import msgspec
import pytest

from spooler.cli import reporting
from spooler.cli.progress import TELL_EVERY, Following
from spooler.errors import CannotCreateError, UsageError
from spooler.events import DrainProgress, Event, Settled
from spooler.histogram import QUICK, Histogram
from spooler.ops.course import MOST, Course
from spooler.ops.errors import Errors
from spooler.ops.metrics import Metrics
from spooler.ops.report import DrainReport, Times, Why, sum_up
from spooler.result import Outcome
from spooler.supervise import Report
from tests.ops.test_metrics import result

if TYPE_CHECKING:
    from pathlib import Path


_SAID = {
    Outcome.DELIVERED: (250, "2.0.0"),
    Outcome.DEFERRED: (452, "4.2.2"),
    Outcome.FAILED: (550, "5.1.1"),
}


def report(
    *outcomes: Outcome, left: int | None = 0, down: str = "", text: str = "mailbox full"
) -> DrainReport:
    """What a drain of some recipients comes to that took two seconds."""
    metrics, errors, course = Metrics(), Errors(), Course()
    results = []
    for n, outcome in enumerate(outcomes):
        code, enhanced = _SAID[outcome]
        said = "" if outcome is Outcome.DELIVERED else text
        results.append(msgspec.structs.replace(result(n, outcome, enhanced=enhanced), code=code, text=said))
    metrics(Settled(results, 0, 1000))
    counts = metrics.take()
    errors.add(counts.errors)
    ended = sum(outcome is not Outcome.DEFERRED for outcome in outcomes)
    course.add(1.0, ended=ended // 2, deferred=0)
    course.add(2.0, ended=ended, deferred=len(outcomes) - ended, last=True)
    return sum_up(
        counts,
        errors.top(20),
        course,
        down={"default": down} if down else {},
        version="1.2.3",
        job="june",
        began=1_800_000_000_000_000,
        took=2_000_000,
        why=Why.DONE,
        max_rate=None,
        total=len(outcomes),
        left=left,
    )


SOME = (*[Outcome.DELIVERED] * 97, *[Outcome.DEFERRED] * 2, Outcome.FAILED)


def test_in_words() -> None:
    """Counts, rate and what is left in the first line; then times, then why."""
    first, times, *reasons = reporting.words(report(*SOME, left=2))
    assert first == (
        "97 delivered, 2 deferred, 1 failed in 2.0 s, 50 recipients/s; 2 left: deferred, in another "
        "worker's hands, or on a route that is paused, down or not configured here; see spooler queue stats"
    )
    assert times.startswith("half within: from enqueued to delivered ")
    assert [line.partition(":")[0] for line in reasons] == ["2 deferred", "1 failed"]
    assert all("mailbox full (unix:/x, at final)" in line for line in reasons)


def test_what_the_figures_do_not_say() -> None:
    """Mail that waits for a person, and what is missing because a process died."""
    said = msgspec.structs.replace(report(*SOME, left=0), held=2, deaths=1)
    _, held, died, *_rest = reporting.words(said)
    assert held == "deferred: 2 of these are held until a person decides: spooler queue list --state held"
    assert died.startswith("1 process died while it drained: what was done last is in the ledger, not in ")
    page = reporting.html(said)
    assert "2 of the deferred are held until a person decides." in page
    assert "Processes died (1)" in page


def test_nothing_was_delivered() -> None:
    """Times of nothing are none, and no five days."""
    assert report(*[Outcome.DEFERRED] * 3).delivery == Times(count=0, mean=0, p50=0, p90=0, p95=0, p99=0)


def test_a_drain_cut_short_says_so() -> None:
    """What is left then was not tried, perhaps: no other reason is made up."""
    cut = msgspec.structs.replace(report(left=7), why=Why.DEADLINE)
    (first,) = reporting.words(cut)
    assert first.endswith("7 left: its deadline came, not all was tried; the same command goes on with it")


def test_nothing_left_needs_no_words() -> None:
    """An empty spool is told in short, and so is one that could not be asked."""
    (first,) = reporting.words(msgspec.structs.replace(report(), job=""))
    assert first == "nothing to do in 2.0 s; 0 left"
    (of_job,) = reporting.words(report())  # whose name is mistaken, perhaps
    assert of_job == "nothing to do, as nothing of job june is queued and not held, in 2.0 s; 0 left"
    (second,) = reporting.words(report(left=None))
    assert second.endswith("; unknown left")


def test_a_servers_words_are_escaped() -> None:
    """They move no cursor, make no line and are no markup."""
    strange = report(Outcome.FAILED, text="no\n\x1b[2J<script>alert(1)</script>")
    lines = list(reporting.words(strange))
    assert lines[-1].startswith("1 failed: 550 5.1.1 no\\n\\x1b[2J<script>")
    page = reporting.html(strange)
    assert "<script" not in page
    assert "no\\n\\x1b[2J&lt;script&gt;" in page
    down = report(Outcome.DELIVERED, down="no\n\x1b[2Jforged")
    assert list(reporting.words(down))[-1] == "route default is down: no\\n\\x1b[2Jforged"


def test_as_a_record() -> None:
    """Times are RFC 3339 and seconds, ids as people see them, and the numbers add up."""
    said = msgspec.json.decode(reporting.json(report(*SOME, left=2)))
    assert (said["job"], said["began"], said["took"]) == ("june", "2027-01-15T08:00:00.000000Z", 2.0)
    assert said["outcomes"] == {"delivered": 97, "failed": 1, "expired": 0, "deferred": 2}
    assert said["delivery"]["count"] == 97
    assert 0 < said["delivery"]["p50"] <= said["delivery"]["p99"] <= 5.0
    assert [reason["count"] for reason in said["reasons"]] == [2, 1]
    assert said["course"][-1] == {"at": 2.0, "ended": 98, "deferred": 2}
    assert len(said["reasons"][0]["message_id"]) == 13


class _Outline(HTMLParser):
    """What is in a page, and whether each element that was begun was ended."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take the begin of an element."""
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag != "meta":  # which has no end
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Take its end."""
        assert self.open.pop() == tag


@pytest.mark.parametrize("some", [SOME, ()])
def test_as_a_page(some: tuple[Outcome, ...]) -> None:
    """It is whole, has nothing from outside, both charts, and the numbers in words."""
    page = reporting.html(report(*some, left=2))
    outline = _Outline()
    outline.feed(page)
    assert outline.open == []
    assert outline.links == []
    assert "url(" not in page
    assert page.count("<polyline") == 2
    assert "prefers-color-scheme: dark" in page
    assert ">2 left<" in page
    if some:
        assert re.search(r">97</div><div class=\"more\">of 100 that were there", page)


def test_a_file_that_cannot_be_written_is_told_before_anything_is_done(tmp_path: Path) -> None:
    """And so is a kind that there is not."""
    with pytest.raises(UsageError, match=r"what kind of report"):
        reporting.check_paths((tmp_path / "report.pdf",))
    with pytest.raises(CannotCreateError, match="cannot be written: No such file"):
        reporting.check_paths((tmp_path / "nowhere" / "report.txt",))
    earlier = tmp_path / "earlier.txt"
    earlier.write_text("of the last drain")
    reporting.check_paths((earlier, tmp_path / "new.html"))
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [
        ("earlier.txt", "of the last drain")
    ]


def test_quantiles() -> None:
    """Between the bounds of their bucket, and never above the greatest value."""
    times = Histogram()
    assert times.quantile(0.5, QUICK) == 0
    times.observe([3000] * 50 + [7000] * 50, QUICK)
    assert 2500 < times.quantile(0.25, QUICK) < 5000
    assert times.quantile(0.5, QUICK) == 5000
    assert 5000 < times.quantile(0.99, QUICK) <= 7000
    assert times.quantile(1, QUICK) == 7000
    times = Histogram()
    times.observe([10**12], QUICK)
    assert QUICK[-1] < times.quantile(0.5, QUICK) < times.quantile(1, QUICK) == 10**12
    other = Histogram()
    other.observe([500], QUICK)
    other.add(times)
    assert other.quantile(1, QUICK) == 10**12


def test_a_report_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the disk is full in the end, the last one stays, all else is told, and the exit code says so."""
    earlier, other = tmp_path / "june.html", tmp_path / "june.txt"
    earlier.write_text("of the last drain")

    def full(self: Path, text: str, **more: object) -> None:
        with self.open("w") as file:
            file.write(text[:10])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(type(earlier), "write_text", full)
        with pytest.raises(CannotCreateError, match="cannot be written: No space left"):
            reporting.tell(report(), quiet=True, as_json=False, paths=(earlier, other))
    assert earlier.read_text() == "of the last drain"
    assert list(tmp_path.iterdir()) == [earlier]
    earlier.chmod(0o600)
    reporting.tell(report(), quiet=True, as_json=False, paths=(earlier, other))
    assert "<svg" in earlier.read_text()
    assert earlier.stat().st_mode & 0o777 == 0o600
    assert sorted(tmp_path.iterdir()) == [earlier, other]


def test_a_report_goes_where_a_link_leads(tmp_path: Path) -> None:
    """The link stays one."""
    real, link = tmp_path / "june.txt", tmp_path / "last.txt"
    link.symlink_to(real)
    reporting.tell(report(), quiet=True, as_json=False, paths=(link,))
    assert link.is_symlink()
    assert "2.0 s" in real.read_text()


def test_a_file_that_cannot_be_replaced_is_written_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that is mounted by itself."""
    path = tmp_path / "june.txt"

    def busy(self: Path, target: Path) -> Path:
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))

    monkeypatch.setattr(type(path), "replace", busy)
    reporting.tell(report(), quiet=True, as_json=False, paths=(path,))
    assert "2.0 s" in path.read_text()
    assert list(tmp_path.iterdir()) == [path]


def test_a_course_stays_short() -> None:
    """However long it goes on: points thin out, the first and the last stay."""
    course = Course()
    for step in range(1, 100_001):
        course.add(step / 4, ended=step * 10, deferred=step)
    course.add(25_000.1, ended=10**6, deferred=10**5, last=True)
    assert len(course.points) <= MOST + 1
    assert (course.points[0].at, course.points[-1].at) == (0.0, 25_000.1)
    assert course.rate(1000.0) == pytest.approx(40, rel=0.01)
    assert course.best() == pytest.approx(40, rel=0.2)
    assert Course().rate(10.0) == Course().best() == 0.0


def test_progress_is_told_where_there_is_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every ten seconds, with how long it takes at the rate of these."""
    told: list[Event] = []
    at = 0.0
    monkeypatch.setattr("spooler.cli.progress.monotonic", lambda: at)
    following = Following(lambda _: None, told.append)
    for step in range(1, 101):
        at = step * TELL_EVERY / 20
        following(Report(outcomes={"delivered": step * 10, "deferred": 3}, total=2000))
    assert [event.ended for event in told if isinstance(event, DrainProgress)] == [200, 400, 600, 800, 1000]
    assert isinstance(told[-1], DrainProgress)
    assert told[-1].rate == pytest.approx(20)
    assert told[-1].seconds_left == pytest.approx(50)
