"""The command `lmtp`: its options, and from them to one message that is delivered, or queued, now.

What it does is imported when it is known to be asked for rightly: help and errors come at once. Start-up
is what a script with a thousand messages pays for each, so no database is loaded but for `--spool`.
"""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

import click

from spooler.cli.lmtp_asked import NAME, NO_VALUE, Asked
from spooler.cli.main import run
from spooler.cli.values import FILE
from spooler.tls import TlsLevel

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def _told(command: Callable[..., int]) -> Callable[..., int]:
    """Add the options."""
    options = (
        click.option(
            "-f", "--from", "sender", metavar="SENDER", help="Envelope sender; '' or '<>' is the null sender."
        ),
        click.option(
            "-t",
            "--to",
            "told",
            multiple=True,
            metavar="RECIPIENT",
            help="Recipient, or several with commas between; may be repeated, and further arguments are "
            "recipients too. A readable PEM file: the TLS key and certificate.",
        ),
        click.option(
            "-d",
            "--destination",
            "destination",
            multiple=True,
            is_flag=False,
            flag_value=NO_VALUE,
            metavar="[DEST]",
            help="unix:/path, inet:host, inet:host:port, inet:[addr]:port or inet:[ipv6:addr]:port. "
            "Without a value: show the dialogue, as --debug.",
        ),
        click.option("-s", "--server", metavar="HOST", help="Deliver to this host, at --port."),
        click.option(
            "-p",
            "--port",
            type=click.IntRange(1, 65535),
            metavar="PORT",
            help="Port of a destination that names none; default: 'lmtp' in the services file, else 24.",
        ),
        click.option("-l", "--lhlo", metavar="NAME", help="What is said in LHLO; default: this host's name."),
        click.option(
            "-C",
            "--config",
            type=FILE,
            metavar="FILE",
            envvar="SPOOLER_CONFIG",
            show_envvar=True,
            help="Configuration (TOML): its routes say where to go when no destination is named.",
        ),
        click.option(
            "--target",
            metavar="DEST",
            envvar="SPOOLER_TARGET",
            show_envvar=True,
            help="Where the route 'default' leads.",
        ),
        click.option(
            "-i",
            "--message",
            type=FILE,
            metavar="FILE",
            help="The message, instead of standard input; an argument with a slash, or a dot and no @, too.",
        ),
        click.option(
            "--raw", is_flag=True, help="Send the message as it is: no header is supplied, nothing is mended."
        ),
        click.option("-a", "--auth", "authenticate", is_flag=True, help="Authenticate."),
        click.option("--user", metavar="NAME", help="Whom to authenticate as. [env: LMTP_USER]"),
        click.option(
            "--credentials",
            type=FILE,
            metavar="FILE",
            help="The password, or the user and the password in two lines; for its owner's eyes only (mode "
            "0400 or 0600). Without: LMTP_PASSWORD, else the terminal is asked. [env: LMTP_CREDENTIALS]",
        ),
        click.option("--auth-plain", is_flag=True, help="Authenticate also in plain text, over a network."),
        click.option("--tls", is_flag=True, help="Require TLS."),
        click.option(
            "--tls-level",
            type=click.Choice([level.value for level in TlsLevel]),
            help="What TLS must give. Default: none on a socket and on loopback, else may; with --tls or "
            "another option about TLS: secure, on this machine encrypt.",
        ),
        click.option("--tls-implicit", is_flag=True, help="TLS from the start, instead of STARTTLS."),
        click.option(
            "--tls-ca",
            type=FILE,
            metavar="FILE",
            help="Authorities to trust (PEM), instead of the system's.",
        ),
        click.option(
            "--tls-cert", type=FILE, metavar="FILE", help="Our certificate, its chain, its key (PEM)."
        ),
        click.option("--tls-key", type=FILE, metavar="FILE", help="The key, if not in the same file."),
        click.option(
            "--tls-fingerprint",
            multiple=True,
            metavar="SHA256",
            help="The server's certificate, or its public key, must be this one; may be repeated.",
        ),
        click.option(
            "--tls-name",
            multiple=True,
            metavar="NAME",
            help="What the certificate must be for, if not the host; may be repeated.",
        ),
        click.option(
            "-v",
            "--debug",
            "verbose",
            is_flag=True,
            help="Show the dialogue on standard error, secrets masked.",
        ),
        click.option("--json", "as_json", is_flag=True, help="Print one JSON object a recipient."),
        click.option(
            "--spool",
            is_flag=False,
            flag_value="",
            metavar="[URL]",
            help="Put the message into the spool instead, and print its id; without a value: the "
            "configuration's, or SPOOLER_SPOOL.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.command(
    NAME,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes are those of sysexits.h: 0 delivered to all; 75 someone is deferred; else that of the "
    "first failure: 64 usage, 65 bad data, 66 no input, 67 no such user, 68 no such host, 69 unavailable, "
    "76 protocol or TLS, 77 not permitted, 78 configuration. See lmtp(1).",
)
@_told
@click.argument("arguments", nargs=-1, metavar="[RECIPIENT]... [MESSAGE]")
@click.version_option(package_name="spooler", message="%(prog)s %(version)s")
def command(**asked: Any) -> int:  # noqa: ANN401  # the options above, as click passes them
    """Deliver the message on standard input by LMTP, and print what became of each recipient.

    \b
    echo "Subject: Test Email" | lmtp -f user@example.com -t recipient@example.com
    lmtp -f user@example.com -t a@example.com,b@example.com < message.eml
    uuencode attachment.txt attachment.txt | lmtp -f user@example.com -t recipient@example.com
    lmtp -d unix:/run/dovecot/lmtp -f '<>' -t postmaster@example.com message.eml
    lmtp -s mail.example.com -p 2003 --tls -a --user user -f user@example.com -t recipient@example.com
    lmtp -d -f user@example.com -t recipient@example.com < message.eml     # shows the dialogue
    lmtp --spool -f user@example.com -t recipient@example.com < message.eml

    Without a destination it goes where the configuration says, else to the first that answers of the sockets
    of Dovecot and Cyrus, else to port 24 of this host. From, Date and Message-ID are supplied if the
    message has none, and line ends are mended.
    """
    given = Asked(**asked)
    from spooler.cli.lmtp_run import deliver

    return deliver(given)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `lmtp`; return its exit code."""
    gc.disable()  # it ends before there is much to collect, and start-up is a tenth of it shorter
    return run(command, arguments, name=NAME)
