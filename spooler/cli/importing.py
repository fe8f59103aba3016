"""`spooler import`: queues what stands in message files, and says what it did not take, and why."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import click

from spooler.address import check_sender, show
from spooler.cli.message_options import MessageWords, message_options, read_words
from spooler.cli.options import json_option, load, spool_options
from spooler.cli.render import human_size, plural, print_json
from spooler.cli.values import FILE
from spooler.errors import NoInputError
from spooler.ident import now_us
from spooler.intake.importer import Importer, ImportPlan, Report
from spooler.intake.normalise import MAX_SIZE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@click.command("import")
@spool_options
@click.option(
    "-f",
    "--from",
    "sender",
    metavar="SENDER",
    help="Envelope sender; '<>' for none.  [default: from the header]",
)
@click.option(
    "-t",
    "--to",
    "recipients",
    multiple=True,
    metavar="RECIPIENT",
    help="Recipient of each message; repeatable.",
)
@click.option(
    "--recipients-from",
    type=click.Choice(["delivered", "to"]),
    default="delivered",
    show_default=True,
    help="Without -t, which header names recipients: what delivery wrote, or also To and Cc.",
)
@message_options
@click.option(
    "--max-size",
    type=click.IntRange(min=1),
    default=MAX_SIZE,
    show_default=True,
    metavar="BYTES",
    help="Refuse a larger message.",
)
@click.option("--again", is_flag=True, help="Also take what was imported before.")
@json_option
@click.argument("paths", nargs=-1, required=True, type=FILE, metavar="PATH...")
def command(
    *,
    spool: str | None,
    config: Path | None,
    sender: str | None,
    recipients: tuple[str, ...],
    recipients_from: str,
    max_size: int,
    again: bool,
    as_json: bool,
    paths: tuple[Path, ...],
    **words: Unpack[MessageWords],
) -> int:
    """Queue the messages in files and folders.

    A folder with cur, new and tmp is a Maildir, any other is read with all its sub-folders; a file that
    begins with "From " is an mbox, any other holds one message. Sender and recipients come from the options,
    else from the header: Return-Path; X-Original-To, Delivered-To, X-Envelope-To.

    What was imported before is passed over, so an import that was stopped is simply repeated.

    The exit code is 65 if a message was refused; the others are queued all the same.
    """
    settings = load(spool, config)
    wishes = read_words(words, config=settings.config, now=now_us())
    plan = ImportPlan(
        options=wishes.options,
        config=settings.config,
        sender=None if sender is None else check_sender(sender),
        recipients=recipients,
        visible=recipients_from == "to",
        notify=wishes.notify,
        route=wishes.route,
        max_size=max_size,
        again=again,
    )

    _check_readable(paths)

    from spooler.spool.store import Store

    with Store.open(settings.url) as store, _progress(paths) as progress:
        report = Importer(store, plan, clock=now_us, progress=progress).run(paths)
    if as_json:
        print_json(report)
    else:
        _tell(report)
    return os.EX_DATAERR if report.refused else os.EX_OK


def _check_readable(paths: tuple[Path, ...]) -> None:
    """Raise NoInputError for what is named and cannot be read; what is not there is found out later."""
    for path in paths:
        try:
            if path.is_dir():
                os.scandir(path).close()
            elif path.is_file():
                path.open("rb").close()
        except OSError as error:
            raise NoInputError(
                f"{show(str(path), 300)} cannot be read: {error.strerror}", hint="check its permissions"
            ) from None


def _tell(report: Report) -> None:
    for refusal in report.refusals:
        place = f" at byte {refusal.offset}" if refusal.offset else ""
        click.echo(f"refused: {show(refusal.path, 300)}{place}: {show(refusal.why, 300)}", err=True)
    if report.refused > len(report.refusals):
        click.echo(f"refused: {report.refused - len(report.refusals)} more", err=True)
    for passed in report.passed_over:
        click.echo(f"passed over: {show(passed.path, 300)}: {passed.why}", err=True)
    what = f"{plural(report.imported, 'message')} for {plural(report.recipients, 'recipient')}"
    parts = [f"imported {what} ({human_size(report.read)} read)"]
    if report.already:
        parts.append(f"{report.already} imported before")
    if report.refused:
        parts.append(f"{report.refused} refused")
    if report.passed:
        parts.append(f"{plural(report.passed, 'file')} passed over")
    click.echo("; ".join(parts))
    if report.already and not report.imported:
        click.echo("spooler: nothing new was found (--again imports it once more)", err=True)


@contextmanager
def _progress(paths: tuple[Path, ...]) -> Iterator[Callable[[Report], None]]:
    """Show a bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("importing"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TextColumn("{task.fields[messages]} messages"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=_size_of(paths), messages=0)
        yield lambda report: bar.update(
            task, completed=report.read, messages=report.imported + report.already
        )


def _size_of(paths: tuple[Path, ...]) -> int:
    """Bytes of all files below; good enough for a bar."""
    total = 0
    for path in paths:
        if path.is_file():
            total += path.stat().st_size
        for folder, _, names in os.walk(path):
            for name in names:
                try:
                    total += (Path(folder) / name).stat().st_size
                except OSError:
                    continue  # the import itself reports it
    return total
