"""`python -m spinner_local.launch <program>`: what supervisord runs.

Kafka's command replaces this process. A service is imported first and then held until the broker answers and
all topics exist, so that on a start of the whole stack its imports overlap with Kafka's start, and while Kafka is
away it waits instead of crashing again and again. A service that has just crashed is held for a moment that
doubles with each crash in a row.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import os
import runpy
import sys
import time
from pathlib import Path

from spinner_servers import kafka

from spinner_local.home import Home, State
from spinner_local.services import SERVICES, environment

_LONGEST_PAUSE_SECONDS = 10.0
_CALM_SECONDS = 30.0


def main(name: str) -> None:
    """Becomes the program; returns only when it has ended."""
    home = Home.default()
    state = home.load()
    if name == "kafka":
        command = json.loads((home.kafka / "command.json").read_text())
        os.execv(command[0], command)  # noqa: S606 - our own command, written by `up`
    service = next(service for service in SERVICES if service.name == name)
    home.status_file(name).unlink(missing_ok=True)
    os.environ.update(environment(home, state, service))
    _pause_after_crashes(home.run / f"{name}.starts")
    _import_early(service.module)
    _wait_for_kafka(home, state)
    sys.argv = [service.module]
    runpy.run_module(service.module, run_name="__main__", alter_sys=True)


def _import_early(module: str) -> None:
    for part in (f"{module}.app", f"{module}.__main__"):
        if _exists(part):
            importlib.import_module(part)
            return


def _exists(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _wait_for_kafka(home: Home, state: State) -> None:
    port = state.ports["kafka"]
    while not (home.topics_ready.exists() and _answers(port)):
        time.sleep(0.03)


def _answers(port: int) -> bool:
    try:
        return kafka.answers(port)
    except OSError:
        return False


def pause_seconds(starts: list[float], now: float) -> float:
    """How long to hold a program that started at these times: nothing at first, then 0.25 s doubling up to a bound."""
    row = 0
    previous = now
    for start in reversed(starts):
        if previous - start > _CALM_SECONDS:
            break
        row += 1
        previous = start
    return 0.0 if row < 2 else float(min(_LONGEST_PAUSE_SECONDS, 0.25 * 2 ** (row - 2)))


def _pause_after_crashes(record: Path) -> None:
    try:
        starts = [float(line) for line in record.read_text().split()][-20:]
    except (OSError, ValueError):
        starts = []
    now = time.time()
    with contextlib.suppress(OSError):  # on a full disk it is supervisord's pause alone
        record.write_text("\n".join(map(str, [*starts, now])))
    time.sleep(pause_seconds(starts, now))


if __name__ == "__main__":
    main(sys.argv[1])
