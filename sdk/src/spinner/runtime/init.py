"""The process above a remote worker: it keeps the log, passes signals on, collects orphans, ends as its worker does.

In a container it is process 1. The kernel ignores signals that process 1 has no handler for, and gives it every orphan;
a worker should have neither duty. When this process ends, the kernel kills all that is left in the container.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable

from spinner.runtime.logs import LogKeeper


def run_below(worker: Callable[[LogKeeper], int]) -> int:
    """Runs ``worker`` in a child whose output is kept; returns its exit status (128 + n when signal n ended it)."""
    keeper = LogKeeper.from_environment()
    child = os.fork()
    if not child:
        os.setsid()
        keeper.enter_worker()
        os._exit(_status_of(worker, keeper))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _frame: _pass_on(child, received))
    keeper.start()
    while True:
        ended, status = os.wait()
        if ended == child:
            code = os.waitstatus_to_exitcode(status)
            keeper.finish(reported=code == 0)
            return code if code >= 0 else 128 - code


def _pass_on(child: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, number)


def _status_of(worker: Callable[[LogKeeper], int], keeper: LogKeeper) -> int:
    import sys
    import traceback

    try:
        status = worker(keeper)
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    except BaseException:  # noqa: BLE001 - the last frame of the process
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return status
