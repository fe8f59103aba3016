"""Several workers at the same time, one of them declared dead again and again while it works."""

from __future__ import annotations

import random
import threading
from functools import partial

from spooler.errors import SpoolerError, TryAgainError
from spooler.result import Outcome
from spooler.spool.store import Store
from tests.spool.making import DUE, NOW, ask, check_tallies, claim, message, put, results, worker

TOTAL = 600


def _work(store: Store, rng: random.Random, me: int) -> None:
    """Claim and settle until nothing is left, or until declared dead."""
    now = DUE
    while store.left():
        now += 1
        for c in claim(store, me, limit=rng.randint(1, 20), now=now):
            batch = results([c], rng.choice([*Outcome, Outcome.DELIVERED]), at=now, due=now)
            store.settle(me, batch, now=now)
            if rng.random() < 0.2:
                store.settle(me, batch, now=now)


def _zombie(store: Store, other: Store, rng: random.Random) -> None:
    """A worker that is rescued while it works, settles what it had all the same, and starts again."""
    now = DUE
    while store.left():
        now += 1  # no two things happen to a recipient in the same microsecond
        me = worker(store, now)  # nor do two workers begin in one: they may get the same id then
        claims = claim(store, me, limit=20, now=now)
        batch = results(claims, rng.choice(list(Outcome)), at=now, due=now)
        late = threading.Thread(target=partial(store.settle, me, batch, now=now))
        late.start()
        other.rescue(me, now=now, due=now, uncertain=rng.random() < 0.5)
        late.join()


def test_workers_and_a_zombie(spool_url: str) -> None:
    """Every recipient ends exactly once, and the tallies are right."""
    with Store.open(spool_url) as store:
        put(store, *(message(*(f"u{i}@example.org" for i in range(6))) for _ in range(TOTAL // 6)))
    errors: list[SpoolerError] = []

    def run(seed: int) -> None:
        rng = random.Random(seed)
        try:
            with Store.open(spool_url) as mine, Store.open(spool_url) as other:
                if seed:
                    _work(mine, rng, worker(mine, NOW + seed))
                else:
                    _zombie(mine, other, rng)
        except TryAgainError as error:
            if "declared dead" not in error.what:
                errors.append(error)
        except SpoolerError as error:
            errors.append(error)

    threads = [threading.Thread(target=partial(run, seed)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
    with Store.open(spool_url) as store:
        endings = ask(
            store,
            "SELECT message_id, n, count(*) FROM attempt WHERE outcome <> 'deferred' AND NOT late"
            " GROUP BY message_id, n",
        )
        assert len(endings) == TOTAL
        assert {count for *_, count in endings} == {1}
        assert ask(store, "SELECT count(*) FROM recipient") == [(0,)]
        check_tallies(store)
