"""The way to mail, by script: greeting, LHLO, STARTTLS, AUTH, and where it ends instead."""

from __future__ import annotations

import base64

import pytest

from spooler.credentials import Credentials, Secret
from spooler.lmtp.capabilities import Capabilities
from spooler.lmtp.client import Client
from spooler.lmtp.errors import LocalProtocolError, OpeningError, RemoteProtocolError
from spooler.lmtp.events import GoAhead
from spooler.lmtp.opening import Opening, Step
from spooler.lmtp.transaction import Transaction
from spooler.lmtp.trust import Trust
from spooler.reply import Stage
from spooler.tls import TlsLevel
from spooler.trouble import Trouble

OFFERS_TLS = ("250-host", "250-PIPELINING", "250-AUTH PLAIN", "250 STARTTLS")
UNDER_TLS = ("250-host", "250 AUTH PLAIN")
ME = Credentials(user="me", secret=Secret("s3cret"))
PLAIN = b"AUTH PLAIN " + base64.b64encode(b"\0me\0s3cret") + b"\r\n"
REQUIRED = (TlsLevel.ENCRYPT, TlsLevel.VERIFY, TlsLevel.SECURE, TlsLevel.FINGERPRINT)


class Talk:
    """A client on its way, and the server's side of the dialogue; TLS is as good as its word."""

    def __init__(
        self,
        level: TlsLevel = TlsLevel.NONE,
        *,
        credentials: Credentials | None = None,
        secured: bool = False,
        local: bool = False,
    ) -> None:
        self.client = Client(trust=Trust())
        self.opening = Opening(
            self.client,
            lhlo="me",
            level=level,
            secured=secured,
            credentials=credentials,
            local=local,
            nonce="nonce",
        )
        self.step = Step.HEAR
        self.encrypted = 0

    def hear(self) -> bytes:
        """All that the client sends now."""
        data = self.client.data_to_send()
        self.client.sent(len(data))
        return data

    def say(self, *lines: str, rest: bytes = b"") -> bytes:
        """Say lines, and `rest` behind them, in one block; return what the client sends then."""
        block = "".join(f"{line}\r\n" for line in lines).encode() + rest
        for event in self.client.receive(block):
            self.step = self.opening.take(event)
            if self.step is Step.ENCRYPT:
                self.encrypted += 1
                self.opening.encrypted()
        return self.hear()


def test_tls_and_then_all_is_said_anew() -> None:
    """Greeting, LHLO, STARTTLS, 220, TLS, LHLO: what was offered before TLS is forgotten."""
    talk = Talk(TlsLevel.SECURE)
    assert talk.say("220 host") == b"LHLO me\r\n"
    assert talk.say(*OFFERS_TLS) == b"STARTTLS\r\n"
    assert talk.client.capabilities.pipelining
    assert talk.say("220 2.0.0 go") == b"LHLO me\r\n"
    assert talk.encrypted == 1
    assert talk.client.capabilities == Capabilities()
    assert talk.say("250 host") == b""
    assert talk.step is Step.DONE
    assert talk.client.idle
    assert talk.client.can_begin


def test_tls_that_stands_is_not_asked_for_again() -> None:
    """Implicit TLS, and a server that offers STARTTLS once more under TLS."""
    talk = Talk(TlsLevel.SECURE, secured=True)
    talk.say("220 host")
    assert talk.say(*OFFERS_TLS) == b""
    assert talk.step is Step.DONE
    talk = Talk(TlsLevel.ENCRYPT)
    talk.say("220 host")
    talk.say(*OFFERS_TLS)
    talk.say("220 go")
    assert talk.say(*OFFERS_TLS) == b""
    assert talk.step is Step.DONE


def test_level_none_never_asks() -> None:
    """What is offered is left alone."""
    talk = Talk()
    talk.say("220 host")
    assert talk.say(*OFFERS_TLS) == b""
    assert talk.step is Step.DONE


