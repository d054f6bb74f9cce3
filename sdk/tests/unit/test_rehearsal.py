"""The try that does nothing goes through a whole try and leaves nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from spinner.exceptions import RuntimeUnavailable
from spinner.runtime.current import current_context
from spinner.runtime.rehearsal import prepare, rehearse
from spinner_proto.common.v1 import common_pb2 as common


@pytest.fixture
def same_signals():
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGALRM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_rehearsal_is_a_whole_try(same_signals: None) -> None:
    folder, environment = os.getcwd(), dict(os.environ)  # noqa: PTH109
    prepare()
    ended = rehearse().ended
    assert ended.outcome == common.OUTCOME_SUCCESS, ended.message
    assert [stage.stage for stage in ended.stages] == [
        common.STAGE_READINESS,
        common.STAGE_PARSE,
        common.STAGE_TASK_EXEC,
    ]
    assert os.getcwd() == folder  # noqa: PTH109
    assert dict(os.environ) == environment
    assert signal.getsignal(signal.SIGTERM) == signal.getsignal(signal.SIGALRM) == signal.SIG_DFL
    with pytest.raises(RuntimeUnavailable):
        current_context()


_FAULTS = """
import os, resource
from spinner.runtime import preload
preload()
from spinner.runtime.rehearsal import rehearse
if os.fork() == 0:
    faults = []
    for _ in range(2):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        rehearse()
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    own = resource.getrusage(resource.RUSAGE_SELF)
    from spinner.runtime.usage import meter
    print(*faults, meter.usage().cpu_seconds, own.ru_utime + own.ru_stime, flush=True)
    os._exit(0)
os.wait()
"""


def test_a_second_try_writes_to_few_fresh_pages_and_counts_its_own_time_only() -> None:
    done = subprocess.run([sys.executable, "-c", _FAULTS], capture_output=True, text=True, check=True, timeout=60)
    first, second, counted, used = map(float, done.stdout.split())
    assert second < first / 5
    assert counted < used / 2
