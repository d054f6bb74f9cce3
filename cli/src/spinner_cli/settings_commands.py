"""`spinner pools|variables|connections get|set|delete|list`"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from spinner_cli.options import JsonOption, json_object, text_value
from spinner_cli.output import print_done, print_facts, print_json, print_table

pools = typer.Typer(help="Pools: slots that tasks share.", no_args_is_help=True)
variables = typer.Typer(help="Variables that tasks read.", no_args_is_help=True)
connections = typer.Typer(help="Connections: addresses and credentials for tasks.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(metavar="NAME")]
Description = Annotated[str, typer.Option(help="What it is for.")]


def _add_common(app: typer.Typer, kind: str, columns: list[str]) -> None:
    """`list`, `get` and `delete`, the same for all three."""

    @app.command("list")
    def list_all(as_json: JsonOption = False) -> None:
        """List all."""
        from spinner_cli.api import Api

        found = Api().get(f"/{kind}")
        if as_json:
            print_json(found)
            return
        rows = [[item.get(column) for column in columns] for item in found]
        print_table([column.replace("_", " ") for column in columns], rows, f"There are no {kind}.")

    @app.command("get")
    def get(name: Name, as_json: JsonOption = False) -> None:
        """Show one."""
        from spinner_cli.api import Api, path

        item = Api().get(path(kind, name))
        print_json(item) if as_json else print_facts((column.replace("_", " "), item.get(column)) for column in item)

    @app.command("delete")
    def delete(name: Name, as_json: JsonOption = False) -> None:
        """Remove one."""
        from spinner_cli.api import Api, path

        Api().delete(path(kind, name))
        print_done({"name": name, "removed": True}, f"{name} is removed", as_json)


_add_common(pools, "pools", ["name", "slots", "running", "queued", "include_deferred", "description"])
_add_common(variables, "variables", ["name", "value", "secret", "description"])
_add_common(connections, "connections", ["connection_id", "type", "host", "port", "schema", "login", "description"])


@pools.command("set")
def set_pool(
    name: Name,
    slots: Annotated[int, typer.Argument(help="-1: no limit")],
    include_deferred: Annotated[bool, typer.Option("--include-deferred", help="Deferred tasks hold a slot.")] = False,
    description: Description = "",
    as_json: JsonOption = False,
) -> None:
    """Make or change a pool."""
    body = {"slots": slots, "include_deferred": include_deferred, "description": description}
    _put("pools", name, body, as_json)


@variables.command("set")
def set_variable(
    name: Name,
    value: Annotated[str, typer.Argument(help="The text; `@file` reads a file, `@-` standard input.")],
    secret: Annotated[bool, typer.Option("--secret", help="Encrypted; never shown again.")] = False,
    description: Description = "",
    as_json: JsonOption = False,
) -> None:
    """Make or change a variable."""
    _put("variables", name, {"value": text_value(value), "secret": secret, "description": description}, as_json)


@connections.command("set")
def set_connection(
    name: Name,
    type: Annotated[str, typer.Option(help="For example mysql, http, aws.")],
    host: Annotated[str, typer.Option()] = "",
    port: Annotated[int | None, typer.Option(min=0, max=65535)] = None,
    schema: Annotated[str, typer.Option()] = "",
    login: Annotated[str, typer.Option()] = "",
    password: Annotated[
        str | None, typer.Option(help="Better `@file` or `@-`: a command line is visible. Left out: as it was.")
    ] = None,
    extra: Annotated[str | None, typer.Option(help="JSON object, or `@file`. Left out: as it was.")] = None,
    description: Description = "",
    as_json: JsonOption = False,
) -> None:
    """Make or change a connection."""
    body: dict[str, Any] = {
        "type": type,
        "host": host,
        "port": port,
        "schema": schema,
        "login": login,
        "description": description,
        "password": None if password is None else text_value(password).rstrip("\n"),
        "extra": None if extra is None else json_object(extra, "--extra"),
    }
    _put("connections", name, body, as_json)


def _put(kind: str, name: str, body: dict[str, Any], as_json: bool) -> None:
    from spinner_cli.api import Api, path

    print_done(Api().put(path(kind, name), body), f"{name} is set", as_json)
