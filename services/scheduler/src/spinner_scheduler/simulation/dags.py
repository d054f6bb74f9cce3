"""Random DAG definitions, small and full of special cases."""

from __future__ import annotations

import random

from spinner_proto.definitions.v1.definitions_pb2 import (
    AssetSchedule,
    DagDefinition,
    PartitionPeriod,
    TaskDefinition,
    TriggerRule,
    WeightRule,
)

from spinner_scheduler.domain import times

ASSETS = 3
# Keys of assets' partitions: the days of a week.
KEYS = [f"2025-10-{day:02}" for day in range(6, 13)]
POOLS = {"small": 3, "tiny": 1}
START = 1_760_000_400 * times.SECOND


def random_dag(rng: random.Random, dag_id: str, tier: int, partition: int) -> DagDefinition:
    """Returns a definition without its version."""
    definition = DagDefinition(dag_id=dag_id)
    definition.placement.cluster, definition.placement.tier, definition.placement.partition = "spinner", tier, partition
    schedule(rng, definition)
    definition.max_active_runs = rng.choice([0, 1, 2, 3])
    definition.max_active_tasks = rng.choice([0, 1, 2, 4])
    if rng.random() < 0.15:
        definition.dagrun_timeout.FromSeconds(rng.choice([60, 600]))
    definition.has_failure_callback = rng.random() < 0.2
    definition.dynamic = rng.random() < 0.08
    tasks(rng, definition, past=rng.random() < 0.15)
    _assets(rng, definition)
    _deadlines(rng, definition)
    _uses(rng, definition)
    return definition


def _deadlines(rng: random.Random, definition: DagDefinition) -> None:
    for number in range(rng.choice([0, 0, 1, 2])):
        deadline = definition.deadlines.add(name=f"deadline {number}", has_callback=rng.random() < 0.5)
        deadline.reference = rng.choice([1, 2, 4])  # type: ignore[assignment]
        deadline.interval.FromSeconds(rng.choice([-60, 30, 120, 900]))
        deadline.min_runs = 1
        if rng.random() < 0.4:
            deadline.task_id = rng.choice(definition.tasks).task_id


def _assets(rng: random.Random, definition: DagDefinition) -> None:
    """DAGs of one half update assets, some of the other half wait for them: there are no circles."""
    if int(definition.dag_id.rpartition("_")[2]) % 2:
        if rng.random() < 0.4:
            group = definition.schedule.assets.expression
            items = (group.all if rng.random() < 0.5 else group.any).items
            for number in rng.sample(range(ASSETS), rng.choice([1, 2])):
                items.add(asset=f"asset_{number}")
            if rng.random() < 0.6:
                _partition(rng, definition.schedule.assets)
        return
    for task in definition.tasks:
        if rng.random() < 0.4 and not task.inline_success:
            task.outlets.append(f"asset_{rng.randrange(ASSETS)}")


def _partition(rng: random.Random, schedule: AssetSchedule) -> None:
    """A run for each key as it is, for each month, or for a week of which all days are there."""
    schedule.partitioned = True
    kind = rng.choice(["same", "month", "week"])
    if kind != "same":
        time = schedule.default_mapper.time
        time.input_format = "%Y-%m-%d"
        time.output_format = "%Y-%m" if kind == "month" else "%Y-%m-%d"
        time.period = PartitionPeriod.Value(f"PARTITION_PERIOD_{kind.upper()}")
        if kind == "week":
            time.window = PartitionPeriod.PARTITION_PERIOD_WEEK


def _uses(rng: random.Random, definition: DagDefinition) -> None:
    """Some DAGs want assets to be watched, or to be told when they are not fresh."""
    for number in range(ASSETS):
        if rng.random() > 0.15:
            continue
        asset = definition.assets.add(name=f"asset_{number}")
        if rng.random() < 0.6:
            arguments = rng.choice([b"{}", b'{"a":1}'])
            asset.watchers.add(name=rng.choice(["v", "w"]), trigger_class="t.W", trigger_arguments_json=arguments)
        if rng.random() < 0.6:
            asset.freshness.FromSeconds(rng.choice([60, 600]))
            asset.has_stale_callback = True


def reduced(definition: DagDefinition, prefix: str, without: frozenset[str]) -> DagDefinition:
    """A definition without the tasks whose `prefix` + position is in `without`."""
    gone = {number for number in range(len(definition.tasks)) if f"{prefix}{number}" in without}
    if not gone:
        return definition
    kept = [number for number in range(len(definition.tasks)) if number not in gone]
    place = {number: position for position, number in enumerate(kept)}
    smaller = DagDefinition()
    smaller.CopyFrom(definition)
    del smaller.tasks[:]
    for number in kept:
        task = smaller.tasks.add()
        task.CopyFrom(definition.tasks[number])
        del task.upstream[:], task.setups[:]
        task.upstream.extend(place[above] for above in definition.tasks[number].upstream if above in place)
        task.setups.extend(place[setup] for setup in definition.tasks[number].setups if setup in place)
        if task.map_length.WhichOneof("kind") == "task":
            giver = task.map_length.task
            task.ClearField("map_length")
            if giver in place:
                task.map_length.task = place[giver]
    return smaller


