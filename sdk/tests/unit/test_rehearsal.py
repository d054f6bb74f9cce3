"""The try that does nothing goes through a whole try and leaves nothing. In processes of its own, as it is meant."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from spinner_proto.common.v1 import common_pb2 as common

_WHOLE = """
import json, os, signal, subprocess, sys
from pathlib import Path

from spinner.exceptions import RuntimeUnavailable
from spinner.runtime.current import current_context
from spinner.runtime.rehearsal import prepare, rehearse

child = subprocess.Popen(["sleep", "60"])
folder, environment = Path.cwd(), dict(os.environ)
prepare()
ended = rehearse().ended
try:
    current_context()
    current = True
except RuntimeUnavailable:
    current = False
print(json.dumps({
    "outcome": ended.outcome, "message": ended.message, "stages": [stage.stage for stage in ended.stages],
    "stays": Path.cwd() == folder and dict(os.environ) == environment,
    "signals": signal.getsignal(signal.SIGTERM) == signal.getsignal(signal.SIGALRM) == signal.SIG_DFL,
    "current": current, "child_lives": child.poll() is None,
}))
child.kill()
"""
_FAULTS = """
import json, os, resource
from spinner.runtime import preload
preload()
from spinner.runtime.rehearsal import rehearse
from spinner.runtime.usage import meter
if os.fork() == 0:
    faults = []
    for _ in range(2):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        rehearse()
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    own = resource.getrusage(resource.RUSAGE_SELF)
    used = own.ru_utime + own.ru_stime
    print(json.dumps({"faults": faults, "counted": meter.usage().cpu_seconds, "used": used}), flush=True)
    os._exit(0)
os.wait()
"""


_PRELOADED = """
import gc, json, logging, os, signal, sys, threading
from pathlib import Path
from spinner.runtime import preload

logging.getLogger().setLevel(logging.ERROR)
opened, folder, stderr = set(os.listdir("/dev/fd")), Path.cwd(), sys.stderr
preload()
from spinner.runtime.runner import report_of
print(json.dumps({
    "files": set(os.listdir("/dev/fd")) == opened, "threads": threading.active_count(), "folder": Path.cwd() == folder,
    "signal": signal.getsignal(signal.SIGTERM) == signal.SIG_DFL, "stderr": sys.stderr is stderr,
    "log": logging.getLogger().handlers == [] and logging.getLogger().level == logging.ERROR,
    "large": [name for name in ("asyncio", "ssl", "http.client", "email", "importlib.metadata") if name in sys.modules],
}))
"""
_GATHERED = """
import json
from spinner.runtime.hotcode import gather

def inner(number):
    return number + 1

def outer():
    return inner(1)

def other():
    return 3

codes = inner.__code__, outer.__code__, other.__code__
count = gather(outer)
print(json.dumps({
    "count": count, "answers": [outer(), other()], "code": inner.__code__ == codes[0],
    "moved": [function.__code__ is not code for function, code in zip((inner, outer, other), codes)],
}))
"""


def answer(script: str) -> dict[str, Any]:
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_a_rehearsal_is_a_whole_try_and_leaves_nothing() -> None:
    told = answer(_WHOLE)
    assert told["outcome"] == common.OUTCOME_SUCCESS, told["message"]
    assert told["stages"] == [common.STAGE_READINESS, common.STAGE_PARSE, common.STAGE_TASK_EXEC]
    assert told["stays"] and told["signals"] and told["child_lives"] and not told["current"]


def test_a_second_try_writes_to_few_fresh_pages_and_counts_its_own_time_only() -> None:
    told = answer(_FAULTS)
    first, second = told["faults"]
    assert second < first / 5
    assert told["counted"] < told["used"] / 2


def test_a_server_that_has_rehearsed_is_as_before_and_holds_nothing_large() -> None:
    told = answer(_PRELOADED)
    assert told == {
        "files": True, "threads": 1, "folder": True, "signal": True, "stderr": True, "log": True, "large": [],
    }  # fmt: skip


def test_functions_that_are_called_get_code_of_their_own_and_do_the_same() -> None:
    told = answer(_GATHERED)
    assert told == {"count": 2, "answers": [2, 3], "code": True, "moved": [True, True, False]}