@pytest.mark.parametrize(
    ("level", "before", "says"),
    [
        (TlsLevel.NONE, (), ("220 host",)),
        (TlsLevel.NONE, (("220 host",),), ("250 host",)),
        (TlsLevel.MAY, (("220 host",),), OFFERS_TLS),
        (TlsLevel.MAY, (("220 host",), OFFERS_TLS), ("454 4.7.0 not now",)),
    ],
    ids=["greeting", "lhlo", "lhlo offers tls", "starttls"],
)
@pytest.mark.parametrize("credentials", [None, ME], ids=["nobody", "somebody"])
def test_a_server_that_closes_in_the_same_breath(
    level: TlsLevel,
    before: tuple[tuple[str, ...], ...],
    says: tuple[str, ...],
    credentials: Credentials | None,
) -> None:
    """421 right behind a reply, as of one that shuts down: the way ends there, and nothing more is said."""
    talk = Talk(level, credentials=credentials, local=True)
    for lines in before:
        talk.say(*lines)
    with pytest.raises(OpeningError, match=r"the server closes at once: 421 4\.3\.2 shutting down") as caught:
        talk.say(*says, "421 4.3.2 shutting down")
    assert caught.value.trouble is Trouble.BUSY
    assert talk.hear() == b""


@pytest.mark.parametrize("level", REQUIRED)
def test_a_required_level_never_falls_back(level: TlsLevel) -> None:
    """STARTTLS that is not offered, or refused for now or for good, ends the way; nothing more is said."""
    talk = Talk(level)
    talk.say("220 host")
    with pytest.raises(OpeningError, match=f"STARTTLS, which level '{level}' requires") as caught:
        talk.say("250 host")
    assert (caught.value.trouble, caught.value.stage) == (Trouble.NO_TLS, Stage.STARTTLS)
    assert talk.hear() == b""
    for refusal in ("454 4.7.0 not now", "502 5.5.1 no"):
        talk = Talk(level)
        talk.say("220 host")
        talk.say(*OFFERS_TLS)
        with pytest.raises(OpeningError, match=f"refused at starttls: {refusal}") as caught:
            talk.say(refusal)
        assert caught.value.trouble is Trouble.NO_TLS
        assert talk.hear() == b""


@pytest.mark.parametrize("refusal", ["454 4.7.0 not now", "502 5.5.1 no", "554 5.7.0 never"])
def test_level_may_goes_on_in_plain_text(refusal: str) -> None:
    """Where STARTTLS is not offered, or refused; what was offered in plain text holds on."""
    talk = Talk(TlsLevel.MAY)
    talk.say("220 host")
    talk.say("250-host", "250 PIPELINING")
    assert (talk.step, talk.client.capabilities.pipelining) == (Step.DONE, True)
    talk = Talk(TlsLevel.MAY)
    talk.say("220 host")
    assert talk.say(*OFFERS_TLS) == b"STARTTLS\r\n"
    assert talk.say(refusal) == b""
    assert (talk.step, talk.client.capabilities.pipelining) == (Step.DONE, True)
    talk = Talk(TlsLevel.MAY)
    talk.say("220 host")
    talk.say(*OFFERS_TLS)
    talk.say("220 go")
    assert talk.encrypted == 1


@pytest.mark.parametrize(
    "injected",
    [
        b"250 ok\r\n",
        b"250-host\r\n250 AUTH PLAIN\r\n",
        b"220 twice\r\n",
        b"421 bye\r\n",
        b"2",
        b"\r",
        b"\x16\x03\x01",
        b"rubbish\r\n",
    ],
)
@pytest.mark.parametrize("level", [TlsLevel.MAY, TlsLevel.SECURE])
def test_not_an_octet_may_follow_the_220(injected: bytes, level: TlsLevel) -> None:
    """What stands behind it in plain text is never taken for a word said under TLS (CVE-2011-0411)."""
    talk = Talk(level)
    talk.say("220 host")
    talk.say(*OFFERS_TLS)
    with pytest.raises(RemoteProtocolError):
        talk.say("220 go", rest=injected)
    assert talk.encrypted == 0
    assert talk.hear() == b""
    assert talk.client.closed


