"""Making messages: validation, routes, repeated recipients, lifetimes."""

from __future__ import annotations

import re

import pytest

from spooler.config import Config, parse_config
from spooler.envelope import DEFAULT_LIFETIME, Content, NewMessage, NewRecipient, Notify
from spooler.errors import DataError, UsageError
from spooler.intake.normalise import normalise
from spooler.intake.submit import MAX_AHEAD, Options, address_to, check_options, check_route, make_message

NOW = 1_800_000_000_000_000
CONTENT: Content = normalise(b"A: 1\n\nx\n")[1]
CONFIG = parse_config(
    b"""
    [routes.store]
    destinations = ["unix:/s"]
    retry.lifetime = "1d"
    [routes.slow]
    destinations = ["unix:/t"]
    retry.lifetime = "9d"
    [domains]
    "a.example" = "store"
    "b.example" = "slow"
    """,
    name="test",
)


def message(addresses: list[str], options: Options | None = None, config: Config = CONFIG) -> NewMessage:
    return make_message(
        "s@example.org", address_to(addresses, config=config), CONTENT, options or Options(), now=NOW
    )


def test_repeated_recipients_are_left_out() -> None:
    """The same address counts once; domains have no case, local parts have."""
    found = address_to(["a@X.example", "a@x.example", "<a@x.EXAMPLE>", "A@x.example"], config=Config())
    assert [one.address for one in found.recipients] == ["a@x.example", "A@x.example"]
    assert found.repeated == 2


def test_routes() -> None:
    """By domain, else "default"; a named route takes all."""
    by_domain = address_to(["x@A.example", "x@b.example", "x@c.example", "root"], config=CONFIG)
    assert [one.route for one in by_domain.recipients] == ["store", "slow", "default", "default"]
    named = address_to(["x@a.example"], config=CONFIG, route="slow", notify=Notify.NEVER)
    assert named.recipients == (NewRecipient(address="x@a.example", route="slow", notify=Notify.NEVER),)


def test_unknown_route_names_the_known() -> None:
    """The error lists what there is; "default" is always there."""
    assert check_route("default", config=Config()) == "default"
    with pytest.raises(UsageError, match="route 'sotre' is unknown") as caught:
        check_route("sotre", config=CONFIG)
    assert "default, slow, store" in caught.value.hint


def test_bad_recipient() -> None:
    """An address with a line break is refused and shown in one line."""
    with pytest.raises(DataError, match="line break") as caught:
        address_to(["a@x.example", "b@x.example\r\nRCPT TO:<c@x.example>"], config=Config())
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="no recipient"):
        address_to([], config=Config())


def test_lifetime_is_the_longest_of_the_routes() -> None:
    """A message expires by what its routes say, from the later of now and not-before, or by its own word."""
    day = 86_400_000_000
    assert message(["x@a.example"]).expires == NOW + day
    assert message(["x@a.example", "x@b.example"]).expires == NOW + 9 * day
    assert message(["x@c.example"]).expires == NOW + DEFAULT_LIFETIME
    assert message(["x@a.example"], Options(not_before=NOW + day)).expires == NOW + 2 * day
    assert message(["x@a.example"], Options(expires=NOW + 1)).expires == NOW + 1


def test_smtputf8_follows_the_addresses() -> None:
    """It is needed when an address, the sender's included, is not ASCII."""
    plain = address_to(["a@x.example"], config=Config())
    assert not make_message("a@x.example", plain, CONTENT, Options(), now=NOW).smtputf8
    assert make_message("ä@x.example", plain, CONTENT, Options(), now=NOW).smtputf8
    assert message(["ä@x.example"]).smtputf8


def test_null_sender() -> None:
    """ "<>" is the null sender."""
    assert make_message("<>", address_to(["a@x"], config=Config()), CONTENT, Options(), now=NOW).sender == ""


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (Options(job="a\nb"), r"job 'a\\nb' has control characters$"),
        (Options(tenant="x" * 201), "tenant 'x+…' is longer than 200 characters$"),
        (Options(idempotency_key=""), "idempotency key is empty"),
        (Options(idempotency_key="\0"), "idempotency key"),
        (Options(envid="a\nb"), "envelope id"),
        (Options(envid="x" * 101), "envelope id"),
        (Options(ret="all"), "ret"),
        (Options(expires=-1), "time to expire is before 1970$"),
        (Options(not_before=NOW + MAX_AHEAD + 1), "earliest delivery is too far ahead$"),
        (Options(expires=NOW), "expire before"),
        (Options(expires=NOW + 5, not_before=NOW + 5), "expire before"),
    ],
)
def test_options_that_cannot_be(options: Options, why: str) -> None:
    """Each is refused with its name."""
    with pytest.raises(UsageError) as caught:
        check_options(options, now=NOW)
    assert re.search(why, caught.value.what)
