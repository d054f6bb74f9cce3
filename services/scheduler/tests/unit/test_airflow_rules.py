"""Rules that users of Airflow rely on and that meet at the edges of others (B1, B2, B4)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from spinner_proto.common.v1.common_pb2 import Outcome
from spinner_proto.definitions.v1.definitions_pb2 import DagDefinition
from spinner_scheduler.domain import times

FAILED = Outcome.OUTCOME_FAILED
DAY = 86_400


def dag_of(lab, *task_ids: str, **fields: object) -> DagDefinition:  # type: ignore[no-untyped-def]
    """A chain of tasks."""
    made: DagDefinition = lab.dag(**fields)
    for position, task_id in enumerate(task_ids):
        made.tasks.add(task_id=task_id, upstream=[position - 1] if position else [])
    return made


def starts(lab, made: DagDefinition, days: float) -> DagDefinition:  # type: ignore[no-untyped-def]
    made.start_date.CopyFrom(times.to_timestamp(lab.epoch + int(days * DAY * times.SECOND)))
    return made


def logical_hours(lab, run_type: int = 1) -> list[float]:  # type: ignore[no-untyped-def]
    made = [e.run_created for _, _, e in lab.events if e.HasField("run_created") and e.run_created.run_type == run_type]
    return [(times.from_timestamp(run.logical_date) - lab.epoch) / times.SECOND / 3600 for run in made]


def scheduled(lab) -> list[str]:  # type: ignore[no-untyped-def]
    return [run_id for run_id in lab.runs() if run_id.startswith("scheduled__")]


# -- schedules ---------------------------------------------------------------------------------------------------


def test_continuous_waits_for_a_run_by_hand_and_goes_on_after_it(lab) -> None:  # type: ignore[no-untyped-def]
    made = starts(lab, dag_of(lab, "a"), -1)
    made.schedule.continuous.SetInParent()
    lab.publish(made)
    (first,) = scheduled(lab)
    lab.trigger("by_hand")
    lab.at(5)
    lab.end("a", run_id=first)
    # The run by hand is active or takes the place: there is one at a time.
    assert lab.run_state("by_hand") == "running"
    lab.at(10)
    assert len(scheduled(lab)) == 1
    lab.end("a", run_id="by_hand")
    assert len(scheduled(lab)) == 2
    lab.at(12)
    lab.end("a", run_id=scheduled(lab)[1])
    assert len(scheduled(lab)) == 3


def test_a_schedule_that_changes_goes_on_after_the_latest_interval(lab) -> None:  # type: ignore[no-untyped-def]
    def cron(expression: str, version: str) -> DagDefinition:
        made = starts(lab, dag_of(lab, "a", version=version, catchup=True, max_active_runs=100), -2)
        made.schedule.cron.expressions.append(expression)
        return made

    lab.publish(cron("0 0 * * *", "v1"))  # the epoch is 09:00
    lab.at(0)
    assert logical_hours(lab) == [-33.0]
    lab.publish(cron("0 * * * *", "v2"))
    lab.at(0)
    # Hourly from where the last day ended: nothing twice, nothing left out.
    assert logical_hours(lab) == [-33.0, *(float(n) for n in range(-9, 0))]
    lab.publish(cron("0 0 * * *", "v3"))
    lab.at(2 * DAY)
    assert logical_hours(lab)[-1] == 15.0 and len(logical_hours(lab)) == 11


def test_a_schedule_that_goes_and_comes_back_without_catchup_does_not_burst(lab) -> None:  # type: ignore[no-untyped-def]
    def made(version: str, schedule: bool) -> DagDefinition:
        found = starts(lab, dag_of(lab, "a", version=version, max_active_runs=100), -2)
        if schedule:
            found.schedule.cron.expressions.append("0 * * * *")
        return found

    lab.publish(made("v1", True))
    lab.at(0)
    lab.publish(made("v2", False))
    lab.at(10 * 3600)
    lab.publish(made("v3", True))
    lab.at(10 * 3600)
    assert logical_hours(lab) == [-1.0, 9.0]


@pytest.mark.parametrize("zone_hours", [(3, "gap"), (1, "overlap")])
def test_hourly_intervals_have_no_hole_and_no_double_at_a_change_of_the_clock(lab, zone_hours) -> None:  # type: ignore[no-untyped-def]
    month = {"gap": (1_743_206_400, "2025-03-29"), "overlap": (1_761_350_400, "2025-10-25")}[zone_hours[1]]
    lab.now = month[0] * times.SECOND
    lab.state.at(lab.now)
    made = dag_of(lab, "a", catchup=True, max_active_runs=100)
    made.start_date.FromSeconds(month[0])
    made.schedule.cron.expressions.append("0 * * * *")
    made.schedule.cron.timezone = "Europe/Berlin"
    lab.publish(made)
    lab.at((month[0] * times.SECOND - lab.epoch) / times.SECOND + 2 * DAY)
    made_runs = [e.run_created for _, _, e in lab.events if e.HasField("run_created")]
    starts_at = [run.data_interval_start.seconds for run in made_runs]
    ends_at = [run.data_interval_end.seconds for run in made_runs]
    assert len(made_runs) == 48
    assert starts_at[1:] == ends_at[:-1] and {b - a for a, b in zip(starts_at, ends_at, strict=True)} == {3600}


# -- limits of mapped tasks ----------------------------------------------------------------------------------------


def mapped(lab, length: int = 4) -> DagDefinition:  # type: ignore[no-untyped-def]
    made = dag_of(lab, "m")
    made.tasks[0].map_length.literal = length
    return made


def test_max_active_tis_per_dagrun_counts_instances_of_one_run(lab) -> None:  # type: ignore[no-untyped-def]
    made = mapped(lab)
    made.max_active_runs = 2
    made.tasks[0].max_active_tis_per_dagrun = 2
    lab.publish(made)
    lab.trigger("one")
    lab.trigger("two")
    assert lab.ordered("one") == ["m[0]", "m[1]"] and lab.ordered("two") == ["m[0]", "m[1]"]
    lab.end("m", run_id="one", map_index=0)
    assert lab.ordered("one") == ["m[1]", "m[2]"] and lab.ordered("two") == ["m[0]", "m[1]"]


def test_max_active_tis_per_dag_counts_instances_of_all_runs(lab) -> None:  # type: ignore[no-untyped-def]
    made = mapped(lab)
    made.max_active_runs = 2
    made.tasks[0].max_active_tis_per_dag = 3
    lab.publish(made)
    lab.trigger("one")
    lab.trigger("two")
    assert len(lab.ordered("one")) + len(lab.ordered("two")) == 3
    lab.end("m", run_id="one", map_index=0)
    assert len(lab.ordered("one")) + len(lab.ordered("two")) == 3


# -- the past of mapped tasks --------------------------------------------------------------------------------------


def with_past(lab, waits: bool) -> DagDefinition:  # type: ignore[no-untyped-def]
    made = dag_of(lab, "a", "m", max_active_runs=2)
    made.tasks[0].depends_on_past = made.tasks[0].ignore_first_depends_on_past = True
    made.tasks[0].wait_for_downstream = waits
    made.tasks[1].map_length.literal = 2
    return made


def test_wait_for_downstream_waits_for_every_instance(lab) -> None:  # type: ignore[no-untyped-def]
    lab.publish(with_past(lab, waits=True))
    lab.trigger("one")
    lab.at(1)
    lab.trigger("two")
    lab.end("a", run_id="one")
    lab.end("m", run_id="one", map_index=0)
    assert lab.ordered("two") == []
    lab.end("m", run_id="one", map_index=1)
    assert lab.ordered("two") == ["a"]


def test_wait_for_downstream_holds_while_one_instance_failed(lab) -> None:  # type: ignore[no-untyped-def]
    lab.publish(with_past(lab, waits=True))
    lab.trigger("one")
    lab.at(1)
    lab.trigger("two")
    lab.end("a", run_id="one")
    lab.end("m", run_id="one", map_index=0)
    lab.end("m", FAILED, run_id="one", map_index=1)
    assert lab.ordered("two") == [] and lab.run_state("two") == "running"
    lab.command(mark_tasks={"run_id": "one", "task_ids": ["m"], "map_indexes": [1], "state": 8})
    assert lab.ordered("two") == ["a"]


# -- retries -----------------------------------------------------------------------------------------------------


def test_exponential_delays_stay_bounded_for_any_number_of_tries(lab) -> None:  # type: ignore[no-untyped-def]
    made = dag_of(lab, "a")
    made.tasks[0].retries = 120
    made.tasks[0].retry_delay.FromSeconds(300)
    made.tasks[0].retry_exponential_backoff = True
    lab.publish(made)
    lab.trigger()
    delays = []
    for _ in range(120):
        lab.end("a", FAILED)
        due = lab.state.timers.next_due()
        delays.append((due - lab.now) / times.SECOND)
        lab.at((due - lab.epoch) / times.SECOND)
    # As Airflow: never more than a day without a cap of its own.
    assert max(delays) <= DAY and delays[-1] > 300
    lab.end("a", FAILED)
    assert lab.run_state() == "failed"


# -- commands ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "again"),
    [
        ({"trigger_run": {"run_id": "two"}}, {"trigger_run": {"run_id": "three"}}),
        ({"set_paused": {"paused": True}}, {"set_paused": {"paused": True}}),
        ({"clear_tasks": {"run_id": "run"}}, {"clear_tasks": {"run_id": "run"}}),
        ({"mark_tasks": {"run_id": "run", "task_ids": ["a"], "state": 8}}, {"stop_run": {"run_id": "run"}}),
        ({"mark_run": {"run_id": "run", "state": 3}}, {"clear_tasks": {"run_id": "run"}}),
        ({"stop_run": {"run_id": "run"}}, {"clear_tasks": {"run_id": "run"}}),
    ],
)
def test_a_request_id_is_known_to_the_next_owner(lab, first, again) -> None:  # type: ignore[no-untyped-def]
    """A command that comes again after a takeover, from any gateway, is not done twice."""
    lab.publish(dag_of(lab, "a"))
    lab.trigger()
    assert lab.command(request_id="once", **first) is not None
    other = lab.taken_over()
    assert other.command(request_id="once", **again) is None
    assert not other.events


def test_marked_states_are_told_apart_from_real_ones(lab) -> None:  # type: ignore[no-untyped-def]
    lab.publish(dag_of(lab, "a", "b"))
    lab.trigger()
    lab.command(mark_tasks={"run_id": "run", "task_ids": ["a"], "state": 8})
    changes = [e.task_state_changed for _, _, e in lab.events if e.HasField("task_state_changed")]
    (of_a,) = [change for change in changes if change.task_id == "a" and change.marked]
    assert of_a.actor.name == "user:alice"
    lab.end("b")
    ended = [e.run_state_changed for _, _, e in lab.events if e.HasField("run_state_changed")][-1]
    assert lab.run_state() == "success" and not ended.marked
    lab.command(mark_run={"run_id": "run", "state": 4})
    ended = [e.run_state_changed for _, _, e in lab.events if e.HasField("run_state_changed")][-1]
    assert lab.run_state() == "failed" and ended.marked


def test_the_table_of_promises_names_tests_that_exist() -> None:
    root = Path(__file__).parents[4]
    named = 0
    for line in (root / "docs" / "semantics.md").read_text().splitlines():
        if line.count("|") < 4:
            continue
        current = ""
        for name in re.findall(r"`([^`]+)`", line.split("|")[-2]):
            file, _, test = name.partition("::")
            if not (file or test) or (file and not file.endswith((".py", ".ts"))):
                continue
            current = file or current
            base = "services/scheduler/tests/unit" if "/" not in current else "services/scheduler"
            path = root / (current if current.startswith(("services/", "sdk/")) else f"{base}/{current}")
            assert f"def {test}(" in path.read_text() if test else path.exists(), name
            named += 1
    assert named > 60
