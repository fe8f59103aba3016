"""`lmtp --spool`: the message goes into the spool, and workers deliver it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from spooler.cli.enqueue import acknowledge
from spooler.cli.lmtp_asked import NAME
from spooler.cli.lmtp_envelope import supplies
from spooler.cli.options import load
from spooler.errors import UsageError
from spooler.ident import now_us
from spooler.intake.normalise import take_in
from spooler.intake.submit import Options, address_to, make_message
from spooler.intake.supplying import complete
from spooler.spool.store import Store

if TYPE_CHECKING:
    from spooler.cli.lmtp_asked import Asked
    from spooler.cli.lmtp_envelope import Envelope
    from spooler.config import Config


_OTHERS = "the spool's routes say where mail goes, and how"


def queue(asked: Asked, envelope: Envelope, config: Config) -> int:
    """Queue the message and print its id once it is safe. Raises SpoolerError."""
    tls = (
        *(asked.tls, asked.tls_level, asked.tls_implicit, asked.tls_fingerprint, asked.tls_name),
        *(asked.tls_ca, asked.tls_cert, asked.tls_key, envelope.named.key),
    )
    for given, option in (
        (asked.place is not None, "-d DEST"),
        (asked.server is not None, "-s"),
        (asked.port, "-p"),
        (asked.authenticate or asked.user or asked.credentials or asked.auth_plain, "-a"),
        (any(tls), "TLS"),
        (asked.debug, "--debug"),
        (asked.raw, "--raw"),
    ):
        if given:
            raise UsageError(f"{option} does not go with --spool", hint=_OTHERS)
    settings = load(asked.spool or os.environ.get("SPOOLER_SPOOL"), asked.config)
    now = now_us()
    addressees = address_to(envelope.named.recipients, config=settings.config)
    supplied = supplies(asked, envelope.sender, config)
    assert supplied is not None, "--raw was refused"
    with Store.open(settings.url) as store:
        content = take_in(
            complete(envelope.blocks(), supplied),
            store_chunks=lambda chunks: store.store_chunks(chunks, now=now_us()),
        )
        message = make_message(envelope.sender, addressees, content, Options(), now=now)
        (answer,) = store.enqueue([message], now=now)
    acknowledge(answer, addressees, size=content.size, as_json=asked.as_json, name=NAME)
    return os.EX_OK
