"""Trigger of a file's existence."""

from __future__ import annotations

import glob
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from spinner.triggers.base import BaseTrigger, TriggerEvent


def file_there(pattern: str, *, recursive: bool = False) -> bool:
    """Whether a file matches, or a matching folder has a file in it."""
    for name in glob.iglob(pattern, recursive=recursive):  # noqa: PTH207 - absolute patterns
        path = Path(name)
        if path.is_file() or any(child.is_file() for child in path.rglob("*")):
            return True
    return False


class FileTrigger(BaseTrigger):
    """Fires when the file is there; looks every ``poke_interval`` seconds."""

    def __init__(self, filepath: str, recursive: bool = False, poke_interval: float = 5.0) -> None:
        self.filepath = filepath
        self.recursive = recursive
        self.poke_interval = poke_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return "spinner.triggers.file.FileTrigger", {
            "filepath": self.filepath, "recursive": self.recursive, "poke_interval": self.poke_interval,
        }  # fmt: skip

    async def run(self) -> AsyncIterator[TriggerEvent]:
        import asyncio

        while not await asyncio.to_thread(file_there, self.filepath, recursive=self.recursive):
            await asyncio.sleep(self.poke_interval)
        yield TriggerEvent({"status": "success", "filepath": self.filepath})
