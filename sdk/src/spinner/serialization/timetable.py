"""Asking a custom timetable for its runs ahead of time, in the process that reads DAG files."""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from spinner_proto.definitions.v1 import definitions_pb2 as pb

from spinner.core.times import as_utc
from spinner.exceptions import SpinnerDagError
from spinner.timetables import AssetOrTimeSchedule, DataInterval, TimeRestriction

if TYPE_CHECKING:
    from spinner.core.dag import DAG

# As far ahead as this, but at least and at most so many runs.
AHEAD = timedelta(days=30)
AT_LEAST = 50
AT_MOST = 2_000
# Of runs that are due already: with catch-up the latest so many, without only the last.
PAST = 2_000


def explicit_of(schedule: pb.Schedule) -> pb.ExplicitSchedule | None:
    """The part of a schedule that a custom timetable fills; None when there is none."""
    inner = schedule.assets.or_time if schedule.HasField("assets") else schedule
    return inner.explicit if inner.HasField("explicit") and inner.explicit.evaluated else None


def evaluate(dag: DAG, now: datetime) -> tuple[list[pb.Interval], bool]:
    """The runs of the DAG's custom timetable around now, in order, and whether there are no more after them.

    Raises SpinnerDagError when the timetable answers with something else than a later run.
    """
    timetable = dag.timetable.timetable if isinstance(dag.timetable, AssetOrTimeSchedule) else dag.timetable
    restriction = TimeRestriction(dag.start_date, dag.end_date, dag.catchup)
    where = f"The timetable {type(timetable).__name__} of DAG {dag.dag_id!r}"
    past: deque[pb.Interval] = deque(maxlen=PAST if dag.catchup else 3)
    ahead: list[pb.Interval] = []
    last: DataInterval | None = None
    while len(ahead) < AT_MOST:
        info = timetable.next_dagrun_info(last_automated_data_interval=last, restriction=restriction)
        if info is None:
            return [*past, *ahead], True
        try:
            start, end = (as_utc(moment) for moment in info.data_interval)
            run_after = as_utc(info.run_after)
        except (AttributeError, TypeError, ValueError) as error:
            raise SpinnerDagError(
                f"{where} answered {info!r}: {error}", "Return DagRunInfo.interval(start, end) or None."
            ) from error
        if last is not None and (start, end) <= last:
            raise SpinnerDagError(
                f"{where} answered {start.isoformat()} after {last.start.isoformat()}, which is not later.",
                "Return the run after last_automated_data_interval.",
            )
        last = DataInterval(start, end)
        message = pb.Interval()
        for field, moment in (("logical_date", start), ("start", start), ("end", end), ("run_after", run_after)):
            getattr(message, field).FromDatetime(moment)
        if run_after <= now:
            past.append(message)
            continue
        ahead.append(message)
        if len(ahead) >= AT_LEAST and run_after > now + AHEAD:
            break
    return [*past, *ahead], False
