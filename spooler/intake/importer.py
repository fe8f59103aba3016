"""Imports message files into a spool, in batches of one transaction each, and never the same place twice.

A message is known by where it was found and by the digest of its bytes there (`ImportIdentity`). An import
that was stopped, by whatever, is run again: what the spool has is passed over, the rest is taken. Two
messages with the same bytes at two places are two messages.

What cannot be taken is refused and reported, and the rest goes on; only the spool's own errors end an import.
Memory: one batch, or a few blocks of one large message.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Protocol

import msgspec

from spooler.config import Config
from spooler.envelope import CHUNK_SIZE, Content, Enqueued, ImportIdentity, NewMessage, Notify
from spooler.errors import DataError, NoInputError
from spooler.intake.envelope_from import Envelope, envelope_of, head_of
from spooler.intake.files import FoundMessage, check_path, find_messages
from spooler.intake.normalise import MAX_SIZE, Normaliser, refuse_nul, refuse_size, take_in
from spooler.intake.submit import Addressees, Options, address_to, make_message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

BATCH_MESSAGES = 500
BATCH_BYTES = 16 << 20
KEPT_REFUSALS = 1000  # in the report; beyond it they are only counted
_NOTHING = Envelope(None, ())


class IntakeStore(Protocol):
    """What an import needs of `spooler.spool.store.Store`."""

    def store_chunks(self, chunks: Iterable[bytes], *, now: int) -> int:
        """Store a large content, return its id."""

    def enqueue(self, messages: Sequence[NewMessage], *, now: int) -> list[Enqueued]:
        """Put messages into the queue in one transaction."""

    def imported(self, identities: Sequence[ImportIdentity]) -> set[ImportIdentity]:
        """Return those that were imported before."""


class ImportPlan(msgspec.Struct, frozen=True, kw_only=True):
    """How to import; `sender` None and no `recipients` mean: from each message's header.

    `visible` lets To and Cc name recipients, `route` None means by domain, `max_size` is in bytes and `again`
    takes messages that were imported before once more.
    """

    options: Options = Options()
    config: Config = Config()
    sender: str | None = None
    recipients: tuple[str, ...] = ()
    visible: bool = False
    notify: Notify = Notify.DEFAULT
    route: str | None = None
    max_size: int = MAX_SIZE
    again: bool = False


class Refusal(msgspec.Struct, frozen=True, gc=False):
    """A message or file that was not taken; `offset` is its place in the file, in bytes."""

    path: str
    offset: int
    why: str


class Report(msgspec.Struct, kw_only=True):
    """What an import has done so far; `read` counts bytes of messages looked at, `mended` messages with bare
    CR or LF, and `passed` (special and hidden files) is nothing to worry about."""

    imported: int = 0
    recipients: int = 0
    already: int = 0
    refused: int = 0
    passed: int = 0
    mended: int = 0
    read: int = 0
    refusals: list[Refusal] = []
    passed_over: list[Refusal] = []


class _Read(msgspec.Struct, frozen=True, kw_only=True):
    """A message of the batch that is being gathered. A large one's `content` is in the spool already."""

    path: str
    identity: ImportIdentity
    from_line: str | None
    raw: bytes = b""
    head: bytes = b""
    content: Content | None = None


