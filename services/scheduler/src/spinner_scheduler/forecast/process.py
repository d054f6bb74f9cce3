"""A simulation in a process of its own: `run` starts it, `python -m spinner_scheduler.forecast.process` is it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from dataclasses import asdict

from spinner_proto.scheduler.v1.scheduler_pb2 import SimulateRequest, SimulateResponse
from spinner_servicekit.errors import Rejected

from spinner_scheduler.domain.state import Limits
from spinner_scheduler.forecast.forecast import Bounds, Forecast, ImpossibleError

_PATIENCE_SECONDS = 20.0
_NICE = 10
_IMPOSSIBLE = 3
_one_at_a_time = threading.Lock()


def run(request: SimulateRequest, limits: Limits) -> SimulateResponse:
    """Simulates and returns what would happen; blocks. One at a time: raises Rejected while another one runs."""
    if not _one_at_a_time.acquire(blocking=False):
        raise Rejected(
            "RESOURCE_EXHAUSTED", "this scheduler is simulating for somebody else", "ask again in a minute", "BUSY"
        )
    try:
        process = subprocess.run(
            [sys.executable, "-m", "spinner_scheduler.forecast.process", json.dumps(asdict(limits))],
            input=request.SerializeToString(),
            capture_output=True,
            timeout=Bounds().seconds + _PATIENCE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Rejected("DEADLINE_EXCEEDED", "the simulation did not end in time", "ask for a shorter period") from error
    finally:
        _one_at_a_time.release()
    said = process.stderr.decode(errors="replace").strip()
    if process.returncode == _IMPOSSIBLE:
        raise Rejected("INVALID_ARGUMENT", said, "change the request", "IMPOSSIBLE")
    if process.returncode:
        raise RuntimeError(f"the simulation ended with {process.returncode}: {said[-2_000:]}")
    return SimulateResponse.FromString(process.stdout)


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
