"""How the one-shot command protects its connections, where it is not told in full."""

from __future__ import annotations

import msgspec

from spooler.destination import Destination, is_local
from spooler.errors import UsageError
from spooler.tls import PLAIN, Tls, TlsLevel, check_tls

_OPTIONAL = (TlsLevel.NONE, TlsLevel.MAY)


class TlsWishes(msgspec.Struct, frozen=True, kw_only=True):
    """What the options say: empty where they say nothing. `wanted`: TLS, somehow."""

    wanted: bool = False
    level: TlsLevel | None = None
    implicit: bool = False
    ca: str = ""
    cert: str = ""
    key: str = ""
    fingerprints: tuple[str, ...] = ()
    names: tuple[str, ...] = ()

    @property
    def any(self) -> bool:
        """Whether TLS is asked for, in whatever words."""
        return self.wanted or self.implicit or bool(self.ca or self.cert or self.fingerprints or self.names)


def protect(destination: Destination, wishes: TlsWishes, base: Tls | None = None) -> Tls:
    """Return the protection of connections to a destination; `base` is what the configuration says.

    Raises UsageError for wishes that contradict each other.
    """
    given = base or PLAIN
    level = wishes.level or _level(destination, wishes, base)
    if wishes.wanted and level in _OPTIONAL:
        raise UsageError(
            f"--tls requires TLS, and level '{level}' does not",
            hint="state another level, or leave --tls out",
        )
    tls = Tls(
        level=level,
        implicit=wishes.implicit or given.implicit,
        ca=wishes.ca or given.ca,
        cert=wishes.cert or given.cert,
        key=wishes.key or ("" if wishes.cert else given.key),
        fingerprints=wishes.fingerprints or given.fingerprints,
        names=wishes.names or given.names,
    )
    check_tls(tls, destination)
    return tls


def _level(destination: Destination, wishes: TlsWishes, base: Tls | None) -> TlsLevel:
    """Choose what is not stated: on this machine nobody can stand in between."""
    if base is not None and (base.level.required or not wishes.any):
        return base.level
    local = is_local(destination)
    if wishes.fingerprints:
        return TlsLevel.FINGERPRINT
    if wishes.names:
        return TlsLevel.SECURE
    if not wishes.any:
        return TlsLevel.NONE if local else TlsLevel.MAY
    if not local:
        return TlsLevel.SECURE
    return TlsLevel.VERIFY if wishes.ca else TlsLevel.ENCRYPT
