"""A try that does nothing, run by an idle worker before it is given one.

A forked process gets a copy of each page that it writes to, when it first does (about 5 µs a page): most of the time
of a short try. An idle worker has time, so it goes through all that a try goes through once, with an operator that does
nothing and an executor that is not there, and leaves no trace but the pages.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
from datetime import UTC, datetime
from functools import cache

from spinner_proto.orders.v1 import orders_pb2 as orders
from spinner_proto.runtime.v1 import runtime_pb2 as pb

from spinner.core import stack
from spinner.core.dag import DAG
from spinner.operators.python import PythonOperator
from spinner.runtime import local_frames, logs, processes, runner
from spinner.runtime.connection import LocalConnection
from spinner.runtime.usage import meter

_MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
_FOLDER, _FILE = os.path.split(__file__)


class _NoExecutor(LocalConnection):
    """A connection to this process itself, in which all answers lie already."""

    def __init__(self, work: pb.GetWorkResponse) -> None:
        super().__init__("", b"")
        ours, self._other_end = socket.socketpair()
        self.adopt(ours)
        for answer in (work, pb.StartResponse(), pb.FinishResponse()):
            local_frames.send_frame(self._other_end, local_frames.encode_answer(answer))

    def close(self) -> None:
        """See Connection."""
        super().close()
        self._other_end.close()


class _Work(runner.Work):
    def load_dag(self) -> DAG:
        return _dag()


def _nothing(ti: object) -> None: ...


@cache
def _dag() -> DAG:
    with DAG("rehearsal", schedule=None, start_date=_MOMENT, tier=3, access_control={"x": {"can_dag_read"}}) as dag:
        PythonOperator(task_id="nothing", python_callable=_nothing)
    dag.check()
    stack.reset()
    return dag


def prepare() -> None:
    """Makes what all rehearsals share; call it before forking."""
    _dag()


def rehearse() -> pb.FinishRequest:
    """Runs the try that does nothing and returns its end. Writes to stdout and stderr; starts and ends no process."""
    folder = os.getcwd()  # noqa: PTH109 - paths are texts here, which touches less
    logs.set_stage("LaunchStage")
    logs.configure()
    processes.adopt_orphans()
    answer = pb.GetWorkResponse()
    order = orders.TaskOrder(kind=orders.ORDER_KIND_TASK, max_tries=1, relative_path=_FILE)
    order.try_key.dag_id, order.try_key.run_id, order.try_key.task_id = "rehearsal", "manual__0", "nothing"
    order.try_key.map_index, order.try_key.try_number = -1, 1
    for moment in (order.logical_date, order.data_interval_start, order.data_interval_end):
        moment.FromDatetime(_MOMENT)
    order.execution_timeout.FromSeconds(60)
    answer.order.CopyFrom(order)
    answer.bundle_path = _FOLDER
    connection = _NoExecutor(answer)
    answer, _ = connection.begin(runner.worker_name())
    work = _Work(connection, answer, datetime.now(UTC))
    work.control.start()
    report = runner.report_of(work)
    processes.descendants(os.getpid())
    connection.call("Finish", report, pb.FinishResponse)
    connection.close()
    if work.kept is not None:
        os.close(work.kept)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.chdir(folder)
    meter.restart()
    return report


def rehearse_unseen() -> None:
    """The same in a process that goes on as if nothing had been: a fork server, which warms up for its workers."""
    disposition, root = signal.getsignal(signal.SIGTERM), logging.getLogger()
    handlers, level, stderr = root.handlers[:], root.level, sys.stderr
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123 - a text
        sys.stderr = nowhere
        try:
            rehearse()
        finally:
            sys.stderr = stderr
            root.handlers[:] = handlers
            root.setLevel(level)
            processes.adopt_orphans(False)
            signal.signal(signal.SIGTERM, disposition)
    for thread in threading.enumerate():
        if thread.name == "heartbeat":
            thread.join()
