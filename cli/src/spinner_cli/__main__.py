"""The command's root: joins the groups and turns failures into messages."""

from __future__ import annotations

import sys

import click
import typer

from spinner_cli import (
    assets,
    backfills,
    dags,
    decisions,
    events,
    explain,
    runs,
    settings_commands,
    simulate,
    stack_commands,
    tasks,
)
from spinner_cli.errors import CliError

app = typer.Typer(
    name="spinner",
    help="Spinner: workflows over an event log. Start with `spinner up`.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(stack_commands.up)
app.command()(stack_commands.down)
app.command()(stack_commands.status)
app.command()(explain.explain)
app.command()(simulate.simulate)
app.add_typer(dags.app, name="dags")
app.add_typer(runs.app, name="runs")
app.add_typer(tasks.app, name="tasks")
app.add_typer(backfills.app, name="backfill")
app.add_typer(decisions.app, name="decisions")
app.add_typer(events.app, name="events")
app.add_typer(assets.app, name="assets")
app.command()(assets.deadlines)
app.add_typer(settings_commands.pools, name="pools")
app.add_typer(settings_commands.variables, name="variables")
app.add_typer(settings_commands.connections, name="connections")
app.add_typer(stack_commands.views, name="views")


def main() -> None:
    """Runs the command line; exits with 0, 1 (it failed, and why) or 2 (wrong usage)."""
    try:
        app()
    except CliError as error:
        click.echo(f"error: {error.message}", err=True)
        if error.fix:
            click.echo(f"  fix: {error.fix}", err=True)
        sys.exit(1)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)


if __name__ == "__main__":
    main()
