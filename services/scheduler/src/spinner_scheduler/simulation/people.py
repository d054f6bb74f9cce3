"""The people of the virtual world: what they ask for, often twice, and the versions that they publish."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from spinner_proto.common.v1.common_pb2 import RunState, TaskState
from spinner_proto.inbox.v1.inbox_pb2 import (
    Command,
    DefinitionRemoved,
    InboxMessage,
    PoolMessage,
    ReprocessBehavior,
    RunOrder,
)

from spinner_scheduler.domain import times
from spinner_scheduler.domain.pools import Address, owner_of
from spinner_scheduler.simulation.dags import ASSETS, KEYS, POOLS
from spinner_scheduler.simulation.processes import CLUSTER, PARTITIONS, TIERS

if TYPE_CHECKING:
    from spinner_scheduler.simulation.world import World


class People:
    """`requests`: ids of all commands that were sent. `removed`: DAGs that were away for a while."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.requests: set[str] = set()
        self.removed: set[str] = set()
        self._calm = False

    def declare_pools(self) -> None:
        for name, slots in POOLS.items():
            self._pool(name, slots)

    def _pool(self, name: str, slots: int) -> None:
        owner = owner_of(name, Address("", 0), CLUSTER, TIERS, PARTITIONS)
        message = InboxMessage(pool=PoolMessage(pool=name))
        message.pool.changed.slots = slots
        message.pool.changed.include_deferred = name == "tiny"
        self._world.send(owner.inbox, owner.partition, name, message)

    def act(self, kind: str, rng: random.Random) -> None:
        world = self._world
        dag_id = rng.choice(list(world.definitions))
        if kind == "publish":
            world.publish(dag_id)
            return
        if kind == "pool":
            name = rng.choice(list(POOLS))
            self._pool(name, rng.randrange(POOLS[name] + 1))
            world.later(rng.uniform(10, 900), lambda: self._pool(name, POOLS[name]))
            return
        if kind == "update":
            self._update(rng)
            return
        if kind == "remove":
            self.removed.add(dag_id)
            world.to_dag(dag_id, InboxMessage(definition_removed=DefinitionRemoved(dag_id=dag_id)))
            world.later(rng.uniform(10, 900), lambda: self._bring_back(dag_id))
            return
        command = Command(request_id=f"{dag_id} {kind} {rng.random()}", dag_id=dag_id)
        runs = self._runs_of(dag_id)
        if kind == "backfill":
            self._backfill(command, rng)
        elif kind == "trigger" or not runs:
            command.trigger_run.SetInParent()
            if rng.random() < 0.3:
                command.trigger_run.partition_key = rng.choice(KEYS)
        elif kind == "pause":
            command.set_paused.paused = rng.random() < 0.6
        else:
            _choose(command, kind, rng.choice(runs), rng)
        self._send(command, 2 if rng.random() < 0.2 else 1)

    def _update(self, rng: random.Random) -> None:
        """Says that an asset, or a partition of it, was updated; often twice."""
        name = f"asset_{rng.randrange(ASSETS)}"
        command = Command(request_id=f"{name} update {rng.random()}")
        command.create_asset_event.asset = name
        if rng.random() < 0.7:
            command.create_asset_event.partition_key = rng.choice(KEYS)
        self.requests.add(command.request_id)
        owner = owner_of(f"asset:{name}", Address("", 0), CLUSTER, TIERS, PARTITIONS)
        for _ in range(2 if rng.random() < 0.2 else 1):
            self._world.send(owner.inbox, owner.partition, f"asset:{name}", InboxMessage(command=command))

    def _bring_back(self, dag_id: str) -> None:
        if not self._calm:
            self._world.publish(dag_id)

    def calm(self) -> None:
        """Unpauses everything and gives pools their slots back."""
        self._calm = True
        for name, slots in POOLS.items():
            self._pool(name, slots)
        for dag_id in self._world.definitions:
            command = Command(request_id=f"calm {dag_id}", dag_id=dag_id)
            command.set_paused.paused = False
            self._send(command, 1)
        for dag_id, backfill_id in self._world.checker.backfills.requests:
            command = Command(request_id=f"calm {dag_id} {backfill_id}", dag_id=dag_id)
            command.resume_backfill.backfill_id = backfill_id
            self._send(command, 1)

    def _backfill(self, command: Command, rng: random.Random) -> None:
        checker = self._world.checker.backfills
        known = [name for dag_id, name in checker.requests if dag_id == command.dag_id]
        if known and rng.random() < 0.4:
            name = rng.choice(known)
            what = rng.choice(["pause", "resume", "cancel"])
            if what == "pause":
                command.pause_backfill.backfill_id = name
            elif what == "resume":
                command.resume_backfill.backfill_id = name
            else:
                command.cancel_backfill.backfill_id = name
                command.cancel_backfill.stop_runs = rng.random() < 0.5
            return
        wish = command.create_backfill
        wish.backfill_id = f"b{rng.randrange(1_000_000)}"
        since = self._world.now - rng.randrange(1, 4 * 3600) * times.SECOND
        wish.from_date.CopyFrom(times.to_timestamp(since))
        wish.to_date.CopyFrom(times.to_timestamp(since + rng.randrange(1, 4 * 3600) * times.SECOND))
        wish.run_order = rng.choice([RunOrder.RUN_ORDER_FORWARD, RunOrder.RUN_ORDER_BACKWARD])
        wish.reprocess_behavior = rng.choice([behavior for behavior in ReprocessBehavior.values() if behavior])
        wish.max_active_runs = rng.choice([1, 2, 4])
        wish.skip_callbacks = rng.random() < 0.5
        wish.dry_run = rng.random() < 0.1
        if rng.random() < 0.3:
            wish.task_ids.extend(sorted({f"t{rng.randrange(4)}" for _ in range(2)}))
        for logical, state in checker.ended_runs(command.dag_id):
            wish.known_runs.add(logical_date=times.to_timestamp(logical), state=state)

    def _send(self, command: Command, copies: int) -> None:
        command.actor.name = "user:someone"
        command.time.CopyFrom(times.to_timestamp(self._world.now))
        self.requests.add(command.request_id)
        for _ in range(copies):
            self._world.to_dag(command.dag_id, InboxMessage(command=command))

    def _runs_of(self, dag_id: str) -> list[str]:
        for state in self._world.states():
            dag = state.dags.get(dag_id)
            if dag is not None:
                return [*dag.runs, *dag.finished]
        return []


