"""A worker small enough to be understood at a glance: runs `task(context)` of the order's file over the local socket.

It stands in for `spinner.runtime` where a test is about the executor alone; the frames are those of ARCHITECTURE.
"""

from __future__ import annotations

import os
import resource
import runpy
import signal
import socket
import struct
import sys
import threading
import time
import traceback
from pathlib import Path

from google.protobuf.message import Message
from spinner_proto.common.v1 import common_pb2 as c
from spinner_proto.runtime.v1 import runtime_pb2 as rt


class Refused(Exception):  # noqa: N818
    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Defer(Exception):  # noqa: N818
    def __init__(self, deferred: object) -> None:
        super().__init__("deferred")
        self.deferred = deferred


class Cancelled(BaseException):
    pass


class Client:
    """Calls with reconnection; a refused token or a lost lease ends the process."""

    def __init__(self) -> None:
        self._path = os.environ["SPINNER_RUNTIME_SOCKET"]
        self._token = Path(os.environ["SPINNER_TOKEN_FILE"]).read_bytes()
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        # Answers that come without being asked for: to GetWork and Start, of an executor that has opened this.
        self._unasked = 0
        if descriptor := os.environ.get("SPINNER_RUNTIME_FD"):
            self._socket, self._unasked = socket.socket(fileno=int(descriptor)), 2

    def _exchange(self, frame: bytes) -> tuple[int, bytes]:
        if self._socket is None:
            self._unasked = 0
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._socket.settimeout(3)
            self._socket.connect(self._path)
            status, _ = self._raw(self._token)
            if status:
                os._exit(75)
        return self._raw(frame)

    def _raw(self, frame: bytes) -> tuple[int, bytes]:
        assert self._socket is not None
        if self._unasked:
            self._unasked -= 1
        else:
            self._socket.sendall(struct.pack("<I", len(frame)) + frame)
        (length,) = struct.unpack("<I", self._exactly(4))
        body = self._exactly(length)
        return body[0], body[1:]

    def _exactly(self, count: int) -> bytes:
        assert self._socket is not None
        data = b""
        while len(data) < count:
            part = self._socket.recv(count - len(data))
            if not part:
                raise ConnectionError("closed")
            data += part
        return data

    def call(self, name: str, request: Message, answer: Message) -> Message:
        frame = bytes([len(name)]) + name.encode() + request.SerializeToString()
        deadline = time.monotonic() + 20
        with self._lock:
            while True:
                try:
                    status, body = self._exchange(frame)
                    break
                except OSError:
                    if self._socket is not None:
                        self._socket.close()
                        self._socket = None
                    if time.monotonic() > deadline:
                        os._exit(75)
                    time.sleep(0.05)
        if status == 7:
            os._exit(75)
        if status:
            raise Refused(status, body.decode())
        answer.ParseFromString(body)
        return answer


def _cancel(*_: object) -> None:
    raise Cancelled


def run() -> None:
    client = Client()
    try:
        work = client.call("GetWork", rt.GetWorkRequest(), rt.GetWorkResponse())
        client.call("Start", rt.StartRequest(), rt.StartResponse())
    except Refused as refused:
        print(refused, flush=True)
        sys.exit(76)
    signal.signal(signal.SIGTERM, _cancel)

    def beat() -> None:
        while True:
            time.sleep(work.heartbeat_seconds)
            client.call("Heartbeat", rt.HeartbeatRequest(), rt.HeartbeatResponse())

    threading.Thread(target=beat, daemon=True).start()
    finish = rt.FinishRequest()
    ended = finish.ended
    ended.return_length = -1
    try:
        if work.order.relative_path:
            module = runpy.run_path(str(Path(work.bundle_path) / work.order.relative_path))
            module["task"](client, work)
        ended.outcome = c.OUTCOME_SUCCESS
    except Defer as defer:
        finish.deferred.CopyFrom(defer.deferred)
    except Cancelled:
        ended.outcome = c.OUTCOME_FAILED
    except BaseException as error:
        traceback.print_exc()
        ended.outcome = c.OUTCOME_FAILED
        ended.message = str(error)
        ended.exception_classes.append(f"builtins.{type(error).__name__}")
    if finish.HasField("ended"):
        ended.usage.peak_memory_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    client.call("Finish", finish, rt.FinishResponse())
