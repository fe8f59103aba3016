"""What was written is found again, whatever the death of its writer cut off."""

from __future__ import annotations

import errno
import os
import shutil
import time
from typing import TYPE_CHECKING

import msgspec
import pytest
import trio

from spooler.errors import CannotCreateError, StorageError
from spooler.journal import writer
from spooler.journal.place import Folder, create, orphans, root_of
from spooler.journal.reader import Found, read
from spooler.journal.record import VERSION, Head, Void, frame
from tests.journal.making import BOOT, SPOOL, WORKER, answer, journal, result

if TYPE_CHECKING:
    from pathlib import Path

    from trio.testing import MockClock

    from spooler.journal.record import Note


def can_be_written(ours: writer.Journal) -> bool:
    """Whether intents can be noted now."""
    return ours.writable


def found(root: Path, *, boot: str = BOOT, spool: str = SPOOL) -> Found | None:
    """Read the one journal that nobody holds."""
    (folder,) = orphans(root, spool=SPOOL)
    try:
        return read(folder, spool=spool, boot=boot)
    finally:
        folder.release()


def test_intents_without_a_result_are_uncertain(tmp_path: Path) -> None:
    """A result answers its intent, a void takes one back, the rest may have been delivered."""
    ours = journal(tmp_path)
    ours.intend("a", 1, [0, 1])
    ours.intend("b", 2, [0])
    ours.intend("c", 3, [0, 1])
    assert ours.push()
    answer(ours, [result(1, 0), result(1, 1)], "a")
    ours.close_intent("c", 3, [1])
    answer(ours, [result(3, 0)], "c")
    assert ours.push()
    ours.intend("d", 1, [1])  # a later attempt of the same worker
    assert ours.push()
    ours.abandon()
    assert found(tmp_path) == Found(
        [result(1, 0), result(1, 1), result(3, 0)], uncertain=[(2, 0), (1, 1)], complete=True
    )


def test_what_was_not_pushed_is_not_there(tmp_path: Path) -> None:
    """Notes count from the call that writes them."""
    ours = journal(tmp_path)
    ours.intend("a", 1, [0])
    ours.push()
    answer(ours, [result(1)], "a")
    ours.abandon()
    assert found(tmp_path) == Found([], uncertain=[(1, 0)], complete=True)


@pytest.mark.parametrize("cut", range(1, 60))
def test_a_torn_end_loses_the_last_frame_alone(tmp_path: Path, cut: int) -> None:
    """However much of the last frame is missing, what came before it stands."""
    ours = journal(tmp_path)
    ours.intend("a", 1, [0])
    ours.push()
    whole = ours.size
    answer(ours, [result(1)], "a")
    ours.push()
    end = ours.size
    ours.abandon()
    (folder,) = orphans(tmp_path, spool=SPOOL)
    (segment,) = folder.segments()
    data = bytearray(segment.read_bytes())
    data[max(whole, end - cut) : end] = bytes(min(cut, end - whole))
    segment.write_bytes(data)
    assert read(folder, spool=SPOOL, boot=BOOT) == Found([], uncertain=[(1, 0)], complete=True)
    folder.release()


def test_a_frame_that_rotted_ends_the_segment(tmp_path: Path) -> None:
    """A checksum that does not fit: what follows is not believed, and where more follows, nothing is safe."""
    ours = journal(tmp_path)
    ours.intend("a", 1, [0])
    ours.push()
    at = ours.size
    answer(ours, [result(1)], "a")
    ours.push()
    ours._begin_segment()  # as when it is full
    ours.intend("b", 2, [0])
    ours.push()
    ours.abandon()
    (folder,) = orphans(tmp_path, spool=SPOOL)
    first = folder.segments()[0]
    data = bytearray(first.read_bytes())
    data[at + 20] ^= 1
    first.write_bytes(data)
    assert read(folder, spool=SPOOL, boot=BOOT) == Found([], uncertain=[(1, 0), (2, 0)], complete=False)
    folder.release()


def test_after_a_power_cut_nothing_is_known_to_be_safe(tmp_path: Path) -> None:
    """Another boot: the journal's end may be lost, so what is not in it may have been sent all the same."""
    ours = journal(tmp_path)
    ours.intend("a", 1, [0])
    answer(ours, [result(1)], "a")
    ours.push()
    ours.abandon()
    assert found(tmp_path, boot="the next boot") == Found([result(1)], uncertain=[], complete=False)


def test_a_missing_segment_is_noticed(tmp_path: Path) -> None:
    """Segments are numbered: one that is gone from between took intents with it."""
    ours = journal(tmp_path)
    for _ in range(2):
        ours._begin_segment()
        ours.intend("a", 1, [0])
        ours.push()
    ours.abandon()
    (folder,) = orphans(tmp_path, spool=SPOOL)
    folder.segments()[1].unlink()
    assert read(folder, spool=SPOOL, boot=BOOT) == Found([], uncertain=[(1, 0)], complete=False)
    folder.release()


