"""Figures of the scheduler for Prometheus, by partition name."""

from __future__ import annotations

import time

from prometheus_client import Counter, Gauge, Histogram

from spinner_scheduler.domain.core import Result
from spinner_scheduler.domain.state import PartitionState

_INPUTS = Counter("spinner_scheduler_inputs", "Inbox messages decided", ["partition"])
_BATCHES = Counter("spinner_scheduler_decisions", "Batches decided", ["partition"])
_TRANSITIONS = Counter("spinner_scheduler_transitions", "State changes of runs and task instances", ["partition"])
_EXECUTIONS = Counter("spinner_scheduler_execution_records", "Finished tries recorded", ["partition"])
_REFUSED = Counter("spinner_scheduler_refused_inputs", "Inbox messages that could not be used", ["partition"])
_SECONDS = Histogram(
    "spinner_scheduler_batch_seconds",
    "Time to decide a batch",
    ["partition"],
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
)
_LIVE_RUNS = Gauge("spinner_scheduler_live_runs", "Runs that have not ended", ["partition"])
_LIVE_TASKS = Gauge("spinner_scheduler_live_task_instances", "Unfinished task instances of live runs", ["partition"])
_TIMERS = Gauge("spinner_scheduler_timers", "Timers set", ["partition"])

# Summing over live runs is not for every batch.
_GAUGE_SECONDS = 1.0


class PartitionMetrics:
    """The figures of one partition."""

    def __init__(self, name: str) -> None:
        self._inputs = _INPUTS.labels(name)
        self._batches = _BATCHES.labels(name)
        self._transitions = _TRANSITIONS.labels(name)
        self._executions = _EXECUTIONS.labels(name)
        self._refused = _REFUSED.labels(name)
        self._seconds = _SECONDS.labels(name)
        self._live_runs = _LIVE_RUNS.labels(name)
        self._live_tasks = _LIVE_TASKS.labels(name)
        self._timers = _TIMERS.labels(name)
        self._gauges_at = 0.0

    def note(self, inputs: int, result: Result, state: PartitionState, seconds: float) -> None:
        """Counts one decided batch."""
        self._inputs.inc(inputs)
        self._batches.inc()
        self._transitions.inc(result.transitions)
        self._executions.inc(len(result.executions))
        if result.refused:
            self._refused.inc(len(result.refused))
        self._seconds.observe(seconds)
        now = time.monotonic()
        if now - self._gauges_at >= _GAUGE_SECONDS:
            self._gauges_at = now
            self._live_runs.set(state.live_runs)
            self._live_tasks.set(state.live_task_instances())
            self._timers.set(len(state.timers))


def of_partition(name: str) -> PartitionMetrics:
    return PartitionMetrics(name)
