"""The reader of journals, given anything: it never raises, and tells of no result that was not written."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spooler.journal import writer
from spooler.journal.place import orphans
from spooler.journal.reader import Found, read
from spooler.journal.record import PREFIX, Ending, Head, Intent, frame, notes_of
from tests.journal.making import BOOT, SPOOL, WORKER, answer, journal, result

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from spooler.journal.writer import Journal

Deed = tuple[str, int, int]  # what, of which message, to how many recipients
WHAT = st.sampled_from(["intend", "intend", "record", "void", "segment"])
DEEDS = st.lists(st.tuples(WHAT, st.integers(1, 6), st.integers(1, 3)), max_size=25)
Key = tuple[int, int]


@pytest.fixture(scope="module", autouse=True)
def small_segments() -> Iterator[None]:
    """Segments of a few pages, for there are many."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "SEGMENT", 16 << 10)
        patch.setattr(os, "fsync", lambda _: None)
        yield


class Written:
    """What a worker wrote before it died, and what that means."""

    def __init__(self, ours: Journal, deeds: Sequence[Deed]) -> None:
        self.results: list[Key] = []
        self.open: set[Key] = set()
        self.last = 0
        """Where in the last segment the last frame begins."""
        for what, message, count in deeds:
            keys = [(message, n) for n in range(count)]
            if what == "segment":
                ours._begin_segment()
            elif what == "intend":
                ours.intend(message, message, list(range(count)))
                self.open.update(keys)
            elif what == "void":
                ours._open.setdefault(message, (0, Intent(message, [])))
                ours.close_intent(message, message, list(range(count)))
                self.open.difference_update(keys)
            else:
                answer(ours, [result(*key) for key in keys], message)
                self.results += keys
                self.open.difference_update(keys)
            self.last = ours.size if what != "segment" else 0
            assert ours.push()
        ours.abandon()


@contextmanager
def dead(deeds: Sequence[Deed]) -> Iterator[tuple[Written, Path]]:
    """Leave a journal; gives what was written and its folder."""
    with TemporaryDirectory() as name:
        root = Path(name)
        yield Written(journal(root), deeds), root


def told(root: Path) -> Found | None:
    """Read it."""
    (folder,) = orphans(root, spool=SPOOL)
    assert folder.worker == WORKER
    try:
        return read(folder, spool=SPOOL, boot=BOOT)
    finally:
        folder.release()


def keys(found: Found) -> list[Key]:
    """Whose results were read; what was read must be what was written, to the last field."""
    assert all(one == result(one.message_id, one.n) for one in found.results)
    return [(one.message_id, one.n) for one in found.results]


def segments(root: Path) -> list[Path]:
    """The files, oldest first."""
    return sorted(root.glob("*/*/0*"))


@given(DEEDS)
def test_what_was_written_is_read(deeds: list[Deed]) -> None:
    """Every result in order, and as uncertain exactly what is open."""
    with dead(deeds) as (written, root):
        found = told(root)
        assert found is not None
        assert keys(found) == written.results
        assert (set(found.uncertain), found.complete) == (written.open, True)


@given(data=st.data(), deeds=DEEDS)
def test_a_flipped_bit(data: st.DataObject, deeds: list[Deed]) -> None:
    """Nothing is made up, and what may have been delivered is not taken for safe.

    But for the last frame: one that does not fit there may be one that was not written whole.
    """
    with dead(deeds) as (written, root):
        path = data.draw(st.sampled_from(segments(root)))
        octets = bytearray(path.read_bytes())
        used = len(bytes(octets).rstrip(b"\0"))
        at = data.draw(st.integers(0, min(used + 40, len(octets) - 1)))
        octets[at] ^= 1 << data.draw(st.integers(0, 7))
        path.write_bytes(octets)
        found = told(root)
        if found is None:
            return
        _made_up_nothing(found, written)
        last = path == segments(root)[-1] and at >= written.last
        if found.complete and not last:
            assert written.open <= {*found.uncertain}
            assert keys(found) == written.results


def _made_up_nothing(found: Found, written: Written) -> None:
    left = list(written.results)
    for key in keys(found):
        left.remove(key)  # each at most as often as it was written


@given(data=st.data(), deeds=DEEDS)
def test_a_truncated_segment(data: st.DataObject, deeds: list[Deed]) -> None:
    """Whatever is cut off, what is read is the beginning of what was written."""
    with dead(deeds) as (written, root):
        path = data.draw(st.sampled_from(segments(root)))
        octets = path.read_bytes()
        path.write_bytes(octets[: data.draw(st.integers(0, len(octets.rstrip(b"\0"))))])
        found = told(root)
        assert found is not None
        _made_up_nothing(found, written)
        if path == segments(root)[-1]:
            assert keys(found) == written.results[: len(found.results)]


def sealed(body: bytes) -> bytes:
    """A frame whose checksum fits, whatever is in it."""
    return len(body).to_bytes(4, "big") + crc32(body).to_bytes(4, "big") + body


FRAMES = st.one_of(
    st.binary(max_size=60),
    st.binary(min_size=1, max_size=60).map(sealed),
    st.builds(
        lambda version, spool, worker, boot, number: frame(Head(version, spool, worker, boot, number)),
        st.sampled_from([1, 2]),
        st.sampled_from([SPOOL, "another"]),
        st.sampled_from([WORKER, 1]),
        st.sampled_from([BOOT, ""]),
        st.integers(0, 3),
    ),
)


@given(st.lists(st.lists(FRAMES, max_size=5).map(b"".join), max_size=3))
def test_any_octets(files: list[bytes]) -> None:
    """Files that nobody wrote: no exception, no result."""
    with dead([]) as (_, root):
        (path,) = segments(root)
        path.unlink()
        for number, octets in enumerate(files, 1):
            path.with_name(f"{number:08}").write_bytes(octets)
        found = told(root)
        assert found is None or (found.results, found.uncertain) == ([], [])


def test_a_frame_behind_one_that_does_not_fit(tmp_path: Path) -> None:
    """Only the last frame can be torn: where another follows, in the last segment too, notes were lost."""
    ours = journal(tmp_path)
    ours.intend("a", 1, [0])
    ours.push()
    at = ours.size
    for message in (2, 3):
        ours.intend(message, message, [0])
        ours.push()
    ours.abandon()
    (path,) = segments(tmp_path)
    for spoilt in (at, at + PREFIX):  # its length, its content
        octets = bytearray(path.read_bytes())
        octets[spoilt] ^= 1
        assert notes_of(bytes(octets))[1] is Ending.ROTTEN
    path.write_bytes(octets)
    assert told(tmp_path) == Found([], uncertain=[(1, 0)], complete=False)
