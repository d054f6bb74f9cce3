"""Orders and execution records: what a run's state says to executors and to the world."""

from __future__ import annotations

from bisect import bisect_left
from hashlib import sha256

from spinner_proto.common.v1.common_pb2 import Outcome, Stage, StageOutcome, TryKey
from spinner_proto.events.v1.events_pb2 import TaskEnded
from spinner_proto.executions.v1.executions_pb2 import JobExecutionRecord
from spinner_proto.inbox.v1.inbox_pb2 import AssetStale
from spinner_proto.orders.v1.orders_pb2 import DesiredState, OrderKind, TaskOrder

from spinner_scheduler.domain import times
from spinner_scheduler.domain.dag_state import DagState
from spinner_scheduler.domain.layout import Layout
from spinner_scheduler.domain.run import CALLBACK_TASK, LAYOUT_TASK, Run
from spinner_scheduler.domain.state import PartitionState
from spinner_scheduler.domain.states import EXPANDED, FAILED, SKIPPED, SUCCESS, UP_FOR_RETRY

_STATUS = {SUCCESS: "success", FAILED: "failed", UP_FOR_RETRY: "up_for_retry", SKIPPED: "skipped"}


def try_key(run: Run, slot: int, try_number: int) -> TryKey:
    return TryKey(
        dag_id=run.dag_id,
        run_id=run.run_id,
        task_id=run.layout.task_ids[run.position(slot)],
        map_index=run.map_index(slot),
        try_number=try_number,
    )


def _fill(order: TaskOrder, state: PartitionState, dag: DagState, run: Run) -> None:
    order.MergeFrom(_facts(state, dag, run))
    order.ordered_time.CopyFrom(times.to_timestamp(state.now))


def _facts(state: PartitionState, dag: DagState, run: Run) -> TaskOrder:
    """What all orders of a run say; kept while it stays true."""
    at = bisect_left(dag.successes, (run.logical, 0, 0))
    previous = dag.successes[at - 1] if at else None
    kept = run.order_facts
    if kept is not None and kept[0] == run.start and kept[1] == previous:
        return kept[2]
    facts, order = run.facts, TaskOrder()
    order.reply_topic = state.here.inbox
    order.reply_partition = state.here.partition
    order.run_type = facts.run_type
    order.skip_callbacks = facts.backfill.skip_callbacks
    if facts.HasField("logical_date"):
        order.logical_date.CopyFrom(facts.logical_date)
    if facts.HasField("data_interval_start"):
        order.data_interval_start.CopyFrom(facts.data_interval_start)
        order.data_interval_end.CopyFrom(facts.data_interval_end)
    order.run_after.CopyFrom(facts.run_after)
    if run.start:
        order.run_start_time.CopyFrom(times.to_timestamp(run.start))
    if facts.HasField("conf"):
        order.conf.CopyFrom(facts.conf)
    if facts.asset_events:
        order.asset_events.extend(facts.asset_events)
    order.partition_key = facts.partition_key
    if previous is not None:
        logical, start, end = previous
        order.previous_success_logical_date.CopyFrom(times.to_timestamp(logical))
        if end:
            order.previous_success_interval_start.CopyFrom(times.to_timestamp(start))
            order.previous_success_interval_end.CopyFrom(times.to_timestamp(end))
    run.order_facts = (run.start, previous, order)
    return order


