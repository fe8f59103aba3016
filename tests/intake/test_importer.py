"""Imports: batches, nothing twice, nothing missed, what is refused and why."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from spooler.envelope import CHUNK_SIZE, Enqueued, ImportIdentity, NewMessage, Priority
from spooler.errors import NoInputError, StorageError
from spooler.ident import now_us
from spooler.intake import importer
from spooler.intake.importer import Importer, ImportPlan, IntakeStore, Report
from spooler.intake.normalise import normalise
from spooler.intake.submit import Options
from spooler.records import MessageInfo, QueuedRecipient, QueueFilter
from spooler.spool.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

GIVEN = ImportPlan(sender="s@example.org", recipients=("r@example.org",))


@pytest.fixture
def store(spool_url: str) -> Iterator[Store]:
    with Store.open(spool_url) as opened:
        yield opened


def run(store: IntakeStore, *paths: Path, plan: ImportPlan = GIVEN) -> Report:
    return Importer(store, plan, clock=now_us).run(paths)


def rows(store: Store) -> list[QueuedRecipient]:
    return store.queue(filter=QueueFilter(), limit=100_000, after=None)


def info(store: Store, ident: int) -> MessageInfo:
    message = store.message(ident)
    assert message is not None
    return message


def bytes_of(store: Store, ident: int) -> bytes:
    content = info(store, ident).content
    pieces: list[bytes] = []
    while (piece := store.chunk(content, len(pieces))) is not None:
        pieces.append(piece)
    return b"".join(pieces)


def mbox(path: Path, count: int) -> Path:
    one = "From a@example.org Mon Jan  5 10:00:00 2026\nSubject: {}\n\nhello\n\n"
    path.write_text("".join(one.format(n) for n in range(count)))
    return path


def outcome(report: Report) -> tuple[int, int, int]:
    return report.imported, report.already, report.refused


class Dies:
    """A store that fails for good at the n-th call that writes, before or after it has committed."""

    def __init__(self, store: Store, *, at: int, committed: bool) -> None:
        self.store = store
        self.left = at
        self.committed = committed

    def imported(self, identities: Sequence[ImportIdentity]) -> set[ImportIdentity]:
        return self.store.imported(identities)

    def store_chunks(self, chunks: Iterable[bytes], *, now: int) -> int:
        self._count(before=True)
        stored = self.store.store_chunks(chunks, now=now)
        self._count(before=False)
        return stored

    def enqueue(self, messages: Sequence[NewMessage], *, now: int) -> list[Enqueued]:
        self._count(before=True)
        answers = self.store.enqueue(messages, now=now)
        self._count(before=False)
        return answers

    def _count(self, *, before: bool) -> None:
        if before:
            self.left -= 1
        if self.left <= 0 and before != self.committed:
            raise StorageError("the disk is gone")


def test_import_normalises_and_keeps_the_envelope(store: Store, tmp_path: Path) -> None:
    """What stands in the spool is the normalised message with the envelope of the options."""
    path = tmp_path / "a.eml"
    path.write_bytes(b"Subject: hi\n\nhello\n")
    plan = ImportPlan(
        sender="<>",
        recipients=("a@example.org", "b@example.org", "a@example.org"),
        options=Options(job="june", priority=Priority.BULK),
    )
    report = run(store, path, plan=plan)
    assert (outcome(report), report.recipients, report.mended, report.read) == ((1, 0, 0), 2, 1, 19)
    first, second = rows(store)
    assert (first.sender, first.address, second.address, first.job) == (
        "",
        "a@example.org",
        "b@example.org",
        "june",
    )
    assert first.priority is Priority.BULK
    assert bytes_of(store, first.message_id) == b"Subject: hi\r\n\r\nhello\r\n"
    assert info(store, first.message_id).source == str(path.resolve())


def test_envelope_from_headers(store: Store, tmp_path: Path) -> None:
    """Without options the header names both, and what does not is refused with the mend."""
    (tmp_path / "1").write_text("Return-Path: <s@example.org>\nDelivered-To: r@example.org\n\nx\n")
    (tmp_path / "2").write_text("Delivered-To: r@example.org\n\nx\n")
    (tmp_path / "3").write_text("Return-Path: <s@example.org>\nTo: t@example.org\n\nx\n")
    report = run(store, tmp_path, plan=ImportPlan())
    assert outcome(report) == (1, 0, 2)
    assert [(row.sender, row.address) for row in rows(store)] == [("s@example.org", "r@example.org")]
    no_sender, no_recipient = report.refusals
    assert "no Return-Path" in no_sender.why
    assert "-f" in no_sender.why
    assert "X-Original-To" in no_recipient.why
    assert "--recipients-from to" in no_recipient.why
    assert outcome(run(store, tmp_path, plan=ImportPlan(visible=True))) == (1, 1, 1)


def test_sender_from_the_mbox(store: Store, tmp_path: Path) -> None:
    """A From_ line is the sender where there is no Return-Path; options come before both."""
    path = mbox(tmp_path / "box", 1)
    run(store, path, plan=ImportPlan(recipients=("r@example.org",)))
    run(store, path, plan=ImportPlan(recipients=("r@example.org",), sender="o@example.org", again=True))
    assert [row.sender for row in rows(store)] == ["a@example.org", "o@example.org"]


def test_nothing_twice(store: Store, tmp_path: Path) -> None:
    """A second run takes only what is new, even if the first file is named twice."""
    first = mbox(tmp_path / "first", 3)
    assert outcome(run(store, first, first)) == (3, 3, 0)
    second = mbox(tmp_path / "second", 2)
    assert outcome(run(store, tmp_path / "first", second)) == (2, 3, 0)
    assert len(rows(store)) == 5


def test_same_bytes_at_two_places_are_two(store: Store, tmp_path: Path) -> None:
    """Copies are messages of their own."""
    for name in ("1", "2"):
        (tmp_path / name).write_text("A: b\n\nx\n")
    assert outcome(run(store, tmp_path)) == (2, 0, 0)


def test_again(store: Store, tmp_path: Path) -> None:
    """If asked, what was imported before is taken once more."""
    path = mbox(tmp_path / "box", 2)
    run(store, path)
    again = ImportPlan(sender="s@example.org", recipients=("other@example.org",), again=True)
    assert outcome(run(store, path, plan=again)) == (2, 0, 0)
    assert outcome(run(store, path)) == (0, 2, 0)
    assert len(rows(store)) == 4


@pytest.mark.parametrize("committed", [False, True])
@pytest.mark.parametrize("at", range(1, 6))
def test_stopped_anywhere_and_repeated(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int, committed: bool
) -> None:
    """An import that dies at any of its five writes, committed or not, is completed by the next."""
    monkeypatch.setattr(importer, "BATCH_MESSAGES", 4)
    folder = tmp_path / "mail"
    folder.mkdir()
    mbox(folder / "box", 10)
    for n in range(2):
        (folder / f"large{n}").write_bytes(b"A: b\n\n" + b"%d" % n * (CHUNK_SIZE + 10))
    with pytest.raises(StorageError, match="disk is gone"):
        run(Dies(store, at=at, committed=committed), folder)
    before = len(rows(store))
    assert before in {0, 4, 8, 12}
    assert outcome(run(store, folder)) == (12 - before, before, 0)
    assert len({info(store, row.message_id).sha256 for row in rows(store)}) == len(rows(store)) == 12


def test_refused_messages_do_not_stop_the_rest(store: Store, tmp_path: Path) -> None:
    """Empty, NUL-carrying and oversized messages are named with file, place and reason."""
    (tmp_path / "1-empty").write_bytes(b"")
    (tmp_path / "2-nul").write_bytes(b"A: b\n\nx\0y\n")
    (tmp_path / "3-large").write_bytes(b"A: b\n\n" + b"x" * 500)
    (tmp_path / "4-good").write_bytes(b"A: b\n\nx\n")
    (tmp_path / "5-large-nul").write_bytes(b"A: b\n\n" + b"x" * CHUNK_SIZE + b"\0")
    box = mbox(tmp_path / "6-box", 1)
    box.write_text(box.read_text() + "From a@example.org Mon Jan  5 10:00:00 2026\n")
    plan = ImportPlan(sender="s@example.org", recipients=("r@example.org",), max_size=400)
    report = run(store, tmp_path, plan=plan)
    assert outcome(report) == (2, 0, 5)
    found = {Path(one.path).name: (one.offset, one.why) for one in report.refusals}
    assert found["1-empty"][1].startswith("the message is empty")
    assert found["2-nul"][1].startswith("the message has a NUL at byte offset 7")
    assert found["3-large"][1].startswith("the message is larger than the limit of 400 bytes")
    assert found["5-large-nul"][1].startswith("the message has a NUL at byte offset 262150")
    assert found["6-box"][0] > 0


def test_bad_address_in_a_header_is_refused(store: Store, tmp_path: Path) -> None:
    """What a header gives is judged like any other address."""
    (tmp_path / "1").write_text("Return-Path: <s@example.org>\nDelivered-To: <a b@example.org>\n\nx\n")
    report = run(store, tmp_path, plan=ImportPlan())
    assert "recipient address 'a b@example.org'" in report.refusals[0].why


def test_unreadable_file(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that cannot be opened is refused, the next one is taken."""
    (tmp_path / "1").write_text("A: b\n\nx\n")
    (tmp_path / "2").write_text("A: b\n\nx\n")
    really = os.open

    def deny(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if str(path).endswith("/1"):
            raise PermissionError(13, "Permission denied")
        return really(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", deny)
    report = run(store, tmp_path)
    assert outcome(report) == (1, 0, 1)
    assert report.refusals[0].why == "cannot be read: Permission denied"


def test_missing_path_imports_nothing(store: Store, tmp_path: Path) -> None:
    """A path that is not there is found out before anything is imported."""
    with pytest.raises(NoInputError):
        run(store, mbox(tmp_path / "box", 1), tmp_path / "missing")
    assert rows(store) == []


def test_large_messages_are_streamed(store: Store, tmp_path: Path) -> None:
    """A message of several chunks comes out as it went in, mbox quoting aside."""
    body = b"Subject: 1\n\n" + b"a line\n>From x\n" * 60_000
    (tmp_path / "box").write_bytes(b"From a@example.org Mon Jan  5 10:00:00 2026\n" + body)
    assert outcome(run(store, tmp_path)) == (1, 0, 0)
    (row,) = rows(store)
    assert bytes_of(store, row.message_id) == normalise(body.replace(b">From", b"From"))[0]
    assert outcome(run(store, tmp_path)) == (0, 1, 0)


def test_progress_is_told(store: Store, tmp_path: Path) -> None:
    """After each message the report tells how many bytes were read, and at the end all that were imported."""
    path = mbox(tmp_path / "box", 3)
    told: list[tuple[int, int]] = []
    Importer(
        store, GIVEN, clock=now_us, progress=lambda report: told.append((report.read, report.imported))
    ).run([path])
    assert [read for read, _ in told] == [18, 36, 54, 54]
    assert told[-1] == (54, 3)


def corpus() -> Path:
    """The folder of real messages that tests may read in place."""
    named = os.environ.get("SPOOLER_CORPUS")
    return Path(named) if named else Path(__file__).parents[3] / "shared/corpus"


def without_from_line(path: Path) -> bytes:
    """Read a file that holds one message; if it is written as an mbox, take that off."""
    raw = path.read_bytes()
    if not raw.startswith(b"From "):
        return raw
    body = raw.partition(b"\n")[2]
    return body[:-1] if path.suffix != ".eml" and body.endswith(b"\n\n") else body


@pytest.mark.skipif(not corpus().is_dir(), reason="no folder of real messages: name one with SPOOLER_CORPUS")
def test_real_messages_one_a_file(store: Store) -> None:
    """Every file of the corpus is one message, and stands in the spool as its own bytes, normalised."""
    folder = corpus()
    files = [path for path in folder.rglob("*") if path.is_file()]
    report = run(store, folder)
    assert outcome(report) == (len(files), 0, 0)
    assert report.passed == 0
    for row in rows(store):
        source = info(store, row.message_id)
        assert source.source is not None
        found = [
            path
            for path in files
            if path.name.partition(":")[0] == Path(source.source).name.partition(":")[0]
        ]
        assert bytes_of(store, row.message_id) in {normalise(without_from_line(path))[0] for path in found}
    assert outcome(run(store, folder)) == (0, len(files), 0)
