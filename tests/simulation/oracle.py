"""What is asked of the product: the spool's tables, read with the database's own driver, and the truth.

- Nobody is lost: a recipient is in the queue and has no ending, or is not and has exactly one.
- Told as delivered only where the target said so and has a copy; told as failed only where it was refused for
  good, or by a rule of ours that applies; expired only behind its time.
- Each copy is a delivery that was recorded, or has an attempt of that recipient that is marked uncertain.
- Attempts are numbered 1, 2, 3 … without a gap, so one result per recipient per attempt. One exception:
  a worker that was taken for dead, so that its attempt was recorded as uncertain, may yet tell of a delivery.
- Tallies say what the tables say.
- A worker holds no more contents and no more leases than its configuration allows (`memory`).
- In the end nothing is leased, nothing is queued, and no journal is left.

While it goes on, `Truth` asks that contents arrive octet by octet, that nothing is handed over behind a stale
heartbeat, and that no second copy comes before the doubt that accounts for it.
"""

from __future__ import annotations

import sqlite3
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

    from tests.simulation.chance import Chance
    from tests.simulation.site import Profile
    from tests.simulation.truth import Letter, Truth

ENDINGS = frozenset({"delivered", "failed", "expired"})
_RULES = {"5.6.3": "8BITMIME", "5.6.7": "SMTPUTF8", "5.3.4": "SIZE"}
_GAUGES = ("waiting", "deferred", "active", "held")


class Row(NamedTuple):
    """One of the ledger."""

    message_id: int
    n: int
    attempt: int
    outcome: str
    uncertain: int
    late: int
    stage: str
    code: int
    enhanced: str
    at: int
    worker: int


