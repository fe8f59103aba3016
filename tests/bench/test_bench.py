"""The bench runs every case, checks what it runs, and reports it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec
import pytest

from bench import cases, entrants, places
from bench.__main__ import main
from bench.cases import Case, Entrant
from bench.figures import Figures
from bench.filling import fill
from bench.places import Spools, Target
from bench.rounds import check, play

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_FIXTURES = {"smtp-sink": "smtp_sink_program", "dovecot": "dovecot_program", "cyrus": "cyrus_runs"}
_MARKS = ("dovecot", "cyrus")
_TINY = Case(name="t", title="t", messages=4, target="sink", entrants=(cases.SQLITE,))


@pytest.fixture(scope="module")
def spools() -> Iterator[Spools]:
    """Where spools are made."""
    with Spools() as made:
        yield made


def _marked(case: Case) -> object:
    marks = [getattr(pytest.mark, name) for name in _MARKS if name == case.target]
    return pytest.param(case, id=case.name, marks=marks)


@pytest.mark.postfix
@pytest.mark.parametrize("case", [_marked(case) for case in cases.tiny()])
def test_each_case_runs(
    case: Case, spools: Spools, request: pytest.FixtureRequest, postfix_runs: None
) -> None:
    """In a tiny size, each entrant delivers everything once, and has figures."""
    if case.target in _FIXTURES:
        request.getfixturevalue(_FIXTURES[case.target])
    said: list[str] = []
    result = play(case, spools, rounds=1, say=said.append)
    ran = result.scores
    assert [score.why_not for score in ran] == [None] * len(ran), said
    assert all(score.rate.median > 0 for score in ran)
    for score in ran:
        if score.entrant.kind is cases.Kind.SPOOLER:
            (run,) = score.runs
            assert run.cpu
            assert run.peak
            assert run.peak > 1 << 20
            assert sum(run.modes.values()) == run.messages
            assert score.entrant.mode is None or set(run.modes) == {score.entrant.mode}
            assert run.window
            assert score.entrant.adapt is not False or "(fixed by configuration)" in run.window


def test_a_run_that_did_not_deliver_everything_has_no_figure(
    spools: Spools, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the ledger has not what the case asks for, the run is an error, and its entrant is out."""

    def short(url: str, *, messages: int, recipients: int, size: int, to: tuple[str, ...]) -> None:
        fill(url, messages=messages - 1, recipients=recipients, size=size, to=to)

    monkeypatch.setattr(entrants, "fill", short)
    (score,) = play(_TINY, spools, rounds=2, say=lambda _: None).scores
    assert (score.runs, score.failed) == ([], True)
    assert "of 4 recipients" in str(score.why_not)


@pytest.mark.parametrize(("transactions", "delivered"), [(5, None), (4, 3)])
def test_a_target_that_counted_something_else_is_an_error(transactions: int, delivered: int | None) -> None:
    """One transaction too many, or a recipient too few, is no figure."""
    server = Target(port=1, mailboxes=(), transactions=transactions, delivered=delivered)
    with pytest.raises(entrants.BenchError, match="were due"):
        entrants._check_target(_TINY, server)


def test_what_spooler_did_is_compared_recipient_by_recipient(
    spools: Spools, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run into a recording sink has each recipient with its own content; a line lost or doubled is told."""
    assert entrants.verify(_TINY, cases.SQLITE, spools) == 4

    def tampered(case: Case, entrant: Entrant, spools: Spools, *, record: bool) -> tuple[Target, object]:
        server, cost = honest(case, entrant, spools, record=record)
        _, *others = server.record
        return replace(server, record=(*others, others[0])), cost

    honest = entrants._drain
    monkeypatch.setattr(entrants, "_drain", tampered)
    with pytest.raises(entrants.BenchError, match="1 recipients did not get their message, 1 got one too"):
        entrants.verify(_TINY, cases.SQLITE, spools)
    result = play(replace(_TINY, entrants=()), spools, rounds=1, say=lambda _: None)
    check([result], spools, say=lambda _: None)


def test_who_cannot_run_is_named(
    spools: Spools, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where a server is not installed, the case is not run and says why; that is no failure."""
    monkeypatch.setattr(places, "find", lambda _: None)
    assert main(["--size", "tiny", "--only", "1x1k", "--rounds", "1"]) == 0
    assert "spooler, SQLite: not run: smtp-sink is not installed" in capsys.readouterr().out


@pytest.mark.postfix_tools
def test_it_writes_its_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], smtp_sink_program: str
) -> None:
    """The command prints the report and writes it, the same figures as JSON, with machine and settings, and
    the plots."""
    assert main(["--size", "tiny", "--rounds", "2", "--only", "50x4k", "--results", str(tmp_path)]) == 0
    assert capsys.readouterr().out.strip() == (tmp_path / "bench.md").read_text().strip()
    kept = msgspec.json.decode((tmp_path / "bench.json").read_bytes(), type=Figures)
    (case,) = kept.cases
    spooler = case.entrant(cases.SQLITE.name)
    assert spooler is not None
    assert spooler.rate is not None
    assert len(spooler.rates) == len(spooler.windows) == 2
    assert spooler.verified == case.messages * 50
    assert {"processor", "cores", "sqlite", "python", "postfix"} <= set(kept.facts)
    assert [goal.case for goal in kept.goals] == ["50x4k"]
    assert {path.name for path in tmp_path.iterdir()} == {"bench.md", "bench.json", "drains.svg"}


def test_a_case_that_does_not_exist_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """With the names of those that do."""
    with pytest.raises(SystemExit) as ended:
        main(["--only", "2x4k"])
    assert ended.value.code == 2
    assert "2x4k (there are 1x4k, 10x4k" in capsys.readouterr().err


def test_the_data_hangs_together() -> None:
    """Names are unique, and goals speak of cases and entrants that exist."""
    every = (*cases.CASES, *cases.TUNING)
    assert max(Counter(case.name for case in every).values()) == 1
    by_name = {case.name: [entrant.name for entrant in case.entrants] for case in every}
    for names in by_name.values():
        assert len(set(names)) == len(names)
    for goal in cases.GOALS:
        assert {goal.of, *goal.against} <= set(by_name[goal.case])
        assert goal.at_least < goal.goal
    assert {case.name for case in cases.quick()} < {case.name for case in cases.full()}
    assert [case.name for case in cases.tiny()] == [case.name for case in every]
