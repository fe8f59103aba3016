"""The script as a table: what is said when."""

from __future__ import annotations

import pytest

from spooler.errors import UsageError
from spooler.lmtp.serving import CAPABILITIES
from spooler.reply import Reply, Stage
from spooler.sink.script import (
    DEFER,
    REFUSE,
    TOO_MANY_RECIPIENTS,
    Drop,
    DropAt,
    Play,
    Rule,
    Script,
    parse_delay,
    parse_drop,
    parse_reply,
    parse_rule,
    parse_without,
)

FULL = Reply(452, "4.2.2", ("mailbox full",))


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("bad@x", Rule("bad@x", REFUSE)),
        ("*", Rule("*", REFUSE)),
        ("bad-*@*.example=551 5.1.6 moved", Rule("bad-*@*.example", Reply(551, "5.1.6", ("moved",)))),
        ("bad@x=550", Rule("bad@x", Reply(550, "", ("",)))),
        ("bad@x=550 no code", Rule("bad@x", Reply(550, "", ("no code",)))),
        ("u=x.example@y", Rule("u=x.example@y", REFUSE)),
        ("u=x.example@y=554 5.7.1 no=no", Rule("u=x.example@y", Reply(554, "5.7.1", ("no=no",)))),
    ],
)
def test_rules_are_read(text: str, rule: Rule) -> None:
    """A pattern may hold "=" itself; a reply begins with three digits."""
    assert parse_rule(text, REFUSE) == rule


@pytest.mark.parametrize("text", ["", "=550 no", "a b@x", "u@x=nonsense", "u@x=450 4.1.1 later", "u@x\r\n"])
def test_rules_that_make_no_sense_are_refused(text: str) -> None:
    """An empty pattern, a misspelt reply and one of the wrong class are errors of usage."""
    with pytest.raises(UsageError):
        parse_rule(text, REFUSE)


@pytest.mark.parametrize("text", ["", "55", "550 5.1.1\r\n", "150 x", "550 4.1.1 x", "550x"])
def test_replies_that_are_none_are_refused(text: str) -> None:
    """Codes run from 200 to 599, and the enhanced code has their class."""
    if text == "550 4.1.1 x":
        with pytest.raises(UsageError):
            parse_reply(text)
    else:
        with pytest.raises(UsageError, match="not understood"):
            parse_reply(text)


def test_drops_delays_and_capabilities_are_read() -> None:
    """Each notation, and what it means."""
    assert parse_drop("after-dot:3") == Drop(DropAt.AFTER_DOT, 3)
    assert parse_drop("body") == Drop(DropAt.BODY)
    assert parse_delay("final=0.5") == (Stage.FINAL, 0.5)
    assert parse_delay("connect=2") == (Stage.CONNECT, 2.0)
    assert parse_without("dsn") == {"DSN"}
    assert parse_without("all") == set(CAPABILITIES)


@pytest.mark.parametrize("text", ["", "dot", "body:", "body:0", "body:-1", "body:x", "body:²"])
def test_drops_that_make_no_sense_are_refused(text: str) -> None:
    """The stage must be one, and the count positive."""
    with pytest.raises(UsageError):
        parse_drop(text)


@pytest.mark.parametrize(
    "text", ["", "final", "final=", "final=x", "final=-1", "final=nan", "body=1", "quit=1"]
)
def test_delays_that_make_no_sense_are_refused(text: str) -> None:
    """The stage must be one with a reply, and the time a number."""
    with pytest.raises(UsageError):
        parse_delay(text)


def test_an_unknown_capability_is_refused() -> None:
    """And the error names those there are."""
    with pytest.raises(UsageError, match="PIPELINING"):
        parse_without("TELEPATHY")


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("bad@x", REFUSE),
        ("bad@y", None),
        ("BAD@x", None),
        ("full-1@x", FULL),
        ("full-@x", FULL),
        ("not-full-1@x", None),
        ("a1@x", DEFER),
        ("a3@x", None),
    ],
)
def test_patterns_match_the_whole_address(address: str, expected: Reply | None) -> None:
    """Shell patterns, on all of the address, case-sensitive; at RCPT and in the final reply alike."""
    rules = (Rule("bad@x", REFUSE), Rule("full-*@x", FULL), Rule("a[12]@?", DEFER))
    play = Play(Script(at_rcpt=rules, at_final=rules))
    assert play.at_rcpt(address, 0) == expected
    assert play.at_final(address) == expected


def test_the_first_rule_that_matches_decides() -> None:
    """In the order in which they are given."""
    play = Play(Script(at_rcpt=(Rule("a*", REFUSE), Rule("*", DEFER))))
    assert [play.at_rcpt("a", 0), play.at_rcpt("b", 0)] == [REFUSE, DEFER]


def test_deferrals_end_after_so_many_times() -> None:
    """Each address is deferred as often as asked, at whatever stage, then let through; refusals stay."""
    play = Play(
        Script(at_rcpt=(Rule("r*", REFUSE), Rule("d*", DEFER)), at_final=(Rule("d*", FULL),), times=2)
    )
    assert [play.at_rcpt("d1", 0), play.at_final("d1"), play.at_rcpt("d1", 0), play.at_final("d1")] == [
        *(DEFER, FULL),
        *(None, None),
    ]
    assert [play.at_rcpt("d2", 0) for _ in range(3)] == [DEFER, DEFER, None]
    assert [play.at_rcpt("r", 0) for _ in range(3)] == [REFUSE] * 3


def test_too_many_recipients_are_counted_by_those_accepted() -> None:
    """452 4.5.3 once as many as allowed were accepted in the transaction."""
    play = Play(Script(max_recipients=2))
    assert [play.at_rcpt("a", accepted) for accepted in (0, 1, 2)] == [None, None, TOO_MANY_RECIPIENTS]


def test_drops_come_every_so_many_transactions() -> None:
    """At their stage and in every Nth transaction only; several drops are independent."""
    play = Play(Script(drops=(Drop(DropAt.BODY, 3), Drop(DropAt.MAIL, 2))))
    assert [number for number in range(1, 8) if play.drops(DropAt.BODY, number)] == [3, 6]
    assert [number for number in range(1, 8) if play.drops(DropAt.MAIL, number)] == [2, 4, 6]
    assert not play.drops(DropAt.DATA, 3)


@pytest.mark.parametrize(
    ("script", "sent"),
    [
        (Script(), [b"1", b"2", b"3"]),
        (Script(replies=2), [b"1", b"2", b"3", b"3", b"3"]),
        (Script(replies=-1), [b"1", b"2"]),
        (Script(replies=-3), []),
        (Script(replies=-9), []),
        (Script(one_reply=True), [b"1"]),
        (Script(one_reply=True, replies=1), [b"1", b"1"]),
    ],
)
def test_final_replies_are_miscounted(script: Script, sent: list[bytes]) -> None:
    """More repeats the last one, fewer leaves out the last ones, one reply is the first."""
    assert Play(script).sent_replies([b"1", b"2", b"3"]) == sent
    assert script.miscounts == (sent != [b"1", b"2", b"3"])


def test_what_is_left_out_is_not_announced() -> None:
    """The rest keeps its order."""
    script = Script(without=frozenset({"SMTPUTF8", "DSN"}))
    assert script.capabilities == ("PIPELINING", "CHUNKING", "8BITMIME", "ENHANCEDSTATUSCODES", "SIZE")
