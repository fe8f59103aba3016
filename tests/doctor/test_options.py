"""What a configuration says that makes no sense is named with the place and the mend."""

from __future__ import annotations

import pytest

from spooler.config import parse_config
from spooler.doctor.finding import Finding, Level, exit_code_of
from spooler.doctor.options import check_options

WHOLE = 'spool = "sqlite:////var/spool.db"\n[routes.default]\ndestinations = ["unix:/lmtp"]\n'


def check(text: str, *, memory: int = 8 << 30) -> list[Finding]:
    """Judge the text of a configuration."""
    return check_options(parse_config(text.encode(), name="c"), name="c", memory=memory)


def test_nothing_to_say() -> None:
    """A configuration that makes sense gives no finding."""
    assert check(WHOLE) == []


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        (WHOLE.replace("////", "///"), "c", "relative"),
        (WHOLE.replace("[routes.default]", "[routes.other]"), "c", "no route 'default'"),
        (WHOLE + '[worker]\njournal = "journals"\n', "c, [worker]", "journal is relative"),
        (WHOLE + "[worker]\njournal-sync = 0\n", "c, [worker]", "journal-sync is 0"),
        (WHOLE + "hold-off = 0\n", "c, [routes.default]", "hold-off is 0"),
        (WHOLE + "[worker]\nbuffer = 5000000000\n", "c, [worker]", "half of this machine's memory"),
        (WHOLE + 'balance = "round-robin"\n', "c, [routes.default]", "no effect with one destination"),
        (WHOLE.replace('"unix:/lmtp"', '"unix:/a", "unix:/a"'), "c, [routes.default]", "named twice"),
        (WHOLE.replace("unix:/lmtp", "inet:127.0.0.1:25"), "c, [routes.default]", "SMTP's port"),
        (WHOLE + 'idle = "10m"\n', "c, [routes.default]", "idle is 600 s"),
        (WHOLE + 'timeouts.final = "30s"\n', "c, [routes.default]", "delivered again"),
        (WHOLE + 'retry.lifetime = "30s"\n', "c, [routes.default]", "before its second attempt"),
    ],
)
def test_what_makes_no_sense(text: str, where: str, what: str) -> None:
    """Each is one warning, with the place and the mend, and no problem."""
    (found,) = check(text)
    assert found.level is Level.WARNING
    assert found.where == where
    assert what in found.what
    assert found.mend
    assert exit_code_of([found]) == 0


def test_nowhere_to_deliver() -> None:
    """Without a route no worker would start: a problem of the configuration."""
    (found,) = check("")
    assert (found.level, found.exit_code) == (Level.PROBLEM, 78)
    assert "nowhere to deliver" in found.what


def test_a_domain_whose_route_is_not_there() -> None:
    """The route "default" may come from --target; where it does not, who takes it waits for ever."""
    text = WHOLE.replace("[routes.default]", "[routes.other]") + '[domains]\n"a.org" = "default"\n'
    assert [(f.level, f.exit_code) for f in check(text)] == [(Level.WARNING, 0), (Level.PROBLEM, 78)]


def test_first_problem_decides() -> None:
    """The exit code is the first problem's, whatever comes after it."""
    ok = Finding(level=Level.OK, about="a", where="b", what="c")
    first = Finding(level=Level.PROBLEM, about="a", where="b", what="c", exit_code=69)
    second = Finding(level=Level.PROBLEM, about="a", where="b", what="c", exit_code=77)
    assert exit_code_of([ok, first, second]) == 69
    assert exit_code_of([ok]) == 0
