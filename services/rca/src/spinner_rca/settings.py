"""Settings of rca, from the environment."""

from __future__ import annotations

from pydantic import Field
from spinner_servicekit.settings import ServiceSettings


class Settings(ServiceSettings):
    """Beside what all services share."""

    grpc_address: str = Field(default="127.0.0.1:50055", description="where the gRPC server listens; port 0 picks one")
    rules_file: str = Field(default="", description="rule file (YAML); empty: the one that comes with the service")
    log_tail_bytes: int = Field(
        default=2 * 1024 * 1024, ge=4096, description="how much of a log is read, from its end, bytes"
    )
