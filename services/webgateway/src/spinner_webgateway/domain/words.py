"""Words between contracts and people: enum names, times, keys as text, schedules in words.

Times in rows are integers: microseconds since the epoch in UTC, None when unset. Every database keeps them
exactly, sorts them and compares them, without knowing of zones.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache

from cron_descriptor import ExpressionDescriptor, Options  # type: ignore[import-untyped]
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from spinner_proto.common.v1 import common_pb2
from spinner_proto.definitions.v1 import definitions_pb2
from spinner_proto.events.v1 import events_pb2
from spinner_proto.inbox.v1 import inbox_pb2

TEXT_LIMIT = 4000
"""Longest one-line text kept in a column, in characters; longer ones are cut. The log has the whole."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def clip(text: str, limit: int = TEXT_LIMIT) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def micros(time: Timestamp) -> int | None:
    """Returns microseconds since the epoch; None for an unset time."""
    if time.seconds == 0 and time.nanos == 0:
        return None
    return time.seconds * 1_000_000 + time.nanos // 1_000


def micros_of(time: datetime) -> int:
    """Returns microseconds since the epoch of an aware time; a naive one is taken as UTC."""
    aware = time if time.tzinfo else time.replace(tzinfo=UTC)
    return (aware - EPOCH) // timedelta(microseconds=1)


def time_of(value: int | None) -> datetime | None:
    """Returns the aware UTC time of microseconds since the epoch."""
    return None if value is None else EPOCH + timedelta(microseconds=value)


def iso(value: int | None) -> str | None:
    """Returns ISO 8601 in UTC with microseconds when there are any, as JSON carries it."""
    if value is None:
        return None
    text = (EPOCH + timedelta(microseconds=value)).isoformat()
    return text.removesuffix("+00:00") + "Z"


def timestamp(time: datetime) -> Timestamp:
    """Returns the protobuf form of a time; a naive one is taken as UTC."""
    result = Timestamp()
    result.FromDatetime((time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC))
    return result


