"""What a try says at its end: stages, usage, outcome of an exception."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from spinner_proto.common.v1 import common_pb2 as pb

from spinner.core.retry_policy import class_name
from spinner.exceptions import FailTask, SkipTask, SpinnerDagError, TaskTerminated, TaskTimeout
from spinner.runtime import logs
from spinner.serialization.text import plain

_log = logging.getLogger("spinner.runtime")
MAX_RENDERED_BYTES = 16 * 1024
MAX_MESSAGE_CHARACTERS = 2000

STAGE_NAMES = {
    pb.STAGE_LAUNCH: "LaunchStage",
    pb.STAGE_READINESS: "ReadinessStage",
    pb.STAGE_PARSE: "ParseStage",
    pb.STAGE_TASK_EXEC: "TaskExecStage",
    pb.STAGE_CALLBACK: "CallbackStage",
}


class Stages:
    """The stages that a try has passed, in order."""

    def __init__(self) -> None:
        self.results: list[pb.StageResult] = []
        self.current: pb.Stage.ValueType = pb.STAGE_LAUNCH

    @contextmanager
    def stage(self, stage: pb.Stage.ValueType, begins: str) -> Iterator[pb.StageResult]:
        """One stage, announced in the log with ``begins``; failed when the block raises."""
        result = pb.StageResult(stage=stage, outcome=pb.STAGE_OUTCOME_RUNNING)
        result.start_time.FromDatetime(datetime.now(UTC))
        self.results.append(result)
        self.current = stage
        logs.set_stage(STAGE_NAMES[stage])
        _log.info(begins)
        try:
            yield result
        except BaseException as error:
            if isinstance(error, Exception | TaskTimeout | TaskTerminated | SystemExit) and not isinstance(
                error, SkipTask
            ):
                result.outcome = pb.STAGE_OUTCOME_FAILED
                result.message = one_line(error)
            else:
                result.outcome = pb.STAGE_OUTCOME_SUCCESS
            raise
        else:
            if result.outcome == pb.STAGE_OUTCOME_RUNNING:
                result.outcome = pb.STAGE_OUTCOME_SUCCESS
        finally:
            result.end_time.FromDatetime(datetime.now(UTC))


def outcome_of(error: BaseException) -> pb.Outcome.ValueType:
    """How a try that raised ``error`` ended."""
    if isinstance(error, SkipTask):
        return pb.OUTCOME_SKIPPED
    if isinstance(error, FailTask):
        return pb.OUTCOME_FAILED_NO_RETRY
    if isinstance(error, TaskTimeout):
        return pb.OUTCOME_TIMED_OUT
    if isinstance(error, TaskTerminated):
        return pb.OUTCOME_KILLED_BY_USER
    if isinstance(error, MemoryError):
        return pb.OUTCOME_OUT_OF_MEMORY
    return pb.OUTCOME_FAILED


def class_names(error: BaseException) -> list[str]:
    """Classes of the exception and those it came from, outermost first."""
    names: list[str] = []
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen and len(names) < 10:
        seen.add(id(current))
        names.append(class_name(type(current)))
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return names


def base_names(error: BaseException) -> list[str]:
    """Bases of the exception's class, nearest first."""
    return [class_name(kind) for kind in type(error).__mro__[1:] if issubclass(kind, BaseException)][:20]


def one_line(error: BaseException) -> str:
    """An exception as one line for people."""
    if isinstance(error, SpinnerDagError):
        text = f"{error.message} {error.fix}"
    else:
        try:
            text = str(error)
        except Exception:  # noqa: BLE001 - user code's own __str__ may do anything
            text = "(its text cannot be shown)"
    text = " ".join(text.split())
    name = type(error).__name__
    return (f"{name}: {text}" if text else name)[:MAX_MESSAGE_CHARACTERS]


def rendered_json(fields: dict[str, Any]) -> bytes:
    """Rendered template fields as JSON within the limit; the longest texts are cut first."""
    values = {name: plain(value) for name, value in fields.items()}
    data = json.dumps(values, ensure_ascii=False).encode()
    if len(data) <= MAX_RENDERED_BYTES:
        return data
    room = MAX_RENDERED_BYTES // max(1, len(values)) - 200
    for name, value in values.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        if len(text.encode()) > room:
            values[name] = text.encode()[: max(room // 2, 0)].decode("utf-8", "ignore") + "… (cut)"
    return json.dumps(values, ensure_ascii=False).encode()


def log_failure(error: BaseException, what: str) -> None:
    """Writes the traceback, without the runtime's own frames, at ERROR level."""
    trace = error.__traceback__
    here = os.path.dirname(__file__)  # noqa: PTH120 - compared with code file names
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(here) and trace.tb_next is not None:
        trace = trace.tb_next
    _log.error("%s: %s", what, one_line(error), exc_info=(type(error), error, trace))
