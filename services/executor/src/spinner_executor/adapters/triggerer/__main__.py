"""The process: `python -m spinner_executor.adapters.triggerer <bundle folder> <ledger> <stack> <bytes>`.

`ledger` and `stack` are file descriptors; on SIGUSR1 it writes what it is doing to `stack`. It may allocate so
many bytes. It ends when its stdin does, and on Linux at once with its executor.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import faulthandler
import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from spinner.triggers.states import set_source

from spinner_executor.adapters.local.worker import limit_memory
from spinner_executor.adapters.triggerer.ledger import Ledger
from spinner_executor.adapters.triggerer.running import Output, Triggerer, configure_logging

LINE_LIMIT = 16 * 1024 * 1024
_PR_SET_PDEATHSIG = 1


async def _serve(out: int, ledger: Ledger) -> None:
    lock = threading.Lock()

    def send(message: dict[str, Any]) -> None:
        line = json.dumps(message).encode() + b"\n"
        with lock:
            while line:
                line = line[os.write(out, line) :]

    output = Output(send)
    sys.stdout = sys.stderr = output
    triggerer = Triggerer(send, ledger, output)
    set_source(triggerer.watches)
    loop = asyncio.get_running_loop()
    loop.set_task_factory(triggerer.make_task)
    reader = asyncio.StreamReader(limit=LINE_LIMIT)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(os.dup(0), "rb"))
    while line := await reader.readline():
        triggerer.handle(json.loads(line))
    os._exit(0)  # nobody is there any more to hear of events; threads of triggers are not waited for


def main() -> None:
    out = os.dup(1)
    os.dup2(2, 1)
    folder, (ledger, stack, limit) = sys.argv[1], map(int, sys.argv[2:5])
    limit_memory(limit, limit)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    faulthandler.register(signal.SIGUSR1, stack, all_threads=True)
    if folder:
        sys.path.insert(0, folder)
        plugins = Path(folder) / "plugins"
        if plugins.is_dir():
            sys.path.insert(1, str(plugins))
    configure_logging()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(out, Ledger(ledger)))


if __name__ == "__main__":
    main()
