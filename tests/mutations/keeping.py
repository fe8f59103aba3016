"""Mistakes in what is kept, and in who may end it: delivery, journal, spool, intake."""

from __future__ import annotations

from tests.mutations.trying import Mutation

_RECOVERY = "tests/delivery/test_recovery.py"
_JOURNAL = "tests/journal/test_journal.py"
_SETTLE = "tests/spool/test_settle.py"

DELIVERY = (
    Mutation(
        "repeated at once without end",
        "spooler/delivery/parcel.py",
        "and around.may_repeat and not parcel.repeated:",
        "and around.may_repeat:",
        ("tests/delivery/test_outcomes.py::test_lost_again_and_again_is_repeated_once_a_claim",),
    ),
    Mutation(
        "an expired recipient dropped",
        "spooler/delivery/claimer.py",
        "        lane.record(parcel, results_of(parcel.recipients, parcel, verdict, around))\n",
        "        results_of(parcel.recipients, parcel, verdict, around)\n",
        ("tests/delivery/test_outcomes.py::test_time_over_expires",),
    ),
    Mutation(
        "results taken for settled before they are",
        "spooler/delivery/settler.py",
        "            began = ground.clock()\n",
        "            began = ground.clock()\n            ground.journal.settled(len(batch))\n",
        ("tests/delivery/test_settler.py",),
    ),
    Mutation(
        "results forgotten that came while others were settled",
        "spooler/delivery/settler.py",
        "            for _ in batch:\n                self._results.popleft()\n",
        "            self._results.clear()\n",
        ("tests/delivery/test_settler.py",),
    ),
    Mutation(
        "claims without end",
        "spooler/delivery/lane.py",
        "            return batch if self._waiting + self._mailboxes.parked <= batch else 0\n",
        "            return batch\n",
        ("tests/simulation/test_memory.py",),
    ),
    Mutation(
        "contents read whatever is in memory",
        "spooler/delivery/claimer.py",
        "        return self.limits.buffer - sum(lane.held_bytes for lane in self._lanes.values())\n",
        "        return self.limits.buffer\n",
        ("tests/simulation/test_memory.py",),
    ),
    Mutation(
        "a burst kept that was sent",
        "spooler/net/session.py",
        "memoryview(burst)[taken:] if taken < len(burst) else _NOTHING",
        "memoryview(burst)[taken:]",
        ("tests/simulation/test_memory.py",),
    ),
    Mutation(
        "journal not replayed",
        "spooler/delivery/recovery.py",
        "for start in range(0, len(found.results), BATCH):",
        "for start in range(0):",
        (_RECOVERY,),
    ),
    Mutation(
        "open intents given back as safe",
        "spooler/delivery/recovery.py",
        "if found.uncertain:",
        "if False:",
        (_RECOVERY,),
    ),
    Mutation(
        "open intents of a worker that is not known dropped",
        "spooler/spool/rescuing.py",
        "            if adopt:\n",
        "            if False:\n",
        (_RECOVERY, "tests/spool/test_uncertain.py"),
    ),
    Mutation(
        "a rescued recipient dropped",
        "spooler/spool/statements/leasing.py",
        "    UPDATE recipient SET lease = NULL, due = :due,\n"
        "        claims = claims - CASE WHEN claims - attempts > :most THEN 1 ELSE 0 END\n"
        "    WHERE (message_id, n) IN",
        "    DELETE FROM recipient WHERE :due > 0 AND :most > 0 AND (message_id, n) IN",
        ("tests/spool/test_leases.py",),
    ),
    Mutation(
        "a death in company held against suspects",
        "spooler/spool/rescuing.py",
        "most = SUSPECT if company else _BEYOND",
        "most = _BEYOND",
        ("tests/delivery/test_poison.py",),
    ),
    Mutation(
        "an incomplete journal trusted",
        "spooler/delivery/recovery.py",
        "if not found.complete:",
        "if not found:",
        (_RECOVERY,),
    ),
    Mutation(
        "an attempt without an intent",
        "spooler/delivery/feed.py",
        "self._ground.journal.intend(transaction, parcel.claim.message_id, [r.n for r in parcel.recipients])",
        "assert parcel.recipients",
        ("tests/delivery/test_intents.py",),
    ),
    Mutation(
        "an intent not taken back",
        "spooler/delivery/lane.py",
        "        self._ground.journal.close_intent(transaction, parcel.claim.message_id, "
        "[r.n for r in again])\n",
        "",
        ("tests/delivery/test_intents.py",),
    ),
    Mutation(
        "a worker that is slow robbed",
        "spooler/delivery/heartbeat.py",
        "if worker in gone or credit - since >= beats.DEAD + beats.GRACE:",
        "if worker in gone or credit - since >= 0:",
        ("tests/delivery/test_running.py",),
    ),
    Mutation(
        "too many open files taken for a failed sync",
        "spooler/journal/writer.py",
        "        except OSError:  # too many open files: better that all waits for the disk",
        "        except KeyError:  #",
        ("tests/journal/test_journal.py",),
    ),
    Mutation(
        "a rate that forgets what is under way",
        "spooler/delivery/claimer.py",
        "min(room, max(0, part - self._lanes[name].held))",
        "room",
        ("tests/delivery/test_limits.py",),
    ),
    Mutation(
        "a stale heartbeat taken for a fresh one",
        "spooler/delivery/heartbeat.py",
        "return not self.fenced and self._clock() - self._last_good < beats.FRESH",
        "return not self.fenced",
        (_RECOVERY,),
    ),
    Mutation(
        "a lane with parcels and nobody to serve it",
        "spooler/delivery/crew.py",
        "            if not self.busy and lane.ready:\n",
        "            if False:\n",
        ("tests/delivery/test_concurrency.py::test_whoever_leaves_last_leaves_nothing_behind",),
    ),
    Mutation(
        "claimed again while giving back is not acknowledged",
        "spooler/delivery/settler.py",
        "        self.leasing = trio.Lock()\n",
        "        from contextlib import nullcontext\n\n        self.leasing = nullcontext()\n",
        ("tests/delivery/test_settler.py",),
    ),
    Mutation(
        "what is given back is no backlog",
        "spooler/delivery/settler.py",
        "        return len(self._results) + self._returning\n",
        "        return len(self._results)\n",
        ("tests/delivery/test_settler.py",),
    ),
    Mutation(
        "expired by a clock that was set back since",
        "spooler/delivery/claimer.py",
        "        if claim.expires > around.now:\n",
        "        if False:\n",
        ("tests/delivery/test_outcomes.py::test_time_is_over_by_the_clock_of_the_result",),
    ),
)

