"""What would happen, by the real core on virtual time (B9)."""

from __future__ import annotations

import pytest
from spinner_proto.common.v1.common_pb2 import RunState
from spinner_proto.definitions.v1.definitions_pb2 import DagDefinition, PartitionPeriod, TimePartition
from spinner_proto.scheduler.v1.scheduler_pb2 import SimulateRequest, SimulateResponse
from spinner_scheduler.domain.limits import Limits
from spinner_scheduler.forecast import process
from spinner_scheduler.forecast.forecast import Bounds, Forecast, ImpossibleError
from spinner_servicekit.errors import Rejected

START = 1_764_288_000  # 2025-11-28T00:00:00Z
HOUR, DAY = 3600, 86_400


def hourly(**fields: object) -> DagDefinition:
    dag = DagDefinition(dag_id="d", version="v1", catchup=True, **fields)  # type: ignore[arg-type]
    dag.schedule.cron.expressions.append("0 * * * *")
    dag.schedule.cron.timezone = "UTC"
    dag.start_date.FromSeconds(START - 30 * DAY)
    dag.tasks.add(task_id="a")
    dag.tasks.add(task_id="b", upstream=[0])
    return dag


def ask(*dags: DagDefinition, duration: int = 60, period: int = DAY + HOUR // 2, **fields: object) -> SimulateRequest:
    request = SimulateRequest(definitions=dags, **fields)  # type: ignore[arg-type]
    request.start.FromSeconds(START)
    request.duration.FromSeconds(duration)
    if period:
        request.period.FromSeconds(period)
    return request


def forecast(request: SimulateRequest, bounds: Bounds | None = None) -> SimulateResponse:
    return Forecast(request, Limits(), bounds).run()


def test_a_day_of_an_hourly_dag() -> None:
    found = forecast(ask(hourly()))
    assert (found.run_count, found.failed_run_count, found.task_count, found.peak_running_tasks) == (24, 0, 48, 1)
    assert [run.due_time.seconds for run in found.runs] == [START + hour * HOUR for hour in range(1, 25)]
    first = found.runs[0]
    assert first.run_id == "scheduled__2025-11-28T00:00:00+00:00"
    assert first.start_time.seconds == first.due_time.seconds
    assert first.end_time.seconds == first.due_time.seconds + 120
    assert first.state == RunState.RUN_STATE_SUCCESS and first.task_count == 2
    assert not found.limits and not found.stopped
    assert found.end.seconds == START + DAY + HOUR // 2


def test_partitions_are_rolled_up() -> None:
    maker = hourly()
    maker.dag_id = "maker"
    maker.schedule.cron.partition_format = "%Y-%m-%dT%H:%M:%S"
    maker.tasks[1].outlets.append("a")
    report = DagDefinition(dag_id="report", version="v1")
    report.schedule.assets.expression.asset = "a"
    report.schedule.assets.partitioned = True
    day = PartitionPeriod.PARTITION_PERIOD_DAY
    mapper = TimePartition(input_format="%Y-%m-%dT%H:%M:%S", output_format="%Y-%m-%d", period=day, window=day)
    report.schedule.assets.default_mapper.time.CopyFrom(mapper)
    report.tasks.add(task_id="t")
    found = [run for run in forecast(ask(maker, report)).runs if run.dag_id == "report"]
    assert [(run.partition_key, run.due_time.seconds) for run in found] == [("2025-11-28", START + DAY + 120)]


def test_what_is_due_already_is_taken_for_done() -> None:
    assert all(run.due_time.seconds > START for run in forecast(ask(hourly())).runs)


def test_runs_that_wait_for_max_active_runs() -> None:
    found = forecast(ask(hourly(max_active_runs=1), duration=HOUR))
    (limit,) = found.limits
    assert (limit.kind, limit.name, limit.limit) == ("max_active_runs", "d", 1)
    # Each run takes two hours, so the second starts an hour late, the third two …
    assert limit.first_time.seconds == START + 2 * HOUR
    assert limit.longest_wait_seconds == 11 * HOUR
    assert [run.start_time.seconds for run in found.runs][:3] == [START + hour * HOUR for hour in (1, 3, 5)]


def test_intervals_that_are_passed_over_without_catchup_are_waits_too() -> None:
    dag = hourly(max_active_runs=1)
    dag.catchup = False
    found = forecast(ask(dag, duration=HOUR))
    assert found.run_count == 12
    (limit,) = found.limits
    assert (limit.kind, limit.waits, limit.longest_wait_seconds) == ("max_active_runs", 11, HOUR)


def test_tasks_that_wait_for_a_pool_and_for_their_run() -> None:
    dag = hourly(max_active_tasks=4)
    for number in range(4):
        dag.tasks.add(task_id=f"p{number}", pool="etl")
    wide = hourly()
    wide.tasks.extend(dag.tasks[2:])
    pooled = forecast(ask(wide, pools={"etl": 1}, period=HOUR + HOUR // 2))
    assert [(limit.kind, limit.name, limit.limit, limit.waits) for limit in pooled.limits] == [("pool", "etl", 1, 3)]
    free = forecast(ask(dag, period=HOUR + HOUR // 2))
    assert [(limit.kind, limit.name) for limit in free.limits] == [("max_active_tasks", "d")]


def test_durations_by_task() -> None:
    request = ask(hourly(), period=HOUR + HOUR // 2)
    request.durations["d/b"].FromSeconds(600)
    (run,) = forecast(request).runs
    assert run.end_time.seconds - run.start_time.seconds == 660


def test_a_backfill_runs_to_its_end_and_nothing_else_does() -> None:
    request = ask(hourly(), duration=HOUR, period=0)
    request.backfill.from_date.FromSeconds(START - DAY)
    request.backfill.to_date.FromSeconds(START - DAY + 5 * HOUR)
    request.backfill.max_active_runs = 2
    found = forecast(request)
    assert found.run_count == 6
    assert all(run.run_id.startswith("backfill__") for run in found.runs)
    # Three rounds of two runs that take two hours each.
    assert found.end.seconds == START + 6 * HOUR


def test_mapped_tasks_have_as_many_instances_as_is_said() -> None:
    dag = hourly()
    dag.tasks[0].reports_length = True
    dag.tasks[1].map_length.task = 0
    assert forecast(ask(dag, period=HOUR + HOUR // 2, map_length=7)).task_count == 1 + 7


def test_made_up_dags_spread_over_a_day() -> None:
    found = forecast(ask(synthetic_dags=288, period=DAY))
    assert found.run_count == 288
    assert found.peak_running_tasks == 1


def test_it_stops_at_its_bounds_and_says_so() -> None:
    found = forecast(ask(hourly()), Bounds(events=100))
    assert found.stopped == "it reached 100 events"
    assert found.end.seconds < START + DAY


def test_the_impossible_is_refused() -> None:
    with pytest.raises(ImpossibleError, match="names no DAG"):
        forecast(SimulateRequest())
    request = ask(hourly(), period=0)
    request.backfill.from_date.FromSeconds(START)
    request.backfill.to_date.FromSeconds(START - DAY)
    with pytest.raises(ImpossibleError, match="date"):
        forecast(request)


def test_a_process_of_its_own_says_the_same() -> None:
    found, here = process.run(ask(hourly()), Limits()), forecast(ask(hourly()))
    assert list(found.runs) == list(here.runs) and found.task_count == here.task_count
    with pytest.raises(Rejected, match="names no DAG"):
        process.run(SimulateRequest(), Limits())