def test_another_spools_journal_is_not_touched(tmp_path: Path) -> None:
    """A folder that was copied to another spool's place says nothing about this one's recipients."""
    ours = journal(tmp_path)
    ours.push()
    ours.abandon()
    assert found(tmp_path, spool="another") is None


@pytest.mark.parametrize("head", [Head(VERSION + 1, SPOOL, WORKER, BOOT, 1), [Void(1, [0])]])
def test_another_versions_journal_is_not_touched(tmp_path: Path, head: Head | list[Note]) -> None:
    """What it says is not known here, and not to be thrown away: that version may come back."""
    journal(tmp_path).abandon()
    (path,) = tmp_path.glob("*/*/0*")
    path.write_bytes(frame(head))
    assert found(tmp_path) is None


def test_what_cannot_be_locked_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A journal that was left by root, or lost its lock file; but not one whose remover died at the end."""
    for worker in (1, 2, 3):
        journal(tmp_path, worker).abandon()
    first, second, third = sorted((tmp_path / SPOOL).iterdir())
    (first / "lock").unlink()
    for path in third.iterdir():
        path.unlink()
    real = os.open

    def opened(path: str | Path, *rest: int) -> int:
        if str(path).startswith(str(second)):
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path, *rest)

    monkeypatch.setattr(os, "open", opened)
    told: list[tuple[int, str]] = []
    assert list(orphans(tmp_path, spool=SPOOL, left=lambda *why: told.append(why))) == []
    assert told == [
        (1, f"{first}/lock cannot be opened: No such file or directory"),
        (2, f"{second}/lock cannot be locked: Permission denied"),
    ]
    assert not third.exists()


def test_a_folder_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """Nobody may find out only by its mail that journals are not replayed."""
    (tmp_path / SPOOL).touch()
    told: list[tuple[int, str]] = []
    assert list(orphans(tmp_path, spool=SPOOL, left=lambda *why: told.append(why))) == []
    assert told == [(0, f"{tmp_path / SPOOL} cannot be read: Not a directory")]


def test_a_living_workers_journal_is_nobodys_to_read(tmp_path: Path) -> None:
    """The lock tells: while its worker lives nobody finds it, when it dies everybody does, one at a time."""
    ours = journal(tmp_path)
    assert list(orphans(tmp_path, spool=SPOOL)) == []
    ours.abandon()
    (folder,) = orphans(tmp_path, spool=SPOOL)
    assert (folder.worker, list(orphans(tmp_path, spool=SPOOL))) == (WORKER, [])
    folder.remove()
    assert list(orphans(tmp_path, spool=SPOOL)) == []
    assert list((tmp_path / SPOOL).iterdir()) == []


def test_segments_go_when_all_in_them_is_settled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal is as large as what is unsettled: no old result and no old intent is left behind."""
    monkeypatch.setattr(writer, "SEGMENT", 4096)
    monkeypatch.setattr(writer, "RESERVE", 2048)
    ours = journal(tmp_path)
    folder = tmp_path / SPOOL
    ours.intend("old", 1, [0])
    for message in range(2, 202):
        assert ours.writable
        ours.intend(message, message, [0])
        assert ours.push()
        answer(ours, [result(message)], message)
        assert ours.push()
    assert len(list(folder.glob("*/0*"))) > 5
    ours.settled(200)
    answer(ours, [result(1)], "old")
    ours.push()
    ours.settled(1)
    assert len(list(folder.glob("*/0*"))) == 1
    ours.close()
    assert list(folder.iterdir()) == []


def test_an_answer_that_is_long_in_coming_keeps_no_segments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One server thinks for ten minutes while others take thousands a second: its intent is noted again."""
    monkeypatch.setattr(writer, "SEGMENT", 4096)
    monkeypatch.setattr(writer, "RESERVE", 2048)
    ours = journal(tmp_path)
    ours.intend("slow", 1, [0, 1])
    for message in range(2, 202):
        assert ours.writable
        ours.intend(message, message, [0])
        assert ours.push()
        answer(ours, [result(message)], message)
        assert ours.push()
        ours.settled(1)
        assert len(list(tmp_path.glob("*/*/0*"))) <= writer.KEPT + 1
    ours.abandon()
    told = found(tmp_path)
    assert told is not None
    assert (told.uncertain, told.complete) == ([(1, 0), (1, 1)], True)


def test_an_intent_that_cannot_be_noted_again_keeps_its_segment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not on the disk a second time is not removed from where it was."""
    ours = journal(tmp_path)
    ours.intend("slow", 1, [0])
    assert ours.push()
    for message in range(2, 6):
        ours._begin_segment()
        ours.record([result(message)])
        assert ours.push()
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", lambda *_: 5)
        ours.settled(4)
        ours.settled(0)
        assert len(list(tmp_path.glob("*/*/0*"))) == 5
    ours.settled(0)
    assert len(list(tmp_path.glob("*/*/0*"))) == 1
    ours.abandon()
    assert found(tmp_path) == Found([result(5)], uncertain=[(1, 0)], complete=True)


