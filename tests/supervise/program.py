"""A process for the keeper's tests: `program.py HOW`, kept by a keeper that hands it a tether.

`work` reports and stays until it is told to stop; `deaf` does not listen; `end` reports and ends; `fail`
reports and fails; `refuse` says why it cannot work.
"""

from __future__ import annotations

import sys

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
    if how == "work":
        trio.run(_work, tether)
    elif how == "deaf":
        trio.run(trio.sleep_forever)
    return 3 if how == "fail" else 0


async def _work(tether: Tether) -> None:
    with trio.CancelScope() as done:

        def stop(requests: int) -> None:
            tether.report(Report(total=tether.part.index, outcomes={"stops": requests}))
            if requests == 2:
                done.cancel()

        await tether.obey(stop, orphaned=done.cancel)


if __name__ == "__main__":
    sys.exit(main())
