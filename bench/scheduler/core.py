"""What is measured of the core in one process: transitions, and how the cost of a task grows with its DAG."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from spinner_proto.definitions.v1.definitions_pb2 import DagDefinition
from spinner_scheduler import benchmark
from spinner_scheduler.domain import times
from spinner_scheduler.domain.core import decide
from spinner_scheduler.domain.layout import Layouts
from spinner_scheduler.domain.limits import Limits
from spinner_scheduler.domain.pools import Address
from spinner_scheduler.domain.state import PartitionState

from bench.figures import Figure, figure


def transitions(seconds: float = 4, runs: int = 3) -> Iterator[Figure]:
    """Task transitions a CPU second, with an executor that answers at once; half chains, half fan-outs."""
    yield figure("core_transitions_per_s", [benchmark.core(seconds) for _ in range(runs)])


def through_kafka(bootstrap: str, seconds: float = 8, runs: int = 3) -> Iterator[Figure]:
    """The same end to end over a broker, by the clock and by the scheduler's CPU time."""
    measured = [benchmark.kafka(bootstrap, seconds) for _ in range(runs)]
    yield figure("kafka_transitions_per_s", [by_clock for by_clock, _ in measured])
    yield figure("kafka_transitions_per_cpu_s", [by_cpu for _, by_cpu in measured], "/s", "higher")


def shapes() -> Iterator[Figure]:
    """CPU per task of a large fan-out and a long chain, against DAGs a tenth as large."""
    for name, make, large in (("fanout_10000", _fan_out, 10_000), ("chain_5000", _chain, 5_000)):
        small_us = min(_us_per_task(make, large // 10) for _ in range(3))
        large_us = min(_us_per_task(make, large) for _ in range(2))
        yield figure(f"{name}_us_per_task", [large_us], "µs")
        yield figure(f"{name}_growth", [large_us / small_us])


def _fan_out(size: int) -> DagDefinition:
    return _dag(
        size, lambda position: [] if position == 0 else [0] if position < size - 1 else list(range(1, size - 1))
    )


def _chain(size: int) -> DagDefinition:
    return _dag(size, lambda position: [position - 1] if position else [])


def _dag(size: int, upstream: Callable[[int], list[int]]) -> DagDefinition:
    definition = DagDefinition(dag_id="large", version="v1")
    definition.schedule.none.SetInParent()
    for position in range(size):
        definition.tasks.add(task_id=f"task_{position}", upstream=upstream(position), priority_weight=1)
    return definition


def _us_per_task(make: Callable[[int], DagDefinition], size: int) -> float:
    """From the run's trigger to its end, compiling the definition included."""
    definition = make(size)
    limits = Limits(default_pool_slots=1_000_000)
    state = PartitionState(Layouts(lambda *_: definition), Address("inbox", 0), limits=limits)
    now = 1_800_000_000 * times.SECOND
    waiting = benchmark.beginning([definition], 1)
    spent = 0.0
    while waiting:
        batch, waiting = waiting[: benchmark.BATCH], waiting[benchmark.BATCH :]
        now += 1_000
        begun = time.process_time()
        result = decide(state, batch, now)
        spent += time.process_time() - begun
        for order in result.orders.values():
            if order is not None:
                waiting += benchmark.reports(order, now)
    if state.live_runs:
        raise RuntimeError("the run did not end")
    return spent * 1e6 / size