def test_partly_settled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of the spool need not be those of the journal: a note goes when its last result is settled."""
    monkeypatch.setattr(writer, "SEGMENT", 4096)
    ours = journal(tmp_path)
    ours.record([result(1, n) for n in range(10)])
    ours.push()
    ours._begin_segment()
    ours.settled(9)
    assert len(list(tmp_path.glob("*/*/0*"))) == 2
    ours.settled(1)
    assert len(list(tmp_path.glob("*/*/0*"))) == 1
    ours.abandon()


def test_a_full_disk_refuses_intents_and_takes_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The space for results of what is on its way was reserved before it went."""
    monkeypatch.setattr(writer, "SEGMENT", 8192)
    monkeypatch.setattr(writer, "RESERVE", 2048)
    monkeypatch.setattr(writer, "RESULT", 64)
    ours = journal(tmp_path)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    message = 0
    while can_be_written(ours):
        message += 1
        ours.intend(message, message, [0])
        assert ours.push()
    assert message > 20
    assert ours.trouble.endswith("cannot be written to: No space left on device")
    for done in range(1, 11):
        answer(ours, [result(done)], done)
        assert ours.push()
    monkeypatch.undo()
    monkeypatch.setattr(writer, "SEGMENT", 8192)
    monkeypatch.setattr(writer, "RESERVE", 4096)
    assert can_be_written(ours)  # there is space again
    assert not ours.trouble
    ours.abandon()
    told = found(tmp_path)
    assert told is not None
    assert [r.message_id for r in told.results] == list(range(1, 11))
    assert told.uncertain == [(n, 0) for n in range(11, message + 1)]


@pytest.mark.parametrize("recipients", [1, 1000])
def test_room_for_the_longest_results_of_what_is_on_its_way(
    recipients: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many recipients are handed over before the disk is full, each can be told of."""
    ours = journal(tmp_path)
    longest = msgspec.structs.replace(result(1), address="a" * 254, text="x" * 512, destination="d" * 100)
    for message in range(40):
        assert ours.writable
        ours.intend(message, message, list(range(recipients)))
        assert ours.push()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    reserved = sum(path.stat().st_size for path in tmp_path.glob("*/*/0*"))
    assert reserved < 3 * max(4 << 20, 40 * recipients * 1024)
    monkeypatch.setattr(os, "posix_fallocate", full)
    for message in range(40):
        answer(ours, [longest] * recipients, message)
        assert ours.push()
    assert sum(path.stat().st_size for path in tmp_path.glob("*/*/0*")) == reserved
    assert ours._owed == 0
    ours.abandon()


def test_a_write_that_fails_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be written is not lost: it goes out with the next notes."""
    ours = journal(tmp_path)
    ours.record([result(1)])
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", lambda *_: 5)
        assert not ours.push()
    ours.record([result(2)])
    assert ours.push()
    ours.abandon()
    told = found(tmp_path)
    assert told is not None
    assert [r.message_id for r in told.results] == [1, 2]


@pytest.mark.parametrize("what", ["removed", "moved", "emptied", "replaced"])
def test_a_journal_that_is_gone_is_broken(tmp_path: Path, what: str) -> None:
    """What goes on being written to it would be found by nobody: its worker sends nothing more."""
    told: list[str] = []
    folder = create(tmp_path, spool=SPOOL, worker=WORKER)
    ours = writer.Journal(folder, spool=SPOOL, boot=BOOT, every=0, broke=told.append)
    ours.look()
    assert told == []
    if what == "moved":
        folder.path.rename(tmp_path / "elsewhere")
    elif what == "emptied":
        (folder.path / "00000001").unlink()
    else:
        shutil.rmtree(folder.path)
        if what == "replaced":
            journal(tmp_path).abandon()
    ours.look()
    ours.look()
    assert told == [f"journal {folder.path} was removed under its worker"]
    assert not can_be_written(ours)
    ours.close()


def test_a_journal_that_cannot_be_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told as an error that can be mended, and what stays says nothing new."""
    ours = journal(tmp_path)
    for message in (1, 2):
        ours.record([result(message)])
        ours.push()
        ours._begin_segment()

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", refused)
        ours.settled(2)
        with pytest.raises(StorageError, match="cannot be removed: Permission denied"):
            ours.close()
    assert found(tmp_path) == Found([result(1), result(2)], uncertain=[], complete=True)


async def test_without_a_descriptor_it_is_synced_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """Too many open files are no fault of a disk: nothing breaks, and what is written becomes durable."""

    def dup(_: int) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    synced: list[int] = []
    monkeypatch.setattr(os, "dup", dup)
    monkeypatch.setattr(os, "fdatasync", synced.append)
    broke: list[str] = []
    folder = create(tmp_path, spool=SPOOL, worker=WORKER)
    ours = writer.Journal(folder, spool=SPOOL, boot=BOOT, every=0.01, broke=broke.append)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ours.run)
        for n in range(3):
            ours.intend(n, n, [0])
            assert ours.push()
            await trio.sleep(0.05)
        nursery.cancel_scope.cancel()
    assert (len(synced), ours.syncs, broke, ours.broken) == (3, 3, [], "")
    ours.abandon()


async def test_a_sync_that_fails_breaks_the_journal_for_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a failed fsync the kernel may have dropped the data: no later one makes it good."""
    told: list[str] = []
    folder = create(tmp_path, spool=SPOOL, worker=WORKER)
    ours = writer.Journal(folder, spool=SPOOL, boot=BOOT, every=0.001, broke=told.append)
    synced = 0
    once = trio.Event()

    def sync(descriptors: list[int]) -> None:
        nonlocal synced
        for fd in descriptors:
            os.close(fd)
        synced += 1
        if synced == 2:
            raise OSError(errno.EIO, "Input/output error")
        trio.from_thread.run_sync(once.set)

    monkeypatch.setattr(writer, "_sync", sync)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ours.run)
        ours.record([result(1)])
        ours.push()
        await once.wait()
        assert can_be_written(ours)
        ours.record([result(2)])
        ours.push()
    assert not can_be_written(ours)
    assert told == [f"journal {folder.path} cannot be synced: Input/output error"]
    assert synced == 2
    ours.abandon()


