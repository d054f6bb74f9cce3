"""The smallest worker there is: starts and ends at once. For the benchmark, which measures the executor alone."""

from __future__ import annotations

import os
import socket
import struct
import sys
from pathlib import Path

from google.protobuf.message import Message
from spinner_proto.common.v1.common_pb2 import OUTCOME_SUCCESS
from spinner_proto.runtime.v1 import runtime_pb2 as rt

from spinner_executor.domain.endings import EXIT_START_REFUSED


def run() -> None:
    """A worker whose user code does nothing."""
    descriptor = os.environ.get("SPINNER_RUNTIME_FD", "")
    if descriptor:
        connection = socket.socket(fileno=int(descriptor))
    else:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.connect(os.environ["SPINNER_RUNTIME_SOCKET"])

    received = bytearray()

    def framed(payload: bytes) -> bytes:
        return struct.pack("<I", len(payload)) + payload

    def request(name: str, message: Message) -> bytes:
        return framed(bytes([len(name)]) + name.encode() + message.SerializeToString())

    def answer() -> None:
        while len(received) < 4 or len(received) < 4 + struct.unpack_from("<I", received)[0]:
            received.extend(connection.recv(65536))
        size = 4 + struct.unpack_from("<I", received)[0]
        status, text = received[4], bytes(received[5:size])
        del received[:size]
        if status:
            print(text.decode(errors="replace"), flush=True)
            sys.exit(EXIT_START_REFUSED)

    if not descriptor:
        token = framed(Path(os.environ["SPINNER_TOKEN_FILE"]).read_bytes())
        connection.sendall(token + request("GetWork", rt.GetWorkRequest()) + request("Start", rt.StartRequest()))
        answer()
    answer()
    answer()
    finish = rt.FinishRequest()
    finish.ended.outcome = OUTCOME_SUCCESS
    connection.sendall(request("Finish", finish))
    answer()
