"""What is measured of whole scheduler processes: stress 1, restarts, takeovers, a hundred thousand idle DAGs."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from spinner_eventlog.interface import Record
from spinner_proto.definitions.v1.definitions_pb2 import DagDefinition

from bench.figures import Figure, figure, percentile
from bench.scheduler.installation import PARTITIONS, PROBE, Installation, SchedulerProcess, empty, wait_until

COLUMNS, LAYERS = 20, 10
# How old changes get before they are in a snapshot: the scheduler's default.
SNAPSHOT_SECONDS = 5
# So many that their CPU is far above the clock's tick of 10 ms.
DUE_RUNS = 500


def grid(number: int, due: datetime) -> DagDefinition:
    """A DAG of 20 columns of 10 tasks each, one below the other, due once."""
    definition = empty(f"stress_{number}", number % PARTITIONS)
    definition.schedule.once.SetInParent()
    definition.start_date.FromDatetime(due)
    for layer in range(LAYERS):
        for column in range(COLUMNS):
            position = layer * COLUMNS + column
            upstream = [position - COLUMNS] if layer else []
            definition.tasks.add(
                task_id=f"task_{layer}_{column}", operator="BashOperator", upstream=upstream, priority_weight=1
            )
    return definition


def stress(bootstrap: str, dags: int, takeovers: int) -> Iterator[Figure]:
    """`dags` DAGs of 200 tasks, all due at one moment; then a restart and takeovers with all of them live.

    No executor answers, so all task instances stay live. Due → run created and due → first order are taken where a
    reader of committed records sees them.
    """
    world = Installation(bootstrap)
    try:
        yield from _due_at_once(world, dags)
        yield from _restart(world)
        yield from _takeovers(world, takeovers)
    finally:
        world.close()


def _due_at_once(world: Installation, dags: int) -> Iterator[Figure]:
    scheduler = world.start()
    world.publish_probes()
    world.await_dags(scheduler, PARTITIONS, 120)
    before_mib = scheduler.rss_mib()
    begin = time.monotonic()
    # Time for the definitions to be taken: this is about runs, not about loading.
    due = datetime.now(UTC) + timedelta(seconds=10 + dags / 80)
    world.publish(grid(number, due) for number in range(dags))
    world.await_dags(scheduler, dags + PARTITIONS, dags / 20 + 60)
    print(f"   {dags} DAGs taken in {time.monotonic() - begin:.1f} s", flush=True)
    tail = world.tail(world.events, world.orders)
    used = scheduler.cpu_seconds()
    created: dict[str, float] = {}
    ordered: dict[str, float] = {}

    def enough(record: Record, at: float) -> bool:
        dag_id, slash, _ = record.key.partition("/")
        if slash and dag_id.startswith("stress_"):
            (created if record.topic == world.events else ordered).setdefault(dag_id, at)
        return len(created) == len(ordered) == dags

    tail.until(enough, 120 + dags / 10)
    tail.close()
    moment = due.timestamp()
    yield figure("stress1_tsd1_p95_s", [percentile([at - moment for at in created.values()], 95)])
    yield figure("stress1_tsd2_p95_s", [percentile([at - moment for at in ordered.values()], 95)])
    world.quiet(1.0, 120)
    yield figure("stress1_start_cpu_ms_per_run", [(scheduler.cpu_seconds() - used) * 1000 / dags], "ms")
    live = sum(partition.live_task_instances for partition in scheduler.partitions())
    yield figure("stress1_live_task_instances", [live], "", "higher")
    yield figure("stress1_rss_mib", [scheduler.rss_mib()])
    yield figure("stress1_bytes_per_task_instance", [(scheduler.rss_mib() - before_mib) * 2**20 / live], "B")


def _restart(world: Installation) -> Iterator[Figure]:
    yield figure("stress1_restart_after_burst_s", [_restart_once(world)[1]])
    seconds = []
    for _ in range(3):
        world.quiet(SNAPSHOT_SECONDS + 1, 120)
        seconds.append(_restart_once(world)[1])
    yield figure("stress1_restart_s", seconds)
    world.quiet(SNAPSHOT_SECONDS + 1, 120)


def _restart_once(world: Installation) -> tuple[SchedulerProcess, float]:
    """Returns the new process, and the seconds from its start until both partitions have answered."""
    world.schedulers[-1].stop()
    tail = world.tail(world.events)
    for partition in range(PARTITIONS):
        world.probe(partition)
    begin = time.time()
    scheduler = world.start()
    seconds = _both_answer(tail) - begin
    tail.close()
    cpu = scheduler.cpu_seconds()
    print(f"   restart: {seconds:.2f} s, {cpu:.2f} s of CPU; {_restored(scheduler)}", flush=True)
    return scheduler, seconds


def _both_answer(tail: object) -> float:
    seen: set[int] = set()

    def enough(record: Record, at: float) -> bool:
        if record.key.startswith(PROBE):
            seen.add(record.partition)
        return len(seen) == PARTITIONS

    return tail.until(enough, 120)  # type: ignore[attr-defined,no-any-return]


def _restored(scheduler: SchedulerProcess) -> str:
    found = re.findall(r"(restored|took over) (\S+): .*?([\d.]+) s\b", scheduler.log.read_text())
    return ", ".join(f"{how} {name} in {seconds} s" for how, name, seconds in found)


def _takeovers(world: Installation, number: int) -> Iterator[Figure]:
    seconds, warm = [], []
    for _ in range(number):
        other = world.start()
        pair = [world.schedulers[-2], other]
        for scheduler in pair:
            wait_until(
                lambda scheduler=scheduler: scheduler.states() == ["active", "standby"],  # type: ignore[misc]
                120,
                "each process owns one partition and follows the other",
            )
        world.quiet(2.0, 60)
        owner, survivor = pair
        mine = next(partition.name for partition in owner.partitions() if partition.state == "active")
        tail = world.tail(world.events)
        partition = int(mine.rpartition("_")[2])
        begin = time.time()
        owner.kill()
        world.probe(partition)
        answered = tail.until(lambda record, _, at=partition: record.key == f"{PROBE}_{at}", 60)  # type: ignore[misc]
        tail.close()
        seconds.append(answered - begin)
        took = re.findall(rf"took over {mine}: .*?([\d.]+) s\b", survivor.log.read_text())
        warm += [float(took[-1])] if took else []
        print(f"   takeover: {seconds[-1]:.2f} s; {_restored(survivor)}", flush=True)
    yield figure("takeover_s", seconds)
    if warm:
        yield figure("takeover_catch_up_s", warm)


def many(bootstrap: str, dags: int) -> Iterator[Figure]:
    """`dags` DAGs of 10 tasks that are not due: memory, a restart, idling, and what a due run costs among them."""
    world = Installation(bootstrap)
    try:
        scheduler = world.start()
        world.publish_probes()
        world.await_dags(scheduler, PARTITIONS, 120)
        begin = time.monotonic()
        world.publish(_idle(number, None) for number in range(dags))
        world.await_dags(scheduler, dags + PARTITIONS, 120 + dags / 100)
        print(f"   {dags} DAGs taken in {time.monotonic() - begin:.1f} s", flush=True)
        world.quiet(SNAPSHOT_SECONDS + 1, 120)
        scheduler, seconds = _restart_once(world)
        yield figure("dags100k_ready_s", [seconds])
        world.quiet(SNAPSHOT_SECONDS + 1, 120)
        yield figure("dags100k_rss_mib", [scheduler.rss_mib()])
        used, since = scheduler.cpu_seconds(), time.monotonic()
        time.sleep(10)
        idle = (scheduler.cpu_seconds() - used) / (time.monotonic() - since)
        yield figure("dags100k_idle_cpu_percent", [idle * 100])
        yield figure("dags100k_due_run_cpu_ms", [_due_run_cpu_ms(world, scheduler, idle)])
    finally:
        world.close()
    few = Installation(bootstrap)
    try:
        scheduler = few.start()
        few.publish_probes()
        few.publish(_idle(number, None) for number in range(1_000))
        few.await_dags(scheduler, 1_000 + PARTITIONS, 120)
        few.quiet(SNAPSHOT_SECONDS + 1, 120)
        yield figure("dags1k_due_run_cpu_ms", [_due_run_cpu_ms(few, scheduler, idle)], "ms")
    finally:
        few.close()


def _idle(number: int, due: datetime | None) -> DagDefinition:
    definition = empty(f"{'due' if due else 'idle'}_{number}", number % PARTITIONS)
    if due:
        definition.schedule.once.SetInParent()
        definition.start_date.FromDatetime(due)
    else:
        definition.schedule.cron.expressions.append("0 3 1 1 *")
        definition.start_date.FromDatetime(datetime(2026, 1, 1, tzinfo=UTC))
        definition.catchup = False
    for position in range(10):
        definition.tasks.add(task_id=f"task_{position}", upstream=[position - 1] if position else [], priority_weight=1)
    return definition


def _due_run_cpu_ms(world: Installation, scheduler: SchedulerProcess, idle: float) -> float:
    """CPU of the scheduler's process for one scheduled run until its first order, the median over three groups."""
    found = []
    for group in range(3):
        due = datetime.now(UTC) + timedelta(seconds=SNAPSHOT_SECONDS + 9)
        numbers = range(group * DUE_RUNS, (group + 1) * DUE_RUNS)
        tail = world.tail(world.orders)
        world.publish(_idle(number, due) for number in numbers)
        # What the definitions themselves cost is over by then, their snapshots included.
        time.sleep(max(0.0, due.timestamp() - time.time() - 1))
        seen: set[str] = set()
        used, since = scheduler.cpu_seconds(), time.monotonic()

        def enough(record: Record, at: float, seen: set[str] = seen) -> bool:
            seen.add(record.key)
            return len(seen) == DUE_RUNS

        tail.until(enough, 120)
        tail.close()
        spent = scheduler.cpu_seconds() - used - idle * (time.monotonic() - since)
        found.append(spent * 1000 / DUE_RUNS)
    return sorted(found)[1]
