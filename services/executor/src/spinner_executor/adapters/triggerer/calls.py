"""What triggers may ask their executor: variables, connections, XComs and states, as tasks do, for their own try."""

from __future__ import annotations

import base64
import itertools
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from google.protobuf.message import Message
from spinner.exceptions import RuntimeUnavailable
from spinner.runtime.connection import CallError, Lease
from spinner.runtime.local_frames import Status
from spinner_proto.runtime.v1 import runtime_pb2 as rt

M = TypeVar("M", bound=Message)
_ANSWER_SECONDS = 30.0


class Calls:
    """A `spinner.runtime.connection.Connection` over the triggerer's pipe.

    `current()` is the identity of the trigger that runs. A call blocks: on the loop all triggers wait for its answer,
    so what may take long belongs into `asyncio.to_thread`.
    """

    def __init__(self, send: Callable[[dict[str, Any]], None], current: Callable[[], str | None]) -> None:
        self.lease = Lease()
        self._send = send
        self._current = current
        self._numbers = itertools.count(1)
        self._waiting: dict[int, tuple[threading.Event, list[tuple[int, bytes]]]] = {}

    def call(self, method: str, request: Message, response: type[M]) -> M:
        identity = self._current()
        if identity is None:
            raise RuntimeUnavailable("Only the code of a trigger can ask for variables, connections and states here.")
        number = next(self._numbers)
        answered, answers = self._waiting[number] = threading.Event(), []
        body = base64.b64encode(request.SerializeToString()).decode()
        self._send({"ask": number, "trigger": identity, "name": method, "request": body})
        try:
            if not answered.wait(_ANSWER_SECONDS):
                raise CallError(method, Status.DEADLINE_EXCEEDED, f"no answer within {_ANSWER_SECONDS:.0f} s")
        finally:
            del self._waiting[number]
        status, data = answers[0]
        if status:
            raise CallError(method, Status(status), data.decode())
        return response.FromString(data)

    def answered(self, message: dict[str, Any]) -> None:
        """Takes an answer; called in another thread than the one that waits."""
        waiting = self._waiting.get(message["answer"])
        if waiting is not None:
            waiting[1].append((message["status"], base64.b64decode(message["body"])))
            waiting[0].set()

    def begin(self, worker: str) -> tuple[rt.GetWorkResponse, rt.StartResponse]:
        raise RuntimeUnavailable("A trigger is no worker.")

    def close(self) -> None:
        """Its pipe is the triggerer's."""