def _choose(command: Command, kind: str, run: str, rng: random.Random) -> None:
    some = [f"t{rng.randrange(8)}"] if rng.random() < 0.7 else []
    if kind == "clear":
        clear = command.clear_tasks
        clear.run_id = run
        clear.task_ids.extend(some)
        clear.downstream = rng.random() < 0.6
        clear.upstream = rng.random() < 0.2
        clear.past = rng.random() < 0.1
        clear.future = rng.random() < 0.1
        clear.only_failed = rng.random() < 0.4
        clear.latest_version = rng.random() < 0.3
    elif kind == "mark":
        marked = command.mark_tasks
        marked.run_id = run
        marked.task_ids.extend(some)
        marked.state = rng.choice(
            [TaskState.TASK_STATE_SUCCESS, TaskState.TASK_STATE_FAILED, TaskState.TASK_STATE_SKIPPED]
        )
    elif kind == "mark_run":
        command.mark_run.run_id = run
        command.mark_run.state = rng.choice([RunState.RUN_STATE_SUCCESS, RunState.RUN_STATE_FAILED])
    elif kind == "decide":
        command.decide_task.run_id = run
        command.decide_task.task_id = f"t{rng.randrange(8)}"
        command.decide_task.map_index = rng.choice([-1, -1, 0])
        command.decide_task.chosen_options.append("yes")
    else:
        command.stop_run.run_id = run
