"""Settings of the gateway, from the environment."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from spinner_servicekit.settings import ServiceSettings


class Settings(ServiceSettings):
    """Beside what all services share."""

    grpc_address: str = Field(default="127.0.0.1:50050", description="where the gRPC server listens; port 0 picks one")
    http_address: str = Field(default="127.0.0.1:8080", description="where REST and UI are served; port 0 picks one")
    database: str = Field(
        default_factory=lambda: f"sqlite:///{Path.cwd()}/.spinner/views.db",
        description="database of the views: sqlite:///path or mysql+pymysql://user:password@host/name",
    )
    elasticsearch: str = Field(default="", description="Elasticsearch URL for search and logs; empty: the database")
    elasticsearch_prefix: str = Field(default="spinner", description="put before the names of indices")
    log_index_days: int = Field(default=14, ge=1, description="days that daily log indices are kept")
    development_user: str = Field(default="", description="the user that everyone is, on one's own machine only")
    environment: str = Field(default="local", description="shown in the UI, so that nobody mistakes production")
    ui_dist: str = Field(default="", description="folder of the built UI; empty: that of the source tree")
    answer_seconds: float = Field(default=10.0, gt=0, description="how long a command waits for the scheduler, seconds")
    backfill_max_days: int = Field(
        default=31, ge=1, description="longest range of a backfill, days; administrators can override it"
    )
