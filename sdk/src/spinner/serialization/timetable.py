"""Asking a custom timetable for its runs ahead of time, in the process that reads DAG files."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from spinner_proto.definitions.v1 import definitions_pb2 as pb

from spinner.core.times import as_utc
from spinner.exceptions import SpinnerDagError
from spinner.timetables import AssetOrTimeSchedule, DagRunInfo, DataInterval, TimeRestriction, Timetable

if TYPE_CHECKING:
    from spinner.core.dag import DAG

# As far ahead as this, but at least so many runs ahead, and at most so many in all: the scheduler asks for more.
AHEAD = timedelta(days=30)
AT_LEAST = 50
AT_MOST = 2_000
# Without catch-up: so many of those that are due already.
LATEST = 3
# Runs in the range of a backfill.
MOST_ASKED = 5_000


def explicit_of(schedule: pb.Schedule) -> pb.ExplicitSchedule | None:
    """The part of a schedule that a custom timetable fills; None when there is none."""
    inner = schedule.assets.or_time if schedule.HasField("assets") else schedule
    return inner.explicit if inner.HasField("explicit") and inner.explicit.evaluated else None


def ask(dag: DAG, question: pb.TimetableQuestion) -> pb.TimetableAnswer:
    """What the DAG's custom timetable says of a run by hand, or of the runs in a range.

    What it raises is the answer, too.
    """
    answer = pb.TimetableAnswer(request_id=question.request_id)
    timetable = _timetable_of(dag)
    try:
        if question.HasField("run_after"):
            run_after = question.run_after.ToDatetime(UTC)
            start, end = timetable.infer_manual_data_interval(run_after=run_after)
            answer.intervals.append(_message(DataInterval(as_utc(start), as_utc(end)), run_after))
        else:
            first, last = question.from_date.ToDatetime(UTC), question.to_date.ToDatetime(UTC)
            answer.intervals.extend(_in_range(dag, timetable, first, last))
    except Exception as error:  # noqa: BLE001 - the author's program may raise anything
        answer.error = f"{type(timetable).__name__} raised {type(error).__name__}: {error}"
    return answer


def _in_range(dag: DAG, timetable: Timetable, first: datetime, last: datetime) -> Iterator[pb.Interval]:
    """The runs whose logical dates are from `first` to `last`, as Airflow's iter_dagrun_infos_between."""
    restriction = TimeRestriction(first, last, catchup=True)
    where = f"The timetable {type(timetable).__name__} of DAG {dag.dag_id!r}"
    previous: DataInterval | None = None
    for number in itertools.count():
        info = timetable.next_dagrun_info(last_automated_data_interval=previous, restriction=restriction)
        if info is None:
            return
        previous, run_after = _checked(info, previous, where)
        if previous.start > last:
            return
        if number >= MOST_ASKED:
            raise SpinnerDagError(f"{where} has more than {MOST_ASKED:,} runs in this range.", "Choose a shorter one.")
        if previous.start >= first:
            yield _message(previous, run_after)


def _timetable_of(dag: DAG) -> Timetable:
    return dag.timetable.timetable if isinstance(dag.timetable, AssetOrTimeSchedule) else dag.timetable


def evaluate(dag: DAG, now: datetime, after: DataInterval | None = None) -> tuple[list[pb.Interval], bool]:
    """The next runs of the DAG's custom timetable, in order, and whether there are no more after them.

    They begin with the first run, or with the one after the run of the interval `after`. Raises SpinnerDagError when
    the timetable answers with something else than a later run.
    """
    timetable = _timetable_of(dag)
    restriction = TimeRestriction(dag.start_date, dag.end_date, dag.catchup)
    where = f"The timetable {type(timetable).__name__} of DAG {dag.dag_id!r}"
    due: deque[tuple[DataInterval, datetime]] = deque(maxlen=None if dag.catchup else LATEST)
    ahead: list[tuple[DataInterval, datetime]] = []
    last = after
    complete = False
    while len(ahead) + (len(due) if dag.catchup else 0) < AT_MOST:
        info = timetable.next_dagrun_info(last_automated_data_interval=last, restriction=restriction)
        if info is None:
            complete = True
            break
        interval, run_after = _checked(info, last, where)
        last = interval
        if dag.end_date is not None and interval.start > dag.end_date:
            complete = True
            break
        if dag.start_date is not None and interval.start < dag.start_date:
            continue
        if run_after <= now:
            due.append((interval, run_after))
            continue
        ahead.append((interval, run_after))
        if len(ahead) >= AT_LEAST and run_after > now + AHEAD:
            break
    return [_message(interval, run_after) for interval, run_after in (*due, *ahead)], complete


def _checked(info: DagRunInfo, last: DataInterval | None, where: str) -> tuple[DataInterval, datetime]:
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
    return DataInterval(start, end), run_after


def _message(interval: DataInterval, run_after: datetime) -> pb.Interval:
    message = pb.Interval()
    for field, moment in (
        ("logical_date", interval.start),
        ("start", interval.start),
        ("end", interval.end),
        ("run_after", run_after),
    ):
        getattr(message, field).FromDatetime(moment)
    return message
