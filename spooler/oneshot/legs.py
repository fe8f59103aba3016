"""Where the recipients of a one-shot delivery go: a named destination, routes, or the usual places."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from spooler.address import show, split
from spooler.config import Config, Duration, Route, Timeouts
from spooler.credentials import Credentials
from spooler.destination import Destination, InetDestination, parse_destination
from spooler.envelope import DEFAULT_ROUTE
from spooler.errors import UsageError
from spooler.lmtp.mode import Mode
from spooler.net.security import Security
from spooler.oneshot.protecting import TlsWishes, protect
from spooler.oneshot.usual import usual_destinations, usual_port
from spooler.oneshot.way import Leg, Way

if TYPE_CHECKING:
    from collections.abc import Sequence


_LOOKING = Timeouts(greeting=Duration(10))  # what listens in a usual place need not be a server that answers


class Wishes(msgspec.Struct, frozen=True, kw_only=True):
    """What was said of where to go: `destination` and `server` are None where nothing was.

    `target` is the default route's destination as the environment has it, "" for none. `port` is for what
    names none. `login` finds the credentials where AUTH is asked for, the same each time; `login_named`: it
    was said whose they are, so they come before those of a route.
    """

    destination: str | None = None
    server: str | None = None
    port: int | None = None
    target: str = ""
    tls: TlsWishes = TlsWishes()
    login: Callable[[], Credentials] | None = None
    login_named: bool = False


class Guide:
    """Knows the way for every recipient."""

    def __init__(self, wishes: Wishes, config: Config, *, root: Path = Path("/")) -> None:
        self._wishes = wishes
        self._config = config
        self._root = root  # of the usual sockets

    def legs(self, recipients: Sequence[str]) -> list[Leg]:
        """Return them in groups that go the same way; raises SpoolerError."""
        named = self._named()
        if named is not None:
            return [Leg(ways=(self._way(named),), recipients=tuple(recipients))]
        routes: dict[str, list[str]] = {}
        for recipient in recipients:
            routes.setdefault(self._config.route_of(split(recipient)[1]), []).append(recipient)
        return [self._leg(name, addresses) for name, addresses in routes.items()]

    def _named(self) -> Destination | None:
        """Return the destination that the options name."""
        wishes = self._wishes
        if wishes.destination is not None and wishes.server is not None:
            raise UsageError("-d and -s both name a destination", hint="give one of them")
        if wishes.destination is not None:
            named = parse_destination(wishes.destination, port=self._port())
            if wishes.port is not None and not isinstance(named, InetDestination):
                raise UsageError(f"{named} is a socket and has no port", hint="leave -p out")
            return named
        if wishes.server is not None:
            return self._server(wishes.server)
        return InetDestination("localhost", wishes.port) if wishes.port is not None else None

    def _server(self, host: str) -> Destination:
        text = f"inet:[{host}]" if ":" in host else f"inet:{host}"
        try:
            return parse_destination(text, port=self._port())
        except UsageError:
            raise UsageError(
                f"server '{show(host)}' is no host's name or address", hint="a port is given with -p"
            ) from None

    def _leg(self, name: str, recipients: Sequence[str]) -> Leg:
        route = self._config.routes.get(name)
        target = self._wishes.target if name == DEFAULT_ROUTE else ""
        if target:
            places = [parse_destination(target, port=self._port())]
        elif route is not None:
            places = list(route.parsed())
        else:
            places = usual_destinations(self._port(), root=self._root)
        ways = tuple(self._way(place, route) for place in places)
        if route is None:
            return Leg(ways=ways, recipients=tuple(recipients), timeouts=Timeouts() if target else _LOOKING)
        return Leg(
            ways=ways,
            recipients=tuple(recipients),
            timeouts=route.timeouts,
            most=route.recipients,
            mode=min(Mode.of(route.mode), Mode.PIPELINED),
        )

    def _way(self, destination: Destination, route: Route | None = None) -> Way:
        tls = protect(destination, self._wishes.tls, None if route is None else route.protection())
        return Way(
            destination=destination,
            security=Security(destination, tls=tls, credentials=self._login(route)),
        )

    def _login(self, route: Route | None) -> Callable[[], Credentials] | None:
        """Say how to find the credentials; a person is asked now, not while a server waits."""
        wishes = self._wishes
        account = None if route is None else route.account()
        if wishes.login is None or (account is not None and not wishes.login_named):
            return None if account is None else account.credentials
        credentials = wishes.login()
        return lambda: credentials

    def _port(self) -> int:
        return usual_port() if self._wishes.port is None else self._wishes.port
