"""A try that does nothing, run by an idle worker before it is given one.

A forked process gets a copy of each page that it writes to, when it first does (about 5 µs a page): most of the time
of a short try. An idle worker has time, so it goes through all that a try goes through once, with an operator that does
nothing and an executor that is not there, and leaves no trace but the pages.
"""

from __future__ import annotations

import os
import signal
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TypeVar

from google.protobuf.message import Message
from spinner_proto.orders.v1 import orders_pb2 as orders
from spinner_proto.runtime.v1 import runtime_pb2 as pb

from spinner.core import stack
from spinner.core.dag import DAG
from spinner.operators.empty import EmptyOperator
from spinner.runtime import local_frames, logs, runner
from spinner.runtime.connection import Lease
from spinner.runtime.processes import descendants
from spinner.runtime.usage import meter

M = TypeVar("M", bound=Message)
_MOMENT = datetime(2026, 1, 1, tzinfo=UTC)


class _NoExecutor:
    """A connection whose calls are encoded, go nowhere and are answered with nothing."""

    def __init__(self) -> None:
        self.lease = Lease()

    def call(self, method: str, request: Message, response: type[M]) -> M:
        local_frames.frame(local_frames.encode_request(method, request))
        return response()

    def begin(self, worker: str) -> tuple[pb.GetWorkResponse, pb.StartResponse]:
        return self.call("GetWork", pb.GetWorkRequest(), pb.GetWorkResponse), self.call(
            "Start", pb.StartRequest(worker=worker), pb.StartResponse
        )

    def close(self) -> None: ...


class _Work(runner.Work):
    def load_dag(self) -> DAG:
        return _dag()


@cache
def _dag() -> DAG:
    with DAG("rehearsal", schedule=None, start_date=_MOMENT, tier=3, access_control={"x": {"can_dag_read"}}) as dag:
        EmptyOperator(task_id="nothing", doc_md="{{ ds }}")
    dag.check()
    stack.reset()
    return dag


def prepare() -> None:
    """Makes what all rehearsals share; call it before forking."""
    _dag()


def rehearse() -> pb.FinishRequest:
    """Runs the try that does nothing and returns its end. Writes to stdout and stderr; starts and ends no process."""
    folder = Path.cwd()
    logs.set_stage("LaunchStage")
    logs.configure()
    connection = _NoExecutor()
    answer, _ = connection.begin(runner.worker_name())
    order = orders.TaskOrder(kind=orders.ORDER_KIND_TASK, max_tries=1, relative_path=Path(__file__).name)
    order.try_key.dag_id, order.try_key.run_id, order.try_key.task_id = "rehearsal", "manual__0", "nothing"
    order.try_key.map_index, order.try_key.try_number = -1, 1
    for moment in (order.logical_date, order.data_interval_start, order.data_interval_end):
        moment.FromDatetime(_MOMENT)
    order.execution_timeout.FromSeconds(60)
    answer.order.CopyFrom(order)
    answer.bundle_path = str(Path(__file__).parent)
    work = _Work(connection, pb.GetWorkResponse.FromString(answer.SerializeToString()), datetime.now(UTC))
    work.control.start()
    report = runner.report_of(work)
    descendants(os.getpid())
    connection.call("Finish", report, pb.FinishResponse)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.chdir(folder)
    meter.restart()
    return report
