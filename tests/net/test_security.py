"""What is loaded for TLS and AUTH: found wrong at the start, and found anew when it was changed."""

from __future__ import annotations

import os
import shutil
import ssl
from typing import TYPE_CHECKING

import msgspec
import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from spooler.credentials import Credentials, Secret
from spooler.destination import InetDestination
from spooler.errors import DataError, NoInputError
from spooler.net.security import Security, security_for
from spooler.tls import PLAIN, Tls, TlsLevel

if TYPE_CHECKING:
    from pathlib import Path

    from tests.certificates import Files

HERE = InetDestination("localhost")


def test_levels_and_what_openssl_is_told(certificates: Files) -> None:
    """Authorities are asked at two levels alone; old versions and renegotiation never happen."""
    for level in TlsLevel:
        ca = str(certificates.ca) if level.trusts_authorities else ""
        context = Security(HERE, tls=Tls(level=level, ca=ca)).context()
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2
        assert context.options & ssl.OP_NO_RENEGOTIATION
        assert not context.options & ssl.OP_IGNORE_UNEXPECTED_EOF
        assert (context.verify_mode is ssl.CERT_REQUIRED) is level.trusts_authorities
        assert len(context.get_ca_certs()) == level.trusts_authorities


def test_files_are_read_again_when_they_have_changed(certificates: Files, tmp_path: Path) -> None:
    """And not before: a context is made once for many connections."""
    ca = tmp_path / "ca.pem"
    shutil.copy(certificates.other_ca, ca)
    security = Security(HERE, tls=Tls(level=TlsLevel.VERIFY, ca=str(ca), cert=str(certificates.client)))
    first = security.context()
    assert security.context() is first
    ca.write_bytes(certificates.other_ca.read_bytes() + certificates.ca.read_bytes())
    second = security.context()
    assert second is not first
    assert len(second.get_ca_certs()) == 2
    ca.unlink()
    with pytest.raises(NoInputError, match="cannot be read: no such file"):
        security.context()


@pytest.mark.parametrize("key", ["ca", "cert", "key"])
def test_files_that_are_none(certificates: Files, tmp_path: Path, key: str) -> None:
    """Missing, a folder, or something else: one line with the file and the reason."""
    other = tmp_path / "other"
    other.write_text("no certificate\n")
    for path, kind in ((tmp_path / "none", NoInputError), (tmp_path, NoInputError), (other, DataError)):
        cert = str(certificates.client) if key == "key" else ""
        tls = msgspec.structs.replace(Tls(level=TlsLevel.VERIFY, cert=cert), **{key: str(path)})
        with pytest.raises(kind) as caught:
            Security(HERE, tls=tls).check()
        assert str(path) in caught.value.what
        assert "\n" not in str(caught.value)
        assert caught.value.hint
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(NoInputError, match="is a pipe"):  # nobody waits for what may never come
        Security(HERE, tls=msgspec.structs.replace(tls, **{key: str(pipe)})).check()


def test_a_key_with_a_password_or_of_another_certificate(certificates: Files, tmp_path: Path) -> None:
    """Nobody is asked on a terminal."""
    loaded = load_pem_private_key(certificates.client.read_bytes(), None)
    locked = tmp_path / "key.pem"
    locked.write_bytes(loaded.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")))
    for key in (locked, certificates.server):
        tls = Tls(level=TlsLevel.ENCRYPT, cert=str(certificates.client), key=str(key))
        with pytest.raises(DataError, match="does not hold a certificate to the key in"):
            Security(HERE, tls=tls).check()


def test_nothing_is_needed_in_plain_text() -> None:
    """Neither a context nor credentials."""
    security = security_for(HERE, PLAIN, None)
    security.check()
    assert security.credentials() is None


def test_credentials_are_asked_for_anew() -> None:
    """Whoever gives them is asked for each connection."""
    asked = []

    def give() -> Credentials:
        asked.append(1)
        return Credentials(user="me", secret=Secret("x"))

    security = Security(HERE, credentials=give)
    security.check()
    assert security.credentials() is not None
    assert len(asked) == 2
