"""The first process of a container: it passes signals on, collects orphans, and ends as its worker does.

The kernel ignores signals that process 1 has no handler for, and gives it every orphan; a worker should have neither
duty. When this process ends, the kernel kills all that is left in the container.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable


def run_below(worker: Callable[[], int]) -> int:
    """Runs ``worker`` in a child and returns its exit status (128 + n when signal n ended it)."""
    child = os.fork()
    if not child:
        os.setsid()
        os._exit(_status_of(worker))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _frame: os.kill(child, received))
    while True:
        ended, status = os.wait()
        if ended == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _status_of(worker: Callable[[], int]) -> int:
    import sys
    import traceback

    try:
        status = worker()
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    except BaseException:  # noqa: BLE001 - the last frame of the process
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return status
