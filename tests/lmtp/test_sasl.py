"""What is said in AUTH, mechanism by mechanism, with the examples of their RFCs."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from spooler.credentials import MECHANISMS, Credentials, Secret
from spooler.lmtp.errors import RemoteProtocolError
from spooler.lmtp.sasl import MAX_INITIAL, Exchange, choose
from spooler.lmtp.scram import MAX_ITERATIONS, prepare
from spooler.reply import Reply

NONCE = "rOprNGfwEbeRWgbNEkqO"
FIRST = f"r={NONCE}%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
SIGNATURE = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


def credentials(user: str, secret: str, mechanisms: tuple[str, ...] = MECHANISMS) -> Credentials:
    """Credentials for these."""
    return Credentials(user=user, secret=Secret(secret), mechanisms=mechanisms)


def challenge(text: str | bytes) -> Reply:
    """334 with this in base64."""
    raw = text.encode() if isinstance(text, str) else text
    return Reply(334, "", (base64.b64encode(raw).decode(),))


def decoded(line: bytes) -> bytes:
    """What a line says."""
    return base64.b64decode(line, validate=True)


def scram() -> Exchange:
    """The example of RFC 7677 section 3, begun."""
    exchange = Exchange(credentials("user", "pencil"), "SCRAM-SHA-256", nonce=NONCE)
    name, mechanism, first = exchange.begin().split()
    assert (name, mechanism, decoded(first)) == (b"AUTH", b"SCRAM-SHA-256", f"n,,n=user,r={NONCE}".encode())
    return exchange


def test_scram_is_that_of_rfc_7677() -> None:
    """Its example, word by word; success counts when the server has proved itself."""
    exchange = scram()
    assert decoded(exchange.answer(challenge(FIRST))) == (
        f"c=biws,r={NONCE}%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,".encode()
        + b"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    )
    with pytest.raises(RemoteProtocolError, match="without having proved"):
        exchange.accepted()
    assert exchange.answer(challenge(SIGNATURE)) == b""
    exchange.accepted()


@pytest.mark.parametrize(
    "final",
    [
        SIGNATURE.replace("6", "7", 1),
        "v=",
        "v=!",
        "e=invalid-proof",
        "",
        SIGNATURE[2:],
        FIRST,
    ],
)
def test_a_server_that_does_not_know_the_secret(final: str) -> None:
    """Its signature must be the right one, and no other word does."""
    exchange = scram()
    exchange.answer(challenge(FIRST))
    with pytest.raises(RemoteProtocolError):
        exchange.answer(challenge(final))
    with pytest.raises(RemoteProtocolError):
        exchange.accepted()


def test_a_second_signature_is_a_fault() -> None:
    """What goes on behind the end is no dialogue of SCRAM."""
    exchange = scram()
    exchange.answer(challenge(FIRST))
    exchange.answer(challenge(SIGNATURE))
    with pytest.raises(RemoteProtocolError):
        exchange.answer(challenge(SIGNATURE))


@pytest.mark.parametrize(
    ("first", "why"),
    [
        (FIRST.replace(NONCE, "other"), "does not answer ours"),
        (f"r={NONCE},s=QQ==,i=4096", "does not answer ours"),
        (FIRST.replace("i=4096", "i=4095"), "4095 rounds"),
        (FIRST.replace("i=4096", f"i={MAX_ITERATIONS + 1}"), "rounds"),
        (FIRST.replace("i=4096", "i=9999999999"), "rounds"),
        (FIRST.replace("i=4096", "i=-1"), "malformed"),
        (FIRST.replace(",i=4096", ""), "malformed"),
        (FIRST.replace("s=W", "s=*"), "malformed"),
        (FIRST.replace("s=W22Z", "s=W22"), "base64"),
        (f"m=ext,{FIRST}", "malformed"),
        ("", "malformed"),
        (b"\xff", "UTF-8"),
    ],
)
def test_what_scram_does_not_accept(first: str | bytes, why: str) -> None:
    """A first part that is not to ours, asks for too little or too much work, or cannot be read."""
    with pytest.raises(RemoteProtocolError, match=why):
        scram().answer(challenge(first))


def test_scram_escapes_and_prepares() -> None:
    """Commas and equal signs in a name are escaped (RFC 5802 section 5.1); names are prepared."""
    exchange = Exchange(credentials("a,b=c\u00ad\u2168", "x"), "SCRAM-SHA-256", nonce="n")
    assert decoded(exchange.begin().split()[2]) == b"n,,n=a=2Cb=3DcIX,r=n"


@pytest.mark.parametrize(
    ("text", "prepared"),
    [
        ("I\u00adX", "IX"),  # the examples of RFC 4013 section 3
        ("user", "user"),
        ("USER", "USER"),
        ("\u00aa", "a"),
        ("\u2168", "IX"),
        ("\u00a0x", " x"),
        ("\u0627\u0031", "\u0627\u0031"),  # not to be prepared: left as it is
        ("x\u0007\u00e9", "x\u0007\u00e9"),
        ("\u00ad", "\u00ad"),
        ("\u0627\u0031\u0628", "\u0627\u0031\u0628"),
    ],
)
def test_preparation(text: str, prepared: str) -> None:
    """SASLprep, and what it prohibits stays what it is."""
    assert prepare(text) == prepared


def test_cram_md5_is_that_of_rfc_2195() -> None:
    """Its example; there is one challenge, and it is not empty."""
    exchange = Exchange(credentials("tim", "tanstaaftanstaaf"), "CRAM-MD5", nonce="")
    assert exchange.begin() == b"AUTH CRAM-MD5"
    with pytest.raises(RemoteProtocolError, match="without a challenge"):
        exchange.accepted()
    asked = challenge("<1896.697170952@postoffice.reston.mci.net>")
    assert decoded(exchange.answer(asked)) == b"tim b913a602c7eda7a495b4e6e7334d3890"
    exchange.accepted()
    with pytest.raises(RemoteProtocolError):
        exchange.answer(asked)
    with pytest.raises(RemoteProtocolError):
        Exchange(credentials("tim", "x"), "CRAM-MD5", nonce="").answer(challenge(""))


def test_plain_in_the_command_or_behind_it() -> None:
    """The response goes with the command while that is short (RFC 4954 section 4), else after a challenge."""
    exchange = Exchange(credentials("tim", "tanstaaf"), "PLAIN", nonce="")
    assert exchange.begin() == b"AUTH PLAIN " + base64.b64encode(b"\0tim\0tanstaaf")
    exchange.accepted()
    with pytest.raises(RemoteProtocolError, match="PLAIN has none"):
        exchange.answer(challenge("more"))
    for length in range(365, 380):
        exchange = Exchange(credentials("tim", "x" * length), "PLAIN", nonce="")
        line = exchange.begin()
        assert len(line) <= MAX_INITIAL
        if line == b"AUTH PLAIN":
            with pytest.raises(RemoteProtocolError, match="a challenge where PLAIN has none"):
                exchange.answer(challenge("what"))
            assert decoded(exchange.answer(Reply(334, "", ("",)))) == b"\0tim\0" + b"x" * length
            return
    pytest.fail("it never became too long")


def test_login() -> None:
    """User and secret, each when it is asked for, and nothing more."""
    exchange = Exchange(credentials("tim", "tanstaaf"), "LOGIN", nonce="")
    assert exchange.begin() == b"AUTH LOGIN"
    assert decoded(exchange.answer(challenge("Username:"))) == b"tim"
    assert decoded(exchange.answer(challenge("Password:"))) == b"tanstaaf"
    exchange.accepted()
    with pytest.raises(RemoteProtocolError, match="after user and secret"):
        exchange.answer(challenge("Mother's name:"))


@pytest.mark.parametrize("name", MECHANISMS)
def test_a_challenge_is_base64(name: str) -> None:
    """What is none is a fault, in any mechanism."""
    exchange = Exchange(credentials("tim", "x"), name, nonce="n")
    exchange.begin()
    with pytest.raises(RemoteProtocolError, match="not base64"):
        exchange.answer(Reply(334, "", ("no base64",)))


def test_the_strongest_first() -> None:
    """Of those on offer, whatever their order, and of those that may be used."""
    anything = credentials("a", "b")
    assert choose(anything, ("LOGIN", "PLAIN", "CRAM-MD5", "SCRAM-SHA-256")) == "SCRAM-SHA-256"
    assert choose(anything, ("LOGIN", "PLAIN", "CRAM-MD5", "GSSAPI")) == "CRAM-MD5"
    assert choose(anything, ("LOGIN", "PLAIN")) == "PLAIN"
    assert choose(credentials("a", "b", ("LOGIN",)), ("LOGIN", "PLAIN")) == "LOGIN"
    assert choose(anything, ("SCRAM-SHA-256-PLUS",)) is None


def test_scram_against_a_server_of_our_own() -> None:
    """Any secret, with a server that computes its side by itself (RFC 5802 section 3)."""
    secret, salt, rounds = "pássword,=x", b"some salt", 5000
    exchange = Exchange(credentials("usér", secret), "SCRAM-SHA-256", nonce="client")
    first = decoded(exchange.begin().split()[2]).decode().removeprefix("n,,")
    said = f"r=client+server,s={base64.b64encode(salt).decode()},i={rounds}"
    final = decoded(exchange.answer(challenge(said))).decode()
    without, _, proof = final.rpartition(",p=")
    message = f"{first},{said},{without}".encode()
    salted = hashlib.pbkdf2_hmac("sha256", secret.encode(), salt, rounds)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    signature = hmac.digest(stored, message, "sha256")
    key = bytes(a ^ b for a, b in zip(base64.b64decode(proof), signature, strict=True))
    assert hashlib.sha256(key).digest() == stored
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    verifier = base64.b64encode(hmac.digest(server_key, message, "sha256")).decode()
    exchange.answer(challenge(f"v={verifier}"))
    exchange.accepted()
