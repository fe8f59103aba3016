"""The configuration is read whole or refused whole, with the place and the mend."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from spooler.config import Duration, Route, load_config, parse_config
from spooler.credentials import Account
from spooler.errors import ConfigError, NoInputError
from spooler.tls import PLAIN, Tls, TlsLevel

if TYPE_CHECKING:
    from pathlib import Path

GOOD = b"""
spool = "sqlite:///x.db"
lhlo = "client.example.org"
[domains]
"example.org" = "store1"
[routes.store1]
destinations = ["unix:/run/lmtp", "inet:127.0.0.1:24"]
balance = "round-robin"
sessions = 3
adapt = false
mode = "lockstep"
[routes.store1.retry]
first = "90s"
maximum = "2h"
lifetime = 86400
[routes.far]
destinations = ["inet:store.example.org:24"]
tls = "none"
"""


def test_good_configuration() -> None:
    """Every kind of value is read; what is not said has its default."""
    config = parse_config(GOOD, name="test")
    route = config.routes["store1"]
    assert [str(d) for d in route.parsed()] == ["unix:/run/lmtp", "inet:127.0.0.1:24"]
    assert (route.sessions, route.adapt, route.mode) == (3, False, "lockstep")
    far = config.routes["far"]
    assert (far.sessions, far.adapt, far.mode) == (20, True, "chunked")
    retry = route.retry
    assert [float(d) for d in (retry.first, retry.maximum, retry.lifetime)] == [90, 7200, 86400]
    assert route.retry.first.us == 90_000_000
    assert route.recipients == Route(destinations=[]).recipients == 100
    assert config.route_of("Example.Org") == "store1"
    assert config.route_of("other.org") == "default"
    assert config.lhlo_name == "client.example.org"
    assert parse_config(b"", name="empty").lhlo_name
    assert Duration(1.5).us == 1_500_000


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"spool = ", "not valid TOML"),
        (b"\xff", "not valid TOML"),
        (b"spol = 'x'", "did you mean 'spool'"),
        (b"zzzzzz = 'x'", "docs/CONFIGURATION.md"),
        (b"[routes.a]\ndestination = ['unix:/x']", "did you mean 'destinations'"),
        (b"[routes.a]\nsessions = 1", "destinations"),
        (b"[routes.a]\ndestinations = []", "no destinations"),
        (b"[routes.a]\ndestinations = ['mail:24']", "not understood"),
        (b"[routes.a]\ndestinations = ['inet:mail.example.org']", "states no tls level"),
        ("[routes.\"a\u202eb\"]\ndestinations = ['unix:/a']".encode(), "no name that can be shown in a line"),
        (b"[routes." + b"x" * 101 + b"]\ndestinations = ['unix:/a']", "no name that can be shown in a line"),
        (b"[routes.\"\"]\ndestinations = ['unix:/a']", "no name that can be shown in a line"),
        (b"[routes.a]\ndestinations = ['unix:/x']\nsessions = 0", ">= 1"),
        (
            b"[routes.a]\ndestinations = ['unix:/x']\nbalance = 'random'",
            "at `routes.a.balance` (write one of: failover, round-robin)",
        ),
        (
            b"[routes.a]\ndestinations = ['unix:/x']\nmode = 'fast'",
            "write one of: chunked, pipelined, lockstep",
        ),
        (
            b"[routes.b]\ndestinations = ['unix:/x']\n[routes.a]\ndestinations = ['unix:/x', 1]",
            "at `routes.a.destinations[1]`",
        ),
        (
            b"[routes.a]\ndestinations = ['unix:/x']\n[routes.'b\xe2\x80\xae']\nretry.first = 'x'",
            r"at `routes.b\u202e.retry.first`",
        ),
        (b"routes = 3", "at `routes`"),
        (b"[domains]\n'a.org' = 3", "at `domains.a.org`"),
        (b"[routes.a]\ndestinations = ['unix:/x']\nadapt = 1", "Expected `bool`"),
        (b"[routes.a]\ndestinations = ['unix:/x']\n[routes.a.retry]\nfirst = 'soon'", "Expected a duration"),
        (b"[routes.a]\ndestinations = ['unix:/x']\n[routes.a.retry]\nfirst = -1", "Expected a duration"),
        (
            b"[routes.a]\ndestinations = ['unix:/x']\n[routes.a.retry]\nfirst = '9h'",
            "above its retry.maximum",
        ),
        (b"[routes.a]\ndestinations = ['unix:/x']\ntls = 'must'", "Invalid enum value 'must'"),
        (b"[routes.a]\ndestinations = ['unix:/x']\ntls = 'secure'", "route 'a': unix:/x has no name"),
        (b"[routes.a]\ndestinations = ['unix:/x']\ntls-ca = 'x'", "route 'a': authorities are not"),
        (b"[routes.a]\ndestinations = ['unix:/x']\ntls-fingerprints = ['x']", "no SHA-256 digest"),
        (b"[routes.a]\ndestinations = ['unix:/x']\nauth-user = 'me'", "belong together"),
        (b"[routes.a]\ndestinations = ['unix:/x']\nauth-secret-file = 'x'", "belong together"),
        (b"[routes.a]\ndestinations = ['unix:/x']\nauth-plain = true", "no auth-user"),
        (
            b"[routes.a]\ndestinations = ['unix:/x']\nauth-user = \"a\\nb\"\nauth-secret-file = 'x'",
            "control character",
        ),
        (b"[routes.a]\ndestinations = ['unix:/x']\nauth-mechanisms = ['GSSAPI']", "Invalid enum value"),
        (
            b"[routes.a]\ndestinations=['inet:a.test']\ntls='none'\nauth-user='me'\nauth-secret-file='x'",
            "would be said in plain text",
        ),
        (b"[domains]\n'a.org' = 'nowhere'", "unknown route 'nowhere'"),
        (b"lhlo = 'two words'", "no name to greet"),
        (b"lhlo = 'h\xc3\xb6st'", "no name to greet"),
        (b'lhlo = "a\\r\\nb"', "no name to greet"),
        (b"[routes.a]\ndestinations = ['unix:/x']\n[routes.a.retry]\nmaximum = inf", "Expected a duration"),
        (b"[routes.a]\ndestinations = ['unix:/x']\n[routes.a.retry]\nfirst = nan", "Expected a duration"),
        (b"[routes.a]\ndestinations = ['unix:/x']\nidle = '3651d'", "at most 3650d"),
        (b"[routes.a]\ndestinations = ['unix:/x']\nidle = -1", "Expected a duration"),
        (b"[routes.a]\ndestinations = ['unix:/x']\nidle = 1" + b"0" * 400, "at most 3650d"),
        (b"[routes.a]\ndestinations = ['unix:/x']\nidle = '1" + b"0" * 400 + b"d'", "at most 3650d"),
        (b"[routes.a]\ndestinations = ['unix:/x']\ntimeouts.final = 0", "timeouts.final of zero"),
        (b"[worker]\nclaim = 'many'", "Expected `int`"),
    ],
)
def test_bad_configuration_is_refused(text: bytes, says: str) -> None:
    """Each mistake is named, in one line."""
    with pytest.raises(ConfigError, match=r"configuration test\b") as caught:
        parse_config(text, name="test")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unreadable_file(tmp_path: Path) -> None:
    """A file that is not there says how to name another."""
    with pytest.raises(NoInputError, match="--config"):
        load_config(tmp_path / "none.toml")


def test_file_is_read(tmp_path: Path) -> None:
    """A file is read as it stands."""
    path = tmp_path / "spooler.toml"
    path.write_bytes(GOOD)
    assert load_config(path) == parse_config(GOOD, name="other")


def test_protection_and_account() -> None:
    """The keys of TLS and AUTH, as what connections are made of."""
    text = b"""
[routes.a]
destinations = ["inet:a.test"]
tls = "fingerprint"
tls-implicit = true
tls-cert = "/c"
tls-key = "/k"
tls-fingerprints = ["%b"]
auth-user = "me"
auth-secret-file = "/s"
[routes.b]
destinations = ["unix:/x"]
auth-user = "me"
auth-secret-file = "s"
auth-mechanisms = ["PLAIN", "LOGIN"]
[routes.c]
destinations = ["inet:a.test"]
tls = "none"
auth-user = "me"
auth-secret-file = "s"
auth-plain = true
[routes.d]
destinations = ["unix:/x"]
""" % b":".join([b"AB"] * 32)
    routes = parse_config(text, name="test").routes
    assert routes["a"].protection() == Tls(
        level=TlsLevel.FINGERPRINT, implicit=True, cert="/c", key="/k", fingerprints=("ab" * 32,)
    )
    assert routes["a"].account() == Account(user="me", secret_file="/s")
    assert routes["b"].account() == Account(user="me", secret_file="s", mechanisms=("PLAIN", "LOGIN"))
    assert routes["c"].account() == Account(user="me", secret_file="s", plain=True)
    assert (routes["d"].protection(), routes["d"].account()) == (PLAIN, None)
