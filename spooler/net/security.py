"""What protects connections to one destination: the loaded form of `Tls` and `Account`.

Files are looked at for each connection, and read again when they have changed: certificates and secrets
are renewed under a running worker. Nothing here waits for a network; reading is from local disks.
"""

from __future__ import annotations

import ssl
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from spooler.errors import DataError, NoInputError, SpoolerError
from spooler.tls import PLAIN, Tls, TlsLevel, accepted_names

if TYPE_CHECKING:
    from collections.abc import Callable

    from spooler.credentials import Account, Credentials
    from spooler.destination import Destination

_State = tuple[tuple[int, int, int], ...]


class Security:
    """Make one for each destination and way to protect it; `check` says early what would fail later."""

    def __init__(
        self,
        destination: Destination,
        *,
        tls: Tls = PLAIN,
        credentials: Callable[[], Credentials] | None = None,
    ) -> None:
        self.destination = destination
        self.tls = tls
        self.names = accepted_names(tls, destination)
        self._credentials = credentials
        self._context: ssl.SSLContext | None = None
        self._state: _State = ()

    def check(self) -> None:
        """Load everything once; raises SpoolerError."""
        if self.tls.level is not TlsLevel.NONE:
            self.context()
        self.credentials()

    def credentials(self) -> Credentials | None:
        """Return whom to authenticate as, None where that is not wanted; raises SpoolerError."""
        return self._credentials() if self._credentials is not None else None

    def context(self) -> ssl.SSLContext:
        """Return the context for the next connection; raises SpoolerError."""
        tls = self.tls
        state = tuple(_state(name) for name in (tls.ca, tls.cert, tls.key) if name)
        if self._context is None or state != self._state:
            self._context, self._state = _load(tls), state
        return self._context


def security_for(destination: Destination, tls: Tls, account: Account | None) -> Security:
    """Return what protects a route's connections to one of its destinations."""
    return Security(destination, tls=tls, credentials=None if account is None else account.credentials)


def _state(name: str) -> tuple[int, int, int]:
    """Return what changes when a file is replaced or written to."""
    try:
        status = Path(name).stat()
    except OSError as error:
        raise _unreadable(name, error) from None
    if stat.S_ISFIFO(status.st_mode):  # it is read more than once, and might keep us waiting
        raise NoInputError(f"{name} is a pipe", hint="name a file")
    return status.st_ino, status.st_mtime_ns, status.st_size


def _load(tls: Tls) -> ssl.SSLContext:
    for name in (tls.ca, tls.cert, tls.key):
        if name:
            _try_to_read(name)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF  # set by Python before 3.11.4: a cut would be an end
    context.check_hostname = False  # names are held against the certificate by `spooler.net.tls`
    context.verify_mode = ssl.CERT_REQUIRED if tls.level.trusts_authorities else ssl.CERT_NONE
    if tls.ca:
        _do(lambda: context.load_verify_locations(tls.ca), tls.ca, "certificates of authorities")
    elif tls.level.trusts_authorities:
        context.load_default_certs()
    if tls.cert:
        key = tls.key or None
        what = "a certificate and its key" if key is None else f"a certificate to the key in {key}"
        _do(lambda: context.load_cert_chain(tls.cert, key, password=_no_password), tls.cert, what)
    return context


def _do(load: Callable[[], None], name: str, what: str) -> None:
    try:
        load()
    except ssl.SSLError as error:
        why = (error.reason or "none that can be read").replace("_", " ").lower()
        raise DataError(
            f"{name} does not hold {what} ({why})",
            hint="give PEM files, the key without a password",
        ) from None


def _try_to_read(name: str) -> None:
    """Raise what is wrong with a file: of two, OpenSSL does not say which."""
    try:
        with Path(name).open("rb"):
            pass
    except OSError as error:
        raise _unreadable(name, error) from None


def _no_password() -> str:
    """Give OpenSSL one that is wrong: it would ask on the terminal."""
    return ""


def _unreadable(name: str, error: OSError) -> SpoolerError:
    return NoInputError(
        f"{name} cannot be read: {(error.strerror or str(error)).lower()}",
        hint="name a file that this user can read",
    )
