"""Many seeds, in one process or several, and what they come to together."""

from __future__ import annotations

import multiprocessing
import traceback
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.simulation.world import run_seed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


@dataclass(slots=True)
class Total:
    """What seeds came to; `failed` is seed to traceback."""

    seeds: int = 0
    days: float = 0.0
    hits: Counter[str] = field(default_factory=Counter)
    failed: dict[int, str] = field(default_factory=dict)

    def add(self, one: Total) -> None:
        """Add those of another."""
        self.seeds += one.seeds
        self.days += one.days
        self.hits += one.hits
        self.failed |= one.failed


def run_one(seed: int) -> Total:
    """Run a seed; what is wrong is told, not raised."""
    try:
        outcome = run_seed(seed)
    except Exception as error:  # noqa: BLE001  # whatever it is, the seed has failed
        return Total(seeds=1, failed={seed: "".join(traceback.format_exception(error))})
    return Total(seeds=1, days=outcome.days, hits=outcome.hits)


def run_many(
    seeds: Iterable[int], *, jobs: int = 1, progress: Callable[[Total], None] | None = None
) -> Total:
    """Run seeds, in `jobs` processes; `progress` is told after each."""
    total = Total()
    if jobs == 1:
        for seed in seeds:
            total.add(run_one(seed))
            if progress is not None:
                progress(total)
        return total
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        for one in pool.imap_unordered(run_one, seeds, chunksize=4):
            total.add(one)
            if progress is not None:
                progress(total)
    return total
