"""Workers that reach their executor over gRPC: pods and remote machines.

``SPINNER_RUNTIME_ADDRESS`` (host:port) and ``SPINNER_TOKEN_FILE``; or ``SPINNER_RUNTIME_SOCKET`` for a local one.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from spinner_proto.runtime.v1 import runtime_pb2 as pb

from spinner.runtime.connection import GrpcConnection, LocalConnection
from spinner.runtime.logs import LogTee
from spinner.runtime.runner import run_try, worker_name
from spinner.runtime.usage import Cgroup, meter


def main() -> int:
    """Runs one try. Returns the exit status."""
    token_file = os.environ.get("SPINNER_TOKEN_FILE", "")
    address, path = os.environ.get("SPINNER_RUNTIME_ADDRESS", ""), os.environ.get("SPINNER_RUNTIME_SOCKET", "")
    if not token_file or not (address or path):
        sys.stderr.write(
            "This is the worker of one Spinner try; its executor starts it. It needs SPINNER_TOKEN_FILE and "
            "SPINNER_RUNTIME_ADDRESS (host:port) or SPINNER_RUNTIME_SOCKET.\n"
        )
        return 2
    token = Path(token_file).read_bytes().strip()
    if path:
        return run_try(LocalConnection(path, token), worker_name())
    connection = GrpcConnection(address, token.decode())
    # A pod's container is a control group of its own; a process on a shared machine is not, and then has no such files.
    meter.cgroup = Cgroup.find() if os.environ.get("KUBERNETES_SERVICE_HOST") else None

    def push(offset: int, text: bytes) -> int:
        return connection.call("PushLog", pb.PushLogRequest(offset=offset, text=text), pb.PushLogResponse).next_offset

    tee = LogTee(push)
    return run_try(connection, worker_name(), before_finish=tee.close)
