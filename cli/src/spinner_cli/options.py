"""Options that many commands share, and values that may come from a file."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from spinner_cli.errors import CliError

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
DagId = Annotated[str, typer.Argument(help="DAG id.", metavar="DAG_ID")]
RunId = Annotated[str, typer.Argument(help="Run id; `latest` is the newest run.", metavar="RUN_ID")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, help="At most this many.")]
MapIndex = Annotated[int, typer.Option("--map-index", help="Index of a mapped task instance; -1: not mapped.")]


def text_value(value: str) -> str:
    """The value itself; `@file` reads a file, `@-` standard input."""
    if not value.startswith("@"):
        return value
    if value == "@-":
        return sys.stdin.read()
    try:
        return Path(value[1:]).read_text()
    except OSError as error:
        raise CliError(f"Can't read {value[1:]}: {error.strerror}", "Give a readable file after `@`.") from error


def json_object(value: str, what: str) -> dict[str, Any]:
    """A JSON object from text, `@file` or `@-`; raises CliError for anything else."""
    text = text_value(value)
    try:
        parsed = json.loads(text)
    except ValueError as error:
        raise CliError(f"{what} is not JSON: {error}", 'Write an object such as \'{"day": "2026-01-01"}\'.') from error
    if not isinstance(parsed, dict):
        raise CliError(
            f"{what} is a JSON {_kind(parsed)}, but must be an object.", 'For example \'{"day": "2026-01-01"}\'.'
        )
    return parsed


def _kind(value: Any) -> str:
    return {list: "array", str: "string", bool: "boolean", type(None): "null"}.get(type(value), "number")
