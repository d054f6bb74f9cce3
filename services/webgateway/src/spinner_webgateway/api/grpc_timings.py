"""gRPC: a DAG's calendar, durations and landing times; failures of one cause."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

from spinner_proto.common.v1 import common_pb2
from spinner_proto.gateway.v1 import gateway_pb2

from spinner_webgateway.adapters.views import failures, timings
from spinner_webgateway.api import routes_timings
from spinner_webgateway.api.grpc_common import GatewayMethods, limit_of, rejected
from spinner_webgateway.domain import words
from spinner_webgateway.domain.problems import invalid

_DEFAULT_RUNS = 100


class TimingMethods(GatewayMethods):
    """For the event loop."""

    async def GetCalendar(  # noqa: N802 - the contract's name
        self, request: gateway_pb2.GetCalendarRequest, context: Any
    ) -> gateway_pb2.GetCalendarResponse:
        self._check("dag.read", f"dag/{request.dag_id}")

        def read(connection: Any) -> dict[str, Any]:
            first, last = _day("from_date", request.from_date), _day("to_date", request.to_date)
            return routes_timings.read_calendar(self._gateway, connection, request.dag_id, first, last)

        found = await self._read(read)
        return gateway_pb2.GetCalendarResponse(
            timezone=found["timezone"],
            from_date=found["from_date"],
            to_date=found["to_date"],
            days=[_calendar_day(day) for day in found["days"]],
            first_run_date=found["first_run_date"] or "",
            last_run_date=found["last_run_date"] or "",
        )

    async def ListRunDurations(  # noqa: N802
        self, request: gateway_pb2.ListRunDurationsRequest, context: Any
    ) -> gateway_pb2.ListRunDurationsResponse:
        self._check("dag.read", f"dag/{request.dag_id}")
        found = await self._read(lambda c: routes_timings.read_run_durations(c, _choice(request)))
        return gateway_pb2.ListRunDurationsResponse(
            runs=[_run(request.dag_id, run) for run in found["runs"]],
            queued=gateway_pb2.DurationStatistics(**found["queued"]),
            duration=gateway_pb2.DurationStatistics(**found["duration"]),
            landing=gateway_pb2.DurationStatistics(**found["landing"]),
            next_page_token=found["next_cursor"] or "",
        )

    async def ListTaskDurations(  # noqa: N802
        self, request: gateway_pb2.ListTaskDurationsRequest, context: Any
    ) -> gateway_pb2.ListTaskDurationsResponse:
        self._check("dag.read", f"dag/{request.dag_id}")
        wanted, most = list(request.task_ids), routes_timings.MAX_TASK_IDS
        if len(wanted) > most:
            raise rejected(
                invalid("REQUEST_INVALID", f"{len(wanted)} task_ids are more than {most}.", "Ask in several requests.")
            )
        found = await self._read(lambda c: routes_timings.read_task_durations(c, _choice(request), wanted))
        return gateway_pb2.ListTaskDurationsResponse(
            run_count=found["run_count"],
            task_count=found["task_count"],
            tasks=[_task(task) for task in found["tasks"]],
        )

    async def ListFailures(  # noqa: N802
        self, request: gateway_pb2.ListFailuresRequest, context: Any
    ) -> gateway_pb2.ListFailuresResponse:
        if request.dag_id:
            self._check("dag.read", f"dag/{request.dag_id}")
        else:
            self._check("run.list", "runs")
        if not request.fingerprint:
            raise rejected(
                invalid("REQUEST_INVALID", "fingerprint is empty.", "Give that of a diagnosis of failure_diagnoses.")
            )
        limit, token = limit_of(request.page_size), request.page_token or None
        page = await self._read(lambda c: failures.listing(c, request.fingerprint, request.dag_id, limit, token))
        return gateway_pb2.ListFailuresResponse(
            failures=[_failure(item) for item in page["items"]], next_page_token=page["next_cursor"] or ""
        )


def _choice(request: gateway_pb2.ListRunDurationsRequest | gateway_pb2.ListTaskDurationsRequest) -> timings.RunChoice:
    return timings.RunChoice(
        request.dag_id,
        min(max(1, request.page_size or _DEFAULT_RUNS), timings.MAX_RUNS),
        _names("RUN_TYPE_UNKNOWN", "run type", request.run_types, words.RUN_TYPES),
        _names("STATE_UNKNOWN", "state", request.states, words.RUN_STATES),
        request.page_token or None,
    )


def _names(code: str, what: str, numbers: Iterable[int], known: Mapping[str, int]) -> list[str]:
    names = {number: name for name, number in known.items()}
    wanted = list(numbers)
    for number in wanted:
        if number not in names:
            raise invalid(code, f"There is no {what} {number}.", f"Choose of {', '.join(known)}.")
    return [names[number] for number in wanted]


def _day(name: str, text: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError as error:
        raise invalid("DATES_INVALID", f"{name} {text[:80]!r} is no day.", "Write it like 2026-01-31.") from error


def _calendar_day(found: dict[str, Any]) -> gateway_pb2.CalendarDay:
    return gateway_pb2.CalendarDay(
        date=found["date"],
        start_time=words.from_iso(found["start_time"]),
        end_time=words.from_iso(found["end_time"]),
        queued_count=found["counts"].get("queued", 0),
        running_count=found["counts"].get("running", 0),
        success_count=found["counts"].get("success", 0),
        failed_count=found["counts"].get("failed", 0),
    )


def _run(dag_id: str, found: dict[str, Any]) -> gateway_pb2.RunDuration:
    return gateway_pb2.RunDuration(
        key=common_pb2.RunKey(dag_id=dag_id, run_id=found["run_id"]),
        run_type=words.RUN_TYPES[found["run_type"]],
        state=words.RUN_STATES[found["state"]],
        marked=found["marked"],
        logical_date=words.from_iso(found["logical_date"]),
        due_time=words.from_iso(found["due_time"]),
        queued_time=words.from_iso(found["queued_time"]),
        start_time=words.from_iso(found["start_time"]),
        end_time=words.from_iso(found["end_time"]),
        queued_seconds=found["queued_seconds"],
        duration_seconds=found["duration_seconds"],
        landing_seconds=found["landing_seconds"],
    )


def _task(found: dict[str, Any]) -> gateway_pb2.TaskDuration:
    return gateway_pb2.TaskDuration(
        task_id=found["task_id"],
        run_count=found["run_count"],
        failed_count=found["failed_count"],
        duration=gateway_pb2.DurationStatistics(**found["duration"]),
        landing=gateway_pb2.DurationStatistics(**found["landing"]),
        points=[
            gateway_pb2.TaskDurationPoint(**{**point, "state": words.TASK_STATES[point["state"]]})
            for point in found["points"]
        ],
    )


def _failure(found: dict[str, Any]) -> gateway_pb2.Failure:
    key = {name: found[name] for name in ("dag_id", "run_id", "task_id", "map_index", "try_number")}
    said = {name: found[name] for name in ("category", "title", "owner", "stage")}
    return gateway_pb2.Failure(key=common_pb2.TryKey(**key), time=words.from_iso(found["time"]), **said)