def test_where_a_journal_cannot_be_made(tmp_path: Path) -> None:
    """A place that is no folder is told with the key to change."""
    (tmp_path / "file").touch()
    with pytest.raises(CannotCreateError, match=r"worker\.journal"):
        create(tmp_path / "file", spool=SPOOL, worker=1)


def test_default_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside an SQLite file; for Postgres where this user, or its service manager, keeps state."""
    monkeypatch.chdir(tmp_path)
    for variable in ("STATE_DIRECTORY", "XDG_STATE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", "/home/somebody")
    assert str(root_of("sqlite:////var/lib/spooler/spool.db")) == "/var/lib/spooler/spool.db.journals"
    assert str(root_of("sqlite:///spool.db?x=1")) == f"{tmp_path}/spool.db.journals"
    assert str(root_of("sqlite:///a%20b.db")) == f"{tmp_path}/a b.db.journals"
    (tmp_path / "link").symlink_to(tmp_path)
    assert str(root_of("sqlite:///link/spool.db")) == f"{tmp_path}/spool.db.journals"
    assert str(root_of("postgresql://a@b/c")) == "/home/somebody/.local/state/spooler/journals"
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert str(root_of("postgresql://a@b/c")) == "/state/spooler/journals"
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/spooler:/other")
    assert str(root_of("postgresql://a@b/c")) == "/var/lib/spooler/journals"


def test_a_folder_that_is_being_made_is_not_found(tmp_path: Path) -> None:
    """It gets its name when it is locked, so nobody takes a new worker for a dead one."""
    (tmp_path / SPOOL / "0000000000025.new").mkdir(parents=True)
    (tmp_path / SPOOL / "notes").mkdir()
    assert list(orphans(tmp_path, spool=SPOOL)) == []
    assert list(orphans(tmp_path / "nowhere", spool=SPOOL)) == []
    assert isinstance(create(tmp_path, spool=SPOOL, worker=5), Folder)


def test_what_died_while_it_was_made_is_swept(tmp_path: Path) -> None:
    """The next worker removes it, but not what may still be in the making."""
    spool = tmp_path / SPOOL
    for name, age in (("0000000000025.new", 0), ("0000000000026.new", 7200), ("0000000000027.new", 7200)):
        (spool / name).mkdir(parents=True)
        if name != "0000000000026.new":
            (spool / name / "lock").touch()
        os.utime(spool / name, (time.time() - age,) * 2)
    create(tmp_path, spool=SPOOL, worker=5).release()
    assert sorted(path.name for path in spool.glob("*.new")) == ["0000000000025.new"]