def timestamp_of(value: int | None) -> Timestamp | None:
    """Returns the protobuf form of microseconds since the epoch."""
    if value is None:
        return None
    return Timestamp(seconds=value // 1_000_000, nanos=value % 1_000_000 * 1_000)


def from_iso(text: str | None) -> Timestamp | None:
    """Returns the protobuf form of what `iso` gave."""
    return None if text is None else timestamp(datetime.fromisoformat(text))


def run_state(state: int) -> str:
    """Returns for example "running"; "queued" for an unspecified one."""
    return _short(common_pb2.RunState, "RUN_STATE_", state, "queued")


def run_type(kind: int) -> str:
    """Returns for example "manual"; an unspecified type is "manual"."""
    return _short(common_pb2.RunType, "RUN_TYPE_", kind, "manual")


def task_state(state: int) -> str:
    """Returns for example "up_for_retry"; "none" for an unspecified one."""
    return _short(common_pb2.TaskState, "TASK_STATE_", state, "none")


def outcome(value: int) -> str:
    """Returns for example "out_of_memory"; "" for an unspecified one."""
    return _short(common_pb2.Outcome, "OUTCOME_", value, "")


def run_order(value: int) -> str:
    """Returns "forward" or "backward"."""
    return _short(inbox_pb2.RunOrder, "RUN_ORDER_", value, "forward")


def reprocess_behavior(value: int) -> str:
    """Returns "none", "failed" or "completed"."""
    return _short(inbox_pb2.ReprocessBehavior, "REPROCESS_BEHAVIOR_", value, "none")


def backfill_state(value: int) -> str:
    """Returns for example "paused"."""
    return _short(events_pb2.BackfillState, "BACKFILL_STATE_", value, "created")


def backfill_action(value: int) -> str:
    """Returns "create", "reprocess" or "skip"."""
    return _short(events_pb2.BackfillAction, "BACKFILL_ACTION_", value, "skip")


STAGE_NAMES: dict[int, str] = {
    common_pb2.STAGE_UNSPECIFIED: "",
    common_pb2.STAGE_QUEUE: "QueueStage",
    common_pb2.STAGE_LAUNCH: "LaunchStage",
    common_pb2.STAGE_READINESS: "ReadinessStage",
    common_pb2.STAGE_PARSE: "ParseStage",
    common_pb2.STAGE_TASK_EXEC: "TaskExecStage",
    common_pb2.STAGE_CALLBACK: "CallbackStage",
    common_pb2.STAGE_LOG_UPLOAD: "LogUploadStage",
}

TASK_STATES: dict[str, common_pb2.TaskState.ValueType] = {
    name.removeprefix("TASK_STATE_").lower(): value
    for name, value in common_pb2.TaskState.items()
    if value != common_pb2.TASK_STATE_UNSPECIFIED
}
RUN_STATES: dict[str, common_pb2.RunState.ValueType] = {
    name.removeprefix("RUN_STATE_").lower(): value
    for name, value in common_pb2.RunState.items()
    if value != common_pb2.RUN_STATE_UNSPECIFIED
}
BACKFILL_STATES: dict[str, events_pb2.BackfillState.ValueType] = {
    name.removeprefix("BACKFILL_STATE_").lower(): value
    for name, value in events_pb2.BackfillState.items()
    if value != events_pb2.BACKFILL_STATE_UNSPECIFIED
}
RUN_TYPES: dict[str, common_pb2.RunType.ValueType] = {
    name.removeprefix("RUN_TYPE_").lower(): value
    for name, value in common_pb2.RunType.items()
    if value != common_pb2.RUN_TYPE_UNSPECIFIED
}


def stage_outcome(value: int) -> str:
    """Returns "success", "failed" or "running"."""
    return _short(common_pb2.StageOutcome, "STAGE_OUTCOME_", value, "running")


def trigger_rule(value: int) -> str:
    """Returns for example "all_success"."""
    return _short(definitions_pb2.TriggerRule, "TRIGGER_RULE_", value, "all_success")


def run_key_text(dag_id: str, run_id: str) -> str:
    return f"{dag_id}/{run_id}"


def try_key_text(key: common_pb2.TryKey) -> str:
    """Returns the key of a try as it stands in topics."""
    return f"{key.dag_id}/{key.run_id}/{key.task_id}/{key.map_index}/{key.try_number}"


def cell_name(placement: common_pb2.Placement) -> str:
    """Returns for example "spinner_tier_1"."""
    return f"{placement.cluster}_tier_{placement.tier}"


def partition_name(placement: common_pb2.Placement) -> str:
    """Returns for example "spinner_tier_1_0"."""
    return f"{cell_name(placement)}_{placement.partition}"


def span(seconds: float) -> str:
    """Returns a length of time for people, for example "2 h 5 min"."""
    whole = round(seconds)
    if whole < 1 and seconds > 0:
        return f"{seconds * 1000:.0f} ms"
    parts = []
    for name, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, whole = divmod(whole, size)
        if count:
            parts.append(f"{count} {name}")
    return " ".join(parts[:2]) or "0 s"


def schedule_text(schedule: definitions_pb2.Schedule) -> str:
    """Returns the schedule in words, for example "At 02:30 (UTC)"."""
    kind = schedule.WhichOneof("kind")
    if kind == "once":
        return "Once"
    if kind == "continuous":
        return "Continuously: the next run starts when the last one ends"
    if kind == "cron":
        return _crons_text(schedule.cron)
    if kind == "delta":
        return _delta_text(schedule.delta)
    if kind == "assets":
        what = "a partition of " if schedule.assets.partitioned else ""
        text = f"When {what}{_asset_text(schedule.assets.expression)} is updated"
        if schedule.assets.HasField("or_cron"):
            text += ", or " + _crons_text(schedule.assets.or_cron)
        if schedule.assets.HasField("or_time"):
            text += ", or " + schedule_text(schedule.assets.or_time)
        return text
    if kind == "explicit":
        return schedule.text or "By a timetable"
    return "No schedule: runs are triggered"


def _crons_text(cron: definitions_pb2.CronSchedule) -> str:
    words = "; ".join(_cron_words(expression) for expression in cron.expressions)
    return f"{words} ({cron.timezone or 'UTC'})"


@lru_cache(maxsize=4096)
def _cron_words(expression: str) -> str:
    fields = expression.split()
    # The library has seconds first, we have them last.
    wanted = " ".join([fields[5], *fields[:5]]) if len(fields) == 6 else expression
    options = Options()
    options.use_24hour_time_format = True
    options.locale_code = "en_US"
    try:
        return str(ExpressionDescriptor(wanted, options).get_description())
    except Exception:  # noqa: BLE001 - the library has no base for what unusual expressions make it raise
        return expression


def _delta_text(delta: definitions_pb2.DeltaSchedule) -> str:
    parts = []
    if delta.months:
        parts.append("month" if delta.months == 1 else f"{delta.months} months")
    seconds = seconds_of(delta.period)
    if seconds:
        parts.append(span(seconds))
    return "Every " + " and ".join(parts or ["0 s"])


def seconds_of(duration: Duration) -> float:
    return duration.seconds + duration.nanos / 1e9


def _asset_text(expression: definitions_pb2.AssetExpression) -> str:
    kind = expression.WhichOneof("kind")
    if kind == "asset":
        return expression.asset
    if kind == "alias":
        return f"an asset of {expression.alias}"
    group = expression.all if kind == "all" else expression.any
    word = " and " if kind == "all" else " or "
    inner = [_asset_text(item) for item in group.items]
    return inner[0] if len(inner) == 1 else "(" + word.join(inner) + ")"


def _short(enum: object, prefix: str, value: int, fallback: str) -> str:
    return _names(enum, prefix).get(value, fallback) if value else fallback


_cache: dict[str, dict[int, str]] = {}


def _names(enum: object, prefix: str) -> dict[int, str]:
    known = _cache.get(prefix)
    if known is None:
        items: list[tuple[str, int]] = enum.items()  # type: ignore[attr-defined]
        known = _cache[prefix] = {value: name.removeprefix(prefix).lower() for name, value in items}
    return known


def clear_plan(plan: events_pb2.ClearPlan) -> dict[str, object]:
    """What a clear does, as REST shows it."""
    tasks = [
        {
            "run_id": task.run_id,
            "task_id": task.task_id,
            "map_index": task.map_index,
            "state": task_state(task.state),
            "effect": events_pb2.ClearEffect.Name(task.effect).removeprefix("CLEAR_EFFECT_").lower(),
            "reason": events_pb2.ClearReason.Name(task.reason).removeprefix("CLEAR_REASON_").lower(),
        }
        for task in plan.tasks
    ]
    counts = ("task_count", "killed_count", "removed_count", "added_count", "run_count", "version")
    return {"tasks": tasks, **{name: getattr(plan, name) for name in counts}}