def test_what_comes_before_it_was_asked_for_is_a_fault() -> None:
    """A 220 to STARTTLS in front of the command."""
    talk = Talk(TlsLevel.SECURE)
    talk.say("220 host")
    with pytest.raises(RemoteProtocolError, match="where nothing was due"):
        talk.say(*OFFERS_TLS, rest=b"220 go\r\n")


def test_the_client_asks_for_tls_only_where_it_is_due() -> None:
    """Not before LHLO, not where it is not offered, and nothing is said in between."""
    client = Client(trust=Trust())
    with pytest.raises(LocalProtocolError, match="STARTTLS is not due"):
        client.starttls()
    with pytest.raises(LocalProtocolError, match="AUTH is not due"):
        client.authenticate(b"AUTH PLAIN")
    talk = Talk(TlsLevel.SECURE)
    talk.say("220 host")
    talk.say(*OFFERS_TLS)
    with pytest.raises(LocalProtocolError, match="AUTH is not due"):
        talk.client.authenticate(b"AUTH PLAIN")
    with pytest.raises(LocalProtocolError, match="LHLO is not due"):
        talk.client.lhlo("me")


@pytest.mark.parametrize(
    "line", [b"AUTH PLAIN\r\nMAIL", b"AUTH ", b"AUTH PLAIN a b", b"not base64!", b"A" * 12288]
)
def test_auth_is_said_in_base64_alone(line: bytes) -> None:
    """Nothing that could end its line, or be longer than a server reads."""
    talk = Talk()
    talk.say("220 host")
    talk.say("250 host")
    with pytest.raises(LocalProtocolError, match="neither the command nor base64"):
        talk.client.authenticate(line)


def test_auth_under_tls() -> None:
    """It is said after the second LHLO, with what that offered."""
    talk = Talk(TlsLevel.SECURE, credentials=ME)
    talk.say("220 host")
    assert talk.say(*OFFERS_TLS) == b"STARTTLS\r\n"
    talk.say("220 go")
    assert talk.say(*UNDER_TLS) == PLAIN
    assert talk.say("235 2.7.0 welcome") == b""
    assert talk.step is Step.DONE
    assert talk.opening.mechanism == "PLAIN"
    assert talk.client.idle


def test_no_secret_over_a_network_in_plain_text() -> None:
    """Weak or strong, none is tried; where nothing leaves the machine, or it was allowed, it is said."""
    for offers in ("250 AUTH PLAIN LOGIN", "250 AUTH SCRAM-SHA-256"):
        talk = Talk(TlsLevel.MAY, credentials=ME)
        talk.say("220 host")
        with pytest.raises(OpeningError, match="not said over a line in plain text") as caught:
            talk.say("250-host", offers)
        assert (caught.value.trouble, caught.value.stage) == (Trouble.NO_MECHANISM, Stage.AUTH)
        assert talk.hear() == b""
    allowed = Credentials(user="me", secret=Secret("s3cret"), plain=True)
    for talk in (Talk(credentials=ME, local=True), Talk(credentials=allowed)):
        talk.say("220 host")
        assert talk.say(*UNDER_TLS) == PLAIN


def test_a_refused_starttls_takes_auth_with_it() -> None:
    """`may` goes on in plain text, and there the secret stops."""
    talk = Talk(TlsLevel.MAY, credentials=ME)
    talk.say("220 host")
    talk.say(*OFFERS_TLS)
    with pytest.raises(OpeningError, match="not said over a line in plain text"):
        talk.say("454 4.7.0 not now")
    assert talk.hear() == b""


@pytest.mark.parametrize(
    ("offers", "says"), [("250 AUTH GSSAPI XOAUTH2", "only GSSAPI XOAUTH2"), ("250 SIZE", "no AUTH")]
)
def test_a_server_without_a_mechanism_of_ours(offers: str, says: str) -> None:
    """It is no place for mail if we were told to authenticate, and the error says what it has."""
    talk = Talk(credentials=ME, local=True)
    talk.say("220 host")
    with pytest.raises(OpeningError, match=says) as caught:
        talk.say("250-host", offers)
    assert caught.value.trouble is Trouble.NO_MECHANISM