class Importer:
    """One import. `clock` gives µs UTC; `progress` is called after each message that was looked at."""

    def __init__(
        self,
        store: IntakeStore,
        plan: ImportPlan,
        *,
        clock: Callable[[], int],
        progress: Callable[[Report], None] = lambda _: None,
    ) -> None:
        self.report = Report()
        self._store = store
        self._plan = plan
        self._clock = clock
        self._progress = progress
        self._batch: list[_Read] = []
        self._batch_bytes = 0
        self._given = self._address(plan.recipients) if plan.recipients else None

    def run(self, paths: Sequence[Path]) -> Report:
        """Import what is found under the paths.

        Raises NoInputError if one is not there, before anything is imported, and what the spool raises:
        what was committed by then stays, and the next run goes on from it.
        """
        for path in paths:
            check_path(path)
        for path in paths:
            for found in find_messages(path):
                if isinstance(found, FoundMessage):
                    self._look_at(found)
                elif found.refused:
                    self._refuse(found.path, 0, found.why)
                else:
                    self._pass_over(found.path, found.why)
                self._progress(self.report)
        self._flush()
        self._progress(self.report)
        return self.report

    def _look_at(self, found: FoundMessage) -> None:
        try:
            read = _read(found) if found.raw_size <= CHUNK_SIZE else self._read_large(found)
        except (DataError, NoInputError) as error:
            self._refuse(found.path, found.offset, str(error))
            return
        finally:
            self.report.read += found.raw_size
        if read is not None:
            self._batch.append(read)
            self._batch_bytes += len(read.raw)
            if len(self._batch) >= BATCH_MESSAGES or self._batch_bytes >= BATCH_BYTES:
                self._flush()

    def _read_large(self, found: FoundMessage) -> _Read | None:
        """Read it twice: to know it and to judge it first, so that what is refused never fills the spool."""
        digest, size, head = hashlib.sha256(), 0, b""
        for block in found.blocks():
            if not size:
                head = head_of(Normaliser().feed(block))
            refuse_nul(block, size)
            digest.update(block)
            size += len(block)
        refuse_size(size, self._plan.max_size)
        read = _Read(
            path=found.path, identity=_identity(found, digest.hexdigest()), from_line=found.sender, head=head
        )
        if not self._plan.again and self._store.imported([read.identity]):
            self.report.already += 1
            return None
        self._envelope(read)
        return msgspec.structs.replace(read, content=self._take_in(found.blocks()))

    def _flush(self) -> None:
        batch, self._batch, self._batch_bytes = self._batch, [], 0
        if not batch:
            return
        known = set() if self._plan.again else self._store.imported([read.identity for read in batch])
        messages = []
        now = self._clock()
        for read in batch:
            if read.identity in known:
                self.report.already += 1
                continue
            try:
                messages.append(self._message(read, now=now))
            except DataError as error:
                self._refuse(read.path, read.identity.offset, str(error))
        if not messages:
            return
        for message, answer in zip(messages, self._store.enqueue(messages, now=now), strict=True):
            if answer.duplicate:
                self.report.already += 1
                continue
            self.report.imported += 1
            self.report.recipients += len(message.recipients)
            self.report.mended += bool(message.content.bare_lf or message.content.bare_cr)

    def _message(self, read: _Read, *, now: int) -> NewMessage:
        content = read.content or self._take_in([read.raw])
        if not read.head:
            read = msgspec.structs.replace(read, head=content.data)
        sender, addressees = self._envelope(read)
        origin = None if self._plan.again else read.identity
        return make_message(sender, addressees, content, self._plan.options, now=now, origin=origin)

    def _take_in(self, blocks: Iterable[bytes]) -> Content:
        return take_in(blocks, store_chunks=self._store_chunks, max_size=self._plan.max_size)

    def _store_chunks(self, chunks: Iterable[bytes]) -> int:
        return self._store.store_chunks(chunks, now=self._clock())

    def _envelope(self, read: _Read) -> tuple[str, Addressees]:
        """Return sender and recipients: from the plan, else from the header, else from the From_ line."""
        plan, told = self._plan, _NOTHING
        if plan.sender is None or self._given is None:
            told = envelope_of(read.head, visible=plan.visible)
        sender = next((one for one in (plan.sender, told.sender, read.from_line) if one is not None), None)
        if sender is None:
            raise DataError("has no sender: no Return-Path and no mbox From line", hint="name one with -f")
        if self._given is not None:
            return sender, self._given
        if not told.recipients:
            raise DataError(
                "has no recipient: no X-Original-To, Delivered-To or X-Envelope-To",
                hint="name them with -t"
                + ("" if plan.visible else ", or take To and Cc with --recipients-from to"),
            )
        return sender, self._address(told.recipients)

    def _address(self, recipients: Sequence[str]) -> Addressees:
        return address_to(
            recipients, config=self._plan.config, route=self._plan.route, notify=self._plan.notify
        )

    def _refuse(self, path: str, offset: int, why: str) -> None:
        self.report.refused += 1
        if len(self.report.refusals) < KEPT_REFUSALS:
            self.report.refusals.append(Refusal(path, offset, why))

    def _pass_over(self, path: str, why: str) -> None:
        self.report.passed += 1
        if len(self.report.passed_over) < KEPT_REFUSALS:
            self.report.passed_over.append(Refusal(path, 0, why))


def _read(found: FoundMessage) -> _Read:
    raw = b"".join(found.blocks())
    identity = _identity(found, hashlib.sha256(raw).hexdigest())
    return _Read(path=found.path, identity=identity, from_line=found.sender, raw=raw)


def _identity(found: FoundMessage, digest: str) -> ImportIdentity:
    return ImportIdentity(source=found.source, offset=found.offset, digest=digest)
