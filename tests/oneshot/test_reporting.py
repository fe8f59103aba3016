"""Exit codes and warnings."""

from __future__ import annotations

import pytest

from spooler.destination import parse_destination
from spooler.oneshot.reporting import exit_code, failure_code, no_way, warnings, word
from spooler.oneshot.way import Obstacle, Told
from spooler.policy.classify import Verdict
from spooler.reply import Stage
from spooler.result import Outcome
from spooler.trouble import Trouble

HERE = parse_destination("inet:127.0.0.1:24")


def _told(address: str, outcome: Outcome, *, enhanced: str = "", uncertain: bool = False) -> Told:
    verdict = Verdict(outcome, Stage.FINAL, 0, enhanced, "", uncertain)
    return Told(address, verdict, str(HERE))


GOOD = _told("a@x", Outcome.DELIVERED)
LATE = _told("b@x", Outcome.DEFERRED)
DOUBTFUL = _told("c@x", Outcome.DEFERRED, uncertain=True)
UNKNOWN = _told("d@x", Outcome.FAILED, enhanced="5.1.1")
REFUSED = _told("e@x", Outcome.FAILED, enhanced="5.7.1")


@pytest.mark.parametrize(
    ("told", "code"),
    [
        ([GOOD], 0),
        ([GOOD, LATE], 75),
        ([UNKNOWN, LATE], 75),
        ([DOUBTFUL], 75),
        ([GOOD, UNKNOWN, REFUSED], 67),
        ([REFUSED, UNKNOWN], 77),
    ],
)
def test_someone_deferred_decides_then_the_first_failure(told: list[Told], code: int) -> None:
    """Nothing is hidden by what went well."""
    assert exit_code(told) == code


@pytest.mark.parametrize(
    ("stage", "code", "enhanced", "exits"),
    [
        (Stage.RCPT, 550, "5.1.1", 67),
        (Stage.RCPT, 550, "5.1.2", 68),
        (Stage.RCPT, 550, "", 67),
        (Stage.FINAL, 552, "5.2.2", 69),
        (Stage.FINAL, 552, "5.2.3", 65),
        (Stage.FINAL, 554, "", 69),
        (Stage.MAIL, 552, "5.3.4", 65),
        (Stage.LOCAL, 0, "5.6.3", 65),
        (Stage.RCPT, 550, "5.7.1", 77),
        (Stage.MAIL, 501, "5.5.4", 76),
        (Stage.MAIL, 501, "", 76),
        (Stage.FINAL, 550, "", 69),
        (Stage.RCPT, 550, "5.0.0", 67),
    ],
)
def test_a_failure_has_the_code_of_its_subject(stage: Stage, code: int, enhanced: str, exits: int) -> None:
    """As sendmail maps them."""
    assert failure_code(Verdict(Outcome.FAILED, stage, code, enhanced)) == exits


def test_every_trouble_has_a_code_and_one_line() -> None:
    """The one that is not "nothing listens there" decides, for it is what to mend."""
    for trouble in Trouble:
        text, code = no_way([Obstacle(HERE, trouble, "why")])
        assert text.startswith("inet:127.0.0.1:24: why")
        assert 64 <= code <= 78
    socket = parse_destination("unix:/run/dovecot/lmtp")
    text, code = no_way(
        [
            Obstacle(socket, Trouble.NOT_PERMITTED, "permission denied"),
            Obstacle(HERE, Trouble.REFUSED, "connection refused"),
        ]
    )
    assert (
        text == "unix:/run/dovecot/lmtp: permission denied; inet:127.0.0.1:24: connection refused "
        "(run it as a user who may connect there)"
    )
    assert code == 77


def test_a_repetition_is_warned_of_only_where_somebody_would_get_a_second_copy() -> None:
    """Those that are to be tried again are named; those that may have it, apart."""
    assert warnings([GOOD, UNKNOWN]) == []
    assert warnings([LATE, UNKNOWN]) == []
    (line,) = warnings([GOOD, LATE, UNKNOWN])
    assert line == (
        "1 of 3 deferred: repeating the whole command would deliver twice to the others; "
        "repeat it for b@x alone"
    )
    (line,) = warnings([DOUBTFUL])
    assert line == "c@x may have the message already: repeating the command may deliver it twice"
    many = [_told(f"r{n}@x", Outcome.DEFERRED) for n in range(7)]
    (line,) = warnings([GOOD, *many])
    assert line.endswith("repeat it for r0@x, r1@x, r2@x, r3@x, r4@x and 2 more alone")
    assert word(DOUBTFUL) == "uncertain"
    assert word(LATE) == "deferred"
