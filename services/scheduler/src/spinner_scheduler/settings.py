"""Settings of the scheduler."""

from __future__ import annotations

from pydantic import Field
from spinner_servicekit.settings import ServiceSettings


class SchedulerSettings(ServiceSettings):
    """Beside those that all services share."""

    grpc_address: str = Field(default="127.0.0.1:50051", description="where the gRPC server listens; port 0 picks one")
    scheduler_advertised: str = Field(
        default="", description="address that others ask this scheduler at; empty: the gRPC address"
    )
    default_max_active_runs: int = Field(default=16, ge=1, description="max_active_runs of DAGs that set none")
    default_max_active_tasks: int = Field(
        default=16, ge=1, description="max_active_tasks (a run) of DAGs that set none"
    )
    default_pool_slots: int = Field(default=256, ge=0, description="slots of default_pool in each partition")
    compiled_tasks: int = Field(
        default=600_000,
        ge=0,
        description="tasks whose DAGs a partition keeps compiled although no run needs them, about 300 bytes each",
    )
    max_map_length: int = Field(default=1024, ge=1, description="instances that a mapped task may have")
    keep_finished_runs: int = Field(default=30, ge=1, description="finished runs of a DAG that can still be cleared")
    queued_timeout_seconds: float = Field(
        default=0, ge=0, description="how long an order may wait for its executor before it is tried anew; 0: for ever"
    )
    snapshot_seconds: float = Field(default=5, gt=0, description="how old changes get before they are in a snapshot")
    snapshot_batch: int = Field(default=200, ge=1, description="snapshots in one transaction")
    replay_records: int = Field(
        default=20_000,
        ge=100,
        description="records of events that the next owner of a partition has to read at most, about: more snapshots",
    )
    standby_tasks: int = Field(
        default=1_000_000,
        ge=0,
        description="live task instances of other processes' partitions that are followed, to take those over without "
        "replay; 0: no warm standby",
    )
    session_ms: int = Field(
        default=2_000,
        ge=500,
        description="how long a scheduler may be silent before others take its partitions; the broker must allow it "
        "(group.consumer.min.session.timeout.ms)",
    )
    heartbeat_ms: int = Field(
        default=300,
        ge=50,
        description="pause between heartbeats to the broker (its bound: group.consumer.min.heartbeat.interval.ms)",
    )
    max_batch: int = Field(default=500, ge=1, description="inbox records decided in one transaction")
    definition_wait_seconds: float = Field(
        default=5, ge=0, description="how long an announced definition may take to become readable"
    )
    instance_id: str = Field(default="", description="static member of the consumer group; empty: a new one each start")
