"""The end of a drain: a few words on standard error, and its report where it was asked for."""

from __future__ import annotations

import errno
import os
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from spooler.address import show
from spooler.cli.render import human_duration, plural, print_json, reply_of
from spooler.errors import CannotCreateError, UsageError
from spooler.plain import plain
from spooler.result import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from spooler.ops.errors import ErrorView
    from spooler.ops.report import DrainReport

TOP = 5  # reasons that are told on standard error
_LEFT = (
    "deferred, in another worker's hands, or on a route that is paused, down or not configured here; "
    "see spooler queue stats"
)
_CUT_SHORT = "not all was tried; the same command goes on with it"
# a folder that is not ours to write to, a file that is mounted by itself
_ONLY_IN_PLACE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY)
_WHY_LIMIT = 500  # characters of a server's words


def words(report: DrainReport, *, top: int = TOP) -> Iterator[str]:
    """Tell a report in lines."""
    from spooler.ops.report import Why  # only now: a drain starts sooner

    took = report.took / 1e6
    done = sum(report.outcomes.values())
    parts = [f"{count} {o.value}" for o in Outcome if (count := report.outcomes.get(o, 0))]
    rate = f", {done / took:,.0f} recipients/s" if took > 0 and done else ""
    left = "unknown" if report.left is None else report.left
    cut_short = report.why in (Why.DEADLINE, Why.STOPPED)
    why = f": {f'{report.why}, {_CUT_SHORT}' if cut_short else _LEFT}" if report.left else ""
    nothing = "nothing to do"
    if report.job and report.total == 0:
        nothing += f", as nothing of job {show(report.job)} is queued and not held,"
    yield f"{', '.join(parts) or nothing} in {took:.1f} s{rate}; {left} left{why}"
    yield from notes(report)
    if done:
        yield from _times(report)
    for reason in report.reasons[:top]:
        yield _reason(reason)
    if len(report.reasons) > top:
        yield f"and {plural(len(report.reasons) - top, 'other reason')}: see --report"
    for route in report.routes:
        if route.down:
            yield f"route {show(route.name)} is down: {show(route.down, _WHY_LIMIT)}"


def notes(report: DrainReport) -> Iterator[str]:
    """Say what the figures do not: mail that a person has to look at, and what is missing in them."""
    if report.held:
        those = "one of these is" if report.held == 1 else f"{report.held:,} of these are"
        yield f"deferred: {those} held until a person decides: spooler queue list --state held"
    if report.deaths:
        yield (
            f"{plural(report.deaths, 'process')} died while it drained: what was done last is in the ledger, "
            "not in these figures; see spooler queue stats"
        )


def _times(report: DrainReport) -> Iterator[str]:
    """Say how long it took, for half of them and for nearly all."""
    told = [
        f"{name} {_about(times.p50)} (95 %: {_about(times.p95)})"
        for name, times in (
            ("from enqueued to delivered", report.delivery),
            ("answers of the store", report.answer),
        )
        if times.count
    ]
    if told:
        yield f"half within: {'; '.join(told)}"


def _about(us: int) -> str:
    if us < 1_000_000:
        return f"{us / 1000:.3g} ms"
    return f"{us / 1e6:.3g} s" if us < 100_000_000 else human_duration(us)


def _reason(reason: ErrorView) -> str:
    said = reply_of(reason.code, reason.enhanced, show(reason.text, _WHY_LIMIT))
    where = f" ({show(reason.destination)}, at {reason.stage})" if reason.destination else ""
    return f"{reason.count:,} {reason.outcome}: {said}{where}"


def text(report: DrainReport) -> str:
    """Write it for a file."""
    return "\n".join(words(report, top=len(report.reasons))) + "\n"


def json(report: DrainReport) -> str:
    """Write it for programs."""
    import msgspec

    return msgspec.json.format(msgspec.json.encode(plain(report)), indent=2).decode() + "\n"


def html(report: DrainReport) -> str:
    """Write it as a page."""
    from spooler.ops.report_page import page

    return page(report)


WRITERS: dict[str, Callable[[Any], str]] = {".txt": text, ".json": json, ".html": html}


def check_paths(paths: tuple[Path, ...]) -> None:
    """Raise UsageError or CannotCreateError now, and not when all is done; leave the files as they were."""
    for path in paths:
        if path.suffix not in WRITERS:
            raise UsageError(
                f"--report {show(str(path))}: what kind of report is that?",
                hint=f"let its name end in {', '.join(WRITERS)}",
            )
        try:
            stood = path.exists()
            with path.open("a"):
                pass
            if not stood:  # where the drain is killed no report is plainer than an empty one
                path.unlink()
        except OSError as error:
            raise _cannot(path, error) from None


def tell(report: DrainReport, *, quiet: bool, as_json: bool, paths: tuple[Path, ...]) -> None:
    """Say and write what was asked for; raises CannotCreateError last, where a file cannot be written."""
    said = [] if quiet else list(words(report))
    failed: list[CannotCreateError] = []
    for path in paths:
        try:
            _write(path.resolve(), WRITERS[path.suffix](report))
        except OSError as error:
            failed.append(_cannot(path, error))
    with suppress(OSError):  # a terminal that is gone
        for line in said:
            click.echo(line, err=True)
    if as_json:
        print_json(report)
    if failed:
        raise failed[0]


def _write(path: Path, text: str) -> None:
    """Write a file whole, or leave what stood there: that is a report, too."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(text, encoding="utf-8")
        with suppress(FileNotFoundError):
            shutil.copymode(path, beside)
        beside.replace(path)
    except OSError as error:
        with suppress(OSError):
            beside.unlink()
        if error.errno not in _ONLY_IN_PLACE:
            raise
        path.write_text(text, encoding="utf-8")


def _cannot(path: Path, error: OSError) -> CannotCreateError:
    return CannotCreateError(f"report {show(str(path))} cannot be written: {error.strerror}")
