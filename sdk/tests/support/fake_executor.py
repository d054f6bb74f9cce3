"""An executor in memory: the handler side of TaskRuntimeService over the real frames, and real forked workers.

It keeps XComs of all tries, so several tasks of a run can be run one after the other by hand.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spinner.core.values import decode_json, encode_json
from spinner.runtime import local_frames, preload
from spinner.runtime.local_frames import Status
from spinner_proto.common.v1 import common_pb2 as common
from spinner_proto.definitions.v1.definitions_pb2 import DagDefinition
from spinner_proto.inbox.v1 import inbox_pb2 as inbox
from spinner_proto.orders.v1 import orders_pb2 as orders
from spinner_proto.runtime.v1 import runtime_pb2 as pb

TOKEN = b"the-token"
HEADER = """
from datetime import datetime, timedelta, UTC
from spinner import *
from spinner.exceptions import *
OPTIONS = dict(start_date=datetime(2026, 1, 1, tzinfo=UTC), tier=Tier.TIER3, access_control={"team": {"can_dag_read"}})
"""

preload()


@dataclass
class Result:
    """What one segment left behind."""

    finish: pb.FinishRequest | None
    exit_status: int
    signal: int
    log: str
    calls: list[str] = field(default_factory=list)

    @property
    def ended(self) -> inbox.TaskEnded:
        assert self.finish is not None and self.finish.HasField("ended"), self.log
        return self.finish.ended

    @property
    def outcome(self) -> str:
        return common.Outcome.Name(self.ended.outcome).removeprefix("OUTCOME_").lower()


class FakeExecutor:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bundle = folder / "bundle"
        (self.bundle / "dags").mkdir(parents=True)
        self.xcoms: dict[tuple[str, int, str], bytes] = {}
        self.variables: dict[str, str] = {}
        self.connections: dict[str, pb.GetConnectionResponse] = {}
        self.run_states: list[int] = []
        self.task_states: list[pb.GetTaskStatesResponse] = []
        self.triggered: list[pb.TriggerDagRunRequest] = []
        self.existing_runs: set[str] = set()
        # How often a trigger is still to be answered by "later".
        self.trigger_pending = 0
        self.dags: dict[str, pb.GetDagResponse] = {}
        self.layouts: list[DagDefinition] = []
        self.refuse_start = False
        self.cancel_when: Any = None
        self.heartbeat_seconds, self.lease_seconds = 5.0, 30.0
        self.silent = threading.Event()
        self.hang_up_after: str | None = None
        self._work = pb.GetWorkResponse()
        self._finish: pb.FinishRequest | None = None
        self._calls: list[str] = []
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._path = str(folder / "s")
        self._listener.bind(self._path)
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    # The handler side.

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with sock:
            try:
                token = local_frames.receive_frame(sock)
                good = token == TOKEN
                local_frames.send_frame(sock, b"\0" if good else local_frames.encode_error(7, "stale token"))
                while good and (payload := local_frames.receive_frame(sock)) is not None:
                    name, request = local_frames.decode_request(payload)
                    self._calls.append(name)
                    if self.silent.is_set():
                        continue
                    answer = self._answer(name, request)
                    if self.hang_up_after == name:
                        self.hang_up_after = None
                        return
                    local_frames.send_frame(sock, answer)
            except OSError:
                return

    def _answer(self, name: str, request: Any) -> bytes:
        try:
            return local_frames.encode_answer(getattr(self, f"_on_{name}")(request))
        except PermissionError as error:
            return local_frames.encode_error(Status.FAILED_PRECONDITION, str(error))
        except FileExistsError as error:
            return local_frames.encode_error(Status.ALREADY_EXISTS, str(error))

    def _on_GetWork(self, _: Any) -> Any:  # noqa: N802
        return self._work

    def _on_Start(self, _: Any) -> Any:  # noqa: N802
        if self.refuse_start:
            raise PermissionError("another worker has the grant")
        answer = pb.StartResponse()
        answer.time.GetCurrentTime()
        return answer

    def _on_Heartbeat(self, _: Any) -> Any:  # noqa: N802
        return pb.HeartbeatResponse(cancelled=bool(self.cancel_when and self.cancel_when()))

    def _on_GetXCom(self, request: Any) -> Any:  # noqa: N802
        indexes = range(request.map_length) if request.all_map_indexes else (request.map_indexes or [-1])
        answer = pb.GetXComResponse()
        for index in indexes:
            data = self.xcoms.get((request.task_id, index, request.key or "return_value"))
            answer.values.add(map_index=index, found=data is not None, value_json=data or b"")
        return answer

    def _on_SetXCom(self, request: Any) -> Any:  # noqa: N802
        key = self._work.order.try_key
        self.xcoms[(key.task_id, key.map_index, request.key)] = request.value_json
        return pb.SetXComResponse()

    def _on_GetVariable(self, request: Any) -> Any:  # noqa: N802
        return pb.GetVariableResponse(found=request.name in self.variables, value=self.variables.get(request.name, ""))

    def _on_SetVariable(self, request: Any) -> Any:  # noqa: N802
        self.variables.pop(request.name, None)
        if not request.delete:
            self.variables[request.name] = request.value
        return pb.SetVariableResponse()

    def _on_GetConnection(self, request: Any) -> Any:  # noqa: N802
        return self.connections.get(request.connection_id, pb.GetConnectionResponse())

    def _on_GetRunState(self, _: Any) -> Any:  # noqa: N802
        return pb.GetRunStateResponse(found=True, state=self.run_states.pop(0))

    def _on_GetDag(self, request: Any) -> Any:  # noqa: N802
        return self.dags.get(request.dag_id, pb.GetDagResponse())

    def _on_GetTaskStates(self, _: Any) -> Any:  # noqa: N802
        return self.task_states.pop(0)

    def _on_TriggerDagRun(self, request: Any) -> Any:  # noqa: N802
        self.triggered.append(request)
        if self.trigger_pending:
            self.trigger_pending -= 1
            return pb.TriggerDagRunResponse(run_id=request.run_id, pending=True)
        if request.run_id in self.existing_runs and not request.reset:
            raise FileExistsError(f"run {request.run_id} of {request.dag_id} exists already")
        return pb.TriggerDagRunResponse(run_id=request.run_id)

    def _on_PublishLayout(self, request: Any) -> Any:  # noqa: N802
        definition = DagDefinition.FromString(request.definition)
        self.layouts.append(definition)
        return pb.PublishLayoutResponse(version=definition.version)

    def _on_Finish(self, request: Any) -> Any:  # noqa: N802
        self._finish = request
        return pb.FinishResponse()

    # Orders.

    def xcom(self, task_id: str, key: str = "return_value", map_index: int = -1) -> Any:
        return decode_json(self.xcoms[(task_id, map_index, key)])

    def set_xcom(self, task_id: str, value: Any, map_index: int = -1) -> None:
        self.xcoms[(task_id, map_index, "return_value")] = encode_json(value, "value")

    def write(self, path: str, text: str) -> None:
        file = self.bundle / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def order(self, task_id: str, **fields: Any) -> orders.TaskOrder:
        order = orders.TaskOrder(
            try_key=common.TryKey(
                dag_id=fields.pop("dag_id", "d"),
                run_id="manual__1",
                task_id=task_id,
                map_index=fields.pop("map_index", -1),
                try_number=fields.pop("try_number", 1),
            ),
            kind=fields.pop("kind", orders.ORDER_KIND_TASK),
            relative_path=fields.pop("relative_path", "dags/d.py"),
            runtime=fields.pop("runtime", "spinner"),
            run_type=fields.pop("run_type", common.RUN_TYPE_MANUAL),
            max_tries=fields.pop("max_tries", 1),
            **{name: value for name, value in fields.items() if name != "execution_timeout"},
        )
        if "execution_timeout" in fields:
            order.execution_timeout.FromTimedelta(fields["execution_timeout"])
        start, end = "2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z"
        times = {"logical_date": start, "data_interval_start": start, "data_interval_end": end, "run_after": end}
        for name, text in times.items():
            if not order.HasField(name):
                getattr(order, name).FromJsonString(text)
        return order

    def run(self, source: str, task_id: str = "t", *, conf: bytes = b"", header: bool = True, **fields: Any) -> Result:
        """Runs one segment of a try of ``task_id`` of the DAG file ``source`` in a forked worker."""
        self.write("dags/d.py", (HEADER if header else "") + source)
        return self.run_order(self.order(task_id, **fields), conf)

    def run_order(self, order: orders.TaskOrder, conf: bytes = b"", seconds: float = 20.0) -> Result:
        self._work = pb.GetWorkResponse(
            order=order,
            bundle_path=str(self.bundle),
            conf_json=conf,
            heartbeat_seconds=self.heartbeat_seconds,
            lease_seconds=self.lease_seconds,
        )
        self._finish, self._calls = None, []
        log = self.folder / "log"
        token = self.folder / "token"
        token.write_bytes(TOKEN)
        status = ZYGOTE.run(log, self._path, str(token), seconds)
        if status is None:
            raise AssertionError(f"the worker did not end:\n{log.read_text()}")
        return Result(
            self._finish,
            os.WEXITSTATUS(status) if os.WIFEXITED(status) else -1,
            os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0,
            log.read_text(),
            list(self._calls),
        )


class Zygote:
    """Forks workers from a process that never had a thread, whatever else this session's tests have started.

    Made when the tests are collected. A worker gets the environment and folder that the test has when it runs.
    """

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair()
        self._lock = threading.Lock()
        if os.fork() == 0:
            self._socket.close()
            _serve(theirs)
        theirs.close()

    def run(self, log: Path, path: str, token: str, seconds: float) -> int | None:
        """Returns the wait status of a worker; None when it had to be killed after ``seconds``."""
        request = {"log": str(log), "path": path, "token": token, "env": dict(os.environ), "cwd": str(Path.cwd())}
        with self._lock, self._socket.makefile("rw") as stream:
            stream.write(json.dumps(request) + "\n")
            stream.flush()
            pid = int(stream.readline())
            killer = threading.Timer(seconds, os.kill, (pid, signal.SIGKILL))
            killer.start()
            status = int(stream.readline())
            late = not killer.is_alive()
            killer.cancel()
        return None if late else status


def _serve(theirs: socket.socket) -> None:
    try:
        with theirs.makefile("rw") as stream:
            for line in stream:
                request = json.loads(line)
                pid = os.fork()
                if pid == 0:
                    os.environ.clear()
                    os.environ.update(request["env"])
                    os.chdir(request["cwd"])
                    _become_worker(Path(request["log"]), request["path"], request["token"])
                stream.write(f"{pid}\n")
                stream.flush()
                stream.write(f"{os.waitpid(pid, 0)[1]}\n")
                stream.flush()
    finally:
        os._exit(0)


def _become_worker(log: Path, path: str, token: str) -> None:
    status = 70
    try:
        os.setsid()
        out = os.open(log, os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_WRONLY)
        os.dup2(out, 1)
        os.dup2(out, 2)
        import sys

        sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
        os.environ["SPINNER_RUNTIME_SOCKET"] = path
        os.environ["SPINNER_TOKEN_FILE"] = token
        from spinner.runtime.runner import run_local

        run_local()
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(status)


ZYGOTE = Zygote()
