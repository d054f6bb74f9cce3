"""Trigger of a file's existence."""

from __future__ import annotations

import glob
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spinner.triggers.base import BaseTrigger, TriggerEvent

if TYPE_CHECKING:
    # Sensors import this module, and what defers nothing needs no event loop: functions that run on one import it.
    import asyncio


def file_there(pattern: str, *, recursive: bool = False) -> bool:
    """Whether a file matches, or a matching folder has a file in it."""
    for name in glob.iglob(pattern, recursive=recursive):  # noqa: PTH207 - absolute patterns
        path = Path(name)
        if path.is_file() or any(child.is_file() for child in path.rglob("*")):
            return True
    return False


_looks: dict[tuple[str, bool], asyncio.Future[bool]] = {}


async def _look(pattern: str, recursive: bool) -> bool:
    """Looks in a thread of the loop's pool; triggers that want to know the same at once share the answer."""
    import asyncio

    key = pattern, recursive
    look = _looks.get(key)
    if look is None or look.get_loop() is not asyncio.get_running_loop():
        look = asyncio.ensure_future(asyncio.to_thread(file_there, pattern, recursive=recursive))
        _looks[key] = look
        look.add_done_callback(lambda done: _looks.pop(key, None) if _looks.get(key) is done else None)
    return await asyncio.shield(look)


class FileTrigger(BaseTrigger):
    """Fires when the file is there; looks every ``poke_interval`` seconds.

    Looks are at multiples of the interval, so that triggers of the same file look together.
    """

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

        interval = max(self.poke_interval, 0.01)
        while not await _look(self.filepath, self.recursive):
            await asyncio.sleep(interval - time.monotonic() % interval)
        yield TriggerEvent({"status": "success", "filepath": self.filepath})
