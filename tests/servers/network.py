"""A network of two ends on one machine, whose packets can be dropped: nothing is refused, nothing arrives.

One end is this host's, the other is in a network namespace. Linux only, as root, with iproute2.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.servers.process import ServerError, find

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Network:
    """`near` is this host's address, `far` that of the namespace `name`."""

    name: str
    near: str
    far: str

    @property
    def inside(self) -> tuple[str, ...]:
        """The words in front of a command that runs at the far end."""
        return "ip", "netns", "exec", self.name

    @contextlib.contextmanager
    def cut(self) -> Iterator[None]:
        """Drop every packet, both ways, for the block."""
        ends = (("tc",), self.near_end), (("tc", "-n", self.name), self.far_end)
        with contextlib.ExitStack() as stack:
            for tc, end in ends:
                _do(*tc, "qdisc", "add", "dev", end, "root", "pfifo", "limit", "0")  # a queue without room
                stack.callback(_do, *tc, "qdisc", "del", "dev", end, "root")
            yield

    @property
    def near_end(self) -> str:
        """This host's interface."""
        return f"{self.name}a"

    @property
    def far_end(self) -> str:
        """The namespace's interface."""
        return f"{self.name}b"


@contextlib.contextmanager
def network() -> Iterator[Network]:
    """Make one for the block; raises ServerError where that cannot be."""
    if os.geteuid() != 0 or not find("ip") or not find("tc"):
        raise ServerError("it takes root and the programs ip and tc (Debian: iproute2)")
    listed = subprocess.run(["ip", "-o", "-4", "address"], capture_output=True, text=True, check=True)
    part = secrets.choice([n for n in range(1, 251) if f" 10.213.{n}." not in listed.stdout])
    ours = Network(f"sp{secrets.token_hex(4)}", near=f"10.213.{part}.1", far=f"10.213.{part}.2")
    with contextlib.ExitStack() as stack:
        _do("ip", "netns", "add", ours.name)
        stack.callback(_do, "ip", "netns", "del", ours.name)
        _do("ip", "link", "add", ours.near_end, "type", "veth", "peer", ours.far_end, "netns", ours.name)
        # the kernel takes its time to remove what was of a namespace
        stack.callback(_do, "ip", "link", "del", ours.near_end)
        for ip, end, address in (
            (("ip",), ours.near_end, ours.near),
            (("ip", "-n", ours.name), ours.far_end, ours.far),
        ):
            _do(*ip, "address", "add", f"{address}/30", "dev", end)
            _do(*ip, "link", "set", end, "up")
        yield ours


def _do(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ServerError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr.strip()}")
