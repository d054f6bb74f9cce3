"""Workers that reach their executor over gRPC: pods and remote machines.

``SPINNER_RUNTIME_ADDRESS`` (``host:port``, comma-separated) and ``SPINNER_TOKEN_FILE``; or ``SPINNER_RUNTIME_SOCKET``
for a local one. Over gRPC, the first process only looks after the worker.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import NoReturn

from spinner_proto.runtime.v1 import runtime_pb2 as pb

from spinner.runtime.connection import GrpcConnection, LocalConnection
from spinner.runtime.init import run_below
from spinner.runtime.logs import LogKeeper, LogSender
from spinner.runtime.runner import run_try, worker_name
from spinner.runtime.usage import Cgroup, meter


def main() -> int:
    """Runs one try. Returns the exit status."""
    token_file = os.environ.pop("SPINNER_TOKEN_FILE", "")
    addresses, path = os.environ.get("SPINNER_RUNTIME_ADDRESS", ""), os.environ.get("SPINNER_RUNTIME_SOCKET", "")
    if not token_file or not (addresses or path):
        sys.stderr.write(
            "This is the worker of one Spinner try; its executor starts it. It needs SPINNER_TOKEN_FILE and "
            "SPINNER_RUNTIME_ADDRESS (host:port) or SPINNER_RUNTIME_SOCKET.\n"
        )
        return 2
    token = Path(token_file).read_bytes().strip()
    if path:
        return run_try(LocalConnection(path, token), worker_name())
    return run_below(lambda keeper: _work(addresses, token.decode(), keeper))


def _work(addresses: str, token: str, keeper: LogKeeper) -> int:
    signal.signal(signal.SIGTERM, _ended_early)
    connection = GrpcConnection(addresses, token)
    # A pod's container is a control group of its own; a process on a shared machine is not, and then has no such files.
    meter.cgroup = Cgroup.find() if os.environ.get("SPINNER_POD") else None

    def push(request: pb.PushLogRequest) -> int:
        return connection.call("PushLog", request, pb.PushLogResponse).next_offset

    sender = LogSender(push, keeper)
    connection.on_moved = sender.moved
    return run_try(connection, worker_name(), before_finish=sender.close)


def _ended_early(number: int, frame: object) -> NoReturn:
    """Told to end before user code had begun: nothing is to be unwound."""
    os.write(2, b"The worker was told to end before it started user code.\n")
    os._exit(128 + number)
