"""Structured logs by the standard library: one JSON object a line, or lines for people.

Log calls inside `bound(run=…, task_try=…)` carry these keys, so that all about a run or try can be found by them. What
a call passes as `extra` is carried too.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, TextIO

from spinner_servicekit.traces import current_traceparent

_NOISY = ("faust", "aiokafka", "botocore", "boto3", "urllib3", "asyncio", "kubernetes", "httpx", "httpcore")
# The attribute of a record that holds what a Logger was given.
_OF_CALL = "spinner_keys"
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", _OF_CALL}
_COLOURS = {"warning": "\x1b[33m", "error": "\x1b[31m", "critical": "\x1b[31;1m"}

_keys: ContextVar[dict[str, str | int]] = ContextVar("spinner_log_keys", default={})  # noqa: B039 - never changed


def configure(service: str, level: str = "info", form: str = "json", stream: TextIO | None = None) -> None:
    """Sends all logs of the process to `stream` (default stderr). Idempotent."""
    stream = stream or sys.stderr
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_Json(service) if form == "json" else _Console(service, stream.isatty()))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _NOISY:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


class Logger:
    """Logs an event's name and what there is to say of it, by key."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def info(self, event: str, **keys: object) -> None:
        self._log(logging.INFO, event, None, keys)

    def warning(self, event: str, **keys: object) -> None:
        self._log(logging.WARNING, event, None, keys)

    def error(self, event: str, exc_info: BaseException | None = None, **keys: object) -> None:
        self._log(logging.ERROR, event, exc_info, keys)

    def _log(self, level: int, event: str, exc_info: BaseException | None, keys: dict[str, object]) -> None:
        self._logger.log(level, "%s", event, exc_info=exc_info, extra={_OF_CALL: keys})


def logger(name: str) -> Logger:
    """Returns a logger that takes keys."""
    return Logger(name)


@contextmanager
def bound(run: str | None = None, task_try: str | None = None, **more: str | int) -> Iterator[None]:
    """Adds keys to every log line of this thread or task within the block."""
    keys = {name: key for name, key in {"run": run, "try": task_try, **more}.items() if key is not None}
    token = _keys.set(_keys.get() | keys)
    try:
        yield
    finally:
        _keys.reset(token)


class _Formatter(logging.Formatter):
    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def parts(self, record: logging.LogRecord) -> tuple[dict[str, Any], str]:
        """What a line says, in order, and the text of an exception or stack."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds")
        said: dict[str, Any] = {
            "time": time.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            "service": self._service,
            **_keys.get(),
            **{name: value for name, value in vars(record).items() if name not in _STANDARD},
            **getattr(record, _OF_CALL, {}),
        }
        trace = current_traceparent()
        if trace is not None:
            said["trace_id"] = trace.split("-")[1]
        texts = [self.formatException(record.exc_info)] if record.exc_info and record.exc_info[0] else []
        if record.stack_info:
            texts.append(self.formatStack(record.stack_info))
        return said, "\n".join(texts)


class _Json(_Formatter):
    def format(self, record: logging.LogRecord) -> str:
        said, text = self.parts(record)
        return json.dumps(said | {"exception": text} if text else said, default=repr)


class _Console(_Formatter):
    def __init__(self, service: str, coloured: bool) -> None:
        super().__init__(service)
        self._coloured = coloured

    def format(self, record: logging.LogRecord) -> str:
        said, text = self.parts(record)
        time, level, name, event, _ = (said.pop(key) for key in ("time", "level", "logger", "event", "service"))
        keys = "".join(f" {key}={value}" for key, value in said.items())
        start = _COLOURS.get(level, "") if self._coloured else ""
        line = f"{time} {start}{level:<8}{chr(27) + '[0m' if start else ''} {name}: {event}{keys}"
        return f"{line}\n{text}" if text else line
