"""`spooler enqueue`: one message from standard input to any number of recipients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

import click

from spooler.address import check_recipient, check_sender, show
from spooler.cli.main import telling
from spooler.cli.message_options import MessageWords, message_options, read_words
from spooler.cli.options import json_option, load, spool_options
from spooler.cli.render import print_json
from spooler.cli.standard_input import standard_input
from spooler.cli.values import FILE, TEXT
from spooler.errors import DataError, NoInputError, UsageError
from spooler.ident import format_id, now_us
from spooler.intake.normalise import MAX_SIZE, take_in
from spooler.intake.submit import address_to, make_message

if TYPE_CHECKING:
    from pathlib import Path

    from spooler.envelope import Enqueued
    from spooler.intake.submit import Addressees


@click.command("enqueue")
@spool_options
@click.option(
    "-f", "--from", "sender", required=True, metavar="SENDER", help="Envelope sender; '<>' for none."
)
@click.option(
    "--recipients-file",
    type=FILE,
    metavar="FILE",
    help="Recipients, one a line; empty lines and lines that begin with # do not count.",
)
@message_options
@click.option(
    "--idempotency-key", type=TEXT, metavar="KEY", help="A message with the same key is queued only once."
)
@click.option(
    "--max-size",
    type=click.IntRange(min=1),
    default=MAX_SIZE,
    show_default=True,
    metavar="BYTES",
    help="Refuse a larger message.",
)
@json_option
@click.argument("recipients", nargs=-1, metavar="[RECIPIENT]...")
def command(
    *,
    spool: str | None,
    config: Path | None,
    sender: str,
    recipients_file: Path | None,
    recipients: tuple[str, ...],
    idempotency_key: str | None,
    max_size: int,
    as_json: bool,
    **words: Unpack[MessageWords],
) -> None:
    """Queue the message on standard input; print its id once it is safe.

    \b
    spooler enqueue -f news@example.org a@example.com b@example.com < message.eml
    """
    settings = load(spool, config)
    now = now_us()
    wishes = read_words(words, config=settings.config, now=now, idempotency_key=idempotency_key)
    check_sender(sender)
    addresses = list(recipients)
    if recipients_file is not None:
        addresses += read_recipients(recipients_file)
    if not addresses:
        raise UsageError("no recipient is named", hint="name them as arguments or with --recipients-file")
    addressees = address_to(addresses, config=settings.config, route=wishes.route, notify=wishes.notify)

    from spooler.spool.store import Store

    with Store.open(settings.url) as store:
        content = take_in(
            standard_input("spooler"),
            store_chunks=lambda chunks: store.store_chunks(chunks, now=now_us()),
            max_size=max_size,
        )
        message = make_message(sender, addressees, content, wishes.options, now=now)
        (answer,) = store.enqueue([message], now=now)
    acknowledge(answer, addressees, size=content.size, as_json=as_json, name="spooler")


def acknowledge(answer: Enqueued, addressees: Addressees, *, size: int, as_json: bool, name: str) -> None:
    """Print what is safe now, as the command `name`; raises StorageError where that cannot be written."""
    ident = format_id(answer.id)
    with telling(f"message {ident} is queued, but that"):
        if answer.duplicate:
            click.echo(
                f"{name}: this idempotency key is known: nothing was queued, the id is that message's",
                err=True,
            )
        elif addressees.repeated:
            click.echo(f"{name}: recipients named more than once: {addressees.repeated} left out", err=True)
        if as_json:
            report = {
                "id": ident,
                "duplicate": answer.duplicate,
                "recipients": len(addressees.recipients),
                "repeated": addressees.repeated,
                "size": size,
            }
            print_json(report)
        else:
            click.echo(ident)


def read_recipients(path: Path) -> list[str]:
    """Read a file of recipients. Raises NoInputError, and DataError that names the first bad line."""
    try:
        text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise NoInputError(
            f"recipients file {show(str(path), 300)} cannot be read: {why}", hint="check the path"
        ) from None
    addresses, faults = [], []
    for number, line in enumerate(text.split("\n"), 1):
        address = line.strip()
        if not address or address.startswith("#"):
            continue
        try:
            addresses.append(check_recipient(address))
        except DataError as error:
            faults.append((number, error))
    if faults:
        number, first = faults[0]
        more = f"; so are {len(faults) - 1} more lines" if len(faults) > 1 else ""
        raise DataError(
            f"recipients file {show(str(path), 300)}, line {number}: {first.what}{more}",
            hint="nothing was queued; mend the file and repeat",
        )
    return addresses
