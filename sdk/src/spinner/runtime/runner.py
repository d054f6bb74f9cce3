"""One segment of one try, from the order to the report.

Order of things: GetWork → Start (the grant) → user code, which includes reading the DAG file → callbacks → Finish.
Nothing of the user's runs before the grant. Whatever user code does, there is one report, unless the lease is lost.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from spinner_proto.common.v1 import common_pb2 as common
from spinner_proto.inbox.v1 import inbox_pb2 as inbox
from spinner_proto.orders.v1 import orders_pb2 as orders
from spinner_proto.runtime.v1 import runtime_pb2 as pb

from spinner.exceptions import SpinnerException, TaskTerminated
from spinner.runtime import logs, processes
from spinner.runtime.api import RuntimeApi
from spinner.runtime.boundedlog import Bounds
from spinner.runtime.bundle import keep
from spinner.runtime.connection import EXIT_LEASE_LOST, EXIT_START_REFUSED, CallError, Connection, LocalConnection
from spinner.runtime.control import Control
from spinner.runtime.current import set_current
from spinner.runtime.readiness import make_ready
from spinner.runtime.report import Stages, base_names, class_names, log_failure, one_line, outcome_of, rendered_json
from spinner.runtime.usage import meter

if TYPE_CHECKING:
    from spinner.core.dag import DAG

_log = logging.getLogger("spinner.runtime")
_OUTCOME_OF_STAGE = {
    common.STAGE_READINESS: common.OUTCOME_CONFIG_ERROR,
    common.STAGE_PARSE: common.OUTCOME_PARSE_FAILED,
}


class Work:
    """What one segment has to do, and what it knows about itself."""

    def __init__(self, connection: Connection, answer: pb.GetWorkResponse, started: datetime) -> None:
        self.connection = connection
        self.api = RuntimeApi(connection)
        self.order = answer.order
        # Fetched from `bundle_url` when the executor shares no file system with this worker.
        self.bundle_path = answer.bundle_path
        self.bundle_url = answer.bundle_url
        self.kept = keep(self.bundle_path) if self.bundle_path else None
        self.cache_path = answer.cache_path
        self.readiness = list(answer.readiness)
        self.readiness_addresses = list(answer.readiness_addresses)
        self.conf_json = answer.conf_json
        self.started = started
        self.stages = Stages()
        watch = None
        if answer.log_path:
            bounds = Bounds(answer.log_head_bytes, answer.log_tail_bytes)
            watch = logs.LogWatch(Path(answer.log_path), bounds)
        self.control = Control(connection, self.stages, answer.heartbeat_seconds, watch)
        # Set by what runs the order; used whatever way it ends.
        self.rendered: dict[str, Any] = {}

    def load_dag(self) -> DAG:
        """Reads the DAG file. Raises SpinnerException when the DAG is not in it, and whatever the file raises."""
        from spinner.serialization.loading import load_dag_file

        file = load_dag_file(self.bundle_path, self.order.relative_path)
        dag = file.dag(self.order.try_key.dag_id)
        if dag is None:
            raise SpinnerException(
                f"{self.order.relative_path} has no DAG {self.order.try_key.dag_id!r} in this bundle version; "
                f"it has {', '.join(file.dags) or 'none'}."
            )
        return dag


def run_local() -> NoReturn:
    """Runs a try in a forked child and ends the process. The environment names the socket and the token file.

    SPINNER_RUNTIME_FD, where it is set, is a connection that the executor has opened for this try.
    """
    path, token_file = os.environ.pop("SPINNER_RUNTIME_SOCKET"), os.environ.pop("SPINNER_TOKEN_FILE")
    token = _read(token_file).strip()
    os.environ[processes.MARK] = token.decode().partition(".")[0]
    processes.adopt_orphans()
    connection = LocalConnection(path, token)
    if descriptor := os.environ.pop("SPINNER_RUNTIME_FD", ""):
        connection.adopt(socket.socket(fileno=int(descriptor)))
    sys.exit(run_try(connection, worker_name()))


def _read(path: str) -> bytes:
    with open(path, "rb", 0) as file:  # noqa: PTH123 - a Path costs more than what is read here
        return file.readall()


def rehearse() -> None:
    """What an idle worker does until it is given a try: see :mod:`spinner.runtime.rehearsal`."""
    from spinner.runtime.rehearsal import rehearse

    rehearse()


def worker_name() -> str:
    """A name for this process."""
    return os.environ.get(processes.MARK) or f"{socket.gethostname()}:{os.getpid()}"


def run_try(connection: Connection, worker: str, before_finish: Callable[[], None] | None = None) -> int:
    """Runs one segment. Returns the exit status: 0 when its end was reported, whatever the end was.

    ``before_finish`` is called when the log is complete.
    """
    logs.set_stage("LaunchStage")
    logs.configure(os.environ.get("SPINNER_TASK_LOG_LEVEL", "INFO"))
    try:
        answer, grant = connection.begin(worker)
    except CallError as error:
        _log.error("The start was refused: %s", error)
        return EXIT_START_REFUSED
    if answer.traceparent:
        # For user code that traces by itself: the variable that OpenTelemetry's tools read.
        os.environ["TRACEPARENT"] = answer.traceparent
    if answer.lease_seconds:
        connection.lease.seconds = answer.lease_seconds
    started = grant.time.ToDatetime(tzinfo=UTC) if grant.HasField("time") else datetime.now(UTC)
    work = Work(connection, answer, started)
    work.control.start()
    report = report_of(work)
    left = processes.end_leftovers()
    if left:
        _log.warning("The task left %d processes running; they were ended: %s", len(left), ", ".join(map(str, left)))
    work.control.end_log()
    if before_finish is not None:
        before_finish()
    try:
        connection.call("Finish", report, pb.FinishResponse)
    except CallError as error:
        _log.error("The end could not be reported: %s", error)
        return EXIT_LEASE_LOST
    connection.close()
    return 0


def report_of(work: Work) -> pb.FinishRequest:
    """Does the work; every way it can end becomes a report."""
    try:
        report = _dispatch(work)
    except TaskTerminated as error:
        report = pb.FinishRequest(ended=failure(work, error, work.control.stop_outcome))
    except BaseException as error:  # noqa: BLE001 - a try always ends with a report
        log_failure(error, "The try failed")
        report = pb.FinishRequest(ended=failure(work, error))
    finally:
        work.control.stop()
        set_current(None)
    if report.HasField("ended"):
        complete(work, report.ended)
    return report


def _dispatch(work: Work) -> pb.FinishRequest:
    order = work.order
    make_ready(work)
    if order.runtime == "pinball":
        from spinner.runtime.pinball import run_command_job

        return pb.FinishRequest(ended=run_command_job(work))
    if order.runtime not in ("", "spinner"):
        raise SpinnerException(
            f"This worker cannot run tasks of the runtime {order.runtime!r}. Give the DAG a worker image that has it."
        )
    if order.kind == orders.ORDER_KIND_LAYOUT:
        from spinner.runtime.special import compute_layout

        return compute_layout(work)
    if order.kind == orders.ORDER_KIND_CALLBACK:
        from spinner.runtime.callbacks import run_callbacks

        return pb.FinishRequest(ended=run_callbacks(work))
    from spinner.runtime.execution import run_task

    return run_task(work)


def failure(work: Work, error: BaseException, outcome: common.Outcome.ValueType | None = None) -> inbox.TaskEnded:
    """The end of a try that raised ``error``."""
    if outcome is None:
        outcome = outcome_of(error)
        if outcome == common.OUTCOME_FAILED:
            outcome = _OUTCOME_OF_STAGE.get(work.stages.current, outcome)
    return inbox.TaskEnded(
        outcome=outcome,
        message=one_line(error),
        exit_code=0 if outcome == common.OUTCOME_SKIPPED else 1,
        exception_classes=class_names(error),
        exception_bases=base_names(error),
        return_length=-1,
    )


def complete(work: Work, ended: inbox.TaskEnded) -> None:
    """Adds to an end what is the same for all."""
    del ended.stages[:]
    ended.stages.extend(work.stages.results)
    ended.usage.CopyFrom(meter.usage())
    ended.start_time.FromDatetime(work.started)
    ended.end_time.FromDatetime(datetime.now(UTC))
    if work.rendered:
        ended.rendered.CopyFrom(common.Blob(inline=rendered_json(work.rendered), media_type="application/json"))
