"""Wait for a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spinner.core.operator import Context
from spinner.sensors.base import BaseSensorOperator
from spinner.triggers.file import FileTrigger, file_there


class FileSensor(BaseSensorOperator):
    """Waits for a file that matches ``filepath`` (globs allowed), or for a folder with a file in it."""

    template_fields: Sequence[str] = ("filepath",)

    def __init__(
        self, *, filepath: str, fs_conn_id: str = "fs_default", recursive: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.filepath = filepath
        self.fs_conn_id = fs_conn_id
        self.recursive = recursive

    def path(self) -> str:
        """The path, below the connection's base path when it is relative."""
        if Path(self.filepath).is_absolute():
            return self.filepath
        from spinner.connections import Connection
        from spinner.exceptions import SpinnerException

        try:
            base = Connection.get(self.fs_conn_id).extra_dejson.get("path") or "/"
        except SpinnerException:
            base = "/" if self.fs_conn_id == "fs_default" else None
            if base is None:
                raise
        return str(Path(base) / self.filepath)

    def poke(self, context: Context) -> bool:
        return file_there(self.path(), recursive=self.recursive)

    def execute(self, context: Context) -> Any:
        if not self.deferrable or self.poke(context):
            return super().execute(context)
        return self.defer(
            trigger=FileTrigger(filepath=self.path(), recursive=self.recursive, poke_interval=self.poke_interval),
            method_name="execute_complete",
            timeout=self.remaining(context),
        )
