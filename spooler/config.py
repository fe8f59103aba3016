"""The configuration: one TOML file, typed, read whole or refused whole.

Durations are numbers of seconds or strings such as "90s", "15m", "4h", "5d"; sizes are bytes.
"""

from __future__ import annotations

import math
import re
import socket
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from spooler.address import show
from spooler.config_errors import explain
from spooler.credentials import MECHANISMS, Account
from spooler.destination import Destination, is_local, parse_destination
from spooler.envelope import DEFAULT_ROUTE
from spooler.errors import ConfigError, NoInputError, SpoolerError, UsageError
from spooler.listen import Listen, parse_listen
from spooler.result import HOLD_UNCERTAIN, Doubtful
from spooler.tls import Tls, TlsLevel, check_tls, parse_fingerprint

if TYPE_CHECKING:
    from pathlib import Path

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
MAX_DURATION = 3650 * 86400  # seconds: beyond it times do not fit what stores and shows them
LONGEST_NAME = 100  # characters of a route's name, which stands in tables, logs and labels
_LHLO = re.compile(r"[A-Za-z0-9_.-]{1,255}|\[[\x21-\x5a\x5e-\x7e]{1,253}\]")  # RFC 5321 section 4.1.2
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)")


class Duration(float):
    """A number of seconds; in the file also "90s", "15m", "4h", "5d"."""

    @property
    def us(self) -> int:
        """In whole microseconds."""
        return int(self * 1_000_000)


Count = Annotated[int, msgspec.Meta(ge=1)]


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"):
    """A table of the file: a misspelt key is an error."""


class Retry(Section, frozen=True):
    """When a deferred recipient is tried again, and how long."""

    first: Duration = Duration(60)
    """Greatest delay after the first attempt; doubled at each one."""
    maximum: Duration = Duration(4000)
    """No delay is longer (Postfix: maximal_backoff_time)."""
    lifetime: Duration = Duration(5 * 86400)
    """From enqueueing until it is given up as expired, unless the message says otherwise."""


class Timeouts(Section, frozen=True):
    """A deadline per reply, from when it is the next one due (RFC 5321 section 4.5.3.2)."""

    connect: Duration = Duration(30)
    greeting: Duration = Duration(300)
    command: Duration = Duration(300)
    """LHLO, RSET, MAIL, RCPT."""
    data: Duration = Duration(120)
    block: Duration = Duration(180)
    """For the kernel to take any more of what is being sent."""
    final: Duration = Duration(600)
    quit: Duration = Duration(2)


class Route(Section, frozen=True):
    """A name that recipients carry, and where it leads."""

    destinations: list[str]
    balance: Literal["failover", "round-robin"] = "failover"
    """Several destinations: always the first that works, or each in turn."""
    tls: TlsLevel | None = None
    """Must be stated unless every destination is a UNIX socket or a loopback address."""
    tls_implicit: bool = False
    """TLS from the first octet on, instead of STARTTLS."""
    tls_ca: str = ""
    """PEM file of the authorities that are trusted; default: those of the system."""
    tls_cert: str = ""
    """PEM file of the client's certificate, its chain, and its key if `tls_key` names no other file."""
    tls_key: str = ""
    tls_fingerprints: tuple[str, ...] = ()
    """SHA-256 of certificates or of their public keys."""
    tls_names: tuple[str, ...] = ()
    """What certificates may be for; default: the destination's host."""
    auth_user: str = ""
    auth_secret_file: str = ""
    """One line; a name without a slash is looked for among systemd's credentials."""
    auth_mechanisms: tuple[Literal["SCRAM-SHA-256", "CRAM-MD5", "PLAIN", "LOGIN"], ...] = ()
    """Those that may be used; default: all."""
    auth_plain: bool = False
    """AUTH also over a line that is neither encrypted nor local."""
    sessions: Count = 20
    """Most connections at a time of one command, all of its processes together."""
    adapt: bool = True
    """Find out how many sessions help, and how deep; else as many as allowed from the first mail on."""
    mode: Literal["chunked", "pipelined", "lockstep"] = "chunked"
    """The boldest way in which transactions may follow one another; see `spooler.lmtp.mode.Mode`."""
    recipients: Count = 100
    """Most recipients in a transaction."""
    idle: Duration = Duration(30)
    """How long an unused connection is kept for reuse; servers hang up after some minutes."""
    uncertain: Literal["retry", "hold"] = "retry"
    """After an attempt that may have delivered: try again after the hold-off, or hold for a person."""
    hold_off: Duration = Duration(60)
    """The least delay before an uncertain recipient is tried again."""
    retry: Retry = Retry()
    timeouts: Timeouts = Timeouts()

    def parsed(self) -> tuple[Destination, ...]:
        """Return the destinations, in order."""
        return tuple(parse_destination(text) for text in self.destinations)

    def protection(self) -> Tls:
        """Return how its connections are protected; raises UsageError."""
        return Tls(
            level=self.tls or TlsLevel.NONE,
            implicit=self.tls_implicit,
            ca=self.tls_ca,
            cert=self.tls_cert,
            key=self.tls_key,
            fingerprints=tuple(parse_fingerprint(text) for text in self.tls_fingerprints),
            names=self.tls_names,
        )

    def account(self) -> Account | None:
        """Return whom to authenticate as, None where that is not wanted."""
        if not self.auth_user:
            return None
        return Account(
            user=self.auth_user,
            secret_file=self.auth_secret_file,
            mechanisms=self.auth_mechanisms or MECHANISMS,
            plain=self.auth_plain,
        )

    def doubtful(self, now: int) -> Doubtful:
        """Return what is done with a recipient that was found to be uncertain `now` (µs UTC)."""
        return Doubtful(now + self.hold_off.us, HOLD_UNCERTAIN if self.uncertain == "hold" else "")