def task_order(
    state: PartitionState,
    dag: DagState,
    run: Run,
    slot: int,
    try_number: int,
    segment: int,
    desired: int = int(DesiredState.DESIRED_STATE_RUNNING),
) -> TaskOrder:
    """Returns the order for a segment of a try; of a resumed one with what its trigger said."""
    layout = run.layout
    position = run.position(slot)
    order = layout.new_order(position)
    key = order.try_key
    key.run_id = run.run_id
    key.map_index = run.map_index(slot)
    key.try_number = try_number
    if layout.weights:
        order.priority = layout.priority(position, try_number)
    if run.pools is not layout.pools:
        order.pool = run.pools[position]
    order.segment = segment
    order.desired_state = desired  # type: ignore[assignment]
    _fill(order, state, dag, run)
    conf = run.confs.get(slot)
    if conf is not None:
        order.conf.CopyFrom(conf)
    order.max_tries = max(run.base.get(slot, 0), 0) + run.free.get(slot, 0) + layout.retries[position] + 1
    if layout.lengths:
        if slot >= layout.n:
            order.map_length = run.map_length(position)
        for above in layout.up[position]:
            if run.states[above] == EXPANDED:
                order.upstream_map_lengths[layout.task_ids[above]] = run.map_length(above)
    deferral = run.deferrals.get(slot)
    if deferral is not None:
        order.trigger_class = deferral.trigger_class
        order.trigger_arguments_json = deferral.trigger_arguments_json
        order.resume_method = deferral.method_name
        order.resume_arguments_json = deferral.method_arguments_json
        if deferral.HasField("timeout"):
            order.trigger_timeout_time.CopyFrom(times.to_timestamp(state.now + times.from_duration(deferral.timeout)))
        event, error = run.resumes.get(slot, (b"", ""))
        order.resume_event_json = event
        order.resume_error = error
    first = run.first_start.get(slot)
    if first and segment:
        order.first_start_time.CopyFrom(times.to_timestamp(first))
    return order


def layout_order(state: PartitionState, dag: DagState, run: Run, try_number: int) -> TaskOrder:
    """Returns the order to compute the layout of a dynamic DAG's run."""
    order = run.layout.bare_order(int(OrderKind.ORDER_KIND_LAYOUT))
    order.try_key.CopyFrom(_special_key(run, LAYOUT_TASK, try_number))
    order.desired_state = DesiredState.DESIRED_STATE_RUNNING
    order.max_tries = 3
    _fill(order, state, dag, run)
    return order


def callback_order(state: PartitionState, dag: DagState, run: Run, callback: str, reason: str) -> TaskOrder:
    """Returns the order to run the DAG's callbacks for the run's latest end."""
    order = run.layout.bare_order(int(OrderKind.ORDER_KIND_CALLBACK))
    order.try_key.CopyFrom(_special_key(run, CALLBACK_TASK, run.ends))
    order.desired_state = DesiredState.DESIRED_STATE_RUNNING
    order.max_tries = 1
    order.callback = callback
    order.callback_reason = reason
    _fill(order, state, dag, run)
    return order


def deadline_order(state: PartitionState, dag: DagState, run: Run, index: int, due: int, predicted: bool) -> TaskOrder:
    """Returns the order to call the callback of a deadline that was missed, or is going to be.

    Its key has a map index of its own, so that it is told apart from the callbacks at the run's end.
    """
    deadline = run.layout.definition.deadlines[index]
    order = run.layout.bare_order(int(OrderKind.ORDER_KIND_CALLBACK))
    order.try_key.CopyFrom(_special_key(run, CALLBACK_TASK, 1))
    order.try_key.map_index = 2 * index + predicted
    order.desired_state = DesiredState.DESIRED_STATE_RUNNING
    order.max_tries = 1
    order.callback = "deadline"
    what = f"task {deadline.task_id}" if deadline.task_id else "the run"
    verb = "is going to miss" if predicted else "missed"
    order.callback_reason = f"{what} {verb} the deadline {deadline.name} at {times.text(due)}"
    order.deadline_index = index
    order.deadline_name = deadline.name
    order.deadline_task_id = deadline.task_id
    order.deadline_time.CopyFrom(times.to_timestamp(due))
    order.deadline_predicted = predicted
    _fill(order, state, dag, run)
    return order


