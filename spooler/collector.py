"""How seldom Python's collector of cycles runs in a process that delivers.

What is loaded stays, and next to nothing made here is in a cycle, so looking for them is a tenth of a
worker's time for nothing. Memory stays bounded: it does run, every so many objects.
"""

from __future__ import annotations

import gc

YOUNG = 50_000  # objects made and not freed before it looks at those; Python's default is 700


def run_seldom() -> None:
    """Set it so; to be called once everything is loaded."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, 20, 20)
