"""Levels and what goes with them: what contradicts itself is refused, with the mend."""

from __future__ import annotations

import pytest

from spooler.destination import parse_destination
from spooler.errors import UsageError
from spooler.tls import Tls, TlsLevel, accepted_names, check_tls, parse_fingerprint

HERE = parse_destination("inet:Mail.example.org.:24")
SOCKET = parse_destination("unix:/run/lmtp")
DIGEST = "ab" * 32


@pytest.mark.parametrize(
    "text",
    [DIGEST, DIGEST.upper(), ":".join(["AB"] * 32), f"sha256:{DIGEST}", f"SHA256={':'.join(['ab'] * 32)}"],
)
def test_fingerprints(text: str) -> None:
    """As openssl prints them, or without colons."""
    assert parse_fingerprint(text) == DIGEST


@pytest.mark.parametrize("text", ["", "ab", DIGEST[:-1], DIGEST + "a", "zz" * 32, "ab" * 20])
def test_what_is_no_fingerprint(text: str) -> None:
    """SHA-1 and typing errors."""
    with pytest.raises(UsageError, match="no SHA-256 digest"):
        parse_fingerprint(text)


def test_names() -> None:
    """The destination's host unless others are given; a socket has none."""
    assert accepted_names(Tls(), HERE) == ("mail.example.org",)
    assert accepted_names(Tls(names=("A.example.org.", "192.0.2.1")), HERE) == ("a.example.org", "192.0.2.1")
    assert accepted_names(Tls(), SOCKET) == ()


@pytest.mark.parametrize(
    "tls",
    [
        Tls(),
        Tls(level=TlsLevel.MAY, cert="c", key="k"),
        Tls(level=TlsLevel.ENCRYPT, implicit=True),
        Tls(level=TlsLevel.VERIFY, ca="x"),
        Tls(level=TlsLevel.SECURE, names=("a_1.b-c.test", "2001:db8::1")),
        Tls(level=TlsLevel.FINGERPRINT, fingerprints=(DIGEST,)),
    ],
)
def test_what_makes_sense(tls: Tls) -> None:
    """Each level with what it looks at."""
    check_tls(tls, HERE)


@pytest.mark.parametrize(
    ("tls", "why"),
    [
        (Tls(implicit=True), "plain text"),
        (Tls(level=TlsLevel.MAY, implicit=True), "plain text"),
        (Tls(level=TlsLevel.SECURE, fingerprints=(DIGEST,)), "fingerprints are not looked at"),
        (Tls(level=TlsLevel.FINGERPRINT), "needs fingerprints"),
        (Tls(level=TlsLevel.ENCRYPT, ca="x"), "authorities are not looked at"),
        (Tls(level=TlsLevel.VERIFY, names=("a.test",)), "names are not looked at"),
        (Tls(level=TlsLevel.ENCRYPT, key="k"), "a key without a certificate"),
        (Tls(cert="c"), "no use without TLS"),
        (Tls(level=TlsLevel.SECURE, names=("*.test",)), "no name of a certificate"),
        (Tls(level=TlsLevel.SECURE, names=("grüße.test",)), "no name of a certificate"),
        (Tls(level=TlsLevel.SECURE, names=("a" * 64 + ".test",)), "no name of a certificate"),
    ],
)
def test_what_contradicts_itself(tls: Tls, why: str) -> None:
    """It would do less than whoever wrote it believes."""
    with pytest.raises(UsageError, match=why) as caught:
        check_tls(tls, HERE)
    assert caught.value.hint


def test_a_socket_needs_a_name_to_be_secure() -> None:
    """There is no host that a certificate could be for."""
    with pytest.raises(UsageError, match="no name that a certificate could be for"):
        check_tls(Tls(level=TlsLevel.SECURE), SOCKET)
    check_tls(Tls(level=TlsLevel.SECURE, names=("a.test",)), SOCKET)
    check_tls(Tls(level=TlsLevel.VERIFY), SOCKET)