class Http(Section, frozen=True):
    """Where a worker shows how it stands: metrics, health, the status page. See `spooler.ops`."""

    listen: str = "127.0.0.1:9024"
    """Address and port; "" for none. A `drain` listens only where its command line says so."""
    token_file: str = ""
    """File with the token that is asked for; must be named where others than this machine can connect."""

    @property
    def parsed(self) -> Listen | None:
        """Return where to listen; raises UsageError."""
        return parse_listen(self.listen) if self.listen else None


class Worker(Section, frozen=True):
    """How a worker treats the spool."""

    claim: Count = 1000
    """Recipients claimed at once, at most, per route."""
    buffer: Annotated[int, msgspec.Meta(ge=1 << 20)] = 8 << 20
    """Bytes of contents held in memory, read ahead of delivery."""
    grace: Duration = Duration(30)
    """After SIGTERM, how long transactions may take to end."""
    journal: str = ""
    """Folder of the workers' journals; default: beside an SQLite spool, else below the state directory."""
    journal_sync: Duration = Duration(0.01)
    """How long a note in the journal may wait for its fsync; 0: no fsync, a power cut is not covered."""
    retention: Duration = Duration(30 * 86400)
    """How long the ledger is kept."""


class Config(Section, frozen=True):
    """The whole file."""

    spool: str | None = None
    """URL: sqlite:///relative.db, sqlite:////absolute.db, postgresql://user@host/database."""
    lhlo: str = ""
    """The name told to servers; default: this host's."""
    routes: dict[str, Route] = {}
    domains: dict[str, str] = {}
    """Domain of a recipient to name of its route; others take the route "default"."""
    http: Http = Http()
    worker: Worker = Worker()

    def route_of(self, domain: str) -> str:
        """Return the name of the route that recipients of `domain` take."""
        return self.domains.get(domain.lower(), DEFAULT_ROUTE)

    @property
    def lhlo_name(self) -> str:
        """The LHLO argument."""
        return self.lhlo or socket.gethostname() or "localhost"


