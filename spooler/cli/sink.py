"""`spooler sink`: options to a script, listeners announced, totals at the end."""

from __future__ import annotations

import re
import signal
from typing import Any

import click
import msgspec
import trio

from spooler.cli.values import FILE
from spooler.errors import UsageError
from spooler.lmtp.serving import CAPABILITIES
from spooler.sink.script import (
    DEFER,
    REFUSE,
    DropAt,
    Script,
    parse_delay,
    parse_drop,
    parse_rule,
    parse_without,
)
from spooler.sink.server import DEFAULT_LISTEN, parse_listen, serve
from spooler.sink.state import Counters, Sink, SinkOptions


@click.command(short_help="An LMTP server for tests, with scripted faults.")
@click.option(
    "--listen", "listen", multiple=True, metavar="DEST", help=f"Default {DEFAULT_LISTEN}; port 0: any."
)
@click.option("--maildir", type=FILE, metavar="DIR", help="Keep mail: DIR/ADDRESS/new.")
@click.option("--trace-headers", is_flag=True, help="Add Return-Path and Delivered-To to what is kept.")
@click.option("--record", type=FILE, metavar="FILE", help="One JSON line a final reply.")
@click.option("--json", "as_json", is_flag=True, help="Totals as JSON.")
@click.option("--tls-cert", type=FILE, metavar="FILE", help="Certificate (PEM): offer STARTTLS.")
@click.option("--tls-key", type=FILE, metavar="FILE", help="Its key, if not in the same file.")
@click.option("--tls-implicit", is_flag=True, help="TLS from the start, instead of STARTTLS.")
@click.option("--refuse", multiple=True, metavar="PATTERN[=REPLY]", help=f"At RCPT; default '{REFUSE}'.")
@click.option("--defer", multiple=True, metavar="PATTERN[=REPLY]", help=f"At RCPT; default '{DEFER}'.")
@click.option("--refuse-final", multiple=True, metavar="PATTERN[=REPLY]", help="In the final reply.")
@click.option("--defer-final", multiple=True, metavar="PATTERN[=REPLY]", help="In the final reply.")
@click.option("--times", type=click.IntRange(min=0), metavar="N", help="Defer an address N times at most.")
@click.option("--drop", multiple=True, metavar="STAGE[:N]", help=f"Close there: {', '.join(DropAt)}.")
@click.option("--replies", metavar="+N|-N", help="So many more or fewer final replies than due.")
@click.option("--one-reply", is_flag=True, help="One final reply for all recipients.")
@click.option("--delay", multiple=True, metavar="STAGE=SECONDS", help="Slow replies; connect to final.")
@click.option("--drip", is_flag=True, help="Send replies one byte a write.")
@click.option("--greeting", metavar="TEXT", help="Greet with this line; 4xx and 5xx close.")
@click.option("--mute", is_flag=True, help="Never say a word.")
@click.option(
    "--without", multiple=True, metavar="CAP", help=f"Do not announce {', '.join(CAPABILITIES)}, all."
)
@click.option("--size-limit", type=click.IntRange(min=0), default=0, metavar="BYTES", help="0: none.")
@click.option("--smtp", is_flag=True, help="Speak SMTP and no LMTP.")
@click.option("--silent-for-nobody", is_flag=True, help="No reply to BDAT LAST for nobody, instead of a 503.")
@click.option("--max-recipients", type=click.IntRange(min=0), metavar="N", help="A transaction; then 452.")
@click.option("--max-transactions", type=click.IntRange(min=0), metavar="N", help="A connection; then 421.")
@click.option("--max-connections", type=click.IntRange(min=0), metavar="N", help="At once; then 421.")
def command(*, as_json: bool, **asked: Any) -> None:  # noqa: ANN401 - the options above, as click passes them
    """Take mail by LMTP and count it, or keep it in a Maildir per recipient, until SIGTERM or SIGINT.

    Each listener is announced by a line "listening on DEST". Patterns are shell patterns on the whole
    address. STAGE:N means every Nth transaction.
    """
    script = _script(asked)
    if asked["tls_cert"] is None and (asked["tls_key"] is not None or asked["tls_implicit"]):
        raise UsageError("TLS needs a certificate", hint="give --tls-cert FILE")
    options = SinkOptions(
        listen=tuple(parse_listen(text) for text in asked["listen"]) or (DEFAULT_LISTEN,),
        script=script,
        maildir=asked["maildir"],
        trace_headers=asked["trace_headers"],
        record=asked["record"],
        tls_cert=asked["tls_cert"],
        tls_key=asked["tls_key"],
        tls_implicit=asked["tls_implicit"],
    )
    try:
        counters = trio.run(_run, options)
    except BaseExceptionGroup as group:
        raise _first(group) from None
    click.echo(_json(counters) if as_json else _text(counters))


def _script(asked: dict[str, Any]) -> Script:
    return Script(
        at_rcpt=(
            *(parse_rule(text, REFUSE) for text in asked["refuse"]),
            *(parse_rule(text, DEFER) for text in asked["defer"]),
        ),
        at_final=(
            *(parse_rule(text, REFUSE) for text in asked["refuse_final"]),
            *(parse_rule(text, DEFER) for text in asked["defer_final"]),
        ),
        times=asked["times"],
        drops=tuple(parse_drop(text) for text in asked["drop"]),
        replies=_replies(asked["replies"]),
        one_reply=asked["one_reply"],
        delays=dict(parse_delay(text) for text in asked["delay"]),
        drip=asked["drip"],
        greeting=asked["greeting"],
        mute=asked["mute"],
        without=frozenset().union(*(parse_without(text) for text in asked["without"])),
        size_limit=asked["size_limit"],
        smtp=asked["smtp"],
        silent_for_nobody=asked["silent_for_nobody"],
        max_recipients=asked["max_recipients"],
        max_transactions=asked["max_transactions"],
        max_connections=asked["max_connections"],
    )


def _replies(text: str | None) -> int:
    if text is None:
        return 0
    if not re.fullmatch(r"[+-][0-9]{1,6}", text):
        raise UsageError(f"--replies '{text}' is not understood", hint="give +N or -N, as in --replies=-1")
    return int(text)


async def _run(options: SinkOptions) -> Counters:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            sink: Sink = await nursery.start(serve, options)
            for destination in sink.bound:
                click.echo(f"listening on {destination}")  # flushes: scripts wait for it
            async for _ in signals:
                break
            nursery.cancel_scope.cancel()
    return sink.counters


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the error that a nursery wrapped."""
    inner = group.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner


def _json(counters: Counters) -> str:
    return msgspec.json.encode(counters).decode()


def _text(counters: Counters) -> str:
    faults = ", ".join(f"{kind} {count}" for kind, count in sorted(counters.faults.items())) or "none"
    return (
        f"{counters.connections} connections, {counters.transactions} transactions; recipients: "
        f"{counters.accepted} accepted, {counters.refused} refused, {counters.deferred} deferred, "
        f"{counters.delivered} delivered ({counters.bytes} bytes); faults: {faults}"
    )
