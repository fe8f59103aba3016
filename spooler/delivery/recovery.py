"""What dead workers left: their journals are read, what they say is settled, the rest is given back.

A journal whose lock can be had belongs to nobody any more. Its results settle as if they had come a moment
ago; what has an intent and no result may have been delivered, so it is uncertain and waits a while, or is
held, as its route says; anything else that the worker held was not handed over, and is due at once. Only then
is the worker gone, and its journal with it. Dying in the middle of this is harmless: whoever comes next does
it again.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, TypedDict

import trio

from spooler.config import Route
from spooler.delivery.settler import BATCH, insist
from spooler.events import WorkerState
from spooler.journal.place import exists, orphans
from spooler.journal.reader import read

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from spooler.delivery.ports import Ground
    from spooler.journal.place import Folder
    from spooler.journal.reader import Found
    from spooler.result import Doubtful

PATIENCE = 60.0  # seconds for a journal; it is begun anew at a later look
_STRANGER = Route(destinations=[])


class _Doubt(TypedDict):
    """Arguments of `SpoolPort.doubt` and `SpoolPort.rescue`."""

    due: int
    doubtful: dict[str, Doubtful]


class Recovery:
    """Finds journals that nobody holds any more; one per worker.

    `routes` say what is done with what may have been delivered; a route that is not among them is taken
    for one with nothing but defaults.
    """

    def __init__(self, ground: Ground, *, root: Path, boot: str, routes: Mapping[str, Route]) -> None:
        self._ground = ground
        self._routes = routes
        self._root = root
        self._boot = boot
        self._strange: set[int] = set()
        self._kept: set[int] = set()
        """Workers whose journal is settled, and cannot be removed."""

    async def run(self) -> None:
        """Settle what all such journals say."""
        for folder in orphans(self._root, spool=self._ground.spool.uuid, left=self._leave):
            try:
                with trio.move_on_after(PATIENCE):  # the next is not to wait for one that is refused
                    if folder.worker in self._kept:
                        self._remove(folder)
                    else:
                        await self._recover(folder)
            finally:
                folder.release()

    def has_journal(self, worker: int) -> bool:
        """Whether a journal of this worker lies here: somebody is at it, or nobody could be yet."""
        return exists(self._root, spool=self._ground.spool.uuid, worker=worker)

    async def _recover(self, folder: Folder) -> None:
        ground, worker = self._ground, folder.worker
        try:
            found = read(folder, spool=ground.spool.uuid, boot=self._boot)
        except OSError as error:
            self._leave(worker, f"{folder.path} cannot be read: {error.strerror}")
            return
        if found is None:
            self._leave(worker, f"{folder.path} is another spool's, or of another version of spooler")
            return
        for start in range(0, len(found.results), BATCH):
            some = found.results[start : start + BATCH]
            await insist(
                ground,
                "settling what a journal says",
                partial(ground.spool.settle, worker, some, now=ground.clock()),
            )
        uncertain, given_back = await self._release(worker, found)
        self._remove(folder)
        detail = f"{len(found.results)} results, {uncertain} uncertain, {given_back} given back"
        ground.observe(WorkerState(worker=worker, state="recovered", detail=f"by its journal: {detail}"))

    def _remove(self, folder: Folder) -> None:
        try:
            folder.remove()
        except OSError as error:
            self._kept.add(folder.worker)
            self._leave(folder.worker, f"{folder.path} cannot be removed: {error.strerror}")
        else:
            self._kept.discard(folder.worker)

    async def _release(self, worker: int, found: Found) -> tuple[int, int]:
        """Take from the worker what it still holds; return how many are uncertain, and how many are not."""
        ground = self._ground
        now = ground.clock()
        taken = 0
        if found.uncertain:
            taken = await insist(
                ground,
                "taking over what may have been delivered",
                partial(ground.spool.doubt, worker, found.uncertain, now=now, **self.doubtful(now)),
            )
        if not found.complete:
            return taken + await self.take_over(worker), 0
        rest = await insist(
            ground,
            "giving back a dead worker's recipients",
            partial(ground.spool.rescue, worker, now=now, due=now, uncertain=False),
        )
        return taken, rest

    async def take_over(self, worker: int) -> int:
        """Take all that a dead worker held, as uncertain; return how many recipients."""
        ground = self._ground
        now = ground.clock()
        return await insist(
            ground,
            "taking over a dead worker's recipients",
            partial(ground.spool.rescue, worker, now=now, uncertain=True, **self.doubtful(now)),
        )

    def doubtful(self, now: int) -> _Doubt:
        """Return what is done with uncertain recipients: on routes that are not ours, and on each that is."""
        return {
            "due": _STRANGER.doubtful(now).due,
            "doubtful": {name: route.doubtful(now) for name, route in self._routes.items()},
        }

    def _leave(self, worker: int, why: str) -> None:
        if worker not in self._strange:
            self._strange.add(worker)
            self._ground.observe(WorkerState(worker=worker, state="unrecovered", detail=f"journal {why}"))