def schedule(rng: random.Random, definition: DagDefinition) -> None:
    definition.start_date.FromSeconds(START // times.SECOND - rng.choice([0, 1800, 7200]))
    definition.catchup = rng.random() < 0.7
    kind = rng.choice(["cron", "cron", "ticks", "delta", "none", "once", "explicit"])
    if kind in ("cron", "ticks"):
        definition.schedule.cron.expressions.append(rng.choice(["*/10 * * * *", "0 * * * *", "*/7 * * * *"]))
        definition.schedule.cron.timezone = rng.choice(["UTC", "Europe/Berlin", "America/New_York"])
        definition.schedule.cron.run_at_tick = kind == "ticks"
    elif kind == "delta":
        definition.schedule.delta.period.FromSeconds(rng.choice([600, 900, 3600]))
    elif kind == "once":
        definition.schedule.once.SetInParent()
    elif kind == "explicit" and rng.random() < 0.6:
        program = definition.schedule.explicit
        program.evaluated = True
        program.infers_manual = rng.random() < 0.5
    elif kind == "explicit":
        start = definition.start_date.seconds
        definition.schedule.explicit.SetInParent()
        for number in range(6):
            at = start + number * 1100
            interval = definition.schedule.explicit.intervals.add()
            interval.logical_date.FromSeconds(at)
            interval.start.FromSeconds(at)
            interval.end.FromSeconds(at + 500)
            interval.run_after.FromSeconds(at + 500)
    else:
        definition.schedule.none.SetInParent()


def tasks(rng: random.Random, definition: DagDefinition, past: bool) -> None:
    count = rng.choice([1, 2, 3, 5, 8, 12])
    grouped = rng.random() < 0.25 and count >= 5
    if grouped:
        group = definition.task_groups.add(group_id="group")
        group.map_length.literal = rng.choice([0, 1, 2, 3])
    for number in range(count):
        task = definition.tasks.add(task_id=f"t{number}")
        if number:
            chosen = rng.sample(range(number), min(number, rng.choice([0, 1, 1, 2, 3])))
            task.upstream.extend(sorted(chosen))
        _decorate(rng, task, past)
        if grouped and number in (1, 2, 3):
            task.group_id = "group"
        elif rng.random() < 0.15:
            _map(rng, definition, task, number)
    if rng.random() < 0.2 and count >= 3:
        _setup_and_teardown(definition)


def _decorate(rng: random.Random, task: TaskDefinition, past: bool) -> None:
    if rng.random() < 0.35:
        task.trigger_rule = rng.choice([rule for rule in TriggerRule.values() if rule])
    task.retries = rng.choice([0, 0, 1, 2])
    task.retry_delay.FromSeconds(rng.choice([0, 5, 60]))
    task.retry_exponential_backoff = rng.random() < 0.3
    if rng.random() < 0.3:
        task.max_retry_delay.FromSeconds(90)
    if rng.random() < 0.3:
        task.pool = rng.choice(list(POOLS))
        task.pool_slots = 1 if task.pool == "tiny" else rng.choice([1, 2])
    task.priority_weight = rng.choice([1, 1, 5])
    task.weight_rule = rng.choice([rule for rule in WeightRule.values() if rule])
    if rng.random() < 0.1:
        task.max_active_tis_per_dag = rng.choice([1, 2])
    if rng.random() < 0.1:
        task.max_active_tis_per_dagrun = 1
    task.inline_success = rng.random() < 0.1
    task.is_branch = rng.random() < 0.15
    task.reports_length = rng.random() < 0.4
    if past:
        task.depends_on_past = rng.random() < 0.5
        task.ignore_first_depends_on_past = True
        task.wait_for_downstream = task.depends_on_past and rng.random() < 0.3
    if rng.random() < 0.2:
        task.execution_timeout.FromSeconds(300)
    task.fail_stop = rng.random() < 0.03


def _map(rng: random.Random, definition: DagDefinition, task: TaskDefinition, number: int) -> None:
    givers = [above for above in task.upstream if definition.tasks[above].reports_length]
    if givers and rng.random() < 0.7:
        task.map_length.task = givers[0]
    else:
        task.map_length.literal = rng.choice([0, 1, 2, 4])


def _setup_and_teardown(definition: DagDefinition) -> None:
    first, last = definition.tasks[0], definition.tasks[-1]
    if first.HasField("map_length") or last.HasField("map_length") or last.group_id or first.is_branch:
        return
    first.is_setup = True
    last.is_teardown = True
    last.trigger_rule = TriggerRule.TRIGGER_RULE_ALL_DONE_SETUP_SUCCESS
    if 0 not in last.upstream:
        last.upstream.insert(0, 0)
    last.setups.append(0)
