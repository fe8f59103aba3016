"""Which TLS a connection has where little is said of it."""

from __future__ import annotations

import pytest

from spooler.destination import Destination, parse_destination
from spooler.errors import UsageError
from spooler.oneshot.protecting import TlsWishes, protect
from spooler.tls import Tls, TlsLevel

FAR = parse_destination("inet:mail.example.com")
NEAR = parse_destination("inet:127.0.0.1")
SOCKET = parse_destination("unix:/run/lmtp")
DIGEST = "ab" * 32


@pytest.mark.parametrize(
    ("destination", "wishes", "level"),
    [
        (SOCKET, TlsWishes(), "none"),
        (NEAR, TlsWishes(), "none"),
        (parse_destination("inet:[ipv6:::1]:24"), TlsWishes(), "none"),
        (FAR, TlsWishes(), "may"),
        (FAR, TlsWishes(wanted=True), "secure"),
        (FAR, TlsWishes(ca="ca.pem"), "secure"),
        (FAR, TlsWishes(cert="key.pem"), "secure"),
        (FAR, TlsWishes(implicit=True), "secure"),
        (NEAR, TlsWishes(wanted=True), "encrypt"),
        (SOCKET, TlsWishes(cert="key.pem"), "encrypt"),
        (NEAR, TlsWishes(wanted=True, ca="ca.pem"), "verify"),
        (NEAR, TlsWishes(ca="ca.pem", names=("store.test",)), "secure"),
        (FAR, TlsWishes(fingerprints=(DIGEST,)), "fingerprint"),
        (FAR, TlsWishes(level=TlsLevel.NONE), "none"),
        (NEAR, TlsWishes(level=TlsLevel.MAY), "may"),
        (FAR, TlsWishes(wanted=True, level=TlsLevel.ENCRYPT), "encrypt"),
    ],
)
def test_the_level_that_is_not_stated(destination: Destination, wishes: TlsWishes, level: str) -> None:
    """None where nothing leaves this machine, `may` elsewhere; who asks for TLS gets it."""
    assert protect(destination, wishes).level == level


def test_a_route_says_the_rest() -> None:
    """What the options say comes before it; a client's own key does not go with another's certificate."""
    route = Tls(level=TlsLevel.SECURE, ca="route-ca.pem", cert="route.pem", key="route-key.pem")
    assert protect(FAR, TlsWishes(), route) == route
    assert protect(FAR, TlsWishes(wanted=True, ca="mine.pem", cert="me.pem"), route) == Tls(
        level=TlsLevel.SECURE, ca="mine.pem", cert="me.pem"
    )
    assert protect(FAR, TlsWishes(wanted=True), Tls(level=TlsLevel.NONE)).level is TlsLevel.SECURE
    assert protect(FAR, TlsWishes(), Tls(level=TlsLevel.NONE)).level is TlsLevel.NONE


@pytest.mark.parametrize(
    ("wishes", "says"),
    [
        (TlsWishes(wanted=True, level=TlsLevel.MAY), "--tls requires TLS, and level 'may' does not"),
        (TlsWishes(key="key.pem"), "a key without a certificate"),
        (TlsWishes(level=TlsLevel.NONE, cert="me.pem"), "of no use without TLS"),
        (TlsWishes(level=TlsLevel.ENCRYPT, ca="ca.pem"), "authorities are not looked at"),
        (TlsWishes(level=TlsLevel.FINGERPRINT), "needs fingerprints"),
    ],
)
def test_what_contradicts_itself_is_refused(wishes: TlsWishes, says: str) -> None:
    """Nothing does less than it seems to."""
    with pytest.raises(UsageError, match=says):
        protect(FAR, wishes)
