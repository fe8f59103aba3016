"""The finder's side: what a dead worker's journal says of the recipients that it held.

Notes are read in the order in which they were written. A result settles what an intent opened; what is open
in the end may have been delivered. The last frame may be torn: it was not written whole, so nothing that
depended on it was done. But where the host has booted since, the end of the journal may have been lost with
the power, intents too: then no recipient of that worker is known to be safe (`complete` is False), nor
where anything in the middle cannot be read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from spooler.journal.record import Ending, Intent, Results, UnknownVersionError, head_of, notes_of
from spooler.result import RecipientResult

if TYPE_CHECKING:
    from spooler.journal.place import Folder

Key = tuple[int, int]  # message id, n


class Found(msgspec.Struct, frozen=True):
    """What a journal says; `complete`: a recipient that is in neither list was not handed over."""

    results: list[RecipientResult]
    uncertain: list[Key]
    complete: bool


def read(folder: Folder, *, spool: str, boot: str) -> Found | None:
    """Read a journal; None if it is another spool's, or of a version that is not known here."""
    results: list[RecipientResult] = []
    open_: dict[Key, None] = {}
    complete = True
    expected: int | None = None
    torn = False
    for path in folder.segments():
        complete = complete and not torn  # the last one alone may be
        segment = path.read_bytes()
        try:
            head = head_of(segment)
        except UnknownVersionError:
            return None
        if head is None:
            # begun and never written to: space that was reserved
            complete = complete and not segment.strip(b"\0")
            continue
        if head.spool != spool or head.worker != folder.worker:
            return None
        complete = complete and head.boot == boot and head.number == (expected or head.number)
        expected = head.number + 1
        notes, ending = notes_of(segment)
        torn = ending is not Ending.WHOLE
        complete = complete and ending is not Ending.ROTTEN
        for note in notes:
            if isinstance(note, Intent):
                open_.update(dict.fromkeys((note.message_id, n) for n in note.n))
            elif isinstance(note, Results):
                results += note.results
                for result in note.results:
                    open_.pop((result.message_id, result.n), None)
            else:
                for n in note.n:
                    open_.pop((note.message_id, n), None)
    return Found(results, list(open_), complete)
