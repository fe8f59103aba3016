"""Certificates for tests: an authority, and what it signs for servers on this machine and their clients."""

from __future__ import annotations

import datetime as dt
import ssl
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import trustme

if TYPE_CHECKING:
    from pathlib import Path

HOST = "store.test"


@dataclass(frozen=True, slots=True)
class Files:
    """PEM files: `server` and `client` hold a certificate, its chain and its key."""

    ca: Path
    other_ca: Path
    server: Path
    """For localhost and 127.0.0.1."""
    named: Path
    """For `HOST` and nobody else."""
    expired: Path
    """For localhost, until yesterday."""
    client: Path


@cache
def authority() -> trustme.CA:
    """The one that tests trust."""
    return trustme.CA()


@cache
def stranger() -> trustme.CA:
    """One that nobody was told to trust."""
    return trustme.CA()


def write_files(folder: Path) -> Files:
    """Write them all into a folder that other users can pass through: servers run as such."""
    ca = authority()
    yesterday = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    files = Files(*(folder / f"{name}.pem" for name in Files.__dataclass_fields__))
    ca.cert_pem.write_to_path(str(files.ca))
    stranger().cert_pem.write_to_path(str(files.other_ca))
    for path, names, until in (
        (files.server, ("localhost", "127.0.0.1"), None),
        (files.named, (HOST,), None),
        (files.expired, ("localhost", "127.0.0.1"), yesterday),
        (files.client, ("client@client.test",), None),
    ):
        issued = ca.issue_cert(*names, not_after=until)
        issued.private_key_and_cert_chain_pem.write_to_path(str(path))
    return files


def server_context(certificate: Path, *, clients: Path | None = None) -> ssl.SSLContext:
    """A server's side; with `clients` it wants a certificate of that authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF  # set by Python before 3.11.4
    context.load_cert_chain(certificate)
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(clients)
    return context