JOURNAL = (
    Mutation(
        "fsync failure ignored",
        "spooler/journal/writer.py",
        '                self.broken = f"journal',
        '                _ = f"journal',
        (_JOURNAL,),
    ),
    Mutation(
        "a short write taken for a whole one",
        "spooler/journal/writer.py",
        "            if written < len(data):",
        "            if written < 0:",
        (_JOURNAL,),
    ),
    Mutation(
        "a result does not answer its intent",
        "spooler/journal/reader.py",
        "open_.pop((result.message_id, result.n), None)",
        "open_.get((result.message_id, result.n), None)",
        (_JOURNAL,),
    ),
    Mutation(
        "a rotten segment taken for a torn one",
        "spooler/journal/reader.py",
        "complete = complete and ending is not Ending.ROTTEN",
        "complete = bool(complete)",
        ("tests/journal/test_fuzz.py",),
    ),
    Mutation(
        "another boot's journal taken for whole",
        "spooler/journal/reader.py",
        "head.boot == boot and head.number",
        "head.number",
        (_JOURNAL,),
    ),
    Mutation(
        "a checksum not looked at",
        "spooler/journal/record.py",
        'return body if zlib.crc32(body) == int.from_bytes(segment[at + 4 : at + PREFIX], "big") else None',
        "return body",
        (_JOURNAL, "tests/journal/test_fuzz.py"),
    ),
    Mutation(
        "a segment removed with an open intent in it",
        "spooler/journal/writer.py",
        "            needed = min(needed, next(iter(self._open.values()))[0])\n",
        "            pass\n",
        (_JOURNAL,),
    ),
    Mutation(
        "a segment removed before its intent was noted again",
        "spooler/journal/writer.py",
        "].first <= needed and self.push():",
        "].first <= needed:",
        (_JOURNAL,),
    ),
)

