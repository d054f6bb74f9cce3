"""Structured logs."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys

import pytest
from spinner_servicekit import logs


@pytest.fixture(autouse=True)
def _restore():
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:], root.level = handlers, level


def test_lines_are_json_with_the_keys_of_what_they_are_about():
    stream = io.StringIO()
    logs.configure("scheduler", "info", "json", stream)
    with logs.bound(run="d/r", task_try="d/r/t/-1/1", partition=3):
        logging.getLogger("some.library").warning("it is %s", "late")
    try:
        raise KeyError("x")
    except KeyError:
        logging.getLogger("other").exception("failed")
    logging.getLogger("other").debug("unheard")
    first, second = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert first["event"] == "it is late"
    assert (first["service"], first["run"], first["try"], first["partition"]) == ("scheduler", "d/r", "d/r/t/-1/1", 3)
    assert (first["level"], first["logger"]) == ("warning", "some.library")
    assert "run" not in second
    assert "KeyError" in second["exception"]


def test_structlog_goes_the_same_way():
    program = (
        "from spinner_servicekit import logs\n"
        "logs.configure('s', 'info', 'console')\n"
        "logs.logger('mine').info('hello', run='d/r')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert "hello" in done.stderr and "d/r" in done.stderr
