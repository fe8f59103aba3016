"""What is sent: messages made up, and how the product is configured to deliver them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

from spooler.config import Config, Duration, Retry, Route, Timeouts, Worker
from spooler.envelope import CHUNK_SIZE, BodyType, Content, NewMessage, NewRecipient, Priority
from tests.simulation.truth import Letter

if TYPE_CHECKING:
    from spooler.spool.store import Store
    from tests.simulation.chance import Chance

_LINES = (b"", b".", b"..", b".x", b"From me", b"x" * 70, "grüße".encode(), b"\xff\xfe", b"QUIT", b"RSET")
_LARGE_LINE = 5000  # octets: long lines are quicker to read
_MOST = 12  # messages at a time
_MOST_TIGHT = 50


def draw_config(chance: Chance, sites: list[str]) -> Config:
    """Make up a configuration with one route, or two that share sites."""
    pick = chance.pick
    routes = {}
    for name in ("default", "other")[: pick((1, 1, 2))]:
        routes[name] = Route(
            destinations=chance.rng.sample(sites, chance.rng.randint(1, len(sites))),
            balance=pick(("failover", "round-robin")),
            sessions=pick((1, 2, 5, 10)),
            adapt=chance.may(0.7),
            mode=pick(("chunked", "chunked", "chunked", "pipelined", "lockstep")),
            recipients=pick((1, 2, 100, 100)),
            idle=Duration(pick((5, 30))),
            uncertain=pick(("retry", "retry", "retry", "hold")),
            hold_off=Duration(pick((1, 60, 600))),
            retry=Retry(first=Duration(pick((5, 60, 300))), maximum=Duration(pick((60, 600, 4000)))),
            timeouts=Timeouts(
                connect=Duration(10),
                greeting=Duration(pick((10, 60))),
                command=Duration(pick((10, 60))),
                data=Duration(pick((10, 60))),
                block=Duration(pick((5, 30))),
                final=Duration(pick((10, 120))),
            ),
        )
    if chance.tight:
        for name, route in routes.items():
            routes[name] = msgspec.structs.replace(
                route, sessions=pick((1, 2)), recipients=pick((1, 2)), mode=pick(("pipelined", "lockstep"))
            )
    worker = Worker(
        claim=pick((1, 5, 500)),
        buffer=1 << 20,
        grace=Duration(pick((1, 30))),
        journal_sync=Duration(0),
    )
    if chance.tight:
        worker = msgspec.structs.replace(worker, claim=pick((1, 2, 5, 20)), buffer=pick((1, 2)) * CHUNK_SIZE)
    return Config(routes=routes, lhlo="client", worker=worker)


def put(chance: Chance, store: Store, routes: list[str], *, start: int, now: int) -> list[Letter]:
    """Put some messages into the spool, numbered from `start`."""
    letters = []
    most = _MOST_TIGHT if chance.tight else _MOST
    for number in range(start, start + chance.rng.randint(1, most)):
        content = _heavy(chance) if chance.tight and chance.may(0.5) else _content(chance)
        addresses = _addresses(chance)
        lifetime = chance.pick((600, 7200, 86400, 5 * 86400, 5 * 86400)) * 1_000_000
        message = NewMessage(
            sender=f"s{number}@sim",
            recipients=tuple(NewRecipient(address=one, route=chance.pick(routes)) for one in addresses),
            content=_stored(store, content, now),
            priority=chance.pick(tuple(Priority)),
            expires=now + lifetime,
        )
        (enqueued,) = store.enqueue([message], now=now)
        letters.append(Letter(number, tuple(addresses), content, now + lifetime, enqueued.id))
    return letters


def _content(chance: Chance) -> bytes:
    if chance.may(0.02):
        count = chance.rng.randint(1, 120)
        return b"".join(b"%05d" % i + b"x" * _LARGE_LINE + b"\r\n" for i in range(count))
    lines = chance.rng.choices(_LINES, k=chance.rng.randint(0, 12))
    if chance.may(0.7):
        lines = [line for line in lines if line.isascii()]
    content = b"".join(line + b"\r\n" for line in lines)
    return content + b"no end" if chance.may(0.1) else content


def _heavy(chance: Chance) -> bytes:
    """Make up a content of which a few fill a worker's memory, and which fits it in one piece."""
    line = b"x" * _LARGE_LINE + b"\r\n"
    return line * chance.rng.randint(1, CHUNK_SIZE // len(line))


def _addresses(chance: Chance) -> list[str]:
    """Draw some of a few mailboxes, so that they get more than one message at a time."""
    count = chance.pick((1, 1, 1, 2, 3, 6))
    addresses = [f"r{i}@sim" for i in chance.rng.sample(range(12), count)]
    if chance.may(0.03):
        addresses.append("grüße@sim")
    return addresses


def _stored(store: Store, content: bytes, now: int) -> Content:
    large = len(content) > CHUNK_SIZE
    pieces = [content[i : i + CHUNK_SIZE] for i in range(0, len(content), CHUNK_SIZE)]
    return Content(
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        body=BodyType.SEVEN_BIT if content.isascii() else BodyType.EIGHT_BIT,
        data=b"" if large else content,
        stored=store.store_chunks(pieces, now=now) if large else None,
    )
