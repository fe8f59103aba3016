"""A line with a delay delays, and does nothing else."""

from __future__ import annotations

import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from bench.delay import delayed
from tests.servers.process import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROUND_TRIP = 0.020  # seconds
_MUCH = 64 << 20  # bytes: so that it lasts longer than a busy machine stands still


@pytest.fixture
def echo() -> Iterator[int]:
    """Port of a server that sends back what it gets, to one connection, until it gets no more."""

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            while data := connection.recv(1 << 18):
                connection.sendall(data)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


def test_a_round_trip_takes_its_time(echo: int) -> None:
    """Neither less than the delay nor much more; the first has the handshake on top."""
    with delayed(echo, _ROUND_TRIP) as port:
        start = time.perf_counter()
        with socket.create_connection(("127.0.0.1", port)) as client:
            times: list[float] = []
            while len(times) < 5 or (len(times) < 50 and min(times) >= 2 * _ROUND_TRIP):
                client.sendall(b"x")
                assert client.recv(1) == b"x"
                times.append(time.perf_counter() - start)
                start = time.perf_counter()
    first, *others = times
    assert first >= 2.5 * _ROUND_TRIP
    assert min(others) >= _ROUND_TRIP
    assert min(others) < 2 * _ROUND_TRIP


def test_much_is_carried_at_once_and_in_order(echo: int) -> None:
    """A delay is no limit: megabytes are under way at once, come back as they were, then comes the end."""
    block = bytes(range(256)) * (_MUCH // 256)
    with delayed(echo, _ROUND_TRIP) as port, socket.create_connection(("127.0.0.1", port)) as client:

        def send() -> None:
            client.sendall(block)
            client.shutdown(socket.SHUT_WR)

        start = time.perf_counter()
        sender = threading.Thread(target=send)
        sender.start()
        got = bytearray()
        while data := client.recv(1 << 18):
            got += data
        took = time.perf_counter() - start
        sender.join()
    assert bytes(got) == block
    assert _MUCH / took > 20e6, "bytes a second"


def test_where_nobody_listens_the_connection_ends() -> None:
    """As without the delay, but later."""
    with delayed(free_port(), _ROUND_TRIP) as line, socket.create_connection(("127.0.0.1", line)) as client:
        assert client.recv(1) == b""
