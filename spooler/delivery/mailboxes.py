"""Which mailboxes are being delivered to, so that one that is slow or locked does not hold every session.

A parcel whose mailbox has its share of transactions already is parked until one of them ends.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spooler.delivery.parcel import Parcel


class Mailboxes:
    """Counts the parcels under way by address, and keeps those that must wait for one."""

    def __init__(self) -> None:
        self.parked = 0
        """Recipients of the parcels that wait for a mailbox."""
        self._busy: dict[str, int] = {}
        self._waiting: dict[str, deque[Parcel]] = {}

    def enter(self, parcel: Parcel, share: int) -> str | None:
        """Note a parcel as under way; or return the mailbox that has `share` under way already."""
        busy = self._busy
        for recipient in parcel.recipients:
            if busy.get(recipient.address, 0) >= share:
                return recipient.address
        for recipient in parcel.recipients:
            busy[recipient.address] = busy.get(recipient.address, 0) + 1
        return None

    def park(self, parcel: Parcel, address: str) -> None:
        """Keep a parcel until one that is under way for `address` ends."""
        self._waiting.setdefault(address, deque()).append(parcel)
        self.parked += len(parcel.recipients)

    def leave(self, parcel: Parcel) -> list[Parcel]:
        """Note that a parcel is under way no more; return those that need not wait for it now."""
        freed: list[Parcel] = []
        busy = self._busy
        for recipient in parcel.recipients:
            address = recipient.address
            if busy[address] > 1:
                busy[address] -= 1
            else:
                del busy[address]
            waiting = self._waiting.get(address)
            if waiting is not None:
                next_one = waiting.popleft()
                freed.append(next_one)
                self.parked -= len(next_one.recipients)
                if not waiting:
                    del self._waiting[address]
        return freed

    def clear(self) -> list[Parcel]:
        """Take out everything that is parked."""
        parcels = [parcel for waiting in self._waiting.values() for parcel in waiting]
        self._waiting.clear()
        self.parked = 0
        return parcels
