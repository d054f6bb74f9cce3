"""When a DAG runs: dates, schedules, catch-up."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from croniter import CroniterBadCronError, CroniterBadDateError, croniter

from spinner_dagbag.checks.model import DagSubject, Problem, Severity, check


@check("SPN011", "Start date is present", Severity.WARNING, "Add start_date=datetime(2026, 1, 1) to DAG(…).")
def start_date_is_present(dag: DagSubject) -> Iterator[Problem]:
    if dag.is_scheduled and not dag.definition.HasField("start_date"):
        yield Problem(f"DAG {dag.definition.dag_id} has a schedule but no start date")


@check(
    "SPN012",
    "Start date is not too old",
    Severity.WARNING,
    "Move start_date closer to the first run that you need.",
    max_age_days=5 * 366,
)
def start_date_is_not_too_old(dag: DagSubject) -> Iterator[Problem]:
    if not dag.definition.HasField("start_date"):
        return
    start = dag.definition.start_date.ToDatetime(UTC)
    if dag.now - start > timedelta(days=dag.limit("max_age_days")):
        yield Problem(f"Start date {start:%Y-%m-%d} is more than {dag.limit('max_age_days'):.0f} days ago")


@check(
    "SPN014",
    "No catch-up",
    Severity.WARNING,
    "Set catchup=False, and run a backfill when past intervals are needed.",
)
def no_catch_up(dag: DagSubject) -> Iterator[Problem]:
    if dag.definition.catchup:
        yield Problem(
            f"DAG {dag.definition.dag_id} catches up: a new or unpaused DAG makes a run of every past interval"
        )


@check(
    "SPN018",
    "Schedule is valid",
    Severity.ERROR,
    "Write five fields (minute hour day month weekday), "
    "six with the seconds last as in Airflow (6:00:30 each day: '0 6 * * * 30'), or a preset such as @daily.",
)
def schedule_is_valid(dag: DagSubject) -> Iterator[Problem]:
    for expression in dag.definition.schedule.cron.expressions:
        if not _is_cron(expression):
            yield Problem(f"{expression!r} is not a cron expression")
        elif len(expression.split()) == 6 and expression.split()[5].startswith("*"):
            # Somebody wrote seconds first, as other systems have it.
            yield Problem(f"{expression!r} asks for a run every second of its minutes: the sixth field is seconds")
    delta = dag.definition.schedule
    if (
        delta.WhichOneof("kind") == "delta"
        and delta.delta.months == 0
        and delta.delta.period.ToTimedelta() <= timedelta()
    ):
        yield Problem("The schedule's period is not positive")


@check(
    "SPN019",
    "Schedule is not too frequent",
    Severity.WARNING,
    "Run less often, use @continuous, or a sensor inside one run.",
    min_interval_seconds=60,
)
def schedule_is_not_too_frequent(dag: DagSubject) -> Iterator[Problem]:
    interval = _shortest_interval(dag)
    if interval is not None and interval < timedelta(seconds=dag.limit("min_interval_seconds")):
        yield Problem(
            f"DAG {dag.definition.dag_id} runs every {interval.total_seconds():.0f} s, more often than "
            f"every {dag.limit('min_interval_seconds'):.0f} s"
        )


@check("SPN028", "Time zone exists", Severity.ERROR, "Use an IANA name such as Europe/Berlin or UTC.")
def time_zone_exists(dag: DagSubject) -> Iterator[Problem]:
    schedule = dag.definition.schedule
    for name in {schedule.cron.timezone, schedule.delta.timezone} - {""}:
        try:
            ZoneInfo(name)
        except (KeyError, ValueError, OSError):
            yield Problem(f"There is no time zone {name!r}")


@check("SPN029", "End date is after the start date", Severity.ERROR, "Move end_date behind start_date, or remove it.")
def end_is_after_start(dag: DagSubject) -> Iterator[Problem]:
    definition = dag.definition
    if (
        definition.HasField("start_date")
        and definition.HasField("end_date")
        and definition.end_date.ToDatetime() < definition.start_date.ToDatetime()
    ):
        yield Problem(f"End date of DAG {definition.dag_id} lies before its start date")


@check(
    "SPN033",
    "A run may last as long as its tasks",
    Severity.WARNING,
    "Raise dagrun_timeout, or lower the task's execution_timeout.",
)
def run_may_last_as_long_as_its_tasks(dag: DagSubject) -> Iterator[Problem]:
    if not dag.definition.HasField("dagrun_timeout"):
        return
    limit = dag.definition.dagrun_timeout.ToTimedelta()
    for task in dag.definition.tasks:
        if task.HasField("execution_timeout") and task.execution_timeout.ToTimedelta() > limit:
            yield Problem(f"Task {task.task_id} may run longer than the whole run ({limit})", task.task_id)


def _is_cron(expression: str) -> bool:
    fields = expression.split()
    if expression.startswith("@"):
        return expression in ("@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually")
    try:
        return len(fields) in (5, 6) and bool(
            croniter.is_valid(expression) and croniter(expression, datetime(2026, 1, 1)).get_next()
        )
    except (CroniterBadCronError, CroniterBadDateError, ValueError, KeyError):
        return False


def _shortest_interval(dag: DagSubject) -> timedelta | None:
    schedule = dag.definition.schedule
    if schedule.WhichOneof("kind") == "delta":
        return schedule.delta.period.ToTimedelta() if schedule.delta.months == 0 else None
    shortest: timedelta | None = None
    for expression in schedule.cron.expressions:
        if not _is_cron(expression):
            continue
        # Anchored at a Monday midnight of a leap-free year: the answer must not depend on when it is asked.
        ticks = croniter(expression, datetime(2026, 1, 5))
        previous = ticks.get_next(datetime)
        for _ in range(5):
            current = ticks.get_next(datetime)
            gap = current - previous
            shortest = gap if shortest is None else min(shortest, gap)
            previous = current
    return shortest
