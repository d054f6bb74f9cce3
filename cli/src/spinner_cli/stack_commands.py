"""`spinner up`, `down`, `status` and `views rebuild`: the embedded stack."""

from __future__ import annotations

from typing import Annotated

import typer

from spinner_cli.errors import CliError
from spinner_cli.options import JsonOption
from spinner_cli.output import duration, print_json, print_table

views = typer.Typer(help="The gateway's database, a view of the log.", no_args_is_help=True)


def up(
    ui: Annotated[bool, typer.Option("--ui/--no-ui", help="Build the web UI when its sources changed.")] = True,
) -> None:
    """Start Kafka, all services and the web UI on this machine. A second `up` is a no-op."""
    from spinner_local import stack
    from spinner_local.home import Home
    from spinner_servers.process import ServerError

    try:
        stack.up(Home.default(), build_ui=ui)
    except ServerError as error:
        raise CliError(str(error), "Repair that and run `make up` again; it goes on where it was.") from error


def down() -> None:
    """Stop everything, running tasks too. Data stays."""
    from spinner_local import stack
    from spinner_local.home import Home

    print("Spinner is down." if stack.down(Home.default()) else "Nothing was running.")


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
def rebuild() -> None:
    """Empty the gateway's database and fill it again from the log. The gateway is away meanwhile."""
    from spinner_local import stack
    from spinner_local.home import Home
    from spinner_servers.process import ServerError

    try:
        stack.rebuild_views(Home.default())
    except ServerError as error:
        raise CliError(str(error), "Start Spinner with `make up` first.") from error
