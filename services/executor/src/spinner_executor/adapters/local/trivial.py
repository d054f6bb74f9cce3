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


def run() -> None:
    """A worker whose user code does nothing."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.connect(os.environ["SPINNER_RUNTIME_SOCKET"])

    def exchange(frame: bytes) -> bytes:
        connection.sendall(struct.pack("<I", len(frame)) + frame)
        data = connection.recv(65536)
        while len(data) < 4 or len(data) < 4 + struct.unpack_from("<I", data)[0]:
            data += connection.recv(65536)
        if data[4]:
            print(data[5:].decode(errors="replace"), flush=True)
            sys.exit(76)
        return data[5:]

    def call(name: str, request: Message) -> bytes:
        return exchange(bytes([len(name)]) + name.encode() + request.SerializeToString())

    exchange(Path(os.environ["SPINNER_TOKEN_FILE"]).read_bytes())
    call("GetWork", rt.GetWorkRequest())
    call("Start", rt.StartRequest())
    finish = rt.FinishRequest()
    finish.ended.outcome = OUTCOME_SUCCESS
    call("Finish", finish)