SPOOL = (
    Mutation(
        "lease not looked at when a recipient ends",
        "spooler/spool/statements/settling.py",
        "DELETE FROM recipient WHERE (message_id, n) IN (SELECT message_id, n FROM b) AND lease = :worker",
        "DELETE FROM recipient WHERE (message_id, n) IN (SELECT message_id, n FROM b) AND :worker > 0",
        (_SETTLE,),
    ),
    Mutation(
        "lease not looked at when a recipient is put off",
        "spooler/spool/statements/settling.py",
        "r.n = b.n AND r.lease = :worker AND r.attempts < b.attempt\n",
        "r.n = b.n AND :worker > 0 AND r.attempts < b.attempt\n",
        (_SETTLE,),
    ),
    Mutation(
        "a late failure ends a recipient",
        "spooler/spool/settling.py",
        "ours = held is not None and held.lease == by.worker and held.attempts < r.attempt",
        "ours = held is not None",
        (_SETTLE,),
    ),
    Mutation(
        "a late delivery is no fact",
        "spooler/spool/settling.py",
        "if held is None or not (ours or r.outcome is Outcome.DELIVERED):",
        "if held is None or not ours:",
        (_SETTLE,),
    ),
    Mutation(
        "a result settled twice",
        "spooler/spool/settling.py",
        "        if (*key, r.at) in recorded:\n",
        "        if (*key, r.at) in ():\n",
        (_SETTLE,),
    ),
    Mutation(
        "due time ignored",
        "spooler/spool/statements/leasing.py",
        "r.lease IS NULL AND r.due <= :now\n    ORDER BY r.due, r.message_id",
        "r.lease IS NULL AND :now > 0\n    ORDER BY r.due, r.message_id",
        ("tests/spool/test_claim.py",),
    ),
    Mutation(
        "a fenced worker claims",
        "spooler/spool/statements/leasing.py",
        "    WHERE w.id = :worker AND w.fenced IS NULL {{share}}\n",
        "    WHERE w.id = :worker {{share}}\n",
        ("tests/spool/test_claim.py",),
    ),
    Mutation(
        "written to a file that lost its name",
        "spooler/spool/connect.py",
        "            if os.path.samestat(self._path.stat(), self._file):\n",
        "            if self._file:\n",
        ("tests/spool/test_faults.py",),
    ),
    Mutation(
        "acknowledged before the commit",
        "spooler/spool/connect.py",
        "                conn.commit()\n",
        "                conn.rollback()\n",
        ("tests/spool/test_intake.py",),
    ),
    Mutation(
        "commits that are not on disk",
        "spooler/spool/connect.py",
        '                "synchronous = FULL",\n',
        '                "synchronous = NORMAL",\n',
        ("tests/spool/test_faults.py",),
    ),
    Mutation(
        "an uncertain rescue leaves no row",
        "spooler/spool/rescuing.py",
        "sql.run(conn, st.RECORD_UNCERTAIN, keys, worker=worker, now=now, text=text, run=run)",
        "pass",
        ("tests/spool/test_leases.py",),
    ),
    Mutation(
        "a claim of unknown fate kept",
        "spooler/spool/leasing.py",
        "            self.release(worker, doubtful, due=0)\n",
        "",
        ("tests/spool/test_leases.py",),
    ),
)

INTAKE = (
    Mutation(
        "a bare carriage return kept",
        "spooler/intake/normalise.py",
        'block = _BARE_CR.sub(b" ", block)',
        "block = bytes(block)",
        ("tests/lmtp/test_fuzz.py", "tests/intake/test_normalise.py"),
    ),
    Mutation(
        "an idempotency key ignored",
        "spooler/spool/intake.py",
        "there = by_key.get(key) if key else None",
        "there = None",
        ("tests/spool/test_intake.py",),
    ),
)
