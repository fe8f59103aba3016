"""`spooler doctor`: looks at everything that delivery needs, and says what to mend."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import click

from spooler.cli.options import Settings, aim, how_many, json_option, spool_options, target_options
from spooler.cli.render import plural, print_json, print_table
from spooler.config import Config, load_config
from spooler.doctor.finding import About, Finding, Level, exit_code_of
from spooler.errors import SpoolerError
from spooler.ident import now_us

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@click.command("doctor")
@spool_options
@target_options
@json_option
def command(*, spool: str | None, config: Path | None, target: str | None, as_json: bool) -> int:
    """Look at the configuration, the spool, its files and its destinations, and say what to mend.

    Nothing is changed, and no mail is sent. A finding is ok, a warning or a problem; the exit code is the
    first problem's, 0 without any: 78 configuration, schema or standby; 77 permissions; 74 no room on the
    disk, or an I/O error; 69 a database or destination that does not answer; 68 a host name without address;
    76 a server that speaks no LMTP; 73 what cannot be made; 66 no spool; 64 a bad --target.

    \b
    Example:
      spooler doctor --config /etc/spooler/main.toml
    """
    findings = list(_findings(spool, config, target))
    counts = Counter(finding.level for finding in findings)
    if as_json:
        print_json(
            {
                "findings": findings,
                "problems": counts[Level.PROBLEM],
                "warnings": counts[Level.WARNING],
            }
        )
    else:
        print_table(
            ["", "what", "where", "how to mend"],
            [(one.level.value, one.what, one.where, one.mend) for one in findings],
            fold=["what", "where", "how to mend"],
        )
        said = f"{plural(counts[Level.PROBLEM], 'problem')}, {plural(counts[Level.WARNING], 'warning')}"
        click.echo(f"spooler: {said}", err=True)
    return exit_code_of(findings)


def _findings(spool: str | None, file: Path | None, target: str | None) -> Iterator[Finding]:
    """Look at all that can be looked at: what is wrong with one part keeps no other from being seen."""
    from spooler.doctor.diagnosis import ask_destinations, check_configuration, check_spool

    config: Config | None = None
    try:
        config = load_config(file) if file else Config()
        if target is not None:
            config = aim(config, target)
    except SpoolerError as error:
        yield About("configuration", str(file or "command line")).error(error)
    else:
        yield from check_configuration(config, file)
    url = spool or (config.spool if config else None)
    if url:
        settings = Settings(url, config or Config())
        yield from check_spool(
            url, journals=settings.journals, processes=how_many(settings, None), now=now_us()
        )
    elif config is not None:
        yield About("configuration", str(file or "command line")).problem(
            "no spool is named", "give --spool sqlite:///spool.db, or write spool = … into the configuration"
        )
    if config is not None:
        yield from ask_destinations(config, now=now_us())
