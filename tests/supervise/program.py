"""A process for the keeper's tests: `program.py HOW`, kept by a keeper that hands it a tether.

`work` reports, gives signs of life and stays until it is told to stop; `hang` begins like that; `deaf` does
not listen; `end` reports and ends; `fail` reports and fails; `refuse` says why it cannot work.
"""

from __future__ import annotations

import sys
import time

import trio

from spooler.supervise import Report, Tether


def main() -> int:
    """Run; requests to stop are reported as outcomes."""
    how = sys.argv[1]
    tether = Tether.of_environment()
    assert tether is not None
    if how == "refuse":
        tether.report(Report(error="no spool here"))
        return 66
    tether.report(Report(total=tether.part.index, outcomes={"stops": 0}))
    if how in ("work", "hang"):
        trio.run(_work, tether, how == "hang")
    elif how == "deaf":
        trio.run(trio.sleep_forever)
    return 3 if how == "fail" else 0


async def _work(tether: Tether, hangs: bool) -> None:
    async with trio.open_nursery() as nursery:
        done = nursery.cancel_scope
        nursery.start_soon(tether.live)
        if hangs:
            await trio.sleep(0.1)
            time.sleep(60)  # noqa: ASYNC251  # that is how it hangs

        def stop(requests: int) -> None:
            tether.report(Report(total=tether.part.index, outcomes={"stops": requests}))
            if requests == 2:
                done.cancel()

        await tether.obey(stop, orphaned=done.cancel)


if __name__ == "__main__":
    sys.exit(main())