def test_only_mechanisms_that_may_be_used() -> None:
    """A weaker one on offer is not taken where it was ruled out."""
    strong = Credentials(user="me", secret=Secret("s3cret"), mechanisms=("SCRAM-SHA-256",))
    talk = Talk(TlsLevel.SECURE, secured=True, credentials=strong)
    talk.say("220 host")
    with pytest.raises(OpeningError, match="only PLAIN, of SCRAM-SHA-256"):
        talk.say(*UNDER_TLS)


@pytest.mark.parametrize(
    ("reply", "trouble"),
    [
        ("535 5.7.8 wrong", Trouble.AUTHENTICATION),
        ("534 5.7.9 too weak", Trouble.AUTHENTICATION),
        ("454 4.7.0 later", Trouble.BUSY),
        ("421 4.3.2 bye", Trouble.BUSY),
    ],
)
def test_a_refused_secret_is_not_offered_again(reply: str, trouble: Trouble) -> None:
    """Neither the same way nor by a weaker mechanism."""
    talk = Talk(credentials=ME, local=True)
    talk.say("220 host")
    assert talk.say("250-host", "250 AUTH CRAM-MD5 PLAIN LOGIN") == b"AUTH CRAM-MD5\r\n"
    assert talk.say("334 " + base64.b64encode(b"<1@host>").decode()) != b""
    with pytest.raises(OpeningError, match=reply) as caught:
        talk.say(reply)
    assert (caught.value.trouble, caught.value.stage) == (trouble, Stage.AUTH)
    assert talk.hear() == b""


@pytest.mark.parametrize("reply", ["250 ok", "220 ok", "354 go", "334-a"])
def test_what_may_stand_in_place_of_an_answer_to_auth(reply: str) -> None:
    """235, a challenge or a refusal; anything else is a fault."""
    talk = Talk(credentials=ME, local=True)
    talk.say("220 host")
    talk.say(*UNDER_TLS)
    with pytest.raises((RemoteProtocolError, OpeningError)):
        talk.say(reply, "334 !!!")


@pytest.mark.parametrize(
    "reply", ["501 5.5.2 cannot decode {}", "535 5.7.8 {} is wrong", "421 4.3.2 {}? bye"]
)
@pytest.mark.parametrize("told", [PLAIN.split()[-1].decode(), PLAIN.split()[-1][:8].decode(), "s3cret"])
def test_a_server_that_repeats_the_secret_tells_nobody(reply: str, told: str) -> None:
    """What is said of it goes into logs, the ledger and to the terminal."""
    talk = Talk(credentials=ME, local=True)
    talk.say("220 host")
    assert talk.say(*UNDER_TLS) == PLAIN
    with pytest.raises(OpeningError) as caught:
        talk.say(reply.format(told))
    assert reply.format("***") in str(caught.value)


def test_success_without_proof_is_none() -> None:
    """A server that says 235 before it has shown by SCRAM that it knows the secret."""
    talk = Talk(credentials=ME, local=True)
    talk.say("220 host")
    assert talk.say("250-host", "250 AUTH PLAIN SCRAM-SHA-256").startswith(b"AUTH SCRAM-SHA-256 ")
    with pytest.raises(OpeningError, match="without having proved") as caught:
        talk.say("235 2.7.0 welcome")
    assert caught.value.trouble is Trouble.AUTHENTICATION


def test_a_server_that_closes_on_the_way() -> None:
    """421 ends it at any stage, with the server's words."""
    talk = Talk(TlsLevel.SECURE)
    talk.say("220 host")
    talk.say(*OFFERS_TLS)
    with pytest.raises(OpeningError, match="closes at once: 421 bye") as caught:
        talk.say("421 bye")
    assert (caught.value.trouble, caught.value.stage) == (Trouble.BUSY, Stage.STARTTLS)


def test_mail_is_none_of_its_business() -> None:
    """What the client tells of mail leaves the way where it is."""
    talk = Talk(TlsLevel.SECURE)
    assert talk.opening.take(GoAhead(Transaction(sender="", recipients=[]))) is Step.HEAR
    assert talk.hear() == b""
