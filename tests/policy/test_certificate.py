"""What a certificate says, held against what another reader of X.509 finds; and whom it is for."""

from __future__ import annotations

import datetime as dt
import hashlib

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from trustme import CA, KeyType

from spooler.policy.certificate import MalformedError, colons, matching, read_certificate, shown

SOON = dt.datetime(2049, 12, 31, 23, 59, 59, tzinfo=dt.UTC)
FAR = dt.datetime(2050, 1, 1, tzinfo=dt.UTC)  # from here on a time is written with all its digits


@pytest.mark.parametrize("kind", [KeyType.ECDSA, KeyType.RSA])
@pytest.mark.parametrize("until", [SOON, FAR])
def test_reading(kind: KeyType, until: dt.datetime) -> None:
    """Digests and the end of its time are those that a whole implementation of X.509 finds."""
    issued = CA(key_type=kind).issue_cert("a.test", not_after=until, key_type=kind)
    known = x509.load_pem_x509_certificate(issued.cert_chain_pems[0].bytes())
    der = known.public_bytes(Encoding.DER)
    key = known.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    read = read_certificate(der)
    assert read.fingerprint == hashlib.sha256(der).hexdigest()
    assert read.key_fingerprint == hashlib.sha256(key).hexdigest()
    assert read.not_after == int(until.timestamp())


def test_no_certificate() -> None:
    """Octets that are none, or only a part of one, or damaged, end in one error."""
    der = x509.load_pem_x509_certificate(CA().cert_pem.bytes()).public_bytes(Encoding.DER)
    for at in range(len(der)):
        with pytest.raises(MalformedError):
            read_certificate(der[:at])
    for at in range(200):
        damaged = bytearray(der)
        damaged[at] ^= 0x55
        try:
            read_certificate(bytes(damaged))
        except MalformedError:
            continue


@pytest.mark.parametrize(
    ("name", "kind", "value", "matches"),
    [
        ("mail.example.org", "DNS", "mail.example.org", True),
        ("mail.example.org", "DNS", "MAIL.Example.ORG.", True),
        ("mail.example.org", "DNS", "*.example.org", True),
        ("example.org", "DNS", "*.example.org", False),
        ("a.mail.example.org", "DNS", "*.example.org", False),
        ("mail.example.org", "DNS", "m*.example.org", False),
        ("mail.example.org", "DNS", "*.org", False),
        ("example.org", "DNS", "*.org", False),
        ("mail.example.org", "DNS", "*", False),
        ("mail.example.org", "DNS", "mail.*.org", False),
        ("mail.example.org", "DNS", "other.example.org", False),
        ("mail.example.org", "URI", "mail.example.org", False),
        ("192.0.2.1", "IP Address", "192.0.2.1", True),
        ("192.0.2.1", "DNS", "192.0.2.1", True),
        ("192.0.2.1", "IP Address", "192.0.2.2", False),
        ("2001:db8::1", "IP Address", "2001:DB8:0:0:0:0:0:1\n", True),
        ("mail.example.org", "IP Address", "192.0.2.1", False),
    ],
)
def test_whom_a_certificate_is_for(name: str, kind: str, value: str, *, matches: bool) -> None:
    """RFC 9525 section 6."""
    assert matching([name], [(kind, value)]) is matches
    assert matching(["x.test", name], [("DNS", "y.test"), (kind, value)]) is matches
    assert not matching([], [(kind, value)])
    assert not matching([name], [])


def test_words_for_people() -> None:
    """Names, and digests with colons."""
    assert shown([("DNS", "a.test"), ("URI", "x"), ("IP Address", "192.0.2.1")]) == "a.test, 192.0.2.1"
    assert shown([]) == "nobody"
    assert colons("00ff1a") == "00:FF:1A"
