"""How segments end: make the end durable, upload the log, report, and remember that it was acknowledged.

A worker's own end is written to the try's folder before it is reported, or while it is when its log follows it (see
control.uploads). An end that the executor declares (crash,
lost lease, cancelled) is first written into the grant in a fenced transaction: an executor that was paused and has
lost the partition gets Fenced there, before it kills or reports anything.

An end that is known here is reported whatever becomes of who told it: a worker that is killed while it waits for the
answer to Finish takes only its call along. What fails on the way to the report (a log that can't be read, a full disk)
leaves something out of it, and doesn't keep it back.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from google.protobuf.message import DecodeError
from spinner_eventlog.interface import Fenced, RecordTooLarge
from spinner_proto.common.v1.common_pb2 import Outcome, Stage, StageOutcome, StageResult
from spinner_proto.inbox.v1.inbox_pb2 import TaskEnded, TaskReport
from spinner_proto.orders.v1.orders_pb2 import OrderKind, TaskGrant
from spinner_proto.runtime.v1.runtime_pb2 import FinishRequest
from spinner_proto.usage.v1.usage_pb2 import UsageSample
from spinner_servicekit import traces

from spinner_executor.control.context import Context
from spinner_executor.control.tries import Try
from spinner_executor.control.uploads import Uploads
from spinner_executor.domain import keys, prediction, stages
from spinner_executor.domain.clock import datetime_of, timestamp
from spinner_executor.domain.endings import classify_exit, refine_reported
from spinner_executor.domain.model import SEQUENCE_END, Desired, Ending, Exit, WorkerState
from spinner_executor.domain.reconcile import Action

_log = logging.getLogger(__name__)
_START_PATIENCE_SECONDS = 0.02


def is_final(report: TaskReport) -> bool:
    """False for the end of a segment that is not the end of the try."""
    return report.WhichOneof("kind") not in ("deferred", "rescheduled")


class Ends:
    """`grant(try, end)` writes an end into the try's grant; `stop_trigger(key)`; `changed(try)` hears of each
    acknowledged end, `settled(try)` of each worker that has run for a moment."""

    def __init__(
        self,
        context: Context,
        grant: Callable[[Try, TaskReport], asyncio.Future[None]],
        stop_trigger: Callable[[str], None],
        changed: Callable[[Try], None],
        settled: Callable[[Try], None] = lambda _try: None,
    ) -> None:
        self._context = context
        self._grant = grant
        self._stop_trigger = stop_trigger
        self._changed = changed
        self._settled = settled
        self.uploads = Uploads(context)

    def restored(self, tried: Try, grant: TaskGrant | None) -> TaskReport | None:
        """The end of the ordered segment that an earlier owner knew, if any."""
        end = tried.journal.end(tried.order.segment)
        if end is None and grant is not None and grant.segment == tried.order.segment and grant.end_report:
            try:
                end = TaskReport.FromString(grant.end_report)
            except DecodeError:
                return None
        return end

    def perform(self, tried: Try, action: Action) -> None:
        if action is Action.REPORT_END:
            if tried.end is not None and tried.end_done is None:
                self._context.spawn(self._report(tried, tried.end))
            return
        if action is Action.DECLARE_CANCELLED:
            ending = Ending(Outcome.OUTCOME_KILLED_BY_USER, "Cancelled by a user.")
        else:
            s = tried.situation
            exit = s.exit or Exit()
            ending = classify_exit(exit, tried.memory.limit, tried.started_time is not None)
        self._declare(tried, ending, kill=False)

    def declare_lost(self, tried: Try, why: str) -> None:
        """The worker's lease is over."""
        tried.lease_timer = None
        s = tried.situation
        if not tried.removed and s.ended_segment < s.segment and s.desired is not Desired.ABSENT:
            self._context.spawn(self._lost(tried, tried.worker, why))

    async def _lost(self, tried: Try, worker: str, why: str) -> None:
        known = await self._context.backend.why_lost(worker)
        s = tried.situation
        if tried.removed or tried.worker != worker or s.ended_segment >= s.segment or s.desired is Desired.ABSENT:
            return
        ending = Ending(Outcome.OUTCOME_LOST, f"The worker is lost: {why}.")
        if known is not None:
            ending = Ending(known.outcome, f"{known.message} ({why}.)")
        self._declare(tried, ending, kill=True)

    def launch_impossible(self, tried: Try, outcome: Outcome.ValueType, why: str) -> None:
        """The worker got no work: its bundle or conf cannot be had."""
        if not tried.removed and tried.situation.ended_segment < tried.situation.segment:
            self._declare(tried, Ending(outcome, why), kill=True)

    def _declare(self, tried: Try, ending: Ending, kill: bool) -> None:
        context, s = self._context, tried.situation
        segment = s.segment
        now = datetime.now(UTC)
        ended = TaskEnded(outcome=ending.outcome, message=ending.message, exit_code=ending.exit_code, return_length=-1)
        if tried.usage is not None:
            ended.usage.CopyFrom(tried.usage)
        if s.exit is not None:  # of a pod, nothing is known but what its worker said
            ended.usage.peak_memory_bytes = max(ended.usage.peak_memory_bytes, s.exit.peak_memory_bytes)
            ended.usage.cpu_seconds = max(ended.usage.cpu_seconds, s.exit.cpu_seconds)
        if tried.started_time is not None:
            ended.start_time.FromDatetime(tried.started_time)
            ended.stages.append(
                stages.stage_result(
                    Stage.STAGE_TASK_EXEC, tried.started_time, now, StageOutcome.STAGE_OUTCOME_FAILED, ending.message
                )
            )
        report = context.report_of(tried, SEQUENCE_END, segment)
        report.ended.CopyFrom(ended)
        tried.end = report
        s.ended_segment, s.end_reported, s.end_is_final = segment, False, True
        self._stop_trigger(tried.key)
        tried.end_done = asyncio.get_running_loop().create_future()
        context.spawn(self._declared(tried, report, kill))

    def started(self, tried: Try, report: TaskReport) -> None:
        """The start was granted. Its report waits a moment: that of a short try's end goes with it."""
        tried.start_report = report
        tried.start_timer = self._context.loop.call_later(_START_PATIENCE_SECONDS, self._is_longer, tried)

    def _is_longer(self, tried: Try) -> None:
        """A try is not over at once, so it is worth a note."""
        self.say_started(tried)
        self._settled(tried)
        if tried.memory != tried.configured_memory and self._context.backend.shares_files and not tried.removed:
            tried.journal.store_memory(tried.memory)

    def say_started(self, tried: Try) -> None:
        """Sends the report of the start, if it was not sent."""
        report, tried.start_report = tried.start_report, None
        if report is not None:
            if tried.start_timer is not None:
                tried.start_timer.cancel()
            self._context.spawn(self._context.reporter.report(tried.order, report, tried.traceparent))

    async def _declared(self, tried: Try, report: TaskReport, kill: bool) -> None:
        context = self._context
        try:
            await self._grant(tried, report)
        except Fenced:
            return
        if kill and tried.situation.worker_state is not WorkerState.FOREIGN:
            context.backend.stop(tried.key, tried.worker, force=True)

        async def prepare() -> None:
            try:
                await self._complete_log(tried)
                tried.log.note(report.ended.message)
            finally:
                self._finish_end(tried, report, report.ended.message, await self.uploads.now(tried))

        await self._end(tried, report, prepare())

    async def _end(self, tried: Try, report: TaskReport, preparing: Awaitable[None]) -> None:
        """Prepares an end and reports it; its log may follow."""
        try:
            await preparing
        except Exception:  # noqa: BLE001 - see the module
            _log.exception("the end of %s is reported without all that belongs to it", tried.key)
        await self._report(tried, report)
        if tried.uploading is not None:
            self.uploads.start(tried)

    async def _complete_log(self, tried: Try) -> None:
        """What the worker printed and could not send any more."""
        loop, node = asyncio.get_running_loop(), None
        async for piece in self._context.backend.read_log(tried.worker):
            if node is None:
                node = tried.log.node_log(tried.worker)
            await loop.run_in_executor(self._context.pool, node.take, piece)
        if node is not None:
            await loop.run_in_executor(self._context.pool, node.join)

    async def finish(self, tried: Try, request: FinishRequest) -> None:
        """A worker's own word that its segment is over. Returns when the report is durable. Idempotent."""
        context, s = self._context, tried.situation
        if s.ended_segment >= s.worker_segment:
            if tried.end_done is not None:
                await asyncio.shield(tried.end_done)
            return
        report = context.report_of(tried, SEQUENCE_END, s.worker_segment)
        kind = request.WhichOneof("kind")
        taken = False
        if kind == "ended":
            report.ended.CopyFrom(request.ended)
            refine_reported(report.ended, tried.memory.limit, s.desired is Desired.CANCELLED)
            told_to_end = s.desired is not Desired.CANCELLED and report.ended.outcome in (
                Outcome.OUTCOME_KILLED_BY_USER,
                Outcome.OUTCOME_DELETED,
            )
            if told_to_end and (cause := context.backend.disruption(tried.worker)) is not None:
                report.ended.outcome, report.ended.message = cause.outcome, cause.message
            else:
                taken = told_to_end and not context.backend.shares_files
        elif kind == "deferred":
            report.deferred.CopyFrom(request.deferred)
        elif kind == "rescheduled":
            report.rescheduled.CopyFrom(request.rescheduled)
        else:
            report.layout_computed.CopyFrom(request.layout_computed)
        tried.end = report
        s.ended_segment, s.end_reported = s.worker_segment, False
        s.end_is_final = is_final(report)
        done = tried.end_done = asyncio.get_running_loop().create_future()

        async def prepare() -> None:
            if kind == "ended" and report.ended.outcome == Outcome.OUTCOME_CRASHED:
                cause = await context.backend.why_crashed(tried.worker)
                if cause is not None:
                    report.ended.outcome, report.ended.message = cause.outcome, cause.message
            if taken and (cause := await context.backend.why_taken(tried.worker)) is not None:
                report.ended.outcome, report.ended.message = cause.outcome, cause.message
            if kind == "ended" and self.uploads.may_follow(tried, report.ended):
                self._finish_end(tried, report, "", self.uploads.promise(tried))
                return
            if kind == "ended":
                if not tried.log.path.exists():
                    # The worker sent its log to an executor with another disk, and only repeats its end here.
                    await self._complete_log(tried)
                self._finish_end(tried, report, "", await self.uploads.now(tried))
            else:
                self._keep_stages(tried)
                if kind == "layout_computed":
                    await self.uploads.now(tried)
            tried.journal.store_end(report)

        context.spawn(self._end(tried, report, prepare()))
        if not taken:  # a node says why it ends a pod when its containers have ended
            await asyncio.shield(done)

    def _finish_end(self, tried: Try, report: TaskReport, failure: str, upload: StageResult) -> None:
        """Adds the executor's stages, times and the log to an end."""
        now = datetime.now(UTC)
        ended = report.ended
        earlier = tried.journal.stages() if report.segment > 0 else TaskEnded()
        own = stages.executor_stages(
            datetime_of(tried.order.ordered_time), tried.launched_time, tried.started_time, now, failure
        )
        merged = stages.merge(earlier.stages, own, ended.stages)
        ended.usage.cpu_seconds += earlier.usage.cpu_seconds
        ended.usage.peak_memory_bytes = max(ended.usage.peak_memory_bytes, earlier.usage.peak_memory_bytes)
        ended.usage.memory_request_bytes = tried.memory.request
        ended.usage.memory_limit_bytes = tried.memory.limit
        ended.usage.memory_source = tried.memory.source
        first = datetime_of(tried.order.first_start_time) or tried.started_time
        if first is not None:
            ended.start_time.FromDatetime(first)
        if not ended.HasField("end_time"):
            ended.end_time.FromDatetime(now)
        merged.append(upload)
        del ended.stages[:]
        ended.stages.extend(merged[-stages.MAX_STAGES :])
        if tried.uploaded_bytes >= 0 or tried.uploading is not None:
            ended.log_key = keys.log_object_key(tried.order.try_key)
            ended.log_bytes = tried.uploaded_bytes if tried.uploaded_bytes >= 0 else tried.log.length()

    def _keep_stages(self, tried: Try) -> None:
        now = datetime.now(UTC)
        kept = tried.journal.stages()
        own = stages.executor_stages(
            datetime_of(tried.order.ordered_time), tried.launched_time, tried.started_time, now
        )
        if tried.started_time is not None:
            own.append(stages.stage_result(Stage.STAGE_TASK_EXEC, tried.started_time, now))
        merged = stages.merge(kept.stages, own, [])
        del kept.stages[:]
        kept.stages.extend(merged)
        if tried.usage is not None:
            kept.usage.cpu_seconds += tried.usage.cpu_seconds
            kept.usage.peak_memory_bytes = max(kept.usage.peak_memory_bytes, tried.usage.peak_memory_bytes)
        tried.journal.store_stages(kept)

    def _learn(self, tried: Try, ended: TaskEnded) -> None:
        """C7: what the try used says what the next one asks for."""
        out_of_memory = ended.outcome == Outcome.OUTCOME_OUT_OF_MEMORY
        if not out_of_memory and ended.outcome != Outcome.OUTCOME_SUCCESS:
            return
        sample = UsageSample(
            id=prediction.sample_id(tried.key),
            end_time=ended.end_time,
            peak_memory_bytes=ended.usage.peak_memory_bytes,
            cpu_seconds=ended.usage.cpu_seconds,
            out_of_memory=out_of_memory,
            limit_bytes=tried.memory.limit,
        )
        key = tried.order.try_key
        self._context.usage.learn(key.dag_id, key.task_id, sample, tried.configured_memory)

    async def _report(self, tried: Try, report: TaskReport) -> None:
        context, s = self._context, tried.situation
        if tried.end_done is None:
            tried.end_done = asyncio.get_running_loop().create_future()
        done = tried.end_done
        report.time.CopyFrom(timestamp(datetime.now(UTC)))
        self.say_started(tried)
        try:
            if report.HasField("ended") and tried.order.kind == OrderKind.ORDER_KIND_TASK:
                self._learn(tried, report.ended)  # before anybody can answer with the next try
            durable = context.reporter.report(tried.order, report, tried.traceparent)
            if tried.uploading is not None:
                # While the broker is at it. Should this process end before: its worker repeats what it said.
                with contextlib.suppress(OSError):  # a full disk
                    tried.journal.store_end(report)
            await durable
        except RecordTooLarge as error:
            report.ended.CopyFrom(_too_large(report, error))
            s.end_is_final = True
            await context.reporter.report(tried.order, report, tried.traceparent)
        kind = report.WhichOneof("kind") or ""
        outcome = Outcome.Name(report.ended.outcome) if kind == "ended" else kind
        context.metrics.ends.labels(outcome.removeprefix("OUTCOME_").lower()).inc()
        if kind == "ended" and tried.traceparent:
            traces.record(
                f"try {tried.order.try_key.task_id}",
                {"traceparent": tried.traceparent},
                report.ended.start_time.ToDatetime(tzinfo=UTC),
                report.ended.end_time.ToDatetime(tzinfo=UTC),
                failed=report.ended.outcome not in (Outcome.OUTCOME_SUCCESS, Outcome.OUTCOME_SKIPPED),
                run=f"{tried.order.try_key.dag_id}/{tried.order.try_key.run_id}",
                outcome=outcome,
            )
        if not done.done():
            done.set_result(None)
        if s.ended_segment == report.segment:
            s.end_reported = s.segment == report.segment
        self._changed(tried)


def _too_large(report: TaskReport, error: RecordTooLarge) -> TaskEnded:
    """What is reported instead of an end that no record can hold."""
    kind, earlier = report.WhichOneof("kind"), report.ended
    failed = kind == "ended" and earlier.outcome not in (Outcome.OUTCOME_SUCCESS, Outcome.OUTCOME_SKIPPED)
    ended = TaskEnded(
        outcome=earlier.outcome if failed else Outcome.OUTCOME_CONFIG_ERROR,
        message=f"The try ended ({kind}), but its report is too large: {error}",
        exit_code=earlier.exit_code,
        return_length=-1,
        log_key=earlier.log_key,
        log_bytes=earlier.log_bytes,
    )
    for name in ("start_time", "end_time", "usage"):
        if earlier.HasField(name):
            getattr(ended, name).CopyFrom(getattr(earlier, name))
    return ended
