"""The executor's settings, from the environment."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from spinner_servicekit.settings import ServiceSettings


class Settings(ServiceSettings):
    """Times are seconds. Worker's lease < executor's time-out < scheduler's (ARCHITECTURE, "Tries")."""

    grpc_address: str = Field(default="127.0.0.1:50052", description="where the gRPC server listens; port 0 picks one")
    executor_data: Path = Field(
        default=Path(".spinner/executor"), description="folder of tries, sockets and unpacked bundles"
    )
    executor_parallelism: int = Field(default=32, ge=1, description="live workers at most; the rest waits by priority")
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
