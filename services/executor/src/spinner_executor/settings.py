"""The executor's settings, from the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field
from spinner_servicekit.settings import ServiceSettings

from spinner_executor.domain.resources import parse_bytes

Bytes = Annotated[int, BeforeValidator(parse_bytes)]


class Settings(ServiceSettings):
    """Times are seconds. Worker's lease < executor's time-out < scheduler's (ARCHITECTURE, "Tries")."""

    grpc_address: str = Field(default="127.0.0.1:50052", description="where the gRPC server listens; port 0 picks one")
    executor_data: Path = Field(
        default=Path(".spinner/executor"), description="folder of tries, sockets and unpacked bundles"
    )
    executor_parallelism: int = Field(default=32, ge=1, description="live workers at most; the rest waits by priority")
    executor_memory: Bytes = Field(
        default=0, description="bytes (or 48Gi) that requests of live workers may add up to here; 0: no bound"
    )
    executor_ahead: int = Field(default=4, ge=0, description="idle workers forked ahead")
    executor_niceness: int = Field(
        default=5, ge=0, le=19, description="by how much local workers give way to the services on a busy machine"
    )
    executor_entry: str = Field(
        default="spinner.runtime.runner:run_local", description="module:function that a local worker calls"
    )
    executor_advertised: str = Field(
        default="", description="address in reports, for live logs; empty: the gRPC address"
    )
    executor_stop_workers: bool = Field(
        default=False, description="a stop ends workers and fork server, too; otherwise the next executor adopts them"
    )
    heartbeat_seconds: float = Field(default=5.0, gt=0, description="how often a worker renews its lease")
    lease_seconds: float = Field(default=30.0, gt=0, description="a worker without an answer so long kills itself")
    lost_after_seconds: float = Field(default=45.0, gt=0, description="a worker without heartbeat so long is lost")
    kill_grace_seconds: float = Field(default=10.0, ge=0, description="from SIGTERM to SIGKILL of a cancelled worker")
    memory_learning: bool = Field(default=True, description="requests follow what the latest 30 successes used")
    memory_percentile: float = Field(default=95.0, gt=0, le=100, description="of their peaks, the one that is taken")
    memory_head_room: float = Field(default=0.2, ge=0, description="fraction added to it")
    memory_minimum: Bytes = Field(default=64 << 20, description="a learned request is at least this, bytes")
    memory_maximum: Bytes = Field(default=64 << 30, description="a learned request or raised limit is at most this")
