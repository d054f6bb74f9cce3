"""A simulation in a process of its own: `run` starts it, `python -m spinner_scheduler.forecast.process` is it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict

from spinner_proto.scheduler.v1.scheduler_pb2 import SimulateRequest, SimulateResponse
from spinner_servicekit.errors import Rejected

from spinner_scheduler.domain.limits import Limits
from spinner_scheduler.forecast.forecast import Bounds, Forecast, ImpossibleError

_PATIENCE_SECONDS = 20.0
_TURN_SECONDS = 30.0
_LOOK_SECONDS = 0.1
_NICE = 10
_IMPOSSIBLE = 3
_turn = threading.Lock()
# Each occupies a thread of the server: the one that simulates and a few that wait for their turn.
_places = threading.BoundedSemaphore(4)


def run(request: SimulateRequest, limits: Limits, is_wanted: Callable[[], bool] = lambda: True) -> SimulateResponse:
    """Simulates and returns what would happen; blocks. One at a time, others wait for their turn.

    `is_wanted`: whether somebody still waits for the answer; when not, the simulation ends at once.

    Raises Rejected: too many wait or the turn doesn't come (RESOURCE_EXHAUSTED), impossible (INVALID_ARGUMENT),
    too long (DEADLINE_EXCEEDED), no longer wanted (CANCELLED).
    """
    busy = Rejected(
        "RESOURCE_EXHAUSTED", "this scheduler is simulating for somebody else", "ask again in a minute", "BUSY"
    )
    if not _places.acquire(blocking=False):
        raise busy
    try:
        until = time.monotonic() + _TURN_SECONDS
        while not _turn.acquire(timeout=_LOOK_SECONDS):
            _check_wanted(is_wanted)
            if time.monotonic() > until:
                raise busy
        try:
            return _simulate(request, limits, is_wanted)
        finally:
            _turn.release()
    finally:
        _places.release()


def _simulate(request: SimulateRequest, limits: Limits, is_wanted: Callable[[], bool]) -> SimulateResponse:
    until = time.monotonic() + Bounds().seconds + _PATIENCE_SECONDS
    with tempfile.TemporaryFile() as asked:
        asked.write(request.SerializeToString())
        asked.seek(0)
        with subprocess.Popen(
            [sys.executable, "-m", "spinner_scheduler.forecast.process", json.dumps(asdict(limits))],
            stdin=asked,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            try:
                while True:
                    _check_wanted(is_wanted)
                    try:
                        answer, complaint = process.communicate(timeout=_LOOK_SECONDS)
                        break
                    except subprocess.TimeoutExpired as late:
                        if time.monotonic() > until:
                            raise Rejected(
                                "DEADLINE_EXCEEDED",
                                "the simulation did not end in time",
                                "ask for a shorter period",
                            ) from late
            finally:
                process.kill()
    said = complaint.decode(errors="replace").strip()
    if process.returncode == _IMPOSSIBLE:
        raise Rejected("INVALID_ARGUMENT", said, "change the request", "IMPOSSIBLE")
    if process.returncode:
        raise RuntimeError(f"the simulation ended with {process.returncode}: {said[-2_000:]}")
    return SimulateResponse.FromString(answer)


def _check_wanted(is_wanted: Callable[[], bool]) -> None:
    if not is_wanted():
        raise Rejected("CANCELLED", "nobody waits for this simulation any more", "", "CANCELLED")


def main() -> int:
    os.nice(_NICE)
    limits = Limits(**json.loads(sys.argv[1]))
    request = SimulateRequest.FromString(sys.stdin.buffer.read())
    try:
        answer = Forecast(request, limits).run()
    except ImpossibleError as impossible:
        print(impossible, file=sys.stderr)
        return _IMPOSSIBLE
    sys.stdout.buffer.write(answer.SerializeToString())
    return 0


if __name__ == "__main__":
    sys.exit(main())