def load_config(path: Path) -> Config:
    """Read and check a file; raises NoInputError or ConfigError with the place and the mend."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise NoInputError(
            f"configuration {path} cannot be read: {error.strerror}",
            hint="name another with --config or SPOOLER_CONFIG",
        ) from None
    return parse_config(raw, name=str(path))


def parse_config(raw: bytes, *, name: str) -> Config:
    """Check the text of a configuration that came from `name`; raises ConfigError."""
    import tomllib  # not every command reads one

    try:
        data = tomllib.loads(raw.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"configuration {name} is not valid TOML: {error}") from None
    try:
        config = msgspec.convert(data, Config, dec_hook=_decode)
    except msgspec.ValidationError as error:
        what, hint = explain(str(error), data, Config, dec_hook=_decode)
        raise ConfigError(f"configuration {name}: {what}", hint=hint or _suggest(what)) from None
    try:
        check_config(config)
    except SpoolerError as error:
        raise ConfigError(f"configuration {name}: {error.what}", hint=error.hint) from None
    return config


def check_config(config: Config) -> None:
    """Check what spans several keys; raises SpoolerError."""
    if config.lhlo and not _LHLO.fullmatch(config.lhlo):
        raise UsageError(
            f"lhlo '{show(config.lhlo)}' is no name to greet a server with",
            hint="give a host name in ASCII, or an address in brackets such as [192.0.2.1]",
        )
    if "\0" in config.worker.journal:
        raise UsageError("worker.journal has a NUL in it", hint="name a folder")
    _check_http(config.http)
    for name, route in config.routes.items():
        _check_route(name, route)
    for domain, name in config.domains.items():
        if domain != domain.lower():
            raise UsageError(f"domain '{domain}' is not in lower case", hint=f"write '{domain.lower()}'")
        if name not in config.routes and name != DEFAULT_ROUTE:
            raise UsageError(
                f"domain '{domain}' takes the unknown route '{name}'",
                hint=f"known: {', '.join(sorted(config.routes)) or 'none'}",
            )


def check_route_name(name: str) -> None:
    """Raise UsageError for what no route can be called."""
    if not name or show(name, LONGEST_NAME) != name:
        raise UsageError(
            f"route '{show(name, LONGEST_NAME)}' has no name that can be shown in a line",
            hint=f"give it one of up to {LONGEST_NAME} characters that can be seen",
        )


def _check_route(name: str, route: Route) -> None:
    check_route_name(name)
    if not route.destinations:
        raise UsageError(f"route '{name}' has no destinations", hint="add one")
    for destination in route.parsed():
        if route.tls is None and not is_local(destination):
            raise UsageError(
                f"route '{name}' leads to {destination}, off this machine, and states no tls level",
                hint=f'write tls = "secure" in [routes.{name}], or another level; '
                '"none" if mail may travel in plain text there',
            )
        try:
            check_tls(route.protection(), destination)
            _check_account(route, destination)
        except UsageError as error:
            raise UsageError(f"route '{name}': {error.what}", hint=error.hint) from None
    for field in msgspec.structs.fields(route.timeouts):
        if getattr(route.timeouts, field.name) <= 0:
            raise UsageError(
                f"route '{name}' has a timeouts.{field.encode_name} of zero", hint="give a longer one"
            )
    if route.retry.first > route.retry.maximum:
        raise UsageError(f"route '{name}' has a retry.first above its retry.maximum", hint="lower it")


def _check_http(http: Http) -> None:
    listen = http.parsed
    if listen is not None and not listen.local and not http.token_file:
        raise UsageError(
            f"http.listen {listen} can be reached from other machines, and no token is asked for",
            hint="name a file that holds one with http.token-file, or listen on 127.0.0.1",
        )


def _check_account(route: Route, destination: Destination) -> None:
    if bool(route.auth_user) != bool(route.auth_secret_file):
        raise UsageError(
            "auth-user and auth-secret-file belong together", hint="write both, or neither for no AUTH"
        )
    if any(ord(char) < 0x20 or char == "\x7f" for char in route.auth_user):
        raise UsageError("auth-user has a control character in it", hint="write the user's name")
    if not route.auth_user and (route.auth_mechanisms or route.auth_plain):
        raise UsageError("there is no auth-user to authenticate", hint="write auth-user, or leave auth out")
    encrypted = route.tls not in (None, TlsLevel.NONE)
    if route.auth_user and not (encrypted or route.auth_plain or is_local(destination)):
        raise UsageError(
            f"AUTH at {destination} would be said in plain text, over a network",
            hint="state a tls level, or auth-plain = true if others may see it",
        )


def parse_duration(text: str) -> Duration | None:
    """Read "90s", "15m", "4h" or "5d"; None if it is none."""
    match = _DURATION.fullmatch(text.strip())
    seconds = float(match[1]) * _UNITS[match[2]] if match else math.inf
    return Duration(seconds) if math.isfinite(seconds) else None


def _decode(kind: type, value: object) -> object:
    if kind is Duration:
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= MAX_DURATION:
            return Duration(value)
        duration = parse_duration(value) if isinstance(value, str) else None
        if duration is not None and duration <= MAX_DURATION:
            return duration
        raise ValueError(
            f"Expected a duration such as 90, '90s', '15m', '4h' or '5d', at most 3650d, "
            f"got {show(repr(value))}"
        )
    raise NotImplementedError(kind)


def _suggest(error: str) -> str:
    """For a misspelt key: the nearest one that exists."""
    import difflib  # nobody else needs it

    match = re.search(r"unknown field `([^`]*)`", error)
    if not match:
        return "see docs/CONFIGURATION.md"
    known: set[str] = set()
    for section in (Config, Route, Retry, Timeouts, Http, Worker):
        known.update(
            msgspec.structs.fields(section)[i].encode_name for i in range(len(section.__struct_fields__))
        )
    near = difflib.get_close_matches(match[1], sorted(known), n=1)
    return f"did you mean '{near[0]}'?" if near else "see docs/CONFIGURATION.md for the keys"
