"""The rules of `spooler.policy.classify`, held against every combination of what a dialogue can show."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from spooler.policy.classify import Seen, Then, Verdict, judge
from spooler.reply import Reply, Stage
from spooler.result import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

CODES = {
    "none": None,
    "ok": Reply(250, "2.0.0", ("ok",)),
    "go": Reply(354, "", ("go",)),
    "closing": Reply(421, "4.3.2", ("closing",)),
    "later": Reply(451, "4.3.0", ("later",)),
    "session": Reply(452, "4.4.5", ("enough",)),
    "too many": Reply(452, "4.5.3", ("too many",)),
    "full": Reply(452, "4.2.2", ("full",)),
    "bare 452": Reply(452, "", ("?",)),
    "no": Reply(550, "5.1.1", ("no",)),
    "sequence": Reply(503, "5.5.1", ("sequence",)),
    "log in": Reply(530, "5.7.0", ("log in",)),
}
FAILING = {"no"}
TEMPORARY = {"closing", "later", "session", "too many", "full", "bare 452", "sequence", "log in"}
CROWD = {"too many", "bare 452"}
FAULT = "gone"


def expected(row: dict[str, str], flags: dict[str, bool]) -> tuple[Outcome, Stage, bool, Then]:
    """Say by the rules' own words what a row means: outcome, stage, uncertain, and what comes next."""
    mail, rcpt, data, final = (row[name] for name in ("mail", "rcpt", "data", "final"))
    if final != "none" and not flags["final_provisional"]:
        if final == "ok":
            return Outcome.DELIVERED, Stage.FINAL, False, Then.SETTLE
        if final in FAILING:
            return Outcome.FAILED, Stage.FINAL, False, Then.SETTLE
        # these can not stand there, and closing may come for a reply that was due and is missing
        doubtful = final in {"sequence", "log in", "go", "closing"}
        return Outcome.DEFERRED, Stage.FINAL, doubtful, Then.SETTLE
    # what can not stand there, and a server that is out of step, does not tell that anything was refused
    refused = {mail, rcpt} - {"none", "ok", "go", "sequence", "log in"}
    if flags["handed_over"] and (flags["envelope_provisional"] or not refused):
        return Outcome.DEFERRED, Stage.FINAL, True, Then.SETTLE
    if not flags["envelope_provisional"]:
        for stage, name in ((Stage.MAIL, mail), (Stage.RCPT, rcpt), (Stage.DATA, data)):
            if name in {"none", "ok" if stage is not Stage.DATA else "go"}:
                continue
            then = Then.SETTLE
            if stage is Stage.MAIL and name in {"closing", "session"} and flags["later"]:
                then = Then.FRESH_CONNECTION
            if stage is Stage.RCPT and name in CROWD and flags["crowded"]:
                then = Then.NEXT_TRANSACTION
            return Outcome.FAILED if name in FAILING else Outcome.DEFERRED, stage, False, then
    return Outcome.DEFERRED, Stage.BODY, False, Then.FRESH_CONNECTION


def rows() -> Iterator[dict[str, str]]:
    """All that can stand in the four slots together."""
    for values in itertools.product(CODES, repeat=4):
        yield dict(zip(("mail", "rcpt", "data", "final"), values, strict=True))


FLAGS = ("handed_over", "envelope_provisional", "final_provisional", "crowded", "later")


@pytest.mark.parametrize("values", list(itertools.product([False, True], repeat=len(FLAGS))))
def test_whole_table(values: tuple[bool, ...]) -> None:
    """12 replies in each of four slots, 32 states of the dialogue: 660,000 rows as the rules say."""
    flags = dict(zip(FLAGS, values, strict=True))
    for row in rows():
        verdict = _judge(row, flags)
        found = (verdict.outcome, verdict.stage, verdict.uncertain, verdict.then)
        assert found == expected(row, flags), (row, flags)


def _judge(row: dict[str, str], flags: dict[str, bool]) -> Verdict:
    return judge(
        Seen(
            mail=CODES[row["mail"]],
            rcpt=CODES[row["rcpt"]],
            data=CODES[row["data"]],
            final=CODES[row["final"]],
            handed_over=flags["handed_over"],
            envelope_provisional=flags["envelope_provisional"],
            final_provisional=flags["final_provisional"],
            crowded=flags["crowded"],
            place=int(flags["later"]),
            fault=FAULT,
            fault_stage=Stage.BODY,
        )
    )


@pytest.mark.parametrize(
    ("slot", "stage"),
    [("mail", Stage.MAIL), ("rcpt", Stage.RCPT), ("data", Stage.DATA), ("final", Stage.FINAL)],
)
@pytest.mark.parametrize("name", sorted({*FAILING, *TEMPORARY}))
def test_a_verdict_carries_the_servers_words(slot: str, stage: Stage, name: str) -> None:
    """Code, enhanced code and text are those of the reply that decided."""
    row = {"mail": "ok", "rcpt": "ok", "data": "go", "final": "none", slot: name}
    verdict = _judge(row, dict.fromkeys(FLAGS, False))
    reply = CODES[name]
    assert reply is not None
    assert (verdict.stage, verdict.code, verdict.enhanced, verdict.text) == (
        stage,
        reply.code,
        reply.enhanced,
        reply.text,
    )


def test_what_nobody_said_is_told_in_our_words() -> None:
    """Lost: why. Handed over: that it may be delivered. Neither: that there was no reply."""
    lost = dict.fromkeys(FLAGS, False)
    nothing = dict.fromkeys(("mail", "rcpt", "data", "final"), "none")
    assert _judge(nothing, lost).text == "gone"
    assert _judge(nothing, {**lost, "handed_over": True}).text == (
        "gone; end of data was sent, so it may be delivered already"
    )
    assert judge(Seen()).text == "no reply"
    assert "could not be matched" in judge(Seen(handed_over=True)).text
