"""Which mailboxes are being delivered to, so that one that is slow or locked does not hold every session.

A mailbox may be served by a share of the sessions at a time. A parcel that would be one session too many
is parked until one of them is done with it. `holder` stands for a session; times are seconds.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from spooler.delivery.parcel import Parcel


IN_A_ROW = 4  # transactions in flight for one mailbox on one session: what waits behind them waits long


class _Mailbox:
    """One address that parcels are under way for."""

    __slots__ = ("holders", "moved", "parked")

    def __init__(self, now: float) -> None:
        self.holders: dict[object, int] = {}
        self.parked: deque[Parcel] = deque()
        self.moved = now  # when something was begun or done for it


class Mailboxes:
    """Keeps who is busy with which address, and the parcels that must wait for one."""

    def __init__(self) -> None:
        self.parked = 0
        """Recipients of the parcels that wait for a mailbox."""
        self._busy: dict[str, _Mailbox] = {}
        self._entered: dict[Parcel, object] = {}

    def under_way(self) -> Iterable[Parcel]:
        """Name the parcels that are under way."""
        return self._entered.keys()

    def enter(self, parcel: Parcel, holder: object, *, share: int, now: float) -> bool:
        """Note a parcel as under way; or park it where a mailbox has its share of sessions already."""
        busy = self._busy
        for recipient in parcel.recipients:
            mailbox = busy.get(recipient.address)
            if mailbox is None:
                continue
            begun = mailbox.holders.get(holder)
            if (len(mailbox.holders) >= share) if begun is None else (begun >= IN_A_ROW):
                mailbox.parked.append(parcel)
                self.parked += len(parcel.recipients)
                return False
        for recipient in parcel.recipients:
            mailbox = busy.get(recipient.address)
            if mailbox is None:
                mailbox = busy[recipient.address] = _Mailbox(now)
            mailbox.moved = now
            mailbox.holders[holder] = mailbox.holders.get(holder, 0) + 1
        self._entered[parcel] = holder
        return True

    def leave(self, parcel: Parcel, *, now: float) -> list[Parcel]:
        """Note that a parcel is under way no more; return those that need not wait for it now."""
        freed: list[Parcel] = []
        holder = self._entered.pop(parcel)
        for recipient in parcel.recipients:
            mailbox = self._busy[recipient.address]
            mailbox.moved = now
            if mailbox.holders[holder] > 1:
                mailbox.holders[holder] -= 1
            else:
                del mailbox.holders[holder]
            if mailbox.parked:
                freed.append(mailbox.parked.popleft())
                self.parked -= len(freed[-1].recipients)
            if not mailbox.holders:
                freed += mailbox.parked
                self.parked -= sum(len(other.recipients) for other in mailbox.parked)
                del self._busy[recipient.address]
        return freed

    def stuck(self, *, since: float) -> list[Parcel]:
        """Take out what is parked for mailboxes where nothing was begun or done after `since`."""
        parcels: list[Parcel] = []
        for mailbox in self._busy.values():
            if mailbox.parked and mailbox.moved <= since:
                parcels += mailbox.parked
                mailbox.parked.clear()
        self.parked -= sum(len(parcel.recipients) for parcel in parcels)
        return parcels