class Oracle:
    """Reads the spool."""

    def __init__(self, path: Path) -> None:
        self._database = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def doubts(self, letter: Letter, recipient: str) -> int:
        """How many uncertain attempts of a recipient are in the ledger."""
        (count,) = self._database.execute(
            "SELECT count(*) FROM attempt WHERE message_id = ? AND n = ? AND uncertain",
            (letter.id, letter.recipients.index(recipient)),
        ).fetchone()
        return int(count)

    def leased(self, worker: int) -> int:
        """How many recipients a worker has claimed, as the spool knows it."""
        (count,) = self._database.execute(
            "SELECT count(*) FROM recipient WHERE lease = ?", (worker,)
        ).fetchone()
        return int(count)

    def next_due(self) -> int | None:
        """When the next recipient is due, µs UTC; None if none is queued."""
        (due,) = self._database.execute("SELECT min(due) FROM recipient WHERE hold IS NULL").fetchone()
        return None if due is None else int(due)

    def check(self, truth: Truth, profiles: list[Profile], *, over: bool = False) -> None:
        """Hold the tables against the truth. `over`: nothing is on its way any more."""
        queued = {
            (ident, n): (lease, attempts)
            for ident, n, lease, attempts in self._database.execute(
                "SELECT message_id, n, lease, attempts FROM recipient"
            )
        }
        ledger: defaultdict[tuple[int, int], list[Row]] = defaultdict(list)
        for row in map(Row._make, self._rows()):
            ledger[row.message_id, row.n].append(row)
        for letter in truth.letters.values():
            for n, recipient in enumerate(letter.recipients):
                key = letter.id, n
                rows = ledger.pop(key, [])
                left = queued.pop(key, None)
                about = f"{recipient} of {letter.sender}: {left} {rows}"
                self._check_one(rows, left, about)
                self._check_truth(truth, letter, recipient, rows, about)
                if over:
                    self._check_copies(truth, letter, recipient, rows, about)
                self._check_rules(letter, rows, profiles, about)
        assert not queued
        assert not ledger
        self._check_tallies()

    def _rows(self) -> list[tuple[object, ...]]:
        return self._database.execute(
            f"SELECT {', '.join(Row._fields)} FROM attempt ORDER BY attempt, at"
        ).fetchall()

    def _check_one(self, rows: list[Row], left: tuple[int | None, int] | None, about: str) -> None:
        counted = [row for row in rows if not row.late]
        endings = [row for row in counted if row.outcome in ENDINGS]
        assert len(endings) == (left is None), f"lost, or ended twice: {about}"
        taken_over = {row.attempt for row in counted if row.uncertain and row.worker == 0}
        numbers = [r.attempt for r in counted if r.outcome != "delivered" or r.attempt not in taken_over]
        assert numbers == list(range(1, len(numbers) + 1)), f"attempts: {about}"
        if left is not None:
            assert left[1] == len(numbers), f"attempts: {about}"

    def _check_truth(self, truth: Truth, letter: Letter, recipient: str, rows: list[Row], about: str) -> None:
        said = Counter(row.outcome for row in rows)
        copies = truth.copies[letter.sender, recipient]
        finals = truth.answers["final", letter.sender, recipient]
        successes = [code for code in finals if 200 <= code < 300]
        assert said["delivered"] <= len(successes), f"a false success: {about} {finals}"
        assert said["delivered"] <= copies, f"a false success: {about}"
        for row in rows:
            if row.outcome == "failed" and row.stage != "local":
                whom = "*" if row.stage == "mail" else recipient
                answers = truth.answers[row.stage, letter.sender, whom]
                assert row.code in answers, f"a false failure: {about} {answers}"
                assert 500 <= row.code < 600, f"a false failure: {about}"
                assert row.code not in (503, 530), f"a false failure: {about}"

    def _check_copies(
        self, truth: Truth, letter: Letter, recipient: str, rows: list[Row], about: str
    ) -> None:
        copies = truth.copies[letter.sender, recipient]
        accounted = sum(row.outcome == "delivered" or row.uncertain for row in rows)
        assert copies <= accounted, f"{copies} copies not accounted for: {about}"

    def _check_rules(self, letter: Letter, rows: list[Row], profiles: list[Profile], about: str) -> None:
        for row in rows:
            assert row.outcome in ENDINGS or row.outcome == "deferred", about
            assert not (row.uncertain and row.outcome != "deferred"), about
            if row.outcome == "expired":
                assert row.at >= letter.expires, f"expired before its time: {about}"
            if row.outcome == "failed" and row.stage == "local":
                lacking = _RULES[row.enhanced]
                if lacking == "SIZE":
                    fits = all(not 0 < p.size < len(letter.content) for p in profiles if p.has("SIZE"))
                else:
                    fits = all(p.has(lacking) for p in profiles)
                assert not fits, f"a false failure: {about}"

    def _check_tallies(self) -> None:
        execute = self._database.execute
        rows = execute("SELECT state, sum(count) FROM tally GROUP BY 1")
        tallies = {state: count for state, count in rows if count}
        expected: Counter[str] = Counter()
        for lease, hold, attempts, count in execute(
            "SELECT lease IS NOT NULL, hold IS NOT NULL, attempts > 0, count(*) FROM recipient"
            " GROUP BY 1, 2, 3"
        ):
            expected["active" if lease else "held" if hold else "deferred" if attempts else "waiting"] += (
                count
            )
        for outcome, late, uncertain, count in execute(
            "SELECT outcome, late, uncertain, count(*) FROM attempt GROUP BY 1, 2, 3"
        ):
            expected["late" if late else "deferrals" if outcome == "deferred" else outcome] += count
            expected["uncertain"] += count if uncertain and not late else 0
        assert tallies == dict(+expected), f"tallies: {tallies} {dict(+expected)}"

    def check_end(self, journals: list[Path]) -> None:
        """Ask that everything is over."""
        # what a person is to look at stays held: uncertain attempts where the route says so
        (left,) = self._database.execute("SELECT count(*) FROM recipient WHERE hold IS NULL").fetchone()
        assert left == 0, f"{left} still queued"
        remains = [path for root in journals for path in root.rglob("*") if path.is_file()]
        assert remains == [], "journals are left"

    def count(self, chance: Chance) -> None:
        """Count what the ledger shows of ways taken."""
        execute = self._database.execute
        for outcome, uncertain, worker, enhanced, count in execute(
            "SELECT outcome, uncertain, worker > 0, CASE WHEN stage = 'local' THEN enhanced ELSE '' END,"
            " count(*) FROM attempt GROUP BY 1, 2, 3, 4"
        ):
            chance.hit(f"outcome: {outcome}", count)
            if uncertain and not worker:
                chance.hit("uncertain: by a death", count)
            if enhanced in _RULES:
                chance.hit(f"no {_RULES[enhanced]}" if enhanced != "5.3.4" else "SIZE too small", count)
