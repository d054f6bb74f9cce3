"""`spinner up`, `down`, `status` and `views rebuild`: the embedded stack."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from spinner_cli.errors import CliError
from spinner_cli.options import JsonOption
from spinner_cli.output import duration, print_done, print_json, print_table

if TYPE_CHECKING:
    from spinner_local.stack import Report

views = typer.Typer(help="The gateway's database, a view of the log.", no_args_is_help=True)


def up(
    ui: Annotated[bool, typer.Option("--ui/--no-ui", help="Build the web UI when its sources changed.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Start Kafka, all services and the web UI on this machine. A second `up` is a no-op."""
    from spinner_local import stack
    from spinner_local.home import Home
    from spinner_servers.process import ServerError

    try:
        address = stack.up(Home.default(), _report(as_json), build_ui=ui)
    except ServerError as error:
        raise CliError(str(error), "Repair that and run `make up` again; it goes on where it was.") from error
    if as_json:
        print_json({"address": address, "services": stack.as_json(stack.status(Home.default()))})


def down(as_json: JsonOption = False) -> None:
    """Stop everything, running tasks too. Data stays."""
    from spinner_local import stack
    from spinner_local.home import Home

    stopped = stack.down(Home.default(), _report(as_json))
    print_done({"stopped": stopped}, "Spinner is down." if stopped else "Nothing was running.", as_json)


def status(as_json: JsonOption = False) -> None:
    """Show Kafka and every service: state, address, version, memory."""
    from spinner_local import stack
    from spinner_local.home import Home

    rows = stack.as_json(stack.status(Home.default()))
    if as_json:
        print_json(rows)
        return
    print_table(
        ["service", "state", "address", "version", "pid", "up", "memory"],
        [
            [
                row["name"],
                row["state"],
                row["address"],
                row["version"],
                row["pid"] or "",
                duration(row["uptime_seconds"]) if row["pid"] else "",
                f"{row['memory_mib']:.0f} MiB" if row["pid"] else "",
            ]
            for row in rows
        ],
        "",
    )


@views.command()
def rebuild(as_json: JsonOption = False) -> None:
    """Empty the gateway's database and fill it again from the log. The gateway is away meanwhile."""
    from spinner_local import stack
    from spinner_local.home import Home
    from spinner_servers.process import ServerError

    try:
        stack.rebuild_views(Home.default(), _report(as_json))
    except ServerError as error:
        raise CliError(str(error), "Start Spinner with `make up` first.") from error
    if as_json:
        print_json({"rebuilt": True})


def _report(as_json: bool) -> Report:
    """Where the steps are told: standard output has only JSON when that is asked for."""
    from spinner_local.stack import Report, say

    return Report((lambda text: print(text, file=sys.stderr, flush=True)) if as_json else say)
