"""Structured logs."""

from __future__ import annotations

import io
import json
import logging

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


def test_what_is_logged_for_people_names_the_keys_too():
    stream = io.StringIO()
    logs.configure("scheduler", "info", "console", stream)
    with logs.bound(run="d/r"):
        logging.getLogger("mine").info("hello", extra={"dag": "d"})
    (line,) = stream.getvalue().splitlines()
    assert "info" in line and "mine: hello" in line and "run=d/r" in line and "dag=d" in line


def test_a_logger_takes_keys_of_any_name():
    stream = io.StringIO()
    logs.configure("rca", "info", "json", stream)
    log = logs.logger("spinner.rca")
    log.warning("record_unreadable", name="n", message="m", where="topic/0/7")
    try:
        raise KeyError("x")
    except KeyError as error:
        log.error("request_failed", path="/dags", exc_info=error)
    first, second = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert (first["event"], first["level"], first["logger"]) == ("record_unreadable", "warning", "spinner.rca")
    assert (first["name"], first["message"], first["where"]) == ("n", "m", "topic/0/7")
    assert second["path"] == "/dags" and "KeyError" in second["exception"]


def test_extra_keys_and_values_without_json_are_written():
    stream = io.StringIO()
    logs.configure("scheduler", "info", "json", stream)
    logging.getLogger("mine").info("hello", extra={"dag": "d", "where": {1}})
    line = json.loads(stream.getvalue())
    assert (line["dag"], line["where"]) == ("d", "{1}")
