"""What was mended because of a seed of the simulation, taken out again: the seed that is kept must notice."""

from __future__ import annotations

from tests.mutations.trying import Mutation


def _seed(number: int, path: str, old: str, new: str) -> Mutation:
    test = f"tests/simulation/test_simulation.py::test_seeds_that_failed_once[{number}]"
    return Mutation(f"seed {number}", path, old, new, (test,))


SEEDS = (
    _seed(
        7,
        "spooler/delivery/crew.py",
        "            if not self._busy and lane.ready:\n",
        "            if False:\n",
    ),
    _seed(
        19207,
        "spooler/policy/classify.py",
        "(reply.temporary or reply.permanent) and reply.code not in _OUT_OF_PLACE\n        for reply in (",
        "not reply.positive\n        for reply in (",
    ),
    _seed(
        24451,
        "spooler/delivery/settler.py",
        "        self.leasing = trio.Lock()\n",
        "        from contextlib import nullcontext\n\n        self.leasing = nullcontext()\n",
    ),
    _seed(
        43718,
        "spooler/delivery/claimer.py",
        "        if claim.expires > around.now:\n",
        "        if False:\n",
    ),
)
