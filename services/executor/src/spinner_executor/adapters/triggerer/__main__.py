"""The process: `python -m spinner_executor.adapters.triggerer <bundle folder> <ledger> <stack> <bytes>`.

`ledger` and `stack` are file descriptors; on SIGUSR1 it writes what it is doing to `stack`. It may allocate so
many bytes. It ends when its stdin does, whatever its triggers do.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from spinner.runtime.api import RuntimeApi
from spinner.runtime.current import set_current
from spinner.triggers.states import set_source

from spinner_executor.adapters.local.worker import limit_memory
from spinner_executor.adapters.triggerer.calls import Calls
from spinner_executor.adapters.triggerer.ledger import Ledger
from spinner_executor.adapters.triggerer.running import Output, Triggerer, configure_logging, current_trigger

LINE_LIMIT = 16 * 1024 * 1024


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
    calls = Calls(send, current_trigger)
    set_current(RuntimeApi(calls))

    def read() -> None:
        for line in os.fdopen(0, "rb"):
            message = json.loads(line)
            if "answer" in message:
                calls.answered(message)
            else:
                loop.call_soon_threadsafe(triggerer.handle, message)
        os._exit(0)  # nobody is there any more to hear of events

    threading.Thread(target=read, name="executor", daemon=True).start()
    await asyncio.Event().wait()


def main() -> None:
    out = os.dup(1)
    os.dup2(2, 1)
    folder, (ledger, stack, limit) = sys.argv[1], map(int, sys.argv[2:5])
    limit_memory(limit, limit)
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
