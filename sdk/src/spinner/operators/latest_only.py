"""Skip everything behind when the run is not the latest one."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from spinner.core.operator import Context
from spinner.operators.branch import BaseBranchOperator


class LatestOnlyOperator(BaseBranchOperator):
    """Goes on only in the newest scheduled run, and in runs started by hand.

    A run is the newest between the end of its data interval and the end of the next one.
    """

    ui_color = "#e9ffdb"

    def choose_branch(self, context: Context) -> str | Iterable[str] | None:
        run = context["dag_run"]
        followed = [task.task_id for task in context["task"].downstream_list]
        if run.run_type in ("manual", "triggered", "asset"):
            return followed
        end = next_interval_end(context)
        return followed if end is None or datetime.now(UTC) < end else []


def next_interval_end(context: Context) -> datetime | None:
    """When the run after this one is due; None when the schedule says nothing about it."""
    from spinner.timetables import CronDataIntervalTimetable, DeltaDataIntervalTimetable, MultipleCronTriggerTimetable

    timetable = context["dag"].timetable
    end: datetime | None = context["data_interval_end"]
    if end is None:
        return None
    if isinstance(timetable, CronDataIntervalTimetable | MultipleCronTriggerTimetable):
        from zoneinfo import ZoneInfo

        from croniter import croniter

        local = end.astimezone(ZoneInfo(timetable.timezone))
        ticks = [croniter(text, local).get_next(datetime) for text in timetable.expressions]
        return min(tick.astimezone(UTC) for tick in ticks)
    if isinstance(timetable, DeltaDataIntervalTimetable):
        from dateutil.relativedelta import relativedelta

        return end + relativedelta(months=timetable.months) + timetable.period
    return None