def stale_order(state: PartitionState, layout: Layout, asset: str, stale: AssetStale) -> TaskOrder:
    """Returns the order to call the callback of an asset that is no longer fresh.

    There is no such run: the key has the moment and the asset in its run's place.
    """
    due = times.from_timestamp(stale.stale_time)
    order = layout.bare_order(int(OrderKind.ORDER_KIND_CALLBACK))
    key = order.try_key
    name = sha256(asset.encode()).hexdigest()[:8]
    key.dag_id, key.run_id, key.task_id = layout.dag_id, f"stale__{times.text(due)}__{name}", CALLBACK_TASK
    key.map_index, key.try_number = -1, 1
    order.desired_state = DesiredState.DESIRED_STATE_RUNNING
    order.reply_topic, order.reply_partition = state.here.inbox, state.here.partition
    order.max_tries = 1
    order.callback = "stale"
    since = f"since {times.text(times.from_timestamp(stale.last_update_time))}"
    order.callback_reason = f"the asset {asset} had no update {since if stale.HasField('last_update_time') else 'yet'}"
    order.asset = asset
    order.stale_time.CopyFrom(stale.stale_time)
    if stale.HasField("last_update_time"):
        order.last_update_time.CopyFrom(stale.last_update_time)
    order.run_after.CopyFrom(stale.stale_time)
    order.ordered_time.CopyFrom(times.to_timestamp(state.now))
    return order


def task_callback_order(
    state: PartitionState, dag: DagState, run: Run, slot: int, callback: str, ended: TaskEnded
) -> TaskOrder:
    """Returns the order to run a task's callbacks for the end of a try."""
    position = run.position(slot)
    order = run.layout.new_order(position)
    order.ClearField("resources_json")
    order.ClearField("execution_timeout")
    order.kind = OrderKind.ORDER_KIND_CALLBACK
    key = order.try_key
    key.dag_id, key.run_id, key.task_id = run.dag_id, run.run_id, f"{CALLBACK_TASK}.{ended.task_id}"
    key.map_index, key.try_number = ended.map_index, ended.try_number
    order.desired_state = DesiredState.DESIRED_STATE_RUNNING
    order.callback = callback
    order.callback_reason = ended.message
    if ended.HasField("start_time"):
        order.first_start_time.CopyFrom(ended.start_time)
    _fill(order, state, dag, run)
    retries = run.layout.tasks[position].retries
    order.max_tries = max(run.base.get(slot, 0), 0) + run.free.get(slot, 0) + retries + 1
    return order


def _special_key(run: Run, task_id: str, try_number: int) -> TryKey:
    return TryKey(dag_id=run.dag_id, run_id=run.run_id, task_id=task_id, map_index=-1, try_number=try_number)


def execution_record(run: Run, slot: int, ended: TaskEnded) -> JobExecutionRecord:
    """Returns the record of a finished try."""
    record = run.layout.new_execution(run.position(slot))
    record.instance_id = run.run_id
    record.run_type = run.facts.run_type
    record.map_index = ended.map_index
    record.try_number = ended.try_number
    record.status = _STATUS.get(ended.state, "failed")
    record.outcome = ended.outcome
    if ended.HasField("start_time"):
        record.start_time.CopyFrom(ended.start_time)
    record.end_time.CopyFrom(ended.end_time)
    if run.facts.HasField("logical_date"):
        record.logical_date.CopyFrom(run.facts.logical_date)
    if ended.log_key:
        record.log_key = ended.log_key
    if ended.message:
        record.message = ended.message
    if ended.application_id:
        record.application_id_string = ended.application_id
    if ended.jss_id:
        record.jss_id = ended.jss_id
    if ended.builds:
        record.data.update(ended.builds)
    if ended.HasField("usage"):
        record.peak_memory_bytes = ended.usage.peak_memory_bytes
        record.cpu_seconds = ended.usage.cpu_seconds
    if ended.exception_classes:
        record.exception_classes.extend(ended.exception_classes)
    if ended.outcome != Outcome.OUTCOME_SUCCESS:
        record.failed_stage = next(
            (stage.stage for stage in ended.stages if stage.outcome == StageOutcome.STAGE_OUTCOME_FAILED),
            Stage.STAGE_UNSPECIFIED,
        )
    return record
