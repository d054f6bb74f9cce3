"""The composition root: one partition loop a tier, all over one definitions cache; a gRPC server beside them."""

from __future__ import annotations

import gc
import logging
import sys
import threading
from collections.abc import Callable
from functools import partial

import grpc
from spinner_eventlog import topics
from spinner_eventlog.interface import EventLog, StateMachine, Transient
from spinner_eventlog.kafka import KafkaLog
from spinner_eventlog.loop import PartitionLoop
from spinner_proto.definitions.v1.definitions_pb2 import DagDefinition
from spinner_proto.inbox.v1.inbox_pb2 import InboxMessage
from spinner_proto.scheduler.v1.scheduler_pb2 import DESCRIPTOR, PartitionStatus
from spinner_proto.scheduler.v1.scheduler_pb2_grpc import add_SchedulerServiceServicer_to_server
from spinner_servicekit import grpc_server
from spinner_servicekit.app import App

from spinner_scheduler.adapters.definitions import Definitions
from spinner_scheduler.adapters.machine import Policy, SchedulerMachine, new_state
from spinner_scheduler.adapters.patience import patience
from spinner_scheduler.adapters.standby import Standby
from spinner_scheduler.api.service import SchedulerService
from spinner_scheduler.domain import times
from spinner_scheduler.domain.limits import Limits
from spinner_scheduler.domain.state import PartitionState
from spinner_scheduler.settings import SchedulerSettings

logger = logging.getLogger("spinner_scheduler")


class Scheduler:
    """All partitions that this process is given. `start` returns when definitions are read; partitions follow."""

    def __init__(self, log: EventLog, settings: SchedulerSettings) -> None:
        # Where others ask this process; set before `start`.
        self.address = settings.scheduler_advertised
        self._log = log
        self._settings = settings
        self._definitions = Definitions(log)
        self._policy = Policy(
            cluster=settings.cluster,
            tiers=settings.tiers,
            limits=Limits(
                max_active_runs=settings.default_max_active_runs,
                max_active_tasks=settings.default_max_active_tasks,
                default_pool_slots=settings.default_pool_slots,
                max_map_length=settings.max_map_length,
                keep_finished_runs=settings.keep_finished_runs,
                queued_timeout=int(settings.queued_timeout_seconds * times.SECOND),
            ),
            snapshot_seconds=settings.snapshot_seconds,
            snapshot_batch=settings.snapshot_batch,
            replay_records=settings.replay_records,
            definition_wait_seconds=settings.definition_wait_seconds,
            compiled_tasks=settings.compiled_tasks,
        )
        self._machines: dict[tuple[str, int], SchedulerMachine] = {}
        self._lock = threading.Lock()
        self._standby: Standby | None = None
        if settings.standby_tasks:
            self._standby = Standby(
                log,
                settings.cluster,
                settings.tiers,
                lambda: {partition for loop in self.loops for partition in loop.partitions()},
                lambda tier, partition: new_state(log, self._definitions, self._policy, tier, partition),
                settings.standby_tasks,
                partial(self._definitions.wait_for, seconds=settings.definition_wait_seconds),
            )
        self.loops = [self._loop(tier) for tier in settings.tiers]

    def _loop(self, tier: int) -> PartitionLoop:
        cluster = self._settings.cluster

        def machine(topic: str, partition: int) -> StateMachine:
            made = SchedulerMachine(
                self._log, self._definitions, self._policy, tier, partition, self.address, self._standby
            )
            with self._lock:
                self._machines[(topic, partition)] = made
            return made

        return PartitionLoop(
            self._log,
            group_id=self._group(tier),
            input_topics=[topics.inbox_topic(cluster, tier)],
            transactional_id_for=lambda topic, partition: f"scheduler-{topics.cell(cluster, tier)}_{partition}",
            machine_factory=machine,
            decode=InboxMessage,
            max_batch=self._settings.max_batch,
            overlap=True,
            instance_id=f"{self._settings.instance_id}-{tier}" if self._settings.instance_id else None,
            patience=patience,
        )

    def _group(self, tier: int) -> str:
        return f"scheduler-{topics.cell(self._settings.cluster, tier)}"

    @property
    def limits(self) -> Limits:
        """This installation's limits."""
        return self._policy.limits

    def definition(self, dag_id: str, version: str) -> DagDefinition | None:
        """A definition that is known; doesn't block."""
        return self._definitions.get(dag_id, version)

    def start(self, on_failure: Callable[[BaseException], None]) -> None:
        """Blocks until all definitions are read; `on_failure` is told of bugs."""
        for tier in self._settings.tiers:
            try:
                self._log.tune_group(self._group(tier), self._settings.session_ms, self._settings.heartbeat_ms)
            except Transient as refused:
                logger.warning("a dead scheduler is only noticed after the broker's own session time-out: %s", refused)
        self._definitions.start()
        for loop in self.loops:
            loop.start(on_failure)
        if self._standby is not None:
            self._standby.start()

    def stop(self) -> None:
        if self._standby is not None:
            self._standby.stop()
        for loop in self.loops:
            loop.stop()
        for loop in self.loops:
            loop.close()
        self._definitions.stop()

    def machines(self) -> list[SchedulerMachine]:
        """Those of all partitions that are active here."""
        found = [machine for loop in self.loops for machine in loop.machines()]
        return [machine for machine in found if isinstance(machine, SchedulerMachine)]

    def status(self) -> list[PartitionStatus]:
        """What each owned partition is doing. Blocks to ask the log for its ends."""
        found: list[PartitionStatus] = []
        for loop in self.loops:
            try:
                said = loop.status()
            except Transient:
                continue
            for partition in said:
                with self._lock:
                    machine = self._machines.get((partition.topic, partition.partition))
                if machine is None:
                    continue
                active = partition.state == "active"
                found.append(_status(machine.name, "active" if active else "restoring", machine.state, partition.lag))
        if self._standby is not None:
            for (tier, number), state in self._standby.following().items():
                name = f"{topics.cell(self._settings.cluster, tier)}_{number}"
                found.append(_status(name, "standby", state, 0))
        return found


def _status(name: str, said: str, state: PartitionState, lag: int) -> PartitionStatus:
    return PartitionStatus(
        name=name,
        state=said,
        dags=sum(1 for dag in list(state.dags.values()) if not dag.removed),
        live_runs=state.live_runs,
        live_task_instances=state.live_task_instances(),
        lag=lag,
        timers=len(state.timers),
    )


def main(app: App[SchedulerSettings]) -> None:
    """Runs the scheduler until the process is asked to stop."""
    settings = app.settings
    # State is large, lives long and has few cycles: with the defaults the collector takes a sixth of all CPU.
    gc.set_threshold(50_000, 20, 100)
    # How long a commit's thread waits for a decision's to let it go on (default 5 ms).
    sys.setswitchinterval(0.001)
    log = KafkaLog(settings.kafka, "scheduler", settings.topic_prefix)
    app.on_stop(log.close)
    scheduler = Scheduler(log, settings)
    app.on_stop(scheduler.stop)
    server = grpc_server.serve(
        settings.grpc_address,
        [DESCRIPTOR.services_by_name["SchedulerService"].full_name],
        lambda server: add_SchedulerServiceServicer_to_server(
            SchedulerService(scheduler.status, scheduler.machines, scheduler.definition, scheduler.limits), server
        ),
        {Transient: grpc.StatusCode.UNAVAILABLE},
    )
    app.on_stop(server.stop)
    scheduler.address = settings.scheduler_advertised or server.address
    scheduler.start(app.crash)
    app.ready(grpc=server.address)
    app.wait()
