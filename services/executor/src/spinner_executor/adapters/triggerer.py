"""The triggerer process: an asyncio loop that waits for the triggers of deferred tries of one bundle version.

Triggers are user code, so they run here and never in the executor. JSON lines come on stdin
(`{"start": id, "class": …, "arguments": …}`, `{"stop": id}`) and go to the original stdout
(`{"fired": id, "payload": …}`, `{"failed": id, "error": …}`); what triggers print goes to stderr. The process ends
when its stdin does.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from spinner.triggers.base import BaseTrigger, encode_event, load_trigger

Send = Callable[[dict[str, Any]], None]


class Triggerer:
    """Runs triggers; `send` writes one message to the executor."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._running: dict[str, asyncio.Task[None]] = {}

    def handle(self, message: dict[str, Any]) -> None:
        identity = message.get("start") or message["stop"]
        running = self._running.pop(identity, None)
        if running is not None:
            running.cancel()
        if "start" in message:
            self._running[identity] = asyncio.get_running_loop().create_task(
                self._run(identity, message["class"], message["arguments"])
            )

    async def _run(self, identity: str, path: str, arguments: str) -> None:
        trigger: BaseTrigger | None = None
        try:
            trigger = load_trigger(path, arguments.encode())
            async for event in trigger.run():
                self._send({"fired": identity, "payload": encode_event(event).decode()})
                break
            else:
                self._send({"failed": identity, "error": f"trigger {path} ended without an event"})
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - one trigger's failure must not end the others
            traceback.print_exc()
            self._send({"failed": identity, "error": f"{type(error).__name__}: {error}"})
        finally:
            if trigger is not None:
                with contextlib.suppress(Exception):
                    await trigger.cleanup()
            if self._running.get(identity) is asyncio.current_task():
                del self._running[identity]


async def _serve(out: int) -> None:
    def send(message: dict[str, Any]) -> None:
        line = json.dumps(message).encode() + b"\n"
        while line:
            line = line[os.write(out, line) :]

    triggerer = Triggerer(send)
    reader = asyncio.StreamReader(limit=64 * 1024 * 1024)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(os.dup(0), "rb"))
    while line := await reader.readline():
        triggerer.handle(json.loads(line))


def main() -> None:
    out = os.dup(1)
    os.dup2(2, 1)
    if len(sys.argv) > 1 and sys.argv[1]:
        sys.path.insert(0, sys.argv[1])
        plugins = Path(sys.argv[1]) / "plugins"
        if plugins.is_dir():
            sys.path.insert(1, str(plugins))
    asyncio.run(_serve(out))


if __name__ == "__main__":
    main()
