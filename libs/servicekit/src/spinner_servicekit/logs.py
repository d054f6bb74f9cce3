"""Structured logs: JSON lines or a coloured console, of structlog and of the standard library alike.

Log calls inside `bound(run=…, task_try=…)` carry these keys, so that all about a run or try can be found by them.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

import structlog

_NOISY = ("faust", "aiokafka", "botocore", "boto3", "urllib3", "asyncio", "kubernetes", "httpx", "httpcore")


def configure(service: str, level: str = "info", form: str = "json", stream: TextIO | None = None) -> None:
    """Sends all logs of the process to `stream` (default stderr). Idempotent."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        _trace,
        structlog.processors.StackInfoRenderer(),
    ]
    last: list[structlog.typing.Processor]
    if form == "json":
        last = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    else:
        last = [structlog.dev.ConsoleRenderer(timestamp_key="time", colors=(stream or sys.stderr).isatty())]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[_service(service), structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _NOISY:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


def logger(name: str) -> structlog.stdlib.BoundLogger:
    found: structlog.stdlib.BoundLogger = structlog.get_logger(name)
    return found


@contextmanager
def bound(run: str | None = None, task_try: str | None = None, **more: str | int) -> Iterator[None]:
    """Adds keys to every log line of this thread or task within the block."""
    keys = {name: key for name, key in {"run": run, "try": task_try, **more}.items() if key is not None}
    with structlog.contextvars.bound_contextvars(**keys):
        yield


def _service(name: str) -> structlog.typing.Processor:
    def add(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        event["service"] = name
        return event

    return add


def _trace(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    from spinner_servicekit.traces import current_traceparent

    trace = current_traceparent()
    if trace is not None:
        event["trace_id"] = trace.split("-")[1]
    return event
