"""The triggerer process: an asyncio loop that waits for the triggers of deferred tries of one bundle version.

Triggers are user code, so they run here and never in the executor. JSON lines come on stdin
(`{"start": id, "class": …, "arguments": …}`, `{"stop": id}`) and go to the original stdout
(`{"fired": id, "payload": …}`, `{"failed": id, "error": …}`); what triggers print goes to stderr. The process ends
when its stdin does.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any


def _decoder() -> Callable[[bytes], Any]:
    """How the SDK reads the arguments it wrote, or plain JSON."""
    try:
        return importlib.import_module("spinner.serialization.values").loads  # type: ignore[no-any-return]
    except (ImportError, AttributeError):
        return json.loads


def _encoder() -> Callable[[Any], str]:
    try:
        dumps = importlib.import_module("spinner.serialization.values").dumps
    except (ImportError, AttributeError):
        return json.dumps

    def encode(value: Any) -> str:
        text = dumps(value)
        return text.decode() if isinstance(text, bytes) else text

    return encode


class Triggerer:
    """Runs triggers; `send` writes one message to the executor."""

    def __init__(self, send: Callable[[dict[str, Any]], None]) -> None:
        self._send = send
        self._running: dict[str, asyncio.Task[None]] = {}
        self._loads = _decoder()
        self._dumps = _encoder()

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
        try:
            module, _, name = path.replace(":", ".").rpartition(".")
            trigger_class = getattr(importlib.import_module(module), name)
            trigger = trigger_class(**(self._loads(arguments.encode()) if arguments else {}))
            async for event in trigger.run():
                payload = getattr(event, "payload", event)
                self._send({"fired": identity, "payload": self._dumps(payload)})
                break
            else:
                self._send({"failed": identity, "error": f"trigger {path} ended without an event"})
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - one trigger's failure must not end the others
            traceback.print_exc()
            self._send({"failed": identity, "error": f"{type(error).__name__}: {error}"})
        finally:
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
        plugins = os.path.join(sys.argv[1], "plugins")  # noqa: PTH118 - no pathlib in a path entry
        if os.path.isdir(plugins):  # noqa: PTH112
            sys.path.insert(1, plugins)
    asyncio.run(_serve(out))


if __name__ == "__main__":
    main()
